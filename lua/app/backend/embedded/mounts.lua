--- RUN --mount: what the sandbox mounts, and what of it enters the step's key.
local containerfile = require "bakery.containerfile"
local fs = require "bakery.fs"
local snapshot = require "bakery.snapshot"
local base64 = require("bakery.sign").base64
local contexts = require "app.backend.embedded.contexts"
local copies = require "app.backend.embedded.copies"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local once = require "app.backend.embedded.once"
local lazy = require "app.lazy"
local secrets = lazy "app.backend.embedded.secrets"
local ssh = require "app.backend.embedded.ssh"

local M = {}

local function secret_value(build, where, step, m)
  local value = secrets.value(build, where, m.id)
  if value == nil and m.required then
    once.fail(where, step, { class = "usage", code = "build.no_secret", message = "secret '" .. m.id .. "' is required and not given",
      hint = "give it with --secret id=" .. m.id .. ",src=FILE or env=VAR, or declare it under buildSecrets and set its variable" })
  end
  return value
end

-- A mount's source is a path, not a pattern.
local function source_path(m) return copies.literal(m.source or "/") end

local function look(build, where, m)
  local source = contexts.source(build, where, m.from)
  return source, copies.scan(build, where, source, { paths = { source_path(m) } })
end

--- Mount descriptions for the step's key.
---@return table[]
function M.keys(build, where, step)
  local out = {}
  for i, m in ipairs(step.mounts or {}) do
    local field = {}
    for k, v in pairs(m) do field[k] = v end
    field.from = nil
    if m.type == "bind" then
      local _, found = look(build, where, m)
      field.content = found
    end
    out[i] = field
  end
  return out
end

