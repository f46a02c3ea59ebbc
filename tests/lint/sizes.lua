--- C: files of at most 600 lines, headers of 200, lines of 120 columns, no tabs, no trailing blanks.
--- Lua lines are luacheck's. Every module folder has a README.md.
local fs = require "bakery.fs"

local MAX = { c = 600, h = 200, columns = 120 }

-- Headers that are a module's inside: they may be as long as a source file.
local INSIDE = { ["src/template/template_run.h"] = true }

local bad = 0
local function complain(...)
  bad = bad + 1
  io.stdout:write(...)
  io.stdout:write "\n"
end

local function check(file, kind)
  local n = 0
  for line in io.lines(file) do
    n = n + 1
    local columns = utf8.len(line)
    if not columns then complain(file, ":", n, ": not UTF-8")
    elseif columns > MAX.columns then complain(file, ":", n, ": ", columns, " columns (at most ", MAX.columns, ")") end
    if line:find "\t" then complain(file, ":", n, ": tab") end
    if line:find "%s$" then complain(file, ":", n, ": trailing blank") end
  end
  local most = INSIDE[file] and MAX.c or MAX[kind]
  if n > most then complain(file, ": ", n, " lines (at most ", most, ")") end
end

for _, dir in ipairs { "src", "tests" } do
  for _, e in ipairs(fs.walk(dir)) do
    local kind = e.path:match "%.([ch])$"
    if kind then check(dir .. "/" .. e.path, kind) end
  end
end

for _, mod in ipairs(fs.list "src") do
  if fs.exists("src/" .. mod .. "/lua_" .. mod .. ".c") and not fs.exists("src/" .. mod .. "/README.md") then
    complain("src/", mod, ": no README.md")
  end
end

os.exit(bad == 0)
