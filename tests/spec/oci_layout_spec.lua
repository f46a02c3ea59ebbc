local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local registry = require "lib.registry"

local MANIFEST = "application/vnd.oci.image.manifest.v1+json"
local INDEX = "application/vnd.oci.image.index.v1+json"
local REF = "org.opencontainers.image.ref.name"

local function sha(data) return "sha256:" .. digest.sha256(data) end

describe("oci.layout", function()
  local dir, l
  before_each(function()
    dir = registry.tmpdir()
    l = assert(oci.layout(dir .. "/lay", { create = true }))
  end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  --- A manifest blob with its descriptor.
  local function image(text, layer)
    local layers = json.array {}
    if layer then
      layers[1] = { mediaType = "application/vnd.oci.image.layer.v1.tar", digest = assert(l:put_blob(layer)), size = #layer }
    end
    local config = json.encode { architecture = "amd64", os = "linux", author = text,
      rootfs = { type = "layers", diff_ids = json.array(layer and { sha(layer) } or {}) } }
    local raw = json.encode { schemaVersion = 2, mediaType = MANIFEST, layers = layers, config = {
      mediaType = "application/vnd.oci.image.config.v1+json", digest = assert(l:put_blob(config)), size = #config } }
    return { mediaType = MANIFEST, digest = assert(l:put_blob(raw)), size = #raw }, raw
  end

  local function names()
    local out = {}
    for i, e in ipairs(assert(l:index()).manifests) do out[i] = (e.annotations or {})[REF] or "-" end
    return table.concat(out, " ")
  end

  it("is made once and opened again", function()
    assert.equal('{"imageLayoutVersion":"1.0.0"}', registry.read(dir .. "/lay/oci-layout"))
    assert.same({}, l:index().manifests)
    local d = image "a"
    assert(l:add_manifest(d, "v1"))
    assert(oci.layout(dir .. "/lay", { create = true }))
    assert.equal(d.digest, assert(assert(oci.layout(dir .. "/lay")):resolve("v1")).digest)
  end)

  it("refuses what is none", function()
    local _, err = oci.layout(dir .. "/none")
    assert.equal("ENOENT", err.code)
    _, err = oci.layout(dir)
    assert.equal("ENOENT", err.code)
    registry.write(dir .. "/lay/oci-layout", '{"imageLayoutVersion":"2.0"}')
    _, err = oci.layout(dir .. "/lay")
    assert.equal("oci.layout", err.code)
    registry.write(dir .. "/lay/oci-layout", "{")
    _, err = oci.layout(dir .. "/lay")
    assert.equal("oci.json", err.code)
  end)

  it("stores bytes and files under their digests", function()
    local big = ("0123456789"):rep(100000)
    registry.write(dir .. "/big", big)
    assert.same({ sha(big), #big }, { l:put_blob { file = dir .. "/big" } })
    assert.same({ sha "x", 1 }, { l:put_blob "x" })
    assert.is_true(l:has_blob(sha(big)))
    assert.is_false(l:has_blob(sha "y"))
    assert.equal(dir .. "/lay/blobs/sha256/" .. digest.sha256 "x", l:blob_path(sha "x"))
    assert.equal(big, l:get_blob(sha(big)))
    local counter = loop.counter()
    registry.write(dir .. "/more", big .. "+")
    assert(l:put_blob { file = dir .. "/more", digest = sha(big .. "+"), progress = counter })
    assert.equal(#big + 1, (counter:get()))
    local wide = "sha512:" .. digest.sha512 "w"
    assert.equal(wide, (l:put_blob { data = "w", digest = wide }))
    assert.equal("w", l:get_blob(wide))
  end)

  it("links files when told", function()
    registry.write(dir .. "/f", "linked")
    assert(l:put_blob { file = dir .. "/f", digest = sha "linked", link = true })
    assert.equal("2", registry.capture("stat -c %h " .. l:blob_path(sha "linked")))
    assert(l:put_blob { file = dir .. "/f", digest = sha "linked", link = true })
  end)

  it("does not take or give wrong content", function()
    registry.write(dir .. "/f", "content")
    local _, err = l:put_blob { file = dir .. "/f", digest = sha "other" }
    assert.equal("oci.digest_mismatch", err.code)
    _, err = l:put_blob { data = "content", digest = sha "other" }
    assert.equal("oci.digest_mismatch", err.code)
    assert.equal("sha256", registry.capture("ls -A " .. dir .. "/lay/blobs"))
    assert.equal("", registry.capture("ls -A " .. dir .. "/lay/blobs/sha256"))
    assert(l:put_blob "x")
    registry.write(l:blob_path(sha "x"), "y")
    _, err = l:get_blob(sha "x")
    assert.equal("oci.digest_mismatch", err.code)
    _, err = l:get_blob(sha "none")
    assert.equal("oci.not_found", err.code)
    for _, bad in ipairs { "", "sha256:../../etc/passwd", "sha256:" .. ("A"):rep(64), "md5:" .. ("a"):rep(32) } do
      _, err = l:get_blob(bad)
      assert.equal("oci.digest", err.code)
      assert.is_false(l:has_blob(bad))
      assert.is_nil((l:blob_path(bad)))
    end
    _, err = l:put_blob { file = dir .. "/none" }
    assert.equal("ENOENT", err.code)
    assert(l:put_blob(("z"):rep(100)))
    _, err = l:get_blob(sha(("z"):rep(100)), 99)
    assert.equal("fs.too_large", err.code)
  end)

  it("names images, moves names, keeps foreign entries and fields", function()
    registry.write(dir .. "/lay/index.json", ('{"schemaVersion":2,"x-own":1,"manifests":[{"mediaType":"x/y","digest":"%s","size":1,' ..
      '"annotations":{"a":"b"}}]}'):format(sha "f"))
    local a, b = image "a", image "b"
    assert(l:add_manifest(a, "v1"))
    assert(l:add_manifest(a, "latest"))
    assert.equal("- v1 latest", names())
    assert(l:add_manifest(b, "latest"))
    assert.equal("- v1 - latest", names())
    assert(l:add_manifest(b, "latest"))
    assert.equal("- v1 - latest", names())
    assert(l:add_manifest(a))
    assert.equal("- v1 latest -", names())
    local index, raw = l:index()
    assert.same({ 1, "b" }, { index["x-own"], index.manifests[1].annotations.a })
    assert.matches('^{"schemaVersion":2,"x%-own":1,', raw)
    assert.is_true(l:remove "v1")
    assert.is_false(l:remove "v1")
    assert.equal("- latest -", names())
  end)

  it("resolves names, digests and platforms", function()
    local a, raw = image "a"
    local b = image "b"
    assert(l:add_manifest(a, "v1"))
    assert.equal(raw, assert(l:resolve()).raw)
    assert(l:add_manifest(a, "v1.0")) -- two names, one image
    assert.equal(raw, assert(l:resolve()).raw)
    assert(l:remove "v1.0")
    assert.equal(raw, assert(l:resolve(a.digest)).raw)
    a.platform, b.platform = { os = "linux", architecture = "amd64" }, { os = "linux", architecture = "arm64" }
    local index = json.encode { schemaVersion = 2, mediaType = INDEX, manifests = json.array { a, b } }
    local top = assert(l:put_blob(index))
    assert(l:add_manifest({ mediaType = INDEX, digest = top, size = #index,
      annotations = { ["io.containerd.image.name"] = "r.example/x:multi" } }, "multi"))
    assert.equal(INDEX, assert(l:resolve "multi").media_type)
    local got = assert(l:resolve("r.example/x:multi", "linux/arm64"))
    assert.same({ b.digest, index, top }, { got.digest, got.index, got.index_digest })
    local _, err = l:resolve("multi", "linux/s390x")
    assert.equal("oci.platform", err.code)
    _, err = l:resolve()
    assert.matches("has 2 images: name one %(v1, multi%)", err.message)
    assert(l:add_manifest({ mediaType = INDEX, digest = top, size = #index }, "latest"))
    assert.equal(top, assert(l:resolve()).digest)
    _, err = l:resolve "nope"
    assert.same({ "oci.not_found", true }, { err.code, err.message:find("v1, multi", 1, true) ~= nil })
  end)

  it("refuses descriptors that are none", function()
    for _, d in ipairs { {}, { mediaType = "x", size = 1 }, { mediaType = "x", digest = "sha256:1", size = 1 },
      { mediaType = "x", digest = sha "x", size = "1" } } do
      local _, err = l:add_manifest(d, "v1")
      assert.equal("oci.descriptor", err.code)
    end
    assert.equal("", names())
  end)

  it("loses no entry when many write at once", function()
    local tasks = {}
    for i = 1, 20 do
      local d = image("image" .. i)
      tasks[i] = loop.spawn(function() assert(assert(oci.layout(dir .. "/lay")):add_manifest(d, "v" .. i)) end)
    end
    for _, t in ipairs(tasks) do assert.is_true((t:wait())) end
    assert.equal(20, #l:index().manifests)
  end)

  it("is read by skopeo and umoci, and reads what umoci wrote", function()
    os.execute(("mkdir %s/t && echo hello > %s/t/f && tar -C %s/t -cf %s/layer.tar f"):format(dir, dir, dir, dir))
    local d = image("a", registry.read(dir .. "/layer.tar"))
    assert(l:add_manifest(d, "v1"))
    local seen = json.decode(registry.capture(("skopeo inspect oci:%s/lay:v1"):format(dir)))
    assert.equal(d.digest, seen.Digest)
    registry.capture(("umoci unpack --image %s/lay:v1 %s/bundle"):format(dir, dir))
    assert.equal("hello\n", registry.read(dir .. "/bundle/rootfs/f"))
    registry.capture(("umoci tag --image %s/lay:v1 v2 && umoci config --image %s/lay:v1 --author me"):format(dir, dir))
    assert.equal(d.digest, assert(l:resolve "v2").digest)
    assert.not_equal(d.digest, assert(l:resolve "v1").digest)
  end)
end)
