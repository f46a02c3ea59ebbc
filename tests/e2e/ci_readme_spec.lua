-- `bakery ci readme` against a local Docker Hub: eligibility, the byte limit, tokens, failures, secrets.
local fs = require "bakery.fs"
local json = require "bakery.json"
local registry = require "lib.registry"
local world = require "lib.world"

local SECRET = "dckr_pat_not-for-logs"

local YAML = [[
repository: {url: https://example.org/r}
registries: [{host: docker.io, namespace: team}, {host: ghcr.io, namespace: team}]
images:
  - name: app
    extraRegistries: [{host: docker.io, namespace: other, repository: renamed}]
    versions:
      - {name: 2.0.0, latest: true, os: [{name: Debian 12}]}
      - {name: 1.0.0, os: [{name: Debian 12}]}
  - name: old
    versions: [{name: 1.0.0, os: [{name: Debian 12}]}]
  - name: mx
    matrix:
      dependencyConstraints: [{dependency: R, constraint: {latest: true}}]
      os: [{name: Debian 12}]
  - name: elsewhere
    overrideRegistries: [{host: ghcr.io, namespace: team}, {host: docker.io}]
    versions: [{name: 1.0.0, latest: true, os: [{name: Debian 12}]}]
  - name: twin
    overrideRegistries: [{host: docker.io, namespace: team, repository: app}]
    versions: [{name: 1.0.0, latest: true, os: [{name: Debian 12}]}]
  - name: silent
    versions: [{name: 1.0.0, latest: true, os: [{name: Debian 12}]}]
]]

describe("ci readme", function()
  local dir, hub
  setup(function()
    hub = { dir = registry.tmpdir() }
    local log = hub.dir .. "/log"
    hub.stop = registry.daemon(("exec python3 tests/lib/hub_server.py %s user %s"):format(registry.quote(hub.dir), SECRET), log)
    hub.port = registry.wait("hub", function() return registry.read(log):match "^(%d+)\n" end)
  end)
  teardown(function()
    hub.stop()
    world.cleanup()
  end)

  local function run(args, env)
    local cmd = { "ci", "readme", "-C", dir }
    for _, a in ipairs(args or {}) do cmd[#cmd + 1] = a end
    local all = { BAKERY_DOCKER_HUB_URL = "http://127.0.0.1:" .. hub.port, DOCKER_HUB_README_USERNAME = "user",
      DOCKER_HUB_README_PASSWORD = SECRET, BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF = "0.01" }
    for k, v in pairs(env or {}) do all[k] = v end
    local r = world.bakery(cmd, { env = all })
    assert.falsy((r.stdout .. r.stderr):find(SECRET, 1, true))
    return r
  end
  local function requests(method)
    local out = {}
    for line in (fs.read(hub.dir .. "/requests.jsonl") or ""):gmatch "[^\n]+" do
      local r = json.decode(line)
      if not method or r.method == method then out[#out + 1] = r end
    end
    return out
  end
  local used = {}
  -- The server counts its lists from its start: earlier requests are filled up.
  local function quirks(q)
    for name in pairs { auth = true, patch = true } do
      used[name] = used[name] or 0
      local list = json.array {}
      for i = 1, used[name] do list[i] = name == "auth" and 200 or json.array { 200, json.object() } end
      for _, v in ipairs(q[name] or {}) do list[#list + 1] = v end
      q[name] = list
    end
    assert(fs.write(hub.dir .. "/quirks.json", json.encode(q)))
  end
  before_each(function()
    dir = world.tmp()
    world.write(dir, { ["bakery.yaml"] = YAML, ["app/README.md"] = "# App ✓\n", ["old/README.md"] = "old", ["mx/README.md"] = "mx",
      ["elsewhere/README.md"] = "e", ["twin/README.md"] = "t" })
    fs.remove(hub.dir .. "/requests.jsonl")
    quirks {}
  end)
  after_each(function()
    used.auth = used.auth + #requests "POST"
    used.patch = used.patch + #requests "PATCH"
  end)

  it("pushes once to each repository, without looking versions up", function()
    local r = run {}
    assert.equal(0, r.code, r.stderr)
    local paths = {}
    for i, q in ipairs(requests "PATCH") do
      paths[i] = q.path
      assert.equal("Bearer token-1", q.auth)
    end
    assert.same({ "/v2/namespaces/other/repositories/renamed", "/v2/namespaces/team/repositories/app",
      "/v2/namespaces/team/repositories/mx" }, paths)
    assert.same({ full_description = "# App ✓\n" }, requests("PATCH")[1].body)
    assert.same({ identifier = "user", secret = SECRET }, requests("POST")[1].body)
    assert.equal(1, #requests "POST")
    assert.truthy(r.stderr:find("3 READMEs pushed", 1, true), r.stderr)
    assert.truthy(r.stderr:find("docker.io/team/app has the README of app; that of twin is left out", 1, true), r.stderr)
    assert.equal("", r.stdout)
  end)

  it("selects", function()
    for _, case in ipairs { { { "--matrix-versions", "exclude" }, 2 }, { { "--matrix-versions", "only" }, 1 },
      { { "--dev-versions", "only" }, 0 }, { { "--image-name", "^mx$" }, 1 } } do
      fs.remove(hub.dir .. "/requests.jsonl")
      local r = run(case[1])
      assert.equal(0, r.code, r.stderr)
      assert.equal(case[2], #requests "PATCH")
      used.auth, used.patch = used.auth + #requests "POST", used.patch + #requests "PATCH"
    end
    fs.remove(hub.dir .. "/requests.jsonl")
  end)

  it("counts bytes of UTF-8, and refuses before it speaks to anyone", function()
    world.write(dir, { ["app/README.md"] = ("é"):rep(12500), ["mx/README.md"] = ("x"):rep(25000), ["old/README.md"] = ("x"):rep(30000) })
    local r = run { "--check" }
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("2 READMEs, none above 25000 bytes", 1, true), r.stderr)
    world.write(dir, { ["app/README.md"] = ("é"):rep(12500) .. "!", ["mx/README.md"] = ("x"):rep(26000) })
    for _, args in ipairs { { "--check" }, {} } do
      r = run(args)
      assert.equal(1, r.code)
      assert.truthy(r.stderr:find("app/README.md: error: 25001 bytes, the limit is 25000: 1 too many", 1, true), r.stderr)
      assert.truthy(r.stderr:find("mx/README.md: error: 26000 bytes", 1, true), r.stderr)
    end
    world.write(dir, { ["app/README.md"] = "\xff", ["mx/README.md"] = "" })
    assert.truthy(run({ "--check" }).stderr:find("not UTF-8", 1, true))
    assert.same({}, requests())
  end)

  it("never publishes what a link leads to outside of the project", function()
    fs.remove(dir .. "/app/README.md")
    assert(fs.symlink("/etc/passwd", dir .. "/app/README.md"))
    for _, args in ipairs { {}, { "--check" }, { "--dry-run" } } do
      local r = run(args)
      assert.equal(1, r.code, r.stderr)
      assert.truthy(r.stderr:find("outside of the project", 1, true), r.stderr)
    end
    fs.remove(dir .. "/app/README.md")
    assert(fs.symlink("../mx/README.md", dir .. "/app/README.md"))
    assert.equal(0, run({ "--check" }).code)
    assert.same({}, requests())
  end)

  it("warns and succeeds without credentials or anything to push", function()
    for _, env in ipairs { { DOCKER_HUB_README_USERNAME = "" }, { DOCKER_HUB_README_PASSWORD = "" } } do
      local r = run({}, env)
      assert.equal(0, r.code)
      assert.truthy(r.stderr:find("No READMEs pushed", 1, true), r.stderr)
    end
    assert.equal("", run({ "-q" }, { DOCKER_HUB_README_USERNAME = "" }).stderr)
    assert.equal(0, run({ "--image-name", "nothing" }).code)
    local r = run { "--dry-run" }
    assert.equal(0, r.code)
    assert.truthy(r.stderr:find("would push app/README.md to docker.io/other/renamed", 1, true), r.stderr)
    assert.same({}, requests())
  end)

  it("makes a new token when the old one is refused", function()
    quirks { life = 2 }
    local r = run {}
    assert.equal(0, r.code, r.stderr)
    assert.equal(2, #requests "POST")
    assert.equal(4, #requests "PATCH")
  end)

  it("makes a new token after ten minutes", function()
    local now, hubs = 0, require "app.ci.hub"
    local policy = { attempts = 1, initial = 0, max = 0, multiplier = 1 }
    local client = hubs.open { url = "http://127.0.0.1:" .. hub.port .. "/", username = "user", password = SECRET,
      now = function() return now end, policy = policy }
    for _, at in ipairs { 0, 599, 600, 1199 } do
      now = at
      assert(client:describe("n s", "a/b", "x"))
    end
    assert.equal(2, #requests "POST")
    assert.equal("/v2/namespaces/n%20s/repositories/a%2Fb", requests("PATCH")[1].path)
  end)

  it("tries again what may pass, reports what does not, and goes on with the others", function()
    quirks { patch = { json.array { 503, json.object() }, json.array { 200, json.object() },
      json.array { 404, json.object() }, json.array { 200, json.object() } }, echo = true }
    local r = run {}
    assert.equal(1, r.code, r.stderr)
    assert.equal(4, #requests "PATCH")
    assert.truthy(r.stderr:find("trying again", 1, true), r.stderr)
    assert.truthy(r.stderr:find("docker.io/team/app: PATCH: Docker Hub answers 404", 1, true), r.stderr)
  end)

  it("waits as long as it is told to, in vain not forever", function()
    quirks { auth = json.array { 429 }, patch = { json.array { 429, { ["Retry-After"] = "1" } } } }
    local began = require "bakery.loop".now()
    local r = run { "--image-name", "mx" }
    assert.equal(0, r.code, r.stderr)
    assert.is_true(require "bakery.loop".now() - began >= 1)
    assert.same({ 2, 2 }, { #requests "POST", #requests "PATCH" })
    assert.truthy(r.stderr:find("Docker Hub answers 429", 1, true), r.stderr)
    used.auth, used.patch = used.auth + 2, used.patch + 2
    fs.remove(hub.dir .. "/requests.jsonl")
    local never = json.array {}
    for i = 1, 6 do never[i] = json.array { 429, json.object() } end
    quirks { patch = never }
    r = run({ "--image-name", "mx" }, { BAKERY_REGISTRY_RETRY_ATTEMPTS = "3" })
    assert.equal(6, r.code, r.stderr)
    assert.equal(3, #requests "PATCH")
  end)

  it("takes pages, redirections and refusals for what they are", function()
    for _, case in ipairs { { { text = "<html>sign in</html>" }, 6, "Docker Hub gave no token" },
      { { patch = { json.array { 302, { Location = "/login" } } } }, 1, "Docker Hub answers 302" },
      { { patch = { json.array { 403, json.object() } } }, 1, "Docker Hub answers 403" },
      { { auth = json.array { 302 } }, 1, "Docker Hub answers 302" } } do
      quirks(case[1])
      local r = run { "--image-name", "mx" }
      assert.equal(case[2], r.code, r.stderr)
      assert.truthy(r.stderr:find(case[3], 1, true), r.stderr)
      used.auth, used.patch = used.auth + #requests "POST", used.patch + #requests "PATCH"
      fs.remove(hub.dir .. "/requests.jsonl")
    end
  end)

  it("sets short descriptions when asked to, none that Docker Hub would cut", function()
    local function described(text)
      world.write(dir, { ["bakery.yaml"] = (YAML:gsub("  %- name: mx\n", "  - name: mx\n    description: " .. text .. "\n")) })
    end
    described(("é"):rep(100))
    assert.equal(0, run({ "--image-name", "mx" }).code)
    assert.equal(0, run({ "--short-description" }).code)
    local bodies = {}
    for i, r in ipairs(requests "PATCH") do bodies[i] = r.body.description or "-" end
    assert.same({ "-", "-", "-", ("é"):rep(100) }, bodies)
    described(("é"):rep(101))
    for _, args in ipairs { { "--short-description" }, { "--short-description", "--check" } } do
      local r = run(args)
      assert.equal(1, r.code)
      assert.truthy(r.stderr:find("the description of mx has 101 characters, the limit is 100: 1 too many", 1, true), r.stderr)
    end
    assert.equal(0, run({ "--check" }).code)
    assert.equal(4, #requests "PATCH")
  end)

  it("says when nobody answers, and never shows the password", function()
    local r = run({}, { BAKERY_DOCKER_HUB_URL = "http://127.0.0.1:1", BAKERY_REGISTRY_RETRY_ATTEMPTS = "2" })
    assert.equal(6, r.code, r.stderr)
    quirks { auth = json.array { 401 }, echo = true }
    r = run({ "--image-name", "mx" })
    assert.equal(1, r.code, r.stderr)
    assert.truthy(r.stderr:find("personal access token", 1, true), r.stderr)
    assert.truthy(r.stderr:find("***", 1, true), r.stderr)
    r = run({ "--image-name", "mx" }, { BAKERY_REGISTRY_RETRY_ATTEMPTS = "zero" })
    assert.truthy(r.stderr:find("BAKERY_REGISTRY_RETRY_ATTEMPTS: 'zero' is ignored", 1, true), r.stderr)
    assert.equal(0, r.code, r.stderr)
  end)
end)
