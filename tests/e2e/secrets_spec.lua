--- A release from login to retention, with a password, a signing key and build secrets: none of them is on a
--- command line, in what is printed, kept or attached, nor in a core file.
local fs = require "bakery.fs"
local json = require "bakery.json"
local loop = require "bakery.loop"
local process = require "bakery.process"
local registry = require "lib.registry"
local world = require "lib.world"

local LOGIN, KEY, BUILD, ARG = "l0gin-pass-not-for-logs", "key-pass-not-for-logs", "build-s3cret-not-for-logs", "arg-s3cret-not-for-logs"

describe("secrets of a release", function()
  local reg, q, dir, env, needles, seen, watching, watcher
  setup(function()
    reg, q = registry.start { auth = "basic", password = LOGIN }, registry.quirky()
    dir = world.project({ app = "FROM scratch\nCOPY base/ /\nARG API_TOKEN\n"
      .. "RUN --mount=type=secret,id=s test -s /run/secrets/s && echo $(($(wc -c < /run/secrets/s))) > /length\n" },
      { registry = reg.host .. "/team" })
    env = { DOCKER_CONFIG = dir .. "/.docker", HOME = dir, XDG_RUNTIME_DIR = dir, XDG_STATE_HOME = dir .. "/.state",
      COSIGN_PASSWORD = KEY, BUILD_SECRET = BUILD, BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" }
    needles = { KEY, BUILD, ARG, LOGIN, registry.capture("printf %s user:" .. LOGIN .. " | base64 -w0"),
      "BEGIN PRIVATE", "BEGIN EC PRIVATE" }
    seen, watching = {}, true
    watcher = loop.spawn(function() -- every command line there is while we are at work
      while watching do
        for _, path in ipairs(fs.glob "/proc/[0-9]*/cmdline") do
          local f = io.open(path, "rb")
          local text = f and f:read "a" or ""
          if f then f:close() end
          if text:find(world.bin, 1, true) and text:find("\0", 1, true) then seen[text] = true end
        end
        loop.sleep(0.005)
      end
    end)
  end)
  teardown(function()
    watching = false
    watcher:wait()
    reg:stop()
    q:stop()
    world.cleanup()
  end)

  local function hidden(text, where, but)
    for _, needle in ipairs(needles) do
      if needle ~= but then assert.is_nil(text:find(needle, 1, true), where .. " tells " .. needle) end
    end
  end

  local function bakery(code, args, stdin)
    local cmd = table.move(args, 1, #args, 2, { world.bin })
    local r = assert(process.run { cmd = cmd, env = env, stdin = stdin, timeout = 120, cwd = dir })
    hidden(r.stdout .. r.stderr, table.concat(args, " "))
    assert.equal(code, r.code, table.concat(args, " ") .. ": " .. r.stdout .. r.stderr)
    return r.stdout
  end

  local function look_through(where, but)
    local n = 0
    for _, e in ipairs(assert(fs.walk(where))) do
      if e.type == "file" then
        n = n + 1
        hidden(registry.read(where .. "/" .. e.path), e.path, but)
      end
    end
    assert.is_true(n > 0, where)
  end

  it("stay secret on the way", function()
    local store = dir .. "/.store"
    local all = { "--store", store, "--progress", "plain", "-v", "--debug" }
    local function run(code, ...)
      local args = { ... }
      return bakery(code, table.move(all, 1, #all, #args + 1, args))
    end
    bakery(0, { "login", reg.host, "-u", "user", "--password-stdin" }, LOGIN)
    bakery(0, { "key", "generate", "--output-key-prefix", dir .. "/k" })
    run(0, "build", "--secret", "id=s,env=BUILD_SECRET", "--build-arg", "API_TOKEN=" .. "x", "--results", dir .. "/built.json")
    -- an argument is on our own command line when it is given there: here it comes by a plan file
    local plan = bakery(0, { "build", "--plan", "--secret", "id=s,env=BUILD_SECRET" })
    local doc = json.decode(plan)
    doc.target["app-1-0-0"].args = { API_TOKEN = ARG }
    assert(fs.write(dir .. "/plan-with-arg.json", json.encode(doc)))
    run(0, "build", "--plan-file", dir .. "/plan-with-arg.json", "--results", dir .. "/arg.json")
    run(0, "publish", "--sign-key", dir .. "/k.key", "--results", dir .. "/published.json", "--metadata-file", dir .. "/meta.json")
    bakery(0, { "attestations", reg.host .. "/team/app:latest", "--json" })
    -- what is attached to the image is public
    local client = assert(require "bakery.oci".client { auth = { username = "user", password = LOGIN } })
    for _, d in ipairs(assert(client:referrers(reg.host .. "/team/app@" .. client:head(reg.host .. "/team/app:latest").digest))) do
      local m = assert(client:manifest(reg.host .. "/team/app@" .. d.digest))
      hidden(m.raw, d.digest)
      for _, layer in ipairs(json.decode(m.raw).layers) do
        local text = assert(client:blob_data(reg.host .. "/team/app", layer))
        hidden(text, layer.digest)
        local payload = text:match '"payload":"([^"]+)"'
        if payload then hidden(assert(require "bakery.sign".unbase64(payload)), layer.digest) end
      end
    end
    run(0, "build", "--secret", "id=s,env=BUILD_SECRET", "--push", "--temp-registry", reg.host .. "/temp", "--metadata-file", dir .. "/runner.json")
    bakery(0, { "ci", "publish", "--temp-registry", reg.host .. "/temp", "--sign-key", dir .. "/k.key", "--progress", "json",
      dir .. "/runner.json" })
    bakery(0, { "verify", reg.host .. "/team/app:latest", "--key", dir .. "/k.pub", "--recursive", "--json" })
    bakery(0, { "prune", reg.host .. "/team/app", "--keep-last", "1", "--plan-out", dir .. "/prune.json" })
    -- trouble says what is wrong, not with what it was tried
    env.COSIGN_PASSWORD = KEY .. "-wrong"
    run(2, "publish", "--sign-key", dir .. "/k.key")
    env.COSIGN_PASSWORD = KEY
    bakery(0, { "login", q.host, "-u", "user", "--password-stdin", "--no-check" }, LOGIN)
    for _, quirk in ipairs { { status = { 401, -1 } }, { status = { 500, -1, {}, "no" } }, { basic = "user:" .. LOGIN, upload_fail = -1 },
      { token = { realm = "http://" .. q.host .. "/token", service = "s" }, token_401 = -1 } } do
      q:set(quirk)
      bakery(6, { "image", "copy", reg.host .. "/team/app:latest", q.host .. "/x:1", "-v", "--debug" })
    end
    q:set {}
    look_through(dir .. "/.state")
    look_through(store .. "/log", ARG) -- what explain compares: arguments are no secrets, and stay in the image
    for _, name in ipairs { "built", "arg", "published", "meta", "runner", "prune" } do
      hidden(registry.read(dir .. "/" .. name .. ".json"), name)
    end
    hidden(registry.read(dir .. "/k.key"), "k.key")
    local count = 0
    for text in pairs(seen) do
      count = count + 1
      hidden(text, text:gsub("\0", " "))
    end
    assert.is_true(count > 8, "command lines were seen: " .. count)
  end)

  it("leave no core file", function()
    local cores = dir .. "/cores"
    assert(fs.mkdir(cores))
    local shown = registry.capture "cat /proc/sys/kernel/core_pattern"
    if shown:find "[|/]" then return print "skipped: core files do not go to the working directory here" end
    local function dump(...)
      local p = assert(process.spawn { cmd = { "sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", ... }, cwd = cores, env = env })
      return p
    end
    local p = dump("sleep", "60")
    registry.wait("sleep", function() return registry.read("/proc/" .. p.pid .. "/cmdline"):find "^sleep" end)
    p:kill "ABRT"
    p:wait()
    p:close()
    if #fs.list(cores) == 0 then return print "skipped: no program leaves core files here" end
    for _, name in ipairs(fs.list(cores)) do fs.remove(cores .. "/" .. name) end
    q:set {}
    bakery(0, { "login", q.host, "-u", "user", "--password-stdin", "--no-check" }, LOGIN)
    q:set { basic = "user:" .. LOGIN, refuse = { { "", "/v2/x/", { 503, -1, { ["Retry-After"] = "30" } } } } }
    env.BAKERY_REGISTRY_RETRY_ATTEMPTS = "5"
    q:requests()
    p = dump(world.bin, "image", "inspect", q.host .. "/x:1")
    registry.wait("a request with the password", function()
      for _, request in ipairs(q:requests()) do if request.auth == "Basic" then return true end end
    end)
    p:kill "ABRT"
    p:wait()
    p:close()
    assert.same({}, fs.list(cores))
  end)
end)
