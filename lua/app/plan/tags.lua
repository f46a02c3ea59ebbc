--- Tags of a target: default pattern sets, which patterns apply, rendering, full references.
local patterns = require "app.project.patterns"
local registries = require "app.project.registries"
local tag = require "bakery.tag"

local M = {}

local V, VS, VP = "{{ Version }}", "{{ Version | stripMetadata }}", "{{ Version | stripPatch }}"
local OS, VARIANT, CHANNEL = "{{ OS }}", "{{ Variant }}", "{{ Channel }}"

local function entry(only, ...)
  return { only = only, patterns = { ... } }
end

local function join(...)
  return table.concat({ ... }, "-")
end

local LATEST = {
  entry({ "latest" }, join(OS, VARIANT)),
  entry({ "latest", "primaryVariant" }, OS),
  entry({ "latest", "primaryOS" }, VARIANT),
  entry({ "latest", "primaryOS", "primaryVariant" }, "latest"),
}
local CHANNEL_HEAD = {
  entry({ "channelLatest", "primaryOS" }, join(CHANNEL, VARIANT)),
  entry({ "channelLatest", "primaryVariant" }, join(CHANNEL, OS)),
  entry({ "channelLatest", "primaryOS", "primaryVariant" }, CHANNEL),
}

local function concat(...)
  local out = {}
  for _, list in ipairs { ... } do table.move(list, 1, #list, #out + 1, out) end
  return out
end

--- Patterns of an image that names none.
M.STANDARD = concat({
  entry({ "all" }, join(V, OS, VARIANT), join(VS, OS, VARIANT)),
  entry({ "primaryOS" }, join(V, VARIANT), join(VS, VARIANT)),
  entry({ "primaryVariant" }, join(V, OS), join(VS, OS)),
  entry({ "primaryOS", "primaryVariant" }, V, VS),
}, LATEST, { entry({ "channelLatest" }, join(CHANNEL, OS, VARIANT)) }, CHANNEL_HEAD)

--- Patterns of an image with a matrix that names none.
M.MATRIX = concat({
  entry({ "all" }, join(V, OS, VARIANT)),
  entry({ "latestPatch" }, join(VP, OS, VARIANT)),
  entry({ "primaryOS" }, join(V, VARIANT)),
  entry({ "latestPatch", "primaryOS" }, join(VP, VARIANT)),
  entry({ "primaryVariant" }, join(V, OS)),
  entry({ "latestPatch", "primaryVariant" }, join(VP, OS)),
  entry({ "primaryOS", "primaryVariant" }, V),
  entry({ "latestPatch", "primaryOS", "primaryVariant" }, VP),
}, CHANNEL_HEAD, LATEST)

--- Pattern entries that can apply to targets of an image and variant.
---@param image table
---@param variant table|nil
---@return table[]
function M.pool(image, variant)
  local own = image.tag_patterns or (image.matrix and M.MATRIX or M.STANDARD)
  if not variant or #variant.tag_patterns == 0 then return own end
  variant._pool = variant._pool or concat(own, variant.tag_patterns)
  return variant._pool
end

--- Whether a pattern entry applies to a target with these flags.
---@param only string[]
---@param flags table<string, boolean> by filter name
---@return boolean
function M.applies(only, flags)
  local all, holds = false, true
  for _, filter in ipairs(only) do
    if filter == "all" then
      all = true
    elseif not flags[filter] then
      if filter == "channelLatest" then return false end
      holds = false
    end
  end
  return all or holds
end

local VARIABLES = { "Version", "OS", "Variant", "Channel", "Name" }
local OPTIONAL = { OS = true, Variant = true, Channel = true }

-- What a pattern mentions, worked out once: the variables that can matter to it, and those that it
-- names in the very spelling `{{ NAME }}`.
local known = {}

local function facts(pattern)
  local found = known[pattern]
  if not found then
    found = { uses = {}, skips = {} }
    for _, name in ipairs(VARIABLES) do
      if pattern:find(name, 1, true) then table.insert(found.uses, name) end
      if OPTIONAL[name] and pattern:find("{{ " .. name .. " }}", 1, true) then
        table.insert(found.skips, name)
      end
    end
    known[pattern] = found
  end
  return found
end

--- One pattern rendered: outer blanks and `-._` stripped first, then unsafe characters replaced.
--- A pattern that names an empty variable as `{{ NAME }}` gives no tag.
---@param pattern string
---@param vars table {Version, OS, Variant, Channel, Name}
---@return string|nil|false suffix false when the pattern is skipped
---@return table|nil err
function M.render(pattern, vars)
  for _, name in ipairs(facts(pattern).skips) do
    if vars[name] == "" then return false end
  end
  local text, err = patterns.render(pattern, vars)
  if not text then return nil, err end
  return tag.normalize(text)
end

-- The values of the variables that a pattern uses as one text.
local function values_key(uses, vars)
  local a, b, c = uses[1], uses[2], uses[3]
  if not b then return a and vars[a] or "" end
  if not c then return vars[a] .. "\0" .. vars[b] end
  local key = vars[a] .. "\0" .. vars[b] .. "\0" .. vars[c]
  for i = 4, #uses do key = key .. "\0" .. vars[uses[i]] end
  return key
end

-- M.render through a memo: pattern -> values -> suffix.
local function render_once(pattern, vars, memo)
  local of_pattern = memo[pattern]
  if not of_pattern then
    of_pattern = {}
    memo[pattern] = of_pattern
  end
  local key = values_key(facts(pattern).uses, vars)
  local text, err = of_pattern[key]
  if text == nil then
    text, err = M.render(pattern, vars)
    of_pattern[key] = text
  end
  return text, err
end

local FLAGS = { "latest", "latestPatch", "primaryOS", "primaryVariant", "channelLatest" }
local chosen = setmetatable({}, { __mode = "k" })

-- The patterns of a pool that apply under these flags; few combinations occur.
local function patterns_for(pool, flags)
  local key = 0
  for i, name in ipairs(FLAGS) do key = key | (flags[name] and 1 << i or 0) end
  local of_pool = chosen[pool] or {}
  chosen[pool] = of_pool
  local out = of_pool[key]
  if not out then
    out = {}
    for _, item in ipairs(pool) do
      if M.applies(item.only, flags) then
        table.move(item.patterns, 1, #item.patterns, #out + 1, out)
      end
    end
    of_pool[key] = out
  end
  return out
end

--- Tag suffixes of a target, unique and sorted.
---@param pool table[] pattern entries
---@param flags table<string, boolean>
---@param vars table
---@param memo table|nil shared between the targets of one plan
---@return string[]|nil
---@return table|nil err
function M.suffixes(pool, flags, vars, memo)
  memo = memo or {}
  local out, seen = {}, {}
  for _, pattern in ipairs(patterns_for(pool, flags)) do
    local text, err = render_once(pattern, vars, memo)
    if text == nil then return nil, err end
    if text and not seen[text] then
      seen[text] = true
      out[#out + 1] = text
    end
  end
  table.sort(out)
  return out
end

--- Full references, sorted; an empty suffix gives a reference without tag.
---@param image_name string
---@param list table[] registries
---@param suffixes string[]
---@return string[]
function M.references(image_name, list, suffixes)
  local out = {}
  for _, repository in ipairs(registries.repositories(image_name, list)) do
    for _, suffix in ipairs(suffixes) do
      out[#out + 1] = suffix == "" and repository or repository .. ":" .. suffix
    end
  end
  table.sort(out)
  return out
end

return M
