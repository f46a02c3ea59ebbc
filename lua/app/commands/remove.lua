--- `bakery remove …`: images, versions and matrices with their files.
local document = require "app.edit.document"
local edit = require "app.edit"
local paths = require "app.edit.paths"
local fs = require "bakery.fs"

local M = {}

-- Takes a directory away, unless somebody else lives there as well.
local function drop(e, dir, own)
  if not fs.exists(fs.join(e.project.dir, dir)) then return end
  local others = paths.tenants(e.project, dir, own)
  if #others > 0 then
    e:say(("warning: the files in %s stay: it is also the directory of %s"):format(dir, table.concat(others, ", ")))
    return
  end
  e.changes:remove(dir)
end

local function plan(e, what, dir)
  e:confirm(("%s: %s in %s and its entry in %s"):format(what, edit.count(#e.changes:list()), dir,
    e.changes:document_name()))
end

function M.image(values)
  local name = values[1]
  return edit.guard(values, ("Failed to remove image '%s'"):format(name), function()
    local e = edit.open(values, "remove image")
    local image = e:image(name)
    local dir = paths.image(image)
    drop(e, dir, image)
    e.document:remove_image(image)
    e:reload()
    plan(e, ("Remove image '%s'"):format(name), dir)
    return e:finish(("Successfully removed image '%s'"):format(name), { { "image", name }, { "path", dir } })
  end)
end

-- The newest version that is left becomes latest when the one that goes was the only latest.
local function promoted(image, gone, values)
  if not gone.latest or values.promote == false then return nil end
  local best, index
  for i, v in ipairs(image.versions) do
    if v ~= gone then
      if v.latest then return nil end
      if not best or document.compare(v.name, best.name) > 0 then best, index = v, i end
    end
  end
  return best, index
end

function M.version(values)
  local image_name, name = values[1], values[2]
  return edit.guard(values, ("Failed to remove version '%s' from image '%s'"):format(name, image_name), function()
    local e = edit.open(values, "remove version")
    local image = e:image(image_name)
    local version, index = edit.version(image, name)
    local dir = paths.version(image, version.subpath)
    drop(e, dir, version)
    local next_latest, next_index = promoted(image, version, values)
    if next_latest then e.document:mark(image, next_index) end
    e.document:remove_version(image, index)
    e:reload()
    plan(e, ("Remove version '%s' of image '%s'"):format(name, image_name), dir)
    local code = e:finish(("Successfully removed version '%s' from image '%s'"):format(name, image_name),
      { { "image", image_name }, { "version", name }, { "path", dir },
        { "latest", next_latest and next_latest.name or nil } })
    if next_latest then e:say(("'%s' %s latest"):format(next_latest.name, values.dry_run and "would be" or "is now"))
    elseif version.latest and #image.versions > 1 and values.promote == false then
      e:say(("no version of '%s' is marked latest now"):format(image_name))
    end
    return code
  end)
end

function M.matrix(values)
  local name = values[1]
  return edit.guard(values, ("Failed to remove the matrix of image '%s'"):format(name), function()
    local e = edit.open(values, "remove matrix")
    local image = e:image(name)
    if not image.matrix then
      require("app.fail").raise { class = "build", code = "unknown_version",
        message = ("image '%s' has no matrix"):format(name) }
    end
    local dir = paths.version(image, image.matrix.subpath)
    drop(e, dir, image.matrix)
    e.document:remove_matrix(image)
    e:reload()
    plan(e, ("Remove the matrix of image '%s'"):format(name), dir)
    return e:finish(("Successfully removed the matrix of image '%s'"):format(name), { { "image", name },
      { "path", dir } })
  end)
end

return M
