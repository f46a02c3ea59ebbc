--- `bakery image`, `login`, `logout`: the program against registries and beside other clients.
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local http = require "bakery.http"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local process = require "bakery.process"
local images = require "lib.pushed"
local registry = require "lib.registry"
local world = require "lib.world"

local PEERS = fs.realpath "build/peers/bin"

local function run(args, opts)
  local r = world.bakery(args, opts)
  return r, r.stdout .. r.stderr
end

local function ok(args, opts)
  local r, text = run(args, opts)
  if r.code ~= 0 then error("bakery " .. table.concat(args, " ") .. ": " .. r.code .. "\n" .. text, 2) end
  return r
end

describe("bakery image", function()
  local reg, c, repo
  local n = 0
  setup(function()
    reg = registry.start()
    c = assert(oci.client { auth = false })
  end)
  teardown(function()
    reg:stop()
    world.cleanup()
  end)
  before_each(function()
    n = n + 1
    repo = reg.host .. "/e2e/app" .. n
  end)

  it("inspects, lists, tags and removes", function()
    local index, amd = images.multi(c, repo, "v1", n)
    local r = ok { "image", "inspect", repo .. ":v1" }
    assert.matches(index.digest, r.stdout, 1, true)
    assert.matches("linux/arm64/v8   sha256:", r.stdout, 1, true)
    local doc = assert(json.decode(ok { "image", "inspect", repo .. ":v1", "--platform", "linux/amd64", "--json" }.stdout))
    assert.same({ amd.digest, "image" }, { doc.digest, doc.kind })
    assert.equal(index.raw, ok { "image", "manifest", repo .. ":v1" }.stdout)
    assert.equal(index.digest, json.decode(ok { "image", "manifest", repo .. ":v1", "--json" }.stdout).digest)
    assert.equal(index.digest .. "\n", ok({ "image", "tag", repo .. ":v1", "v2", "w3" }).stdout)
    assert.equal("v1\nv2\nw3\n", ok { "image", "ls", repo }.stdout)
    assert.equal("v1\nv2\n", ok { "image", "ls", repo, "--match", "^v" }.stdout)
    assert.same({ "v1" }, json.decode(ok { "image", "ls", repo, "--limit", "1", "--json" }.stdout))
    assert.matches("v2 " .. index.digest, ok { "image", "ls", repo, "--digests" }.stdout, 1, true)
    assert.matches("e2e/app" .. n .. "\n", ok { "image", "ls", reg.host }.stdout, 1, true)
    assert.matches("would remove", ok { "image", "rm", repo .. ":v2", "--dry-run" }.stderr)
    local refused = run { "image", "rm", repo .. ":v2" }
    assert.equal(9, refused.code)
    assert.matches("--yes", refused.stderr, 1, true)
    assert.equal(9, run({ "image", "rm", repo .. ":v2" }, { env = { CI = "true" } }).code)
    assert.equal("v1\nv2\nw3\n", ok { "image", "ls", repo }.stdout, "nothing was removed")
    assert.equal(1, run({ "image", "rm", repo .. ":v2", repo .. ":none", "--yes" }).code)
    assert.equal("v1\nv2\nw3\n", ok { "image", "ls", repo }.stdout, "all or nothing is looked up first")
    ok { "image", "rm", repo .. ":v2", repo .. ":w3", "--yes" }
    assert.equal("v1\n", ok { "image", "ls", repo }.stdout)
  end)

  it("prints names without what would move the cursor", function()
    local q <close> = registry.quirky()
    q:set { tags_text = '{"name":"a","tags":["b\\u001b[2Jc","d\\ne","f\127g","größe","a"]}' }
    assert.equal("a\nbc\nde\nfg\ngröße\n", ok { "image", "ls", q.host .. "/a" }.stdout)
  end)

  it("copies with progress, exports, imports and compares", function()
    local index, amd = images.multi(c, repo, "v1", n)
    local dir = world.tmp()
    local r = ok { "image", "copy", repo .. ":v1", repo .. "-copy:v1", "oci:" .. dir .. "/lay" }
    assert.matches(repo .. "-copy:v1 " .. index.digest, r.stdout, 1, true)
    assert.matches("0 blobs sent, 7 mounted", r.stderr)
    assert.equal("", ok({ "image", "copy", repo .. ":v1", repo .. "-copy:v2", "-q" }).stderr)
    for line in ok({ "image", "copy", repo .. ":v1", repo .. "-third:v2", "--progress", "json" }).stderr:gmatch "[^\n]+" do
      assert.is_string(assert(json.decode(line)).type)
    end
    local doc = json.decode(ok { "image", "copy", repo .. ":v1", repo .. "-json:v1", "--json", "--dry-run" }.stdout)
    assert.same({ index.digest, 4 }, { doc.digest, doc.destinations[1].manifests })
    assert.equal(1, run({ "image", "inspect", repo .. "-json:v1" }).code)
    ok { "image", "export", repo .. ":v1", "docker-archive:" .. dir .. "/a.tar:x/y:1", "--platform", "linux/amd64" }
    ok { "image", "import", "docker-archive:" .. dir .. "/a.tar", repo .. "-in:v1" }
    ok { "image", "import", "oci:" .. dir .. "/lay:v1", "store:in.example/a:1", "--store", dir .. "/store" }
    assert.matches("in.example/a:1", ok { "store", "ls", "--store", dir .. "/store" }.stdout, 1, true)
    assert.equal(0, run({ "image", "diff", repo .. "@" .. amd.digest, "docker-archive:" .. dir .. "/a.tar", "--no-files" }).code)
    r = run { "image", "diff", repo .. ":v1", repo .. "@" .. json.decode(index.raw).manifests[2].digest, "--platform",
      "linux/amd64", "--exit-code" }
    assert.equal(7, r.code)
    assert.matches("architecture: amd64 → arm64", r.stdout, 1, true)
    assert.matches("~ /bin/tool  content", r.stdout, 1, true)
  end)

  for name, code in pairs { INT = 130, TERM = 143 } do
    it("leaves no upload behind on SIG" .. name, function()
      local from <close> = registry.quirky()
      local to <close> = registry.quirky()
      local noise = {}
      for i = 1, 3000 do noise[i] = digest.sha256(name .. i) end
      images.push(c, from.host .. "/a", { tag = "v1", layers = { { a = table.concat(noise) } } })
      from:set { slow = { 400, 0.3 } }
      local p = assert(process.spawn { cmd = { world.bin, "image", "copy", from.host .. "/a:v1", to.host .. "/b:v1" } })
      local function open() return tonumber(assert(http.get("http://" .. to.host .. "/sessions")).body) end
      registry.wait("an upload", function() return open() > 0 end)
      p:kill(process.signals[name])
      assert.equal(code, p:wait().code)
      assert.equal(0, open())
      to:set {}
      assert.same({}, oci.client({ auth = false }):tags(to.host .. "/b"))
    end)
  end

  it("copies all tags of a repository, or those that match", function()
    local one = images.multi(c, repo, "v1", n)
    local two = images.multi(c, repo, "v2", n + 1000)
    ok { "image", "tag", repo .. ":v1", "latest" }
    local dir = world.tmp()
    local r = ok { "image", "copy", repo, repo .. "-all", "oci:" .. dir .. "/lay", "--all-tags" }
    for tag, m in pairs { v1 = one, latest = one, v2 = two } do
      assert.matches(repo .. "-all:" .. tag .. " " .. m.digest .. "\n", r.stdout, 1, true)
      assert.equal(m.digest, json.decode(ok { "image", "manifest", "oci:" .. dir .. "/lay:" .. tag, "--json" }.stdout).digest)
    end
    assert.equal("latest\nv1\nv2\n", ok { "image", "ls", repo .. "-all" }.stdout)
    local list = json.decode(ok { "image", "copy", "oci:" .. dir .. "/lay", repo .. "-some", "--all-tags", "--match", "^v", "--json" }.stdout)
    assert.same({ "v1", "v2", two.digest }, { list[1].tag, list[2].tag, list[2].digest })
    assert.equal("v1\nv2\n", ok { "image", "ls", repo .. "-some" }.stdout)
    assert.matches("no tag matches", ok { "image", "copy", repo, repo .. "-none", "--all-tags", "--match", "^x" }.stderr)
    for _, args in ipairs { { repo .. ":v1", repo .. "-x", "--all-tags" }, { repo, repo .. "-x:v1", "--all-tags" },
      { repo .. ":v1", repo .. "-x:v1", "--match", "v" }, { repo, repo .. "-x", "--all-tags", "--match", "(" } } do
      assert.equal(2, run({ "image", "copy", table.unpack(args) }).code, table.concat(args, " "))
    end
    assert.equal(1, run({ "image", "copy", repo .. "-missing", repo .. "-x", "--all-tags" }).code)
  end)

  it("says what is wrong", function()
    for _, case in ipairs {
      { { "image", "copy", "a" }, 2, "missing argument" }, { { "image", "copy", "A B", "x" }, 2, "lower case" },
      { { "image", "copy", repo .. ":none", repo .. ":x" }, 1, "not found" },
      { { "image", "inspect", "127.0.0.1:1/a:b" }, 6, "127.0.0.1:1/a:b" },
      { { "image", "export", repo .. ":v1", repo .. ":v2" }, 2, "expected oci:DIR" },
      { { "image", "import", repo .. ":v1", repo .. ":v2" }, 2, "expected oci:DIR" },
      { { "image", "copy", "x", "y", "--all", "--platform", "linux/amd64" }, 2, "exclude" },
      { { "image", "ls", repo, "--match", "(" }, 2, "--match" }, { { "image", "frobnicate" }, 2, "unknown command" },
      { { "image", "inspect", "store:nothing", "--store", world.tmp() .. "/s" }, 1, nil },
    } do
      local r, text = run(case[1], { env = { BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" } })
      assert.equal(case[2], r.code, text)
      if case[3] then assert.matches(case[3], text, 1, true) end
      assert.is_nil(text:find("traceback", 1, true))
    end
  end)

  it("shows referrers", function()
    local m = images.push(c, repo, { tag = "v1", layers = { { a = "1" } } })
    local sig = images.push(c, repo, { artifact_type = "x/sig", subject = m })
    assert.matches("x/sig  " .. sig.digest, ok { "image", "referrers", repo .. ":v1" }.stdout, 1, true)
    assert.same({}, json.decode(ok { "image", "referrers", repo .. ":v1", "--artifact-type", "y", "--json" }.stdout))
  end)

  it("works from scripts, side by side", function()
    images.multi(c, repo, "v1", n)
    local dir = world.tmp()
    world.write(dir, { ["s.lua"] = [[
      local image, task = require "bakery.image", require "bakery.task"
      local done = task.map({ "a", "b", "c" }, 3, function(t) return assert(image.copy(arg[1] .. ":v1", arg[1] .. t .. ":" .. t)) end)
      print(#done, done[1].digest == done[3].digest)
      local ok, err = image.inspect(arg[1] .. ":none")
      print(ok, err.code)
      print(select(2, image.inspect("store:none", { store = arg[2] })).code)]] })
    assert.equal("3\ttrue\nnil\toci.not_found\noci.not_found\n", ok { "lua", dir .. "/s.lua", repo, dir .. "/store" }.stdout
      :gsub("ENOENT", "oci.not_found"))
  end)

  -- Peers read what we wrote and we read what they wrote, in one repository.
  local function with_peer(name, fn)
    it("shares repositories with " .. name, function()
      local path = PEERS and fs.exists(PEERS .. "/" .. name) and PEERS .. "/" .. name or process.which(name)
      if not path then return pending("needs " .. name) end
      local index, amd = images.multi(c, repo, "v1", n)
      ok { "image", "copy", repo .. ":v1", repo .. "-ours:v1" }
      local dir = world.tmp()
      local env = { HOME = dir, DOCKER_CONFIG = dir, XDG_RUNTIME_DIR = dir }
      fn(function(...) return world.run({ path, ... }, { env = env }).stdout end, index, amd, dir)
    end)
  end

  with_peer("skopeo", function(peer, index, _, dir)
    local raw = peer("inspect", "--raw", "--tls-verify=false", "docker://" .. repo .. "-ours:v1")
    assert.equal(index.raw, raw)
    peer("--insecure-policy", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false",
      "docker://" .. repo .. "-ours:v1", "docker://" .. repo .. "-ours:theirs")
    assert.equal(index.digest, json.decode(ok { "image", "inspect", repo .. "-ours:theirs", "--json" }.stdout).digest)
    ok { "image", "export", repo .. ":v1", "docker-archive:" .. dir .. "/a.tar:x/y:1", "--platform", "linux/amd64" }
    peer("--insecure-policy", "copy", "-q", "docker-archive:" .. dir .. "/a.tar:x/y:1", "oci:" .. dir .. "/lay:v1")
    local d = json.decode(ok { "image", "diff", "oci:" .. dir .. "/lay:v1", repo .. ":v1", "--platform", "linux/amd64", "--json" }
      .stdout)
    assert.same({ 0, 0, 0 }, { #d.files.added, #d.files.removed, #d.files.changed })
    peer("--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--override-arch", "amd64", "docker://" .. repo .. "-ours:v1",
      "docker-archive:" .. dir .. "/b.tar:x/y:2")
    ok { "image", "import", "docker-archive:" .. dir .. "/b.tar", repo .. "-skopeo:v1" }
  end)

  with_peer("umoci", function(peer, _, _, dir)
    ok { "image", "export", repo .. ":v1", "oci:" .. dir .. "/lay:v1", "--platform", "linux/amd64" }
    peer("tag", "--image", dir .. "/lay:v1", "v2")
    assert.equal("v1\nv2\n", ok { "image", "ls", "oci:" .. dir .. "/lay" }.stdout)
    peer("unpack", "--rootless", "--image", dir .. "/lay:v2", dir .. "/bundle")
    assert.equal("amd64", fs.read(dir .. "/bundle/rootfs/bin/tool"))
  end)

  with_peer("crane", function(peer, index, amd)
    assert.equal(index.digest .. "\n", peer("digest", "--insecure", repo .. "-ours:v1"))
    peer("validate", "--insecure", "--remote", repo .. "-ours@" .. amd.digest)
    peer("copy", "--insecure", repo .. "-ours:v1", repo .. "-ours:theirs")
    assert.equal("theirs\nv1\n", ok { "image", "ls", repo .. "-ours" }.stdout)
    assert.matches("0 blobs sent", ok { "image", "copy", repo .. "-ours:theirs", repo .. "-again:v1" }.stderr)
    assert.equal("v1\n", peer("ls", "--insecure", repo .. "-again"))
  end)

  with_peer("regctl", function(peer, index, amd, dir)
    peer("registry", "set", "--tls", "disabled", reg.host)
    assert.equal(index.digest .. "\n", peer("image", "digest", repo .. "-ours:v1"))
    peer("artifact", "put", "--artifact-type", "x/theirs", "--subject", repo .. "-ours@" .. amd.digest, "--file-media-type",
      "text/plain", "--file", fs.realpath "Makefile")
    local list = json.decode(ok { "image", "referrers", repo .. "-ours@" .. amd.digest, "--json" }.stdout)
    assert.same({ 1, "x/theirs" }, { #list, list[1].artifactType })
    ok { "image", "copy", repo .. "-ours:v1", repo .. "-ref:v1", "--referrers" }
    ok { "image", "copy", repo .. "-ours:v1", "oci:" .. dir .. "/lay:v1", "--referrers" }
    assert.matches("x/theirs", peer("artifact", "list", repo .. "-ref@" .. amd.digest))
    assert.matches("x/theirs", peer("artifact", "list", "ocidir://" .. dir .. "/lay@" .. amd.digest))
    peer("image", "copy", "--digest-tags", "--referrers", repo .. "-ours:v1", "ocidir://" .. dir .. "/theirs:v1")
    assert.equal(1, #json.decode(ok { "image", "referrers", "oci:" .. dir .. "/theirs@" .. amd.digest, "--json" }.stdout))
  end)

  with_peer("oras", function(peer, index, amd, dir)
    world.write(dir, { ["f.txt"] = "attached" })
    peer("attach", "--plain-http", "--artifact-type", "x/oras", "--disable-path-validation", repo .. "-ours@" .. amd.digest,
      dir .. "/f.txt:text/plain")
    assert.matches("x/oras", ok { "image", "referrers", repo .. "-ours:v1", "--platform", "linux/amd64" }.stdout, 1, true)
    ok { "image", "copy", repo .. "-ours:v1", repo .. "-ref:v1", "--referrers" }
    assert.matches("x/oras", peer("discover", "--plain-http", repo .. "-ref@" .. amd.digest))
    peer("cp", "--from-plain-http", "--to-oci-layout", "-r", repo .. "-ref@" .. amd.digest, dir .. "/lay:v1")
    assert.equal(1, #json.decode(ok { "image", "referrers", "oci:" .. dir .. "/lay:v1", "--json" }.stdout))
    assert.equal(index.digest, oci.check_manifest(index.raw) and index.digest)
  end)
end)

describe("bakery login", function()
  local SECRET = "s3cr3t-Pa55word-of-the-test"
  teardown(world.cleanup)

  for _, how in ipairs { { "htpasswd", { auth = "basic", password = SECRET } }, { "a token service", { auth = "token", password = SECRET } },
    { "htpasswd over TLS", { auth = "basic", tls = true, password = SECRET } } } do
    it("tries and keeps credentials: " .. how[1], function()
      local reg <close> = registry.start(how[2])
      local dir = world.tmp()
      local env = { DOCKER_CONFIG = dir, HOME = dir, XDG_RUNTIME_DIR = dir, BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" }
      local function bakery(args, stdin)
        local cmd = { world.bin }
        for _, a in ipairs(args) do cmd[#cmd + 1] = a end
        if reg.ca then table.move({ "--ca-file", reg.ca }, 1, 2, #cmd + 1, cmd) end
        return assert(process.run { cmd = cmd, env = env, stdin = stdin, timeout = 60 })
      end
      local r = bakery({ "login", reg.host, "-u", "user", "--password-stdin" }, "wrong\n")
      assert.equal(6, r.code)
      assert.is_nil((r.stdout .. r.stderr):find("wrong", 1, true) and (r.stderr):find("wrong\n", 1, true))
      assert.is_false(fs.exists(dir .. "/config.json"))
      r = bakery({ "login", reg.host, "-u", "user", "--password-stdin" }, SECRET .. "\n")
      assert.equal(0, r.code, r.stderr)
      assert.equal(384, assert(fs.stat(dir .. "/config.json")).mode)
      local c = assert(oci.client { auth = { username = "user", password = SECRET }, ca_file = reg.ca })
      images.push(c, reg.host .. "/a/b", { tag = "v1", layers = { { a = "1" } } })
      r = bakery { "image", "ls", reg.host .. "/a/b" }
      assert.equal("v1\n", r.stdout, r.stderr)
      assert.matches(reg.host, bakery({ "login", "--list" }).stdout, 1, true)
      assert.equal(0, bakery({ "logout", reg.host }).code)
      -- The token service lets everybody read.
      assert.equal(how[2].auth == "token" and 0 or 6, bakery({ "image", "ls", reg.host .. "/a/b" }).code)
      assert.matches("not logged in", bakery({ "logout", reg.host }).stderr)
    end)
  end

  it("asks on a terminal, where the password is not shown", function()
    local reg <close> = registry.start { auth = "basic", password = SECRET }
    local dir = world.tmp()
    local env = { DOCKER_CONFIG = dir, HOME = dir, XDG_RUNTIME_DIR = dir, BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" }
    local function typed(...) return world.typed({ ... }, { world.bin, "login", reg.host }, { env = env }) end
    local r = typed({ "Username: ", "user\n" }, { "Password: ", SECRET .. "\n" })
    if not r then return end
    assert.same({ 0, { true, false }, true }, { r.code, r.echo, r.echo_after }, r.output)
    assert.is_nil(r.output:find(SECRET, 1, true))
    assert.matches(reg.host .. " kept in", r.output, 1, true)
    assert.matches(reg.host, registry.read(dir .. "/config.json"), 1, true)
    for answer, code in pairs { ["wrong\n"] = 6, ["\n"] = 2, ["\4"] = 2, ["\3"] = 130, ["begun\3"] = 130 } do
      r = typed({ "Username: ", "user\n" }, { "Password: ", answer })
      assert.same({ answer, code, true }, { answer, r.code, r.echo_after }, r.output)
      assert.is_nil(r.output:find("wrong\r", 1, true) or r.output:find("begun", 1, true))
    end
    assert.equal(130, typed({ "Username: ", "\3" }).code)
  end)

  it("takes no password from the command line or from nowhere", function()
    for _, args in ipairs { { "login", "r.example", "-u", "x", "-p", "y" }, { "login", "r.example", "-u", "x", "--password", "y" },
      { "login", "r.example", "-u", "x" }, { "login", "r.example", "--password-stdin" }, { "login" } } do
      local r = world.bakery(args, { env = { HOME = "/nonexistent" } })
      assert.equal(2, r.code, r.stderr)
    end
    local r = process.run { cmd = { world.bin, "login", "r.example", "-u", "x", "--password-stdin", "--no-check" }, stdin = "\n" }
    assert.equal(2, r.code)
  end)

  it("leaves no core file with what it knows", function()
    local q <close> = registry.quirky()
    q:set { basic = "user:" .. SECRET, status_for = { GET = { 429, -1, { ["Retry-After"] = "60" } } } }
    local dir = world.tmp()
    world.write(dir, { secret = SECRET })
    local script = ([[cd %s; ulimit -c unlimited; export ASAN_OPTIONS="$ASAN_OPTIONS:handle_segv=0"
      DOCKER_CONFIG=. HOME=. %s login %s -u user --password-stdin <secret &
      while ! grep -q /v2/ %s/requests.jsonl; do sleep 0.05; done
      grep 'Max core' /proc/$!/limits; kill -SEGV $!; wait $!; echo $?; ls]]):format(dir, world.bin, q.host, q.dir)
    local r = assert(process.run { cmd = { "sh", "-c", script }, timeout = 60 })
    assert.matches("Max core file size +1 ", r.stdout)
    assert.matches("\n139\nsecret\n$", r.stdout)
  end)

  it("lets no secret out: not on argv, not in output, errors, logs or metadata", function()
    local token <close> = registry.start { auth = "token", password = SECRET }
    local q <close> = registry.quirky()
    local dir = world.tmp()
    local basic = registry.capture("printf %s user:" .. SECRET .. " | base64 -w0")
    local env = { DOCKER_CONFIG = dir, HOME = dir, XDG_RUNTIME_DIR = dir, XDG_STATE_HOME = dir .. "/state",
      BAKERY_REGISTRY_RETRY_ATTEMPTS = "2", BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF = "0.2" }
    local seen = {}
    local function hidden(text, where)
      assert.is_nil(text:find(SECRET, 1, true), where)
      assert.is_nil(text:find(basic, 1, true), where)
      assert.is_nil(text:find("token-%d"), where)
    end
    -- Command lines and environment texts of our processes while they run.
    local watching = true
    local watcher = loop.spawn(function()
      while watching do
        for _, path in ipairs(fs.glob "/proc/[0-9]*/cmdline") do
          local f = io.open(path, "rb")
          local text = f and f:read "a" or ""
          if f then f:close() end
          if text:find(world.bin, 1, true) or text:find("docker-credential", 1, true) then seen[text] = true end
        end
        loop.sleep(0.01)
      end
    end)
    local function bakery(args, stdin)
      local cmd = table.move(args, 1, #args, 2, { world.bin })
      local r = assert(process.run { cmd = cmd, env = env, stdin = stdin, timeout = 60 })
      hidden(r.stdout .. r.stderr, table.concat(args, " "))
      return r
    end
    assert.equal(0, bakery({ "login", token.host, "-u", "user", "--password-stdin" }, SECRET).code)
    local c = assert(oci.client { auth = { username = "user", password = SECRET } })
    images.push(c, token.host .. "/a/b", { tag = "v1", layers = { { a = "1" } } })
    q:set { basic = "user:" .. SECRET }
    assert.equal(0, bakery({ "login", q.host, "-u", "user", "--password-stdin", "--debug", "-v" }, SECRET).code)
    bakery { "image", "copy", token.host .. "/a/b:v1", q.host .. "/x:1", "-v", "--debug" }
    local places = { basic = "user:" .. SECRET, token = nil }
    for _, quirk in ipairs { { status = { 500, -1, {}, "you sent Basic and so on" } }, { upload_fail = -1 }, { html = true },
      { redirect_blobs = "http://" .. q.host }, { location_host = "127.0.0.2:9" }, { wrong_blob = -1 }, { status = { 401, -1 } },
      { token = { realm = "http://" .. q.host .. "/token", service = "s" }, token_401 = -1 } } do
      quirk.basic = not quirk.token and places.basic or nil
      q:set(quirk)
      bakery { "image", "copy", token.host .. "/a/b:v1", q.host .. "/y:1", "-v", "--debug" }
      bakery { "image", "inspect", q.host .. "/x:1", "--json" }
      bakery { "image", "copy", q.host .. "/x:1", "oci:" .. dir .. "/lay:1", "--progress", "json" }
    end
    q:set { basic = "user:" .. SECRET }
    bakery { "login", "--list", "--json" }
    world.write(dir, { ["bin/docker-credential-test"] = "#!/bin/sh\ncat >> " .. dir .. "/kept\n" })
    assert(fs.write(dir .. "/config.json", '{"credsStore":"test"}', { mode = 384 }))
    env.PATH = dir .. "/bin:" .. os.getenv "PATH"
    assert.equal(0, bakery({ "login", q.host, "-u", "user", "--password-stdin" }, SECRET).code)
    assert.matches(SECRET, registry.read(dir .. "/kept"), 1, true)
    hidden(registry.read(dir .. "/config.json"), "config.json")
    watching = false
    watcher:wait()
    local count = 0
    for text in pairs(seen) do
      count = count + 1
      hidden(text, text)
    end
    assert.is_true(count > 5, "command lines were seen: " .. count)
    for _, e in ipairs(fs.walk(dir)) do
      if e.type == "file" and e.path ~= "kept" then hidden(registry.read(dir .. "/" .. e.path), e.path) end
    end
  end)
end)
