--- Whole images in registries, layout directories, docker archives and the local store: inspect, list,
--- copy, tag, remove, compare. Everything waits in tasks (async); what goes wrong in the world is nil, err.
---
--- An image is named by a specification: "registry.example/team/app:1" (or "docker://…"), "oci:DIR[:NAME]",
--- "oci:DIR@DIGEST", "docker-archive:FILE[:NAME]", and "store:NAME" where the program's store is there.
local oci = require "bakery.oci"
local json = require "bakery.json"
local task = require "bakery.task"
local copy = require "bakery.image.copy"
local document = require "bakery.image.document"
local fault = require "bakery.image.fault"
local place = require "bakery.image.place"

local M = {}

---@class bakery.image.options
---@field client? table bakery.oci.client to use; without it one for all calls, with the usual settings
---@field store? string|table directory of the store, or an open bakery.store, for "store:"
---@field jobs? integer transfers at once (8)
---@field emit? fun(event: table) told about progress: copy_started, copy_progress, pushed_blob, tagged, copied

M.provide = place.provide
M.parse = place.parse

local function settle(opts, defaults)
  local out = { jobs = 8, emit = function() end }
  for k, v in pairs(defaults or {}) do out[k] = v end
  for k, v in pairs(opts or {}) do out[k] = v end
  return out
end

-- fn(place, opts, …) on an opened place, which is closed again.
local function with(spec, opts, fn)
  local p = place.open(spec, opts)
  local r = table.pack(pcall(fn, p, opts))
  if p ~= spec then p:close() end
  if not r[1] then error(r[2], 0) end
  return table.unpack(r, 2, r.n)
end

-- The manifest a place names; an index is followed to the platform.
local function image_of(p, platform)
  local m, depth = p:root(), 0
  while document.is_index(m) and platform do
    depth = depth + 1
    if depth > 4 then fault.raise { class = "infra", code = "oci.manifest", message = p.text .. ": indexes nested too deep" } end
    local d = fault.check(oci.select_platform(m.raw, platform))
    m = p:get(d.digest)
  end
  return m
end

local function selected(p, platform)
  local ok, m = pcall(image_of, p, platform)
  if ok then return m end
  if type(m) == "table" and m.code == "oci.platform" and not m.message:find(p.text, 1, true) then
    m.message = p.text .. ": " .. m.message
  end
  error(m, 0)
end

--- The manifest or index as it is.
---@param spec string
---@param opts? bakery.image.options|{ platform?: string }
---@return { raw: string, digest: string, media_type: string, size: integer }|nil
---@return table? err
M.manifest = fault.guarded(function(spec, opts)
  return with(spec, settle(opts), function(p, o)
    local m = selected(p, o.platform)
    return { raw = m.raw, digest = m.digest, media_type = m.media_type, size = m.size }
  end)
end)

local function about_index(p, m, out)
  out.kind, out.manifests = "index", json.array {}
  for i, d in ipairs(document.children(m)) do
    out.manifests[i] = { digest = d.digest, size = d.size, media_type = d.mediaType, artifact_type = d.artifactType,
      platform = document.platform_text(d.platform), annotations = d.annotations,
      attestation_of = document.is_attestation(d) and d.annotations[document.REFERENCE_DIGEST] or nil }
  end
  out.name = p.text
end

local function about_image(p, m, out)
  local doc = document.of(m)
  out.kind = document.is_image(m) and "image" or "artifact"
  out.artifact_type = doc.artifactType or out.kind == "artifact" and type(doc.config) == "table" and doc.config.mediaType or nil
  out.config_digest = type(doc.config) == "table" and doc.config.digest or nil
  out.layers, out.compressed_size = json.array {}, 0
  for i, d in ipairs(type(doc.layers) == "table" and doc.layers or {}) do
    out.layers[i] = { digest = d.digest, size = d.size, media_type = d.mediaType, annotations = d.annotations }
    out.compressed_size = out.compressed_size + (math.tointeger(d.size) or 0)
  end
  if out.kind ~= "image" then return end
  local config = fault.check(json.decode(p:blob(doc.config, 16 << 20), { ordered = true, name = "config" }))
  out.platform = document.platform_text(config)
  out.created = config.created
  out.config = config.config
  out.history = config.history
  for i, id in ipairs(type(config.rootfs) == "table" and config.rootfs.diff_ids or {}) do
    if out.layers[i] then out.layers[i].diff_id = id end
  end
