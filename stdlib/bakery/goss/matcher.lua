--- goss matchers: does a found value satisfy what the file expects?
local json = require "bakery.json"
local regex = require "bakery.regex"

local M = {}

local function is_list(v) return type(v) == "table" and (getmetatable(v) == json.array_mt or #v > 0) end

--- A value as text, the way goss prints it: lists joined by newlines.
local function to_string(v)
  if is_list(v) then
    local out = {}
    for i, x in ipairs(v) do out[i] = tostring(x) end
    return table.concat(out, "\n")
  end
  if math.type(v) == "float" and v == math.floor(v) then return ("%d"):format(v) end
  return tostring(v)
end
M.to_string = to_string

local function to_number(v)
  local text = to_string(v):match("^%s*(.-)%s*$")
  return tonumber(text)
end

local function to_array(v)
  if is_list(v) then return v end
  local out = {}
  for line in (to_string(v) .. "\n"):gmatch("([^\n]*)\n") do out[#out + 1] = line end
  if out[#out] == "" then out[#out] = nil end
  return out
end

local function equal(a, b)
  if type(a) == "table" and type(b) == "table" then
    if #a ~= #b then return false end
    for i = 1, #a do if not equal(a[i], b[i]) then return false end end
    for k, v in json.pairs(a) do if not equal(v, b[k]) then return false end end
    return true
  end
  if type(a) == "number" or type(b) == "number" then
    local x, y = to_number(a), to_number(b)
    return x ~= nil and x == y
  end
  return a == b
end

local function search(pattern, flags, text)
  local re, err = regex.compile(pattern, flags)
  if not re then error(err, 0) end
  return re:search(text) ~= nil
end

-- One line pattern: "text", "!text", "/re/flags", "!/re/", "\!text", "\/text".
local function compile_pattern(p)
  p = to_string(p)
  local inverse = p:sub(1, 1) == "!"
  local body = inverse and p:sub(2) or p
  local re, flags = body:match("^/(.*)/([ims]*)$")
  if re then return { inverse = inverse, test = function(line) return search(re, flags, line) end } end
  body = body:gsub("^[\\/!]+", "")
  return { inverse = inverse, test = function(line) return line:find(body, 1, true) ~= nil end }
end

--- Line patterns over a text; returns the patterns that were not satisfied.
---@return string[] missing
function M.patterns(list, text)
  local missing = {}
  local lines = to_array(text)
  if #lines == 0 then lines = { "" } end
  for _, p in ipairs(list) do
    local c, hit = compile_pattern(p), false
    for _, line in ipairs(lines) do
      if c.test(line) then
        hit = true
        break
      end
    end
    if hit == c.inverse then missing[#missing + 1] = to_string(p) end
  end
  return missing
end

local matches

local function contains(list, want)
  for _, item in ipairs(list) do if matches(want, item) then return true end end
  return false
end

local function consists(list, want)
  list = to_array(list)
  if #list ~= #want then return false end
  local used = {}
  for _, w in ipairs(want) do
    local found = false
    for i, item in ipairs(list) do
      if not used[i] and matches(w, item) then
        used[i], found = true, true
        break
      end
    end
    if not found then return false end
  end
  return true
end

local function compare(op)
  return function(want, found)
    local a, b = to_number(found), to_number(want)
    if not a then return false, "expected numeric, got: " .. to_string(found) end
    return b ~= nil and op(a, b)
  end
end

local named = {
  ["equal"] = function(want, found) return equal(want, found) end,
  ["have-prefix"] = function(want, found) return to_string(found):sub(1, #want) == want end,
  ["have-suffix"] = function(want, found) return want == "" or to_string(found):sub(-#want) == want end,
  ["contain-substring"] = function(want, found) return to_string(found):find(want, 1, true) ~= nil end,
  ["match-regexp"] = function(want, found) return search(want, "", to_string(found)) end,
  ["have-len"] = function(want, found) return (is_list(found) and #found or #to_string(found)) == want end,
  ["have-patterns"] = function(want, found) return #M.patterns(want, found) == 0 end,
  ["contain-element"] = function(want, found) return contains(to_array(found), want) end,
  ["contain-elements"] = function(want, found)
    local list = to_array(found)
    for _, w in ipairs(want) do if not contains(list, w) then return false end end
    return true
  end,
  ["consist-of"] = function(want, found) return consists(found, want) end,
  ["have-key"] = function(want, found) return type(found) == "table" and found[want] ~= nil end,
  ["not"] = function(want, found) return not matches(want, found) end,
  ["and"] = function(want, found)
    for _, w in ipairs(want) do if not matches(w, found) then return false end end
    return true
  end,
  ["or"] = function(want, found)
    for _, w in ipairs(want) do if matches(w, found) then return true end end
    return false
  end,
  ["gt"] = compare(function(a, b) return a > b end),
  ["ge"] = compare(function(a, b) return a >= b end),
  ["lt"] = compare(function(a, b) return a < b end),
  ["le"] = compare(function(a, b) return a <= b end),
}

--- Whether `found` satisfies `want`. Unknown matchers raise a usage error.
---@param want any
---@param found any
---@param streaming boolean|nil a list means line patterns
---@return boolean ok
---@return string|nil detail
function M.matches(want, found, streaming)
  if is_list(want) then
    if streaming then
      local missing = M.patterns(want, found)
      return #missing == 0, #missing > 0 and "missing: " .. table.concat(missing, ", ") or nil
    end
    return named["contain-elements"](want, found)
  end
  if type(want) == "table" then
    local name, value
    for k, v in json.pairs(want) do
      if name then error({ class = "usage", code = "goss.matcher", message = "a matcher has exactly one key" }, 0) end
      name, value = k, v
    end
    if not name then error({ class = "usage", code = "goss.matcher", message = "a matcher has exactly one key" }, 0) end
    local fn = named[name]
    if not fn then
      local names = {}
      for n in pairs(named) do names[#names + 1] = n end
      local near = require("bakery.suggest").nearest(name, names)
      error({ class = "usage", code = "goss.matcher", message = ("unknown matcher '%s'%s"):format(name,
        near and " (did you mean '" .. near .. "'?)" or "") }, 0)
    end
    return fn(value, found)
  end
  if type(want) == "boolean" then return want == found end
  return equal(want, type(want) == "string" and to_string(found) or found)
end
matches = M.matches

return M
