local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"
local peers = require "lib.peers"
local process = require "bakery.process"
local registry = require "lib.registry"

local APP = [[
FROM scratch
COPY base/ /
ENV PATH=/bin
WORKDIR /srv
RUN echo built > result && chown 1000:1001 result && mkdir -p a/b && ln -s result link && rm -rf /home/app
COPY --chmod=755 run.sh /run.sh
CMD ["/bin/sh", "/run.sh"]
]]

describe("push", function()
  local reg, store
  setup(function()
    reg = registry.start {}
    store = world.tmp() .. "/store"
  end)
  teardown(function()
    if reg then reg:stop() end
    world.cleanup()
  end)

  local function bakery(dir, ...)
    return world.bakery({ select(1, ...), "-C", dir, "--store", store, "--progress", "plain", select(2, ...) })
  end

  local function tags(repo)
    local r = process.run { cmd = { "skopeo", "list-tags", "--tls-verify=false", "docker://" .. reg.host .. "/" .. repo } }
    return r.code == 0 and json.decode(r.stdout).Tags or {}
  end

  it("sets the plan's tags after all content, and peers run the image", function()
    if not world.needs "skopeo" then return end
    local dir = world.project({ app = APP }, { registry = reg.host .. "/team" })
    world.write(dir, { ["run.sh"] = "#!/bin/sh\ncat /srv/link; id -u\n" })
    local r = bakery(dir, "build", "--push")
    assert.equal(0, r.code, r.stderr)
    local list = tags "team/app"
    table.sort(list)
    assert.same({ "1.0.0", "latest" }, list)
    local out = world.tmp()
    world.run { "skopeo", "copy", "--src-tls-verify=false", "docker://" .. reg.host .. "/team/app:latest", "oci:" .. out .. "/oci:latest" }
    local tree = peers.tree(out .. "/oci", "latest")
    assert.equal("built\n", tree.content "srv/result")
    assert.equal("0644 1000:1001", tree.meta "srv/result")
    if process.which "chroot" then
      local run = world.run { "chroot", tree.root, "/bin/sh", "/run.sh" }
      assert.equal("built\n0\n", run.stdout)
    end
    -- the same Containerfile by buildah gives the same files
    if not world.needs "buildah" then return end
    local other = peers.tree(peers.buildah(dir, "app/1.0.0/Containerfile"), "latest")
    -- buildah leaves its mount points behind
    local skip = { dev = true, proc = true, sys = true, run = true, ["etc/hostname"] = true, ["etc/hosts"] = true,
      ["etc/resolv.conf"] = true }
    assert.same(peers.listing(other.root, skip), peers.listing(tree.root, skip))
    for path in pairs(skip) do assert.falsy(tree.exists(path), path) end
  end)

  it("runs under crun as umoci unpacked it", function()
    if not (world.needs "crun" and world.needs "umoci") then return end
    local dir = world.project { app = APP }
    world.write(dir, { ["run.sh"] = "#!/bin/sh\ncat /srv/link\n" })
    local out = world.tmp()
    assert.equal(0, bakery(dir, "build", "--output", "oci:" .. out .. "/oci").code)
    local bundle = out .. "/bundle"
    world.run { "umoci", "unpack", "--image", out .. "/oci:" .. peers.tag(out .. "/oci"), bundle }
    local spec = json.decode(fs.read(bundle .. "/config.json"), { ordered = true })
    spec.process.terminal = false
    spec.linux.resources = json.object()
    assert(fs.write(bundle .. "/config.json", json.encode(spec)))
    local r = process.run { cmd = { "crun", "--root", out .. "/crun", "run", "--bundle", bundle, "bakery-test-" .. process.pid() } }
    if r.code ~= 0 and r.stderr:find "cgroup" then return pending("needs crun with this host's cgroups") end
    assert.equal("built\n", r.stdout, r.stderr)
  end)

  it("pulls its base from the registry and pushes without sending the base again", function()
    local dir = world.project({ base = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\n" }, { registry = reg.host .. "/lib" })
    assert.equal(0, bakery(dir, "build", "--push").code)
    local app = world.project({ app = "FROM " .. reg.host .. "/lib/base:1.0.0\nRUN echo on base > /f\n" },
      { registry = reg.host .. "/apps", base = false })
    local fresh = world.tmp() .. "/store"
    local r = world.bakery { "build", "-C", app, "--store", fresh, "--progress", "json", "--push" }
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find('"how":"mounted"', 1, true) or not r.stderr:find('"how":"uploaded"[^\n]*lib/base'), r.stderr)
    assert.equal(2, #tags "apps/app")
  end)

  it("sends again what the registry has lost", function()
    local q <close> = registry.quirky()
    q:set { strict_blobs = true, forget_blobs = 2 }
    local dir = world.project({ app = "FROM scratch\nCOPY base/ /\nCOPY one /one\n" }, { registry = q.host .. "/lossy" })
    world.write(dir, { one = "1" })
    local r = bakery(dir, "build", "--push")
    assert.equal(0, r.code, r.stderr)
    q:set {}
    local c = require("bakery.oci").client { auth = false }
    local m = assert(c:resolve(q.host .. "/lossy/app:latest", { platform = "linux/amd64" })).manifest
    table.insert(m.layers, m.config)
    for _, d in ipairs(m.layers) do assert.is_true((c:has_blob(q.host .. "/lossy/app", d.digest))) end
    q:set { strict_blobs = true, forget_blobs = -1 }
    world.write(dir, { one = "2" })
    r = bakery(dir, "build", "--push")
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("missing: sha256:", 1, true), r.stderr)
  end)

  it("publishes a finished build, and nothing when a target failed", function()
    local dir = world.project({ good = "FROM scratch\nCOPY base/ /\n", bad = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN false\n" },
      { registry = reg.host .. "/rel" })
    assert.equal(5, bakery(dir, "build", "--push").code)
    assert.same({}, tags "rel/good")
    local r = bakery(dir, "publish")
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("not built yet: bad-1-0-0", 1, true), r.stderr)
    assert.same({}, tags "rel/good")
    assert.equal(0, bakery(dir, "publish", "--image-name", "good").code)
    assert.equal(2, #tags "rel/good")
    assert.equal(5, bakery(dir, "build", "--push", "--keep-going").code)
  end)

  it("pushes by digest only to a temporary registry", function()
    local dir = world.project({ app = "FROM scratch\nCOPY base/ /\n" }, { registry = reg.host .. "/x" })
    local meta = world.tmp() .. "/meta.json"
    local r = bakery(dir, "build", "--push", "--temp-registry", reg.host .. "/temp", "--metadata-file", meta)
    assert.equal(0, r.code, r.stderr)
    assert.same({}, tags "temp/app/tmp")
    local entry = json.decode(fs.read(meta))["app-1-0-0"]
    assert.equal(reg.host .. "/temp/app/tmp:latest", entry["image.name"])
    if world.needs "skopeo" then
      world.run { "skopeo", "inspect", "--raw", "--tls-verify=false",
        "docker://" .. reg.host .. "/temp/app/tmp@" .. entry["containerimage.digest"] }
    end
  end)

  it("logs in where the registry wants it, and says so when it may not", function()
    local basic <close> = registry.start { auth = "basic" }
    local dir = world.project({ app = "FROM scratch\nCOPY base/ /\n" }, { registry = basic.host .. "/p" })
    local r = bakery(dir, "build", "--push")
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("401", 1, true) or r.stderr:lower():find("credentials", 1, true), r.stderr)
    local auth = world.tmp() .. "/auth.json"
    assert(fs.write(auth, ('{"auths":{"%s":{"auth":"%s"}}}'):format(basic.host, "dXNlcjpzZWNyZXQ="))) -- user:secret
    r = world.bakery({ "build", "-C", dir, "--store", store, "--push", "--progress", "plain" }, { env = { REGISTRY_AUTH_FILE = auth } })
    assert.equal(0, r.code, r.stderr)
    assert.falsy((r.stderr .. r.stdout):find("secret", 1, true))
    assert.falsy(r.stderr:find("dXNlcjpzZWNyZXQ", 1, true))
  end)
end)
