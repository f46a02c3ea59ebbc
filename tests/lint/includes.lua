--- Fails on an include that points the wrong way (src/README.md, "Who may include whom").
local fs = require "bakery.fs"

local ALLOWED = {
  base = {}, loop = { "base" }, luakit = { "base", "loop" }, digest = { "base" }, version = { "base" }, tag = { "base" },
  yaml = { "base" }, json = { "base" }, regex = { "base" }, template = { "base" }, fs = { "base" },
  process = { "base", "loop" }, http = { "base", "loop" }, archive = { "base", "digest" },
  snapshot = { "base", "digest", "archive" }, sandbox = { "base", "process" }, store = { "base", "digest" },
  oci = { "base", "http", "json", "digest", "archive" }, host = { "base", "luakit", "loop" }, tools = { "base" },
}

local bad = 0
local function complain(file, n, text)
  bad = bad + 1
  io.stdout:write(file, ":", n, ": ", text, "\n")
end

for _, mod in ipairs(fs.list "src") do
  if fs.is_dir("src/" .. mod) then
    local rule = ALLOWED[mod]
    if not rule then complain("src/" .. mod, 1, "no rule for this folder in tests/lint/includes.lua") end
    local may = { [mod] = true }
    for _, m in ipairs(rule or {}) do may[m] = true end
    for _, name in ipairs(fs.list("src/" .. mod)) do
      if name:match("%.[ch]$") then
        local file, n = "src/" .. mod .. "/" .. name, 0
        local binding = name:match("^lua_") or mod == "luakit" or mod == "host"
        for line in io.lines(file) do
          n = n + 1
          local what = line:match('^#include "([%w_]+)/')
          if what and not may[what] and not (binding and (what == "luakit" or what == "base" or what == "loop")) then
            complain(file, n, mod .. " must not include " .. what)
          end
          if line:match("^#include [<\"]lua[xl%.]") and not binding then complain(file, n, "a core must not include lua.h") end
        end
      end
    end
  end
end
os.exit(bad == 0)
