--- The projects of examples/, in a copy: they check, build, pass their own tests, and take a new version.
local world = require "lib.world"
local fs = require "bakery.fs"

local function copy_of(name)
  local dir = world.tmp() .. "/" .. name
  world.run { "cp", "-r", "examples/" .. name, dir }
  for _, made in ipairs { "rootfs", "base/1.0/rootfs", "built.txt" } do
    if fs.exists(dir .. "/" .. made) then fs.remove(dir .. "/" .. made, { recursive = true }) end
  end
  return dir
end

local function good(r)
  assert.equal(0, r.code, r.stdout .. r.stderr)
  return r
end

describe("examples", function()
  teardown(world.cleanup)

  it("family builds, passes its tests and takes a version", function()
    world.needs "busybox"
    local dir = copy_of "family"
    local env = { BAKERY_STORE = world.tmp() .. "/store" }
    local function bakery(...) return world.bakery({ ... }, { cwd = dir, env = env }) end
    world.run({ "./prepare.sh" }, { cwd = dir })
    assert.truthy(good(bakery "check").stderr:find("no problems", 1, true))
    good(bakery("update", "files", "--check"))
    good(bakery "build")
    local _, count = assert(fs.read(dir .. "/built.txt")):gsub("\n", "")
    assert.equal(8, count)
    local r = good(bakery "test")
    assert.truthy(r.stderr:find("40 checks, 0 failed", 1, true), r.stderr)
    r = good(bakery("shell", "server-1-1-0-standard-scratch", "--", "/bin/sh", "-c", "/bin/serve; ls site"))
    assert.equal("<h1>Server 1.1.0 (standard)</h1>\nindex.html\npage\n", r.stdout)

    good(bakery("create", "version", "server", "1.2.0", "--value", "runtime=2.0"))
    good(bakery("update", "files", "--check"))
    good(bakery("build", "--image-version", "1.2", "--arg", "list=no"))
    r = good(bakery("test", "--image-version", "1.2"))
    assert.truthy(r.stderr:find("12 checks, 0 failed", 1, true), r.stderr)
    good(bakery("remove", "version", "server", "1.0.0", "--yes"))
    assert.is_false(fs.exists(dir .. "/server/1.0.0"))
    good(bakery "check")
  end)

  it("quickstart: its demo", function()
    world.needs "busybox"
    local dir = copy_of "quickstart"
    local where = world.tmp()
    local r = world.run({ "sh", dir .. "/demo.sh", world.bin }, { env = { BAKERY_STORE = where .. "/store" } })
    assert.truthy((r.stdout .. r.stderr):find("32 checks, 0 failed", 1, true), r.stdout .. r.stderr)
    assert.is_true(fs.is_file(where .. "/demo-images/index.json"))
  end)
end)
