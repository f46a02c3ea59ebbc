--- Images for several platforms, other compressions, bases that other tools packed, RUN's restrictions.
local world = require "lib.world"
world.pending = pending
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local registry = require "lib.registry"

local YAML = [[
repository: { url: https://example.com/p, vendor: Example, maintainer: Team <team@example.com> }
registries: [{ host: "%s" }]
images:
  - name: app
    versions:
      - name: 1.0.0
        latest: true
        os: [{ name: Debian, primary: true, platforms: [linux/amd64, linux/arm64] }]
]]

describe("platforms and layers", function()
  local reg, store
  setup(function()
    reg = registry.start {}
    store = world.tmp() .. "/store"
  end)
  teardown(function()
    if reg then reg:stop() end
    world.cleanup()
  end)

  local function build(dir, ...)
    local r = world.bakery({ "build", "-C", dir, "--store", store, "--progress", "plain", ... }, { timeout = 120 })
    return r
  end

  local function ok(r)
    assert.equal(0, r.code, r.stderr)
    return r
  end

  local function inspect(...)
    local r = world.run { "skopeo", "inspect", "--raw", "--tls-verify=false", ... }
    return json.decode(r.stdout)
  end

  it("pushes an index of two platforms that were only copied", function()
    if not world.needs "skopeo" then return end
    local dir = world.tmp()
    world.write(dir, { ["bakery.yaml"] = YAML:format(reg.host), ["f.linux-arm64"] = "arm", ["f.linux-amd64"] = "amd",
      ["app/1.0.0/Containerfile.debian"] = "FROM scratch\nARG TARGETOS TARGETARCH\nCOPY f.$TARGETOS-$TARGETARCH /f\n" })
    ok(build(dir, "--push"))
    local ref = "docker://" .. reg.host .. "/app:1.0.0"
    local index = inspect(ref)
    assert.equal("application/vnd.oci.image.index.v1+json", index.mediaType)
    assert.equal(2, #index.manifests)
    local layers = {}
    for _, arch in ipairs { "amd64", "arm64" } do
      local out = world.tmp() .. "/o"
      world.run { "skopeo", "copy", "-q", "--override-arch", arch, "--src-tls-verify=false", ref, "oci:" .. out .. ":x" }
      local r = world.run { "skopeo", "inspect", "--config", "oci:" .. out .. ":x" }
      local config = json.decode(r.stdout)
      assert.equal(arch, config.architecture)
      layers[arch] = config.rootfs.diff_ids[1]
    end
    assert.not_equal(layers.amd64, layers.arm64)
  end)

  it("refuses RUN for a machine it cannot play", function()
    if fs.exists "/proc/sys/fs/binfmt_misc/qemu-aarch64" or process.machine() == "aarch64" then return end
    local dir = world.tmp()
    world.write(dir, { ["bakery.yaml"] = YAML:format(reg.host),
      ["app/1.0.0/Containerfile.debian"] = "FROM scratch\nCOPY bakery.yaml /\nRUN true\n" })
    local r = build(dir, "--image-platform", "linux/arm64")
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("Containerfile.debian:3: error: cannot run linux/arm64", 1, true), r.stderr)
  end)

  it("pushes layers as zstd and plain, each under its own digest", function()
    if not world.needs "skopeo" then return end
    local dir = world.project({ app = "FROM scratch\nCOPY base/ /\n" }, { registry = reg.host .. "/z" })
    local seen = {}
    for compression, suffix in pairs { gzip = "+gzip", zstd = "+zstd", none = "" } do
      ok(build(dir, "--push", "--compression", compression))
      local manifest = inspect("docker://" .. reg.host .. "/z/app:1.0.0")
      assert.equal("application/vnd.oci.image.layer.v1.tar" .. suffix, manifest.layers[1].mediaType)
      seen[manifest.layers[1].digest] = true
      world.run { "skopeo", "copy", "-q", "--src-tls-verify=false", "docker://" .. reg.host .. "/z/app:1.0.0",
        "dir:" .. world.tmp() .. "/d" }
    end
    local n = 0
    for _ in pairs(seen) do n = n + 1 end
    assert.equal(3, n)
    local odd = build(dir, "--output", "tarball:x")
    assert.equal(2, odd.code, odd.stderr)
    assert.falsy(odd.stderr:find("building for", 1, true), odd.stderr)
    for compression, level in pairs { gzip = "13", zstd = "20", none = "1" } do
      local r = build(dir, "--compression", compression, "--compression-level", level)
      assert.equal(2, r.code, r.stderr)
    end
  end)

  it("writes a base that another tool packed into a docker archive as it was", function()
    if not world.needs "skopeo" or not world.needs "umoci" then return end
    local root = world.tmp()
    world.run { "umoci", "init", "--layout", root .. "/l" }
    world.run { "umoci", "new", "--image", root .. "/l:b" }
    world.rootfs(root .. "/tree")
    world.run { "umoci", "insert", "--image", root .. "/l:b", root .. "/tree", "/" }
    local base = reg.host .. "/foreign:1"
    world.run { "skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:" .. root .. "/l:b", "docker://" .. base }
    local dir = world.project({ app = "FROM " .. base .. "\nRUN echo x > /x\n", db = "FROM " .. base .. "\nLABEL x=y\n" },
      { base = false })
    local file = root .. "/all.tar"
    ok(build(dir, "--output", "docker-archive:" .. file))
    for _, tag in ipairs { "app:1.0.0", "db:latest" } do
      world.run { "skopeo", "copy", "-q", "docker-archive:" .. file .. ":" .. tag, "dir:" .. world.tmp() .. "/d" }
    end
  end)

  it("shuts RUN off from the network, and from new privileges", function()
    local text = "FROM scratch\nCOPY base/ /\nRUN grep -c : /proc/net/dev > /count; grep NoNewPrivs /proc/self/status\n"
    local dir = world.project({ app = text }, {})
    local r = ok(build(dir, "--network", "none"))
    assert.truthy(r.stderr:find("NoNewPrivs:\t0", 1, true), r.stderr)
    r = ok(build(dir, "--security", "strict"))
    assert.truthy(r.stderr:find("NoNewPrivs:\t1", 1, true), r.stderr)
    local out = world.project({ app = "FROM scratch\nCOPY base/ /\nRUN cat /proc/net/dev\n" }, {})
    r = ok(build(out, "--network", "none"))
    local _, devices = r.stderr:gsub("|%s*%w+:%s", "")
    assert.equal(1, devices, r.stderr)
  end)

  it("stops the others with --fail-fast and goes on without", function()
    local slow = "FROM scratch\nCOPY base/ /\nRUN --mount=type=tmpfs,target=/t sleep 30\n"
    local dir = world.project { a = "FROM scratch\nCOPY base/ /\nRUN exit 4\n", b = slow }
    local r = build(dir, "--fail-fast", "--json", "--network", "none")
    assert.equal(1, r.code, r.stderr)
    local doc = json.decode(r.stdout)
    assert.same({ "failed", "skipped" }, { doc.targets[1].status, doc.targets[2].status })
    assert.same({ code = 1, class = "build" }, doc.exit)
    world.write(dir, { ["b/1.0.0/Containerfile"] = "FROM scratch\nCOPY base/ /\n" })
    assert.equal(5, build(dir, "--keep-going").code)
  end)

  it("shares the work of two processes that build the same at once", function()
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nRUN echo ran && sleep 0.5\n" }
    local own = world.tmp() .. "/store"
    local running, executed = {}, 0
    for i = 1, 2 do
      running[i] = world.start { "build", "-C", dir, "--store", own, "--results", own .. "-" .. i, "--progress", "quiet" }
    end
    for i, p in ipairs(running) do
      assert.equal(0, assert(p:wait()).code)
      executed = executed + json.decode(fs.read(own .. "-" .. i)).targets[1].executed
    end
    assert.equal(2, executed)
  end)
end)
