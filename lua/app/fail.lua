--- Raising error objects in application code.
local error_object = require "bakery.error"

local M = {}

--- Raises an error object made from the fields (class, code, message, where, line, col, hint …).
---@param fields table
function M.raise(fields) error(error_object.is(fields) and fields or error_object.new(fields), 0) end

--- Passes a value through; raises the error object of a `nil, err` pair.
---@param value any
---@param err any
function M.check(value, err)
  if value ~= nil and value ~= false then return value end
  if type(err) ~= "table" then
    err = error_object.new { class = "build", code = "error", message = tostring(err) }
  end
  error(err, 0)
end

--- As check for calls that return true or false, or nil and an error.
function M.check_bool(value, err)
  if value == nil and err ~= nil then return M.check(nil, err) end
  return value
end

--- As check, with `what: ` in front of the message.
---@param what string
---@param value any
---@param err any
function M.within(what, value, err)
  if value ~= nil and value ~= false then return value end
  if type(err) == "table" and not tostring(err.message):find(what, 1, true) then
    err.message = what .. ": " .. tostring(err.message)
  elseif type(err) ~= "table" then
    err = what .. ": " .. tostring(err)
  end
  return M.check(nil, err)
end

return M
