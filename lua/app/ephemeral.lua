--- Files of development versions: rendered into `.dev-…` directories of the project from what the plan
--- says, removed when the run ends. Who uses a directory is noted beside the cache, so that runs side
--- by side do not take it from each other, and what a killed run left behind goes with the next one.
local config = require "app.config"
local digest = require "bakery.digest"
local fail = require "app.fail"
local fs = require "bakery.fs"
local json = require "bakery.json"
local model = require "app.project.model"
local os_names = require "app.project.os"
local process = require "bakery.process"

local M = {}

-- The extras of the plan's ephemeral targets by version directory, in plan order.
local function groups(doc)
  local order, by_dir = {}, {}
  local extras = doc["x-bakery"] and doc["x-bakery"].targets or {}
  for _, uid in ipairs(doc.group.default.targets) do
    local extra = extras[uid]
    if extra and extra.ephemeral then
      local dir = extra.versionDir
      if not by_dir[dir] then
        by_dir[dir] = {}
        order[#order + 1] = dir
      end
      table.insert(by_dir[dir], extra)
    end
  end
  return order, by_dir
end

--- Has the plan targets whose files are not in the project?
---@param doc table
---@return boolean
function M.needed(doc) return #groups(doc) > 0 end

local function pairs_of(object)
  local out = { keys = {}, values = {} }
  for key, value in json.pairs(object or json.object()) do
    out.keys[#out.keys + 1], out.values[key] = key, value
  end
  return out
end

-- The version that a group of extras is about, as the renderer takes it.
local function version_of(image, subpath, list)
  local first, oses, seen = list[1], {}, {}
  local dependencies = {}
  for name, versions in json.pairs(first.dependencies or json.object()) do
    dependencies[#dependencies + 1] = { dependency = name, versions = versions }
  end
  for _, extra in ipairs(list) do
    if extra.os and not seen[extra.os.name] then
      seen[extra.os.name] = true
      oses[#oses + 1] = { name = extra.os.name, primary = extra.os.primary, extension = extra.ephemeral.extension,
        build_os = os_names.identify(extra.os.name), artifact_download_url = extra.ephemeral.url }
    end
  end
  return model.version({ name = first.version, subpath = subpath, is_dev = true, ephemeral = true,
    channel = first.channel, os = oses, dependencies = dependencies, values = pairs_of(first.ephemeral.values) }, image)
end

-- The image and the part of the path below it; a plan that leads elsewhere is refused.
local function place(project, dir, extra)
  local image = project:image(extra.image)
  local subpath = image and dir:sub(1, #image.subpath + 1) == image.subpath .. "/" and dir:sub(#image.subpath + 2)
  if not subpath or not subpath:find "^%.dev%-[^/]+$" then
    fail.raise { class = "usage", code = "plan.ephemeral",
      message = ("the plan has files to render in '%s', which is no development version of image '%s' here"):format(dir,
        tostring(extra.image)), hint = "is it the plan of another project, or of another commit?" }
  end
  return image, subpath
end

-- --- who uses which directory --------------------------------------------------------------------------

local function records() return config.cache_dir() .. "/ephemeral" end
local function record_of(dir) return ("%s/%s"):format(records(), digest.sha256(dir):sub(1, 24)) end

local function alive(pid) return fs.exists("/proc/" .. pid) end

-- Whether another living process has a directory in use; notes of dead ones go.
local function in_use(record)
  local used = false
  for _, name in ipairs(fs.list(record) or {}) do
    if name:find "^%d+$" then
      if alive(name) then used = true else fs.remove(record .. "/" .. name) end
    end
  end
  return used
end

local function release(record)
  local dir = fs.read(record .. "/path")
  if in_use(record) then return end
  if dir and fs.basename(dir):find "^%.dev%-" then fs.remove(dir, { recursive = true }) end
  fs.remove(record, { recursive = true })
end

local function sweep()
  for _, name in ipairs(fs.list(records()) or {}) do release(records() .. "/" .. name) end
end

local function claim(dir)
  local record, ok, err = record_of(dir), nil, nil
  for _ = 1, 5 do -- another run's sweep may take the empty directory away
    fail.check(fs.mkdir(record, { parents = true, mode = 448 }))
    ok, err = fs.write(("%s/%d"):format(record, process.pid()), "")
    if ok or err.code ~= "ENOENT" then break end
  end
  fail.check(ok, err)
  fail.check(fs.write(record .. "/path", dir))
  return record
end

-- --- writing ----------------------------------------------------------------------------------------------

local function write(dir, files, base)
  local wanted = {}
  for _, file in ipairs(files) do
    local full = fs.join(base, file.path)
    wanted[full] = true
    fail.check(fs.mkdir(fs.dirname(full), { parents = true }))
    fail.check(fs.write(full, file.text, { mode = file.mode }))
  end
  for _, item in ipairs(fs.walk(dir) or {}) do
    local full = fs.join(dir, item.path)
    if item.type ~= "dir" and not wanted[full] then fail.check(fs.remove(full)) end
  end
end

---@class app.ephemeral
---@field dirs string[] absolute
---@field clean boolean
local Rendered = {}
Rendered.__index = Rendered

--- Removes the directories that nobody else uses.
function Rendered:remove()
  if not self.clean then return end
  for _, record in ipairs(self.records) do
    fs.remove(("%s/%d"):format(record, process.pid()))
    release(record)
  end
  self.records = {}
end

--- Renders the development versions of a plan. Raises the errors of templates.
---@param doc table plan document
---@param project table
---@param clean boolean remove() removes the directories
---@return app.ephemeral
function M.render(doc, project, clean)
  local self = setmetatable({ dirs = {}, records = {}, clean = clean }, Rendered)
  local render = require "app.project.render"
  sweep()
  local order, by_dir = groups(doc)
  local ok, err = pcall(function()
    for _, dir in ipairs(order) do
      local image, subpath = place(project, dir, by_dir[dir][1])
      local files, errors = render.render(project, image, version_of(image, subpath, by_dir[dir]))
      if not files then
        fail.raise { class = "usage", code = errors[1].code, errors = errors, message = errors[1].message }
      end
      local full = fs.join(project.dir, dir)
      self.dirs[#self.dirs + 1] = full
      if clean then self.records[#self.records + 1] = claim(full) end
      local stat = fs.stat(full, false)
      if stat and stat.type ~= "dir" then fail.check(fs.remove(full)) end
      write(full, files, project.dir)
    end
  end)
  if not ok then
    self:remove()
    error(err, 0)
  end
  return self
end

return M
