--- Images that lazily loading clients can start early: makes the SOCI index (version 2) of each platform and an
--- image index that names it, as `soci convert` does (github.com/awslabs/soci-snapshotter), in one pass over
--- each layer and without files in between. The result is that tool's, byte for byte, but for attestation
--- manifests, which keep their annotations and follow the new digests, and artifacts, which stay as they are.
--- As there, every image manifest becomes an OCI one while the media types of layers stay. Digests change: sign
--- afterwards.
local digest = require "bakery.digest"
local err = require "bakery.error"
local fs = require "bakery.fs"
local image_place = require "bakery.image.place"
local json = require "bakery.json"
local media = require "bakery.image.media"
local oci = require "bakery.oci"
local soci = require "bakery.soci"
local task = require "bakery.task"

local M = {}

local MANIFEST, INDEX, CONFIG = media.oci.manifest, media.oci.index, media.oci.config
local SOCI_INDEX = "application/vnd.amazon.soci.index.v2+json"
local PREFETCH = "application/vnd.amazon.soci.prefetch.v1+json"
local LAYER = "com.amazon.soci.image-layer-digest"
local EMPTY = "{}"

-- Layer media types and how they are compressed; others have no zTOC.
local COMPRESSION = {
  [media.oci.gzip] = "gzip", [media.docker.gzip] = "gzip", [media.oci.none] = "none", [media.docker.none] = "none",
}

local function fail(code, message, hint, class)
  error(err.new { class = class or "build", code = "soci." .. code, message = message, hint = hint }, 0)
end

local function sha256(text) return "sha256:" .. digest.sha256(text) end

