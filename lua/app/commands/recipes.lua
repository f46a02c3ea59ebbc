--- `bakery recipes …`: about recipes.
local fs = require "bakery.fs"
local json = require "bakery.json"
local fail = require "app.fail"
local help = require "app.cli.help"
local scripts = require "app.commands.scripts"
local session = require "app.session"

local M = {}

local function setup(values) return require("app.recipe").setup(values) end

function M.list(values)
  return scripts.list(values, setup(values), "RECIPE", function() return "(broken: see `bakery recipes check`)" end)
end

function M.show(values)
  local recipe = setup(values)
  local def = recipe.load(values[1])
  local out = { ("%s: %s"):format(def.name, def.summary), ("from %s (%s)"):format(def.file, def.kind) }
  if def.extends then out[#out + 1] = "extends " .. def.extends end
  if values.why then
    for _, s in ipairs(def.shadows) do out[#out + 1] = ("shadows %s (%s)"):format(s.file, s.kind) end
  end
  out[#out + 1] = "steps:"
  for i, s in ipairs(def.steps) do
    out[#out + 1] = ("  %d. %-12s %s"):format(i, s.name, s.doc or "")
    if values.why then
      for _, o in ipairs(s.origins) do
        out[#out + 1] = ("       %s:%d (%s)"):format(o.file, o.line, o.how)
      end
    end
  end
  if #def.options > 0 then
    out[#out + 1] = "options:"
    for _, o in ipairs(def.options) do out[#out + 1] = help.option(o) end
  end
  io.stdout:write(table.concat(out, "\n"), "\n")
  return 0
end

function M.which(values)
  local found = setup(values).which(values[1])
  if not found[1] then fail.raise { class = "usage", code = "recipe", message = "no recipe '" .. values[1] .. "'" } end
  for i, r in ipairs(found) do
    if i == 1 or values.all then io.stdout:write(r.path or "stock:" .. r.name, "\n") end
  end
  return 0
end

function M.eject(values)
  local recipe = setup(values)
  local name = values[1]
  local stock = recipe.which("stock:" .. name)[1]
  if not stock then fail.raise { class = "usage", code = "recipe", message = "no stock recipe '" .. name .. "'" } end
  local target = fs.join(recipe.root or fail.raise { class = "usage", code = "config",
    message = "not inside a project: no bakery.yaml here or above" }, "recipes", name .. ".lua")
  if fs.exists(target) and not values.force then
    fail.raise { class = "build", code = "exists", message = target .. " exists", hint = "use --force to replace it" }
  end
  if not values.dry_run then
    fail.check(fs.mkdir(fs.dirname(target), { parents = true }))
    fail.check(fs.write(target, stock.text))
  end
  io.stderr:write(values.dry_run and "would write " or "wrote ", target, "\n")
  return 0
end

function M.check(values)
  local recipe, bad = setup(values), 0
  local out = json.array {}
  for _, r in ipairs(recipe.list()) do
    local ok, err = pcall(recipe.load, r.name)
    out[#out + 1] = json.object { { "name", r.name }, { "file", r.file }, { "ok", ok },
      { "message", not ok and tostring(type(err) == "table" and err.message or err) or json.null } }
    if ok then io.stderr:write("ok      ", r.name, "  ", r.file, "\n")
    else
      bad = bad + 1
      io.stderr:write("broken  ", r.name, "\n", require("app.report.errors").text(err, {}), "\n")
    end
  end
  if values.json then session.print_json(out) end
  return bad == 0 and 0 or 2
end

return M
