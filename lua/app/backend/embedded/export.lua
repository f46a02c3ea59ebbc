--- Where built images go besides the store and registries: layouts, archives, plain files, engines.
local archive = require "bakery.archive"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local process = require "bakery.process"
local snapshot = require "bakery.snapshot"
local task = require "bakery.task"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local output = require "app.backend.embedded.output"

local M = {}

-- Kinds as buildx names them.
local BUILDX = { oci = "oci", docker = "docker-archive", ["local"] = "local", tar = "tar" }
local KINDS = { oci = true, ["docker-archive"] = true, ["local"] = true, tar = true }

local function unknown(spec)
  fail.raise { class = "usage", code = "usage", message = "unknown output '" .. spec .. "'",
    hint = "outputs are oci:DIR, docker-archive:FILE, local:DIR and tar:FILE" }
end

-- "type=local,dest=DIR" as buildx has it.
local function parse_pairs(spec)
  local fields = {}
  for part in (spec .. ","):gmatch "([^,]*)," do
    local k, v = part:match "^%s*([%w-]+)=(.*)$"
    if not k then unknown(spec) end
    fields[k] = v
  end
  local kind = BUILDX[fields.type or ""]
  if not kind then unknown(spec) end
  for k in pairs(fields) do
    if k ~= "type" and k ~= "dest" and k ~= "tar" then
      fail.raise { class = "usage", code = "usage", message = ("output '%s': unknown field '%s'"):format(spec, k),
        hint = "fields are type and dest" }
    end
  end
  if not fields.dest or fields.dest == "" then
    fail.raise { class = "usage", code = "usage", message = "output '" .. spec .. "' has no dest" ,
      hint = fields.type == "docker" and "--load puts images into an engine" or nil }
  end
  if kind == "oci" and fields.tar ~= "false" then
    fail.raise { class = "usage", code = "usage", message = "output '" .. spec .. "': a layout is written as a directory",
      hint = "add tar=false, or write oci:DIR" }
  end
  return kind, fields.dest
end

--- Kind and path of an --output; raises when there is no such kind.
---@param spec string "KIND:PATH", "type=KIND,dest=PATH", or a directory for the files ("./out")
---@return string kind oci, docker-archive, local or tar
---@return string path
function M.parse(spec)
  if spec:match "^type=" then return parse_pairs(spec) end
  local kind, path = spec:match "^([%w-]+):(.+)$"
  if kind and KINDS[kind] then return kind, path end
  if kind or not spec:find "/" then unknown(spec) end
  return "local", spec
end

--- Whether the options ask for something that needs compressed layers.
---@param args table options of the recipe
---@return boolean
function M.compresses(args)
  if args.push then return true end
  for _, spec in ipairs(args.output or {}) do if M.parse(spec) == "oci" then return true end end
  return false
end

--- The engine that --load means: docker where its daemon is to be had, else podman; raises when there
--- is neither.
---@return string program
function M.engine()
  local host = os.getenv "DOCKER_HOST"
  local daemon = host and host ~= "" or fs.exists "/var/run/docker.sock"
  for _, name in ipairs { daemon and "docker" or "podman", "podman", "docker" } do
    if process.which(name) then return name end
  end
  return fail.raise { class = "usage", code = "output.no_engine", message = "--load: neither docker nor podman is in PATH",
    hint = "use --output docker-archive:FILE and load that where they are" }
end

-- Writes to a temporary name beside `path` and renames.
local function atomically(path, fn)
  local tmp = path .. ".part-" .. process.pid()
  local ok, err = pcall(fn, tmp)
  if not ok then
    fs.remove(tmp, { recursive = true })
    error(err, 0)
  end
  fail.check(fs.rename(tmp, path))
end

-- Moves a tree over what is there: directories are merged, everything else is replaced.
local function merge(from, to)
  for _, name in ipairs(fail.check(fs.list(from))) do
    local src, dst = from .. "/" .. name, to .. "/" .. name
    local new, there = fail.check(fs.stat(src, false)), fs.stat(dst, false)
    if new.type == "dir" and there and there.type == "dir" then
      merge(src, dst)
      fail.check(fs.chmod(dst, new.mode & 4095))
      fail.check(fs.utime(dst, new.mtime))
    else
      if there and (there.type == "dir" or new.type == "dir") then fail.check(fs.remove(dst, { recursive = true })) end
      fail.check(fs.rename(src, dst))
    end
  end
end

