--- clean and prune against a real registry and a server that answers as GitHub does.
local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local registry = require "lib.registry"

local MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"

local function stamp(days) return os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() - math.floor(days * 86400)) end

describe("retention", function()
  local reg, client
  setup(function()
    reg = registry.start {}
    client = oci.client {}
  end)
  teardown(function()
    if reg then reg:stop() end
    world.cleanup()
  end)

  local function put(repo, tag, doc)
    local raw = json.encode(doc)
    tag = tag or "sha256:" .. require("bakery.digest").sha256(raw)
    return assert(client:push_manifest(reg.host .. "/" .. repo, tag, raw, doc.mediaType))
  end
  -- A little image of that age in days.
  local function image(repo, tag, days, more)
    local config = json.encode { architecture = "amd64", os = "linux", created = stamp(days), rootfs = { type = "layers",
      diff_ids = json.array {} }, config = { Labels = { tag = tag or tostring(days) } } }
    local desc = { mediaType = "application/vnd.oci.image.config.v1+json", size = #config,
      digest = "sha256:" .. require("bakery.digest").sha256(config) }
    assert(client:push_blob(reg.host .. "/" .. repo, desc, { data = config }))
    local doc = { schemaVersion = 2, mediaType = MANIFEST, config = desc, layers = json.array {} }
    for k, v in pairs(more or {}) do doc[k] = v end
    local m = put(repo, tag, doc)
    return { mediaType = MANIFEST, digest = m.digest, size = m.size }
  end
  local function index(repo, tag, list, days)
    return put(repo, tag, { schemaVersion = 2, mediaType = INDEX, manifests = list,
      annotations = { ["org.opencontainers.image.created"] = stamp(days) } })
  end
  local function tags(repo)
    local list = client:tags(reg.host .. "/" .. repo) or {}
    table.sort(list)
    return list
  end
  local function there(repo, digest) return client:head(reg.host .. "/" .. repo .. "@" .. digest) ~= nil end
  local function prune(repo, ...)
    return world.bakery { "prune", reg.host .. "/" .. repo, ... }
  end

  it("removes old versions with what only they need, and nothing of the others", function()
    local shared = image("p1", nil, 50)
    local lonely = image("p1", nil, 51)
    index("p1", "1.0.0", { shared, lonely }, 50)
    index("p1", "1.0.1", { shared }, 40)
    image("p1", "latest", 1)
    local sbom = image("p1", nil, 45, { subject = lonely, artifactType = "application/spdx" })
    local before = tags "p1"
    local r = prune("p1", "--keep-last", "1", "--tags", "^\\d")
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stdout:find("  - 1.0.0  no rule keeps it", 1, true), r.stdout)
    assert.same(before, tags "p1")
    r = prune("p1", "--keep-last", "1", "--tags", "^\\d", "--apply")
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("nothing is removed without --yes", 1, true), r.stderr)
    r = prune("p1", "--keep-last", "1", "--tags", "^\\d", "--apply", "--yes", "--max-delete", "2")
    assert.equal(3, r.code, r.stdout .. r.stderr)
    assert.same(before, tags "p1")
    r = prune("p1", "--keep-last", "1", "--tags", "^\\d", "--apply", "--yes")
    assert.equal(0, r.code, r.stderr)
    assert.same({ "1.0.1", "latest" }, tags "p1")
    assert.is_true(there("p1", shared.digest))
    assert.is_false(there("p1", lonely.digest))
    assert.is_false(there("p1", sbom.digest))
    r = prune("p1", "--keep-last", "1", "--tags", "^\\d", "--apply", "--yes")
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stdout:find("0 tags go, 2 stay, 0 manifests go", 1, true), r.stdout)
  end)

  it("takes a tag off an image that another tag keeps", function()
    local one = image("p2", "1.0.0", 30)
    image("p2", "1.0.1", 20)
    local raw = assert(client:manifest(reg.host .. "/p2:1.0.0")).raw
    assert(client:push_manifest(reg.host .. "/p2", "stable", raw, MANIFEST))
    local r = prune("p2", "--keep-last", "1", "--tags", "^\\d", "--apply", "--yes")
    assert.equal(0, r.code, r.stderr)
    assert.same({ "1.0.1", "stable" }, tags "p2")
    assert.is_true(there("p2", one.digest))
  end)

  it("keeps what is young, and what the policy file says", function()
    image("p3", "1.0.0", 0.5)
    image("p3", "1.0.1", 0.1)
    image("p3", "nightly-1", 30)
    image("p3", "nightly-2", 3)
    local r = prune("p3", "--keep-last", "0", "--line", "all", "--json")
    assert.equal(0, r.code, r.stderr)
    local plan = json.decode(r.stdout)
    assert.equal(2, #plan.repositories[1].tags)
    assert.equal("younger than 24 hours", plan.repositories[1].kept[1].reason)
    local dir = world.tmp()
    world.write(dir, { ["prune.yaml"] = ("repositories: [%s/p3]\nkeep:\n  - tags: ^nightly\n    days: 7\n"):format(reg.host) })
    r = world.bakery { "prune", "--policy", dir .. "/prune.yaml", "--plan-out", dir .. "/plan.json" }
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stdout:find("1 tags go, 3 stay", 1, true), r.stdout)
    -- a plan holds as long as nothing moves
    image("p3", "nightly-1", 29)
    r = world.bakery { "prune", "--policy", dir .. "/prune.yaml", "--apply-plan", dir .. "/plan.json", "--yes" }
    assert.equal(7, r.code, r.stderr)
    assert.equal(4, #tags "p3")
    assert.equal(0, world.bakery({ "prune", "--policy", dir .. "/prune.yaml", "--plan-out", dir .. "/plan.json" }).code)
    r = world.bakery { "prune", "--policy", dir .. "/prune.yaml", "--apply-plan", dir .. "/plan.json", "--yes" }
    assert.equal(0, r.code, r.stderr)
    assert.same({ "1.0.0", "1.0.1", "nightly-2" }, tags "p3")
  end)

  it("refuses repositories that it cannot understand, and calls without a rule", function()
    assert.equal(2, prune("p3").code)
    assert.equal(2, prune("p3", "--tags", "x").code)
    local r = world.bakery({ "prune", "127.0.0.1:1/x", "--keep-last", "1" }, { env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" } })
    assert.equal(6, r.code)
    local dir = world.tmp()
    world.write(dir, { ["bad.yaml"] = "keep:\n  - cuont: 1\n", ["plan.json"] = "{}" })
    r = prune("p3", "--policy", dir .. "/bad.yaml")
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("did you mean 'count'?", 1, true), r.stderr)
    assert.equal(2, prune("p3", "--keep-last", "1", "--apply-plan", dir .. "/plan.json").code)
  end)

  it("removes nothing from a registry that does not answer a single question", function()
    local q <close> = registry.quirky()
    local real = reg.host
    reg.host = q.host
    local shared = image("x", nil, 50)
    index("x", "1.0.0", { shared }, 50)
    index("x", "1.0.1", { shared, image("x", nil, 3) }, 3)
    local config = json.decode(assert(client:manifest(q.host .. "/x@" .. shared.digest)).raw).config.digest
    image("x", "1.0.2", 2)
    local bare = image("x", "0.9.0", 60)
    reg.host = real
    local env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" }
    local function try() return world.bakery({ "prune", q.host .. "/x", "--keep-last", "1", "--apply", "--yes" }, { env = env }) end
    local own = json.decode(assert(client:manifest(q.host .. "/x@" .. bare.digest)).raw).config.digest
    for _, quirk in ipairs { { refuse = { { "GET", "/manifests/" .. shared.digest, { 503, -1 } } } },
      { refuse = { { "", "/manifests/1.0.1$", { 500, -1 } } } }, { refuse = { { "GET", "/blobs/" .. own, { 503, -1 } } } },
      { refuse = { { "GET", "/referrers/", { 500, -1 } } } }, { refuse = { { "GET", "/tags/list", { 502, -1 } } } },
      { content_type = MANIFEST }, { wrong_content_digest = true }, { cut_body = 20 }, { tags_text = "{" } } do
      q:set(quirk)
      q:requests()
      local r = try()
      assert.equal(6, r.code, json.encode(quirk) .. r.stdout .. r.stderr)
      for _, request in ipairs(q:requests()) do
        assert.is_true(request.method == "GET" or request.method == "HEAD", json.encode(quirk) .. " " .. request.method)
      end
    end
    assert.is_string(config)
    q:set {}
    local r = try()
    assert.equal(0, r.code, r.stderr)
    assert.is_nil(client:head(q.host .. "/x:1.0.0"))
    assert.is_table(client:head(q.host .. "/x:1.0.2"))
  end)

  it("carries a plan file out only while nothing needs what it removes", function()
    local old = image("p4", "1.0.0", 30)
    image("p4", "1.0.1", 20)
    local dir = world.tmp()
    local function saved(...) return prune("p4", "--keep-last", "1", ...) end
    assert.equal(0, saved("--plan-out", dir .. "/plan.json").code)
    local plan = json.decode(fs.read(dir .. "/plan.json"))
    assert.same({ "1.0.0" }, { plan.repositories[1].tags[1].tag })
    index("p4", "kept", { old }, 1) -- by somebody else, meanwhile
    local r = saved("--tags", "^\\d", "--apply-plan", dir .. "/plan.json", "--yes")
    assert.equal(7, r.code, r.stderr)
    assert.truthy(r.stderr:find("has come to be needed since the plan was made", 1, true), r.stderr)
    assert.same({ "1.0.0", "1.0.1", "kept" }, tags "p4")
    for _, change in ipairs { function(p) p.tags[1].digest = "latest" end, function(p) p.tags = 5 end, function(p) p.tags[1] = 5 end,
      function(p) p.manifests[1] = json.array {} end, function(p) p.repository = nil end } do
      local doc = json.decode(fs.read(dir .. "/plan.json"))
      change(doc.repositories[1])
      assert(fs.write(dir .. "/bad.json", json.encode(doc)))
      r = saved("--apply-plan", dir .. "/bad.json", "--yes")
      assert.equal(2, r.code, r.stderr)
      assert.truthy(r.stderr:find("malformed", 1, true), r.stderr)
    end
    -- a repository that is named twice counts once
    r = world.bakery { "prune", reg.host .. "/p4", reg.host .. "/p4", "--keep-last", "0", "--line", "all", "--tags", "1.0.1",
      "--max-delete", "2", "--apply", "--yes" }
    assert.equal(0, r.code, r.stdout .. r.stderr)
    assert.same({ "1.0.0", "kept" }, tags "p4")
  end)

  local YAML = "repository:\n  url: https://example.com/x\nimages:\n  - name: app\n    versions:\n      - name: 1.0.0\n"

  it("cleans cache repositories of any registry by age", function()
    local dir = world.tmp()
    world.write(dir, { ["bakery.yaml"] = YAML })
    image("c/app/cache", "old", 20)
    image("c/app/cache", "new", 2)
    local r = world.bakery { "clean", "cache-registry", "-C", dir, reg.host .. "/c", "--older-than", "14", "--dry-run" }
    assert.equal(0, r.code, r.stderr)
    assert.equal("old", json.decode(r.stdout).versions[1].tag)
    assert.same({ "new", "old" }, tags "c/app/cache")
    r = world.bakery { "clean", "cache-registry", "-C", dir, reg.host .. "/c", "--older-than", "14" }
    assert.equal(0, r.code, r.stderr)
    assert.same({ "new" }, tags "c/app/cache")
    r = world.bakery { "clean", "cache-registry", "-C", dir, reg.host .. "/c" }
    assert.equal(0, r.code)
    assert.truthy(r.stderr:find("only GitHub lists manifests without a tag", 1, true), r.stderr)
    r = world.bakery { "clean", "temp-registry", "-C", dir, reg.host .. "/nothing", "--older-than", "1" }
    assert.equal(0, r.code, r.stderr)
  end)

  describe("at GitHub", function()
    local dir, state, env, stop
    local function version(id, days, list, digest)
      return { id = id, name = digest or "sha256:" .. ("%064x"):format(id), updated_at = stamp(days), url = "https://api/x",
        metadata = { package_type = "container", container = { tags = json.array(list) } } }
    end
    local function save(doc) assert(fs.write(state, json.encode(doc))) end
    local function ids(package)
      local out = {}
      for i, v in ipairs(json.decode(fs.read(state)).packages[package]) do out[i] = v.id end
      return out
    end
    setup(function()
      dir = world.tmp()
      state = dir .. "/state.json"
      world.write(dir, { ["bakery.yaml"] = YAML, ["registries.conf"] = ('[[registry]]\nprefix = "ghcr.io"\nlocation = "%s"\n'
        .. "insecure = true\n"):format(reg.host) })
      save { owners = {}, packages = {} }
      stop = registry.daemon("exec python3 tests/lib/github_server.py " .. registry.quote(state), dir .. "/server.log")
      local port = registry.wait("GitHub", function() return registry.read(dir .. "/server.log"):match "^(%d+)\n" end)
      env = { GITHUB_API_URL = "http://127.0.0.1:" .. port, GITHUB_TOKEN = "test-token",
        CONTAINERS_REGISTRIES_CONF = dir .. "/registries.conf" }
    end)
    teardown(function() if stop then stop() end end)
    local function clean(what, ...)
      return world.bakery({ "clean", what, "-C", dir, ... }, { env = env })
    end

    it("removes what is old and what has no tag, but no child of an index that stays", function()
      local child = image("org/app/cache", nil, 30)
      local top = index("org/app/cache", "v1", { child }, 1)
      save { owners = { org = "orgs" }, packages = { ["org/app/cache"] = { version(1, 1, { "v1" }, top.digest),
        version(2, 30, {}, child.digest), version(3, 30, { "v0" }), version(4, 1, {}), version(5, 2, { "v2" }) } } }
      -- v2 is in GitHub's list only: what it needs cannot be known to be nothing, yet nothing else is missing
      local r = clean("cache-registry", "ghcr.io/org", "--older-than", "14", "--dry-run")
      assert.equal(0, r.code, r.stderr)
      local listed = {}
      for i, v in ipairs(json.decode(r.stdout).versions) do listed[i] = v.id end
      assert.same({ 3, 4 }, listed)
      assert.equal(5, #ids "org/app/cache")
      r = clean("cache-registry", "ghcr.io/org", "--older-than", "14")
      assert.equal(0, r.code, r.stderr)
      assert.same({ 1, 2, 5 }, ids "org/app/cache")
    end)

    it("works for users, over several pages, and leaves untagged temporary images", function()
      local list = {}
      for i = 1, 230 do list[i] = version(i, i <= 200 and 10 or 1, {}) end
      save { owners = { me = "users" }, packages = { ["me/app/tmp"] = list } }
      local r = clean("temp-registry", "ghcr.io/me")
      assert.equal(0, r.code, r.stderr)
      assert.equal(230, #ids "me/app/tmp")
      r = clean("temp-registry", "ghcr.io/me", "--older-than", "3")
      assert.equal(0, r.code, r.stderr)
      assert.equal(30, #ids "me/app/tmp")
      assert.equal(201, ids("me/app/tmp")[1])
    end)

    it("takes some refusals as warnings, others as errors, and goes on", function()
      save { owners = { org = "orgs" }, packages = { ["org/app/cache"] = { version(1, 30, {}), version(2, 30, {}), version(3, 30, {}) } },
        refuse = { ["1"] = json.array { 400, "Publicly visible package versions with more than 5000 downloads cannot be deleted." } } }
      local r = clean("cache-registry", "ghcr.io/org")
      assert.equal(0, r.code, r.stderr)
      assert.truthy(r.stderr:find("5000 downloads", 1, true), r.stderr)
      assert.same({ 1 }, ids "org/app/cache")
      save { owners = { org = "orgs" }, packages = { ["org/app/cache"] = { version(1, 30, {}) } },
        refuse = { ["1"] = json.array { 403, "Must have admin rights" } } }
      r = clean("cache-registry", "ghcr.io/org")
      assert.equal(1, r.code)
      assert.truthy(r.stderr:find("GitHub answers 403 (Must have admin rights)", 1, true), r.stderr)
      assert.is_nil((r.stdout .. r.stderr):find("test-token", 1, true))
      r = clean("cache-registry", "ghcr.io/nobody")
      assert.equal(1, r.code)
      assert.truthy(r.stderr:find("404", 1, true), r.stderr)
      env.GITHUB_TOKEN = ""
      r = clean("cache-registry", "ghcr.io/org")
      assert.equal(2, r.code)
      assert.truthy(r.stderr:find("GITHUB_TOKEN is not set", 1, true), r.stderr)
      env.GITHUB_TOKEN = "test-token"
    end)
  end)
end)
