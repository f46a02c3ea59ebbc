--- RUN --mount: what the sandbox mounts, and what of it enters the step's key.
local fs = require "bakery.fs"
local snapshot = require "bakery.snapshot"
local fail = require "app.fail"

local M = {}

local function refuse(where, step, m, why)
  fail.raise { class = "usage", code = "build.unsupported", where = where.file .. ":" .. step.line, line = step.line,
    path = where.path, message = ("RUN --mount=type=%s: %s"):format(m.type, why), hint = "use --backend buildx for this target" }
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

local Prepared = {}
Prepared.__index = Prepared
Prepared.__close = function(self)
  for _, lock in ipairs(self.held) do lock:close() end
end

--- Makes the mounts ready for sandbox.spawn; a secret's bytes go into the sandbox only, never to a disk.
---@return table { mounts=, env=, stubs= } to be closed
function M.prepare(build, where, step, tmp)
  local self = setmetatable({ mounts = {}, env = {}, stubs = {}, held = {} }, Prepared)
  local function target(m, default)
    local path = m.target or default
    return fs.is_absolute(path) and path or fs.join(step.cwd, path)
  end
  for i, f in ipairs(step.files or {}) do -- heredoc scripts
    local file = tmp .. "/pipe" .. i
    fail.check(fs.write(file, f.data, { mode = f.mode }))
    self.mounts[#self.mounts + 1] = { type = "bind", target = f.path, source = file, ro = true }
  end
  for i, m in ipairs(step.mounts or {}) do
    if m.type == "tmpfs" then
      self.mounts[#self.mounts + 1] = { type = "tmpfs", target = target(m), size = m.size }
    elseif m.type == "cache" then
      local held = fail.check(build.store:cache_mount { id = ((m.id or target(m)):gsub("[^%w._-]", "_")),
        sharing = m.sharing or "shared", mode = m.mode or 493, uid = m.uid, gid = m.gid })
      self.held[#self.held + 1] = held
      self.mounts[#self.mounts + 1] = { type = "bind", target = target(m), source = held.path, ro = m.ro or false }
    elseif m.type == "bind" then
      local source = tmp .. "/bind" .. i
      fail.check(snapshot.copy { from = { root = where.context }, sources = { m.source or "." }, dest = "/", lowers = {},
        upper = source, ignore = where.ignore, epoch = build.epoch, userxattr = build.userxattr, unpack = false })
      self.mounts[#self.mounts + 1] = { type = "bind", target = target(m), source = source, ro = m.ro ~= false }
    elseif m.type == "secret" then
      local value, id = secret_value(where, step, m)
      if value then
        if m.env then self.env[#self.env + 1] = m.env .. "=" .. value end
        if m.target or not m.env then
          self.mounts[#self.mounts + 1] = { type = "secret", target = target(m, "/run/secrets/" .. fs.basename(id)),
            data = value, mode = m.mode, uid = m.uid, gid = m.gid }
        end
      end
    end
  end
  return self
end


return M
