--- Help text and man page, made from the command tables.
local options = require "app.cli.options"
local M = {}

-- The order of the groups of commands in the overview.
local PLACE = { ["Daily work"] = 1, Project = 2, Images = 3, Recipes = 4, Pipelines = 5, Maintenance = 6, Scripting = 7 }

local function wrap(text, width, indent)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    if line ~= "" and #line + 1 + #word > width then
      lines[#lines + 1] = line
      line = word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. (" "):rep(indent))
end

--- "-j, --jobs N" for one option.
function M.flag(o)
  local name = (o.type == "switch" and "--[no-]" or "--") .. o.name
  local meta = ""
  if o.choices then meta = " " .. table.concat(o.choices, "|")
  elseif o.type == "pairs" then meta = " " .. (o.metavar or "K=V")
  elseif o.type ~= "flag" and o.type ~= "switch" then
    meta = " " .. (o.metavar or (o.type == "int" and "N" or "TEXT"))
  end
  return (o.short and "-" .. o.short .. ", " or "    ") .. name .. meta
end

local function describe(o)
  local text = o.help or ""
  if o.default ~= nil and o.default ~= false and type(o.default) ~= "table" then
    text = text .. " [default: " .. tostring(o.default) .. "]"
  end
  if o.env then text = text .. " [env: " .. o.env .. "]" end
  return text
end

--- The line or lines of an option in a list: flag, then help in a column of its own.
---@param o table
---@return string
function M.option(o)
  local left, text = "  " .. M.flag(o), wrap(describe(o), 66, 32)
  return #left < 31 and ("%-32s%s"):format(left, text) or left .. "\n" .. (" "):rep(32) .. text
end

local function groups(list)
  local order, by = {}, {}
  for _, o in ipairs(list) do
    if not o.hidden then
      local g = o.group or "Options"
      if not by[g] then
        by[g] = {}
        order[#order + 1] = g
      end
      table.insert(by[g], o)
    end
  end
  return order, by
end

--- "bakery build [options] [ARG…]"
function M.usage(command)
  local parts = { "bakery", command.path or command.name, "[options]" }
  if command.subcommands then parts[3] = command.run and "[COMMAND] [options]" or "COMMAND [options]" end
  for _, a in ipairs(command.args or {}) do
    local word = a.name .. (a.many and "…" or "")
    parts[#parts + 1] = a.optional and "[" .. word .. "]" or word
  end
  return table.concat(parts, " ")
end

--- Help of one command, or of a group with its subcommands.
---@param command table
---@return string
function M.command(command)
  local out = { "Usage: " .. M.usage(command), "", (command.summary:gsub("^%l", string.upper)) .. "." }
  if command.description then
    out[#out + 1] = ""
    out[#out + 1] = (command.description:gsub("\n+$", ""))
  end
  if command.subcommands then
    out[#out + 1] = "\nCommands:"
    for _, sub in ipairs(command.subcommands) do
      out[#out + 1] = ("  %-12s %s"):format(sub.name, sub.summary)
    end
  end
  local order, by = groups(command.options or {})
  for _, g in ipairs(order) do
    out[#out + 1] = "\n" .. g .. ":"
    for _, o in ipairs(by[g]) do
      out[#out + 1] = M.option(o)
    end
  end
  if command.examples then
    out[#out + 1] = "\nExamples:"
    for _, e in ipairs(command.examples) do out[#out + 1] = "  " .. e end
  end
  return table.concat(out, "\n") .. "\n"
end

--- Help of the whole program.
---@param commands table ordered list of commands
---@return string
function M.overview(commands)
  local out = { "Usage: bakery COMMAND [options]\n",
    "Builds, tests and publishes families of container images described in bakery.yaml." }
  local order, by = groups(commands)
  table.sort(order, function(a, b) return (PLACE[a] or 99) < (PLACE[b] or 99) end)
  local width = 0
  for _, c in ipairs(commands) do width = c.hidden and width or math.max(width, #c.name) end
  for _, g in ipairs(order) do
    out[#out + 1] = "\n" .. g .. ":"
    for _, c in ipairs(by[g]) do out[#out + 1] = ("  %%-%ds  %%s"):format(width):format(c.name, c.summary) end
  end
  out[#out + 1] = "\n'bakery COMMAND --help' tells more; 'bakery help exit-codes' lists the exit codes."
  return table.concat(out, "\n") .. "\n"
end

-- Plain ASCII: a terminal without UTF-8 shows no other letters.
local function roff(text)
  return (text:gsub("\\", "\\e"):gsub("…", "..."):gsub("→", "->"):gsub("^%.", "\\&."):gsub("%-", "\\-"))
end

--- bakery(1) in man format.
---@param commands table
---@param version string
---@return string
function M.man(commands, version)
  local out = { '.TH BAKERY 1 "" "bakery ' .. version .. '" "User Commands"', ".SH NAME",
    "bakery \\- build, test and publish families of container images", ".SH SYNOPSIS",
    ".B bakery\n.I COMMAND\n[options]", ".SH DESCRIPTION",
    "Builds the images that a\n.I bakery.yaml\ndescribes (images, versions, variants, operating systems and\n"
    .. "platforms) with an embedded builder that needs no daemon.", ".SH COMMON OPTIONS" }
  local function put(o) out[#out + 1] = ".TP\n.B " .. roff(M.flag(o):gsub("^%s+", "")) .. "\n" .. roff(describe(o)) end
  for _, o in ipairs(options.common) do put(o) end
  out[#out + 1] = ".SH SELECTION OPTIONS"
  for _, o in ipairs(options.selection) do put(o) end
  out[#out + 1] = ".SH COMMANDS"
  local function command(c, path)
    out[#out + 1] = ".SS bakery " .. roff(path)
    out[#out + 1] = roff((c.summary:gsub("^%l", string.upper))) .. "."
    for _, o in ipairs(c.options or {}) do
      if not o.hidden and o.group ~= "Common options" and o.group ~= "Selection" then put(o) end
    end
    for _, sub in ipairs(c.subcommands or {}) do command(sub, path .. " " .. sub.name) end
  end
  for _, c in ipairs(commands) do if not c.hidden then command(c, c.name) end end
  out[#out + 1] = ".SH EXIT STATUS"
  for _, e in ipairs(require("app.cli.exit").list) do
    out[#out + 1] = (".TP\n.B %d\n%s: %s"):format(e.code, e.class, roff(e.help))
  end
  return table.concat(out, "\n") .. "\n"
end

return M
