--- Runs commands: a RUN step, or a command in a finished image. Where the root comes from (an overlay
--- of the layers, or a flat tree) is decided here, and nowhere else.
local fs = require "bakery.fs"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"
local snapshot = require "bakery.snapshot"
local task = require "bakery.task"
local lazy = require "app.lazy"
local emulate = lazy "app.backend.embedded.emulate"
local fail = require "app.fail"
local flat = lazy "app.backend.embedded.flat"
local images = require "app.backend.embedded.images"
local isolation = require "app.backend.embedded.isolation"
local mounts = require "app.backend.embedded.mounts"
local network_of_its_own = lazy "app.backend.embedded.network"
local once = require "app.backend.embedded.once"
local shell = lazy "app.backend.embedded.shell"

local M = {}

local TAIL_LINES = 20

--- What the keys of commands hold of how they are run: with one id the owners they set are lost, which
--- no cache may hand to others.
function M.security(build) return build.tier == "E" and build.security .. ", one id" or build.security end

local function warn_single(build, where, step)
  if build.tier ~= "E" or build.warned_single then return end
  build.warned_single = true
  local better
  for _, t in ipairs(build.chosen.tries) do if t.tier == "D" then better = t end end
  build:warn(where.target, where.file .. ":" .. step.line, "tier E (rootless-single): owners that RUN sets are not kept"
    .. (better and ("; tier D keeps them, but " .. better.why .. " (" .. better.fix .. ")") or ""))
end

--- Raises when the step cannot run here at all.
---@param network string
function M.check(build, where, step, network)
  isolation.check_run(build, where, step, network)
  local ok, why, hint = emulate.possible(build, where.platform)
  if not ok then
    once.fail(where, step, { class = "usage", code = "build.no_emulator",
      message = "cannot run " .. where.platform .. " programs on " .. build.host_platform .. ": " .. why, hint = hint })
  end
  warn_single(build, where, step)
end

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

