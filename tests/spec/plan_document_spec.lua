-- The plan document: shape, caches, temporary registry, time, reading back (commands.md 2).
local fs = require "bakery.fs"
local json = require "bakery.json"
local plan = require "app.plan"
local project = require "app.project"
local projects = require "lib.projects"
local target = require "app.plan.target"

local function document(name, filters, opts)
  return plan.document(assert(projects.targets(projects.fixture(name), filters)), opts)
end

local function keys(object)
  local out = {}
  for key in json.pairs(object) do out[#out + 1] = key end
  return out
end

local function first(doc)
  return doc.target[doc.group.default.targets[1]]
end

describe("shape", function()
  it("key order is fixed", function()
    local doc = document("registries-two", {}, { cache_registry = "c.io/x", temp_registry = "t.io/y",
      push = true })
    assert.are.same({ "group", "target", "x-bakery" }, keys(doc))
    assert.are.same({ "context", "dockerfile", "labels", "tags", "args", "platforms", "cache-from",
      "cache-to", "output" }, keys(first(doc)))
    doc = document("build-target")
    assert.are.same({ "context", "dockerfile", "labels", "tags", "args", "target", "platforms" },
      keys(first(doc)))
  end)
  it("groups: default, then images and variants as they appear", function()
    local doc = document("variants-os")
    assert.are.same({ "default", "x", "A-b c!", "min", "std" }, keys(doc.group))
    assert.are.equal(9, #doc.group.default.targets)
    assert.are.equal(3, #doc.group.min.targets)
  end)
  it("an image named like a variant or like default shares the group", function()
    local found = projects.parse [[
repository: {url: a.b}
images:
  - {name: default, variants: [{name: default}], versions: [{name: "1", os: [{name: u}]}]}
]]
    local doc = plan.document(assert(projects.targets(found)))
    assert.are.same({ "default" }, keys(doc.group))
    assert.are.same({ "default-1-default-u" }, { table.unpack(doc.group.default.targets) })
  end)
  it("no targets give an empty plan", function()
    assert.are.equal('{\n  "group": {\n    "default": {\n      "targets": []\n    }\n  },\n  "target": {},\n'
      .. '  "x-bakery": {\n    "version": 1,\n    "targets": {}\n  }\n}\n', plan.encode(plan.document {}))
  end)
  it("the same project gives the same bytes", function()
    local a = plan.encode(document "registries-two")
    collectgarbage()
    assert.are.equal(a, plan.encode(document "registries-two"))
  end)
  it("names no absolute path", function()
    assert.is_nil(plan.encode(document "registries-two"):find(fs.cwd(), 1, true))
  end)
end)

describe("labels", function()
  it("are in order, prefixes in turn", function()
    local doc = document("registries-two", { image_variant = "Standard", image_os = "24" })
    assert.are.same({
      "org.opencontainers.image.created", "org.opencontainers.image.source",
      "org.opencontainers.image.title", "org.opencontainers.image.vendor",
      "co.posit.image.maintainer", "co.posit.image.name", "org.opencontainers.image.authors",
      "org.opencontainers.image.version", "org.opencontainers.image.description",
      "org.opencontainers.image.documentation", "co.posit.image.version",
      "co.posit.image.description", "co.posit.image.documentation", "co.posit.image.variant",
      "co.posit.image.os", "co.posit.image.tools.R", "co.posit.image.tools.quarto",
    }, keys(first(doc).labels))
    local labels = first(doc).labels
    assert.are.equal("Ann Bee <Ann@example.net>, Carl <not-checked>, zoe <zoe@example.net>",
      labels["org.opencontainers.image.authors"])
    assert.are.equal("4.5.1, 4.4.3", labels["co.posit.image.tools.R"])
    assert.are.equal("https://docs.example.org/my%20app", labels["co.posit.image.documentation"])
    assert.are.equal("Release Team <release@example.org>", labels["co.posit.image.maintainer"])
  end)
  it("a variant named Minimal carries no tools", function()
    local doc = document("registries-two", { image_variant = "Minimal", image_os = "24" })
    assert.is_nil(first(doc).labels["co.posit.image.tools.R"])
  end)
  it("the revision is in both prefixes", function()
    local targets = assert(projects.targets(projects.fixture "minimal", {}, { revision = "abc" }))
    local labels = first(plan.document(targets)).labels
    assert.are.equal("abc", labels["org.opencontainers.image.revision"])
    assert.are.equal("abc", labels["co.posit.image.revision"])
  end)
  it("the creation time is one for the plan and follows SOURCE_DATE_EPOCH", function()
    local found = projects.fixture "registries-two"
    local targets = assert(plan.targets(found, {}, { revision = false,
      env = function(name) return name == "SOURCE_DATE_EPOCH" and "1735689600" or nil end }))
    local doc = plan.document(targets)
    for _, entry in pairs(doc.target) do
      assert.are.equal("2025-01-01T00:00:00Z", entry.labels["org.opencontainers.image.created"])
    end
    assert.are.equal("2025-01-01T00:00:00Z", doc["x-bakery"].created)
    assert.are.equal("1970-01-01T00:00:01Z",
      first(plan.document(targets, { epoch = 1 })).labels["org.opencontainers.image.created"])
    assert.are.equal("X", plan.document(targets, { created = "X" })["x-bakery"].created)
    targets = assert(plan.targets(found, {}, { env = function() end }))
    assert.is_truthy(targets[1].created:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"))
  end)
  it("a bad SOURCE_DATE_EPOCH is refused", function()
    for _, text in ipairs { "x", "-1", "1.5", "99999999999999999999" } do
      local list, err = plan.targets(projects.fixture "minimal", {}, { env = function() return text end })
      assert.is_nil(list)
      assert.are.equal("usage", err.class)
    end
  end)
end)

describe("caches and temporary registries", function()
  it("cache-from always, cache-to only when pushing", function()
    local entry = first(document("minimal", {}, { cache_registry = "ghcr.io/posit-dev" }))
    assert.are.same({ { type = "registry", ref = "ghcr.io/posit-dev/hello/cache:1.0.0-scratch-amd64" } },
      json.decode(json.encode(entry["cache-from"])))
    assert.is_nil(entry["cache-to"])
    entry = first(document("minimal", {}, { cache_registry = "ghcr.io/posit-dev", push = true }))
    assert.are.same({ { type = "registry", ref = "ghcr.io/posit-dev/hello/cache:1.0.0-scratch-amd64",
      mode = "max", compression = "zstd", ["oci-mediatypes"] = "true" } },
      json.decode(json.encode(entry["cache-to"])))
  end)
  for _, case in ipairs {
    { "1.2.3+x", "1.2.3-u-v-amd64", { "linux/amd64" } },
    { "2025.05.1-a b", "2025.05.1-a-b-u-v", { "linux/amd64", "linux/arm64" } },
    { "..1_", "1-u-v-arm64", { "linux/arm64" } },
    { "R4/x", "R4-x-u-v-arm-v7", { "linux/arm/v7" } },
  } do
    it("cache tag of " .. case[1], function()
      assert.are.equal("r:5000/c/img/cache:" .. case[2], target.cache_ref("r:5000/c", "img", case[1],
        "u", "v", case[3]))
    end)
  end
  it("a narrowed plan shows what is built: platforms and cache references", function()
    local entry = first(document("registries-two", { image_platform = { "arm64" } },
      { cache_registry = "c.io" }))
    assert.are.same({ "linux/arm64" }, { table.unpack(entry.platforms) })
    assert.is_truthy(entry["cache-from"][1].ref:find("-arm64$"))
  end)
  it("a temporary registry gives one untagged name, ports kept", function()
    local doc = document("registries-two", {}, { temp_registry = "localhost:5000" })
    local entry = first(doc)
    assert.are.same({ "localhost:5000/my-app/tmp" }, { table.unpack(entry.tags) })
    assert.is_nil(entry.output)
    local extra = doc["x-bakery"].targets[doc.group.default.targets[1]]
    assert.is_true(#extra.tags > 1)
    entry = first(document("registries-two", {}, { temp_registry = "localhost:5000", push = true }))
    assert.are.same({ { type = "image", ["push-by-digest"] = "true", ["name-canonical"] = "true",
      push = "true" } }, json.decode(json.encode(entry.output)))
  end)
end)

describe("secrets and arguments", function()
  it("set secrets only, a warning for the others", function()
    local targets, warnings = projects.targets(projects.fixture "secrets", {},
      { env = { FIXTURE_TOKEN = "top secret", FIXTURE_UNSET = "" } })
    local doc = plan.document(targets)
    assert.are.same({ { type = "env", id = "github_token", env = "FIXTURE_TOKEN" } },
      json.decode(json.encode(first(doc).secret)))
    assert.is_nil(plan.encode(doc):find("top secret", 1, true))
    assert.are.same({ 'image "private": build secret a.b-c is left out, FIXTURE_UNSET is not set' },
      projects.texts(warnings))
  end)
  it("matrix rows pin dependencies, then values in file order", function()
    local doc = document("matrix-values", { matrix_versions = "include", image_name = "vals" })
    assert.are.same({ "PYTHON_VERSION", "ZETA", "ALPHA" }, keys(first(doc).args))
    assert.are.equal("", first(doc).target)
  end)
  it("the build target of a version wins, even an empty one", function()
    local doc = document "build-target"
    assert.are.same({ "runtime", "debug", "" }, {
      doc.target["staged-1-0-0-debian-12"].target,
      doc.target["staged-2-0-0-debian-12"].target,
      doc.target["staged-3-0-0-debian-12"].target,
    })
  end)
end)

describe("tool options", function()
  local function goss(doc, uid)
    local options = doc["x-bakery"].targets[uid].options
    return json.decode(json.encode(options))
  end
  it("variants complete theirs from the image's, written members win", function()
    local doc = document "options"
    assert.are.same({ command = "serve", runtimeOptions = "--privileged", timeout = 900, wait = 10 },
      goss(doc, "with-variants-1-0-0-inherits-debian-12").goss)
    local explicit = goss(doc, "with-variants-1-0-0-explicit-debian-12")
    assert.are.same({ command = "serve", runtimeOptions = "--privileged", timeout = 30, wait = 0 },
      explicit.goss)
    assert.are.same({ enabled = true, span_size = 4194304 }, explicit.soci)
    assert.are.same({ failureThreshold = "warning", ignored = { "DL3008" },
      override = { error = { "DL3002" } }, labelSchema = { maintainer = "text" } }, explicit.hadolint)
  end)
  it("images without variants use theirs", function()
    local options = goss(document "options", "without-variants-1-0-0-debian-12")
    assert.are.equal(7, options.goss.wait)
    assert.are.same({ projects = { "a", "b" }, tags = { "x=y" } }, options.wizcli)
  end)
end)

describe("reading back", function()
  local dir
  setup(function() dir = assert(fs.tmpdir "plan-spec") end)
  teardown(function() fs.remove(dir, { recursive = true }) end)
  local function read(text)
    local file = fs.join(dir, "plan.json")
    assert(fs.write(file, text))
    return plan.read(file)
  end
  it("gives the same bytes", function()
    for _, name in ipairs { "registries-two", "matrix-values", "secrets", "options", "build-target" } do
      local text = plan.encode(document(name, { matrix_versions = "include" },
        { cache_registry = "a.b/c", temp_registry = "t.io", push = true }))
      local doc, err = read(text)
      assert.is_truthy(doc, tostring(err))
      assert.are.equal(text, plan.encode(doc))
    end
  end)
  it("takes a bake file without our keys", function()
    assert.is_truthy(read [[{"group": {"default": {"targets": ["a"]}}, "target": {"a":
      {"context": ".", "dockerfile": "Containerfile", "tags": ["x:1"], "platforms": ["linux/amd64"]}}}]])
  end)
  local GOOD = '"context": ".", "dockerfile": "x/Containerfile", "tags": [], "platforms": ["linux/amd64"]'
  for name, text in pairs {
    ["no JSON"] = "{",
    ["a list"] = "[]",
    ["a text"] = '"x"',
    ["no targets"] = '{"group": {}}',
    ["no default group"] = '{"group": {}, "target": {}}',
    ["a group that names nothing"] = '{"group": {"default": {"targets": ["a"]}}, "target": {}}',
    ["a target that is no object"] = '{"group": {"default": {"targets": []}}, "target": {"a": 5}}',
    ["a missing Containerfile"] = '{"group": {"default": {"targets": []}}, "target": {"a": '
      .. '{"context": ".", "tags": [], "platforms": []}}}',
    ["a path outside"] = '{"group": {"default": {"targets": []}}, "target": {"a": '
      .. '{"context": "..", "dockerfile": "/etc/passwd", "tags": [], "platforms": []}}}',
    ["tags that are no texts"] = '{"group": {"default": {"targets": []}}, "target": {"a": '
      .. '{"context": ".", "dockerfile": "x", "tags": [5], "platforms": []}}}',
    ["a secret of another kind"] = '{"group": {"default": {"targets": []}}, "target": {"a": {' .. GOOD
      .. ', "secret": [{"type": "file", "id": "x", "src": "/etc/shadow"}]}}}',
    ["extra data of a later format"] = '{"group": {"default": {"targets": []}}, "target": {}, '
      .. '"x-bakery": {"version": 99, "targets": {}}}',
    ["extra data without target"] = '{"group": {"default": {"targets": []}}, "target": {}, '
      .. '"x-bakery": {"version": 1, "targets": {"a": {}}}}',
  } do
    it("refuses " .. name, function()
      local doc, err = read(text)
      assert.is_nil(doc)
      assert.are.equal("usage", err.class)
      assert.is_truthy(err.where:find("plan.json", 1, true))
    end)
  end
  it("names all problems", function()
    local _, err = read '{"group": {"default": {"targets": []}}, "target": {"a": {}, "b": {}}}'
    assert.are.equal(8, #err.errors)
    assert.are.equal("target.a.context is missing", err.errors[1].message)
  end)
  it("a file that is not there is an error", function()
    local doc, err = plan.read(fs.join(dir, "nope.json"))
    assert.is_nil(doc)
    assert.are.equal("ENOENT", err.code)
  end)
end)

describe("finding the project", function()
  local dir
  setup(function()
    dir = fs.realpath(assert(fs.tmpdir "find-spec"))
    fs.mkdir(dir .. "/a/b", { parents = true })
    fs.write(dir .. "/bakery.yml", "repository: {url: a.b}\n")
  end)
  teardown(function() fs.remove(dir, { recursive = true }) end)
  it("searches upward from the working directory", function()
    assert.are.same({ dir, dir .. "/bakery.yml" }, { project.find(dir .. "/a/b") })
  end)
  it("takes an explicit context exactly", function()
    assert.are.same({ dir, dir .. "/bakery.yml" }, { project.find(dir, { context = true }) })
    local found, err = project.find(dir .. "/a", { context = true })
    assert.is_nil(found)
    assert.are.equal("config.not_found", err.code)
    assert.are.equal("usage", err.class)
  end)
  it("prefers bakery.yaml and refuses what is no directory", function()
    fs.write(dir .. "/a/bakery.yml", "")
    fs.write(dir .. "/a/bakery.yaml", "")
    assert.are.equal(dir .. "/a/bakery.yaml", select(2, project.find(dir .. "/a")))
    assert.is_nil((project.find(dir .. "/bakery.yml")))
    assert.is_nil((project.find(dir .. "/nope")))
  end)
  it("loads what it finds", function()
    local found, errors, warnings = project.load(dir)
    assert.is_nil(errors)
    assert.are.equal("https://a.b/", found.repository.url)
    assert.are.equal(1, #warnings)
    found, errors = project.load(dir .. "/a/b")
    assert.is_nil(found)
    assert.are.equal("config.not_found", errors[1].code)
  end)
end)
