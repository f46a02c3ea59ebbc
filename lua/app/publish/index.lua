--- The index over the images that several runners built (image-spec, image-index.md).
local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local media = require "bakery.image.media"
local oci = require "bakery.oci"
local error_object = require "bakery.error"
local fail = require "app.fail"

local M = {}

local ABOUT = "vnd.docker.reference.digest" -- BuildKit: digest of the manifest that an attestation is about
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

--- Calls fn until it finds all it needs: what one copy of a registry has shown another may not have yet.
---@param wait table|nil of M.patience; nil: once
---@param fn fun(): any
---@return any
function M.patiently(wait, fn)
  local pause = 0.25
  while true do
    local ok, result = pcall(fn)
    if ok then return result end
    local passing = type(result) == "table" and result.code == "oci.not_found"
    if not wait or not passing or loop.now() + pause > wait.deadline then error(result, 0) end
    loop.sleep(pause)
    pause = math.min(pause * 2, 5)
  end
end

-- Whether an error is about the registry as a whole: it cannot be reached, or does not know us.
local function of_registry(err)
  return err.code == "oci.unauthorized" or err.code == "oci.rate_limited" or tostring(err.code):find "^http%." ~= nil
end

local function not_there(s, err, wait, tried)
  if not of_registry(err) then
    fail.raise { class = "infra", code = "publish.source", message = s.ref .. " is not there" .. tried,
      hint = tostring(err.message) }
  end
  local host = s.repository:match "^[^/]+"
  wait.down[host] = error_object.new { class = "infra", code = "publish.registry", message = ("registry %s does not "
    .. "give what was built%s: %s"):format(host, tried, tostring(err.message)) }
  error(wait.down[host], 0)
end

--- What targets wait with: they share the time, as everything was pushed before any of them began, and a registry
--- that is found to be away when that is over is not asked again.
---@param seconds number
---@return table
function M.patience(seconds) return { seconds = seconds, deadline = loop.now() + seconds, down = {} } end

--- Waits until every source can be seen: what was pushed a moment ago elsewhere may take its time.
---@param client table
---@param sources app.publish.source[]
---@param wait table of M.patience
function M.wait(client, sources, wait)
  local pause = 0.25
  for _, s in ipairs(sources) do
    while true do
      local down = wait.down[s.repository:match "^[^/]+"]
      if down then error(down, 0) end
      local found, err = client:head(s.repository .. "@" .. s.digest)
      if found then break end
      local passing = err.code == "oci.not_found" or err.retryable
      if not passing and not of_registry(err) then fail.check(nil, err) end
      if not passing then not_there(s, err, wait, "") end
      if loop.now() + pause > wait.deadline then not_there(s, err, wait, (" (waited %d s)"):format(wait.seconds)) end
      loop.sleep(pause)
      pause = math.min(pause * 2, 5)
    end
  end
end

local function platform_of(client, repository, manifest)
  if type(manifest) ~= "table" or type(manifest.config) ~= "table" then
    fail.raise { class = "infra", code = "publish.source", message = repository .. ": a source is not an image" }
  end
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

local function is_attestation(d) return M.platform_text(d.platform) == "unknown/unknown" end

local function malformed(source, what)
  fail.raise { class = "infra", code = "publish.source", message = ("%s: malformed index: %s"):format(source.ref, what) }
end

-- The manifests of an index; one that does not say its platform is asked for it.
local function entries_of_index(client, source, doc)
  local out = {}
  if type(doc.manifests) ~= "table" then malformed(source, "no list of manifests") end
  for i, d in ipairs(doc.manifests) do
    if type(d) ~= "table" or not oci.is_digest(tostring(d.digest)) or math.type(d.size) ~= "integer" then
      malformed(source, ("entry %d is no descriptor"):format(i))
    end
    if type(d.platform) ~= "table" and d.mediaType ~= media.oci.index and d.mediaType ~= media.docker.index then
      local m = fail.within(source.ref, client:manifest(source.repository .. "@" .. d.digest))
      d.platform = platform_of(client, source.repository, fail.check(json.decode(m.raw, { name = d.digest })))
    end
    out[i] = d
  end
  return out
