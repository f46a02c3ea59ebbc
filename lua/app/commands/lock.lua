--- `bakery lock`: looks up everything that bakery.yaml leaves to look-ups and pins it in bakery.lock.
local constraints = require "app.project.constraints"
local devs = require "app.project.devs"
local fail = require "app.fail"
local fs = require "bakery.fs"
local json = require "bakery.json"
local locks = require "app.lookup.lock"
local session = require "app.session"

local M = {}

--- Every look-up of a project: { key=, name=, request=, os=|nil, entry= } in the order of the file. Pinned
--- entries (version_override) need none.
---@param project table
---@return table[]
function M.needed(project)
  local out, seen = {}, {}
  local function add(entry, request, key, name, os)
    local id = key .. "\0" .. (os and os.name or "")
    if not seen[id] then out[#out + 1] = { key = key, name = name, request = request, os = os, entry = entry } end
    seen[id] = true
  end
  local function versions(entry, request) add(entry, request, locks.versions_key(request), entry.dependency) end
  for _, image in ipairs(project.images) do
    for _, list in ipairs { image.matrix and image.matrix.dependency_constraints or {}, image.dependency_constraints } do
      for _, entry in ipairs(list) do versions(entry, constraints.request(entry)) end
    end
    for _, entry in ipairs(image.dev_versions) do
      local request = devs.request(entry)
      if request and request.kind == "versions" then versions(entry, request) end
      for _, os in ipairs(request and request.oses or {}) do
        add(entry, request, locks.stream_key(request), entry.product, os)
      end
    end
  end
  return out
end

local function located(project, item, err)
  return constraints.located(project.source, item.entry, err)
end

-- What one look-up gives now; raises what goes wrong.
local function look_up(project, lookup, item)
  if item.os then
    local found, err = lookup:build(item.request, item.os)
    if found then return { version = found.version, url = found.url } end
    if err.code == "resolver.none" then return false end
    fail.raise(located(project, item, err))
  end
  local found, err = constraints.choose(item.entry, item.request.constraint, lookup.resolver)
  if not found then fail.raise(located(project, item, err)) end
  return found
end

local function kept(old, item)
  if item.os then
    local entry = old.streams[item.key]
    return entry and entry[item.os.name]
  end
  return old.dependencies[item.key]
end

local function store(lock, item, value)
  if item.os then
    lock.streams[item.key] = lock.streams[item.key] or {}
    lock.streams[item.key][item.os.name] = value
  else
    lock.dependencies[item.key] = value
  end
end

-- The look-ups that NAME arguments choose: dependencies, products or whole keys. nil: all.
local function chosen(values, needed)
  if #values == 0 then return nil end
  local known, out = {}, {}
  for _, item in ipairs(needed) do known[item.name], known[item.key] = true, true end
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(values) do
    if not known[name] then
      local near = require("bakery.suggest").nearest(name, names)
      fail.raise { class = "usage", code = "lock.unknown", message = ("nothing to look up is called '%s'"):format(name),
        hint = near and "did you mean '" .. near .. "'?" or "there are: " .. table.concat(names, ", ") }
    end
    out[name] = true
  end
  return out
end

-- Does the project's own rule still choose what is pinned?
local function holds(item, value)
  if item.os or value == nil then return value ~= nil end
  local found = require("bakery.version").resolve(item.request.constraint, value)
  return found ~= nil and table.concat(found, "\0") == table.concat(value, "\0")
end

local function describe(change)
  local what = change.os and change.key .. " (" .. change.os .. ")" or change.key
  if not change.from then return ("added    %s: %s"):format(what, change.to) end
  if not change.to then return ("removed  %s: %s"):format(what, change.from) end
  return ("changed  %s: %s -> %s"):format(what, change.from, change.to)
end

local function report(values, changes, file)
  if values.json then
    local list = json.array {}
    for i, c in ipairs(changes) do
      list[i] = json.object { { "key", c.key }, { "os", c.os or json.null }, { "from", c.from or json.null },
        { "to", c.to or json.null } }
    end
    session.print_json(json.object { { "file", file }, { "changes", list } })
  elseif not values.quiet then
    for _, c in ipairs(changes) do io.stderr:write(describe(c), "\n") end
  end
end

local function check(values, old, new, path)
  local changes = locks.changes(old or locks.new(), new)
  report(values, changes, path)
  if #changes > 0 then
    fail.raise { class = "drift", code = "lock.drift", path = path, hint = "run `bakery lock`",
      message = old and locks.NAME .. " does not fit bakery.yaml" or "there is no " .. locks.NAME }
  end
  if not values.quiet then io.stderr:write(locks.NAME, " fits bakery.yaml\n") end
  return 0
end

--- The new lock: look-ups that `wanted` names (nil: all) anew, others as they are.
local function make(project, values, old, needed)
  local wanted, new = chosen(values, needed), locks.new()
  local lookup = require("app.lookup").open(project, { offline = values.offline, live = true,
    warn = function(text) io.stderr:write("warning: ", text, "\n") end })
  new.notes = old and old.notes or new.notes
  local values_of = require("bakery.task").map(needed, 8, function(item)
    local value = old and kept(old, item)
    local anew = not holds(item, value) or not wanted and not values.keep
      or wanted and (wanted[item.name] or wanted[item.key])
    if anew then value = look_up(project, lookup, item) end
    return { value }
  end)
  for i, item in ipairs(needed) do store(new, item, values_of[i][1]) end
  return new
end

-- What can be said about a lock without looking anything up.
local function expected(old, needed)
  local new = locks.new()
  new.notes = old and old.notes or new.notes
  for _, item in ipairs(needed) do
    local value = old and kept(old, item)
    if holds(item, value) then store(new, item, value)
    else store(new, item, item.os and { version = "?", url = "(to be looked up)" } or { "(to be looked up)" }) end
  end
  return new
end

function M.run(values)
  local project = session.project(values)
  local path = fs.join(project.dir, locks.NAME)
  local old, err = locks.read(project.dir)
  if err then error(err, 0) end
  local needed = M.needed(project)
  local text = old and fs.read(path)
  if values.check then return check(values, old, expected(old, needed), path) end
  local new = make(project, values, old, needed)
  report(values, locks.changes(old or locks.new(), new), path)
  local fresh = locks.encode(new)
  if fresh ~= text then
    if not values.dry_run then fail.check(fs.write(path, fresh)) end
    if not values.quiet then io.stderr:write(values.dry_run and "would write " or "wrote ", path, "\n") end
  elseif not values.quiet then
    io.stderr:write(locks.NAME, " is up to date\n")
  end
  return 0
end

return M
