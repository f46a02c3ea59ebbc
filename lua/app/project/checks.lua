--- Checks and derivations that schema.lua names: single texts, and objects whose members depend on
--- each other. Object checks have the form check(obj, node, path, ctx) and run after all fields.
local os_table = require "app.project.os"
local people = require "app.project.people"
local registries = require "app.project.registries"

local M = {}

-- --- texts -------------------------------------------------------------------------------------

--- Containerfile suffix of an operating system or variant.
function M.extension(text)
  if text:find("^[%w_-]+$") then return true end
  return nil, "only letters, digits, _ and - are allowed, at least one"
end

--- Spelling of an operating system or variant in tags.
function M.tag_display_name(text)
  if text:find("^[%w_.-]+$") then return true end
  return nil, "only letters, digits, _ . and - are allowed, at least one"
end

function M.secret_id(text)
  if text:find("^[%w_][%w_.-]*$") then return true end
  return nil, "letters, digits and _, then also . and -"
end

function M.env_var(text)
  if text:find("^[%a_][%w_]*$") then return true end
  return nil, "it is not a name of an environment variable"
end

--- A tag pattern is made of a-z 0-9 - _ . and {{ … }}; a block may span several expressions.
function M.tag_pattern(text)
  local n = #text
  local ok, open_end = { [n + 1] = true }, {}
  -- open_end[i]: some "}}" at or after i, with no line break between, is followed by a good rest.
  for i = n, 1, -1 do
    local c = text:sub(i, i)
    open_end[i] = c ~= "\n" and open_end[i + 1] or text:sub(i, i + 1) == "}}" and ok[i + 2] or false
    if c:find("[a-z0-9_.-]") then ok[i] = ok[i + 1] end
    if not ok[i] and text:sub(i, i + 1) == "{{" and text:sub(i + 2, i + 2) ~= "\n" then
      ok[i] = open_end[i + 3]
    end
  end
  if n > 0 and ok[1] then return true end
  return nil, "a pattern is made of lower-case letters, digits, - _ . and {{ … }} blocks",
    text:find("%u") and "write capital letters inside a block: {{ \"R\" }}" or nil
end

-- --- small objects -----------------------------------------------------------------------------

function M.authors(obj, node, path, ctx)
  local dropped
  obj.authors, dropped = people.unique(obj.authors)
  if #dropped > 0 then
    ctx:warn(node.map.authors, { up = path, key = "authors" }, "config.duplicate",
      "authors named twice are dropped: " .. table.concat(dropped, ", "))
  end
end

function M.registry_base(obj)
  if obj.host then obj.base = registries.base(obj) end
end

local DERIVED = { { "extension", M.extension }, { "tag_display_name", M.tag_display_name } }

--- The derived names are checked like written ones: `name: "!"` has no extension.
function M.derived_names(obj, node, path, ctx)
  for _, field in ipairs(DERIVED) do
    local name, check = field[1], field[2]
    if obj[name] and not obj._set[name] then
      local ok, reason = check(obj[name])
      if not ok then
        ctx:error(node.map.name, { up = path, key = "name" }, "config.value",
          ("%q, derived from the name, is not valid: %s"):format(obj[name], reason),
          name == "extension" and "set extension" or "set tagDisplayName")
      end
    end
  end
end

function M.build_os(obj, node, path, ctx)
  if not obj.name then return end
  local warning
  obj.build_os, warning = os_table.identify(obj.name)
  if warning then
    ctx:warn(node.map.name, { up = path, key = "name" }, "config.unknown_os",
      ("%q: %s"):format(obj.name, warning))
  end
end

function M.legacy_stream(_, node, path, ctx)
  if node.map.stream and not node.map.channel then
    ctx:warn(node.map.stream, { up = path, key = "stream" }, "config.deprecated",
      "the key stream is deprecated", "rename it to channel")
  end
end

-- --- lists -------------------------------------------------------------------------------------

--- `list` may hold each `key` once.
---@param list string member of the object
---@param key string member of its items
---@return function check
function M.unique(list, key)
  return function(obj, _, _, ctx)
    local first = {}
    for _, item in ipairs(obj[list] or {}) do
      local value = item[key]
      if value and first[value] then
        local node = item._node.map[key]
        ctx:error(node, { up = item._path, key = key }, "config.duplicate",
          ("%q is used twice (first in line %d)"):format(value, first[value].line))
      elseif value then
        first[value] = item._node.map[key]
      end
    end
  end
end

--- Extra and override lists: merged duplicates, order, not both.
function M.registries(obj, node, path, ctx)
  for _, key in ipairs { "extra_registries", "override_registries" } do
    obj[key] = registries.normalise(obj[key], ctx)
  end
  if #obj.extra_registries > 0 and #obj.override_registries > 0 then
    ctx:error(node.map.overrideRegistries, { up = path, key = "overrideRegistries" },
      "config.conflict",
      ("extraRegistries and overrideRegistries exclude each other%s"):format(
        obj.name and (" (%q has both)"):format(obj.name) or ""))
  end
