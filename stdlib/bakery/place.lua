--- Places where images are: a repository of a registry, or an OCI layout directory. The same few calls for
--- both, so that whoever reads or writes images need not care. The calls wait (in tasks: yield) and raise
--- error objects.
local oci = require "bakery.oci"
local err = require "bakery.error"

local M = {}

---@class bakery.place
---@field kind "registry"|"layout"
---@field name string "host/repository" or the directory
---@field tag string|nil tag, or name in the layout
---@field digest string|nil
local Place = {}
Place.__index = Place

local function check(value, problem)
  if value == nil or value == false then error(problem or err.new { class = "build", message = "no result" }, 0) end
  return value
end

function Place:__tostring()
  local text = self.kind == "layout" and "oci:" .. self.name or self.name
  if self.tag then text = text .. ":" .. self.tag end
  return self.digest and text .. "@" .. self.digest or text
end

--- Opens "oci:DIR[:NAME]" or an image reference.
---@param text string
---@param opts table|nil { client=bakery.oci.client, create=make a missing layout }
---@return bakery.place
function M.open(text, opts)
  opts = opts or {}
  local rest = text:match "^oci:(.+)$"
  if rest then
    local dir, name = rest:match "^(.-):(.+)$"
    dir = dir or rest
    return setmetatable({ kind = "layout", name = dir, tag = name,
      layout = check(oci.layout(dir, { create = opts.create })) }, Place)
  end
  local ref = check(oci.ref((text:gsub("^docker://", ""))))
  return setmetatable({ kind = "registry", name = ref.name, registry = ref.registry, tag = ref.tag, digest = ref.digest,
    client = opts.client or check(oci.client()) }, Place)
end

--- The same place with another tag or name.
---@param tag string|nil
---@return bakery.place
function Place:with_tag(tag)
  local copy = {}
  for k, v in pairs(self) do copy[k] = v end
  copy.tag, copy.digest = tag, nil
  return setmetatable(copy, Place)
end

--- Whether blobs here are blobs there already.
---@param other bakery.place
function Place:same_store(other) return self.kind == other.kind and self.name == other.name end

--- The manifest or index this place names.
---@return table { raw=, digest=, size=, media_type= }
function Place:root()
  if self.kind == "layout" then return check(self.layout:resolve(self.tag)) end
  return check(self.client:manifest(tostring(self)))
end

--- A manifest by digest; nil when it is not here.
---@param digest string
---@return table|nil
function Place:manifest(digest)
  local got, problem
  if self.kind == "layout" then got, problem = self.layout:resolve(digest)
  else got, problem = self.client:manifest(self.name .. "@" .. digest) end
  if not got and (problem.code == "oci.not_found" or problem.code == "ENOENT") then return nil end
  return check(got, problem)
end

--- Bytes of a small blob.
---@param desc table { digest=, size= }
---@return string
function Place:data(desc)
  if self.kind == "layout" then return check(self.layout:get_blob(desc.digest)) end
  return check(self.client:blob_data(self.name, { digest = desc.digest, size = desc.size }))
end

--- Feeds a blob to a sink.
---@param desc table { digest=, size= }
---@param sink userdata bakery.soci.builder
---@param progress userdata|nil loop.counter()
function Place:stream(desc, sink, progress)
  if self.kind == "layout" then
    check(sink:file(check(self.layout:blob_path(desc.digest)), { digest = desc.digest, progress = progress }))
  else
    check(self.client:stream(self.name, { digest = desc.digest, size = desc.size }, sink, { progress = progress }))
  end
end

--- Stores a blob.
---@param desc table { digest=, size= }
---@param source table { data= } or { file= }
function Place:put(desc, source)
  if self.kind == "layout" then
    if not self.layout:has_blob(desc.digest) then
      check(self.layout:put_blob { data = source.data, file = source.file, digest = desc.digest })
    end
  else
    check(self.client:push_blob(self.name, { digest = desc.digest, size = desc.size }, source))
  end
end

--- Brings a blob from another place.
---@param from bakery.place
---@param desc table { digest=, size= }
function Place:bring(from, desc)
  if self:same_store(from) then return end
  local d = { digest = desc.digest, size = desc.size }
  if self.kind == "registry" and from.kind == "registry" then
    check(self.client:copy_blob(self.name, from.name, d))
  elseif self.kind == "registry" then
    self:put(d, { file = check(from.layout:blob_path(d.digest)) })
  elseif not self.layout:has_blob(d.digest) then
    local path = check(self.layout:blob_path(d.digest))
    if from.kind == "registry" then check(from.client:blob(from.name, d, path))
    else self:put(d, { file = check(from.layout:blob_path(d.digest)) }) end
  end
end

--- Stores a manifest or index by digest.
---@param raw string
---@param media_type string
---@param digest string
function Place:put_manifest(raw, media_type, digest)
  if self.kind == "layout" then self:put({ digest = digest, size = #raw }, { data = raw })
  else check(self.client:push_manifest(self.name, digest, raw, media_type)) end
end

--- Gives a stored manifest or index this place's tag or name.
---@param raw string
---@param media_type string
---@param digest string
function Place:name_manifest(raw, media_type, digest)
  if self.kind == "layout" then
    check(self.layout:add_manifest({ mediaType = media_type, digest = digest, size = #raw }, self.tag))
  elseif self.tag then
    check(self.client:push_manifest(self.name, self.tag, raw, media_type))
  end
end

return M
