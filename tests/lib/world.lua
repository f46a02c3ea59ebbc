--- Temporary projects and the program under test.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local registry = require "lib.registry"

local M = {}

M.bin = os.getenv "BAKERY_BIN" or fs.realpath "build/bakery"

local dirs = {}

--- A fresh directory, removed by M.cleanup(), at the latest when the test process ends.
function M.tmp()
  local dir = registry.tmpdir()
  dirs[#dirs + 1] = dir
  return dir
end

--- Removes everything M.tmp made.
function M.cleanup()
  for _, dir in ipairs(dirs) do fs.remove(dir, { recursive = true }) end
  dirs = {}
end

--- Writes files below dir: { ["a/b"] = "text" }; a leading "#!" makes them executable.
function M.write(dir, files)
  for path, text in pairs(files) do
    local full = dir .. "/" .. path
    assert(fs.mkdir(fs.dirname(full), { parents = true }))
    assert(fs.write(full, text, { mode = text:sub(1, 2) == "#!" and 493 or 420 }))
  end
end

--- Runs the program; { code=, stdout=, stderr=, signal= }.
---@param args string[]
---@param opts table|nil { cwd=, env=, timeout= }
function M.bakery(args, opts)
  opts = opts or {}
  local cmd = { M.bin }
  for _, a in ipairs(args) do cmd[#cmd + 1] = a end
  local env = { NO_COLOR = "1", CI = "", XDG_STATE_HOME = M.state, SOURCE_DATE_EPOCH = "" }
  for k, v in pairs(opts.env or {}) do env[k] = v end
  return assert(process.run { cmd = cmd, cwd = opts.cwd, env = env, timeout = opts.timeout or 300 })
end

--- Starts the program without waiting; a bakery.process handle.
function M.start(args, opts)
  opts = opts or {}
  local cmd = { M.bin }
  for _, a in ipairs(args) do cmd[#cmd + 1] = a end
  local env = { NO_COLOR = "1", CI = "", XDG_STATE_HOME = M.state, SOURCE_DATE_EPOCH = "" }
  for k, v in pairs(opts.env or {}) do env[k] = v end
  return assert(process.spawn { cmd = cmd, cwd = opts.cwd, env = env })
end

--- Runs a peer; raises with its output when it fails.
function M.run(cmd, opts)
  opts = opts or {}
  local r = assert(process.run { cmd = cmd, cwd = opts.cwd, env = opts.env, timeout = opts.timeout or 300 })
  if r.code ~= 0 and not opts.any then error(table.concat(cmd, " ") .. ":\n" .. r.stdout .. r.stderr, 2) end
  return r
end

-- busted gives each running test a `pending` of its own, in the test function's environment.
local function pending_of(level)
  local fn = debug.getinfo(level + 1, "f").func
  for i = 1, 255 do
    local name, env = debug.getupvalue(fn, i)
    if not name then return end
    if name == "_ENV" then return env.pending end
  end
end

--- Whether a peer is there; else ends the calling test as skipped.
function M.needs(name)
  if process.which(name) then return true end
  pending_of(2)("needs " .. name)
  return false
end

local namespaces
--- Whether a user may create user namespaces here: not in a plain chroot, nor where the kernel or a filter forbids it.
function M.user_namespaces()
  if namespaces == nil then
    local r = process.run { cmd = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-U", "true" } }
    namespaces = r ~= nil and r.code == 0
  end
  return namespaces
end

local APPLETS = "sh cat echo ls id env sleep test true false mkdir rm mv cp ln chmod chown grep uname wc head date touch find "
  .. "sort stat readlink hostname mount umount ps kill dd ip mknod mkfifo sed tr cut tail sync printf seq"

--- A small root file system made of the machine's static busybox.
function M.rootfs(dir)
  for _, d in ipairs { "bin", "etc", "tmp", "root", "home/app" } do
    assert(fs.mkdir(dir .. "/" .. d, { parents = true }))
  end
  fs.chmod(dir .. "/tmp", 1023)
  assert(fs.copy(assert(process.which "busybox"), dir .. "/bin/busybox"))
  fs.chmod(dir .. "/bin/busybox", 493)
  for applet in APPLETS:gmatch "%S+" do assert(fs.symlink("busybox", dir .. "/bin/" .. applet)) end
  assert(fs.write(dir .. "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n"))
  assert(fs.write(dir .. "/etc/group", "root:x:0:\napp:x:1001:\nstaff:x:50:app\n"))
  return dir
end

local YAML = [[
repository:
  url: https://example.com/project
  vendor: Example
  maintainer: Team <team@example.com>
%s
images:
%s]]

--- Writes a project of single images without variants or OS: { name = Containerfile text }. The base
--- system is in base/ of the context (COPY base/ /).
---@param images table name → text, or { text=, versions={…} }
---@param opts table|nil { registry="host[/namespace]", base=false }
---@return string dir
function M.project(images, opts)
  opts = opts or {}
  local dir = M.tmp()
  local names, list = {}, {}
  for name in pairs(images) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    list[#list + 1] = ("  - name: %s\n    versions:\n      - name: 1.0.0\n        latest: true\n"):format(name)
    M.write(dir, { [name .. "/1.0.0/Containerfile"] = images[name] })
  end
  local host, namespace = (opts.registry or ""):match("^([^/]+)/?(.*)$")
  local space = host and namespace ~= "" and "    namespace: " .. namespace .. "\n" or ""
  local registries = host and ("registries:\n  - host: %s\n%s"):format(host, space) or ""
  M.write(dir, { ["bakery.yaml"] = YAML:format(registries, table.concat(list)) })
  if opts.base ~= false then M.rootfs(dir .. "/base") end
  return dir
end

M.state = registry.tmpdir()

--- Runs a program on a terminal of its own and types when it asks: answers are { text to wait for, what is
--- typed then }. Returns { output=, code=, echo= {was typing shown}, echo_after= }, or nil without python3.
function M.typed(answers, cmd, opts)
  if not M.needs "python3" then return nil end
  local here = debug.getinfo(1, "S").source:match "^@(.*/)" or "./"
  local r = assert(process.run { cmd = table.move(cmd, 1, #cmd, 4, { "python3", here .. "typed.py", json.encode(json.array(answers)) }),
    cwd = opts.cwd, env = opts.env, timeout = 60 })
  if r.code ~= 0 then error("typed.py: " .. r.stderr, 2) end
  return assert(json.decode(r.stdout))
end

return M
