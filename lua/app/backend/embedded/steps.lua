--- The steps that make layers: RUN, COPY/ADD and WORKDIR. Each is looked up by its key first; equal
--- keys of several targets share one execution, other processes wait on the key's lock.
local archive = require "bakery.archive"
local fs = require "bakery.fs"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"
local snapshot = require "bakery.snapshot"
local copies = require "app.backend.embedded.copies"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local keys = require "app.backend.embedded.keys"
local mounts = require "app.backend.embedded.mounts"
local once = require "app.backend.embedded.once"
local shell = require "app.backend.embedded.shell"
local trace = require "app.backend.embedded.trace"

local M = { located = once.located, copy = copies.copy, copy_source = copies.copy_source }

local TAIL_LINES = 20

-- Reads the command's output line by line into the log, keeping the last lines for the error.
local function pump(reader, build, where, log, hide)
  local tail = {}
  while true do
    local line = reader:read_line()
    if not line then break end
    line = hide(line)
    tail[#tail + 1] = line
    if #tail > TAIL_LINES then table.remove(tail, 1) end
    if log then log:write(line, "\n") end
    build.emit { type = "log", target = where.target, text = line }
  end
  return tail
end

-- The network of a RUN: its own flag, the target's, the build's.
local function network_of(build, where, step)
  local usual = where.network and where.network ~= "default" and where.network or build.network
  local asked = step.network and step.network ~= "default" and step.network or usual
  if asked == "host" and usual == "none" then
    once.fail(where, step, { class = "usage", code = "build.network", message = "RUN --network=host in a build without network",
      hint = "leave --network none away, or the flag" })
  end
  return asked
end

local function refuse_privileges(where, step)
  if step.security == "insecure" then
    once.fail(where, step, { class = "usage", code = "build.unsupported",
      message = "RUN --security=insecure: the embedded builder gives no command more than the default capabilities",
      hint = "do without the flag, or build this target with --backend buildx and a builder that allows security.insecure" })
  elseif step.devices then
    once.fail(where, step, { class = "usage", code = "build.unsupported",
      message = "RUN --device: the embedded builder gives commands no devices of the host",
      hint = "use --backend buildx with a builder that has CDI devices" })
  end
end

local function execute_run(build, where, step, chain, network, tmp)
  local lowers = images.lowers(build, chain)
  local user = fail.check(snapshot.user { lowers = lowers, spec = step.user or "" })
  local upper, work = tmp .. "/upper", tmp .. "/work"
  fail.check(fs.mkdir(upper))
  fail.check(fs.mkdir(work))
  if not snapshot.lookup { lowers = lowers, path = step.cwd } then
    fail.check(snapshot.mkdir { lowers = lowers, upper = upper, path = step.cwd, mode = 493, uid = 0, gid = 0,
      epoch = build.epoch, userxattr = build.userxattr })
  end
  local env = table.move(step.env, 1, #step.env, 1, {})
  local has_home = false
  for _, kv in ipairs(env) do has_home = has_home or kv:sub(1, 5) == "HOME=" end
  if not has_home then env[#env + 1] = "HOME=" .. (user.home or "/") end
  local prepared <close> = mounts.prepare(build, where, step, tmp)
  for _, list in ipairs { prepared.env, step.proxy_env } do
    for _, kv in ipairs(list) do env[#env + 1] = kv end
  end

  local reader, fd = process.pipe()
  local output <close> = fail.check(reader, fd) -- luacheck: ignore
  local code, result, tail
  local spec = { lowers = lowers, upper = upper, work = work, argv = step.argv, env = env,
    cwd = step.cwd, uid = user.uid, gid = user.gid, groups = user.groups, hostname = where.hostname, network = network,
    mounts = prepared.mounts, stdout = fd, stderr = fd, userxattr = build.userxattr, security = build.security,
    resolv_conf = build.resolv_conf, add_hosts = mounts.hosts(where.hosts), shm_size = mounts.shm(where.shm_size),
    limits = mounts.limits(where.ulimits) }
  local started, err = sandbox.spawn(spec)
  process.close_fd(fd)
  local handle <close> = fail.check(started, err)
  local log_file = build:log(where, step)
  local log = io.open(log_file, "w")
  local ok, problem = pcall(function()
    tail = pump(reader, build, where, log, mounts.redactor(prepared.secrets))
    result = fail.check(handle:wait())
    code = result.code
  end)
  if log then log:close() end
  if not ok then error(problem, 0) end
  if code ~= 0 or result.signal then
    local reason = process.exit_reason(result)
    if result.oom then reason = reason .. " (out of memory)" end
    shell.after_failure(build, where, step, spec, reason)
    error(once.error_at(where, step, { code = "build.run_failed", message = "RUN failed: " .. reason,
      step = step.text, log = tail, log_file = #tail == TAIL_LINES and log_file or nil, exit = code, signal = result.signal,
      hint = not build.shell_on_failure and process.isatty(0) and "--shell-on-failure opens a shell there" or nil }), 0)
  end
  local done = fail.check(snapshot.commit { upper = upper, lowers = lowers, epoch = build.epoch,
    userxattr = build.userxattr, stubs = result.stubs or {} })
  once.publish(build, upper, done)
  return { diff_id = done.diff_id }
end

--- RUN: executes in the sandbox unless its result is known.
function M.run(build, where, step, chain)
  return once.located(where, step, function()
    if where.platform ~= build.host_platform and not build.emulator[where.platform] then
      once.fail(where, step, { class = "usage", code = "build.no_emulator",
        message = "cannot run " .. where.platform .. " programs on " .. build.host_platform,
        hint = "apt-get install qemu-user-static binfmt-support, or build that platform on its own machine" })
    end
    refuse_privileges(where, step)
    local network = network_of(build, where, step)
    local content = mounts.keys(build, where, step)
    local names = {}
    for i, line in ipairs(mounts.hosts(where.hosts)) do names[i] = line:match("^[^=]*") end
    local key, inputs = keys.run { platform = where.platform, parent = chain.id, argv = step.argv, env = step.env,
      cwd = step.cwd, user = step.user, network = network, security = build.security, mounts = content,
      files = step.files, hosts = names, epoch = build.epoch, salt = where.salt(step) }
    trace.note(where, step, key, inputs)
    return once.run(build, where, key, function(tmp)
      build.emit { type = "step_running", target = where.target, step = step }
      return build.slots:with(execute_run, build, where, step, chain, network, tmp)
    end)
  end)
end

--- WORKDIR: a layer of its own with the directory, empty when it exists already.
function M.workdir(build, where, step, chain)
  return once.located(where, step, function()
    local key, inputs = keys.mkdir { parent = chain.id, path = step.path, uid = step.user, epoch = build.epoch,
      salt = where.salt(step) }
    trace.note(where, step, key, inputs)
    return once.run(build, where, key, function(tmp)
      local lowers = images.lowers(build, chain)
      local upper = tmp .. "/upper"
      fail.check(fs.mkdir(upper))
      local found = snapshot.lookup { lowers = lowers, path = step.path }
      if found and found.type ~= "dir" then
        once.fail(where, step, { code = "build.not_a_directory",
          message = "WORKDIR " .. step.path .. ": exists and is not a directory" })
      elseif not found then
        local user = fail.check(snapshot.user { lowers = lowers, spec = step.user or "" })
        fail.check(snapshot.mkdir { lowers = lowers, upper = upper, path = step.path, mode = 493, uid = user.uid,
          gid = user.gid, epoch = build.epoch, userxattr = build.userxattr })
      end
      local packed = fail.check(archive.pack { dir = upper })
      once.publish(build, upper, { diff_id = packed.diff_id, size = packed.tar_size, entries = packed.entries })
      return { diff_id = packed.diff_id }
    end)
  end)
end

return M
