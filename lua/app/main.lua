--- Entry point: main(argv) returns the exit code.
local host = require "app.host"
return function(argv)
  if argv[1] == "version" or argv[1] == "--version" then
    print("bakery " .. host.version)
    return 0
  end
  if argv[1] == "lua" then return require("app.lua").main(argv) end
  return 2
end
