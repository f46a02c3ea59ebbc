--- Interactive commands: in a copy of an image, and in what a failed step left behind.
local fs = require "bakery.fs"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"
local snapshot = require "bakery.snapshot"
local task = require "bakery.task"
local fail = require "app.fail"

local M = {}

--- The shell of a file system: bash, else sh; raises when it has none.
---@param lowers string[]
---@return string path
function M.find(lowers)
  for _, path in ipairs { "/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh" } do
    local found = snapshot.lookup { lowers = lowers, path = path }
    if found and found.type == "file" then return path end
  end
  return fail.raise { class = "build", code = "shell.none", message = "the image has no shell (bash or sh)",
    hint = "name a program that it has: bakery shell TARGET -- /path/to/program" }
end

local function has_variable(env, name)
  for _, kv in ipairs(env) do if kv:sub(1, #name + 1) == name .. "=" then return true end end
  return false
end

--- Runs a command on our terminal (or our standard streams, when those are no terminal).
---@param spec table of sandbox.spawn, without streams
---@return table status { code=, signal= }
function M.run(spec)
  local terminal = process.isatty(0) and process.isatty(1)
  spec.env = table.move(spec.env, 1, #spec.env, 1, {})
  if terminal and not has_variable(spec.env, "TERM") then
    spec.env[#spec.env + 1] = "TERM=" .. (os.getenv "TERM" or "dumb")
  end
  if not terminal then
    spec.stdin, spec.stdout, spec.stderr = 0, 1, 2
    local box <close> = fail.check(sandbox.spawn(spec))
    return fail.check(box:wait())
  end
  local master, slave = process.pty()
  fail.check(master, slave)
  spec.stdin, spec.stdout, spec.stderr = slave, slave, slave
  local started, err = sandbox.spawn(spec)
  process.close_fd(slave)
  if not started then
    process.close_fd(master)
    error(err, 0)
  end
  local box <close> = started
  local relay = task.spawn(function() return fail.check(process.pty_relay(master)) end)
  local status = fail.check(box:wait())
  relay:wait()
  return status
end

local function with_copy(build, fn)
  local tmp = fail.check(build.store:tmpdir())
  local ok, result = pcall(function()
    fail.check(fs.mkdir(tmp .. "/upper"))
    fail.check(fs.mkdir(tmp .. "/work"))
    return fn(tmp .. "/upper", tmp .. "/work")
  end)
  build.store:remove_tmp(tmp)
  if not ok then error(result, 0) end
  return result
end

--- Runs a command in a throw-away copy of an image.
---@param build table
---@param image table { chain=, lowers=, env=, cwd=, user= } as open_image makes it
---@param argv string[]|nil default: a shell
---@return table status
function M.in_image(build, image, argv)
  local spec = { env = image.env, cwd = image.cwd, argv = argv or { M.find(image.lowers) }, uid = image.user.uid,
    gid = image.user.gid, groups = image.user.groups, hostname = "bakery", network = build.network,
    security = build.security, userxattr = build.userxattr }
  return require("app.backend.embedded.run").in_copy(build, image, spec, M.run)
end

--- After a failed RUN with --shell-on-failure: a shell where the step ended, its files as it left them.
--- What else is going on waits with its output until the shell ends.
---@param build table
---@param where table
---@param step table
---@param spec table the failed step's sandbox
---@param reason string
function M.after_failure(build, where, step, spec, reason)
  if not build.shell_on_failure then return end
  build.shell_slot = build.shell_slot or task.semaphore(1)
  build.shell_slot:with(function()
    build:hold(true)
    io.stderr:write(("\n%s:%d: %s: %s\nA shell where it failed; `exit` goes on.\n"):format(where.file, step.line,
      step.text or "RUN", reason))
    local ok, err = pcall(with_copy, build, function(upper, work)
      local copy = {}
      for k, v in pairs(spec) do copy[k] = v end
      if build.flat then -- nobody else will see that tree
        copy.argv = { M.find { spec.upper } }
        return M.run(copy)
      end
      copy.lowers = table.move(spec.lowers, 1, #spec.lowers, 1, {})
      copy.lowers[#copy.lowers + 1] = spec.upper
      copy.upper, copy.work, copy.argv = upper, work, { M.find(copy.lowers) }
      return M.run(copy)
    end)
    build:hold(false)
    if not ok then
      if task.is_cancelled(err) then error(err, 0) end
      build:warn(where.target, where.file .. ":" .. step.line, "no shell: " .. tostring(type(err) == "table" and err.message or err))
    end
  end)
end

return M
