--- Checks a YAML node against a type of schema.lua and returns the plain value: defaults filled in,
--- scalars coerced, every problem recorded. Objects carry their source: `_node` (the YAML map),
--- `_set` (keys that are written in the file), `_path`.
local names = require "app.project.names"
local suggest = require "bakery.suggest"

local M = {}

local ANY = {} -- what an invalid member leaves behind for checks that look at siblings

local KIND = { map = "a mapping", seq = "a list" }
local TYPE = { int = "the number %s", float = "the number %s", bool = "%s", date = "the date %s" }

--- What a node is, in words for a message.
---@param node table
---@return string
function M.describe(node)
  if node.kind ~= "scalar" then return KIND[node.kind] end
  if node.type == "null" then return "nothing (null)" end
  if TYPE[node.type] then return TYPE[node.type]:format(node.text) end
  local text = node.value
  if #text > 40 then text = text:sub(1, 37) .. "..." end
  return ("the text %q"):format(text)
end

local function expected(ctx, node, path, what, hint)
  ctx:error(node, path, "config.type", ("expected %s, found %s"):format(what, M.describe(node)),
    hint)
  return nil, false
end

local function is_null(node)
  return node.kind == "scalar" and node.type == "null"
end
M.is_null = is_null

local check = {}

-- Numbers that look like versions keep their source text where a version is meant.
local function version_text(kind, node)
  if node.type ~= "int" and node.type ~= "float" then return nil end
  if node.text:find("^%d+%.[%d.]*%d$") then return node.text end
  if kind == "any" and node.text:find("^%d+$") then return node.text end
end

function check.string(t, node, path, ctx)
  if node.kind ~= "scalar" then return expected(ctx, node, path, t.what or "a text") end
  local value = node.value
  if node.type ~= "str" then
    value = t.version and version_text(t.version, node)
    if not value then
      local hint = node.type ~= "null" and ('quote it: "%s"'):format(node.text) or nil
      return expected(ctx, node, path, t.what or "a text", hint)
    end
    ctx:warn(node, path, "config.unquoted",
      ("the number %s is taken as the text %q"):format(node.text, value),
      ('quote it: "%s"'):format(value))
  end
  if t.min and #value < t.min then
    ctx:error(node, path, "config.value", "must not be empty")
    return nil, false
  end
  if t.check then
    local ok, reason, hint = t.check(value)
    if ok == nil or ok == false then
      ctx:error(node, path, "config.value", ("%q is not valid: %s"):format(value, reason), hint)
      return nil, false
    end
    if type(ok) == "string" then value = ok end
  end
  return value, true
end

local TRUE = { ["true"] = true, yes = true, on = true, y = true, t = true, ["1"] = true }
local FALSE = { ["false"] = true, no = true, off = true, n = true, f = true, ["0"] = true }

function check.bool(_, node, path, ctx)
  if node.kind == "scalar" then
    local value = node.value
    if node.type == "bool" then return value, true end
    if math.type(value) and (value == 0 or value == 1) then return value == 1, true end
    if node.type == "str" then
      if TRUE[value:lower()] then return true, true end
      if FALSE[value:lower()] then return false, true end
    end
  end
  return expected(ctx, node, path, "true or false")
end

function check.int(t, node, path, ctx)
  local value
  if node.kind == "scalar" then
    if node.type == "int" or node.type == "float" then
      value = math.tointeger(node.value)
    elseif node.type == "bool" then
      value = node.value and 1 or 0
    elseif node.type == "str" and node.value:find("^%s*[+-]?%d+%s*$") then
      value = math.tointeger(tonumber((node.value:gsub("[+%s]", ""))))
    end
  end
  if not value then return expected(ctx, node, path, "a whole number") end
  if t.above and value <= t.above then
    ctx:error(node, path, "config.value", ("must be above %d, found %d"):format(t.above, value))
    return nil, false
  end
  return value, true
end

function check.enum(t, node, path, ctx)
  local value = node.kind == "scalar" and node.type == "str" and node.value
  for _, member in ipairs(t.values) do
    if value == member then return t.alias and t.alias[value] or value, true end
  end
  local near = value and suggest.nearest(value, t.values)
  return expected(ctx, node, path, "one of " .. table.concat(t.values, ", "),
    near and ("did you mean %q?"):format(near))
end