--- JSON as Go's encoding/json writes it.
local function go_json(value)
  local text = json.encode(value)
  return (text:gsub("[<>&]", { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" })
    :gsub("\226\128([\168\169])", { ["\168"] = "\\u2028", ["\169"] = "\\u2029" }))
end

-- The named fields of t, in order, without empty ones; sub says how fields that are tables are made.
local function ordered(t, names, sub)
  local o = json.object()
  for _, k in ipairs(names) do
    local v = t[k]
    if v and not (type(v) == "table" and next(v) == nil and k ~= "layers" and k ~= "manifests") then
      if sub and sub[k] then v = sub[k](v) end
      o[k] = v
    end
  end
  return o
end

local function sorted(map)
  local plain = {}
  for k, v in pairs(map) do plain[k] = v end
  return plain
end

local function platform_object(p)
  return ordered(p, { "architecture", "os", "os.version", "os.features", "variant" })
end

local function descriptor(d)
  return ordered(d, { "mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType" },
    { annotations = sorted, platform = platform_object })
end

local function descriptors(list)
  local out = json.array {}
  for i, d in ipairs(list) do out[i] = descriptor(d) end
  return out
end

local function manifest_json(m)
  return go_json(ordered(m, { "schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations" },
    { config = descriptor, layers = descriptors, subject = descriptor, annotations = sorted }))
end

local function index_json(m)
  return go_json(ordered(m, { "schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations" },
    { manifests = descriptors, subject = descriptor, annotations = sorted }))
end

--- "os/arch[/variant]" of a platform object, in the usual short form.
---@param p table
---@return string
function M.platform_text(p)
  local variant = p.variant or ""
  if p.architecture == "arm64" and (variant == "v8" or variant == "8") or p.architecture == "amd64" and variant == "v1" then
    variant = ""
  end
  if p.architecture == "arm" and variant == "" then variant = "v7" end
  return p.os .. "/" .. p.architecture .. (variant ~= "" and "/" .. variant or "")
end

local function normal_platform(text)
  local os_name, arch, variant = text:match "^([^/]+)/([^/]+)/?(.*)$"
  if not os_name then fail("platform", "platform '" .. text .. "' is not OS/ARCH[/VARIANT]", nil, "usage") end
  return M.platform_text { os = os_name, architecture = ({ x86_64 = "amd64", aarch64 = "arm64" })[arch] or arch,
    variant = variant }
end

-- --- what there is ---------------------------------------------------------------------------------------

-- A manifest or index as a table; null counts as absent.
local function read(raw, what)
  local doc = json.decode(raw, { null = false })
  local function bad(why) fail("manifest", what .. ": " .. why) end
  local function check(d, where)
    if type(d) ~= "table" or type(d.digest) ~= "string" or math.type(d.size) ~= "integer" or d.size < 0
        or type(d.mediaType) ~= "string" or (d.annotations and type(d.annotations) ~= "table") then
      bad("malformed descriptor in " .. where)
    end
    if d.platform and (type(d.platform) ~= "table" or type(d.platform.os) ~= "string"
        or type(d.platform.architecture) ~= "string") then
      bad("malformed platform in " .. where)
    end
  end
  if type(doc) ~= "table" then bad "not a manifest" end
  for _, name in ipairs { "layers", "manifests" } do
    if doc[name] and not json.is_array(doc[name]) then bad(name .. " is no list") end
    for _, d in ipairs(doc[name] or {}) do check(d, name) end
  end
  if doc.config then check(doc.config, "config") end
  if not doc.manifests and not doc.config then bad "neither config nor manifests" end
  return doc
end

-- The index of the source as a table; a single manifest becomes one of a fresh index.
local function read_index(source)
  local root = source:root()
  local doc = read(root.raw, source.text)
  if oci.is_index(root.media_type) then return doc end
  local config = json.decode(source:blob(doc.config), { null = false })
  if type(config) ~= "table" or type(config.os) ~= "string" or type(config.architecture) ~= "string" then
    fail("manifest", source.text .. ": the image's configuration names no platform")
  end
  local p = { os = config.os, architecture = config.architecture, variant = config.variant,
    ["os.version"] = config["os.version"], ["os.features"] = config["os.features"] }
  local short = { M.platform_text(p):match "^([^/]+)/([^/]+)/?(.*)$" }
  p.variant = short[3] ~= "" and short[3] or nil
  return { schemaVersion = 2, manifests = { { mediaType = root.media_type, digest = root.digest, size = #root.raw,
    platform = p } } }
end

local function is_attestation(entry)
  return (entry.annotations or {})["vnd.docker.reference.type"] == "attestation-manifest"
end

local function is_artifact(entry, manifest)
  local config = (manifest.config or {}).mediaType
  return entry.artifactType ~= nil or manifest.artifactType ~= nil
    or (config ~= CONFIG and config ~= media.docker.config)
end

-- Entries of the index with their manifests: { entry=, raw=, manifest=, image=bool, selected=bool }.
local function read_entries(o, index)
  local wanted, found = {}, {}
  for _, p in ipairs(o.platforms or {}) do wanted[normal_platform(p)] = p end
  local list = task.map(index.manifests, 4, function(entry)
    local e = { entry = entry }
    local got = not oci.is_index(entry.mediaType) and image_place.find(o.source, entry.digest)
    if not got then return e end
    e.raw, e.manifest = got.raw, read(got.raw, entry.digest)
    if not e.manifest.config then fail("manifest", entry.digest .. ": not a manifest") end
    e.manifest.layers = e.manifest.layers or json.array {}
    e.keep = is_artifact(entry, e.manifest)
    local p = entry.platform
    if not e.keep and not is_attestation(entry) and p and p.os ~= "unknown" then
      e.platform = M.platform_text(p)
      e.selected = not next(wanted) or wanted[e.platform] ~= nil
    end
    return e
  end)
  for _, e in ipairs(list) do if e.selected then found[e.platform] = true end end
  for p, text in pairs(wanted) do
    if not found[p] then
      local have = {}
      for _, e in ipairs(list) do have[#have + 1] = e.platform end
      fail("platform", ("%s has no platform '%s'"):format(o.source.text, text),
        "it has " .. (#have > 0 and table.concat(have, ", ") or "none"), "usage")
    end
  end
  return list
end

-- --- zTOCs -----------------------------------------------------------------------------------------------

local function clean_path(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then parts[#parts] = nil
    elseif part ~= "." then parts[#parts + 1] = part end
  end
  return table.concat(parts, "/")
end

-- One layer's zTOC: what is known of it afterwards.
local function index_layer(o, layer)
  local kind = COMPRESSION[layer.mediaType]
  local r = { digest = layer.digest, size = layer.size, media_type = layer.mediaType, status = "indexed", files = {} }
  if layer.size < o.min_layer_size then
    r.status = "small"
  elseif not kind then
    r.status, r.reason = "unsupported", "layers of type " .. tostring(layer.mediaType) .. " have no zTOC"
  end
  if r.status ~= "indexed" then return r end
  local b <close> = soci.builder { span_size = o.span_size, tool = o.tool, compression = kind, tmp = o.tmp } -- luacheck: ignore
  local path = ("%s/%s.ztoc"):format(o.tmp, layer.digest:match ":(.*)$")
  local ok, problem = pcall(function()
    o.source:stream(layer, b)
    local made, e = b:save(path)
    if not made then error(e, 0) end
    r.ztoc = made
  end)
  if not ok then
    if type(problem) ~= "table" or problem.code ~= "soci.unsupported" then
      if type(problem) == "table" and tostring(problem.code):find "^soci%." then
        problem.message = ("layer %s: %s"):format(layer.digest, problem.message)
      end
      error(problem, 0)
    end
    r.status, r.reason = "unsupported", problem.message
    return r
  end
  for _, file in ipairs(o.prefetch) do
    local first, last = b:spans(file)
    if first then r.files[file] = { first, last } end
  end
  o.target:add_blob(r.ztoc, { file = path })
  fs.remove(path)
  o.emit { type = "soci_layer", digest = layer.digest, ztoc = r.ztoc.digest, spans = r.ztoc.spans, files = r.ztoc.files }
  return r
end

-- zTOCs of every layer of the selected platforms, shared ones once: digest -> result.
local function index_layers(o, entries)
  local layers, seen, out = {}, {}, {}
  for _, e in ipairs(entries) do
    for _, layer in ipairs(e.selected and e.manifest.layers or {}) do
      if not seen[layer.digest] then
        seen[layer.digest] = true
        layers[#layers + 1] = layer
      end
    end
  end
  table.sort(layers, function(a, b) return a.size > b.size end) -- the longest first: less waiting at the end
  local results = task.map(layers, o.jobs, function(layer) return index_layer(o, layer) end)
  for i, layer in ipairs(layers) do out[layer.digest] = results[i] end
  return out
end

-- Span ranges sorted, with overlapping and touching ones joined.
local function merge_ranges(list)
  table.sort(list, function(a, b) if a[1] == b[1] then return a[2] < b[2] end return a[1] < b[1] end)
  local out = {}
  for _, r in ipairs(list) do
    local last = out[#out]
    if last and r[1] <= last[2] + 1 then last[2] = math.max(last[2], r[2])
    else out[#out + 1] = { r[1], r[2] } end
  end
  return out
end

-- Prefetch artifacts: each file's spans in the topmost layer that has it.
local function prefetch_entries(o, manifest, layers, missing)
  local ranges, out = {}, {}
  for _, file in ipairs(o.prefetch) do
    local found
    for i = #manifest.layers, 1, -1 do
      local d = manifest.layers[i].digest
      found = layers[d].ztoc and layers[d].files[file]
      if found then
        ranges[d] = ranges[d] or {}
        table.insert(ranges[d], found)
        break
      end
    end
    if not found then missing[file] = true end
  end
  for _, layer in ipairs(manifest.layers) do
    if ranges[layer.digest] then
      local spans = json.array {}
      for i, r in ipairs(merge_ranges(ranges[layer.digest])) do
        spans[i] = json.object { { "start_span", r[1] }, { "end_span", r[2] } }
      end
      ranges[layer.digest] = nil
      local raw = go_json(json.object { { "version", "1.0" }, { "prefetch_spans", spans } })
      local d = { mediaType = PREFETCH, digest = sha256(raw), size = #raw, annotations = { [LAYER] = layer.digest } }
      o.target:add_blob(d, { data = raw })
      out[#out + 1] = d
    end
  end
  return out
end

-- The SOCI index manifest of one image manifest, stored at the target; nil when no layer has a zTOC.
local function soci_index(o, e, layers, missing)
  local list = {}
  for _, layer in ipairs(e.manifest.layers) do
    local r = layers[layer.digest]
    if r.ztoc then
      local annotations = { [LAYER] = layer.digest, ["com.amazon.soci.image-layer-mediaType"] = layer.mediaType,
        ["com.amazon.soci.span-size"] = tostring(o.span_size) }
      if o.xattr and r.ztoc.no_xattrs then annotations["com.amazon.soci.disable-xattrs"] = "true" end
      list[#list + 1] = { mediaType = "application/octet-stream", digest = r.ztoc.digest, size = r.ztoc.size,
        annotations = annotations }
    end
  end
  if #list == 0 then return end
  for _, d in ipairs(prefetch_entries(o, e.manifest, layers, missing)) do list[#list + 1] = d end
  local config = { mediaType = SOCI_INDEX, digest = sha256(EMPTY), size = #EMPTY }
  o.target:add_blob(config, { data = EMPTY })
  local raw = manifest_json { schemaVersion = 2, mediaType = MANIFEST, config = config, layers = list,
    annotations = { ["com.amazon.soci.build-tool-identifier"] = o.tool } }
  local d = { mediaType = MANIFEST, artifactType = SOCI_INDEX, digest = sha256(raw), size = #raw, platform = e.entry.platform }
  o.target:put { raw = raw, digest = d.digest, size = d.size, media_type = MANIFEST }
  return d
end

-- --- the new index ---------------------------------------------------------------------------------------

-- Writes a manifest anew, as OCI and with the SOCI index's digest; its entry follows.
local function rewrite(e, soci_digest)
  local m = e.manifest
  m.schemaVersion, m.mediaType = 2, MANIFEST
  m.config.mediaType = CONFIG
  if soci_digest then
    m.annotations = m.annotations or {}
    m.annotations["com.amazon.soci.index-digest"] = soci_digest
  end
  e.raw = manifest_json(m)
  e.old = e.entry.digest
  e.entry.mediaType, e.entry.digest, e.entry.size = MANIFEST, sha256(e.raw), #e.raw
  if not is_attestation(e.entry) then e.entry.annotations = m.annotations end
end

-- An attestation's entry names the manifest it is about.
local function follow(entries)
  local new = {}
  for _, e in ipairs(entries) do if e.old then new[e.old] = e.entry.digest end end
  for _, e in ipairs(entries) do
    local a = e.entry.annotations
    local about = is_attestation(e.entry) and a["vnd.docker.reference.digest"]
    if about and new[about] then a["vnd.docker.reference.digest"] = new[about] end
  end
end

local function put_soci_entry(index, d)
  for i, entry in ipairs(index.manifests) do
    if entry.artifactType == SOCI_INDEX and entry.platform
        and M.platform_text(entry.platform) == M.platform_text(d.platform) then
      index.manifests[i] = d
      return
    end
  end
  table.insert(index.manifests, d)
end

-- Without the SOCI indexes that have been replaced.
local function still_there(index, entries)
  local there, out = {}, {}
  for _, entry in ipairs(index.manifests) do there[entry] = true end
  for _, e in ipairs(entries) do if there[e.entry] then out[#out + 1] = e end end
  return out
end

-- Blobs first, then manifests.
local function push(o, entries)
  local blobs, seen = {}, {}
  for _, e in ipairs(entries) do
    for _, d in ipairs(e.manifest and { e.manifest.config, table.unpack(e.manifest.layers) } or {}) do
      if not seen[d.digest] and not d.urls then
        seen[d.digest] = true
        blobs[#blobs + 1] = d
      end
    end
  end
  task.map(blobs, o.jobs, function(d) return o.target:put_blob(d, o.source) end)
  task.map(entries, 4, function(e)
    if not e.raw then return end
    o.target:put { raw = e.raw, digest = e.entry.digest, size = #e.raw, media_type = e.entry.mediaType }
  end)
end

---@class bakery.soci.convert.options
---@field source table a place (bakery.image.place)
---@field target table a registry's or layout's place, opened to be written; its tag or name is set at the end
---@field platforms? string[] "os/arch[/variant]" (all)
---@field span_size? integer (4194304)
---@field min_layer_size? integer layers whose blob is smaller are left out (10485760)
---@field prefetch_files? string[] paths that clients should load first
---@field optimizations? string[] "xattr": say where no extended attributes are
---@field tool? string build tool identifier
---@field jobs? integer layers at the same time (number of processors)
---@field emit? fun(event: table) soci_layer events

local function options(o)
  local known = { source = true, target = true, platforms = true, span_size = true, min_layer_size = true, tool = true,
    prefetch_files = true, optimizations = true, jobs = true, emit = true }
  for k in pairs(o) do if not known[k] then error("soci.convert: unknown option '" .. tostring(k) .. "'", 3) end end
  if not o.target.add_blob then
    fail("options", o.target.text .. ": indexes are written to registries and layouts", nil, "usage")
  end
  local c = { source = o.source, target = o.target, platforms = o.platforms, span_size = o.span_size or 4194304,
    min_layer_size = o.min_layer_size or 10485760, tool = o.tool or "bakery SOCI 1", prefetch = {},
    jobs = o.jobs or require("bakery.process").cpus(), emit = o.emit or function() end }
  if math.type(c.span_size) ~= "integer" or c.span_size < 512 or c.span_size > 1 << 30 then
    fail("options", "span size: expected 512 to 1073741824 bytes, got " .. tostring(c.span_size), nil, "usage")
  end
  for i, path in ipairs(o.prefetch_files or {}) do c.prefetch[i] = clean_path(path) end
  for _, name in ipairs(o.optimizations or {}) do
    if name ~= "xattr" then fail("options", "unknown optimization '" .. name .. "'", "there is one: xattr", "usage") end
    c.xattr = true
  end
  return c
end

--- Converts an image; raises error objects: soci.empty (class empty: no layer is large enough), soci.platform
--- and soci.options (usage), those of bakery.soci and of the places.
---@param opts bakery.soci.convert.options
---@return table { digest=, size=, media_type=, layers={ { digest=, size=, status="indexed"|"small"|"unsupported",
--- reason=, ztoc=bakery.soci.result }… } by digest, platforms={ { platform=, soci=digest, manifest=digest }… },
--- not_found=prefetch files that a platform lacks, renamed={ [old manifest digest]=new } }
function M.image(opts)
  local o = options(opts)
  local index = read_index(o.source)
  local entries = read_entries(o, index)
  local tmp, problem = fs.tmpdir "bakery-soci"
  if not tmp then error(problem, 0) end
  o.tmp = tmp
  local cleanup <close> = setmetatable({}, { __close = function() fs.remove(tmp, { recursive = true }) end }) -- luacheck: ignore
  local layers, missing = index_layers(o, entries), {}
  local result = { layers = layers, platforms = {}, not_found = {}, renamed = {}, media_type = INDEX }
  local made = {}
  for _, e in ipairs(entries) do
    local d = e.selected and soci_index(o, e, layers, missing)
    if e.manifest and not e.keep then rewrite(e, d and d.digest) end
    if d then
      d.annotations = { ["com.amazon.soci.image-manifest-digest"] = e.entry.digest }
      made[#made + 1] = d
      table.insert(result.platforms, { platform = e.platform, soci = d.digest, manifest = e.entry.digest })
    end
  end
  if #made == 0 then
    fail("empty", ("%s: no layer to index"):format(o.source.text),
      ("layers under %d bytes (--min-layer-size) and other formats than gzip and tar are left out"):format(o.min_layer_size),
      "empty")
  end
  follow(entries)
  for _, e in ipairs(entries) do if e.old then result.renamed[e.old] = e.entry.digest end end
  for _, d in ipairs(made) do put_soci_entry(index, d) end
  push(o, still_there(index, entries))
  index.schemaVersion, index.mediaType = 2, INDEX
  local raw = index_json(index)
  result.digest, result.size = sha256(raw), #raw
  o.target:tag { raw = raw, digest = result.digest, size = #raw, media_type = INDEX }
  for file in pairs(missing) do table.insert(result.not_found, file) end
  table.sort(result.not_found)
  return result
end

return M
