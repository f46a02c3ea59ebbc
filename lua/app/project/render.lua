--- Template files of an image rendered for one of its versions, or for its matrix. Nothing is
--- written here: the result is a list of files.
local fs = require "bakery.fs"
local json = require "bakery.json"
local macros = require "app.project.macros"
local names = require "app.project.names"
local patterns = require "app.project.patterns"
local problems = require "app.project.problems"
local regex = require "bakery.regex"
local template = require "bakery.template"

local M = {}

local SUFFIXES = { ".jinja2", ".jinja", ".j2" }
M.MAX_FILE = 16 * 1024 * 1024

--- Trailing blanks of lines go, and all but one newline at the end.
---@param text string
---@return string
function M.normalise(text)
  text = text:gsub("[ \t]+\n", "\n"):gsub("[ \t]+$", "")
  if text == "" then return text end
  return text:gsub("\n+$", "") .. "\n"
end

--- Whether a file of a template directory is rendered, not copied.
---@param path string
---@return boolean
function M.is_template(path)
  for _, suffix in ipairs(SUFFIXES) do
    if path:sub(-#suffix) == suffix then return true end
  end
  return false
end

local function without_suffix(path)
  return (path:gsub("%.jinja2$", ""))
end

local function file_error(message, where)
  return problems.problem("render.file", message, { where = where })
end

-- All files below the template directory, sorted; a link that leads out of it is refused.
local function source_files(root)
  local real_root, err = fs.realpath(root)
  if not real_root then return nil, err end
  local found
  found, err = fs.walk(root)
  if not found then return nil, err end
  local out = {}
  for _, item in ipairs(found) do
    local path = fs.is_absolute(item.path) and fs.relative(item.path, root) or item.path
    local full = fs.join(root, path)
    if item.type == "symlink" or item.type == "link" then
      local real = fs.realpath(full)
      if not real or real:sub(1, #real_root + 1) ~= real_root .. "/" then
        return nil, file_error(("'%s' links to a file outside the template directory"):format(path),
          full)
      end
      if fs.is_file(real) then out[#out + 1] = path end
    elseif item.type == "file" then
      out[#out + 1] = path
    end
  end
  table.sort(out)
  return out
end

local function matchers(list)
  local out = {}
  for i, pattern in ipairs(list or {}) do
    local re, err = regex.compile(pattern)
    if not re then
      return nil, problems.problem("render.filter",
        ("template pattern %q: %s"):format(pattern, err.message or tostring(err)))
    end
    out[i] = re
  end
  return out
end

local function wanted(filters, path)
  if #filters == 0 then return true end
  for _, re in ipairs(filters) do
    if re:match(path) then return true end
  end
  return false
end

local function base_vars(image, version, dir)
  local path = json.object { { "Base", "." }, { "Image", names.tidy(image.subpath) }, { "Version", dir } }
  if not version then
    return { Image = json.object { { "Name", image.name }, { "DisplayName", image.display_name } },
      Path = path }
  end
  local vars = {
    Image = json.object { { "Name", image.name }, { "DisplayName", image.display_name },
      { "Version", version.name }, { "IsDevelopmentVersion", version.is_dev == true } },
    Path = path,
    Dependencies = json.object(),
  }
  for _, entry in ipairs(version.dependencies) do
    vars.Dependencies[entry.dependency] = template.list(table.move(entry.versions, 1,
      #entry.versions, 1, {}))
  end
  for _, key in ipairs(version.values.keys) do vars[key] = version.values.values[key] end
  return vars
end

-- Variables of a root Containerfile template: the variant, and the OS whose extension it names.
local function containerfile_vars(vars, variant, os_entry)
  if type(vars.Image) ~= "table" then return vars end
  local image = json.object()
  for key, value in json.pairs(vars.Image) do image[key] = value end
  image.Variant = variant.name
  if os_entry then
    local build_os = os_entry.build_os
    image.OS = json.object { { "Name", build_os.name }, { "Family", build_os.family },
      { "Version", build_os.version }, { "Codename", build_os.codename or json.null } }
    image.DownloadURL = os_entry.artifact_download_url
  end
  local out = {}
  for key, value in pairs(vars) do out[key] = value end
  out.Image = image
  return out
end

local function os_of(list, base)
  local piece = base:match("([^.]*)$")
  for _, os_entry in ipairs(list) do
    if os_entry.extension == piece then return os_entry, piece end
  end
  return nil, piece
end

-- What is to be rendered from one template: {path, vars, variant, os}; an empty list skips it.
local function outputs(image, version, os_list, path, vars)
  if not path:find("^Containerfile") or #image.variants == 0 then
    return { { path = without_suffix(path), vars = vars } }
  end
  local base = without_suffix(path)
  local os_entry, piece = os_of(os_list, base)
  if version and #os_list > 0 and piece ~= "Containerfile" and not os_entry then return {} end
  local out = {}
  for i, variant in ipairs(image.variants) do
    out[i] = {
      path = base .. "." .. variant.extension,
      vars = containerfile_vars(vars, variant, os_entry),
      variant = variant,
    }
  end
  return out
end

local function environment(root)
  return template.new {
    undefined = "strict",
    keep_trailing_newline = true,
    filters = patterns.filters,
    globals = patterns.globals,
    loader = function(name)
      local path = fs.normalize(name)
      if not path:find("^%.%./") and path ~= ".." and not fs.is_absolute(path) then
        local full = fs.join(root, path)
        if fs.is_file(full) then return fs.read(full, M.MAX_FILE) end
      end
      return macros.read(name)
    end,
  }
end

-- An error of a template with what was being rendered; `source` is relative to the project.
local function render_error(err, run, variant, source, destination)
  local line = err.line or tonumber(tostring(err.where or ""):match(":(%d+):?%d*$"))
  local text = { ("Error rendering template %s%s: %s"):format(source,
    line and (", line %d"):format(line) or "", err.message or tostring(err)) }
  local function bullet(name, value) text[#text + 1] = ("  - %s: %s"):format(name, value) end
  bullet("Image", run.image.name)
  bullet("Version", run.version and run.version.name or "matrix")
  if variant then bullet("Variant", variant.name) end
  bullet("Destination", destination)
  -- The engine knows names below the template directory; people want paths of the project.
  local where, file = err.where, tostring(err.where or ""):match "^(.-):%d"
  if file and fs.is_file(fs.join(run.root, file)) then
    where = names.tidy(run.image.subpath .. "/template/") .. "/" .. where
  end
  local value = tostring(err.message):match "^'([%a_][%w_]*)' is undefined$"
  return problems.problem(err.code or "template.error", table.concat(text, "\n"), {
    where = where,
    line = err.line,
    col = err.col,
    stack = err.stack,
    hint = err.hint or value and ("a version's `values:` define such names; `create version` takes --value %s=…"):format(value),
  })
end

-- One run: what is rendered, with what, and what came of it.
local Run = {}
Run.__index = Run

function Run:fail(err, variant, path, destination)
  local source = names.tidy(self.image.subpath .. "/template/" .. path)
  self.errors[#self.errors + 1] = render_error(err, self, variant, source, destination)
end

function Run:add(path, text, mode, copy)
  self.files[#self.files + 1] = { path = names.tidy(self.dir .. "/" .. path), text = text, mode = mode,
    copy = copy }
end

-- Renders one template for every variant that it concerns.
function Run:template(path, text, mode)
  local compiled, err = self.env:compile(text:gsub("\r\n?", "\n"), { name = path })
  if not compiled then return self:fail(err, nil, path, self.dir) end
  local list = outputs(self.image, self.version, self.os, path, self.vars)
  if #list == 0 then
    self.notes[#self.notes + 1] = ("%s: no such operating system in %s %s, skipped"):format(path,
      self.image.name, self.version and self.version.name or "matrix")
  end
  for _, item in ipairs(list) do
    local out
    out, err = compiled:render(item.vars)
    if out then
      self:add(item.path, M.normalise(out), mode)
    else
      self:fail(err, item.variant, path, names.tidy(self.dir .. "/" .. item.path))
    end
  end
end

function Run:file(path)
  local full = fs.join(self.root, path)
  local text, err = fs.read(full, M.MAX_FILE)
  if not text then return nil, err end
  local stat
  stat, err = fs.stat(full, true)
  if not stat then return nil, err end
  if M.is_template(path) then
    self:template(path, text, stat.mode & 511)
  else
    self:add(path, text, stat.mode & 511, full)
  end
  return true
end

---@class app.project.render_options
---@field patterns string[]|nil regular expressions that match at the start of a template's path

--- Renders the templates of an image for a version, or for its matrix when version is nil.
---@param project table
---@param image table
---@param version table|nil
---@param opts app.project.render_options|nil
---@return table[]|nil files {path=relative to the project, text=, mode=, copy=source file|nil}
---@return table[] err_or_notes list of all errors, or notes about skipped templates
---@return table[]|nil good with errors: the files that could be rendered
function M.render(project, image, version, opts)
  local root = fs.join(project.dir, image.subpath, "template")
  if not fs.is_dir(root) then
    return nil, problems.list {
      problems.problem("render.file", ("image %q has no template directory"):format(image.name), { where = root,
        hint = "`bakery create image` makes one; without it, write the version's Containerfile and its entry by hand" }) }
  end
  local filters, err = matchers(opts and opts.patterns)
  if not filters then return nil, problems.list { err } end
  local sources
  sources, err = source_files(root)
  if not sources then return nil, problems.list { err } end
  local subject = version or image.matrix
  local dir = names.directory(image, subject)
  local run = setmetatable({ root = root, dir = dir, image = image, version = version,
    os = subject.os, env = environment(root), vars = base_vars(image, version, dir), files = {},
    notes = {}, errors = problems.list() }, Run)
  for _, path in ipairs(sources) do
    local ok = true
    if wanted(filters, path) then ok, err = run:file(path) end
    if not ok then return nil, problems.list { err } end
  end
  if #run.errors > 0 then return nil, run.errors, run.files end
  return run.files, run.notes
end

return M
