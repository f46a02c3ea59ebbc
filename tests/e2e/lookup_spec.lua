-- Look-ups through the program: development versions, constraints, bakery.lock, --offline, failures
-- (config.md 2.3 to 2.8; defects D11 and D13).
local fs = require "bakery.fs"
local json = require "bakery.json"
local registry = require "lib.registry"
local upstream = require "lib.upstream"
local world = require "lib.world"

local site

setup(function() site = upstream.start() end)
teardown(function()
  site:stop()
  world.cleanup()
end)

local HEAD = "repository: {url: https://example.org/r}\nimages:\n"
local MATRIX = HEAD .. [[
  - name: mx
    matrix:
      namePattern: "R{{ Dependencies.R }}-tool{{ Dependencies.tool }}"
      dependencyConstraints:
        - dependency: R
          constraint: {latest: true, count: 2}
        - dependency: tool
          from: github:acme/tool
          constraint: {max: "2.0"}
      os:
        - {name: Debian 12, primary: true}
]]
local DEV = HEAD .. [[
  - name: product
    dependencyConstraints:
      - dependency: python
        constraint: {latest: true}
    devVersions:
      - sourceType: stream
        product: connect
        channel: daily
        values: {greeting: hello}
        os:
          - {name: Ubuntu 24.04, primary: true}
          - {name: Ubuntu 22.04, platforms: [linux/amd64, linux/arm64]}
          - {name: Scratch}
]]
local TEMPLATE = {
  ["product/template/Containerfile.ubuntu2404.jinja2"] = "FROM scratch\nLABEL url=\"{{ Image.DownloadURL }}\"\n"
    .. "COPY {{ Path.Version }}/data /\n",
  ["product/template/data.jinja2"] = "{{ greeting }} {{ Image.Version }} {{ Dependencies.python[0] }}\n",
}
-- Containerfiles get OS data in images with variants only.
local BUILT = DEV .. "    variants: [{name: Std, primary: true}]\n"
local DIR = "product/.dev-2026.08.0-dev+41-g0a1b2c3d4e"

local env

-- A project with its own cache; further files by path.
local function project(yaml, files)
  local dir = world.tmp()
  world.write(dir, { ["bakery.yaml"] = yaml })
  world.write(dir, files or {})
  site:set(site.calm)
  site:requests()
  env = {}
  for k, v in pairs(site.env) do env[k] = v end
  env.XDG_CACHE_HOME, env.XDG_CONFIG_HOME, env.XDG_STATE_HOME = dir .. "/.cache", dir .. "/.conf", dir .. "/.state"
  return dir
end

local function run(dir, ...)
  return world.bakery({ ... }, { cwd = dir, env = env })
end

local function good(dir, ...)
  local r = run(dir, ...)
  assert.are.equal(0, r.code, r.stderr)
  return r
end

