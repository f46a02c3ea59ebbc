--- Signs images of registries and verifies them, offline: no transparency log, no certificates. Signatures are
--- written as sigstore bundles that refer to the manifest (cosign 3) and as sha256-HEX.sig tags (cosign 2), and
--- both are read. The calls wait (in tasks: yield) and raise error objects.
local digest = require "bakery.digest"
local err = require "bakery.error"
local json = require "bakery.json"
local loop = require "bakery.loop"
local media = require "bakery.image.media"
local oci = require "bakery.oci"
local bundle = require "bakery.sign.bundle"
local keys = require "bakery.sign.keys"
local simple = require "bakery.sign.simple"
local task = require "bakery.task"

local M = {}

local MANIFEST = media.oci.manifest
local EMPTY = { mediaType = media.empty, digest = "sha256:" .. digest.sha256 "{}", size = 2 }
local LIMIT = 1000 -- signatures that are looked at per image

local function check(value, problem)
  if value == nil then error(problem, 0) end
  return value
end

local function sha256(text) return "sha256:" .. digest.sha256(text) end

local function absent(problem) return problem.code == "oci.not_found" end

local function known(o, names, who)
  for k in pairs(o) do
    if not names[k] then error(who .. ": unknown option '" .. tostring(k) .. "'", 3) end
  end
end

