--- Model objects as the values that editing commands write into bakery.yaml: only what was given and
--- differs from the default, keys in the order of the schema.
local json = require "bakery.json"

local M = {}

-- Ordered object of { key, value } pairs whose value is not nil.
local function object(pairs_)
  local out = json.object()
  for _, p in ipairs(pairs_) do if p[2] ~= nil then out[p[1]] = p[2] end end
  return out
end
M.object = object

local function filled(list) return list and #list > 0 and json.array(table.move(list, 1, #list, 1, {})) or nil end

--- An `os` list.
---@param list table[]
---@return table|nil nil when empty
function M.os(list)
  local out = {}
  for i, os in ipairs(list or {}) do
    local set = os._set
    out[i] = object { { "name", os.name }, { "primary", os.primary or nil },
      { "platforms", set.platforms and json.array(table.move(os.platforms, 1, #os.platforms, 1, {})) or nil },
      { "extension", set.extension and os.extension or nil },
      { "tagDisplayName", set.tag_display_name and os.tag_display_name or nil },
      { "artifactDownloadURL", os.artifact_download_url } }
  end
  return filled(out)
end

--- A `dependencies` list of { dependency=, versions=, prerelease= }.
---@return table|nil
function M.dependencies(list)
  local out = {}
  for i, d in ipairs(list or {}) do
    out[i] = object { { "prerelease", d.prerelease or nil }, { "versions", #d.versions > 1 and filled(d.versions) or nil },
      { "dependency", d.dependency }, { "version", #d.versions == 1 and d.versions[1] or nil } }
  end
  return filled(out)
end

--- A `dependencyConstraints` list of the model's constraint entries.
---@return table|nil
function M.constraints(list)
  local out = {}
  for i, d in ipairs(list or {}) do
    local c = d.constraint
    out[i] = object { { "prerelease", d.prerelease or nil },
      { "constraint", object { { "count", c.count }, { "latest", c.latest }, { "max", c.max }, { "min", c.min } } },
      { "dependency", d.dependency } }
  end
  return filled(out)
end

--- A map of template values.
---@param pairs_ table[] { key, value } in order
---@return table|nil
function M.values(pairs_)
  return pairs_ and #pairs_ > 0 and object(pairs_) or nil
end

return M
