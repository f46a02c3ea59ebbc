--- `bakery lua [-e CODE]… [FILE|-] [ARGS…]`: the interpreter for scripts, tests and tools.
local M = {}

local function usage(text)
  io.stderr:write("bakery lua: ", text, "\nusage: bakery lua [-e CODE] [FILE|-] [ARGS]\n")
  return 2
end

-- Reads the options: chunks of -e, index of the script's name (nil when there is none).
local function options(argv)
  local i, chunks = 2, {}
  while argv[i] and argv[i]:sub(1, 1) == "-" and argv[i] ~= "-" do
    local flag = argv[i]
    if flag == "--" then
      i = i + 1
      break
    elseif flag:sub(1, 2) == "-e" then
      local code = flag:sub(3)
      if code == "" then
        i = i + 1
        code = argv[i]
      end
      if not code then return nil, "'-e' needs an argument" end
      chunks[#chunks + 1] = code
    else
      return nil, "unknown option '" .. flag .. "'"
    end
    i = i + 1
  end
  return chunks, argv[i] and i or nil
end

-- `arg` as lua5.4 makes it: the script at 0, its arguments above, the words before it below.
local function make_arg(argv, at)
  local out, base = {}, at or 0
  out[-base] = "bakery"
  for k, word in ipairs(argv) do out[k - base] = word end
  return out
end

-- An error that is told without a traceback: a script that is not there, or not Lua.
local function plain(text) return setmetatable({}, { __tostring = function() return text end }) end

-- Message of whatever was raised, with a traceback unless the value has its own text.
local function message(e)
  if type(e) ~= "string" and type(e) ~= "number" then
    local meta = getmetatable(e)
    if type(meta) == "table" and meta.__tostring then return tostring(e) end
    e = ("(error object is a %s value)"):format(type(e))
  end
  return debug.traceback(tostring(e), 2)
end

--- Runs a script or code strings as lua5.4 does; without either, standard input. Returns the exit code.
---@param argv string[] "lua", then its words
---@return integer
function M.main(argv)
  local chunks, at = options(argv)
  if not chunks then return usage(at) end
  package.path = os.getenv "LUA_PATH_5_4" or os.getenv "LUA_PATH" or ""
  package.cpath = os.getenv "LUA_CPATH_5_4" or os.getenv "LUA_CPATH" or ""
  _G.arg = make_arg(argv, at)
  local ok, err = xpcall(function()
    for _, code in ipairs(chunks) do
      local chunk, problem = load(code, "=(command line)", "t")
      if not chunk then error(plain(problem), 0) end
      chunk()
    end
    if at or #chunks == 0 then
      local file = at and argv[at] ~= "-" and argv[at] or nil
      local chunk, problem = loadfile(file, "t")
      if not chunk then error(plain(problem), 0) end
      chunk(table.unpack(_G.arg))
    end
    require("bakery.loop").finish()
  end, message)
  if ok then return 0 end
  io.stdout:flush()
  io.stderr:write("bakery: ", err, "\n")
  return 1
end

return M
