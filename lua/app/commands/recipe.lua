--- `bakery recipe NAME`, and `build`, `test`, `publish` as its short forms.
local options = require "app.cli.options"
local fail = require "app.fail"

local M = {}

-- Common options whose value is the next word: they may stand in front of the recipe's name.
local takes_value = {}
for _, o in ipairs(options.common) do
  if o.type ~= "flag" then
    takes_value["--" .. o.name] = true
    if o.short then takes_value["-" .. o.short] = true end
  end
end

-- The recipe's name: fixed for the short forms, else the first word that is no option.
local function recipe_name(command, args)
  if command.recipe then return command.recipe end
  local i = 1
  while args[i] do
    local a = args[i]
    if a:sub(1, 1) ~= "-" then return a, i end
    i = i + (takes_value[a] and 2 or 1)
  end
end

--- Value of --context in an unparsed command line.
---@param args string[]
---@return string|nil
function M.context_of(args)
  for i, a in ipairs(args) do
    if a == "-C" or a == "--context" then return args[i + 1] end
    local v = a:match("^%-%-context=(.*)$")
    if v then return v end
  end
end

--- Options of the engine itself, for every recipe.
local engine_options = {
  { name = "backend", type = "string", metavar = "NAME", env = "BAKERY_BACKEND", default = "embedded",
    complete = "backend", help = "what builds: embedded, buildx, or NAME.lua of .bakery/backends/" },
  { name = "jobs", short = "j", type = "int", min = 1, env = "BAKERY_MAX_CONCURRENCY", lenient_env = true,
    help = "steps that run at the same time [default: number of processors]" },
  { name = "arg", type = "pairs", metavar = "K=V", help = "argument for the recipe (ctx.arg.K; repeatable)" },
  { name = "results", type = "string", metavar = "FILE", complete = "file",
    help = "write the results document here as well" },
}
for _, o in ipairs(engine_options) do o.group = "Engine" end

--- Loads the recipe and fills in its options; called before the command line is parsed.
function M.prepare(command, args)
  local name, at = recipe_name(command, args)
  if not command.recipe and not name then
    for _, a in ipairs(args) do
      if a == "--help" or a == "-h" then return command end
    end
    fail.raise { class = "usage", code = "usage", message = "bakery recipe: the recipe's name must come first",
      hint = "usage: bakery recipe NAME [options]" }
  end
  if at then table.remove(args, at) end
  local recipe = require("app.recipe").setup { context = M.context_of(args) }
  local def = recipe.load(name)
  local declared = {}
  for i, o in ipairs(def.options) do
    local copy = { group = "Options" }
    for k, v in pairs(o) do copy[k] = v end
    copy.type = o.type or "string"
    declared[i] = copy
  end
  local path = command.recipe and command.path or "recipe " .. name
  return { name = command.name, path = path, summary = def.summary, description = def.description, run = M.run,
    definition = def, options = options.join(options.join(declared, options.selection), engine_options) }
end

function M.run(values, command)
  local recipe = require "bakery.recipe"
  local context = require("app.context").open(values, command.definition)
  local ok, err = pcall(recipe.run, command.definition, context)
  local code = context:close(ok and nil or err)
  if not ok then error(err, 0) end
  return code
end

return M
