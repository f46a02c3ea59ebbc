--- Loopback servers for sources that are elsewhere: files over HTTP, git repositories.
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local process = require "bakery.process"
local world = require "lib.world"

local M = {}

local Files = {}
Files.__index = Files

--- Serves files over HTTP; see file_server.py.
---@return table { url=, dir=, write=fn(name, text, seconds), requests=fn() }
function M.files()
  local self = setmetatable({ dir = world.tmp() }, Files)
  assert(fs.mkdir(self.dir .. "/www"))
  self.child = assert(process.spawn { cmd = { "python3", "tests/lib/file_server.py", self.dir } })
  self.port = assert(tonumber(self.child:read_line()), "the file server does not start")
  self.host = "127.0.0.1:" .. self.port
  self.url = "http://" .. self.host
  return self
end

--- Puts a file there, with its time.
function Files:write(name, text, seconds)
  local path = self.dir .. "/www/" .. name
  assert(fs.mkdir(fs.dirname(path), { parents = true }))
  assert(fs.write(path, text))
  if seconds then assert(fs.utime(path, seconds)) end
end

--- The requests since the last call: "GET /x 200" lines.
function Files:requests()
  local text = fs.read(self.dir .. "/requests.txt") or ""
  fs.write(self.dir .. "/requests.txt", "")
  return text
end

function Files:stop() self.child:close() end

local Git = {}
Git.__index = Git

local function repository(dir, ...)
  local self = setmetatable({ dir = dir }, Git)
  self.env = { GIT_CONFIG_GLOBAL = "/dev/null", GIT_AUTHOR_NAME = "A", GIT_AUTHOR_EMAIL = "a@b.c", GIT_COMMITTER_NAME = "A",
    GIT_COMMITTER_EMAIL = "a@b.c", GIT_AUTHOR_DATE = "@1500000000 +0000", GIT_COMMITTER_DATE = "@1500000000 +0000" }
  self:git { "init", "--quiet", "--initial-branch=main", dir, ... }
  return self
end

--- A repository as plain files of M.files().
---@param files table
---@param name string of its directory there
---@param ... string options of git init
---@return table { url=, commit=fn(files, tag) -> hash, dir= }
function M.git_files(files, name, ...)
  local self = repository(files.dir .. "/www/" .. name, ...)
  self.url = files.url .. "/" .. name .. "/.git"
  return self
end

--- A repository served by `git daemon`; nil without one.
---@return table|nil { url=, commit=fn(files, tag) -> hash, dir= }
function M.git()
  local r = process.run { cmd = { "git", "--exec-path" } }
  if not r or r.code ~= 0 or not fs.exists(r.stdout:gsub("%s+$", "") .. "/git-daemon") then return nil end
  local base = world.tmp()
  local self = repository(base .. "/repo.git")
  for try = 1, 20 do -- a port that is free now may be taken a moment later
    self.port = math.random(20000, 50000)
    self.child = assert(process.spawn { cmd = { "git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1",
      "--port=" .. self.port, "--base-path=" .. base, base } })
    self.url = ("git://127.0.0.1:%d/repo.git"):format(self.port)
    local deadline = loop.now() + 5
    repeat
      if process.run({ cmd = { "git", "ls-remote", self.url } }).code == 0 then return self end
      loop.sleep(0.05)
    until loop.now() > deadline or process.run({ cmd = { "kill", "-0", tostring(self.child.pid) } }).code ~= 0
    self.child:close()
    if try == 20 then error "git daemon does not start" end
  end
end

function Git:git(args)
  local cmd = { "git", "-c", "safe.directory=*", "-c", "init.defaultBranch=main" }
  table.move(args, 1, #args, #cmd + 1, cmd)
  return (world.run(cmd, { env = self.env }).stdout:gsub("%s+$", ""))
end

--- Commits files; the new commit's hash.
---@param files table<string, string>
---@param tag string|nil
function Git:commit(files, tag)
  world.write(self.dir, files)
  self:git { "-C", self.dir, "add", "-A" }
  self:git { "-C", self.dir, "commit", "--quiet", "-m", "x" }
  if tag then self:git { "-C", self.dir, "tag", "-a", "-m", "x", tag } end
  self:git { "-C", self.dir, "update-server-info" }
  return self:git { "-C", self.dir, "rev-parse", "HEAD" }
end

function Git:stop() self.child:close() end

return M
