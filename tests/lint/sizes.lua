--- C: files of at most 600 lines, public headers (src/NAME/NAME.h) of 200, lines of 120 columns, no tabs,
--- no trailing blanks. Lua lines are luacheck's. Every module folder has a README.md.
local fs = require "bakery.fs"

local FILE, PUBLIC, COLUMNS = 600, 200, 120

local bad = 0
local function complain(...)
  bad = bad + 1
  io.stdout:write(...)
  io.stdout:write "\n"
end

local function check(file)
  local n = 0
  for line in io.lines(file) do
    n = n + 1
    local columns = utf8.len(line)
    if not columns then complain(file, ":", n, ": not UTF-8")
    elseif columns > COLUMNS then complain(file, ":", n, ": ", columns, " columns (at most ", COLUMNS, ")") end
    if line:find "\t" then complain(file, ":", n, ": tab") end
    if line:find "%s$" then complain(file, ":", n, ": trailing blank") end
  end
  local dir, name = file:match "([^/]+)/([^/]+)%.h$"
  local most = dir and dir == name and PUBLIC or FILE
  if n > most then complain(file, ": ", n, " lines (at most ", most, ")") end
end

for _, dir in ipairs { "src", "tests" } do
  for _, e in ipairs(fs.walk(dir)) do
    if e.path:match "%.[ch]$" then check(dir .. "/" .. e.path) end
  end
end

for _, mod in ipairs(fs.list "src") do
  if fs.exists("src/" .. mod .. "/lua_" .. mod .. ".c") and not fs.exists("src/" .. mod .. "/README.md") then
    complain("src/", mod, ": no README.md")
  end
end

os.exit(bad == 0)
