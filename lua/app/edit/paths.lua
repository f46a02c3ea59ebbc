--- Directories that editing commands may touch. bakery.yaml may come from anywhere: what it names must
--- stay inside the project, as text and through symbolic links.
local fail = require "app.fail"
local fs = require "bakery.fs"

local M = {}

local function denied(path, why)
  fail.raise { class = "denied", code = "edit.outside", message = ("'%s' %s"):format(path, why),
    hint = "subpaths must stay inside the project" }
end

--- Whether `path` is `dir` or below it, as text.
---@param path string
---@param dir string
---@return boolean
function M.is_below(path, dir) return path == dir or path:sub(1, #dir + 1) == dir .. "/" end

--- The normalized path; raises (class denied) when it is not strictly inside the project.
---@param project string directory
---@param path string relative to it
---@return string
function M.inside(project, path)
  local text = fs.normalize(path)
  if fs.is_absolute(text) or text == "." or text == ".." or text:sub(1, 3) == "../" or text:find "%z" then
    denied(path, "is not inside the project")
  end
  local root = fail.check(fs.realpath(project))
  local at = fs.join(project, fs.dirname(text))
  while not fs.exists(at) do at = fs.dirname(at) end
  local real = fail.check(fs.realpath(at))
  if root ~= "/" and not M.is_below(real, root) then
    denied(path, "leads out of the project through a symbolic link")
  end
  return text
end

--- Directory of an image, relative to the project.
---@param image table
---@return string
function M.image(image) return M.inside(image.project.dir, image.subpath) end

--- Directory of a version or matrix: strictly below its image, and not the templates.
---@param image table
---@param subpath string
---@return string
function M.version(image, subpath)
  local base = fs.normalize(image.subpath)
  local dir = M.inside(image.project.dir, base .. "/" .. subpath)
  if base ~= "." and (dir == base or not M.is_below(dir, base)) then
    denied(dir, "is not below the image's directory " .. base)
  end
  local templates = fs.normalize(base .. "/template")
  if M.is_below(dir, templates) or M.is_below(templates, dir) then
    denied(dir, "is the place of the image's templates")
  end
  return dir
end

--- Who else lives at or below a directory: names of images, versions and matrices with their
--- directory there, apart from `own` (an image, version or matrix).
---@param project table
---@param dir string relative to the project
---@param own table
---@return string[]
function M.tenants(project, dir, own)
  local out = {}
  for _, image in ipairs(project.images) do
    local base = fs.normalize(image.subpath)
    if image ~= own then
      if M.is_below(base, dir) then out[#out + 1] = "image " .. image.name end
      local subjects = table.move(image.versions, 1, #image.versions, 1, {})
      if image.matrix then subjects[#subjects + 1] = image.matrix end
      for _, v in ipairs(subjects) do
        if v ~= own and M.is_below(fs.normalize(base .. "/" .. v.subpath), dir) then
          out[#out + 1] = v == image.matrix and "the matrix of " .. image.name
            or ("version %s of %s"):format(v.name, image.name)
        end
      end
    end
  end
  return out
end

return M
