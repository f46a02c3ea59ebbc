--- `bakery lua [-e CODE] [FILE] [ARGS…]`: the interpreter for scripts, tests and tools.
local M = {}

--- Runs a script or code string; behaves as lua5.4 does. Returns the exit code.
function M.main(argv)
  local i, code = 2, nil
  while argv[i] and argv[i]:sub(1, 1) == "-" and argv[i] ~= "-" do
    local flag = argv[i]
    if flag == "-e" then
      code = (code and code .. "\n" or "") .. (argv[i + 1] or "")
      i = i + 2
    elseif flag == "--" then
      i = i + 1
      break
    else
      io.stderr:write("bakery lua: unknown option '", flag, "'\nusage: bakery lua [-e CODE] [FILE] [ARGS]\n")
      return 2
    end
  end
  local env_path, env_cpath = os.getenv("LUA_PATH_5_4") or os.getenv("LUA_PATH"),
    os.getenv("LUA_CPATH_5_4") or os.getenv("LUA_CPATH")
  package.path, package.cpath = env_path or "", env_cpath or ""
  local file = argv[i]
  local script = { [0] = file }
  for k = i + 1, #argv do script[k - i] = argv[k] end
  _G.arg = script
  local function go()
    if code then assert(load(code, "=(command line)", "t"))() end
    if file then
      local chunk, err = loadfile(file ~= "-" and file or nil, "t")
      if not chunk then error(err, 0) end
      chunk(table.unpack(script))
    end
    require("bakery.loop").finish()
  end
  local ok, err = xpcall(go, function(e)
    if type(e) == "table" and getmetatable(e) and getmetatable(e).__tostring then e = tostring(e) end
    return debug.traceback(tostring(e), 2)
  end)
  if not ok then
    io.stderr:write("bakery: ", err, "\n")
    return 1
  end
  return 0
end

return M
