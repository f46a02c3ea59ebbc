--- Peers as judges: what umoci, skopeo and buildah make of an image.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local world = require "lib.world"

local M = {}

--- Configuration of the first image of an OCI layout.
function M.config(layout)
  local function blob(digest) return assert(json.decode(assert(fs.read(layout .. "/blobs/" .. digest:gsub(":", "/"))))) end
  local index = assert(json.decode(assert(fs.read(layout .. "/index.json"))))
  local manifest = blob(index.manifests[1].digest)
  if manifest.manifests then manifest = blob(manifest.manifests[1].digest) end
  return blob(manifest.config.digest), manifest, index
end

--- First ref name of a layout.
function M.tag(layout)
  local index = assert(json.decode(assert(fs.read(layout .. "/index.json"))))
  return index.manifests[1].annotations["org.opencontainers.image.ref.name"]
end

-- Accessors of an unpacked root file system.
local function tree_at(root)
  local tree = { root = root }
  function tree.content(path) return (assert(fs.read(root .. "/" .. path))) end
  function tree.exists(path) return fs.exists(root .. "/" .. path) end
  function tree.link(path) return (assert(fs.readlink(root .. "/" .. path))) end
  function tree.meta(path)
    local s = assert(fs.stat(root .. "/" .. path, false))
    return ("%04o %d:%d"):format(s.mode, s.uid, s.gid)
  end
  return tree
end

--- Unpacks an image of a layout with umoci.
function M.tree(layout, tag)
  local bundle = world.tmp() .. "/bundle"
  world.run { "umoci", "unpack", "--image", layout .. ":" .. (tag or M.tag(layout)), bundle }
  return tree_at(bundle .. "/rootfs")
end

--- Sorted lines "type mode uid:gid size-or-target path digest" of a directory tree.
---@param root string
---@param skip table<string, boolean>|nil paths to leave out
function M.listing(root, skip)
  local digest = require "bakery.digest"
  local out = {}
  for _, e in ipairs(assert(fs.walk(root))) do
    if not (skip and skip[e.path]) then
      local full = root .. "/" .. e.path
      local s = assert(fs.stat(full, false))
      local extra = e.type == "symlink" and fs.readlink(full) or e.type == "file" and (digest.file(full)) or ""
      out[#out + 1] = ("%s %04o %d:%d %s %s"):format(e.type, s.mode, s.uid, s.gid, e.path, extra)
    end
  end
  return out
end

--- Builds the same Containerfile with buildah into an OCI layout; returns the layout.
function M.buildah(context, file)
  local root = world.tmp()
  local layout = root .. "/oci"
  local base = { "buildah", "--root", root .. "/root", "--runroot", root .. "/run", "--storage-driver", "vfs" }
  local function run(...)
    local cmd = table.move(base, 1, #base, 1, {})
    for _, a in ipairs { ... } do cmd[#cmd + 1] = a end
    return world.run(cmd)
  end
  run("bud", "--layers", "--isolation", "chroot", "--tls-verify=false", "-f", context .. "/" .. file, "-t", "t:latest",
    context)
  run("push", "t:latest", "oci:" .. layout .. ":latest")
  process.run { cmd = { "rm", "-rf", root .. "/root", root .. "/run" } }
  return layout
end

return M
