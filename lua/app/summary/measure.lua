--- Sizes of what a run made: of the images from the backend, of anything in a registry from its manifest.
local json = require "bakery.json"
local oci = require "bakery.oci"
local task = require "bakery.task"
local summary = require "app.summary"

local M = {}

local function layer_sum(layers)
  local sum = 0
  for _, layer in ipairs(layers) do sum = sum + (math.tointeger(layer.size) or 0) end
  return sum
end

-- Blobs that an index names directly: BuildKit's older caches are such.
local function is_layer(descriptor)
  local kind = tostring(descriptor.mediaType)
  return kind:find("layer", 1, true) ~= nil or kind:find("rootfs", 1, true) ~= nil
end

-- Attestations stand in indexes as platform unknown/unknown.
local function is_image(descriptor)
  local platform = descriptor.platform
  return type(platform) ~= "table" or platform.architecture ~= "unknown"
end

local function platform_text(p)
  if type(p) ~= "table" or type(p.os) ~= "string" or type(p.architecture) ~= "string" then return nil end
  local variant = type(p.variant) == "string" and p.variant ~= "" and not (p.architecture == "arm64" and p.variant == "v8")
  return p.os .. "/" .. p.architecture .. (variant and "/" .. p.variant or "")
end

local function manifest_of(client, ref)
  local found = client:manifest(ref)
  local doc = found and json.decode(found.raw)
  return type(doc) == "table" and doc or nil
end

-- Images of an index, each with its layers' sum.
local function children(client, ref, doc)
  local out = {}
  local name = tostring(oci.ref(ref).name)
  for _, d in ipairs(doc.manifests) do
    if type(d) == "table" and is_image(d) and not is_layer(d) then
      local child = manifest_of(client, name .. "@" .. tostring(d.digest))
      if not child or type(child.layers) ~= "table" then return nil end
      out[#out + 1] = { platform = platform_text(d.platform), layers = #child.layers,
        registry_size = layer_sum(child.layers) }
    end
  end
  return out
end

--- Images that a reference names in its registry (async): {platform=, layers=, registry_size=}…; nil when it
--- cannot be read. Attestations do not count.
---@param client table bakery.oci.client
---@param ref string
---@return table[]|nil
function M.images(client, ref)
  local doc = manifest_of(client, ref)
  if not doc then return nil end
  if type(doc.manifests) == "table" then
    local direct = {}
    for _, d in ipairs(doc.manifests) do
      if type(d) == "table" and is_layer(d) then direct[#direct + 1] = d end
    end
    if #direct > 0 then return { { layers = #direct, registry_size = layer_sum(direct) } } end
    return children(client, ref, doc)
  end
  if type(doc.layers) ~= "table" then return nil end
  return { { layers = #doc.layers, registry_size = layer_sum(doc.layers) } }
end

-- Bytes at a cache reference, or nil.
local function cache_size(client, ref)
  local images = M.images(client, ref)
  if not images then return nil end
  local sum = 0
  for _, image in ipairs(images) do sum = sum + image.registry_size end
  return sum
end

-- Measured images into the target's builds: by platform, or the only one into the only one.
local function place(target, images)
  for _, image in ipairs(images) do
    for _, b in ipairs(target.builds) do
      if b.platform == image.platform or #images == 1 and #target.builds == 1 then
        for _, key in ipairs { "layers", "registry_size", "local_size" } do
          if image[key] ~= nil then b[key] = image[key] end
        end
      end
    end
  end
end

--- Measures the targets of a run (async). Nothing here fails: what cannot be read stays unknown.
---@param doc table plan document
---@param opts {stage: string, results: table<string, table>, images: fun(result: table): table[]|nil,
---  ref: (fun(result: table): string|nil)|nil} results by uid, only good ones; images: what the backend knows of a
---  result, as M.images plus local_size; ref: where to look the rest up
---@return table[] targets
function M.run(doc, opts)
  local targets = summary.planned(doc, opts.stage)
  local client
  local function in_registry(ref, measure)
    client = client or oci.client { retries = 1 }
    if not client then return nil end
    local ok, value = pcall(measure, client, ref)
    if not ok and task.is_cancelled(value) then error(value, 0) end
    return ok and value or nil
  end
  local caches = task.once()
  task.map(targets, 8, function(target)
    local result = opts.results[target.uid]
    if result then
      place(target, opts.images(result) or {})
      local ref = opts.ref and opts.ref(result)
      local images = ref and in_registry(ref, M.images)
      if images then place(target, images) end
    end
    if target.cache_ref then
      target.cache_size = caches:run(target.cache_ref, function() return in_registry(target.cache_ref, cache_size) or false end)
        or nil
    end
    summary.sum_builds(target)
    return true
  end)
  if client then client:close() end
  return targets
end

return M
