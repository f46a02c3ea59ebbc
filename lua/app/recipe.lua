--- Recipes of this invocation: where they are searched, and the context their steps get.
local fs = require "bakery.fs"
local host = require "app.host"
local recipe = require "bakery.recipe"

local M = {}

local function user_config()
  local dir = os.getenv "XDG_CONFIG_HOME"
  if not dir or dir == "" then dir = (os.getenv "HOME" or "/nonexistent") .. "/.config" end
  return dir .. "/bakery"
end

--- Sets up the search path: project recipes/ and .bakery/recipes/, directories named in bakery.yaml
--- (`recipePaths`), the user's configuration, then the shipped ones.
---@param values table parsed options
---@param named string[]|nil directories the project names
---@return table the bakery.recipe module
function M.setup(values, named)
  local dirs = {}
  local root = require("app.project").find(values.context or ".", { context = values.context ~= nil })
  if type(root) == "string" then
    for _, sub in ipairs { "recipes", ".bakery/recipes" } do
      dirs[#dirs + 1] = { path = fs.join(root, sub), label = sub, kind = "project", lib = fs.join(root, ".bakery/lib") }
    end
    for _, sub in ipairs(named or {}) do
      dirs[#dirs + 1] = { path = fs.join(root, sub), label = sub, kind = "named" }
    end
  end
  local user = user_config()
  dirs[#dirs + 1] = { path = user .. "/recipes", kind = "user", lib = user .. "/lib" }
  local shipped = {}
  for _, name in ipairs(host.list "recipes/") do
    local n = name:match("^recipes/([%w_-]+)%.lua$")
    if n then shipped[#shipped + 1] = n end
  end
  recipe.configure { dirs = dirs, shipped_names = shipped,
    shipped = function(name) return host.read("recipes/" .. name .. ".lua") end }
  recipe.root = type(root) == "string" and root or nil
  return recipe
end

return M
