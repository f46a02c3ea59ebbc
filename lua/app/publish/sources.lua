--- What several runners built: metadata files, and of each target the newest source per platform.
local oci = require "bakery.oci"
local error_object = require "bakery.error"
local fail = require "app.fail"
local seconds = require("app.stamp").seconds
local glob = require "app.ci.glob"
local plans = require "app.plan"

local M = {}

--- Files of metadata arguments, which may be patterns; each once.
---@param patterns string[]
---@return string[] files
function M.expand(patterns)
  local out, seen = {}, {}
  for _, file in ipairs(glob.expand(patterns)) do
    if not seen[file] then out[#out + 1] = file end
    seen[file] = true
  end
  return out
end

-- Newest first, unreadable times as the oldest; entries of equal age keep the files' order, later files first.
local function newest_first(entries)
  local keyed = {}
  for i, e in ipairs(entries) do keyed[i] = { entry = e, at = seconds(e.created) or -math.huge, place = i } end
  table.sort(keyed, function(a, b)
    if a.at ~= b.at then return a.at > b.at end
    return a.place > b.place
  end)
  local out = {}
  for i, k in ipairs(keyed) do out[i] = k.entry end
  return out
end

---@class app.publish.source
---@field ref string "repository:tag@digest" or "repository@digest" as the metadata has it
---@field repository string
---@field digest string
---@field platform string|nil nil: an index, its manifests say
---@field created string|nil

local function source_of(uid, entry)
  if not entry.ref or not entry.digest then return nil end
  if not oci.is_digest(entry.digest) then
    fail.raise { class = "usage", code = "metadata.invalid", message = ("metadata of %s: '%s' is no digest"):format(uid, entry.digest) }
  end
  local ref = fail.within("metadata of " .. uid, oci.ref(entry.ref))
  return { ref = entry.ref, repository = ref.name, digest = entry.digest, platform = entry.platform,
    created = entry.created }
end

-- One entry per platform: the newest.
local function choose(uid, entries)
  local out, seen = {}, {}
  for _, entry in ipairs(newest_first(entries)) do
    local source = source_of(uid, entry)
    local key = source and (source.platform or source.digest)
    if source and not seen[key] then
      seen[key] = true
      out[#out + 1] = source
    end
  end
  return out
end

--- Entries of metadata files by uid; every file that cannot be read is named.
---@param files string[]
---@return table<string, table[]>
function M.load(files)
  local problems, out = {}, {}
  for _, file in ipairs(files) do
    local found, err = plans.read_metadata { file }
    if found then
      for uid, entries in pairs(found) do
        out[uid] = out[uid] or {}
        table.move(entries, 1, #entries, #out[uid] + 1, out[uid])
      end
    else
      problems[#problems + 1] = error_object.new { class = "usage", code = type(err) == "table" and err.code or "metadata.invalid",
        message = type(err) == "table" and err.message or tostring(err), where = type(err) == "table" and err.where or file }
    end
  end
  if #problems > 0 then
    error({ class = "usage", code = "metadata.invalid", errors = problems, message = problems[1].message }, 0)
  end
  return out
end

--- Sources by uid of the plan's targets, newest first.
---@param entries table of M.load
---@param plan table of session.backend_plan
---@return table<string, app.publish.source[]>
---@return string[] empty uids that the files have, without anything that was pushed
function M.of_plan(entries, plan)
  local out, empty = {}, {}
  for _, uid in ipairs(plan.order) do
    out[uid] = entries[uid] and choose(uid, entries[uid])
    if out[uid] and #out[uid] == 0 then empty[#empty + 1] = uid end
  end
  return out, empty
end

return M
