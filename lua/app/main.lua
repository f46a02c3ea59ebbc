--- Entry point: main(argv) returns the exit code.
local host = require "app.host"

-- The store as a place of bakery.image, for scripts and recipes too.
package.preload["bakery.image.store"] = function() return require "app.backend.embedded.place" end

local function main(argv)
  if argv[1] == "version" and not argv[2] or argv[1] == "--version" then
    io.stdout:write("bakery ", host.version, "\n")
    return 0
  end
  if argv[1] == "lua" then return require("app.lua").main(argv) end
  return require("app.cli").main(argv)
end

return main
