-- Layers of base images are unpacked while they come; what counts is what was verified.
local world = require "lib.world"
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local registry = require "lib.registry"

describe("base layers that come over the network", function()
  local q, whole
  local MB = 1 << 20
  setup(function()
    q = registry.quirky()
    local random = assert(io.open("/dev/urandom", "rb"))
    whole = random:read(3 * MB)
    random:close()
    local dir = world.project({ base = "FROM scratch\nCOPY data /data\nCOPY base/ /\nCOPY small /small\n" }, { registry = q.host .. "/team" })
    world.write(dir, { data = whole, small = "small" })
    local r = world.bakery { "build", "-C", dir, "--store", world.tmp() .. "/s", "--progress", "plain", "--push" }
    assert.equal(0, r.code, r.stderr)
  end)
  teardown(function()
    q:stop()
    world.cleanup()
  end)
  before_each(function() q:set {} end)

  local function build(store, ...)
    local dir = world.project { app = ("FROM %s/team/base:1.0.0\nCOPY x /x\n"):format(q.host) }
    world.write(dir, { x = "x" })
    return world.bakery { "build", "-C", dir, "--store", store, "--progress", "plain", "--output", "local:" .. store .. ".out", ... }
  end

  local function good(quirks)
    local store = world.tmp() .. "/s"
    q:set(quirks)
    local r = build(store)
    assert.equal(0, r.code, r.stderr)
    assert.is_true(whole == fs.read(store .. ".out/data"))
    assert.equal("small", fs.read(store .. ".out/small"))
    assert.equal(0, world.bakery({ "store", "check", "--store", store }).code)
    assert.same({}, fs.list(store .. "/tmp"))
  end

  it("are whole however the connection behaves", function()
    good {}
    good { slow = { MB // 2, 0.05 } }
    good { cut_body = { 100000, 3, MB, 2 * MB, 1 } }
    good { cut_body = { 2 * MB, MB, 5000 }, no_range = true }
    good { cut_body = { MB, 2 * MB }, bad_range = 1 }
  end)

  it("are fetched again when their content is wrong once", function() good { wrong_large = 1 } end)

  it("leave nothing when the content stays wrong or does not come", function()
    for _, quirks in ipairs { { wrong_large = -1 }, { cut_body = MB, no_range = true } } do
      q:set(quirks)
      local store = world.tmp() .. "/s"
      local dir = world.project { app = ("FROM %s/team/base:1.0.0\nCOPY x /x\n"):format(q.host) }
      world.write(dir, { x = "x" })
      local r = world.bakery({ "build", "-C", dir, "--store", store, "--progress", "plain" },
        { env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "2", BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF = "0.01" } })
      assert.is_true(r.code ~= 0, r.stderr)
      assert.truthy(r.stderr:find("download layer", 1, true) or r.stderr:find("pull blob", 1, true), r.stderr)
      assert.same({}, fs.list(store .. "/tmp"))
      for _, record in ipairs(fs.glob(store .. "/layers/*/meta.json")) do
        assert.is_nil(fs.read(record):find(tostring(#whole), 1, true))
      end
      assert.equal(0, world.bakery({ "store", "check", "--store", store }).code)
      q:set {}
      assert.equal(0, world.bakery({ "build", "-C", dir, "--store", store, "--progress", "plain" }).code)
    end
  end)

  it("leave nothing when the build is interrupted meanwhile", function()
    q:set { slow = { 65536, 0.1 } }
    local store = world.tmp() .. "/s"
    local dir = world.project { app = ("FROM %s/team/base:1.0.0\nCOPY x /x\n"):format(q.host) }
    world.write(dir, { x = "x" })
    local p = world.start { "build", "-C", dir, "--store", store, "--progress", "plain" }
    local deadline = loop.now() + 30
    -- The first layer's files are there long before its blob is.
    while #fs.glob(store .. "/tmp/*/*/fs/data") == 0 and loop.now() < deadline do loop.sleep(0.01) end
    assert.is_true(#fs.glob(store .. "/tmp/*/*/fs/data") > 0)
    p:kill "TERM"
    assert.is_true(p:wait().code ~= 0)
    assert.same({}, fs.list(store .. "/tmp"))
    p:close()
  end)
end)
