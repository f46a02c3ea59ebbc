--- `bakery create …`: new projects, images, versions and matrices.
local arguments = require "app.edit.arguments"
local constraints = require "app.project.constraints"
local edit = require "app.edit"
local entry = require "app.edit.entry"
local fail = require "app.fail"
local fs = require "bakery.fs"
local names = require "app.project.names"
local paths = require "app.edit.paths"
local session = require "app.session"
local shipped = require "app.shipped"
local url = require "app.project.url"

local M = {}

-- --- project -----------------------------------------------------------------------------------

local PLACEHOLDER = "<REPLACE ME>"

--- A remote's address as the repository URL of bakery.yaml: without scheme, credentials and `.git`.
---@param remote string|nil
---@return string|nil
function M.repository_url(remote)
  if not remote or remote == "" then return nil end
  local text = remote:gsub("/+$", ""):gsub("%.git$", "")
  local host, path = text:match "^[%w._-]+@([^:/]+):(.+)$" -- the scp form of ssh
  if host then return host .. "/" .. path end
  local scheme, rest = text:match "^(%a[%w+.-]*)://(.*)$"
  if not scheme then return text end
  rest = rest:gsub("^[^/@]*@", "")
  return scheme == "https" and rest or scheme .. "://" .. rest
end

function M.project(values)
  local context = values.context or "."
  return edit.guard(values, "Failed to create a project", function()
    local dir = fail.check(fs.realpath(context))
    local projects = require "app.project"
    local known = projects.find(dir, { context = true })
    if known then
      session.project { context = dir, quiet = true } -- says what is wrong with a broken one
      fail.raise { class = "build", code = "exists", message = ("Project already exists in '%s'"):format(dir) }
    end
    local address = values.url or M.repository_url(require("app.project.git").remote(dir))
    local text = shipped.render("create/bakery.yaml.j2", { url = address or PLACEHOLDER,
      vendor = values.vendor, maintainer = values.maintainer, registry = values.registry })
    if address then -- options may be wrong
      local project, errors = projects.parse(text, { name = "bakery.yaml" })
      if not project then error({ class = "usage", errors = errors, message = errors[1].message }, 0) end
    end
    if values.dry_run then
      io.stdout:write(text)
      edit.say(values, "dry run: nothing was written")
      return 0
    end
    fail.check(fs.write(fs.join(dir, "bakery.yaml"), text))
    edit.say(values, ("✅ Project initialized in '%s'"):format(dir))
    if not address then
      edit.say(values, ("no git remote was found: replace %s in bakery.yaml with the repository's address"):format(
        PLACEHOLDER))
    end
    return 0
  end)
end

-- --- image -------------------------------------------------------------------------------------

local function has_containerfile(dir)
  for _, name in ipairs(fs.list(dir) or {}) do
    if name:find "^Containerfile" and name:find "%.jinja2$" then return true end
  end
end

local function skeleton(e, dir, values)
  local templates = dir .. "/template"
  local full = fs.join(e.project.dir, templates)
  if not has_containerfile(full) then
    e.changes:put(templates .. "/Containerfile.jinja2",
      shipped.render("create/Containerfile.j2", { base = values.base_image }))
  end
  for _, name in ipairs { "test/goss.yaml.jinja2", "deps/packages.txt.jinja2" } do
    if not fs.exists(fs.join(full, name)) then e.changes:put(templates .. "/" .. name, "") end
  end
end

local function documentation_url(text)
  if not text then return nil end
  local canonical, reason = url.canonical(text)
  if canonical then return canonical end
  return fail.raise { class = "build", code = "edit.argument",
    message = ("--documentation-url: %q is not an http(s) URL: %s"):format(text, reason) }
end

function M.image(values)
  local name = values[1]
  return edit.guard(values, ("Failed to create image '%s'"):format(name), function()
    edit.name("image", name)
    local e = edit.open(values, "create image")
    if e.project:image(name) then
      fail.raise { class = "build", code = "exists", message = ("image '%s' already exists"):format(name) }
    end
    local value = entry.object { { "name", name }, { "displayName", values.display_name },
      { "description", values.description }, { "documentationUrl", documentation_url(values.documentation_url) },
      { "subpath", values.subpath } }
    local dir = paths.inside(e.project.dir, values.subpath or names.subpath(name))
    e.document:add_image(value)
    e:reload()
    skeleton(e, dir, values)
    return e:finish(("Successfully created image '%s'"):format(name), { { "image", name }, { "path", dir } })
  end)
end

-- --- version -----------------------------------------------------------------------------------

--- Dependencies of an image pinned to what its constraints give now.
---@param image table
---@param values table parsed options
---@return table[] { dependency=, versions= }
local function pinned(image, values)
  local out = {}
  local resolver = session.resolver(values, image.project)
  for i, constraint in ipairs(image.dependency_constraints) do
    local versions, err = constraints.resolve(constraint, resolver)
    out[i] = { dependency = constraint.dependency, versions = versions or fail.raise(constraints.located(image.project.source, constraint, err)) }
  end
  return out
end

-- The last version marked latest that names operating systems lends them.
local function model_version(image)
  local found
  for _, v in ipairs(image.versions) do if v.latest and #v.os > 0 then found = v end end
  return found
end

local function tell_shared(e, dir, own)
  local others = paths.tenants(e.project, dir, own)
  if #others > 0 then
    e:say(("warning: %s is also the directory of %s"):format(dir, table.concat(others, ", ")))
  end
  return #others > 0
end

