--- Everything of a project that can be found wrong without building: configuration, patterns, templates,
--- Containerfiles, goss files, recipes and resolvers. Nothing is written, nothing looked up outside; what one
--- part finds does not keep the others from being looked at.
local containerfile = require "bakery.containerfile"
local error_object = require "bakery.error"
local fs = require "bakery.fs"
local goss = require "bakery.goss"
local names = require "app.project.names"
local oci = require "bakery.oci"
local patterns = require "app.project.patterns"
local problems = require "app.project.problems"
local render = require "app.project.render"
local target_of = require "app.plan.target"
local template = require "bakery.template"

local M = {}

local MAX_FILE = 16 << 20
--- State of one check: problems in the order they were found, each once.
local Check = {}
Check.__index = Check

function Check:add(problem, level)
  if not error_object.is(problem) then problem = error_object.new { class = "build", message = tostring(problem) } end
  level = level or problem.level or "error"
  local id = level .. "\0" .. tostring(problem.where) .. "\0" .. tostring(problem.message)
  if self.seen[id] then return end
  self.seen[id] = true
  self.list[#self.list + 1] = { level = level, problem = problem }
end

function Check:add_all(list, level)
  for _, problem in ipairs(list or {}) do self:add(problem, level) end
end

-- How messages name a file of the project: as bakery.yaml, from the working directory when it is inside.
local function shown(dir, file)
  local cwd = fs.cwd()
  local path = fs.join(dir, file)
  local prefix = cwd == "/" and "/" or cwd .. "/"
  return path:sub(1, #prefix) == prefix and path:sub(#prefix + 1) or path
end

-- A problem in a file of the project, with its position when it has one.
local function in_file(dir, file, err)
  local path, where = fs.join(dir, file), shown(dir, file)
  if err.line then where = ("%s:%d:%d"):format(where, err.line, err.col or 1) end
  return error_object.new { class = "usage", code = err.code or "check", message = tostring(err.message), where = where,
    path = path, line = err.line, col = err.col, hint = err.hint, source = err.source }
end

-- --- bakery.yaml ----------------------------------------------------------------------------------

local function item_node(owner, index)
  local node = owner._node and owner._node.map.patterns
  return node and node.items and node.items[index] or owner._node
end

function Check:pattern_list(project, list)
  for _, entry in ipairs(list or {}) do
    for i, text in ipairs(entry.patterns) do
      local compiled, err = patterns.compile(text)
      if not compiled then
        local path = { up = { up = entry._path, key = "patterns" }, key = i }
        self:add(problems.at(project.source, item_node(entry, i), path, "config.tag_pattern", err.message))
      end
    end
  end
end

function Check:patterns(project)
  for _, image in ipairs(project.images) do
    self:pattern_list(project, image.tag_patterns)
    for _, variant in ipairs(image.variants) do self:pattern_list(project, variant.tag_patterns) end
    local name_pattern = image.matrix and image.matrix.name_pattern
    if name_pattern then
      local compiled, err = patterns.compile(name_pattern)
      if not compiled then
        self:add(problems.at(project.source, image.matrix._node.map.namePattern, { up = image.matrix._path,
          key = "namePattern" }, "config.name_pattern", err.message))
      end
    end
  end
end

local function needs_lookup(image) return image.matrix ~= nil and #image.matrix.dependency_constraints > 0 end

-- Targets of all images whose versions are known without asking anyone: duplicate ids, tags, patterns that fail.
function Check:targets(project)
  local images = {}
  for _, image in ipairs(project.images) do
    if not needs_lookup(image) then images[#images + 1] = image end
  end
  local part = setmetatable({ images = images, revision = function() end }, { __index = project })
  local targets, found = require("app.plan").targets(part, { matrix_versions = "include" },
    { env = function(name) return name ~= "SOURCE_DATE_EPOCH" and "-" or nil end })
  if not targets then return self:add(found) end
  self:add_all(found, "warning")
  local told = {}
  for _, target in ipairs(targets) do
    for _, tag in ipairs(target.tags) do
      local ref, err = oci.ref(tag)
      if not ref and not told[target.image] then
        told[target.image] = true
        self:add(problems.problem("check.tag", ("image %q cannot be pushed: %s"):format(target.image, err.message)))
      end
    end
  end
end

-- --- templates ------------------------------------------------------------------------------------

-- Versions to render, the most telling first: those whose failure is an error, then the others.
local function render_subjects(image)
  if image.matrix then return { { level = "error" } } end
  local out, any = {}, false
  for _, version in ipairs(image.versions) do any = any or version.latest end
  for _, version in ipairs(image.versions) do
    out[#out + 1] = { version = version, level = (version.latest or not any) and "error" or "warning" }
  end
  table.sort(out, function(a, b) return a.level < b.level end)
  return out
end

-- An error of rendering at its place in the template, whose name is relative to the template directory.
local function template_problem(project, image, err, version)
  local dir = names.tidy(image.subpath .. "/template")
  local name = tostring(err.where or ""):match "^(.-):%d+" or err.where or ""
  local file = dir .. "/" .. name
  local message = tostring(err.message):gsub("\n.*", "")
  message = message:gsub("^Error rendering template .-: ", "", 1)
  if version and err.code ~= "template.syntax" then message = message .. (" (rendering version %s)"):format(version.name) end
  if name == "" or not fs.is_file(fs.join(project.dir, file)) then
    return error_object.new { class = "usage", code = err.code, message = message, where = err.where, hint = err.hint }
  end
  return in_file(project.dir, file, { code = err.code, message = message, line = err.line, col = err.col, hint = err.hint })
end

function Check:templates(project)
  for _, image in ipairs(project.images) do
    if fs.is_dir(fs.join(project.dir, image.subpath, "template")) then
      local placed = {}
      for _, subject in ipairs(render_subjects(image)) do
        local files, errors = render.render(project, image, subject.version)
        for _, err in ipairs(files and {} or errors) do
          local problem = template_problem(project, image, err, subject.version)
          if not placed[problem.where or problem.message] then
            placed[problem.where or problem.message] = true
            self:add(problem, subject.level)
          end
        end
      end
    end
  end
end

-- --- Containerfiles and goss files ------------------------------------------------------------------

function Check:containerfile(dir, file, opts)
  local text, err = fs.read(fs.join(dir, file), MAX_FILE)
  if not text then return self:add(in_file(dir, file, err)) end
  local ast
  ast, err = containerfile.parse(text, { name = file })
  local plan
  if ast then plan, err = containerfile.stages(ast, opts) end
  if not plan then self:add(in_file(dir, file, err)) end
  for _, w in ipairs((plan or err).warnings or {}) do
    self:add(in_file(dir, file, { code = w.rule or "containerfile.warning", message = w.message, line = w.line or 1 }),
      "warning")
  end
end

function Check:goss(dir, file)
  local path = fs.join(dir, file)
  if not fs.is_file(path) then return end
  local text, err = fs.read(path, MAX_FILE)
  if text and text:find("{{", 1, true) then return end -- a Go template, which goss fills in when it runs
  local spec
  if text then spec, err = goss.parse(text, { name = file }) end
  if not spec then self:add(in_file(dir, file, err)) end
end

-- Containerfiles that an image's version (or matrix) is built from, with what is known of the build.
function Check:version_files(project, image, version, what)
  local dir = names.directory(image, version)
  local target = version.build_target
  if target == nil then target = image.build_target end
  for _, os_entry in ipairs(#version.os > 0 and version.os or { false }) do
    for _, variant in ipairs(#image.variants > 0 and image.variants or { false }) do
      local file = target_of.containerfile(dir, os_entry or nil, variant or nil)
      if self.files[file] then
        goto continue
      end
      self.files[file] = true
      if not fs.is_file(fs.join(project.dir, file)) then
        self:add(error_object.new { class = "usage", code = "check.no_containerfile", where = shown(project.dir, file),
          message = ("no such Containerfile (%s of %s)"):format(what, image.name),
          hint = fs.is_dir(fs.join(project.dir, image.subpath, "template"))
            and ("`bakery update files --image-name '^%s$'` renders it from the templates"):format(image.name) or nil })
      else
        local platform = os_entry and os_entry.platforms[1] or "linux/amd64"
        self:containerfile(project.dir, file, { target = target, platform = platform, build_platform = platform,
          every_stage = true })
      end
      ::continue::
    end
  end
  self:goss(project.dir, dir .. "/test/goss.yaml")
end

function Check:version_directories(project)
  for _, image in ipairs(project.images) do
    if image.matrix then
      self:version_files(project, image, image.matrix, "matrix")
    else
      for _, version in ipairs(image.versions) do self:version_files(project, image, version, "version " .. version.name) end
    end
  end
end

-- --- a project that cannot be loaded ------------------------------------------------------------------

-- Without the model: syntax of everything that looks like a template or a Containerfile.
function Check:loose_files(dir)
  local env = template.new { filters = patterns.filters, globals = patterns.globals }
  local found = fs.walk(dir, function(path, kind)
    local base = path:match "[^/]*$"
    return not (kind == "dir" and (base == ".git" or base == "node_modules"))
  end)
  for _, item in ipairs(found or {}) do
    local base = item.path:match "[^/]*$"
    local inside = ("/" .. item.path):find("/template/", 1, true) ~= nil
    local file = item.type == "file"
    if file and inside and render.is_template(item.path) then
      local text, err = fs.read(fs.join(dir, item.path), MAX_FILE)
      local ok
      if text then ok, err = env:compile(text, { name = item.path }) end
      if not ok then self:add(in_file(dir, item.path, err)) end
    elseif file and not inside and base:find "^Containerfile" and not render.is_template(base) then
      self:containerfile(dir, item.path, { every_stage = true })
    end
  end
  env:close()
end

-- --- recipes, resolvers -------------------------------------------------------------------------------

function Check:scripts(list, load)
  for _, item in ipairs(list) do
    local ok, err = pcall(load, item.name)
    if not ok then self:add(err) end
  end
end

--- Checks the project of a command line.
---@param values table parsed options (context)
---@return { level: "error"|"warning", problem: table }[] found
function M.run(values)
  local self = setmetatable({ list = {}, seen = {}, files = {} }, Check)
  local projects = require "app.project"
  local dir, file = projects.find(values.context or ".", { context = values.context ~= nil })
  if not dir then
    self:add(file)
    return self.list
  end
  local project, errors, warnings = projects.load(dir, { file = file })
  self:add_all(errors, "error")
  self:add_all(warnings, "warning")
  if project then
    local before = #self.list
    self:patterns(project)
    if #self.list == before then self:targets(project) end
    self:templates(project)
    self:version_directories(project)
  else
    self:loose_files(dir)
  end
  local recipe = require("app.recipe").setup(values)
  self:scripts(recipe.list(), recipe.load)
  local resolver = require("app.recipe").setup_resolvers(dir)
  self:scripts(resolver.list(), resolver.load)
  return self.list
end

return M
