--- Bases that attack whoever unpacks them, and registries that lie.
local world = require "lib.world"
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local process = require "bakery.process"
local layers = require "lib.layers"
local registry = require "lib.registry"

-- Python makes the layers: it writes what it is told.
local MAKE = [[
import sys, tarfile, io
t = tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT)
def add(name, type=tarfile.REGTYPE, data=b"", link="", **kw):
    i = tarfile.TarInfo(name); i.type = type; i.size = len(data); i.linkname = link; i.mode = 0o644
    for k, v in kw.items(): setattr(i, k, v)
    t.addfile(i, io.BytesIO(data) if data else None)
add("bin", tarfile.DIRTYPE, mode=0o755)
add("bin/sh", data=b"#!")
kind, outside = sys.argv[2], sys.argv[3]
if kind == "dotdot": add("../../../../../../.." + outside + "/pwned", data=b"x")
elif kind == "absolute": add(outside + "/pwned", data=b"x")
elif kind == "symlink":
    add("d", tarfile.SYMTYPE, link=outside); add("d/pwned", data=b"x")
elif kind == "hardlink":
    add("h", tarfile.LNKTYPE, link="../../../../../../.." + outside + "/victim"); add("h", data=b"pwned")
elif kind == "hardlink-symlink":
    add("s", tarfile.SYMTYPE, link=outside); add("h", tarfile.LNKTYPE, link="s/victim")
elif kind == "device": add("dev0", tarfile.CHRTYPE, devmajor=1, devminor=3)
t.close()
if kind == "truncated":
    d = open(sys.argv[1], "rb").read(); open(sys.argv[1], "wb").write(d[:700])
if kind == "checksum":
    d = bytearray(open(sys.argv[1], "rb").read()); d[150] ^= 1; open(sys.argv[1], "wb").write(d)
]]

describe("hostile bases", function()
  local reg
  setup(function() reg = registry.start {} end)
  teardown(function()
    reg:stop()
    world.cleanup()
  end)

  local function push(kind, outside)
    local dir = world.tmp()
    assert(fs.write(dir .. "/make.py", MAKE))
    world.run { "python3", dir .. "/make.py", dir .. "/layer.tar", kind, outside }
    local layer = layers.layout(dir .. "/oci", dir .. "/layer.tar")
    world.run { "skopeo", "copy", "--preserve-digests", "--dest-tls-verify=false", "oci:" .. dir .. "/oci:1",
      "docker://" .. reg.host .. "/h/" .. kind .. ":1" }
    return layer
  end

  local function build(kind, store, prefix)
    local dir = world.project({ app = "FROM " .. reg.host .. "/h/" .. kind .. ":1\nCOPY f /bin/f\n" }, { base = false })
    world.write(dir, { f = "x" })
    fs.chmod(dir, 493)
    local cmd = prefix or {}
    for _, a in ipairs { world.bin, "build", "-C", dir, "--store", store, "--progress", "plain" } do cmd[#cmd + 1] = a end
    return process.run { cmd = cmd, env = { NO_COLOR = "1", XDG_STATE_HOME = world.state, HOME = store }, timeout = 60 }
  end

  it("never write or read outside of their layer, and leave the store sound", function()
    if not (world.needs "skopeo" and world.needs "python3") then return end
    local store = world.tmp() .. "/store"
    for _, kind in ipairs { "dotdot", "absolute", "symlink", "hardlink", "hardlink-symlink", "truncated", "checksum" } do
      local outside = world.tmp()
      assert(fs.write(outside .. "/victim", "untouched"))
      push(kind, outside)
      local r = build(kind, store)
      assert.same({ "victim" }, fs.list(outside), kind)
      assert.equal("untouched", fs.read(outside .. "/victim"), kind)
      assert.equal(1, fs.stat(outside .. "/victim").nlink, kind)
      -- Absolute names and links into the layer itself are legal in tar: they stay inside.
      if kind ~= "absolute" and kind ~= "symlink" then
        assert.truthy(r.code == 1 or r.code == 6, kind .. r.code .. r.stderr)
        assert.truthy(r.stderr:find("Containerfile:2", 1, true) or r.stderr:find("Containerfile:1", 1, true), r.stderr)
        assert.truthy(r.stderr:find("layer", 1, true), kind .. r.stderr)
      end
      assert.same({}, fs.list(store .. "/tmp"), kind)
    end
    assert.equal(0, world.bakery({ "store", "check", "--store", store }).code)
  end)

  it("with device nodes give empty files without root", function()
    if process.uid() ~= 0 then return pending("needs root to become nobody") end
    if not (world.needs "skopeo" and world.needs "python3") then return end
    push("device", "/")
    local home = world.tmp()
    world.run { "chown", "65534:65534", home }
    local r = build("device", home .. "/store", { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" })
    if r.stderr:find("user namespace", 1, true) then return pending("needs user namespaces") end
    assert.equal(0, r.code, r.stderr)
    local found = fs.glob(home .. "/store/layers/*/fs/dev0")
    assert.equal(1, #found)
    local st = fs.stat(found[1], false)
    assert.same({ "file", 0 }, { st.type, st.size })
    assert.equal(0, build("device", world.tmp() .. "/store").code)
  end)

  it("whose blobs were exchanged in the registry are refused", function()
    if not (world.needs "skopeo" and world.needs "python3") then return end
    local layer = push("plain", "/")
    local path = reg.dir .. "/data/docker/registry/v2/blobs/sha256/" .. layer:sub(8, 9) .. "/" .. layer:sub(8) .. "/data"
    if not fs.exists(path) then
      local found = world.run { "find", reg.dir, "-path", "*" .. layer:sub(8) .. "/data" }
      path = found.stdout:match "[^\n]+"
    end
    local text = assert(fs.read(path))
    assert(fs.write(path, text:sub(1, 600) .. "X" .. text:sub(602)))
    local started = loop.now()
    local r = build("plain", world.tmp() .. "/store")
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("digest", 1, true), r.stderr)
    assert.is_true(loop.now() - started < 60)
  end)
end)
