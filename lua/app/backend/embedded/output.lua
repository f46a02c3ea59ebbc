--- What becomes of a built chain: config and manifest, compressed layer blobs (made once per diff id
--- and only when something is exported), OCI layouts, docker archives, registries.
local archive = require "bakery.archive"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local again = require "bakery.image.again"
local task = require "bakery.task"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local manifests = require "app.backend.embedded.manifests"

local M = {}

M.descriptor, M.platform = manifests.descriptor, manifests.platform
local descriptor = M.descriptor

--- Bumped when the bytes that the compressors write change.
M.CODEC_VERSION = 1

-- Default and highest level of each compression.
local LEVELS = { gzip = { 6, 12 }, zstd = { 3, 19 } }

--- The level to compress with; raises when the compression has no such level.
---@param compression string
---@param level integer|nil as asked for
---@return integer|nil
function M.level(compression, level)
  local known = LEVELS[compression]
  if not level then return known and known[1] end
  if not known or level < 1 or level > known[2] then
    fail.raise { class = "usage", code = "usage", message = ("--compression-level: %d is not a level of %s"):format(level,
      compression), hint = known and ("levels are 1 to %d"):format(known[2]) or "nothing is compressed" }
  end
  return level
end

local function remembered(build, diff_id)
  local meta = build.store:layer_meta(diff_id)
  for _, blob in ipairs(meta and meta.blobs or {}) do
    if blob.codec == build.compression and blob.level == build.level and blob.version == M.CODEC_VERSION
        and build.store:has_blob(blob.digest) then
      return blob
    end
  end
  return nil, meta
end

local function missing_layer(layer)
  fail.raise { class = "build", code = "store.missing_layer", message = "layer " .. layer.diff_id .. " is gone from the store",
    hint = "build again" }
end

local function changed_layer(layer, packed)
  fail.raise { class = "build", code = "store.corrupt",
    message = ("layer %s changed in the store (its files now give %s)"):format(layer.diff_id, packed.diff_id),
    hint = "run `bakery store check`, then build with --no-cache" }
end

--- Descriptor of a layer's blob; packs and compresses the layer when no blob is there.
---@param format "oci"|"docker"|nil of its media type
function M.layer_blob(build, layer, format)
  format = format or "oci"
  if layer.blob then
    return descriptor { mediaType = manifests.layer_type(layer.blob.mediaType, format),
      digest = layer.blob.digest, size = layer.blob.size }
  end
  local blob = build.once:run("pack:" .. layer.diff_id, function()
    local lock <close> = fail.check(build.store:lock("pack-" .. layer.diff_id:gsub(":", "-"))) -- luacheck: ignore
    local known, meta = remembered(build, layer.diff_id)
    if known then return known end
    local dir = build.store:layer_dir(layer.diff_id)
    if not dir then missing_layer(layer) end
    local tmp = fail.check(build.store:tmpfile())
    local packed = fail.check(archive.pack { dir = dir, file = tmp, compression = build.compression, level = build.level })
    if packed.diff_id ~= layer.diff_id then
      fs.remove(tmp)
      changed_layer(layer, packed)
    end
    fail.check(build.store:add_blob_file(tmp, packed.digest))
    local made = { codec = build.compression, level = build.level, version = M.CODEC_VERSION, digest = packed.digest,
      size = packed.size, mediaType = manifests.types.oci[build.compression] }
    meta = meta or { blobs = json.array {} }
    table.insert(meta.blobs, made)
    fail.check(build.store:set_layer_meta(layer.diff_id, meta))
    return made
  end)
  return descriptor { mediaType = manifests.layer_type(blob.mediaType, format), digest = blob.digest, size = blob.size }
end

--- Packs a layer while later steps run, when it is clear that it will be exported. What goes wrong here is
--- said by whoever asks for the blob.
function M.pack_ahead(build, layer)
  if not build.ahead or layer.blob then return end
  build.pack_slots = build.pack_slots or task.semaphore(build.cpus)
  build.ahead[#build.ahead + 1] = task.spawn(function() build.pack_slots:with(M.layer_blob, build, layer) end)
end

--- Waits for what pack_ahead began; with `cancel` it is given up.
function M.settle_ahead(build, cancel)
  local list = build.ahead or {}
  for _, t in ipairs(list) do if cancel then t:cancel() end end
  for _, t in ipairs(list) do t:try_wait() end
  if build.ahead then build.ahead = {} end
end

--- Makes the manifest of an image; its config and layers' blobs are in the store afterwards (base
--- layers stay where they are until an output needs their bytes).
---@param image table { config_digest, config_size, chain, labels, base, format, annotations }
---@param platform string
---@return table { digest=, size=, raw=, layers=, media_type=, annotations= }
function M.manifest(build, image, platform)
  local layers = task.map(image.chain, build.cpus, function(layer) return M.layer_blob(build, layer, image.format) end)
  return manifests.manifest(build, image, layers, platform)
