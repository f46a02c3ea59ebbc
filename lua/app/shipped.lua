--- Files that ship inside the program below templates/: skeletons and workflow files.
local fail = require "app.fail"
local fs = require "bakery.fs"
local host = require "app.host"
local render = require "app.project.render"
local template = require "bakery.template"

local M = {}

--- Renders a shipped template (strict: every variable must be given or tested), normalised as
--- rendered project files are.
---@param name string path below templates/
---@param vars table
---@return string
function M.render(name, vars)
  local text = host.read("templates/" .. name)
  if not text then error("no shipped template " .. name, 2) end
  local env <close> = setmetatable({ env = template.new { undefined = "strict", keep_trailing_newline = true } },
    { __close = function(self) self.env:close() end })
  return render.normalise(fail.check(env.env:render(text, vars, { name = "templates/" .. fs.normalize(name) })))
end

return M
