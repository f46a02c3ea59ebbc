--- Images in a registry.
local oci = require "bakery.oci"
local again = require "bakery.image.again"
local fault = require "bakery.image.fault"
local place = require "bakery.image.place"

local M = {}
local Registry = { kind = "registry" }
Registry.__index = Registry

function M.open(text, opts)
  local ref = fault.check(oci.ref(text))
  return setmetatable({ client = place.client(opts), ref = ref, repo = ref.name, text = tostring(ref) }, Registry)
end

function Registry:at(digest) return self.repo .. "@" .. digest end

function Registry:root()
  if not self._root then self._root = fault.check(self.client:manifest(self.ref)) end
  return self._root
end

function Registry:get(digest) return fault.check(self.client:manifest(self:at(digest))) end

function Registry:blob(d, max) return fault.check(self.client:blob_data(self.repo, d, { max = max })) end

function Registry:stream(d, sink, progress)
  fault.check(self.client:stream(self.repo, { digest = d.digest, size = d.size }, sink, { progress = progress }))
end

-- What a reference stands for, or nil. Who may not look may still be allowed to push.
local function look(self, ref)
  local found, err = self.client:head(ref)
  if found then return found end
  if err.code == "oci.not_found" or err.code == "oci.denied" or err.code == "oci.unauthorized" then return nil end
  return fault.check(nil, err)
end

function Registry:has(digest) return look(self, self:at(digest)) ~= nil end

--- Digest of a tag, or nil.
function Registry:current(tag)
  local found, err = self.client:head(self.repo .. ":" .. tag)
  if found then return found.digest end
  if err.code == "oci.not_found" then return nil end
  return fault.check(nil, err)
end

--- The reference, when it is a tag that stands for this manifest already.
function Registry:shows(m)
  if self.ref.digest or not self.ref.tag then return nil end
  local found = look(self, self.ref)
  return found and found.digest == m.digest and self.repo .. ":" .. self.ref.tag or nil
end

function Registry:put_blob(d, from, progress)
  if from.kind == "registry" and from.client == self.client then
    if from.repo == self.repo then return "exists" end
    return fault.check(self.client:copy_blob(self.repo, from.repo, d, { progress = progress }))
  end
  return fault.check(self.client:push_blob(self.repo, d, { file = from:file(d), progress = progress }))
end

function Registry:add_blob(d, source)
  return fault.check(self.client:push_blob(self.repo, { digest = d.digest, size = d.size }, source))
end

local function nothing() end

--- Stores a manifest; bring() brings what it names once more when the registry has lost it.
function Registry:put(m, bring)
  fault.check(again(function() return self.client:push_manifest(self.repo, m.digest, m.raw, m.media_type) end, bring or nothing))
end

function Registry:tag(m, name, is_new, bring)
  if not name and self.ref.digest and self.ref.digest ~= m.digest then
    fault.raise { class = "usage", code = "image.digest", message = ("%s: what is copied has digest %s"):format(self.text,
      m.digest) }
  end
  if not name and not self.ref.tag then -- nothing to name: it is enough that it is there
    if not self:has(m.digest) then self:put(m, bring) end
    return self:at(m.digest)
  end
  name = name or self.ref.tag
  fault.check(again(function()
    return self.client:push_manifest(self.repo, name, m.raw, m.media_type, { look = not is_new })
  end, bring or nothing))
  return self.repo .. ":" .. name
end

function Registry:tags(page) return fault.check(self.client:tags(self.repo, page)) end

function Registry:remove() fault.check(self.client:delete(self.ref)) end

function Registry:referrers(digest, artifact_type)
  return fault.check(self.client:referrers(self:at(digest), { artifact_type = artifact_type }))
end

--- The manifest a tag of this repository stands for, or nil.
function Registry:named(tag)
  local m, err = self.client:manifest(self.repo .. ":" .. tag)
  if m or err.code == "oci.not_found" then return m end
  return fault.check(nil, err)
end

function Registry:renamed(name) return M.open(self.repo .. ":" .. name, { client = self.client }) end

function Registry:close() end -- luacheck: ignore

return M
