--- `bakery dgoss run`, `bakery hadolint run` …: names that tools have elsewhere, for the recipes that do
--- their work here.
local deprecated = require "app.cli.deprecated"
local fail = require "app.fail"
local recipe_command = require "app.commands.recipe"

local M = {}

-- The first of the recipes that the project or bakery has.
local function available(command, args)
  local recipe = require("app.recipe").setup { context = recipe_command.context_of(args) }
  for _, name in ipairs(command.recipes) do
    if recipe.which(name)[1] then return name end
  end
end

--- Chooses the recipe and takes its options; called before the command line is parsed.
function M.prepare(command, args)
  local name = available(command, args)
  local path = command.path
  if command.deprecated then deprecated.command(path, command.deprecated, args) end
  if not name then
    local wanted = command.recipes[#command.recipes]
    fail.raise { class = "usage", code = "recipe",
      message = ("'bakery %s' needs a recipe '%s', and there is none"):format(path, wanted),
      hint = ("write recipes/%s.lua, see `bakery recipes list`"):format(wanted) }
  end
  local out = recipe_command.prepare({ name = command.name, path = path, recipe = name }, args)
  out.path = path
  return out
end

return M
