--- The remote step cache: one OCI manifest per cache reference (`REPO/IMAGE/cache:TAG`), whose config
--- lists step keys with the layer each of them made, and whose layers are those blobs. A key holds all
--- that a step's result depends on, so a hit needs no download until somebody wants the files.
--- A previous image can serve too: with `type=inline` its config carries the keys of its own layers.
---
--- Config (application/vnd.bakery.cache.config.v1+json):
---   { "version": 1, "codec": {"name","level","version"}, "keys": [ { "key", "diff_id", "created", "seconds", "layer" } ],
---     "views": [ { "key", "digest" } ] }
--- `layer` counts the manifest's layers from 0; a view is what a COPY takes from a chain (keys.view).
local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local task = require "bakery.task"
local fail = require "app.fail"
local output = require "app.backend.embedded.output"

local M = {}

local ARTIFACT = "application/vnd.bakery.cache.v1"
local CONFIG = "application/vnd.bakery.cache.config.v1+json"
local MANIFEST = require("bakery.image.media").oci.manifest
local CREATED = "org.opencontainers.image.created"
local VERSION = 1
local MAX_CONFIG = 32 << 20
local DAY = 86400

--- Name of the image config's member that an inline cache is in.
M.INLINE = "bakery.cache.v1"

--- Reads a cache entry of a plan or of the command line: "REF", "type=registry,ref=REF,mode=min" or
--- { type=, ref=, mode= }. Kinds that only BuildKit knows (gha, s3, local …) give nil.
---@param entry string|table
---@return table|nil { type="registry"|"inline", ref=, mode="min"|"max" }
function M.parse_entry(entry)
  local out = {}
  if type(entry) == "string" then
    if not entry:find("=", 1, true) then
      out.ref = entry
    else
      for k, v in entry:gmatch "([^=,]+)=([^,]*)" do out[k] = v end
    end
  else
    for k, v in json.pairs(entry) do out[k] = v end
  end
  out.type = out.type or "registry"
  if out.type == "inline" then return { type = "inline" } end
  if out.type ~= "registry" or not out.ref then return nil end
  local ref = fail.within("cache " .. tostring(out.ref), oci.ref(out.ref))
  if out.mode and out.mode ~= "min" and out.mode ~= "max" then
    fail.raise { class = "usage", code = "usage", message = "cache " .. out.ref .. ": mode is min or max, not '" .. out.mode .. "'" }
  end
  return { type = "registry", ref = tostring(ref), repository = ref.registry .. "/" .. ref.repository,
    mode = out.mode or "min" }
end

--- The codec that this build's layer blobs are made with; a cache of another one is not used, so that
--- an image has the same digest with and without a cache.
local function codec_of(build)
  return { name = build.compression, level = build.level or 0, version = output.CODEC_VERSION }
end

local function same_codec(a, b)
  return type(a) == "table" and a.name == b.name and a.level == b.level and a.version == b.version
end

local function bad_cache(ref, why)
  return { class = "infra", code = "cache.malformed", message = "cache " .. ref .. ": " .. why }
end

local HEX64 = ("%x"):rep(64)
local function is_hex(text) return type(text) == "string" and text:match("^" .. HEX64 .. "$") ~= nil end
local function is_diff_id(text) return type(text) == "string" and text:match("^sha256:" .. HEX64 .. "$") ~= nil end

-- The records of a cache document whose layers are the manifest's, by key; nil, why for rubbish.
local function read_keys(doc, layers, repository)
  if type(doc) ~= "table" or doc.version ~= VERSION or type(doc.keys) ~= "table" then return nil, "not a cache document" end
  local records = {}
  for _, k in ipairs(doc.keys) do
    local layer = type(k) == "table" and math.type(k.layer) == "integer" and layers[k.layer + 1]
    if not layer or not is_hex(k.key) or not is_diff_id(k.diff_id) then
      return nil, "malformed key"
    end
    records[k.key] = { diff_id = k.diff_id, created = math.type(k.created) == "integer" and k.created or nil,
      seconds = tonumber(k.seconds) or 0, source = repository,
      blob = { mediaType = layer.mediaType, digest = layer.digest, size = layer.size } }
  end
  for _, v in ipairs(type(doc.views) == "table" and doc.views or {}) do
    if type(v) ~= "table" or not is_hex(v.key) or type(v.digest) ~= "string" then return nil, "malformed view" end
    records[v.key] = { view = v.digest }
  end
  return records
end

local function too_old(build, manifest)
  if not build.cache_ttl then return false end
  local stamp = manifest.annotations and manifest.annotations[CREATED]
  local y, mo, d, h, mi, s = tostring(stamp):match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)Z$"
  if not y then return true end
  local made = os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = s }
  local utc = os.time(os.date "!*t" --[[@as osdateparam]])
  return utc - made > build.cache_ttl * DAY
end

local function fetch(build, entry, platform)
  local found, err = build.client:resolve(entry.ref, { platform = platform })
  if not found then
    if err.code == "oci.not_found" or err.code == "oci.platform" then return {} end
    return nil, err
  end
  local manifest = found.manifest
  local is_cache = manifest.artifactType == ARTIFACT
  if type(manifest.config) ~= "table" or type(manifest.layers) ~= "table" then
    return nil, bad_cache(entry.ref, "neither a cache nor an image")
  end
  if is_cache and too_old(build, manifest) then return {} end
  local text, problem = build.client:blob_data(entry.repository, manifest.config, { max = MAX_CONFIG })
  if not text then return nil, problem end
  local doc = json.decode(text)
  if type(doc) == "table" and not is_cache then
    if manifest.config.mediaType == CONFIG then return nil, bad_cache(entry.ref, "malformed manifest") end
    doc = doc[M.INLINE]
    if doc == nil then return {} end -- an image without inline cache
  end
  if type(doc) == "table" and doc.version == VERSION and not same_codec(doc.codec, codec_of(build)) then return {} end
  local records, why = read_keys(doc, manifest.layers, entry.repository)
  if not records then return nil, bad_cache(entry.ref, why) end
  return records
