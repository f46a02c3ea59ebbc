--- Build metadata: one entry per target uid in the shape that buildx writes, so that later stages
--- (and other tools) find digests and names in it.
local fs = require "bakery.fs"
local json = require "bakery.json"
local problems = require "app.project.problems"

local M = {}

local CREATED = "org.opencontainers.image.created"

-- A name without tag means `latest`.
local function with_tag(name)
  if name:match("[^/]*$"):find(":", 1, true) or name:find("@", 1, true) then return name end
  return name .. ":latest"
end

local function platform_object(platform)
  local os_name, arch, variant = platform:match("^([^/]+)/([^/]+)/?(.*)$")
  if not os_name then return nil end
  local out = { { "os", os_name }, { "architecture", arch } }
  if variant ~= "" then out[#out + 1] = { "variant", variant } end
  return json.object(out)
end

local function descriptor(result, created)
  local top = result.top or { digest = result.digest, size = result.size }
  local out = {}
  local function add(key, value)
    if value ~= nil then out[#out + 1] = { key, value } end
  end
  add("mediaType", top.media_type or top.mediaType)
  add("digest", top.digest)
  add("size", top.size)
  if created then add("annotations", json.object { { CREATED, created } }) end
  if #result.platforms == 1 then add("platform", platform_object(result.platforms[1].platform)) end
  return json.object(out)
end

-- Base images as materials: pkg:docker/NAME@TAG?platform=…
local function materials(result)
  local out, seen = json.array {}, {}
  for _, item in ipairs(result.platforms) do
    local base = item.image and item.image.base
    local algorithm, hex = (base and base.digest or ""):match("^(%w+):(%x+)$")
    if hex and base.name then
      local name, tag = base.name:match("^(.-):([^:/@]+)$")
      local uri = ("pkg:docker/%s@%s?platform=%s"):format(name or base.name:gsub("@.*$", ""),
        tag or "latest", item.platform:gsub("/", "%%2F"))
      uri = uri:gsub("^pkg:docker/docker%.io/library/", "pkg:docker/")
      if not seen[uri] then
        seen[uri] = true
        out[#out + 1] = json.object { { "uri", uri },
          { "digest", json.object { { algorithm, hex } } } }
      end
    end
  end
  return out
end

local function provenance(result, entry)
  local args = {}
  local function add(prefix, map)
    local names = {}
    for name in pairs(map or {}) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do args[#args + 1] = { prefix .. name, map[name] } end
  end
  if entry then
    add("build-arg:", entry.args)
    add("label:", entry.labels)
  end
  local environment = {}
  if #result.platforms == 1 then environment[1] = { "platform", result.platforms[1].platform } end
  return json.object {
    { "buildType", "https://mobyproject.org/buildkit@v1" },
    { "materials", materials(result) },
    { "invocation", json.object {
      { "configSource", json.object { { "entryPoint", entry and entry.dockerfile } } },
      { "parameters", json.object { { "args", json.object(args) } } },
      { "environment", json.object(environment) },
    } },
  }
end

local function entry_of(result, bake)
  if result.metadata then return result.metadata end
  local names = {}
  for i, tag in ipairs(result.tags or {}) do names[i] = with_tag(tag) end
  local created = bake and bake.labels and bake.labels[CREATED]
  local out = {}
  local function add(key, value)
    if value ~= nil then out[#out + 1] = { key, value } end
  end
  if #names > 0 then add("image.name", table.concat(names, ",")) end
  add("containerimage.digest", (result.top or result).digest)
  if #result.platforms == 1 then
    local image = result.platforms[1].image
    add("containerimage.config.digest", image and image.config_digest or result.image_id)
  end
  add("containerimage.descriptor", descriptor(result, created))
  add("buildx.build.provenance", provenance(result, bake))
  return json.object(out)
end

--- The metadata document of finished targets: results {uid, tags, digest, platforms={{platform=,
--- image=, manifest=}…}, top={digest, size, media_type}|nil, metadata=ready entry|nil}.
---@param results table[]
---@param document table|nil plan document, for labels and arguments
---@return table
function M.document(results, document)
  local out = {}
  for i, result in ipairs(results) do
    local bake = document and document.target and document.target[result.uid]
    out[i] = { result.uid, entry_of(result, bake) }
  end
  return json.object(out)
end

local function platform_of(entry)
  local found = entry["containerimage.descriptor"]
  found = type(found) == "table" and found.platform
  if type(found) == "table" and found.os and found.architecture then
    local variant = type(found.variant) == "string" and found.variant ~= "" and found.variant
    if variant == "v8" and found.architecture == "arm64" then variant = nil end -- which is what it is without one
    return ("%s/%s%s"):format(found.os, found.architecture, variant and "/" .. variant or "")
  end
  local at = entry["buildx.build.provenance"]
  for _, key in ipairs { "invocation", "environment", "platform" } do
    at = type(at) == "table" and at[key] or nil
  end
  return type(at) == "string" and at or nil
end

local function created_of(entry)
  local at = entry["containerimage.descriptor"]
  at = type(at) == "table" and at.annotations
  if type(at) == "table" and type(at[CREATED]) == "string" then return at[CREATED] end
  at = entry["buildx.build.provenance"]
  for _, key in ipairs { "invocation", "parameters", "args", "label:" .. CREATED } do
    at = type(at) == "table" and at[key] or nil
  end
  return type(at) == "string" and at or nil
end

--- Derived values of one entry: {name, digest, ref, digest_ref, platform, created, entry}.
---@param entry table
---@return table
function M.derive(entry)
  local name = type(entry["image.name"]) == "string"
    and entry["image.name"]:match("^%s*([^,]-)%s*%f[,\0]") or nil
  local digest = entry["containerimage.digest"]
  if type(digest) ~= "string" then digest = nil end
  local untagged = name and name:gsub(":[^:/]*$", "")
  return {
    name = name,
    digest = digest,
    ref = name and (digest and name .. "@" .. digest or name),
    digest_ref = untagged and digest and untagged .. "@" .. digest,
    platform = platform_of(entry),
    created = created_of(entry),
    entry = entry,
  }
end

--- Reference by digest of a result that a tool described, or nil.
---@param result table {metadata=entry}
---@return string|nil
function M.ref(result)
  local found = result.metadata and M.derive(result.metadata)
  return found and found.digest and found.digest_ref or nil
end

--- Reads metadata files: uid -> derived entries in the order of the files. Foreign keys (values
--- that are no target's entry) are left out.
---@param files string[]
---@param known table<string, any>|nil uids to keep; default all objects with a digest
---@return table<string, table[]>|nil
---@return table|nil err
function M.read(files, known)
  local out = {}
  for _, file in ipairs(files) do
    local text, err = fs.read(file, 64 * 1024 * 1024)
    if not text then return nil, err end
    local doc
    doc, err = json.decode(text, { name = file })
    if doc == nil then return nil, err end
    if type(doc) ~= "table" or getmetatable(doc) == json.array_mt then
      return nil, problems.problem("metadata.invalid", "expected an object with a key per target",
        { where = file })
    end
    for uid, entry in pairs(doc) do
      if type(entry) == "table" and (known and known[uid]
        or not known and entry["containerimage.digest"]) then
        out[uid] = out[uid] or {}
        table.insert(out[uid], M.derive(entry))
      end
    end
  end
  return out
end

return M
