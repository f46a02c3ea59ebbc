--- The order in which targets are pushed, so that the most general tags are set last: by image,
--- then what is not latest, then older versions, then what is not primary.
local version = require "bakery.version"

local M = {}

local function key_of(uid, entry)
  local parsed = not entry.matrix and version.release(entry.version) or nil
  local os_entry, variant = entry.os, entry.variant
  local primary = (not os_entry or os_entry.primary) and 1 or 0
  if not variant or entry.primaryVariant then primary = primary + 1 end
  return {
    uid = uid,
    image = entry.image,
    latest = entry.latest and 1 or 0,
    parsed = parsed,
    primary = primary,
    version = entry.version,
    variant = variant or "",
    os = os_entry and os_entry.name or "",
  }
end

-- Names without a parsed version, matrix rows among them, come before all others.
local function compare_parsed(a, b)
  if not a or not b then return (a and 1 or 0) - (b and 1 or 0) end
  if a < b then return -1 end
  return b < a and 1 or 0
end

local function before(a, b)
  if a.image ~= b.image then return a.image < b.image end
  if a.latest ~= b.latest then return a.latest < b.latest end
  local order = compare_parsed(a.parsed, b.parsed)
  if order ~= 0 then return order < 0 end
  for _, member in ipairs { "primary", "version", "variant", "os" } do
    if a[member] ~= b[member] then return a[member] < b[member] end
  end
  return a.uid < b.uid
end

--- Target ids of a plan document in push order; a plan without our data keeps its own order.
---@param document table
---@return string[]
function M.push(document)
  local extra = document["x-bakery"] and document["x-bakery"].targets or {}
  local keys, uids = {}, {}
  for i, uid in ipairs(document.group.default.targets) do
    uids[i] = uid
    keys[#keys + 1] = extra[uid] and key_of(uid, extra[uid])
  end
  if #keys < #uids then return uids end
  table.sort(keys, before)
  for i, key in ipairs(keys) do uids[i] = key.uid end
  return uids
end

return M
