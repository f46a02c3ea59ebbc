--- Backend buildx: hands the plan to `docker buildx bake` in a private temporary file.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local fail = require "app.fail"
local images = require "app.backend.buildx_image"

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
  if opts.format == "docker" then
    fail.raise { class = "usage", code = "usage", message = "--format docker: the buildx backend leaves media types to its builder",
      hint = "use --backend embedded" }
  end
  local docker = process.which "docker"
  if not docker then
    fail.raise { class = "usage", code = "tool.missing", message = "backend buildx needs docker in PATH",
      hint = "install docker and its buildx plugin, or use --backend embedded" }
  end
  return setmetatable({ docker = docker, dir = opts.dir, emit = opts.emit, args = opts.args or {}, no_cache = opts.no_cache,
    pull = opts.pull, jobs = opts.jobs, pushes_itself = true }, Backend)
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
    add("--set", "*.output=" .. images.output_entry(spec))
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

--- What docker knows of a result's image; nil when it was not loaded.
---@param result table
---@return table[]|nil
function Backend:measure(result)
  if self.args.push or self.args.load == false or not result.tags[1] then return nil end
  local found = images.inspect(self, result.tags[1])
  return found and { found }
end

-- One bake call for the whole plan.
local function bake(self, plan, opts, tmp)
  local order = opts.only or plan.order
  local uids = {}
  for uid in json.pairs(plan.document.target) do uids[#uids + 1] = uid end
  local names = bake_names(uids)
  local files = { plan = tmp .. "/bake.json", metadata = tmp .. "/metadata.json" }
  fail.check(fs.write(files.plan, json.encode(bake_document(plan, opts.only, names), { indent = 2 }), { mode = 384 }))
  for _, uid in ipairs(order) do
    self.emit { type = "target_started", target = uid, platforms = plan.targets[uid].platforms }
  end
  local cmd = self:command(files)
  local tail, r = images.run(self, cmd, "buildx")
  local metadata = {}
  local text = fs.read(files.metadata)
  if text then metadata = json.decode(text, { ordered = true }) or {} end
  local results = {}
  for i, uid in ipairs(order) do
    local entry = metadata[names[uid]]
    entry = type(entry) == "table" and entry or nil
    if r.code == 0 or entry then results[i] = images.result(uid, entry, plan.targets[uid].tags or {})
    else
      results[i] = { uid = uid, status = "failed", tags = {}, error = { class = "build", code = "buildx.failed",
        message = "docker buildx bake: " .. process.exit_reason(r), log = tail, command = cmd } }
    end
    results[i].seconds = r.seconds
    if results[i].status == "ok" then self.emit { type = "target_done", target = uid, result = results[i] }
    else self.emit { type = "target_failed", target = uid, error = results[i].error } end
    if opts.on_result then opts.on_result(results[i]) end
  end
  return results
end

--- Builds (and pushes) the plan: with one bake call, or with one build call for each target.
---@param plan table
---@param opts table|nil as for the embedded backend
---@return table[] results
function Backend:build(plan, opts)
  local tmp = fail.check(fs.tmpdir "bakery-bake")
  local one_call = self.args.strategy ~= "build"
  local ok, results = pcall(one_call and bake or require("app.backend.buildx_each").build, self, plan, opts or {}, tmp)
  if self.args.clean ~= false then fs.remove(tmp, { recursive = true }) end
  if not ok then error(results, 0) end
  return results
end

function Backend:export() end -- bake wrote the outputs already

function Backend:close() end

return M
