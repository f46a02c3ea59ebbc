--- What two texts of bakery.yaml differ in, in terms of what has to be built again.
local yaml = require "bakery.yaml"

local M = {}

local function same(a, b)
  if a == b then return true end
  if not a or not b or a.kind ~= b.kind then return false end
  if a.kind == "scalar" then return a.type == b.type and (a.type == "null" or a.text == b.text) end
  if a.kind == "seq" then
    if #a.items ~= #b.items then return false end
    for i, item in ipairs(a.items) do
      if not same(item, b.items[i]) then return false end
    end
    return true
  end
  for key, value in pairs(a.map) do
    if not same(value, b.map[key]) then return false end
  end
  for key in pairs(b.map) do
    if not a.map[key] then return false end
  end
  return true
end

-- Whether two maps are equal without some keys.
local function same_without(a, b, skip)
  for key, value in pairs(a.map) do
    if not skip[key] and not same(value, b.map[key]) then return false end
  end
  for key in pairs(b.map) do
    if not skip[key] and not a.map[key] then return false end
  end
  return true
end

local function is_null(node) return node.kind == "scalar" and node.type == "null" end

-- Items of a list by the text of their `name`; nil when it is no list of named mappings.
local function by_name(node, key)
  local out, order = {}, {}
  if not node then return out, order end
  if node.kind ~= "seq" then return nil end
  for _, item in ipairs(node.items) do
    local name = item.kind == "map" and item.map[key]
    if not name or name.kind ~= "scalar" or out[name.text] then return nil end
    out[name.text] = item
    order[#order + 1] = name.text
  end
  return out, order
end

local TRUE = { ["true"] = true, yes = true, on = true, y = true, t = true, ["1"] = true }
local function is_true(node)
  return node ~= nil and node.kind == "scalar" and TRUE[tostring(node.text):lower()] == true
end

-- Whether a version only lost `latest`.
local function lost_latest(old, new)
  return is_true(old.map.latest) and not is_true(new.map.latest) and same_without(old, new, { latest = true })
end

local function versions_of(entry)
  local node = entry.map.versions or entry.map.version
  local out = {}
  if not node then return nil end
  if node.kind == "seq" then
    for i, item in ipairs(node.items) do
      if item.kind ~= "scalar" then return nil end
      out[i] = item.text
    end
  elseif node.kind == "scalar" then
    for part in (node.text .. ","):gmatch "([^,]*)," do out[#out + 1] = part:match "^%s*(.-)%s*$" end
  else
    return nil
  end
  return out
end

-- Whether `new` is `old` with some values left out, in the same order.
local function is_part(new, old)
  local at = 1
  for _, text in ipairs(old) do
    if new[at] == text then at = at + 1 end
  end
  return at > #new
end

-- Whether a matrix image only lost values of pinned dependencies.
local function lost_pins(old, new)
  if not same_without(old, new, { matrix = true }) then return false end
  local a, b = old.map.matrix, new.map.matrix
  if not a or a.kind ~= "map" or b.kind ~= "map" then return false end
  if not same_without(a, b, { dependencies = true }) then return false end
  local before, order = by_name(a.map.dependencies, "dependency")
  local after, now = by_name(b.map.dependencies, "dependency")
  if not before or not after or table.concat(order, "\0") ~= table.concat(now, "\0") then return false end
  for name, entry in pairs(after) do
    local was, is = versions_of(before[name]), versions_of(entry)
    if not was or not is or not is_part(is, was) then return false end
    if not same_without(before[name], entry, { version = true, versions = true }) then return false end
  end
  return true
end

-- Effects on an image that is in both texts; a reason when that cannot be told.
local function compare_image(name, old, new, add)
  if same(old, new) then return end
  local dev = new.map.devVersions
  dev = dev ~= nil and dev.kind == "seq" and #dev.items > 0
  if new.map.matrix and not is_null(new.map.matrix) then
    if not lost_pins(old, new) then add(name, { row = true, dev = dev }) end
    return
  end
  local before = by_name(old.map.versions, "name")
  local after, order = by_name(new.map.versions, "name")
  if not before or not after then return ("the versions of %s have an unexpected shape"):format(name) end
  if not same_without(old, new, { versions = true }) then
    add(name, { all = true, dev = dev and not same(old.map.devVersions, new.map.devVersions) })
  end
  local changed, any = {}, false
  for _, version in ipairs(order) do
    local was, is = before[version], after[version]
    if not was or not same(was, is) and not lost_latest(was, is) then changed[version], any = true, true end
  end
  if any then add(name, { versions = changed }) end
end

local function root_of(text)
  local doc = yaml.parse(text, { name = "bakery.yaml" })
  local root = doc and doc:root()
  return root and root.kind == "map" and root or nil
end

--- Compares two texts of bakery.yaml.
---@param old string
---@param new string
---@param add fun(name: string, effect: table) called for every image that is concerned
---@return string|nil reason why everything is concerned
function M.compare(old, new, add)
  local a, b = root_of(old), root_of(new)
  if not a or not b then return "it cannot be read" end
  if not same_without(a, b, { images = true }) then return "something outside of images changed" end
  local before = by_name(a.map.images, "name")
  local after, order = by_name(b.map.images, "name")
  if not before or not after then return "the images have an unexpected shape" end
  for _, name in ipairs(order) do
    if before[name] then
      local reason = compare_image(name, before[name], after[name], add)
      if reason then return reason end
    end
  end
end

return M
