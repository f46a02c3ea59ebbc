--- Entries of `dependencies` (pinned versions) and `dependencyConstraints`, and matrix value axes.
--- A dependency that none of the known ones is says where its versions are looked up:
--- `dependency: numpy`, `from: pypi:numpy` (see resolvers/README.md).
local suggest = require "bakery.suggest"
local validate = require "app.project.validate"
local version = require "bakery.version"

local M = {}

M.NAMES = { "python", "R", "quarto", "positron", "node", "go" }
-- As JSON Schema. Numbers that look like versions keep their source text, with a warning.
M.TEXT_OR_TEXTS = { anyOf = { { type = { "string", "number" } },
  { type = "array", items = { type = { "string", "number" } } } } }
-- Dependencies without a prerelease channel.
local FINAL = { python = true, R = true }

-- Names stand in templates ({{ Dependencies.NAME }}) and build arguments (NAME_VERSION).
M.NAME = { kind = "custom", json = { type = "string", pattern = "^[A-Za-z_][A-Za-z0-9_]*$",
  examples = M.NAMES }, parse = function(node, path, ctx)
  local text, ok = validate.value({ kind = "string", what = "the name of a dependency" }, node, path, ctx)
  if not ok then return nil, false end
  if not text:find "^[%a_][%w_]*$" then
    ctx:error(node, path, "config.value", ("%q is not valid: letters, digits and _ make a name"):format(text))
    return nil, false
  end
  return text, true
end }
local RESOLVER = { kind = "string", check = function(text)
  if text:find "^[%w_-]+$" or text:find "^[%w_-]+:[^%s%c]+$" then return true end
  return false, "expected RESOLVER or RESOLVER:ARGUMENT, such as pypi:numpy"
end }
M.FROM = { "from", type = RESOLVER, null = true, doc = "Resolver of the versions: NAME or NAME:ARGUMENT" }

local known = {}
for _, name in ipairs(M.NAMES) do known[name] = true end

--- Checks that a dependency is known, or says where it comes from.
function M.known_or_from(obj, node, path, ctx)
  local name = obj.dependency
  if not name or known[name] or node.map.from then return end
  local near = suggest.nearest(name, M.NAMES)
  ctx:error(node.map.dependency, { up = path, key = "dependency" }, "config.value",
    ("expected one of %s, found %q"):format(table.concat(M.NAMES, ", "), name),
    near and ("did you mean %q?"):format(near) or "another one needs `from`, such as from: pypi:numpy")
end
local VERSION = { kind = "string", version = "any", what = "a version (text)" }
local BOOL = { kind = "bool" }

