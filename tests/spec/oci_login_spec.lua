--- Saved credentials: docker's and containers' files, credential helpers.
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local process = require "bakery.process"
local registry = require "lib.registry"

-- A helper that keeps what it is given in files and logs its actions and arguments.
local HELPER = [[#!/bin/sh
dir=$(dirname "$0")/kept
mkdir -p "$dir"
echo "$*" >> "$dir/log"
request=$(cat)
name() { printf %s "$1" | tr -c 'a-zA-Z0-9.' _; }
case $1 in
  store) url=$(printf %s "$request" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
    printf %s "$request" > "$dir/$(name "$url").cred" ;;
  get) f=$dir/$(name "$request").cred
    [ -f "$f" ] || { echo "credentials not found in native keychain"; exit 1; }
    cat "$f" ;;
  erase) rm "$dir/$(name "$request").cred" 2>/dev/null || { echo "no such thing"; exit 2; } ;;
  list) printf '{"listed.example":"lister"}' ;;
  *) exit 3 ;;
esac
]]

local function mode(path) return registry.capture("stat -c %a " .. path) end

describe("logins", function()
  local dir, file, path
  setup(function() path = os.getenv "PATH" end)
  teardown(function() process.setenv("PATH", path) end)
  before_each(function()
    dir = registry.tmpdir()
    file = dir .. "/config.json"
    registry.write(dir .. "/docker-credential-test", HELPER)
    registry.capture("chmod 755 " .. dir .. "/docker-credential-test")
    process.setenv("PATH", dir .. ":" .. path)
  end)
  local function client() return assert(oci.client { auth_file = file }) end
  local function read() return assert(json.decode(registry.read(file))) end

  it("go to a file that keeps what else it holds", function()
    registry.write(file, '{"auths":{"old.example":{"auth":"YTpi"}},"HttpHeaders":{"X":"1"},"detachKeys":"ctrl-p"}')
    local c = client()
    assert.equal(file, c:save_login { host = "r.example:5000", username = "me", password = "s:cret" })
    assert.equal(file, c:save_login { host = "docker.io", username = "hub", password = "pw" })
    local doc = read()
    assert.same({ "YTpi", "bWU6czpjcmV0", "aHViOnB3", "1", "ctrl-p" }, { doc.auths["old.example"].auth,
      doc.auths["r.example:5000"].auth, doc.auths["https://index.docker.io/v1/"].auth, doc.HttpHeaders.X, doc.detachKeys })
    assert.equal("600", mode(file))
    assert.same({ source = file, username = "me" }, client():credentials "r.example:5000")
    assert.same({ source = file, username = "hub" }, client():credentials "docker.io")
    assert.equal(file, c:erase_login "r.example:5000")
    assert.is_false(c:erase_login "r.example:5000")
    assert.equal(file, c:erase_login "docker.io")
    assert.same({ "old.example" }, (function(t) local k = {} for n in pairs(t) do k[#k + 1] = n end return k end)(read().auths))
  end)

  it("replace every spelling of the registry", function()
    registry.write(file, '{"auths":{"https://r.example/v2/":{"auth":"YTpi"},"http://r.example":{"auth":"YTpi"},"x.r.example":{}}}')
    assert(client():save_login { host = "r.example", username = "me", password = "pw" })
    local names = {}
    for k in pairs(read().auths) do names[#names + 1] = k end
    table.sort(names)
    assert.same({ "r.example", "x.r.example" }, names)
  end)

  it("make the file and its directory, private", function()
    file = dir .. "/new/deep/config.json"
    assert(client():save_login { host = "r.example", username = "me", password = "pw" })
    assert.same({ "600", "700" }, { mode(file), mode(dir .. "/new/deep") })
  end)

  it("write through a symlink", function()
    registry.write(dir .. "/real.json", "{}")
    registry.capture(("ln -s real.json %s"):format(file))
    assert(client():save_login { host = "r.example", username = "me", password = "pw" })
    assert.equal("symbolic link", registry.capture("stat -c %F " .. file))
    assert.matches("r.example", registry.read(dir .. "/real.json"), 1, true)
  end)

  it("for one repository go to containers' file, where the longest prefix counts", function()
    file = dir .. "/auth.json"
    local c = client()
    assert(c:save_login { host = "r.example", username = "all", password = "pw" })
    assert(c:save_login { host = "r.example/team/app", username = "app", password = "pw" })
    assert.same({ "app", "app", "all" }, { client():credentials("r.example/team/app").username,
      client():credentials("r.example/team/app/sub").username, client():credentials("r.example/team/apple").username })
    assert.equal(file, c:erase_login "r.example/team/app")
    assert.equal("all", client():credentials("r.example/team/app").username)
    file = dir .. "/config.json"
    local ok, err = client():save_login { host = "r.example/team", username = "x", password = "y" }
    assert.same({ nil, "usage" }, { ok, err.class })
  end)

  it("go to the helper that the file names, and not to the file", function()
    registry.write(file, '{"auths":{"r.example":{"auth":"b2xkOnB3"}},"credHelpers":{"r.example":"test"}}')
    local c = client()
    assert.equal("credential helper 'test'", c:save_login { host = "r.example", username = "me", password = 'qu"ote' })
    assert.is_nil(registry.read(file):find("b2xk", 1, true))
    assert.same({ source = "credential helper 'test'", username = "me" }, client():credentials "r.example")
    assert.equal("credential helper 'test'", c:save_login { host = "r.example", identity_token = "idt" })
    assert.is_nil(client():credentials("r.example").username)
    assert.equal("credential helper 'test'", c:erase_login "r.example")
    assert.is_false(c:erase_login "r.example")
    assert.equal("store\nget\nstore\nget\nget\nerase\nget\n", registry.read(dir .. "/kept/log"), "nothing but actions on argv")
    registry.write(file, '{"credsStore":"test","auths":{"plain.example":{"auth":"YTpi"}}}')
    assert.same({ { registry = "listed.example", username = "lister", source = "credential helper 'test'" },
      { registry = "plain.example", username = "a", source = file } }, c:logins())
  end)

  it("say what is wrong without saying what is secret", function()
    for _, case in ipairs {
      { { host = "r.example", username = "me", password = "" }, "oci.login" },
      { { host = "r.example", username = "a:b", password = "hunter2" }, "oci.login" },
      { { host = "not a host", username = "me", password = "hunter2" }, "oci.login" },
      { { host = "r.example", username = "me", password = "hunter2\xff", helper = "test" }, "oci.login" },
      { { host = "r.example", username = "me", password = "hunter2", helper = "absent" }, "ENOENT" },
      { { host = "r.example", username = "me", password = "hunter2", helper = "../test" }, "oci.helper" },
      { { host = "r.example", username = "me", password = "hunter2", text = '{"auths": "hunter2' }, "oci.json" },
      { { host = "r.example", username = "me", password = "hunter2", text = "[]" }, "oci.auth_file" },
    } do
      local login, code = case[1], case[2]
      registry.write(file, login.text or login.helper and json.encode { credsStore = login.helper } or "{}")
      login.helper, login.text = nil, nil
      local before = registry.read(file)
      local ok, err = client():save_login(login)
      assert.is_nil(ok)
      assert.equal(code, err.code, err.message)
      assert.is_nil(tostring(err):find("hunter2", 1, true))
      assert.equal(before, registry.read(file))
    end
    file = dir .. "/docker-credential-test/x/config.json"
    local ok, err = client():save_login { host = "r.example", username = "me", password = "pw" }
    assert.is_nil(ok)
    assert.equal("ENOTDIR", err.code)
  end)

  it("of many processes at once all arrive", function()
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = loop.spawn(function()
        return assert(client():save_login { host = "r" .. i .. ".example", username = "me", password = "pw" })
      end)
    end
    for _, t in ipairs(tasks) do assert.is_true((t:wait())) end
    local n = 0
    for _ in pairs(read().auths) do n = n + 1 end
    assert.equal(20, n)
  end)

  it("that are wrong are noticed although reading needs none", function()
    local q <close> = registry.quirky()
    q:set { token = { realm = "http://" .. q.host .. "/token", service = "s" }, token_401 = -1 }
    local c = assert(oci.client { retries = 0, auth = { username = "u", password = "p" } })
    local ok, err = c:ping(q.host, { strict = true })
    assert.is_nil(ok)
    assert.equal("oci.unauthorized", err.code)
    q:set { token = { realm = "http://" .. q.host .. "/token", service = "s" }, token_401 = 1 }
    assert.is_true(c:ping(q.host))
  end)
end)