function check.list(t, node, path, ctx)
  if node.kind ~= "seq" then
    local hint = node.kind == "scalar" and "write it as a list: - value" or nil
    if is_null(node) then hint = "leave the key out or write []" end
    return expected(ctx, node, path, "a list", hint)
  end
  local out, good = {}, true
  for i, item in ipairs(node.items) do
    local value, ok = M.value(t.of, item, { up = path, key = i }, ctx)
    if ok then out[#out + 1] = value else good = false end
  end
  return out, good
end

local function bad_key(ctx, key, path)
  ctx:error(key, path, "config.type", ("expected a text as key, found %s"):format(M.describe(key)),
    key.kind == "scalar" and ('quote it: "%s"'):format(key.text or "") or nil)
end

-- A mapping with free keys: the value keeps the order of the file in `keys`.
function check.map(t, node, path, ctx)
  if node.kind ~= "map" then
    return expected(ctx, node, path, "a mapping", is_null(node) and "leave the key out or write {}")
  end
  local out, good = { keys = {}, values = {}, nodes = {} }, true
  for _, pair in ipairs(node.keys) do
    if pair.key.kind ~= "scalar" or pair.key.type ~= "str" then
      bad_key(ctx, pair.key, path)
      good = false
    else
      local key = pair.key.value
      local value, ok = M.value(t.of, pair.value, { up = path, key = key }, ctx)
      if ok then
        out.keys[#out.keys + 1] = key
        out.values[key] = value
        out.nodes[key] = pair.value
      else
        good = false
      end
    end
  end
  return out, good
end

function check.custom(t, node, path, ctx)
  return t.parse(node, path, ctx)
end

-- What an object schema says about keys, worked out once: the names to show, the set of all, the
-- member name of every field.
local facts_of = setmetatable({}, { __mode = "k" })

local function facts(schema)
  local found = facts_of[schema]
  if not found then
    found = { shown = {}, known = {}, member = {} }
    for _, field in ipairs(schema.fields) do
      found.member[field] = field.as or names.snake(field[1])
      found.known[field[1]] = true
      if not field.hidden then table.insert(found.shown, field[1]) end
      for _, alias in ipairs(field.aliases or {}) do
        found.known[alias] = true
        table.insert(found.shown, alias)
      end
    end
    facts_of[schema] = found
  end
  return found
end

local function unknown_keys(schema, node, path, ctx)
  local known = facts(schema).known
  for _, pair in ipairs(node.keys) do
    local key = pair.key.kind == "scalar" and pair.key.type == "str" and pair.key.value
    if not key then
      if schema.unknown == "error" then bad_key(ctx, pair.key, path) end
    elseif not known[key] then
      local near = suggest.nearest(key, facts(schema).shown)
      local hint = near and not node.map[near] and ("did you mean %q?"):format(near) or nil
      local place = { up = path, key = key }
      if schema.unknown == "error" then
        ctx:error(pair.key, place, "config.unknown_key",
          ("unknown key in %s; allowed: %s"):format(schema.title,
            table.concat(facts(schema).shown, ", ")), hint)
      elseif hint and not key:find("^x%-") then
        ctx:warn(pair.key, place, "config.unknown_key", "unknown key, ignored", hint)
      end
    end
  end
end

local function read_field(field, name, obj, node, path, ctx)
  local key, source = field[1], node.map[field[1]]
  for _, alias in ipairs(not source and field.aliases or {}) do
    if not source then key, source = alias, node.map[alias] end
  end
  if not source then
    if field.required then
      ctx:error(node, path, "config.required", ("the key %q is missing"):format(field[1]))
      obj._bad[name] = true
    end
    return
  end
  obj._set[name] = true
  if field.null and is_null(source) then return end
  local value, ok = M.value(field.type, source, { up = path, key = key }, ctx)
  if ok then
    obj[name] = value
  else
    obj._bad[name] = true
  end
end

local function fill_defaults(schema, obj)
  local member = facts(schema).member
  for _, field in ipairs(schema.fields) do
    local name, default = member[field], field.default
    if default ~= nil and obj[name] == nil and not (field.null and obj._set[name]) then
      if type(default) == "function" then default = default(obj) end
      if type(default) == "table" then default = M.copy(default) end
      obj[name] = default
    end
  end
end

function check.object(t, node, path, ctx)
  local schema = t.schema
  if node.kind ~= "map" then
    return expected(ctx, node, path, "a mapping (" .. schema.title .. ")",
      is_null(node) and "leave the key out")
  end
  local before = #ctx.errors
  local obj = { _node = node, _path = path, _set = {}, _bad = {} }
  local member = facts(schema).member
  for _, field in ipairs(schema.fields) do
    read_field(field, member[field], obj, node, path, ctx)
  end
  unknown_keys(schema, node, path, ctx)
  fill_defaults(schema, obj)
  for _, finish in ipairs(schema.finish or {}) do finish(obj, node, path, ctx) end
  obj._bad = next(obj._bad) and obj._bad or ANY
  return obj, #ctx.errors == before
end

-- One of several objects, told apart by a key.
function check.variant(t, node, path, ctx)
  if node.kind ~= "map" then return expected(ctx, node, path, "a mapping (" .. t.title .. ")") end
  local source = node.map[t.key]
  local place = { up = path, key = t.key }
  if not source then
    ctx:error(node, path, "config.required",
      ("the key %q is missing; it is one of %s"):format(t.key, table.concat(t.names, ", ")))
    return nil, false
  end
  local name = check.enum({ values = t.names }, source, place, ctx)
  if not name then return nil, false end
  return check.object({ schema = t.cases[name] }, node, path, ctx)
end

--- Checks one node against one type.
---@param t table type of schema.lua
---@param node table YAML node
---@param path table linked key path
---@param ctx app.project.problems
---@return any value
---@return boolean ok false when an error was recorded
function M.value(t, node, path, ctx)
  return check[t.kind](t, node, path, ctx)
end

--- Copies plain data (not metatables or source links).
function M.copy(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for k, v in pairs(value) do out[k] = M.copy(v) end
  return out
end

return M
