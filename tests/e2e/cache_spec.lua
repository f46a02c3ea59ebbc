--- Step caches in a registry: what one machine built, another does not run again.
local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"
local registry = require "lib.registry"

local APP = [[
FROM scratch AS made
COPY base/ /
RUN echo stage-ran && mkdir /out && cat /files/in > /out/file 2>/dev/null || echo made > /out/file

FROM scratch
COPY base/ /
ENV PATH=/bin
RUN echo run-one > /one
COPY files/ /files/
COPY --from=made /out/file /from-stage
RUN cat /files/in /one > /two
]]

describe("remote step cache", function()
  local reg
  setup(function() reg = registry.start {} end)
  teardown(function()
    if reg then reg:stop() end
    world.cleanup()
  end)

  -- A build with a store of its own: another machine.
  local function build(dir, args, store)
    local cmd = { "build", "-C", dir, "--store", store or world.tmp() .. "/store", "--progress", "plain", "--json" }
    for _, a in ipairs(args) do cmd[#cmd + 1] = a end
    local r = world.bakery(cmd)
    assert.equal(0, r.code, r.stderr)
    return json.decode(r.stdout).targets[1], r.stderr
  end

  local function project(registry_space)
    local dir = world.project({ app = APP }, { registry = reg.host .. "/" .. registry_space })
    world.write(dir, { ["files/in"] = "in\n" })
    return dir
  end

  local function ran(log)
    local out = {}
    for text in log:gmatch "%] run    ([^\n]*)" do out[#out + 1] = text end
    return out
  end

  it("is written with --push and spares another store every step", function()
    local dir, cache = project "one", reg.host .. "/one-cache"
    local first, log = build(dir, { "--cache-registry", cache, "--push", "--reproducible" })
    assert.equal(6, first.executed, log) -- both stages copy base/: one step
    assert.truthy(log:find("cache " .. cache .. "/app/cache:1.0.0", 1, true), log)
    local second, again = build(dir, { "--cache-registry", cache, "--push", "--reproducible" })
    assert.same({}, ran(again))
    assert.equal(7, second.cached)
    assert.equal(first.digest, second.digest)
    assert.is_nil(again:find("download", 1, true), again) -- nobody needed a file
    assert.truthy(again:find("remote ", 1, true), again)
  end)

  it("gives the layers' files when a later step needs them, once", function()
    local dir, cache = project "two", reg.host .. "/two-cache"
    build(dir, { "--cache-registry", cache, "--push" })
    world.write(dir, { ["files/in"] = "changed\n" })
    local store = world.tmp() .. "/store"
    local target, log = build(dir, { "--cache-registry", cache, "--output", "oci:" .. world.tmp() .. "/out" }, store)
    assert.same({ "COPY files/ /files/", "COPY --from=made /out/file /from-stage", "RUN cat /files/in /one > /two" }, ran(log))
    assert.truthy(log:find("download", 1, true), log)
    assert.equal("ok", target.status)
    -- what was fetched belongs to the store now: the registry is not asked again
    local stopped, offline = build(dir, { "--cache-from", "127.0.0.1:1/none/cache:x" }, store)
    assert.equal(0, stopped.executed, offline)
    assert.is_nil(offline:find("cache not used", 1, true), offline)
  end)

  it("mode=min keeps only what the image consists of", function()
    local dir, cache = project "three", reg.host .. "/three/cache:min"
    build(dir, { "--cache-to", "type=registry,ref=" .. cache .. ",mode=min" })
    local _, log = build(dir, { "--cache-from", cache })
    assert.equal(1, #ran(log), log)
    assert.truthy(ran(log)[1]:find("stage-ran", 1, true), log)
  end)

  it("lives inside an image with type=inline", function()
    local dir = project "four"
    build(dir, { "--cache-to", "type=inline", "--push", "--reproducible" })
    local target, log = build(dir, { "--cache-from", reg.host .. "/four/app:1.0.0", "--reproducible" })
    assert.equal(1, target.executed, log)
    assert.truthy(log:find("stage-ran", 1, true), log)
  end)

  it("is left alone when another compression is wanted, so that digests do not depend on it", function()
    local dir, cache = project "five", reg.host .. "/five-cache"
    build(dir, { "--cache-registry", cache, "--push" })
    local target = build(dir, { "--cache-registry", cache, "--compression", "zstd" })
    assert.equal(6, target.executed)
  end)

  it("shares blobs with the image's repository by mounting them", function()
    local dir, cache = project "six", reg.host .. "/six-cache"
    local _, log = build(dir, { "--cache-registry", cache, "--push", "-v" })
    assert.truthy(log:find("mounted", 1, true), log)
  end)

  it("that is rubbish, gone or lying costs a warning, never the build", function()
    if not world.needs "skopeo" then return end
    local dir = project "seven"
    local cases = {}
    -- not a cache: a config that is no JSON object, an index of nothing, keys that point nowhere
    local client = require("bakery.oci").client {}
    local digest = require "bakery.digest"
    local function put(tag, doc)
      local repo = reg.host .. "/seven/bad"
      local text = type(doc) == "string" and doc or json.encode(doc)
      local desc = { mediaType = "application/vnd.bakery.cache.config.v1+json", digest = "sha256:" .. digest.sha256(text), size = #text }
      assert(client:push_blob(repo, desc, { data = text }))
      assert(client:push_manifest(repo, tag, json.encode { schemaVersion = 2, mediaType = "application/vnd.oci.image.manifest.v1+json",
        artifactType = "application/vnd.bakery.cache.v1", config = desc, layers = json.array {} },
        "application/vnd.oci.image.manifest.v1+json"))
      cases[#cases + 1] = repo .. ":" .. tag
    end
    local codec = { name = "gzip", level = 6, version = 1 }
    put("text", "nonsense")
    put("list", json.array { 1 })
    put("keys", { version = 1, codec = codec, keys = json.array { { key = ("a"):rep(64), diff_id = "sha256:" .. ("b"):rep(64), layer = 7 } } })
    put("key", { version = 1, codec = codec, keys = json.array { { key = 5, diff_id = "x", layer = 0 } } })
    for _, ref in ipairs(cases) do
      local target, log = build(dir, { "--cache-from", ref })
      assert.equal(6, target.executed)
      assert.truthy(log:find("cache not used: cache " .. ref, 1, true), log)
    end
    local _, log = build(dir, { "--cache-from", reg.host .. "/seven/absent:x" })
    assert.is_nil(log:find("cache not used", 1, true), log)
    _, log = build(dir, { "--cache-from", "127.0.0.1:1/none:x", "--cache-from", "127.0.0.1:1/none:y" })
    assert.equal(1, select(2, log:gsub("cache not used", "")), log)
    assert.truthy(log:find("127.0.0.1:1 is not asked for caches again in this build", 1, true), log)
    _, log = build(dir, { "--cache-to", "127.0.0.1:1/none:x" })
    assert.truthy(log:find("cache not written", 1, true), log)
  end)

  it("refuses entries that it cannot use, before building", function()
    local dir = project "eight"
    local r = world.bakery { "build", "-C", dir, "--cache-to", "type=gha,scope=x" }
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("--cache-to: cannot use 'type=gha,scope=x'", 1, true), r.stderr)
    r = world.bakery { "build", "-C", dir, "--cache-to", "type=registry,ref=x/y:z,mode=most" }
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("mode is min or max", 1, true), r.stderr)
  end)

  it("whose layers lie about their content stops the build with the digest", function()
    local dir, cache = project "nine", reg.host .. "/nine-cache"
    build(dir, { "--cache-registry", cache, "--push" })
    local changed = 0
    for file in world.run({ "find", reg.dir, "-path", "*/blobs/*", "-name", "data" }).stdout:gmatch "[^\n]+" do
      local text = assert(fs.read(file, 64 << 20))
      if text:sub(1, 2) == "\31\139" then
        changed = changed + 1
        assert(fs.write(file, text:sub(1, -9) .. "12345678"))
      end
    end
    assert.is_true(changed > 0)
    world.write(dir, { ["files/in"] = "other\n" })
    local r = world.bakery { "build", "-C", dir, "--store", world.tmp() .. "/store", "--progress", "plain", "--cache-registry", cache }
    assert.not_equal(0, r.code)
    assert.truthy(r.stderr:find("digest", 1, true), r.stderr)
    assert.is_nil(r.stderr:find("traceback", 1, true))
  end)
end)
