-- Errors of the Containerfile front end. Inside the package a fault is raised by `fault.raise` and
-- caught once by `fault.guard`, which wraps every public function: callers get `nil, err`.
local suggest = require "bakery.suggest"

local fault = {}

local has_error, shared = pcall(require, "bakery.error")

local plain = {
  __name = "bakery.error",
  __tostring = function(e)
    return (e.where and e.where .. ": " or "") .. e.message
  end,
}

-- Raised tables carry this key, so that programming errors are not mistaken for faults.
local MARK = {}

---@class bakery.containerfile.error
---@field code string     "containerfile.syntax", "containerfile.flag", "containerfile.expand" …
---@field class string    "usage"
---@field message string
---@field where? string   "name:line:col"
---@field line? integer
---@field col? integer
---@field source? string  text of that line
---@field hint? string
---@field retryable boolean
---@field warnings? table[] what was warned about before

-- Messages quote the input: control characters must neither cut them off nor reach a terminal.
local function printable(s)
  return s and (s:gsub("%c", function(c)
    return c == "\n" and "\\n" or c == "\t" and "\\t" or ("\\x%02x"):format(c:byte())
  end))
end

---Makes an error object. `at` is anything with `line`, `col` and `file` ({name=, lines=}).
---@return bakery.containerfile.error
function fault.new(code, message, at, hint)
  local e = {
    code = "containerfile." .. code,
    class = "usage",
    message = printable(message),
    retryable = false,
    hint = printable(hint),
  }
  if at and at.line then
    e.line, e.col = at.line, at.col or 1
    local file = at.file
    e.where = ("%s:%d:%d"):format(file and file.name or "Containerfile", e.line, e.col)
    local source = file and file.lines and file.lines[e.line]
    e.source = source and (source:gsub("[^%C\t]", "?")) or nil
  end
  if has_error and type(shared) == "table" and type(shared.new) == "function" then
    return shared.new(e)
  end
  return setmetatable(e, plain)
end

---Raises a fault out of the package's innards.
function fault.raise(code, message, at, hint)
  error({ [MARK] = fault.new(code, message, at, hint) }, 0)
end

---Re-raises an error object, giving it the place `at` when it has none.
function fault.rethrow(err, at)
  if at and not err.where then
    err = fault.new(err.code:gsub("^containerfile%.", ""), err.message, at, err.hint)
  end
  error({ [MARK] = err }, 0)
end

---The error object inside a caught raise; re-raises anything that is no fault.
function fault.caught(e)
  if type(e) == "table" and e[MARK] then return e[MARK] end
  error(e, 0)
end

---Re-raises what pcall caught, with a place when it has none.
function fault.relocate(e, at)
  fault.rethrow(fault.caught(e), at)
end

local function unwrap(ok, ...)
  if ok then return ... end
  local e = ...
  if type(e) == "table" and e[MARK] then return nil, e[MARK] end
  error(e, 0)
end

local function trace(e)
  if type(e) == "table" then return e end
  return debug.traceback(tostring(e), 2)
end

---Runs a function; a fault that it raises takes the warnings along that were made before.
---@param fn fun(): any
---@param warnings fun(): table[]
function fault.noting(fn, warnings)
  local ok, e = xpcall(fn, trace)
  if ok then return e end
  if type(e) == "table" and e[MARK] then e[MARK].warnings = warnings() end
  error(e, 0)
end

---Turns a function that raises faults into one that returns `nil, err`.
function fault.guard(fn)
  return function(...)
    return unwrap(xpcall(fn, trace, ...))
  end
end

---Hint naming the entry of `names` nearest to `word`, or nil when nothing is near.
---@param word string
---@param names string[]
---@param format? string with one %s
function fault.suggest(word, names, format)
  if #word > 64 then return nil end
  local by_lower, lower = {}, {}
  for i, name in ipairs(names) do
    lower[i] = name:lower()
    by_lower[lower[i]] = name
  end
  local best = suggest.nearest(word:lower(), lower)
  return best and (format or "did you mean %s?"):format(by_lower[best]) or nil
end

return fault
