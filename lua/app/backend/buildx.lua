--- Backend buildx: hands the plan to `docker buildx bake` in a private temporary file.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local fail = require "app.fail"

local M = { name = "buildx", summary = "docker buildx bake" }

local Backend = {}
Backend.__index = Backend

--- Whether docker and its buildx plugin are there.
---@return boolean ok, string text, string|nil fix
function M.probe()
  local docker = process.which "docker"
  if not docker then return false, "docker not found", "install docker and its buildx plugin" end
  local r = process.run { cmd = { docker, "buildx", "version" }, timeout = 15, merge = true }
  if not r or r.code ~= 0 then return false, docker .. " without buildx", "install the docker-buildx plugin" end
  return true, (r.stdout:match("[^\n]*"))
end

---@param opts table as for the embedded backend; args = the recipe's parsed options
function M.open(opts)
  local docker = process.which "docker"
  if not docker then
    fail.raise { class = "usage", code = "tool.missing", message = "backend buildx needs docker in PATH",
      hint = "install docker and its buildx plugin, or use --backend embedded" }
  end
  return setmetatable({ docker = docker, dir = opts.dir, emit = opts.emit, args = opts.args or {}, no_cache = opts.no_cache,
    pull = opts.pull, pushes_itself = true }, Backend)
end

-- An entry of bake's `output`, a CSV record. bake runs in the project's directory: the path is made
-- absolute, so that it means what the user's shell means.
local function output_entry(kind, path)
  local dest = "dest=" .. (fs.is_absolute(path) and path or fs.join(fail.check(fs.cwd()), path))
  if dest:find '[",]' then dest = '"' .. dest:gsub('"', '""') .. '"' end
  return (kind == "oci" and "type=oci,tar=false," or "type=docker,") .. dest
end

--- The bake command line for a plan.
---@param files table { plan=, metadata= }
---@return string[]
function Backend:command(files)
  local a = self.args
  local cmd = { self.docker, "buildx", "bake", "--file", files.plan, "--metadata-file", files.metadata,
    "--progress", "plain" }
  local function add(...) for _, w in ipairs { ... } do cmd[#cmd + 1] = w end end
  if self.no_cache then add "--no-cache" end
  if self.pull then add "--pull" end
  if a.temp_registry and a.push then
    add("--set", "*.output=type=image,push-by-digest=true,name-canonical=true,push=true")
  else
    -- An engine cannot load what it also pushes as an index: --push wins over the default --load.
    if a.push then add "--push" elseif a.load ~= false then add "--load" end
  end
  for _, spec in ipairs(a.output or {}) do
    local kind, path = spec:match("^([%w-]+):(.+)$")
    if kind ~= "oci" and kind ~= "docker-archive" then
      fail.raise { class = "usage", code = "usage", message = "unknown output '" .. spec .. "'" }
    end
    add("--set", "*.output=" .. output_entry(kind, path))
  end
  return cmd
end

-- bake evaluates every string of a JSON file, names in objects too, as an HCL template: its markers are
-- written twice (HCL specification, "Template Literals").
local function literal(value)
  if type(value) == "string" then return (value:gsub("([$%%]){", "%1%1{")) end
  if type(value) ~= "table" then return value end
  if getmetatable(value) == json.array_mt or #value > 0 then
    local list = json.array {}
    for i, v in ipairs(value) do list[i] = literal(v) end
    return list
  end
  local object = json.object()
  for k, v in json.pairs(value) do object[literal(k)] = literal(v) end
  return object
end

-- Target names as bake takes them ([A-Za-z0-9_-]), one for each uid.
local function bake_names(uids)
  local names, taken = {}, {}
  for _, uid in ipairs(uids) do -- names that fit stay as they are
    if not uid:find "[^%w_-]" then names[uid], taken[uid] = uid, true end
  end
  for _, uid in ipairs(uids) do
    local base = uid:gsub("[^%w_-]", "_")
    local name, n = base, 1
    while not names[uid] and taken[name] do
      n = n + 1
      name = base .. "_" .. n
    end
    if not names[uid] then names[uid], taken[name] = name, true end
  end
  return names
end

-- The plan as bake reads it: without our own keys, its strings literal, its names such as bake allows.
-- Groups that bake could not name are left out, but for the default one nobody asks for them.
local function bake_document(plan, only, names)
  local doc, groups, targets = json.object(), json.object(), json.object()
  local function members(uids)
    local list = json.array {}
    for i, uid in ipairs(uids) do list[i] = names[uid] or uid end
    return json.object { { "targets", list } }
  end
  for name, group in json.pairs(plan.document.group or {}) do
    if not name:find "[^%w_-]" then groups[name] = members(group.targets or {}) end
  end
  if only then groups = json.object { { "default", members(only) } } end
  for uid, target in json.pairs(plan.document.target) do targets[names[uid] or uid] = literal(target) end
  for k, v in json.pairs(plan.document) do
    if k ~= "x-bakery" then doc[k] = k == "group" and groups or k == "target" and targets or literal(v) end
  end
  return doc
end

local function result_of(uid, entry, tags)
  local digest = entry and (entry["containerimage.digest"])
  return { uid = uid, status = "ok", tags = tags, platforms = {}, digest = digest,
    image_id = entry and (entry["containerimage.config.digest"] or digest), metadata = entry, cached = 0, executed = 0 }
end

--- Builds (and pushes) the plan with one bake call.
function Backend:build(plan, opts)
  opts = opts or {}
  local order = opts.only or plan.order
  local uids = {}
  for uid in json.pairs(plan.document.target) do uids[#uids + 1] = uid end
  local names = bake_names(uids)
  local tmp = fail.check(fs.tmpdir "bakery-bake")
  local function go()
    local files = { plan = tmp .. "/bake.json", metadata = tmp .. "/metadata.json" }
    fail.check(fs.write(files.plan, json.encode(bake_document(plan, opts.only, names), { indent = 2 }), { mode = 384 }))
    for _, uid in ipairs(order) do
      self.emit { type = "target_started", target = uid, platforms = plan.targets[uid].platforms }
    end
    local tail = {}
    local r = fail.check(process.run { cmd = self:command(files), cwd = self.dir, merge = true, capture = false,
      on_line = function(line)
        if line ~= "" then
          tail[#tail + 1] = line
          if #tail > 30 then table.remove(tail, 1) end
          self.emit { type = "log", target = "buildx", text = line }
        end
      end })
    local metadata = {}
    local text = fs.read(files.metadata)
    if text then metadata = json.decode(text, { ordered = true }) or {} end
    local results = {}
    for i, uid in ipairs(order) do
      local entry = metadata[names[uid]]
      entry = type(entry) == "table" and entry or nil
      if r.code == 0 or entry then results[i] = result_of(uid, entry, plan.targets[uid].tags or {})
      else
        results[i] = { uid = uid, status = "failed", tags = {}, error = { class = "build", code = "buildx.failed",
          message = "docker buildx bake: " .. process.exit_reason(r), log = tail } }
      end
      results[i].seconds = r.seconds
      if results[i].status == "ok" then self.emit { type = "target_done", target = uid, result = results[i] }
      else self.emit { type = "target_failed", target = uid, error = results[i].error } end
      if opts.on_result then opts.on_result(results[i]) end
    end
    return results
  end
  local ok, results = pcall(go)
  if self.args.clean ~= false then fs.remove(tmp, { recursive = true }) end
  if not ok then error(results, 0) end
  return results
end

function Backend:export() end -- bake wrote the outputs already

function Backend:close() end

return M