end

--- What an image or index is.
---@param spec string
---@param opts? bakery.image.options|{ platform?: string } platform: follow an index to it
---@return table|nil { name, digest, media_type, size, kind="image"|"index"|"artifact", annotations, subject, platform,
--- created, config, layers={{digest,size,media_type,diff_id}}, compressed_size, history; of an index manifests={…} }
---@return table? err
M.inspect = fault.guarded(function(spec, opts)
  return with(spec, settle(opts), function(p, o)
    local m = selected(p, o.platform)
    local doc = document.of(m)
    local out = { name = p.text, digest = m.digest, media_type = m.media_type, size = m.size, annotations = doc.annotations,
      subject = type(doc.subject) == "table" and doc.subject.digest or nil }
    if document.is_index(m) then about_index(p, m, out) else about_image(p, m, out) end
    return out
  end)
end)

--- Tags of a repository, names in a layout or archive.
---@param spec string
---@param opts? bakery.image.options|{ last?: string, max?: integer, page_size?: integer, sort?: boolean } these of registries only
---@return string[]|nil
---@return table? err
M.tags = fault.guarded(function(spec, opts)
  return with(spec, settle(opts), function(p, o)
    return p:tags { last = o.last, max = o.max, page_size = o.page_size, sort = o.sort }
  end)
end)

--- Repositories of a registry, where it has a catalog.
---@param host string
---@param opts? bakery.image.options|{ last?: string, max?: integer, page_size?: integer, sort?: boolean }
---@return string[]|nil
---@return table? err
M.repositories = fault.guarded(function(host, opts)
  local o = settle(opts)
  return fault.check(place.client(o):catalog(host, { last = o.last, max = o.max, page_size = o.page_size,
    sort = o.sort }))
end)

local function name_of(p)
  if p.kind == "registry" then return p.ref.tag end
  if p.kind == "oci" then return p.name and not oci.is_digest(p.name) and p.name or nil end
end

-- What becomes of the source's name where the destination has none.
local function default_tag(src, dst)
  if dst.kind == "docker-archive" then return src.kind == "registry" and src.ref.tag and src.text or nil end
  if dst.kind == "oci" and not dst.name then return name_of(src) end
end

local function choose(src, o)
  local m = src:root()
  if not o.platforms or #o.platforms == 0 or not document.is_index(m) then
    if o.platforms and #o.platforms > 0 and document.is_image(m) then
      local doc = document.of(m)
      local have = document.platform_text(json.decode(src:blob(doc.config, 16 << 20)) or {})
      local index = json.encode { schemaVersion = 2, manifests = { document.descriptor(m, { platform = (function()
        local os_name, arch, variant = (have or "unknown/unknown"):match "^([^/]+)/([^/]+)/?(.*)$"
        return { os = os_name, architecture = arch, variant = variant ~= "" and variant or nil }
      end)() }) } }
      fault.check(oci.select_platform(index, o.platforms[1]))
    end
    return m
  end
  if #o.platforms == 1 then return selected(src, o.platforms[1]) end
  return document.filter(m, o.platforms)
end

---@class bakery.image.copied
---@field ref string
---@field digest string of what was copied
---@field media_type string
---@field manifests integer stored there (with dry_run: missing there)
---@field blobs { exists: integer, mounted: integer, uploaded: integer, planned: integer }
---@field bytes integer of the blobs that were looked at
---@field uploaded_bytes integer of those that went over the wire
---@field referrers integer signatures, SBOMs and so on that came along
---@field tagged string[]

