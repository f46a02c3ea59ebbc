--- What differs between two images: configuration, layers, files.
local fs = require "bakery.fs"
local json = require "bakery.json"
local task = require "bakery.task"
local document = require "bakery.image.document"
local fault = require "bakery.image.fault"
local tree = require "bakery.image.tree"

local M = {}

local function encode(v) return type(v) == "string" and v or json.encode(v, { sort = true, lossy = true }) end

local function add_environment(out, list)
  for _, item in ipairs(list) do
    local k, v = tostring(item):match "^([^=]*)=?(.*)$"
    out["config.Env." .. k] = v
  end
end

-- A configuration as paths and texts; layers are compared elsewhere.
local function flatten(config)
  local out = {}
  local function walk(prefix, value)
    if prefix == "config.Env" and json.is_array(value) then return add_environment(out, value) end
    if type(value) ~= "table" or json.is_array(value) or next(value) == nil then
      out[prefix] = encode(value)
      return
    end
    for k, v in json.pairs(value) do walk(prefix == "" and k or prefix .. "." .. k, v) end
  end
  for k, v in json.pairs(config) do
    if k ~= "rootfs" and k ~= "history" then walk(k, v) end
  end
  return out
end

local function compare(a, b)
  local names, list, out = {}, {}, {}
  for k in pairs(a) do names[k] = true end
  for k in pairs(b) do names[k] = true end
  for k in pairs(names) do list[#list + 1] = k end
  table.sort(list)
  for _, k in ipairs(list) do
    if a[k] ~= b[k] then out[#out + 1] = { path = k, a = a[k], b = b[k] } end
  end
  return out
end

local function annotations(m)
  local out = {}
  for k, v in pairs(document.of(m).annotations or {}) do out[k] = tostring(v) end
  return out
end

-- A layer's blob on this machine.
local function local_file(side, d, tmp)
  if side.place.kind ~= "registry" then return side.place:file(d) end
  local path = tmp .. "/" .. d.digest:gsub(":", "-")
  if not fs.exists(path) then fault.check(side.place.client:blob(side.place.repo, d, path)) end
  return path
end

local function build(side, tmp)
  local root = tree.new()
  for i, d in ipairs(side.layers) do tree.apply(root, side.files[d.digest] or local_file(side, d, tmp), i) end
  return root
end

local function files(a, b, opts)
  local tmp = fault.check(fs.tmpdir "bakery-diff")
  local ok, out = pcall(function()
    for _, side in ipairs { a, b } do
      side.files = {}
      task.map(side.layers, opts.jobs, function(d) side.files[d.digest] = local_file(side, d, tmp) end)
    end
    return tree.compare(build(a, tmp), build(b, tmp), { times = opts.times })
  end)
  fs.remove(tmp, { recursive = true })
  if not ok then error(out, 0) end
  return out
end

local function read(place, m)
  if not document.is_image(m) then
    fault.raise { class = "usage", code = "oci.not_an_image", message = place.text .. ": not a container image" }
  end
  local doc = document.of(m)
  local config = fault.check(json.decode(place:blob(doc.config, 16 << 20), { ordered = true }))
  local ids = type(config.rootfs) == "table" and config.rootfs.diff_ids or {}
  return { place = place, m = m, config = config, layers = doc.layers, ids = ids }
end

--- Differences between two image manifests.
---@param pa table place
---@param ma table manifest
---@param pb table
---@param mb table
---@param opts table { files=, times=, jobs= }
---@return table
function M.run(pa, ma, pb, mb, opts)
  local a, b = read(pa, ma), read(pb, mb)
  local common = 0
  while a.ids[common + 1] and a.ids[common + 1] == b.ids[common + 1] do common = common + 1 end
  local out = { a = { ref = pa.text, digest = ma.digest }, b = { ref = pb.text, digest = mb.digest },
    config = compare(flatten(a.config), flatten(b.config)), annotations = compare(annotations(ma), annotations(mb)),
    layers = { common = common, a = #a.layers, b = #b.layers } }
  local same_files = common == #a.ids and common == #b.ids
  if opts.files ~= false then
    out.files = same_files and { added = {}, removed = {}, changed = {} } or files(a, b, opts)
  end
  local f = out.files or { added = {}, removed = {}, changed = {} }
  out.same = #out.config == 0 and #out.annotations == 0
    and (out.files and #f.added + #f.removed + #f.changed == 0 or not out.files and same_files)
  return out
end

return M
