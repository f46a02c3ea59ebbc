--- The ways of the registries that people use (registry.md 1.12), and of bad days at any of them.
local digest = require "bakery.digest"
local http = require "bakery.http"
local image = require "bakery.image"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local process = require "bakery.process"
local images = require "lib.pushed"
local registry = require "lib.registry"

local MANIFEST = images.MANIFEST
local big = ("0123456789abcdef"):rep(200000) -- 3.2 MB

local function manifest(more)
  local doc = { schemaVersion = 2, mediaType = MANIFEST, layers = json.array {},
    config = { mediaType = images.CONFIG, digest = images.desc("{}").digest, size = 2 } }
  for k, v in pairs(more or {}) do doc[k] = v end
  return json.encode(doc)
end

local function failure(value, err)
  assert.is_nil(value)
  return err
end

local function client(o)
  o = o or {}
  if o.auth == nil then o.auth = false end
  return assert(oci.client(o))
end

describe("a registry like", function()
  local q, storage
  setup(function()
    process.setenv("BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", "0.02")
    q, storage = registry.quirky(), nil
    storage = "http://" .. q.host:gsub("127.0.0.1", "localhost") -- another origin, which wants no Authorization
  end)
  teardown(function()
    q:stop()
    process.setenv("BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", nil)
  end)

  local function token() return { realm = "http://" .. q.host .. "/token", service = "registry.example" } end

  -- What a release does; a profile says how the registry behaves. o.deletes: "tag" or nil (not at all).
  for name, case in pairs {
    ["Docker Hub"] = { { token = true, mount_202 = true, unknown = 401, oci_subject = true, strict_blobs = true,
      status_for = { DELETE = { 405, -1 } } } },
    ["GHCR"] = { { token = true, unknown = 403, mount_202 = true, strict_blobs = true, tag_lag = 2, manifest_lag = 1,
      chunk_max = 4 << 20, deletes = true } },
    ["ECR"] = { { basic = "AWS:pw", no_chunks = 201, redirect_blobs = true, no_empty = true, mount_202 = true, strict_blobs = true,
      referrers = true, deletes = true }, user = "AWS" },
    ["Artifact Registry"] = { { token = true, no_chunks = 405, strict_blobs = true, relative_location = 1, deletes = true } },
    ["Quay"] = { { token = true, mount_status = 404, referrers = true, artifact_filter = true, strict_blobs = true, deletes = true } },
    ["Harbor"] = { { token = true, token_account = "robot$ci", head_length = 7, referrers = true, referrers_page = 1,
      strict_blobs = true, location_query = true, deletes = true }, user = "robot$ci" },
    ["zot"] = { { no_docker = true, referrers = true, artifact_filter = true, referrers_page = 2, strict_blobs = true, deletes = true } },
    ["ACR"] = { { token = true, referrers = true, redirect_blobs = true, strict_blobs = true, deletes = true },
      identity = true },
    ["GitLab"] = { { token = true, redirect_blobs = true, page_size = 1, relative_location = 2, strict_blobs = true,
      status_for = { DELETE = { 405, -1 } } } },
    ["JFrog"] = { { token = true, html = true, tag_lag = 1, deletes = true } },
    ["JFrog in a hurry"] = { { basic = "u:pw", manifest_lag = 2, strict_blobs = true, mount_lies = true, deletes = true } },
    ["Nexus"] = { { basic = "u:pw", mount_202 = true, tag_lag = 1, no_chunks = 405, strict_blobs = true, deletes = true } },
    ["distribution"] = { { relative_location = 1, location_query = true, strict_blobs = true,
      status_for = { DELETE = { 405, -1 } } } },
    ["a stingy proxy"] = { { head_bare = true, no_content_digest = true, no_range = -1, content_type = "application/json",
      strict_blobs = true, deletes = true } },
  } do
    it(name .. " takes a release and gives it back", function()
      local quirks, user = case[1], case.user or "u"
      if quirks.token then quirks.token = token() end
      if quirks.redirect_blobs then quirks.redirect_blobs = storage end
      local deletes = quirks.deletes
      local repo = q.host .. "/" .. name:lower():gsub(" ", "-") .. "/app"
      local function fresh()
        local login = case.identity and { identity_token = "refresh" } or { username = user, password = "pw" }
        return assert(oci.client { auth = login, chunk_size = 1 << 20 })
      end
      q:set(quirks)
      local c = fresh()
      assert.is_true(c:ping(q.host, { strict = true }))
      local index, amd = images.multi(c, repo .. "/build", "v1", name)
      assert.equal("uploaded", c:push_blob(repo .. "/build", images.desc(big), { data = big }))
      -- to the name it is published under
      assert(image.copy(repo .. "/build:v1", repo .. ":1.0", { client = c, jobs = 4 }))
      assert(image.tag(repo .. ":1.0", { "latest" }, { client = c }))
      local sig = images.push(c, repo, { artifact_type = "x/sig", subject = amd, blobs = { "sig of " .. name } })
      local bom = images.push(c, repo, { artifact_type = "x/bom", subject = amd, blobs = { "bom of " .. name } })

      c = fresh()
      local got = assert(c:resolve(repo .. ":latest", { platform = "linux/amd64" }))
      assert.same({ index.digest, amd.digest, amd.raw }, { got.index_digest, got.digest, got.raw })
      assert.equal(amd.blobs[1], c:blob_data(repo, images.desc(amd.blobs[1])))
      assert.equal(big, c:blob_data(repo .. "/build", images.desc(big), { max = 1 << 24 }))
      local tags = assert(c:tags(repo, { sort = true }))
      assert.same({ "1.0", "latest" }, { tags[1], tags[2] })
      local found = {}
      for _, e in ipairs(assert(c:referrers(repo .. "@" .. amd.digest))) do found[e.artifactType] = e.digest end
      assert.same({ ["x/sig"] = sig.digest, ["x/bom"] = bom.digest }, found)
      assert.equal(bom.digest, assert(c:referrers(repo .. "@" .. amd.digest, { artifact_type = "x/bom" }))[1].digest)

      local dir = registry.tmpdir()
      local done = assert(image.copy(repo .. ":1.0", "oci:" .. dir .. "/lay:1.0", { client = c, referrers = true, jobs = 4 }))
      assert.same({ index.digest, 2 }, { done.digest, done.destinations[1].referrers })
      assert(image.copy("oci:" .. dir .. "/lay:1.0", repo .. "/again:1.0", { client = c, referrers = true, jobs = 4 }))
      assert.equal(2, #assert(c:referrers(repo .. "/again@" .. amd.digest)))

      local gone, err = c:delete(repo .. ":latest")
      if not deletes then assert.equal("oci.unsupported", err.code) else assert.is_true(gone) end
      q:set { token = quirks.token, basic = quirks.basic }
      assert.equal(index.digest, assert(fresh():head(repo .. ":1.0")).digest)
    end)
  end

  it("Harbor that keeps its quota says so", function()
    q:set { status_for = { PUT = { 412, -1, {}, '{"errors":[{"code":"DENIED","message":"adding 1 MiB would exceed the configured upper limit"}]}' } } }
    local err = failure(client():push_blob(q.host .. "/quota/app", images.desc "x", { data = "x" }))
    assert.matches("DENIED: adding 1 MiB would exceed the configured upper limit", err.message, 1, true)
  end)

  it("one behind nginx with a limit says so", function()
    q:set { status_for = { PUT = { 413, -1, {}, "<html><h1>413 Request Entity Too Large</h1></html>" } } }
    local err = failure(client():push_blob(q.host .. "/limit/app", images.desc "x", { data = "x" }))
    assert.same({ "oci.too_large", false }, { err.code, err.retryable })
    assert.matches("a proxy in front of it", err.message, 1, true)
  end)

  it("zot that takes no Docker types says so", function()
    q:set { no_docker = true }
    local err = failure(client():push_manifest(q.host .. "/types/app", "v1", manifest { mediaType = images.DOCKER_MANIFEST },
      images.DOCKER_MANIFEST))
    assert.same({ "http.415", "infra" }, { err.code, err.class })
    assert.matches("docker types are not taken", err.message, 1, true)
  end)

  it("ECR with immutable tags takes the same image again, and no other", function()
    local repo, one, two = q.host .. "/immutable/app", manifest(), manifest { annotations = { n = "2" } }
    local c = client()
    assert(c:push_manifest(repo, "v1", one, MANIFEST))
    for _, status in ipairs { 400, 403, 409, 412 } do
      q:set { immutable = status }
      assert.equal(images.desc(one).digest, assert(c:push_manifest(repo, "v1", one, MANIFEST, { look = false })).digest)
      local err = failure(c:push_manifest(repo, "v1", two, MANIFEST))
      assert.matches("TAG_INVALID: ImageTagAlreadyExistsException", err.message, 1, true)
      assert.equal(images.desc(one).digest, assert(c:head(repo .. ":v1")).digest)
    end
  end)

  for name, quirks in pairs {
    ["says it has mounted what it has not"] = { mount_lies = true, strict_blobs = true },
    ["loses what it took once"] = { mount_202 = true, forget_blobs = 1, strict_blobs = true },
    ["loses three things"] = { mount_202 = true, forget_blobs = 3, strict_blobs = true },
  } do
    it("one that " .. name .. " gets it again", function()
      local from = q.host .. "/lossy/" .. name:gsub(" ", "-")
      q:set {}
      local c = client()
      local m = images.push(c, from, { tag = "v1", layers = { { a = "1" }, { b = "2" } } })
      q:set(quirks)
      assert(image.copy(from .. ":v1", from .. "-to:v1", { client = c }))
      q:set {}
      for _, data in ipairs(m.blobs) do assert.equal(data, client():blob_data(from .. "-to", images.desc(data))) end
      q:set { mount_202 = true, forget_blobs = -1, strict_blobs = true }
      local err = failure(image.copy(from .. ":v1", from .. "-never:v1", { client = c }))
      assert.equal("oci.blob_unknown", err.code)
    end)
  end
end)

describe("on a bad day", function()
  local q, c, repo
  local n = 0
  setup(function()
    process.setenv("BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", "0.02")
    q = registry.quirky()
  end)
  teardown(function()
    q:stop()
    process.setenv("BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", nil)
  end)
  before_each(function()
    n = n + 1
    q:set {}
    q:requests()
    repo, c = q.host .. "/bad" .. n, client()
  end)

  it("downloads survive connections that are cut anywhere", function()
    math.randomseed(11)
    assert(c:push_blob(repo, images.desc(big), { data = big }))
    local dir = registry.tmpdir()
    for round = 1, 15 do
      local cuts = {}
      for i = 1, math.random(1, 4) do cuts[i] = math.random(0, #big - 1) // (i == 1 and 1 or 4) end
      q:set { cut_body = cuts, no_range = round % 4 == 0 and 1 or nil }
      local counter = loop.counter()
      local ok, err = client():blob(repo, images.desc(big), dir .. "/out", { progress = counter })
      assert.is_true(ok, tostring(err) .. " " .. json.encode(cuts))
      assert.equal(big, registry.read(dir .. "/out"))
      assert.equal(#big, (counter:get()))
    end
  end)

  it("lengths that lie are noticed before or behind them", function()
    assert(c:push_blob(repo, images.desc(big), { data = big }))
    for _, lie in ipairs { -1, -1000, 1, 100000 } do
      q:set { lie_length = lie < 0 and lie or nil, long_by = lie > 0 and lie or nil }
      local err = failure(client { retries = 1 }:blob_data(repo, images.desc(big), { max = 1 << 24 }))
      assert.matches("^oci.size_mismatch$", err.code)
    end
  end)

  it("truncated and foolish JSON is an error that says where", function()
    local raw = manifest()
    assert(c:push_manifest(repo, "v1", raw, MANIFEST))
    local token = { realm = "http://" .. q.host .. "/token", service = "s" }
    local login = { auth = { username = "u", password = "p" }, retries = 1 }
    for text, code in pairs { ['{"token":"abc'] = "oci.json", ["<html>"] = "oci.json", ["{}"] = "oci.token", ["[]"] = "oci.token",
      ['{"token":""}'] = "oci.token", ['{"token":5}'] = "oci.token", ['{"token":"a\\r\\nX: y"}'] = "oci.token",
      ['{"token":"' .. ("x"):rep(70000) .. '"}'] = "http.too_large" } do
      q:set { token = token, token_text = text }
      local err = failure(client(login):resolve(repo .. ":v1"))
      assert.same({ text:sub(1, 30), code }, { text:sub(1, 30), err.code }, err.message)
      assert.is_nil(err.message:find("abc", 1, true))
    end
    for text, code in pairs { ['{"manifests":[{"digest":"sha'] = "oci.json", ["{"] = "oci.json", ["[]"] = "oci.referrers",
      ['{"manifests":5}'] = "oci.referrers", ['{"manifests":[5]}'] = "oci.referrers", ['{"manifests":[{}]}'] = "oci.referrers",
      ['{"manifests":[{"digest":"x"}]}'] = "oci.referrers", ["{}"] = "oci.referrers", ['{"manifests":null}'] = false,
      ['{"manifests":[]}'] = false } do
      q:set { referrers = true, referrers_text = text }
      local list, err = client { retries = 1 }:referrers(repo .. "@" .. images.desc(raw).digest)
      assert.same({ text, code }, { text, err and err.code or false })
      assert.same(not code and {} or nil, list)
    end
    q:set { tags_text = '{"tags":["' .. ("x"):rep(17 << 20) .. '"]}' }
    assert.equal("http.too_large", failure(c:tags(repo)).code)
    q:set { status_for = { GET = { 400, -1, {}, '{"errors":[{"code":"X","mess' } } }
    assert.matches('HTTP 400: {"errors":', failure(c:resolve(repo .. ":v1")).message, 1, true)
    q:set { status_for = { GET = { 404, -1, {}, '{"errors":"no"}' } } }
    assert.equal("oci.not_found", failure(c:resolve(repo .. ":v1")).code)
  end)

  it("manifests may be larger when that is asked for", function()
    assert(c:push_manifest(repo, "v1", manifest(), MANIFEST))
    q:set { fill = 5 << 20, no_content_digest = true }
    assert.equal("http.too_large", failure(c:resolve(repo .. ":v1")).code)
    assert.is_truthy(client { manifest_max = 6 << 20 }:resolve(repo .. ":v1"))
    process.setenv("BAKERY_REGISTRY_MANIFEST_MAX", tostring(6 << 20))
    assert.is_truthy(client():resolve(repo .. ":v1"))
    process.setenv("BAKERY_REGISTRY_MANIFEST_MAX", nil)
    q:set { fill = 17 << 20, no_content_digest = true }
    assert.equal("http.too_large", failure(client { manifest_max = 64 << 20 }:resolve(repo .. ":v1")).code)
  end)

  it("a date in Retry-After is waited for", function()
    assert(c:push_manifest(repo, "v1", manifest(), MANIFEST))
    q:set { status_for = { GET = { 429, 1, { ["Retry-After"] = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 2) } } } }
    local start = loop.now()
    assert.is_truthy(c:resolve(repo .. ":v1"))
    local took = loop.now() - start
    assert.is_true(took > 0.9 and took < 10, took)
  end)

  it("Hub's own 429 without an end is not waited for, its other one is", function()
    assert(c:push_manifest(repo, "v1", manifest(), MANIFEST))
    q:set { status_for = { GET = { 429, -1, { ["ratelimit-remaining"] = "0;w=21600" }, "toomanyrequests: You have reached your pull rate limit." } } }
    assert.equal("oci.rate_limited", failure(c:resolve(repo .. ":v1")).code)
    q:set { status_for = { GET = { 429, 1, { ["Retry-After"] = "1" }, "You have reached your pull rate limit" } } }
    assert.is_truthy(c:resolve(repo .. ":v1"))
  end)

  it("not more than so many blobs of a registry move at once", function()
    local other <close> = registry.quirky()
    local data = {}
    for i = 1, 12 do
      data[i] = ("%02d"):format(i):rep(2000)
      for _, host in ipairs { q.host, other.host } do assert(c:push_blob(host .. "/many", images.desc(data[i]), { data = data[i] })) end
    end
    local function most(parallel, before)
      local with = client { parallel = parallel }
      if before then before(with) end
      for _, r in ipairs { q, other } do
        r:set { slow = { 1000, 0.05 } }
        assert(http.get("http://" .. r.host .. "/most"))
      end
      local tasks = {}
      for i = 1, 12 do
        for k, host in ipairs { q.host, other.host } do
          tasks[#tasks + 1] = loop.spawn(function() return assert(with:blob_data(host .. "/many", images.desc(data[i])), k) end)
        end
      end
      for _, t in ipairs(tasks) do assert.is_true((t:wait())) end
      return tonumber(assert(http.get("http://" .. q.host .. "/most")).body), tonumber(assert(http.get("http://" .. other.host .. "/most")).body)
    end
    assert.same({ 3, 3 }, { most(3) })
    local here, there = most(4, function(with)
      q:set { status_for = { GET = { 429, 2, { ["Retry-After"] = "0" } } } } -- one for the question whether it is a registry
      assert(with:blob_data(q.host .. "/many", images.desc(data[1])))
    end)
    assert.same({ 2, 4 }, { here, there })
  end)

  describe("tokens", function()
    local function with(more)
      local t = { token = { realm = "http://" .. q.host .. "/token", service = "s" } }
      for k, v in pairs(more or {}) do t[k] = v end
      q:set(t)
      c = client { auth = { username = "u", password = "p" } }
    end
    local function asked()
      local count = 0
      for _, r in ipairs(q:requests()) do if r.path == "/token" then count = count + 1 end end
      return count
    end
    local function push(k)
      for i = 1, k do assert(c:push_blob(repo, images.desc("token" .. n .. i), { data = "token" .. n .. i })) end
    end

    it("last as long as they say", function()
      with { token_life = 300 }
      push(4)
      assert.equal(1, asked())
    end)
    it("come from a service per repository where there are such", function()
      with { token_per_repository = true }
      for _, name in ipairs { "/one", "/two", "/one", "/three" } do
        for i = 1, 2 do assert(c:push_blob(repo .. name, images.desc(name .. i .. n), { data = name .. i .. n })) end
      end
      assert.is_true(c:ping(q.host))
      for _, name in ipairs { "/one", "/two" } do -- and reading is not done without the credentials
        assert.equal(name .. "1" .. n, client { auth = { username = "u", password = "p" } }:blob_data(repo .. name,
          images.desc(name .. "1" .. n)))
        assert.equal(name .. "2" .. n, c:blob_data(repo .. name, images.desc(name .. "2" .. n)))
      end
      assert.same({}, c:warnings())
      -- a refusal is still one
      q:set { token = { realm = "http://" .. q.host .. "/token", service = "s" }, token_401 = -1 }
      assert.equal("oci.unauthorized", failure(c:push_blob(repo .. "/four", images.desc "x", { data = "x" })).code)
    end)
    it("are not taken for old because of a clock", function()
      for _, age in ipairs { -4000, 299, 4000 } do
        with { token_life = 300, token_age = age }
        push(1)
        assert.equal(1, asked())
      end
    end)
    -- An upload is thought to take half a minute and a second for each 4 MB.
    for _, case in ipairs { { 116, 1, "are renewed before an upload that may outlast them" },
      { 150, 0, "that are young have to do where none lasts long enough" } } do
      it(case[3], function()
        local dir, size = registry.tmpdir(), case[1] * 1000000
        registry.capture(("truncate -s %d %s/big"):format(size, dir))
        local d = { digest = "sha256:" .. registry.capture("sha256sum < " .. dir .. "/big"):match "^%x+", size = size }
        with { token_life = 60 }
        push(1)
        assert.equal(1, asked())
        local start = loop.now()
        repeat loop.sleep(0.1) until loop.now() - start > 2.2 -- it has to grow older
        assert.equal("uploaded", c:push_blob(repo, d, { file = dir .. "/big" }))
        assert.equal(case[2], asked())
      end)
    end
  end)

  describe("from the open internet", function()
    -- A registry with a public name, by way of a proxy.
    local saved
    before_each(function()
      saved = os.getenv "http_proxy"
      process.setenv("http_proxy", "http://" .. q.host)
    end)
    after_each(function() process.setenv("http_proxy", saved) end)
    local function public() return client { plain_http = { "registry.example" }, retries = 0, auth = { username = "u", password = "p" } } end

    it("no upload goes to a private address", function()
      for _, place in ipairs { "127.0.0.1:1", "10.1.2.3", "169.254.169.254", "[::1]:80" } do
        q:set { location_host = place }
        local err = failure(public():push_blob("registry.example/a", images.desc "x", { data = "x" }))
        assert.equal("oci.location", err.code)
        assert.matches("private address", err.message, 1, true)
      end
    end)
    it("no credentials go to a private address", function()
      for _, realm in ipairs { "http://127.0.0.1:1/token", "http://192.168.0.1/token", "http://169.254.169.254/token" } do
        q:set { token = { realm = realm, service = "s" } }
        q:requests()
        local err = failure(public():resolve "registry.example/a:b")
        assert.equal("oci.realm", err.code)
        for _, r in ipairs(q:requests()) do assert.equal("", r.auth) end
      end
    end)
  end)

  it("another algorithm is told when an upload begins", function()
    local d = { digest = "sha512:" .. digest.sha512 "content", size = 7 }
    assert.equal("uploaded", c:push_blob(repo, d, { data = "content" }))
    local query
    for _, r in ipairs(q:requests()) do if r.method == "POST" then query = r.query end end
    assert.equal("digest-algorithm=sha512", query)
    assert.equal("content", client():blob_data(repo, d))
    assert.equal("oci.digest_mismatch", failure(c:push_blob(repo, { digest = "sha512:" .. ("0"):rep(128), size = 7 }, { data = "content" })).code)
  end)
end)

describe("in any weather", function()
  -- What passes on its own or is only unusual: a copy has to arrive whole, and leave nothing half done.
  local FROM = {
    function(q) q.cut_body = { math.random(0, 3000), math.random(0, 200) } end,
    function(q) q.no_range = math.random(1, 3) end,
    function(q) q.bad_range = 1 end,
    function(q) q.wrong_blob = 1 end,
    function(q) q.head_bare = true end,
    function(q) q.no_content_digest = true end,
    function(q) q.status_for = { GET = { ({ 429, 500, 502, 503, 504, 408 })[math.random(6)], math.random(1, 3), { ["Retry-After"] = "0" } } } end,
    function(q) q.redirect_blobs = true end,
    function(q) q.slow = { 700, 0.005 } end,
    function(q) q.content_type = nil end,
    function(q) q.page_size = 1 end,
    function(q) q.warning = "storm" end,
    function(q) q.expire_tokens, q.token = math.random(8, 20), true end,
    function(q) q.insufficient, q.token = 1, true end,
  }
  local TO = {
    function(q) q.upload_cut = { math.random(0, 500), math.random(0, 200) } end,
    function(q) q.upload_fail = math.random(1, 2) end,
    function(q) q.upload_reset = 1 end,
    function(q) q.relative_location = math.random(1, 2) end,
    function(q) q.location_query = true end,
    function(q) q.mount_202 = true end,
    function(q) q.no_chunks = 405 end,
    function(q) q.manifest_lag = math.random(1, 2) end,
    function(q) q.tag_lag = math.random(1, 2) end,
    function(q) q.forget_blobs = 1 end,
    function(q) q.head_405 = true end,
    function(q) q.referrers = true end,
    function(q) q.oci_subject = true end,
    function(q) q.unknown = ({ 401, 403 })[math.random(2)] end,
    function(q) q.status_for = { PUT = { ({ 429, 500, 502, 503, 504 })[math.random(5)], math.random(1, 3), { ["Retry-After"] = "0" } } } end,
    function(q) q.status_for = { POST = { 503, math.random(1, 3) } } end,
    function(q) q.expire_tokens, q.token = math.random(8, 20), true end,
    function(q) q.html = true end,
  }
  local from, to
  setup(function()
    process.setenv("BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", "0.02")
    from, to = registry.quirky(), registry.quirky()
  end)
  teardown(function()
    from:stop()
    to:stop()
    process.setenv("BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", nil)
  end)

  local function draw(list, reg)
    local quirks = { strict_blobs = true }
    for _ = 1, math.random(1, 4) do list[math.random(#list)](quirks) end
    if quirks.token then quirks.token = { realm = "http://" .. reg.host .. "/token", service = "s" } end
    if quirks.redirect_blobs then quirks.redirect_blobs = "http://" .. reg.host:gsub("127.0.0.1", "localhost") end
    if quirks.html then quirks.strict_blobs, quirks.forget_blobs, quirks.manifest_lag = nil, nil, nil end
    return quirks
  end

  local SEEDS = tonumber(os.getenv "BAKERY_TEST_ROUNDS") or 20
  for seed = 1, SEEDS do
    it("an image arrives with all that refers to it: " .. seed, function()
      math.randomseed(seed)
      from:set {}
      to:set {}
      local c, src, dst = client(), from.host .. "/w" .. seed, to.host .. "/w" .. seed
      local index, amd = images.multi(c, src, "v1", "weather" .. seed)
      local sig = images.push(c, src, { artifact_type = "x/sig", subject = amd, blobs = { "sig" .. seed } })
      local a, b = draw(FROM, from), draw(TO, to)
      from:set(a)
      to:set(b)
      local saying = json.encode(a) .. " " .. json.encode(b)
      local ok, err = image.copy(src .. ":v1", dst .. ":v1", { jobs = 3, referrers = true, client = assert(oci.client {
        auth = { username = "u", password = "p" }, retries = 6, chunk_size = math.random(0, 1) * 400 }) })
      assert.is_truthy(ok, tostring(err) .. " " .. saying)
      assert.equal("0", assert(http.get("http://" .. to.host .. "/sessions")).body, "uploads are left: " .. saying)
      from:set {}
      to:set(b.referrers and { referrers = true } or {})
      c = client()
      assert.equal(index.raw, assert(c:manifest(dst .. ":v1")).raw, saying)
      assert.same({ sig.digest }, { assert(c:referrers(dst .. "@" .. amd.digest))[1].digest }, saying)
      for _, d in ipairs(json.decode(index.raw).manifests) do
        local m = assert(c:resolve(dst .. "@" .. d.digest)).manifest
        m.layers[#m.layers + 1] = m.config
        for _, l in ipairs(m.layers) do
          assert.equal(assert(c:blob_data(src, l)), assert(c:blob_data(dst, l)), saying)
        end
      end
    end)
  end
end)
