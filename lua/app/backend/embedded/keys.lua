--- Step keys: what a step's result depends on, as one digest (canonical form: a tag, then every
--- field as 4-byte little-endian length and bytes, lists preceded by their count). Secrets' values,
--- cache mounts' ids, store paths and timing are never part of a key. Each function returns the key and
--- its inputs as a list of { name, value }, which `bakery explain` compares.
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

local function key(op, inputs)
  local out = { FORMAT, "\0", op, "\0" }
  for _, input in ipairs(inputs) do
    local v = input[2]
    if type(v) == "table" then put_list(out, v) else put(out, v) end
  end
  return digest.sha256(table.concat(out)), inputs
end

--- Mounts as they enter a RUN key: no cache ids, no secret values.
local function mount_fields(mounts)
  local out = {}
  for i, m in ipairs(mounts or {}) do
    out[i] = { type = m.type, target = m.target, ro = m.ro, mode = m.mode, uid = m.uid, gid = m.gid,
      size = m.size, content = m.content, required = m.required,
      id = m.type == "secret" and m.id or nil, env = m.env, from = m.type == "bind" and m.from and m.source or nil }
  end
  return out
end

--- RUN.
---@param a table { platform=, parent=, argv=, env=, cwd=, user=, network=, security=, mounts=, files=,
--- hosts=, epoch= }
function M.run(a)
  return key("run", { { "platform", a.platform }, { "parent", a.parent }, { "command", a.argv }, { "environment", a.env },
    { "directory", a.cwd }, { "user", a.user or "" }, { "network", a.network or "host" },
    { "security", a.security or "default" }, { "mounts", mount_fields(a.mounts) }, { "heredocs", a.files or {} }, { "hosts", a.hosts or {} },
    { "epoch", a.epoch }, { "no-cache", a.salt } })
end

--- Whether nothing of the image below matters to a COPY: with --link only its users can.
---@param a table step: link, chown
---@return boolean
function M.stands_alone(a) return (a.link and (not a.chown or a.chown:find("^%d+:?%d*$"))) and true or false end

--- COPY and ADD. `sources` = list of { name=, digest= }.
function M.copy(a)
  return key(a.add and "add" or "copy", { { "platform", a.platform }, { "parent", M.stands_alone(a) and "" or a.parent },
    { "destination", a.dest }, { "files", a.sources }, { "--chown", a.chown }, { "--chmod", a.chmod },
    { "--link", a.link or false }, { "owners kept", a.preserve or false },
    { "unpacking", a.unpack == nil and "default" or a.unpack }, { "--parents", a.parents or false },
    { "epoch", a.epoch }, { "no-cache", a.salt }, a.epoch and { "times", "of the epoch" } or nil })
end

--- What a COPY takes from a chain: the same chain and patterns, the same files.
function M.view(a)
  return key("view", { { "chain", a.chain }, { "sources", a.sources }, { "excludes", a.excludes or {} },
    { "includes", a.includes or {} } })
end

--- WORKDIR.
function M.mkdir(a)
  return key("mkdir", { { "parent", a.parent }, { "directory", a.path }, { "owner", a.owner },
    { "epoch", a.epoch }, { "no-cache", a.salt } })
end

return M
