-- Build summaries: numbers, tables, merging, Markdown (commands.md 5.6).
local json = require "bakery.json"
local merge = require("app.summary.merge").merge
local measure = require "app.summary.measure"
local plan = require "app.plan"
local projects = require "lib.projects"
local summary = require "app.summary"
local tables = require "app.summary.tables"

local function entry(fields)
  local out = { uid = "a-1", image_name = "a", version = "1", os = "", variant = "", platforms = 1, tags = 2 }
  for k, v in pairs(fields or {}) do out[k] = v end
  if out.builds then out = summary.sum_builds(out) end
  return out
end

local function build(platform, registry, size, layers)
  return { platform = platform, registry_size = registry, local_size = size, layers = layers }
end

-- Through the file format, as `ci summary` does.
local function read(targets)
  return assert(summary.read(json.encode(summary.document(targets)), "f"))
end

local function merged(...)
  local lists = {}
  for i, t in ipairs { ... } do lists[i] = read { t } end
  local t = merge(lists)
  assert.are.equal(1, #t)
  return { t[1].platforms, t[1].layers or "-", t[1].registry_size or "-", t[1].local_size or "-", t[1].tags }
end

describe("the document", function()
  it("has the reference's keys in order, null for what is unknown", function()
    local text = json.encode(summary.document { entry { layers = 3, registry_size = 100, cache_ref = "r/a/cache:1",
      cache_size = 0 } })
    assert.are.equal('{"build_targets":1,"platform_builds":1,"registry_tags":2,"registry_size_bytes":100,'
      .. '"local_size_bytes":null,"cache_size_bytes":0,"targets":[{"uid":"a-1","image_name":"a","version":"1","os":"",'
      .. '"variant":"","platforms":1,"tags":2,"layers":3,"registry_size":100,"local_size":null,"cache_ref":"r/a/cache:1",'
      .. '"cache_size":0}]}', text)
  end)
  it("counts a cache once", function()
    local t = summary.totals { entry { cache_ref = "x", cache_size = 5 }, entry { cache_ref = "x", cache_size = 5 },
      entry { cache_ref = "y", cache_size = 7 }, entry {} }
    assert.are.equal(12, t.cache_size)
    assert.is_nil(summary.totals({ entry {} }).cache_size)
    assert.is_nil(t.registry_size)
  end)
  it("counts a plan", function()
    local doc = plan.document(assert(projects.targets(projects.fixture "registries-two")), { temp_registry = "t.io",
      cache_registry = "c.io" })
    local list = summary.planned(doc)
    assert.are.equal(#doc.group.default.targets, #list)
    assert.is_truthy(list[1].tags > 1)
    assert.is_truthy(list[1].cache_ref:find("^c%.io/"))
    assert.are.equal("", summary.planned(plan.document(assert(projects.targets(projects.fixture "no-os"))))[1].os)
  end)
  it("reads back what it wrote, and the reference's", function()
    local t = entry { builds = { build("linux/amd64", 10, nil, 2), build("linux/arm64") }, stage = "publish" }
    assert.are.same({ t }, read { t })
    local list = assert(summary.read('{"build_targets":1,"targets":[{"uid":"u","image_name":"i","version":"1","os":null,'
      .. '"variant":"","platforms":2,"tags":1,"layers":null,"registry_size":5}]}', "f"))
    assert.are.same({ uid = "u", image_name = "i", version = "1", os = "", variant = "", platforms = 2, tags = 1,
      registry_size = 5 }, list[1])
  end)
  for _, text in ipairs { "", "{", "[]", "5", "{}", '{"targets":[]}', '{"build_targets":1,"targets":[5]}',
    '{"build_targets":1,"targets":[{"uid":"u","image_name":"i","version":"1","os":"","variant":"","platforms":-1,"tags":1}]}',
    '{"build_targets":1,"targets":[{"uid":"u","image_name":"i","version":1,"os":"","variant":"","platforms":1,"tags":1}]}',
    '{"build_targets":1,"targets":[{"uid":"u","image_name":"i","version":"1","os":"","variant":"","platforms":1,"tags":1,'
      .. '"registry_size":"big"}]}' } do
    it("refuses " .. text, function() assert.is_nil((summary.read(text, "f"))) end)
  end
end)

describe("merging", function()
  local AMD, ARM = "linux/amd64", "linux/arm64"
  it("adds platforms of one target", function()
    assert.are.same({ 2, 3, 300, 30, 2 }, merged(entry { stage = "build", builds = { build(AMD, 100, 10, 3) } },
      entry { stage = "build", builds = { build(ARM, 200, 20, 4) } }))
  end)
  it("counts build and publish of one target once (D8)", function()
    local amd = entry { stage = "build", builds = { build(AMD, 100, 10, 3) } }
    local arm = entry { stage = "build", builds = { build(ARM, 100, 20, 3) } }
    local both = entry { stage = "publish", tags = 9, builds = { build(AMD, 101, nil, 5), build(ARM, 102, nil, 5) } }
    assert.are.same({ 2, 5, 203, 30, 2 }, merged(amd, arm, both))
    assert.are.same({ 2, 5, 203, 30, 9 }, merged(both, arm, amd))
    assert.are.same({ 1, 3, 100, 10, 2 }, merged(amd, amd))
  end)
  it("lets a later attempt replace an earlier one of the same stage", function()
    assert.are.same({ 1, 4, 120, 10, 2 }, merged(entry { stage = "build", builds = { build(AMD, 100, 10, 3) } },
      entry { stage = "build", builds = { build(AMD, 120, nil, 4) } }))
  end)
  it("of files without platform names the widest stands", function()
    local one = entry { registry_size = 100 }
    assert.are.same({ 1, "-", 100, "-", 2 }, merged(one, one))
    assert.are.same({ 2, 3, 200, "-", 2 }, merged(one, one, entry { platforms = 2, registry_size = 200, layers = 3 }))
    assert.are.same({ 1, 7, 100, 5, 2 }, merged(one, entry { layers = 7, local_size = 5 }))
  end)
  it("null stays null, zero stays zero", function()
    assert.are.same({ 1, "-", 0, "-", 2 }, merged(entry { builds = { build(AMD, 0) } }, entry { builds = { build(AMD) } }))
    local list = merge { read { entry { cache_ref = "r" } }, read { entry { cache_ref = "s", cache_size = 0 } } }
    assert.are.same({ "r", 0 }, { list[1].cache_ref, list[1].cache_size })
  end)
  it("sorts by image, version, system, variant", function()
    local list = merge { { entry { uid = "b", image_name = "b" }, entry { uid = "a2", version = "2" } },
      { entry { uid = "a1v", variant = "v" }, entry { uid = "a1", os = "z" }, entry { uid = "a1u" } } }
    local out = {}
    for i, t in ipairs(list) do out[i] = t.uid end
    assert.are.same({ "a1u", "a1v", "a1", "a2", "b" }, out)
  end)
end)

describe("tables", function()
  it("counts", function()
    local lines = tables.counts { entry(), entry { platforms = 2 } }
    assert.are.equal("Build Summary", lines[1])
    assert.are.same({ "Build Targets        2", "Platform Builds      3", "Registry Tags        4" },
      { lines[3], lines[4], lines[5] })
  end)
  it("blanks repeated names, aligns numbers, ends with a total, whatever the width (D35)", function()
    local long = ("x"):rep(200)
    local lines = tables.full { entry { os = "Debian 12", registry_size = 1234567, layers = 3 },
      entry { os = "Ubuntu 24.04", variant = long, registry_size = 1000 } }
    assert.are.equal("Build Summary (2 targets)", lines[1])
    assert.is_truthy(lines[3]:find("^a      1        Debian 12"))
    assert.is_truthy(lines[4]:find("^                Ubuntu 24%.04  x+ "))
    assert.is_truthy(lines[3]:find("1.2 MB", 1, true))
    assert.is_truthy(lines[5]:find("^Total"))
    assert.is_truthy(lines[5]:find("—$"))
    assert.are.equal(5, #lines)
  end)
  it("Markdown", function()
    assert.are.equal([[
> ⚠️ **be careful**

### Build Summary

| Image | Version | OS | Variant | Platforms | Tags | Layers | Registry Size | Local Size | Cache Size |
|---|---|---|---|---|---|---|---|---|---|
| a\|b | 1 |  |  | 1 | 2 | 3 | 100 B | — | 5 B |
| **Total (1 targets)** |  |  |  | **1** | **2** |  | **100 B** | **—** | **5 B** |
]], tables.markdown({ entry { image_name = "a|b", registry_size = 100, layers = 3, cache_size = 5 } }, "be careful"))
    assert.is_truthy(tables.markdown({}):find("^### Build Summary\n"))
  end)
end)

describe("measuring", function()
  local function client(manifests)
    return { manifest = function(_, ref) return manifests[ref] and { raw = json.encode(manifests[ref]) } or nil end }
  end
  local function image(...)
    local layers = json.array {}
    for i, size in ipairs { ... } do layers[i] = { size = size, mediaType = "application/vnd.oci.image.layer.v1.tar+gzip" } end
    return { layers = layers }
  end
  local A, B, C = "sha256:" .. ("a"):rep(64), "sha256:" .. ("b"):rep(64), "sha256:" .. ("c"):rep(64)
  local index = { manifests = json.array { { digest = A, platform = { os = "linux", architecture = "amd64" } },
    { digest = B, platform = { os = "linux", architecture = "arm64", variant = "v8" } },
    { digest = C, platform = { os = "unknown", architecture = "unknown" } } } }
  it("sums layers, leaves attestations out", function()
    local c = client { ["r.io/x:1"] = index, ["r.io/x@" .. A] = image(1, 2), ["r.io/x@" .. B] = image(10), ["r.io/x@" .. C] = image(99) }
    assert.are.same({ { platform = "linux/amd64", layers = 2, registry_size = 3 },
      { platform = "linux/arm64", layers = 1, registry_size = 10 } }, measure.images(c, "r.io/x:1"))
  end)
  it("takes single images and BuildKit's cache indexes", function()
    local cache = { manifests = json.array { { size = 5, mediaType = "application/vnd.oci.image.layer.v1.tar+zstd" },
      { size = 7, mediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip" },
      { size = 100, mediaType = "application/vnd.buildkit.cacheconfig.v0" } } }
    local c = client { ["r.io/x:1"] = image(4), ["r.io/c:1"] = cache }
    assert.are.same({ { layers = 1, registry_size = 4 } }, measure.images(c, "r.io/x:1"))
    assert.are.same({ { layers = 2, registry_size = 12 } }, measure.images(c, "r.io/c:1"))
  end)
  it("what cannot be read is unknown", function()
    assert.is_nil(measure.images(client {}, "r.io/x:1"))
    assert.is_nil(measure.images(client { ["r.io/x:1"] = index, ["r.io/x@" .. A] = image(1) }, "r.io/x:1"))
    assert.is_nil(measure.images(client { ["r.io/x:1"] = { a = 1 } }, "r.io/x:1"))
  end)
end)
