--- RUN without overlayfs: in a plain tree of the image, whose changes are found by comparing metadata.
--- A tree is kept for the next step of the same chain; layers that came in between are put on top.
local fs = require "bakery.fs"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"
local snapshot = require "bakery.snapshot"
local fail = require "app.fail"
local mounts = require "app.backend.embedded.mounts"

local M = {}

local KEEP = 2 -- idle trees
local MOVED = { dir = true, file = true, socket = true }

local function is_prefix(short, long)
  if #short > #long then return false end
  for i = 1, #short do
    if short[i].diff_id ~= long[i].diff_id then return false end
  end
  return true
end

-- The idle tree that has most of the chain already, taken out of the list.
local function take_idle(build, chain)
  local best
  for i, tree in ipairs(build.trees) do
    if is_prefix(tree.chain, chain) and (not best or #tree.chain > #build.trees[best].chain) then best = i end
  end
  return best and table.remove(build.trees, best)
end

-- Whether a node in a tree would open the host's device: namespaces see to that, a chroot cannot.
local function open_devices(build, dir)
  if build.tier ~= "F" then return false end
  if build.open_devices == nil then build.open_devices = not sandbox.devices_refused(dir) end
  return build.open_devices
end

--- A tree of the chain, for the caller alone until `give` or `drop`.
---@param build table
---@param chain app.chain
---@param lowers string[] its layer directories
---@return table tree { path=, chain= }
function M.take(build, chain, lowers)
  local tree = take_idle(build, chain)
  if not tree then
    local dir = fail.check(build.store:tmpdir())
    tree = { dir = dir, path = dir .. "/root", chain = chain }
    fail.check(fs.chmod(dir, 448))
    fail.check(snapshot.export { lowers = lowers, dir = tree.path, nodev = open_devices(build, dir) })
    return tree
  end
  local ok, err = pcall(function()
    for i = #tree.chain + 1, #chain do
      fail.check(snapshot.apply_dir { layer = build.store:layer_dir(chain[i].diff_id), dir = tree.path,
        nodev = open_devices(build, tree.dir) })
    end
  end)
  if not ok then
    M.drop(build, tree)
    error(err, 0)
  end
  tree.chain = chain
  return tree
end

function M.drop(build, tree) build.store:remove_tmp(tree.dir) end

--- The tree is as `chain` says; somebody may need it next.
function M.give(build, tree, chain)
  tree.chain = chain
  table.insert(build.trees, 1, tree)
  while #build.trees > KEEP do M.drop(build, table.remove(build.trees)) end
end

-- /etc/hosts and /etc/resolv.conf, which a mount would show elsewhere.
local function write_hosts(build, where, tmp)
  local lines = { "127.0.0.1\tlocalhost " .. (where.hostname or "buildkitsandbox"), "::1\tlocalhost ip6-localhost ip6-loopback" }
  for _, entry in ipairs(mounts.hosts(where.hosts)) do
    local name, address = entry:match "^([^=]*)=(.*)$"
    lines[#lines + 1] = address .. "\t" .. name
  end
  fail.check(fs.write(tmp .. "/hosts", table.concat(lines, "\n") .. "\n", { mode = 420 }))
  local items = { { path = "/etc/hosts", source = tmp .. "/hosts" } }
  local resolv = build.resolv_conf ~= false and fs.read(build.resolv_conf or "/etc/resolv.conf", 1 << 20)
  if resolv then
    fail.check(fs.write(tmp .. "/resolv.conf", resolv, { mode = 420 }))
    items[2] = { path = "/etc/resolv.conf", source = tmp .. "/resolv.conf" }
  end
  return items
end

local function refuse(where, step, what)
  fail.raise { class = "usage", code = "build.isolation", where = where.file .. ":" .. step.line, line = step.line,
    path = where.path, message = what .. " is not possible in tier F (chroot), which cannot mount",
    hint = "see `bakery doctor` for what a higher tier needs" }
end

-- A mount becomes something that is moved into the tree: caches and prepared directories as they are.
local function source_of(build, where, step, m, tmp, n)
  local own = tmp .. "/place" .. n
  if m.type == "tmpfs" then
    fail.check(fs.mkdir(own))
    fail.check(fs.chmod(own, m.mode or 1023))
  elseif m.data then
    build:warn(where.target, where.file .. ":" .. step.line, "in tier F (chroot) secret files lie in the store's temporary "
      .. "directory while RUN runs; `--mount=type=secret,env=` keeps them in memory")
    fail.check(fs.write(own, m.data, { mode = m.mode or 256 }))
  else
    local path = m.source
    if m.subpath then -- what is in a cache may be hostile: resolved inside it
      path = fail.check(snapshot.lookup { lowers = { path }, path = m.subpath }).real
    end
    local st = fs.stat(path, false)
    local ours = path:sub(1, #build.store_dir + 1) == build.store_dir .. "/"
    if not st or not ours or not MOVED[st.type] then
      refuse(where, step, "a mount of " .. path)
    end
    return path
  end
  return own
end

-- Writes down which caches are about to be moved, for the store to put back should we be killed: the
-- form is that of src/store/store_rescue.c.
local function note_caches(build, tree, items, tmp)
  local note, before = {}, build.store_dir .. "/"
  for _, item in ipairs(items) do
    local cache = item.source:sub(1, #before) == before and item.source:match("/(cachemounts/[^/]+/[^/]+/[^/]+)/data$")
    if cache then
      local st = fail.check(fs.stat(item.source, false))
      local found = snapshot.lookup { lowers = { tree.path }, path = item.path }
      note[#note + 1] = ("zzzzz"):pack(fs.basename(tree.dir), found and found.path or item.path, cache, ("%d"):format(st.dev),
        ("%d"):format(st.ino))
    end
  end
  if #note > 0 then fail.check(fs.write(tmp .. "/moved", table.concat(note))) end
end

local function depth(path) return select(2, path:gsub("/+[^/]", "")) end

-- What /proc says of the machine, as it was when the command began; of processes there is nothing.
local GENERAL = { "cpuinfo", "meminfo", "version", "filesystems", "loadavg", "uptime", "stat", "sys/kernel/osrelease", "sys/kernel/ostype",
  "sys/kernel/version", "sys/kernel/hostname", "sys/kernel/ngroups_max", "sys/kernel/cap_last_cap", "sys/kernel/pid_max",
  "sys/kernel/random/boot_id", "sys/vm/overcommit_memory", "sys/fs/file-max", "sys/fs/nr_open", "sys/net/core/somaxconn" }

local function make_proc(dir)
  for _, name in ipairs(GENERAL) do
    local text, path = fs.read("/proc/" .. name), dir .. "/" .. name
    if text then
      fail.check(fs.mkdir(fs.dirname(path), { parents = true }))
      fail.check(fs.write(path, text, { mode = 292 }))
    end
  end
  fail.check(fs.mkdir(dir, { parents = true }))
  fail.check(fs.write(dir .. "/mounts", "rootfs / rootfs rw 0 0\n", { mode = 292 }))
end

-- Without /proc/self nothing leads from /dev/stdout to the command's output: that is a FIFO, and these are names of it.
---@return table { reader=, fd= }
local function name_output(dev)
  for _, name in ipairs { "/stdout", "/stderr" } do fail.check(fs.remove(dev .. name)) end
  local reader, fd = process.pipe(dev .. "/stdout")
  fail.check(reader, fd)
  local ok, err = fs.link(dev .. "/stdout", dev .. "/stderr")
  if not ok then process.close_fd(fd) end
  fail.check(ok, err)
  return { reader = reader, fd = fd }
end

--- Moves what the command should see into the tree (tier F).
---@return table placed to be restored
---@return table|nil output as name_output gives it, for commands whose output is one stream
local function place(build, where, step, tree, job)
  local list, tmp = job.mounts, job.tmp
  local dev = tmp .. "/dev"
  fail.check(fs.mkdir(dev))
  local _, missing = sandbox.make_dev(dev)
  if missing then
    build:warn(where.target, where.file .. ":" .. step.line, missing .. " cannot be used here: the store is on a nodev file "
      .. "system, or this container may not make device nodes")
  end
  local items = write_hosts(build, where, tmp)
  table.insert(items, 1, { path = "/dev", source = dev })
  make_proc(tmp .. "/proc")
  table.insert(items, 1, { path = "/proc", source = tmp .. "/proc" })
  for i, m in ipairs(list) do
    items[#items + 1] = { path = m.target, source = source_of(build, where, step, m, tmp, i), at = i,
      uid = m.data and (m.uid or 0) or nil, gid = m.data and (m.gid or 0) or nil }
  end
  table.sort(items, function(a, b)
    local x, y = depth(a.path), depth(b.path)
    if x ~= y then return x < y end
    return (a.at or 0) < (b.at or 0)
  end)
  for _, item in ipairs(items) do item.at = nil end
  note_caches(build, tree, items, tmp)
  fail.check(fs.mkdir(tmp .. "/aside"))
  local output = job.changes and name_output(dev) or nil
  local placed, err = snapshot.place { tree = tree.path, aside = tmp .. "/aside", items = items }
  if not placed and output then process.close_fd(output.fd) end
  return fail.check(placed, err), output
end

--- Runs one command in a tree of the chain and leaves what it changed in `upper`.
---@param build table
---@param where table
---@param step table
---@param job table { chain=, lowers=, upper=, tmp=, cwd=, mounts=, spawn=fn(fields) -> result } where spawn
--- starts the command with the fields that say where its root is, and waits
---@return table result of the command; `tree` is to be given back or dropped
function M.run(build, where, step, job)
  local tree = M.take(build, job.chain, job.lowers)
  local ok, result = pcall(function()
    local record <close> = fail.check(snapshot.record { dir = tree.path })
    if not snapshot.lookup { lowers = { tree.path }, path = job.cwd } then
      fail.check(snapshot.mkdir { lowers = {}, upper = tree.path, path = job.cwd, mode = 493, uid = 0, gid = 0,
        epoch = build.epoch, userxattr = build.userxattr })
    end
    local r
    if build.tier == "F" then
      local moved, output = place(build, where, step, tree, job)
      local placed <close> = moved
      r = job.spawn { upper = tree.path, work = job.tmp .. "/work", mounts = {}, output = output,
        proc = build.chosen.proc }
      fail.check(placed:restore())
    else
      r = job.spawn { upper = tree.path, work = job.tmp .. "/work", mounts = job.mounts }
    end
    if job.changes then
      fail.check(record:diff { upper = job.upper, epoch = build.epoch, stubs = r.stubs or {} })
    end
    return r
  end)
  if not ok then
    M.drop(build, tree)
    error(result, 0)
  end
  result.tree = tree
  return result
end

return M
