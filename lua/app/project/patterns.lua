--- The lenient template environment of tag patterns and matrix name patterns, and the filters that
--- file templates share with it.
local regex = require "bakery.regex"
local tag = require "bakery.tag"
local template = require "bakery.template"

local M = {}

local function need_text(name, value)
  if type(value) ~= "string" then
    error(("%s needs a text, found %s"):format(name,
      value == nil and "an undefined value" or type(value)), 0)
  end
  return value
end

local function on_text(name, fn)
  return function(value, ...) return fn(need_text(name, value), ...) end
end

local compiled = setmetatable({}, { __mode = "v" })

local function regex_of(pattern)
  local re = compiled[pattern]
  if not re then
    local err
    re, err = regex.compile(pattern)
    if not re then error(("regexReplace: %s: %s"):format(pattern, tostring(err)), 0) end
    compiled[pattern] = re
  end
  return re
end

local function regex_replace(value, find, replacement)
  need_text("regexReplace", find)
  need_text("regexReplace", replacement)
  local out, err = regex_of(find):gsub(value, replacement)
  if not out then error("regexReplace: " .. tostring(err), 0) end
  return out
end

local function split(value, separator)
  need_text("split", separator)
  if separator == "" then error("split needs a separator", 0) end
  local out, at = {}, 1
  while true do
    local first, last = value:find(separator, at, true)
    out[#out + 1] = value:sub(at, (first or 0) - 1)
    if not first then return template.list(out) end
    at = last + 1
  end
end

--- Filters of tag patterns, name patterns and file templates.
M.filters = {
  tagSafe = on_text("tagSafe", tag.safe),
  stripMetadata = on_text("stripMetadata", tag.strip_metadata),
  stripPatch = on_text("stripPatch", tag.strip_patch),
  condense = on_text("condense", tag.condense),
  regexReplace = on_text("regexReplace", regex_replace),
  quote = on_text("quote", function(text) return '"' .. text .. '"' end),
  split = on_text("split", split),
}

--- Global functions of the same templates.
M.globals = {
  raise = function(message) error(tostring(message), 0) end,
}

local env, templates = nil, {}

--- Compiled pattern (patterns are few and used for every target).
---@param text string
---@return table|nil template
---@return table|nil err
function M.compile(text)
  local found = templates[text]
  if found then return found end
  env = env or template.new {
    undefined = "lenient",
    keep_trailing_newline = false,
    filters = M.filters,
    globals = M.globals,
  }
  local compiled_template, err = env:compile(text, { name = "pattern " .. text })
  if not compiled_template then return nil, err end
  templates[text] = compiled_template
  return compiled_template
end

--- Strips `-`, `.` and `_` from both ends.
---@param text string
---@return string
function M.strip_ends(text)
  return (text:gsub("^[._-]+", ""):gsub("[._-]+$", ""))
end

--- Renders a pattern.
---@param text string
---@param vars table
---@return string|nil
---@return table|nil err
function M.render(text, vars)
  local compiled_template, err = M.compile(text)
  if not compiled_template then return nil, err end
  return compiled_template:render(vars)
end

return M