-- Each image with the place its files get below the destination: nothing when there is one image only.
local function places(results)
  local out, single = {}, #results == 1
  for _, result in ipairs(results) do
    for _, p in ipairs(result.platforms) do
      local parts = {}
      if not single then parts[1] = result.uid end
      if #result.platforms > 1 then parts[#parts + 1] = (p.platform:gsub("/", "_")) end
      out[#out + 1] = { image = p.image, path = table.concat(parts, "/") }
    end
  end
  return out
end

-- The images' files in a new directory of the store's temporary space.
local function files(build, results)
  local tmp = fail.check(build.store:tmpdir())
  local root = tmp .. "/files"
  local list = places(results)
  for _, place in ipairs(list) do
    local dir = place.path == "" and root or root .. "/" .. place.path
    fail.check(fs.mkdir(fs.dirname(dir), { parents = true }))
    fail.within("write files", snapshot.export { lowers = images.lowers(build, place.image.chain), dir = dir })
  end
  return tmp, root
end

-- Copies a tree by way of a tar, which keeps owners, links and attributes.
local function copy_tree(from, to)
  local tar = to .. ".tar"
  fail.check(archive.pack { dir = from, file = tar, compression = "none" })
  local ok, err = archive.unpack { file = tar, dir = to }
  fs.remove(tar)
  fail.check(ok, err)
end

local function to_local(build, results, path)
  local tmp = files(build, results)
  if not fs.stat(path, false) then fail.check(fs.mkdir(path, { parents = true })) end
  -- The store may lie on another file system: copied beside the destination first, then moved.
  local near = fs.join(path, ".bakery-part-" .. process.pid())
  local ok, err = pcall(function()
    if not fs.rename(tmp .. "/files", near) then copy_tree(tmp .. "/files", near) end
    merge(near, path)
  end)
  fs.remove(near, { recursive = true })
  build.store:remove_tmp(tmp)
  if not ok then error(err, 0) end
end

local function to_tar(build, results, path)
  local tmp, root = files(build, results)
  local ok, err = pcall(atomically, path, function(part)
    fail.check(archive.pack { dir = root, file = part, compression = "none", epoch = build.epoch })
  end)
  build.store:remove_tmp(tmp)
  if not ok then error(err, 0) end
end

local function to_oci(build, results, path)
  local layout = fail.within("write " .. path, oci.layout(path, { create = true }))
  local names = output.layout_names(results)
  for _, result in ipairs(results) do
    local added, index = {}, fs.read(path .. "/index.json")
    local ok, err = pcall(function() output.to_layout(build, layout, build:finish(result), names, added) end)
    if not ok then
      -- Blobs that no manifest came to name, on a disk that is full; otherwise another writer of the same
      -- layout may be counting on them already.
      local full = type(err) == "table" and (err.code == "ENOSPC" or err.code == "EDQUOT")
      if full and fs.read(path .. "/index.json") == index then for _, blob in ipairs(added) do fs.remove(blob) end end
      error(err, 0)
    end
  end
end

local function to_docker_archive(build, results, path)
  atomically(path, function(part) output.to_docker_archive(build, part, results) end)
end

local WRITERS = { oci = to_oci, ["docker-archive"] = to_docker_archive, ["local"] = to_local, tar = to_tar }

-- Takes away a directory that a writer which failed has made, as far as there is nothing in it.
local function remove_empty(kind, path)
  if kind == "oci" then
    local index = json.decode(fs.read(path .. "/index.json") or "{}") or {}
    if #(index.manifests or {}) > 0 or not fs.remove(path .. "/blobs/sha256") then return end
    for _, name in ipairs { "blobs", "index.json", "oci-layout" } do fs.remove(path .. "/" .. name) end
  end
  fs.remove(path)
end

--- Writes results to an --output.
---@param build table
---@param results table[]
---@param spec string see M.parse
function M.write(build, results, spec)
  local kind, path = M.parse(spec)
  local there = fs.stat(path, false)
  local ok, err = pcall(WRITERS[kind], build, results, path)
  if ok then return end
  if not there and (kind == "oci" or kind == "local") then remove_empty(kind, path) end
  if task.is_cancelled(err) then error(err, 0) end
  fail.within(("write %s:%s"):format(kind, path), nil, err)
end

-- The result with the one platform that an engine of this machine can run.
local function for_host(build, result)
  if #result.platforms == 1 then return result end
  for _, p in ipairs(result.platforms) do
    if p.platform == build.host_platform then return { uid = result.uid, tags = result.tags, platforms = { p } } end
  end
  return nil
end

--- Loads results into docker or podman.
---@param build table
---@param results table[]
---@return string engine
function M.load(build, results)
  local engine = M.engine()
  local list = {}
  for _, result in ipairs(results) do
    list[#list + 1] = for_host(build, result)
    if list[#list] == nil then
      build:warn(result.uid, result.uid, "not loaded: it has no " .. build.host_platform)
    end
  end
  if #list == 0 then return engine end
  local tmp = fail.check(build.store:tmpfile())
  output.to_docker_archive(build, tmp, list)
  local r = fail.within("run " .. engine, process.run { cmd = { engine, "load", "--input", tmp }, merge = true })
  build.store:remove_tmp(tmp)
  if r.code ~= 0 then
    fail.raise { class = "infra", code = "output.load_failed", message = ("%s load: %s"):format(engine,
      process.exit_reason(r)), log = { r.stdout:match "([^\n]*)\n*$" } }
  end
  return engine
end

return M