end

M.index = manifests.index

-- Path of a layer's blob, fetched from the base's registry when only known by name.
local function blob_file(build, layer, desc)
  if not build.store:has_blob(desc.digest) and layer.source then images.fetch_blob(build, layer) end
  return build.store:blob_path(desc.digest)
end

local function layout_tags(result) return #result.tags > 0 and result.tags or { result.uid } end

--- Names that images get in a layout: the tag alone as other tools do, the whole reference where that
--- would name two images or one image twice.
---@param results table[]
---@return table by tag
function M.layout_names(results)
  local user, shared, names, taken = {}, {}, {}, {}
  local function each(fn)
    for _, result in ipairs(results) do
      for _, tag in ipairs(layout_tags(result)) do fn(result, tag, tag:match(":([^:/]+)$") or tag) end
    end
  end
  each(function(result, _, short)
    shared[short] = shared[short] or (user[short] ~= nil and user[short] ~= result)
    user[short] = result
  end)
  each(function(_, tag, short)
    names[tag] = (shared[short] or taken[short]) and tag or short
    taken[short] = true
  end)
  return names
end

--- Adds a result's manifest (and index) to an OCI layout directory under its tags.
---@param names table as layout_names gives
---@param added string[] gets the paths of the blobs that were not there before
function M.to_layout(build, layout, result, names, added)
  local function put(digest)
    if not layout:has_blob(digest) then
      fail.check(layout:put_blob { file = build.store:blob_path(digest), digest = digest, link = true })
      added[#added + 1] = layout:blob_path(digest)
    end
  end
  for _, p in ipairs(result.platforms) do
    for i, layer in ipairs(p.image.chain) do
      blob_file(build, layer, p.manifest.layers[i])
      put(p.manifest.layers[i].digest)
    end
    put(p.image.config_digest)
    put(p.manifest.digest)
  end
  local top = result.top
  put(top.digest)
  for _, tag in ipairs(layout_tags(result)) do
    -- What an earlier export left under the name goes: nobody could ask for it any more.
    fail.check_bool(layout:remove(names[tag]))
    fail.check_bool(layout:remove(tag))
    local annotations = json.object()
    for name, value in json.pairs(top.annotations or {}) do annotations[name] = value end
    annotations["io.containerd.image.name"] = tag
    fail.check(layout:add_manifest(descriptor { mediaType = top.media_type, digest = top.digest, size = top.size,
      platform = #result.platforms == 1 and M.platform(result.platforms[1].platform) or nil,
      annotations = annotations }, names[tag]))
  end
end

-- Writes a layer's plain tar. A pulled layer's own bytes are taken: packing its files again would
-- give others than the config's diff id says.
local function plain_layer(build, layer, file)
  if layer.blob then
    local blob = images.fetch_blob(build, layer)
    fail.within("layer " .. layer.diff_id, archive.decompress { src = blob, dst = file })
    return
  end
  local dir = build.store:layer_dir(layer.diff_id)
  if not dir then missing_layer(layer) end
  local packed = fail.check(archive.pack { dir = dir, file = file, compression = "none" })
  if packed.diff_id ~= layer.diff_id then changed_layer(layer, packed) end
end

--- Writes a docker-archive (`docker load`, skopeo docker-archive:) with the given results.
function M.to_docker_archive(build, path, results)
  for _, result in ipairs(results) do
    if #result.platforms > 1 then
      fail.raise { class = "usage", code = "output.platforms",
        message = ("docker-archive: %s has %d platforms, and the format has one image per tag"):format(result.uid,
          #result.platforms), hint = "choose one with --image-platform, or use --output oci:DIR" }
    end
  end
  local manifest, written = json.array {}, {}
  local tmp = fail.check(build.store:tmpdir())
  local out = fail.check(archive.tar_writer(path))
  local function add(name, fields)
    if written[name] then return end
    written[name] = true
    fields.path, fields.type, fields.mode, fields.uid, fields.gid = name, "file", 420, 0, 0
    fields.mtime = build.epoch or 0
    fail.check(out:add(fields))
  end
  for _, result in ipairs(results) do
    for _, p in ipairs(result.platforms) do
      local layers = json.array {}
      for i, layer in ipairs(p.image.chain) do
        local hex = layer.diff_id:match(":(.*)$")
        layers[i] = hex .. "/layer.tar"
        if not written[layers[i]] then
          local file = tmp .. "/" .. hex
          plain_layer(build, layer, file)
          add(layers[i], { file = file })
          fs.remove(file)
        end
      end
      local config_hex = p.image.config_digest:match(":(.*)$")
      add(config_hex .. ".json", { data = fail.check(build.store:get_blob(p.image.config_digest)) })
      local entry = json.object()
      entry.Config = config_hex .. ".json"
      entry.RepoTags = json.array(#result.tags > 0 and result.tags or { "localhost/" .. result.uid .. ":latest" })
      entry.Layers = layers
      manifest[#manifest + 1] = entry
    end
  end
  add("manifest.json", { data = json.encode(manifest) })
  fail.check(out:finish())
  build.store:remove_tmp(tmp)
end

local function split_tag(tag)
  local ref = fail.check(oci.ref(tag))
  return ref.registry .. "/" .. ref.repository, ref.tag or "latest"
end

--- Repositories of a result's tags -> list of tags.
function M.repositories(result)
  local order, tags = {}, {}
  for _, tag in ipairs(result.tags) do
    local repo, name = split_tag(tag)
    if not tags[repo] then
      tags[repo] = {}
      order[#order + 1] = repo
    end
    table.insert(tags[repo], name)
  end
  return order, tags
end

local function push_blob(build, result, repo, layer, desc, source)
  if build.client:has_blob(repo, desc.digest) then return end
  local same_host = source and source:match("^[^/]+") == repo:match("^[^/]+")
  local mount_from = same_host and source ~= repo and source:match("^[^/]+/(.*)$") or nil
  local how = fail.within("push " .. repo,
    build.client:push_blob(repo, desc, { file = blob_file(build, layer, desc), mount_from = mount_from }))
  build.emit { type = "pushed_blob", target = result.uid, digest = desc.digest, size = desc.size, how = how }
end

--- Brings one layer to a repository, once per build; returns its descriptor. What one repository of a
--- registry has got, the others mount.
function M.push_layer(build, result, repo, layer)
  local desc = M.layer_blob(build, layer)
  local host = repo:match("^[^/]+")
  local first = build.once:run("upload:" .. host .. "@" .. desc.digest, function()
    push_blob(build, result, repo, layer, desc, layer.source)
    return repo
  end)
  if first ~= repo then
    build.once:run("push:" .. repo .. "@" .. desc.digest, function()
      push_blob(build, result, repo, layer, desc, first)
      return true
    end)
  end
  return desc
end

-- What belongs to an image beside its layers and configuration: blobs, then manifests in order.
local function push_artifacts(build, artifacts, repo)
  task.map(artifacts.blobs, 4, function(d)
    return fail.within("push " .. repo, build.client:push_blob(repo, d, { file = build.store:blob_path(d.digest) }))
  end)
  for _, m in ipairs(artifacts.manifests) do
    fail.within("push " .. repo, build.client:push_manifest(repo, m.digest, m.raw, m.media_type))
  end
end

-- The manifest of one platform, when all it names is there.
local function push_platform(build, result, repo, p)
  local function config()
    fail.within("push " .. repo, build.client:push_blob(repo, { digest = p.image.config_digest, size = p.image.config_size },
      { file = build.store:blob_path(p.image.config_digest) }))
  end
  config()
  fail.within("push " .. repo, again(function()
    return build.client:push_manifest(repo, p.manifest.digest, p.manifest.raw, p.manifest.media_type)
  end, function()
    for _, layer in ipairs(p.image.chain) do push_blob(build, result, repo, layer, M.layer_blob(build, layer)) end
    config()
  end))
end

--- Uploads everything a result needs to one repository, by digest only: no tag is touched.
function M.push_content(build, result, repo)
  for _, p in ipairs(result.platforms) do
    task.map(p.image.chain, 4, function(layer) return M.push_layer(build, result, repo, layer) end)
    push_platform(build, result, repo, p)
  end
  if result.artifacts then push_artifacts(build, result.artifacts, repo) end
  if result.top.digest ~= result.platforms[1].manifest.digest then
    fail.within("push " .. repo, build.client:push_manifest(repo, result.top.digest, result.top.raw, result.top.media_type))
  end
end

return M
