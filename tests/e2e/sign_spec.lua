local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local sign = require "bakery.sign"
local attest = require "bakery.sign.attest"
local image = require "bakery.sign.image"
local keys = require "bakery.sign.keys"
local registry = require "lib.registry"
local world = require "lib.world"

describe("signed publish", function()
  local reg, dir, store, public
  setup(function()
    reg = registry.start()
    dir = world.project({ base = "FROM scratch\nCOPY base/ /\n", app = ([[
FROM %s/team/base:1.0.0 AS tools
FROM %s/team/base:1.0.0
ARG FLAVOUR=plain
ARG API_TOKEN
RUN echo $FLAVOUR > /flavour
]]):format(reg.host, reg.host) }, { registry = reg.host .. "/team" })
    world.write(dir, { ["app/1.0.0/test/goss.yaml"] = "file:\n  /flavour:\n    exists: true\n  /bin/sh:\n    exists: true\n" })
    store = world.tmp() .. "/store"
    local key = assert(sign.generate())
    keys.write(key, dir .. "/k", "pw-of-key")
    public = keys.public(dir .. "/k.pub")
  end)
  teardown(function()
    reg:stop()
    world.cleanup()
  end)

  local function bakery(code, command, ...)
    local r = world.bakery({ command, "-C", dir, "--store", store, "--progress", "plain", ... },
      { env = { COSIGN_PASSWORD = "pw-of-key", BAKERY_BUILDER_ID = "https://ci.example/1" } })
    assert.equal(code, r.code, r.stderr)
    return r
  end

  local function results(name) return json.decode(assert(fs.read(dir .. "/" .. name))) end

  it("records provenance and attaches it with the tests", function()
    bakery(0, "build", "--image-name", "base", "--push")
    bakery(0, "build", "--results", dir .. "/build.json")
    local built
    for _, t in ipairs(results "build.json".targets) do if t.uid:find "^app" then built = t end end
    local p = built.platforms[1].provenance
    local definition = p.buildDefinition
    assert.equal("urn:bakery:buildtype:containerfile:v1", definition.buildType)
    assert.equal("app/1.0.0/Containerfile", definition.externalParameters.containerfile.path)
    assert.equal(require("bakery.digest").sha256(assert(fs.read(dir .. "/app/1.0.0/Containerfile"))),
      definition.externalParameters.containerfile.digest.sha256)
    assert.equal("https://ci.example/1", p.runDetails.builder.id)
    assert.truthy(p.runDetails.metadata.startedOn:find "^%d+%-%d+%-%d+T%d+:%d+:%d+Z$")
    local base
    for _, d in ipairs(definition.resolvedDependencies) do
      if d.uri == "docker-image://" .. reg.host .. "/team/base:1.0.0" then base = d end
    end
    assert.equal(64, #base.digest.sha256)
    bakery(0, "test", "--results", dir .. "/test.json")
    local r = bakery(0, "publish", "--sign-key", dir .. "/k.key", "--attest-results", dir .. "/test.json", "--results",
      dir .. "/publish.json")
    assert.is_nil((r.stdout .. r.stderr):find("pw-of-key", 1, true))
    for _, where in ipairs { dir, world.state, store .. "/log" } do -- nothing written tells the password or the key
      for _, e in ipairs(assert(fs.walk(where))) do
        local text = e.type == "file" and fs.read(where .. "/" .. e.path) or ""
        assert.is_nil(text:find("pw-of-key", 1, true), e.path)
        assert.is_nil(text:find("BEGIN EC PRIVATE", 1, true) or text:find("BEGIN PRIVATE", 1, true), e.path)
      end
    end
    local client = assert(oci.client())
    local ref = reg.host .. "/team/app:latest"
    local verified = image.verify { client = client, ref = ref, key = public, recursive = true }
    local list = attest.list { client = client, ref = ref, key = public }.list
    assert.equal(2, #list)
    for _, a in ipairs(list) do
      assert.is_true(a.valid, a.reason)
      if a.predicate_type == "https://slsa.dev/provenance/v1" then assert.same(p, a.statement.predicate)
      else
        assert.equal("PASSED", a.statement.predicate.result)
        assert.equal(2, #a.statement.predicate.passedTests)
        assert.equal("test.json", a.statement.predicate.configuration[1].name)
      end
    end
    local published
    for _, t in ipairs(results "publish.json".targets) do if t.uid:find "^app" then published = t end end
    assert.equal(verified.digest, published.digest)
    assert.equal(3, #published.signatures)
    -- Once more: nothing new is attached.
    local tag = require("bakery.sign.simple").tag(verified.digest)
    local before = assert(client:manifest(reg.host .. "/team/app:" .. tag)).digest
    bakery(0, "build")
    bakery(0, "publish", "--sign-key", dir .. "/k.key", "--attest-results", dir .. "/test.json")
    assert.equal(before, assert(client:manifest(reg.host .. "/team/app:" .. tag)).digest)
    assert.equal(2, #attest.list { client = client, ref = ref }.list)
  end)

  it("says of a build all that went in, field by field", function()
    local files = require "lib.servers".files()
    files:write("tool.txt", "tool\n")
    world.write(dir, { ["app/1.0.0/Containerfile"] = ([[
FROM %s/team/base:1.0.0 AS tools
RUN echo tool > /tool
FROM %s/team/base:1.0.0 AS final
ARG FLAVOUR=plain
ARG API_TOKEN
ADD %s/tool.txt /tool.txt
COPY --from=tools /tool /tool
RUN --mount=type=secret,id=login,env=LOGIN echo $FLAVOUR ${#LOGIN} > /flavour
]]):format(reg.host, reg.host, files.url) })
    local secret = "s3cret-of-the-build"
    local r = world.bakery({ "build", "-C", dir, "--store", world.tmp() .. "/store", "--progress", "plain", "--image-name", "app", "--build-arg",
      "FLAVOUR=sweet", "--build-arg", "API_TOKEN=" .. secret, "--build-arg", "NOTE=x " .. secret, "--secret", "id=login,env=LOGIN_OF_TEST",
      "--network", "none", "--results", dir .. "/fields.json", "--target", "final" },
      { env = { BAKERY_BUILDER_ID = "https://ci.example/1", LOGIN_OF_TEST = secret, SOURCE_DATE_EPOCH = "1700000000" } })
    assert.equal(0, r.code, r.stderr)
    files:stop()
    local target = results "fields.json".targets[1]
    local p = target.platforms[1].provenance
    local base = assert(assert(oci.client()):resolve(reg.host .. "/team/base:1.0.0", { platform = "linux/amd64" }))
    local run = p.runDetails.metadata
    assert.truthy(run.finishedOn >= run.startedOn and run.startedOn:find "^%d+%-%d+%-%d+T%d+:%d+:%d+Z$")
    local sha = require("bakery.digest").sha256
    local want = { buildDefinition = { buildType = "urn:bakery:buildtype:containerfile:v1",
      externalParameters = { target = target.uid, platform = "linux/amd64", context = ".", args = { FLAVOUR = "sweet" },
        withheldArgs = { "API_TOKEN", "NOTE" }, stage = "final", containerfile = { path = "app/1.0.0/Containerfile",
          digest = { sha256 = sha(assert(fs.read(dir .. "/app/1.0.0/Containerfile"))) } } },
      internalParameters = { network = "none", security = "default", sourceDateEpoch = 1700000000 },
      resolvedDependencies = {
        { uri = "docker-image://" .. reg.host .. "/team/base:1.0.0", digest = { sha256 = base.digest:sub(8) },
          annotations = { platform = "linux/amd64" } },
        { uri = files.url .. "/tool.txt", digest = { sha256 = sha "tool\n" }, annotations = { platform = "linux/amd64" } } } },
      runDetails = { builder = { id = "https://ci.example/1", version = { bakery = require("app.host").version } },
        metadata = { invocationId = results "fields.json".run, startedOn = run.startedOn, finishedOn = run.finishedOn } } }
    assert.same(want, json.decode(json.encode(p)))
    assert.is_nil(fs.read(dir .. "/fields.json"):find(secret, 1, true))
    -- an image that was built here and never pushed goes by its image id
    bakery(0, "build", "--image-name", "base", "--results", dir .. "/base.json")
    bakery(0, "build", "--image-name", "app", "--no-cache", "--target", "tools", "--results", dir .. "/fields.json")
    local own = results "fields.json".targets[1].platforms[1].provenance.buildDefinition.resolvedDependencies
    assert.same({ { uri = "docker-image://" .. reg.host .. "/team/base:1.0.0", annotations = { platform = "linux/amd64" },
      digest = { sha256 = results "base.json".targets[1].image_id:sub(8) } } }, own)
  end)

  it("is refused before anything is sent when the key does not open", function()
    world.write(dir, { ["app/1.0.0/Containerfile"] = "FROM scratch\nCOPY base/ /\nRUN echo new > /new\n" })
    bakery(0, "build")
    local head = assert(assert(oci.client()):head(reg.host .. "/team/app:latest")).digest
    local r = world.bakery({ "publish", "-C", dir, "--store", store, "--sign-key", dir .. "/k.key" },
      { env = { COSIGN_PASSWORD = "wrong" } })
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("does not open the key", 1, true))
    assert.equal(head, assert(assert(oci.client()):head(reg.host .. "/team/app:latest")).digest)
    r = world.bakery { "publish", "-C", dir, "--store", store, "--attest-results", dir .. "/bakery.yaml" }
    assert.equal(2, r.code)
  end)

  it("can be done afterwards by the recipe", function()
    bakery(0, "publish")
    local ref = reg.host .. "/team/app:latest"
    local client = assert(oci.client())
    assert.is_false((pcall(image.verify, { client = client, ref = ref, key = public })))
    bakery(0, "recipe", "sign", "--sign-key", dir .. "/k.key")
    image.verify { client = client, ref = ref, key = public }
    bakery(2, "recipe", "sign")
    bakery(0, "recipe", "sign", "--provenance")
    local unsigned = 0
    for _, a in ipairs(attest.list { client = client, ref = ref }.list) do if not a.signed then unsigned = unsigned + 1 end end
    assert.equal(1, unsigned)
  end)
end)

describe("provenance", function()
  it("withholds what looks like a secret", function()
    local provenance = require "app.backend.embedded.provenance"
    local built = { containerfile = { file = "f", text = "FROM scratch" } }
    local materials = { t = {
      ["b@linux/amd64"] = { name = "b", digest = "sha256:" .. ("ab"):rep(32), platform = "linux/amd64" },
      ["b@linux/arm64"] = { name = "b", digest = "sha256:" .. ("cd"):rep(32), platform = "linux/arm64" } } }
    local target = { uid = "t", args = { FLAVOUR = "x", API_TOKEN = "abcd", DB_PASSWORD = "p", LEAK = "so " .. os.getenv "HOME" },
      secrets = { { id = "home", env = "HOME" } }, labels = { ["org.opencontainers.image.source"] = "https://example.com/r",
        ["org.opencontainers.image.revision"] = ("a1"):rep(20) } }
    local p = provenance.predicate({ run_id = "r", network = "host", security = "default", materials = materials }, target, "linux/amd64", built, 0)
    local e = p.buildDefinition.externalParameters
    assert.same({ FLAVOUR = "x" }, e.args)
    assert.same({ "API_TOKEN", "DB_PASSWORD", "LEAK" }, e.withheldArgs)
    assert.equal(2, #p.buildDefinition.resolvedDependencies)
    assert.same({ gitCommit = ("a1"):rep(20) }, p.buildDefinition.resolvedDependencies[1].digest)
    assert.equal("1970-01-01T00:00:00Z", p.runDetails.metadata.startedOn)
    assert.same(p, json.decode(json.encode(p)))
  end)
end)
