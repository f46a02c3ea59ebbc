--- Several summaries of the same targets as one: a build on each platform, the publishing of all of them. What
--- is counted once is a platform of a target; of what several stages measured of it, the registry's size is taken
--- from publishing, the local size from building.
---
--- Files of the reference name no platforms. Of several such entries of one target none can be told from another
--- one's repetition: the one with most platforms stands for all, gaps filled from the others.
local summary = require "app.summary"

local M = {}

-- Which stage's number of a member is believed first.
local PREFER = { registry_size = "publish", local_size = "build", layers = "publish" }

local function fill(into, from, member, stage, from_stage)
  local value = from[member]
  if value == nil then return end
  local better = into[member] == nil or from_stage == PREFER[member] and stage[member] ~= PREFER[member]
  if better or from_stage == stage[member] then into[member], stage[member] = value, from_stage end
end

-- Adds an entry's builds to a target's, platform by platform.
local function add_builds(target, stages, entry)
  for _, b in ipairs(entry.builds) do
    local into
    for _, known in ipairs(target.builds) do
      if known.platform == b.platform then into = known end
    end
    if not into then
      into = { platform = b.platform }
      target.builds[#target.builds + 1] = into
    end
    stages[into] = stages[into] or {}
    for member in pairs(PREFER) do fill(into, b, member, stages[into], entry.stage or "build") end
  end
end

-- The entry without platform names that tells most, gaps filled from the others.
local function widest(entries)
  local best
  for _, e in ipairs(entries) do
    if not best or e.platforms > best.platforms then best = e end
  end
  if not best then return nil end
  local out = {}
  for k, v in pairs(best) do out[k] = v end
  for _, e in ipairs(entries) do
    if e.platforms == best.platforms then
      for _, key in ipairs { "layers", "registry_size", "local_size" } do
        if out[key] == nil then out[key] = e[key] end
      end
    end
  end
  return out
end

local function merge_one(entries)
  local first, named, plain, stages = entries[1], {}, {}, {}
  local target = { uid = first.uid, image_name = first.image_name, version = first.version, os = first.os,
    variant = first.variant, tags = first.tags, builds = {} }
  for _, e in ipairs(entries) do
    table.insert(e.builds and named or plain, e)
    target.cache_ref = target.cache_ref or e.cache_ref
    target.cache_size = target.cache_size or e.cache_size
  end
  for _, e in ipairs(named) do add_builds(target, stages, e) end
  summary.sum_builds(target)
  local wide = widest(plain)
  if wide and wide.platforms > target.platforms then
    target.builds = nil
    for _, key in ipairs { "platforms", "layers", "registry_size", "local_size" } do target[key] = wide[key] end
  end
  return target
end

--- Merges lists of targets by uid.
---@param lists table[][] in the order of their files
---@return table[] targets sorted by image, version, variant, operating system
function M.merge(lists)
  local by_uid, order = {}, {}
  for _, list in ipairs(lists) do
    for _, t in ipairs(list) do
      if not by_uid[t.uid] then
        by_uid[t.uid] = {}
        order[#order + 1] = t.uid
      end
      table.insert(by_uid[t.uid], t)
    end
  end
  local out = {}
  for i, uid in ipairs(order) do out[i] = merge_one(by_uid[uid]) end
  table.sort(out, function(a, b)
    for _, key in ipairs { "image_name", "version", "os", "variant" } do
      if a[key] ~= b[key] then return a[key] < b[key] end
    end
    return a.uid < b.uid
  end)
  return out
end

return M
