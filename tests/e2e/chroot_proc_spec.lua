-- What a RUN in a chroot (tier F, no mounts) is told of /proc, in a container with default privileges.
local world = require "lib.world"
local child = require "lib.child"
local fs = require "bakery.fs"
local process = require "bakery.process"

local ready = process.uid() == 0 and process.which "gcc" and process.which "setpriv"
local DOCKER = "setpriv --bounding-set=-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,"
  .. "+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write"

-- Commands, each of which must succeed.
local BOTH = {
  [[test "$(readlink /proc/self/exe)" = /bin/busybox]], [[test "$(readlink /proc//self/exe/)" = /bin/busybox]],
  [[test "$(readlink /proc/thread-self/exe)" = /bin/busybox]], [[ls -l /proc/self/exe | grep -q -- '-> /bin/busybox$']],
  [[test "$(readlink /proc/self)" -gt 1]], [[test -L /proc/self/exe && test -x /proc/self/exe && test -d /proc/self]],
  [[test "$(cd /tmp && readlink /proc/self/cwd)" = /tmp]], [[test "$(readlink /proc/self/root)" = /]],
  [[grep -q "^Name:.*sh$" /proc/$$/status]], [[test "$(cat /proc/$$/comm)" = sh]], [[grep -q . /proc/self/maps]],
  [[test "$(echo piped | cat /dev/fd/0)" = piped]], [[test "$(echo piped | cat /dev/stdin)" = piped]],
  [[test "$(echo piped | cat /proc/self/fd/0)" = piped]], [[exec 3</etc/passwd; grep -q ^app: /dev/fd/3]],
  [[(echo out >/proc/self/fd/1) | grep -q out]],
  [[sleep 60 & n=0; until grep -q sleep /proc/$!/comm || [ $((n+=1)) = 2000 ]; do :; done; grep -q sleep /proc/$!/comm; r=$?; kill $!; exit $r]],
  [[grep -q '^proc /proc proc' /proc/mounts]], [[grep -q ' /proc .* - proc ' /proc/self/mountinfo]],
  [[test "$(stat -c %d /proc)" != "$(stat -c %d /)"]], [[test "$(stat -c %F /proc/self/fd/1)" != '']],
  [[grep -q ^processor /proc/cpuinfo && grep -q MemTotal /proc/meminfo]], [[echo 7 >/proc/self/oom_score_adj]],
  -- and what must not be had
  [[! cat /proc/$PPID/environ]], [[! test -e /proc/$(sed -n "s/^PPid:[^0-9]*//p" /proc/$PPID/status)]], [[! test -e /proc/1]],
  [[! ls /proc/self/fd]], [[! ls /proc/self/task]],
  [[! cat /proc/self/fd/../../1/comm]], [[! cat /proc/self/root/etc/passwd]], [[! cat /proc/self/cwd/etc/passwd]],
  [[! test -e /proc/self/mem]], [[! test -e /proc/self/../1]], [[! cat /proc/self]], [[! test -e /proc/self/nothing]],
  [[! test -e /proc/99999999]], [[! test -e /proc/self/fd/77]], [[! test -e /proc/selfish/exe]], [[! readlink /proc/meminfo]],
}
local APP = { [[! (echo x >> /proc/self/fd/3) 3</etc/passwd]], [[! (echo x > /dev/fd/3) 3</etc/passwd]], [[test "$(id -u)" = 1000]] }

