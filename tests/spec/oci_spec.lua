local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local process = require "bakery.process"
local registry = require "lib.registry"

local MANIFEST = "application/vnd.oci.image.manifest.v1+json"
local INDEX = "application/vnd.oci.image.index.v1+json"
local CONFIG = "application/vnd.oci.image.config.v1+json"
local LAYER = "application/vnd.oci.image.layer.v1.tar"

local function desc(data) return { digest = "sha256:" .. digest.sha256(data), size = #data } end

local function manifest(config, layers, more)
  local doc = json.object { { "schemaVersion", 2 }, { "mediaType", MANIFEST } }
  doc.config = { mediaType = CONFIG, digest = desc(config).digest, size = #config }
  doc.layers = json.array {}
  for i, l in ipairs(layers) do doc.layers[i] = { mediaType = LAYER, digest = desc(l).digest, size = #l } end
  for k, v in pairs(more or {}) do doc[k] = v end
  return json.encode(doc)
end

--- Pushes blobs and a manifest; returns raw, digest.
local function push_image(c, repo, tag, config, layers, more)
  for _, data in ipairs { config, table.unpack(layers) } do
    assert(c:push_blob(repo, desc(data), { data = data }))
  end
  local raw = manifest(config, layers, more)
  local done = assert(c:push_manifest(repo, tag or desc(raw).digest, raw, MANIFEST))
  return raw, done.digest
end

local function failure(value, err)
  assert.is_nil(value)
  assert.is_table(err)
  return err
end

describe("oci.ref", function()
  local D = "sha256:" .. ("a"):rep(64)
  for text, want in pairs {
    ["debian"] = "docker.io/library/debian:latest",
    ["debian:12"] = "docker.io/library/debian:12",
    ["user/app"] = "docker.io/user/app:latest",
    ["docker.io/debian"] = "docker.io/library/debian:latest",
    ["index.docker.io/a/b:1"] = "docker.io/a/b:1",
    ["ghcr.io/o/r@" .. D] = "ghcr.io/o/r@" .. D,
    ["r.example/x/y:t@" .. D] = "r.example/x/y:t@" .. D,
    ["localhost/a"] = "localhost/a:latest",
    ["localhost:5000/a/b:v1"] = "localhost:5000/a/b:v1",
    ["[::1]:5000/a"] = "[::1]:5000/a:latest",
    ["Upper.Example/a"] = "upper.example/a:latest",
    ["a:5000"] = "docker.io/library/a:5000",
    ["a__b/c.d-e--f"] = "docker.io/a__b/c.d-e--f:latest",
    ["test.com:5000"] = "docker.io/library/test.com:5000", ["192.168.1.1"] = "docker.io/library/192.168.1.1:latest",
    ["192.168.1.1:5000"] = "docker.io/library/192.168.1.1:5000", ["192.168.1.1:5000/repo:5050"] = "192.168.1.1:5000/repo:5050",
    ["test:5000/repo"] = "test:5000/repo:latest", ["test-com:8080/foo"] = "test-com:8080/foo:latest",
    ["test_com/foo"] = "docker.io/test_com/foo:latest", ["foo_bar.com:8080"] = "docker.io/library/foo_bar.com:8080",
    ["lowercase:Uppercase"] = "docker.io/library/lowercase:Uppercase",
    ["b.gcr.io/test.example.com/my-app:test.example.com"] = "b.gcr.io/test.example.com/my-app:test.example.com",
    ["xn--n3h.com/myimage:xn--n3h.com"] = "xn--n3h.com/myimage:xn--n3h.com", ["Asdf.com/foo"] = "asdf.com/foo:latest",
    ["0101.com/a"] = "0101.com/a:latest", ["ab.c-om/a"] = "ab.c-om/a:latest", ["a/a/a/a"] = "docker.io/a/a/a/a:latest",
    ["[2001:db8::1]/repo"] = "[2001:db8::1]/repo:latest", ["[2001:db8:1:2:3:4:5:6]/repo:t"] = "[2001:db8:1:2:3:4:5:6]/repo:t",
    ["[2001:db8::]:5000/repo:t@" .. D] = "[2001:db8::]:5000/repo:t@" .. D, ["[FC00::1]:5000/a"] = "[fc00::1]:5000/a:latest",
    ["localhost:8080@" .. D] = "docker.io/library/localhost:8080@" .. D, ["localhost@" .. D] = "docker.io/library/localhost@" .. D,
    ["library/foo/bar"] = "docker.io/library/foo/bar:latest", ["index.docker.io/debian"] = "docker.io/library/debian:latest",
    ["docker.io/" .. ("1a"):rep(32)] = "docker.io/library/" .. ("1a"):rep(32) .. ":latest",
    [("a"):rep(63)] = "docker.io/library/" .. ("a"):rep(63) .. ":latest", [("g"):rep(64)] = "docker.io/library/" .. ("g"):rep(64) .. ":latest",
    ["docker---rules/docker"] = "docker.io/docker---rules/docker:latest",
    ["registry.io/foo/project--id.module--name.ver---sion--name"] = "registry.io/foo/project--id.module--name.ver---sion--name:latest",
    ["x.y/a@sha512:" .. ("f"):rep(128)] = "x.y/a@sha512:" .. ("f"):rep(128),
    ["x.y/a:" .. ("t"):rep(128)] = "x.y/a:" .. ("t"):rep(128),
  } do
    it("reads " .. text:sub(1, 40), function() assert.equal(want, tostring(assert(oci.ref(text)))) end)
  end

  it("splits", function()
    local r = assert(oci.ref("r.example:443/x/y:t@" .. D))
    assert.same({ "r.example:443", "x/y", "t", D, "r.example:443/x/y" },
      { r.registry, r.repository, r.tag, r.digest, r.name })
    assert.is_true(oci.ref "debian" == oci.ref "docker.io/library/debian:latest")
  end)

  for text, why in pairs {
    [""] = "empty", [":"] = "tag", ["a:"] = "tag", ["a@b"] = "digest", ["/a"] = "repository", ["a/"] = "repository",
    ["a//b"] = "repository", ["Debian"] = "lower case", ["a/B"] = "lower case", ["User/app"] = "lower case", ["a:-x"] = "column 3",
    ["a:" .. ("t"):rep(129)] = "tag", ["a._b"] = "repository", ["a___b"] = "repository", ["-a"] = "repository",
    ["a-"] = "repository", ["a b"] = "repository", ["a\0b"] = "repository", ["x.y:0/a"] = "registry",
    ["x.y:70000/a"] = "registry", ["x..y/a"] = "registry", ["[::1/a"] = "registry", ["x.y/"] = "repository",
    ["a@sha256:" .. ("A"):rep(64)] = "digest", ["a@sha256:" .. ("a"):rep(63)] = "digest",
    [("1a"):rep(32)] = "an image's id", ["https://github.com/docker/docker"] = "registry", ["docker///docker"] = "repository",
    ["docker.io/docker/Docker"] = "lower case", ["docker-/docker"] = "repository", ["____/____"] = "repository",
    ["_docker/_docker"] = "repository", ["dock_.er/docker"] = "registry", ["dock-.er/docker"] = "registry",
    ["docker./docker"] = "registry", [".docker/docker"] = "registry", ["do..cker/docker"] = "registry",
    ["do__cker:8080/docker"] = "registry", ["foo_bar.com:8080/app"] = "registry", ["foo.com:http/bar"] = "registry",
    ["ab-.com/a"] = "registry", ["ab.-com/a"] = "registry", ["-ab.com/a"] = "registry", ["ab.com-/a"] = "registry",
    ["foo/-bar"] = "repository", ["foo/bar-"] = "repository", ["a/a/a/"] = "repository", ["aa/asdf$$^/aa"] = "repository",
    ["example.com/..dots/a"] = "repository", ["example.com/.dots/a"] = "repository", ["example.com/__a/b"] = "repository",
    ["[fc00::1]"] = "tag", ["[fc00::1]:5000"] = "tag", ["fc00::1:5000/debian"] = "registry",
    ["[fe80::1%eth0]:5000/debian"] = "registry", ["[2001:db8:3:4::192.0.2.33]:5000/debian"] = "registry",
    ["[fd00:1:2::3]75050/a"] = "registry", ["[fd00:1:2::3]::75/a"] = "registry", ["192.168.1.1:750050/a"] = "registry",
    ["repo@sha256:" .. ("f"):rep(34)] = "digest", ["validname@invaliddigest:" .. ("f"):rep(64)] = "digest", ["a:b~c"] = "tag",
    [":justtag"] = "repository", ["@sha256:" .. ("f"):rep(64)] = "repository", ["Uppercase:tag"] = "lower case",
    ["x.y:5000/Uppercase/lowercase:tag"] = "lower case",
    ["a@md5:" .. ("a"):rep(32)] = "digest", ["x.y/" .. ("a/"):rep(130) .. "a"] = "255",
  } do
    it("refuses '" .. text:sub(1, 30) .. "'", function()
      local err = failure(oci.ref(text))
      assert.same({ "oci.reference", "usage" }, { err.code, err.class })
      assert.matches(why, err.message, 1, true)
    end)
  end
end)

describe("with docker-registry", function()
  for _, how in ipairs {
    { "open", {} }, { "basic auth", { auth = "basic" } }, { "TLS", { tls = true } },
    { "token auth", { auth = "token" } },
  } do
    it("pushes and pulls: " .. how[1], function()
      local reg <close> = registry.start(how[2])
      local repo = reg.host .. "/team/app"
      local function client() return assert(oci.client { ca_file = reg.ca, auth = { username = "user", password = "secret" } }) end
      local c = client()
      local layer, dir = ("layer"):rep(30000), registry.tmpdir()
      registry.write(dir .. "/layer", layer)
      local counter = loop.counter()
      assert.equal("uploaded", c:push_blob(repo, desc(layer), { file = dir .. "/layer", progress = counter }))
      assert.equal(#layer, (counter:get()))
      assert.equal("exists", c:push_blob(repo, desc(layer), { file = dir .. "/layer" }))
      assert.equal("mounted", client():push_blob(reg.host .. "/other", desc(layer), { data = layer, mount_from = "team/app" }))
      local raw, dgst = push_image(c, repo, "v1", "{}", { layer })

      c = client()
      local got = assert(c:resolve(repo .. ":v1"))
      assert.same({ raw, dgst, #raw, MANIFEST, #layer },
        { got.raw, got.digest, got.size, got.media_type, got.manifest.layers[1].size })
      assert.equal(dgst, assert(c:head(repo .. ":v1")).digest)
      assert.equal(raw, assert(c:manifest(repo .. "@" .. dgst)).raw)
      counter = loop.counter()
      assert.is_true(c:blob(repo, desc(layer), dir .. "/out", { progress = counter }))
      assert.equal(layer, registry.read(dir .. "/out"))
      assert.equal(#layer, (counter:get()))
      assert.equal("{}", c:blob_data(repo, desc "{}"))
      assert.is_true((c:has_blob(repo, desc(layer).digest)))
      assert.is_false((c:has_blob(repo, desc "absent")))
      assert.is_true(c:ping(reg.host))
      assert.same({ "v1" }, c:tags(repo))
      assert.same({}, c:warnings())
      os.execute("rm -rf " .. dir)
    end)
  end

  it("asks a loopback registry once whether it is one, by plain http and without credentials", function()
    local reg <close> = registry.start { auth = "basic" }
    local c = assert(oci.client { auth = { username = "user", password = "secret" } })
    push_image(c, reg.host .. "/a/b", "v1", "{}", { "one" })
    assert.same({ 1, 1 }, { reg:count '"GET /v2/ HTTP', reg:count('"GET /v2/ HTTP', '" 401 ') })
  end)

  it("asks for few tokens: one per scope, none again", function()
    local reg <close> = registry.start { auth = "token" }
    local repo = reg.host .. "/a/b"
    local c = assert(oci.client { auth = { username = "user", password = "secret" } })
    push_image(c, repo, "v1", "{}", { "one", "two", "three" })
    local scopes = {}
    for line in reg:token_log():gmatch("[^\n]+") do
      assert.is_nil(scopes[line], line)
      scopes[line] = true
    end
    assert.equal(1, reg:count("/v2/a/b/", '" 401 '), "only the first request is refused")
    assert.equal("GET user repository:a/b:pull,push\n", reg:token_log())
  end)

  it("uses identity tokens through OAuth2", function()
    local reg <close> = registry.start { auth = "token" }
    local c = assert(oci.client { auth = { [reg.host] = { identity_token = "identity-of-user" } } })
    push_image(c, reg.host .. "/a/b", "v1", "{}", { "one" })
    assert.matches("POST user repository:a/b:", reg:token_log(), 1, true)
    c = assert(oci.client { auth = { [reg.host] = { identity_token = "wrong" } } })
    local err = failure(c:push_blob(reg.host .. "/a/b", desc "new", { data = "new" }))
    assert.equal("oci.unauthorized", err.code)
    assert.is_nil(tostring(err):find("wrong$"))
  end)

  it("names what is missing or refused", function()
    local reg <close> = registry.start { auth = "basic" }
    local err = failure(assert(oci.client { auth = false }):resolve(reg.host .. "/a/b:v1"))
    assert.same({ "oci.unauthorized", "infra", false }, { err.code, err.class, err.retryable })
    local c = assert(oci.client { auth = { username = "user", password = "wrong-password" } })
    err = failure(c:push_blob(reg.host .. "/a/b", desc "x", { data = "x" }))
    assert.equal("oci.unauthorized", err.code)
    assert.is_nil(tostring(err):find("wrong-password", 1, true))
    c = assert(oci.client { auth = { username = "user", password = "secret" } })
    err = failure(c:resolve(reg.host .. "/a/b:v1"))
    assert.same({ "oci.not_found", "build" }, { err.code, err.class })
    assert.matches(reg.host .. "/a/b:v1", err.message, 1, true)
    assert.matches("MANIFEST_UNKNOWN", err.message, 1, true)
    err = failure(c:tags(reg.host .. "/a/none"))
    assert.equal("oci.not_found", err.code)
    err = failure(c:blob_data(reg.host .. "/a/b", desc "absent"))
    assert.equal("oci.not_found", err.code)
    err = failure(c:push_manifest(reg.host .. "/a/b", "v1", manifest("{}", { "absent" }), MANIFEST))
    assert.same({ "oci.blob_unknown", true }, { err.code, err.retryable })
    assert.matches("missing: sha256:", err.message, 1, true)
  end)

  it("deletes tags without their images, and images with their tags", function()
    local reg <close> = registry.start()
    local repo, c = reg.host .. "/a/b", assert(oci.client {})
    local raw, dgst = push_image(c, repo, "v1", "{}", { "one" })
    assert(c:push_manifest(repo, "v2", raw, MANIFEST))
    assert.is_true(c:delete(repo .. ":v1"))
    assert.same({ "v2" }, c:tags(repo))
    assert.equal(dgst, assert(c:resolve(repo .. ":v2")).digest)
    assert.equal("oci.not_found", failure(c:delete(repo .. ":v1")).code)
    assert.is_true(c:delete(repo .. "@" .. dgst))
    assert.equal("oci.not_found", failure(c:resolve(repo .. ":v2")).code)
  end)

  it("keeps referrers in the fallback tag", function()
    local reg <close> = registry.start()
    local repo, c = reg.host .. "/a/b", assert(oci.client {})
    local raw, dgst = push_image(c, repo, "v1", "{}", { "one" })
    local subject = { mediaType = MANIFEST, digest = dgst, size = #raw }
    local _, sig = push_image(c, repo, nil, "{}", { "sig" },
      { subject = subject, artifactType = "x/sig", annotations = { a = "1" } })
    local _, bom = push_image(c, repo, nil, "{}", { "bom" }, { subject = subject })
    local list = assert(c:referrers(repo .. "@" .. dgst))
    assert.same({ sig, bom }, { list[1].digest, list[2].digest })
    assert.same({ "x/sig", "1", CONFIG }, { list[1].artifactType, list[1].annotations.a, list[2].artifactType })
    assert.equal(1, #assert(c:referrers(repo .. "@" .. dgst, { artifact_type = "x/sig" })))
    local stored = assert(c:resolve(repo .. ":" .. dgst:gsub(":", "-")))
    assert.same({ INDEX, 2 }, { stored.media_type, #stored.manifest.manifests })
    assert.is_true(c:delete(repo .. "@" .. sig))
    list = assert(c:referrers(repo .. "@" .. dgst))
    assert.same({ 1, bom }, { #list, list[1].digest })
  end)

  it("writes images that skopeo reads, and reads what skopeo wrote", function()
    local reg <close> = registry.start()
    local dir, c = registry.tmpdir(), assert(oci.client {})
    os.execute(("mkdir %s/t && echo hello > %s/t/f && tar -C %s/t -cf %s/layer.tar f"):format(dir, dir, dir, dir))
    local tar = registry.read(dir .. "/layer.tar")
    local config = json.encode { architecture = "amd64", os = "linux", config = json.object {},
      rootfs = { type = "layers", diff_ids = { desc(tar).digest } } }
    local raw, dgst = push_image(c, reg.host .. "/s/k", "v1", config, { tar })
    local copy = "skopeo --insecure-policy copy -q --preserve-digests "
    registry.capture((copy .. "--src-tls-verify=false docker://%s/s/k:v1 oci:%s/lay:v1"):format(reg.host, dir))
    local l = assert(oci.layout(dir .. "/lay"))
    local got = assert(l:resolve("v1", "linux/amd64"))
    assert.same({ raw, dgst }, { got.raw, got.digest })
    assert.equal(tar, l:get_blob(desc(tar).digest))
    assert.equal("v1", l:index().manifests[1].annotations["org.opencontainers.image.ref.name"])
    registry.capture((copy .. "--dest-tls-verify=false oci:%s/lay:v1 docker://%s/s/back:v2"):format(dir, reg.host))
    assert.equal(dgst, assert(c:resolve(reg.host .. "/s/back:v2")).digest)
    os.execute("rm -rf " .. dir)
  end)

  -- BAKERY_TEST_LARGE=1: a whole gigabyte.
  it("moves large blobs in little memory", function()
    local reg <close> = registry.start()
    local dir, c = registry.tmpdir(), assert(oci.client {})
    local size = (os.getenv "BAKERY_TEST_LARGE" and 1024 or 96) << 20
    registry.capture(("truncate -s %d %s/big"):format(size, dir))
    local big = { digest = "sha256:" .. registry.capture("sha256sum < " .. dir .. "/big"):match("^%x+"), size = size }
    local function peak() return tonumber(registry.read("/proc/self/status"):match("VmHWM:%s*(%d+)")) end
    os.execute("echo 5 > /proc/" .. registry.read("/proc/self/stat"):match("^%d+") .. "/clear_refs")
    local before = peak()
    assert.equal("uploaded", c:push_blob(reg.host .. "/a/big", big, { file = dir .. "/big" }))
    assert.is_true(c:blob(reg.host .. "/a/big", big, dir .. "/out"))
    assert.is_true(peak() - before < 20 * 1024, peak() - before .. " KiB")
    assert.equal(tostring(size), registry.capture("stat -c %s " .. dir .. "/out"))
    os.execute("rm -rf " .. dir)
  end)
end)

describe("with a bad registry", function()
  local q, c, repo
  local layer = ("0123456789"):rep(20000)

  local function client(o)
    o = o or {}
    if o.auth == nil then o.auth = false end
    return assert(oci.client(o))
  end

  setup(function()
    q = registry.quirky()
    process.setenv("BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", "0.02")
  end)
  teardown(function()
    q:stop()
    process.setenv("BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", nil)
  end)
  local n = 0
  before_each(function()
    n = n + 1
    q:set {}
    repo = q.host .. "/r" .. n
    c = client { retries = 2 }
    q:requests()
  end)

  it("follows every form of upload Location", function()
    for i, quirk in ipairs { { relative_location = 1 }, { relative_location = 2 }, { location_query = true },
      { location_query = true, relative_location = 1 } } do
      q:set(quirk)
      assert.equal("uploaded", c:push_blob(repo, desc("l" .. i), { data = "l" .. i }))
    end
  end)

  it("never lets an upload leave for a private or plain address", function()
    q:set { location_scheme = "ftp" }
    assert.equal("http.url", failure(c:push_blob(repo, desc "x", { data = "x" })).code)
  end)

  it("raises http Locations of an https registry to https", function()
    local tls <close> = registry.quirky { tls = true }
    tls:set { location_scheme = "http" }
    assert.equal("uploaded", client { ca_file = tls.ca }:push_blob(tls.host .. "/a", desc "x", { data = "x" }))
    tls:set { location_scheme = "http", location_host = "127.0.0.2:9" }
    local err = failure(client { ca_file = tls.ca }:push_blob(tls.host .. "/a", desc "y", { data = "y" }))
    assert.equal("oci.location", err.code)
  end)

  it("goes on with the session a refused mount opened, without asking again", function()
    q:set { mount_202 = true }
    assert.equal("uploaded", c:push_blob(repo, desc "x", { data = "x", mount_from = "elsewhere" }))
    assert.equal("POST PUT", q:methods_of(repo:match("/(.*)")))
    q:set { mount_status = 405 }
    assert.equal("uploaded", c:push_blob(repo, desc "y", { data = "y", mount_from = "elsewhere" }))
    assert.equal("POST HEAD POST PUT", q:methods_of(repo:match("/(.*)")))
  end)

  it("retries uploads from the start and leaves no session behind", function()
    local counter = loop.counter()
    q:set { upload_fail = 1 }
    assert.equal("uploaded", c:push_blob(repo, desc(layer), { data = layer, progress = counter }))
    assert.equal("HEAD POST PUT DELETE POST PUT", q:methods_of(repo:match("/(.*)")))
    assert.equal(#layer, (counter:get()))
    q:set { upload_reset = 1 }
    assert.equal("uploaded", c:push_blob(repo, desc "reset", { data = "reset" }))
    q:requests()
    q:set { upload_fail = -1 }
    counter = loop.counter()
    local err = failure(c:push_blob(repo, desc "never", { data = "never", progress = counter }))
    assert.same({ "http.500", "infra", true }, { err.code, err.class, err.retryable })
    assert.matches("push blob sha256:%x+ to 127.0.0.1:%d+/r%d+: upload: HTTP 500", err.message)
    assert.matches("DELETE$", q:methods_of(repo:match("/(.*)")))
    assert.equal(0, (counter:get()))
  end)

  it("checks what it uploads against the descriptor", function()
    local err = failure(c:push_blob(repo, { digest = desc("x").digest, size = 2 }, { data = "x" }))
    assert.same({ "oci.size_mismatch", "usage" }, { err.code, err.class })
    err = failure(c:push_blob(repo, desc "x", { data = "y" }))
    assert.equal("oci.digest_mismatch", err.code)
    err = failure(c:push_blob(repo, desc "x", { file = "/nonexistent" }))
    assert.equal("ENOENT", err.code)
    err = failure(c:push_blob(repo, { digest = "sha256:x", size = 1 }, { data = "y" }))
    assert.equal("oci.digest", err.code)
  end)

  it("resumes broken downloads and restarts where that is impossible", function()
    assert(c:push_blob(repo, desc(layer), { data = layer }))
    for _, case in ipairs {
      { { cut_body = { 1000, 5000 } }, "bytes=1000- bytes=6000-" },
      { { cut_body = { 1000 }, no_range = -1 }, "bytes=1000-" },
      { { cut_body = { 1000 }, bad_range = 1 }, "bytes=1000- " },
    } do
      q:set(case[1])
      q:requests()
      local counter = loop.counter()
      local path = os.tmpname()
      assert(c:blob(repo, desc(layer), path, { progress = counter }))
      assert.equal(layer, registry.read(path))
      assert.equal(#layer, (counter:get()))
      local ranges = {}
      for i, r in ipairs(q:requests()) do ranges[i] = r.range end
      assert.equal(case[2], table.concat(ranges, " "):sub(2))
      os.remove(path)
    end
  end)

  it("keeps nothing of a blob that is wrong", function()
    assert(c:push_blob(repo, desc(layer), { data = layer }))
    local dir = registry.tmpdir()
    for code, quirk in pairs {
      ["oci.digest_mismatch"] = { wrong_blob = -1 }, ["oci.size_mismatch"] = { lie_length = -1 },
      ["http.truncated"] = { cut_body = { 10, 10, 10, 10 } },
    } do
      if quirk.lie_length then quirk.lie_length = 5 end
      q:set(quirk)
      local counter = loop.counter()
      local err = failure(c:blob(repo, desc(layer), dir .. "/out", { progress = counter }))
      assert.same({ code, "infra" }, { err.code, err.class })
      assert.equal("", registry.capture("ls -A " .. dir))
      assert.equal(0, (counter:get()))
    end
    q:set { wrong_blob = 1 }
    assert.is_true(c:blob(repo, desc(layer), dir .. "/out"), "once is forgiven")
    local err = failure(c:blob(repo, { digest = desc(layer).digest, size = 100 }, dir .. "/short"))
    assert.equal("oci.size_mismatch", err.code)
    err = failure(c:blob_data(repo, { digest = desc(layer).digest }, { max = 1000 }))
    assert.equal("oci.too_large", err.code)
    err = failure(c:blob(repo, desc(layer), dir .. "/no/such/dir"))
    assert.equal("ENOENT", err.code)
    os.execute("rm -rf " .. dir)
  end)

  it("takes content from the descriptor when it is there", function()
    local d = desc "{}"
    d.data = "e30="
    assert.equal("{}", c:blob_data(repo, d))
    assert.same({}, q:requests())
    d.data = "W10="
    assert.equal("oci.digest_mismatch", failure(c:blob_data(repo, d)).code)
    d.data = "e30gIA=="
    assert.equal("oci.size_mismatch", failure(c:blob_data(repo, d)).code)
    d.data = "?"
    assert.equal("oci.manifest", failure(c:blob_data(repo, d)).code)
  end)

  it("pushes and pulls empty blobs", function()
    assert.equal("uploaded", c:push_blob(repo, desc "", { data = "" }))
    assert.equal("", c:blob_data(repo, desc ""))
  end)

  it("follows redirects to storage without credentials", function()
    local storage <close> = registry.quirky()
    c = client { retries = 0, auth = { username = "u", password = "p" } }
    q:set { basic = "u:p" }
    assert(c:push_blob(repo, desc(layer), { data = layer }))
    q:set { basic = "u:p", redirect_blobs = "http://" .. q.host:gsub("127.0.0.1", "localhost") }
    assert.equal(layer, c:blob_data(repo, desc(layer)))
    local last = q:requests()
    assert.same({ "", "/storage/" .. desc(layer).digest }, { last[#last].auth, last[#last].path })
    q:set { basic = "u:p", redirect_blobs = "http://" .. storage.host }
    local err = failure(c:blob_data(repo, desc(layer)))
    assert.is_nil(tostring(err):find("Signature", 1, true))
    q:set { basic = "u:p", redirect_loop = true }
    assert.equal("http.redirect", failure(c:blob_data(repo, desc(layer))).code)
  end)

  it("checks manifests before it believes them", function()
    local raw, dgst = push_image(c, repo, "v1", "{}", { "one" })
    local function code(quirk, ref)
      q:set(quirk)
      return failure(c:resolve(ref or repo .. ":v1")).code
    end
    assert.equal("oci.digest_mismatch", code { wrong_content_digest = true })
    assert.equal("oci.digest_mismatch", code({ fill = 1 }, repo .. "@" .. dgst))
    assert.equal("oci.manifest", code { content_type = INDEX })
    assert.equal("http.too_large", code({ fill = 5 << 20, no_content_digest = true }))
    assert.equal("oci.json", code { cut_body = 50, no_content_digest = true })
    q:set { no_content_digest = true }
    assert.equal(dgst, assert(c:resolve(repo .. ":v1")).digest)
    q:set { content_type = "application/json; charset=utf-8" }
    assert.equal(raw, assert(c:resolve(repo .. ":v1")).raw)
    q:set { content_type = MANIFEST:upper() .. " ; charset=utf-8" }
    assert.equal(raw, assert(c:resolve(repo .. ":v1")).raw)
    q:set {}
    for text, want in pairs {
      ['{"schemaVersion":2,"manifests":[],"layers":[]}'] = "oci.manifest",
      ['{"schemaVersion":2,"config":{},"layers":[],"layers":[]}'] = "oci.json",
      ['{"schemaVersion":1,"fsLayers":[]}'] = "oci.schema1", ['[]'] = "oci.json", ["<html>"] = "oci.json",
      ['{"mediaType":5,"layers":[]}'] = "oci.manifest", ["{}"] = "oci.manifest",
    } do
      assert(c:push_manifest(repo, "bad", text, "application/json"))
      local err = failure(c:resolve(repo .. ":bad"))
      if text == "[]" then want = "oci.manifest" end
      assert.equal(want, err.code, text)
    end
  end)

  it("survives HEAD answers without digest", function()
    local _, dgst = push_image(c, repo, "v1", "{}", { "one" })
    for _, quirk in ipairs { { head_bare = true }, { head_405 = true } } do
      q:set(quirk)
      local got = assert(c:head(repo .. ":v1"))
      assert.same({ dgst, MANIFEST }, { got.digest, got.media_type })
    end
  end)

  it("notices a registry that stores other bytes", function()
    q:set { wrong_content_digest = true }
    assert.equal("oci.digest_mismatch", failure(c:push_manifest(repo, "v1", manifest("{}", {}), MANIFEST)).code)
  end)

  it("waits for replication when blobs are there, and does not push a tag twice", function()
    assert(c:push_blob(repo, desc "{}", { data = "{}" }))
    q:requests()
    q:set { manifest_lag = 1 }
    local raw = manifest("{}", {})
    assert(c:push_manifest(repo, "v1", raw, MANIFEST))
    assert.equal("HEAD PUT HEAD PUT", q:methods_of(repo:match("/(.*)")))
    assert(c:push_manifest(repo, "v1", raw, MANIFEST))
    assert.equal("HEAD", q:methods_of(repo:match("/(.*)")))
  end)

  it("retries what may pass, as often as told, and honours Retry-After", function()
    push_image(c, repo, "v1", "{}", {})
    q:set { status_for = { GET = { 503, 2, {} } } }
    assert.is_truthy(c:resolve(repo .. ":v1"))
    for _, status in ipairs { 400, 401, 403, 404 } do
      q:requests()
      q:set { status_for = { GET = { status, -1, {} } } }
      failure(client():resolve(repo .. ":v1"))
      assert.equal("GET", q:methods_of("manifests"), status)
    end
    q:requests()
    q:set { status_for = { GET = { 500, -1, {} } } }
    assert.same({ "http.500", true }, { (function(e) return e.code, e.retryable end)(failure(c:resolve(repo .. ":v1"))) })
    assert.equal("GET GET GET", q:methods_of("manifests"))
    q:set { status_for = { GET = { 429, 1, { ["Retry-After"] = "1" } } } }
    local t = loop.now()
    assert.is_truthy(c:resolve(repo .. ":v1"))
    assert.is_true(loop.now() - t >= 1)
    q:set { status_for = { GET = { 429, -1, {}, "toomanyrequests: You have reached your pull rate limit" } } }
    q:requests()
    local err = failure(c:resolve(repo .. ":v1"))
    assert.same({ "oci.rate_limited", false, "GET" }, { err.code, err.retryable, q:methods_of("manifests") })
    assert.matches("pull rate limit", err.message)
    q:set { status_for = { GET = { 429, 1, {}, "toomanyrequests: retry-after: 12.5ms, allowed: 1/minute" } } }
    assert.is_truthy(c:resolve(repo .. ":v1"))
  end)

  it("does not believe that what it just pushed is absent", function()
    local _, dgst = push_image(c, repo, "v1", "{}", {})
    for _, ref in ipairs { repo .. ":v1", repo .. "@" .. dgst } do
      q:set { status_for = { GET = { 404, 2, {} }, HEAD = { 404, 2, {} } } }
      assert.equal(dgst, assert(c:resolve(ref)).digest)
      assert.equal(dgst, assert(c:head(ref)).digest)
    end
    q:set {}
    assert.is_true(c:delete(repo .. "@" .. dgst))
    q:requests()
    assert.equal("oci.not_found", failure(c:resolve(repo .. ":v1")).code)
    assert.equal("GET", q:methods_of("manifests"))
  end)

  it("tells HTML and long errors in one line", function()
    q:set { html = true }
    local err = failure(c:resolve(repo .. ":none"))
    assert.matches("not found %(HTTP 404%): <html><body>", err.message)
    q:set { status_for = { GET = { 400, -1, {}, ("line\n\27[31m"):rep(1000) } } }
    err = failure(c:resolve(repo .. ":none"))
    assert.is_nil(err.message:find("[\n\27]"))
    assert.is_true(#err.message < 700)
  end)

  it("gives up at once when nothing listens", function()
    local t = loop.now()
    local err = failure(client { retries = 0 }:resolve("127.0.0.1:1/a:b"))
    assert.same({ "http.connect", "infra", true }, { err.code, err.class, err.retryable })
    assert.matches("pull 127.0.0.1:1/a:b: ", err.message, 1, true)
    assert.is_true(loop.now() - t < 5)
  end)

  it("passes warnings on once", function()
    q:set { warning = "this tag goes away" }
    c:ping(q.host)
    c:ping(q.host)
    assert.same({ q.host .. ": this tag goes away" }, c:warnings())
    assert.same({}, c:warnings())
    q:set { warning = "one|two|one" }
    c:ping(q.host)
    assert.same({ q.host .. ": one", q.host .. ": two" }, c:warnings())
  end)

  it("asks again for a manifest that broke off", function()
    local raw, dgst = push_image(c, repo, "v1", "{}", { "one" })
    for _, ref in ipairs { repo .. ":v1", repo .. "@" .. dgst } do
      q:set { cut_manifest = 2 }
      q:requests()
      assert.equal(raw, assert(c:resolve(ref)).raw)
      assert.equal("GET GET GET", q:methods_of "manifests")
    end
    q:set { cut_manifest = -1 }
    assert.same({ "http.truncated", true }, { (function(e) return e.code, e.retryable end)(failure(c:resolve(repo .. ":v1"))) })
  end)

  it("pages through tags and is not led astray", function()
    for i = 1, 7 do assert(c:push_manifest(repo, "t" .. i, manifest("{}", {}), MANIFEST)) end
    local all = { "t1", "t2", "t3", "t4", "t5", "t6", "t7" }
    q:set { page_size = 3 }
    q:requests()
    assert.same(all, c:tags(repo))
    assert.equal("GET GET GET", q:methods_of("tags"))
    assert.same({ "t1", "t2" }, c:tags(repo, { max = 2 }))
    for _, quirk in ipairs { { page_loop = true }, { page_away = true } } do
      q:set(quirk)
      assert.same(all, c:tags(repo))
    end
    for form, pages in pairs { ["<%s>; rel=next"] = 3, ['<%s>;rel="NEXT"'] = 3, ['<%s>; title="x"; rel = "last next"'] = 3,
      ['</v2/x>; rel="prev", <%s>; rel="next"'] = 3, ['<%s>; rel="nextish"'] = 1, ['<%s>; rel="next'] = 3, ["<%s"] = 1,
      ['<%s>; title="rel=next"'] = 1, ['<%s>; norel="next"'] = 1, ["<%s>"] = 1, ['%s; rel="next"'] = 1 } do
      q:set { page_size = 3, link = form }
      q:requests()
      c:tags(repo)
      assert.same({ form, pages }, { form, select(2, q:methods_of("tags"):gsub("GET", "")) })
    end
    q:set {}
    assert.same({}, c:tags(q.host .. "/empty"))
  end)

  it("reads lists of tags however they are written", function()
    local function read(text)
      q:set { tags_text = text }
      local list, err = c:tags(repo)
      return list or err.code
    end
    for text, names in pairs {
      ['{"name":"a","tags":["v1","v2"]}'] = { "v1", "v2" },
      ['{"tags":["v1"],"name":"a"}\n'] = { "v1" },
      [' { "name" : "a" , "tags" : [ "v1" ,\r\n\t"v2" ] } '] = { "v1", "v2" },
      ['{"tags":["v1"]}'] = { "v1" },
      ['{"tags":[]}'] = {}, ['{"tags":null}'] = {}, ['{"name":"a"}'] = {}, ['{}'] = {},
      ['{"name":"a","tags":["v\\u0031","\\\\\\""]}'] = { "v1", '\\"' },
      ['{"name":"a","tags":["größe"]}'] = { "größe" },
      ['{"child":[],"manifest":{"tags":["no"]},"name":"a","tags":["v1"]}'] = { "v1" },
      ['{"name":"a","tags":["v1",7,"v2",["v3"]]}'] = { "v1", "v2" },
      ['{"name":"a","tags":"v1"}'] = "oci.json", ['["v1"]'] = {},
      ['{"tags":["v1"],"tags":["v2"]}'] = "oci.json", ['{"tags":["v1"],"name":"a","name":"b"}'] = "oci.json",
      ['{"tags":["v1",]}'] = "oci.json", ['{"tags":["v1"]'] = "oci.json", ['{"tags":["v1"],}'] = "oci.json",
      ['{"tags":["v1"]}}'] = "oci.json", ['{"tags":["v1" "v2"]}'] = "oci.json", ['{"tags":["v1'] = "oci.json",
      ['{"tags":["v\n"]}'] = "oci.json",
    } do assert.same({ text, names }, { text, read(text) }) end
  end)

  it("sorts tags by their bytes", function()
    local names = {}
    for _, s in ipairs { "v1", "v10", "v2", "V1", "release-2024.10", "release-2024.1", "release-", "release", "a", "0", "_x",
      "release-2024.2", "aaaaaaaab", "aaaaaaaa", "aaaaaaa", "aaaaaaaaa" } do
      names[#names + 1] = s
      assert(c:push_manifest(repo, s, manifest("{}", {}), MANIFEST))
    end
    table.sort(names)
    q:set { reversed = true }
    assert.same(names[#names], c:tags(repo)[1])
    assert.same(names, c:tags(repo, { sort = true }))
    assert.same({}, c:tags(q.host .. "/empty", { sort = true }))
  end)

  describe("tokens", function()
    local function token(more)
      local t = { token = { realm = "http://" .. q.host .. "/token", service = "s" } }
      for k, v in pairs(more or {}) do t[k] = v end
      return t
    end
    before_each(function() c = client { retries = 0, auth = { username = "u", password = "p" } } end)

    it("are renewed when they are refused, in the middle of an upload too", function()
      q:set(token { expire_tokens = 2 })
      assert(push_image(c, repo, "v1", "{}", { "one", "two" }))
      q:set(token { upload_401 = 1 })
      assert.equal("uploaded", c:push_blob(repo, desc(layer), { data = layer }))
    end)

    it("are asked for with the scope the registry wants", function()
      push_image(c, repo, "v1", "{}", {})
      q:set(token { insufficient = 1 })
      assert.is_truthy(c:resolve(repo .. ":v1"))
      q:set(token { insufficient = -1 })
      local err = failure(c:resolve(repo .. ":v1"))
      assert.equal("oci.denied", err.code)
    end)

    it("are asked for anonymously when saved credentials are stale and reading is all we want", function()
      push_image(c, repo, "v1", "{}", {})
      q:set(token { token_401 = 1 })
      assert.is_truthy(c:resolve(repo .. ":v1"))
      assert.matches("were refused", c:warnings()[1])
      q:set(token { token_401 = -1 })
      local err = failure(client { retries = 0, auth = { username = "u", password = "p" } }:push_blob(repo, desc "z", { data = "z" }))
      assert.equal("oci.unauthorized", err.code)
      assert.matches("no such account", err.message)
    end)

    it("are not asked for where the realm is unsafe", function()
      local tls <close> = registry.quirky { tls = true }
      tls:set { token = { realm = "http://" .. q.host .. "/token", service = "s" } }
      q:requests()
      local err = failure(client { ca_file = tls.ca }:resolve(tls.host .. "/a:b"))
      assert.equal("oci.realm", err.code)
      assert.same({}, q:requests())
    end)

    it("work through a relative realm", function()
      local t = token()
      t.token.realm = "/token"
      q:set(t)
      assert.equal("oci.not_found", failure(c:resolve(repo .. ":none")).code)
    end)
  end)

  it("speaks https to a loopback registry that can, http to others only when told", function()
    local err = failure(client { retries = 0 }:ping("plain.invalid"))
    assert.equal("http.resolve", err.code)
    assert.matches("https://plain.invalid", err.message, 1, true)
    err = failure(client { retries = 0, plain_http = { "plain.invalid" } }:ping("plain.invalid"))
    assert.matches("GET http://plain.invalid", err.message, 1, true)
    local tls <close> = registry.quirky { tls = true }
    err = failure(client { retries = 0 }:ping(tls.host))
    assert.equal("http.certificate", err.code)
  end)

  it("uses the referrers API where it really is one", function()
    q:set { referrers = true }
    local raw, dgst = push_image(c, repo, "v1", "{}", {})
    local subject = { mediaType = MANIFEST, digest = dgst, size = #raw }
    local _, sig = push_image(c, repo, nil, "{}", {}, { subject = subject, artifactType = "x/sig" })
    assert.same({ "v1" }, c:tags(repo))
    assert.equal(sig, assert(c:referrers(repo .. "@" .. dgst))[1].digest)
    q:set { referrers = "html" }
    c = client()
    assert.same({}, assert(c:referrers(repo .. "@" .. dgst)))
    push_image(c, repo, nil, "{}", {}, { subject = subject, artifactType = "x/sig" })
    assert.equal(2, #assert(c:tags(repo)))
  end)

  it("cancels transfers", function()
    q:set { status_for = { GET = { 429, -1, { ["Retry-After"] = "60" } } } }
    local t = loop.spawn(function() return c:resolve(repo .. ":v1") end)
    loop.sleep(0.05)
    local start = loop.now()
    t:cancel()
    assert.is_false((t:wait()))
    assert.is_true(loop.now() - start < 5)
  end)
end)

describe("indexes", function()
  local q, c, repo
  setup(function()
    q = registry.quirky()
    c, repo = assert(oci.client { auth = false }), q.host .. "/multi"
  end)
  teardown(function() q:stop() end)

  local function index(entries)
    local list = json.array {}
    for i, e in ipairs(entries) do
      local raw = manifest("{}", { "layer" .. i })
      assert(c:push_manifest(repo, desc(raw).digest, raw, MANIFEST))
      local os_name, arch, variant = e:match("^([^/]+)/([^/]+)/?(.*)$")
      list[i] = { mediaType = MANIFEST, digest = desc(raw).digest, size = #raw,
        platform = { os = os_name, architecture = arch, variant = variant ~= "" and variant or nil } }
    end
    local raw = json.encode { schemaVersion = 2, mediaType = INDEX, manifests = list }
    assert(c:push_manifest(repo, "v1", raw, INDEX))
    return raw, list
  end

  for _, case in ipairs {
    { { "linux/amd64", "linux/arm64", "unknown/unknown" }, "linux/arm64", 2 },
    { { "linux/arm64" }, "linux/arm64/v8", 1 }, { { "linux/arm64/v8" }, "linux/aarch64", 1 },
    { { "linux/arm/v5", "linux/arm/v6", "linux/arm/v8" }, "linux/arm/v7", 2 },
    { { "linux/arm/v6", "linux/arm" }, "linux/arm", 2 }, { { "linux/amd64", "linux/amd64/v2" }, "linux/amd64/v3", 2 },
    { { "linux/amd64/v3", "linux/amd64" }, "linux/amd64", 2 }, { { "windows/amd64", "linux/x86_64" }, "linux/amd64", 2 },
    { { "linux/amd64", "linux/amd64" }, "linux/amd64", 1 },
  } do
    it(case[2] .. " out of " .. table.concat(case[1], " "), function()
      local raw, list = index(case[1])
      local got = assert(c:resolve(repo .. ":v1", { platform = case[2] }))
      assert.same({ list[case[3]].digest, raw, desc(raw).digest }, { got.digest, got.index, got.index_digest })
    end)
  end

  it("says which platforms there are", function()
    index { "linux/amd64", "linux/arm/v6", "unknown/unknown" }
    local err = failure(c:resolve(repo .. ":v1", { platform = "linux/s390x" }))
    assert.equal("oci.platform", err.code)
    assert.matches("linux/s390x (there is: linux/amd64, linux/arm/v6)", err.message, 1, true)
    err = failure(c:resolve(repo .. ":v1", { platform = "linux" }))
    assert.same({ "oci.platform", "usage" }, { err.code, err.class })
    assert.equal(INDEX, assert(c:resolve(repo .. ":v1")).media_type)
  end)
end)
