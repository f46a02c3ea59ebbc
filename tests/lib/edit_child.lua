-- bakery lua edit_child.lua N COMMAND ARGS…: an editing command in the working directory, killed before its Nth
-- change of the file system.
local fs = require "bakery.fs"
local process = require "bakery.process"

local left, command = tonumber(arg[1]), arg[2]

for _, name in ipairs { "rename", "write", "mkdir", "link", "copy", "utime", "remove" } do
  local real = fs[name]
  fs[name] = function(...)
    left = left - 1
    if left == 0 then os.execute("kill -9 " .. process.pid()) end
    return real(...)
  end
end

local group, verb = command:match "^(%a+) (%a+)$"
require("app.commands." .. group)[verb] { clean = true, mark_latest = true, table.unpack(arg, 3) }
