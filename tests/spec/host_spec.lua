--- The program around the Lua state: what it needs, where it finds Lua, how it ends.
local fs = require "bakery.fs"
local process = require "bakery.process"

local bin = os.getenv "BAKERY_BIN"

local function run(args, opts)
  opts = opts or {}
  opts.cmd = { bin, table.unpack(args) }
  return assert(process.run(opts))
end

describe("the program", function()
  if not bin then return pending "skipped: needs BAKERY_BIN" end
  local dir
  setup(function() dir = assert(fs.tmpdir "bakery-host") end)
  teardown(function() fs.remove(dir, { recursive = true }) end)

  it("needs nothing but the C library to start", function()
    if os.getenv "SANITIZE" then return pending "skipped: needs a build without sanitizers" end
    local r = assert(process.run { cmd = { "readelf", "-d", bin } })
    local libs = {}
    for name in r.stdout:gmatch "NEEDED[^%[]*%[([^%]]+)%]" do libs[#libs + 1] = name end
    table.sort(libs)
    for _, name in ipairs(libs) do
      assert.truthy(name:match "^lib[cm]%.so%.6$" or name:match "^ld%-linux", name)
    end
  end)

  it("finds shipped Lua in itself, whatever the directory", function()
    local r = run({ "lua", "-e", "print(require('bakery.task').all ~= nil, package.path)" },
      { cwd = dir, env = { LUA_PATH = "" } })
    assert.equal("true\t\n", r.stdout, r.stderr)
    assert(fs.mkdir(dir .. "/bakery"))
    assert(fs.write(dir .. "/bakery/task.lua", "error 'mine'"))
    assert.equal(0, run({ "lua", "-e", "require 'bakery.task'" }, { cwd = dir }).code)
    r = run({ "lua", "-e", "require 'bakery.nothing'" }, { cwd = dir })
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("no shipped file 'stdlib/bakery/nothing.lua'", 1, true), r.stderr)
  end)

  it("takes it from BAKERY_ROOT while developing", function()
    assert(fs.mkdir(dir .. "/root/stdlib/bakery", { parents = true }))
    assert(fs.write(dir .. "/root/stdlib/bakery/extra.lua", "return 42"))
    for _, name in ipairs { "lua", "recipes", "templates" } do
      assert(fs.symlink(fs.realpath(name), dir .. "/root/" .. name))
    end
    for _, name in ipairs(fs.list "stdlib/bakery") do
      assert(fs.symlink(fs.realpath("stdlib/bakery/" .. name), dir .. "/root/stdlib/bakery/" .. name))
    end
    local r = run({ "lua", "-e", "print((require 'bakery.extra'))" }, { env = { BAKERY_ROOT = dir .. "/root" } })
    assert.equal("42\n", r.stdout, r.stderr)
  end)

  it("loads text only", function()
    assert(fs.write(dir .. "/code.luac", string.dump(load "return 1")))
    local r = run { "lua", dir .. "/code.luac" }
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("attempt to load a binary chunk", 1, true), r.stderr)
  end)

  it("fails when standard output cannot be written", function()
    local r = assert(process.run { cmd = { "sh", "-c", '"$0" help > /dev/full', bin } })
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("cannot write to standard output", 1, true), r.stderr)
  end)

  it("ends quietly when its reader has gone", function()
    local r = assert(process.run { cmd = { "sh", "-c", '"$0" help | true', bin } })
    assert.equal(0, r.code)
  end)
end)
