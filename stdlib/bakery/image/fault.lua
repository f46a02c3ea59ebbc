--- Errors inside bakery.image are raised; the public functions give them back as nil, err.
local error_object = require "bakery.error"

local M = {}

--- Raises an error object made of the fields.
function M.raise(fields) error_object.raise(fields) end

--- The value, or the error behind it raised, with `what: ` in front when that is given.
function M.check(value, err, what)
  if value ~= nil or err == nil then return value end
  if type(err) ~= "table" then err = error_object.new { message = tostring(err) } end
  if what and not tostring(err.message):find(what, 1, true) then err.message = what .. ": " .. tostring(err.message) end
  error(err, 0)
end

--- fn whose raised error objects come back as nil, err; mistakes of the caller are still raised.
---@param fn function
---@return function
function M.guarded(fn)
  return function(...)
    local r = table.pack(pcall(fn, ...))
    if r[1] then return table.unpack(r, 2, r.n) end
    if error_object.is(r[2]) then return nil, r[2] end
    error(r[2], 0)
  end
end

return M
