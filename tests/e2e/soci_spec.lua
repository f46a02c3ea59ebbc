local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local place = require "bakery.image.place"
local process = require "bakery.process"
local soci = require "bakery.soci"
local registry = require "lib.registry"
local world = require "lib.world"

describe("publish with SOCI", function()
  local reg
  setup(function() reg = registry.start() end)
  teardown(function()
    reg:stop()
    world.cleanup()
  end)

  local function project(options)
    local dir = world.project({ app = "FROM scratch\nCOPY base/ /\nCOPY data /data\n" }, { registry = reg.host .. "/team" })
    world.write(dir, { data = ("0123456789abcdef"):rep(200000) })
    local yaml = assert(fs.read(dir .. "/bakery.yaml"))
    yaml = yaml:gsub("  %- name: app\n", "%0    options:\n      - tool: soci\n        enabled: true\n" .. options)
    assert(fs.write(dir .. "/bakery.yaml", yaml))
    return dir
  end

  local function bakery(dir, store, ...)
    return world.bakery { select(1, ...), "-C", dir, "--store", store, "--progress", "plain", select(2, ...) }
  end

  it("is a stage of ci publish: what is tagged, signed and attested is the converted index", function()
    local dir, store = project "        min_layer_size: 1000\n        span_size: 500000\n", world.tmp() .. "/store"
    local env = { COSIGN_PASSWORD = "pw" }
    assert.equal(0, world.bakery({ "key", "generate", "--output-key-prefix", dir .. "/k" }, { env = env }).code)
    local r = bakery(dir, store, "build", "--push", "--temp-registry", reg.host .. "/temp", "--metadata-file", dir .. "/m.json",
      "--results", dir .. "/built.json")
    assert.equal(0, r.code, r.stderr)
    for _ = 1, 2 do -- the second time all is there
      r = world.bakery({ "ci", "publish", "-C", dir, "--temp-registry", reg.host .. "/temp", "--sign-key", dir .. "/k.key",
        "--attest-results", dir .. "/built.json", dir .. "/m.json", "--json" }, { env = env })
      assert.equal(0, r.code, r.stderr)
      local at = place.open(reg.host .. "/team/app:latest", {})
      local root = at:root()
      assert.equal(json.decode(r.stdout).targets[1].digest, root.digest)
      local index = json.decode(root.raw)
      assert.equal("application/vnd.amazon.soci.index.v2+json", index.manifests[2].artifactType)
      assert.equal(0, world.bakery({ "verify", reg.host .. "/team/app:latest", "--recursive", "--key", dir .. "/k.pub" }).code)
      local found = require "bakery.sign.attest".list { ref = reg.host .. "/team/app@" .. index.manifests[1].digest,
        key = require "bakery.sign.keys".public(dir .. "/k.pub"), type = "slsaprovenance1" }.list
      assert.same({ 1, true }, { #found, found[1] and found[1].valid })
    end
    local tags = assert(oci.client():tags(reg.host .. "/temp/app/tmp"))
    local soci_tag
    for _, tag in ipairs(tags) do soci_tag = soci_tag or tag:find "%-soci$" end
    assert.is_truthy(soci_tag, table.concat(tags, " "))
  end)

  it("tags the converted index, and the zTOCs read the pushed layers", function()
    local dir, store = project "        min_layer_size: 1000\n        span_size: 500000\n        prefetch_files: [/data]\n",
      world.tmp() .. "/store"
    local r = bakery(dir, store, "build")
    assert.equal(0, r.code, r.stderr)
    r = bakery(dir, store, "publish", "--results", dir .. "/results.json")
    assert.equal(0, r.code, r.stderr)
    local at = place.open(reg.host .. "/team/app:latest", {})
    local root = at:root()
    local index = json.decode(root.raw)
    assert.equal("application/vnd.amazon.soci.index.v2+json", index.manifests[2].artifactType)
    local image = json.decode(at:get(index.manifests[1].digest).raw)
    assert.equal(index.manifests[2].digest, image.annotations["com.amazon.soci.index-digest"])
    local list = json.decode(at:get(index.manifests[2].digest).raw)
    assert.equal(#image.layers + 1, #list.layers)
    local doc = json.decode(assert(fs.read(dir .. "/results.json")))
    assert.equal(root.digest, doc.targets[1].digest)
    assert.equal(index.manifests[2].digest, doc.targets[1].soci[1].index)
    assert.equal(0, bakery(dir, store, "publish").code)
    assert.equal(root.digest, place.open(reg.host .. "/team/app:latest", {}):root().digest)
    for i, layer in ipairs(image.layers) do
      local ztoc = at:blob(list.layers[i])
      assert.equal(layer.size, assert(soci.read(ztoc)).layer_size)
      if world.needs "soci-read" then
        local tmp = world.tmp()
        assert(fs.write(tmp .. "/ztoc", ztoc))
        assert(oci.client():blob(at.repo, { digest = layer.digest, size = layer.size }, tmp .. "/layer.gz"))
        world.run { "sh", "-c", "gzip -dc " .. tmp .. "/layer.gz > " .. tmp .. "/tar" }
        local read = world.run { process.which "soci-read", tmp .. "/ztoc", tmp .. "/layer.gz", tmp .. "/tar" }
        assert.truthy(read.stdout:find("spans", 1, true))
      end
    end
  end)

  it("goes on without when all layers are small", function()
    local dir, store = project "", world.tmp() .. "/store"
    assert.equal(0, bakery(dir, store, "build").code)
    local r = bakery(dir, store, "publish")
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("no layer is large enough", 1, true))
    local root = place.open(reg.host .. "/team/app:latest", {}):root()
    assert.equal("application/vnd.oci.image.manifest.v1+json", root.media_type)
  end)
end)
