--- Which part of the project a list of changed files concerns. All of it is functions of plain data: paths
--- relative to the project, and both texts of bakery.yaml. What cannot be told for certain concerns everything.
---
--- A change set: { full = reason|false, images = { [name] = { all=, dev=, row=, versions={[name]=true} } } }:
--- all releases, the development versions, the latest row of the matrix, single versions.
local configdiff = require "app.ci.configdiff"
local names = require "app.project.names"

local M = {}

local CONFIG = { ["bakery.yaml"] = true, ["bakery.yml"] = true }
local IGNORED_FILES = { [".gitignore"] = true, [".pre-commit-config.yaml"] = true }
local IGNORED_DIRS = { ".idea/", ".claude/", ".github/" }

local function starts(text, prefix) return text:sub(1, #prefix) == prefix end

-- Whether a path is a directory's or below it.
local function within(path, dir) return dir == "." or path == dir or starts(path, dir .. "/") end

--- What classify needs to know of a project: its images' directories.
---@param project table
---@return table[] layout { {name=, dir=, matrix=, dev=, versions={{name=, dir=}…}}… }
function M.layout(project)
  local out = {}
  for i, image in ipairs(project.images) do
    local entry = { name = image.name, dir = names.tidy(image.subpath), matrix = image.matrix ~= nil,
      dev = #image.dev_versions > 0, versions = {} }
    for k, v in ipairs(image.versions) do
      entry.versions[k] = { name = v.name, dir = names.directory(image, v) }
    end
    out[i] = entry
  end
  return out
end

-- Images whose directory a path is in: of nested directories the innermost counts, and any other image that
-- has a version there.
local function owners(path, layout)
  local best, out = -1, {}
  for _, image in ipairs(layout) do
    local depth = image.dir == "." and 0 or #image.dir
    if within(path, image.dir) and depth > best then best = depth end
  end
  for _, image in ipairs(layout) do
    local depth = image.dir == "." and 0 or #image.dir
    local owns = within(path, image.dir) and depth == best
    for _, version in ipairs(image.matrix and {} or image.versions) do
      owns = owns or version.dir ~= "." and within(path, version.dir)
    end
    if owns then out[#out + 1] = image end
  end
  return out
end

-- What a path inside an image's directory concerns.
local function image_effect(path, image)
  if image.matrix then return { row = true, dev = image.dev } end
  local versions, any = {}, false
  for _, version in ipairs(image.versions) do
    if within(path, version.dir) and version.dir ~= image.dir then
      versions[version.name], any = true, true
    end
  end
  local template = image.dir == "." and "template" or image.dir .. "/template"
  if starts(path, template .. "/") then return { dev = image.dev, versions = versions } end
  if any then return { versions = versions } end
  return { all = true }
end

--- What one changed path concerns.
---@param path string relative to the project
---@param layout table[] of M.layout
---@return "none"|"full"|"config"|table effect or { {image=name, effect={all,dev,row,versions}}… }
function M.classify(path, layout)
  if path:lower():find("%.md$") then return "none" end
  if CONFIG[path] then return "config" end
  if starts(path, ".github/workflows/") then return "full" end
  if IGNORED_FILES[path] then return "none" end
  for _, dir in ipairs(IGNORED_DIRS) do
    if starts(path, dir) then return "none" end
  end
  if starts(path, "/") or ("/" .. path .. "/"):find("/../", 1, true) then return "full" end
  local images = owners(names.tidy(path), layout)
  if #images == 0 then return "full" end
  local out = {}
  for i, image in ipairs(images) do out[i] = { image = image.name, effect = image_effect(names.tidy(path), image) } end
  return out
end

local Set = {}
Set.__index = Set

--- An empty change set.
function M.new() return setmetatable({ full = false, images = {} }, Set) end

--- Makes the set concern everything.
---@param reason string for messages
function Set:everything(reason)
  self.full = self.full or reason
  return self
end

--- Adds an effect on an image.
---@param name string
---@param effect table {all=, dev=, row=, versions=}
function Set:add(name, effect)
  local entry = self.images[name] or { versions = {} }
  self.images[name] = entry
  for _, key in ipairs { "all", "dev", "row" } do entry[key] = entry[key] or effect[key] or nil end
  for version in pairs(effect.versions or {}) do entry.versions[version] = true end
end

--- Whether any release or row of the image may be concerned.
function Set:touches(image)
  local entry = self.images[image.name]
  return self.full ~= false or entry ~= nil and (entry.all or entry.row or next(entry.versions) ~= nil) or false
end

--- Whether the image's development versions are concerned.
function Set:touches_dev(image)
  return self.full ~= false or (self.images[image.name] or {}).dev == true
end

-- A matrix of which no row could be found to be the latest: all rows stand for it.
local function has_latest_row(image)
  for _, row in ipairs(image.matrix and image.matrix._rows or {}) do
    if row.latest then return true end
  end
  return false
end

--- Whether a version of an image is concerned.
---@param image table
---@param version table
---@return boolean
function Set:allows(image, version)
  if self.full then return true end
  local entry = self.images[image.name]
  if not entry then return false end
  if version.is_dev then return entry.dev == true end
  if version.is_matrix then
    return entry.row == true and (version.latest == true or not has_latest_row(image))
  end
  return entry.all == true or entry.versions[version.name] == true
end

--- The change set of changed paths.
---@param paths string[] relative to the project
---@param layout table[] of M.layout
---@param old string|nil former text of bakery.yaml; nil: unknown
---@param new string|nil present text
---@return table set
function M.of(paths, layout, old, new)
  local set = M.new()
  for _, path in ipairs(paths) do
    local effect = M.classify(path, layout)
    if effect == "full" then
      set:everything(path)
    elseif effect == "config" then
      if not old or not new then
        set:everything(path)
      else
        local reason = configdiff.compare(old, new, function(name, part) set:add(name, part) end)
        if reason then set:everything(path .. ": " .. reason) end
      end
    elseif effect ~= "none" then
      for _, item in ipairs(effect) do set:add(item.image, item.effect) end
    end
  end
  return set
end

return M
