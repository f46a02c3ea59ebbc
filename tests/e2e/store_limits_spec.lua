--- store gc, store prune and the limits of the environment.
local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"

local APP = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/z bs=1k count=64 && "
  .. "dd if=/dev/zero of=/z bs=1k count=1200 && echo %s > /v\n"

describe("store limits", function()
  local dir, store
  setup(function()
    store = world.tmp() .. "/store"
    dir = world.project { app = APP:format "1" }
  end)
  teardown(world.cleanup)
  local function bakery(args, env)
    local cmd = { "-C", dir, "--store", store }
    table.move(args, 1, #args, #cmd + 1, cmd)
    return world.bakery(cmd, { env = env })
  end
  local function usage() return json.decode(bakery({ "store", "du", "--json" }).stdout) end

  it("prune asks, shows, and removes what can be made again but no image", function()
    assert.equal(0, bakery({ "build" }).code)
    local before = usage()
    assert.is_true(before.keys.count >= 2 and before.cachemounts.bytes > 0)
    local r = bakery { "store", "prune" }
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("nothing is removed without --yes", 1, true), r.stderr)
    assert.equal(0, bakery({ "store", "prune", "--dry-run" }).code)
    assert.equal(before.keys.count, usage().keys.count)
    assert.equal(0, bakery({ "store", "prune", "--older-than", "1", "--yes" }).code)
    assert.equal(before.keys.count, usage().keys.count)
    assert.equal(0, bakery({ "store", "prune", "--yes" }).code)
    local after = usage()
    assert.equal(0, after.keys.count, world.run({ "find", store .. "/keys", "-type", "f", "-exec", "cat", "{}", ";" }).stdout)
    assert.equal(0, after.cachemounts.bytes)
    assert.is_true(after.layers.count >= 2) -- of the image
    assert.equal(0, bakery({ "store", "check" }).code)
    r = bakery { "shell", "app-1-0-0", "--", "cat", "/v" }
    assert.equal("1\n", r.stdout, r.stderr)
    assert.equal(0, bakery({ "store", "prune", "--images", "--yes" }).code)
    assert.equal(0, usage().layers.count)
    r = bakery { "build" }
    assert.equal(0, r.code, r.stderr)
  end)

  it("gc takes sizes as people write them", function()
    local r = bakery { "store", "gc", "--max-size", "1k" }
    assert.equal(0, r.code, r.stderr)
    r = bakery { "store", "gc", "--max-size", "many" }
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("--max-size: expected a size such as 20g, got 'many'", 1, true), r.stderr)
  end)

  it("limits of the environment hold after a build that made something", function()
    local env = { BAKERY_STORE_MAX_SIZE = "2m" }
    fs.remove(store, { recursive = true })
    local said
    for i = 1, 4 do
      world.write(dir, { ["app/1.0.0/Containerfile"] = APP:format(tostring(i)) })
      fs.remove(store .. "/log/limits") -- as if an hour had gone by
      local r = bakery({ "build" }, env)
      assert.equal(0, r.code, r.stderr)
      said = said or r.stderr:find("went, by BAKERY_STORE_MAX_SIZE", 1, true)
    end
    assert.truthy(said)
    assert.equal(0, bakery({ "store", "check" }).code)
    -- the last image is whole, whatever went
    local r = bakery { "shell", "app-1-0-0", "--", "cat", "/v" }
    assert.equal("4\n", r.stdout, r.stderr)
    for name, value in pairs { BAKERY_STORE_MAX_SIZE = "huge", BAKERY_STORE_MAX_AGE = "old" } do
      r = bakery({ "build" }, { [name] = value })
      assert.equal(2, r.code)
      assert.truthy(r.stderr:find(name .. ": expected", 1, true), r.stderr)
    end
  end)
end)
