--- File trees of images from their layers' tars, and what differs between two.
local archive = require "bakery.archive"
local fault = require "bakery.image.fault"

local M = {}

local function new(entry, layer) return { e = entry, layer = layer, children = nil } end

local function parts_of(path)
  local out = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then return nil end
    if part ~= "." then out[#out + 1] = part end
  end
  return out
end

local function find(root, path)
  local node, parts = root, parts_of(path)
  for _, part in ipairs(parts or {}) do
    node = node.children and node.children[part]
    if not node then return nil end
  end
  return node
end

-- The directory that holds the last part; missing ones are made as unpacking would.
local function parent(root, parts, layer)
  local node = root
  for i = 1, #parts - 1 do
    local nxt = node.children and node.children[parts[i]]
    if not nxt or nxt.e.type ~= "dir" then
      nxt = new({ type = "dir", mode = 493, uid = 0, gid = 0, size = 0 }, layer)
      node.children = node.children or {}
      node.children[parts[i]] = nxt
    end
    node = nxt
  end
  return node
end

local function drop_lower(dir, layer, name)
  local old = dir.children and dir.children[name]
  if old and old.layer ~= layer then dir.children[name] = nil end
end

local function apply(root, e, layer)
  local parts = parts_of(e.path)
  if not parts then return end
  if #parts == 0 then
    root.e = e
    return
  end
  local dir, name = parent(root, parts, layer), parts[#parts]
  if name == ".wh..wh..opq" then
    for child in pairs(dir.children or {}) do drop_lower(dir, layer, child) end
  elseif name:sub(1, 4) == ".wh." then
    drop_lower(dir, layer, name:sub(5))
  else
    local node = new(e, layer)
    local old = dir.children and dir.children[name]
    if e.type == "dir" and old and old.e.type == "dir" then node.children = old.children end
    if e.type == "hardlink" then
      local target = find(root, e.link or "")
      if target then node.e = target.e end
    end
    dir.children = dir.children or {}
    dir.children[name] = node
  end
end

--- A new tree: the root directory.
function M.new() return new({ type = "dir", mode = 493, uid = 0, gid = 0, size = 0 }, 0) end

--- Lays one layer's tar over a tree.
---@param root table
---@param file string
---@param layer integer its number
function M.apply(root, file, layer)
  for _, e in ipairs(fault.check(archive.list(file, { digests = true }))) do apply(root, e, layer) end
end

local function octal(mode) return ("%04o"):format(mode) end

local function xattrs(e)
  local names, out = {}, {}
  for k in pairs(e.xattrs or {}) do names[#names + 1] = k end
  table.sort(names)
  for i, k in ipairs(names) do out[i] = k .. "=" .. e.xattrs[k] end
  return table.concat(out, "\0")
end

-- What differs between two objects of one name, as a list of words.
local function differences(a, b, times)
  local out = {}
  local function add(cond, ...) if cond then out[#out + 1] = (...) end end
  add(a.type ~= b.type, ("%s → %s"):format(a.type, b.type))
  add(a.type == b.type and (a.digest ~= b.digest or a.size ~= b.size), "content")
  add(a.type == "symlink" and b.type == "symlink" and a.link ~= b.link, ("target %s → %s"):format(a.link, b.link))
  add(a.mode ~= b.mode, ("mode %s → %s"):format(octal(a.mode), octal(b.mode)))
  add(a.uid ~= b.uid or a.gid ~= b.gid, ("owner %d:%d → %d:%d"):format(a.uid, a.gid, b.uid, b.gid))
  add(a.major ~= b.major or a.minor ~= b.minor, "device")
  add(xattrs(a) ~= xattrs(b), "attributes")
  add(times and a.mtime ~= b.mtime, "time")
  return out
end

local function each_sorted(children, fn)
  local names = {}
  for name in pairs(children or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do fn(name, children[name]) end
end

local function all_below(node, path, out)
  out[#out + 1] = { path = path, type = node.e.type, size = node.e.size or 0 }
  each_sorted(node.children, function(name, child) all_below(child, path .. "/" .. name, out) end)
end

--- Differences between two trees.
---@param a table
---@param b table
---@param opts { times?: boolean } also modification times
---@return table { added = {{path,type,size}}, removed = {…}, changed = {{path,what,size_a,size_b}} }
function M.compare(a, b, opts)
  local out = { added = {}, removed = {}, changed = {} }
  local function both(x, y, path)
    local what = differences(x.e, y.e, opts.times)
    if #what > 0 then
      table.insert(out.changed, { path = path == "" and "/" or path, what = what, size_a = x.e.size or 0, size_b = y.e.size or 0 })
    end
    local names, children = {}, y.children or {}
    for name in pairs(x.children or {}) do names[name] = true end
    for name in pairs(children) do names[name] = true end
    each_sorted(names, function(name)
      local p, q, at = x.children and x.children[name], children[name], path .. "/" .. name
      if not p then all_below(q, at, out.added)
      elseif not q then all_below(p, at, out.removed)
      elseif p ~= q then both(p, q, at) end
    end)
  end
  both(a, b, "")
  return out
end

return M
