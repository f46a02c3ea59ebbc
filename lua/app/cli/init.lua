--- From the argument vector to a command and its exit code.
local loop = require "bakery.loop"
local commands = require "app.commands"
local exit = require "app.cli.exit"
local lazy = require "app.lazy"
local help = lazy "app.cli.help"
local options = require "app.cli.options"
local parse = require "app.cli.parse"

local M = {}

local function usage_error(path, err)
  io.stderr:write("bakery", path and " " .. path or "", ": ", err.message, "\n")
  if err.hint then io.stderr:write("  ", err.hint, "\n") end
  io.stderr:write("Try 'bakery", path and " " .. path or "", " --help'.\n")
  return 2
end

-- Common options in front of the command are moved behind it.
local function split_leading(argv)
  local takes = {}
  for _, o in ipairs(options.common) do
    takes["--" .. o.name] = o.type ~= "flag"
    if o.short then takes["-" .. o.short] = o.type ~= "flag" end
  end
  local leading, i = {}, 1
  while argv[i] and argv[i]:sub(1, 1) == "-" and argv[i] ~= "--" do
    leading[#leading + 1] = argv[i]
    if takes[argv[i]] and argv[i + 1] then
      i = i + 1
      leading[#leading + 1] = argv[i]
    end
    i = i + 1
  end
  local rest = table.move(argv, i, #argv, 1, {})
  return leading, rest
end

local function find(list, name)
  local names = {}
  for _, c in ipairs(list) do
    if c.name == name then return c end
    for _, alias in ipairs(c.aliases or {}) do if alias == name then return c end end
    if not c.hidden then names[#names + 1] = c.name end
  end
  return nil, options.nearest(name, names)
end

--- Walks down to the command that the words name.
---@return table|nil command
---@return integer|table first index of the first argument behind it, or the error
---@return string|nil how "group" or "help" when the words end there; with an error the group's path
local function resolve(rest)
  local list, path, i = commands.list, nil, 1
  while true do
    local word = rest[i]
    local command, near = find(list, word)
    if not command then
      return nil, { message = ("unknown command '%s'"):format(word),
        hint = near and ("did you mean '" .. (path and path .. " " or "") .. near .. "'?") or nil }, path
    end
    path = path and path .. " " .. command.name or command.name
    command.path = path
    if not command.subcommands then return command, i + 1 end
    local nxt = rest[i + 1]
    if command.run and not (nxt and find(command.subcommands, nxt)) then return command, i + 1 end
    if not nxt then return command, i + 1, "group" end
    if nxt == "--help" or nxt == "-h" then return command, i + 1, "help" end
    list, i = command.subcommands, i + 1
  end
end

-- An error as machines get it.
local function error_doc(json, e)
  if type(e) ~= "table" then e = { message = tostring(e) } end
  return json.object { { "class", e.class or "build" }, { "code", e.code or "error" }, { "message", tostring(e.message) },
    { "where", e.where or json.null }, { "hint", e.hint } }
end

--- Prints an error object for people, or as JSON for machines; returns its exit code.
function M.report(err, values)
  values = values or {}
  local code = exit.of(err)
  if values.json or values.progress == "json" then
    local json = require "bakery.json"
    local list = type(err) == "table" and err.errors or { err }
    local doc = json.object { { "error", error_doc(json, err) } }
    if #list > 1 then
      doc.errors = json.array {}
      for i, e in ipairs(list) do doc.errors[i] = error_doc(json, e) end
    end
    doc.exit = json.object { { "code", code }, { "class", type(err) == "table" and err.class or "build" } }
    io.stderr:write(json.encode(doc), "\n")
    return code
  end
  local color = require("app.report.color").enabled(values)
  local list = type(err) == "table" and err.errors or { err }
  for _, e in ipairs(list) do
    io.stderr:write(require("app.report.errors").text(e, { color = color, debug = values.debug }), "\n")
  end
  return code
end

local function run(command, values)
  local main = loop.spawn(command.run, values, command)
  local stopped
  local watchers = {}
  for name, signum in pairs { interrupt = 2, terminated = 15 } do
    watchers[#watchers + 1] = loop.spawn(function()
      loop.signal(signum)
      stopped = name
      main:cancel()
      loop.signal(signum)
      os.exit(exit.code[name])
    end)
  end
  local ok, result, trace = main:wait()
  for _, w in ipairs(watchers) do w:cancel() end
  loop.finish()
  if ok then return math.tointeger(result) or 0 end
  if stopped then
    local state = type(result) == "table" and result.hint or "nothing half done was published"
    io.stderr:write("bakery: ", stopped == "interrupt" and "interrupted" or "terminated", "; ", state, "\n")
    return exit.code[stopped]
  end
  local code = M.report(result, values)
  if values.debug and trace then io.stderr:write(trace, "\n") end
  return code
end

--- Runs the program; returns the exit code.
---@param argv string[]
---@return integer
function M.main(argv)
  local leading, rest = split_leading(argv)
  if not rest[1] then
    local values, err = parse.parse(leading, options.common)
    if not values then return usage_error(nil, err) end
    io.stdout:write(help.overview(commands.list))
    return values.help and 0 or 2
  end
  local command, first, how = resolve(rest)
  if not command then return usage_error(how, first) end
  if how then
    io.stdout:write(help.command(command))
    return how == "help" and 0 or 2
  end
  local args = table.move(rest, first, #rest, #leading + 1, leading)
  if command.prepare then
    local ok, err = pcall(command.prepare, command, args)
    if not ok then return M.report(err, {}) end
    command = err or command
  end
  command.options = options.join(command.options or {}, options.common)
  local values, err = parse.parse(args, command.options)
  if values and values.help then
    io.stdout:write(help.command(command))
    return 0
  end
  local ok = values
  if values then ok, err = parse.check_args(values, command.args) end
  if not ok then return usage_error(command.path, err) end
  for _, text in ipairs(values.quiet and {} or values.notes) do io.stderr:write("warning: ", text, "\n") end
  return run(command, values)
end

return M
