--- Manifests, indexes and descriptors as data (registry.md 2.2): what they name, and platforms.
local json = require "bakery.json"
local oci = require "bakery.oci"
local media = require "bakery.image.media"
local fault = require "bakery.image.fault"

local M = {}

M.INDEX, M.MANIFEST, M.CONFIG, M.LAYER_GZIP = media.oci.index, media.oci.manifest, media.oci.config, media.oci.gzip
M.REFERENCE_TYPE = "vnd.docker.reference.type"
M.REFERENCE_DIGEST = "vnd.docker.reference.digest"

local MANIFEST_TYPES, CONFIG_TYPES = {}, {}
for _, types in ipairs { media.oci, media.docker } do
  MANIFEST_TYPES[types.index], MANIFEST_TYPES[types.manifest], CONFIG_TYPES[types.config] = true, true, true
end

--- A manifest's document, decoded once; keys keep their order.
---@param m table { raw= }
---@return table
function M.of(m)
  if not m.doc then
    local text = m.raw
    m.doc = fault.check(json.decode(text, { ordered = true, unique = true, name = m.digest }))
  end
  return m.doc
end

---@param m table
---@return boolean
function M.is_index(m) return oci.is_index(m.media_type) end

--- Whether a descriptor of an index is a manifest or another index (others are blobs to us).
function M.is_manifest_type(media_type) return MANIFEST_TYPES[media_type] or false end

--- Whether a manifest is that of a container image, not of an artifact.
function M.is_image(m)
  local doc = M.of(m)
  return type(doc.config) == "table" and CONFIG_TYPES[doc.config.mediaType] or false
end

local function valid(d, m)
  if type(d) ~= "table" or type(d.digest) ~= "string" or not oci.is_digest(d.digest)
      or math.type(d.size) ~= "integer" or d.size < 0 then
    fault.raise { class = "infra", code = "oci.manifest",
      message = ("manifest %s: a descriptor has no valid digest and size"):format(m.digest) }
  end
  return d
end

--- Entries of an index.
---@return table[]
function M.children(m)
  local list = M.of(m).manifests
  if type(list) ~= "table" then return {} end
  for _, d in ipairs(list) do valid(d, m) end
  return list
end

--- Config and layers of a manifest. Layers that may not be distributed are left out.
---@return table[]
function M.blobs(m)
  local doc, out = M.of(m), {}
  if type(doc.config) == "table" then out[1] = valid(doc.config, m) end
  for _, d in ipairs(type(doc.layers) == "table" and doc.layers or {}) do
    valid(d, m)
    local foreign = d.urls and tostring(d.mediaType):find "nondistributable" or tostring(d.mediaType):find "foreign"
    if not foreign then out[#out + 1] = d end
  end
  return out
end

--- "os/arch[/variant]" of a platform object; nil when there is none.
function M.platform_text(p)
  if type(p) ~= "table" or (p.os or "") == "" or (p.architecture or "") == "" then return nil end
  return p.os .. "/" .. p.architecture .. (p.variant and p.variant ~= "" and "/" .. p.variant or "")
end

--- Whether an index entry describes another entry instead of being an image.
function M.is_attestation(d)
  return type(d.annotations) == "table" and d.annotations[M.REFERENCE_TYPE] ~= nil
end

--- Host platform as images call it.
function M.host_platform()
  local machine = require("bakery.process").machine()
  local arch = ({ x86_64 = "amd64", aarch64 = "arm64", armv7l = "arm/v7", armv6l = "arm/v6", i686 = "386" })[machine] or machine
  return "linux/" .. arch
end

--- A descriptor as it stands in an index.
---@param m table manifest
---@param more table|nil further fields
---@return table
function M.descriptor(m, more)
  local d = json.object()
  d.mediaType, d.digest, d.size = m.media_type, m.digest, m.size or #m.raw
  for _, k in ipairs { "annotations", "platform", "artifactType" } do
    if more and more[k] ~= nil then d[k] = more[k] end
  end
  return d
end

--- A manifest as the places know it, from a document that is new.
function M.make(doc, media_type)
  local raw = json.encode(doc)
  return { raw = raw, media_type = media_type, size = #raw, doc = doc,
    digest = "sha256:" .. require("bakery.digest").sha256(raw) }
end

--- An index without the platforms that are not wanted; what is attached to those that stay, stays.
---@param m table index
---@param platforms string[]
---@return table manifest the same one when nothing goes
function M.filter(m, platforms)
  local keep = {}
  for _, p in ipairs(platforms) do
    local d = fault.check(oci.select_platform(m.raw, p))
    keep[d.digest] = true
  end
  local doc, list = fault.check(json.decode(m.raw, { ordered = true })), json.array {}
  for _, d in ipairs(doc.manifests) do
    local about = type(d.annotations) == "table" and d.annotations[M.REFERENCE_DIGEST]
    if keep[d.digest] or keep[about] then list[#list + 1] = d end
  end
  if #list == #doc.manifests then return m end
  doc.manifests = list
  return M.make(doc, m.media_type)
end

return M
