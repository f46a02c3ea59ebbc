--- Command-line parser: argument vector + option table -> values, or a usage error.
local options = require "app.cli.options"
local M = {}

local function usage(message, hint)
  return nil, { class = "usage", code = "usage", message = message, hint = hint }
end

local SWITCH = { ["1"] = true, ["true"] = true, yes = true, on = true, ["0"] = false, ["false"] = false,
  no = false, off = false }

local function convert(o, text)
  if o.type == "int" or o.type == "number" then
    local n = tonumber(text)
    if o.type == "int" then n = math.tointeger(n) end
    if not n then
      return usage(("option '--%s': expected %s, got '%s'"):format(o.name,
        o.type == "int" and "a whole number" or "a number", text))
    end
    if o.min and n < o.min then
      return usage(("option '--%s': must be at least %s, got %s"):format(o.name, o.min, text))
    end
    return n
  elseif o.type == "flag" or o.type == "switch" then
    local on = SWITCH[text:lower()]
    if on == nil then return usage(("option '--%s': expected true or false, got '%s'"):format(o.name, text)) end
    return on
  elseif o.choices then
    for _, c in ipairs(o.choices) do if c:lower() == text:lower() then return c end end
    local near = options.nearest(text, o.choices)
    return usage(("option '--%s': expected %s, got '%s'"):format(o.name,
      table.concat(o.choices, "|"), text), near and ("did you mean '" .. near .. "'?"))
  end
  return text
end

local function store(values, o, value)
  local key = options.key(o.name)
  if o.type == "list" then
    values[key] = values[key] or {}
    table.insert(values[key], value)
  elseif o.type == "pairs" then
    local k, v = value:match("^([^=]+)=(.*)$")
    if not k then return usage(("option '--%s': expected KEY=VALUE, got '%s'"):format(o.name, value)) end
    values[key] = values[key] or {}
    values[key][k] = v
  else
    values[key] = value
  end
  return true
end

local function takes_value(o) return o.type ~= "flag" and o.type ~= "switch" end

--- Parses argv[first..] by the option list.
---@param argv string[]
---@param list table option table
---@param first integer|nil
---@return table|nil values by option key; positional arguments in the array part; `given` = set of
--- keys that were on the command line, `notes` = warnings for the user
---@return table|nil err usage error
function M.parse(argv, list, first)
  local by_name, by_short, names = {}, {}, {}
  for _, o in ipairs(list) do
    by_name[o.name] = o
    if not o.hidden then names[#names + 1] = "--" .. o.name end
    if o.short then by_short[o.short] = o end
    if o.type == "switch" then names[#names + 1] = "--no-" .. o.name end
  end
  local values, given, notes = {}, {}, {}
  local i = first or 1
  local function set(o, value)
    local v, err = convert(o, value)
    if v == nil then return nil, err end
    given[options.key(o.name)] = true
    return store(values, o, v)
  end
  while i <= #argv do
    local a = argv[i]
    if a == "--" then
      table.move(argv, i + 1, #argv, #values + 1, values)
      break
    elseif a:sub(1, 2) == "--" then
      local name, value = a:match("^%-%-([^=]+)=(.*)$")
      name = name or a:sub(3)
      local o, negated = by_name[name], false
      if not o and name:sub(1, 3) == "no-" then
        o = by_name[name:sub(4)]
        if o and o.type ~= "switch" then o = nil end
        negated = o ~= nil
      end
      if not o then
        local near = options.nearest("--" .. name, names)
        return usage("unknown option '--" .. name .. "'", near and ("did you mean '" .. near .. "'?"))
      end
      if not takes_value(o) then
        if value then return usage("option '--" .. name .. "' takes no value") end
        values[options.key(o.name)] = not negated
        given[options.key(o.name)] = true
      else
        if not value then
          i = i + 1
          value = argv[i]
          if not value then return usage("option '--" .. name .. "' needs a value") end
        end
        local ok, err = set(o, value)
        if not ok then return nil, err end
      end
    elseif a:sub(1, 1) == "-" and a ~= "-" then
      local rest = a:sub(2)
      while rest ~= "" do
        local letter = rest:sub(1, 1)
        local o = by_short[letter]
        rest = rest:sub(2)
        if not o then return usage("unknown option '-" .. letter .. "'") end
        if takes_value(o) then
          local value = rest:gsub("^=", "")
          if rest == "" then
            i = i + 1
            value = argv[i]
            if not value then return usage("option '-" .. letter .. "' needs a value") end
          end
          local ok, err = set(o, value)
          if not ok then return nil, err end
          break
        end
        values[options.key(o.name)] = true
        given[options.key(o.name)] = true
      end
    else
      values[#values + 1] = a
    end
    i = i + 1
  end
  for _, o in ipairs(list) do
    local key = options.key(o.name)
    if values[key] == nil and o.env then
      local text = os.getenv(o.env)
      if text and text ~= "" then
        local number = o.lenient_env and o.min and tonumber(text)
        if number and number < o.min then text = tostring(o.min) end
        local v, err = convert(o, text)
        if v == nil then
          if not o.lenient_env then
            err.message = "environment variable " .. o.env .. ": " .. err.message
            return nil, err
          end
          notes[#notes + 1] = ("environment variable %s: '%s' is ignored (%s)"):format(o.env, text, err.message)
        else
          store(values, o, v)
        end
      end
    end
    local new = o.deprecated and values[key] ~= nil and options.key(o.deprecated)
    if new then
      notes[#notes + 1] = ("deprecated: --%s, use --%s"):format(o.name, o.deprecated)
      if not given[new] then values[new], given[new] = values[key], true end
      values[key] = nil
    end
  end
  for _, o in ipairs(list) do
    local key = options.key(o.name)
    if values[key] == nil then values[key] = o.default end
  end
  values.given, values.notes = given, notes
  if values.verbose and values.quiet then return usage("--verbose and --quiet exclude each other") end
  return values
end

--- Checks positional arguments against a command's `args` list ({ name=, optional=, many= }).
---@return boolean|nil ok
---@return table|nil err
function M.check_args(values, args)
  args = args or {}
  local need, most = 0, #args
  for _, a in ipairs(args) do
    if not a.optional then need = need + 1 end
    if a.many then most = math.huge end
  end
  if #values < need then return usage("missing argument: " .. args[#values + 1].name) end
  if #values > most then return usage("unexpected argument '" .. values[most + 1] .. "'") end
  return true
end

return M
