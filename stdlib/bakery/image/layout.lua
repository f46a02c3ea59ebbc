--- Images in an OCI layout directory: "DIR", "DIR:NAME", "DIR@DIGEST". Referrers are kept in the entry
--- named like the fallback tag of registries, as regctl does.
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local document = require "bakery.image.document"
local place = require "bakery.image.place"
local fault = require "bakery.image.fault"

local M = {}
local Layout = { kind = "oci" }
Layout.__index = Layout

local REF_NAME = "org.opencontainers.image.ref.name"

function M.open(text, opts)
  local dir, digest = text:match "^(.-)@(%w+:%x+)$"
  local name
  if not dir then
    dir, name = text:match "^([^:]+):(.+)$"
    dir = dir or text
  end
  local layout = fault.check(oci.layout(dir, { create = opts.write or false }))
  return setmetatable({ layout = layout, dir = dir, name = name or digest, text = "oci:" .. text,
    client = opts.client }, Layout)
end

-- The decoded `manifest` of resolve is left out: another reader keeps the order of keys.
local function plain(m) return { raw = m.raw, digest = m.digest, media_type = m.media_type, size = m.size } end

function Layout:root()
  if not self._root then self._root = plain(fault.check(self.layout:resolve(self.name))) end
  return self._root
end

function Layout:get(digest) return plain(fault.check(self.layout:resolve(digest))) end

function Layout:blob(d, max) return fault.check(self.layout:get_blob(d.digest, max)) end

function Layout:file(d)
  if not self.layout:has_blob(d.digest) then
    fault.raise { class = "build", code = "oci.not_found", message = ("%s has no blob %s"):format(self.text, d.digest) }
  end
  return fault.check(self.layout:blob_path(d.digest))
end

Layout.stream = place.stream_file

-- A layout may have a manifest without what it names: looking is as cheap as asking.
function Layout.has() return false end

function Layout:put_blob(d, from, progress)
  if self.layout:has_blob(d.digest) or (from.kind == "oci" and from.dir == self.dir) then return "exists" end
  if from.kind == "registry" then
    local path = fault.check(self.layout:blob_path(d.digest))
    fault.check(fs.mkdir(fs.dirname(path), { parents = true }))
    fault.check(from.client:blob(from.repo, d, path, { progress = progress }))
  else
    fault.check(self.layout:put_blob { file = from:file(d), digest = d.digest, progress = progress })
  end
  return "uploaded"
end

function Layout:add_blob(d, source)
  if self.layout:has_blob(d.digest) then return "exists" end
  fault.check(self.layout:put_blob { data = source.data, file = source.file, digest = d.digest })
  return "uploaded"
end

local function subject_of(m)
  local subject = document.of(m).subject
  return type(subject) == "table" and type(subject.digest) == "string" and oci.is_digest(subject.digest) and subject.digest
end

local function entry_for(m)
  local doc = document.of(m)
  local config = type(doc.config) == "table" and doc.config.mediaType or nil
  return document.descriptor(m, { artifactType = doc.artifactType or config, annotations = doc.annotations })
end

local function replace(self, m, name)
  if name then fault.check(self.layout:remove(name)) end
  fault.check(self.layout:add_manifest(document.descriptor(m), name))
end

function Layout:put(m)
  fault.check(self.layout:put_blob { data = m.raw, digest = m.digest })
  local subject = subject_of(m)
  if not subject then return end
  local tag = oci.fallback_tag(subject)
  local old = self:named(tag)
  local doc = old and document.of(old)
    or json.object { { "schemaVersion", 2 }, { "mediaType", document.INDEX }, { "manifests", json.array {} } }
  for _, d in ipairs(doc.manifests) do if d.digest == m.digest then return end end
  table.insert(doc.manifests, entry_for(m))
  local index = document.make(doc, document.INDEX)
  fault.check(self.layout:put_blob { data = index.raw, digest = index.digest })
  replace(self, index, tag)
end

function Layout:tag(m, name)
  name = name or self.name
  if name and oci.is_digest(name) then
    if name ~= m.digest then
      fault.raise { class = "usage", code = "image.digest", message = ("%s: what is copied has digest %s"):format(self.text,
        m.digest) }
    end
    name = nil
  end
  fault.check(self.layout:put_blob { data = m.raw, digest = m.digest })
  if subject_of(m) then self:put(m) end
  replace(self, m, name)
  return "oci:" .. self.dir .. (name and ":" .. name or "")
end

local function entries(self)
  local index, err = self.layout:index()
  return fault.check(index, index == nil and err or nil).manifests
end

function Layout:tags()
  local out = {}
  for _, d in ipairs(entries(self)) do out[#out + 1] = d.annotations and d.annotations[REF_NAME] end
  return out
end

function Layout:named(name)
  for _, d in ipairs(entries(self)) do
    if d.annotations and d.annotations[REF_NAME] == name then return self:get(d.digest) end
  end
end

function Layout:remove()
  if not self.name or not fault.check(self.layout:remove(self.name)) then
    fault.raise { class = "build", code = "oci.not_found", message = self.text .. ": no such name" }
  end
end

function Layout:referrers(digest, artifact_type)
  local index, out, seen = self:named(oci.fallback_tag(digest)), {}, {}
  local function add(d)
    if not seen[d.digest] and (not artifact_type or d.artifactType == artifact_type) then out[#out + 1] = d end
    seen[d.digest] = true
  end
  for _, d in ipairs(index and document.children(index) or {}) do add(d) end
  for _, d in ipairs(entries(self)) do -- oras lists them at the top
    if not (d.annotations and d.annotations[REF_NAME]) and document.is_manifest_type(d.mediaType)
        and not oci.is_index(d.mediaType) and not seen[d.digest] then
      local m = self:get(d.digest)
      if subject_of(m) == digest then add(entry_for(m)) end
    end
  end
  return out
end

function Layout:renamed(name) return M.open(self.dir .. ":" .. name, { client = self.client, write = true }) end

function Layout:close() self.layout:close() end

return M
