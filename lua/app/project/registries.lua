--- Registry lists: identity, order, inheritance, and the repository part of references.
local M = {}

--- `host` or `host/namespace`.
---@param registry table {host, namespace|nil}
---@return string
function M.base(registry)
  if registry.namespace then return registry.host .. "/" .. registry.namespace end
  return registry.host
end

local function same(a, b)
  return a.host == b.host and a.namespace == b.namespace and a.repository == b.repository
end
M.same = same

local function has(list, registry)
  for _, other in ipairs(list) do
    if same(other, registry) then return true end
  end
  return false
end

--- Drops repeated entries with a warning each and sorts by base (first seen first among equals).
---@param list table[]
---@param ctx app.project.problems
---@return table[]
function M.normalise(list, ctx)
  local out, index = {}, {}
  for _, registry in ipairs(list) do
    if has(out, registry) then
      ctx:warn(registry._node, registry._path, "config.duplicate",
        ("the registry %s is named twice"):format(registry.base))
    else
      out[#out + 1] = registry
      index[registry] = #out
    end
  end
  table.sort(out, function(a, b)
    if a.base ~= b.base then return a.base < b.base end
    return index[a] < index[b]
  end)
  return out
end

--- What an object's own lists make of the inherited list.
---@param obj table with extra_registries and override_registries
---@param inherited table[]
---@return table[]
function M.resolve(obj, inherited)
  if #obj.override_registries > 0 then return obj.override_registries end
  if #obj.extra_registries == 0 then return inherited end
  local out = {}
  for _, list in ipairs { obj.extra_registries, inherited } do
    for _, registry in ipairs(list) do
      if not has(out, registry) then out[#out + 1] = registry end
    end
  end
  return out
end

--- Repository names (no tag) of an image in its registries; the bare image name without any.
---@param image_name string
---@param list table[]
---@return string[]
function M.repositories(image_name, list)
  if #list == 0 then return { image_name } end
  local out, seen = {}, {}
  for _, registry in ipairs(list) do
    local text = registry.base .. "/" .. (registry.repository or image_name)
    if not seen[text] then
      seen[text] = true
      out[#out + 1] = text
    end
  end
  return out
end

return M
