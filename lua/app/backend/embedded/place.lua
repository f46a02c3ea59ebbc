--- The local store as a place of images for bakery.image: "store:NAME", where NAME is a reference or the
--- uid of a built target. Images of several platforms are read as an index.
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local process = require "bakery.process"
local store = require "bakery.store"
local task = require "bakery.task"
local document = require "bakery.image.document"
local place = require "bakery.image.place"
local chains = require "app.backend.embedded.chain"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local output = require "app.backend.embedded.output"

local M = {}
local Store = { kind = "store" }
Store.__index = Store

local function open_store(opts)
  if type(opts.store) == "userdata" then return opts.store, false end
  local entered = fail.check(require("bakery.sandbox").enter())
  local dir = opts.store or require("app.backend.embedded").store_dir()
  return fail.within("open store", store.open(dir, { create = opts.write or false, mode = entered.mode })), true
end

function M.open(text, opts)
  local handle, own = open_store(opts)
  local build = { store = handle, client = place.client(opts), once = task.once(), needed = {}, cpus = process.cpus(), compression = "gzip",
    level = output.level "gzip", emit = opts.emit or function() end }
  return setmetatable({ build = build, store = handle, own = own, name = text, text = "store:" .. text, files = {},
    manifests = {}, client = build.client }, Store)
end

-- Records of the name, by platform: those of a reference, else of a target's uid.
local function records(self)
  local ref, out = oci.ref(self.name), {}
  if ref then
    for _, r in ipairs(fail.check(self.store:refs(images.ref_key(tostring(ref), ""), true))) do out[#out + 1] = r.value end
  end
  if #out == 0 then
    local seen = {}
    for _, r in ipairs(fail.check(self.store:refs("target/", true))) do
      if r.value.uid == self.name and not seen[r.value.platform] then
        seen[r.value.platform] = true
        out[#out + 1] = r.value
      end
    end
  end
  if #out == 0 then
    fail.raise { class = "build", code = "oci.not_found", message = self.text .. ": not in the store",
      hint = "`bakery store ls` lists what is" }
  end
  table.sort(out, function(a, b) return a.platform < b.platform end)
  return out
end

-- Manifest of a record; the blobs of its layers are in the store, or can be had, afterwards.
local function manifest(self, record)
  local chain = chains.empty
  for _, layer in ipairs(record.layers) do chain = chain:with(layer) end
  local size = select(2, self.store:has_blob(record.config))
  local image = { config_digest = record.config, config_size = size, chain = chain, labels = record.labels, base = record.base,
    annotations = record.annotations, format = record.format }
  local made = output.manifest(self.build, image, record.platform)
  for i, d in ipairs(made.layers) do
    local layer = record.layers[i]
    self.files[d.digest] = function()
      if not self.store:has_blob(d.digest) and layer.source then images.fetch_blob(self.build, layer) end
      return self.store:blob_path(d.digest)
    end
  end
  self.files[record.config] = function() return self.store:blob_path(record.config) end
  local m = { raw = made.raw, digest = made.digest, media_type = made.media_type, size = made.size,
    annotations = made.annotations }
  self.manifests[m.digest] = m
  return { platform = record.platform, manifest = m, image = image }
end

function Store:root()
  if self._root then return self._root end
  local list, made = records(self), {}
  for i, record in ipairs(list) do made[i] = manifest(self, record) end
  if #made == 1 then self._root = made[1].manifest
  else
    local index = output.index(self.build, made)
    self._root = { raw = index.raw, digest = index.digest, media_type = index.media_type, size = index.size }
  end
  return self._root
end

function Store:get(digest)
  self:root()
  return self.manifests[digest] or (self._root.digest == digest and self._root)
    or fail.raise { class = "build", code = "oci.not_found", message = self.text .. ": no manifest " .. digest }
end

function Store:file(d)
  local path = self.files[d.digest]
  if not path then
    fail.raise { class = "build", code = "oci.not_found", message = self.text .. ": no blob " .. d.digest }
  end
  return path()
end

Store.stream = place.stream_file

function Store:blob(d, max) return fail.check(fs.read(self:file(d), max)) end
function Store.has() return false end
function Store.referrers() return {} end
function Store:tags()
  local out = {}
  for _, r in ipairs(fail.check(self.store:refs("image/", true))) do out[#out + 1] = r.value.name end
  return out
end

-- --- writing

function Store:put_blob(d, from, progress)
  if self.store:has_blob(d.digest) then return "exists" end
  local tmp = fail.check(self.store:tmpfile())
  if from.kind == "registry" then fail.check(from.client:blob(from.repo, d, tmp, { progress = progress }))
  else
    fail.check(fs.copy(from:file(d), tmp))
    if progress then progress:add(d.size) end
  end
  fail.check(self.store:add_blob_file(tmp, d.digest, { verify = from.kind ~= "registry" }))
  return "uploaded"
end

function Store:put(m) self.manifests[m.digest] = m end

local function remember(self, m, name)
  if not document.is_image(m) then return 0 end
  local doc = document.of(m)
  local config = fail.check(json.decode(fail.check(self.store:get_blob(doc.config.digest)), { ordered = true }))
  local ids = type(config.rootfs) == "table" and config.rootfs.diff_ids or {}
  if #ids ~= #doc.layers then
    fail.raise { class = "build", code = "oci.bad_config", message = ("%s: config lists %d layers, manifest %d"):format(name,
      #ids, #doc.layers) }
  end
  local platform = document.platform_text(config) or document.host_platform()
  local record = { name = name, built = true, digest = m.digest, config = doc.config.digest, config_size = doc.config.size,
    platform = platform, layers = json.array {}, size = 0,
    labels = type(config.config) == "table" and config.config.Labels or nil }
  for i, d in ipairs(doc.layers) do
    record.layers[i] = { diff_id = ids[i], blob = { mediaType = d.mediaType, digest = d.digest, size = d.size } }
    record.size = record.size + d.size
  end
  fail.check(self.store:put_ref(images.ref_key(name, platform), record))
  return 1
end

function Store:tag(m, name)
  name = tostring(fail.check(oci.ref(name or self.name)))
  local n = 0
  if document.is_index(m) then
    for _, d in ipairs(document.children(m)) do
      local child = self.manifests[d.digest]
      if child and not document.is_attestation(d) and not document.is_index(child) then n = n + remember(self, child, name) end
    end
  else
    n = remember(self, m, name)
  end
  if n == 0 then
    fail.raise { class = "usage", code = "oci.not_an_image", message = self.text .. ": the store keeps container images only" }
  end
  return "store:" .. name
end

function Store:remove()
  local name = tostring(fail.check(oci.ref(self.name)))
  local gone = 0
  for _, record in ipairs(records(self)) do
    if fail.check_bool(self.store:del_ref(images.ref_key(name, record.platform))) then gone = gone + 1 end
  end
  if gone == 0 then
    fail.raise { class = "usage", code = "image.place", message = self.text .. " is a built target, not a tag" }
  end
end

function Store:close() if self.own then self.store:close() end end

return M
