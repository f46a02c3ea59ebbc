--- Bad days: killed at any moment, no space, a registry that misbehaves.
local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"
local loop = require "bakery.loop"
local process = require "bakery.process"
local registry = require "lib.registry"

local function poll(what, fn, seconds)
  local deadline = loop.now() + (seconds or 30)
  while loop.now() < deadline do
    local v = fn()
    if v then return v end
    loop.sleep(0.02)
  end
  error("timed out waiting for " .. what, 2)
end

local function count(pattern)
  local n = 0
  for _, pid in ipairs(fs.list "/proc") do
    local text = pid:match "^%d+$" and fs.read("/proc/" .. pid .. "/cmdline")
    if text and text:find(pattern, 1, true) and tonumber(pid) ~= process.pid() then n = n + 1 end
  end
  return n
end

-- No process of the build, no mount and no temporary file may be left.
local function assert_clean(store, marker)
  poll("its processes to end", function() return count(marker) == 0 end)
  assert.falsy((fs.read "/proc/self/mountinfo"):find(store, 1, true))
end

describe("a build that is stopped", function()
  local dir, store, marker
  before_each(function()
    store = world.tmp() .. "/store"
    marker = "98765" .. process.pid() -- seconds that only our sleep has
    dir = world.project { app = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN echo started; sleep " .. marker .. "\n" }
  end)
  teardown(world.cleanup)

  local function start()
    local p = world.start({ "build", "-C", dir, "--store", store, "--progress", "plain" })
    poll("the RUN", function() return count(marker) > 0 end)
    return p
  end

  local function builds_again()
    world.write(dir, { ["app/1.0.0/Containerfile"] = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN echo fine\n" })
    local r = world.bakery { "build", "-C", dir, "--store", store, "--progress", "plain" }
    assert.equal(0, r.code, r.stderr)
    local check = world.bakery { "store", "check", "--store", store }
    assert.equal(0, check.code, check.stdout .. check.stderr)
    assert.same({}, fs.list(store .. "/tmp"))
  end

  it("by Ctrl-C exits 130, leaves nothing and builds again", function()
    local p = start()
    p:kill "SIGINT"
    local r = p:wait()
    assert.equal(130, r.code)
    assert_clean(store, marker)
    builds_again()
  end)

  it("by SIGTERM exits 143", function()
    local p = start()
    p:kill "SIGTERM"
    assert.equal(143, p:wait().code)
    assert_clean(store, marker)
  end)

  it("by kill -9 leaves nothing running and builds again", function()
    local p = start()
    p:kill "SIGKILL"
    p:wait()
    assert_clean(store, marker)
    builds_again()
  end)

  -- BAKERY_KILL_ROUNDS=200 for a long look.
  it("at random moments, several at a time, never spoils the store", function()
    local rounds = tonumber(os.getenv "BAKERY_KILL_ROUNDS") or 12
    local text = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nCOPY big /big\n"
      .. "RUN --mount=type=cache,target=/c cp -r /bin /b2 && cp /big/* /b2 && cp /big/f1 /c/f1\nRUN cp -r /b2 /b3\nRUN rm -rf /b2\n"
    world.write(dir, { ["app/1.0.0/Containerfile"] = text })
    for i = 1, 200 do world.write(dir, { ["big/f" .. i] = ("%d\n"):format(i):rep(500) }) end
    math.randomseed(7)
    local function start_one(round)
      return world.start({ "build", "-C", dir, "--store", store, "--progress", "quiet", "--output", "oci:" .. world.tmp() .. "/oci",
        round % 2 == 0 and "--no-cache" or "--cache" })
    end
    for round = 1, rounds do
      world.write(dir, { ["big/f1"] = ("%d\n"):format(round // 3) })
      local one, two = start_one(round), start_one(round + 1)
      loop.sleep(0.01 + math.random() * 0.25)
      for _, p in ipairs { one, two } do
        p:kill "SIGKILL"
        p:wait()
        p:close()
      end
    end
    local function digest(where)
      local r = world.bakery { "build", "-C", dir, "--store", where, "--progress", "plain", "--reproducible" }
      assert.equal(0, r.code, r.stderr)
      return r.stderr:match "built (%x+)"
    end
    assert.equal(digest(world.tmp() .. "/fresh"), digest(store))
    local check = world.bakery { "store", "check", "--store", store }
    assert.equal(0, check.code, check.stdout .. check.stderr)
    assert.same({}, fs.list(store .. "/tmp"))
    assert_clean(store, store)
  end)
end)

describe("a push that is killed", function()
  teardown(world.cleanup)

  it("leaves either all tags old or content without tags; the next push completes", function()
    local reg <close> = registry.start {}
    local store = world.tmp() .. "/store"
    local dir = world.project({ a = "FROM scratch\nCOPY base/ /\nCOPY blob /a\n", b = "FROM scratch\nCOPY base/ /\nCOPY blob /b\n" },
      { registry = reg.host .. "/k" })
    assert(process.run { cmd = { "dd", "if=/dev/urandom", "of=" .. dir .. "/blob", "bs=1M", "count=8" } })
    assert.equal(0, world.bakery { "build", "-C", dir, "--store", store }.code)
    math.randomseed(3)
    for _ = 1, 4 do
      local p = world.start { "publish", "-C", dir, "--store", store, "--progress", "quiet" }
      loop.sleep(0.02 + math.random() * 0.3)
      p:kill "SIGKILL"
      p:wait()
    end
    world.bakery { "publish", "-C", dir, "--store", store, "--resume" } -- where one stopped between two tags
    local r = world.bakery { "publish", "-C", dir, "--store", store, "--progress", "plain" }
    assert.equal(0, r.code, r.stderr)
    if not world.needs "skopeo" then return end
    for _, name in ipairs { "a", "b" } do
      local out = world.tmp()
      world.run { "skopeo", "copy", "--src-tls-verify=false", "docker://" .. reg.host .. "/k/" .. name .. ":latest", "dir:" .. out }
    end
  end)
end)

describe("a full disk", function()
  teardown(world.cleanup)

  it("is reported as such, and the store works when there is space again", function()
    if process.uid() ~= 0 then return pending("needs root") end
    local mnt = world.tmp() .. "/small"
    assert(fs.mkdir(mnt))
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nCOPY blob /blob\n" }
    assert(process.run { cmd = { "dd", "if=/dev/zero", "of=" .. dir .. "/blob", "bs=1M", "count=40" } })
    world.run { "mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", mnt }
    local ok, err = pcall(function()
      local r = world.bakery { "build", "-C", dir, "--store", mnt .. "/store", "--progress", "plain" }
      assert.equal(6, r.code, r.stderr)
      assert.truthy(r.stderr:find("No space left on device", 1, true), r.stderr)
      world.run { "mount", "-o", "remount,size=200m", mnt }
      r = world.bakery { "build", "-C", dir, "--store", mnt .. "/store", "--progress", "plain" }
      assert.equal(0, r.code, r.stderr)
    end)
    world.run { "umount", mnt }
    if not ok then error(err, 0) end
  end)
end)

describe("a full disk under an output", function()
  teardown(world.cleanup)

  it("is named with the output, nothing half is left, and what was there stays", function()
    if process.uid() ~= 0 then return pending("needs root") end
    local mnt, store = world.tmp() .. "/small", world.tmp() .. "/store"
    assert(fs.mkdir(mnt))
    local dir = world.project { app = "FROM scratch\nCOPY blob /blob\n", small = "FROM scratch\nLABEL a=b\n",
      both = "FROM scratch\nCOPY first /first\nCOPY blob /blob\n" }
    world.write(dir, { first = "fits\n" })
    assert(process.run { cmd = { "dd", "if=/dev/urandom", "of=" .. dir .. "/blob", "bs=1M", "count=20" } })
    world.run { "mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", mnt }
    local ok, err = pcall(function()
      local function build(image, spec)
        return world.bakery { "build", "-C", dir, "--store", store, "--progress", "plain", "--image-name", "^" .. image .. "$",
          "--output", spec }
      end
      for _, kind in ipairs { "oci", "docker-archive", "local", "tar" } do
        for _, image in ipairs { "app", "both" } do
          local r = build(image, kind .. ":" .. mnt .. "/out")
          assert.equal(6, r.code, r.stderr)
          assert.truthy(r.stderr:find("write " .. kind .. ":" .. mnt .. "/out: ", 1, true), r.stderr)
          assert.truthy(r.stderr:find("No space left on device", 1, true), r.stderr)
          assert.same({}, fs.list(mnt))
        end
      end
      assert.equal(0, build("small", "oci:" .. mnt .. "/kept").code)
      local index = fs.read(mnt .. "/kept/index.json")
      local blobs = fs.list(mnt .. "/kept/blobs/sha256")
      for _, image in ipairs { "app", "both" } do
        assert.equal(6, build(image, "oci:" .. mnt .. "/kept").code)
        assert.equal(index, fs.read(mnt .. "/kept/index.json"))
        assert.same(blobs, fs.list(mnt .. "/kept/blobs/sha256"))
      end
      assert.same({}, fs.list(store .. "/tmp"))
    end)
    world.run { "umount", mnt }
    if not ok then error(err, 0) end
  end)
end)

describe("results", function()
  teardown(world.cleanup)
  it("are written as each target ends", function()
    local store, state = world.tmp() .. "/store", world.tmp()
    local marker = "87654" .. process.pid()
    local dir = world.project { done = "FROM scratch\nLABEL a=b\n",
      slow = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN sleep " .. marker .. "\n" }
    local p = world.start({ "build", "-C", dir, "--store", store, "--progress", "quiet", "--jobs", "2", "--results",
      state .. "/results.json" }, { env = { XDG_STATE_HOME = state } })
    local file = poll("the first result", function()
      local list = fs.list(state .. "/bakery/runs")
      return list and list[1] and state .. "/bakery/runs/" .. list[1]
    end)
    poll("the RUN", function() return count(marker) > 0 end)
    p:kill "SIGKILL"
    p:wait()
    local line = json.decode(fs.read(file)) -- the journal: a line per target
    assert.equal("done-1-0-0", line.uid)
    assert.equal("ok", line.status)
    local doc = json.decode(fs.read(state .. "/results.json"))
    assert.equal("done-1-0-0", doc.targets[1].uid)
    assert.equal(false, doc.finished)
    -- the next run, which ends, leaves one document and no journal
    world.write(dir, { ["slow/1.0.0/Containerfile"] = "FROM scratch\n" })
    assert.equal(0, world.bakery({ "build", "-C", dir, "--store", store }, { env = { XDG_STATE_HOME = state } }).code)
    local kinds = {}
    for _, name in ipairs(fs.list(state .. "/bakery/runs")) do kinds[#kinds + 1] = name:match "%.(%w+)$" end
    assert.same({ "jsonl", "json" }, kinds)
  end)
end)
