--- Images made by hand, of layers that no builder makes.
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"

local M = {}

local function sha(path) return "sha256:" .. (digest.file(path)), fs.stat(path).size end

--- Makes an OCI layout of one layer, tagged "1".
---@param dir string
---@param tar string file
---@param compressed string|nil the same, compressed with gzip
---@return string digest of the layer's blob
function M.layout(dir, tar, compressed)
  assert(fs.mkdir(dir .. "/blobs/sha256", { parents = true }))
  local function put(text)
    local hex = digest.sha256(text)
    assert(fs.write(dir .. "/blobs/sha256/" .. hex, text))
    return "sha256:" .. hex, #text
  end
  local diff_id = sha(tar)
  local layer, layer_size = sha(compressed or tar)
  assert(fs.copy(compressed or tar, dir .. "/blobs/sha256/" .. layer:sub(8)))
  local config, config_size = put(json.encode { architecture = "amd64", os = "linux", config = { Env = json.array { "PATH=/bin" } },
    rootfs = { type = "layers", diff_ids = json.array { diff_id } } })
  local manifest, manifest_size = put(json.encode { schemaVersion = 2, mediaType = "application/vnd.oci.image.manifest.v1+json",
    config = { mediaType = "application/vnd.oci.image.config.v1+json", digest = config, size = config_size },
    layers = json.array { { mediaType = "application/vnd.oci.image.layer.v1.tar" .. (compressed and "+gzip" or ""), digest = layer, size = layer_size } } })
  assert(fs.write(dir .. "/oci-layout", '{"imageLayoutVersion":"1.0.0"}'))
  assert(fs.write(dir .. "/index.json", json.encode { schemaVersion = 2, manifests = json.array { {
    mediaType = "application/vnd.oci.image.manifest.v1+json", digest = manifest, size = manifest_size,
    annotations = { ["org.opencontainers.image.ref.name"] = "1" } } } }))
  return layer
end

return M
