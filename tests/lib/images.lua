--- Small images for specs, written straight into OCI layouts.
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local tar = require "lib.tar"

local M = {}

M.MANIFEST = "application/vnd.oci.image.manifest.v1+json"
M.INDEX = "application/vnd.oci.image.index.v1+json"
local CONFIG = "application/vnd.oci.image.config.v1+json"
local LAYER = "application/vnd.oci.image.layer.v1.tar"

function M.sha(text) return "sha256:" .. digest.sha256(text) end

--- Bytes that hardly compress, the same every time.
function M.noise(n, seed)
  local parts = {}
  for i = 1, n // 64 do parts[i] = digest.sha256(seed .. i) end
  return table.concat(parts)
end

local function gzip(text)
  local path = os.tmpname()
  tar.write(path, text)
  os.execute("gzip -nf " .. path)
  local out = assert(fs.read(path .. ".gz"))
  os.remove(path .. ".gz")
  return out
end

local function put(layout, text) return assert(layout:put_blob(text)), #text end

--- Adds an image manifest; returns its descriptor. `o`: platform "os/arch", layers = lists of tar entries
--- (lib.tar) or { media_type=, data= }, docker = true for Docker's media types, annotations.
function M.manifest(layout, o)
  local os_name, arch, variant = (o.platform or "linux/amd64"):match "^([^/]+)/([^/]+)/?(.*)$"
  local layers, diff_ids = json.array {}, json.array {}
  for i, l in ipairs(o.layers) do
    local plain = l.data or tar.archive(l)
    local blob = l.data or gzip(plain)
    local d, size = put(layout, blob)
    layers[i] = json.object { { "mediaType", l.media_type or (o.docker and "application/vnd.docker.image.rootfs.diff.tar.gzip")
      or LAYER .. "+gzip" }, { "digest", d }, { "size", size } }
    diff_ids[i] = M.sha(plain)
  end
  local config = json.encode { architecture = arch, os = os_name, variant = variant ~= "" and variant or nil,
    rootfs = { type = "layers", diff_ids = diff_ids } }
  local config_digest, config_size = put(layout, config)
  local type = o.docker and "application/vnd.docker.distribution.manifest.v2+json" or M.MANIFEST
  local raw = json.encode(json.object { { "schemaVersion", 2 }, { "mediaType", type },
    { "config", json.object { { "mediaType", o.docker and "application/vnd.docker.container.image.v1+json" or CONFIG },
      { "digest", config_digest }, { "size", config_size } } }, { "layers", layers },
    { "annotations", o.annotations } })
  local d, size = put(layout, raw)
  return { mediaType = type, digest = d, size = size,
    platform = { os = os_name, architecture = arch, variant = variant ~= "" and variant or nil } }
end

--- Adds an index over descriptors, named in the layout; returns its descriptor.
function M.index(layout, name, list)
  local raw = json.encode(json.object { { "schemaVersion", 2 }, { "mediaType", M.INDEX }, { "manifests", json.array(list) } })
  local d = { mediaType = M.INDEX, digest = put(layout, raw), size = #raw }
  assert(layout:add_manifest(d, name))
  return d
end

--- A new layout directory.
function M.layout(dir) return assert(oci.layout(dir, { create = true })) end

return M