end

-- The records of one cache reference, fetched when first asked for. A cache that cannot be had costs
-- time, never the build; a registry that was away after all attempts is not asked for the next one.
local function records_of(build, where, entry)
  local host = entry.ref:match "^[^/]+"
  build.caches_away = build.caches_away or {}
  return build.once:run("cache:" .. entry.ref .. "@" .. where.platform, function()
    if build.caches_away[host] then return {} end
    local records, err = fetch(build, entry, where.platform)
    if records then return records end
    local more = ""
    if err.retryable then
      if build.caches_away[host] then return {} end
      build.caches_away[host], more = true, "; " .. host .. " is not asked for caches again in this build"
    end
    build:warn(where.target, entry.ref, "cache not used: " .. tostring(err.message or err) .. more)
    return {}
  end)
end

--- Looks a step key up in the target's remote caches.
---@param build table
---@param where table of the target: cache_from = list of parse_entry results
---@param key string
---@return table|nil record { diff_id=, created=, seconds=, blob=, source= }, or { view= }
function M.lookup(build, where, key)
  if build.no_cache then return end
  for _, entry in ipairs(where.cache_from or {}) do
    local record = records_of(build, where, entry)[key]
    if record then return record end
  end
end

local function cache_document(build, entries, index_of)
  local list, views, seen = json.array {}, json.array {}, {}
  for _, e in ipairs(entries) do
    if not seen[e.key] and e.view then
      views[#views + 1] = json.object { { "key", e.key }, { "digest", e.view } }
    elseif not seen[e.key] then
      list[#list + 1] = json.object { { "key", e.key }, { "diff_id", e.diff_id }, { "created", e.created },
        { "seconds", tonumber(("%.3f"):format(e.seconds or 0)) }, { "layer", index_of[e.diff_id] } }
    end
    seen[e.key] = true
  end
  local codec = codec_of(build)
  return json.object { { "version", VERSION },
    { "codec", json.object { { "name", codec.name }, { "level", codec.level }, { "version", codec.version } } },
    { "keys", list }, { "views", views } }
end

--- What an image config carries as inline cache: the keys of the image's own layers.
---@param build table
---@param entries table[] of stages.build
---@param chain table
---@return table json.object
function M.inline_document(build, entries, chain)
  local index_of, own = {}, {}
  for i, layer in ipairs(chain) do index_of[layer.diff_id] = index_of[layer.diff_id] or i - 1 end
  for _, e in ipairs(entries) do
    -- Times stay out: the document must be the same whenever it is made.
    if e.view or index_of[e.diff_id] then own[#own + 1] = { key = e.key, diff_id = e.diff_id, view = e.view } end
  end
  return cache_document(build, own, index_of)
end

-- Entries of all platforms that the mode asks for; min keeps what the images consist of.
local function wanted(result, mode)
  local out = {}
  for _, p in ipairs(result.platforms) do
    local in_image = {}
    for _, layer in ipairs(p.image.chain) do in_image[layer.diff_id] = true end
    for _, e in ipairs(p.entries or {}) do
      if mode == "max" or e.view or in_image[e.diff_id] then out[#out + 1] = e end
    end
  end
  return out
end

local function export_one(build, result, entry)
  local entries = wanted(result, entry.mode)
  local layers, index_of, todo = json.array {}, {}, {}
  for _, e in ipairs(entries) do
    if e.diff_id and not index_of[e.diff_id] then
      index_of[e.diff_id] = #todo
      todo[#todo + 1] = { diff_id = e.diff_id, blob = e.blob, source = e.source }
    end
  end
  for i, desc in ipairs(task.map(todo, build.cpus, function(layer)
    return output.push_layer(build, result, entry.repository, layer)
  end)) do layers[i] = desc end
  local config = json.encode(cache_document(build, entries, index_of))
  local config_desc = output.descriptor { mediaType = CONFIG, digest = "sha256:" .. digest.sha256(config), size = #config }
  fail.check(build.client:push_blob(entry.repository, config_desc, { data = config }))
  local manifest = json.object { { "schemaVersion", 2 }, { "mediaType", MANIFEST }, { "artifactType", ARTIFACT },
    { "config", config_desc }, { "layers", layers },
    { "annotations", json.object { { CREATED, os.date "!%Y-%m-%dT%H:%M:%SZ" } } } }
  fail.check(build.client:push_manifest(entry.ref, nil, json.encode(manifest), MANIFEST))
  build.emit { type = "cache_written", target = result.uid, ref = entry.ref, layers = #layers }
end

--- Writes the caches that the plan asks for (`cache-to`). A cache that cannot be written is a warning.
---@param build table
---@param result table of a target that was built
---@param entries table[] of parse_entry
function M.export(build, result, entries)
  for _, entry in ipairs(entries) do
    if entry.type == "registry" then
      local started = loop.now()
      local ok, err = pcall(export_one, build, result, entry)
      if not ok then
        if task.is_cancelled(err) then error(err, 0) end
        build:warn(result.uid, entry.ref, ("cache not written after %.1f s: %s"):format(loop.now() - started,
          tostring(type(err) == "table" and err.message or err)))
      end
    end
  end
end

return M
