--- RUN --mount: what the sandbox mounts, and what of it enters the step's key.
local fs = require "bakery.fs"
local snapshot = require "bakery.snapshot"
local fail = require "app.fail"

local M = {}

local function refuse(where, step, m, why)
  fail.raise { class = "usage", code = "build.unsupported", where = where.file .. ":" .. step.line, line = step.line,
    path = where.path, message = ("RUN --mount=type=%s: %s"):format(m.type, why), hint = "use --backend buildx for this target" }
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  return (text:gsub("..?.?", function(part)
    local a, b, c = part:byte(1, 3)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    local out = {}
    for i = 0, 3 do
      local at = (n >> (18 - 6 * i) & 63) + 1
      out[i + 1] = i <= #part and ALPHABET:sub(at, at) or "="
    end
    return table.concat(out)
  end))
end

local function secret_value(where, step, m)
  local id = m.id or m.source or (m.target and fs.basename(m.target))
  for _, s in ipairs(where.secrets or {}) do
    if s.id == id then
      local value = os.getenv(s.env)
      if value and value ~= "" then return value, id end
    end
  end
  if m.required then
    fail.raise { class = "usage", code = "build.no_secret", where = where.file .. ":" .. step.line, line = step.line,
      path = where.path, message = "secret '" .. tostring(id) .. "' is required and not given",
      hint = "declare it under buildSecrets and set its environment variable" }
  end
  return nil, id
end

--- Mount descriptions for the step's key.
---@return table[]
function M.keys(build, where, step)
  local out = {}
  for i, m in ipairs(step.mounts or {}) do
    local field = {}
    for k, v in pairs(m) do field[k] = v end
    if m.type == "bind" then
      if m.from then refuse(where, step, m, "from= another stage or image is not available yet") end
      local found = fail.check(snapshot.scan { root = where.context, paths = { m.source or "." },
        ignore = where.ignore, cache = build:stat_cache(where.context) })
      field.content = found.digest
    elseif m.type == "ssh" then
      refuse(where, step, m, "agent forwarding is not available yet")
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
  for _, lock in ipairs(self.held) do lock:close() end
end

local function target_path(step, m, default)
  local path = m.target or default
  return fs.is_absolute(path) and path or fs.join(step.cwd, path)
end

local function cache_id(step, m) return ((m.id or target_path(step, m)):gsub("[^%w._-]", "_")) end

-- Takes the step's cache mounts in the order of their ids, each once: two steps that want the same
-- ones exclusively never wait for each other in a circle, and no step waits for itself.
local function take_caches(self, build, step)
  local wanted, caches = {}, {}
  for _, m in ipairs(step.mounts or {}) do
    if m.type == "cache" then wanted[#wanted + 1] = { id = cache_id(step, m), mount = m } end
  end
  table.sort(wanted, function(a, b) return a.id < b.id end)
  for _, w in ipairs(wanted) do
    local m = w.mount
    if not caches[w.id] then
      caches[w.id] = fail.check(build.store:cache_mount { id = w.id, sharing = m.sharing or "shared",
        mode = m.mode or 493, uid = m.uid, gid = m.gid })
      self.held[#self.held + 1] = caches[w.id]
    end
  end
  return caches
end

local make = {}

function make.tmpfs(_, _, _, step, m) return { type = "tmpfs", target = target_path(step, m), size = m.size } end

function make.cache(self, _, _, step, m)
  return { type = "bind", target = target_path(step, m), source = self.caches[cache_id(step, m)].path, ro = m.ro or false }
end

function make.bind(self, build, where, step, m)
  self.binds = self.binds + 1
  local source = self.tmp .. "/bind" .. self.binds
  fail.check(snapshot.copy { from = { root = where.context }, sources = { m.source or "." }, dest = "/", lowers = {},
    upper = source, ignore = where.ignore, epoch = build.epoch, userxattr = build.userxattr, unpack = false })
  return { type = "bind", target = target_path(step, m), source = source, ro = m.ro ~= false }
end

function make.secret(self, _, where, step, m)
  local value, id = secret_value(where, step, m)
  if not value then return end
  self.secrets[#self.secrets + 1] = value
  if m.env then self.env[#self.env + 1] = m.env .. "=" .. value end
  if m.env and not m.target then return end
  return { type = "secret", target = target_path(step, m, "/run/secrets/" .. fs.basename(id)), data = value,
    mode = m.mode, uid = m.uid, gid = m.gid }
end

local function fill(self, build, where, step)
  for i, f in ipairs(step.files or {}) do -- heredoc scripts
    local file = self.tmp .. "/pipe" .. i
    fail.check(fs.write(file, f.data, { mode = f.mode }))
    self.mounts[#self.mounts + 1] = { type = "bind", target = f.path, source = file, ro = true }
  end
  self.caches = take_caches(self, build, step)
  for _, m in ipairs(step.mounts or {}) do
    self.mounts[#self.mounts + 1] = make[m.type] and make[m.type](self, build, where, step, m)
  end
end

--- Makes the mounts ready for sandbox.spawn; a secret's bytes go into the sandbox only, never to a disk.
---@return table { mounts=, env=, secrets= } to be closed
function M.prepare(build, where, step, tmp)
  local self = setmetatable({ mounts = {}, env = {}, secrets = {}, held = {}, binds = 0, tmp = tmp }, Prepared)
  local ok, err = pcall(fill, self, build, where, step)
  if not ok then
    Prepared.__close(self)
    error(err, 0)
  end
  return self
end

return M