local function add(e, image, values, pairs_)
  local name, model = values[2], model_version(image)
  local dependencies = pinned(image, values)
  for _, d in ipairs(dependencies) do
    e:say(("%s: %s"):format(d.dependency, table.concat(d.versions, ", ")))
  end
  local dir = paths.version(image, values.subpath or names.subpath(name))
  tell_shared(e, dir)
  if values.mark_latest then e.document:unmark_others(image) end
  e.document:add_version(image, entry.object { { "name", name }, { "subpath", values.subpath },
    { "latest", values.mark_latest or nil }, { "os", entry.os(model and model.os) },
    { "dependencies", entry.dependencies(dependencies) }, { "values", entry.values(pairs_) } })
end

-- An existing version: only latest, subpath and values change.
local function replace(e, image, old, index, values, pairs_)
  if values.mark_latest then e.document:unmark_others(image, index) end
  local members = {}
  if values.mark_latest and not old.latest then members[1] = { "latest", true } end
  if values.subpath and values.subpath ~= old.subpath then
    local from, to = paths.version(image, old.subpath), paths.version(image, values.subpath)
    local shared = tell_shared(e, from, old)
    tell_shared(e, to, old)
    if not shared and fs.exists(fs.join(e.project.dir, from)) and from ~= to then e.changes:move(from, to) end
    members[#members + 1] = { "subpath", values.subpath }
  end
  members[#members + 1] = #pairs_ > 0 and { "values", entry.values(pairs_) } or nil
  e.document:set_version(image, index, members)
end

local function find_version(image, name)
  for i, v in ipairs(image.versions) do if v.name == name then return v, i end end
end

-- Markdown on two directories; a comparison that cannot be made does not fail the command.
local function compared(e, image, old, new)
  local before = e.changes:after(old)
  if next(before) then return require("app.edit.report").markdown(image.name, before, e.changes:after(new)) end
  e:say(("warning: %s has no files to compare with"):format(old))
end

function M.version(values)
  local image_name, name = values[1], values[2]
  local full = image_name .. "/" .. name
  return edit.guard(values, ("Failed to create version '%s'"):format(full), function()
    local errors = {}
    local pairs_ = arguments.pairs(values.value, errors)
    arguments.check(errors)
    edit.name("version", name)
    local e = edit.open(values, "create version")
    local image = e:image(image_name)
    if image.matrix then
      fail.raise { class = "build", code = "edit.matrix",
        message = ("image '%s' has a matrix, its versions are made from it"):format(image_name) }
    end
    local against = values.diff_against and edit.version(image, values.diff_against)
    local old, index = find_version(image, name)
    if old and not values.force then
      fail.raise { class = "build", code = "exists",
        message = ("version '%s' already exists for image '%s'"):format(name, image_name),
        hint = "--force renders it again with the given values" }
    end
    if old then replace(e, image, old, index, values, pairs_) else add(e, image, values, pairs_) end
    local project = e:reload()
    local now = project:image(image_name)
    local version = edit.version(now, name)
    e:render(now, version)
    local report = against and function()
      return compared(e, image, paths.version(image, against.subpath), paths.version(now, version.subpath))
    end
    return e:finish(("Successfully created version '%s'"):format(full), { { "image", image_name },
      { "version", name }, { "latest", version.latest }, { "path", paths.version(now, version.subpath) } },
      { report = report })
  end)
end

-- --- matrix ------------------------------------------------------------------------------------

local function check_matrix(image, values)
  local function no(message, hint) fail.raise { class = "build", code = "edit.matrix", message = message, hint = hint } end
  if #image.versions > 0 then
    no(("image '%s' has versions; it can have those or a matrix"):format(image.name), "bakery remove version removes one")
  end
  if #image.dev_versions > 0 then
    no(("image '%s' has devVersions; it can have those or a new matrix"):format(image.name))
  end
  if image.matrix and not values.force then
    no(("image '%s' already has a matrix"):format(image.name), "--force replaces it")
  end
end

function M.matrix(values)
  local name = values[1]
  return edit.guard(values, ("Failed to create matrix for image '%s'"):format(name), function()
    local errors = {}
    local limits = arguments.constraints(values.dependency_constraint, errors)
    local fixed = arguments.dependencies(values.dependency, errors)
    local pairs_ = arguments.pairs(values.value, errors)
    arguments.check(errors)
    local e = edit.open(values, "create matrix")
    local image = e:image(name)
    check_matrix(image, values)
    if #limits == 0 and #fixed == 0 and #pairs_ == 0 then
      fail.raise { class = "build", code = "edit.argument", message = "a matrix needs dependencies or values",
        hint = "give --dependency, --dependency-constraint or --value" }
    end
    local members = {}
    local old = image.matrix
    local subpath = values.subpath or old and old.subpath or "matrix"
    if values.subpath then members[1] = { "subpath", values.subpath } end
    members[#members + 1] = { "dependencyConstraints", entry.constraints(limits) or false }
    members[#members + 1] = { "dependencies", entry.dependencies(fixed) or false }
    members[#members + 1] = { "values", entry.values(pairs_) or false }
    if values.name_pattern then members[#members + 1] = { "namePattern", values.name_pattern } end
    local to = paths.version(image, subpath)
    if old and old.subpath ~= subpath then
      local from = paths.version(image, old.subpath)
      if fs.exists(fs.join(e.project.dir, from)) then e.changes:move(from, to) end
    end
    e.document:set_matrix(image, members)
    local project = e:reload()
    e:render(project:image(name), nil)
    local code = e:finish(("Successfully created matrix for image '%s'"):format(name), { { "image", name },
      { "path", to } })
    e:say("adjust the templates and the matrix's list of operating systems before you build it")
    return code
  end)
end

return M
