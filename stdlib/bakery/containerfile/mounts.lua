-- RUN --mount: a CSV record of key=value fields.
local fault = require "bakery.containerfile.fault"
local flags = require "bakery.containerfile.flags"
local values = require "bakery.containerfile.values"

local mounts = {}

local TYPES = { "bind", "cache", "tmpfs", "secret", "ssh" }
local SHARING = { "shared", "private", "locked" }
local KEYS = { "type", "target", "dst", "destination", "source", "src", "from", "readonly", "ro",
  "readwrite", "rw", "id", "sharing", "mode", "uid", "gid", "size", "required", "env" }
-- Keys that buildah and podman know and the reference does not: true where they mean something here. The
-- others are about SELinux labels, the propagation of mounts, and flags of mounts.
local FOREIGN = { u = true, chown = true, ["tmpfs-size"] = true, ["tmpfs-mode"] = true, tmpcopyup = true }
for key in ("z relabel shared rshared private rprivate slave rslave bind-propagation bind-nonrecursive "
  .. "suid nosuid dev nodev exec noexec no-dereference consistency"):gmatch("%S+") do
  FOREIGN[key] = false
end

local function set(list)
  local out = {}
  for _, v in ipairs(list) do out[v] = true end
  return out
end
local IS_TYPE, IS_SHARING, IS_KEY = set(TYPES), set(SHARING), set(KEYS)

local function fail(message, at, hint)
  fault.raise("mount", message, at, hint)
end

