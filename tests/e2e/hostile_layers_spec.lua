--- Layers whose headers lie, explode or trick: refused with a reason, or contained.
local fs = require "bakery.fs"
local json = require "bakery.json"
local layers = require "lib.layers"
local peers = require "lib.peers"
local process = require "bakery.process"
local world = require "lib.world"

-- Python writes headers byte by byte: header(name, …) and pax(records) say what they are told.
local MAKE = [=[
import sys
out = open(sys.argv[1], "wb")
def num(v, n): return v if isinstance(v, bytes) else (b"%0*o" % (n - 1, v)) + b"\0"
def binary(v, n): return bytes([0xff if v < 0 else 0x80]) + (v & ((1 << (8 * (n - 1))) - 1)).to_bytes(n - 1, "big")
def header(name, type=b"0", size=0, mode=0o644, mtime=0, uid=0, gid=0, link=b"", dev=(0, 0), data=b""):
    size = size if isinstance(size, bytes) else size or len(data)
    h = bytearray(name.ljust(100, b"\0") + num(mode, 8) + num(uid, 8) + num(gid, 8) + num(size, 12) + num(mtime, 12) + b" " * 8
        + type + link.ljust(100, b"\0") + b"ustar\00000" + b"\0" * 64 + num(dev[0], 8) + num(dev[1], 8) + b"\0" * 167)
    h[148:156] = b"%06o\0 " % sum(h)
    out.write(h + data + b"\0" * (-len(data) % 512))
def record(key, value):
    n = len(key) + len(value) + 3
    while len(b"%d" % n) + len(key) + len(value) + 3 != n: n = len(b"%d" % n) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (n, key, value)
def pax(*records, type=b"x"): header(b"pax", type, data=b"".join(record(k, v) for k, v in records))
header(b"bin/", b"5", mode=0o755)
header(b"bin/keep", data=b"kept")
header(b"d/", b"5", mode=0o755)
header(b"d/victim", data=b"kept")
HERE
out.write(b"\0" * 1024)
]=]

-- { name, python, what the error says; nil: it builds }
local CASES = {
  { "whiteout of nothing", 'header(b".wh.")', "whiteout without a name" },
  { "whiteout of the directory itself", 'header(b"d/.wh..")', "whiteout without a name" },
  { "whiteout of its parent", 'header(b"d/.wh...")', "whiteout without a name" },
  { "whiteout through dots", 'header(b"d/../.wh.bin")', "'..' component" },
  { "entry below a whiteout", 'header(b".wh.d/", b"5"); header(b".wh.d/x", data=b"x")', "entry below a whiteout" },
  { "hard link to a whiteout", 'header(b".wh.gone"); header(b"h", b"1", link=b".wh.gone")', "not in this archive" },
  { "hard link to what a whiteout made", 'header(b".wh.gone"); header(b"h", b"1", link=b"gone")', "not in this archive" },
  { "whiteout of its own entry", 'header(b".wh.d"); header(b"d/.wh.victim"); header(b".wh.bin", b"5")' },
  { "opaque root", 'header(b".wh..wh..opq")' },
  { "opaque mark by a directory", 'header(b"d/.wh..wh..opq/", b"5")' },
  { "bookkeeping of aufs", 'header(b".wh..wh.plnk/", b"5"); header(b".wh..wh.plnk/1.2", data=b"x"); header(b".wh..wh.orph")' },
  { "overlayfs' own marks as attributes", 'pax((b"SCHILY.xattr.trusted.overlay.opaque", b"y"), '
    .. '(b"SCHILY.xattr.user.overlay.redirect", b"/bin"), (b"SCHILY.xattr.user.bakery.stat", b"0 0 104755 0 0")); '
    .. 'header(b"d/", b"5", mode=0o755)' },
  { "negative size", 'header(b"x", size=binary(-512, 12))', "size out of range" },
  { "size that overflows", 'pax((b"size", b"9223372036854775807")); header(b"x", data=b"x")', "size out of range" },
  { "size beyond numbers", 'pax((b"size", b"99999999999999999999")); header(b"x", data=b"x")', "bad value in a pax record" },
  { "size beyond the end", 'header(b"x", size=binary(1 << 40, 12))', "ends early" },
  { "time before and after all clocks", 'header(b"a", mtime=binary(-(1 << 62), 12)); header(b"b", mtime=binary((1 << 62), 12)); '
    .. 'pax((b"mtime", b"-9223372036854775808")); header(b"c"); pax((b"mtime", b"9223372036854775807.999999999999")); header(b"e/", b"5")' },
  { "time that is none", 'pax((b"mtime", b"1e9")); header(b"x")', "bad value in a pax record" },
  { "owner beyond ids", 'pax((b"uid", b"4294967295")); header(b"x")', "owner out of range" },
  { "negative owner", 'header(b"x", uid=binary(-1, 8))', "owner out of range" },
  { "names that are no text", 'header(b"new\\nline"); header(b"back\\\\slash"); header(b"bad\\xff\\xfe"); header(b"tab\\tand\\x1b[31m")' },
  { "name with a NUL", 'pax((b"path", b"a\\0b")); header(b"x")', "bad value in a pax record" },
  { "name longer than paths", 'pax((b"path", b"n/" * 3000)); header(b"x")', "path longer than" },
  { "component longer than names", 'pax((b"path", b"n" * 300)); header(b"x")', "name too long" },
  { "deeper than trees", 'pax((b"path", b"n/" * 400)); header(b"x")', "directory levels" },
  { "extended header without end", 'header(b"pax", b"x", size=1 << 30)', "extended header larger than" },
  { "extended header of nothing", 'pax((b"path", b"y"))', "extended header without an entry" },
  { "record that is longer than its header", 'header(b"pax", b"x", data=b"99 path=a\\n")', "malformed pax record" },
  { "more attributes than a file can have", 'pax(*((b"SCHILY.xattr.user.%d" % i, b"v") for i in range(1100))); header(b"x")',
    "more than 1024 extended attributes" },
  { "GNU long name of a megabyte", 'header(b"long", b"L", data=b"n" * (1 << 20)); header(b"x")', "path longer than" },
  { "device number beyond numbers", 'header(b"n", b"3", dev=(b"\\xff" * 8, 0))', "device number out of range" },
  { "unknown type", 'header(b"x", b"Q")', "unknown entry type" },
  { "sparse file", 'header(b"x", b"S")', "sparse files are not supported" },
}

