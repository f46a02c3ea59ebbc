--- `bakery update …`: rendered files brought up to date, versions renamed.
local arguments = require "app.edit.arguments"
local edit = require "app.edit"
local fail = require "app.fail"
local fs = require "bakery.fs"
local paths = require "app.edit.paths"
local regex = require "bakery.regex"
local version = require "bakery.version"

local M = {}

-- --- files -------------------------------------------------------------------------------------

local function pattern(option, text)
  local re, err = regex.compile(text)
  if re then return re end
  return fail.raise { class = "usage", code = "usage", message = ("option '--%s': %s"):format(option, err.message) }
end

-- What is rendered: every version that the filters take, and the matrix of every image they take.
local function subjects(project, values)
  local name = values.image_name and pattern("image-name", values.image_name)
  for _, text in ipairs(values.template_pattern or {}) do pattern("template-pattern", text) end
  local out = {}
  for _, image in ipairs(project.images) do
    if not name or name:search(image.name) then
      for _, v in ipairs(image.versions) do
        local filter = values.image_version
        if not filter or version.matches_filter(v.name, filter) then out[#out + 1] = { image, v } end
      end
      if image.matrix then out[#out + 1] = { image } end
    end
  end
  return out
end

-- Renders all of them; problems of all are collected.
local function render(e, list, values)
  local errors = {}
  for _, subject in ipairs(list) do
    local image, v = subject[1], subject[2]
    paths.version(image, (v or image.matrix).subpath)
    local ok, result = pcall(e.render, e, image, v, { patterns = values.template_pattern })
    if not ok then
      if type(result) ~= "table" or result.code ~= "render" then error(result, 0) end
      for _, err in ipairs(result.errors) do errors[#errors + 1] = err end
    elseif values.verbose then
      for _, note in ipairs(result) do e:say(note) end
    end
  end
  if #errors > 0 then
    error({ class = "build", code = "render", errors = errors, message = errors[1].message }, 0)
  end
end

local function check(e, values)
  local list = e.changes:list()
  if values.diff and not values.json then io.stdout:write(e.changes:diff()) end
  if values.json then
    local json = require "bakery.json"
    io.stdout:write(json.encode(json.object { { "apiVersion", 1 }, { "command", "update files" },
      { "current", #list == 0 }, { "changes", e.changes:data() } }, { indent = 2 }), "\n")
  end
  if #list == 0 then
    e:say("✅ Rendered files are up to date")
    return 0
  end
  for _, c in ipairs(list) do
    io.stderr:write(c.action == "create" and "missing      " or "out of date  ", c.path, "\n")
  end
  fail.raise { class = "drift", code = "drift", message = ("%s out of date"):format(
    #list == 1 and "1 rendered file is" or #list .. " rendered files are"),
    hint = "bakery update files renders them anew" }
end

function M.files(values)
  local function failed(err)
    if not values.check then return "Update failed" end
    return type(err) == "table" and err.class == "drift" and "Rendered files are out of date" or "Check failed"
  end
  return edit.guard(values, failed, function()
    if values.check then values.dry_run = true end
    local e = edit.open(values, "update files")
    e:warn()
    local list = subjects(e.project, values)
    render(e, list, values)
    if values.check then return check(e, values) end
    local total = #e.changes.order
    return e:finish("Files updated successfully", { { "rendered", total } }, { note = ("%s of %d versions rendered, %d %s")
      :format(edit.count(total), #list, #e.changes:list(), values.dry_run and "would change" or "changed") })
  end)
end

-- --- version -----------------------------------------------------------------------------------

local function target(image, values)
  if values.target_version then return edit.version(image, values.target_version) end
  for i, v in ipairs(image.versions) do if v.latest then return v, i end end
  return fail.raise { class = "build", code = "unknown_version",
    message = ("no version of image '%s' is marked latest"):format(image.name),
    hint = "--target-version says which one is to be updated" }
end

-- The files of the old version: removed, moved along, or left for others that use them.
local function old_files(e, image, old, to, clean)
  local from = paths.version(image, old.subpath)
  local others = paths.tenants(e.project, from, old)
  if #others > 0 then
    e:say(("warning: %s stays as it is: it is also the directory of %s"):format(from, table.concat(others, ", ")))
  elseif clean then e.changes:remove(from)
  elseif from ~= to and fs.exists(fs.join(e.project.dir, from)) then e.changes:move(from, to) end
end

function M.version(values)
  local image_name, name = values[1], values[2]
  return edit.guard(values, ("Failed to update version for '%s' to '%s'"):format(image_name, name), function()
    local errors = {}
    local pairs_ = arguments.pairs(values.value, errors)
    arguments.check(errors)
    edit.name("version", name)
    local e = edit.open(values, "update version")
    local image = e:image(image_name)
    local old, index = target(image, values)
    for _, v in ipairs(image.versions) do
      if v.name == name then
        fail.raise { class = "build", code = "exists",
          message = ("version '%s' already exists for image '%s'"):format(name, image_name) }
      end
    end
    e.document:set_version(image, index, { { "name", name } })
    e.document:set_values(image, index, pairs_)
    local now = e:reload():image(image_name)
    local made = edit.version(now, name)
    local to = paths.version(now, made.subpath)
    old_files(e, image, old, to, values.clean)
    e:render(now, made)
    return e:finish(("Successfully updated '%s' from '%s' to '%s'"):format(image_name, old.name, name),
      { { "image", image_name }, { "from", old.name }, { "version", name }, { "path", to } })
  end)
end

return M
