--- The privilege ladder: the same Containerfile in every tier that can build it, with the privileges of
--- the others really taken away.
local world = require "lib.world"
local child = require "lib.child"
local fs = require "bakery.fs"
local json = require "bakery.json"
local loop = require "bakery.loop"
local process = require "bakery.process"

local root = process.uid() == 0
local gcc, setpriv = process.which "gcc", process.which "setpriv"

-- Everything that a diff has to find: deletions, renames, replaced types, owners, modes, links, times.
local TEXT = [[
FROM scratch
COPY base/ /
COPY opt/ /opt/
ENV PATH=/bin
WORKDIR /w
RUN id -u > /uid; echo mine > /mine; chown app:staff /mine; mkdir /d; rm -rf /home; mv /opt/a /opt/c; mv /opt/b /opt/a
RUN chmod 700 /opt; rm -r /d; mkdir /d; echo x > /d/x; ln /mine /mine2; ln -s b c; cat /etc/hosts > /dev/null; mkdir /m
COPY --chown=app:app one /app/one
RUN rm /opt/hard; mkdir /opt/hard; touch /opt/hard/file; cd /opt/c; cp x x.new; mv x.new x; chmod 4755 x; mkfifo /fifo
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t --mount=type=bind,source=opt,target=/m \
  cat /m/b/x > /from-bind; echo y > /t/y; echo n >> /cache/n; ! test -e /m/none
USER app
RUN echo $HOME > /tmp/home; cat /mine >> /tmp/home; ! touch /no 2>/dev/null
]]

local SIMPLE = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nWORKDIR /w/x\nCOPY --chown=app:staff one /one\nRUN echo a > b && ln -s b c\n"

local OWNED = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN echo x > /x; chown app:staff /x\nRUN test -e /x\n"

local COPIES = [[
FROM scratch AS one
COPY --chmod=600 one /one
FROM scratch
COPY base/ /
WORKDIR /w/x
USER app
WORKDIR /w/own
COPY --chown=app:staff opt/ /opt/
COPY --from=one --chmod=4711 /one /w/one
ADD a.tar /added/
LABEL x=y
]]

local DOCKER = "--bounding-set=-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,"
  .. "+net_bind_service,+sys_chroot,+kill,+audit_write"
local NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"

