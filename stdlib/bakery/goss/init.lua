--- Checks of an image from a goss file (goss 0.4 format; the resources file, command, user, group and
--- package). The image is looked at through a `system` table, so no goss binary is needed in it:
---   system.lookup(path) -> { type=, mode=, uid=, gid=, size=, target= } | nil   (last link not followed)
---   system.read(path) -> string | nil, err
---   system.exec(command_text, seconds) -> { code=, stdout=, stderr= } | raises
local digest = require "bakery.digest"
local json = require "bakery.json"
local matcher = require "bakery.goss.matcher"
local yaml = require "bakery.yaml"

local M = {}

--- Reads a goss file.
---@param text string
---@param opts { name: string }|nil
---@return table|nil spec
---@return table|nil err
function M.parse(text, opts)
  local value, err = yaml.load(text, { name = opts and opts.name or "goss.yaml" })
  if value == nil then return nil, err end
  if value == yaml.null then return json.object() end
  if type(value) ~= "table" then
    return nil, { class = "usage", code = "goss.file", message = "expected a mapping of resources", where = opts and opts.name }
  end
  return value
end

local TYPES = { file = "file", dir = "directory", symlink = "symlink", socket = "socket", fifo = "pipe",
  char = "character-device", block = "block-device" }

-- name:…:id tables of /etc/passwd and /etc/group.
local function database(system, path)
  local out = {}
  for line in (system.read(path) or ""):gmatch("[^\n]+") do
    local fields = {}
    for field in (line .. ":"):gmatch("([^:]*):") do fields[#fields + 1] = field end
    if #fields >= 4 then out[#out + 1] = fields end
  end
  return out
end

local function name_of(list, id)
  for _, f in ipairs(list) do if tonumber(f[3]) == id then return f[1] end end
  return tostring(id)
end

local function entry_of(list, name)
  for _, f in ipairs(list) do if f[1] == name then return f end end
end

-- Each resource: attributes -> function that finds the value; `first` decides about the others.
local resources = {}

function resources.file(system, id, attrs)
  local path = attrs.path or id
  if path:sub(1, 1) ~= "/" then path = "/" .. path end
  local meta
  local content = function() return system.read(path) or error({ class = "test", message = "cannot read " .. path }, 0) end
  return { first = "exists", required = "exists", streaming = { contents = true, contains = true }, find = {
    exists = function()
      meta = system.lookup(path)
      return meta ~= nil
    end,
    mode = function() return ("%04o"):format(meta.mode) end,
    size = function() return meta.size end,
    owner = function() return name_of(database(system, "/etc/passwd"), meta.uid) end,
    group = function() return name_of(database(system, "/etc/group"), meta.gid) end,
    uid = function() return meta.uid end,
    gid = function() return meta.gid end,
    filetype = function() return TYPES[meta.type] or meta.type end,
    ["linked-to"] = function() return meta.target end,
    contents = content, contains = content,
    sha256 = function() return digest.sha256(content()) end,
    sha512 = function() return digest.sha512(content()) end,
  }, order = { "exists", "mode", "size", "owner", "group", "uid", "gid", "filetype", "linked-to", "contents", "contains",
    "sha256", "sha512" } }
end

function resources.command(system, id, attrs)
  local result
  local function run()
    result = result or system.exec(attrs.exec or id, (attrs.timeout or 10000) / 1000)
    return result
  end
  return { required = "exit-status", streaming = { stdout = true, stderr = true }, find = {
    ["exit-status"] = function() return run().code end,
    stdout = function() return run().stdout end,
    stderr = function() return run().stderr end,
  }, order = { "exit-status", "stdout", "stderr" }, known = { exec = true, timeout = true } }
end

function resources.user(system, id, attrs)
  local entry
  return { first = "exists", required = "exists", find = {
    exists = function()
      entry = entry_of(database(system, "/etc/passwd"), attrs.username or id)
      return entry ~= nil
    end,
    uid = function() return tonumber(entry[3]) end,
    gid = function() return tonumber(entry[4]) end,
    home = function() return entry[6] end,
    shell = function() return entry[7] end,
    groups = function()
      local out = json.array {}
      for _, g in ipairs(database(system, "/etc/group")) do
        local member = tonumber(g[3]) == tonumber(entry[4])
        for name in (g[4] or ""):gmatch("[^,]+") do member = member or name == entry[1] end
        if member then out[#out + 1] = g[1] end
      end
      table.sort(out)
      return out
    end,
  }, order = { "exists", "uid", "gid", "home", "shell", "groups" }, known = { username = true } }
end

function resources.group(system, id, attrs)
  local entry
  return { first = "exists", required = "exists", find = {
    exists = function()
      entry = entry_of(database(system, "/etc/group"), attrs.groupname or id)
      return entry ~= nil
    end,
    gid = function() return tonumber(entry[3]) end,
  }, order = { "exists", "gid" }, known = { groupname = true } }
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

function resources.package(system, id, attrs)
  local name, version = quote(attrs.name or id), nil
  local function installed()
    local r
    if system.lookup "/var/lib/dpkg/status" then
      r = system.exec("dpkg-query -f '${Status} ${Version}\\n' -W " .. name, 30)
      version = r.code == 0 and r.stdout:match("install ok installed (%S+)")
    elseif system.lookup "/var/lib/rpm" or system.lookup "/usr/lib/sysimage/rpm" then
      r = system.exec("rpm -q --nosignature --nohdrchk --nodigest --qf '%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n' "
        .. name, 30)
      version = r.code == 0 and r.stdout:match("(%S+)")
    elseif system.lookup "/lib/apk/db/installed" then
      r = system.exec("apk info -e -v " .. name, 30)
      version = r.code == 0 and r.stdout:match("^.-%-(%d%S*)")
    end
    return version ~= nil and version ~= false
  end
  return { first = "installed", required = "installed", find = {
    installed = installed,
    versions = function() return json.array { version } end,
  }, order = { "installed", "versions" }, known = { name = true } }
end

local IGNORED = { title = true, meta = true, skip = true }

local function check_resource(out, kind, id, attrs, system)
  local function add(property, fields)
    fields.resource, fields.id, fields.property = kind, id, property
    out[#out + 1] = fields
  end
  local make = resources[kind]
  if not make then
    local names = {}
    for n in pairs(resources) do names[#names + 1] = n end
    table.sort(names)
    return add("", { ok = false, error = ("resource type '%s' is not supported here (supported: %s); run goss itself for it")
      :format(kind, table.concat(names, ", ")) })
  end
  if type(attrs) ~= "table" then return add("", { ok = false, error = "expected a mapping of attributes" }) end
  local r = make(system, tostring(id), attrs)
  for name in json.pairs(attrs) do
    if not r.find[name] and not IGNORED[name] and not (r.known and r.known[name]) and name ~= "path" then
      local near = require("bakery.suggest").nearest(name, r.order)
      add(name, { ok = false, error = "unknown attribute" .. (near and " (did you mean '" .. near .. "'?)" or "") })
    end
  end
  if attrs[r.required] == nil then
    return add(r.required, { ok = false, error = "missing required attribute" })
  end
  local dead = false
  for _, property in ipairs(r.order) do
    local want = attrs[property]
    if want ~= nil then
      if attrs.skip or dead then
        add(property, { ok = true, skipped = true })
      else
        local ok, found = pcall(r.find[property])
        if not ok then
          if type(found) == "table" and (found.code == "cancelled" or found.class == "usage" or found.class == "infra") then
            error(found, 0)
          end
          add(property, { ok = false, expected = want, error = type(found) == "table" and found.message or tostring(found) })
          dead = property == r.first
        else
          local good, detail = matcher.matches(want, found, r.streaming and r.streaming[property])
          add(property, { ok = good, expected = want, found = found, detail = detail })
          dead = property == r.first and (not good or found == false)
        end
      end
    end
  end
end

--- Evaluates a goss file.
---@param spec table of M.parse
---@param system table see above
---@return table[] results { resource=, id=, property=, ok=, skipped=, expected=, found=, detail=, error= }
function M.run(spec, system)
  local out = {}
  for kind, list in json.pairs(spec) do
    if type(list) == "table" then
      for id, attrs in json.pairs(list) do check_resource(out, kind, id, attrs, system) end
    elseif list ~= yaml.null then -- a check that cannot be read is one that failed
      out[#out + 1] = { resource = kind, id = "", property = "", ok = false, error = "expected a mapping of resources" }
    end
  end
  return out
end

local function show(v)
  if type(v) == "table" then
    local ok, text = pcall(json.encode, v)
    return ok and text or tostring(v)
  end
  local text = matcher.to_string(v)
  return #text > 200 and text:sub(1, 200) .. "…" or text
end

--- One line for people about a result.
---@param r table
---@return string
function M.describe(r)
  local what = ("%s %s%s"):format(r.resource, r.id, r.property ~= "" and ": " .. r.property or "")
  if r.skipped then return what .. ": skipped" end
  if r.ok then return what .. ": as expected" end
  if r.error then return what .. ": " .. r.error end
  return ("%s: expected %s, found %s%s"):format(what, show(r.expected), show(r.found), r.detail and " (" .. r.detail .. ")" or "")
end

return M
