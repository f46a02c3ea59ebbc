--- The index over the images that several runners built (image-spec, image-index.md).
local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local media = require "bakery.image.media"
local oci = require "bakery.oci"
local fail = require "app.fail"

local M = {}

local CREATED = "org.opencontainers.image.created"
local TAG_MAX = 128 -- distribution-spec: the longest tag

--- Tag of a target's index in the temporary repository: its uid and ten hex digits over the sources.
---@param uid string
---@param sources app.publish.source[]
---@return string
function M.temp_tag(uid, sources)
  local refs = {}
  for i, s in ipairs(sources) do refs[i] = s.ref end
  return uid:sub(1, TAG_MAX - 10) .. digest.sha256(table.concat(refs)):sub(1, 10)
end

--- Waits until every source can be seen: what was pushed a moment ago elsewhere may take its time.
---@param client table
---@param sources app.publish.source[]
---@param seconds number
function M.wait(client, sources, seconds)
  local deadline, pause = loop.now() + seconds, 0.25
  for _, s in ipairs(sources) do
    while true do
      local found, err = client:head(s.repository .. "@" .. s.digest)
      if found then break end
      if err.code ~= "oci.not_found" and not err.retryable then fail.check(nil, err) end
      if loop.now() + pause > deadline then
        fail.raise { class = "infra", code = "publish.source", message = ("%s is not there (waited %d s)"):format(s.ref, seconds),
          hint = tostring(err.message) }
      end
      loop.sleep(pause)
      pause = math.min(pause * 2, 5)
    end
  end
end

local function platform_of(client, repository, manifest)
  local text = fail.check(client:blob_data(repository, manifest.config, { max = 16 << 20 }))
  local config = fail.check(json.decode(text, { name = repository .. "@" .. tostring(manifest.config.digest) }))
  if type(config.os) ~= "string" or type(config.architecture) ~= "string" then
    fail.raise { class = "infra", code = "publish.source", message = ("%s: config %s has no platform"):format(repository,
      tostring(manifest.config.digest)) }
  end
  local p = json.object { { "architecture", config.architecture }, { "os", config.os } }
  if type(config.variant) == "string" and config.variant ~= "" then p.variant = config.variant end
  return p
end

local function describe(m, platform)
  return json.object { { "mediaType", m.media_type }, { "digest", m.digest }, { "size", m.size }, { "platform", platform } }
end

-- Entries that a source adds: itself, or what its index has (attestations too).
local function entries_of(client, source)
  local m = fail.within(source.ref, client:manifest(source.repository .. "@" .. source.digest))
  local doc = fail.check(json.decode(m.raw, { ordered = true, name = source.ref }))
  if oci.is_index(m.media_type) then
    local out = {}
    for i, d in ipairs(doc.manifests or {}) do out[i] = d end
    return out
  end
  if type(doc.config) ~= "table" then
    fail.raise { class = "infra", code = "publish.source", message = source.ref .. ": not an image" }
  end
  return { describe(m, platform_of(client, source.repository, doc)) }
end

--- "linux/arm64" of a platform object; the default variant of arm64 is not named.
---@param p table|nil
---@return string
function M.platform_text(p)
  if type(p) ~= "table" then return "unknown/unknown" end
  local text = ("%s/%s"):format(p.os or "unknown", p.architecture or "unknown")
  if p.variant and p.variant ~= json.null and not (p.architecture == "arm64" and p.variant == "v8") then
    text = text .. "/" .. p.variant
  end
  return text
end

local function normal(text) return (text:gsub("^(linux/arm64)/v8$", "%1")) end

-- Declared platforms without an image among the entries.
local function missing(entries, declared)
  local have, out = {}, {}
  for _, d in ipairs(entries) do have[M.platform_text(d.platform)] = true end
  for _, p in ipairs(declared) do if not have[normal(p)] then out[#out + 1] = p end end
  return out
end

local function check_types(uid, entries)
  local docker, oci_type = 0, 0
  for _, d in ipairs(entries) do
    if d.mediaType == media.docker.manifest then docker = docker + 1
    elseif d.mediaType == media.oci.manifest then oci_type = oci_type + 1
    else fail.raise { class = "infra", code = "publish.source", message = ("%s: unexpected type %s in a source"):format(uid,
      tostring(d.mediaType)) } end
  end
  if docker > 0 and oci_type > 0 then
    fail.raise { class = "infra", code = "publish.source", message = uid .. ": its sources mix OCI and Docker manifests",
      hint = "build every platform with the same kind of media types" }
  end
  return docker > 0
end

--- Makes the index of a target's sources; nothing is written.
---@param client table
---@param target table { uid, platforms, labels } of the plan
---@param sources app.publish.source[]
---@param opts table { allow_missing=boolean }
---@return table { raw=, digest=, media_type=, repository=, missing=string[], platforms=string[] }
function M.make(client, target, sources, opts)
  local repository = sources[1].repository
  local entries, by_platform = json.array {}, {}
  for _, s in ipairs(sources) do
    if s.repository ~= repository then
      fail.raise { class = "usage", code = "publish.source", message = ("%s: its sources are in %s and in %s"):format(target.uid,
        repository, s.repository), hint = "push every platform to the same temporary registry" }
    end
    for _, d in ipairs(entries_of(client, s)) do
      local platform = M.platform_text(d.platform)
      local attestation = platform == "unknown/unknown"
      if attestation or not by_platform[platform] then entries[#entries + 1] = d end
      if not attestation then by_platform[platform] = by_platform[platform] or s.ref end
    end
  end
  local absent = missing(entries, target.platforms or {})
  if #absent > 0 and not opts.allow_missing then
    fail.raise { class = "build", code = "publish.incomplete", message = ("%s: nothing was built for %s"):format(target.uid,
      table.concat(absent, ", ")), hint = "give that runner's metadata file, or --allow-missing-platform" }
  end
  local docker = check_types(target.uid, entries)
  local doc = json.object { { "schemaVersion", 2 }, { "mediaType", media[docker and "docker" or "oci"].index }, { "manifests", entries } }
  if not docker then
    local names, annotations = {}, json.object()
    for name in json.pairs(target.labels or {}) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do annotations[name] = tostring(target.labels[name]) end
    -- Made when its newest source was: the same sources give the same index, whenever it is merged.
    annotations[CREATED] = sources[1].created or annotations[CREATED]
    if #names > 0 then doc.annotations = annotations end
  end
  local raw = json.encode(doc)
  local platforms = {}
  for p in pairs(by_platform) do platforms[#platforms + 1] = p end
  table.sort(platforms)
  return { raw = raw, digest = "sha256:" .. digest.sha256(raw), media_type = doc.mediaType, repository = repository,
    missing = absent, platforms = platforms }
end

--- The temporary repository that a reference of a source names must be the given one.
---@param temp string "--temp-registry"
---@param image string
---@return string repository "host/path/IMAGE/tmp"
function M.temp_repository(temp, image)
  return fail.within("--temp-registry", oci.ref(("%s/%s/tmp"):format(temp, image))).name
end

return M
