local archive = require "bakery.archive"
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local process = require "bakery.process"
local soci = require "bakery.soci"
local tar = require "lib.tar"
local registry = require "lib.registry"

-- Text that hardly compresses, the same every time.
local function noise(n, seed)
  local parts = {}
  for i = 1, n // 64 do parts[i] = digest.sha256(seed .. i) end
  return table.concat(parts)
end

describe("soci", function()
  local dir = registry.tmpdir()

  local function layer(name, entries)
    local file = dir .. "/" .. name
    tar.write(file .. ".tar", tar.archive(entries))
    os.execute(("gzip -n -9 -c %s.tar > %s.gz"):format(file, file))
    return file .. ".gz", file .. ".tar"
  end

  local function index(file, opts)
    local b = soci.builder(opts)
    local ok, err = b:file(file)
    if not ok then return nil, err end
    local r
    r, err = b:save(dir .. "/out.ztoc")
    return r, r and (fs.read(dir .. "/out.ztoc")) or err, b
  end

  local gz, plain = layer("big", {
    { name = "usr/", type = "5" }, { name = "usr/a", data = noise(300000, "a") },
    { name = "usr/b", data = ("b"):rep(2000000) }, { name = "usr/c", data = noise(500000, "c") },
    { name = "usr/link", type = "2", link = "a" },
    { name = "usr/last", data = "end", pax = { mtime = "1700000000.5", ["SCHILY.xattr.user.x"] = "1" } } })

  it("lists files and spans", function()
    local r, text, b = index(gz, { span_size = 200000 })
    assert.equal(6, r.files)
    assert.is_true(r.spans > 3)
    assert.is_false(r.no_xattrs)
    assert.equal(fs.stat(gz).size, r.layer_size)
    assert.equal(r.size, #text)
    assert.equal(r.digest, "sha256:" .. digest.sha256(text))
    local z = assert(soci.read(text))
    assert.equal("0.9", z.version)
    assert.equal(r.spans, #z.spans)
    assert.equal("usr/last", z.files[6].name)
    assert.equal("2023-11-14T22:13:20.5Z", z.files[6].mtime)
    local bytes = assert(fs.read(plain))
    for _, f in ipairs(z.files) do
      if f.name == "usr/last" then assert.equal("end", bytes:sub(f.offset + 1, f.offset + f.size)) end
      local first, last = b:spans("/./" .. f.name)
      assert.is_true(z.spans[first + 1].out <= f.offset)
      assert.is_true(last == #z.spans - 1 or z.spans[last + 2].out > f.offset + f.size)
    end
    assert.is_nil(b:spans "usr/nothing")
    local raw = assert(fs.read(gz)) -- digests are of the blob's bytes between checkpoints
    local from, to = z.spans[2]["in"], z.spans[3]["in"]
    local digests = { digest.sha256(raw:sub(from, to)), digest.sha256(raw:sub(from + 1, to)) }
    assert.is_true(z.spans[2].digest == "sha256:" .. digests[1] or z.spans[2].digest == "sha256:" .. digests[2])
  end)

  it("gives the same for members and pieces", function()
    local packed = dir .. "/packed.gz"
    local src = dir .. "/tree"
    assert(fs.mkdir(src))
    assert(fs.write(src .. "/x", noise(3000000, "x")))
    assert(fs.write(src .. "/y", noise(3000000, "y")))
    assert(archive.pack { dir = src, file = packed, compression = "gzip" })
    local r = assert(index(packed, { span_size = 1 << 20 }))
    assert.is_true(r.spans >= 5) -- checkpoints in later members too
    assert.is_true(r.no_xattrs)
  end)

  it("refuses what is no layer", function()
    local cases = {
      { "soci.malformed", "not a gzip", fs.read(plain) },
      { "soci.malformed", "ends early", fs.read(gz):sub(1, 5000) },
      { "soci.malformed", "ends early", "" },
      { "soci.malformed", "incorrect", fs.read(gz):sub(1, -9) .. ("x"):rep(8) },
      { "soci.unsupported", "type 'g'", tar.archive { { name = "a", pax = { comment = "x" }, pax_type = "g" } }, "none" },
      { "soci.unsupported", "type 'S'", tar.archive { { name = "a", type = "S" } }, "none" },
      { "soci.unsupported", "sparse", tar.archive { { name = "a", pax = { ["GNU.sparse.major"] = "1" } } }, "none" },
      { "soci.malformed", "record", tar.archive { { name = "a", pax = "9 broken\n" } }, "none" },
      { "soci.malformed", "header", tar.archive { { name = "a", sum = "0000000 " } }, "none" },
      { "soci.malformed", "years", tar.archive { { name = "a", pax = { mtime = "999999999999" } } }, "none" },
    }
    for _, c in ipairs(cases) do
      assert(fs.write(dir .. "/bad", c[3]))
      local r, err = index(dir .. "/bad", { compression = c[4] })
      assert.is_nil(r, c[2])
      assert.equal(c[1], err.code)
      assert.truthy(err.message:find(c[2], 1, true), err.message)
    end
    local b = soci.builder()
    local ok, err = b:file(gz, { digest = "sha256:" .. ("0"):rep(64) })
    assert.is_nil(ok)
    assert.equal("soci.digest_mismatch", err.code)
    assert.has_error(function() soci.builder { span_size = 1 } end)
    assert.has_error(function() soci.builder { compression = "zstd" } end)
    assert.is_nil(soci.read "garbage")
    assert.is_nil(fs.list(dir)["out.ztoc.part"])
  end)

  it("reads layers of a registry as they arrive", function()
    local reg <close> = registry.start()
    local client = assert(oci.client())
    local repo, d = reg.host .. "/team/app", { digest = "sha256:" .. digest.file(gz), size = fs.stat(gz).size }
    assert(client:push_blob(repo, d, { file = gz }))
    local want = assert(index(gz, { span_size = 300000 })).digest
    local b = soci.builder { span_size = 300000 }
    assert(client:stream(repo, d, b))
    assert.equal(want, assert(b:save(dir .. "/streamed")).digest)
    local ok, err = b:save(dir .. "/again")
    assert.is_nil(ok)
    assert.equal("soci.done", err.code)
    assert.has_error(function() client:stream(repo, d, client) end)
    local other = soci.builder()
    local task = loop.spawn(function() return client:stream(repo, d, other) end)
    loop.spawn(function() assert.has_error(function() client:stream(repo, d, other) end, nil) end):wait()
    task:cancel()
    other:close()
  end)

  it("is what soci-snapshotter writes and reads", function()
    local program = process.which "soci-read"
    if not program then return print "skipped: needs soci-read (make peers)" end
    local function go(...)
      local r = assert(process.run { cmd = { program, ... }, env = { TZ = "UTC" }, merge = true })
      assert.equal(0, r.code, r.stdout)
      return r.stdout
    end
    for _, span in ipairs { 65536, 200000, 4194304 } do
      for _, c in ipairs { { gz, "gzip", "gzip" }, { plain, "none", "uncompressed" } } do
        local r, text = index(c[1], { span_size = span, compression = c[2], tool = "T" })
        go("--build", c[1], c[3], tostring(span), "T", dir .. "/theirs")
        assert.equal(r.digest, "sha256:" .. digest.sha256(assert(fs.read(dir .. "/theirs"))))
        assert(fs.write(dir .. "/ours", text))
        assert.truthy(go(dir .. "/ours", c[1], plain):find("6 entries, 4 files", 1, true))
      end
    end
    assert(index(dir .. "/packed.gz", { span_size = 1 << 20 }))
    os.execute(("gzip -dc %s/packed.gz > %s/packed.tar"):format(dir, dir))
    go(dir .. "/out.ztoc", dir .. "/packed.gz", dir .. "/packed.tar")
  end)
end)
