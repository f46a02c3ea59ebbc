--- `bakery check` and `bakery schema`.
local json = require "bakery.json"
local errors = require "app.report.errors"
local color = require "app.report.color"
local exit = require "app.cli.exit"
local session = require "app.session"

local M = {}

local function place(problem)
  local file, line, col = tostring(problem.where or ""):match "^(.-):(%d+):(%d+)$"
  if not file then file, line = tostring(problem.where or ""):match "^(.-):(%d+)$" end
  file = file or problem.where
  return file and file ~= "" and file or json.null, math.tointeger(tonumber(line)) or json.null,
    math.tointeger(tonumber(col)) or json.null
end

local function document(found, counts, class)
  local out = json.object { { "apiVersion", "bakery/v1" }, { "kind", "Check" }, { "errors", counts.error },
    { "warnings", counts.warning } }
  out.exit = json.object { { "code", exit.code[class] }, { "class", class } }
  out.problems = json.array {}
  for i, item in ipairs(found) do
    local p = item.problem
    local file, line, col = place(p)
    out.problems[i] = json.object { { "level", item.level }, { "code", p.code or "error" },
      { "message", tostring(p.message) }, { "file", file }, { "line", line }, { "col", col }, { "hint", p.hint or json.null } }
  end
  return out
end

local function count(n, word) return ("%d %s%s"):format(n, word, n == 1 and "" or "s") end

--- Validates everything and reports all problems; exit 2 when one is an error.
function M.run(values)
  local found = require("app.check").run(values)
  local counts = { error = 0, warning = 0 }
  for _, item in ipairs(found) do
    if values.strict then item.level = "error" end
    counts[item.level] = counts[item.level] + 1
  end
  local class = counts.error > 0 and "usage" or "ok"
  if values.json then
    session.print_json(document(found, counts, class))
    return exit.code[class]
  end
  local on = color.enabled(values)
  for _, item in ipairs(found) do
    if item.level == "error" then
      io.stderr:write(errors.text(item.problem, { color = on }), "\n")
    else
      session.warn(values, { item.problem })
    end
  end
  if not values.quiet then
    io.stderr:write(#found == 0 and "no problems"
      or count(counts.error, "error") .. ", " .. count(counts.warning, "warning"), "\n")
  end
  return exit.code[class]
end

--- The JSON Schema of bakery.yaml.
function M.schema()
  session.print_json(require("app.project.jsonschema").document())
  return 0
end

return M
