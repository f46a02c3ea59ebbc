--- --output and --load: files, archives and engines.
local world = require "lib.world"
local fs = require "bakery.fs"
local process = require "bakery.process"

local ONE = "FROM scratch\nCOPY base/ /\nRUN mkdir -p -m 700 /d/inner && chown 1000:50 /d/inner && touch -d '2001-02-03 04:05:06' /d/inner"
  .. " && echo one > /d/f && ln /d/f /d/hard && ln -s f /d/soft && chown 1000:50 /d/f && chmod 4755 /d/f\n"
  .. "RUN rm -rf /home\nCMD [\"/bin/cat\", \"/d/f\"]\n"
local TWO = "FROM scratch\nCOPY base/etc/ /etc/\n"

describe("outputs", function()
  local dir, store
  setup(function()
    store = world.tmp() .. "/store"
    dir = world.project { one = ONE, two = TWO }
  end)
  teardown(world.cleanup)

  local function build(args, env)
    local cmd = { "build", "-C", dir, "--store", store, "--progress", "plain" }
    for _, a in ipairs(args) do cmd[#cmd + 1] = a end
    return world.bakery(cmd, { env = env })
  end
  local function ok(r)
    assert.equal(0, r.code, r.stderr)
    return r
  end
  local function only(...) return { "--image-name", "^one$", ... } end

  it("local:DIR writes the files of one image, whiteouts applied", function()
    local out = world.tmp() .. "/new/out"
    ok(build(only("--output", "local:" .. out)))
    assert.equal("one\n", fs.read(out .. "/d/f"))
    assert.equal("f", fs.readlink(out .. "/d/soft"))
    assert.is_false(fs.exists(out .. "/home"))
    local f, hard = fs.stat(out .. "/d/f"), fs.stat(out .. "/d/hard")
    assert.equal(f.ino, hard.ino)
    if process.uid() == 0 then assert.same({ 1000, 50 }, { f.uid, f.gid }) end
    assert.same({ "bin", "d", "etc", "root", "tmp" }, fs.list(out))
    local inner = fs.stat(out .. "/d/inner")
    assert.same({ 448, 981173106 }, { inner.mode, inner.mtime })
    if process.uid() == 0 then assert.same({ 1000, 50 }, { inner.uid, inner.gid }) end
  end)

  it("merges into a directory and replaces what is in the way, links included", function()
    local out = world.tmp()
    world.write(out, { ["keep/me"] = "kept", ["d/f"] = "old", ["d/soft/inside"] = "x", ["d/inner/x"] = "y", ["victim/f"] = "untouched" })
    assert(fs.symlink("victim", out .. "/etc"))
    ok(build(only("-o", out .. "/")))
    assert.equal("kept", fs.read(out .. "/keep/me"))
    assert.equal("one\n", fs.read(out .. "/d/f"))
    assert.equal("f", fs.readlink(out .. "/d/soft"))
    assert.equal("y", fs.read(out .. "/d/inner/x"))
    assert.equal(981173106, fs.stat(out .. "/d/inner").mtime)
    assert.equal("dir", fs.stat(out .. "/etc", false).type) -- not through the link
    assert.same({ "f" }, fs.list(out .. "/victim"))
    for _, name in ipairs(fs.list(out)) do assert.is_nil(name:find("bakery-part", 1, true)) end
  end)

  it("writes to another file system", function()
    if not fs.is_writable "/dev/shm" or fs.stat("/dev/shm").dev == fs.stat(store).dev then
      return pending "skipped: needs a second file system at /dev/shm"
    end
    local out = assert(fs.tmpdir("bakery-out", { memory = true }))
    ok(build(only("--output", "type=local,dest=" .. out)))
    assert.equal("one\n", fs.read(out .. "/d/f"))
    fs.remove(out, { recursive = true })
  end)

  it("gives several images a directory each", function()
    local out = world.tmp() .. "/all"
    ok(build { "--output", "local:" .. out })
    assert.same({ "one-1-0-0", "two-1-0-0" }, fs.list(out))
    assert.equal("one\n", fs.read(out .. "/one-1-0-0/d/f"))
    assert.same({ "etc" }, fs.list(out .. "/two-1-0-0"))
  end)

  it("tar:FILE is the files as one archive, the same each time", function()
    local out = world.tmp()
    ok(build(only("--output", "tar:" .. out .. "/a.tar", "--output", "type=tar,dest=" .. out .. "/b.tar")))
    assert.equal(fs.read(out .. "/a.tar"), fs.read(out .. "/b.tar"))
    local list = world.run({ "tar", "tvf", out .. "/a.tar" }).stdout
    assert.truthy(list:find("d/hard link to d/f", 1, true), list)
    assert.is_nil(list:find(".wh.", 1, true), list)
    assert.same({ "a.tar", "b.tar" }, fs.list(out))
  end)

  it("refuses what it does not know before anything is built", function()
    for spec, text in pairs {
      foo = "unknown output 'foo'", ["zip:x"] = "unknown output 'zip:x'", ["type=image,name=x"] = "unknown output",
      ["type=local"] = "has no dest", ["type=local,dest=x,mode=y"] = "unknown field 'mode'",
      ["type=oci,dest=x"] = "add tar=false",
    } do
      local r = build { "--output", spec }
      assert.equal(2, r.code, spec)
      assert.truthy(r.stderr:find(text, 1, true), r.stderr)
      assert.is_nil(r.stderr:find("] run", 1, true), r.stderr)
    end
  end)

  it("--load brings images into podman", function()
    if not world.needs "podman" then return end
    if process.uid() ~= 0 then return pending "skipped: needs root" end
    local root = world.tmp()
    world.write(root, { ["storage.conf"] = ('[storage]\ndriver = "vfs"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n'):format(root, root) })
    -- a PATH in which podman is the only engine
    assert(fs.mkdir(root .. "/bin"))
    assert(fs.symlink(process.which "podman", root .. "/bin/podman"))
    local env = { CONTAINERS_STORAGE_CONF = root .. "/storage.conf", DOCKER_HOST = "",
      PATH = root .. "/bin:" .. os.getenv("PATH") }
    local r = ok(build(only "--load", env))
    assert.truthy(r.stderr:find("loaded into podman", 1, true), r.stderr)
    local list = world.run({ "podman", "images", "--format", "{{.Repository}}:{{.Tag}}" }, { env = env }).stdout
    assert.truthy(list:find("one:1.0.0", 1, true), list)
  end)

  it("says what an engine said when it refuses, and when there is none", function()
    local bin = world.tmp()
    world.write(bin, { docker = "#!/bin/sh\necho 'no daemon here'\nexit 3\n" })
    local r = build(only "--load", { PATH = bin, DOCKER_HOST = "tcp://127.0.0.1:1" })
    assert.equal(6, r.code)
    assert.truthy(r.stderr:find("docker load: exit code 3", 1, true) and r.stderr:find("no daemon here", 1, true), r.stderr)
    r = build(only "--load", { PATH = world.tmp(), DOCKER_HOST = "" })
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("neither docker nor podman", 1, true), r.stderr)
  end)
end)
