--- Uploads in pieces, copies between registries, lists, deletion of blobs.
local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local registry = require "lib.registry"

local MANIFEST = "application/vnd.oci.image.manifest.v1+json"
local function desc(data) return { digest = "sha256:" .. digest.sha256(data), size = #data } end
local big = ("0123456789abcdef"):rep(200000) -- 3.2 MB

local function manifest(more)
  local doc = { schemaVersion = 2, mediaType = MANIFEST, layers = json.array {},
    config = { mediaType = "application/vnd.oci.image.config.v1+json", digest = desc("{}").digest, size = 2 } }
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

describe("uploads", function()
  local q, repo
  local n = 0
  setup(function() q = registry.quirky() end)
  teardown(function() q:stop() end)
  before_each(function()
    n = n + 1
    q:set {}
    q:requests()
    repo = q.host .. "/up" .. n
  end)
  local function methods() return q:methods_of "/blobs/" end
  local function stored(data) assert.equal(data, client():blob_data(repo, desc(data), { max = 1 << 30 })) end

  it("come in chunks when asked", function()
    local counter = loop.counter()
    assert.equal("uploaded", client { chunk_size = 1000000 }:push_blob(repo, desc(big), { data = big, progress = counter }))
    assert.equal("HEAD POST PATCH PATCH PATCH PATCH PUT", methods())
    assert.equal(#big, (counter:get()))
    stored(big)
  end)

  it("never in chunks smaller than the registry takes", function()
    q:set { chunk_min = 2000000 }
    assert.equal("uploaded", client():push_blob(repo, desc(big), { data = big, chunk_size = 1000 }))
    assert.equal("HEAD POST PATCH PATCH PUT", methods())
    stored(big)
  end)

  for name, case in pairs {
    ["a chunk that broke off"] = { { upload_cut = { false, 300000 } }, "HEAD POST PATCH PATCH GET PATCH PUT" },
    ["a chunk of which nothing came"] = { { upload_cut = { 0 } }, nil },
    ["a chunk that was taken in part"] = { { chunk_short = { 0, 7 } }, "HEAD POST PATCH PATCH PATCH PUT" },
    ["a lost session"] = { { upload_cut = { false, 300000 }, no_status = true },
      "HEAD POST PATCH PATCH GET DELETE POST PATCH PATCH PATCH PUT" },
  } do
    it("go on after " .. name, function()
      for i, v in ipairs(case[1].upload_cut or {}) do case[1].upload_cut[i] = v or json.null end
      q:set(case[1])
      local counter = loop.counter()
      assert.equal("uploaded", client():push_blob(repo, desc(big), { data = big, chunk_size = 1500000, progress = counter }))
      if case[2] then assert.equal(case[2], methods()) end
      assert.equal(#big, (counter:get()))
      stored(big)
    end)
  end

  it("resume after a whole upload broke off, where the registry tells how far it came", function()
    local dir = registry.tmpdir()
    registry.write(dir .. "/blob", big)
    q:set { upload_cut = { 1234567 } }
    local counter = loop.counter()
    assert.equal("uploaded", client():push_blob(repo, desc(big), { file = dir .. "/blob", progress = counter }))
    local sent = 0
    for _, r in ipairs(q:requests()) do if r.method == "PATCH" then sent = sent + tonumber(r.length) end end
    assert.equal(#big - 1234567, sent)
    assert.equal(#big, (counter:get()))
    stored(big)
  end)

  it("survive connections that are cut at random places", function()
    math.randomseed(7)
    for round = 1, 12 do
      local data = big .. round
      local cuts = {}
      for i = 1, math.random(1, 3) do cuts[i] = math.random(0, #data) end
      q:set { upload_cut = cuts }
      local counter = loop.counter()
      local how, err = client { chunk_size = round % 2 * 700000 }:push_blob(repo, desc(data), { data = data, progress = counter })
      assert.equal("uploaded", how, tostring(err) .. " " .. json.encode(cuts))
      assert.equal(#data, (counter:get()))
      stored(data)
    end
  end)

  it("are whole again where PATCH does not work", function()
    for _, status in ipairs { 201, 405 } do
      local c, one, two = client { chunk_size = 1000000 }, big .. status, big .. status .. "x"
      q:set { no_chunks = status }
      assert.equal("uploaded", c:push_blob(repo, desc(one), { data = one }))
      assert.equal("HEAD POST PATCH DELETE POST PUT", methods())
      assert.equal("uploaded", c:push_blob(repo, desc(two), { data = two }))
      assert.equal("HEAD POST PUT", methods())
    end
  end)

  it("mount from anywhere when told to", function()
    assert(client():push_blob(q.host .. "/elsewhere", desc "shared", { data = "shared" }))
    assert.equal("mounted", client():push_blob(repo, desc "shared", { data = "shared", mount_from = "" }))
  end)

  it("in chunks reach docker-registry", function()
    local reg <close> = registry.start()
    assert.equal("uploaded", client { chunk_size = 1000000 }:push_blob(reg.host .. "/a/b", desc(big), { data = big }))
    assert.equal(4, reg:count('"PATCH '))
    assert.equal(big, client():blob_data(reg.host .. "/a/b", desc(big)))
  end)
end)

describe("copies", function()
  local from, to, c, src, dst
  local n = 0
  setup(function() from, to = registry.quirky(), registry.quirky() end)
  teardown(function()
    from:stop()
    to:stop()
  end)
  before_each(function()
    n = n + 1
    from:set {}
    to:set {}
    src, dst, c = from.host .. "/s" .. n, to.host .. "/d" .. n, client()
    assert(c:push_blob(src, desc(big), { data = big }))
    from:requests()
    to:requests()
  end)
  local function arrived() assert.equal(big, client():blob_data(dst, desc(big), { max = 1 << 30 })) end

  it("stream from one registry to the other", function()
    local counter = loop.counter()
    assert.equal("uploaded", c:copy_blob(dst, src, desc(big), { progress = counter }))
    assert.equal(#big, (counter:get()))
    assert.equal("GET", from:methods_of "/blobs/")
    assert.equal("HEAD POST PUT", to:methods_of "/blobs/")
    assert.equal("exists", c:copy_blob(dst, src, desc(big)))
    assert.same({}, from:requests())
    arrived()
  end)

  it("mount inside one registry", function()
    assert.equal("mounted", c:copy_blob(from.host .. "/other" .. n, src, desc(big)))
    assert.equal("POST", from:methods_of "/blobs/")
    from:set { mount_202 = true }
    assert.equal("uploaded", c:copy_blob(from.host .. "/third" .. n, src, desc(big)))
    local methods = from:methods_of "/blobs/"
    assert.is_truthy(methods == "POST GET PUT" or methods == "POST PUT GET", methods)
  end)

  for name, case in pairs {
    ["a download that breaks off"] = { from = { cut_body = { 100000, 2000000 } } },
    ["a source that cannot resume"] = { from = { cut_body = { 100000 }, no_range = -1 } },
    ["an upload that breaks off"] = { to = { upload_cut = { 2500000 } } },
    ["an upload that is refused once"] = { to = { upload_fail = 1 } },
    ["a source that lies once"] = { from = { wrong_blob = 1 } },
    ["both at once"] = { from = { cut_body = { 50000, 1 } }, to = { upload_cut = { 10, 3000000 } } },
    ["relative places"] = { to = { relative_location = 2 } },
  } do
    it("survive " .. name, function()
      from:set(case.from or {})
      to:set(case.to or {})
      local counter = loop.counter()
      assert.equal("uploaded", c:copy_blob(dst, src, desc(big), { progress = counter }))
      assert.equal(#big, (counter:get()))
      arrived()
    end)
  end

  it("renew the destination's token in the middle", function()
    to:set { token = { realm = "http://" .. to.host .. "/token", service = "s" }, upload_401 = 1 }
    c = client { auth = { [to.host] = { username = "u", password = "p" } } }
    assert.equal("uploaded", c:copy_blob(dst, src, desc(big)))
    to:set {}
    arrived()
  end)

  it("store nothing that is wrong", function()
    from:set { wrong_blob = -1 }
    c = client { retries = 1 }
    local err = failure(c:copy_blob(dst, src, desc(big)))
    assert.same({ "oci.digest_mismatch", "infra" }, { err.code, err.class })
    assert.matches("copy blob sha256:%x+ to 127", err.message)
    from:set {}
    assert.is_false((client():has_blob(dst, desc(big).digest)))
    local last -- but for the new client's questions
    for _, r in ipairs(to:requests()) do
      if r.method ~= "HEAD" and r.path ~= "/v2/" then last = r.method end
    end
    assert.equal("DELETE", last, "no session is left")
    err = failure(c:copy_blob(dst, src, desc "absent"))
    assert.equal("oci.not_found", err.code)
    err = failure(c:copy_blob(dst, src, desc(big).digest))
    assert.equal("oci.descriptor", err.code)
  end)

  it("end when they are cancelled, whichever side hangs", function()
    for _, side in ipairs { "from", "to" } do
      from:set(side == "from" and { slow = { 1000, 0.5 } } or {})
      to:set(side == "to" and { status_for = { PUT = { 429, -1, { ["Retry-After"] = "60" } } } } or {})
      local t = loop.spawn(function() return client():copy_blob(dst, src, desc(big)) end)
      loop.sleep(0.3)
      local start = loop.now()
      t:cancel()
      assert.is_false((t:wait()))
      assert.is_true(loop.now() - start < 5)
    end
  end)

  it("run side by side and need little memory", function()
    local tasks = {}
    for i = 1, 12 do
      local data = big .. i
      assert(c:push_blob(src, desc(data), { data = data }))
      tasks[i] = loop.spawn(function() return assert(c:copy_blob(dst, src, desc(data))) end)
    end
    for _, t in ipairs(tasks) do
      local ok, how = t:wait()
      assert.is_true(ok, tostring(how))
      assert.equal("uploaded", how)
    end
  end)
end)

describe("lists", function()
  it("give parts and go on behind a name", function()
    local q <close> = registry.quirky()
    local c = client()
    for i = 1, 7 do assert(c:push_manifest(q.host .. "/r", "t" .. i, manifest(), MANIFEST)) end
    assert(c:push_manifest(q.host .. "/other", "x", manifest(), MANIFEST))
    q:set { page_size = 3, catalog = true }
    q:requests()
    assert.same({ "t1", "t2" }, c:tags(q.host .. "/r", { max = 2 }))
    assert.same({ "t1", "t2", "t3", "t4" }, c:tags(q.host .. "/r", { max = 4, page_size = 3 }))
    assert.same({ "t6", "t7" }, c:tags(q.host .. "/r", { last = "t5" }))
    local asked = {}
    for i, r in ipairs(q:requests()) do asked[i] = r.query end
    assert.same({ "n=2", "n=3", "n=3&last=t3", "n=1000&last=t5" }, asked)
    assert.same({ "other", "r" }, c:catalog(q.host))
    q:set {}
    local err = failure(c:catalog(q.host))
    assert.equal("oci.not_found", err.code)
    assert.matches("list repositories of " .. q.host, err.message, 1, true)
  end)

  it("of docker-registry's repositories need the catalog's scope", function()
    local reg <close> = registry.start { auth = "token" }
    local c = assert(oci.client { auth = { username = "user", password = "secret" } })
    assert(c:push_blob(reg.host .. "/a/b", desc "{}", { data = "{}" }))
    assert(c:push_manifest(reg.host .. "/a/b", "v1", manifest(), MANIFEST))
    assert.same({ "a/b" }, c:catalog(reg.host))
    assert.matches("registry:catalog:*", reg:token_log(), 1, true)
  end)

  it("of referrers are filtered by the registry, or by us", function()
    local q <close> = registry.quirky()
    for _, native in ipairs { true, false } do
      q:set { referrers = true, artifact_filter = native }
      local c, repo = client(), q.host .. "/r" .. tostring(native)
      local raw = manifest()
      assert(c:push_manifest(repo, "v1", raw, MANIFEST))
      local subject = { mediaType = MANIFEST, digest = desc(raw).digest, size = #raw }
      for _, kind in ipairs { "x/sig", "y/sbom+json" } do
        local doc = manifest { subject = subject, artifactType = kind }
        assert(c:push_manifest(repo, desc(doc).digest, doc, MANIFEST))
      end
      local list = assert(c:referrers(repo .. "@" .. subject.digest, { artifact_type = "y/sbom+json" }))
      assert.same({ 1, "y/sbom+json" }, { #list, list[1].artifactType })
      assert.equal(2, #assert(c:referrers(repo .. "@" .. subject.digest)))
    end
  end)
end)

describe("referrers", function()
  local q, c, repo, subject
  local n = 0
  setup(function() q = registry.quirky() end)
  teardown(function() q:stop() end)
  before_each(function()
    n = n + 1
    q:set {}
    c, repo = client(), q.host .. "/ref" .. n
    local raw = manifest { annotations = { n = tostring(n) } }
    assert(c:push_manifest(repo, "v1", raw, MANIFEST))
    subject = { mediaType = MANIFEST, digest = desc(raw).digest, size = #raw }
  end)

  local function attach(with, name)
    local doc = manifest { subject = subject, artifactType = "x/" .. name, annotations = { name = name } }
    assert(with:push_manifest(repo, desc(doc).digest, doc, MANIFEST))
    return desc(doc).digest
  end

  local function names(with, opts)
    local out = {}
    for i, e in ipairs(assert(with:referrers(repo .. "@" .. subject.digest, opts))) do out[i] = e.annotations.name end
    table.sort(out)
    return table.concat(out, " ")
  end

  it("are not lost while a registry shows old lists", function()
    for i, name in ipairs { "a", "b", "c" } do
      q:set { tag_lag = i == 1 and 3 or 2 }
      attach(c, name)
    end
    q:set {}
    assert.equal("a b c", names(client()))
    local gone = attach(c, "d")
    q:set { tag_lag = 2 }
    assert.is_true(c:delete(repo .. "@" .. gone))
    q:set {}
    assert.equal("a b c", names(client()))
  end)

  it("are not listed again when their list was deleted", function()
    local a, b = attach(c, "a"), attach(c, "b")
    assert.is_true(c:delete(repo .. ":" .. oci.fallback_tag(subject.digest)))
    assert.is_true(c:delete(repo .. "@" .. a))
    assert.is_true(c:delete(repo .. "@" .. b))
    assert.same({ "v1" }, c:tags(repo))
  end)

  it("of a fallback tag count when the registry has the API now, as long as they are there", function()
    local old, gone = attach(c, "old"), attach(c, "gone")
    q:set { referrers = true, api_hides = { old, gone } }
    c = client()
    local new = attach(c, "new")
    assert.equal("gone new old", names(c))
    assert.equal("old", names(c, { artifact_type = "x/old" }))
    assert.equal(1, #assert(c:tags(repo)) - 1, "nothing new in the tag")
    q:set { referrers = true, api_hides = { old, gone }, hide = gone }
    assert.equal("new old", names(c))
    q:set { referrers = true }
    assert.equal("gone new old", names(c), "none twice")
    assert.is_true(c:delete(repo .. "@" .. gone))
    local tag = assert(c:resolve(repo .. ":" .. oci.fallback_tag(subject.digest)))
    assert.same({ 1, old }, { #tag.manifest.manifests, tag.manifest.manifests[1].digest })
    assert.is_true(c:delete(repo .. "@" .. new))
    assert.equal("old", names(c))
  end)

  it("do not mind another thing under the fallback tag where there is the API", function()
    q:set { referrers = true }
    attach(c, "a")
    assert(c:push_manifest(repo, oci.fallback_tag(subject.digest), manifest(), MANIFEST))
    assert.equal("a", names(c))
    q:set {}
    c = client()
    local list, err = c:referrers(repo .. "@" .. subject.digest)
    assert.same({ nil, "oci.referrers" }, { list, err.code })
  end)

  it("come in pages, which may be filtered or not and do not lead astray", function()
    q:set { referrers = true }
    for i = 1, 7 do attach(c, (i % 2 == 0 and "even" or "odd") .. i) end
    for _, filter in ipairs { true, false } do
      q:set { referrers = true, referrers_page = 3, artifact_filter = filter }
      q:requests()
      assert.equal("even2 even4 even6 odd1 odd3 odd5 odd7", names(client()))
      assert.equal("GET GET GET", q:methods_of "/referrers/")
      assert.equal("even4", names(client(), { artifact_type = "x/even4" }))
    end
    q:set { referrers = true, referrers_page = 3, page_loop = true }
    assert.is_true(#assert(client():referrers(repo .. "@" .. subject.digest)) >= 3)
    q:set { referrers = true, referrers_page = 3, referrers_break = true }
    local list, err = client():referrers(repo .. "@" .. subject.digest)
    assert.same({ nil, "oci.referrers" }, { list, err.code })
  end)

  it("are looked for where a registry only says that it knows them", function()
    q:set { oci_subject = true } -- answers OCI-Subject, has no API
    attach(c, "a")
    assert.equal("a", names(client()))
    assert.equal(2, #c:tags(repo))
  end)
end)

describe("deletion", function()
  it("of blobs", function()
    for _, start in ipairs { registry.start, registry.quirky } do
      local reg <close> = start()
      local c, repo = client(), reg.host .. "/a/b"
      assert(c:push_blob(repo, desc "gone", { data = "gone" }))
      assert.is_true(c:delete_blob(repo, desc("gone").digest))
      assert.is_false((c:has_blob(repo, desc("gone").digest)))
      assert.equal("oci.not_found", failure(c:delete_blob(repo, desc("gone").digest)).code)
      assert.equal("uploaded", c:push_blob(repo, desc "gone", { data = "gone" }), "what was deleted is not taken for known")
    end
  end)
end)

describe("deletion of a tag", function()
  local q, c, repo, raw
  setup(function() q = registry.quirky() end)
  teardown(function() q:stop() end)
  before_each(function()
    q:set {}
    c, repo, raw = client { retries = 0 }, q.host .. "/t", manifest()
    assert(c:push_manifest(repo, "v1", raw, MANIFEST))
    assert(c:push_manifest(repo, "v2", raw, MANIFEST))
  end)
  local function shown(tag) return assert(client():head(repo .. ":" .. tag)).digest end

  it("leaves its manifest where only manifests can be deleted", function()
    assert.is_true(c:delete(repo .. ":v1"))
    assert.same({ "v2" }, c:tags(repo))
    assert.equal(desc(raw).digest, shown "v2")
  end)

  it("touches nothing where nothing can be deleted", function()
    for _, status in ipairs { 400, 403, 405 } do
      q:set { status_for = { DELETE = { status, -1, {} } } }
      assert.equal(status ~= 403 and "DELETE HEAD DELETE" or "DELETE", (function()
        q:requests()
        failure(c:delete(repo .. ":v1"))
        return q:methods_of "/t/"
      end)())
      q:set {}
      assert.equal(desc(raw).digest, shown "v1")
    end
  end)

  it("puts back what the tag stood for when it does not end well", function()
    for _, quirk in ipairs { { decoys_stay = 405 }, { decoys_stay = 500 } } do
      q:set(quirk)
      failure(c:delete(repo .. ":v1"))
      q:set {}
      assert.equal(desc(raw).digest, shown "v1")
    end
  end)
end)

describe("slow answers", function()
  it("are waited for while they move", function()
    local q <close> = registry.quirky()
    local c = client()
    assert(c:push_blob(q.host .. "/r", desc("drip"), { data = "drip" }))
    q:set { slow = { 1, 0.1 } }
    assert.equal("drip", c:blob_data(q.host .. "/r", desc("drip")))
  end)
end)

describe("documents", function()
  it("are looked at without a registry", function()
    assert.equal(MANIFEST, oci.check_manifest(manifest()))
    assert.equal("oci.manifest", failure(oci.check_manifest(manifest(), "application/vnd.oci.image.index.v1+json")).code)
    assert.equal("oci.json", failure(oci.check_manifest('{"layers":[')).code)
    assert.is_true(oci.is_index "application/vnd.docker.distribution.manifest.list.v2+json")
    assert.is_false(oci.is_index(MANIFEST))
    assert.equal("sha256-" .. ("a"):rep(64), oci.fallback_tag("sha256:" .. ("a"):rep(64)))
    local index = json.encode { schemaVersion = 2, manifests = { { mediaType = MANIFEST, digest = desc("x").digest, size = 1,
      platform = { os = "linux", architecture = "arm64" } } } }
    assert.equal(desc("x").digest, oci.select_platform(index, "linux/arm64/v8").digest)
    assert.equal("oci.platform", failure(oci.select_platform(index, "linux/s390x")).code)
  end)
end)
