--- SOCI indexes of built images: made in the store before anything is pushed, so that every repository gets
--- the same and each layer is read once.
local fail = require "app.fail"
local images = require "app.backend.embedded.images"

local M = {}

-- The store as a place (bakery.image.place) that has one result's image.
local Place = {}
Place.__index = Place
function Place:root() return self.top end
function Place.put_blob() return "exists" end

function Place:get(digest)
  local raw = self.manifests[digest]
  if not raw then
    fail.raise { class = "build", code = "oci.not_found", message = self.text .. ": no manifest " .. digest }
  end
  return { raw = raw, digest = digest, size = #raw }
end

function Place:blob(desc) return fail.check(self.build.store:get_blob(desc.digest)) end

function Place:stream(desc, sink)
  local build, layer = self.build, self.layers[desc.digest]
  if not build.store:has_blob(desc.digest) and layer and layer.source then images.fetch_blob(build, layer) end
  fail.check(sink:file(fail.check(build.store:blob_path(desc.digest)), { digest = desc.digest }))
end

function Place:add_blob(desc, source)
  local build = self.build
  if source.file then fail.check(build.store:add_blob_file(source.file, desc.digest))
  else fail.check(build.store:put_blob(source.data)) end
  table.insert(self.new.blobs, { digest = desc.digest, size = desc.size })
end

function Place:put(m)
  fail.check(self.build.store:put_blob(m.raw))
  self.manifests[m.digest] = m.raw
  table.insert(self.new.manifests, { raw = m.raw, media_type = m.media_type, digest = m.digest })
end
Place.tag = Place.put -- names are set later

local function place_of(build, result)
  local self = setmetatable({ kind = "store", build = build, text = result.uid, top = result.top, manifests = {}, layers = {},
    new = { blobs = {}, manifests = {} } }, Place)
  for _, p in ipairs(result.platforms) do
    self.manifests[p.manifest.digest] = p.manifest.raw
    for i, layer in ipairs(p.image.chain) do self.layers[p.manifest.layers[i].digest] = layer end
  end
  return self
end

--- Turns a finished result into one with SOCI indexes: result.top is the new index, each platform's manifest
--- the annotated one, result.artifacts what has to be pushed beside layers and configurations.
---@param build table the backend
---@param result table
---@param opts table options of bakery.soci.convert
---@return table|nil what bakery.soci.convert returned; nil when no layer is large enough
function M.convert(build, result, opts)
  local place = place_of(build, result)
  opts.source, opts.target, opts.jobs = place, place, build.cpus
  opts.emit = function(e)
    e.target = result.uid
    build.emit(e)
  end
  local ok, made = pcall(require("bakery.soci.convert").image, opts)
  if not ok then
    if type(made) == "table" and made.code == "soci.empty" then return nil end
    if type(made) == "table" and made.message then made.message = result.uid .. ": " .. made.message end
    error(made, 0)
  end
  for _, p in ipairs(result.platforms) do
    local digest = made.renamed[p.manifest.digest]
    local raw = place.manifests[digest]
    p.manifest = { digest = digest, size = #raw, raw = raw, layers = p.manifest.layers,
      media_type = require("bakery.image.media").oci.manifest }
  end
  result.artifacts = place.new
  result.top = { digest = made.digest, size = made.size, raw = place.manifests[made.digest], media_type = made.media_type }
  result.digest = made.digest
  return made
end

return M
