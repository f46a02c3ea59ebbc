--- `bakery resolvers …`: about resolvers.
local fail = require "app.fail"
local fs = require "bakery.fs"
local json = require "bakery.json"
local scripts = require "app.commands.scripts"
local session = require "app.session"

local M = {}

-- The resolver module and the project's directory, when there is a project.
local function setup(values)
  local root = require("app.recipe").root(values)
  return require("app.recipe").setup_resolvers(root), root
end

function M.list(values)
  return scripts.list(values, (setup(values)), "RESOLVER", function(err)
    return "(broken: " .. tostring(type(err) == "table" and err.message or err) .. ")"
  end)
end

function M.show(values)
  local found = (setup(values)).which(values[1])[1]
  if not found then fail.raise { class = "usage", code = "resolver", message = "no resolver '" .. values[1] .. "'" } end
  io.stdout:write(found.text)
  return 0
end

--- Versions that a resolver gives, or a constraint leaves of them, newest first; bakery.lock has no say.
function M.versions(values)
  local resolver, root = setup(values)
  local name, argument = values[1]:match "^([^:]*):?(.*)$"
  resolver.load(name) -- a mistake in it, or no such name, is said before anything else
  local project = root and session.project(values) or { dir = fs.cwd() }
  local lookup = require("app.lookup").open(project, { offline = values.offline, live = true,
    warn = function(text) io.stderr:write("warning: ", text, "\n") end })
  local list = fail.check(lookup:available { dependency = name, from = argument ~= "" and values[1] or nil,
    prerelease = values.prerelease })
  local version = require "bakery.version"
  if values.latest or values.count or values.max or values.min then
    list = fail.check(version.resolve({ latest = values.latest, count = values.count, max = values.max,
      min = values.min }, list))
  else
    list = fail.check(version.sort(list, "pep440", true))
  end
  if values.json then session.print_json(json.array(list))
  else for _, text in ipairs(list) do io.stdout:write(text, "\n") end end
  return 0
end

return M
