--- Manifests and indexes of images, in OCI's and in Docker's media types; a manifest never mixes the two.
local json = require "bakery.json"
local media = require "bakery.image.media"
local fail = require "app.fail"
local inputs = require "app.plan.inputs"

local M = {}

--- Media types by format.
M.types = { oci = media.oci, docker = media.docker }

-- What a layer's media type says, in either format.
local KIND = {}
for _, types in pairs(M.types) do
  for kind, name in pairs(types) do KIND[name] = kind end
end

--- A descriptor from the fields that are set.
function M.descriptor(fields)
  local d = json.object()
  for _, k in ipairs { "mediaType", "digest", "size", "annotations", "platform" } do
    if fields[k] ~= nil then d[k] = fields[k] end
  end
  return d
end
local descriptor = M.descriptor

--- OCI platform object of "linux/arm64/v8".
function M.platform(text)
  local os_name, arch, variant = text:match("^([^/]+)/([^/]+)/?(.*)$")
  local p = json.object()
  p.architecture = arch
  p.os = os_name
  if variant ~= "" then p.variant = variant end
  return p
end

--- The media type of a layer in a format.
---@param media_type string of either format
---@param format "oci"|"docker"
function M.layer_type(media_type, format) return M.types[format][KIND[media_type]] or media_type end

--- Checks the annotations of a target against what its image can carry.
---@param texts string[]|nil
---@param format string
---@param count integer number of platforms
function M.check_annotations(texts, format, count)
  for _, text in ipairs(texts or {}) do
    if format == "docker" then
      fail.raise { class = "usage", code = "usage", message = "annotations need OCI media types: '" .. text .. "'",
        hint = "leave --format docker away, or use --label" }
    end
    for level in pairs(fail.check(inputs.annotation(text)).levels) do
      if level:find "^index" and count < 2 then
        fail.raise { class = "usage", code = "usage", message = ("annotation '%s': an image for one platform has no index"):format(text),
          hint = "annotate the manifest" }
      end
    end
  end
end

--- The annotations of one level as pairs in the order given.
---@param texts string[]|nil
---@param level string "manifest", "index", "manifest-descriptor" or "index-descriptor"
---@param platform string|nil
---@return table[] { name, value }
function M.annotations(texts, level, platform)
  local out = {}
  for _, text in ipairs(texts or {}) do
    local a = inputs.annotation(text)
    local at = a and a.levels[level]
    if at and (at == true or at == platform) then out[#out + 1] = { a.name, a.value } end
  end
  return out
end

local function object(pairs_list, base)
  local out = base or json.object()
  for _, pair in ipairs(pairs_list) do out[pair[1]] = pair[2] end
  return next(out) ~= nil and out or nil
end

local function put(build, doc, media_type, more)
  local raw = json.encode(doc)
  local digest, err = build.store:put_blob(raw)
  more.digest, more.size, more.raw, more.media_type = fail.check(digest, err), #raw, raw, media_type
  return more
end

-- What the labels and the base say about an image, as annotations.
local function of_image(image)
  local names, out = {}, json.object()
  for name in pairs(image.labels or {}) do
    if name:sub(1, 25) == "org.opencontainers.image." then names[#names + 1] = name end
  end
  if image.base and image.base.name then
    out["org.opencontainers.image.base.name"] = image.base.name
    out["org.opencontainers.image.base.digest"] = image.base.digest
  end
  table.sort(names)
  for _, name in ipairs(names) do out[name] = image.labels[name] end
  return out
end

--- The manifest of an image.
---@param build table the running build
---@param image table { config_digest, config_size, labels, base, format, annotations }
---@param layers table[] descriptors
---@param platform string
---@return table { digest=, size=, raw=, layers=, media_type=, annotations= }
function M.manifest(build, image, layers, platform)
  local types = M.types[image.format or "oci"]
  local doc = json.object()
  doc.schemaVersion = 2
  doc.mediaType = types.manifest
  doc.config = descriptor { mediaType = types.config, digest = image.config_digest, size = image.config_size }
  doc.layers = json.array(layers)
  if types == M.types.oci then
    doc.annotations = object(M.annotations(image.annotations, "manifest", platform), of_image(image))
  end
  return put(build, doc, types.manifest, { layers = layers,
    annotations = object(M.annotations(image.annotations, "manifest-descriptor", platform)) })
end

--- Index over the per-platform manifests of a target.
---@param list table[] { platform=, manifest=, image= } in the plan's order
---@return table { digest=, size=, raw=, media_type=, annotations=of its descriptor }
function M.index(build, list)
  local image = list[1].image
  local types = M.types[image.format or "oci"]
  local doc = json.object()
  doc.schemaVersion = 2
  doc.mediaType = types.index
  doc.manifests = json.array {}
  for i, item in ipairs(list) do
    doc.manifests[i] = descriptor { mediaType = types.manifest, digest = item.manifest.digest, size = item.manifest.size,
      platform = M.platform(item.platform), annotations = item.manifest.annotations }
  end
  if types == M.types.oci then
    doc.annotations = object(M.annotations(image.annotations, "index"), of_image(image))
  end
  return put(build, doc, types.index, { annotations = object(M.annotations(image.annotations, "index-descriptor")) })
end

return M
