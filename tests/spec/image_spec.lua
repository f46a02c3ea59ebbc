--- bakery.image: whole images between places.
local fs = require "bakery.fs"
local http = require "bakery.http"
local image = require "bakery.image"
local json = require "bakery.json"
local oci = require "bakery.oci"
local images = require "lib.pushed"
local registry = require "lib.registry"

local function failure(value, err)
  assert.is_nil(value)
  return err
end

describe("images", function()
  local from, to, c, o, src
  local n = 0
  setup(function() from, to = registry.start(), registry.start() end)
  teardown(function()
    from:stop()
    to:stop()
  end)
  before_each(function()
    n = n + 1
    c = assert(oci.client { auth = false })
    o = { client = c, jobs = 4 }
    src = from.host .. "/team/app" .. n
  end)
  local function with(more)
    local out = { client = c, jobs = 4 }
    for k, v in pairs(more) do out[k] = v end
    return out
  end
  local function fresh() return assert(oci.client { auth = false }) end

  it("are copied whole and byte for byte, attestations and annotations included", function()
    local index, amd, arm, att = images.multi(c, src, "v1", n)
    local dst = to.host .. "/copy/app" .. n
    local done = assert(image.copy(src .. ":v1", dst .. ":v2", o))
    assert.same({ index.digest, false, 4, { exists = 0, mounted = 0, uploaded = 7 } },
      { done.digest, done.rewritten, done.destinations[1].manifests, done.destinations[1].blobs })
    for _, m in ipairs { index, amd, arm, att } do
      local got = assert(fresh():manifest(dst .. "@" .. m.digest))
      assert.same({ m.raw, m.media_type }, { got.raw, got.media_type })
    end
    assert.equal(index.digest, fresh():head(dst .. ":v2").digest)
    for _, data in ipairs(arm.blobs) do assert.equal(data, fresh():blob_data(dst, images.desc(data))) end
  end)

  it("leave out referrers that are only listed", function()
    local m = images.push(c, src, { tag = "v1", layers = { { a = "1" } } })
    local kept = images.push(c, src, { artifact_type = "x/kept", subject = m })
    local gone = images.push(c, src, { artifact_type = "x/gone", subject = m })
    -- deleted by somebody who does not keep the list
    assert.equal(202, assert(http.request { method = "DELETE",
      url = ("http://%s/v2/team/app%d/manifests/%s"):format(from.host, n, gone.digest) }).status)
    assert.equal(2, #assert(fresh():referrers(src .. "@" .. m.digest)))
    local said = {}
    local dst = to.host .. "/listed" .. n
    local done = assert(image.copy(src .. ":v1", dst .. ":v1", with { referrers = true, emit = function(e)
      if e.type == "warning" then said[#said + 1] = e.text end
    end }))
    assert.equal(1, done.destinations[1].referrers)
    assert.same({ kept.digest }, { fresh():referrers(dst .. "@" .. m.digest)[1].digest })
    assert.same(1, #said)
    assert.matches(gone.digest .. ", which refers to " .. m.digest .. ", is gone", said[1], 1, true)
  end)

  it("keep Docker's media types", function()
    local a = images.push(c, src, { docker = true, layers = { { a = "1" } } })
    local b = images.push(c, src, { docker = true, platform = "linux/arm64", layers = { { a = "2" } } })
    local list = images.push_index(c, src, "v1", { a, b }, { docker = true })
    assert(image.copy(src .. ":v1", to.host .. "/docker" .. n .. ":v1", o))
    local got = assert(fresh():manifest(to.host .. "/docker" .. n .. ":v1"))
    assert.same({ list.raw, images.DOCKER_LIST }, { got.raw, got.media_type })
    assert.equal(images.DOCKER_MANIFEST, fresh():manifest(to.host .. "/docker" .. n .. "@" .. a.digest).media_type)
  end)

  it("are mounted inside a registry: no blob is moved", function()
    images.multi(c, src, "v1", n)
    local dst = "/other/app" .. n
    local done = assert(image.copy(src .. ":v1", from.host .. dst .. ":v1", with { client = fresh() })).destinations[1]
    assert.same({ 0, 7, 0 }, { done.blobs.uploaded, done.blobs.mounted, done.uploaded_bytes })
    local before = from:count("/v2" .. dst)
    assert.equal(0, from:count("/v2" .. dst, '"PUT /v2' .. dst .. "/blobs"))
    assert.equal(0, from:count("/v2" .. dst, '"HEAD /v2' .. dst .. "/blobs"))
    done = assert(image.copy(src .. ":v1", from.host .. dst .. ":again", with { client = fresh() })).destinations[1]
    assert.equal(0, done.manifests)
    assert.is_true(from:count("/v2" .. dst) - before <= 4, "what is there costs a look and the tag")
    before = from:count("/v2/team/app" .. n .. "/blobs")
    assert(image.copy(src .. ":v1", src .. ":promoted", with { client = fresh() }))
    assert.equal(before, from:count("/v2/team/app" .. n .. "/blobs"), "in one repository no blob is looked at")
  end)

  it("go to several places, and only in plan with dry_run", function()
    local index = images.multi(c, src, "v1", n)
    local dir = registry.tmpdir()
    local places = { to.host .. "/p" .. n .. ":a", to.host .. "/q" .. n .. ":b", "oci:" .. dir .. "/lay" }
    local plan = assert(image.copy(src .. ":v1", { places[1], places[2] }, with { dry_run = true }))
    assert.same({ 4, 7 }, { plan.destinations[2].manifests, plan.destinations[2].blobs.planned })
    assert.equal("oci.not_found", failure(fresh():head(places[1])).code)
    local done = assert(image.copy(src .. ":v1", places, o))
    assert.equal(index.digest, fresh():head(places[2]).digest)
    assert.equal("oci:" .. dir .. "/lay:v1", done.destinations[3].tagged[1])
  end)

  it("of one platform, or some", function()
    local index, amd, arm, att = images.multi(c, src, "v1", n)
    local s390 = images.push(c, src, { platform = "linux/s390x", layers = { { x = "s" } } })
    images.push_index(c, src, "v2", { amd, arm, att, s390 })
    for _, case in ipairs { from, to } do
      local dst = case.host .. "/plat" .. n
      local done = assert(image.copy(src .. ":v2", dst .. ":one", with { platforms = { "linux/arm64" } }))
      assert.same({ arm.digest, false }, { done.digest, done.rewritten })
      done = assert(image.copy(src .. ":v2", dst .. ":two", with { platforms = { "linux/amd64", "linux/s390x" } }))
      assert.is_true(done.rewritten)
      local got = assert(fresh():resolve(dst .. ":two")).manifest.manifests
      assert.same({ amd.digest, att.digest, s390.digest, 3 }, { got[1].digest, got[2].digest, got[3].digest, #got })
      assert.equal(amd.digest, got[2].annotations["vnd.docker.reference.digest"])
    end
    local err = failure(image.copy(src .. ":v1", to.host .. "/x:1", with { platforms = { "linux/riscv64" } }))
    assert.equal("oci.platform", err.code)
    assert.matches("there is: linux/amd64, linux/arm64", err.message, 1, true)
    err = failure(image.copy(src .. "@" .. arm.digest, to.host .. "/x:1", with { platforms = { "linux/amd64" } }))
    assert.equal("oci.platform", err.code)
    assert.equal(index.digest, assert(image.copy(src .. ":v1", to.host .. "/x" .. n .. ":1", with {
      platforms = { "linux/amd64", "linux/arm64" } })).digest, "nothing goes: the index stays what it is")
  end)

  it("bring their referrers along, from and to every kind of registry", function()
    local native <close> = registry.quirky()
    native:set { referrers = true }
    local index, amd = images.multi(c, src, "v1", n)
    local sig = images.push(c, src, { artifact_type = "x/sig", subject = index, blobs = { "signature" } })
    local sbom = images.push(c, src, { artifact_type = "x/sbom", subject = amd, blobs = { "bom" }, annotations = { tool = "t" } })
    local of_sig = images.push(c, src, { artifact_type = "x/countersig", subject = sig })
    local old = images.push(c, src, { tag = oci.fallback_tag(amd.digest) .. ".sig", layers = { { s = "old cosign" } } })
    local dir = registry.tmpdir()
    local way = { src .. ":v1", native.host .. "/n:v1", to.host .. "/ref" .. n .. ":v1", "oci:" .. dir .. "/lay:v1",
      to.host .. "/ref-back" .. n .. ":v1" }
    for i = 2, #way do
      c = fresh()
      local done = assert(image.copy(way[i - 1], way[i], with { referrers = true }))
      assert.equal(4, done.destinations[1].referrers, way[i])
      local list = assert(image.referrers(way[i], o))
      assert.same({ 1, sig.digest, "x/sig" }, { #list, list[1].digest, list[1].artifactType }, way[i])
      list = assert(image.referrers(way[i], with { platform = "linux/amd64", artifact_type = "x/sbom" }))
      assert.same({ 1, sbom.digest, "t" }, { #list, list[1].digest, list[1].annotations.tool }, way[i])
      local name = way[i]:match "^oci:" and "oci:" .. dir .. "/lay@" or oci.ref(way[i]).name .. "@"
      assert.equal(of_sig.digest, assert(image.referrers(name .. sig.digest, o))[1].digest, way[i])
    end
    assert.equal(old.digest, fresh():head(to.host .. "/ref" .. n .. ":" .. oci.fallback_tag(amd.digest) .. ".sig").digest)
    assert.same({}, assert(image.referrers(way[3], with { annotations = { tool = "t" } })))
    assert(image.copy(src .. ":v1", to.host .. "/bare" .. n .. ":v1", with { client = fresh() }))
    assert.same({}, assert(image.referrers(to.host .. "/bare" .. n .. ":v1", o)))
  end)

  it("survive a layout and a docker archive and come back the same", function()
    local index, amd = images.multi(c, src, "v1", n)
    local dir = registry.tmpdir()
    assert(image.copy(src .. ":v1", "oci:" .. dir .. "/lay:x", o))
    assert(image.copy(src .. ":v1", "oci:" .. dir .. "/lay:x", o))
    assert.same({ "x" }, image.tags("oci:" .. dir .. "/lay", o))
    assert.equal(1, #assert(json.decode(assert(fs.read(dir .. "/lay/index.json")))).manifests)
    assert(image.copy("oci:" .. dir .. "/lay:x", to.host .. "/back" .. n .. ":v1", o))
    assert.equal(index.raw, fresh():manifest(to.host .. "/back" .. n .. ":v1").raw)

    local file = "docker-archive:" .. dir .. "/a.tar"
    assert.equal("image.archive", failure(image.copy(src .. ":v1", file, o)).code)
    assert.is_false(fs.exists(dir .. "/a.tar"))
    assert(image.copy(src .. ":v1", file, with { platforms = { "linux/amd64" } }))
    local d = assert(image.diff(file, src .. "@" .. amd.digest, o))
    assert.same({ 0, 2, true }, { #d.config, d.layers.common, d.files and #d.files.changed == 0 })
    assert(image.copy(file, to.host .. "/archived" .. n .. ":v1", o))
    local info = assert(image.inspect(to.host .. "/archived" .. n .. ":v1", o))
    assert.same({ "image", "linux/amd64", 2 }, { info.kind, info.platform, #info.layers })
    assert.same({ src .. ":v1" }, image.tags(file, o))
    assert.equal("image.archive", failure(image.inspect(file .. ":other/name:1", o)).code)
  end)

  it("live in the store too", function()
    local _, amd = images.multi(c, src, "v1", n)
    local store = registry.tmpdir() .. "/store"
    local s = with { store = store }
    assert(image.copy(src .. ":v1", "store:local.example/app:1", s))
    local got = assert(image.inspect("store:local.example/app:1", s))
    assert.same({ "index", "linux/amd64", "linux/arm64/v8" }, { got.kind, got.manifests[1].platform, got.manifests[2].platform })
    assert(image.copy("store:local.example/app:1", to.host .. "/stored" .. n .. ":1", s))
    local d = assert(image.diff(to.host .. "/stored" .. n .. ":1", src .. "@" .. amd.digest, with { platform = "linux/amd64" }))
    assert.same({ 0, 2 }, { #d.config, d.layers.common })
    assert.same({ "local.example/app:1", "local.example/app:1" }, image.tags("store:all", s))
    assert(image.remove("store:local.example/app:1", s))
    assert.equal("oci.not_found", failure(image.inspect("store:local.example/app:1", s)).code)
  end)

  it("get tags and lose them", function()
    local m = images.push(c, src, { tag = "v1", layers = { { a = "1" } } })
    local other = images.push(c, src, { tag = "v2", layers = { { a = "2" } } })
    local plan = assert(image.tag(src .. ":v1", { "v2" }, with { dry_run = true }))
    assert.equal(other.digest, plan.tagged[1].was)
    local done = assert(image.tag(src .. ":v1", { "v2", src .. ":v3" }, o))
    assert.same({ m.digest, src .. ":v2", src .. ":v3" }, { done.digest, done.tagged[1].ref, done.tagged[2].ref })
    assert.same({ "v1", "v2", "v3" }, image.tags(src, o))
    assert.equal(m.digest, fresh():head(src .. ":v2").digest)
    for _, bad in ipairs { from.host .. "/other:x", "a b", src .. "@" .. m.digest } do
      assert.equal("usage", failure(image.tag(src .. ":v1", { bad }, o)).class)
    end
    assert.is_false(assert(image.remove(src .. ":v2", with { dry_run = true })).removed)
    assert.equal(m.digest, assert(image.remove(src .. ":v2", o)).digest)
    assert.same({ "v1", "v3" }, image.tags(src, o))
    assert(image.remove(src .. "@" .. m.digest, o))
    assert.equal("oci.not_found", failure(image.inspect(src .. ":v3", o)).code)
    assert.equal("oci.not_found", failure(image.remove(src .. ":none", o)).code)
  end)

  it("are listed with their repositories", function()
    images.push(c, src, { tag = "v1" })
    local found = false
    for _, name in ipairs(assert(image.repositories(from.host, o))) do found = found or name == "team/app" .. n end
    assert.is_true(found)
  end)

  it("are described", function()
    local index, amd, _, att = images.multi(c, src, "v1", n)
    local info = assert(image.inspect(src .. ":v1", o))
    assert.same({ "index", index.digest, "multi", 3 },
      { info.kind, info.digest, info.annotations["org.opencontainers.image.title"], #info.manifests })
    assert.same({ amd.digest, "linux/arm64/v8" }, { info.manifests[3].attestation_of, info.manifests[2].platform })
    info = assert(image.inspect(src .. ":v1", with { platform = "linux/amd64" }))
    assert.same({ "image", amd.digest, "2026-01-01T00:00:00Z" }, { info.kind, info.digest, info.created })
    assert.is_string(info.layers[1].diff_id)
    info = assert(image.inspect(src .. "@" .. att.digest, o))
    assert.equal("application/vnd.docker.attestation.manifest.v1+json", info.artifact_type)
    assert.equal(amd.raw, assert(image.manifest(src .. ":v1", with { platform = "linux/amd64" })).raw)
  end)

  it("are compared: configuration, layers, files", function()
    local base = { ["etc/a"] = "1", ["etc/b"] = "2", ["etc/link"] = { link = "a" }, ["opt/x/deep"] = "x", ["opt/y"] = "y" }
    local one = images.push(c, src, { layers = { base, { ["new"] = "n", ["etc/a"] = "1" } },
      config = { Env = { "PATH=/bin", "A=1" }, Cmd = { "sh" } }, annotations = { k = "1" } })
    local two = images.push(c, src, { layers = { base, { ["etc/a"] = "changed", ["etc/.wh.b"] = "", ["opt/.wh..wh..opq"] = "",
      ["opt/z"] = "z", ["etc/link"] = { link = "z" }, ["new"] = { data = "n", mode = 493 } } },
      config = { Env = { "PATH=/usr/bin", "B=2" }, Cmd = { "sh" } }, annotations = { k = "2" } })
    local d = assert(image.diff(src .. "@" .. one.digest, src .. "@" .. two.digest, o))
    local config = {}
    for i, e in ipairs(d.config) do config[i] = ("%s %s %s"):format(e.path, tostring(e.a), tostring(e.b)) end
    assert.same({ "config.Env.A 1 nil", "config.Env.B nil 2", "config.Env.PATH /bin /usr/bin" }, config)
    assert.same({ { path = "k", a = "1", b = "2" } }, d.annotations)
    assert.same({ common = 1, a = 2, b = 2 }, d.layers)
    local function paths(list)
      local out = {}
      for i, e in ipairs(list) do out[i] = e.path .. (e.what and " " .. table.concat(e.what, ",") or "") end
      return out
    end
    assert.same({ "/opt/z" }, paths(d.files.added))
    assert.same({ "/etc/b", "/opt/x", "/opt/x/deep", "/opt/y" }, paths(d.files.removed))
    assert.same({ "/etc/a content", "/etc/link target a → z", "/new mode 0644 → 0755" }, paths(d.files.changed))
    assert.is_false(d.same)
    assert.is_true(assert(image.diff(src .. "@" .. one.digest, src .. "@" .. one.digest, o)).same)
    assert.is_nil(assert(image.diff(src .. "@" .. one.digest, src .. "@" .. two.digest, with { files = false })).files)
  end)

  it("leave no tag behind when a copy fails", function()
    local q <close> = registry.quirky()
    images.multi(c, src, "v1", n)
    c = assert(oci.client { auth = false, retries = 0 })
    for _, quirk in ipairs { { upload_fail = -1 }, { status_for = { PUT = { 500, -1 } } }, { manifest_lag = -1 } } do
      q:set(quirk)
      assert.is_nil((image.copy(src .. ":v1", q.host .. "/r:v1", o)))
      q:set {}
      assert.same({}, fresh():tags(q.host .. "/r"))
    end
    q:set {}
    assert(image.copy(src .. ":v1", q.host .. "/r:v1", with { client = fresh() }))
  end)

  it("that are malformed are refused", function()
    local m = images.push(c, src, { layers = { { a = "1" } } })
    local deep = m
    for _ = 1, 6 do deep = images.push_index(c, src, nil, { deep }) end
    local q <close> = registry.quirky()
    local err = failure(image.copy(src .. "@" .. deep.digest, q.host .. "/r:1", o))
    assert.matches("nested too deep", err.message)
    local qc = fresh()
    local lying = images.push(qc, q.host .. "/s", { layers = { { a = "1" } } })
    lying.size = lying.size + 1
    images.push_index(qc, q.host .. "/s", "lies", { lying })
    err = failure(image.copy(q.host .. "/s:lies", to.host .. "/never:1", with { client = qc }))
    assert.matches("its index says", err.message)
    lying.size, lying.digest = lying.size - 1, images.desc("absent").digest
    images.push_index(qc, q.host .. "/s", "sparse", { lying })
    assert.equal("oci.not_found", failure(image.copy(q.host .. "/s:sparse", to.host .. "/never:1", with { client = qc })).code)
    for text, code in pairs {
      ['{"schemaVersion":1,"fsLayers":[]}'] = "oci.schema1", ['{"schemaVersion":2,"manifests":[{"digest":"x"}]}'] = "oci.manifest",
      ['{"schemaVersion":2,"config":{"digest":"sha256:zz","size":1},"layers":[]}'] = "oci.manifest",
      ['{"schemaVersion":2,"config":{},"layers":[{"size":-1}]}'] = "oci.manifest", ['{"layers":[],"manifests":[]}'] = "oci.manifest",
    } do
      assert(qc:push_manifest(q.host .. "/s", "bad", text, "application/json"))
      assert.equal(code, failure(image.copy(q.host .. "/s:bad", to.host .. "/never:1", with { client = qc })).code, text)
    end
    assert.equal("usage", failure(image.copy(src .. "@" .. m.digest, to.host .. "/x@" .. deep.digest, o)).class)
  end)

  it("in hostile archives reach nothing outside", function()
    local dir = registry.tmpdir()
    local archive = require "bakery.archive"
    local function made(entries)
      local w <close> = assert(archive.tar_writer(dir .. "/x.tar")) -- luacheck: ignore
      for _, e in ipairs(entries) do assert(w:add(e)) end
      assert(w:finish())
      return failure(image.inspect("docker-archive:" .. dir .. "/x.tar", o))
    end
    local function list(t) return { path = "manifest.json", data = json.encode(json.array { t }) } end
    assert.matches("no manifest.json", made { { path = "a", data = "x" } }.message)
    assert.equal("json.syntax", made { { path = "manifest.json", data = "[{" } }.code)
    assert.matches("not in it", made { list { Config = "../../etc/passwd", Layers = json.array {} } }.message)
    assert.matches("not in it", made { list { Config = "c", Layers = json.array {} },
      { path = "c", type = "symlink", link = "/etc/passwd" } }.message)
    assert.matches("do not fit", made { list { Config = "c", Layers = json.array { "l" } }, { path = "c", data = "{}" } }.message)
    local config = json.encode { rootfs = { diff_ids = { "sha256:" .. ("0"):rep(64) } } }
    assert.matches("its config says", made { list { Config = "c", Layers = json.array { "l" } }, { path = "c", data = config },
      { path = "l", data = "layer" } }.message)
    assert.equal("ENOENT", failure(image.inspect("docker-archive:" .. dir .. "/none.tar", o)).code)
    assert.equal("ENOENT", failure(image.inspect("oci:" .. dir .. "/none", o)).code)
  end)
end)