local function environment(step, user, prepared)
  local env = table.move(step.env, 1, #step.env, 1, {})
  local has_home = false
  for _, kv in ipairs(env) do has_home = has_home or kv:sub(1, 5) == "HOME=" end
  if not has_home then env[#env + 1] = "HOME=" .. (user.home or "/") end
  for _, list in ipairs { prepared.env, step.proxy_env } do
    for _, kv in ipairs(list) do env[#env + 1] = kv end
  end
  return env
end

local MISSING_PROC = { "/proc", "/dev/fd", "libjli", "libjava" }

-- Advice for a failure; where nothing shows a process itself in /proc, its last words may tell.
local function advice(build, tail)
  if build.tier == "F" and not build.chosen.proc then
    local text = table.concat(tail, "\n")
    for _, word in ipairs(MISSING_PROC) do
      if text:find(word, 1, true) then
        return "in tier F (chroot) a RUN does not see itself in /proc; --isolation chroot,proc shows it that"
      end
    end
  end
  return not build.shell_on_failure and process.isatty(0) and "--shell-on-failure opens a shell there" or nil
end

-- Starts the command of `spec` with the fields of its root and waits for it; its output goes to the log.
local function run_logged(build, where, step, spec, secrets, root)
  local reader, fd
  if root.output then reader, fd = root.output.reader, root.output.fd else reader, fd = process.pipe() end
  local output <close> = fail.check(reader, fd) -- luacheck: ignore
  for k, v in pairs(root) do if k ~= "output" then spec[k] = v end end
  spec.stdout, spec.stderr = fd, fd
  local started, err = sandbox.spawn(spec)
  process.close_fd(fd)
  local handle <close> = fail.check(started, err)
  local log_file = build:log(where, step)
  local log = io.open(log_file, "w")
  local tail, result
  local ok, problem = pcall(function()
    tail = pump(reader, build, where, log, mounts.redactor(secrets))
    result = fail.check(handle:wait())
  end)
  if log then log:close() end
  if not ok then error(problem, 0) end
  if result.code ~= 0 or result.signal then
    local reason = process.exit_reason(result)
    if result.oom then reason = reason .. " (out of memory)" end
    shell.after_failure(build, where, step, spec, reason)
    error(once.error_at(where, step, { code = "build.run_failed", message = "RUN failed: " .. reason,
      step = step.text, log = tail, log_file = #tail == TAIL_LINES and log_file or nil, exit = result.code, signal = result.signal,
      hint = advice(build, tail) }), 0)
  end
  return result
end

--- Runs a step's command over its chain.
---@param build table
---@param where table
---@param step table
---@param chain app.chain
---@param network string
---@param tmp string directory of the step
---@return table done as snapshot.commit gives it
---@return string upper the layer's directory
function M.execute(build, where, step, chain, network, tmp)
  local lowers = images.lowers(build, chain)
  local user = fail.check(snapshot.user { lowers = lowers, spec = step.user or "" })
  local upper, work = tmp .. "/upper", tmp .. "/work"
  fail.check(fs.mkdir(upper))
  fail.check(fs.mkdir(work))
  local prepared <close> = mounts.prepare(build, where, step, tmp, lowers, user)
  emulate.add_mounts(build, where.platform, prepared.mounts)
  local spec = { argv = step.argv, env = environment(step, user, prepared), cwd = step.cwd, uid = user.uid, gid = user.gid,
    groups = user.groups, hostname = where.hostname, network = network, userxattr = build.userxattr,
    security = build.security, resolv_conf = build.resolv_conf, add_hosts = mounts.hosts(where.hosts),
    shm_size = mounts.shm(where.shm_size), limits = mounts.limits(where.ulimits) }
  local _net <close> = network_of_its_own.apply(spec, tmp) -- luacheck: ignore
  local function spawn(root) return run_logged(build, where, step, spec, prepared.secrets, root) end
  local result
  if build.flat then
    result = flat.run(build, where, step, { chain = chain, lowers = lowers, upper = upper, tmp = tmp, cwd = step.cwd,
      mounts = prepared.mounts, spawn = spawn, changes = true })
  else
    if not snapshot.lookup { lowers = lowers, path = step.cwd } then
      fail.check(snapshot.mkdir { lowers = lowers, upper = upper, path = step.cwd, mode = 493, uid = 0, gid = 0,
        epoch = build.epoch, userxattr = build.userxattr })
    end
    result = spawn { lowers = lowers, upper = upper, work = work, mounts = prepared.mounts }
  end
  local done, err = snapshot.commit { upper = upper, lowers = lowers, epoch = build.epoch, userxattr = build.userxattr,
    stubs = result.stubs or {} }
  if result.tree then
    if done then flat.give(build, result.tree, chain:with { diff_id = done.diff_id })
    else flat.drop(build, result.tree) end
  end
  return fail.check(done, err), upper
end

-- Reads a pipe of a sandboxed command to its end, as a task.
local function collect(reader)
  return task.spawn(function()
    local parts, size = {}, 0
    while true do
      local data = reader:read()
      if not data then break end
      size = size + #data
      if size <= 16 << 20 then parts[#parts + 1] = data end
    end
    return table.concat(parts)
  end)
end

local function run_collected(spec)
  local out, out_fd = process.pipe()
  local err, err_fd = process.pipe()
  local out_handle <close> = out -- luacheck: ignore
  local err_handle <close> = err -- luacheck: ignore
  spec.stdout, spec.stderr = out_fd, err_fd
  local handle, problem = sandbox.spawn(spec)
  process.close_fd(out_fd)
  process.close_fd(err_fd)
  local child <close> = fail.check(handle, problem)
  local stdout, stderr = collect(out), collect(err)
  local status = fail.check(child:wait())
  return { code = status.code or 128 + (status.signal or 0), signal = status.signal, output = stdout:wait(),
    errors = stderr:wait() }
end

--- Runs a command in a throw-away copy of an image.
---@param build table
---@param image table { chain=, lowers= }
---@param spec table of sandbox.spawn, without what says where the root is
---@param start fun(spec: table): table starts it and waits
---@return table what start returned
function M.in_copy(build, image, spec, start)
  local tmp = fail.check(build.store:tmpdir())
  local where, step = { file = "image", target = "image" }, { line = 0 }
  local function with_root(root)
    for k, v in pairs(root) do spec[k] = v end
    return start(spec)
  end
  local ok, result = pcall(function()
    isolation.check_run(build, nil, nil, spec.network)
    local _net <close> = network_of_its_own.apply(spec, tmp) -- luacheck: ignore
    if build.tier == "E" and spec.uid ~= 0 then
      build:warn("image", "tier E (rootless-single)", "there is one id only: the command runs as root of its sandbox, not as user "
        .. spec.uid)
    end
    fail.check(fs.mkdir(tmp .. "/upper"))
    fail.check(fs.mkdir(tmp .. "/work"))
    if not build.flat then
      return with_root { lowers = image.lowers, upper = tmp .. "/upper", work = tmp .. "/work", mounts = {} }
    end
    local r = flat.run(build, where, step, { chain = image.chain, lowers = image.lowers, tmp = tmp, cwd = spec.cwd,
      mounts = {}, spawn = with_root })
    flat.drop(build, r.tree)
    return r
  end)
  build.store:remove_tmp(tmp)
  if not ok then error(result, 0) end
  return result
end

--- Runs a command in a throw-away copy of an image, as the image's user.
---@param build table
---@param image table { chain=, lowers=, env=, cwd=, user= }
---@param argv string[]
---@param seconds number|nil limit
---@param variables table<string, string>|nil beside the image's environment
---@return table { code=, signal=, output=, errors= }
function M.in_image(build, image, argv, seconds, variables)
  local env = table.move(image.env, 1, #image.env, 1, {})
  for name, value in pairs(variables or {}) do env[#env + 1] = name .. "=" .. value end
  local spec = { argv = argv, env = env, cwd = image.cwd, uid = image.user.uid, gid = image.user.gid,
    groups = image.user.groups, hostname = "bakerytest", network = build.network, userxattr = build.userxattr,
    security = build.security }
  local function go() return M.in_copy(build, image, spec, run_collected) end
  if seconds then return task.timeout(seconds, go) end
  return go()
end

return M
