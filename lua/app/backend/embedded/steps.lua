--- The steps that make layers: RUN, COPY/ADD and WORKDIR. Each is looked up by its key first; equal
--- keys of several targets share one execution, other processes wait on the key's lock.
local fs = require "bakery.fs"
local archive = require "bakery.archive"
local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"
local snapshot = require "bakery.snapshot"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local keys = require "app.backend.embedded.keys"
local mounts = require "app.backend.embedded.mounts"
local remote = require "app.backend.embedded.remote"
local shell = require "app.backend.embedded.shell"
local trace = require "app.backend.embedded.trace"

local M = {}

local TAIL_LINES = 20

local function publish(build, upper, done)
  return fail.check(build.store:publish_layer(upper, done.diff_id,
    { size = done.size, entries = done.entries, blobs = json.array {} }))
end

-- A stored result counts only while its layer can still be had.
local function stored(build, key)
  if build.no_cache then return end
  local record = build.store:get_key(key)
  if record and build.store:layer_dir(record.diff_id) then return record end
end

--- Looks the key up, here and in the target's remote caches, or runs `execute(tmpdir) -> record`
--- once, in this process and in others.
---@return table record { key=, diff_id=, created=, seconds=, blob=, source= }
---@return boolean cached
local function once(build, where, key, execute)
  local hit
  local record, first = build.once:run("step:" .. key, function()
    local found = stored(build, key)
    if found then
      hit = true
      return found
    end
    local lock <close> = fail.check(build.store:lock("k-" .. key)) -- luacheck: ignore
    found = stored(build, key)
    if not found then
      found = remote.lookup(build, where, key)
      -- Counts from now on as a result of this store, as soon as the layer's files are here.
      if found then fail.check(build.store:put_key(key, { diff_id = found.diff_id, created = found.created, seconds = found.seconds })) end
    end
    if found then
      hit = true
      return found
    end
    local tmp = fail.check(build.store:tmpdir())
    local started = loop.now()
    local ok, result = pcall(execute, tmp)
    build.store:remove_tmp(tmp)
    if not ok then error(result, 0) end
    result.created = build.epoch or os.time()
    result.seconds = loop.now() - started
    fail.check(build.store:put_key(key, result))
    return result
  end)
  record.key = key
  return record, hit or not first
end

local function step_error(where, step, fields)
  fields.class = fields.class or "build"
  fields.where = where.file .. ":" .. step.line
  fields.line, fields.path = step.line, where.path
  return fields
end

--- Wraps whatever a step raises with the place in the Containerfile.
function M.located(where, step, fn)
  local ok, a, b = pcall(fn)
  if ok then return a, b end
  if type(a) == "table" and not a.where then
    a.where = where.file .. ":" .. step.line
    a.line, a.path = step.line, where.path
  end
  error(a, 0)
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

local function execute_run(build, where, step, chain, tmp)
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
    cwd = step.cwd, uid = user.uid, gid = user.gid, groups = user.groups, hostname = "buildkitsandbox",
    network = step.network or build.network, mounts = prepared.mounts, stdout = fd, stderr = fd,
    userxattr = build.userxattr, security = build.security, resolv_conf = build.resolv_conf }
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
    error(step_error(where, step, { code = "build.run_failed", message = "RUN failed: " .. reason,
      step = step.text, log = tail, log_file = #tail == TAIL_LINES and log_file or nil, exit = code, signal = result.signal,
      hint = not build.shell_on_failure and process.isatty(0) and "--shell-on-failure opens a shell there" or nil }), 0)
  end
  local done = fail.check(snapshot.commit { upper = upper, lowers = lowers, epoch = build.epoch,
    userxattr = build.userxattr, stubs = result.stubs or {} })
  publish(build, upper, done)
  return { diff_id = done.diff_id }
end

--- RUN: executes in the sandbox unless its result is known.
function M.run(build, where, step, chain)
  return M.located(where, step, function()
    if where.platform ~= build.host_platform and not build.emulator[where.platform] then
      fail.raise(step_error(where, step, { class = "usage", code = "build.no_emulator",
        message = "cannot run " .. where.platform .. " programs on " .. build.host_platform,
        hint = "apt-get install qemu-user-static binfmt-support, or build that platform on its own machine" }))
    end
    local content = mounts.keys(build, where, step)
    local key, inputs = keys.run { platform = where.platform, parent = chain.id, argv = step.argv, env = step.env,
      cwd = step.cwd, user = step.user, network = step.network or build.network, security = build.security,
      mounts = content, files = step.files, epoch = build.epoch, salt = build.salt }
    trace.note(where, step, key, inputs)
    return once(build, where, key, function(tmp)
      build.emit { type = "step_running", target = where.target, step = step }
      return build.slots:with(execute_run, build, where, step, chain, tmp)
    end)
  end)
end

-- Where a COPY takes its files from: { root= } or { lowers= }, and whether owners are kept.
local function source_of(build, where, step)
  if not step.from then return { root = where.context, ignore = where.ignore } end
  local chain
  if step.from.stage then chain = where.stage_chain(step.from.stage)
  elseif not step.from.image then
    fail.raise(step_error(where, step, { code = "build.unsupported", class = "usage",
      message = "COPY --from a named context is not available in the embedded builder yet" }))
  else chain = images.resolve(build, step.from.image, where.platform, where.target).chain end
  return { chain = chain, preserve = true }
end

