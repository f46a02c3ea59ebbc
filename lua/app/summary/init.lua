--- Build summaries: what a run made, in numbers. A target of a summary is
---   { uid=, image_name=, version=, os=, variant=, platforms=count, tags=count, layers=, registry_size=,
---     local_size=, cache_ref=, cache_size=, stage="build"|"publish", builds={ { platform=, layers=,
---     registry_size=, local_size= }… } }
--- Sizes are bytes; what is not known is nil (null in JSON), never 0. `stage` and `builds` are ours: they let
--- several files of one target be merged without counting anything twice.
local json = require "bakery.json"

local M = {}

-- Sum of what is known; nil when nothing is.
local function total(list, member)
  local sum
  for _, item in ipairs(list) do
    if item[member] then sum = (sum or 0) + item[member] end
  end
  return sum
end

-- Sizes of caches, each reference once.
local function cache_total(targets)
  local sum, seen = nil, {}
  for _, t in ipairs(targets) do
    if t.cache_size and not seen[t.cache_ref or t] then
      seen[t.cache_ref or t] = true
      sum = (sum or 0) + t.cache_size
    end
  end
  return sum
end

--- The numbers over all targets.
---@param targets table[]
---@return table {targets, platforms, tags, registry_size, local_size, cache_size}
function M.totals(targets)
  return { targets = #targets, platforms = total(targets, "platforms") or 0, tags = total(targets, "tags") or 0,
    registry_size = total(targets, "registry_size"), local_size = total(targets, "local_size"),
    cache_size = cache_total(targets) }
end

--- Fills a target's numbers from its `builds`.
---@param target table
---@return table target
function M.sum_builds(target)
  target.platforms = #target.builds
  target.layers = nil
  for _, b in ipairs(target.builds) do target.layers = target.layers or b.layers end
  target.registry_size = total(target.builds, "registry_size")
  target.local_size = total(target.builds, "local_size")
  return target
end

--- Targets of a plan document that nothing is measured of yet.
---@param doc table
---@param stage string|nil
---@return table[] targets
function M.planned(doc, stage)
  local out = {}
  for i, uid in ipairs(doc.group.default.targets) do
    local bake = doc.target[uid]
    local extra = doc["x-bakery"] and doc["x-bakery"].targets[uid] or {}
    local builds = {}
    for k, platform in ipairs(bake.platforms) do builds[k] = { platform = platform } end
    local cache = (bake["cache-from"] or {})[1]
    out[i] = { uid = uid, image_name = extra.image or uid, version = extra.version or "",
      os = extra.os and extra.os.name or "", variant = extra.variant or "", platforms = #builds,
      tags = #(extra.tags or bake.tags), builds = builds, stage = stage,
      cache_ref = type(cache) == "table" and cache.ref or nil }
  end
  return out
end

local function or_null(value) return value == nil and json.null or value end

local function target_object(t)
  local out = json.object()
  for _, key in ipairs { "uid", "image_name", "version", "os", "variant", "platforms", "tags" } do out[key] = t[key] end
  for _, key in ipairs { "layers", "registry_size", "local_size", "cache_ref", "cache_size" } do out[key] = or_null(t[key]) end
  out.stage = t.stage
  if t.builds then
    out.builds = json.array {}
    for i, b in ipairs(t.builds) do
      out.builds[i] = json.object { { "platform", b.platform }, { "layers", or_null(b.layers) },
        { "registry_size", or_null(b.registry_size) }, { "local_size", or_null(b.local_size) } }
    end
  end
  return out
end

--- The JSON document.
---@param targets table[]
---@return table
function M.document(targets)
  local t = M.totals(targets)
  local out = json.object { { "build_targets", t.targets }, { "platform_builds", t.platforms },
    { "registry_tags", t.tags }, { "registry_size_bytes", or_null(t.registry_size) },
    { "local_size_bytes", or_null(t.local_size) }, { "cache_size_bytes", or_null(t.cache_size) } }
  out.targets = json.array {}
  for i, target in ipairs(targets) do out.targets[i] = target_object(target) end
  return out
end

-- --- reading ------------------------------------------------------------------------------------

local function is_null(value) return value == nil or value == json.null end
local function is_count(value) return math.type(value) == "integer" and value >= 0 end
local function text_or_empty(value) return is_null(value) and "" or type(value) == "string" and value or nil end

local TEXTS = { "image_name", "version", "os", "variant" }
local COUNTS = { "layers", "registry_size", "local_size", "cache_size" }

local function read_builds(list)
  local out = {}
  if type(list) ~= "table" then return nil end
  for i, b in ipairs(list) do
    if type(b) ~= "table" or type(b.platform) ~= "string" then return nil end
    out[i] = { platform = b.platform }
    for _, key in ipairs { "layers", "registry_size", "local_size" } do
      if not is_null(b[key]) then
        if not is_count(b[key]) then return nil end
        out[i][key] = b[key]
      end
    end
  end
  return out
end

local function read_target(t)
  if type(t) ~= "table" or type(t.uid) ~= "string" then return nil, "a target without uid" end
  local out = { uid = t.uid, stage = type(t.stage) == "string" and t.stage or nil }
  for _, key in ipairs(TEXTS) do
    out[key] = text_or_empty(t[key])
    if not out[key] then return nil, ("%s.%s: expected a text"):format(t.uid, key) end
  end
  for _, key in ipairs { "platforms", "tags" } do
    if not is_count(t[key]) then return nil, ("%s.%s: expected a count"):format(t.uid, key) end
    out[key] = t[key]
  end
  for _, key in ipairs(COUNTS) do
    if not is_null(t[key]) then
      if not is_count(t[key]) then return nil, ("%s.%s: expected a whole number or null"):format(t.uid, key) end
      out[key] = t[key]
    end
  end
  if type(t.cache_ref) == "string" then out.cache_ref = t.cache_ref end
  if not is_null(t.builds) then
    out.builds = read_builds(t.builds)
    if not out.builds then return nil, t.uid .. ".builds: expected a list of platforms with sizes" end
  end
  return out
end

--- Targets of a JSON text.
---@param text string
---@param name string for messages
---@return table[]|nil targets
---@return string|nil reason
function M.read(text, name)
  local doc, err = json.decode(text, { name = name })
  if doc == nil then return nil, err.message end
  if type(doc) ~= "table" or type(doc.targets) ~= "table" or doc.build_targets == nil then
    return nil, "not a summary of --summary-format json"
  end
  local out = {}
  for i, t in ipairs(doc.targets) do
    local reason
    out[i], reason = read_target(t)
    if not out[i] then return nil, reason end
  end
  return out
end

return M
