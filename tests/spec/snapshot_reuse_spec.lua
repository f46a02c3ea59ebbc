local fs = require "bakery.fs"
local snapshot = require "bakery.snapshot"

describe("snapshot.copy with reuse", function()
  local dir
  before_each(function()
    dir = assert(fs.tmpdir "reuse")
    fs.mkdir(dir .. "/ctx")
    for _, name in ipairs { "same", "bytes", "mode", "time" } do
      assert(fs.write(dir .. "/ctx/" .. name, "content of " .. name))
      fs.utime(dir .. "/ctx/" .. name, 1000000)
    end
  end)
  after_each(function() fs.remove(dir, { recursive = true }) end)

  local function copy(upper, reuse)
    assert(snapshot.copy { from = { root = dir .. "/ctx" }, sources = { "." }, dest = "/", lowers = {},
      upper = dir .. "/" .. upper, reuse = reuse and dir .. "/" .. reuse })
  end
  local function ino(layer, name) return fs.stat(dir .. "/" .. layer .. "/" .. name).ino end

  it("links what is equal and writes what is not", function()
    copy "one"
    fs.write(dir .. "/ctx/bytes", "CONTENT OF bytes") -- same size and time, other bytes
    fs.utime(dir .. "/ctx/bytes", 1000000)
    fs.chmod(dir .. "/ctx/mode", 448)
    fs.utime(dir .. "/ctx/time", 1000001)
    copy("two", "one")
    assert.equal(ino("one", "same"), ino("two", "same"))
    for _, name in ipairs { "bytes", "mode", "time" } do
      assert.not_equal(ino("one", name), ino("two", name))
    end
    assert.equal("CONTENT OF bytes", fs.read(dir .. "/two/bytes"))
    assert.equal("content of bytes", fs.read(dir .. "/one/bytes"))
    assert.equal(448, fs.stat(dir .. "/two/mode").mode)
  end)

  it("gives the same layer as writing everything", function()
    copy "one"
    copy("two", "one")
    copy "three"
    local archive = require "bakery.archive"
    assert.equal(archive.pack { dir = dir .. "/three" }.diff_id, archive.pack { dir = dir .. "/two" }.diff_id)
  end)

  it("does not join files that were hard links in the layer it compares with", function()
    fs.remove(dir .. "/ctx/bytes")
    assert(os.execute("ln " .. dir .. "/ctx/same " .. dir .. "/ctx/bytes"))
    copy "one"
    assert.equal(ino("one", "same"), ino("one", "bytes"))
    fs.remove(dir .. "/ctx/bytes")
    fs.write(dir .. "/ctx/bytes", "content of same")
    fs.utime(dir .. "/ctx/bytes", 1000000)
    copy("two", "one")
    assert.not_equal(ino("two", "same"), ino("two", "bytes"))
  end)

  it("does not follow links out of the layer that it compares with", function()
    fs.mkdir(dir .. "/old")
    fs.mkdir(dir .. "/outside")
    fs.write(dir .. "/outside/f", "secret")
    fs.utime(dir .. "/outside/f", 1000000)
    fs.symlink("../outside", dir .. "/old/d")
    fs.mkdir(dir .. "/ctx/d")
    fs.write(dir .. "/ctx/d/f", "secret")
    fs.utime(dir .. "/ctx/d/f", 1000000)
    copy("two", "old")
    assert.not_equal(ino("outside", "f"), ino("two", "d/f"))
  end)
end)
