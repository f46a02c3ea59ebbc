--- Base images: found in the store, else in their registry; only manifest and config are fetched
--- until somebody needs the files.
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local snapshot = require "bakery.snapshot"
local task = require "bakery.task"
local chains = require "app.backend.embedded.chain"
local fail = require "app.fail"
local limits = require "app.backend.embedded.limits"
local provenance = require "app.backend.embedded.provenance"

local M = {}

--- Store reference of an image for one platform.
function M.ref_key(name, platform) return "image/" .. name .. "@" .. platform end

local function record_to_image(build, record)
  local text = fail.check(build.store:get_blob(record.config, 16 << 20))
  local config = fail.check(json.decode(text, { ordered = true }))
  local chain = chains.empty
  for _, layer in ipairs(record.layers) do
    chain = chain:with { diff_id = layer.diff_id, blob = layer.blob, source = layer.source }
  end
  return { name = record.name, config = config, chain = chain, digest = record.digest, image_id = record.config,
    source = record.source }
end

local function usable(build, record)
  if not build.store:has_blob(record.config) then return false end
  for _, layer in ipairs(record.layers) do
    -- A layer can be had from its directory, its blob, or the registry it came from.
    if not build.store:layer_dir(layer.diff_id) and not (layer.blob and (build.store:has_blob(layer.blob.digest)
        or layer.source)) then
      return false
    end
  end
  return true
end

local function check_manifest(name, manifest)
  if not manifest.config or not manifest.layers then
    fail.raise { class = "build", code = "oci.not_an_image", message = name .. ": not an image manifest" }
  end
end

