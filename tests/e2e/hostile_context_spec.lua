--- Contexts and Containerfiles that try to reach what is not theirs, or to keep the builder waiting.
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local peers = require "lib.peers"
local process = require "bakery.process"
local world = require "lib.world"

local BASE = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\n"

local function sh(dir, script) world.run({ "sh", "-ec", script }, { cwd = dir }) end

local function build(dir, args, store)
  local cmd = { "build", "-C", dir, "--store", store or world.tmp() .. "/store", "--progress", "plain" }
  table.move(args or {}, 1, #(args or {}), #cmd + 1, cmd)
  return world.bakery(cmd, { timeout = 60 })
end

local function has(text, part) assert.is_truthy(text:find(part, 1, true), "no '" .. part .. "' in\n" .. text) end

describe("hostile contexts", function()
  local outside -- a directory that no build may reach
  before_each(function()
    outside = world.tmp()
    world.write(outside, { victim = "outside-secret", ["sub/victim"] = "outside-secret" })
  end)
  teardown(world.cleanup)

  local function untouched()
    assert.same({ "sub", "victim" }, fs.list(outside))
    assert.same({ "victim" }, fs.list(outside .. "/sub"))
    assert.equal("outside-secret", fs.read(outside .. "/victim"))
  end

  it("end archives that are bombs at a limit", function()
    local store = world.tmp() .. "/store"
    local dir = world.project { app = BASE .. "COPY t.tgz /kept.tgz\nADD t.tgz /x/\n" }
    local many = world.project { app = BASE .. "ADD t.tar.xz /x/\n" }
    sh(dir, "dd if=/dev/zero of=zeros bs=1M count=64 2>&1; tar -czf app/1.0.0/t.tgz zeros; rm zeros; mv app/1.0.0/t.tgz .")
    sh(many, "mkdir m; cd m; seq 40000 | xargs touch; tar -cJf ../t.tar.xz .; cd ..; rm -r m")
    for name, d in pairs { ["t.tgz"] = dir, ["t.tar.xz"] = many } do
      local r = world.bakery({ "build", "-C", d, "--store", store, "--progress", "plain" }, { env = { BAKERY_LAYER_MAX = "16m" } })
      assert.equal(1, r.code, r.stderr)
      has(r.stderr, "unpack '" .. name .. "'")
      has(r.stderr, "archive is larger than 16777216 bytes when unpacked")
      has(r.stderr, "BAKERY_LAYER_MAX (64g)")
      has(r.stderr, "Containerfile:")
      assert.same({}, fs.list(store .. "/tmp"))
    end
    assert.equal(0, build(dir, nil, store).code)
  end)

  it("may have so many files and no more, in one directory or in many", function()
    local dir = world.project { app = BASE .. "COPY many /x/\n" }
    local archived = world.project { app = BASE .. "ADD many.tar /x/\n" }
    sh(dir, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do mkdir -p many/$i; (cd many/$i; seq 100 | xargs touch); done")
    sh(archived, "tar -cf many.tar -C " .. dir .. " many")
    local limit = { env = { BAKERY_LAYER_ENTRIES = "1211" } } -- of 1212; the archive has one more
    for what, d in pairs { ["what is copied"] = dir, ["the archive"] = archived } do
      local r = world.bakery({ "build", "-C", d, "--store", world.tmp() .. "/s", "--progress", "plain" }, limit)
      assert.equal(1, r.code, r.stderr)
      has(r.stderr, what .. " has more than 1211 entries")
      has(r.stderr, "BAKERY_LAYER_ENTRIES (4000000)")
      has(r.stderr, "Containerfile:")
    end
    limit.env.BAKERY_LAYER_ENTRIES = "1213"
    for _, d in ipairs { dir, archived } do
      assert.equal(0, world.bakery({ "build", "-C", d, "--store", world.tmp() .. "/s", "--progress", "plain" }, limit).code)
    end
  end)

  it("lead nowhere with links and dots", function()
    for _, row in ipairs {
      { "ln -s OUT out", "COPY out/victim /x" }, { "ln -s OUT/victim out", "COPY out /x" }, { "ln -s OUT out", "COPY out /x" },
      { "true", "COPY ../../../../../../../../OUT/victim /x" }, { "ln -s ../../../../../../../../OUT out", "ADD out/victim /x" },
      { "ln -s out out", "COPY out /x" }, { "ln -s b a; ln -s a b", "COPY a/c /x" }, { "ln -s OUT out", "RUN --mount=source=out,target=/m cat /m/victim" },
      { "true", "RUN --mount=source=../../../../../../OUT,target=/m cat /m/victim" }, { "ln -s OUT out", "COPY --parents out/victim /x/" },
    } do
      local dir = world.project { app = BASE .. row[2]:gsub("OUT", outside:sub(2)) .. "\n" }
      sh(dir, (row[1]:gsub("OUT", outside)))
      local r = build(dir)
      assert.equal(1, r.code, row[2] .. "\n" .. r.stderr)
      has(r.stderr, "Containerfile:4")
      assert.is_nil(r.stderr:find("outside-secret", 1, true))
      untouched()
    end
  end)

  it("write nothing outside through links of the image", function()
    local dir = world.project { app = BASE .. ("COPY tree /\nCOPY tree /out/\nCOPY f /out/new\nADD t.tar /out\nWORKDIR /out/made\n"
      .. "RUN --mount=type=cache,target=/out/cache,id=../../../../OUT touch /out/cache/f\nRUN --mount=type=tmpfs,target=/out/tmp true\n"
      .. "RUN --mount=source=f,target=/out/deep/f cat /out/deep/f\nCOPY <<E /out/doc\nx\nE\n"):gsub("OUT", outside:sub(2)) }
    world.write(dir, { f = "f", ["tree/x"] = "x" })
    sh(dir, ("ln -s %s tree/out; echo a > member; tar -cf t.tar member"):format(outside))
    local out = world.tmp() .. "/oci"
    local r = build(dir, { "--output", "oci:" .. out })
    untouched()
    assert.equal(0, r.code, r.stderr)
    local tree = peers.tree(out)
    assert.is_true(tree.exists(outside:sub(2) .. "/new"))
    assert.is_true(tree.exists(outside:sub(2) .. "/member"))
    assert.is_false(tree.exists(outside:sub(2) .. "/victim"))
  end)

  it("do not have what bakery itself keeps below them", function()
    local dir = world.project({ app = "FROM scratch\nCOPY . /x\n" }, { base = false })
    local out, digests = world.tmp(), {}
    for i = 1, 3 do
      local r = world.bakery({ "build", "-C", dir, "--store", dir .. "/own/[s]*", "--progress", "plain", "--output", "oci:" .. out .. "/" .. i },
        { timeout = 60, env = { XDG_STATE_HOME = dir .. "/state", XDG_CACHE_HOME = dir .. "/cache" } })
      assert.equal(0, r.code, r.stderr)
      digests[i] = peers.config(out .. "/" .. i).rootfs.diff_ids[1]
    end
    assert.equal(digests[2], digests[3]) -- before the first run there is no directory of bakery's
    local tree = peers.tree(out .. "/3")
    assert.is_true(tree.exists "x/bakery.yaml")
    assert.is_true(tree.exists "x/own")
    for _, path in ipairs { "x/own/[s]*", "x/state/bakery", "x/cache/bakery" } do assert.is_false(tree.exists(path), path) end
  end)

  it("hold nobody up with fifos and sockets", function()
    local dir = world.project { app = BASE .. "COPY d /d\nCOPY d/*fo /\n" }
    world.write(dir, { ["d/f"] = "f" })
    sh(dir, "mkfifo d/fifo; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/socket\")'")
    local out, started = world.tmp() .. "/oci", loop.now()
    local r = build(dir, { "--output", "oci:" .. out })
    assert.equal(0, r.code, r.stderr)
    assert.is_true(loop.now() - started < 30)
    assert.is_true(peers.tree(out).exists "d/f")
    for _, name in ipairs { ".dockerignore", "app/1.0.0/Containerfile" } do
      dir = world.project { app = BASE }
      fs.remove(dir .. "/" .. name)
      sh(dir, "mkfifo " .. name)
      r = build(dir)
      assert.equal(2, r.code, name .. "\n" .. r.stderr)
      assert.is_nil(r.stderr:find("traceback", 1, true))
      has(r.stderr, name:match "[^/]*$")
    end
  end)

  it("cannot make deletions of names", function()
    for _, name in ipairs { ".wh.victim", ".wh..wh..opq", ".wh." } do
      local dir = world.project { app = BASE .. "COPY d /\n" }
      world.write(dir, { ["d/" .. name] = "" })
      local r = build(dir)
      assert.equal(1, r.code)
      has(r.stderr, ".wh.")
      has(r.stderr, "Containerfile:4")
      local in_run = build(world.project { app = BASE .. "RUN touch /tmp/" .. name .. "\n" })
      assert.equal(1, in_run.code)
      has(in_run.stderr, ".wh.")
    end
  end)

  it("show nothing of the outside while links are swapped under a COPY", function()
    local dir = world.project { app = BASE .. "COPY d /d\n" }
    for i = 1, 300 do world.write(dir, { ["d/swap/f" .. i] = "inside", ["inside/f" .. i] = "inside" }) end
    for i = 1, 300 do world.write(outside, { ["sub/f" .. i] = "outside-secret" }) end
    local swapper = assert(process.spawn { cmd = { "python3", "-c", [[
import os, sys
d, out = sys.argv[1], sys.argv[2]
os.symlink(out, d + "/link")
while True:
    os.rename(d + "/d/swap", d + "/d.kept"); os.rename(d + "/link", d + "/d/swap")
    os.rename(d + "/d/swap", d + "/link"); os.rename(d + "/d.kept", d + "/d/swap")
]], dir, outside .. "/sub" } })
    local store, good = world.tmp() .. "/store", 0
    for i = 1, 12 do
      local out = ("%s/oci%d"):format(world.tmp(), i)
      local r = build(dir, { "--no-cache", "--compression", "none", "--output", "oci:" .. out }, store)
      if r.code == 0 then
        good = good + 1
        assert.equal(1, process.run({ cmd = { "grep", "-rq", "outside-secret", out } }).code)
      else
        has(r.stderr, "Containerfile:4")
      end
      assert.equal(1, process.run({ cmd = { "grep", "-rq", "outside-secret", store } }).code)
    end
    swapper:close()
    -- Races may be lost, never both ways; left alone it builds.
    if not fs.is_dir(dir .. "/d/swap") or fs.readlink(dir .. "/d/swap") then
      fs.remove(dir .. "/d/swap")
      fs.rename(dir .. "/d.kept", dir .. "/d/swap")
    end
    local r = build(dir, nil, store)
    assert.equal(0, r.code, r.stderr)
    assert.equal(0, world.bakery({ "store", "check", "--store", store }).code)
  end)

  it("of many entries cost no more than their walk", function()
    local dir = world.project { app = "FROM scratch\nCOPY one/f /f\n" }
    world.write(dir, { ["one/f"] = "f" })
    sh(dir, "mkdir many; cd many; seq 20000 | xargs touch")
    local started = loop.now()
    local r = build(dir)
    assert.equal(0, r.code, r.stderr)
    assert.is_true(loop.now() - started < 5, "other parts of the context are read")
  end)

  it("of more than 100,000 entries are copied in little memory", function()
    if os.getenv "SANITIZE" then return pending "AddressSanitizer keeps what is freed" end
    local dir = world.project({ app = "FROM scratch\nCOPY many /many\n" }, { base = false })
    world.run({ "python3", "-c", [[
import os
for d in range(110):
    os.makedirs("many/%d" % d); open("many/%d/0" % d, "w").close()
    for i in range(1, 1000): os.link("many/%d/0" % d, "many/%d/%d" % (d, i))
]] }, { cwd = dir })
    local r = assert(process.run { cmd = { "python3", "-c", "import resource, subprocess, sys; c = subprocess.run(sys.argv[1:]).returncode; "
      .. "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(c)", world.bin, "build", "-C", dir, "--store",
      world.tmp() .. "/store", "--progress", "quiet", "--compression", "none", "--output", "oci:" .. dir .. "/oci" }, timeout = 120,
      env = { XDG_STATE_HOME = world.state, SOURCE_DATE_EPOCH = "" } })
    assert.equal(0, r.code, r.stderr)
    local layer = peers.config(dir .. "/oci").rootfs.diff_ids[1]
    local names = world.run { "tar", "-tf", dir .. "/oci/blobs/" .. layer:gsub(":", "/") }.stdout
    assert.equal(110 * 1001 + 1, select(2, names:gsub("\n", "")))
    local peak = tonumber(r.stdout:match "(%d+)%s*$")
    assert.is_true(peak < 100 << 10, peak .. " KiB")
  end)

  it("with devices, fifos and sockets give the same image without any privilege", function()
    if process.uid() ~= 0 then return pending "needs root to make device nodes" end
    local dir = world.project({ app = "FROM scratch\nCOPY d /d\nCOPY d/zero /z\n" }, { base = false })
    world.write(dir, { ["d/f"] = "f" })
    sh(dir, "mknod d/zero c 1 5; mknod d/disk b 8 0; chmod 666 d/zero d/disk; mkfifo d/fifo; "
      .. "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/socket\")'")
    fs.chmod(dir, 493)
    local bin, first = world.tmp() .. "/bakery", nil
    assert(fs.copy(world.bin, bin))
    for _, path in ipairs { bin, fs.dirname(bin) } do fs.chmod(path, 493) end
    for _, case in ipairs { { "auto" }, { "chroot" }, { "copy-only", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" } } do
      local home = world.tmp()
      if case[2] then world.run { "chown", "65534:65534", home } end
      local cmd = table.move(case, 2, #case, 1, {})
      for _, a in ipairs { bin, "build", "-C", dir, "--store", home .. "/store", "--results", home .. "/results", "--isolation", case[1],
        "--progress", "quiet", "--compression", "none", "--output", "oci:" .. home .. "/oci" } do cmd[#cmd + 1] = a end
      local r = process.run { cmd = cmd, env = { HOME = home, XDG_STATE_HOME = home, SOURCE_DATE_EPOCH = "5",
        BAKERY_ROOT = os.getenv "BAKERY_ROOT" }, timeout = 30 }
      assert.equal(0, r.code, r.stderr)
      local layer = peers.config(home .. "/oci").rootfs.diff_ids[1]
      local list = world.run { "tar", "-tvf", home .. "/oci/blobs/" .. layer:gsub(":", "/") }.stdout
      for _, want in ipairs { "crw%-rw%-rw%-[^\n]* 1,5 [^\n]*d/zero", "brw%-rw%-rw%-[^\n]* 8,0 [^\n]*d/disk", "prw[^\n]*d/fifo",
        "%-rw[^\n]* 0 [^\n]*d/socket" } do
        assert.truthy(list:find(want), list)
      end
      first = first or list
      assert.equal(first, list)
    end
  end)
end)
