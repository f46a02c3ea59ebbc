--- Error objects: what every fallible function of bakery returns behind nil, or raises.
local fs = require "bakery.fs"

local M = {}

---@class bakery.error
---@field code string stable name: ENOENT, http.404, yaml.syntax …
---@field class "build"|"usage"|"gate"|"test"|"partial"|"infra"|"drift"|"empty"|"denied" exit code
---@field message string one sentence for people
---@field where? string "file:line:col", a path or a URL
---@field retryable? boolean the same call may succeed later
---@field path? string file that line and col are about
---@field line? integer from 1
---@field col? integer from 1, in characters
---@field source? string that line's text
---@field hint? string what to do about it

-- The metatable of native error objects.
local mt = getmetatable(fs.error {})

local WIDTH = 120 -- columns of a source line that are shown

--- Makes an error object; class defaults to "build", code to "error". Without `where`, a path and
--- line make one.
---@param fields table
---@return bakery.error
function M.new(fields)
  local e = fs.error(fields)
  if not e.where and e.path then
    e.where = e.line and ("%s:%d:%d"):format(e.path, e.line, e.col or 1) or e.path
  end
  return e
end

--- Whether a value is an error object, or a table with the fields of one.
---@param e any
---@return boolean
function M.is(e)
  return type(e) == "table" and (getmetatable(e) == mt or (e.message ~= nil and e.class ~= nil))
end

--- Raises an error object, or the one made of the fields.
---@param fields table
function M.raise(fields) error(M.is(fields) and fields or M.new(fields), 0) end

local function paint(on, code, text)
  return on and ("\27[%sm%s\27[0m"):format(code, text) or text
end

-- No control characters of foreign texts reach a terminal.
local function clean(text)
  return (text:gsub("[%c\127]", function(c) return (c == "\n" or c == "\t") and c or "?" end))
end

-- The line as it is shown, blanks for tabs, and the column of the caret in it.
local function excerpt(line, col)
  local chars = {}
  line = clean(line:gsub("[\r\n].*", "")):gsub("\t", " ")
  for c in line:gmatch("[%z\1-\127\194-\253][\128-\191]*") do chars[#chars + 1] = c end
  col = math.max(1, math.min(col or 1, #chars + 1))
  local from = math.max(1, math.min(col - WIDTH // 2, #chars - WIDTH + 1))
  local to = math.min(#chars, from + WIDTH - 1)
  local text = table.concat(chars, "", from, to)
  if from > 1 then text = "…" .. text end
  if to < #chars then text = text .. "…" end
  return text, col - from + (from > 1 and 1 or 0)
end

--- The error as text for people: `where: error: message`, the source line with a caret, the hint.
---@param e any an error object, or anything tostring takes
---@param opts? { color?: boolean }
---@return string text without newline at the end
function M.format(e, opts)
  local color = opts and opts.color
  if type(e) ~= "table" then return tostring(e) end
  local where = e.where and e.where ~= "" and clean(e.where) .. ": " or "bakery: "
  local out = { paint(color, "1", where) .. paint(color, "1;31", "error: ")
    .. clean(tostring(e.message)) }
  if e.source and e.line then
    local text, blanks = excerpt(e.source, e.col)
    out[2] = ("%5d | %s"):format(e.line, text)
    if e.col then out[3] = "      | " .. (" "):rep(blanks) .. paint(color, "1;32", "^") end
  end
  if e.hint then out[#out + 1] = "  hint: " .. clean(e.hint) end
  return table.concat(out, "\n")
end

return M
