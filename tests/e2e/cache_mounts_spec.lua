--- RUN --mount=type=cache: who shares what at the same time, and what a killed build leaves of it.
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local process = require "bakery.process"
local world = require "lib.world"

local BASE = "FROM scratch AS sys\nCOPY base/ /\nENV PATH=/bin\n"

-- Waits in a RUN until a file is there, ten seconds at most.
local WAIT = "for i in $(seq 200); do test -e /m/%s && break; sleep 0.05; done; test -e /m/%s"

describe("cache mounts", function()
  teardown(world.cleanup)

  local function build(dir, store, args)
    local r = world.bakery({ "build", "-C", dir, "--store", store, "--progress", "plain", "--jobs", "4", table.unpack(args or {}) },
      { timeout = 60 })
    return r
  end

  -- Two stages that run at the same time: each waits for the other through a shared cache.
  local function pair(sharing, check)
    local out = { BASE }
    for i, other in ipairs { 2, 1 } do
      out[#out + 1] = ("FROM sys AS s%d\nRUN --mount=type=cache,id=m,target=/m --mount=type=cache,id=p,target=/p%s : > /p/%d; : > /m/%d; %s; %s; "
        .. ": > /done\n"):format(i, sharing, i, i, WAIT:format(other, other), check:format(other))
    end
    return table.concat(out) .. "FROM scratch\nCOPY --from=s1 /done /1\nCOPY --from=s2 /done /2\n"
  end

  it("shared at the same time show the same, private ones each its own, used again later", function()
    local store = world.tmp() .. "/store"
    local dir = world.project { app = pair("", "test -e /p/%d") }
    local r = build(dir, store)
    assert.equal(0, r.code, r.stderr)
    store = world.tmp() .. "/store"
    world.write(dir, { ["app/1.0.0/Containerfile"] = pair(",sharing=private", "test ! -e /p/%d") })
    r = build(dir, store)
    assert.equal(0, r.code, r.stderr)
    world.write(dir, { ["app/1.0.0/Containerfile"] = BASE
      .. "RUN --mount=type=cache,id=p,sharing=private,target=/p test -e /p/1 -o -e /p/2\n" })
    r = build(dir, store)
    assert.equal(0, r.code, r.stderr)
    assert.equal(2, #fs.glob(store .. "/cachemounts/*/p/*/data"))
  end)

  -- In a chroot the cache is in the step's tree meanwhile, here below a symlink of the image.
  for _, isolation in ipairs { "root", "root,flat", "chroot" } do
    it("of a build that was killed are kept with --isolation " .. isolation, function()
      if process.uid() ~= 0 then return pending "needs root" end
      local store, marker = world.tmp() .. "/store", "4712" .. process.pid()
      local text = BASE .. "RUN mkdir /deep; ln -s deep /link\nRUN --mount=type=cache,id=c,target=/c echo 1 > /c/before\n"
      local dir = world.project { app = text .. "RUN --mount=type=cache,id=c,target=/link/c : > /deep/c/during; "
        .. "sleep " .. marker .. "\n" }
      local p = world.start { "build", "-C", dir, "--store", store, "--isolation", isolation, "--progress", "quiet" }
      local deadline = loop.now() + 30
      local function running()
        for _, pid in ipairs(fs.list "/proc") do
          local line = pid:match "^%d+$" and fs.read("/proc/" .. pid .. "/cmdline")
          if line == "sleep\0" .. marker .. "\0" then return true end
        end
      end
      while not running() and loop.now() < deadline do loop.sleep(0.02) end
      assert.is_true(running())
      p:kill "SIGKILL"
      p:wait()
      while running() and loop.now() < deadline do loop.sleep(0.02) end
      assert.is_nil((running()))
      world.write(dir, { ["app/1.0.0/Containerfile"] = text .. "RUN --mount=type=cache,id=c,target=/c test -e /c/before && "
        .. "test -e /c/during && test ! -e /c/x && : > /c/after\nRUN --mount=type=cache,id=c,target=/c test -e /c/after\n" })
      local r = build(dir, store, { "--isolation", isolation })
      assert.equal(0, r.code, r.stderr)
      assert.same({}, fs.list(store .. "/tmp"))
      assert.equal(0, world.bakery({ "store", "check", "--store", store, "--isolation", isolation }).code)
    end)
  end
end)
