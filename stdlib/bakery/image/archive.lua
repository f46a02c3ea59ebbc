--- Images in the archives of `docker save`: "FILE" or "FILE:REFERENCE". Read, their layers are
--- compressed and get an OCI manifest; written, images become plain tars again (registry.md 2.4).
local archive = require "bakery.archive"
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local task = require "bakery.task"
local document = require "bakery.image.document"
local fault = require "bakery.image.fault"
local place = require "bakery.image.place"

local M = {}
local Archive = { kind = "docker-archive" }
Archive.__index = Archive

function M.open(text, opts)
  local file, name = text:match "^([^:]+):(.+)$"
  local self = setmetatable({ path = file or text, name = name and tostring(fault.check(oci.ref(name))), files = {},
    text = "docker-archive:" .. text, client = opts.client, jobs = opts.jobs or 4 }, Archive)
  self.tmp = fault.check(fs.tmpdir "bakery-archive")
  return self
end

local function bad(self, message)
  fault.raise { class = "build", code = "image.archive", message = self.text .. ": " .. message }
end

-- A file of the unpacked archive; links in it lead nowhere else.
local function inside(self, path)
  local root = fault.check(fs.realpath(self.tmp .. "/in"))
  local real = type(path) == "string" and fs.realpath(root .. "/" .. path)
  if not real or real:sub(1, #root + 1) ~= root .. "/" then bad(self, ("'%s' is not in it"):format(tostring(path))) end
  return real
end

local function choose(self, list)
  if type(list) ~= "table" then bad(self, "manifest.json is not a list") end
  local names = {}
  for _, e in ipairs(list) do
    for _, tag in ipairs(type(e.RepoTags) == "table" and e.RepoTags or {}) do
      local ref = oci.ref(tag)
      names[#names + 1] = tag
      if self.name and ref and tostring(ref) == self.name then return e, tag end
    end
  end
  if not self.name and #list == 1 then return list[1], names[1] end
  bad(self, (self.name and "no image '" .. self.name .. "'" or #list .. " images: name one") .. " (there is: "
    .. (#names > 0 and table.concat(names, ", ") or "none") .. ")")
end

local function read(self)
  if not fs.is_file(self.path) then
    fault.raise { class = "build", code = "ENOENT", message = self.text .. ": no such file" }
  end
  fault.check(archive.unpack { file = self.path, dir = self.tmp .. "/in" })
  if not fs.exists(self.tmp .. "/in/manifest.json") then bad(self, "not an archive of docker save (no manifest.json)") end
  local list = fault.check(json.decode(fault.check(fs.read(inside(self, "manifest.json"), 16 << 20)), { name = "manifest.json" }))
  local entry, tag = choose(self, list)
  self.found = tag
  local raw = fault.check(fs.read(inside(self, entry.Config), 16 << 20))
  local config = fault.check(json.decode(raw, { name = tostring(entry.Config) }))
  local diff_ids = type(config) == "table" and type(config.rootfs) == "table" and config.rootfs.diff_ids
  if type(diff_ids) ~= "table" or type(entry.Layers) ~= "table" or #diff_ids ~= #entry.Layers then
    bad(self, "config and list of layers do not fit")
  end
  return entry, raw, diff_ids
end

function Archive:root()
  if self._root then return self._root end
  local entry, raw, diff_ids = read(self)
  local doc = json.object { { "schemaVersion", 2 }, { "mediaType", document.MANIFEST } }
  local config = { raw = raw, media_type = document.CONFIG, digest = "sha256:" .. digest.sha256(raw) }
  doc.config = document.descriptor(config)
  self.files[config.digest] = inside(self, entry.Config)
  local layers = task.map(entry.Layers, self.jobs, function(path, i)
    local out = ("%s/layer-%d"):format(self.tmp, i)
    local done = fault.check(archive.compress { src = inside(self, path), dst = out })
    if done.diff_id ~= diff_ids[i] then
      bad(self, ("layer %s has digest %s, its config says %s"):format(path, done.diff_id, tostring(diff_ids[i])))
    end
    self.files[done.digest] = out
    return json.object { { "mediaType", document.LAYER_GZIP }, { "digest", done.digest }, { "size", done.size } }
  end)
  doc.layers = json.array(layers)
  self._root = document.make(doc, document.MANIFEST)
  return self._root
end

function Archive:get(wanted)
  local m = self:root()
  if m.digest == wanted then return m end
  bad(self, "no manifest " .. wanted)
end

function Archive:file(d)
  return self.files[d.digest] or bad(self, "no blob " .. d.digest)
end

Archive.stream = place.stream_file

function Archive:blob(d, max) return fault.check(fs.read(self:file(d), max)) end
function Archive.has() return false end
function Archive.referrers() return {} end
function Archive:tags()
  self:root()
  return { self.found }
end

-- --- writing

function Archive:put_blob(d, from, progress)
  if self.files[d.digest] then return "exists" end
  if from.kind == "registry" then
    local path = self.tmp .. "/" .. d.digest:gsub(":", "-")
    fault.check(from.client:blob(from.repo, d, path, { progress = progress }))
    self.files[d.digest] = path
  else
    self.files[d.digest] = from:file(d)
    if progress then progress:add(d.size) end
  end
  return "uploaded"
end

function Archive.put() end

-- The plain tar of layer i.
local function plain_layer(self, d, diff_id, i)
  local out = ("%s/plain-%d"):format(self.tmp, i)
  local done = fault.check(archive.decompress { src = self:file(d), dst = out })
  if done.diff_id ~= diff_id then
    bad(self, ("layer %s unpacks to %s, its config says %s"):format(d.digest, done.diff_id, tostring(diff_id)))
  end
  return out
end

local function write(self, path, doc, config, name)
  local out <close> = fault.check(archive.tar_writer(path)) -- luacheck: ignore
  local layers, written = json.array {}, {}
  for i, d in ipairs(doc.layers) do
    local diff_id = config.rootfs.diff_ids[i]
    layers[i] = diff_id:match ":(.*)$" .. "/layer.tar"
    if not written[layers[i]] then
      local file = plain_layer(self, d, diff_id, i)
      fault.check(out:add { path = layers[i], file = file })
      fs.remove(file)
    end
    written[layers[i]] = true
  end
  local config_name = doc.config.digest:match ":(.*)$" .. ".json"
  fault.check(out:add { path = config_name, file = self:file(doc.config) })
  local entry = json.object { { "Config", config_name }, { "RepoTags", json.array { name } }, { "Layers", layers } }
  fault.check(out:add { path = "manifest.json", data = json.encode(json.array { entry }) })
  fault.check(out:finish())
end

function Archive:tag(m, name)
  if document.is_index(m) or not document.is_image(m) then
    fault.raise { class = "usage", code = "image.archive", message = self.text .. ": the format holds single images only",
      hint = "choose one with --platform, or write to oci:DIR" }
  end
  local doc = document.of(m)
  local config = fault.check(json.decode(self:blob(doc.config, 16 << 20)))
  if type(config.rootfs) ~= "table" or #(config.rootfs.diff_ids or {}) ~= #doc.layers then
    bad(self, "config and layers of the image do not fit")
  end
  local part = self.path .. ".part"
  local ok, err = pcall(write, self, part, doc, config, self.name or name)
  if not ok then
    fs.remove(part)
    error(err, 0)
  end
  fault.check(fs.rename(part, self.path))
  return self.text
end

function Archive:close()
  if self.tmp then fs.remove(self.tmp, { recursive = true }) end
  self.tmp = nil
end
Archive.__close = Archive.close
Archive.__gc = Archive.close

return M