--- Copies an image or a whole index, byte for byte, to one or more places. Inside one registry blobs are
--- mounted; between registries they are streamed. What the destination has is not sent again. Blobs go
--- first, manifests follow from the leaves up, names are set last.
---@param from string
---@param to string|string[]
---@param opts? bakery.image.options|{ platforms?: string[], referrers?: boolean, force?: boolean, dry_run?: boolean }
--- platforms: only these of an index; one gives that image itself, several a smaller index (a new digest) with
--- the attestations of those that stay. referrers: signatures, SBOMs and other referrers too, those with tags
--- of older cosign included. force: do not trust that a manifest comes with all it names
---@return { digest: string, source: string, destinations: bakery.image.copied[], rewritten: boolean }|nil
---@return table? err
M.copy = fault.guarded(function(from, to, opts)
  local o = settle(opts)
  if type(to) ~= "table" or to.kind then to = { to } end
  return with(from, o, function(src)
    local m = choose(src, o)
    local out = { digest = m.digest, source = src.text, rewritten = m ~= src:root() and document.is_index(m), destinations = {} }
    local write = {}
    for k, v in pairs(o) do write[k] = v end
    write.write = true
    for i, spec in ipairs(to) do
      out.destinations[i] = with(spec, write, function(dst)
        if dst.read_only then
          fault.raise { class = "usage", code = "image.place", message = dst.text .. ": cannot be written" }
        end
        o.default_tag = default_tag(src, dst)
        return copy.to(src, dst, m, o)
      end)
    end
    return out
  end)
end)

local function without_name(spec)
  local kind, text = place.parse(spec)
  if (kind == "docker" or kind == "oci") and not text:match("[^/]*$"):find "[:@]" then return spec end
  fault.raise { class = "usage", code = "image.place", message = spec .. ": expected a repository (HOST/NAME) or layout (oci:DIR) "
    .. "without a tag" }
end

