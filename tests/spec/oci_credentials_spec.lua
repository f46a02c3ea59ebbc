local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local process = require "bakery.process"
local registry = require "lib.registry"

local VARIABLES = { "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE",
  "DOCKER_AUTH_CONFIG", "PATH", "BAKERY_REGISTRY_HOST", "BAKERY_REGISTRY_USERNAME", "BAKERY_REGISTRY_PASSWORD",
  "BAKERY_REGISTRY_RETRY_ATTEMPTS", "BAKERY_REGISTRY_RETRY_MULTIPLIER" }

local function base64(s)
  local p = assert(io.popen("printf %s " .. registry.quote(s) .. " | base64 -w0"))
  local text = p:read("a")
  p:close()
  return text
end

describe("credentials", function()
  local dir, saved

  before_each(function()
    dir, saved = registry.tmpdir(), {}
    for _, name in ipairs(VARIABLES) do
      saved[name] = os.getenv(name) or false
      if name ~= "PATH" then process.setenv(name, nil) end
    end
    process.setenv("HOME", dir)
  end)
  after_each(function()
    for name, value in pairs(saved) do process.setenv(name, value or nil) end
    os.execute("rm -rf " .. dir)
  end)

  local function write(path, value)
    os.execute("mkdir -p " .. (dir .. "/" .. path):match("^(.*)/"))
    registry.write(dir .. "/" .. path, type(value) == "string" and value or json.encode(value))
    return dir .. "/" .. path
  end

  local function helper(name, script)
    local path = write("bin/docker-credential-" .. name, "#!/bin/sh\n" .. script)
    os.execute("chmod 755 " .. path)
    process.setenv("PATH", dir .. "/bin:" .. saved.PATH)
  end

  local function login(user) return { auth = base64(user .. ":pw") } end

  local function who(host, opts)
    local c = assert(oci.client(opts))
    local got, err = c:credentials(host)
    assert.is_nil(err)
    return got and got.username, got and got.source, c:warnings()
  end

  it("are looked for in order", function()
    assert.is_nil((who "r.example"))
    local steps = {
      function() write(".dockercfg", { ["r.example"] = login "dockercfg" }) end,
      function() write(".docker/config.json", { auths = { ["r.example"] = login "docker" } }) end,
      function() write(".config/containers/auth.json", { auths = { ["r.example"] = login "config" } }) end,
      function()
        write("run/containers/auth.json", { auths = { ["r.example"] = login "runtime" } })
        process.setenv("XDG_RUNTIME_DIR", dir .. "/run")
      end,
      function() process.setenv("REGISTRY_AUTH_FILE", write("file.json", { auths = { ["r.example"] = login "file" } })) end,
      function() process.setenv("DOCKER_AUTH_CONFIG", json.encode { auths = { ["r.example"] = login "variable" } }) end,
      function()
        process.setenv("BAKERY_REGISTRY_HOST", "other.example, r.example")
        process.setenv("BAKERY_REGISTRY_USERNAME", "own")
        process.setenv("BAKERY_REGISTRY_PASSWORD", "pw")
      end,
    }
    for i, want in ipairs { "dockercfg", "docker", "config", "runtime", "file", "variable", "own" } do
      steps[i]()
      assert.equal(want, (who "r.example"))
    end
    assert.equal("given", (who("r.example", { auth = { username = "given", password = "x" } })))
    assert.equal("given", (who("r.example", { auth = { ["r.example"] = { username = "given" } } })))
    assert.equal("own", (who("r.example", { auth = { ["else.example"] = { username = "given" } } })))
    assert.is_nil((who("r.example", { auth = false })))
    local extra = write("extra.json", { auths = { ["x.example"] = login "extra" } })
    assert.equal("extra", (who("x.example", { auth_file = extra })))
    assert.is_nil((who "no.example"))
  end)

  it("honour DOCKER_CONFIG and XDG_CONFIG_HOME instead of the default places", function()
    write(".docker/config.json", { auths = { ["r.example"] = login "home" } })
    process.setenv("DOCKER_CONFIG", dir .. "/elsewhere")
    assert.is_nil((who "r.example"))
    write("elsewhere/config.json", { auths = { ["r.example"] = login "elsewhere" } })
    assert.same({ "elsewhere", dir .. "/elsewhere/config.json", {} }, { who "r.example" })
  end)

  it("fit hosts, ports, schemes and the longest path", function()
    write(".docker/config.json", { auths = {
      ["r.example"] = login "host", ["r.example:5000"] = login "port", ["r.example/team"] = login "team",
      ["r.example/team/app"] = login "app", ["https://s.example/v1/"] = login "scheme", ["http://t.example"] = login "plain",
      ["https://index.docker.io/v1/"] = login "hub",
    } })
    for host, want in pairs {
      ["r.example"] = "host", ["r.example:5000"] = "port", ["r.example/team/app"] = "app", ["r.example/team/other"] = "team",
      ["r.example/teams"] = "host", ["r.example/team/app/x"] = "app", ["s.example"] = "scheme", ["t.example"] = "plain",
      ["docker.io"] = "hub", ["docker.io/library/debian"] = "hub",
    } do
      assert.equal(want, (who(host)), host)
    end
  end)

  it("of a registry with several names are those under the name that was asked for", function()
    for _, order in ipairs { { "index.docker.io", "docker.io" }, { "docker.io", "https://index.docker.io/v1/" } } do
      local auths = {}
      for i, key in ipairs(order) do auths[i] = ('"%s":{"auth":"%s"}'):format(key, base64(key:gsub("[^%w]", "") .. ":pw")) end
      write(".docker/config.json", ('{"auths":{%s}}'):format(table.concat(auths, ",")))
      assert.equal("dockerio", (who "docker.io"))
    end
    write(".docker/config.json", '{"auths":{"http://r.example":{"auth":"' .. base64 "url:pw" .. '"},"r.example":{"auth":"'
      .. base64 "plain:pw" .. '"}}}')
    assert.equal("plain", (who "r.example"))
  end)

  it("come from the helpers of registries.conf, in its order", function()
    helper("one", [[read url; case $url in a.example) echo '{"Username":"one-a","Secret":"s"}';; *) echo '{}';; esac]])
    helper("two", [[read url; echo '{"Username":"two","Secret":"s"}']])
    write(".docker/config.json", { auths = { ["a.example"] = login "file-a", ["b.example"] = login "file-b" } })
    local conf = write("r.conf", 'credential-helpers = [ "one", # first\n  "containers-auth.json", "two", ]\n')
    local function with(host) return (who(host, { registries_conf = conf })) end
    assert.same({ "one-a", "file-b", "two" }, { with "a.example", with "b.example", with "c.example" })
    write("r.conf", "credential-helpers = ['two']\n")
    assert.equal("two", with "a.example")
    write("r.conf", "credential-helpers = []\n[x]\ncredential-helpers = 5\n")
    assert.equal("file-a", with "a.example")
  end)

  it("split at the first colon", function()
    local reg <close> = registry.start { auth = "basic", password = "a:b:c" }
    write(".docker/config.json", { auths = { [reg.host] = { auth = base64("user:a:b:c") } } })
    assert.is_true(assert(oci.client {}):ping(reg.host))
    assert.same({ nil, "oci.unauthorized" }, { (function(v, e) return v, e.code end)(
      assert(oci.client { auth = false, retries = 0 }):ping(reg.host)) })
  end)

  it("come from helpers without a shell", function()
    helper("good", [[read url; echo "{\"ServerURL\":\"$url\",\"Username\":\"from-$1-$url\",\"Secret\":\"s\"}"]])
    helper("none", [[echo "credentials not found in native keychain"; exit 1]])
    helper("bad", [[echo "secret text"; exit 3]])
    helper("junk", [[echo "not json"]])
    write(".docker/config.json", { credsStore = "good", credHelpers = { ["n.example"] = "none", ["b.example"] = "bad",
      ["j.example"] = "junk", ["e.example"] = "x; touch " .. dir .. "/evil", ["m.example"] = "missing" },
      auths = { ["b.example"] = login "file", ["m.example"] = login "file" } })
    assert.same({ "from-get-r.example", "credential helper 'good'", {} }, { who "r.example" })
    assert.equal("from-get-https://index.docker.io/v1/", (who "docker.io"))
    assert.is_nil((who "n.example"))
    local user, _, warnings = who "b.example"
    assert.equal("file", user)
    assert.matches("docker%-credential%-bad failed with exit code 3$", warnings[1])
    user, _, warnings = who "m.example"
    assert.equal("file", user)
    assert.matches("docker%-credential%-missing: No such file", warnings[1])
    _, _, warnings = who "j.example"
    assert.matches("docker%-credential%-junk", warnings[1])
    assert.is_nil(table.concat(warnings):find("not json", 1, true))
    assert.matches("docker%-credential%-junk:1:%d+: not JSON$", warnings[1])
    _, _, warnings = who "e.example"
    assert.matches("is not plain", warnings[1])
    assert.is_nil(io.open(dir .. "/evil"))
  end)

  it("from helpers are asked for once", function()
    local reg <close> = registry.start { auth = "basic" }
    helper("count", ([[echo x >> %s/asked; echo '{"Username":"user","Secret":"secret"}']]):format(dir))
    write(".docker/config.json", { credHelpers = { [reg.host] = "count" } })
    local c = assert(oci.client {})
    local tasks = {}
    for i = 1, 6 do tasks[i] = loop.spawn(function() return c:has_blob(reg.host .. "/a", "sha256:" .. ("0"):rep(64)) end) end
    for _, t in ipairs(tasks) do assert.is_true((t:wait())) end
    assert.equal("x\n", registry.read(dir .. "/asked"))
  end)

  it("that are stale do not stop anonymous reading", function()
    local q <close> = registry.quirky()
    write(".docker/config.json", { auths = { [q.host] = login "old" } })
    q:set { basic = "new:pw" }
    local c = assert(oci.client { retries = 0 })
    local _, err = c:resolve(q.host .. "/a:b")
    assert.equal("oci.unauthorized", err.code)
    local sent = {}
    for i, r in ipairs(q:requests()) do if r.path:find("manifests", 1, true) then sent[#sent + 1] = i and r.auth end end
    assert.same({ "", "Basic", "" }, sent)
  end)

  it("in broken files are an error that says where, missing ones are not", function()
    local path = write(".docker/config.json", "{ not json")
    local c = assert(oci.client {})
    local got, err = c:credentials "r.example"
    assert.is_nil(got)
    assert.same({ "usage", true }, { err.class, tostring(err):find(path, 1, true) ~= nil })
    write(".docker/config.json", { auths = { ["r.example"] = { auth = "bm9jb2xvbg==" } } })
    got, err = assert(oci.client {}):credentials "r.example"
    assert.is_nil(got)
    assert.matches('auths%["r.example"%]%.auth', err.message)
    write(".docker/config.json", "")
    assert.is_nil((who "r.example"))
    process.setenv("REGISTRY_AUTH_FILE", dir .. "/missing.json")
    local _, _, warnings = who "r.example"
    assert.matches("missing.json", warnings[1])
  end)

  it("of the environment need a host to go to", function()
    process.setenv("BAKERY_REGISTRY_USERNAME", "u")
    process.setenv("BAKERY_REGISTRY_PASSWORD", "p")
    local user, _, warnings = who "r.example"
    assert.is_nil(user)
    assert.matches("BAKERY_REGISTRY_HOST", warnings[1])
  end)

  it("are where podman puts them for users without a runtime directory", function()
    local place = "/run/containers/" .. process.uid()
    local fs = require "bakery.fs"
    if fs.exists(place .. "/auth.json") then return pending(place .. "/auth.json is somebody's") end
    local had = fs.exists(place)
    if not had and not fs.mkdir(place, { parents = true }) then return pending("needs a writable " .. place) end
    registry.write(place .. "/auth.json", json.encode { auths = { ["r.example"] = login "podman" } })
    local user = who "r.example"
    process.setenv("XDG_RUNTIME_DIR", dir)
    local other = who "r.example"
    os.remove(place .. "/auth.json")
    if not had then os.remove(place) end
    assert.same({ "podman" }, { user, other })
  end)

  it("of odd entries are none", function()
    write(".docker/config.json", { auths = { ["r.example"] = json.object(), ["r.example/other"] = login "other" } })
    assert.is_nil((who "r.example/mine"))
    assert.equal("other", (who "r.example/other"))
    os.execute("rm " .. dir .. "/.docker/config.json && mkdir " .. dir .. "/.docker/config.json")
    assert.is_nil((who "r.example"))
  end)

  it("for Hub's repositories are the nearest ones", function()
    write(".docker/config.json", { auths = { ["docker.io"] = login "top", ["docker.io/vendor"] = login "vendor",
      ["docker.io/library"] = login "library", ["docker.io/library/busybox"] = login "busybox" } })
    for name, want in pairs { ["docker.io/library/busybox"] = "busybox", ["docker.io/library/other"] = "library",
      ["docker.io/vendor/product"] = "vendor", ["docker.io/vendor"] = "vendor", ["docker.io/else/product"] = "top" } do
      assert.same({ name, want }, { name, (who(name)) })
    end
    for _, key in ipairs { "http://r.example/v1/", "http://r.example/v2/", "https://r.example", "r.example/", "R.example" } do
      write(".docker/config.json", { auths = { [key] = login "url" } })
      assert.same({ key, "url" }, { key, (who "r.example/a/b") })
    end
  end)

  it("are never shown", function()
    write(".docker/config.json", { auths = { ["r.example"] = login "u" } })
    local got = assert(oci.client {}):credentials "r.example"
    local keys = {}
    for k in pairs(got) do keys[#keys + 1] = k end
    table.sort(keys)
    assert.same({ "source", "username" }, keys)
  end)

  it("of certs.d are trusted for their registry", function()
    local reg <close> = registry.start { tls = true }
    local place = ".config/containers/certs.d/" .. reg.host .. "/"
    local _, err = assert(oci.client { retries = 0 }):ping(reg.host)
    assert.equal("http.certificate", err.code)
    write(place .. "ca.crt", registry.read(reg.ca))
    assert.is_true(assert(oci.client { retries = 0 }):ping(reg.host))
    write(place .. "client.cert", registry.read(reg.dir .. "/cert.pem"))
    local ok
    ok, err = assert(oci.client { retries = 0 }):ping(reg.host)
    assert.is_nil(ok)
    assert.matches("client.cert needs its partner '.*/client.key': No such file", err.message)
    write(place .. "client.key", registry.read(reg.dir .. "/key.pem"))
    assert.is_true(assert(oci.client { retries = 0 }):ping(reg.host))
  end)

  it("of certs.d are shown to registries that want a certificate", function()
    local q <close> = registry.quirky { tls = true, client = true }
    local place = ".config/containers/certs.d/" .. q.host .. "/"
    write(place .. "ca.crt", registry.read(q.ca))
    local ok, err = assert(oci.client { retries = 0 }):ping(q.host)
    assert.is_nil(ok)
    assert.equal("infra", err.class) -- the server may have hung up before it says why
    assert.matches("GET https://", err.message, 1, true)
    write(place .. "client.cert", registry.read(q.dir .. "/cert.pem"))
    write(place .. "client.key", registry.read(q.dir .. "/key.pem"))
    assert.is_true(assert(oci.client { retries = 0 }):ping(q.host))
    write(place .. "client.key", "not a key")
    ok, err = assert(oci.client { retries = 0 }):ping(q.host)
    assert.is_nil(ok)
    assert.same({ "http.certificate", false }, { err.code, err.retryable })
    assert.matches("GET https://", err.message, 1, true)
  end)

  it("of wrong retry settings give a warning and the default", function()
    process.setenv("BAKERY_REGISTRY_RETRY_ATTEMPTS", "0")
    process.setenv("BAKERY_REGISTRY_RETRY_MULTIPLIER", "x")
    local w = assert(oci.client {}):warnings()
    assert.equal(2, #w)
    assert.matches("BAKERY_REGISTRY_RETRY_ATTEMPTS=0: expected a number from 1 to 100; using 5", w[1], 1, true)
  end)
end)
