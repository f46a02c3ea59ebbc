--- The lint checks find what they are for, in a tree made for it.
local fs = require "bakery.fs"
local process = require "bakery.process"

local here, bakery = assert(fs.cwd()), os.getenv "BAKERY_BIN"

-- Output of a check in a tree of `files` beside the minimum that the checks expect.
local function lint(check, files)
  local dir = assert(fs.tmpdir "bakery-lint")
  for _, d in ipairs { "src/base", "src/loop", "src/yaml", "tests", "lua", "stdlib/stubs", "recipes", "resolvers", "examples" } do
    assert(fs.mkdir(dir .. "/" .. d, { parents = true }))
  end
  for name, text in pairs(files) do assert(fs.write(dir .. "/" .. name, text)) end
  local r = assert(process.run { cmd = { bakery, "lua", here .. "/tests/lint/" .. check .. ".lua" }, cwd = dir, merge = true })
  assert(fs.remove(dir, { recursive = true }))
  return r.stdout, r.code
end

describe("lint", function()
  if not bakery then return pending "skipped: needs BAKERY_BIN" end

  it("refuses includes that point the wrong way", function()
    local out, code = lint("arrows", {
      ["src/yaml/yaml.c"] = '#include "base/err.h"\n#include "json/json.h"\n#include <lauxlib.h>\n# include "yaml.h"\n',
      ["src/yaml/lua_yaml.c"] = '#include <lua.h>\n#include "luakit/luakit.h"\n#include "yaml/yaml.h"\n#include "http/http.h"\n',
    })
    assert.equal(1, code)
    assert.same({ "src/yaml/lua_yaml.c:4: yaml must not include http",
      "src/yaml/yaml.c:2: yaml must not include json",
      "src/yaml/yaml.c:3: a core must not include lauxlib.h",
      'src/yaml/yaml.c:4: write "yaml/yaml.h"' }, { out:match "([^\n]+)\n([^\n]+)\n([^\n]+)\n([^\n]+)\n$" })
  end)

  it("refuses requires that point the wrong way", function()
    local out, code = lint("arrows", {
      ["lua/a.lua"] = 'require "app.x" -- require "else"\nlocal y = require("bakery.y")\n',
      ["recipes/r.lua"] = 'local x = require "app.x"\nlocal t = { "require", type = "flag" }\n',
    })
    assert.equal(1, code)
    assert.equal("recipes/r.lua:1: recipes must not require app.x\n", out)
  end)

  it("measures files and lines", function()
    local out, code = lint("sizes", {
      ["src/yaml/yaml.c"] = ("x\n"):rep(601),
      ["src/yaml/yaml.h"] = ("\n"):rep(201),
      ["src/yaml/yaml_int.h"] = ("é"):rep(120) .. "\n" .. ("é"):rep(121) .. "\n\tx\ny \n",
      ["src/yaml/lua_yaml.c"] = "",
    })
    assert.equal(1, code)
    assert.equal([[
src/yaml/yaml.c: 601 lines (at most 600)
src/yaml/yaml.h: 201 lines (at most 200)
src/yaml/yaml_int.h:2: 121 columns (at most 120)
src/yaml/yaml_int.h:3: tab
src/yaml/yaml_int.h:4: trailing blank
src/yaml: no README.md
]], out)
  end)

  it("compares stubs with what modules register", function()
    local loop = assert(fs.read "stdlib/stubs/loop.lua")
    local stub = loop:gsub("function M%.now", "function M.later"):gsub("function Task:cancel", "function Task:stop")
    local out, code = lint("stubs", { ["stdlib/stubs/loop.lua"] = stub })
    assert.equal(1, code)
    assert.equal([[
stdlib/stubs/loop.lua: bakery.loop.now is not documented
stdlib/stubs/loop.lua: documents bakery.loop.later, which does not exist
stdlib/stubs/loop.lua: bakery.loop.task:cancel is not documented
stdlib/stubs/loop.lua: bakery.loop.task has no method stop
]], out)
    assert.same({ "", 0 }, { lint("stubs", { ["stdlib/stubs/loop.lua"] = loop }) })
  end)
end)