local function parse_versions(node, path, ctx)
  if node.kind == "seq" then
    local out, ok = validate.value({ kind = "list", of = VERSION }, node, path, ctx)
    if ok and #out == 0 then
      ctx:error(node, path, "config.value", "the list of versions cannot be empty")
      return nil, false
    end
    return out, ok
  end
  local text, ok = validate.value({ kind = "string", version = "any",
    what = "a version or a list of versions" }, node, path, ctx)
  if not ok then return nil, false end
  local out = {}
  for part in (text .. ","):gmatch("([^,]*),") do out[#out + 1] = part:match("^%s*(.-)%s*$") end
  return out, true
end

local function only_with_prerelease(obj, node, path, ctx)
  local source = node.map.prerelease
  if source and obj.dependency and FINAL[obj.dependency] and not node.map.from then
    ctx:error(source, { up = path, key = "prerelease" }, "config.unknown_key",
      ("%s has no prerelease versions; remove the key"):format(obj.dependency))
  end
end

local function one_spelling(_, node, path, ctx)
  if node.map.version and node.map.versions then
    ctx:error(node.map.version, { up = path, key = "version" }, "config.conflict",
      "both version and versions are given", "keep one of them")
  end
end

local function one_quarto(obj, node, path, ctx)
  if obj.dependency == "quarto" and obj.versions and #obj.versions > 1 then
    ctx:error(node.map.versions or node.map.version, path, "config.value",
      ("quarto takes exactly one version, found %d"):format(#obj.versions))
  end
end

M.versions_schema = {
  title = "dependency",
  unknown = "error",
  fields = {
    { "dependency", type = M.NAME, required = true },
    M.FROM,
    { "versions", required = true, aliases = { "version" },
      type = { kind = "custom", parse = parse_versions,
        json = M.TEXT_OR_TEXTS } },
    { "prerelease", type = BOOL, default = false },
  },
  finish = { M.known_or_from, one_spelling, only_with_prerelease, one_quarto },
}
M.versions_type = { kind = "object", schema = M.versions_schema }

-- Bounds: a number is taken as its source text, so that 4.10 stays 4.10.
local function parse_bound(node, path, ctx)
  if node.kind == "scalar" and (node.type == "int" or node.type == "float") then
    if node.text:find("%.%d*0$") then
      ctx:warn(node, path, "config.unquoted",
        ("the number %s is taken as the text %q"):format(node.text, node.text),
        ('quote it: "%s"'):format(node.text))
    end
    return node.text, true
  end
  return validate.value({ kind = "string", what = "a version" }, node, path, ctx)
end
local BOUND = { kind = "custom", parse = parse_bound, json = { type = { "string", "number" } } }

local function check_constraint(obj, node, path, ctx)
  if next(obj._bad) then return end
  local set = node.map
  local function conflict(key, message)
    ctx:error(set[key] or node, set[key] and { up = path, key = key } or path, "config.conflict",
      message)
  end
  local latest, has_max = obj.latest ~= nil, obj.max ~= nil
  if not latest and not has_max then
    return conflict("", "a constraint needs latest or max")
  end
  if latest and has_max then return conflict("max", "latest and max exclude each other") end
  if obj.count and obj.min then
    return conflict("count", "count and min exclude each other")
  end
  if obj.min and has_max then
    local min, max = version.pep440(obj.min), version.pep440(obj.max)
    for key, parsed in pairs { min = min or false, max = max or false } do
      if not parsed then
        ctx:error(set[key], { up = path, key = key }, "config.value",
          ("%q is not a version"):format(obj[key]))
      end
    end
    if min and max and max < min then
      conflict("min", ("min %s is above max %s"):format(obj.min, obj.max))
    end
  end
  if obj.latest and not obj.count and not obj.min then obj.count = 1 end
end

M.constraint_schema = {
  title = "version constraint",
  fields = {
    { "latest", type = BOOL, null = true, doc = "Take the newest versions" },
    { "count", type = { kind = "int", above = 0 }, null = true, doc = "How many minor versions" },
    { "max", type = BOUND, null = true },
    { "min", type = BOUND, null = true },
  },
  finish = { check_constraint },
}
M.constraint_entry_schema = {
  title = "dependency constraint",
  unknown = "error",
  fields = {
    { "dependency", type = M.NAME, required = true },
    M.FROM,
    { "constraint", type = { kind = "object", schema = M.constraint_schema }, required = true },
    { "prerelease", type = BOOL, default = false },
  },
  finish = { M.known_or_from, only_with_prerelease },
}
M.constraint_type = { kind = "object", schema = M.constraint_entry_schema }

-- A matrix value: text, or a list whose members are checked when rows are made.
local AXIS_VALUE = { kind = "string", version = "dotted", what = "a text or a list of texts" }

local function parse_axis(node, path, ctx)
  if node.kind ~= "seq" then
    local text, ok = validate.value(AXIS_VALUE, node, path, ctx)
    if not ok then return nil, false end
    return { text = text }, true
  end
  local axis = { list = {} }
  for i, item in ipairs(node.items) do
    local place = { up = path, key = i }
    local numeric = item.kind == "scalar" and item.type == "float"
    local version_like = numeric and item.text:find("^%d+%.%d+$")
    if item.kind == "scalar" and (item.type == "str" or version_like) then
      axis.list[i] = validate.value(AXIS_VALUE, item, place, ctx)
    else
      axis.bad = axis.bad or { node = item, path = place, found = validate.describe(item) }
      axis.list[i] = false
    end
  end
  if axis.bad then
    ctx:warn(axis.bad.node, axis.bad.path, "config.matrix_value",
      ("a member must be a text, found %s: the matrix cannot be expanded"):format(axis.bad.found),
      axis.bad.node.kind == "scalar" and ('quote it: "%s"'):format(axis.bad.node.text) or nil)
  end
  return axis, true
end
M.axis_type = { kind = "custom", parse = parse_axis,
  json = M.TEXT_OR_TEXTS }

return M
