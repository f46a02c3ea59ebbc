--- Tool options in force for a target: the variant's, completed by the image's.
local json = require "bakery.json"
local names = require "app.project.names"
local schema = require "app.project.schema"

local M = {}

local function first(list, tool)
  for _, entry in ipairs(list) do
    if entry.tool == tool then return entry end
  end
end

local function last(list, tool)
  for i = #list, 1, -1 do
    if list[i].tool == tool then return list[i] end
  end
end

-- Plain data of a validated value: no source links.
local function plain(t, value)
  if value == nil then return nil end
  if t.kind == "map" then
    local out = json.object()
    for _, key in ipairs(value.keys) do out[key] = plain(t.of, value.values[key]) end
    return out
  elseif t.kind == "list" then
    local out = json.array {}
    for i, item in ipairs(value) do out[i] = plain(t.of, item) end
    return out
  elseif t.kind == "object" then
    local out = json.object()
    for _, field in ipairs(t.schema.fields) do
      out[field[1]] = plain(field.type, value[field.as or names.snake(field[1])])
    end
    return out
  end
  return value
end

local function members(entry, fallback, tool)
  local out = {}
  for _, field in ipairs(schema.tools[tool].fields) do
    local name = field[1]
    if name ~= "tool" then
      local value
      if entry and (not fallback or entry._set[name]) then
        value = entry[name]
      elseif fallback then
        value = fallback[name]
      else
        value = field.default
      end
      out[name] = plain(field.type, value)
    end
  end
  return out
end

--- Options of one tool, spelled as in bakery.yaml, defaults filled in, null members absent.
---@param image table
---@param variant table|nil
---@param tool string goss, soci, hadolint or wizcli
---@return table
function M.effective(image, variant, tool)
  local from_image = first(image.options, tool)
  if not variant then return members(from_image, nil, tool) end
  local own = last(variant.options, tool)
  if own then return members(own, from_image, tool) end
  return members(from_image, nil, tool)
end

return M
