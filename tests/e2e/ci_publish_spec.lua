--- `ci publish` over images that were pushed by digest: what the index is made of, trouble with sources and
--- registries, order of what is sent, gates, and what a release that stopped leaves.
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local pushed = require "lib.pushed"
local registry = require "lib.registry"
local world = require "lib.world"

local YAML = [[
repository:
  url: https://example.com/project
  vendor: Example
registries:
  - {host: "%s", namespace: one}
  - {host: "%s", namespace: two}
images:
  - name: app
    versions: [{name: 1.0.0, latest: true, os: [{name: Ubuntu 24.04, platforms: [%s]}]}]
  - name: tool
    versions: [{name: 2.0.0, latest: true, os: [{name: Ubuntu 24.04, platforms: [%s]}]}]
]]
local APP, TOOL = "app-1-0-0-ubuntu-24-04", "tool-2-0-0-ubuntu-24-04"
local CREATED = "org.opencontainers.image.created"

describe("ci publish", function()
  local reg, q, client
  setup(function()
    reg, q = registry.start {}, registry.quirky()
    client = oci.client {}
  end)
  before_each(function() q:set {} end)
  teardown(function()
    reg:stop()
    q:stop()
    world.cleanup()
  end)

  -- A project whose two registries are the given hosts; its platforms.
  local function project(platforms, one, two)
    local dir, list = world.tmp(), table.concat(platforms, ", ")
    world.write(dir, { ["bakery.yaml"] = YAML:format(one or reg.host, two or one or reg.host, list, list) })
    return dir
  end

  local number = 0
  -- An image in the temporary repository of `image`, unlike all others.
  local function source(host, image, platform, o)
    number = number + 1
    o = o or {}
    o.platform, o.layers = platform, { { ["n" .. number] = "x" } }
    local m = pushed.push(client, ("%s/temp/%s/tmp"):format(host, image), o)
    m.repository = ("%s/temp/%s/tmp"):format(host, image)
    return m
  end

  local function entry(m, created, platform)
    return { ["image.name"] = m.repository, ["containerimage.digest"] = m.digest, ["containerimage.descriptor"] = {
      digest = m.digest, mediaType = m.media_type, size = m.size, annotations = { [CREATED] = created or "2026-01-02T00:00:00Z" },
      platform = platform ~= false and (platform or m.platform) or nil } }
  end

  local function metadata(dir, name, doc)
    assert(fs.write(dir .. "/" .. name, type(doc) == "string" and doc or json.encode(doc)))
    return dir .. "/" .. name
  end

  local function publish(dir, files, host, ...)
    local cmd = { "ci", "publish", "-C", dir, "--temp-registry", host .. "/temp", "--json", "--progress", "plain", "--wait", "0" }
    for _, list in ipairs { files, { ... } } do table.move(list, 1, #list, #cmd + 1, cmd) end
    return world.bakery(cmd, { env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "2", BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF = "0.02" } })
  end

  local function recover(dir, what, ...)
    return world.bakery({ "publish", "-C", dir, what, "--store", world.tmp() .. "/store", "--progress", "plain", ... },
      { env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "2", BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF = "0.02" } })
  end

  local function shown(ref)
    local m, err = client:manifest(ref)
    if m then return m.digest, json.decode(m.raw), m end
    assert.equal("oci.not_found", err.code, tostring(err))
  end

  local function count(text, part)
    local n, at = 0, 1
    while true do
      local from, to = text:find(part, at, true)
      if not from then return n end
      n, at = n + 1, to + 1
    end
  end

  it("puts the labels on the index, keeps those of the manifests, and names every variant", function()
    local dir = project { "linux/amd64", "linux/arm64" }
    local files, want = {}, {}
    for i, platform in ipairs { "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8" } do
      local m = source(reg.host, "app", platform, { annotations = { ["org.opencontainers.image.title"] = "app " .. i } })
      files[i], want[m.digest] = metadata(dir, i .. ".json", { [APP] = entry(m, "2026-01-0" .. i .. "T00:00:00Z") }), m
    end
    local r = publish(dir, files, reg.host)
    assert.equal(0, r.code, r.stderr)
    local _, index = shown(reg.host .. "/two/app:latest")
    assert.equal(4, #index.manifests)
    for _, d in ipairs(index.manifests) do
      local m = want[d.digest]
      assert.same({ m.media_type, m.size, m.platform }, { d.mediaType, d.size, d.platform })
      local there = json.decode(assert(client:manifest(reg.host .. "/two/app@" .. d.digest)).raw)
      assert.equal(m.doc.annotations["org.opencontainers.image.title"], there.annotations["org.opencontainers.image.title"])
    end
    local plan = json.decode(world.bakery({ "build", "-C", dir, "--plan" }).stdout)
    for name, value in pairs(plan.target[APP].labels) do
      if name ~= CREATED then assert.equal(value, index.annotations[name], name) end
    end
    assert.equal("2026-01-04T00:00:00Z", index.annotations[CREATED]) -- of the newest source
  end)

  it("makes a Docker manifest list of Docker manifests, and mixes nothing", function()
    local dir = project { "linux/amd64", "linux/arm64" }
    local amd, arm = source(reg.host, "app", "linux/amd64", { docker = true }), source(reg.host, "app", "linux/arm64", { docker = true })
    local files = { metadata(dir, "a.json", { [APP] = entry(amd) }), metadata(dir, "b.json", { [APP] = entry(arm) }) }
    local r = publish(dir, files, reg.host)
    assert.equal(0, r.code, r.stderr)
    local _, index, m = shown(reg.host .. "/one/app:latest")
    assert.same({ pushed.DOCKER_LIST, pushed.DOCKER_LIST }, { index.mediaType, m.media_type })
    assert.is_nil(index.annotations)
    for _, d in ipairs(index.manifests) do assert.equal(pushed.DOCKER_MANIFEST, d.mediaType) end
    -- A runner that pushed a list of its own gives what is in it.
    local list = pushed.push_index(client, amd.repository, nil, { amd, arm }, { docker = true })
    list.repository = amd.repository
    r = publish(dir, { metadata(dir, "l.json", { [APP] = entry(list, nil, false) }) }, reg.host)
    assert.equal(0, r.code, r.stderr)
    local again = select(2, shown(reg.host .. "/one/app:latest")).manifests
    assert.same({ amd.digest, arm.digest }, { again[1].digest, again[2].digest })
    local before = shown(reg.host .. "/one/app:latest")
    metadata(dir, "b.json", { [APP] = entry(source(reg.host, "app", "linux/arm64")) })
    r = publish(dir, files, reg.host)
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("mix OCI and Docker manifests", 1, true), r.stderr)
    assert.equal(before, shown(reg.host .. "/one/app:latest"))
  end)

  it("takes the newest image of a platform, with what is about it, and nothing that is about another", function()
    local dir = project { "linux/amd64", "linux/arm64" }
    local repo = reg.host .. "/temp/app/tmp"
    local list, _, arm, att = pushed.multi(client, repo, nil, "older")
    list.repository = repo
    local newer, oldest = source(reg.host, "app", "linux/amd64"), source(reg.host, "app", "linux/amd64")
    local about_arm = pushed.push(client, repo, { platform = "unknown/unknown", artifact_type = "application/x", blobs = { "arm" } })
    about_arm.entry_annotations = { ["vnd.docker.reference.digest"] = arm.digest }
    local more = pushed.push_index(client, repo, nil, { arm, about_arm })
    more.repository = repo
    local files = { metadata(dir, "1.json", { [APP] = entry(newer, "2026-03-01T00:00:00Z") }),
      metadata(dir, "2.json", { [APP] = entry(list, "2026-02-01T00:00:00Z", false), ["buildx.build.warnings"] = json.array {} }),
      metadata(dir, "3.json", { [APP] = entry(oldest, "2026-01-01T00:00:00Z"), other = 5, ["no-such-target"] = entry(oldest) }),
      metadata(dir, "4.json", { [APP] = entry(more, "2026-01-15T00:00:00Z", false) }) }
    local r = publish(dir, files, reg.host)
    assert.equal(0, r.code, r.stderr)
    local _, index = shown(reg.host .. "/one/app:latest")
    local digests = {}
    for i, d in ipairs(index.manifests) do digests[i] = d.digest end
    -- att is about the amd64 image that is not the newest; arm comes twice, and once into the index
    assert.same({ newer.digest, arm.digest, about_arm.digest }, digests, att.digest)
    -- whatever the order of the files
    local digest = shown(reg.host .. "/one/app:latest")
    r = publish(dir, { files[4], files[3], files[2], files[1] }, reg.host)
    assert.equal(0, r.code, r.stderr)
    assert.equal(digest, shown(reg.host .. "/one/app:latest"))
  end)

  it("looks platforms up that an index does not name, and refuses what it cannot read", function()
    local dir = project { "linux/amd64" }
    local m = source(reg.host, "app", "linux/amd64")
    local bare = pushed.push_index(client, m.repository, nil, { { media_type = m.media_type, digest = m.digest, size = m.size } })
    bare.repository = m.repository
    local file = metadata(dir, "m.json", { [APP] = entry(bare, nil, false) })
    assert.equal(0, publish(dir, { file }, reg.host).code)
    local before, index = shown(reg.host .. "/one/app:latest")
    assert.equal("amd64", index.manifests[1].platform.architecture)
    local q_repo = q.host .. "/temp/app/tmp"
    local bad = { { "malformed index: entry 1 is no descriptor", { manifests = json.array { 7 } } },
      { "malformed index: entry 1 is no descriptor", { manifests = json.array { { digest = "sha256:x", size = 1 } } } },
      { "malformed index: no list of manifests", { manifests = 3 } },
      { "unexpected type", { manifests = json.array { { mediaType = pushed.INDEX, digest = m.digest, size = 1,
        platform = { os = "linux", architecture = "amd64" } } } } } }
    for _, case in ipairs(bad) do
      case[2].schemaVersion, case[2].mediaType = 2, pushed.INDEX
      local raw = json.encode(case[2])
      local top = assert(client:push_manifest(q_repo, pushed.desc(raw).digest, raw, pushed.INDEX))
      top.repository, top.media_type = q_repo, pushed.INDEX
      metadata(dir, "m.json", { [APP] = entry(top, nil, false) })
      local r = publish(dir, { file }, q.host)
      assert.equal(6, r.code, r.stderr)
      assert.truthy(r.stderr:find(case[1], 1, true), r.stderr)
      assert.is_nil(r.stderr:find("traceback", 1, true))
    end
    local artifact = pushed.push(client, m.repository, { artifact_type = "application/x", blobs = { "a" } })
    artifact.repository = m.repository
    metadata(dir, "m.json", { [APP] = entry(artifact) })
    local r = publish(dir, { file }, reg.host)
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("has no platform", 1, true), r.stderr)
    assert.equal(before, shown(reg.host .. "/one/app:latest"))
  end)

  it("takes along what refers to the images, by the API's rules and older cosign's tags", function()
    local dir = project { "linux/amd64", "linux/arm64" }
    local files, images = {}, {}
    for i, platform in ipairs { "linux/amd64", "linux/arm64" } do
      local m = source(reg.host, "app", platform)
      local sbom = pushed.push(client, m.repository, { artifact_type = "application/spdx+json", blobs = { "sbom " .. i }, subject = m })
      pushed.push(client, m.repository, { artifact_type = "application/x.sig", blobs = { "of sbom " .. i }, subject = sbom })
      for _, suffix in ipairs { ".sig", ".att" } do
        pushed.push(client, m.repository, { tag = oci.fallback_tag(m.digest) .. suffix, layers = { { s = i .. suffix } } })
      end
      files[i], images[i] = metadata(dir, i .. ".json", { [APP] = entry(m) }), m
    end
    local r = publish(dir, files, reg.host)
    assert.equal(0, r.code, r.stderr)
    for _, repo in ipairs { "/one/app", "/two/app" } do
      for _, m in ipairs(images) do
        local sboms = assert(client:referrers(reg.host .. repo .. "@" .. m.digest))
        assert.same({ 1, "application/spdx+json" }, { #sboms, sboms[1].artifactType })
        assert.equal(1, #assert(client:referrers(reg.host .. repo .. "@" .. sboms[1].digest)))
        for _, suffix in ipairs { ".sig", ".att" } do
          assert.is_string(shown(("%s%s:%s%s"):format(reg.host, repo, oci.fallback_tag(m.digest), suffix)))
        end
      end
    end
  end)

  it("names every file that is broken, and says what was left out", function()
    local dir = project { "linux/amd64" }
    local good = metadata(dir, "good.json", { [APP] = entry(source(reg.host, "app", "linux/amd64")) })
    local r = publish(dir, { good, metadata(dir, "cut.json", '{"' .. APP .. '": {"image.name": "x'), metadata(dir, "empty.json", ""),
      metadata(dir, "list.json", "[1]"), dir .. "/missing.json" }, reg.host)
    assert.equal(2, r.code, r.stderr)
    for _, name in ipairs { "cut.json", "empty.json", "list.json", "missing.json" } do
      assert.truthy(r.stderr:find(name, 1, true), name .. ": " .. r.stderr)
    end
    assert.is_nil(r.stderr:find("good.json", 1, true), r.stderr)
    for text, code in pairs { ["sha256:zz"] = 2, ["latest"] = 2 } do
      r = publish(dir, { metadata(dir, "odd.json", { [APP] = { ["image.name"] = "x/y", ["containerimage.digest"] = text } }) }, reg.host)
      assert.equal(code, r.code, r.stderr)
      assert.truthy(r.stderr:find(("metadata of %s: '%s' is no digest"):format(APP, text), 1, true), r.stderr)
    end
    r = publish(dir, { good, metadata(dir, "unpushed.json", { [TOOL] = { ["image.name"] = "x/y", ["containerimage.digest"] = 5 } }) },
      reg.host)
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find(TOOL .. ": left out, its metadata names nothing that was pushed", 1, true), r.stderr)
    assert.equal(1, #json.decode(r.stdout).targets)
  end)

  it("says once what is wrong with a registry, and which targets need it", function()
    local dir = project { "linux/amd64" }
    local file = metadata(dir, "m.json", { [APP] = entry(source(q.host, "app", "linux/amd64")),
      [TOOL] = entry(source(q.host, "tool", "linux/amd64")) })
    local needed = "also needed by " .. TOOL
    local function once(r, code, message)
      assert.equal(code, r.code, r.stderr)
      assert.equal(1, count(r.stderr, message), r.stderr)
      assert.equal(1, count(r.stderr, needed), r.stderr)
      assert.equal(1, count(r.stderr, "] failed"), r.stderr)
      local out = json.decode(r.stdout).targets
      assert.same({ "failed", "failed" }, { out[1].status, out[2].status })
    end
    once(publish(dir, { file }, "127.0.0.1:1"), 2, ("what was built is in %s/temp, not in --temp-registry 127.0.0.1:1/temp"):format(q.host))
    local before = q:requests()
    assert.is_true(#before > 0)
    q:set { basic = "user:secret" }
    once(publish(dir, { file }, q.host), 6, "not logged in or wrong credentials (HTTP 401)")
    q:set { status = { 503, -1 } }
    once(publish(dir, { file }, q.host), 6, ("registry %s does not give what was built (waited 0 s)"):format(q.host))
    q:set {}
    local text = fs.read(file):gsub("127%.0%.0%.1:" .. q.port, "127.0.0.1:1")
    assert(fs.write(file, text))
    once(publish(dir, { file }, "127.0.0.1:1"), 6, "registry 127.0.0.1:1 does not give what was built")
    -- without waiting, and when only the destination is away
    text = fs.read(file):gsub("127%.0%.0%.1:1/", q.host .. "/")
    assert(fs.write(file, text))
    local away = project({ "linux/amd64" }, q.host, "127.0.0.1:1")
    once(publish(away, { file }, q.host), 6, "copy to 127.0.0.1:1/two/")
    assert.is_nil(shown(q.host .. "/one/app:latest"))
  end)

  it("waits for sources that a registry shows late", function()
    local dir = project({ "linux/amd64" }, q.host)
    local m = source(q.host, "app", "linux/amd64")
    local file = metadata(dir, "m.json", { [APP] = entry(m) })
    q:set { refuse = { { "", "/temp/app/tmp/manifests/" .. m.digest, { 404, 3 } } } }
    local r = publish(dir, { file }, q.host, "--wait", "30")
    assert.equal(0, r.code, r.stderr)
    assert.is_string(shown(q.host .. "/two/app:latest"))
    -- a registry of several copies: what one has seen, or taken, the next does not know yet
    m = source(q.host, "app", "linux/amd64")
    metadata(dir, "m.json", { [APP] = entry(m) })
    q:set { refuse = { { "GET", "/temp/app/tmp/manifests/" .. m.digest, { 404, 2 } }, { "GET", "/temp/app/tmp/blobs/", { 404, 1 } },
      { "GET", "/one/app/manifests/sha256", { 404, 2 } }, { "HEAD", "/two/app/manifests/sha256", { 404, 3 } },
      { "HEAD", "/two/app/manifests/latest", { 404, 3 } } } }
    r = publish(dir, { file }, q.host, "--wait", "30")
    assert.equal(0, r.code, r.stderr)
    local _, index = shown(q.host .. "/two/app:latest")
    assert.equal(m.digest, index.manifests[1].digest)
    q:set { refuse = { { "", "/temp/app/tmp/manifests/" .. m.digest, { 404, -1 } } } }
    r = publish(dir, { file }, q.host, "--wait", "1")
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("is not there (waited 1 s)", 1, true), r.stderr)
  end)

  -- A release whose two registries are both the quirk server, ready to be published.
  local function release(platform)
    local dir = project({ platform or "linux/amd64" }, q.host)
    return dir, { metadata(dir, "m.json", { [APP] = entry(source(q.host, "app", "linux/amd64")),
      [TOOL] = entry(source(q.host, "tool", "linux/amd64")) }) }
  end
  local function tags_of(dir)
    local out = {}
    for _, list in pairs(json.decode(world.bakery({ "get", "tags", "-C", dir, "--output", "uid" }).stdout)) do
      table.move(list, 1, #list, #out + 1, out)
    end
    table.sort(out)
    return out
  end
  local function state_of(tags)
    local out = {}
    for _, tag in ipairs(tags) do out[tag] = shown(tag) or "none" end
    return out
  end

  it("sends each index once to a repository, sets tags when all is there, latest last, and looks at each", function()
    local dir, files = release()
    q:requests()
    local r = publish(dir, files, q.host, "--jobs", "1")
    assert.equal(0, r.code, r.stderr)
    local first_tag, last_digest, puts, latest, heads = nil, 0, {}, {}, {}
    for i, request in ipairs(q:requests()) do
      local repo, what = request.path:match "^/v2/(%w+/%w+)/manifests/(.+)$"
      if repo and request.method == "PUT" then
        if what:find "^sha256:" then
          puts[repo .. what] = (puts[repo .. what] or 0) + 1
          last_digest = i
        else
          first_tag = first_tag or i
          assert.is_nil(latest[repo], repo .. ":" .. what .. " came after latest")
          if what == "latest" then latest[repo] = i end
        end
      elseif repo and request.method == "HEAD" and latest[repo] then
        heads[request.path] = true
      end
    end
    assert.is_true(last_digest < first_tag)
    for what, n in pairs(puts) do assert.equal(1, n, what) end
    for _, repo in ipairs { "one/app", "two/app", "one/tool", "two/tool" } do assert.is_number(latest[repo], repo) end
    for _, tag in ipairs(tags_of(dir)) do -- looked at after the last was set
      assert.is_true(heads["/v2/" .. tag:sub(#q.host + 2):gsub(":", "/manifests/")], tag)
    end
  end)

  it("finishes or takes back a release in which one registry went away between two tags", function()
    local dir, files = release()
    local tags = tags_of(dir)
    assert.equal(0, publish(dir, files, q.host).code)
    for _, what in ipairs { "--resume", "--rollback" } do
      for _, quirk in ipairs { { refuse = { { "PUT", "/two/app/manifests/latest", { 503, -1 } } } },
        { refuse = { { "PUT", "/two/.*/manifests/[^s]", { 503, -1 } } } }, { forget = "/two/tool/manifests/latest" },
        { refuse = { { "HEAD", "/one/tool/manifests/latest", { 500, -1 } } } } } do
        local old = state_of(tags)
        metadata(dir, "m.json", { [APP] = entry(source(q.host, "app", "linux/amd64")),
          [TOOL] = entry(source(q.host, "tool", "linux/amd64")) })
        q:set(quirk)
        local r = publish(dir, files, q.host)
        assert.equal(6, r.code, r.stderr)
        q:set {}
        if r.stderr:find("--resume", 1, true) then
          -- nothing else can be published meanwhile
          assert.equal(1, publish(dir, files, q.host).code)
          q:set(quirk)
          local works = what == "--rollback" and 0 or 6 -- the tag that could not be set shows what it did
          assert.equal(works, recover(dir, what).code)
          q:set {}
          assert.equal(works == 0 and 2 or 0, recover(dir, what).code)
        else -- stopped while looking at what the tags show: none has moved
          assert.same(old, state_of(tags))
          assert.equal(2, recover(dir, what).code)
        end
        local new = state_of(tags)
        for _, tag in ipairs(tags) do
          if what == "--rollback" or not r.stderr:find("--resume", 1, true) then assert.equal(old[tag], new[tag], tag)
          else assert.not_equal(old[tag], new[tag], tag) end
        end
      end
    end
  end)

  it("leaves what somebody else has published since", function()
    local dir, files = release()
    local tags = tags_of(dir)
    assert.equal(0, publish(dir, files, q.host).code)
    for _, what in ipairs { "--resume", "--rollback" } do
      local old = state_of(tags)
      metadata(dir, "m.json", { [APP] = entry(source(q.host, "app", "linux/amd64")),
        [TOOL] = entry(source(q.host, "tool", "linux/amd64")) })
      q:set { refuse = { { "PUT", "/two/app/manifests/latest", { 503, -1 } } } }
      assert.equal(6, publish(dir, files, q.host).code)
      q:set {}
      local theirs = pushed.push(client, q.host .. "/one/tool", { tag = "latest", layers = { { theirs = what } } })
      local r = recover(dir, what)
      assert.equal(0, r.code, r.stderr)
      assert.truthy(r.stderr:find(("/one/tool:latest was set to %s by somebody else since"):format(theirs.digest), 1, true), r.stderr)
      local now = state_of(tags)
      for _, tag in ipairs(tags) do
        if tag == q.host .. "/one/tool:latest" then assert.equal(theirs.digest, now[tag])
        elseif what == "--rollback" then assert.equal(old[tag], now[tag], tag)
        else assert.not_equal(old[tag], now[tag], tag) end
      end
    end
  end)

  it("says when it is stopped between two tags", function()
    local dir, files = release()
    q:set { refuse = { { "PUT", "/two/app/manifests/latest", { 503, -1, { ["Retry-After"] = "30" } } } } }
    q:requests()
    local p = world.start({ "ci", "publish", "-C", dir, "--temp-registry", q.host .. "/temp", files[1], "--progress", "quiet" })
    registry.wait("a refused tag", function()
      for _, request in ipairs(q:requests()) do
        if request.method == "PUT" and request.path == "/v2/two/app/manifests/latest" then return true end
      end
    end)
    for _, again in ipairs { publish(dir, files, q.host), recover(dir, "--resume"), recover(dir, "--rollback") } do
      assert.equal(1, again.code, again.stderr)
      assert.truthy(again.stderr:find(", process " .. p.pid .. ") is setting tags", 1, true), again.stderr)
    end
    p:kill "SIGTERM"
    local said = p:read_line "stderr"
    assert.equal(143, p:wait().code)
    assert.truthy(said:find("terminated; some tags may have moved: bakery publish --resume", 1, true), said)
    p:close()
    q:set {}
    assert.equal(0, recover(dir, "--resume").code)
  end)

  it("of a plan file is taken up again from the project, wherever it was begun", function()
    local dir, files = release()
    local plan = metadata(dir, "plan.json", world.bakery({ "build", "-C", dir, "--plan" }).stdout)
    q:set { refuse = { { "PUT", "/two/app/manifests/latest", { 503, -1 } } } }
    local r = world.bakery({ "ci", "publish", "--plan-file", plan, "--temp-registry", q.host .. "/temp", files[1] },
      { cwd = dir, env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" } })
    assert.equal(6, r.code, r.stderr)
    q:set {}
    assert(fs.mkdir(dir .. "/below"))
    r = world.bakery({ "ci", "publish", "--plan-file", plan, "--temp-registry", q.host .. "/temp", files[1] }, { cwd = dir .. "/below" })
    assert.equal(1, r.code, r.stderr)
    assert.equal(0, recover(dir, "--resume").code)
    assert.is_string(shown(q.host .. "/two/app:latest"))
  end)

  it("publishes only what has a good verdict", function()
    local dir = project({ "linux/amd64", "linux/arm64" }, reg.host)
    local images, files = {}, {}
    for i, platform in ipairs { "linux/amd64", "linux/arm64" } do
      images[i] = source(reg.host, "app", platform)
      files[i] = metadata(dir, i .. ".json", { [APP] = entry(images[i], "2026-05-0" .. i .. "T00:00:00Z") })
    end
    local function results(name, i, tests)
      return metadata(dir, name, { apiVersion = "bakery/v1", kind = "Results", targets = json.array { { uid = APP, status = "ok",
        platforms = json.array { { image_id = images[i].doc.config.digest } }, tests = tests } } })
    end
    local good = json.array { { text = "a", ok = true } }
    local before = shown(reg.host .. "/one/app:latest")
    local amd, arm = results("amd.json", 1, good), results("arm.json", 2, good)
    local cases = { { 6, "(linux/amd64): no test result" , {} }, { 6, "(linux/arm64): no test result", { amd } },
      { 6, "(linux/arm64): no test result", { amd, results("none.json", 2, json.array {}) } },
      { 4, "(linux/arm64): test failed (1 of 2)", { amd, results("bad.json", 2, json.array { { text = "a", ok = true },
        { text = "b", ok = false } }) } } }
    for _, case in ipairs(cases) do
      local args = { "--require", "test" }
      for _, f in ipairs(case[3]) do table.move({ "--results-from", f }, 1, 2, #args + 1, args) end
      local r = publish(dir, files, reg.host, table.unpack(args))
      assert.equal(case[1], r.code, r.stderr)
      assert.truthy(r.stderr:find(case[2], 1, true), r.stderr)
      assert.equal("gates", json.decode(r.stdout).targets[1].phase)
      assert.equal(before, shown(reg.host .. "/one/app:latest"))
    end
    assert.equal(6, publish(dir, files, reg.host, "--require", "scan", "--results-from", amd, "--results-from", arm).code)
    assert.equal(2, publish(dir, files, reg.host, "--require", "taste").code)
    assert.equal(6, publish(dir, files, reg.host, "--require", "test", "--results-from", files[1]).code)
    local r = publish(dir, files, reg.host, "--require", "test", "--results-from", amd, "--results-from", arm)
    assert.equal(0, r.code, r.stderr)
    assert.not_equal(before, shown(reg.host .. "/one/app:latest"))
  end)

  it("goes on without a target that cannot be signed only when told so", function()
    local dir, files = release()
    local keys = require "bakery.sign.keys"
    local key = assert(require "bakery.sign".generate())
    keys.write(key, dir .. "/k", "pw-of-key")
    local old = state_of(tags_of(dir))
    local function signed(...)
      return world.bakery({ "ci", "publish", "-C", dir, "--temp-registry", q.host .. "/temp", files[1], "--sign-key", dir .. "/k.key",
        "--json", ... }, { env = { COSIGN_PASSWORD = "pw-of-key", BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" } })
    end
    q:set { refuse = { { "PUT", "/two/app/manifests/sha256-.*sig$", { 400, -1 } } } }
    local r = signed()
    assert.equal(6, r.code, r.stderr)
    assert.same(old, state_of(tags_of(dir)))
    local out = json.decode(r.stdout).targets
    assert.same({ "failed", "sign" }, { out[1].status, out[1].phase })
    r = signed "--keep-going"
    assert.equal(5, r.code, r.stderr)
    local now = state_of(tags_of(dir))
    for tag, digest in pairs(old) do
      if tag:find("/tool:", 1, true) then assert.not_equal(digest, now[tag], tag) else assert.equal(digest, now[tag], tag) end
    end
    q:set {}
    assert.equal(0, signed().code)
    assert.equal(0, world.bakery({ "verify", q.host .. "/two/app:latest", "--recursive", "--key", dir .. "/k.pub" }).code)
  end)
end)