local function dev_dirs(dir)
  local out = {}
  for _, name in ipairs(fs.list(dir .. "/product") or {}) do
    if name:find "^%.dev" then out[#out + 1] = name end
  end
  return out
end

describe("constraints of a matrix", function()
  it("become rows", function()
    local dir = project(MATRIX)
    local r = good(dir, "get", "targets", "--matrix-versions", "include")
    assert.are.equal("mx-r4-4-3-tool1-9-7-debian-12\nmx-r4-4-3-tool2-0-4-debian-12\nmx-r4-5-1-tool1-9-7-debian-12\n"
      .. "mx-r4-5-1-tool2-0-4-debian-12\n", r.stdout)
    assert.are.equal("", r.stderr)
  end)
  it("are not looked up when the image is not selected", function()
    local dir = project(MATRIX)
    assert.are.equal(8, run(dir, "plan").code)
    assert.are.equal(8, run(dir, "plan", "--matrix-versions", "include", "--image-name", "other").code)
    assert.are.same({}, site:requests())
  end)
  it("are looked up side by side", function()
    local dir = project(MATRIX)
    site:set { ["versions.json"] = { together = 2 }, ["/acme/tool/releases"] = { together = 2 } } -- no second page
    good(dir, "get", "targets", "--matrix-versions", "include")
    env.XDG_CACHE_HOME = dir .. "/.other"
    good(dir, "lock")
  end)
  it("name dependency, URL and place when the look-up fails", function()
    for _, case in ipairs { { { status = 404 }, "answers 404" }, { { body = "<html>" }, "no JSON" }, { { cut = 9 }, "" },
      { { loop = true }, "redirect" } } do
      local dir = project(MATRIX)
      site:set { ["versions.json"] = case[1] }
      local r = run(dir, "plan", "--matrix-versions", "include")
      assert.are.equal(6, r.code)
      assert.is_truthy(r.stderr:find("^bakery.yaml:7:11: error: images%[0%].matrix.dependencyConstraints%[0%]: R: "), r.stderr)
      assert.is_truthy(r.stderr:find("/r/versions.json", 1, true), r.stderr)
      assert.is_truthy(r.stderr:find(case[2], 1, true), r.stderr)
      assert.are.equal("", r.stdout)
    end
  end)
  it("that nothing meets are the user's error", function()
    local dir = project((MATRIX:gsub('max: "2.0"', 'max: "1.0"')))
    local r = run(dir, "plan", "--matrix-versions", "include")
    assert.are.equal(2, r.code)
    assert.is_truthy(r.stderr:find("bakery.yaml:9:11: error: ", 1, true), r.stderr)
    assert.is_truthy(r.stderr:find("tool: ", 1, true), r.stderr)
  end)
  it("take the project's own resolvers", function()
    local dir = project((MATRIX:gsub("github:acme/tool", "mine:x")), { ["resolvers/mine.lua"] =
      "return require('bakery.resolver').new { versions = function(ctx) return { ctx.argument == 'x' and '2.0.1' or '1' } end }" })
    assert.is_truthy(good(dir, "get", "targets", "--matrix-versions", "include").stdout:find("tool2-0-1", 1, true))
    assert(fs.write(dir .. "/resolvers/mine.lua", "return {\n  versions = function(ctx) return ctx.x.y end }"))
    local r = run(dir, "get", "targets", "--matrix-versions", "include")
    assert.are.equal(2, r.code)
    assert.is_truthy(r.stderr:find("resolvers/mine.lua:2", 1, true) or r.stderr:find("resolver 'mine'", 1, true), r.stderr)
  end)
  it("go through mirrors of the user's file, the project, the environment", function()
    local url = site.url .. "/cdn.posit.co"
    local section = ("resolvers: {mirrors: {\"https://cdn.posit.co\": %s}}\n"):format(url)
    local only = MATRIX:gsub("        %- dependency: tool.-      os:", "      os:"):gsub("%-tool{{ Dependencies.tool }}", "")
    local dir = project(only .. section)
    env.BAKERY_RESOLVER_MIRRORS = ""
    good(dir, "get", "targets", "--matrix-versions", "include")
    dir = project(only, { [".conf/bakery/config.yaml"] = section })
    env.BAKERY_RESOLVER_MIRRORS = ""
    good(dir, "get", "targets", "--matrix-versions", "include")
    dir = project(only .. section:gsub(url, "http://127.0.0.1:1/"))
    good(dir, "get", "targets", "--matrix-versions", "include")
    dir = project(only .. "resolvers: {mirrors: {cdn.posit.co: ftp://x}}\n")
    local r = run(dir, "plan")
    assert.are.equal(2, r.code)
    assert.is_truthy(r.stderr:find("expected an http(s) URL", 1, true), r.stderr)
    dir = project(only, { [".conf/bakery/config.yaml"] = "resolvers: {mirrors: []}\n" })
    r = run(dir, "plan", "--matrix-versions", "include")
    assert.are.equal(2, r.code)
    assert.is_truthy(r.stderr:find("config.yaml:1:22: error: resolvers.mirrors: expected a mapping", 1, true), r.stderr)
  end)
end)

describe("development versions", function()
  local function selected(dir, ...) return good(dir, "get", "targets", "--dev-versions", "include", ...).stdout end

  it("are one per OS that has a build; the others are named", function()
    local dir = project(DEV)
    local r = good(dir, "get", "targets", "--dev-versions", "include")
    assert.are.equal("product-2026-08-0-dev-41-g0a1b2c3d4e-ubuntu-22-04-daily\nproduct-2026-08-0-dev-41-g0a1b2c3d4e-ubuntu-24-04-daily\n",
      r.stdout)
    assert.is_truthy(r.stderr:find("no connect build for Scratch, dropped: connect: ", 1, true), r.stderr)
    assert.is_truthy(r.stderr:find("bakery.yaml:8:9: ", 1, true), r.stderr)
  end)
  it("are skipped with a warning when they cannot be looked up", function()
    local dir = project(DEV)
    site:set { ["latest-packages"] = { status = 502 } }
    local r = run(dir, "get", "targets", "--dev-versions", "include")
    assert.are.equal(0, r.code)
    assert.is_truthy(r.stderr:find("development version connect daily skipped: connect: GET", 1, true), r.stderr)
  end)
  it("of another channel are not looked up", function()
    local dir = project(DEV)
    assert.are.equal("", selected(dir, "--dev-channel", "preview"))
    assert.are.same({}, site:requests())
  end)
  it("leave no directories behind when only asked about (D13)", function()
    local dir = project(DEV, TEMPLATE)
    for _, words in ipairs { { "plan", "--dev-versions", "include" }, { "get", "tags", "--dev-versions", "only" },
      { "build", "--plan", "--dev-versions", "include", "--no-clean" }, { "get", "targets", "--dev-versions", "include" } } do
      good(dir, table.unpack(words))
      assert.are.same({}, dev_dirs(dir))
    end
  end)
  it("of a matrix image are left out with it (D11)", function()
    local dir = project(MATRIX .. "    devVersions:\n      - {sourceType: dependency, dependency: positron, os: [{name: Debian 12}]}\n")
    assert.are.equal("", run(dir, "get", "targets", "--dev-versions", "include").stdout)
    assert.are.same({}, site:requests())
    assert.is_truthy(selected(dir, "--matrix-versions", "include"):find("mx-2026-03-0-212-debian-12", 1, true))
  end)
  it("put the download URL of their platforms into the plan", function()
    local dir = project(DEV)
    local doc = json.decode(good(dir, "plan", "--dev-versions", "include").stdout)
    local extras = doc["x-bakery"].targets
    local one = extras["product-2026-08-0-dev-41-g0a1b2c3d4e-ubuntu-24-04-daily"]
    local two = extras["product-2026-08-0-dev-41-g0a1b2c3d4e-ubuntu-22-04-daily"]
    assert.is_truthy(one.ephemeral.url:find("~ubuntu24_amd64.deb", 1, true))
    assert.is_truthy(two.ephemeral.url:find("~ubuntu22_$TARGETARCH.deb", 1, true))
    assert.are.equal(DIR, one.versionDir)
  end)
  it("of R and python resolve", function()
    local dir = project(HEAD .. "  - name: x\n    devVersions:\n      - {sourceType: dependency, dependency: R, os: [{name: Debian 12}]}\n"
      .. "      - {sourceType: dependency, dependency: python, channel: daily, os: [{name: Debian 12}]}\n")
    assert.are.equal("x-3-14-0-debian-12-daily\nx-4-5-1-debian-12\n", selected(dir))
  end)

  it("are pinned by a dev-spec", function()
    local dir = project(DEV)
    site:set { ["rstudio-connect_2026.08.0-dev"] = { body = "x" } }
    local spec = '{"version": "2026.08.0-dev+40", "channel": "daily"}'
    local text = selected(dir, "--dev-spec", spec, "--image-os", "24.04")
    assert.are.equal("product-2026-08-0-dev-40-ubuntu-24-04-daily\n", text)
    env.BAKERY_DEV_SPEC = spec
    assert.are.equal(text, selected(dir, "--image-os", "24.04"))
    site:set {}
    local r = run(dir, "get", "targets", "--dev-versions", "include")
    assert.are.equal(2, r.code)
    assert.is_truthy(r.stderr:find("connect 2026.08.0-dev+40 is not available: https://cdn.posit.co/", 1, true), r.stderr)
    assert.is_truthy(r.stderr:find("bakery.yaml:8:9", 1, true), r.stderr)
    env.BAKERY_DEV_SPEC = '{"versions": "1"}'
    assert.are.equal(2, run(dir, "get", "targets", "--dev-versions", "include").code)
  end)
end)

describe("building development versions", function()
  local SELECT = { "--dev-versions", "include", "--image-os", "24.04" }
  local function build(dir, ...)
    local words = table.move(SELECT, 1, #SELECT, 2, { "build" })
    for _, w in ipairs { ... } do words[#words + 1] = w end
    return run(dir, table.unpack(words))
  end

  it("renders their files, and removes them", function()
    local dir = project(BUILT, TEMPLATE)
    local r = build(dir, "--output", "oci:" .. dir .. "/out")
    assert.are.equal(0, r.code, r.stderr)
    assert.are.same({}, dev_dirs(dir))
    local index = json.decode(assert(fs.read(dir .. "/out/index.json")))
    local digests = {}
    for _, m in ipairs(index.manifests) do digests[m.digest] = true end
    assert.is_nil(next(digests, (next(digests)))) -- every tag names the same image
    local text = registry.capture("cd " .. dir .. "/out && for f in blobs/sha256/*; do zcat -f $f; done | tr -d '\\0'")
    assert.is_truthy(text:find("hello 2026.08.0-dev+41-g0a1b2c3d4e 3.14.0", 1, true))
    assert.is_truthy(text:find("~ubuntu24_amd64.deb", 1, true))
  end)
  it("keeps them with --no-clean, and takes nothing old for new", function()
    local dir = project(BUILT, TEMPLATE)
    assert.are.equal(0, build(dir, "--no-clean").code)
    assert.are.equal("hello 2026.08.0-dev+41-g0a1b2c3d4e 3.14.0\n", fs.read(dir .. "/" .. DIR .. "/data"))
    world.write(dir, { [DIR .. "/data"] = "old", [DIR .. "/stray"] = "old" })
    assert.are.equal(0, build(dir, "--no-clean").code)
    assert.are.equal("hello 2026.08.0-dev+41-g0a1b2c3d4e 3.14.0\n", fs.read(dir .. "/" .. DIR .. "/data"))
    assert.is_false(fs.exists(dir .. "/" .. DIR .. "/stray"))
  end)
  it("removes them when the build fails, and says where a template is wrong", function()
    local dir = project(BUILT, TEMPLATE)
    world.write(dir, { ["product/template/Containerfile.ubuntu2404.jinja2"] = "FROM scratch\nCOPY nowhere /\n" })
    assert.are.equal(1, build(dir).code)
    assert.are.same({}, dev_dirs(dir))
    world.write(dir, { ["product/template/data.jinja2"] = "a\n{{ nope }}\n" })
    local r = build(dir)
    assert.are.equal(2, r.code, r.stderr)
    assert.is_truthy(r.stderr:find("product/template/data.jinja2, line 2", 1, true), r.stderr)
    assert.are.same({}, dev_dirs(dir))
  end)
  it("lets their checks run and publishes them, and leaves nothing behind (D13)", function()
    local server <close> = registry.start()
    local dir = project(BUILT:gsub("images:", ("registries: [{host: '%s', namespace: n}]\nimages:"):format(server.host), 1), TEMPLATE)
    world.write(dir, { ["product/template/test/goss.yaml.jinja2"] = "file:\n  /data:\n    exists: true\n" })
    assert.are.equal(0, build(dir).code)
    for _, verb in ipairs { "test", "publish" } do
      local r = run(dir, verb, table.unpack(SELECT))
      assert.are.equal(0, r.code, r.stderr)
      assert.are.same({}, dev_dirs(dir))
      if verb == "test" then assert.is_truthy(r.stderr:find("1 checks, 0 failed", 1, true), r.stderr) end
    end
    local client <close> = assert(require("bakery.oci").client {})
    assert.is_truthy(client:head(server.host .. "/n/product:daily"))
  end)
  it("needs no look-ups with a plan file", function()
    local dir = project(BUILT, TEMPLATE)
    assert(fs.write(dir .. "/plan.json", good(dir, "plan", table.unpack(SELECT)).stdout))
    site:requests()
    local r = run(dir, "build", "--plan-file", "plan.json", "--no-clean")
    assert.are.equal(0, r.code, r.stderr)
    assert.are.equal("hello 2026.08.0-dev+41-g0a1b2c3d4e 3.14.0\n", fs.read(dir .. "/" .. DIR .. "/data"))
    assert.are.same({}, site:requests())
  end)
  it("writes nothing outside of the image's development directories", function()
    local dir = project(BUILT, TEMPLATE)
    local text = good(dir, "plan", table.unpack(SELECT)).stdout
    for _, evil in ipairs { "product/../../evil", "product/2026", "product/.dev-x/../../y", "other/.dev-x", "/tmp/.dev-x" } do
      local at = text:gsub('"versionDir": "[^"]*"', function() return ('"versionDir": "%s"'):format(evil) end)
      assert(fs.write(dir .. "/plan.json", at))
      assert.are.equal(2, run(dir, "build", "--plan-file", "plan.json").code)
    end
    assert.are.same({}, dev_dirs(dir))
    assert.is_false(fs.exists(dir .. "/product/2026"))
  end)
  it("tidies up after a run that was killed, not under one that lives", function()
    local dir = project(BUILT, TEMPLATE)
    local started = dir .. "/started"
    world.write(dir, { ["recipes/build.lua"] = ([[
      local fs = require "bakery.fs"
      return require("bakery.recipe").extend("stock:build", { after = { render = { "hold", function(ctx)
        if ctx.arg.hold then
          fs.write(%q, "")
          require("bakery.process").run { cmd = { "sleep", "60" } }
        end
      end } } })]]):format(started) })
    local words = table.move(SELECT, 1, #SELECT, 2, { "build" })
    words[#words + 1] = "--arg"
    words[#words + 1] = "hold=1"
    local p = world.start(words, { cwd = dir, env = env })
    registry.wait("the held build", function() return fs.exists(started) end, 30)
    assert.are.equal(1, #dev_dirs(dir))
    assert.are.equal(0, build(dir).code) -- a second one beside it
    assert.are.equal(1, #dev_dirs(dir))
    p:kill(9)
    p:wait()
    assert.are.equal(1, #dev_dirs(dir))
    assert.are.equal(0, build(dir).code)
    assert.are.same({}, dev_dirs(dir))
    fs.remove(started)
    p = world.start(words, { cwd = dir, env = env })
    registry.wait("the held build", function() return fs.exists(started) end, 30)
    p:kill(2)
    p:wait()
    assert.are.same({}, dev_dirs(dir))
  end)
end)

describe("bakery lock", function()
  local BOTH = MATRIX .. DEV:sub(#HEAD + 1)
  local ALL = { "--matrix-versions", "include", "--dev-versions", "include" }
  local function targets(dir, ...)
    local words = table.move(ALL, 1, #ALL, 3, { "get", "targets" })
    for _, w in ipairs { ... } do words[#words + 1] = w end
    return run(dir, table.unpack(words))
  end
  local function lock_text(dir) return fs.read(dir .. "/bakery.lock") end

  it("pins every look-up; the pins hold when the world moves on", function()
    local dir = project(BOTH)
    local before = targets(dir)
    good(dir, "lock")
    local text = lock_text(dir)
    site:put("cdn.posit.co/r/versions.json", { r_versions = { "5.0.0" } })
    site:requests()
    env.XDG_CACHE_HOME = dir .. "/.other"
    local after = targets(dir, "--locked")
    assert.are.equal(before.stdout, after.stdout)
    assert.are.equal(0, after.code, after.stderr)
    assert.are.equal(before.stdout, targets(dir, "--offline").stdout)
    assert.are.equal(before.stdout, targets(dir).stdout)
    assert.are.same({}, site:requests())
    good(dir, "lock", "--keep")
    assert.are.equal(text, lock_text(dir))
    local r = good(dir, "lock", "R", "--dry-run")
    assert.is_truthy(r.stderr:find("changed  R latest count=2: 4.5.1, 4.4.3 -> 5.0.0", 1, true), r.stderr)
    assert.are.equal(text, lock_text(dir))
    good(dir, "lock", "R")
    assert.are.equal(text:gsub("4%.5%.1\n    %- 4%.4%.3", "5.0.0"), lock_text(dir))
    site:put("cdn.posit.co/r/versions.json", upstream.payloads()["cdn.posit.co/r/versions.json"])
  end)
  it("says what is missing, unused, or no longer fits, without looking up", function()
    local dir = project(BOTH)
    local r = run(dir, "lock", "--check")
    assert.are.equal(7, r.code)
    assert.is_truthy(r.stderr:find("there is no bakery.lock", 1, true), r.stderr)
    r = targets(dir, "--locked")
    assert.are.equal(7, r.code)
    assert.is_truthy(r.stderr:find("bakery.yaml:7:11: error: ", 1, true), r.stderr)
    good(dir, "lock")
    good(dir, "lock", "--check")
    site:requests()
    assert(fs.write(dir .. "/bakery.yaml", (BOTH:gsub("count: 2", "count: 3"))))
    r = run(dir, "lock", "--check")
    assert.are.equal(7, r.code)
    assert.is_truthy(r.stderr:find("R latest count=3: (to be looked up)", 1, true), r.stderr)
    assert.is_truthy(r.stderr:find("removed  R latest count=2", 1, true), r.stderr)
    assert.are.equal(7, targets(dir, "--locked").code)
    env.BAKERY_LOCKED = "1"
    assert.are.equal(7, targets(dir).code)
    env.BAKERY_LOCKED = "0"
    assert.are.same({}, site:requests())
    r = targets(dir)
    assert.are.equal(0, r.code, r.stderr)
    assert.is_truthy(r.stderr:find("R latest count=3 is not in bakery.lock and is looked up", 1, true), r.stderr)
    good(dir, "lock", "--keep")
    assert.is_nil(lock_text(dir):find("count=2", 1, true))
    good(dir, "lock", "--check")
  end)
  it("refuses pins that were edited against the constraint", function()
    local dir = project(BOTH)
    good(dir, "lock")
    assert(fs.write(dir .. "/bakery.lock", (lock_text(dir):gsub("%- 2%.0%.4", "- 3.0.0"))))
    local r = targets(dir, "--locked")
    assert.are.equal(7, r.code)
    assert.is_truthy(r.stderr:find("do not meet the constraint", 1, true), r.stderr)
    assert.are.equal(7, run(dir, "lock", "--check").code)
  end)
  it("drift of a development version is no warning", function()
    local dir = project(DEV)
    good(dir, "lock")
    assert(fs.write(dir .. "/bakery.yaml", (DEV:gsub("Scratch", "Rocky 9"))))
    local r = run(dir, "get", "targets", "--dev-versions", "include", "--locked")
    assert.are.equal(7, r.code)
    assert.is_truthy(r.stderr:find("connect daily for Rocky 9 is not in bakery.lock", 1, true), r.stderr)
  end)
  it("remembers that there is no build, and fails when it cannot know", function()
    local dir = project(DEV)
    good(dir, "lock")
    assert.is_truthy(lock_text(dir):find("    Scratch: null\n", 1, true))
    local r = run(dir, "get", "targets", "--dev-versions", "include", "--locked", "--offline")
    assert.are.equal(0, r.code, r.stderr)
    assert.is_truthy(r.stderr:find("bakery.lock says that there is no build", 1, true), r.stderr)
    local text = lock_text(dir)
    site:set { ["latest-packages"] = { status = 500 } }
    env.XDG_CACHE_HOME = dir .. "/.other"
    r = run(dir, "lock")
    assert.are.equal(6, r.code)
    assert.is_truthy(r.stderr:find("bakery.yaml:8:9: error: ", 1, true), r.stderr)
    assert.are.equal(text, lock_text(dir))
  end)
  it("writes nothing when nothing changed, and only a whole file", function()
    local dir = project(BOTH)
    good(dir, "lock")
    local stat = fs.stat(dir .. "/bakery.lock")
    local r = good(dir, "lock")
    assert.is_truthy(r.stderr:find("up to date", 1, true))
    assert.are.equal(stat.ino, fs.stat(dir .. "/bakery.lock").ino)
    assert.are.same({ file = dir .. "/bakery.lock", changes = {} }, (function()
      local doc = json.decode(good(dir, "lock", "--json").stdout)
      return { file = doc.file, changes = setmetatable(doc.changes, nil) }
    end)())
  end)
  it("a name that nothing has gets the nearest one", function()
    local r = run(project(BOTH), "lock", "connct")
    assert.are.equal(2, r.code)
    assert.is_truthy(r.stderr:find("did you mean 'connect'", 1, true), r.stderr)
  end)
  it("a broken bakery.lock is shown with its place", function()
    local dir = project(BOTH, { ["bakery.lock"] = "lock: 1\ndependencies:\n  - x\n" })
    for _, words in ipairs { { "lock", "--check" }, { "plan", "--matrix-versions", "include" } } do
      local r = run(dir, table.unpack(words))
      assert.are.equal(2, r.code, r.stderr)
      assert.is_truthy(r.stderr:find("bakery.lock:3:3: error: dependencies: expected a mapping", 1, true), r.stderr)
    end
  end)
end)

describe("create version", function()
  local YAML = HEAD .. "  - name: x\n    dependencyConstraints:\n      - dependency: R\n        constraint: {latest: true, count: 2}\n"
    .. "    versions:\n      - {name: 1.0.0, latest: true, os: [{name: Debian 12}]}\n"
  local FILES = { ["x/template/data.jinja2"] = "{{ Dependencies.R }}\n" }
  it("pins what the image's constraints give, and changes nothing when they give nothing", function()
    local dir = project(YAML, FILES)
    good(dir, "create", "version", "x", "2.0.0")
    assert.are.equal("['4.5.1', '4.4.3']\n", fs.read(dir .. "/x/2.0.0/data"))
    assert.is_truthy(fs.read(dir .. "/bakery.yaml"):find("4.4.3", 1, true))
    dir = project(YAML, FILES)
    site:set { ["versions.json"] = { status = 404 } }
    local r = run(dir, "create", "version", "x", "2.0.0")
    assert.are.equal(6, r.code)
    assert.is_truthy(r.stderr:find("bakery.yaml:5:9: error: images[0].dependencyConstraints[0]: R: GET", 1, true), r.stderr)
    assert.are.equal(YAML, fs.read(dir .. "/bakery.yaml"))
    assert.is_false(fs.exists(dir .. "/x/2.0.0"))
  end)
end)

describe("offline", function()
  it("takes kept answers, and says what it has none of", function()
    local dir = project(MATRIX)
    local r = run(dir, "get", "targets", "--matrix-versions", "include", "--offline")
    assert.are.equal(6, r.code)
    assert.is_truthy(r.stderr:find("--offline (or BAKERY_OFFLINE) is set", 1, true), r.stderr)
    assert.is_truthy(r.stderr:find("bakery.yaml:7:11", 1, true), r.stderr)
    local online = good(dir, "get", "targets", "--matrix-versions", "include").stdout
    site:requests()
    env.BAKERY_OFFLINE, env.BAKERY_CACHE_EXPIRE_AFTER = "true", "0"
    assert.are.equal(online, good(dir, "get", "targets", "--matrix-versions", "include").stdout)
    assert.are.same({}, site:requests())
    env.BAKERY_OFFLINE = "maybe"
    assert.are.equal(2, run(dir, "get", "targets").code)
  end)
end)

describe("tokens", function()
  it("go where they are meant to go, and are shown nowhere", function()
    local dir = project(MATRIX)
    local function sent(variable)
      for _, name in ipairs { "GITHUB_TOKEN", "GH_TOKEN", "BAKERY_GITHUB_TOKEN" } do
        env[name] = name == variable and "sekret-token" or ""
      end
      env.BAKERY_CACHE_EXPIRE_AFTER = "0"
      site:requests()
      local out = {}
      good(dir, "resolvers", "versions", "github:acme/tool")
      good(dir, "resolvers", "versions", "R")
      for _, r in ipairs(site:requests()) do
        local host = r.path:match "^/([^/]*)"
        if r.authorization then out[host .. " " .. r.authorization] = true end
      end
      return out
    end
    assert.are.same({ ["api.github.com Bearer sekret-token"] = true }, sent "BAKERY_GITHUB_TOKEN")
    assert.are.same({}, sent "GITHUB_TOKEN") -- the mirror is not GitHub
    assert.are.same({}, sent "GH_TOKEN")
    site:set { ["/acme/tool"] = { status = 403 } }
    env.BAKERY_GITHUB_TOKEN, env.XDG_CACHE_HOME = "sekret-token", dir .. "/.other"
    local r = run(dir, "resolvers", "versions", "github:acme/tool", "-v")
    assert.are.equal(6, r.code)
    assert.is_truthy(r.stderr:find("GitHub allows more with GITHUB_TOKEN", 1, true), r.stderr)
    assert.is_nil((r.stdout .. r.stderr):find("sekret", 1, true))
  end)
end)

describe("bakery resolvers", function()
  it("lists, shows and tries them", function()
    local dir = project(MATRIX, { ["resolvers/python.lua"] =
      "return require('bakery.resolver').extend('stock:python', { summary = 'ours' })" })
    local text = good(dir, "resolvers", "list").stdout
    assert.is_truthy(text:find("python +resolvers/python.lua +ours"), text)
    assert.is_truthy(text:find("quarto +stock +Quarto"), text)
    assert.is_truthy(good(dir, "resolvers", "show", "stock:python").stdout:find("download-metadata.json", 1, true))
    assert.are.equal("4.4.3\n4.3.3\n", good(dir, "resolvers", "versions", "R", "--max", "4.4", "--count", "2").stdout)
    assert.are.equal("2.1.0\n2.0.4\n1.9.7\n", good(dir, "resolvers", "versions", "github:acme/tool").stdout)
    assert.are.equal(2, run(dir, "resolvers", "versions", "nope").code)
    site:set { ["versions.json"] = { status = 500 } }
    env.BAKERY_CACHE_EXPIRE_AFTER, env.XDG_CACHE_HOME = "0", dir .. "/.other"
    assert.are.equal(6, run(dir, "resolvers", "versions", "R").code)
  end)
end)
