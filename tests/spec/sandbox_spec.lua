local child = require "lib.child"
local loop = require "bakery.loop"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"

local function output(cmd) return child.output(cmd) end
local function has(program) return os.execute("command -v " .. program .. " >/dev/null 2>&1") == true end
local function sh(cmd) assert(os.execute(cmd), cmd) end

local base = output "mktemp -d"
local image = base .. "/image"
local count = 0

local function write(path, text, mode)
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  if mode then sh(("chmod %s %s"):format(mode, path)) end
end

-- A root of one static busybox.
local APPLETS = "sh ls cat id true false mount hostname sleep touch mkdir rm env stat grep mv ln chown mknod ip wc "
  .. "umount chmod readlink head kill tr seq find dd ulimit"
local function make_image(dir)
  sh(("mkdir -p %s/bin %s/etc %s/tmp"):format(dir, dir, dir))
  sh(("cp /bin/busybox %s/bin/ && for a in %s; do ln -sf busybox %s/bin/$a; done"):format(dir, APPLETS, dir))
  write(dir .. "/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
  write(dir .. "/etc/keep", "keep\n")
  sh(("mkdir %s/etc/dir && touch %s/etc/dir/a %s/etc/dir/b"):format(dir, dir, dir))
end

local function dirs()
  count = count + 1
  local dir = base .. "/run" .. count
  sh(("mkdir -p %s/upper %s/work"):format(dir, dir))
  return dir .. "/upper", dir .. "/work"
end

local function start(more)
  local upper, work = dirs()
  local spec = { lowers = { image }, upper = upper, work = work, argv = { "/bin/true" }, env = { "PATH=/bin" } }
  for k, v in pairs(more) do spec[k] = v end
  local box, err = sandbox.spawn(spec)
  return box, err, upper
end

-- Runs a shell line; the result carries its output, lines and upper directory.
local function run(line, more)
  local reader <close>, fd = process.pipe()
  local spec = { argv = { "/bin/sh", "-c", line }, stdout = fd, stderr = fd }
  for k, v in pairs(more or {}) do spec[k] = v end
  local box <close>, err, upper = start(spec)
  process.close_fd(fd)
  if not box then return nil, err end
  local out = {}
  while true do
    local s = reader:read()
    if not s then break end
    out[#out + 1] = s
  end
  local r = assert(box:wait())
  r.out, r.upper = table.concat(out), upper
  return r
end

local function out(line, more)
  local r = assert(run(line, more))
  assert.equal(0, r.code, r.out)
  return (r.out:gsub("\n$", ""))
end

local function eventually(f)
  local deadline = loop.now() + 10
  while loop.now() < deadline do
    if f() then return true end
    loop.sleep(0.01)
  end
  return false
end

-- Living processes whose command line has the word.
local function running(word)
  return tonumber(output(("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -cx -- '%s'")
    :format(word:gsub(".$", "[%0]"))))
end

local usable = process.uid() == 0 and sandbox.probe { dir = base }.tries[1].overlay == true and has "busybox"
if usable then make_image(image) end
local function box_it(name, fn)
  it(name, usable and fn or function() pending("skipped: needs root, overlayfs and busybox-static") end)
end

describe("sandbox.spawn", function()
  box_it("runs a command and gives its exit code", function()
    assert.equal("hello", out "echo hello")
    assert.equal(3, run("exit 3").code)
    assert.is_nil(run("exit 3").signal)
    local r = run("sh -c 'kill -9 $$'; exit $?")
    assert.equal(137, r.code)
    assert.is_false(r.oom)
  end)

  box_it("forgets the descriptors of a box that could not start", function()
    collectgarbage()
    collectgarbage "stop" -- the failed call's own memory must still be there when the pipes are opened
    for _ = 1, 4 do assert.is_nil((start { argv = { "/bin/nothing" } })) end
    local readers, fds = {}, {}
    for i = 1, 16 do readers[i], fds[i] = process.pipe() end
    collectgarbage "restart"
    collectgarbage()
    for i = 1, 16 do
      assert.is_true(process.close_fd(fds[i]))
      assert.is_nil(readers[i]:read())
      readers[i]:close()
    end
  end)

  box_it("tells of the signal that ended pid 1", function()
    local box <close> = assert(start { argv = { "/bin/sleep", "60" } })
    assert.is_true(box:kill(9))
    local r = box:wait()
    assert.equal(9, r.signal)
    assert.is_false(r.oom)
    assert.is_false(box:kill(9))
  end)

  box_it("passes environment, directory and arguments as they are", function()
    assert.equal("A=b c\nPATH=/bin\nPWD=/etc", out("env | grep -v -e SHLVL -e OLDPWD | "
      .. "{ read a; read b; read c; echo $a; echo $b; echo $c; }",
      { env = { "A=b c", "PATH=/bin" }, cwd = "/etc" }))
    assert.equal("/etc", out("pwd", { cwd = "/etc" }))
    assert.equal("x y|", out("", { argv = { "/bin/sh", "-c", [[printf '%s|' "$1"]], "sh", "x y" } }))
  end)

  box_it("finds the program in the PATH of the box", function()
    assert.equal("hi", out("", { argv = { "busybox", "echo", "hi" } }))
    local r, err = run("", { argv = { "nothing" }, env = { "PATH=/bin:/etc" } })
    assert.is_nil(r)
    assert.equal("sandbox.not_found", err.code)
    assert.equal("command not found: 'nothing' is not in PATH=/bin:/etc", err.message)
    err = select(2, run("", { argv = { "/nothing" } }))
    assert.equal("command not found: there is no '/nothing' in the image", err.message)
  end)

  box_it("says why something cannot be executed", function()
    local function why(text, mode)
      local extra = base .. "/extra" .. count
      sh("mkdir -p " .. extra)
      write(extra .. "/prog", text, mode)
      local r, err = run("", { argv = { "/prog" }, lowers = { image, extra } })
      assert.is_nil(r)
      assert.equal("sandbox.not_executable", err.code)
      return err.message
    end
    assert.equal("cannot execute '/prog': Permission denied", why("#!/bin/sh\n", "644"))
    assert.matches("its interpreter", why("#!/usr/bin/nothing\n", "755"))
    assert.matches("architecture", why("\127ELF" .. ("\0"):rep(60), "755"))
  end)

  box_it("reports which set-up step failed, on what", function()
    local _, err = run("true", { cwd = "/no/such" })
    assert.equal("sandbox: change to working directory '/no/such': No such file or directory", err.message)
    assert.equal("ENOENT", err.code)
    _, err = run("true", { lowers = { image, "/no/such" } })
    assert.matches("open layer.*'/no/such': No such file", err.message)
    _, err = run("true", { mounts = { { type = "bind", target = "/x", source = "/no/such" } } })
    assert.matches("'/no/such': No such file", err.message)
    _, err = run("true", { mounts = { { type = "bind", target = "/etc/passwd/x", source = "/tmp" } } })
    assert.matches("'/etc/passwd/x': Not a directory", err.message)
  end)

  box_it("raises on misuse", function()
    assert.has_error(function() sandbox.spawn { upper = "relative", work = "/x", argv = { "a" } } end)
    assert.has_error(function() sandbox.spawn { upper = "/x", work = "/x", argv = {} } end)
    assert.has_error(function() start { network = "bridge" } end)
    assert.has_error(function() start { mounts = { { type = "odd", target = "/x" } } } end)
    assert.has_error(function() start { uid = -1 } end)
    assert.has_error(function() start { hostname = ("x"):rep(65) } end)
  end)

  box_it("writes only what changed into upper: whiteouts, opaque directories, new files", function()
    local r = run "rm /etc/keep; rm -r /etc/dir; mkdir /etc/dir; touch /etc/dir/new; echo x > /file"
    assert.equal("character special file 0 0", output(("stat -c '%%F %%t %%T' %s/etc/keep"):format(r.upper)))
    assert.equal("y", output(("getfattr --only-values -n trusted.overlay.opaque %s/etc/dir 2>/dev/null || "
      .. "python3 -c \"import os; print(os.getxattr('%s/etc/dir', 'trusted.overlay.opaque').decode())\"")
      :format(r.upper, r.upper)))
    assert.equal("new", output(("ls %s/etc/dir"):format(r.upper)))
    assert.equal("x", output(("cat %s/file"):format(r.upper)))
    assert.equal("", output(("find %s -name passwd -o -name busybox"):format(r.upper)))
    assert.equal("keep", output(("cat %s/etc/keep"):format(image)))
  end)

  box_it("stacks layers in order, also more than fit one mount call, and odd path names", function()
    local lowers = { image }
    for i = 1, 220 do
      local dir = ("%s/many:%d,x"):format(base, i)
      sh(("mkdir '%s' && echo %d > '%s/top' && echo %d > '%s/f%d'"):format(dir, i, dir, i, dir, i))
      lowers[#lowers + 1] = dir
    end
    assert.equal("220 1 220", out("echo $(cat /top /f1 /f220)", { lowers = lowers }))
    assert.equal("3", out("cat /top", { lowers = { table.unpack(lowers, 1, 4) } }))
  end)

  box_it("starts from nothing", function()
    local upper, work = dirs()
    sh(("cp /bin/busybox %s/"):format(upper))
    local box <close> = assert(sandbox.spawn { lowers = {}, upper = upper, work = work,
      argv = { "/busybox", "touch", "/made" } })
    assert.equal(0, box:wait().code)
    assert.equal("", output(("cat %s/made"):format(upper)))
  end)

  box_it("yields: boxes run side by side", function()
    local t0, tasks = loop.now(), {}
    for i = 1, 4 do tasks[i] = loop.spawn(function() return run("sleep 0.3; exit " .. i).code end) end
    for i = 1, 4 do assert.same({ true, i }, { tasks[i]:wait() }) end
    assert.is_true(loop.now() - t0 < 1.1)
  end)
end)

describe("the box", function()
  box_it("has Docker's capabilities and a filter, and may gain privileges", function()
    local status = out "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status"
    for _, set in ipairs { "CapPrm", "CapEff", "CapBnd" } do
      assert.matches(set .. ":\t00000000a80425fb", status)
    end
    assert.matches("CapInh:\t0000000000000000", status)
    assert.matches("CapAmb:\t0000000000000000", status)
    assert.matches("NoNewPrivs:\t0", status)
    assert.matches("Seccomp:\t2", status)
  end)

  box_it("gives another user no capabilities, but the bounding set", function()
    local text = out("id; grep Cap /proc/self/status; cat /proc/self/stat >/dev/stdout | wc -c; : > /dev/stderr",
      { uid = 1000, gid = 1001, groups = { 5, 6 } })
    assert.matches("uid=1000 gid=1001 groups=5,6", text)
    assert.matches("CapPrm:\t0000000000000000", text)
    assert.matches("CapEff:\t0000000000000000", text)
    assert.matches("CapBnd:\t00000000a80425fb", text)
  end)

  box_it("sets no_new_privs when strict, and lifts everything when insecure", function()
    local text = out("grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status", { security = "strict" })
    assert.matches("NoNewPrivs:\t1", text)
    assert.matches("Seccomp:\t2", text)
    assert.matches("a80425fb", text)
    text = out("grep -E 'Seccomp:' /proc/self/status; mount -t tmpfs none /tmp && echo mounted", { security = "insecure" })
    assert.matches("Seccomp:\t0", text)
    assert.matches("mounted", text)
  end)

  box_it("withholds and allows system calls as Docker does", function()
    if not has "gcc" then return pending "skipped: needs gcc" end
    local extra = base .. "/probe"
    sh(("mkdir -p %s && gcc -D_GNU_SOURCE -static -o %s/probe tests/lib/box_probe.c"):format(extra, extra))
    local got = {}
    for name, result in out("", { argv = { "/probe" }, lowers = { image, extra } }):gmatch("(%S+) (%S+)") do
      got[name] = result
    end
    assert.same({ unshare_user = "EPERM", clone_user = "EPERM", clone3 = "ENOSYS", keyctl = "EPERM", bpf = "EPERM",
      mount = "EPERM", io_uring_setup = "EPERM", userfaultfd = "EPERM", vsock = "EPERM", inet = "ok",
      personality = "ok", unknown = "ENOSYS", chroot = "ok", setuid = "ok", fork = "ok" }, got)
  end)

  box_it("hides and write-protects what is the kernel's", function()
    for _, path in ipairs { "/proc/kcore", "/proc/keys", "/proc/interrupts", "/proc/timer_list" } do
      assert.equal("0", out(("if [ -e %s ]; then cat %s | head -c 10 | wc -c; else echo 0; fi"):format(path, path)), path)
    end
    for _, path in ipairs { "/sys/firmware", "/proc/acpi", "/proc/scsi" } do
      assert.equal("", out(("if [ -e %s ]; then ls -A %s; fi"):format(path, path)), path)
    end
    assert.not_equal(0, run("echo 1 > /proc/sys/kernel/panic").code)
    assert.not_equal(0, run("echo h > /proc/sysrq-trigger").code)
    assert.not_equal(0, run("touch /sys/x").code)
    assert.not_equal(0, run("mount -o remount,rw /sys").code)
    assert.not_equal(0, run("umount /proc/keys").code)
    assert.not_equal(0, run("chmod 0 /proc/keys").code)
  end)

  box_it("opens the usual devices only, whoever made the node", function()
    local extra = base .. "/nodes"
    sh(("mkdir -p %s/cache && mknod -m 666 %s/zero c 1 5 && mknod -m 666 %s/disk b 7 0 && mknod -m 666 %s/mem c 1 1 "
      .. "&& mknod -m 666 %s/cache/zero c 1 5"):format(extra, extra, extra, extra, extra))
    local more = { lowers = { image, extra }, mounts = { { type = "cache", target = "/c", source = extra .. "/cache" },
      { type = "tmpfs", target = "/t" } } }
    for _, node in ipairs { "/disk", "/mem", "/c/zero" } do
      assert.matches("not permitted", (run("head -c 1 " .. node, more).out:gsub("Permission denied", "not permitted")), node)
    end
    for _, dir in ipairs { "/t/", "/c/", "/dev/shm/" } do -- mounts stay nodev
      assert.matches("Permission denied", run(("mknod %sz c 1 5 && head -c 1 %sz"):format(dir, dir), more).out, dir)
    end
    if output "cat /proc/filesystems":find("cgroup2", 1, true) then -- as in Docker, which debootstrap relies on
      assert.equal("1", out("head -c 1 /zero | wc -c", more))
      assert.equal("test", out("mknod /test-dev-null c 1 3 && echo test > /test-dev-null && echo test", more))
      local r = run("mknod /loop b 7 0 && mknod -m 600 /console c 5 1 && head -c 1 /loop", more)
      assert.matches("not permitted", r.out)
      assert.equal("block special file 7 0", output(("stat -c '%%F %%t %%T' %s/loop"):format(r.upper)))
      assert.equal("character special file 5 1", output(("stat -c '%%F %%t %%T' %s/console"):format(r.upper)))
      assert.matches("0::/\n", out("cat /proc/self/cgroup", more) .. "\n")
    end
    assert.equal("1", out("head -c 1 /zero | wc -c", { lowers = { image, extra }, security = "insecure" }))
    local given = { type = "bind", target = "/given", source = "/dev/zero", ro = true }
    assert.equal("1", out("head -c 1 /given | wc -c", { mounts = { given } }))
    local mode = output "stat -c %a /dev/null"
    run "chmod 600 /dev/null; chown 1:1 /dev/null; rm /dev/null"
    assert.equal(mode, output "stat -c %a /dev/null")
  end)

  box_it("has its own devices, terminals and shared memory", function()
    assert.equal("full null random tty urandom zero",
      out "cd /dev; for f in *; do [ -c $f ] && [ ! -L $f ] && echo $f; done | tr '\\n' ' ' | sed 's/ $//'")
    assert.equal("0", out "echo x > /dev/null; head -c 100 /dev/zero | tr -d '\\0' | wc -c")
    assert.equal("/proc/self/fd pts/ptmx", out "echo $(readlink /dev/fd) $(readlink /dev/ptmx)")
    assert.matches("devpts %S*rw%S*gid=5,mode=620,ptmxmode=666", (out "grep devpts /proc/mounts"))
    assert.matches("size=1024k", (out("grep ' /dev/shm ' /proc/mounts", { shm_size = 1 << 20 })))
    assert.equal("1777", out "stat -c %a /dev/shm")
  end)

  box_it("sees nobody and nothing of the host", function()
    write(base .. "/secret", "secret")
    assert.equal("1", out "set -- /proc/[0-9]*; echo $#")
    assert.not_equal(0, run("cat " .. base .. "/secret").code)
    assert.equal("", out "grep -e /proc/self/root -e ext4 -e xfs -e btrfs /proc/mounts; true")
    assert.equal("0 1 2", out "set -- $(ls /proc/self/fd); echo $1 $2 $3")
    assert.equal("0", out "cat | wc -c") -- standard input is /dev/null
  end)

  box_it("has a host name, a umask and no terminal", function()
    assert.equal("buildkitsandbox", out "hostname")
    assert.equal("oven", out("hostname", { hostname = "oven" }))
    assert.equal("0022", out "umask")
    assert.equal("1", out "cut -d' ' -f6 /proc/1/stat") -- its own session
    assert.not_equal("oven", process.hostname())
  end)

  box_it("keeps resource limits of the builder", function()
    assert.equal(output "ulimit -n", out "ulimit -n")
  end)

  box_it("has only a loopback with network none", function()
    assert.equal("lo", out("ls /sys/class/net", { network = "none" }))
    assert.matches("LOOPBACK,UP", out("ip link", { network = "none" }))
    assert.equal(output "readlink /proc/self/ns/net", out "readlink /proc/self/ns/net")
  end)

  box_it("gets names of hosts and servers without leaving them in the layer", function()
    local r = run("cat /etc/hosts", { add_hosts = { "db:10.0.0.1", "six:fe80::1" }, hostname = "oven" })
    assert.matches("127.0.0.1\tlocalhost oven\n", r.out, 1, true)
    assert.matches("10.0.0.1\tdb\n", r.out, 1, true)
    assert.matches("fe80::1\tsix\n", r.out, 1, true)
    assert.equal("0", output(("cat %s/etc/hosts | wc -c"):format(r.upper)))
    write(base .. "/resolv", "nameserver 192.0.2.1\n")
    assert.equal("nameserver 192.0.2.1", out("cat /etc/resolv.conf", { resolv_conf = base .. "/resolv" }))
    assert.not_equal(0, run("echo x > /etc/resolv.conf").code)
    assert.matches("/no/such", select(2, run("true", { resolv_conf = "/no/such" })).message)
    assert.not_equal(0, run("test -e /etc/resolv.conf", { resolv_conf = false }).code)
  end)
end)

describe("mounts", function()
  box_it("binds, also read-only, a directory's subpath, or a single file", function()
    local src = base .. "/src"
    sh(("mkdir -p %s/sub && echo in > %s/sub/file && echo top > %s/top"):format(src, src, src))
    local r = run("cat /m/top /m/sub/file; echo w > /m/written", { mounts = { { type = "bind", target = "/m", source = src } } })
    assert.equal("top\nin\n", r.out)
    assert.equal("w", output("cat " .. src .. "/written"))
    assert.not_equal(0, run("touch /m/no", { mounts = { { type = "bind", target = "/m", source = src, ro = true } } }).code)
    assert.equal("in", out("cat /m/file", { mounts = { { type = "cache", target = "/m", source = src, subpath = "sub" } } }))
    assert.equal("top", out("cat /a/b/c", { mounts = { { type = "bind", target = "/a/b/c", source = src .. "/top" } } }))
  end)

  box_it("mounts tmpfs and secrets, which no file system of the host holds", function()
    local r = run("cat /run/secrets/t; stat -c '%a %u:%g' /run/secrets/t; "
      .. "grep -E ' /(scratch|run/secrets/t) ' /proc/mounts; touch /scratch/x", {
      mounts = { { type = "secret", target = "/run/secrets/t", data = "s\0cret\n", mode = 256, uid = 7, gid = 8 },
        { type = "tmpfs", target = "/scratch", size = 1 << 20 } } })
    assert.equal(0, r.code, r.out)
    assert.equal("s\0cret\n400 7:8\n", r.out:sub(1, 15))
    assert.matches("/run/secrets/t tmpfs ro,nosuid,nodev,noexec", r.out, 1, true)
    assert.matches("/scratch tmpfs rw,nosuid,nodev,relatime,size=1024k", r.out, 1, true)
    assert.equal("", output(("grep -rl cret %s || true"):format(r.upper)))
  end)

  box_it("mounts outer targets before inner ones", function()
    assert.equal("inner", out("cat /m/n/x; test ! -e /m/x", { mounts = {
      { type = "secret", target = "/m/n/x", data = "inner\n" }, { type = "tmpfs", target = "/m/n" },
      { type = "tmpfs", target = "/m" } } }))
  end)

  box_it("names what it made for targets, and leaves parents' times alone", function()
    local before = output(("stat -c %%Y.%%y %s/etc"):format(image))
    local r = run("true", { mounts = { { type = "tmpfs", target = "/new/deep" }, { type = "tmpfs", target = "/etc/dir" },
      { type = "secret", target = "/etc/token", data = "x" } } })
    assert.same({ "/proc", "/dev", "/sys", "/etc/resolv.conf", "/etc/hosts", "/new", "/new/deep", "/etc/token" }, r.stubs)
    assert.equal(before, output(("stat -c %%Y.%%y %s/etc"):format(r.upper)))
  end)

  box_it("leaves no mount behind, in the host or in this process", function()
    -- Other programs of the machine mount and unmount as well: ours are overlays, or below our folder.
    local ours = "grep -cE ' - overlay |" .. base .. "' /proc/self/mountinfo || true"
    local before = output(ours)
    for _ = 1, 3 do run("true", { mounts = { { type = "tmpfs", target = "/t" } } }) end
    run("true", { cwd = "/no/such" })
    assert.equal(before, output(ours))
  end)
end)

describe("a hostile image", function()
  local function hostile(script)
    local dir = base .. "/hostile" .. count
    count = count + 1
    sh(("mkdir -p %s && cd %s && %s"):format(dir, dir, script))
    return { image, dir }
  end

  box_it("cannot lead the working directory to a host descriptor (CVE-2024-21626)", function()
    local lowers = hostile "ln -s /proc/self/fd/3 wd3; ln -s /proc/self/cwd wdc; ln -s /proc/1/root wdr"
    for n = 0, 40 do
      local r, err = run("ls ../../../..", { cwd = "/proc/self/fd/" .. n })
      assert.is_nil(r)
      assert.matches("change to working directory", err.message)
    end
    for _, cwd in ipairs { "/wd3", "/wdc", "/wdr" } do
      assert.equal("ELOOP", select(2, run("ls", { lowers = lowers, cwd = cwd })).code)
    end
  end)

  box_it("cannot redirect a cache's subpath (CVE-2024-23651)", function()
    local cache = base .. "/cache" .. count
    sh(("mkdir -p %s/etc && ln -s / %s/out && ln -s ../../../.. %s/up && echo mine > %s/etc/hostname"):format(cache, cache, cache, cache))
    for _, sub in ipairs { "out/etc", "up/etc", "../../../etc", "/etc" } do
      assert.equal("mine", out("cat /c/hostname", { mounts = { { type = "cache", target = "/c", source = cache, subpath = sub } } }))
    end
    local ok, err = run("true", { mounts = { { type = "cache", target = "/c", source = cache, subpath = "../../../proc/self" } } })
    assert.is_nil(ok)
    assert.equal("ENOENT", err.code)
  end)

  box_it("cannot have mount targets made outside (CVE-2024-23652)", function()
    local outside = base .. "/outside"
    sh("mkdir " .. outside)
    local lowers = hostile(("ln -s %s link; ln -s ../../../../../../..%s up; mkdir d; "
      .. "ln -s ../../..%s/deep d/x; ln -s /proc/self/root/tmp magic")
      :format(outside, outside, outside))
    local mounts = { { type = "tmpfs", target = "/link/made" }, { type = "tmpfs", target = "/up/two" },
      { type = "secret", target = "/d/x", data = "s" } }
    local r = assert(run("true", { lowers = lowers, mounts = mounts, resolv_conf = false }))
    assert.equal("", output("ls -A " .. outside))
    local made = table.concat(r.stubs, " ")
    assert.matches(outside .. "/made", made, 1, true)
    assert.matches(outside .. "/two", made, 1, true)
    assert.matches(outside .. "/deep", made, 1, true)
    assert.equal("", made:match("/link") or "")
    for _, path in ipairs(r.stubs) do assert.is_truthy(output(("stat -c %%F %s%s"):format(r.upper, path)):match("directory$") or path) end
    assert.equal("ELOOP", select(2, run("true", { lowers = lowers, mounts = { { type = "tmpfs", target = "/magic/x" } } })).code)
  end)

  box_it("follows links in loops no further than the kernel does", function()
    local lowers = hostile "ln -s b a; ln -s a b; ln -s c/x c"
    for _, target in ipairs { "/a", "/a/x", "/c" } do
      assert.equal("ELOOP", select(2, run("true", { lowers = lowers, mounts = { { type = "tmpfs", target = target } } })).code)
    end
  end)

  box_it("may have links in the place of /proc, /dev, /sys and /etc/resolv.conf", function()
    local lowers = hostile("mkdir real etc; ln -s real proc; ln -s /other/dev dev; ln -s ../../../../../sys2 sys; "
      .. "ln -s ../run/stub/resolv.conf etc/resolv.conf")
    local r = assert(run("readlink /etc/resolv.conf; grep -c nameserver /etc/resolv.conf; "
      .. "cat /proc/self/comm; ls /sys2 | head -1; [ -c /dev/null ] && echo dev",
      { lowers = lowers }))
    assert.matches("^../run/stub/resolv.conf\n%d+\ncat\n%w+\ndev\n$", r.out)
  end)

  box_it("cannot get the builder's program executed inside (CVE-2019-5736)", function()
    local lowers = hostile([[printf '#!/proc/self/exe\n' > script; printf '#!/script\n' > twice; ]]
      .. [[printf '#! /link x\n' > third; chmod 755 script twice third; ln -s /proc/self/exe link; ln -s ../proc/1/exe one]])
    for _, program in ipairs { "/script", "/twice", "/third", "/link", "/one", "/proc/self/exe" } do
      local r, err = run("", { argv = { program }, lowers = lowers })
      assert.is_nil(r)
      assert.equal("sandbox.not_executable", err.code)
      assert.matches("leads into /proc", err.message)
    end
  end)
end)

describe("the end", function()
  box_it("comes for every process of the box when pid 1 exits", function()
    run "sleep 98761 & sleep 0.05; exit 0"
    assert.equal(0, running "98761")
  end)

  box_it("comes with a cancel, before the task ends", function()
    local t = loop.spawn(function() run "sleep 98762 & sleep 98762" end)
    assert.is_true(eventually(function() return running "98762" > 1 end))
    t:cancel()
    assert.is_false((t:wait()))
    assert.equal(0, running "98762")
  end)

  box_it("comes with a cancel at any moment of the start", function()
    for i = 0, 30 do
      local t = loop.spawn(function() return run "sleep 98763" end)
      if i > 0 then loop.sleep(i * 0.0005) end
      t:cancel()
      local ok, r, err = t:wait()
      assert.is_false(ok, ("%s %s"):format(r and r.out or r, err))
    end
    assert.is_true(eventually(function() return running "98763" == 0 end))
  end)

  box_it("comes with close and with collection", function()
    local box = assert(start { argv = { "/bin/sleep", "98764" } })
    box:close()
    box:close()
    assert.equal("EBADF", select(2, box:wait()).code)
    assert.equal(0, running "98764")
    box = assert(start { argv = { "/bin/sleep", "98764" } }) -- luacheck: ignore
    box = nil -- luacheck: ignore
    collectgarbage()
    assert.is_true(eventually(function() loop.sleep(0) return running "98764" == 0 end))
  end)

  box_it("comes with a builder that is killed", function()
    local code = [[
      local sandbox, process = require "bakery.sandbox", require "bakery.process"
      assert(sandbox.enter())
      local image, upper, work = ...
      keep = assert(sandbox.spawn { lowers = { image }, upper = upper, work = work,
        argv = { "/bin/sh", "-c", "trap '' TERM HUP INT; sleep 98765 & sleep 98765" } })
      process.run { cmd = { "sh", "-c", "until [ $(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' "
        .. "| grep -cx 9876[5]) -gt 1 ]; do :; done; kill -9 $PPID" } }
    ]]
    local upper, work = dirs()
    output("exec 2>/dev/null; " .. child.command(code, image, upper, work) .. "; true")
    assert.is_true(eventually(function() return running "98765" == 0 end))
    assert.equal("", output("grep " .. base .. " /proc/self/mountinfo || true"))
  end)

  box_it("leaves no descriptors behind", function()
    local function fds() return tonumber(output(("ls /proc/%d/fd | wc -l"):format(process.pid()))) end
    run "true"
    collectgarbage()
    local before = fds()
    for _ = 1, 10 do
      run "true"
      run("true", { cwd = "/no/such" })
    end
    assert.is_true(eventually(function()
      collectgarbage()
      return fds() <= before
    end))
  end)
end)

describe("layers as a mount", function()
  local top = base .. "/over"
  setup(function() if usable then sh(("rm -rf %s && mkdir -p %s/etc %s/d && echo new > %s/d/f && ln -s d %s/l && mknod %s/bin c 0 0")
    :format(top, top, top, top, top, top)) end end)

  box_it("show one tree, what upper ones delete left out, and cannot be written", function()
    local r = run("ls -A /m; cat /m/l/f; touch /m/x; ls -d /m/bin/sh", { mounts = { { type = "layers", target = "/m",
      lowers = { image, top } } } })
    assert.matches("\nd\n", "\n" .. r.out)
    assert.matches("new", r.out)
    assert.matches("touch: /m/x: Read%-only file system", r.out)
    assert.matches("ls: /m/bin/sh: No such file", r.out)
  end)

  box_it("begin at a path that is resolved inside, be it a file", function()
    local r = run("cat /m/f /file", { mounts = { { type = "layers", target = "/m", lowers = { top }, subpath = "l" },
      { type = "layers", target = "/file", lowers = { image, top }, subpath = "/../l/f" } } })
    assert.equal("new\nnew\n", r.out)
  end)

  box_it("that are not there stop the start", function()
    local _, err = start { argv = { "/bin/true" }, mounts = { { type = "layers", target = "/m", lowers = { base .. "/none" } } } }
    assert.equal("sandbox: mount layers (overlay) '/m': No such file or directory", tostring(err))
    assert.error_matches(function() start { argv = { "/bin/true" }, mounts = { { type = "layers", target = "/m" } } } end,
      "type layers needs lowers")
  end)
end)

-- A note with an errno for overlayfs where there is none shows whether it was believed.
describe("what worked in a store", function()
  local store = base .. "/noted"
  local function overlay()
    return output(child.command([[
      local e = assert(require("bakery.sandbox").enter { dir = ... })
      io.write(tostring(e.overlay), #e.tries, e.mode)
    ]], store))
  end
  local function note(change)
    local text = io.open(store .. "/tier"):read "a"
    local changed = change(text)
    assert.not_equal(text, changed)
    write(store .. "/tier", changed)
  end
  local function no_overlay(text) return (text:gsub(" 0\n$", " 1\n")) end
  local function noted_it(name, fn)
    box_it(name, function()
      sh("rm -rf " .. store .. " && mkdir " .. store)
      assert.equal("true1root", overlay())
      fn()
    end)
  end

  noted_it("is believed the next time", function()
    note(no_overlay)
    assert.equal("false1root", overlay())
    assert.equal("tier", output("ls -A " .. store):match "^%s*(.-)%s*$")
  end)

  for name, change in pairs {
    ["in another boot"] = function(t) return (t:gsub("\n%x", "\nx", 1)) end,
    ["with other capabilities"] = function(t) return (t:gsub("(CapEff:%s+)%x", "%1e")) end,
    ["in another namespace"] = function(t) return (t:gsub("\n%d+:%d+\n", "\n1:1\n", 1)) end,
    ["cut short"] = function(t) return t:sub(1, -2) end,
    ["with more behind it"] = function(t) return t .. ("x"):rep(100) end,
    ["of another mode"] = function(t) return (t:gsub("%d 1\n$", "3 1\n")) end,
  } do
    noted_it("is tried again when the note is " .. name, function()
      note(function(text) return change(no_overlay(text)) end)
      assert.equal("true1root", overlay())
    end)
  end

  noted_it("is tried again after an hour, and where the note is a link or somebody else's", function()
    note(no_overlay)
    sh("touch -d '61 minutes ago' " .. store .. "/tier")
    assert.equal("true1root", overlay())
    note(no_overlay)
    sh("mv " .. store .. "/tier " .. base .. "/elsewhere && ln -s " .. base .. "/elsewhere " .. store .. "/tier")
    assert.equal("true1root", overlay())
    sh("rm " .. store .. "/tier && mv " .. base .. "/elsewhere " .. store .. "/tier && chown 65534 " .. store .. "/tier")
    assert.equal("true1root", overlay())
  end)
end)

describe("sandbox.enter", function()
  local ENTER = [[
    local sandbox, process = require "bakery.sandbox", require "bakery.process"
    local image, upper, work, line, uid = ...
    local before = process.uid()
    local e = assert(sandbox.enter())
    assert(sandbox.enter().mode == e.mode)
    local ns = io.popen "readlink /proc/$PPID/ns/mnt":read "l"
    os.execute("mkdir -p " .. upper .. " " .. work)
    print(e.mode, before, process.uid(), ns)
    if line == "" then return end
    local reader, fd = process.pipe()
    local box <close> = assert(sandbox.spawn { lowers = { image }, upper = upper, work = work, env = { "PATH=/bin" },
      argv = { "/bin/sh", "-c", line }, stdout = fd, stderr = fd, userxattr = e.userxattr, network = "none",
      uid = tonumber(uid), gid = tonumber(uid) })
    process.close_fd(fd)
    while true do
      local s = reader:read()
      if not s then break end
      io.write(s)
    end
    print("code " .. box:wait().code)
  ]]

  -- Runs ENTER as an ordinary user, optionally with a range of subordinate ids.
  local function as_nobody(line, range, uid, prepare)
    local home = base .. "/nobody"
    if not os.execute("test -d " .. home) then
      sh(("chmod 755 %s && mkdir %s && chown 65534:65534 %s"):format(base, home, home))
      sh(("setpriv --reuid=65534 --regid=65534 --clear-groups cp -r --no-preserve=ownership %s %s/image"):format(image, home))
      write(home .. "/subid", "root:1:2\nnobody:100000:65536\n", "644")
    end
    count = count + 1
    local run_dir = home .. "/run" .. count
    local command = child.command(ENTER, home .. "/image", run_dir .. "/upper", run_dir .. "/work", line, uid or 0)
    sh("chmod 644 " .. child.files[#child.files])
    local files = range and home .. "/subid" or "/dev/null"
    return output(("unshare -m sh -c %s 2>&1"):format(child.quote(
      ("%s; mount --bind %s /etc/subuid && mount --bind %s /etc/subgid && cd / && "
      .. "exec setpriv --reuid=65534 --regid=65534 --clear-groups %s")
      :format(prepare or "true", files, files, command)))), run_dir .. "/upper"
  end

  local rootless = usable and has "setpriv" and sandbox.probe { dir = base }.tries[2].overlay == true
  local function rootless_it(name, fn)
    it(name, rootless and fn or function() pending("skipped: needs root (to become nobody), setpriv and user namespaces") end)
  end

  box_it("gives root a mount namespace of its own", function()
    local text = output(child.command(ENTER, image, base .. "/e/u", base .. "/e/w", ""))
    local mode, before, after, ns = text:match("(%S+)\t(%S+)\t(%S+)\t(%S+)")
    assert.same({ "root", "0", "0" }, { mode, before, after })
    assert.not_equal(output "readlink /proc/self/ns/mnt", ns)
  end)

  rootless_it("makes an ordinary user root of a namespace with one id, where owners cannot change", function()
    local text, upper = as_nobody("id -u; touch /f; chown 33:33 /f && stat -c %u:%g /f; mknod /dev/x c 1 3; "
      .. "echo $?; rm /etc/keep; ls /sys/class/net; grep -E 'CapEff|Seccomp:' /proc/self/status")
    assert.matches("^rootless%-single\t65534\t0\t", text)
    assert.matches("\n0\n0:0\n0\nlo\n", text)
    assert.matches("CapEff:\t00000000a80425fb\nSeccomp:\t2\ncode 0$", text)
    assert.equal("65534", output(("stat -c %%u %s/f"):format(upper)))
    assert.equal("character special file 0", output(("stat -c '%%F %%t' %s/etc/keep"):format(upper)))
  end)

  rootless_it("pretends another user when there is one id only", function()
    assert.matches("\n0\ncode 0$", as_nobody("id -u", false, 1000))
  end)

  rootless_it("tells apt to stay root where there is one id", function()
    local line = "cat /etc/apt/apt.conf.d/*; ls /etc"
    assert.not_matches("\napt\n", (as_nobody(line)))
    sh(("cd %s/nobody/image/etc && mkdir -p apt/apt.conf.d && chown -R 65534:65534 apt"):format(base))
    assert.matches('\nAPT::Sandbox::User "root";\n', (as_nobody(line)))
    assert.not_matches("APT::", (as_nobody(line, true)))
    sh(("rm -r %s/nobody/image/etc/apt"):format(base))
  end)

  rootless_it("uses ranges of subordinate ids", function()
    if not has "newuidmap" then return pending "skipped: needs uidmap" end
    local text, upper = as_nobody("touch /f; chown 33:44 /f && stat -c %u:%g /f; rm /etc/keep; mkdir /etc/new; id -G", true)
    assert.matches("^rootless\t65534\t0\t", text)
    assert.matches("\n33:44\n0\ncode 0$", text)
    assert.equal("100032:100043", output(("stat -c %%u:%%g %s/f"):format(upper)))
    assert.matches("\n1000 1000\ncode 0$", (as_nobody("echo $(id -u) $(id -g)", true, 1000)))
  end)

  rootless_it("borrows /proc and /sys where fresh ones are not allowed", function()
    local text = as_nobody("cat /proc/1/comm /proc/self/comm; cat /proc/keys; echo x > /dev/stdout; test -e /sys/class/net && echo sys; "
      .. "touch /proc/sys/kernel/panic; head -c1 /proc/2/environ", false, 0,
      "mount --bind /dev/null /proc/keys; mount -t tmpfs none /sys/kernel")
    assert.matches("^rootless%-single\t65534\t0\t[^\n]*\n([^\n]*)\ncat\nx\nsys\n", text)
    assert.equal(output "cat /proc/1/comm", text:match("\n([^\n]*)\ncat\n"))
    assert.matches("panic: Read%-only file system", text)
    assert.matches("code [1-9]%d*$", text)
  end)

  rootless_it("works for root with no more capabilities than Docker gives a container", function()
    local command = child.command(ENTER, image, base .. "/c/u", base .. "/c/w", "touch /f; chown 5:6 /f; stat -c %u:%g /f", 0)
    assert.matches("^root%-userns\t0\t0\t[^\n]*\n5:6\ncode 0$", output("setpriv --bounding-set=-all,+chown,+dac_override,"
      .. "+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write "
      .. command .. " 2>&1"))
  end)

  it("reads subordinate ids, whatever else the file holds", function()
    local text = "# comment\nann:100000:65536\nbob:1:2\n1000:300000:10\nann:x:1\nann:5\nann:1:0\nann:4294967295:2\n:1:1\nann:7:8"
    assert.same({ { first = 100000, count = 65536 }, { first = 7, count = 8 } }, sandbox.subids(text, "ann", 999))
    assert.same({ { first = 300000, count = 10 } }, sandbox.subids(text, "nobody", 1000))
    assert.same({}, sandbox.subids("", "ann", 1))
    assert.same({}, sandbox.subids("ann:99999999999999999999:1\nann:1:99999999999999999999", "ann", 1))
  end)
end)

describe("sandbox.probe", function()
  local CODE = [[
    local p = require "bakery.sandbox".probe { dir = ... }
    local out = { p.tier, p.mode }
    for _, t in ipairs(p.tries) do out[#out + 1] = t.tier .. (t.usable and "+" or "-" .. t.why) end
    print(table.concat(out, " | "))
  ]]
  local MODES = { "root", "root-userns", "rootless", "rootless-single", "chroot", "copy-only" }

  -- What the probe finds behind a prefix of the command line, in a directory that everybody may use.
  local function probe(prefix)
    local dir = base .. "/probe" .. count
    count = count + 1
    sh(("mkdir -p %s && chmod 1777 %s && chmod 755 %s"):format(dir, dir, base))
    local command = child.command(CODE, dir)
    sh("chmod 644 " .. child.files[#child.files])
    local text = output("cd / && " .. prefix:gsub("%%", "%%%%"):gsub("CMD", (command:gsub("%%", "%%%%"))) .. " 2>&1")
    assert.equal("", output("ls -A " .. dir)) -- trying leaves nothing
    return text
  end

  it("tells what is possible, why not, and what would change that", function()
    local p = sandbox.probe { dir = base }
    assert.matches("^[A-G]$", p.tier)
    assert.is_boolean(p.newuidmap)
    assert.is_boolean(p.pidfd)
    for i, t in ipairs(p.tries) do
      assert.equal(MODES[i], t.mode)
      assert.is_boolean(t.usable)
      if not t.usable then assert.truthy(#t.why > 0 and #t.fix > 0, t.mode) end
    end
    if usable then assert.same({ "A", "root" }, { p.tier, p.mode }) end
  end)

  it("sees less with fewer privileges", function()
    if not usable or not has "setpriv" then return pending "skipped: needs root and setpriv" end
    if not os.execute("setpriv --reuid=65534 --regid=65534 --clear-groups unshare -U true 2>/dev/null") then
      return pending "skipped: needs user namespaces"
    end
    local nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups CMD"
    assert.matches("^E | rootless%-single | A%-not root | C%-not root | D%-no range for nobody in /etc/subuid[^|]*| E%+ | F%-not root | G%+$",
      probe(nobody))
    assert.matches("^B | root | B%+", probe "unshare -U --map-root-user -m CMD")
    if not has "gcc" then return pending "skipped: needs gcc" end
    local confine = base .. "/confine"
    sh("gcc -D_GNU_SOURCE -o " .. confine .. " tests/lib/confine.c")
    local docker = "--bounding-set=-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,"
      .. "+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write"
    assert.matches("^C | root%-userns | A%-CAP_SYS_ADMIN is missing | C%+ |", probe("setpriv " .. docker .. " CMD"))
    assert.matches("^F | chroot | A%-CAP_SYS_ADMIN is missing | C%-a seccomp filter refuses to create user namespaces .*| F%+ | G%+$",
      probe(confine .. " unshare,mount setpriv " .. docker .. " CMD"))
    assert.matches("^F | chroot | A%-a seccomp filter refuses to create a mount namespace %(Operation not permitted%) |",
      probe(confine .. " unshare,mount CMD"))
    assert.matches("^F | chroot | A%-a seccomp filter refuses to make mounts private [^|]*| C%-a seccomp filter refuses to",
      probe(confine .. " mount CMD"))
    assert.matches("^G | copy%-only | .*F%-missing capabilities: SYS_CHROOT | G%+$",
      probe(confine .. " unshare,mount setpriv " .. docker:gsub(",%+sys_chroot", "") .. " CMD"))
    assert.matches("^G | copy%-only | .*E%-a seccomp filter refuses to create user namespaces | F%-not root | G%+$",
      probe(confine .. " unshare,mount " .. nobody))
    assert.matches("^G | copy%-only | .*F%-chroot is refused: Operation not permitted | G%+$",
      probe(confine .. " unshare,chroot CMD"))
  end)
end)

teardown(function()
  child.clean()
  os.execute("rm -rf " .. base)
end)
