--- The project: bakery.yaml found, validated and linked into a model.
--- A project: {dir, file, repository, registries, images}; an image knows its project, a version
--- its image. Member names are the keys of bakery.yaml in snake case.
local fs = require "bakery.fs"
local model = require "app.project.model"
local problems = require "app.project.problems"
local schema = require "app.project.schema"
local validate = require "app.project.validate"
local yaml = require "bakery.yaml"

local M = {}

M.FILES = { "bakery.yaml", "bakery.yml" }

local function file_in(dir)
  for _, name in ipairs(M.FILES) do
    local path = fs.join(dir, name)
    if fs.is_file(path) then return path end
  end
end

--- Finds the project. An explicit context is taken exactly; otherwise parents are searched too.
---@param start_dir string|nil default: the working directory
---@param opts {context: boolean|nil}|nil context: start_dir was given explicitly and is exact
---@return string|nil dir
---@return string|table file_or_err
function M.find(start_dir, opts)
  local context = opts and opts.context
  local dir = fs.realpath(start_dir or ".")
  if not dir or not fs.is_dir(dir) then
    return nil, problems.problem("config.context", ("'%s' is not a directory"):format(start_dir))
  end
  local first = dir
  while true do
    local file = file_in(dir)
    if file then return dir, file end
    local parent = fs.dirname(dir)
    if context or parent == dir then break end
    dir = parent
  end
  return nil, problems.problem("config.not_found",
    ("no bakery.yaml in '%s'%s"):format(first, context and "" or " or a directory above"),
    { hint = "bakery create project makes one" })
end

-- How messages name the file: relative to the working directory when it is inside.
local function display_name(file)
  local cwd = fs.cwd()
  local prefix = cwd and (cwd == "/" and "/" or cwd .. "/")
  if prefix and file:sub(1, #prefix) == prefix then return file:sub(#prefix + 1) end
  return file
end

--- Validates the text of a bakery.yaml.
---@param text string
---@param opts {name: string|nil, dir: string|nil, file: string|nil}|nil
---@return table|nil project
---@return table[]|nil errors
---@return table[] warnings
function M.parse(text, opts)
  opts = opts or {}
  local name = opts.name or "bakery.yaml"
  local doc, err = yaml.parse(text, { name = name })
  if not doc then
    err.class, err.path = "usage", opts.file
    return nil, problems.list { err }, problems.list()
  end
  local ctx = problems.new(name, opts.file)
  local root = doc:root()
  if not root or validate.is_null(root) then
    root = { kind = "map", keys = {}, map = {}, line = 1, col = 1 }
  end
  local value = validate.value(schema.ROOT, root, {}, ctx)
  ctx:sort()
  if #ctx.errors > 0 then return nil, ctx.errors, ctx.warnings end
  local project = model.link(value, { dir = opts.dir or ".", file = opts.file, source = ctx.file })
  project.notes = ctx.notes
  return project, nil, ctx.warnings
end

--- Loads and validates the project of a directory.
---@param dir string
---@param opts {file: string|nil, name: string|nil, text: string|nil}|nil text: instead of the file's
---@return table|nil project
---@return table[]|nil errors all of them
---@return table[] warnings
function M.load(dir, opts)
  opts = opts or {}
  local file = opts.file or file_in(dir)
  if not file then
    return nil, problems.list { problems.problem("config.not_found",
      ("no bakery.yaml in '%s'"):format(dir), { hint = "bakery create project makes one" }) },
      problems.list()
  end
  local text, err = opts.text, nil
  if not text then text, err = fs.read(file) end
  if not text then return nil, problems.list { err }, problems.list() end
  return M.parse(text, { dir = dir, file = file, name = opts.name or display_name(file) })
end

--- Renders the template files of a version or matrix.
---@see app.project.render
function M.render(...)
  return require("app.project.render").render(...)
end

return M
