--- Commands about the program itself.
local host = require "app.host"
local commands = require "app.commands"
local fail = require "app.fail"

local M = {}

function M.version(values)
  if values.json then
    local json = require "bakery.json"
    io.stdout:write(json.encode(json.object { { "name", "bakery" }, { "version", host.version }, { "lua", _VERSION } }), "\n")
  else
    io.stdout:write("bakery ", host.version, "\n")
  end
  return 0
end

-- Commands with the recipe's and the common options filled in, for help pages and completion.
local function complete_tables()
  local options = require "app.cli.options"
  local function fill(list)
    for _, c in ipairs(list) do
      if c.recipe then
        local ok, prepared = pcall(c.prepare, c, {})
        if ok and prepared then c.options = prepared.options end
      end
      if c.subcommands then fill(c.subcommands)
      else c.options = options.join(c.options or {}, options.common) end
    end
  end
  fill(commands.list)
  return commands.list
end

function M.man()
  io.stdout:write(require("app.cli.help").man(complete_tables(), host.version))
  return 0
end

function M.completion(values)
  local make = require("app.cli.completion")[values[1]]
  if not make then
    fail.raise { class = "usage", code = "usage", message = "unknown shell '" .. values[1] .. "'", hint = "bash, zsh or fish" }
  end
  io.stdout:write(make(complete_tables()))
  return 0
end

function M.help(values)
  local help = require "app.cli.help"
  if values[1] == "exit-codes" then
    io.stdout:write(require("app.cli.exit").text())
    return 0
  end
  local list, found = complete_tables(), nil
  for _, word in ipairs(values) do
    found = nil
    for _, c in ipairs(list or {}) do if c.name == word then found = c end end
    if not found then fail.raise { class = "usage", code = "usage", message = "no help on '" .. word .. "'" } end
    found.path = found.path or table.concat(values, " ")
    list = found.subcommands
  end
  io.stdout:write(found and help.command(found) or help.overview(commands.list))
  return 0
end

--- Names for shells: recipes, backends, targets, images, versions, variants, operating systems, platforms.
function M.complete(values)
  local kind, names = values[1], {}
  if kind == "recipe" then
    local recipe = require("app.recipe").setup(values)
    for _, r in ipairs(recipe.list()) do names[r.name] = true end
  elseif kind == "backend" then
    for _, it in ipairs(require("app.backend").list(require("app.recipe").root(values))) do names[it.name] = true end
  elseif kind == "target" then
    local ok, doc = pcall(require("app.session").plan, { quiet = true, matrix_versions = "include" })
    for _, uid in ipairs(ok and doc.group.default.targets or {}) do names[uid] = true end
  elseif kind == "platform" then
    names["linux/amd64"], names["linux/arm64"] = true, true
  else
    local project = require("app.session").project(values)
    for _, image in ipairs(project.images) do
      if kind == "image" then names[image.name] = true end
      for _, v in ipairs(image.versions) do
        if kind == "version" then names[v.name] = true end
        for _, o in ipairs(v.os or {}) do if kind == "os" then names[o.name] = true end end
      end
      for _, v in ipairs(image.variants or {}) do if kind == "variant" then names[v.name] = true end end
    end
  end
  local list = {}
  for n in pairs(names) do list[#list + 1] = n end
  table.sort(list)
  io.stdout:write(table.concat(list, "\n"), "\n")
  return 0
end

return M
