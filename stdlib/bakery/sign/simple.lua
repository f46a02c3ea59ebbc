--- cosign's older form of signatures ("simple signing"): a payload per signature as layers of a manifest that
--- the tag sha256-HEX.sig names.
local json = require "bakery.json"
local sign = require "bakery.sign"
local at = require "bakery.sign.at"
local media = require("bakery.image.media").oci

local M = {}

M.LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
M.SIGNATURE = "dev.cosignproject.cosign/signature"
local TYPE = "cosign container image signature"
local MANIFEST, CONFIG = media.manifest, media.config
local NEVER = "0001-01-01T00:00:00Z"

--- Tag that signatures of a digest have.
---@param digest string
---@return string
function M.tag(digest) return (digest:gsub(":", "-")) .. ".sig" end

--- What is signed.
---@param name string "host/repository"
---@param digest string of the manifest
---@param annotations table<string, string>|nil
---@return string JSON
function M.payload(name, digest, annotations)
  name = name:gsub("^docker%.io/", "index.docker.io/")
  local optional = annotations and next(annotations) and json.object(annotations) or json.null
  return json.encode(json.object { { "critical", json.object {
      { "identity", json.object { { "docker-reference", name } } },
      { "image", json.object { { "docker-manifest-digest", digest } } },
      { "type", TYPE } } },
    { "optional", optional } })
end

--- The manifest and configuration over a list of layers.
---@param layers table[] descriptors
---@return string manifest
---@return string config
---@return string media_type of the manifest
function M.manifest(layers, digest_of)
  local history, ids = json.array {}, json.array {}
  for i, l in ipairs(layers) do
    history[i] = json.object { { "created", NEVER } }
    ids[i] = l.digest
  end
  local config = json.encode(json.object { { "architecture", "" }, { "created", NEVER }, { "history", history }, { "os", "" },
    { "rootfs", json.object { { "type", "layers" }, { "diff_ids", ids } } }, { "config", json.object() } })
  local raw = json.encode(json.object { { "schemaVersion", 2 }, { "mediaType", MANIFEST },
    { "config", json.object { { "mediaType", CONFIG }, { "size", #config }, { "digest", digest_of(config) } } },
    { "layers", json.array(layers) } })
  return raw, config, MANIFEST
end

--- A layer's descriptor.
---@param payload string
---@param digest string of the payload
---@param signature string
---@return table
function M.layer(payload, digest, signature)
  return json.object { { "mediaType", M.LAYER }, { "size", #payload }, { "digest", digest },
    { "annotations", json.object { { M.SIGNATURE, sign.base64(signature) } } } }
end

--- Checks a signature: over the payload, for the image, with the annotations.
---@param payload string
---@param layer table its descriptor
---@param o table { key=, digest=, annotations= }
---@return boolean ok
---@return string|nil reason
function M.check(payload, layer, o)
  local text = at(layer, "annotations", M.SIGNATURE)
  local signature = type(text) == "string" and sign.unbase64(text)
  if not signature then return false, "the layer has no signature" end
  if not o.key:verify(payload, signature) then return false, "the signature does not fit this key" end
  local doc = json.decode(payload, { name = "payload", null = false, unique = true })
  if at(doc, "critical", "type") ~= TYPE then return false, "the payload is no image signature" end
  if at(doc, "critical", "image", "docker-manifest-digest") ~= o.digest then return false, "signed for another image" end
  for k, v in pairs(o.annotations or {}) do
    if at(doc, "optional", k) ~= v then return false, "annotation " .. k .. " differs" end
  end
  return true
end

return M
