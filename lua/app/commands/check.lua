--- `bakery check`: validates the project, its Containerfiles and recipes without side effects and
--- reports all problems at once.
local fs = require "bakery.fs"
local containerfile = require "bakery.containerfile"
local errors = require "app.report.errors"
local color = require "app.report.color"
local session = require "app.session"

local M = {}

function M.run(values)
  local on = color.enabled(values)
  local problems = 0
  local function problem(e)
    problems = problems + 1
    io.stderr:write(errors.text(e, { color = on }), "\n")
  end
  local ok, project = pcall(session.project, values)
  if not ok then
    for _, e in ipairs(type(project) == "table" and project.errors or { project }) do problem(e) end
  else
    local plans = require "app.plan"
    local targets, err = plans.targets(project, { matrix_versions = "include", dev_versions = "exclude" },
      { resolver = session.resolver(values, project) })
    if not targets then problem(err) end
    local seen = {}
    for _, t in ipairs(targets or {}) do
      local file = t.containerfile
      if not seen[file] then
        seen[file] = true
        local path = fs.join(project.dir, file)
        local text = fs.read(path)
        if not text then
          problem { class = "usage", where = file, message = "no such Containerfile (target " .. t.uid .. ")" }
        else
          local ast, e = containerfile.parse(text, { name = file })
          if not ast then
            e.path = path
            problem(e)
          else
            for _, w in ipairs(ast.warnings or {}) do
              io.stderr:write("warning: ", file, ":", w.line or 1, ": ", w.message, "\n")
            end
          end
        end
      end
    end
  end
  local recipe = require("app.recipe").setup(values)
  for _, r in ipairs(recipe.list()) do
    local good, e = pcall(recipe.load, r.name)
    if not good then problem(e) end
  end
  io.stderr:write(problems == 0 and "no problems\n" or ("%d problem%s\n"):format(problems, problems == 1 and "" or "s"))
  return problems == 0 and 0 or 2
end

return M
