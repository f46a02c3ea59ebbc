--- READMEs of images as descriptions on Docker Hub: which images have one, how long it may be.
local error_object = require "bakery.error"
local fs = require "bakery.fs"
local git = require "app.project.git"
local registries = require "app.project.registries"

local M = {}

--- What Docker Hub takes, in bytes of UTF-8.
M.LIMIT = 25000

--- What Docker Hub takes as a short description, in characters.
M.SHORT = 100

local HUB = { ["docker.io"] = true, ["index.docker.io"] = true }

-- Registry lists of what makes an image eligible: latest releases, or the rows of its matrix.
local function registry_lists(image, filters)
  local out = {}
  if filters.dev_versions == "only" then return out end
  if image.matrix then
    if filters.matrix_versions ~= "exclude" then
      out[1] = registries.resolve(image.matrix, image:registries())
    end
  elseif filters.matrix_versions ~= "only" then
    for _, version in ipairs(image.versions) do
      if version.latest then out[#out + 1] = version:registries() end
    end
  end
  return out
end

-- Text of a README. A link may lead to another file of the checkout, not out of it: what is read becomes public.
local function read(project, file, path)
  local real, err = fs.realpath(path)
  if not real then return nil, err end
  local _, tree = git.find(project.dir)
  local root = fs.realpath(tree or project.dir)
  if real:sub(1, #root + 1) ~= root .. "/" then
    return nil, error_object.new { class = "build", code = "readme.outside", where = file,
      message = "the README is a link to a file outside of the project" }
  end
  return fs.read(real, 64 << 20)
end

--- READMEs that belong to repositories on Docker Hub, each repository once.
---@param project table
---@param filters {dev_versions: string|nil, matrix_versions: string|nil, image_name: table|nil} image_name: regex
---@return table[] list {image=, file=, path=, size=, text=, short=description|nil, repositories={{namespace=, name=}…}}; images without
--- README are left out
---@return string[] warnings
---@return table|nil err a README that is there and cannot be read
function M.collect(project, filters)
  local out, warnings, owner = {}, {}, {}
  for _, image in ipairs(project.images) do
    local repositories, seen = {}, {}
    local matches = not filters.image_name or filters.image_name:search(image.name)
    for _, list in ipairs(matches and registry_lists(image, filters) or {}) do
      for _, registry in ipairs(list) do
        local name = registry.repository or image.name
        local id = registry.namespace and HUB[registry.host] and registry.namespace .. "/" .. name
        if id and not seen[id] then
          seen[id] = true
          if owner[id] then
            warnings[#warnings + 1] = ("docker.io/%s has the README of %s; that of %s is left out"):format(id, owner[id],
              image.name)
          else
            repositories[#repositories + 1] = { namespace = registry.namespace, name = name, id = id }
          end
        end
      end
    end
    local file = image.subpath .. "/README.md"
    local path = fs.join(project.dir, file)
    if #repositories > 0 and fs.is_file(path) then
      local text, err = read(project, file, path)
      if not text then return nil, warnings, err end
      for _, r in ipairs(repositories) do owner[r.id] = image.name end
      local short = image.description ~= "" and image.description or nil
      out[#out + 1] = { image = image.name, short = short, file = file, path = path, text = text, size = #text,
        repositories = repositories }
    end
  end
  return out, warnings
end

--- What is wrong with a README, or nil.
---@param readme table of M.collect
---@param short boolean|nil whether the image's description is pushed too
---@return string|nil
function M.problem(readme, short)
  local length = short and readme.short and utf8.len(readme.short) or 0
  if length > M.SHORT then
    return ("the description of %s has %d characters, the limit is %d: %d too many"):format(readme.image, length, M.SHORT,
      length - M.SHORT)
  end
  if not utf8.len(readme.text) then return "it is not UTF-8" end
  if readme.size > M.LIMIT then
    return ("%d bytes, the limit is %d: %d too many"):format(readme.size, M.LIMIT, readme.size - M.LIMIT)
  end
end

return M
