--- JSON Schema (draft 2020-12) of bakery.yaml, derived from schema.lua for editors.
local json = require "bakery.json"
local schema = require "app.project.schema"

local M = {}

M.ID = "https://json-schema.org/draft/2020-12/schema"

local kinds = {}

local function of(t)
  return kinds[t.kind](t)
end

-- Plain tables of schema.lua as JSON values with sorted keys.
local function literal(value)
  if type(value) ~= "table" then return value end
  if #value > 0 then
    local out = json.array {}
    for i, item in ipairs(value) do out[i] = literal(item) end
    return out
  end
  local names = {}
  for key in pairs(value) do names[#names + 1] = key end
  table.sort(names)
  local out = json.object()
  for _, key in ipairs(names) do out[key] = literal(value[key]) end
  return out
end

function kinds.string(t)
  local out = json.object { { "type", t.version and literal { "string", "number" } or "string" } }
  if t.min then out.minLength = t.min end
  return out
end

-- The same spellings of booleans and whole numbers as in validate.lua.
function kinds.bool()
  return json.object { { "type", literal { "boolean", "string", "integer" } },
    { "pattern", "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]|[YyNnTtFf01])$" },
    { "minimum", 0 }, { "maximum", 1 } }
end

function kinds.int(t)
  local out = json.object { { "type", literal { "integer", "string", "boolean" } }, { "pattern", "^\\s*[+-]?[0-9]+\\s*$" } }
  if t.above then out.exclusiveMinimum = t.above end
  return out
end

function kinds.enum(t)
  return json.object { { "enum", json.array(t.values) } }
end

function kinds.list(t)
  return json.object { { "type", "array" }, { "items", of(t.of) } }
end

function kinds.map(t)
  return json.object { { "type", "object" }, { "additionalProperties", of(t.of) } }
end

function kinds.custom(t)
  return literal(t.json)
end

local function with_null(value)
  return json.object { { "anyOf", json.array { value, json.object { { "type", "null" } } } } }
end

function kinds.object(t)
  local properties, required, alternatives = json.object(), json.array {}, json.array {}
  for _, field in ipairs(t.schema.fields) do
    local value = of(field.type)
    if field.null then value = with_null(value) end
    if field.doc then value.description = field.doc end
    local default = field.default
    local plain = default ~= nil and type(default) ~= "function"
    if plain and (type(default) ~= "table" or #default > 0) then
      value.default = literal(default)
    end
    if not field.hidden then properties[field[1]] = value end
    -- Another spelling counts only where the main one is missing.
    for _, alias in ipairs(field.aliases or {}) do
      properties[alias] = json.object { { "description", "Other spelling of " .. field[1] } }
    end
    if field.required and field.aliases then
      alternatives[1] = json.object { { "required", json.array { field[1] } } }
      for _, alias in ipairs(field.aliases) do
        alternatives[#alternatives + 1] = json.object { { "required", json.array { alias } },
          { "properties", json.object { { alias, value } } } }
      end
    elseif field.required then
      required[#required + 1] = field[1]
    end
  end
  local out = json.object { { "type", "object" }, { "properties", properties } }
  if #required > 0 then out.required = required end
  if #alternatives > 0 then out.anyOf = alternatives end
  if t.schema.unknown == "error" then out.additionalProperties = false end
  return out
end

function kinds.variant(t)
  local list = json.array {}
  for i, name in ipairs(t.names) do
    local case = kinds.object { schema = t.cases[name] }
    case.properties[t.key] = json.object { { "const", name } }
    list[i] = case
  end
  return json.object { { "oneOf", list } }
end

--- The schema as an ordered value for bakery.json.
---@return table
function M.document()
  local out = json.object { { "$schema", M.ID }, { "title", "bakery.yaml" } }
  for key, value in json.pairs(of(schema.ROOT)) do out[key] = value end
  return out
end

return M
