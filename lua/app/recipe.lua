--- Recipes of this invocation: where they are searched, and the context their steps get.
local config = require "app.config"
local fs = require "bakery.fs"
local host = require "app.host"
local recipe = require "bakery.recipe"

local M = {}

-- Places of scripts of a kind ("recipes", "resolvers"): the project, directories it names, the user.
local function places(folder, root, named)
  local dirs = {}
  for _, sub in ipairs(root and { folder, ".bakery/" .. folder } or {}) do
    dirs[#dirs + 1] = { path = fs.join(root, sub), label = sub, kind = "project", lib = fs.join(root, ".bakery/lib") }
  end
  for _, sub in ipairs(root and named or {}) do
    dirs[#dirs + 1] = { path = fs.join(root, sub), label = sub, kind = "named" }
  end
  local user = config.dir()
  dirs[#dirs + 1] = { path = user .. "/" .. folder, kind = "user", lib = user .. "/lib" }
  return dirs
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
  local root = require("app.project").find(values.context or ".", { context = values.context ~= nil })
  root = type(root) == "string" and root or nil
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
