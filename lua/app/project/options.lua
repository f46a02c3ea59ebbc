--- Tool options in force for a target: the variant's, completed by the image's.
local schema = require "app.project.schema"
local validate = require "app.project.validate"

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
      out[name] = validate.copy(value)
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
