--- File arguments that may be patterns, for shells that do not expand them: `*`, `?`, `[…]`.
local fs = require "bakery.fs"

local M = {}

local function is_pattern(text) return text:find "[*?%[]" ~= nil end

-- A part of a path as Lua pattern; nil when its bracket is not closed (then it is a plain name).
local function lua_pattern(text)
  local out, i = { "^" }, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "*" then
      out[#out + 1] = ".*"
    elseif c == "?" then
      out[#out + 1] = "."
    elseif c == "[" then
      local negated, set, last = text:match("^%[([!^]?)(%]?[^%]]*)()%]", i)
      if not set or set == "" then return nil end
      out[#out + 1] = "[" .. (negated ~= "" and "^" or "") .. set:gsub("[%%%]%[^]", "%%%0") .. "]"
      i = last
    else
      out[#out + 1] = (c:gsub("%p", "%%%0"))
    end
    i = i + 1
  end
  return table.concat(out) .. "$"
end

local function expand(dir, parts, at, out)
  local part = parts[at]
  if not part then
    out[#out + 1] = dir
    return
  end
  local pattern = is_pattern(part) and lua_pattern(part)
  if not pattern then
    local path = fs.join(dir, part)
    if fs.exists(path) then expand(path, parts, at + 1, out) end
    return
  end
  for _, name in ipairs(fs.list(dir) or {}) do
    if name:find(pattern) and (name:sub(1, 1) ~= "." or part:sub(1, 1) == ".") then
      expand(fs.join(dir, name), parts, at + 1, out)
    end
  end
end

--- Absolute paths of file arguments; the matches of each pattern are sorted. What is no pattern, or matches
--- nothing, stays: reading it says what is wrong.
---@param arguments string[]
---@return string[] paths
function M.expand(arguments)
  local cwd, out = fs.cwd(), {}
  for _, text in ipairs(arguments) do
    local path = fs.is_absolute(text) and text or fs.join(cwd, text)
    local found = {}
    if is_pattern(text) and not fs.exists(path) then
      local parts = {}
      for part in path:gmatch "[^/]+" do parts[#parts + 1] = part end
      expand("/", parts, 1, found)
      table.sort(found)
    end
    if #found == 0 then found[1] = fs.normalize(path) end
    table.move(found, 1, #found, #out + 1, out)
  end
  return out
end

return M