end

-- Entries that a source adds: itself, or what its index has (attestations too).
local function entries_of(client, source)
  local m = fail.within(source.ref, client:manifest(source.repository .. "@" .. source.digest))
  local doc = fail.check(json.decode(m.raw, { ordered = true, name = source.ref }))
  if oci.is_index(m.media_type) then return entries_of_index(client, source, doc) end
  return { describe(m, platform_of(client, source.repository, doc)) }
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

-- One image per platform, of the newest source that has it, in the order of the sources. What is about an image
-- (BuildKit's attestations) stays only with that image.
local function gather(client, target, sources)
  local found, by_platform, taken = {}, {}, {}
  for _, s in ipairs(sources) do
    if s.repository ~= sources[1].repository then
      fail.raise { class = "usage", code = "publish.source", message = ("%s: its sources are in %s and in %s"):format(target.uid,
        sources[1].repository, s.repository), hint = "push every platform to the same temporary registry" }
    end
    for _, d in ipairs(entries_of(client, s)) do
      local platform = M.platform_text(d.platform)
      if is_attestation(d) then
        found[#found + 1] = d
      elseif not by_platform[platform] then
        found[#found + 1] = d
        by_platform[platform], taken[d.digest] = s.ref, true
      end
    end
  end
  local entries, seen = json.array {}, {}
  for _, d in ipairs(found) do
    local about = type(d.annotations) == "table" and d.annotations[ABOUT]
    local key = d.digest .. M.platform_text(d.platform)
    if not seen[key] and (not is_attestation(d) or not about or taken[about]) then entries[#entries + 1] = d end
    seen[key] = true
  end
  return entries, by_platform
end

--- Makes the index of a target's sources; nothing is written.
---@param client table
---@param target table { uid, platforms, labels } of the plan
---@param sources app.publish.source[]
---@param opts table { allow_missing=boolean }
---@return table { raw=, digest=, media_type=, repository=, entries=, missing=string[], platforms=string[] }
function M.make(client, target, sources, opts)
  local entries, by_platform = gather(client, target, sources)
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
  return { raw = raw, digest = "sha256:" .. digest.sha256(raw), media_type = doc.mediaType, entries = entries,
    repository = sources[1].repository, missing = absent, platforms = platforms }
end

--- The images of an index as the gates want them: { platform=, digest=, image={ config_digest= } }.
---@param client table
---@param repository string
---@param entries table[] descriptors
---@return table[]
function M.images(client, repository, entries)
  local out = {}
  for _, d in ipairs(entries) do
    if not is_attestation(d) then
      local m = fail.check(client:manifest(repository .. "@" .. d.digest))
      local doc = fail.check(json.decode(m.raw, { name = d.digest }))
      local config = type(doc) == "table" and type(doc.config) == "table" and doc.config.digest
      out[#out + 1] = { platform = M.platform_text(d.platform), digest = d.digest, image = { config_digest = tostring(config) } }
    end
  end
  return out
end

--- The temporary repository of an image.
---@param temp string "--temp-registry"
---@param image string
---@return string repository "host/path/IMAGE/tmp"
function M.temp_repository(temp, image)
  return fail.within("--temp-registry", oci.ref(("%s/%s/tmp"):format(temp, image))).name
end

--- Raises unless an image's sources are in its temporary repository.
---@param temp string "--temp-registry"
---@param image string
---@param sources app.publish.source[]
function M.check_place(temp, image, sources)
  for _, s in ipairs(sources) do
    if s.repository ~= M.temp_repository(temp, image) then
      local tail = "/" .. image .. "/tmp"
      local at = s.repository:sub(-#tail) == tail and s.repository:sub(1, -#tail - 1) or s.repository
      fail.raise { class = "usage", code = "publish.source", message = ("what was built is in %s, not in --temp-registry %s")
        :format(at, temp), hint = "give the --temp-registry that the runners pushed to" }
    end
  end
end

return M
