--- Step keys: what a step's result depends on, as one digest (canonical form: a tag, then every
--- field as 4-byte little-endian length and bytes, lists preceded by their count). Secrets' values,
--- cache mounts' ids, store paths and timing are never part of a key.
local digest = require "bakery.digest"

local M = {}

local FORMAT = "bk1"

local function put(out, value)
  local text = value == nil and "\0nil" or value == true and "1" or value == false and "0" or tostring(value)
  out[#out + 1] = string.pack("<s4", text)
end

local function put_list(out, list)
  put(out, #list)
  for _, v in ipairs(list) do
    if type(v) == "table" then
      local names = {}
      for k in pairs(v) do names[#names + 1] = k end
      table.sort(names)
      put(out, #names)
      for _, k in ipairs(names) do
        put(out, k)
        put(out, v[k])
      end
    else
      put(out, v)
    end
  end
end

local function key(op, fields)
  local out = { FORMAT, "\0", op, "\0" }
  for i = 1, fields.n do
    local v = fields[i]
    if type(v) == "table" then put_list(out, v) else put(out, v) end
  end
  return digest.sha256(table.concat(out))
end

--- Mounts as they enter a RUN key: no cache ids, no secret values.
local function mount_fields(mounts)
  local out = {}
  for i, m in ipairs(mounts or {}) do
    out[i] = { type = m.type, target = m.target, ro = m.ro, mode = m.mode, uid = m.uid, gid = m.gid,
      size = m.size, content = m.content, required = m.required,
      id = m.type == "secret" and m.id or nil, env = m.env }
  end
  return out
end

--- RUN.
---@param a table { platform=, parent=, argv=, env=, cwd=, user=, network=, security=, mounts=, files=, epoch= }
function M.run(a)
  return key("run", table.pack(a.platform, a.parent, a.argv, a.env, a.cwd, a.user or "", a.network or "host",
    a.security or "default", mount_fields(a.mounts), a.files or {}, a.epoch, a.salt))
end

--- COPY and ADD. `sources` = list of { name=, digest= }.
function M.copy(a)
  return key(a.add and "add" or "copy", table.pack(a.platform, a.link and "" or a.parent, a.dest, a.sources,
    a.chown, a.chmod, a.link or false, a.preserve or false, a.unpack or false, a.epoch, a.salt))
end

--- What a COPY takes from a chain: the same chain and patterns, the same files.
function M.view(a)
  return key("view", table.pack(a.chain, a.sources, a.excludes or {}))
end

--- WORKDIR.
function M.mkdir(a)
  return key("mkdir", table.pack(a.parent, a.path, a.uid, a.gid, a.epoch, a.salt))
end

return M
