--- Links the validated document into the model that commands and the planner use.
local git = require "app.project.git"
local registries = require "app.project.registries"

local M = {}

local Project = {}
Project.__index = Project

--- The image of that exact name.
---@param name string
---@return table|nil
function Project:image(name)
  return self._by_name[name]
end

--- HEAD commit of the work tree around the project, read once.
---@return string|nil
function Project:revision()
  if self._revision == nil then self._revision = git.revision(self.dir) or false end
  return self._revision or nil
end

local Image = {}
Image.__index = Image

--- Registries of the image after inheritance.
---@return table[]
function Image:registries()
  if not self._registries then
    self._registries = registries.resolve(self, self.project.registries)
  end
  return self._registries
end

--- The declared version of that name.
---@param name string
---@return table|nil
function Image:version(name)
  for _, version in ipairs(self.versions) do
    if version.name == name then return version end
  end
end

local Version = {}
Version.__index = Version

--- Registries of the version after inheritance.
---@return table[]
function Version:registries()
  if not self._registries then
    self._registries = registries.resolve(self, self.image:registries())
  end
  return self._registries
end

--- Makes a version object (of the file, of a matrix row, of a development version).
---@param fields table
---@param image table
---@return table
function M.version(fields, image)
  fields.image = image
  return setmetatable(fields, Version)
end

--- Links a validated root object.
---@param root table
---@param info {dir: string, file: string|nil, source: {name: string, path: string|nil}}
---@return table project
function M.link(root, info)
  local project = setmetatable(root, Project)
  project.dir, project.file, project.source = info.dir, info.file, info.source
  project._by_name = {}
  for _, image in ipairs(project.images) do
    setmetatable(image, Image)
    image.project = project
    project._by_name[image.name] = image
    for _, version in ipairs(image.versions) do M.version(version, image) end
    if image.matrix then image.matrix.image = image end
  end
  return project
end

return M
