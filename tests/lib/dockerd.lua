--- Debian's docker.io engine as a judge: its built-in BuildKit, in private directories and without
--- network set-up, so that it never touches an engine that is already there.
local fs = require "bakery.fs"
local json = require "bakery.json"
local loop = require "bakery.loop"
local process = require "bakery.process"
local world = require "lib.world"

local M = {}

local Engine = {}
Engine.__index = Engine

--- The client that speaks to BuildKit by itself: a newer one asks for the buildx plugin.
function M.client()
  return fs.exists "/usr/bin/docker" and "/usr/bin/docker" or process.which "docker"
end

--- Starts an engine; nil and why not.
---@return table|nil engine
---@return string|nil reason
function M.start()
  if process.uid() ~= 0 then return nil, "needs root" end
  if not process.which "dockerd" then return nil, "needs dockerd" end
  if not M.client() then return nil, "needs docker" end
  if not process.which "skopeo" then return nil, "needs skopeo" end
  local self = setmetatable({ dir = world.tmp() }, Engine)
  self.child = assert(process.spawn { cmd = { "dockerd", "--iptables=false", "--bridge=none", "--storage-driver", "overlay2",
    "--data-root", self.dir .. "/data", "--exec-root", self.dir .. "/exec", "-p", self.dir .. "/pid",
    "-H", "unix://" .. self.dir .. "/sock" }, merge = true })
  self.env = { DOCKER_HOST = "unix://" .. self.dir .. "/sock", DOCKER_BUILDKIT = "1", DOCKER_CONFIG = self.dir }
  local deadline = loop.now() + 30
  repeat
    local r = process.run { cmd = { M.client(), "version" }, env = self.env, timeout = 5 }
    if r and r.code == 0 then return self end
    loop.sleep(0.1)
  until loop.now() > deadline
  self:stop()
  return nil, "needs a dockerd that starts here"
end

--- Builds a Containerfile; { code=, stderr=, layout=, document=configuration }.
---@param dir string context
---@param file string
---@param args string[]|nil further ones
function Engine:build(dir, file, args)
  self.count = (self.count or 0) + 1
  local tag, out = "case" .. self.count, ("%s/out%d"):format(self.dir, self.count)
  local cmd = { M.client(), "build", "--network", "host", "--progress", "plain", "-f", dir .. "/" .. file, "-t", tag }
  for _, a in ipairs(args or {}) do cmd[#cmd + 1] = a end
  cmd[#cmd + 1] = dir
  local r = assert(process.run { cmd = cmd, env = self.env, timeout = 120 })
  if r.code ~= 0 then return { code = r.code, stderr = r.stderr .. r.stdout } end
  world.run({ M.client(), "save", tag, "-o", out .. ".tar" }, { env = self.env })
  -- Docker's own fields of the configuration do not survive the conversion: it is read from the archive.
  local function member(name) return world.run { "tar", "-xOf", out .. ".tar", name }.stdout end
  local document = json.decode(member(json.decode(member "manifest.json")[1].Config))
  world.run { "skopeo", "copy", "--quiet", "docker-archive:" .. out .. ".tar", "oci:" .. out .. ":latest" }
  return { code = 0, layout = out, document = document }
end

--- Ends the engine and what it has mounted.
function Engine:stop()
  self.child:close()
  process.run { cmd = { "umount", "-l", self.dir .. "/exec/netns/default" } }
  process.run { cmd = { "umount", "-l", self.dir .. "/data" } }
  process.run { cmd = { "rm", "-rf", self.dir } }
end

return M