--- The manifest a reference names, and with `recursive` those an index lists.
---@param client bakery.oci.client
---@param ref string
---@param recursive boolean|nil
---@return table[] { name="host/repository", digest=, size=, media_type=, platform="os/arch"|nil }
function M.targets(client, ref, recursive)
  local parsed = check(oci.ref(ref))
  local root = check(client:manifest(ref))
  local out, seen = {}, {}
  local function add(d, media_type, size, platform, raw)
    if seen[d] then return end
    seen[d] = true
    out[#out + 1] = { name = parsed.name, digest = d, media_type = media_type, size = size, platform = platform }
    local doc = raw and recursive and json.decode(raw, { null = false })
    for _, m in ipairs(type(doc) == "table" and type(doc.manifests) == "table" and doc.manifests or {}) do
      if type(m) ~= "table" or not oci.is_digest(tostring(m.digest)) then
        error(err.new { class = "build", code = "oci.manifest", message = ref .. ": malformed index" }, 0)
      end
      local p = type(m.platform) == "table" and m.platform
      local index = tostring(m.mediaType):find "index" or tostring(m.mediaType):find "manifest%.list"
      local child = index and check(client:manifest(parsed.name .. "@" .. m.digest)).raw
      add(m.digest, m.mediaType, m.size, p and tostring(p.os) .. "/" .. tostring(p.architecture), child)
    end
  end
  add(root.digest, root.media_type, root.size or #root.raw, nil, root.raw)
  return out
end

--- Stores an artifact that refers to an image.
---@param client bakery.oci.client
---@param target table of M.targets
---@param o table { artifact_type=, media_type=of the layer, data=, annotations= }
---@return string digest of its manifest
function M.refer(client, target, o)
  local layer = { digest = sha256(o.data), size = #o.data }
  check(client:push_blob(target.name, { digest = EMPTY.digest, size = EMPTY.size }, { data = "{}" }))
  check(client:push_blob(target.name, layer, { data = o.data }))
  local function descriptor(d) return json.object { { "mediaType", d.mediaType }, { "digest", d.digest }, { "size", d.size } } end
  local raw = json.encode(json.object { { "schemaVersion", 2 }, { "mediaType", MANIFEST },
    { "artifactType", o.artifact_type }, { "config", descriptor(EMPTY) },
    { "layers", json.array { descriptor { mediaType = o.media_type, digest = layer.digest, size = layer.size } } },
    { "subject", descriptor { mediaType = target.media_type, digest = target.digest, size = target.size } },
    { "annotations", json.object(o.annotations) } })
  return check(client:push_manifest(target.name, sha256(raw), raw, MANIFEST)).digest
end

local function now()
  local epoch = math.tointeger(tonumber(os.getenv "SOURCE_DATE_EPOCH" or ""))
  return os.date("!%Y-%m-%dT%H:%M:%SZ", epoch)
end

--- Stores a signed statement about an image as a bundle.
---@param client bakery.oci.client
---@param target table
---@param key bakery.sign.key
---@param statement string
---@param predicate_type string
---@return string digest of the referring manifest
function M.put_bundle(client, target, key, statement, predicate_type)
  return M.refer(client, target, { artifact_type = bundle.MEDIA_TYPE, media_type = bundle.MEDIA_TYPE,
    data = check(bundle.make(key, statement)),
    annotations = { ["org.opencontainers.image.created"] = now(), ["dev.sigstore.bundle.content"] = "dsse-envelope",
      ["dev.sigstore.bundle.predicateType"] = predicate_type } })
end

-- Layers of a referring manifest or a .sig tag; bad ones are nil and a reason.
local function layers_of(client, name, reference)
  local got, problem = client:manifest(name .. reference)
  if not got then
    if absent(problem) then return nil, "gone" end
    error(problem, 0)
  end
  local doc = json.decode(got.raw, { null = false })
  if type(doc) ~= "table" or type(doc.layers) ~= "table" then return nil, "not a manifest with layers" end
  for _, l in ipairs(doc.layers) do
    if type(l) ~= "table" or not oci.is_digest(tostring(l.digest)) or math.type(l.size) ~= "integer" then
      return nil, "malformed layer"
    end
  end
  return doc.layers, nil, got.digest
end

local function blob(client, name, layer)
  return client:blob_data(name, { digest = layer.digest, size = layer.size }, { max = 16 << 20 })
end

-- One referrer as M.bundles gives it; false when it is no bundle.
local function fetch_bundle(client, target, d)
  local out = { digest = d.digest }
  local layers, reason = layers_of(client, target.name, "@" .. d.digest)
  if not layers or not layers[1] then
    out.reason = reason or "no layer"
    return bundle.is_bundle(d.artifactType) and out
  end
  if not bundle.is_bundle(layers[1].mediaType) and not bundle.is_bundle(d.artifactType) then return false end
  local text, problem = blob(client, target.name, layers[1])
  if not text then
    if problem.code ~= "oci.too_large" and not absent(problem) then error(problem, 0) end
    out.reason = problem.message
    return out
  end
  out.bundle, out.reason = bundle.read(text)
  return out
end

--- Bundles that refer to an image: { digest=of the manifest, bundle=table of bundle.read|nil, reason= }.
---@param client bakery.oci.client
---@param target table
---@return table[]
function M.bundles(client, target)
  local list, out = {}, {}
  for _, d in ipairs(check(client:referrers(target.name .. "@" .. target.digest))) do
    -- Some tools write their configuration's type into the fallback tag instead of the artifact's.
    local vague = not d.artifactType or d.artifactType == EMPTY.mediaType
    if (vague or bundle.is_bundle(d.artifactType)) and #list < LIMIT then list[#list + 1] = d end
  end
  for _, found in ipairs(task.map(list, 8, function(d) return fetch_bundle(client, target, d) end)) do
    if found then out[#out + 1] = found end
  end
  return out
end

--- Signed statements about an image that older cosign attached by the tag sha256-HEX.att: as M.bundles, by the
--- digests of their envelopes.
---@param client bakery.oci.client
---@param target table
---@return table[]
function M.envelopes(client, target)
  local layers = layers_of(client, target.name, ":" .. oci.fallback_tag(target.digest) .. ".att")
  local out = {}
  for i = 1, math.min(layers and #layers or 0, LIMIT) do
    if layers[i].mediaType == bundle.ENVELOPE then
      local found, text, problem = { digest = layers[i].digest }, blob(client, target.name, layers[i])
      if text then
        found.bundle, found.reason = bundle.read_envelope(text)
      elseif problem.code ~= "oci.too_large" and not absent(problem) then
        error(problem, 0)
      else
        found.reason = problem.message
      end
      out[#out + 1] = found
    end
  end
  return out
end

-- Simple signatures of an image: { layer=, payload= }; manifests that are none give a reason.
local function simple_signatures(client, target)
  local layers, reason, tagged = layers_of(client, target.name, ":" .. simple.tag(target.digest))
  if not layers then return {}, reason ~= "gone" and reason or nil end
  local out = {}
  for i = 1, math.min(#layers, LIMIT) do
    if layers[i].mediaType == simple.LAYER then
      local payload, problem = blob(client, target.name, layers[i])
      if not payload and problem.code ~= "oci.too_large" and not absent(problem) then error(problem, 0) end
      out[#out + 1] = { layer = layers[i], payload = payload, reason = problem and problem.message }
    end
  end
  return out, nil, layers, tagged
end

-- Everything that could be a signature of an image by our key, with a verdict each.
local function verdicts(o, target)
  local want = { key = o.key, digest = target.digest, annotations = o.annotations, predicate_type = bundle.SIGNATURE }
  local out = {}
  for _, b in ipairs(M.bundles(o.client, target)) do
    local ok, reason = false, b.reason
    if b.bundle then ok, reason = bundle.check(b.bundle, want) end
    out[#out + 1] = { kind = "bundle", where = b.digest, valid = ok, reason = reason }
  end
  local list, reason = simple_signatures(o.client, target)
  if reason then out[#out + 1] = { kind = "simple", where = simple.tag(target.digest), valid = false, reason = reason } end
  for _, s in ipairs(list) do
    local ok, why = false, s.reason
    if s.payload then ok, why = simple.check(s.payload, s.layer, want) end
    out[#out + 1] = { kind = "simple", where = simple.tag(target.digest), valid = ok, reason = why }
  end
  return out
end

local function has(list, kind)
  for _, v in ipairs(list) do if v.kind == kind and v.valid then return true end end
end

-- Adds a simple signature. Registries cannot swap a tag atomically: another writer may put back what he read before
-- us. So the tag is written only while it is what was read, and looked at again until the signature was seen twice;
-- signers of this process take turns.
local function put_simple(o, target)
  local payload = simple.payload(target.name, target.digest, o.annotations)
  local layer = simple.layer(payload, sha256(payload), check(o.key:sign(payload)))
  check(o.client:push_blob(target.name, { digest = layer.digest, size = layer.size }, { data = payload }))
  local mine = layer.annotations[simple.SIGNATURE]
  local seen, began = 0, loop.now()
  for attempt = 1, 20 do
    if attempt > 1 then
      loop.sleep(math.max(0.05, math.min(2, (loop.now() - began) / (attempt - 1))) * (0.5 + 2 * math.random()))
    end
    local list, reason, layers, tagged = simple_signatures(o.client, target)
    if reason then
      error(err.new { class = "build", code = "sign.tag",
        message = ("%s:%s holds no signatures: %s"):format(target.name, simple.tag(target.digest), reason) }, 0)
    end
    local there = false
    for _, s in ipairs(list) do there = there or (s.layer.annotations or {})[simple.SIGNATURE] == mine end
    seen = there and seen + 1 or 0
    if seen == 2 then return end
    if not there then
      layers = layers or {}
      layers[#layers + 1] = layer
      local raw, config, media_type = simple.manifest(layers, sha256)
      check(o.client:push_blob(target.name, { digest = sha256(config), size = #config }, { data = config }))
      local now_tagged, problem = o.client:head(target.name .. ":" .. simple.tag(target.digest))
      if not now_tagged and not absent(problem) then error(problem, 0) end
      if (now_tagged and now_tagged.digest) == tagged then
        check(o.client:push_manifest(target.name, simple.tag(target.digest), raw, media_type))
      end
    end
  end
  error(err.new { class = "infra", code = "sign.race", retryable = true,
    message = ("%s:%s is changed by others again and again"):format(target.name, simple.tag(target.digest)) }, 0)
end

local turns = setmetatable({}, { __mode = "v" })

-- Whose turn it is to write a target's tag.
local function turn(target)
  local name = target.name .. ":" .. target.digest
  local t = turns[name] or task.semaphore(1)
  turns[name] = t
  return t
end

--- Signs an image and, by default, every manifest of its index. What the key has signed already is left alone.
---@param o table { client=|nil, ref=, key=private key, recursive=true, formats={"bundle", "simple"}, annotations=,
--- force=sign again }
---@return table[] { digest=, platform=, bundle="signed"|"present"|nil, simple= }
function M.sign(o)
  known(o, { client = 1, ref = 1, key = 1, recursive = 1, formats = 1, annotations = 1, force = 1 }, "sign")
  o.client = o.client or check(oci.client())
  local formats = {}
  for _, f in ipairs(o.formats or { "bundle", "simple" }) do
    if f ~= "bundle" and f ~= "simple" then
      error(err.new { class = "usage", code = "sign.format", message = "unknown signature format '" .. f .. "'",
        hint = "formats are bundle and simple" }, 0)
    end
    formats[f] = true
  end
  return task.map(M.targets(o.client, o.ref, o.recursive ~= false), 4, function(target)
    local there = o.force and {} or verdicts(o, target)
    local out = { digest = target.digest, platform = target.platform }
    if formats.bundle then
      out.bundle = has(there, "bundle") and "present" or "signed"
      if out.bundle == "signed" then
        M.put_bundle(o.client, target, o.key, bundle.statement(target.digest, bundle.SIGNATURE, nil, o.annotations),
          bundle.SIGNATURE)
      end
    end
    if formats.simple then
      out.simple = has(there, "simple") and "present" or "signed"
      if out.simple == "signed" then turn(target):with(put_simple, o, target) end
    end
    return out
  end)
end

local function refusal(ref, image, key)
  local shown, seen = {}, {}
  for _, v in ipairs(image.signatures) do
    local text = ("%s %s: %s"):format(v.kind, v.where, v.reason)
    if not seen[text] then
      seen[text] = true
      shown[#shown + 1] = text
    end
  end
  local what = image.platform and ("%s (%s)"):format(image.digest, image.platform) or image.digest
  if #shown == 0 then
    return err.new { class = "gate", code = "sign.none", message = ("%s: %s is not signed"):format(ref, what) }
  end
  return err.new { class = "gate", code = "sign.invalid",
    message = ("%s: %s has no valid signature by key %s"):format(ref, what, keys.fingerprint(key):sub(1, 16)),
    hint = table.concat(shown, "\n        ", 1, math.min(#shown, 10)) }
end

--- Verifies that a key has signed an image: at least one valid signature, of either form, for each manifest
--- that is asked about. Raises sign.none or sign.invalid (class gate) otherwise.
---@param o table { client=|nil, ref=, key=, recursive=children of an index too, annotations=that signatures must have }
---@return table { ref=, digest=, key=fingerprint, images={ { digest=, platform=, signatures={ { kind=, where=,
--- valid=, reason= } } } } }
function M.verify(o)
  known(o, { client = 1, ref = 1, key = 1, recursive = 1, annotations = 1 }, "verify")
  o.client = o.client or check(oci.client())
  local targets = M.targets(o.client, o.ref, o.recursive)
  local images = task.map(targets, 4, function(target)
    return { digest = target.digest, platform = target.platform, signatures = verdicts(o, target) }
  end)
  for _, image in ipairs(images) do
    if not has(image.signatures, "bundle") and not has(image.signatures, "simple") then
      error(refusal(o.ref, image, o.key), 0)
    end
  end
  return { ref = o.ref, digest = targets[1].digest, key = keys.fingerprint(o.key), images = images }
end

return M
