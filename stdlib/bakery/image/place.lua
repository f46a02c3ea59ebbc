--- Places where images are: registries, layout directories, docker archives, and what others provide.
---
--- A place has the fields kind, text (for people) and, for a registry, client and repo, and the methods
---   root()                       the manifest or index its name stands for: { raw, digest, media_type, size }
---   get(digest)                  another manifest
---   blob(descriptor, max)        a small blob's bytes
---   file(descriptor)             path of a blob on this machine; not in registries
---   stream(descriptor, sink, progress)  feeds a blob to a sink (bakery.soci.builder), checked against its digest
---   has(digest)                  whether a manifest and all it names is there
---   shows(manifest)              the name that stands for it there already, or nil; not every place has this
---   put_blob(descriptor, from, progress)  brings a blob from another place: "exists" | "mounted" | "uploaded"
---   add_blob(descriptor, { data= } | { file= })  stores bytes of this machine; registries and layouts only
---   renamed(name)                 the same repository or layout under another name, to be written; those only
---   put(manifest, subject)       stores a manifest under its digest
---   tag(manifest, name, is_new)  names it; nil: the place's own name; is_new: it was not there before
---   tags(), remove(), referrers(digest, artifact_type)
---   close()
--- All raise error objects.
local oci = require "bakery.oci"
local fault = require "bakery.image.fault"

local M = { kinds = {
  docker = function(text, opts) return require("bakery.image.registry").open(text, opts) end,
  oci = function(text, opts) return require("bakery.image.layout").open(text, opts) end,
  ["docker-archive"] = function(text, opts) return require("bakery.image.archive").open(text, opts) end,
  -- The program gives this module to everything that runs in it.
  store = function(text, opts)
    local ok, store = pcall(require, "bakery.image.store")
    if ok then return store.open(text, opts) end
    return fault.raise { class = "usage", code = "image.place", message = "store:" .. text .. ": there is no store outside of bakery" }
  end,
} }

--- Adds a kind of place: "KIND:…" is opened by open(text, opts).
---@param kind string
---@param open function
function M.provide(kind, open) M.kinds[kind] = open end

--- Kind and rest of a specification; without a known kind in front it is a registry's reference.
---@param spec string
---@return string kind
---@return string text
function M.parse(spec)
  local kind, text = spec:match "^([%a][%w-]*):(.*)$"
  if kind == "docker" then return kind, (text:gsub("^//", "")) end
  if kind and M.kinds[kind] and text ~= "" and not text:match "^%d+/" then return kind, text end
  return "docker", spec
end

--- Opens a place.
---@param spec string|table
---@param opts table { client=, store=, platform=, write= }
---@return table place
function M.open(spec, opts)
  if type(spec) == "table" and spec.kind then return spec end
  local kind, text = M.parse(tostring(spec))
  return M.kinds[kind](text, opts)
end

--- A manifest of a place, nil when it is not there.
---@param at table place
---@param wanted string digest
---@return table|nil { raw, digest, media_type, size }
function M.find(at, wanted)
  local ok, m = pcall(at.get, at, wanted)
  if ok then return m end
  if type(m) == "table" and (m.code == "oci.not_found" or m.code == "ENOENT") then return nil end
  return error(m, 0)
end

--- `stream` of places whose blobs are files.
function M.stream_file(at, d, sink, progress)
  fault.check(sink:file(at:file(d), { digest = d.digest, progress = progress }))
end

--- The client of the options, or one for all calls without options.
function M.client(opts)
  if opts.client then return opts.client end
  M.shared = M.shared or fault.check(oci.client {})
  return M.shared
end

return M