-- Layer directory that this very COPY made the last time, whatever its files were then: most of them
-- will be the same and can be linked.
local function last_copy(build, where, step)
  local id = digest.sha256(table.concat({ "last copy", where.context, where.file, step.dest, step.chown or "",
    step.chmod or "", table.unpack(step.sources) }, "\0"))
  local record = build.store:get_key(id)
  return id, record and build.store:layer_dir(record.diff_id)
end

-- Digest of what a COPY takes; false when nothing matches.
local function scan_files(build, step, source)
  local found = fail.check(snapshot.scan { root = source.root, lowers = source.chain and images.lowers(build, source.chain),
    paths = step.sources, ignore = source.ignore, excludes = step.excludes,
    cache = source.root and build:stat_cache(source.root), userxattr = build.userxattr })
  local nothing = found.files == 0 and found.bytes == 0 and #(found.matches or {}) == 0
  return found.digest, nothing
end

-- The same for a chain, which never changes: looked up before any file of it is fetched or read.
local function scan_chain(build, where, step, source)
  local key = keys.view { chain = source.chain.id, sources = step.sources, excludes = step.excludes }
  local record = build.store:get_key(key)
  if not record then
    record = remote.lookup(build, where, key)
    if not record then
      local digest_, nothing = scan_files(build, step, source)
      if nothing then return digest_, true end
      record = { view = digest_ }
    end
    fail.check(build.store:put_key(key, { view = record.view }))
  end
  where.entries[#where.entries + 1] = { key = key, view = record.view }
  return record.view
end

local function scan(build, where, step, source)
  local digests = {}
  if #step.sources > 0 then
    local found, nothing
    if source.chain then found, nothing = scan_chain(build, where, step, source)
    else found, nothing = scan_files(build, step, source) end
    digests[1] = { name = "", digest = found }
    digests.expect = #(step.inline or {}) == 0 and found or nil
    if nothing then
      build:warn(where.target, where.file .. ":" .. step.line,
        "no file matches " .. table.concat(step.sources, " ") .. "; the layer is empty")
    end
  end
  for _, file in ipairs(step.inline or {}) do
    digests[#digests + 1] = { name = file.name, digest = digest.sha256(file.data) }
  end
  return digests
end

--- COPY and ADD of local files, of other stages and of images.
function M.copy(build, where, step, chain)
  return M.located(where, step, function()
    if step.remotes or step.parents then
      fail.raise(step_error(where, step, { code = "build.unsupported", class = "usage",
        message = step.parents and "COPY --parents is not available in the embedded builder yet"
          or "ADD of a URL or git repository is not available in the embedded builder yet",
        hint = step.parents and "use --backend buildx" or "fetch it in a RUN, or use --backend buildx" }))
    end
    local source = source_of(build, where, step)
    local digests = scan(build, where, step, source)
    local key, inputs = keys.copy { add = step.add, platform = where.platform, parent = chain.id, dest = step.dest,
      sources = digests, chown = step.chown, chmod = step.chmod, link = step.link, preserve = source.preserve,
      unpack = step.unpack, epoch = build.epoch, salt = build.salt }
    trace.note(where, step, key, inputs)
    return once(build, where, key, function(tmp)
      build.emit { type = "step_running", target = where.target, step = step }
      local upper = tmp .. "/upper"
      local lowers = step.link and {} or images.lowers(build, chain)
      local from_lowers = source.chain and images.lowers(build, source.chain)
      local last_id, reuse
      if source.root then last_id, reuse = last_copy(build, where, step) end
      fail.check(snapshot.copy { reuse = reuse, expect = digests.expect,
        cache = source.root and build:stat_cache(source.root), from = from_lowers and { lowers = from_lowers } or { root = source.root },
        sources = step.sources, dest = step.dest, lowers = lowers, upper = upper, chown = step.chown,
        chmod = step.chmod, ignore = source.ignore, excludes = step.excludes, link = step.link or false,
        unpack = step.add and step.unpack ~= false, inline = step.inline, epoch = build.epoch,
        preserve_owner = source.preserve or false, userxattr = build.userxattr })
      local packed = fail.check(archive.pack { dir = upper })
      publish(build, upper, { diff_id = packed.diff_id, size = packed.tar_size, entries = packed.entries })
      if last_id then fail.check(build.store:put_key(last_id, { diff_id = packed.diff_id })) end
      return { diff_id = packed.diff_id }
    end)
  end)
end

--- WORKDIR: a layer of its own with the directory, empty when it exists already.
function M.workdir(build, where, step, chain)
  return M.located(where, step, function()
    local key, inputs = keys.mkdir { parent = chain.id, path = step.path, uid = step.user, epoch = build.epoch,
      salt = build.salt }
    trace.note(where, step, key, inputs)
    return once(build, where, key, function(tmp)
      local lowers = images.lowers(build, chain)
      local upper = tmp .. "/upper"
      fail.check(fs.mkdir(upper))
      local found = snapshot.lookup { lowers = lowers, path = step.path }
      if found and found.type ~= "dir" then
        fail.raise(step_error(where, step, { code = "build.not_a_directory",
          message = "WORKDIR " .. step.path .. ": exists and is not a directory" }))
      elseif not found then
        local user = fail.check(snapshot.user { lowers = lowers, spec = step.user or "" })
        fail.check(snapshot.mkdir { lowers = lowers, upper = upper, path = step.path, mode = 493, uid = user.uid,
          gid = user.gid, epoch = build.epoch, userxattr = build.userxattr })
      end
      local packed = fail.check(archive.pack { dir = upper })
      publish(build, upper, { diff_id = packed.diff_id, size = packed.tar_size, entries = packed.entries })
      return { diff_id = packed.diff_id }
    end)
  end)
end

return M