describe("the privilege ladder", function()
  local dir, bin, confine, reference = nil, nil, nil, {}

  setup(function()
    if not (root and gcc and setpriv) then return end
    dir = world.project { app = TEXT, simple = SIMPLE, copies = COPIES, owned = OWNED }
    world.write(dir, { ["opt/a/x"] = "1\n", ["opt/b/x"] = "2\n", one = "1" })
    assert(fs.link(dir .. "/opt/a/x", dir .. "/opt/hard"))
    fs.chmod(dir .. "/base/tmp", 1023)
    assert(fs.mkdir(dir .. "/nodes"))
    world.run { "mknod", "-m", "640", dir .. "/nodes/disk", "b", "8", "1" }
    world.run { "mknod", "-m", "666", dir .. "/nodes/null", "c", "1", "3" }
    world.run { "tar", "-C", dir, "--owner=5", "--group=6", "--mtime=@1", "-cf", dir .. "/a.tar", "opt", "nodes" }
    world.run { "rm", "-r", dir .. "/nodes" }
    bin = world.tmp()
    assert(fs.copy(world.bin, bin .. "/bakery"))
    fs.chmod(bin .. "/bakery", 493)
    confine = bin .. "/confine"
    world.run { "gcc", "-D_GNU_SOURCE", "-o", confine, "tests/lib/confine.c" }
    for _, path in ipairs { dir, dir .. "/base", bin } do fs.chmod(path, 493) end
  end)
  teardown(function()
    world.cleanup()
    child.clean()
  end)

  -- Builds one image below a prefix of the command line; { code, stderr, digest, home }.
  local function build(image, prefix, ...)
    local home = world.tmp()
    if prefix and prefix:find("reuid", 1, true) then world.run { "chown", "65534:65534", home } end
    local words = { bin .. "/bakery", "build", "-v", "-C", dir, "--image-name", "^" .. image .. "$", "--store", home .. "/store",
      "--results", home .. "/results", "--progress", "plain", "--output", "oci:" .. home .. "/oci", ... }
    for i, w in ipairs(words) do words[i] = child.quote(w) end
    local command = table.concat(words, " ")
    local line = prefix and prefix:gsub("CMD", function() return command end) or command
    local r = process.run { cmd = { "sh", "-c", line }, env = { SOURCE_DATE_EPOCH = "1700000000", HOME = home,
      XDG_STATE_HOME = home, BAKERY_ROOT = os.getenv "BAKERY_ROOT", NO_COLOR = "1", BAKERY_ISOLATION = "" }, timeout = 300 }
    r.home = home
    local index = fs.read(home .. "/oci/index.json")
    r.digest = index and json.decode(index).manifests[1].digest
    return r
  end

  local function expect_same(image, tier, r)
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("isolation: tier " .. tier .. " ", 1, true), r.stderr)
    reference[image] = reference[image] or build(image, nil).digest
    assert.equal(reference[image], r.digest, r.stderr)
    assert.same({}, fs.list(r.home .. "/store/tmp") or {})
    assert.falsy(fs.read "/proc/self/mountinfo":find(r.home, 1, true))
  end

  local function tier_it(name, fn)
    if root and gcc and setpriv and not world.user_namespaces() then fn = function() pending "needs user namespaces" end end
    it(name, root and gcc and setpriv and fn or function() pending "skipped: needs root, gcc and setpriv" end)
  end

  for _, case in ipairs {
    { "A", "root", nil },
    { "A", "root without overlayfs", nil, "--isolation", "flat" },
    { "C", "root with Docker's capabilities", "setpriv " .. DOCKER .. " CMD" },
    { "C", "root with Docker's capabilities, without overlayfs", "setpriv " .. DOCKER .. " CMD", "--isolation", "auto,flat" },
    { "C", "forced", nil, "--isolation", "root-userns" },
    { "F", "root that may neither mount nor unshare", "CONFINE unshare,mount setpriv " .. DOCKER .. " CMD" },
    { "F", "forced", nil, "--isolation", "F" },
    { "F", "forced, strict", nil, "--isolation", "chroot", "--security", "strict" },
    { "B", "root of a user namespace around it", "unshare -m sh -c " .. child.quote(
      "echo root:0:65536 > /tmp/subid.$$; mount --bind /tmp/subid.$$ /etc/subuid; mount --bind /tmp/subid.$$ /etc/subgid; "
      .. "rm /tmp/subid.$$; exec unshare -U --map-users=0,0,65536 --map-groups=0,0,65536 -m CMD") },
  } do
    tier_it(("tier %s (%s) gives the same image"):format(case[1], case[2]), function()
      local prefix = case[3] and case[3]:gsub("CONFINE", function() return confine end)
      expect_same("app", case[1], build("app", prefix, table.unpack(case, 4)))
    end)
  end

  -- Subordinate ids for nobody, in a mount namespace of its own.
  local RANGE = "unshare -m sh -c " .. child.quote("echo nobody:100000:65536 > /tmp/subid.$$; mount --bind /tmp/subid.$$ "
    .. "/etc/subuid; mount --bind /tmp/subid.$$ /etc/subgid; rm /tmp/subid.$$; exec " .. NOBODY .. " CMD")

  for _, case in ipairs {
    { "C", "root with Docker's capabilities", "setpriv " .. DOCKER .. " CMD", { "copies" } },
    { "D", "a user with subordinate ids", RANGE, { "app", "simple", "copies" } },
    { "E", "a user without", NOBODY .. " CMD", { "simple", "copies" } },
    { "E", "root with one id", nil, { "simple", "copies" }, "--isolation", "rootless-single" },
    { "G", "nobody at all", "CONFINE unshare,mount " .. NOBODY .. " CMD", { "copies" } },
    { "G", "root without capabilities", "CONFINE unshare,mount setpriv --bounding-set=-all CMD", { "copies" } },
    { "G", "a user, forced", NOBODY .. " CMD", { "copies" }, "--isolation", "copy-only" },
    { "F", "no device nodes", "CONFINE unshare,mount,mknod setpriv " .. DOCKER .. " CMD", { "simple" } },
  } do
    for _, image in ipairs(case[4]) do
      tier_it(("tier %s (%s) gives the same image (%s)"):format(case[1], case[2], image), function()
        if case[1] == "D" and not process.which "newuidmap" then return pending "needs newuidmap" end
        local prefix = case[3] and case[3]:gsub("CONFINE", function() return confine end)
        expect_same(image, case[1], build(image, prefix, table.unpack(case, 5)))
      end)
    end
  end

  -- As a container gives it: a read-only root, parts of /proc masked, no device nodes, no home.
  local function pod(commands, inner)
    return "unshare -m sh -c " .. child.quote("set -e; mount --make-rprivate /; " .. commands .. "; exec " .. inner)
  end
  local MASKED = "mount --bind /dev/null /proc/keys; mount -t tmpfs -o ro none /proc/acpi 2>/dev/null || "
    .. "mount -t tmpfs -o ro none /proc/scsi 2>/dev/null || true; mount -t tmpfs none /sys/kernel"
  local READONLY = "mount -t tmpfs none /mnt; for d in /proc /sys /dev /tmp /work; do test -d $d && mount --rbind $d $d || true; done; "
    .. "mount -o remount,bind,ro /"
  local NODEVS = "mount -t tmpfs -o mode=755 none /dev; for d in null zero full random urandom; do : > /dev/$d; chmod 666 /dev/$d; done"

  for _, case in ipairs {
    { "A", "a read-only root", READONLY, "CMD", "app" },
    { "C", "a read-only root and masked /proc", READONLY .. "; " .. MASKED, "setpriv " .. DOCKER .. " CMD", "app" },
    { "C", "masked /proc", MASKED, "setpriv " .. DOCKER .. " CMD", "app" },
    { "E", "masked /proc", MASKED, NOBODY .. " CMD", "simple" },
    { "A", "no device nodes", NODEVS, "CMD", "simple" },
    { "C", "no device nodes", NODEVS, "setpriv " .. DOCKER .. " CMD", "simple" },
    { "G", "no /proc", "umount -l /proc", NOBODY .. " CMD", "copies" },
    { "F", "no /proc", "umount -l /proc", "CONFINE unshare,mount CMD", "simple" },
    { "E", "no home", "true", "env -u HOME " .. NOBODY .. " CMD", "simple" },
    { "F", "a plain chroot", "mount -t tmpfs none /mnt; for d in $(ls /); do test -d /$d -a ! -L /$d -a $d != mnt || continue; "
      .. "mkdir -p /mnt/r/$d; mount --rbind /$d /mnt/r/$d; done; cp -d /bin /lib* /sbin /mnt/r/ 2>/dev/null || true", "chroot /mnt/r CMD",
      "simple" },
  } do
    tier_it(("tier %s (%s) gives the same image (%s)"):format(case[1], case[2], case[5]), function()
      if case[2] == "no /proc" and os.getenv "SANITIZE" then return pending "AddressSanitizer needs /proc" end
      local prefix = pod(case[3], (case[4]:gsub("CONFINE", function() return confine end)))
      expect_same(case[5], case[1], build(case[5], prefix))
    end)
  end

  tier_it("finds a place for the store without a home, or says that there is none", function()
    local own = world.tmp()
    fs.chmod(own, 1023)
    local function run(env) -- luacheck: ignore
      return process.run { cmd = { "sh", "-c", ("%s %s/bakery build -C %s --image-name '^copies$' --results %s/results "
        .. "--progress plain"):format(NOBODY, bin, dir, own) }, env = env }
    end
    local env = { HOME = "/nonexistent", XDG_DATA_HOME = "", TMPDIR = own, XDG_STATE_HOME = own, BAKERY_STORE = "",
      BAKERY_ROOT = os.getenv "BAKERY_ROOT", BAKERY_ISOLATION = "" }
    local r = run(env)
    assert.equal(0, r.code, r.stderr)
    assert.truthy(fs.is_dir(own .. "/bakery-65534/store/blobs"))
    local other = world.tmp()
    fs.chmod(other, 1023)
    assert(fs.mkdir(other .. "/bakery-65534")) -- somebody else's
    env.TMPDIR = other
    r = run(env)
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("no directory for the store: HOME is not set and", 1, true), r.stderr)
  end)

  -- A static program for arm64: makes /made and says "hi arm".
  local function arm_program()
    local code, strings = {}, "/made\0hi arm\n"
    local function op(word) code[#code + 1] = word end
    local function mov(reg, value) op(0xd2800000 | value << 5 | reg) end
    local function address(reg, at) -- patched below: the strings follow the code
      code[#code + 1] = { reg, at }
    end
    local function call(number)
      mov(8, number)
      op(0xd4000001)
    end
    op(0x92800000 | 99 << 5) -- AT_FDCWD
    address(1, 0)
    mov(2, 65) -- O_CREAT | O_WRONLY
    mov(3, 420)
    call(56) -- openat
    mov(0, 1)
    address(1, 6)
    mov(2, 7)
    call(64) -- write
    mov(0, 0)
    call(93) -- exit
    for n, word in ipairs(code) do
      if type(word) == "table" then
        local offset = (#code - n + 1) * 4 + word[2]
        word = 0x10000000 | (offset & 3) << 29 | (offset >> 2) << 5 | word[1]
      end
      code[n] = ("<I4"):pack(word)
    end
    local text = table.concat(code) .. strings
    return "\127ELF\2\1\1" .. ("\0"):rep(9) .. ("<I2I2I4I8I8I8I4I2I2I2I2I2I2"):pack(2, 183, 1, 0x400078, 64, 0, 0, 64, 56, 1, 64, 0, 0)
      .. ("<I4I4I8I8I8I8I8I8"):pack(1, 5, 0, 0x400000, 0x400000, 120 + #text, 120 + #text, 0x10000) .. text
  end

  tier_it("runs programs of another architecture through qemu, registered in its own user namespace", function()
    if not world.needs "qemu-aarch64-static" then return end
    local own = world.tmp()
    world.write(own, { ["bakery.yaml"] = "repository: { url: https://example.com/p, vendor: E, maintainer: T <t@example.com> }\n"
      .. "registries: [{ host: example.com }]\nimages:\n  - name: app\n    versions:\n      - name: 1.0.0\n"
      .. "        os: [{ name: Debian, platforms: [linux/arm64] }]\n",
      ["app/1.0.0/Containerfile.debian"] = 'FROM scratch\nCOPY --chmod=755 prog /prog\nRUN ["/prog"]\n' })
    assert(fs.write(own .. "/prog", arm_program()))
    fs.chmod(own, 493)
    local saved = dir
    dir = own
    local ok, err = pcall(function()
      local version = fs.read "/proc/sys/kernel/osrelease"
      local major, minor = version:match "^(%d+)%.(%d+)"
      if tonumber(major) * 1000 + tonumber(minor) < 6007 then return pending "needs Linux 6.7" end
      for _, case in ipairs { { "C", nil, "--isolation", "root-userns" }, { "E", NOBODY .. " CMD" } } do
        local r = build("app", case[2], table.unpack(case, 3))
        assert.equal(0, r.code, r.stderr)
        assert.truthy(r.stderr:find("isolation: tier " .. case[1], 1, true), r.stderr)
        assert.truthy(r.stderr:find("| hi arm", 1, true), r.stderr)
      end
      if fs.exists "/proc/sys/fs/binfmt_misc/qemu-aarch64" then return end
      local r = build("app", nil, "--isolation", "root") -- the host's registrations are left alone
      assert.equal(2, r.code)
      assert.truthy(r.stderr:find("Containerfile.debian:3: error: cannot run linux/arm64", 1, true), r.stderr)
      assert.truthy(r.stderr:find("--isolation root-userns", 1, true), r.stderr)
    end)
    dir = saved
    if not ok then error(err, 0) end
  end)

  tier_it("warns that one id loses the owners that RUN sets, and does not take its results for others", function()
    local r = build("owned", NOBODY .. " CMD")
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("owned/1.0.0/Containerfile:4: tier E (rootless-single): owners that RUN sets are not kept; tier D "
      .. "keeps them, but no range for nobody in /etc/subuid", 1, true), r.stderr)
    local _, count = r.stderr:gsub("owners that RUN sets are not kept", "")
    assert.equal(1, count)
    assert.not_equal(build("owned").digest, r.digest)
  end)

  tier_it("names the RUN that nobody at all cannot do, and what is missing", function()
    local r = build("simple", confine .. " unshare,mount " .. NOBODY .. " CMD")
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("simple/1.0.0/Containerfile:6: error: RUN is not possible here: no range for nobody in", 1, true)
      or r.stderr:find("simple/1.0.0/Containerfile:6: error: RUN is not possible here: a seccomp filter refuses", 1, true), r.stderr)
    assert.truthy(r.stderr:find("hint", 1, true), r.stderr)
  end)

  tier_it("says why it is not a better tier, and what would change that", function()
    local r = build("simple", confine .. " unshare,mount setpriv " .. DOCKER .. " CMD")
    assert.truthy(r.stderr:find("not A (root): CAP_SYS_ADMIN is missing; fix: docker run --privileged", 1, true), r.stderr)
    assert.truthy(r.stderr:find("not C (root-userns): a seccomp filter refuses to create user namespaces; fix: docker run "
      .. "--security-opt seccomp=unconfined", 1, true), r.stderr)
  end)

  tier_it("names the reason that counts when a user can have no namespaces at all", function()
    local r = build("simple", confine .. " unshare,mount " .. NOBODY .. " CMD")
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("RUN is not possible here: a seccomp filter refuses to create user namespaces", 1, true), r.stderr)
  end)

  tier_it("doctor names the tier, what keeps it from better ones, and the remedy", function()
    local function doctor(prefix)
      local command = child.quote(bin .. "/bakery") .. " doctor --json -C " .. dir .. " --store " .. bin .. "/none/store"
      local r = process.run { cmd = { "sh", "-c", (prefix:gsub("CMD", function() return command end)) },
        env = { BAKERY_ROOT = os.getenv "BAKERY_ROOT", BAKERY_ISOLATION = "", HOME = "" } }
      local rows = {}
      for _, row in ipairs(json.decode(r.stdout)) do if row.area == "builder" then rows[row.name] = row end end
      return rows, r
    end
    local rows = doctor(confine .. " unshare,mount setpriv " .. DOCKER .. " CMD")
    assert.truthy(rows.isolation.ok)
    assert.truthy(rows.isolation.text:find("tier F (chroot)", 1, true))
    assert.equal("root: CAP_SYS_ADMIN is missing", rows["tier A"].text)
    assert.truthy(rows["tier A"].fix:find("--privileged", 1, true))
    assert.truthy(rows["tier C"].fix:find("seccompProfile.type: Unconfined", 1, true))
    local r
    rows, r = doctor(confine .. " unshare,mount " .. NOBODY .. " CMD")
    assert.equal(1, r.code)
    assert.equal(false, rows.isolation.ok)
    assert.truthy(rows["tier D"] and rows["tier E"])
    rows = doctor "CMD"
    assert.truthy(rows.isolation.text:find("tier A (root)", 1, true))
    assert.truthy(rows.proc.ok and rows["network none"].ok)
    assert.falsy(rows["tier C"])
  end)

  tier_it("refuses an isolation that does not work or does not exist", function()
    local r = build("simple", confine .. " unshare,mount CMD", "--isolation", "root")
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("isolation root does not work here: a seccomp filter refuses", 1, true), r.stderr)
    r = build("simple", nil, "--isolation", "jail")
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("unknown isolation 'jail': expected auto, root,", 1, true), r.stderr)
    r = build("simple", nil, "--isolation", "in-place")
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("isolation in-place is not there: RUN in the root", 1, true), r.stderr)
    assert.falsy(fs.exists(r.home .. "/store"))
  end)

  tier_it("uses flat trees when the store lies on overlayfs", function()
    local base = world.tmp()
    for _, d in ipairs { "l", "u", "w", "m" } do assert(fs.mkdir(base .. "/" .. d)) end
    local r = build("app", ("unshare -m sh -c %s"):format(child.quote(("mount -t overlay o -o lowerdir=%s/l,upperdir=%s/u,"
      .. "workdir=%s/w %s/m && CMD --store %s/m/store"):format(base, base, base, base, base))))
    expect_same("app", "A", r)
    assert.truthy(r.stderr:find("flat trees instead of overlayfs", 1, true), r.stderr)
    assert.truthy(r.stderr:find("overlayfs does not work in the store: Invalid argument", 1, true), r.stderr)
  end)

  tier_it("refuses in a chroot what only namespaces can do", function()
    local r = build("simple", nil, "--isolation", "chroot", "--network", "none")
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("Containerfile:6: error: RUN --network=none is not possible in tier F", 1, true), r.stderr)
  end)

  for _, case in ipairs {
    { "A" }, { "A", nil, "--isolation", "root,flat" }, { "C", "setpriv " .. DOCKER .. " CMD" }, { "E", NOBODY .. " CMD" },
    { "F", "CONFINE unshare,mount setpriv " .. DOCKER .. " CMD" }, { "G", "CONFINE unshare,mount " .. NOBODY .. " CMD" },
  } do
    tier_it(("killed at any moment leaves nothing in tier %s%s"):format(case[1], case[4] and " (flat)" or ""), function()
      local own, home, marker = world.tmp(), world.tmp(), "0.25" .. process.pid() .. math.random(1000, 9999)
      local text = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nCOPY opt/ /opt/\n"
      if case[1] ~= "G" then
        text = text .. ("RUN sleep %s & cp -r /bin /b2\nRUN --mount=type=cache,target=/c date >> /c/x; cp -r /b2 /b3; rm -rf /b2\n"):format(marker)
      end
      world.write(own, { ["bakery.yaml"] = fs.read(dir .. "/bakery.yaml"), ["app/1.0.0/Containerfile"] = text,
        ["copies/1.0.0/Containerfile"] = "FROM scratch\n",
        ["owned/1.0.0/Containerfile"] = "FROM scratch\n", ["simple/1.0.0/Containerfile"] = "FROM scratch\n" })
      world.run { "cp", "-a", dir .. "/base", dir .. "/opt", own }
      fs.chmod(own, 493)
      if case[2] and case[2]:find "reuid" then world.run { "chown", "65534:65534", home } end
      local prefix = (case[2] or "CMD"):gsub("CONFINE", function() return confine end)
      local env = { HOME = home, XDG_STATE_HOME = home, BAKERY_ROOT = os.getenv "BAKERY_ROOT", BAKERY_ISOLATION = "" }
      local function command(words)
        local all = { bin .. "/bakery", table.unpack(words) }
        for n, w in ipairs(all) do all[n] = child.quote(w) end
        return { cmd = { "sh", "-c", "exec " .. prefix:gsub("CMD", function() return table.concat(all, " ") end) }, env = env }
      end
      local build_words = { "build", "-C", own, "--image-name", "^app$", "--store", home .. "/store", "--results",
        home .. "/results", "--progress", "plain", table.unpack(case, 3) }
      for round = 1, 8 do
        local words = table.move(build_words, 1, #build_words, 1, {})
        words[#words + 1] = round % 2 == 0 and "--no-cache" or "--cache"
        local p = assert(process.spawn(command(words)))
        loop.sleep(0.01 + math.random() * 0.3)
        p:kill "SIGKILL"
        p:wait()
      end
      local r = process.run(command(build_words))
      assert.equal(0, r.code, r.stderr)
      r = process.run(command { "store", "check", "--store", home .. "/store", table.unpack(case, 3) })
      assert.equal(0, r.code, r.stdout .. r.stderr)
      assert.same({}, fs.list(home .. "/store/tmp"))
      for _, name in ipairs(fs.list(home .. "/store")) do assert.falsy(name:find("^%.try"), name) end
      assert.falsy(fs.read "/proc/self/mountinfo":find(home, 1, true))
      local deadline = loop.now() + 20
      local function living()
        for _, pid in ipairs(fs.list "/proc") do
          local line = pid:match "^%d+$" and fs.read("/proc/" .. pid .. "/cmdline")
          if line and (line:find(marker, 1, true) or line:find(home, 1, true)) then return line end
        end
      end
      while living() and loop.now() < deadline do loop.sleep(0.02) end
      assert.is_nil(living())
    end)
  end

  tier_it("gives a chroot names for its output, and what /proc says of the machine", function()
    local own = world.project { app = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nUSER app\n"
      .. "RUN echo by-name > /dev/stderr; echo also >> /dev/stdout; (echo twice > /dev/stdout) | cat; echo plain\n"
      .. "USER root\nRUN grep -c ^processor /proc/cpuinfo; cat /proc/sys/kernel/ostype; test ! -e /proc/1 && ! echo x > /proc/version_of_mine/x\n" }
    local out, store = world.tmp() .. "/out", world.tmp() .. "/store"
    local r = world.bakery { "build", "-C", own, "--store", store, "--isolation", "chroot", "--progress", "plain", "--output", "local:" .. out }
    assert.equal(0, r.code, r.stderr)
    for _, line in ipairs { "by-name", "also", "twice", "plain", "Linux" } do
      assert.truthy(r.stderr:find("| " .. line .. "\n", 1, true), line .. " is missing in\n" .. r.stderr)
    end
    for _, name in ipairs { "dev", "proc" } do assert.falsy(fs.exists(out .. "/" .. name), name) end
    assert.same({}, fs.list(store .. "/tmp"))
  end)

  tier_it("ends everything that a command in a chroot leaves behind", function()
    local marker = "77123" .. process.pid()
    local function living()
      local n = 0
      for _, pid in ipairs(fs.list "/proc") do
        local text = pid:match "^%d+$" and fs.read("/proc/" .. pid .. "/cmdline")
        if text and text:find(marker, 1, true) and text:find("sleep", 1, true) == 1 then n = n + 1 end
      end
      return n
    end
    local own = world.project { app = ("FROM scratch\nCOPY base/ /\nENV PATH=/bin\n"
      .. "RUN sleep %s & (trap '' TERM; sleep %s) & echo done\n"):format(marker, marker) }
    local store = world.tmp() .. "/store"
    local r = world.bakery { "build", "-C", own, "--store", store, "--isolation", "chroot", "--progress", "plain" }
    assert.equal(0, r.code, r.stderr)
    assert.equal(0, living())
    world.write(own, { ["app/1.0.0/Containerfile"] = ("FROM scratch\nCOPY base/ /\nENV PATH=/bin\n"
      .. "RUN sleep %s & (trap '' TERM HUP; sleep %s) & sleep %s\n"):format(marker, marker, marker) })
    for _, signal in ipairs { "SIGINT", "SIGKILL" } do
      local p = world.start { "build", "-C", own, "--store", store, "--isolation", "chroot", "--progress", "quiet" }
      local deadline = loop.now() + 30
      while living() < 3 and loop.now() < deadline do loop.sleep(0.02) end
      assert.equal(3, living())
      p:kill(signal)
      p:wait()
      while living() > 0 and loop.now() < deadline do loop.sleep(0.02) end
      assert.equal(0, living())
    end
    world.write(own, { ["app/1.0.0/Containerfile"] = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN kill -9 $$\n" })
    r = world.bakery { "build", "-C", own, "--store", store, "--isolation", "chroot", "--progress", "plain" }
    assert.truthy(r.stderr:find("RUN failed: killed by signal 9", 1, true) or r.stderr:find("SIGKILL", 1, true), r.stderr)
    assert.same({}, fs.list(store .. "/tmp"))
  end)
end)
