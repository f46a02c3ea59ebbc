local fs = require "bakery.fs"

local dir

local function path(name) return dir .. "/" .. name end

local function code(value, err)
  assert.is_nil(value)
  return err.code
end

describe("fs files", function()
  before_each(function() dir = assert(fs.tmpdir("fs-spec")) end)
  after_each(function() fs.remove(dir, { recursive = true }) end)

  it("reads and writes bytes", function()
    local data = "a\0b\xff\n" .. ("x"):rep(200000)
    assert.is_true(fs.write(path "f", data))
    assert.are.equal(data, fs.read(path "f"))
    assert.is_true(fs.write(path "f", ""))
    assert.are.equal("", fs.read(path "f"))
    assert.is_true(fs.append(path "f", "one"))
    assert.is_true(fs.append(path "f", "two"))
    assert.are.equal("onetwo", fs.read(path "f"))
    assert.matches("^Name:", fs.read("/proc/self/status"))
  end)

  it("bounds what it reads", function()
    assert(fs.write(path "f", "12345"))
    assert.are.equal("12345", fs.read(path "f", 5))
    assert.are.equal("fs.too_large", code(fs.read(path "f", 4)))
    assert.has_error(function() fs.read(path "f", 0) end)
  end)

  it("replaces atomically and leaves nothing behind", function()
    assert(fs.write(path "f", "old", { mode = tonumber("600", 8) }))
    assert.are.equal(tonumber("600", 8), fs.stat(path "f").mode)
    local before = fs.stat(path "f").ino
    assert(fs.write(path "f", "new", { sync = true }))
    assert.are_not.equal(before, fs.stat(path "f").ino)
    assert.are.equal("ENOENT", code(fs.write(path "none/f", "x")))
    assert.are.equal("EISDIR", code(fs.write(dir, "x")))
    assert.are.same({ "f" }, fs.list(dir))
  end)

  it("names the operation, the path and the reason", function()
    local _, err = fs.read(path "none")
    assert.are.equal(("open '%s/none': No such file or directory"):format(dir), err.message)
    assert.are.equal("build", err.class)
    for _, fn in ipairs { "read", "stat", "list", "walk", "readlink", "realpath", "chdir", "remove", "mkdir" } do
      assert.are.equal("ENOENT", code(fs[fn](path "none/none")), fn)
    end
    assert.are.equal("ENOENT", code(fs.rename(path "none", path "x")))
    assert.are.equal("ENOENT", code(fs.copy(path "none", path "x")))
    assert.are.equal("ENOENT", code(fs.utime(path "none", 0)))
  end)

  it("raises on misuse", function()
    assert.has_error(function() fs.read("a\0b") end)
    assert.has_error(function() fs.read() end)
    assert.has_error(function() fs.write(path "f", "x", { mod = 1 }) end, "unknown option 'mod' (did you mean 'mode'?)")
    assert.has_error(function() fs.tmpdir("a/b") end)
    assert.has_error(function() fs.walk(dir, "fn") end)
  end)

  it("describes files", function()
    assert(fs.write(path "f", "abc"))
    assert(fs.symlink("f", path "l"))
    assert(fs.symlink("gone", path "dangling"))
    assert(fs.link(path "f", path "hard"))
    local st = fs.stat(path "l")
    assert.are.same({ "file", 3, 2 }, { st.type, st.size, st.nlink })
    st = fs.stat(path "l", false)
    assert.are.same({ "symlink", 1 }, { st.type, st.size })
    assert.are.equal("char", fs.stat("/dev/null").type)
    assert.are.equal("gone", fs.readlink(path "dangling"))
    assert.are.equal(fs.realpath(path "f"), fs.realpath(path "l"))
    assert.is_true(fs.exists(path "dangling"))
    assert.is_false(fs.is_file(path "dangling"))
    assert.is_true(fs.is_file(path "l"))
    assert.is_true(fs.is_dir(dir))
    assert.is_false(fs.is_dir(path "f"))
    assert.is_false(fs.exists(path "none"))
    assert.is_true(fs.is_writable(dir))
    assert(fs.chmod(path "f", tonumber("4711", 8)))
    assert.are.equal(tonumber("4711", 8), fs.stat(path "f").mode)
    assert(fs.utime(path "f", 1234567890.25))
    st = fs.stat(path "f")
    assert.are.same({ 1234567890, 250000000 }, { st.mtime, st.mtime_nsec })
    assert(fs.utime(path "f", -0.5))
    st = fs.stat(path "f")
    assert.are.same({ -1, 500000000 }, { st.mtime, st.mtime_nsec })
  end)

  it("makes, lists and removes trees", function()
    assert.are.equal("ENOENT", code(fs.mkdir(path "a/b")))
    assert.is_true(fs.mkdir(path "a/b/c", { parents = true }))
    assert.is_true(fs.mkdir(path "a/b/c", { parents = true }))
    assert.are.equal("EEXIST", code(fs.mkdir(path "a")))
    assert(fs.write(path "a/b/f", ""))
    assert(fs.symlink("..", path "a/b/up"))
    assert(fs.write(path "a/Z", ""))
    assert.are.same({ "Z", "b" }, fs.list(path "a"))
    assert.are.equal("ENOTDIR", code(fs.list(path "a/Z")))
    assert.are.same({ { path = "a", type = "dir" }, { path = "a/Z", type = "file" }, { path = "a/b", type = "dir" },
      { path = "a/b/c", type = "dir" }, { path = "a/b/f", type = "file" }, { path = "a/b/up", type = "symlink" } },
      fs.walk(dir))
    local asked = {}
    local list = fs.walk(dir, function(p, type)
      asked[#asked + 1] = p .. ":" .. type
      return p ~= "a/b"
    end)
    assert.are.same({ "a:dir", "a/Z:file", "a/b:dir" }, asked)
    assert.are.equal(3, #list)
    assert.has_error(function() fs.walk(dir, function() error("stop", 0) end) end, "stop")
    assert.matches("^E", code(fs.remove(path "a")))
    assert.is_true(fs.remove(path "a", { recursive = true }))
    assert.is_true(fs.remove(path "a", { recursive = true }))
    assert.are.same({}, fs.list(dir))
  end)

  it("copies", function()
    assert(fs.write(path "f", ("data\n"):rep(50000), { mode = tonumber("750", 8) }))
    assert.is_true(fs.copy(path "f", path "g"))
    assert.are.equal(fs.read(path "f"), fs.read(path "g"))
    assert.are.equal(tonumber("750", 8), fs.stat(path "g").mode)
    assert.is_true(fs.copy(path "f", path "f"))
    assert.are.equal(250000, fs.stat(path "f").size)
    assert.is_true(fs.copy(path "f", "/dev/null"))
    assert.are.equal("char", fs.stat("/dev/null").type)
    assert.is_true(fs.copy("/proc/self/status", path "status"))
    assert.is_true(fs.stat(path "status").size > 0)
    assert.are.equal("EISDIR", code(fs.copy(dir, path "x")))
    assert.are.equal("EISDIR", code(fs.copy(path "f", dir)))
    assert.are.same({ "f", "g", "status" }, fs.list(dir))
  end)

  it("matches patterns", function()
    for _, name in ipairs { "b.txt", "a.txt", "c.md", ".hidden.txt" } do assert(fs.write(path(name), "")) end
    assert.are.same({ path "a.txt", path "b.txt" }, fs.glob(path "*.txt"))
    assert.are.same({}, fs.glob(path "*.none"))
  end)

  it("makes private temporary directories", function()
    local a, b = fs.tmpdir("x"), fs.tmpdir("x", { memory = true })
    assert.are_not.equal(a, b)
    assert.are.equal(tonumber("700", 8), fs.stat(a).mode)
    fs.remove(a)
    fs.remove(b)
  end)

  it("changes the working directory", function()
    local before = fs.cwd()
    assert(fs.chdir(dir))
    assert.are.equal(fs.realpath(dir), fs.cwd())
    assert(fs.chdir(before))
  end)
end)

describe("fs paths", function()
  local function rows(fn, list)
    for _, row in ipairs(list) do
      local want = table.remove(row)
      it(("%s(%s)"):format(fn, table.concat(row, ", ")), function()
        assert.are.equal(want, (fs[fn](table.unpack(row))))
      end)
    end
  end

  rows("normalize", { { "", "." }, { ".", "." }, { "a", "a" }, { "a/", "a" }, { "a//b/./c", "a/b/c" }, { "/", "/" },
    { "//a", "/a" }, { "/..", "/" }, { "/../a", "/a" }, { "a/..", "." }, { "a/../..", ".." }, { "../a", "../a" },
    { "../../a/..", "../.." }, { "a/../../b", "../b" }, { "./a/./", "a" }, { "..a/.b", "..a/.b" }, { "/a/b/../c", "/a/c" } })
  rows("join", { { "." }, { "a", "b", "a/b" }, { "a/", "/b", "/b" }, { "a", "", "b", "a/b" }, { "", "a" , "a" },
    { "a", "../b", "b" }, { "/", "a", "/a" }, { "", "." } })
  rows("dirname", { { "a/b", "a" }, { "/a", "/" }, { "a", "." }, { "/a/b/", "/a/b" }, { "", "." } })
  rows("basename", { { "a/b", "b" }, { "/a", "a" }, { "a", "a" }, { "a/", "" } })
  rows("relative", { { "/a/b", "/a", "b" }, { "/a", "/a/b", ".." }, { "/a", "/a", "." }, { "/a/b", "/a/c", "../b" },
    { "/ab", "/a", "../ab" }, { "/x", "/", "x" }, { "/", "/x/y", "../.." }, { "a", ".", "a" }, { ".", "a", ".." },
    { "a/b", "c/d", "../../a/b" }, { "../x", "..", "x" }, { "../x", "../y/z", "../../x" },
    { "a/../b", "./b/", "." } })

  it("is_absolute", function()
    assert.is_true(fs.is_absolute "/a")
    assert.is_false(fs.is_absolute "a")
    assert.is_false(fs.is_absolute "")
  end)

  it("errors say which way is missing", function()
    for _, row in ipairs { { "x", "../y" }, { "/a", "b" }, { "a", "/b" }, { "..", "../.." } } do
      local _, err = fs.relative(row[1], row[2])
      assert.are.equal("fs.relative", err and err.code, row[1])
    end
  end)
end)