-- Fields of one CSV record (RFC 4180): a field may be quoted, "" is a quote inside one.
local function csv(text, at)
  local out, pos = {}, 1
  while true do
    if text:sub(pos, pos) == '"' then
      local buf, i = {}, pos + 1
      while true do
        local q = text:find('"', i, true)
        if not q then fail("unterminated quote in --mount", at) end
        buf[#buf + 1] = text:sub(i, q - 1)
        if text:sub(q + 1, q + 1) == '"' then
          buf[#buf + 1] = '"'
          i = q + 2
        else
          pos = q + 1
          break
        end
      end
      out[#out + 1] = table.concat(buf)
      local after = text:sub(pos, pos)
      if after == "" then return out end
      if after ~= "," then fail("text after a quoted field in --mount", at) end
    else
      local comma = text:find(",", pos, true)
      local field = text:sub(pos, (comma or 0) - 1)
      if field:find('"', 1, true) then
        fail("a quote in an unquoted field of --mount", at, 'quote the whole field: "key=value"')
      end
      out[#out + 1] = field
      if not comma then return out end
      pos = comma
    end
    pos = pos + 1
  end
end

local function number(key, value, base, at)
  local pattern = base == 8 and "^[0-7]+$" or "^%d+$"
  local n = value:find(pattern) and #value <= 11 and tonumber(value, base)
  if not n or n > 0xFFFFFFFF then fail(("invalid value '%s' for %s"):format(value, key), at) end
  return n
end

local function only(m, key, allowed, at)
  if not allowed[m.type] then
    fail(("%s is not allowed for %s mounts"):format(key, m.type), at)
  end
end

local SECRET_SSH = { secret = true, ssh = true }
local OWNED = { cache = true, secret = true, ssh = true }

local function boolean(key, value, at)
  local b = flags.boolean(value)
  if b == nil then fail(("invalid value '%s' for %s"):format(value, key), at) end
  return b
end

local SETTERS = {
  type = function(m, value, at)
    m.type = value:lower()
    if not IS_TYPE[m.type] then
      fail(("unsupported mount type '%s'"):format(value), at, fault.suggest(value, TYPES)
        or "types are " .. table.concat(TYPES, ", "))
    end
  end,
  from = function(m, value) m.from = value end,
  source = function(m, value) m.source = value end,
  target = function(m, value) m.target = value end,
  readonly = function(m, value, at, key) m.ro = boolean(key, value, at) end,
  readwrite = function(m, value, at, key) m.ro = not boolean(key, value, at) end,
  id = function(m, value) m.id = value end,
  env = function(m, value) m.env = value end,
  sharing = function(m, value, at)
    m.sharing = value:lower()
    if not IS_SHARING[m.sharing] then
      fail(("unsupported sharing value '%s'"):format(value), at, fault.suggest(value, SHARING)
        or "values are " .. table.concat(SHARING, ", "))
    end
  end,
  mode = function(m, value, at) m.mode = number("mode", value, 8, at) end,
  uid = function(m, value, at) m.uid = number("uid", value, 10, at) end,
  gid = function(m, value, at) m.gid = number("gid", value, 10, at) end,
  size = function(m, value, at)
    only(m, "size", { tmpfs = true }, at)
    m.size = flags.size(value)
    if not m.size then fail(("invalid value '%s' for size"):format(value), at) end
  end,
  required = function(m, value, at, key)
    only(m, "required", SECRET_SSH, at)
    m.required = boolean(key, value, at)
  end,
}
SETTERS["tmpfs-size"] = function(m, value, at)
  m.size = flags.size(value)
  if not m.size then fail(("invalid value '%s' for tmpfs-size"):format(value), at) end
end
SETTERS["tmpfs-mode"] = function(m, value, at) m.tmpfs_mode = number("tmpfs-mode", value, 8, at) end
SETTERS.tmpcopyup = function(m, value, at, key) m.copyup = boolean(key, value, at) end
SETTERS.u = function(m, value, at, key) m.owned = boolean(key, value, at) end
local ALIAS = { chown = "u", dst = "target", destination = "target", src = "source", ro = "readonly",
  rw = "readwrite" }
local BARE = { readonly = true, readwrite = true, required = true, tmpcopyup = true, u = true }

local function check(m, at)
  for _, key in ipairs { "mode", "uid", "gid" } do
    if m[key] then only(m, key, OWNED, at) end
  end
  if m.type ~= "tmpfs" and (m.tmpfs_mode or m.copyup or m.size) then
    fail(("tmpfs options are not allowed for %s mounts"):format(m.type), at)
  end
  if m.sharing then only(m, "sharing", { cache = true }, at) end
  if m.env then only(m, "env", { secret = true }, at) end
  if m.type == "secret" then
    if m.from then fail("a secret mount has no from", at) end
    if not (m.source or m.target or m.id or m.env) then
      fail("a secret mount needs one of id, source, target", at)
    end
    if m.source and m.id then fail("a secret mount has either source or id, not both", at) end
  elseif m.type == "ssh" then
    if m.from then fail("an ssh mount has no from", at) end
  end
end

-- A cache without id is known by its target as written.
local function default_cache_id(target)
  local clean = values.clean(target)
  return target:sub(1, 1) == "/" and clean or clean:sub(2)
end

-- Defaults that follow from the type; the target stays relative to the working directory.
local function complete(m)
  if m.ro == nil then m.ro = not (m.type == "cache" or m.type == "tmpfs") end
  if m.type ~= "secret" and m.type ~= "ssh" then m.target = m.target or "." end
  if m.type == "cache" then
    m.sharing = m.sharing or "shared"
    m.id = m.id or default_cache_id(m.target)
  elseif m.type == "secret" then
    m.id = m.id or m.source or (m.target or m.env):match("([^/]*)/*$")
    m.source = nil
    -- As a variable only, a secret makes no file.
    m.file = m.target ~= nil or m.env == nil
    if m.file then
      m.target = m.target or "/run/secrets/" .. m.id:match("([^/]*)/*$")
      m.mode = m.mode or tonumber("400", 8)
    end
  elseif m.type == "ssh" then
    m.id = m.id or "default"
    m.mode = m.mode or tonumber("600", 8)
  end
  if (m.type == "secret" and m.file) or m.type == "ssh" then
    m.uid, m.gid = m.uid or 0, m.gid or 0
  end
  return m
end

---Parses one --mount value. Without `expander` values that contain `$` cannot be judged yet; then
---only what is certain is checked and nil may be returned.
---@param text string
---@param expander? fun(value: string): string
---@param at? table position for messages
---@return table|nil mount {type=,target=,source=,from=,ro=,id=,sharing=,mode=,uid=,gid=,size=,…}
function mounts.parse(text, expander, at)
  local m, open = { type = "bind" }, false
  for _, field in ipairs(csv(text, at)) do
    local key, eq, value = field:match("^([^=]*)(=?)(.*)$")
    key = key:lower()
    local known = ALIAS[key] or key
    if not IS_KEY[key] and FOREIGN[key] == nil then
      fail(("unexpected key '%s' in '%s'"):format(key, field), at,
        fault.suggest(key, KEYS) or "keys are " .. table.concat(KEYS, ", "))
    end
    if eq == "" and not BARE[known] and FOREIGN[key] ~= false then
      fail(("'%s' needs a value"):format(field), at, ("write %s=VALUE"):format(key))
    end
    if known ~= "from" and value:find("[$\\\"']") then
      if expander then value = expander(value) else open = true end
    end
    if eq == "" then value = "true" end
    if not (open and value:find("$", 1, true)) then
      -- In an undecided type the checks that depend on it must wait.
      if SETTERS[known] and (not open or known == "from") then SETTERS[known](m, value, at, key) end
    end
  end
  if open then return nil end
  for _, key in ipairs { "from", "source", "target", "id", "env" } do
    if m[key] == "" then m[key] = nil end
  end
  check(m, at)
  return complete(m)
end

---Keys of a mount that only buildah and podman know, as written.
---@param text string
---@return string[] used
---@return string[] idle without effect here
function mounts.foreign(text)
  local used, idle = {}, {}
  for _, field in ipairs(csv(text)) do
    local key = field:match("^[^=]*")
    local effect = FOREIGN[key:lower()]
    if effect ~= nil then table.insert(effect and used or idle, key) end
  end
  return used, idle
end

---What a mount takes its files from, as written: from, or nil. Only bind and cache mounts have one.
---@param text string
---@return string|nil
function mounts.source(text)
  local from, kind = nil, "bind"
  for _, field in ipairs(csv(text)) do
    local key, value = field:match("^([^=]*)=(.*)$")
    key = key and key:lower()
    if key == "from" then from = value elseif key == "type" then kind = value:lower() end
  end
  if from == "" or kind == "tmpfs" or kind == "secret" or kind == "ssh" then return nil end
  return from
end

---Default socket path of the n-th (0-based) ssh mount of a RUN.
function mounts.ssh_path(n)
  return ("/run/buildkit/ssh_agent.%d"):format(n)
end

return mounts