--- Copies all tags of a repository or layout, or those that match, as `copy` does each.
---@param from string without a tag
---@param to string|string[] repositories or layouts, without tags
---@param opts? bakery.image.options|{ match?: string, platforms?: string[], referrers?: boolean, force?: boolean, dry_run?: boolean }
--- match: regular expression
---@return { tag: string, digest: string, destinations: bakery.image.copied[], rewritten: boolean }[]|nil sorted by tag
---@return table? err
M.copy_tags = fault.guarded(function(from, to, opts)
  local o = settle(opts)
  local regex = o.match and fault.check(require("bakery.regex").compile(o.match))
  if type(to) ~= "table" then to = { to } end
  for _, spec in ipairs { from, table.unpack(to) } do without_name(spec) end
  local each, tags = {}, {}
  for k, v in pairs(o) do if k ~= "match" then each[k] = v end end
  for _, tag in ipairs(fault.check(M.tags(from, { client = o.client, sort = true }))) do
    if not regex or regex:find(tag) then tags[#tags + 1] = tag end
  end
  -- Into a layout one after the other: it has one index.
  local side_by_side = 4
  for _, spec in ipairs(to) do if place.parse(spec) ~= "docker" then side_by_side = 1 end end
  return task.map(tags, side_by_side, function(tag)
    local targets = {}
    for i, spec in ipairs(to) do targets[i] = spec .. ":" .. tag end
    local done = fault.check(M.copy(from .. ":" .. tag, targets, each))
    return { tag = tag, digest = done.digest, destinations = done.destinations, rewritten = done.rewritten }
  end)
end)

--- Gives an image of a registry or layout more names in the same place.
---@param spec string
---@param tags string[] tags, or references in the same repository
---@param opts? bakery.image.options|{ dry_run?: boolean }
---@return { digest: string, tagged: { ref: string, was?: string }[] }|nil was: digest the tag had
---@return table? err
M.tag = fault.guarded(function(spec, tags, opts)
  return with(spec, settle(opts), function(p, o)
    if p.kind ~= "registry" and p.kind ~= "oci" then
      fault.raise { class = "usage", code = "image.place", message = p.text .. ": tags are set in registries and layouts" }
    end
    local names = {}
    for i, text in ipairs(tags) do
      local name = text
      if p.kind == "registry" and not text:match "^[%w_][%w._-]*$" then
        local ref = fault.check(oci.ref(text))
        if ref.name ~= p.repo or not ref.tag then
          fault.raise { class = "usage", code = "image.tag", message = ("%s is not a tag of %s"):format(text, p.repo),
            hint = "bakery image copy takes images to other repositories" }
        end
        name = ref.tag
      end
      names[i] = name
    end
    local m = p:root()
    local out = { digest = m.digest, tagged = {} }
    task.map(names, o.jobs, function(name, i)
      local was = p.current and p:current(name)
      out.tagged[i] = { ref = o.dry_run and name or p:tag(m, name), was = was ~= m.digest and was or nil }
      if not o.dry_run then o.emit { type = "tagged", target = p.text, ref = out.tagged[i].ref } end
    end)
    return out
  end)
end)

--- Removes a tag (the image stays), or an image with all its tags when the name has a digest.
---@param spec string
---@param opts? bakery.image.options|{ dry_run?: boolean }
---@return { ref: string, digest: string, removed: boolean }|nil
---@return table? err oci.not_found, oci.unsupported
M.remove = fault.guarded(function(spec, opts)
  return with(spec, settle(opts), function(p, o)
    if not p.remove then
      fault.raise { class = "usage", code = "image.place", message = p.text .. ": nothing can be removed from it" }
    end
    local m = p:root()
    if not o.dry_run then p:remove() end
    return { ref = p.text, digest = m.digest, removed = not o.dry_run }
  end)
end)

--- What refers to an image: signatures, SBOMs, attestations.
---@param spec string
---@param opts? bakery.image.options|{ platform?: string, artifact_type?: string, annotations?: table<string, string> }
---@return table[]|nil descriptors with artifactType and annotations
---@return table? err
M.referrers = fault.guarded(function(spec, opts)
  return with(spec, settle(opts), function(p, o)
    local out = {}
    for _, d in ipairs(p:referrers(selected(p, o.platform).digest, o.artifact_type)) do
      local fits = true
      for k, v in pairs(o.annotations or {}) do
        fits = fits and type(d.annotations) == "table" and d.annotations[k] == v
      end
      if fits then out[#out + 1] = d end
    end
    return json.array(out)
  end)
end)

--- What differs between two images.
---@param a string
---@param b string
---@param opts? bakery.image.options|{ platform?: string, files?: boolean, times?: boolean } platform: of indexes
--- (this machine's); files: false leaves the file trees alone, which saves the downloads; times: modification
--- times count
---@return table|nil { same, a={ref,digest}, b, config={{path,a,b}}, annotations, layers={common,a,b},
--- files={ added={{path,type,size}}, removed, changed={{path,what={…},size_a,size_b}} } }
---@return table? err
M.diff = fault.guarded(function(a, b, opts)
  local o = settle(opts)
  o.platform = o.platform or document.host_platform()
  return with(a, o, function(pa)
    return with(b, o, function(pb)
      return require("bakery.image.diff").run(pa, selected(pa, o.platform), pb, selected(pb, o.platform), o)
    end)
  end)
end)

--- Opens a place for code that works on manifests and blobs itself (see bakery.image.place).
---@param spec string
---@param opts? bakery.image.options|{ write?: boolean }
---@return table|nil place close() it
---@return table? err
M.open = fault.guarded(function(spec, opts) return place.open(spec, settle(opts)) end)

return M