-- Keeps the configuration's text and returns its diff ids, one for each layer of the manifest.
local function keep_config(build, name, manifest, text)
  local config = fail.check(json.decode(text, { ordered = true }))
  local diff_ids = config.rootfs and config.rootfs.diff_ids or {}
  if #diff_ids ~= #manifest.layers then
    fail.raise { class = "build", code = "oci.bad_config",
      message = ("%s: config lists %d layers, manifest %d"):format(name, #diff_ids, #manifest.layers) }
  end
  fail.check(build.store:put_blob(text))
  return diff_ids
end

-- The last part of a repository beside those that this plan tags: most likely an image of the same project.
local function relative(build, ref)
  local space, image = (ref.registry .. "/" .. ref.repository):match "^(.*/)([^/]+)$"
  for tag in pairs(build.siblings or {}) do
    if tag:match "^(.*/)[^/]+$" == space then return image end
  end
end

local function pull_manifest(build, ref, platform)
  local name = tostring(ref)
  build.emit { type = "pull", image = name, platform = platform, text = "resolving " .. name }
  local found, err = build.client:resolve(name, { platform = platform })
  local image = not found and type(err) == "table" and relative(build, ref)
  if image then
    err.hint = err.hint or ("if this project makes it, build it in the same run or before: bakery build --image-name '^%s$'")
      :format(image)
  end
  found = fail.within("FROM " .. name, found, err)
  local manifest = found.manifest
  check_manifest(name, manifest)
  local text = fail.check(build.client:blob_data(ref.registry .. "/" .. ref.repository, manifest.config))
  local diff_ids = keep_config(build, name, manifest, text)
  local record = { name = name, digest = found.digest, config = manifest.config.digest, platform = platform,
    source = ref.registry .. "/" .. ref.repository, layers = json.array {} }
  for i, layer in ipairs(manifest.layers) do
    record.layers[i] = { diff_id = diff_ids[i], source = record.source,
      blob = { mediaType = layer.mediaType, digest = layer.digest, size = layer.size } }
  end
  return record
end

-- The image of another target of the same plan: waits until that one is built.
local function built_image(build, uid, name, platform, target)
  build.waits[target] = build.waits[target] or {}
  build.waits[target][uid] = true
  local function reaches(from, seen)
    if from == target then return true end
    seen[from] = true
    for next_uid in pairs(build.waits[from] or {}) do
      if not seen[next_uid] and reaches(next_uid, seen) then return true end
    end
    return false
  end
  if reaches(uid, {}) then
    fail.raise { class = "usage", code = "build.cycle", message = ("%s and %s are built from each other (%s)"):format(
      target, uid, name) }
  end
  local ok, result = pcall(build.done[uid].wait, build.done[uid])
  if not ok then
    if task.is_cancelled(result) then error(result, 0) end
    fail.raise { class = "build", code = "build.sibling_failed", message = ("%s was not built, and this target is built from it")
      :format(uid) }
  end
  for _, p in ipairs(result.platforms) do
    if p.platform == platform then
      local text = fail.check(build.store:get_blob(p.image.config_digest, 16 << 20))
      return { name = name, config = fail.check(json.decode(text, { ordered = true })), chain = p.image.chain,
        digest = p.image.config_digest, image_id = p.image.config_digest }
    end
  end
end

-- A tag of another target of the same plan.
local function sibling(build, name, platform, target)
  local uid = build.siblings and build.siblings[name]
  if uid and uid ~= target then return built_image(build, uid, name, platform, target) end
end

--- Store reference of a target's image.
---@param dir string the project's directory
---@param uid string
---@param platform string
---@return string
function M.target_ref(dir, uid, platform)
  return "target/" .. digest.sha256(dir):sub(1, 16) .. "/" .. uid .. "@" .. platform
end

--- The image of another target (`target:UID`): of this build, else of an earlier one.
---@param build table the running build
---@param uid string
---@param platform string
---@param target string uid of the target that asks
---@return table image as M.resolve
function M.of_target(build, uid, platform, target)
  local name = "target:" .. uid
  if build.done and build.done[uid] then
    local image = built_image(build, uid, name, platform, target)
    if image then return image end
    fail.raise { class = "usage", code = "build.platform", message = ("%s is not built for %s"):format(name, platform) }
  end
  local record = build.store:get_ref(M.target_ref(build.dir, uid, platform))
  if record and usable(build, record) then return record_to_image(build, record) end
  local near = require("bakery.suggest").nearest(uid, build.uids or {})
  return fail.raise { class = "usage", code = "build.no_target", message = ("%s: no such target in this plan, and none was built before")
    :format(name), hint = near and near ~= uid and "did you mean target:" .. near .. "?" or "select that target too" }
end

--- Takes an image of an OCI layout into the store.
---@param build table the running build
---@param layout bakery.oci.layout
---@param found table of layout:resolve
---@param name string how messages and the record call it
---@param platform string
---@return table image as M.resolve
function M.import(build, layout, found, name, platform)
  local manifest = found.manifest
  check_manifest(name, manifest)
  local text = fail.within(name, layout:get_blob(manifest.config.digest))
  local diff_ids = keep_config(build, name, manifest, text)
  local record = { name = name, digest = found.digest, config = manifest.config.digest, platform = platform, layers = json.array {} }
  for i, layer in ipairs(manifest.layers) do
    if not build.store:has_blob(layer.digest) then
      local tmp = fail.check(build.store:tmpfile())
      fail.within(name, fs.copy(fail.check(layout:blob_path(layer.digest)), tmp))
      fail.within(name, build.store:add_blob_file(tmp, layer.digest, { verify = true }))
    end
    record.layers[i] = { diff_id = diff_ids[i], blob = { mediaType = layer.mediaType, digest = layer.digest, size = layer.size } }
  end
  return record_to_image(build, record)
end

-- The image of a reference: another target's, the store's or the registry's.
local function resolve(build, text, platform, target)
  local ref = fail.within("FROM " .. text, oci.ref(text))
  local name = tostring(ref)
  local own = sibling(build, name, platform, target)
  if own then return own end
  return build.once:run("image:" .. name .. "@" .. platform, function()
    local key = M.ref_key(name, platform)
    local record = build.store:get_ref(key)
    if record and usable(build, record) and not (build.pull and not record.built) then
      return record_to_image(build, record)
    end
    record = pull_manifest(build, ref, platform)
    fail.check(build.store:put_ref(key, record))
    return record_to_image(build, record)
  end)
end

--- Notes that an image went into a target, for its provenance.
---@param build table
---@param target string uid
---@param image table as M.resolve
---@param platform string
---@return table image
function M.remember(build, target, image, platform)
  -- What was built here and never pushed has no manifest yet: its image id says as well what it was.
  provenance.note(build, target, platform, image.name, image.digest or image.image_id)
  return image
end

--- Resolves an image reference for a platform; once per build. The target's materials remember it.
---@param build table the running build
---@param text string reference
---@param platform string
---@param target string uid of the target that asks
---@return table image { name, config, chain, digest, image_id, source }
function M.resolve(build, text, platform, target)
  return M.remember(build, target, resolve(build, text, platform, target), platform)
end

-- The file that a blob is being written to, for who can take it as it comes; false when nobody writes it.
local function coming(build, name)
  build.coming[name] = build.coming[name] or task.future()
  return build.coming[name]
end

local function announce(build, name, file)
  if coming(build, name):is_set() then build.coming[name] = nil end
  coming(build, name):set(file)
end

local function download(build, layer)
  local blob = layer.blob
  local tmp = fail.check(build.store:tmpfile())
  fail.check(fs.write(tmp, ""))
  build.emit { type = "download", digest = blob.digest, size = blob.size }
  announce(build, blob.digest, tmp)
  fail.within("download layer " .. blob.digest, build.client:blob(layer.source, blob, tmp, { in_place = true }))
  fail.check(build.store:add_blob_file(tmp, blob.digest))
end

--- Makes sure the blob of a pulled layer is in the store; returns its path.
---@param build table the running build
---@param layer table of a chain
---@return string
function M.fetch_blob(build, layer)
  local blob = layer.blob
  build.once:run("blob:" .. blob.digest, function()
    local _lock <close> = fail.check(build.store:lock("blob-" .. blob.digest:gsub(":", "-")))
    local _end <close> = setmetatable({}, { __close = function() announce(build, blob.digest, false) end })
    if not build.store:has_blob(blob.digest) then download(build, layer) end
    return true
  end)
  return build.store:blob_path(blob.digest)
end

local STREAMED = 1 << 20 -- smaller blobs are there before a reader has begun

local function apply(build, layer, lowers, blob, dir, grows_to)
  return limits.explain(snapshot.apply { blob = blob, dir = dir, diff_id = layer.diff_id, lowers = lowers, grows_to = grows_to,
    userxattr = build.userxattr, rootless = build.rootless, limits = limits.foreign() })
end

-- Fetches the blob and unpacks it while it comes: { diff_id=, … }, or nil when that did not work, for whatever
-- reason. It counts only once the blob is there, verified.
local function apply_coming(build, layer, lowers, dir)
  local blob = layer.blob
  local done
  task.all {
    function() M.fetch_blob(build, layer) end,
    function()
      local file = blob.size >= STREAMED and not build.store:has_blob(blob.digest) and coming(build, blob.digest):wait()
      if file then done = apply(build, layer, lowers, file, dir, blob.size) end
    end,
  }
  return done
end

local function unpack_layer(build, layer, lowers)
  local dir = build.store:layer_dir(layer.diff_id)
  if dir then return dir end
  local _lock <close> = fail.check(build.store:lock("layer-" .. layer.diff_id:gsub(":", "-")))
  dir = build.store:layer_dir(layer.diff_id)
  if dir then return dir end
  if not layer.blob then
    fail.raise { class = "build", code = "store.missing_layer",
      message = "layer " .. layer.diff_id .. " is gone from the store; build again with --no-cache" }
  end
  local tmp = fail.check(build.store:tmpdir())
  build.emit { type = "unpack", digest = layer.blob.digest }
  local done = apply_coming(build, layer, lowers, tmp .. "/fs")
  if not done then
    local err
    done, err = apply(build, layer, lowers, build.store:blob_path(layer.blob.digest), tmp .. "/fs")
    fail.within("unpack layer " .. layer.blob.digest, done, err)
  end
  local path = fail.check(build.store:publish_layer(tmp .. "/fs", layer.diff_id,
    { size = done.size, entries = done.entries, blobs = json.array { layer.blob } }))
  build.store:remove_tmp(tmp)
  return path
end

-- A layer may stand in a chain twice (two RUNs that change nothing), but overlayfs refuses a
-- directory that is named twice (ELOOP). The upper one covers all that the lower one has.
local function distinct(dirs)
  local seen, out = {}, {}
  for i = #dirs, 1, -1 do
    if not seen[dirs[i]] then
      seen[dirs[i]] = true
      table.insert(out, 1, dirs[i])
    end
  end
  return out
end

--- Directories of a chain's layers, lowest first; unpacks what is not there yet.
---@return string[]
function M.lowers(build, chain)
  local blobs = {}
  for _, layer in ipairs(chain) do
    if layer.blob and layer.source and not build.store:layer_dir(layer.diff_id)
        and not build.store:has_blob(layer.blob.digest) then
      blobs[#blobs + 1] = layer
    end
  end
  local out = {}
  task.all {
    function() task.map(blobs, 4, function(layer) M.fetch_blob(build, layer) end) end,
    function()
      for i, layer in ipairs(chain) do
        out[i] = build.once:run("layer:" .. layer.diff_id, function()
          return unpack_layer(build, layer, distinct(table.move(out, 1, i - 1, 1, {})))
        end)
      end
    end,
  }
  return distinct(out)
end

return M
