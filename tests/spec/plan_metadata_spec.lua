-- Build metadata: written in buildx's shape, read from any builder's (commands.md 4).
local fs = require "bakery.fs"
local json = require "bakery.json"
local metadata = require "app.plan.metadata"
local plan = require "app.plan"
local projects = require "lib.projects"

local D1, D2 = "sha256:" .. ("1"):rep(64), "sha256:" .. ("2"):rep(64)

local function plain(value) return json.decode(json.encode(value)) end

describe("writing", function()
  local doc
  setup(function() doc = plan.document(assert(projects.targets(projects.fixture "minimal"))) end)
  it("one platform", function()
    local out = plain(plan.metadata({ {
      uid = "hello-1-0-0-scratch", digest = D1, tags = { "r.io/hello:1.0.0", "r.io/hello" },
      top = { digest = D1, size = 527, media_type = "application/vnd.oci.image.manifest.v1+json" },
      platforms = { { platform = "linux/amd64", image = { config_digest = D2,
        base = { name = "docker.io/library/debian:12", digest = D2 } } } },
    } }, doc))
    local entry = out["hello-1-0-0-scratch"]
    assert.are.equal("r.io/hello:1.0.0,r.io/hello:latest", entry["image.name"])
    assert.are.equal(D1, entry["containerimage.digest"])
    assert.are.equal(D2, entry["containerimage.config.digest"])
    assert.are.same({ mediaType = "application/vnd.oci.image.manifest.v1+json", digest = D1, size = 527,
      annotations = { ["org.opencontainers.image.created"] = projects.CREATED },
      platform = { os = "linux", architecture = "amd64" } }, entry["containerimage.descriptor"])
    local provenance = entry["buildx.build.provenance"]
    assert.are.same({ platform = "linux/amd64" }, provenance.invocation.environment)
    assert.are.equal("Hello", provenance.invocation.parameters.args["label:org.opencontainers.image.title"])
    assert.are.same({ { uri = "pkg:docker/debian@12?platform=linux%2Famd64",
      digest = { sha256 = ("2"):rep(64) } } }, provenance.materials)
  end)
  it("several platforms have an index without platform", function()
    local out = plain(plan.metadata({ { uid = "u", digest = D1, tags = { "localhost:5000/a/tmp" },
      platforms = { { platform = "linux/amd64" }, { platform = "linux/arm64" } } } }))
    assert.are.equal("localhost:5000/a/tmp:latest", out.u["image.name"])
    assert.is_nil(out.u["containerimage.descriptor"].platform)
    assert.is_nil(out.u["containerimage.config.digest"])
  end)
  it("entries of another builder are passed on", function()
    local out = plain(plan.metadata({ { uid = "u", platforms = {}, metadata = { ["image.name"] = "x", y = 1 } } }))
    assert.are.same({ u = { ["image.name"] = "x", y = 1 } }, out)
  end)
end)

describe("derived values", function()
  it("from a descriptor", function()
    local d = metadata.derive { ["image.name"] = "r:5000/a/b:1,r:5000/a/b:2", ["containerimage.digest"] = D1,
      ["containerimage.descriptor"] = { platform = { os = "linux", architecture = "arm64" },
        annotations = { ["org.opencontainers.image.created"] = "T" } } }
    assert.are.same({ "r:5000/a/b:1@" .. D1, "r:5000/a/b@" .. D1, "linux/arm64", "T" },
      { d.ref, d.digest_ref, d.platform, d.created })
  end)
  it("from provenance when the descriptor is silent", function()
    local d = metadata.derive { ["image.name"] = "a", ["buildx.build.provenance"] = { invocation = {
      environment = { platform = "linux/amd64" },
      parameters = { args = { ["label:org.opencontainers.image.created"] = "T" } } } } }
    assert.are.same({ "a", "linux/amd64", "T" }, { d.ref, d.platform, d.created })
    assert.is_nil(d.digest_ref)
  end)
  it("from nonsense nothing, without failing", function()
    for _, entry in ipairs { {}, { ["image.name"] = 5, ["containerimage.digest"] = {} },
      { ["containerimage.descriptor"] = "x", ["buildx.build.provenance"] = { invocation = 7 } },
      { ["containerimage.descriptor"] = { platform = {} , annotations = "x" } } } do
      local d = metadata.derive(entry)
      assert.is_nil(d.ref)
      assert.is_nil(d.platform)
    end
  end)
end)

describe("reading", function()
  local dir
  setup(function() dir = assert(fs.tmpdir "metadata-spec") end)
  teardown(function() fs.remove(dir, { recursive = true }) end)
  local function file(name, value)
    local path = fs.join(dir, name)
    assert(fs.write(path, type(value) == "string" and value or json.encode(value)))
    return path
  end
  it("appends the entries of several files per target", function()
    local found = assert(metadata.read { file("a", { u = { ["containerimage.digest"] = D1 } }),
      file("b", { u = { ["containerimage.digest"] = D2 }, v = { ["containerimage.digest"] = D2 } }) })
    assert.are.same({ D1, D2 }, { found.u[1].digest, found.u[2].digest })
    assert.are.equal(1, #found.v)
  end)
  it("leaves out foreign keys", function()
    local path = file("c", { ["buildx.build.warnings"] = json.array {}, x = "text", other = { a = 1 },
      u = { ["image.name"] = "n" } })
    assert.are.same({}, metadata.read { path })
    local found = assert(metadata.read({ path }, { u = true }))
    assert.are.equal("n", found.u[1].ref)
    assert.is_nil(found.other)
  end)
  it("bad files are errors", function()
    for _, text in ipairs { "", "[", "[]", "5" } do
      assert.is_nil((metadata.read { file("d", text) }))
    end
    assert.is_nil((metadata.read { fs.join(dir, "nope") }))
  end)
end)
