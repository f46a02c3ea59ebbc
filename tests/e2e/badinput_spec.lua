local world = require "lib.world"
local fs = require "bakery.fs"

local store

local function build(dir, args, opts)
  local cmd = { "build", "-C", dir, "--store", store, "--progress", "plain" }
  for _, a in ipairs(args or {}) do cmd[#cmd + 1] = a end
  return world.bakery(cmd, opts)
end

describe("bad input", function()
  setup(function() store = world.tmp() .. "/store" end)
  teardown(world.cleanup)

  local function expect(r, code, ...)
    assert.equal(code, r.code, r.stderr)
    for _, text in ipairs { ... } do assert.truthy(r.stderr:find(text, 1, true), r.stderr .. "\nlacks: " .. text) end
    assert.falsy(r.stderr:find("traceback", 1, true), r.stderr)
    assert.falsy(r.stderr:find("internal error", 1, true), r.stderr)
  end

  local HEAD = "repository:\n  url: https://example.com/p\n"

  it("in bakery.yaml is reported with place and hint, all at once", function()
    local cases = {
      { "images: [", "bakery.yaml:" },
      { HEAD .. "images:\n  - name: 5\n", "bakery.yaml:4:11" },
      { HEAD .. "images:\n  - name: a\n  - name: a\n", "bakery.yaml:5" },
      { HEAD .. "images: x\n", "bakery.yaml:3:9" },
      { HEAD .. "registries:\n  - host: a\n    nmespace: b\n", "did you mean", "namespace" },
      { HEAD .. "images:\n  - name: a\n    versions:\n      - name: \"1\"\n        latest: maybe\n      - latest: 7\n",
        "bakery.yaml:7:17", "bakery.yaml:8" },
      { "a: 1\na: 2\n", "duplicate key 'a'" },
      { "repository: {}\n", "url" },
    }
    for _, c in ipairs(cases) do
      local dir = world.tmp()
      world.write(dir, { ["bakery.yaml"] = c[1] })
      expect(build(dir), 2, table.unpack(c, 2))
    end
    expect(build(world.tmp()), 2, "no bakery.yaml")
  end)

  it("in a Containerfile is reported with place and hint", function()
    local cases = {
      { "FRM scratch\n", "Containerfile:1", "FROM" },
      { "FROM scratch\nRUN --mont=type=cache,target=/x true\n", "Containerfile:2", "mount" },
      { "FROM scratch\nCOPY nowhere /x\n", "Containerfile:2", "nowhere" },
      { "FROM scratch\nCOPY --from=nix /a /b\n", "Containerfile:2" },
      { "FROM scratch\nENV A\n", "Containerfile:2" },
      { "", "Containerfile" },
      { "FROM scratch\nCOPY ${X\n", "Containerfile:2" },
      { "FROM scratch\nRUN true\n", "Containerfile:2" }, -- no /bin/sh there
    }
    for _, c in ipairs(cases) do
      local dir = world.project({ app = c[1] }, { base = false })
      local r = build(dir)
      assert.truthy(r.code == 1 or r.code == 2 or r.code == 6, c[1] .. r.code)
      expect(r, r.code, table.unpack(c, 2))
    end
    local dir = world.project({ app = "FROM scratch\n" }, { base = false })
    fs.remove(dir .. "/app/1.0.0/Containerfile")
    expect(build(dir), 2, "app/1.0.0/Containerfile", "no such Containerfile")
  end)

  it("of tag patterns is reported before anything is built", function()
    local dir = world.tmp()
    world.write(dir, { ["bakery.yaml"] = HEAD
      .. "images:\n  - name: a\n    tagPatterns:\n      - patterns: [\"{{ Version | nofilter }}\"]\n"
      .. "    versions:\n      - name: \"1\"\n", ["a/1/Containerfile"] = "FROM scratch\n" })
    local r = build(dir)
    expect(r, 2, "nofilter")
  end)

  it("selecting nothing exits 8, or 0 when allowed", function()
    local dir = world.project({ app = "FROM scratch\n" }, { base = false })
    expect(build(dir, { "--image-name", "zzz" }), 8, "--image-name zzz")
    assert.equal(0, build(dir, { "--image-name", "zzz", "--allow-empty" }).code)
    expect(build(dir, { "--image-name", "(" }), 2, "(")
  end)

  it("of a base that does not exist or a registry that is down", function()
    local dir = world.project({ app = "FROM 127.0.0.1:1/none/such:1\n" }, { base = false })
    local env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" }
    expect(build(dir, {}, { env = env }), 6, "127.0.0.1:1/none/such:1", "Containerfile:1")
  end)

  it("of outputs, backends and plan files", function()
    local dir = world.project({ app = "FROM scratch\nLABEL a=b\n" }, { base = false })
    expect(build(dir, { "--output", "zip:x" }), 2, "unknown output")
    expect(build(dir, { "--backend", "embeded" }), 2, "did you mean 'embedded'")
    world.write(dir, { ["plan.json"] = "{\"group\": 5}" })
    expect(build(dir, { "--plan-file", dir .. "/plan.json" }), 2, "plan.json")
  end)
end)
