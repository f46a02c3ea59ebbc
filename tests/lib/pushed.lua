--- Small images for tests, made and pushed without any peer.
local archive = require "bakery.archive"
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"
local registry = require "lib.registry"

local M = {
  MANIFEST = "application/vnd.oci.image.manifest.v1+json", INDEX = "application/vnd.oci.image.index.v1+json",
  CONFIG = "application/vnd.oci.image.config.v1+json", LAYER = "application/vnd.oci.image.layer.v1.tar+gzip",
  ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd",
  DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json",
  DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json",
  DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json",
  DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip",
}

--- Digest and size of bytes.
function M.desc(data) return { digest = "sha256:" .. digest.sha256(data), size = #data } end

--- A layer (gzip, or `compression`) of { path = text, ["link"] = { link = target }, ["dir/.wh.x"] = "" }; bytes and diff id.
function M.layer(files, compression)
  local dir = registry.tmpdir()
  local names = {}
  for path in pairs(files) do names[#names + 1] = path end
  table.sort(names)
  local out <close> = assert(archive.tar_writer(dir .. "/t")) -- luacheck: ignore
  for _, path in ipairs(names) do
    local f = files[path]
    local e = type(f) == "table" and f or { data = f }
    e.path, e.type = path, e.type or e.link and "symlink" or "file"
    assert(out:add(e))
  end
  local plain = assert(out:finish())
  assert(archive.compress { src = dir .. "/t", dst = dir .. "/gz", compression = compression or "gzip" })
  return assert(fs.read(dir .. "/gz")), plain.digest
end

--- Pushes an image; o: platform, layers (list of layer()'s file tables), config, annotations, docker, zstd, tag,
--- subject, artifact_type, blobs (of an artifact).
---@return table { raw, digest, size, media_type, platform, blobs }
function M.push(c, repo, o)
  o = o or {}
  local os_name, arch, variant = (o.platform or "linux/amd64"):match "^([^/]+)/([^/]+)/?(.*)$"
  local blobs, diff_ids = {}, json.array {}
  for i, files in ipairs(o.layers or {}) do blobs[i], diff_ids[i] = M.layer(files, o.zstd and "zstd") end
  local config = json.encode(json.object { { "architecture", arch }, { "os", os_name },
    { "variant", variant ~= "" and variant or nil }, { "created", "2026-01-01T00:00:00Z" },
    { "config", o.config or json.object() }, { "rootfs", { type = "layers", diff_ids = diff_ids } } })
  if o.artifact_type then config, blobs = "{}", o.blobs or { "content" } end
  local function entry(data, kind)
    assert(c:push_blob(repo, M.desc(data), { data = data }))
    return json.object { { "mediaType", kind }, { "digest", M.desc(data).digest }, { "size", #data } }
  end
  local doc = json.object { { "schemaVersion", 2 }, { "mediaType", o.docker and M.DOCKER_MANIFEST or M.MANIFEST } }
  doc.artifactType = o.artifact_type
  doc.config = entry(config, o.artifact_type and "application/vnd.oci.empty.v1+json" or o.docker and M.DOCKER_CONFIG or M.CONFIG)
  doc.layers = json.array {}
  for i, data in ipairs(blobs) do
    doc.layers[i] = entry(data, o.artifact_type and "text/plain" or o.docker and M.DOCKER_LAYER or o.zstd and M.ZSTD or M.LAYER)
  end
  doc.subject = o.subject and { mediaType = o.subject.media_type, digest = o.subject.digest, size = o.subject.size }
  doc.annotations = o.annotations
  local raw = json.encode(doc)
  local done = assert(c:push_manifest(repo, o.tag or M.desc(raw).digest, raw, doc.mediaType))
  return { raw = raw, digest = done.digest, size = #raw, media_type = doc.mediaType, platform = { architecture = arch,
    os = os_name, variant = variant ~= "" and variant or nil }, blobs = blobs, doc = doc }
end

--- Pushes an index of images; list items may carry annotations for their entry.
function M.push_index(c, repo, tag, list, o)
  o = o or {}
  local doc = json.object { { "schemaVersion", 2 }, { "mediaType", o.docker and M.DOCKER_LIST or M.INDEX },
    { "manifests", json.array {} }, { "annotations", o.annotations } }
  for i, m in ipairs(list) do
    doc.manifests[i] = json.object { { "mediaType", m.media_type }, { "digest", m.digest }, { "size", m.size },
      { "platform", m.platform }, { "annotations", m.entry_annotations } }
  end
  local raw = json.encode(doc)
  local done = assert(c:push_manifest(repo, tag or M.desc(raw).digest, raw, doc.mediaType))
  return { raw = raw, digest = done.digest, size = #raw, media_type = doc.mediaType }
end

--- Two platforms and BuildKit's attestation of the first.
function M.multi(c, repo, tag, seed)
  local files = { ["etc/name"] = "image " .. (seed or "one") }
  local amd = M.push(c, repo, { layers = { files, { ["bin/tool"] = "amd64" } }, annotations = { ["org.example"] = "yes" } })
  local arm = M.push(c, repo, { platform = "linux/arm64/v8", layers = { files, { ["bin/tool"] = "arm64" } } })
  local att = M.push(c, repo, { platform = "unknown/unknown", artifact_type = "application/vnd.docker.attestation.manifest.v1+json",
    blobs = { '{"_type":"https://in-toto.io/Statement/v1"}' .. (seed or "") } })
  att.entry_annotations = { ["vnd.docker.reference.type"] = "attestation-manifest",
    ["vnd.docker.reference.digest"] = amd.digest }
  local index = M.push_index(c, repo, tag, { amd, arm, att }, { annotations = { ["org.opencontainers.image.title"] = "multi" } })
  return index, amd, arm, att
end

return M