--- A function that replaces the secrets' values in a line of output: whole, each of their lines, and
--- as base64. Values too short to mean anything (under 4 bytes) are left.
---@param values string[]
---@return fun(line: string): string
function M.redactor(values)
  local hidden, known = {}, {}
  local function hide(text)
    if #text >= 4 and not known[text] then
      known[text] = true
      hidden[#hidden + 1] = text
    end
  end
  for _, value in ipairs(values) do
    for line in value:gmatch "[^\r\n]+" do hide(line) end
    hide(base64(value))
    hide((base64(value):gsub("=+$", "")))
  end
  table.sort(hidden, function(a, b) return #a > #b end) -- a value may contain another one
  return function(line)
    for _, text in ipairs(hidden) do
      local first, last = line:find(text, 1, true)
      while first do
        line = line:sub(1, first - 1) .. "***" .. line:sub(last + 1)
        first, last = line:find(text, first + 3, true)
      end
    end
    return line
  end
end

local Prepared = {}
Prepared.__index = Prepared
Prepared.__close = function(self)
  for i = #self.held, 1, -1 do self.held[i]:close() end
end

local function target_path(step, m, default)
  local path = m.target or default
  return fs.is_absolute(path) and path or fs.join(step.cwd, path)
end

local function cache_id(step, m) return ((m.id or target_path(step, m)):gsub("[^%w._-]", "_")) end

local function found_in(source, lowers, m)
  local found = snapshot.lookup { lowers = lowers, path = m.source or "/" }
  if found then return found end
  fail.raise { class = "build", code = "snapshot.not_found", message = ("'%s' does not exist in %s"):format(m.source,
    source.root and "the context" or "the image or stage") }
end

-- Copies what a mount selects to `dir`, to an owner of its own if one is given; returns the path of what is
-- to be mounted.
local function materialise(build, source, m, dir, owner)
  local lowers = source.root and { source.root } or images.lowers(build, source.chain)
  local from = source.root and { root = source.root } or { lowers = lowers }
  fail.check(snapshot.copy { from = from, sources = { source_path(m) }, dest = owner and "/owned/" or "/",
    lowers = {}, upper = dir, chown = owner, ignore = source.ignore, epoch = build.epoch, stamp = copies.stamped(build, source), userxattr = build.userxattr,
    preserve_owner = source.preserve or false,
    rootless = build.rootless, unpack = false })
  if owner then dir = dir .. "/owned" end
  return found_in(source, lowers, m).type == "dir" and dir or fs.join(dir, fs.basename(m.source))
end

-- A directory of the image as it is there, for a mount that begins with its files; nil when there is none.
local function copy_up(self, build, target)
  local found = snapshot.lookup { lowers = self.lowers, path = target }
  if not found or found.type ~= "dir" then return nil end
  self.binds = self.binds + 1
  local top, dir = ("%s/top%d"):format(self.tmp, self.binds), ("%s/bind%d"):format(self.tmp, self.binds)
  fail.check(fs.mkdir(top))
  fail.check(snapshot.mkdir { lowers = {}, upper = top, path = "top", mode = found.mode, uid = found.uid, gid = found.gid,
    userxattr = build.userxattr })
  fail.check(snapshot.copy { from = { lowers = self.lowers }, sources = { copies.literal("/" .. found.path) }, dest = "/top/",
    lowers = { top }, upper = dir, preserve_owner = true, rootless = build.rootless, userxattr = build.userxattr })
  return fs.exists(dir .. "/top") and dir .. "/top" or top .. "/top"
end

local function owner_of(self, m) return m.owned and ("%d:%d"):format(self.user.uid, self.user.gid) or nil end

-- A cache that is still empty begins with what from= names.
local function seed(build, where, m, path)
  local lock <close> = fail.check(build.store:lock("seed-" .. m.id:gsub("[^%w._-]", "_"))) -- luacheck: ignore
  if #fail.check(fs.list(path)) > 0 then return end
  materialise(build, contexts.source(build, where, m.from), m, path)
end

-- Takes the step's cache mounts in the order of their ids, each once: two steps that want the same
-- ones exclusively never wait for each other in a circle, and no step waits for itself.
local function take_caches(self, build, where, step)
  local wanted, caches = {}, {}
  for _, m in ipairs(step.mounts or {}) do
    if m.type == "cache" then wanted[#wanted + 1] = { id = cache_id(step, m), mount = m } end
  end
  table.sort(wanted, function(a, b) return a.id < b.id end)
  for _, w in ipairs(wanted) do
    local m = w.mount
    if not caches[w.id] then
      local sharing = m.sharing or "shared"
      if build.tier == "F" and sharing == "shared" then sharing = "locked" end -- it is moved into the step's tree
      caches[w.id] = fail.check(build.store:cache_mount { id = w.id, sharing = sharing,
        mode = m.mode or 493, uid = m.uid or m.owned and self.user.uid or nil, gid = m.gid or m.owned and self.user.gid or nil })
      self.held[#self.held + 1] = caches[w.id]
      if m.from then seed(build, where, m, caches[w.id].path) end
    end
  end
  return caches
end

local make = {}

function make.tmpfs(self, build, _, step, m)
  local target = target_path(step, m)
  local filled = m.copyup and copy_up(self, build, target)
  if filled then return { type = "bind", target = target, source = filled, ro = m.ro or false } end
  return { type = "tmpfs", target = target, size = m.size, mode = m.tmpfs_mode, ro = m.ro or false }
end

-- A directory inside a cache begins as an empty one, too; what is in a cache may be hostile.
function make.cache(self, build, _, step, m)
  local path = self.caches[cache_id(step, m)].path
  local subpath = not m.from and m.source and m.source ~= "/" and m.source or nil
  if subpath then
    fail.check(snapshot.mkdir { lowers = {}, upper = path, path = subpath, mode = m.mode or 493, uid = m.uid, gid = m.gid,
      userxattr = build.userxattr })
  end
  return { type = "bind", target = target_path(step, m), source = path, subpath = subpath, ro = m.ro or false }
end

-- What an image or stage has is shown as it is; a copy is made of what may be written to, of a context
-- (which can change while it is looked at), and where layers cannot be mounted.
function make.bind(self, build, where, step, m)
  local source = contexts.source(build, where, m.from)
  local lowers = not source.root and m.ro ~= false and not m.owned and not build.flat and images.lowers(build, source.chain) or {}
  if #lowers > 0 then
    found_in(source, lowers, m)
    return { type = "layers", target = target_path(step, m), lowers = lowers, subpath = m.source }
  end
  self.binds = self.binds + 1
  local path = materialise(build, source, m, self.tmp .. "/bind" .. self.binds, owner_of(self, m))
  return { type = "bind", target = target_path(step, m), source = path, ro = m.ro ~= false }
end

function make.secret(self, build, where, step, m)
  local value = secret_value(build, where, step, m)
  if not value then return end
  self.secrets[#self.secrets + 1] = value
  if m.env then self.env[#self.env + 1] = m.env .. "=" .. value end
  if m.env and not m.target then return end
  return { type = "secret", target = target_path(step, m, "/run/secrets/" .. fs.basename(m.id)), data = value,
    mode = m.mode, uid = m.uid, gid = m.gid }
end

function make.ssh(self, build, where, step, m)
  local socket = ssh.socket(build, where, m.id)
  if not socket then
    if not m.required then return end
    once.fail(where, step, { class = "usage", code = "build.no_ssh", message = "ssh agent '" .. m.id .. "' is required and not given",
      hint = "give it with --ssh " .. m.id .. (m.id == "default" and " (SSH_AUTH_SOCK)" or "=SOCKET or --ssh " .. m.id .. "=KEYFILE") })
  end
  self.sockets = self.sockets + 1
  local path = ("%s/ssh%d"):format(self.tmp, self.sockets)
  self.held[#self.held + 1] = ssh.relay(path, socket, m)
  return { type = "bind", target = target_path(step, m), source = path, ro = false }
end

local function fill(self, build, where, step)
  for i, f in ipairs(step.files or {}) do -- heredoc scripts
    local file = self.tmp .. "/pipe" .. i
    fail.check(fs.write(file, f.data, { mode = f.mode }))
    self.mounts[#self.mounts + 1] = { type = "bind", target = f.path, source = file, ro = true }
  end
  self.caches = take_caches(self, build, where, step)
  for _, m in ipairs(step.mounts or {}) do
    self.mounts[#self.mounts + 1] = make[m.type](self, build, where, step, m)
  end
end

--- Makes the mounts ready for sandbox.spawn; a secret's bytes go into the sandbox only, never to a disk.
---@param lowers string[] what the step stands on
---@param user table whom it runs as, of snapshot.user
---@return table { mounts=, env=, secrets= } to be closed
function M.prepare(build, where, step, tmp, lowers, user)
  local self = setmetatable({ mounts = {}, env = {}, secrets = {}, held = {}, binds = 0, sockets = 0, tmp = tmp,
    lowers = lowers, user = user }, Prepared)
  local ok, err = pcall(fill, self, build, where, step)
  if not ok then
    Prepared.__close(self)
    error(err, 0)
  end
  return self
end

--- Resource limits of RUN as sandbox.spawn takes them.
---@param list string[]|nil "nofile=1024:2048"
---@return table[]|nil
function M.limits(list)
  if not list then return end
  local out = {}
  for i, text in ipairs(list) do out[i] = fail.check(require("app.plan.inputs").ulimit(text)) end
  return out
end

--- Lines of /etc/hosts as sandbox.spawn takes them, sorted.
---@param hosts table|nil name -> address
---@return string[]
function M.hosts(hosts)
  local out = {}
  for name, address in require("bakery.json").pairs(hosts or {}) do out[#out + 1] = name .. "=" .. address end
  table.sort(out)
  return out
end

--- Bytes of /dev/shm, or nil for the usual.
function M.shm(text) return text and containerfile.size(text) or nil end

return M
