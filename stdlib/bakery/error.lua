--- Error objects: what every fallible function of bakery returns behind nil, or raises. Fields: code
--- (stable string), class (exit-code class), message, where ("file:line:col" or a path or URL),
--- retryable, and for positions in a text line, col, source (the line), path, hint.
local fs = require "bakery.fs"

local M = {}

local mt = getmetatable(fs.error { message = "" })

--- Makes an error object of the fields.
---@param fields table
---@return table
function M.new(fields)
  local e = fs.error { class = "build", code = "error" }
  for k, v in pairs(fields) do e[k] = v end
  return e
end

--- Whether a value is an error object (or at least looks like one).
---@param e any
---@return boolean
function M.is(e) return type(e) == "table" and (getmetatable(e) == mt or (e.message ~= nil and e.class ~= nil)) end

--- Raises an error object made of the fields.
function M.raise(fields) error(M.new(fields), 0) end

local function paint(on, code, text) return on and ("\27[%sm%s\27[0m"):format(code, text) or text end

--- The error as text for people: `where: error: message`, the source line with a caret, the hint.
---@param e any
---@param opts table|nil { color=boolean }
---@return string without trailing newline
function M.format(e, opts)
  local color = opts and opts.color
  if type(e) ~= "table" then return tostring(e) end
  local where = e.where and e.where ~= "" and e.where .. ": " or "bakery: "
  local out = { paint(color, "1", where) .. paint(color, "1;31", "error: ") .. tostring(e.message) }
  if e.source and e.line then
    local number = ("%5d | "):format(e.line)
    out[#out + 1] = number .. e.source:gsub("\t", " ")
    if e.col then
      local width = utf8.len(e.source, 1, math.min(e.col - 1, #e.source)) or e.col - 1
      out[#out + 1] = (" "):rep(5) .. " | " .. (" "):rep(width) .. paint(color, "1;32", "^")
    end
  end
  if e.hint then out[#out + 1] = "  hint: " .. e.hint end
  return table.concat(out, "\n")
end

return M
