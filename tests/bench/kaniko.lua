--- kaniko beside us. It builds in its own root directory and empties that first, so each run gets a small
--- root of its own in namespaces that end with it: the program, /proc, /dev and the context.
local fs = require "bakery.fs"
local process = require "bakery.process"

local M = {}

local START = [[
root=$1 context=$2; shift 2
mount --bind "$root" "$root" && mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" &&
  mount --bind "$context" "$root/workspace" && exec chroot "$root" /kaniko/executor --context dir:///workspace "$@"]]

--- The program (of `make peers`), or nil and what is needed.
---@return string|nil program
---@return string|nil why
function M.find()
  local program = fs.realpath "build/peers/bin/kaniko"
  if not program or not fs.exists(program) then return nil, "needs kaniko (make peers)" end
  if process.uid() ~= 0 then return nil, "needs root" end
  return program
end

--- Seconds of one build; making its root is not counted.
---@param ctx table of run.lua: run
---@param program string
---@param root string directory for the root, emptied before and afterwards
---@param dir string context
---@param file string Containerfile below it
---@param args string[] e.g. { "--no-push" }
---@return number
function M.build(ctx, program, root, dir, file, args)
  ctx.run { "rm", "-rf", root }
  for _, name in ipairs { "kaniko", "workspace", "proc", "dev", "etc", "tmp", "root" } do
    assert(fs.mkdir(root .. "/" .. name, { parents = true }))
  end
  assert(fs.copy(program, root .. "/kaniko/executor"))
  fs.chmod(root .. "/kaniko/executor", 493)
  assert(fs.write(root .. "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"))
  assert(fs.write(root .. "/etc/hosts", "127.0.0.1 localhost\n"))
  local cmd = { "unshare", "--mount", "--pid", "--fork", "sh", "-c", START, "sh", root, dir, "--dockerfile", "/workspace/" .. file,
    "--force", "--insecure", "--insecure-pull", "--skip-tls-verify", "--verbosity", "error" }
  local seconds = ctx.run(table.move(args, 1, #args, #cmd + 1, cmd))
  ctx.run { "rm", "-rf", root }
  return seconds
end

return M
