local world = require "lib.world"
local json = require "bakery.json"
local fs = require "bakery.fs"

describe("doctor", function()
  teardown(world.cleanup)

  it("says what works and how to fix the rest", function()
    local dir = world.project({ app = "FROM scratch\n" }, { registry = "registry.example.com/x", base = false })
    local r = world.bakery { "doctor", "-C", dir, "--json" }
    assert.equal(0, r.code, r.stderr)
    local rows = {}
    for _, row in ipairs(json.decode(r.stdout)) do
      rows[row.area .. " " .. row.name] = row
      if not row.ok then assert.truthy(type(row.fix) == "string", row.name .. " lacks a fix") end
    end
    assert.truthy(rows["builder isolation"].ok)
    assert.matches("^tier [A-G] %(%S+%): ", rows["builder isolation"].text)
    assert.truthy(rows["builder store"].ok)
    assert.truthy(rows["backend embedded"].ok)
    assert.equal(false, rows["registry registry.example.com"].ok)
    local text = world.bakery { "doctor", "-C", dir }.stdout
    assert.truthy(text:find("fix:", 1, true))
  end)

  it("finds credentials without showing them", function()
    local dir = world.project({ app = "FROM scratch\n" }, { registry = "registry.example.com/x", base = false })
    local auth = world.tmp() .. "/auth.json"
    assert(fs.write(auth, '{"auths":{"registry.example.com":{"auth":"dXNlcjpzZWNyZXQ="}}}'))
    local r = world.bakery({ "doctor", "-C", dir, "--json" }, { env = { REGISTRY_AUTH_FILE = auth } })
    for _, row in ipairs(json.decode(r.stdout)) do
      if row.name == "registry.example.com" then assert.equal(true, row.ok) end
    end
    assert.falsy(r.stdout:find("secret", 1, true))
  end)
end)

describe("make install", function()
  teardown(world.cleanup)
  it("puts program, man page, completions and readable Lua in place", function()
    local dest = world.tmp()
    world.run { "make", "-s", "install", "PREFIX=/usr", "DESTDIR=" .. dest, "BUILD=" .. (os.getenv "BAKERY_BUILD" or "build/release") }
    for _, path in ipairs { "bin/bakery", "share/man/man1/bakery.1", "share/bash-completion/completions/bakery",
      "share/zsh/vendor-completions/_bakery", "share/fish/vendor_completions.d/bakery.fish", "share/bakery/recipes/build.lua",
      "share/bakery/templates/README.md" } do
      assert.truthy(fs.exists(dest .. "/usr/" .. path), path)
    end
    local moved = world.tmp() .. "/b"
    assert(fs.copy(dest .. "/usr/bin/bakery", moved))
    fs.chmod(moved, 493)
    assert.truthy(world.run({ moved, "recipes", "list" }, { cwd = dest }).stdout:find("build", 1, true))
    if world.needs "man" then
      local page = dest .. "/usr/share/man/man1/bakery.1"
      for _, locale in ipairs { "C", "C.UTF-8" } do
        assert.equal("", world.run({ "man", "--warnings", "-l", page }, { env = { MANPAGER = "cat", LC_ALL = locale } }).stderr)
      end
    end
  end)
end)
