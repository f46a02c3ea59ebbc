--- Every function of a native module has an entry in stdlib/stubs/NAME.lua, and the other way round.
local fs = require "bakery.fs"

local bad = 0
local function complain(text)
  bad = bad + 1
  io.stdout:write(text, "\n")
end

for _, name in ipairs(fs.list "stdlib/stubs") do
  local mod = name:match("^(%w+)%.lua$")
  if mod then
    local text = assert(fs.read("stdlib/stubs/" .. name))
    local ok, native = pcall(require, "bakery." .. mod)
    if not ok then complain(name .. ": no native module bakery." .. mod)
    else
      local documented = {}
      for fn in text:gmatch("\nfunction%s+[%w_]+%.([%w_]+)%s*%(") do documented[fn] = true end
      for fn, value in pairs(native) do
        if type(value) == "function" and fn:sub(1, 1) ~= "_" and not documented[fn] then
          complain(name .. ": bakery." .. mod .. "." .. fn .. " is not documented")
        end
      end
      for fn in pairs(documented) do
        if native[fn] == nil then complain(name .. ": documents bakery." .. mod .. "." .. fn .. ", which does not exist") end
      end
    end
  end
end
for _, mod in ipairs(fs.list "src") do
  if fs.exists("src/" .. mod .. "/lua_" .. mod .. ".c") and not fs.exists("stdlib/stubs/" .. mod .. ".lua") then
    complain("src/" .. mod .. ": no stub stdlib/stubs/" .. mod .. ".lua")
  end
end
os.exit(bad == 0)