describe("hostile layers", function()
  local store, below

  setup(function()
    store = world.tmp() .. "/store"
    below = world.tmp()
  end)
  teardown(world.cleanup)

  -- Builds over a layer that `script` makes; the build ends with a second layer, so that it is unpacked.
  local function build(script, opts)
    opts = opts or {}
    local dir = world.project({ app = "FROM bad\nCOPY f /bin/f\n" }, { base = false })
    world.write(dir, { f = "f", ["make.py"] = (MAKE:gsub("HERE", function() return script end, 1)) })
    world.run { "python3", dir .. "/make.py", dir .. "/layer.tar" }
    if opts.gzip then world.run { "gzip", "-1k", dir .. "/layer.tar" } end
    layers.layout(dir .. "/oci", dir .. "/layer.tar", opts.gzip and dir .. "/layer.tar.gz")
    local cmd = { world.bin, "build", "-C", dir, "--store", opts.store or store, "--build-context", "bad=oci-layout://" .. dir .. "/oci:1",
      "--progress", "plain", "--compression", "none", table.unpack(opts.args or {}) }
    local env = { NO_COLOR = "1", XDG_STATE_HOME = world.state, SOURCE_DATE_EPOCH = "", PEAK = below .. "/peak" }
    for k, v in pairs(opts.env or {}) do env[k] = v end
    if opts.peak then
      table.move(cmd, 1, #cmd, 4)
      cmd[1], cmd[2], cmd[3] = "python3", "-c", "import os, resource, subprocess, sys; r = subprocess.run(sys.argv[1:]); "
        .. "open(os.environ['PEAK'], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(r.returncode)"
    end
    local r = assert(process.run { cmd = cmd, env = env, timeout = 120 })
    r.peak = opts.peak and tonumber((fs.read(below .. "/peak")))
    r.dir = dir
    return r
  end

  local function refused(r, what, why)
    assert.truthy(r.code == 1 or r.code == 6, what .. ": " .. r.code .. "\n" .. r.stderr)
    assert.truthy(r.stderr:find("Containerfile:2: error: unpack layer sha256:", 1, true), what .. "\n" .. r.stderr)
    assert.truthy(r.stderr:lower():find(why:lower(), 1, true), what .. "\n" .. r.stderr)
    assert.falsy(r.stderr:find("traceback", 1, true))
  end

  -- All of them in one build, of which some targets fail.
  it("are refused or contained, and leave nothing", function()
    local images, args = {}, {}
    for i in ipairs(CASES) do images["c" .. i] = "FROM bad" .. i .. "\nCOPY f /bin/f\n" end
    local dir, out = world.project(images, { base = false }), world.tmp() .. "/oci"
    local scripts = {}
    for i, case in ipairs(CASES) do
      scripts[i] = MAKE:gsub("HERE", function() return case[2] end, 1):gsub("sys.argv%[1%]", "'layer" .. i .. ".tar'")
    end
    world.write(dir, { f = "f", ["make.py"] = table.concat(scripts, "out.close()\n") })
    world.run({ "python3", "make.py" }, { cwd = dir })
    for i in ipairs(CASES) do
      layers.layout(dir .. "/oci" .. i, dir .. "/layer" .. i .. ".tar")
      table.move({ "--build-context", ("bad%d=oci-layout://%s/oci%d:1"):format(i, dir, i) }, 1, 2, #args + 1, args)
    end
    local r = world.bakery { "build", "-C", dir, "--store", store, "--progress", "plain", "--keep-going", "--compression", "none",
      "--output", "oci:" .. out, table.unpack(args) }
    assert.equal(5, r.code, r.stderr)
    assert.falsy(r.stderr:find("traceback", 1, true), r.stderr)
    for i, case in ipairs(CASES) do
      local line = r.stderr:match("c" .. i .. "/1.0.0/Containerfile:2: error: unpack layer sha256:[^\n]*")
      assert.equal(case[3] ~= nil, line ~= nil, case[1] .. "\n" .. r.stderr)
      if line then assert.truthy(line:lower():find(case[3]:lower(), 1, true), case[1] .. ": " .. line) end
    end
    local contained, seen, unpacked = 0, {}, 0
    for _, case in ipairs(CASES) do contained = contained + (case[3] and 0 or 1) end
    for _, entry in ipairs(json.decode(fs.read(out .. "/index.json")).manifests) do -- a manifest per tag
      local ref = entry.annotations["org.opencontainers.image.ref.name"]
      if not seen[entry.digest] then
        local tree = peers.tree(out, ref)
        assert.equal("kept", tree.content "bin/keep", ref)
        assert.equal("kept", tree.content "d/victim", ref)
        seen[entry.digest], unpacked = true, unpacked + 1
      end
    end
    assert.equal(contained, unpacked)
    assert.same({}, fs.list(store .. "/tmp"))
    assert.equal(0, world.bakery({ "store", "check", "--store", store }).code)
  end)

  it("keep names that are no text through another layer", function()
    local dir = world.tmp()
    local r = build('header(b"new\\nline", data=b"1"); header(b"back\\\\slash", data=b"2"); header(b"bad\\xff\\xfe", data=b"3")',
      { args = { "--output", "local:" .. dir .. "/out" } })
    assert.equal(0, r.code, r.stderr)
    for name, text in pairs { ["new\nline"] = "1", ["back\\slash"] = "2", ["bad\xff\xfe"] = "3" } do
      assert.equal(text, fs.read(dir .. "/out/" .. name))
    end
  end)

  it("that are bombs end at a limit, which can be set", function()
    local zeros = "for i in range(64): header(b'z%d' % i, data=b'\\0' * (1 << 20))"
    local own = world.tmp() .. "/store"
    local r = build(zeros, { gzip = true, store = own, env = { BAKERY_LAYER_MAX = "16m" } })
    refused(r, "bomb", "archive is larger than 16777216 bytes when uncompressed")
    assert.truthy(r.stderr:find("BAKERY_LAYER_MAX", 1, true), r.stderr)
    assert.same({}, fs.list(own .. "/tmp"))
    assert.equal(0, build(zeros, { gzip = true, store = own, env = { BAKERY_LAYER_MAX = "65m" } }).code)
    r = build(zeros, { gzip = true, store = world.tmp() .. "/store", env = { BAKERY_LAYER_ENTRIES = "63" } })
    refused(r, "bomb", "the layer has more than 63 entries")
    assert.truthy(r.stderr:find("BAKERY_LAYER_ENTRIES (4000000)", 1, true), r.stderr)
    for name, value in pairs { BAKERY_LAYER_MAX = "much", BAKERY_LAYER_RATIO = "0", BAKERY_LAYER_ENTRIES = "1.5" } do
      r = build(zeros, { gzip = true, store = world.tmp() .. "/store", env = { [name] = value } })
      assert.equal(2, r.code, r.stderr)
      assert.truthy(r.stderr:find(name .. ": expected", 1, true), r.stderr)
    end
  end)

  it("cost constant memory: extended headers without end before one entry, and 300,000 entries", function()
    if os.getenv "SANITIZE" then return pending "AddressSanitizer keeps what is freed" end
    local plain = build("", { peak = true }).peak
    local r = build("for i in range(400): pax((b'SCHILY.xattr.user.a', b'v' * 1000000), type=b'x')\nheader(b'x')",
      { peak = true, gzip = true, store = world.tmp() .. "/store" })
    assert.truthy(r.code == 0 or r.stderr:find("set extended attribute", 1, true), r.stderr)
    assert.is_true(r.peak - plain < 40 << 10, ("%d KiB instead of %d"):format(r.peak, plain))
    -- 50,000 objects, and 250,000 further headers of directories among them.
    r = build([[
import io
file, out = out, io.BytesIO()
for i in range(50): header(b"m%d/" % i, b"5", mode=0o755)
file.write(out.getvalue() * 5000)
out = file
for i in range(50000): header(b"m%d/%d" % (i % 50, i), b"2", link=b"x")
]], { peak = true, gzip = true, store = world.tmp() .. "/store" })
    assert.equal(0, r.code, r.stderr)
    assert.is_true(r.peak - plain < 40 << 10, ("%d KiB instead of %d"):format(r.peak, plain))
  end)
end)
