--- Recipes of this invocation: where they are searched, and the context their steps get.
local config = require "app.config"
local fs = require "bakery.fs"
local host = require "app.host"
local recipe = require "bakery.recipe"

local M = {}

--- Where scripts of a kind are: in the project, in directories it names, in the user's configuration.
---@param inside string|string[] directories in the project
---@param folder string in the user's configuration
---@param root string|nil project directory
---@param named string[]|nil directories the project names
---@return bakery.scripts.place[]
function M.places(inside, folder, root, named)
  local dirs = {}
  for _, sub in ipairs(not root and {} or type(inside) == "string" and { inside } or inside) do
    dirs[#dirs + 1] = { path = fs.join(root, sub), label = sub, kind = "project", lib = fs.join(root, ".bakery/lib") }
  end
  for _, sub in ipairs(root and named or {}) do
    dirs[#dirs + 1] = { path = fs.join(root, sub), label = sub, kind = "named" }
  end
  local user = config.dir()
  dirs[#dirs + 1] = { path = user .. "/" .. folder, kind = "user", lib = user .. "/lib" }
  return dirs
end

local function places(folder, root, named) return M.places({ folder, ".bakery/" .. folder }, folder, root, named) end

--- Directory of the project of these options, nil when there is none.
---@param values table parsed options
---@return string|nil
function M.root(values)
  local root = require("app.project").find(values.context or ".", { context = values.context ~= nil })
  return type(root) == "string" and root or nil
end

local function configure(module, folder, dirs)
  local shipped = {}
  for _, name in ipairs(host.list(folder .. "/")) do shipped[#shipped + 1] = name:match("^" .. folder .. "/([%w_-]+)%.lua$") end
  module.configure { dirs = dirs, shipped_names = shipped,
    shipped = function(name) return host.read(folder .. "/" .. name .. ".lua") end }
end

--- Sets up the search path: project recipes/ and .bakery/recipes/, directories named in bakery.yaml
--- (`recipePaths`), the user's configuration, then the shipped ones.
---@param values table parsed options
---@param named string[]|nil directories the project names
---@return table the bakery.recipe module
function M.setup(values, named)
  local root = M.root(values)
  configure(recipe, "recipes", places("recipes", root, named))
  recipe.root = root
  return recipe
end

--- Sets up the search path of resolvers: resolvers/ and .bakery/resolvers/ of the project, the user's
--- configuration, then the shipped ones.
---@param root string|nil project directory
---@return table the bakery.resolver module
function M.setup_resolvers(root)
  local resolver = require "bakery.resolver"
  configure(resolver, "resolvers", places("resolvers", root))
  return resolver
end

return M