describe("/proc in a chroot", function()
  local dir, bin, confine
  setup(function()
    if not ready then return end
    dir = world.project { app = "FROM scratch\n" }
    bin = world.tmp()
    confine = bin .. "/confine"
    assert(fs.copy(world.bin, bin .. "/bakery"))
    fs.chmod(bin .. "/bakery", 493)
    world.run { "gcc", "-D_GNU_SOURCE", "-o", confine, "tests/lib/confine.c" }
    for _, path in ipairs { dir, dir .. "/base", bin } do fs.chmod(path, 493) end
  end)
  teardown(function()
    world.cleanup()
    child.clean()
  end)

  local function build(words, text, ...)
    local home = world.tmp()
    world.write(dir, { ["app/1.0.0/Containerfile"] = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\n" .. text })
    local cmd = { bin .. "/bakery", "build", "-v", "-C", dir, "--store", home .. "/store", "--results", home .. "/results", "--progress",
      "plain", "--isolation", "auto,proc", ... }
    for i, w in ipairs(cmd) do cmd[i] = child.quote(w) end
    local r = process.run { cmd = { "sh", "-c", ("%s %s %s %s"):format(confine, words, DOCKER, table.concat(cmd, " ")) }, timeout = 300,
      env = { HOME = home, XDG_STATE_HOME = home, BAKERY_ROOT = os.getenv "BAKERY_ROOT", NO_COLOR = "1", BAKERY_ISOLATION = "" } }
    assert.truthy(r.stderr:find("isolation: tier F ", 1, true), r.stderr)
    assert.same({}, fs.list(home .. "/store/tmp"))
    return r
  end

  local function all(user, lists, ...)
    local lines = {}
    for _, list in ipairs(lists) do
      for _, command in ipairs(list) do
        -- A shell of its own: what one command opens is not there for the next.
        lines[#lines + 1] = ("sh <<'END' || { echo 'WRONG: %s'; bad=1; }\n%s\nEND\n"):format(command:gsub("'", '"'), command)
      end
    end
    local r = build("unshare,mount", ("USER %s\nRUN <<'ALL'\n%stest -z \"$bad\"\nALL\n"):format(user, table.concat(lines)), ...)
    assert.equal(0, r.code, r.stderr)
  end

  -- Whether the kernel lets somebody answer calls: found out once.
  local answers
  local function case(name, fn)
    it(name, ready and function()
      if answers == nil then answers = build("unshare,mount", "RUN test -e /proc/self\n").code == 0 end
      if not answers and fs.read "/proc/sys/kernel/seccomp/actions_avail":find "user_notif" then error "no answer about /proc" end
      if not answers then return pending "needs seccomp's user notification" end
      fn()
    end or function() pending "skipped: needs root, gcc and setpriv" end)
  end

  case("tells root of its own processes and no others", function() all("root", { BOTH }) end)
  case("tells another user, who gains nothing by it", function() all("app", { BOTH, APP }) end)
  case("is there with a strict filter too", function() all("root", { BOTH }, "--security", "strict") end)

  case("is there only when asked for, and not without the kernel's help", function()
    local r = build("unshare,mount", "RUN test ! -e /proc/self && grep -q MemTotal /proc/meminfo\n", "--isolation", "chroot")
    assert.equal(0, r.code, r.stderr)
    r = build("unshare,mount", "RUN cat /proc/self/status\n", "--isolation", "chroot")
    assert.truthy(r.stderr:find("--isolation chroot,proc shows it that", 1, true), r.stderr)
    r = build("unshare,mount", "RUN cat /proc/self/none\n")
    assert.truthy(r.code ~= 0 and not r.stderr:find("chroot,proc shows", 1, true), r.stderr)
    r = build("unshare,mount,seccomp", "RUN test ! -e /proc/self && grep -q MemTotal /proc/meminfo\n")
    assert.equal(0, r.code, r.stderr)
    world.write(dir, { ["app/1.0.0/Containerfile"] = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN test -e /proc/self\n" })
    r = world.bakery { "build", "-C", dir, "--store", world.tmp() .. "/s", "--isolation", "root,proc,flat", "--progress", "plain" }
    assert.equal(0, r.code, r.stderr)
  end)

  case("does not hold up who waits for a pipe, nor commands that end in many ways", function()
    local r = build("unshare,mount", [[
RUN mkfifo /p; exec 5<>/p; (sleep 0.1; echo late >&5) & read line </dev/fd/5; test "$line" = late
RUN many() { j=0; while [ $j -lt 300 ]; do cat /proc/self/comm >/x$1 || exit 1; j=$((j+1)); done; touch /ok$1; }; \
    for i in 1 2 3 4 5 6 7 8; do many $i & done; wait; test -e /ok1 -a -e /ok8
RUN (while :; do cat /proc/self/status >/dev/null; done) & sleep 0.2; kill -9 $!; wait; test -e /proc/self
RUN ! /nothing-here; ! /etc/passwd; test -e /proc/self/exe
]])
    assert.equal(0, r.code, r.stderr)
    r = build("unshare,mount", "RUN [\"none\"]\n")
    assert.truthy(r.code ~= 0 and r.stderr:find("command not found: 'none' is not in PATH", 1, true), r.stderr)
  end)
end)
