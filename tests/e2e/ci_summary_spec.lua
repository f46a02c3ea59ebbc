-- `ci summary`, `--summary` of build and publish, the order of build's checks, --plan-file in later stages.
local fs = require "bakery.fs"
local json = require "bakery.json"
local registry = require "lib.registry"
local world = require "lib.world"

local APP = "FROM scratch\nCOPY base/ /\nRUN echo built > /result\n"

describe("summaries", function()
  local reg, store
  setup(function()
    reg = registry.start {}
    store = world.tmp() .. "/store"
  end)
  teardown(function()
    reg:stop()
    world.cleanup()
  end)

  local function bakery(dir, command, args, opts)
    local cmd = { command, "-C", dir, "--store", store, "--progress", "plain" }
    for _, a in ipairs(args or {}) do cmd[#cmd + 1] = a end
    return world.bakery(cmd, opts)
  end

  it("of a build: JSON on standard output, table on standard error, nothing with -q", function()
    local dir = world.project({ app = APP, other = "FROM scratch\nCOPY base/ /\n" }, { registry = reg.host .. "/sum" })
    local r = bakery(dir, "build", { "--summary", "--summary-format", "json" })
    assert.equal(0, r.code, r.stderr)
    local doc = json.decode(r.stdout)
    assert.same({ 2, 2, 4, json.null, json.null }, { doc.build_targets, doc.platform_builds, doc.registry_tags,
      doc.registry_size_bytes, doc.cache_size_bytes })
    assert.truthy(doc.local_size_bytes > 500000)
    local app = doc.targets[1]
    assert.same({ "app-1-0-0", "app", "1.0.0", "", "", 1, 2, 2 }, { app.uid, app.image_name, app.version, app.os, app.variant,
      app.platforms, app.tags, app.layers })
    r = bakery(dir, "build", { "--summary", "--push", "--cache-registry", reg.host .. "/cache" })
    assert.equal(0, r.code, r.stderr)
    assert.equal("", r.stdout)
    assert.truthy(r.stderr:find("Build Summary (2 targets)", 1, true), r.stderr)
    assert.truthy(r.stderr:find "\nTotal +2 +4 +[%d.]+ [kM]B +[%d.]+ [kM]B +[%d.]+ %a*B\n", r.stderr)
    r = bakery(dir, "build", { "--summary", "-q" })
    assert.same({ 0, "", "" }, { r.code, r.stdout, r.stderr })
    -- build and publish of the same targets, merged: nothing is counted twice (D8)
    local out = world.tmp()
    world.write(out, { ["build.json"] = bakery(dir, "build", { "--summary-format", "json" }).stdout,
      ["publish.json"] = bakery(dir, "publish", { "--summary-format", "json" }).stdout, ["broken.json"] = "{" })
    r = world.bakery({ "ci", "summary", "[bp]*.json", "none.json", "--output", "report.md", "--disclaimer", "Careful", "--json" },
      { cwd = out })
    assert.equal(0, r.code, r.stderr)
    doc = json.decode(r.stdout)
    assert.same({ 2, 2, 4 }, { doc.build_targets, doc.platform_builds, doc.registry_tags })
    assert.truthy(doc.registry_size_bytes > 100000 and doc.local_size_bytes > doc.registry_size_bytes)
    assert.truthy(r.stderr:find("broken.json: left out:", 1, true), r.stderr)
    assert.truthy(r.stderr:find("none.json: left out:", 1, true), r.stderr)
    local text = fs.read(out .. "/report.md")
    assert.truthy(text:find("^> ⚠️ %*%*Careful%*%*\n\n### Build Summary\n"), text)
    assert.truthy(text:find("| app | 1.0.0 |  |  | 1 | 2 | 2 |", 1, true), text)
    r = world.bakery({ "ci", "summary", "build.json", "--output", "/dev/stdout" }, { cwd = out })
    assert.truthy(r.stdout:find("### Build Summary", 1, true), r.stderr)
    r = world.bakery({ "ci", "summary", "-q", "none.json", "--output", "-" }, { cwd = out })
    assert.same({ 0, "" }, { r.code, r.stderr })
    assert.equal(2, world.bakery({ "ci", "summary", "build.json" }, { cwd = out }).code)
    assert.equal(2, world.bakery({ "ci", "summary", "--output", "x" }, { cwd = out }).code)
    assert.not_equal(0, world.bakery({ "ci", "summary", "build.json", "--output", "/none/x" }, { cwd = out }).code)
  end)

  it("of a plan are counts; checks come in their order", function()
    local dir = world.project({ app = APP }, { base = false })
    local r = bakery(dir, "build", { "--plan", "--summary" })
    assert.equal(0, r.code)
    assert.equal("app-1-0-0", json.decode(r.stdout).group.default.targets[1])
    assert.truthy(r.stderr:find("Platform Builds      1", 1, true), r.stderr)
    local cases = {
      { { "--plan", "--strategy", "build", "--image-name", "x" }, 8, "--image-name x" },
      { { "--image-name", "x", "--image-platform", "arm" }, 8, "--image-name x --image-platform arm" },
      { { "--plan", "--strategy", "build", "--summary", "--summary-format", "json" }, 1, "--strategy is build" },
      { { "--plan", "--strategy", "BAKE", "--summary", "--summary-format", "json" }, 1, "standard output" },
      { { "--strategy", "make" }, 2, "expected bake|build" },
      { { "--retry", "-1" }, 2, "at least 0" }, { { "--jobs", "0" }, 2, "at least 1" },
      { { "-v", "-q" }, 2, "exclude each other" }, { { "--dev-versions", "maybe" }, 2, "include|exclude|only" },
      { { "--dev-versions", "only", "--dev-spec", "{" }, 2, "dev-spec" },
    }
    for _, c in ipairs(cases) do
      r = bakery(dir, "build", c[1])
      assert.equal(c[2], r.code, table.concat(c[1], " ") .. r.stderr)
      assert.equal("", r.stdout)
      assert.truthy(r.stderr:find(c[3], 1, true), r.stderr)
    end
    world.write(dir, { ["bakery.yaml"] = "repository: 5\nimages: [{}]\n" })
    r = bakery(dir, "build", { "--plan", "--strategy", "build" })
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("bakery.yaml:1:13", 1, true) and r.stderr:find("bakery.yaml:2:10", 1, true), r.stderr)
    assert.falsy(r.stderr:find("traceback", 1, true))
  end)

  it("metadata of what succeeded is kept when others fail, and every failure is named at the end (D6, D7)", function()
    local dir = world.project { good = "FROM scratch\nCOPY base/ /\n", bad = "FROM scratch\nCOPY base/ /\nRUN exit 9\n",
      worse = "FROM scratch\nCOPY nothing /\n" }
    local meta = dir .. "/meta.json"
    local r = bakery(dir, "build", { "--metadata-file", meta, "--summary-format", "json" })
    assert.equal(5, r.code, r.stderr)
    local found = json.decode(fs.read(meta))
    assert.is_nil(found["bad-1-0-0"])
    assert.truthy(found["good-1-0-0"]["containerimage.digest"])
    assert.equal(3, json.decode(r.stdout).build_targets)
    local tail = r.stderr:match "bakery: bad%-1%-0%-0.*$"
    assert.truthy(tail and tail:find("exit code 9", 1, true) and tail:find("worse-1-0-0: ", 1, true)
      and tail:find("build failed: 2 of 3 targets", 1, true), r.stderr)
    -- The registry is away: the images are built, the metadata is written all the same.
    dir = world.project({ good = "FROM scratch\nCOPY base/ /\n" }, { registry = "127.0.0.1:1/x" })
    meta = dir .. "/meta.json"
    r = bakery(dir, "build", { "--metadata-file", meta, "--push" }, { env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" } })
    assert.equal(6, r.code, r.stderr)
    assert.truthy(json.decode(fs.read(meta))["good-1-0-0"])
  end)

  it("metadata is there as soon as a target is, also of a run that is killed", function()
    local dir = world.project { fast = "FROM scratch\nCOPY base/ /\n", slow = "FROM scratch\nCOPY base/ /\nRUN sleep 300\n" }
    local meta = dir .. "/meta.json"
    local child = world.start { "build", "-C", dir, "--store", world.tmp() .. "/store", "--progress", "quiet",
      "--metadata-file", meta }
    registry.wait("metadata", function() return fs.exists(meta) end, 60)
    assert(child:kill "KILL")
    child:close()
    assert.truthy(json.decode(fs.read(meta))["fast-1-0-0"]["containerimage.digest"])
  end)

  it("one saved plan serves build, test and publish", function()
    local dir = world.project({ app = APP, other = "FROM scratch\nCOPY base/ /\n" }, { registry = reg.host .. "/saved" })
    local file = dir .. "/plan.json"
    world.write(dir, { ["plan.json"] = bakery(dir, "plan", { "--temp-registry", reg.host .. "/tmp" }).stdout,
      ["app/1.0.0/test/goss.yaml"] = "file:\n  /result: { exists: true }\n" })
    -- What the plan does not need any more is not read again.
    local yaml = fs.read(dir .. "/bakery.yaml")
    world.write(dir, { ["bakery.yaml"] = "changed: beyond recognition\n" })
    local r = bakery(dir, "build", { "--plan-file", file, "--image-name", "^app$", "--push", "--metadata-file", dir .. "/m.json" })
    assert.equal(0, r.code, r.stderr)
    local entry = json.decode(fs.read(dir .. "/m.json"))
    assert.is_nil(entry["other-1-0-0"])
    assert.equal(reg.host .. "/tmp/app/tmp:latest", entry["app-1-0-0"]["image.name"])
    assert.equal(1, reg:count("PUT /v2/tmp/app/tmp/manifests/sha256:"))
    assert.equal(0, reg:count("PUT /v2/tmp/app/tmp/manifests/latest"))
    r = bakery(dir, "test", { "--plan-file", file, "--image-name", "app" })
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("1 checks, 0 failed", 1, true), r.stderr)
    world.write(dir, { ["bakery.yaml"] = yaml })
    assert.equal(8, bakery(dir, "build", { "--plan-file", file, "--image-name", "nothing" }).code)
    assert.equal(2, bakery(dir, "build", { "--plan-file", dir .. "/none.json" }).code)
  end)
end)
