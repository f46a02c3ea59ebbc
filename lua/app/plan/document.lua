--- The plan document: a bake file, plus what bake does not know under the top-level key `x-bakery`
--- (bake takes unknown top-level keys for variables). Nothing in it depends on where the project
--- lies, so the same project and commit give the same bytes.
local json = require "bakery.json"
local names = require "app.project.names"
local registries = require "app.project.registries"
local target_of = require "app.plan.target"
local stamp = require "app.stamp"

local M = {}

--- Version of the `x-bakery` object; raised when its meaning changes.
M.FORMAT = 1

local object = json.object

-- Groups: default, then each image and variant in order of first appearance.
local function groups(targets)
  local order, members = { "default" }, { default = {} }
  local function add(name, uid)
    if not name then return end
    if not members[name] then
      members[name] = {}
      order[#order + 1] = name
    end
    local list = members[name]
    if list[#list] ~= uid then list[#list + 1] = uid end
  end
  for _, target in ipairs(targets) do
    add("default", target.uid)
    add(target.image, target.uid)
    add(target.variant, target.uid)
  end
  local out = {}
  for i, name in ipairs(order) do
    out[i] = { name, object { { "targets", json.array(members[name]) } } }
  end
  return object(out)
end

local function cache_entry(ref, extra)
  local out = { { "type", "registry" }, { "ref", ref } }
  for _, pair in ipairs(extra or {}) do out[#out + 1] = pair end
  return json.array { object(out) }
end

local CACHE_TO = { { "mode", "max" }, { "compression", "zstd" }, { "oci-mediatypes", "true" } }

local function secrets_array(secrets)
  local out = json.array {}
  for i, secret in ipairs(secrets) do
    out[i] = object { { "type", "env" }, { "id", secret.id }, { "env", secret.env } }
  end
  return out
end

-- Where a target's cache is and its image goes. `cache_ref` is nil without a cache registry.
local function set_registries(out, cache_ref, temp, push)
  out["cache-from"] = cache_ref and cache_entry(cache_ref)
  out["cache-to"] = cache_ref and push and cache_entry(cache_ref, CACHE_TO) or nil
  out.output = temp and push and json.array { object { { "type", "image" },
    { "push-by-digest", "true" }, { "name-canonical", "true" }, { "push", "true" } } } or nil
end

local function bake_target(target, opts)
  local out = json.object()
  out.context = "."
  out.dockerfile = target.containerfile
  out.labels = target:labels(opts.created)
  local tags = opts.temp_registry and { target:temp_ref(opts.temp_registry) } or target.tags
  out.tags = json.array(tags)
  out.args = object(target.args)
  out.target = target.build_target
  out.platforms = json.array(target.platforms)
  set_registries(out, opts.cache_registry and target:cache_ref(opts.cache_registry),
    opts.temp_registry, opts.push)
  if #target.secrets > 0 then out.secret = secrets_array(target.secrets) end
  return out
end

-- Objects that many targets have in common are made once and shared: cache[make][key] = make(key).
local function shared(cache, make, key)
  cache[make] = cache[make] or {}
  local found = cache[make][key]
  if not found then
    found = make(key)
    cache[make][key] = found
  end
  return found
end

-- Effective options without null members and empty lists; tools without any are left out.
local function options_object(options)
  local out = {}
  for _, tool in ipairs { "goss", "soci", "hadolint", "wizcli" } do
    local members, keys = options[tool], {}
    for name, value in pairs(members) do
      if type(value) ~= "table" or next(value) ~= nil then keys[#keys + 1] = name end
    end
    table.sort(keys)
    local list = {}
    for i, name in ipairs(keys) do list[i] = { name, members[name] } end
    if #list > 0 then out[#out + 1] = { tool, object(list) } end
  end
  return object(out)
end

-- The spelling in tags where it is not the one derived from the name.
local function odd_tag_name(item)
  return item.tag_display_name ~= names.tag_display_name(item.name) and item.tag_display_name or nil
end

local function os_object(os_entry)
  local build_os = os_entry.build_os
  local out = { { "name", os_entry.name }, { "primary", os_entry.primary },
    { "id", build_os.name }, { "family", build_os.family }, { "version", build_os.version } }
  if build_os.codename then out[#out + 1] = { "codename", build_os.codename } end
  out[#out + 1] = { "tagName", odd_tag_name(os_entry) }
  return object(out)
end

local function dependencies_object(version)
  local list = {}
  for i, entry in ipairs(version.dependencies) do
    list[i] = { entry.dependency, json.array(entry.versions) }
  end
  return object(list)
end

local function repositories_array(version)
  return json.array(registries.repositories(version.image.name, version:registries()))
end

-- What the files of a development version are rendered with, besides its dependencies.
local function ephemeral_object(version, os_entry)
  local out = {}
  if #version.values.keys > 0 then
    local values = {}
    for i, key in ipairs(version.values.keys) do values[i] = { key, version.values.values[key] } end
    out[1] = { "values", object(values) }
  end
  if os_entry then
    out[#out + 1] = { "extension", os_entry.extension }
    if os_entry.artifact_download_url then out[#out + 1] = { "url", os_entry.artifact_download_url } end
  end
  return object(out)
end

local function extra_target(target, opts, cache)
  local model = target.model
  local version = model.version
  local out = json.object()
  out.image = target.image
  out.version = target.version
  out.variant = target.variant
  out.variantTagName = model.variant and odd_tag_name(model.variant)
  out.primaryVariant = model.variant and target.flags.primaryVariant or nil
  out.os = model.os and shared(cache, os_object, model.os)
  out.latest = target.flags.latest or nil
  out.matrix = version.is_matrix
  out.dev = version.is_dev
  out.channel = target.channel
  out.imageDir = target.image_dir
  out.versionDir = target.version_dir
  out.repositories = shared(cache, repositories_array, version)
  out.suffixes = json.array(target.suffixes)
  if #version.dependencies > 0 then
    out.dependencies = shared(cache, dependencies_object, version)
  end
  if version.ephemeral then out.ephemeral = ephemeral_object(version, model.os) end
  if opts.temp_registry then out.tags = json.array(target.tags) end
  out.options = shared(cache, options_object, target:tool_options())
  return out
end

local function project_object(project)
  local repository = project.repository
  return object { { "url", repository.url }, { "vendor", repository.vendor },
    { "maintainer", repository.maintainer.text } }
end

---@class app.plan.document_options
---@field project table|nil default: the project of the targets
---@field cache_registry string|nil
---@field temp_registry string|nil
---@field push boolean|nil
---@field epoch integer|nil fixes the creation time, seconds since 1970
---@field created string|nil fixes the creation time, RFC 3339

--- The document of chosen targets; key order is fixed.
---@param targets table[] of app.plan.targets
---@param opts app.plan.document_options|nil
---@return table document
function M.make(targets, opts)
  opts = opts or {}
  local first = targets[1]
  local settings = {
    cache_registry = opts.cache_registry,
    temp_registry = opts.temp_registry,
    push = opts.push,
    created = opts.created or opts.epoch and stamp.text(opts.epoch) or first and first.created,
  }
  local project = opts.project or first and first.model.image.project
  local bake, extra, cache = {}, {}, {}
  for i, target in ipairs(targets) do
    bake[i] = { target.uid, bake_target(target, settings) }
    extra[i] = { target.uid, extra_target(target, settings, cache) }
  end
  local head = { { "version", M.FORMAT } }
  if settings.created then head[#head + 1] = { "created", settings.created } end
  if first and first.revision then head[#head + 1] = { "revision", first.revision } end
  if project then head[#head + 1] = { "project", project_object(project) } end
  if opts.temp_registry then head[#head + 1] = { "tempRegistry", opts.temp_registry } end
  if opts.cache_registry then head[#head + 1] = { "cacheRegistry", opts.cache_registry } end
  head[#head + 1] = { "targets", object(extra) }
  return object {
    { "group", groups(targets) },
    { "target", object(bake) },
    { "x-bakery", object(head) },
  }
end

-- Spelling of an operating system or variant in tags, from what the plan holds of it.
local function tag_name(name, odd)
  return name and (odd or names.tag_display_name(name))
end

-- Cache entries of the command line are texts; they stay, those of the plan's registry are made again.
local function texts_of(list)
  local out = json.array {}
  for _, entry in ipairs(list or {}) do
    if type(entry) == "string" then out[#out + 1] = entry end
  end
  return out
end

local function append(out, member, list)
  if #list == 0 then return end
  out[member] = out[member] or json.array {}
  table.move(list, 1, #list, #out[member] + 1, out[member])
end

-- One target of a document for other registries or platforms.
local function settle_target(out, extra, opts)
  local from, to = texts_of(out["cache-from"]), texts_of(out["cache-to"])
  local final = extra.tags or out.tags
  out.tags = opts.temp_registry and json.array { target_of.temp_ref(opts.temp_registry, extra.image) } or final
  extra.tags = opts.temp_registry and final or nil
  local os_entry = extra.os or {}
  set_registries(out, opts.cache_registry and target_of.cache_ref(opts.cache_registry, extra.image, extra.version,
    tag_name(os_entry.name, os_entry.tagName), tag_name(extra.variant, extra.variantTagName), out.platforms),
    opts.temp_registry, opts.push)
  append(out, "cache-from", from)
  append(out, "cache-to", to)
end

--- Fits a document that was read from a file to this run: registries given now replace the plan's,
--- caches are written only when this run pushes, cache references follow the platforms. Targets
--- without our data stay as they are.
---@param doc table
---@param opts {cache_registry: string|nil, temp_registry: string|nil, push: boolean|nil}
---@return table settled {cache_registry, temp_registry} in force
function M.settle(doc, opts)
  local head = doc["x-bakery"]
  if not head then return { cache_registry = opts.cache_registry, temp_registry = opts.temp_registry } end
  local settled = { cache_registry = opts.cache_registry or head.cacheRegistry,
    temp_registry = opts.temp_registry or head.tempRegistry, push = opts.push }
  for uid, extra in pairs(head.targets) do settle_target(doc.target[uid], extra, settled) end
  head.tempRegistry, head.cacheRegistry = settled.temp_registry, settled.cache_registry
  return settled
end

--- The document as text: indented by 2, same document same bytes.
---@param doc table
---@return string
function M.encode(doc)
  return json.encode(doc, { indent = 2 }) .. "\n"
end

return M