end

local function same_os(a, b)
  return a.name == b.name and a.extension == b.extension
    and a.tag_display_name == b.tag_display_name
end

local function unique_oses(list, ctx)
  local out, index = {}, {}
  for _, item in ipairs(list) do
    local first
    for _, other in ipairs(out) do first = first or same_os(item, other) and other end
    if first then
      ctx:warn(item._node, item._path, "config.duplicate",
        ("the operating system %q is named twice"):format(item.name))
    else
      out[#out + 1] = item
      index[item] = #out
    end
  end
  table.sort(out, function(a, b)
    if a.name ~= b.name then return a.name < b.name end
    return index[a] < index[b]
  end)
  return out
end

--- The pipeline of every `os` list: duplicates, order, which one is primary.
function M.os_list(obj, node, path, ctx)
  if obj._bad.os then return end
  local place = { up = path, key = "os" }
  local list = unique_oses(obj.os, ctx)
  obj.os = list
  local primary = 0
  for _, item in ipairs(list) do primary = primary + (item.primary and 1 or 0) end
  if #list == 0 then
    ctx:warn(node.map.os or node, place, "config.no_os", "no operating systems are defined")
  elseif #list == 1 then
    if not list[1].primary and not obj.source_type then
      ctx:note(list[1]._node, list[1]._path, "config.primary",
        ("%q is the only operating system and becomes primary"):format(list[1].name))
    end
    list[1].primary = true
  elseif primary > 1 then
    ctx:error(node.map.os, place, "config.primary",
      ("%d operating systems are primary; only one may be"):format(primary))
  elseif primary == 0 then
    ctx:warn(node.map.os, place, "config.primary", "no operating system is primary")
  end
end

-- --- matrix, image, root -----------------------------------------------------------------------

function M.matrix_inputs(obj, node, path, ctx)
  if obj._bad.dependencies or obj._bad.dependency_constraints or obj._bad.values then return end
  if #obj.dependencies == 0 and #obj.dependency_constraints == 0 and #obj.values.keys == 0 then
    ctx:error(node, path, "config.value", "a matrix needs dependencies or values")
  end
  local pinned = {}
  for _, item in ipairs(obj.dependencies) do pinned[item.dependency] = true end
  for _, item in ipairs(obj.dependency_constraints) do
    if pinned[item.dependency] then
      ctx:error(item._node.map.dependency, { up = item._path, key = "dependency" },
        "config.duplicate", ("%q is already in dependencies"):format(item.dependency))
    end
  end
end

local function warn_several(obj, list, flag, ctx)
  local first
  for _, item in ipairs(obj[list]) do
    if item[flag] and first then
      ctx:warn(item._node.map[flag], { up = item._path, key = flag }, "config." .. flag,
        ("%q is %s, but so is %q"):format(item.name, flag, first.name))
    end
    first = first or item[flag] and item
  end
end

function M.image(obj, node, path, ctx)
  if obj._bad.versions or obj._bad.dev_versions or obj._bad.matrix then return end
  if #obj.versions == 0 and #obj.dev_versions == 0 and not obj.matrix then
    ctx:warn(node, path, "config.no_versions",
      ("image %q has no versions, devVersions or matrix"):format(obj.name or ""))
  end
  if obj.matrix and #obj.dependency_constraints > 0 then
    ctx:warn(node.map.dependencyConstraints, { up = path, key = "dependencyConstraints" },
      "config.ignored", "dependencyConstraints of an image with a matrix are ignored",
      "move them into the matrix")
  end
  if obj.matrix and #obj.versions > 0 then
    ctx:warn(node.map.versions, { up = path, key = "versions" }, "config.ignored",
      "versions of an image with a matrix are ignored")
  end
  warn_several(obj, "versions", "latest", ctx)
  warn_several(obj, "variants", "primary", ctx)
end

--- A mirror: where look-ups go instead.
function M.mirror(text)
  if text:find "^https?://[^/%s]" then return true end
  return false, "expected an http(s) URL"
end

--- The keys of `mirrors` are beginnings of URLs.
function M.mirror_prefixes(obj, _, path, ctx)
  for _, key in ipairs(obj.mirrors and obj.mirrors.keys or {}) do
    if not key:find "^https?://[^/%s]" then
      ctx:error(obj.mirrors.nodes[key], { up = { up = path, key = "mirrors" }, key = key }, "config.value",
        ("%q is not the beginning of an http(s) URL"):format(key))
    end
  end
end

function M.root(obj, node, path, ctx)
  obj.registries = registries.normalise(obj.registries, ctx)
  M.unique("images", "name")(obj, node, path, ctx)
  if #obj.images == 0 and not obj._bad.images then
    ctx:warn(node.map.images or node, { up = path, key = "images" }, "config.no_images",
      "no images are defined; most commands need one")
  end
end

return M
