--- `bakery test` and `bakery shell` with few privileges: in a chroot, with one id, with none at all.
local child = require "lib.child"
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local process = require "bakery.process"
local world = require "lib.world"

local APP = "FROM scratch\nCOPY base/ /\nENV PATH=/bin GREETING=hello\nWORKDIR /srv\nCOPY --chown=app:staff one /srv/file\nUSER %s\n"

local GOSS = [[
file:
  /srv/file:
    exists: true
    owner: app
    group: staff
    contains: ["content"]
command:
  echo $GREETING; cat file; rm -f /srv/gone; echo x > /tmp/own && cat /tmp/own:
    exit-status: 0
    stdout: ["hello", "content", "x"]
  test -e /tmp/own:
    exit-status: 1
  sleep 30:
    timeout: 300
    exit-status: 0
]]

local NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups "
local TIERS = {
  F = { isolation = "chroot", prefix = "" },
  E = { isolation = "rootless-single", prefix = NOBODY },
  G = { isolation = "copy-only", prefix = NOBODY },
}

describe("commands in images", function()
  local dir, bin, homes = nil, nil, {}
  local ready = process.uid() == 0 and process.which "setpriv"

  setup(function()
    dir = world.project { app = APP:format "app", plain = APP:format "root" }
    for _, name in ipairs { "app", "plain" } do world.write(dir, { [name .. "/1.0.0/test/goss.yaml"] = GOSS }) end
    world.write(dir, { one = "content\n" })
    bin = world.tmp()
    assert(fs.copy(world.bin, bin .. "/bakery"))
    for _, path in ipairs { dir, dir .. "/base", bin, bin .. "/bakery" } do fs.chmod(path, 493) end
  end)
  teardown(world.cleanup)

  local function line(tier, words)
    local home = homes[tier]
    local out = { TIERS[tier].prefix .. bin .. "/bakery", words[1], "-C", dir, "--store", home .. "/store" }
    if words[1] ~= "shell" then table.move({ "--results", home .. "/results", "--progress", "plain" }, 1, 4, #out + 1, out) end
    for i = 2, #words do out[#out + 1] = child.quote(words[i]) end
    return table.concat(out, " ")
  end
  local function env(tier)
    return { HOME = homes[tier], XDG_STATE_HOME = homes[tier], NO_COLOR = "1", CI = "", BAKERY_ROOT = os.getenv "BAKERY_ROOT", TERM = "xterm",
      BAKERY_ISOLATION = TIERS[tier].isolation }
  end
  local function bakery(tier, words, stdin)
    return assert(process.run { cmd = { "sh", "-c", line(tier, words) }, env = env(tier), timeout = 60, stdin = stdin })
  end
  local function built(tier)
    homes[tier] = world.tmp()
    if tier ~= "F" then world.run { "chown", "65534:65534", homes[tier] } end
    local r = bakery(tier, { "build" })
    assert.equal(0, r.code, r.stderr)
  end
  local function clean(tier)
    assert.same({}, fs.list(homes[tier] .. "/store/tmp"))
    for _, pid in ipairs(fs.list "/proc") do
      local text = pid:match "^%d+$" and fs.read("/proc/" .. pid .. "/cmdline")
      assert.falsy(text and text:find("sleep\0" .. "4711", 1, true))
    end
  end

  for _, tier in ipairs { "F", "E" } do
    it("run in tier " .. tier, function()
      if not ready then return pending "needs root and setpriv" end
      built(tier)
      local r = bakery(tier, { "shell", "plain-1-0-0", "--", "sh", "-c",
        "id -u; pwd; cat file; echo $GREETING; echo y > /srv/file; rm /etc/group; (sleep 4711 &); exit 7" })
      assert.equal(7, r.code, r.stderr)
      assert.equal("0\n/srv\ncontent\nhello\n", r.stdout)
      assert.equal("", r.stderr)
      clean(tier)
      r = bakery(tier, { "shell", "plain-1-0-0" }, "cat file; ls /etc/group; exit 4\n")
      assert.equal("content\n/etc/group\n", r.stdout, r.stderr)
      assert.equal(4, r.code)
      r = bakery(tier, { "shell", "plain-1-0-0", "--", "no-such-program" })
      assert.truthy(r.stderr:find("command not found: 'no-such-program'", 1, true), r.stderr)
      -- Another user: honoured, or said.
      r = bakery(tier, { "shell", "app-1-0-0", "--", "id", "-u" })
      assert.equal(tier == "F" and "1000\n" or "0\n", r.stdout, r.stderr)
      local said = r.stderr:find("tier E (rootless-single): there is one id only: the command runs as root of its sandbox, not as "
        .. "user 1000", 1, true)
      assert.equal(tier == "E", said ~= nil, r.stderr)
      clean(tier)
    end)

    it("have a terminal in tier " .. tier, function()
      if not ready then return pending "needs root and setpriv" end
      if not world.needs "script" then return end
      local r = assert(process.run { cmd = { "script", "-qec", line(tier, { "shell", "plain-1-0-0" }), "/dev/null" }, env = env(tier),
        stdin = "echo $((40+2)); test -t 0 && echo is-a-$TERM; : </dev/tty && echo c-tty; sleep 4711 & exit 5\n", timeout = 60 })
      local out = r.stdout:gsub("\r", "")
      for _, text in ipairs { "\n42\n", "\nis-a-xterm\n", "\nc-tty\n" } do assert.truthy(out:find(text, 1, true), out) end
      assert.equal(5, r.code, out)
      clean(tier)
    end)

    it("check images in tier " .. tier, function()
      if not ready then return pending "needs root and setpriv" end
      local started = loop.now()
      local r = bakery(tier, { "test", "--image-name", "plain" })
      assert.equal(4, r.code, r.stderr .. r.stdout)
      local text = r.stdout .. r.stderr
      for _, good in ipairs { "file /srv/file: owner", "file /srv/file: group", "file /srv/file: contains", "test -e /tmp/own: exit-status" } do
        assert.truthy(text:match("ok%s+[^\n]*" .. good:gsub("%p", "%%%0")), good .. "\n" .. text)
      end
      local _, bad = text:gsub("FAILED", "")
      assert.equal(1, bad, text)
      assert.truthy(text:match "FAILED[^\n]*sleep 30", text)
      assert.is_true(loop.now() - started < 25)
      clean(tier)
    end)
  end

  it("are refused in tier G with the reason", function()
    if not ready then return pending "needs root and setpriv" end
    built "G"
    for _, words in ipairs { { "shell", "app-1-0-0" }, { "test", "--image-name", "app" } } do
      local r = bakery("G", words)
      assert.equal(2, r.code, r.stderr)
      assert.truthy(r.stderr:find("error: running a command in an image is not possible here: tier G (copy-only) was asked for", 1, true),
        r.stderr)
      assert.falsy(r.stderr:find("traceback", 1, true))
    end
    clean "G"
  end)

  it("have no network of their own in a chroot, which is said", function()
    if not ready then return pending "needs root and setpriv" end
    built "F"
    local r = bakery("F", { "shell", "app-1-0-0", "--network", "none", "--", "true" })
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("--network none is not possible in tier F (chroot)", 1, true), r.stderr)
    assert.falsy(r.stderr:find("image:0", 1, true), r.stderr)
  end)
end)
