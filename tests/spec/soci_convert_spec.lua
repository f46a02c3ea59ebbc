local convert = require "bakery.soci.convert"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local place = require "bakery.image.place"
local process = require "bakery.process"
local soci = require "bakery.soci"
local images = require "lib.images"
local registry = require "lib.registry"

local noise = images.noise
local SOCI = "application/vnd.amazon.soci.index.v2+json"

describe("soci.convert", function()
  local dir = registry.tmpdir()
  local layout = images.layout(dir .. "/src")
  local shared = { { name = "usr/", type = "5" }, { name = "usr/lib", data = noise(300000, "s") } }
  local att_type = "vnd.docker.reference.type"
  do
    local amd = images.manifest(layout, { platform = "linux/amd64", annotations = { note = "a<b&c" },
      layers = { shared, { { name = "bin/app", data = noise(200000, "a") } }, { { name = "small", data = "x" } } } })
    local arm = images.manifest(layout, { platform = "linux/arm64/v8", docker = true,
      layers = { shared, { media_type = "application/vnd.oci.image.layer.v1.tar+zstd", data = noise(300000, "z") } } })
    local att = images.manifest(layout, { platform = "unknown/unknown",
      layers = { { media_type = "application/vnd.in-toto+json", data = "{}" } } })
    att.annotations = { [att_type] = "attestation-manifest", ["vnd.docker.reference.digest"] = amd.digest }
    images.index(layout, "v1", { amd, arm, att })
    local single = images.manifest(layout, { platform = "linux/arm/v7", layers = { shared } })
    assert(layout:add_manifest({ mediaType = single.mediaType, digest = single.digest, size = single.size }, "single"))
  end

  local function run(from, to, o)
    o = o or {}
    o.source, o.target, o.span_size = place.open(from, {}), place.open(to, { write = true }), o.span_size or 100000
    o.min_layer_size = o.min_layer_size or 1000
    return convert.image(o), o.target
  end

  local function manifest(at, digest) return json.decode(at:get(digest).raw) end

  it("makes an index that clients find", function()
    local r, at = run("oci:" .. dir .. "/src:v1", "oci:" .. dir .. "/out:v1",
      { prefetch_files = { "/usr/../usr/lib", "bin/app", "gone" }, optimizations = { "xattr" } })
    assert.equal(r.digest, at:root().digest)
    local index = json.decode(at:root().raw)
    assert.equal(5, #index.manifests)
    local amd, arm, att, soci_amd, soci_arm = table.unpack(index.manifests)
    for _, p in ipairs { { amd, soci_amd, 2, 2 }, { arm, soci_arm, 1, 1 } } do
      local m, s = manifest(at, p[1].digest), manifest(at, p[2].digest)
      assert.equal(images.MANIFEST, p[1].mediaType)
      assert.equal("application/vnd.oci.image.config.v1+json", m.config.mediaType)
      assert.equal(p[2].digest, m.annotations["com.amazon.soci.index-digest"])
      assert.equal(p[2].digest, p[1].annotations["com.amazon.soci.index-digest"])
      assert.equal(p[1].digest, p[2].annotations["com.amazon.soci.image-manifest-digest"])
      assert.equal(SOCI, p[2].artifactType)
      assert.same(p[1].platform, p[2].platform)
      assert.equal(SOCI, s.config.mediaType)
      assert.is_nil(s.artifactType)
      assert.equal(p[3] + p[4], #s.layers)
      for i = 1, p[3] do
        local a = s.layers[i].annotations
        assert.equal(m.layers[i].digest, a["com.amazon.soci.image-layer-digest"])
        assert.equal("100000", a["com.amazon.soci.span-size"])
        assert.equal("true", a["com.amazon.soci.disable-xattrs"])
        local z = assert(soci.read(at:blob(s.layers[i])))
        assert.equal(m.layers[i].size, z.layer_size)
      end
      local prefetch = json.decode(at:blob(s.layers[p[3] + 1]))
      assert.equal("1.0", prefetch.version)
      assert.equal(0, prefetch.prefetch_spans[1].start_span)
    end
    assert.equal(amd.digest, att.annotations["vnd.docker.reference.digest"])
    assert.equal("attestation-manifest", att.annotations[att_type])
    assert.truthy(at:get(amd.digest).raw:find([["note":"a\u003cb\u0026c"]], 1, true))
    assert.same({ "bin/app", "gone" }, r.not_found) -- arm64 has no bin/app
    local small, zstd = 0, 0
    for _, l in pairs(r.layers) do
      if l.status == "small" then small = small + 1 end
      if l.status == "unsupported" then zstd = zstd + 1 end
    end
    assert.equal(1, small)
    assert.equal(1, zstd)
  end)

  it("changes nothing when done again", function()
    local first = run("oci:" .. dir .. "/src:v1", "oci:" .. dir .. "/one:v1")
    local again = run("oci:" .. dir .. "/one:v1", "oci:" .. dir .. "/two:v1")
    assert.equal(first.digest, again.digest)
    -- Another platform later: what is there stays.
    local amd = run("oci:" .. dir .. "/src:v1", "oci:" .. dir .. "/amd:v1", { platforms = { "linux/x86_64" } })
    assert.equal(1, #amd.platforms)
    local both = run("oci:" .. dir .. "/amd:v1", "oci:" .. dir .. "/both:v1", { platforms = { "linux/arm64" } })
    local names = {}
    for _, m in ipairs(json.decode(place.open("oci:" .. dir .. "/both:v1", {}):root().raw).manifests) do names[m.digest] = true end
    assert.is_true(names[amd.platforms[1].soci])
    assert.is_true(names[both.platforms[1].soci])
  end)

  it("wraps a single manifest in an index", function()
    local r, at = run("oci:" .. dir .. "/src:single", "oci:" .. dir .. "/wrapped:x")
    local index = json.decode(at:root().raw)
    assert.equal(2, #index.manifests)
    assert.same({ os = "linux", architecture = "arm", variant = "v7" }, index.manifests[1].platform)
    assert.equal("linux/arm/v7", r.platforms[1].platform)
  end)

  it("says what cannot be done", function()
    local cases = {
      { "soci.empty", "empty", { min_layer_size = 1 << 30 } },
      { "soci.platform", "usage", { platforms = { "linux/s390x" } } },
      { "soci.platform", "usage", { platforms = { "linux" } } },
      { "soci.options", "usage", { span_size = 3 } },
      { "soci.options", "usage", { optimizations = { "speed" } } },
    }
    for _, c in ipairs(cases) do
      local ok, e = pcall(run, "oci:" .. dir .. "/src:v1", "oci:" .. dir .. "/no:v1", c[3])
      assert.is_false(ok)
      assert.equal(c[1], e.code)
      assert.equal(c[2], e.class)
    end
    assert.same({}, json.decode(assert(fs.read(dir .. "/no/index.json"))).manifests)
    local broken = images.layout(dir .. "/broken")
    local m = images.manifest(broken, { layers = { { media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
      data = noise(5000, "not gzip") } } })
    images.index(broken, "v1", { m })
    local ok, e = pcall(run, "oci:" .. dir .. "/broken:v1", "oci:" .. dir .. "/no:v1")
    assert.is_false(ok)
    assert.equal("soci.malformed", e.code)
    assert.truthy(e.message:find("layer sha256:", 1, true))
  end)

  it("works from and to registries", function()
    local reg <close> = registry.start()
    local repo = reg.host .. "/team/app"
    local up = run("oci:" .. dir .. "/src:v1", repo .. ":v1")
    local down = run(repo .. ":v1", "oci:" .. dir .. "/down:v1")
    assert.equal(up.digest, down.digest)
    local across = run("oci:" .. dir .. "/src:single", repo .. ":s")
    assert.equal(across.digest, run(repo .. ":s", reg.host .. "/other/app:s-soci").digest)
    local gets = reg:count("GET", "/blobs/")
    local same = run(repo .. ":v1", repo .. ":again", { platforms = { "linux/amd64" } })
    assert.equal(gets + 2, reg:count("GET", "/blobs/")) -- each layer to index once, nothing else
    local client = assert(oci.client())
    assert.equal(same.digest, assert(client:head(repo .. ":again")).digest)
    local r = assert(process.run { cmd = { "skopeo", "copy", "--all", "--src-tls-verify=false", "docker://" .. repo .. ":s",
      "oci:" .. dir .. "/skopeo:v1" }, merge = true })
    assert.equal(0, r.code, r.stdout)
  end)

  it("is what soci-snapshotter makes of it, byte for byte", function()
    local program = process.which "soci-read"
    if not program then return print "skipped: needs soci-read (make peers)" end
    local own = images.layout(dir .. "/peer")
    local top = images.index(own, "v1", {
      images.manifest(own, { platform = "linux/amd64", annotations = { note = "a<b&c>\u{2028}é" }, layers = { shared,
        { { name = "bin/app", data = noise(400000, "b"), pax = { ["SCHILY.xattr.user.x"] = "1" } } },
        { { name = "small", data = "x" } } } }),
      images.manifest(own, { platform = "linux/arm64/v8", docker = true, layers = { shared,
        { { name = "bin/", type = "5" }, { name = "bin/app", data = noise(300000, "c") },
          { name = "etc/conf", data = noise(200000, "d") } },
        { media_type = "application/vnd.oci.image.layer.v1.tar", data = require("lib.tar").archive { { name = "plain",
          data = noise(250000, "p") } } } } }) })
    local prefetch = { "/bin/app", "etc/conf", "usr/lib", "gone" }
    local r = run("oci:" .. dir .. "/peer:v1", "oci:" .. dir .. "/peered:v1", { tool = "T", optimizations = { "xattr" },
      prefetch_files = prefetch })
    local theirs = assert(process.run { cmd = { program, "--convert", dir .. "/peer", top.digest, "100000", "1000", "T",
      dir .. "/theirs", table.unpack(prefetch) }, env = { TZ = "UTC" } })
    assert.equal(0, theirs.code, theirs.stderr)
    assert.equal(r.digest, theirs.stdout:match "(sha256:%x+)%s*$")
  end)

  it("is a command, with the reference's form too", function()
    local reg <close> = registry.start()
    local repo = reg.host .. "/team/app"
    local bin = os.getenv "BAKERY_BIN" or "build/bakery"
    run("oci:" .. dir .. "/src:v1", repo .. ":built")
    local function go(code, ...)
      local r = assert(process.run { cmd = { bin, ... }, merge = true, cwd = dir })
      assert.equal(code, r.code, r.stdout)
      return r.stdout
    end
    local out = go(0, "soci", "convert", repo .. ":built", "--min-layer-size", "1000", "--platform", "linux/amd64")
    assert.truthy(out:find(repo .. ":built-soci@sha256:", 1, true))
    assert.truthy(go(2, "soci", "convert", "oci:src:v1", "oci:out:v1"):find("--force", 1, true))
    assert(fs.write(dir .. "/files.json", '["/usr/lib"]'))
    local doc = json.decode((go(0, "soci", "convert", "oci:src:v1", "oci:cli:v1", "--min-layer-size", "0", "--json", "-q",
      "--prefetch-files-json", "files.json")))
    assert.equal(2, #doc.platforms)
    go(8, "soci", "convert", "oci:src:v1", "oci:cli:v2")
    go(1, "soci", "convert", reg.host .. "/team/none:v1")
    -- A project whose target wants SOCI, and the metadata of its build.
    assert(fs.mkdir(dir .. "/app/1.0.0", { parents = true }))
    assert(fs.write(dir .. "/app/1.0.0/Containerfile.ubuntu2404.std", "FROM scratch\n"))
    local function project(enabled)
      assert(fs.write(dir .. "/bakery.yaml", ([[
repository:
  url: https://example.com/x
images:
  - name: app
    variants:
      - name: Std
        primary: true
        extension: std
        options:
          - tool: soci
            enabled: %s
            min_layer_size: 1000
            platforms: [linux/amd64]
    versions:
      - name: 1.0.0
        latest: true
        os:
          - name: Ubuntu 24.04
]]):format(enabled)))
    end
    local head = assert(assert(oci.client()):head(repo .. ":built"))
    assert(fs.write(dir .. "/meta.json", json.encode { ["app-1-0-0-std-ubuntu-24-04"] = {
      ["image.name"] = repo .. ":built", ["containerimage.digest"] = head.digest } }))
    project "true"
    assert.truthy(go(0, "imagetools", "soci-convert", "meta.json"):find("app-1-0-0-std-ubuntu-24-04 " .. repo .. ":built-soci",
      1, true))
    assert.truthy(go(0, "soci", "convert", "meta.json", "-q"):find(":built-soci@", 1, true))
    project "false"
    assert.equal("", go(0, "imagetools", "soci-convert", "meta.json", "-q"))
    assert.truthy(go(2, "imagetools", "soci-convert", "none.json"):find("none.json", 1, true))
  end)
end)
