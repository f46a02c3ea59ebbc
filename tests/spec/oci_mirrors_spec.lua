local digest = require "bakery.digest"
local json = require "bakery.json"
local oci = require "bakery.oci"
local registry = require "lib.registry"

local MANIFEST = "application/vnd.oci.image.manifest.v1+json"

local function desc(data) return { digest = "sha256:" .. digest.sha256(data), size = #data } end

describe("mirrors", function()
  local home, mirror, dir

  setup(function() home, mirror = registry.quirky(), registry.quirky() end)
  teardown(function()
    home:stop()
    mirror:stop()
  end)
  before_each(function()
    dir = registry.tmpdir()
    home:set {}
    mirror:set {}
    home:requests()
    mirror:requests()
  end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  local function client(o)
    o = o or {}
    o.auth, o.retries = false, 1
    if o.registries_conf == nil then o.registries_conf = false end
    return assert(oci.client(o))
  end

  local function push(where, tag, author)
    local c, config = client(), json.encode { author = author }
    assert(c:push_blob(where, desc(config), { data = config }))
    local raw = json.encode { schemaVersion = 2, mediaType = MANIFEST, layers = json.array {},
      config = { mediaType = "application/vnd.oci.image.config.v1+json", digest = desc(config).digest, size = #config } }
    assert(c:push_manifest(where, tag, raw, MANIFEST))
    home:requests()
    mirror:requests()
    return desc(raw).digest, config
  end

  local function conf(text)
    registry.write(dir .. "/registries.conf", (text:gsub("HOME", home.host):gsub("MIRROR", mirror.host)))
    return client { registries_conf = dir .. "/registries.conf" }
  end

  it("are read from first, writing goes home", function()
    push(home.host .. "/a/b", "v1", "home")
    local dgst, config = push(mirror.host .. "/proxy/a/b", "v1", "mirror")
    local c = client { mirrors = { [home.host] = mirror.host .. "/proxy" } }
    local name = home.host .. "/a/b"
    assert.equal(dgst, assert(c:resolve(name .. ":v1")).digest)
    assert.equal(dgst, assert(c:head(name .. ":v1")).digest)
    assert.equal(config, c:blob_data(name, desc(config)))
    assert.is_true(c:blob(name, desc(config), dir .. "/config"))
    assert.equal("", home:methods_of "/a/b/")
    assert.equal("uploaded", c:push_blob(name, desc "new", { data = "new" }))
    assert.same({ "v1" }, c:tags(name))
    assert.equal("HEAD POST PUT GET", home:methods_of "/a/b/")
    assert.equal("GET HEAD GET GET", mirror:methods_of "/a/b/")
  end)

  it("are told whose names they are asked for, and get their own credentials", function()
    local dgst, config = push(mirror.host .. "/hub/a/b", "v1", "mirror")
    home:set { basic = "h:home" }
    mirror:set { basic = "m:mirror" }
    local c = assert(oci.client { registries_conf = false, mirrors = { [home.host] = mirror.host .. "/hub" }, retries = 0,
      auth = { [home.host] = { username = "h", password = "home" }, [mirror.host] = { username = "m", password = "mirror" } } })
    assert.equal(dgst, assert(c:resolve(home.host .. "/a/b:v1")).digest)
    assert.equal(dgst, assert(c:head(home.host .. "/a/b:v1")).digest)
    assert.equal(config, c:blob_data(home.host .. "/a/b", desc(config)))
    local asked = 0
    for _, r in ipairs(mirror:requests()) do
      if r.path ~= "/v2/" then
        assert.equal("ns=" .. home.host:gsub(":", "%%3A"), r.query)
        asked = asked + 1
      end
    end
    assert.is_true(asked >= 3)
    assert.same({}, home:requests())
    assert.equal("uploaded", c:push_blob(home.host .. "/a/b", desc "for home", { data = "for home" }))
    assert.equal("oci.not_found", select(2, c:resolve(home.host .. "/a/b:none")).code)
    for _, r in ipairs(home:requests()) do assert.is_nil(r.query:find("ns=", 1, true)) end
  end)

  it("that lack something or fail are passed over at once", function()
    local dgst, config = push(home.host .. "/x", "v1", "home")
    local c = client { mirrors = { [home.host] = { "127.0.0.1:1/dead", mirror.host .. "/empty" } } }
    assert.equal(dgst, assert(c:resolve(home.host .. "/x:v1")).digest)
    assert.matches("mirror: pull 127.0.0.1:1/dead/x:v1: ", c:warnings()[1], 1, true)
    mirror:set { status_for = { GET = { 503, -1, {} } } }
    assert.equal(config, c:blob_data(home.host .. "/x", desc(config)))
    assert.equal("GET", mirror:methods_of "blobs")
    local dgst2, config2 = push(mirror.host .. "/empty/x", "other", "mirror")
    assert.not_equal(dgst, dgst2)
    mirror:set { wrong_blob = -1 }
    local _, err = c:blob_data(home.host .. "/x", desc(config2))
    assert.equal("oci.not_found", err.code)
    assert.matches(home.host .. "/x: ", err.message, 1, true)
  end)

  for _, status in ipairs { 400, 401, 403, 404, 405, 429, 500, 502, 503, 504 } do
    it("that answer " .. status .. " are asked once and passed over", function()
      local dgst, config = push(home.host .. "/status", "v1", "status" .. status)
      mirror:set { status_for = { GET = { status, -1, { ["Retry-After"] = "60" } }, HEAD = { status, -1, {} } } }
      local c = client { mirrors = { [home.host] = mirror.host } }
      assert.equal(dgst, assert(c:resolve(home.host .. "/status:v1")).digest)
      assert.equal("GET", mirror:methods_of "manifests")
      assert.equal(config, c:blob_data(home.host .. "/status", desc(config)))
      assert.equal("GET", mirror:methods_of "blobs")
      assert.equal(dgst, assert(c:head(home.host .. "/status:v1")).digest)
    end)
  end

  it("come from registries.conf, longest prefix first", function()
    local plain, special = push(mirror.host .. "/m/lib/x", "v1", "lib"), push(mirror.host .. "/special", "v1", "special")
    local c = conf [=[
      unqualified-search-registries = ["a", # comment
        'b']
      [[registry]]
      location = "HOME"
      [[registry.mirror]]
      location = "MIRROR/m"
      [[registry]]
      prefix = "HOME/lib/special"
      location = "MIRROR/special"
    ]=]
    assert.equal(plain, assert(c:resolve(home.host .. "/lib/x:v1")).digest)
    assert.equal(special, assert(c:resolve(home.host .. "/lib/special:v1")).digest)
    local _, err = c:resolve(home.host .. "/lib/specially:v1")
    assert.equal("oci.not_found", err.code)
  end)

  it("are found for hosts whatever their port, and for exact hosts at that port only", function()
    local dgst = push(mirror.host .. "/p/x", "v1", "port")
    local c = conf [=[
      [[registry]]
      prefix = "*.home.example"
      location = "127.0.0.1///"
    ]=]
    local port = mirror.host:match ":(%d+)$"
    assert.equal(dgst, assert(c:resolve("a.b.home.example:" .. port .. "/p/x:v1")).digest)
    c = conf '[[registry]]\nlocation = "127.0.0.1"\nblocked = true' -- not the one that listens on a port
    assert.equal(dgst, assert(c:resolve(mirror.host .. "/p/x:v1")).digest)
    c = conf '[[registry]]\nlocation = "MIRROR/p/x:v1"\nblocked = true'
    assert.equal("oci.blocked", select(2, c:resolve(mirror.host .. "/p/x:v1")).code)
    assert.equal(dgst, assert(c:resolve(mirror.host .. "/p/x@" .. dgst)).digest)
    c = conf '[[registry]]\nprefix = "*.home.example"\nlocation = ""\n[[registry.mirror]]\nlocation = "MIRROR/p/"'
    assert.equal(dgst, assert(c:resolve("any.home.example/x:v1")).digest)
  end)

  it("may be for digests or tags only", function()
    local dgst = push(mirror.host .. "/only", "v1", "mirror")
    for _, case in ipairs {
      { '[[registry]]\nlocation="HOME"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation="MIRROR"', false, true },
      { '[[registry]]\nlocation="HOME"\n[[registry.mirror]]\nlocation="MIRROR"\npull-from-mirror="digest-only"', false, true },
      { '[[registry]]\nlocation="HOME"\n[[registry.mirror]]\nlocation="MIRROR"\npull-from-mirror="tag-only"', true, false },
    } do
      local c = conf(case[1])
      assert.equal(case[2], c:resolve(home.host .. "/only:v1") ~= nil)
      assert.equal(case[3], c:resolve(home.host .. "/only@" .. dgst) ~= nil)
    end
  end)

  it("for subdomains, and blocked registries", function()
    local c = conf '[[registry]]\nprefix="*.blocked.example"\nblocked=true'
    local _, err = c:resolve "a.b.blocked.example/x:v1"
    assert.same({ "oci.blocked", "denied" }, { err.code, err.class })
    _, err = c:push_manifest("a.blocked.example/x", "v1", "{}", MANIFEST)
    assert.equal("oci.blocked", err.code)
  end)

  it("that are insecure need no good certificate", function()
    local tls <close> = registry.quirky { tls = true }
    local _, err = client():ping(tls.host)
    assert.equal("http.certificate", err.code)
    registry.write(dir .. "/c", ('[[registry]]\nlocation = "%s"\ninsecure = true'):format(tls.host))
    assert.is_true(client { registries_conf = dir .. "/c" }:ping(tls.host))
  end)

  for text, why in pairs {
    ["[[registry]]\nlocation = 5"] = ":2: expected a string", ["[[registry]\n"] = ":1: expected ']'",
    ["[[registry]]\nblocked = maybe"] = ":2: expected true or false", ["x"] = ":1: expected '='",
    ["[[registry.mirror]]"] = ":1: [[registry.mirror]] before any [[registry]]", ["a = 'x"] = ":1: string does not end",
    ["[registries.search]\nregistries = []"] = "version 1", ["[[registry]]\ninsecure = true"] = "neither prefix nor location",
    ["a = [1,\n2"] = ":2: value does not end", ["a = 1 b = 2"] = ":1: expected the end of the line", ["a ="] = "value does not end",
    ['[[registry]]\nlocation="a.b"\n[[registry.mirror]]\ninsecure=true'] = "a mirror of a.b has no location",
    ['[[registry]]\nprefix="a.b"'] = "[[registry]] a.b has no location",
    ['[[registry]]\nlocation="https://a.b"'] = ":2: expected a host and a path, without a scheme",
    ['[[registry]]\nlocation="a.b"\npull-from-mirror="all"'] = ":3: pull-from-mirror belongs into a [[registry.mirror]]",
    ['[[registry]]\nlocation="a.b"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m"\npull-from-mirror="tag-only"'] =
      "a.b has mirror-by-digest-only, and its mirror m pull-from-mirror",
    ['[[registry]]\nlocation="a.b"\n[[registry]]\nlocation="a.b"\nblocked=true'] = "two [[registry]] tables of a.b differ in 'blocked'",
    ['[[registry]]\nprefix="c.d"\nlocation="a.b"\ninsecure=true\n[[registry]]\nlocation="a.b"'] =
      "two [[registry]] tables of a.b differ in 'insecure'",
    ["credential-helpers = 'x'"] = ":1: expected a list of strings", ["credential-helpers = ['x'\n'y']"] = ":2: expected ',' or ']'",
  } do
    it("of a broken file: " .. why, function()
      registry.write(dir .. "/c", text)
      local c, err = oci.client { registries_conf = dir .. "/c" }
      assert.is_nil(c)
      assert.same({ "oci.config", "usage" }, { err.code, err.class })
      assert.matches(why, err.message, 1, true)
    end)
  end

  it("need a file that is there when it is named", function()
    local c, err = oci.client { registries_conf = dir .. "/none" }
    assert.is_nil(c)
    assert.equal("ENOENT", err.code)
    assert.error_matches(function() oci.client { mirrors = { "x" } } end, "mirrors")
    assert.error_matches(function() oci.client { mirrors = { ["docker.io"] = {} , ["a"] = { 1 } } } end, "mirrors")
  end)
end)
