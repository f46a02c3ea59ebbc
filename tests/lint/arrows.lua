--- Fails on an #include or require that points the wrong way (src/README.md, "Who may include whom").
local fs = require "bakery.fs"

local ALLOWED = {
  base = {}, loop = { "base" }, luakit = { "base", "loop" }, digest = { "base" }, version = { "base" }, tag = { "base" },
  yaml = { "base" }, json = { "base" }, regex = { "base" }, template = { "base" }, fs = { "base" },
  process = { "base", "loop" }, http = { "base", "loop" }, archive = { "base", "digest" },
  snapshot = { "base", "digest", "archive" }, sandbox = { "base", "process" }, store = { "base", "digest" },
  sign = { "base", "json" }, soci = { "base", "digest", "archive" },
  oci = { "base", "http", "json", "digest", "archive" }, host = { "base", "luakit" }, tools = { "base", "sandbox" },
}
local BINDING = { luakit = true, loop = true, base = true }

local bad = 0
local function complain(file, n, ...)
  bad = bad + 1
  io.stdout:write(file, ":", n, ": ", table.concat { ... }, "\n")
end

local function includes_of(file)
  local list, n = {}, 0
  for line in io.lines(file) do
    n = n + 1
    local open, name = line:match '^%s*#%s*include%s*([<"])([^>"]+)'
    if name then list[#list + 1] = { line = n, quoted = open == '"', name = name } end
  end
  return list
end

-- lua_NAME.[ch] and lua_NAME_*.[ch] are the binding of NAME; luakit, host and tools are all binding.
local function is_binding(mod, name)
  return mod == "luakit" or mod == "host" or mod == "tools" or name:match "^lua_" ~= nil
end

local function check_c(mod, name, may)
  local file = "src/" .. mod .. "/" .. name
  local binding = is_binding(mod, name)
  for _, inc in ipairs(includes_of(file)) do
    local what = inc.quoted and inc.name:match "^([%w_]+)/"
    if inc.name:match "^lua" or inc.name == "lauxlib.h" then
      if not inc.quoted and not binding then complain(file, inc.line, "a core must not include ", inc.name) end
    elseif inc.quoted and not what then
      complain(file, inc.line, 'write "', mod, "/", inc.name, '"')
    end
    if what and not may[what] and not (binding and BINDING[what]) then
      complain(file, inc.line, mod, " must not include ", what)
    end
    local header = what and inc.name:match "/(.*)"
    if what and not binding and what ~= "luakit" and header:match "^lua_" then
      complain(file, inc.line, "a core must not include a binding's ", inc.name)
    end
  end
end

for _, mod in ipairs(fs.list "src") do
  if fs.is_dir("src/" .. mod) then
    if not ALLOWED[mod] then complain("src/" .. mod, 1, "no rule for this folder in tests/lint/arrows.lua") end
    local may = { [mod] = true }
    for _, m in ipairs(ALLOWED[mod] or {}) do may[m] = true end
    for _, name in ipairs(fs.list("src/" .. mod) or {}) do
      if name:match "%.[ch]$" then check_c(mod, name, may) end
    end
  end
end

-- lua/ may require app.* and bakery.*; stdlib, recipes, resolvers and examples only bakery.*.
local function check_lua(dir, app)
  for _, e in ipairs(fs.walk(dir)) do
    if e.path:match "%.lua$" then
      local file, n = dir .. "/" .. e.path, 0
      for line in io.lines(file) do
        n = n + 1
        local code = line:match "^(.-)%-%-" or line
        for name in code:gmatch '%f[%w_]require%s*%(?%s*["\']([%w_.%-]+)["\']' do
          if not (name:match "^bakery%." or app and name:match "^app%.") then
            complain(file, n, dir, " must not require ", name)
          end
        end
      end
    end
  end
end
check_lua("lua", true)
check_lua("stdlib", false)
check_lua("recipes", false)
check_lua("resolvers", false)
check_lua("examples", false)

-- Layers are read and written through base/ids.h, or what tiers without privileges record is lost. These
-- work on plain trees.
local PLAIN = { ["snapshot_flat.c"] = true, ["snapshot_place.c"] = true, ["snapshot_export.c"] = { mknodat = true },
  ["lua_archive.c"] = { fstat = true } }
local RAW = { "fstat", "fstatat", "lstat", "fchown", "fchownat", "lchown", "fchmod", "fchmodat", "mknodat", "readlinkat" }
for _, mod in ipairs { "archive", "snapshot" } do
  for _, name in ipairs(fs.list("src/" .. mod) or {}) do
    local plain, n = PLAIN[name], 0
    for line in name:match "%.c$" and plain ~= true and io.lines("src/" .. mod .. "/" .. name) or function() end do
      n = n + 1
      for _, call in ipairs(RAW) do
        if line:find("%f[%w_]" .. call .. "%(") and not (plain and plain[call]) then
          complain("src/" .. mod .. "/" .. name, n, call, " on a layer: use bk_", call, " (base/ids.h)")
        end
      end
    end
  end
end

os.exit(bad == 0)
