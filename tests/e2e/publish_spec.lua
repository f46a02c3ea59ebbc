--- Merging what several runners built, setting tags in one phase, and what a killed publish leaves.
local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local registry = require "lib.registry"

local YAML = [[
repository:
  url: https://example.com/project
  vendor: Example
registries:
  - host: %s
    namespace: one
  - host: %s
    namespace: two
images:
  - name: app
    versions:
      - name: 1.0.0
        latest: true
        os:
          - name: Ubuntu 24.04
            platforms: [linux/amd64, linux/arm64]
  - name: tool
    versions:
      - name: 2.0.0
        latest: true
        os:
          - name: Ubuntu 24.04
            platforms: [linux/amd64, linux/arm64]
]]

describe("publish", function()
  local reg, client, temp
  setup(function()
    reg = registry.start {}
    client = oci.client {}
    temp = reg.host .. "/temp"
  end)
  teardown(function()
    if reg then reg:stop() end
    world.cleanup()
  end)

  local function project()
    local dir = world.tmp()
    world.write(dir, { ["bakery.yaml"] = YAML:format(reg.host, reg.host),
      ["app/1.0.0/Containerfile.ubuntu2404"] = "ARG TARGETARCH\nFROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY data /data\n",
      ["tool/2.0.0/Containerfile.ubuntu2404"] = "FROM scratch\nCOPY data /tool\n", data = "first\n" })
    return dir
  end

  -- What a runner of that platform does.
  local function runner(dir, arch, ...)
    local file = ("%s/%s-metadata.json"):format(dir, arch)
    local r = world.bakery { "build", "-C", dir, "--store", world.tmp() .. "/store", "--push", "--temp-registry", temp,
      "--image-platform", "linux/" .. arch, "--metadata-file", file, ... }
    assert.equal(0, r.code, r.stderr)
    return file
  end

  local function publish(dir, files, ...)
    local cmd = { "ci", "publish", "-C", dir, "--temp-registry", temp, "--json", "--progress", "plain" }
    for _, list in ipairs { files, { ... } } do table.move(list, 1, #list, #cmd + 1, cmd) end
    return world.bakery(cmd)
  end

  local function shown(name)
    local m, err = client:manifest(reg.host .. "/" .. name)
    if not m then
      assert.equal("oci.not_found", err.code, tostring(err))
      return nil
    end
    return m.digest, json.decode(m.raw)
  end

  it("makes one index of the runners' images and sets it in every repository", function()
    local dir = project()
    local files = { runner(dir, "amd64"), runner(dir, "arm64") }
    local r = publish(dir, files)
    assert.equal(0, r.code, r.stderr)
    local doc = json.decode(r.stdout)
    assert.equal(2, #doc.targets)
    local digest, index = shown "one/app:latest"
    assert.equal(doc.targets[1].digest, digest)
    assert.equal(digest, shown "two/app:1.0.0")
    assert.equal(digest, shown "two/app:1.0.0-ubuntu-24.04")
    assert.equal("application/vnd.oci.image.index.v1+json", index.mediaType)
    local platforms = {}
    for i, m in ipairs(index.manifests) do platforms[i] = m.platform.os .. "/" .. m.platform.architecture end
    table.sort(platforms)
    assert.same({ "linux/amd64", "linux/arm64" }, platforms)
    assert.equal("https://example.com/project", index.annotations["org.opencontainers.image.source"])
    assert.equal("1.0.0", index.annotations["org.opencontainers.image.version"])
    if world.needs "skopeo" then
      local out = world.tmp()
      world.run { "skopeo", "copy", "--all", "--src-tls-verify=false", "docker://" .. reg.host .. "/two/app:latest", "oci:" .. out .. ":x" }
      local config = json.decode(world.run({ "skopeo", "inspect", "--tls-verify=false", "--override-arch", "arm64", "--config",
        "docker://" .. reg.host .. "/two/app:latest" }).stdout)
      assert.truthy(table.concat(config.config.Env, " "):find("ARCH=arm64", 1, true))
    end
    for _, peer in ipairs { { "crane", "digest", "--insecure" }, { "oras", "resolve", "--plain-http" } } do
      if require "bakery.process".which(peer[1]) then
        peer[#peer + 1] = reg.host .. "/two/app:latest"
        assert.equal(digest, world.run(peer).stdout:match "sha256:%x+", peer[1])
      end
    end
    if require "bakery.process".which "crane" then
      world.run { "crane", "validate", "--insecure", "--remote", reg.host .. "/one/tool:latest" }
    end
    -- once more: the same digests, nothing moves
    r = publish(dir, { dir .. "/*-metadata.json" })
    assert.equal(0, r.code, r.stderr)
    assert.equal(digest, shown "one/app:latest")
  end)

  it("signs before it tags, and says what it published", function()
    local dir = project()
    world.write(dir, { data = "signed\n" })
    local files = { runner(dir, "amd64", "--results", dir .. "/amd64.json"), runner(dir, "arm64", "--results", dir .. "/arm64.json") }
    local keys = world.tmp()
    local env = { COSIGN_PASSWORD = "pw" }
    assert.equal(0, world.bakery({ "key", "generate", "--output-key-prefix", keys .. "/k" }, { env = env }).code)
    local r = world.bakery({ "ci", "publish", "-C", dir, "--temp-registry", temp, "--sign-key", keys .. "/k.key", "--summary",
      "--summary-format", "json", files[1], files[2] }, { env = env })
    assert.equal(0, r.code, r.stderr)
    local doc = json.decode(r.stdout)
    assert.equal(2, #doc.targets)
    assert.equal(2, doc.targets[1].platforms)
    assert.is_true(doc.targets[1].registry_size > 0)
    r = world.bakery { "verify", reg.host .. "/two/app:latest", "--key", keys .. "/k.pub" }
    assert.equal(0, r.code, r.stderr)
    assert.is_nil((r.stdout .. r.stderr):find("pw", 1, true))
    -- what the runners know of their builds goes to the manifests of their platforms
    local attest, public = require "bakery.sign.attest", require "bakery.sign.keys".public(keys .. "/k.pub")
    r = world.bakery({ "ci", "publish", "-C", dir, "--temp-registry", temp, "--sign-key", keys .. "/k.key", "--attest-results",
      dir .. "/amd64.json", "--attest-results", dir .. "/arm64.json", files[1], files[2] }, { env = env })
    assert.equal(0, r.code, r.stderr)
    local _, top = shown "two/app:latest"
    for _, m in ipairs(top.manifests) do
      local list = attest.list { client = client, ref = reg.host .. "/two/app@" .. m.digest, key = public,
        type = "slsaprovenance1" }.list
      assert.same({ 1, true, "linux/" .. m.platform.architecture }, { #list, list[1].valid,
        list[1].statement.predicate.buildDefinition.externalParameters.platform })
    end
    assert.equal(2, publish(dir, files, "--attest-results", files[1]).code)
  end)

  it("refuses to publish less than what is declared", function()
    local dir = project()
    world.write(dir, { data = "second\n" })
    local before = shown "one/app:latest"
    local files = { runner(dir, "amd64") }
    local r = publish(dir, files)
    assert.equal(1, r.code, r.stderr)
    assert.truthy(r.stderr:find("nothing was built for linux/arm64", 1, true), r.stderr)
    assert.truthy(r.stderr:find("no tag was set", 1, true), r.stderr)
    assert.equal(before, shown "one/app:latest")
    r = publish(dir, files, "--allow-missing-platform")
    assert.equal(0, r.code, r.stderr)
    assert.not_equal(before, shown "one/app:latest")
    local _, index = shown "one/app:latest"
    assert.equal(1, #index.manifests)
  end)

  it("tags nothing when one target fails, unless told to go on", function()
    local dir = project()
    world.write(dir, { data = "third\n" })
    local files = { runner(dir, "amd64"), runner(dir, "arm64") }
    local doc = json.decode(fs.read(files[1]))
    doc["tool-2-0-0-ubuntu-24-04"]["containerimage.digest"] = "sha256:" .. ("0"):rep(64)
    assert(fs.write(files[1], json.encode(doc)))
    local before = shown "one/app:latest"
    local r = publish(dir, files, "--wait", "0")
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("is not there (waited 0 s)", 1, true), r.stderr)
    assert.equal(before, shown "one/app:latest")
    r = publish(dir, files, "--wait", "0", "--keep-going")
    assert.equal(5, r.code, r.stderr)
    assert.not_equal(before, shown "one/app:latest")
    local out = json.decode(r.stdout)
    assert.same({ "published", "failed" }, { out.targets[1].status, out.targets[2].status })
    assert.equal("wait", out.targets[2].phase)
  end)

  it("shows what it would do without a registry", function()
    local dir = project()
    local files = { runner(dir, "amd64") }
    local r = world.bakery { "ci", "merge", "-C", dir, "--temp-registry", "127.0.0.1:1/x", "--dry-run", "--progress", "plain", files[1] }
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("would tag " .. reg.host .. "/two/app:latest", 1, true), r.stderr)
    assert.truthy(r.stderr:find("would create 127.0.0.1:1/x/app/tmp:app-1-0-0-ubuntu-24-04", 1, true), r.stderr)
    r = world.bakery { "ci", "publish", "-C", dir, "--dry-run", "nosuch*.json" }
    assert.equal(2, r.code, r.stderr)
    assert(fs.write(dir .. "/bad.json", "{"))
    assert(fs.write(dir .. "/list.json", "[]"))
    r = world.bakery { "ci", "publish", "-C", dir, "--dry-run", dir .. "/bad.json", dir .. "/list.json" }
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("bad.json", 1, true), r.stderr)
    assert(fs.write(dir .. "/none.json", '{"foreign": 1, "other-uid": {}}'))
    r = publish(dir, { dir .. "/none.json" })
    assert.equal(0, r.code, r.stderr)
    assert.same({}, json.decode(r.stdout).targets)
  end)

  it("merges without waiting as imagetools merge and oras merge", function()
    local dir = project()
    world.write(dir, { data = "fourth\n" })
    local files = { runner(dir, "amd64"), runner(dir, "arm64") }
    for _, name in ipairs { "imagetools", "oras" } do
      local r = world.bakery { name, "merge", "-C", dir, "--temp-registry", temp, "--progress", "plain", files[1], files[2] }
      assert.equal(0, r.code, r.stderr)
    end
    local _, index = shown "one/tool:latest"
    assert.equal(2, #index.manifests)
  end)

  it("publishes only images with a good verdict when one is required", function()
    local dir = project()
    world.write(dir, { ["bakery.yaml"] = (YAML:gsub("platforms: %[linux/amd64, linux/arm64%]", "platforms: [linux/amd64]")):format(reg.host,
      reg.host), ["app/1.0.0/test/goss.yaml"] = "file:\n  /data:\n    exists: true\n    contents: [fifth]\n",
      ["tool/2.0.0/test/goss.yaml"] = "file:\n  /tool:\n    exists: true\n", data = "fifth\n" })
    local store = world.tmp() .. "/store"
    local function bakery(...)
      return world.bakery { select(1, ...), "-C", dir, "--store", store, "--progress", "plain", select(2, ...) }
    end
    assert.equal(0, bakery("build").code)
    local before = shown "one/app:latest"
    local r = bakery("publish", "--require", "test")
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("app-1-0-0-ubuntu-24-04 (linux/amd64): no test result for image", 1, true), r.stderr)
    assert.equal(before, shown "one/app:latest")
    local results = world.tmp() .. "/results.json"
    assert.equal(0, bakery("test", "--results", results).code)
    r = bakery("publish", "--require", "test", "--require", "scan")
    assert.equal(6, r.code, r.stderr)
    r = bakery("publish", "--require", "test", "--dry-run")
    assert.equal(0, r.code, r.stderr)
    assert.equal(0, bakery("publish", "--require", "test").code)
    assert.not_equal(before, shown "one/app:latest")
    -- another image has no verdict yet, and a bad one is no better
    world.write(dir, { data = "sixth\n" })
    assert.equal(0, bakery("build").code)
    assert.equal(6, bakery("publish", "--require", "test", "--results-from", results).code)
    assert.equal(4, bakery("test").code)
    r = bakery("publish", "--require", "test")
    assert.equal(4, r.code, r.stderr)
    assert.truthy(r.stderr:find("test failed (1 of", 1, true), r.stderr)
    assert.equal(2, bakery("publish", "--require", "taste").code)
  end)

  -- Six tags in each of two repositories per image, moved from one release to the next.
  local function release(dir, store, data)
    world.write(dir, { data = data })
    local r = world.bakery { "build", "-C", dir, "--store", store, "--progress", "plain" }
    assert.equal(0, r.code, r.stderr)
  end
  local function tags_of(dir)
    local out = {}
    for _, list in pairs(json.decode(world.bakery({ "get", "tags", "-C", dir, "--output", "uid" }).stdout)) do
      for _, tag in ipairs(list) do out[#out + 1] = tag:sub(#reg.host + 2) end
    end
    table.sort(out)
    return out
  end
  local function state_of(tags)
    local out = {}
    for _, tag in ipairs(tags) do out[tag] = shown(tag) or "none" end
    return out
  end

  it("killed at any moment is finished by --resume and taken back by --rollback", function()
    local rounds = tonumber(os.getenv "BAKERY_KILL_ROUNDS") or 12
    local dir = project()
    world.write(dir, { ["bakery.yaml"] = (YAML:gsub("platforms: %[linux/amd64, linux/arm64%]", "platforms: [linux/amd64]")):format(reg.host,
      reg.host):gsub("one", "k1"):gsub("two", "k2") })
    local tags, store = tags_of(dir), world.tmp() .. "/store"
    assert.is_true(#tags >= 12)
    local function start() return world.start { "publish", "-C", dir, "--store", store, "--progress", "quiet" } end
    release(dir, store, "0\n")
    local started = loop.now()
    local p = start()
    assert.equal(0, p:wait().code)
    p:close()
    local took = loop.now() - started
    local seen = { untouched = 0, stopped = 0, ended = 0 }
    math.randomseed(4711)
    for round = 1, rounds do
      local old = state_of(tags)
      release(dir, store, round .. "\n")
      p = start()
      loop.sleep(took * (0.3 + 0.7 * math.random()))
      p:kill "SIGKILL"
      local ended = p:wait().code == 0
      p:close()
      local again = round % 2 == 0 and "--resume" or "--rollback"
      local r = world.bakery { "publish", "-C", dir, "--store", store, again, "--progress", "plain" }
      local now = state_of(tags)
      if r.code == 2 then -- there was no journal: before the first tag moved, or after the last
        local moved = 0
        for _, tag in ipairs(tags) do if now[tag] ~= old[tag] then moved = moved + 1 end end
        assert.is_true(moved == 0 or moved == #tags, ("round %d: %d of %d tags moved"):format(round, moved, #tags))
        seen[moved == 0 and "untouched" or "ended"] = seen[moved == 0 and "untouched" or "ended"] + 1
      else
        seen.stopped = seen.stopped + 1
        assert.equal(0, r.code, r.stderr)
        for _, tag in ipairs(tags) do
          if again == "--rollback" then assert.equal(old[tag], now[tag], tag)
          else assert.not_equal(old[tag], now[tag], tag) end
        end
      end
      if ended then assert.equal(2, r.code, "a publish that ended has nothing to recover") end
      -- nothing dangles: what a tag shows can be had
      for _, tag in ipairs(tags) do
        local m = assert(client:resolve(reg.host .. "/" .. tag, { platform = "linux/amd64" }))
        assert.is_true((client:has_blob(reg.host .. "/" .. tag, m.manifest.config)))
      end
    end
    if os.getenv "BAKERY_KILL_ROUNDS" then print(json.encode(seen)) end
  end)

  it("takes back tags that were not there before", function()
    local dir = project()
    world.write(dir, { ["bakery.yaml"] = (YAML:gsub("platforms: %[linux/amd64, linux/arm64%]", "platforms: [linux/amd64]")):format(reg.host,
      reg.host):gsub("one", "n1"):gsub("two", "n2") })
    local store = world.tmp() .. "/store"
    local tags = tags_of(dir)
    release(dir, store, "new\n")
    assert.equal(0, world.bakery({ "publish", "-C", dir, "--store", store }).code)
    for _, tag in ipairs(tags) do assert.is_string(shown(tag)) end
    local journals = fs.glob(world.state .. "/bakery/publish/*/*.json")
    table.sort(journals)
    local id
    for _, file in ipairs(journals) do
      if fs.read(file):find("n1/app", 1, true) then id = fs.basename(file):sub(1, -6) end
    end
    local r = world.bakery { "publish", "-C", dir, "--store", store, "--rollback" }
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("no publish of this project stopped half-way", 1, true), r.stderr)
    r = world.bakery { "publish", "-C", dir, "--store", store, "--rollback", "--journal", id }
    assert.equal(0, r.code, r.stderr)
    for _, tag in ipairs(tags) do assert.is_nil(shown(tag), tag) end
  end)

  it("publishes the others with --keep-going, and nothing without", function()
    local q <close> = registry.quirky()
    local dir, store, keys = project(), world.tmp() .. "/store", world.tmp()
    world.write(dir, { ["bakery.yaml"] = (YAML:gsub("platforms: %[linux/amd64, linux/arm64%]", "platforms: [linux/amd64]")):format(q.host,
      q.host), ["tool/2.0.0/test/goss.yaml"] = "file:\n  /tool:\n    exists: true\n" })
    release(dir, store, "kept going\n")
    local env = { COSIGN_PASSWORD = "pw", BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" }
    assert.equal(0, world.bakery({ "key", "generate", "--output-key-prefix", keys .. "/k" }, { env = env }).code)
    assert.equal(0, world.bakery({ "test", "-C", dir, "--store", store }).code)
    for _, case in ipairs { { 6, { refuse = { { "PUT", "/two/app/manifests/sha256:", { 400, -1 } } } } },
      { 6, { refuse = { { "PUT", "/two/app/manifests/.*sig$", { 400, -1 } } } }, "--sign-key", keys .. "/k.key" },
      { 6, {}, "--require", "test" } } do
      q:set(case[2])
      local function run(code, more)
        local r = world.bakery({ "publish", "-C", dir, "--store", store, "--json", more, table.unpack(case, 3) }, { env = env })
        assert.equal(code, r.code, r.stderr)
        return r.stdout ~= "" and json.decode(r.stdout) or nil
      end
      local function there(name) return client:head(q.host .. "/" .. name) ~= nil end
      run(case[1], "--progress=plain")
      assert.is_false(there "one/app:latest" or there "one/tool:latest")
      local doc = run(5, "--keep-going")
      assert.same({ "failed", "ok" }, { doc.targets[1].status, doc.targets[2].status })
      for _, name in ipairs { "one/tool:latest", "two/tool:2.0.0" } do assert.is_true(there(name), name) end
      for _, name in ipairs { "one/app:latest", "two/app:1.0.0" } do assert.is_false(there(name), name) end
      for _, name in ipairs { "one/tool", "two/tool" } do -- as it was, for the next case
        for _, tag in ipairs(client:tags(q.host .. "/" .. name) or {}) do client:delete(q.host .. "/" .. name .. ":" .. tag) end
      end
    end
  end)

  it("finishes or takes back what a registry that went away between two tags left", function()
    local q <close> = registry.quirky()
    local dir, store = project(), world.tmp() .. "/store"
    world.write(dir, { ["bakery.yaml"] = (YAML:gsub("platforms: %[linux/amd64, linux/arm64%]", "platforms: [linux/amd64]")):format(reg.host,
      q.host):gsub("namespace: one", "namespace: f1"):gsub("namespace: two", "namespace: f2") })
    local tags = {}
    for _, list in pairs(json.decode(world.bakery({ "get", "tags", "-C", dir, "--output", "uid" }).stdout)) do
      table.move(list, 1, #list, #tags + 1, tags)
    end
    local function state()
      local out = {}
      for _, tag in ipairs(tags) do
        local m = client:head(tag)
        out[tag] = m and m.digest or "none"
      end
      return out
    end
    local function run(code, ...)
      local r = world.bakery({ "publish", "-C", dir, "--store", store, "--progress", "plain", ... }, { env = {
        BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" } })
      assert.equal(code, r.code, r.stderr)
      return r.stderr
    end
    release(dir, store, "first\n")
    run(0)
    for round, what in ipairs { "--rollback", "--resume" } do
      local old = state()
      release(dir, store, round .. "\n")
      q:set { refuse = { { "PUT", "/f2/.*/manifests/latest$", { 503, -1 } } } }
      local said = run(6)
      assert.truthy(said:find("some tags may have moved: bakery publish --resume", 1, true), said)
      assert.truthy(said:find(q.host .. "/f2/", 1, true), said)
      q:set { status = { 503, -1 } } -- away altogether: nothing can be mended yet, and nothing gets lost
      run(6, what)
      assert.truthy(run(1):find("an earlier publish", 1, true))
      q:set {}
      run(0, what)
      for tag, digest in pairs(state()) do
        if what == "--rollback" then assert.equal(old[tag], digest, tag) else assert.not_equal(old[tag], digest, tag) end
      end
      run(2, what)
    end
  end)

  it("does not begin a second release over one that stopped", function()
    local dir = project()
    local store = world.tmp() .. "/store"
    world.write(dir, { ["bakery.yaml"] = (YAML:gsub("platforms: %[linux/amd64, linux/arm64%]", "platforms: [linux/amd64]")):format(reg.host,
      "127.0.0.1:1"):gsub("one", "s1"):gsub("two", "s2") })
    release(dir, store, "stuck\n")
    -- the second registry is away: nothing was tagged in the first
    local r = world.bakery({ "publish", "-C", dir, "--store", store }, { env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" } })
    assert.equal(6, r.code, r.stderr)
    assert.is_nil(shown "s1/app:latest")
    r = world.bakery { "publish", "-C", dir, "--store", store, "--resume" }
    assert.equal(2, r.code)
    local key = require("bakery.digest").sha256(fs.realpath(dir)):sub(1, 16)
    local journal_dir = world.state .. "/bakery/publish/" .. key
    assert(fs.mkdir(journal_dir, { parents = true }))
    assert(fs.write(journal_dir .. "/20000101T000000Z-1.json", json.encode { format = 1, id = "20000101T000000Z-1", project = dir,
      state = "setting", steps = json.array {} }))
    for _, args in ipairs { { "publish" }, { "build", "--push" } } do
      r = world.bakery { args[1], "-C", dir, "--store", store, args[2] }
      assert.equal(1, r.code)
      assert.truthy(r.stderr:find("an earlier publish (20000101T000000Z-1) stopped", 1, true), r.stderr)
    end
    assert(fs.write(journal_dir .. "/20000101T000000Z-1.json", "rubbish"))
    r = world.bakery { "publish", "-C", dir, "--store", store, "--resume" }
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("not a journal of bakery publish", 1, true), r.stderr)
  end)
end)
