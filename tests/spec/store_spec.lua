local child = require "lib.child"
local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local store = require "bakery.store"

local sh, quote = os.execute, child.quote
local base, count = child.output("mktemp -d"), 0

local function fresh()
  count = count + 1
  return base .. "/store" .. count
end

local function open(dir, opts) return assert(store.open(dir or fresh(), opts or { create = true })) end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("a")
  f:close()
  return text
end

local function exists(path) return sh("test -e " .. quote(path) .. " -o -L " .. quote(path)) == true end

local function id(text) return "sha256:" .. digest.sha256(text) end

-- A layer directory in the store's tmp.
local function layer(s, text)
  local dir = assert(s:tmpdir())
  assert(sh(("mkdir -p %s/fs/sub; printf %%s %s > %s/fs/sub/file"):format(dir, quote(text or "x"), dir)))
  return dir .. "/fs", dir
end

describe("store", function()
  teardown(function()
    child.clean()
    sh("rm -rf " .. quote(base))
  end)

  describe("open", function()
    it("creates the layout and finds it again", function()
      local dir = fresh()
      local s = open(dir)
      assert.are.equal(dir, s.dir)
      for _, name in ipairs { "blobs/sha256", "layers", "tmp", "keys", "refs", "remote", "locks", "cachemounts" } do
        assert.is_true(exists(dir .. "/" .. name), name)
      end
      assert.are.equal("bakery-store 1\n", read(dir .. "/version"))
      assert.are.equal("700", child.output("stat -c %a " .. dir))
      s:close()
      open(dir, {}):close()
    end)

    it("refuses what is not a store, a newer format and another id map", function()
      local s, err = store.open(fresh())
      assert.is_nil(s)
      assert.are.equal("ENOENT", err.code)

      local dir = fresh()
      sh("mkdir " .. dir .. "; touch " .. dir .. "/precious")
      s, err = store.open(dir, { create = true })
      assert.is_nil(s)
      assert.are.equal("store.foreign", err.code)
      assert.are.equal("precious\n", child.output("ls " .. dir) .. "\n")

      dir = fresh()
      open(dir, { create = true, mode = "root" }):close()
      open(dir, { create = true, mode = "root" }):close()
      s, err = store.open(dir, { mode = "rootless-range" })
      assert.is_nil(s)
      assert.are.equal("store.mode", err.code)

      write(dir .. "/version", "bakery-store 2\n")
      s, err = store.open(dir)
      assert.is_nil(s)
      assert.are.equal("store.version", err.code)
      assert.matches("format 2, this program knows up to 1", err.message, 1, true)
      write(dir .. "/version", "junk")
      assert.are.equal("store.foreign", select(2, store.open(dir)).code)
    end)

    it("goes on with an interrupted creation", function()
      local dir = fresh()
      sh("mkdir -p " .. dir .. "/blobs " .. dir .. "/tmp")
      open(dir):close()
      assert.is_true(exists(dir .. "/version"))
    end)

    it("rejects unknown options and use after close", function()
      assert.has_error(function() store.open("/x", { creat = true }) end,
        "unknown option 'creat' (did you mean 'create'?)")
      local s = open()
      s:close()
      s:close()
      assert.has_error(function() s:put_blob("x") end)
      assert.is_nil(s.dir)
    end)
  end)

  describe("blobs", function()
    it("are found by their digest", function()
      local s <close> = open()
      local d, n = s:put_blob("hello\0world")
      assert.are.equal(id "hello\0world", d)
      assert.are.equal(11, n)
      assert.are.same({ true, 11 }, { s:has_blob(d) })
      assert.are.equal("hello\0world", s:get_blob(d))
      assert.are.equal("hello\0world", read(s:blob_path(d)))
      assert.are.equal(d, (s:put_blob("hello\0world")))
      assert.is_false((s:has_blob(id "other")))
      local text, err = s:get_blob(id "other")
      assert.is_nil(text)
      assert.are.equal("store.missing_blob", err.code)
      text, err = s:get_blob(d, 5)
      assert.is_nil(text)
      assert.are.equal("fs.too_large", err.code)
      assert.are.equal("hello\0world", s:get_blob(d, 11))
    end)

    it("never lead out of the store", function()
      local s <close> = open()
      for _, bad in ipairs { "", "sha256:", "sha256:../../etc/passwd", "sha256:" .. ("A"):rep(64),
        "sha512:" .. ("0"):rep(64), "sha256:" .. ("0"):rep(63) .. "/", "sha256:" .. ("0"):rep(65) } do
        assert.are.equal("store.digest", select(2, s:blob_path(bad)).code)
        assert.are.equal("store.digest", select(2, s:get_blob(bad)).code)
        assert.are.equal("store.digest", select(2, s:add_blob_file("/dev/null", bad)).code)
        assert.is_nil((s:layer_dir(bad)))
      end
    end)

    it("take over a file, verified when asked", function()
      local s <close> = open()
      local tmp = s:tmpfile()
      write(tmp, "data")
      assert.is_true(s:add_blob_file(tmp, id "data", { verify = true }))
      assert.is_false(exists(tmp))
      assert.are.equal("data", s:get_blob(id "data"))

      tmp = s:tmpfile()
      write(tmp, "lies")
      local ok, err = s:add_blob_file(tmp, id "truth", { verify = true })
      assert.is_nil(ok)
      assert.are.equal("store.digest", err.code)
      assert.are.equal("infra", err.class)
      assert.is_false((s:has_blob(id "truth")))
    end)

    it("come from another file system too", function()
      local s <close> = open()
      write("/dev/shm/bk-store-spec", "elsewhere")
      assert.is_true(s:add_blob_file("/dev/shm/bk-store-spec", id "elsewhere"))
      assert.is_false(exists "/dev/shm/bk-store-spec")
      assert.are.equal("elsewhere", s:get_blob(id "elsewhere"))
    end)
  end)

  describe("layers", function()
    it("are published once, with their description", function()
      local s <close> = open()
      local fs, tmp = layer(s, "one")
      assert.is_nil((s:layer_dir(id "l")))
      local path = assert(s:publish_layer(fs, id "l", { size = 3, blobs = json.array {} }))
      assert.are.equal(path, s:layer_dir(id "l"))
      assert.are.equal("one", read(path .. "/sub/file"))
      assert.is_false(exists(fs))
      assert.are.same({ size = 3, blobs = {} }, s:layer_meta(id "l"))
      assert.is_true(s:set_layer_meta(id "l", { size = 4 }))
      assert.are.equal(4, s:layer_meta(id "l").size)
      assert.is_nil((s:layer_meta(id "m")))
      assert.are.equal("store.missing_layer", select(2, s:set_layer_meta(id "m", {})).code)

      -- A second one stays where it is: a running child may have it mounted.
      local again = layer(s, "two")
      assert.are.equal(path, (assert(s:publish_layer(again, id "l", {}))))
      assert.are.equal("one", read(path .. "/sub/file"))
      assert.is_true(exists(again))
      assert.is_true(s:remove_tmp(tmp))
    end)

    it("replace a wreck without files", function()
      local s <close> = open()
      sh("mkdir " .. s.dir .. "/layers/" .. digest.sha256("l"))
      assert.is_nil((s:layer_dir(id "l")))
      assert.is_truthy(s:publish_layer(layer(s), id "l", {}))
      assert.is_truthy(s:layer_dir(id "l"))
    end)

    it("of one name published by many tasks give one", function()
      local s <close> = open()
      local tasks = {}
      for i = 1, 8 do
        local fs = layer(s, "text " .. i)
        tasks[i] = loop.spawn(function() return assert(s:publish_layer(fs, id "l", { i = i })) end)
      end
      local paths = {}
      for _, t in ipairs(tasks) do paths[select(2, t:wait())] = true end
      assert.are.same({ [s:layer_dir(id "l")] = true }, paths)
    end)

    it("report what went wrong and give the directory back", function()
      local s <close> = open()
      local fs = layer(s)
      assert.are.equal("store.digest", select(2, s:publish_layer(fs, "sha256:x", {})).code)
      assert.are.equal("ENOENT", select(2, s:publish_layer(fs .. "/nope", id "l", {})).code)
      assert.are.equal("ENOTDIR", select(2, s:publish_layer(fs .. "/sub/file", id "l", {})).code)
      sh("mkdir /dev/shm/bk-store-fs")
      assert.are.equal("EXDEV", select(2, s:publish_layer("/dev/shm/bk-store-fs", id "l", {})).code)
      sh("rmdir /dev/shm/bk-store-fs")
      assert.is_true(exists(fs))
      assert.is_nil((s:layer_dir(id "l")))
    end)
  end)

  describe("records", function()
    it("keep tables by name", function()
      local s <close> = open()
      local value = { diff_id = id "l", seconds = 1.5, n = 3, ok = true, list = json.array { "a", "b" } }
      assert.is_true(s:put_key(digest.sha256("k"), value))
      assert.are.same(value, s:get_key(digest.sha256("k")))
      assert.is_nil((s:get_key(digest.sha256("other"))))
      assert.are.same({ digest.sha256("k") }, s:keys())
      assert.is_true(s:del_key(digest.sha256("k")))
      assert.is_false(s:del_key(digest.sha256("k")))
      assert.has_error(function() s:put_key("x", "text") end)
    end)

    it("take any name", function()
      local s <close> = open()
      local names = { "image/docker.io/library/a:1@linux/amd64", "..", "../../x", "a b", "Ü\xff", "%41", "A",
        ("long/"):rep(80), ("long/"):rep(80) .. "er", "~x" }
      for i, name in ipairs(names) do assert.is_true(s:put_ref(name, { i = i })) end
      for i, name in ipairs(names) do assert.are.equal(i, s:get_ref(name).i) end
      local sorted = { table.unpack(names) }
      table.sort(sorted)
      assert.are.same(sorted, s:refs())
      assert.are.same({ names[8], names[9] }, s:refs "long/")
      local full = s:refs("image/", true)
      assert.are.equal(1, #full)
      assert.are.equal(1, full[1].value.i)
      assert.is_near(os.time(), full[1].stamp, 5)
      assert.are.equal("store.name", select(2, s:put_ref("", {})).code)
      assert.are.equal("store.name", select(2, s:put_ref("a\nb", {})).code)
      assert.are.equal("store.name", select(2, s:put_ref(("x"):rep(1025), {})).code)
      assert.is_false(exists(base .. "/x"))
    end)

    it("that are cut off count as absent", function()
      local s <close> = open()
      assert(s:put_key("abc", { a = 1 }))
      local path = s.dir .. "/keys/ab/abc"
      local text = read(path)
      assert.are.equal('bakery 1 7 abc\n{"a":1}', text)
      for n = 0, #text - 1 do
        write(path, text:sub(1, n))
        assert.is_nil((s:get_key "abc"))
      end
      write(path, text)
      assert.are.same({ a = 1 }, s:get_key "abc")
    end)

    it("renew their stamp when used, at most once an hour", function()
      local s <close> = open()
      assert(s:put_key("abc", { a = 1 }))
      local path = s.dir .. "/keys/ab/abc"
      sh("touch -d '10 minutes ago' " .. path)
      local before = child.output("stat -c %Y " .. path)
      s:get_key "abc"
      assert.are.equal(before, child.output("stat -c %Y " .. path))
      sh("touch -d '3 hours ago' " .. path)
      s:get_key "abc"
      assert.is_near(os.time(), tonumber(child.output("stat -c %Y " .. path)), 5)
    end)

    it("of remote tags have an age", function()
      local s <close> = open()
      assert(s:remote_put("docker.io/library/a:1", { digest = id "m" }))
      local value, age = s:remote_get "docker.io/library/a:1"
      assert.are.equal(id "m", value.digest)
      assert.is_true(age <= 5)
      sh("touch -d '1 hour ago' " .. s.dir .. "/remote/*")
      value, age = s:remote_get("docker.io/library/a:1", 60)
      assert.is_nil(value)
      assert.is_near(3600, age, 10)
      assert.is_truthy(s:remote_get("docker.io/library/a:1"))
      assert.is_nil((s:remote_get "other"))
    end)
  end)

  describe("locks", function()
    it("exclude tasks of one process, in order", function()
      local s <close> = open()
      local held, order = 0, {}
      for i = 1, 5 do
        loop.spawn(function()
          local lock <close> = assert(s:lock("name")) -- luacheck: ignore
          held = held + 1
          assert.are.equal(1, held)
          loop.sleep(0.002)
          held = held - 1
          order[#order + 1] = i
        end)
      end
      loop.finish()
      assert.are.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("let other names and shared holders in", function()
      local s <close> = open()
      local a <close> = assert(s:lock("a")) -- luacheck: ignore
      local b <close> = assert(s:lock("b")) -- luacheck: ignore
      local c <close> = assert(s:lock("c", { shared = true })) -- luacheck: ignore
      local d <close> = assert(s:lock("c", { shared = true, timeout = 0 })) -- luacheck: ignore
      local none, err = s:lock("c", { timeout = 0 })
      assert.is_nil(none)
      assert.are.equal("store.locked", err.code)
      assert.is_true(err.retryable)
      none, err = s:lock("a", { timeout = 0.02 })
      assert.is_nil(none)
      assert.matches("'a' is locked by another task", err.message, 1, true)
    end)

    it("are free again when a waiting task is cancelled", function()
      local s <close> = open()
      local first = s:lock("x")
      local second = loop.spawn(function() return s:lock("x") end)
      local third = loop.spawn(function()
        local lock <close> = assert(s:lock("x")) -- luacheck: ignore
        return "third"
      end)
      loop.sleep(0.005)
      second:cancel()
      first:close()
      assert.are.same({ true, "third" }, { third:wait() })
      assert.is_false((second:wait()))
      -- Cancelled about when it gets the lock.
      first = s:lock("x")
      second = loop.spawn(function()
        local lock <close> = assert(s:lock("x")) -- luacheck: ignore
        loop.sleep(1)
      end)
      loop.sleep(0.005)
      loop.spawn(function()
        first:close()
        loop.sleep(0)
        second:cancel()
      end)
      loop.finish()
      s:lock("x", { timeout = 1 }):close()
    end)

    it("exclude processes, and vanish with them", function()
      local dir = fresh()
      local s <close> = open(dir)
      local command = child.command([[
        local dir, fifo = ...
        local s = assert(require("bakery.store").open(dir))
        local lock = assert(s:lock("x"))
        local f = io.open(fifo, "w") f:write("locked\n") f:close()
        io.open(fifo, "r"):read("l") -- until told, or killed
        lock:close()
      ]], dir, base .. "/fifo1")
      sh("rm -f " .. base .. "/fifo1; mkfifo " .. base .. "/fifo1")
      local pid = child.output(command .. " >/dev/null 2>&1 & echo $!")
      io.open(base .. "/fifo1", "r"):read("l")
      local lock, err = s:lock("x", { timeout = 0.01 })
      assert.is_nil(lock)
      assert.matches("locked by process %d+", err.message)
      sh("kill -9 " .. pid)
      lock = assert(s:lock("x", { timeout = 10 }))
      lock:close()
    end)

    it("serialise many processes", function()
      local dir = fresh()
      open(dir):close()
      write(base .. "/counter", "0")
      local command = child.command([[
        local dir, file = ...
        local s = assert(require("bakery.store").open(dir))
        for _ = 1, 25 do
          local lock <close> = assert(s:lock("counter"))
          local f = io.open(file) local n = tonumber(f:read("a")) f:close()
          f = io.open(file, "w") f:write(tostring(n + 1)) f:close()
        end
      ]], dir, base .. "/counter")
      assert(sh(("for i in 1 2 3 4; do %s & done; wait"):format(command)))
      assert.are.equal("100", read(base .. "/counter"))
    end)

    it("share cache directories as asked", function()
      local s <close> = open()
      local a = assert(s:cache_mount { id = "/root/.cache" })
      local b = assert(s:cache_mount { id = "/root/.cache", mode = 0 })
      assert.are.equal(a.path, b.path)
      assert.are.equal("755 0 0", child.output("stat -c '%a %u %g' " .. a.path))
      local p = assert(s:cache_mount { id = "/root/.cache", sharing = "private", mode = 448, uid = 7, gid = 8 })
      assert.are_not.equal(a.path, p.path)
      assert.are.equal("700 7 8", child.output("stat -c '%a %u %g' " .. p.path))
      assert.are.equal("store.locked",
        select(2, s:cache_mount { id = "/root/.cache", sharing = "locked", timeout = 0 }).code)
      a:close()
      b:close()
      local l <close> = assert(s:cache_mount { id = "/root/.cache", sharing = "locked", timeout = 1 })
      assert.are.equal(s:cache_dir("/root/.cache") .. "/data", l.path)
      p:close()
      assert.has_error(function() s:cache_mount { id = "x", sharing = "some" } end)
    end)
  end)

  describe("temporary space", function()
    it("goes when the store is closed", function()
      local s = open()
      local dir, file = s:tmpdir(), s:tmpfile()
      assert.are_not.equal(dir, s:tmpdir())
      sh(("mkdir -p %s/a/b; touch %s/a/b/c; chmod 0 %s/a/b %s/a"):format(dir, dir, dir, dir))
      assert.is_true(exists(file))
      s:close()
      assert.are.equal("", child.output("ls " .. dir:match("^(.*/tmp)/")))
    end)

    it("is the only thing remove_tmp touches", function()
      local s <close> = open()
      local dir = s:tmpdir()
      for _, path in ipairs { "/etc", s.dir, s.dir .. "/blobs", dir .. "/..", dir .. "/../lock", dir:match("^(.*)/"),
        dir:match("^(.*)/") .. "/lock", dir .. "/../../../blobs", "" } do
        assert.are.equal("store.path", select(2, s:remove_tmp(path)).code)
      end
      assert.is_true(s:remove_tmp(dir))
      assert.is_false(exists(dir))
    end)

    it("of a killed process is swept by the next one, of a living one is left", function()
      local dir = fresh()
      local command = child.command([[
        local dir, fifo = ...
        local s = assert(require("bakery.store").open(dir, { create = true }))
        local tmp = s:tmpdir()
        os.execute("mkdir -p " .. tmp .. "/deep/er; echo x > " .. tmp .. "/deep/er/f; chmod 0500 " .. tmp .. "/deep")
        s:put_key("abc", { a = 1 })
        local f = io.open(fifo, "w") f:write(tmp, "\n") f:close()
        io.open(fifo, "r"):read("l")
      ]], dir, base .. "/fifo2")
      sh("rm -f " .. base .. "/fifo2; mkfifo " .. base .. "/fifo2")
      local pid = child.output(command .. " >/dev/null 2>&1 & echo $!")
      local tmp = io.open(base .. "/fifo2", "r"):read("l")
      local s = open(dir)
      assert.is_true(exists(tmp))
      assert.are.equal(0, s:clean_tmp())
      sh("kill -9 " .. pid)
      local deadline = os.time() + 10
      while s:clean_tmp() == 0 and os.time() < deadline do loop.sleep(0.01) end
      assert.is_false(exists(tmp))
      assert.are.same({ a = 1 }, s:get_key "abc")
      assert.are.same({}, s:check())
      s:close()
      assert.are.equal("", child.output("ls " .. dir .. "/tmp"))
    end)
  end)

  describe("kill -9", function()
    it("at any moment leaves a sound store", function()
      local dir = fresh()
      open(dir):close()
      local command = child.command([[
        local digest = require "bakery.digest"
        local s = assert(require("bakery.store").open(...))
        for i = 1, 1e9 do
          local text = i .. "/" .. os.time() .. "/" .. tostring({})
          local d = assert(s:put_blob(text))
          local tmp = assert(s:tmpdir())
          os.execute("mkdir " .. tmp .. "/fs; echo '" .. text .. "' > " .. tmp .. "/fs/f")
          assert(s:publish_layer(tmp .. "/fs", d, { text = text }))
          assert(s:put_key(digest.sha256(text), { diff_id = d }))
          assert(s:put_ref("last", { diff_id = d }))
        end
      ]], dir)
      for i = 1, 12 do
        local pid = child.output(command .. " >/dev/null 2>&1 & echo $!")
        loop.sleep(0.02 + 0.013 * i)
        sh("kill -9 " .. pid)
        local s <close> = open(dir, {})
        assert.are.same({}, s:check())
        for _, key in ipairs(s:keys()) do
          assert.is_truthy(s:layer_dir(s:get_key(key).diff_id))
        end
      end
      local s <close> = open(dir, {})
      assert.is_truthy(s:get_ref "last")
      local deadline = os.time() + 10
      while child.output("ls " .. dir .. "/tmp") ~= "" and os.time() < deadline do s:clean_tmp() end
    end)
  end)

  describe("after a reboot", function()
    it("drops what had not reached the disk", function()
      local dir = fresh()
      local s = open(dir)
      local good, bad = s:put_blob("good"), s:put_blob("bad and lost")
      assert(s:publish_layer(layer(s, "kept"), id "kept", {}))
      assert(s:publish_layer(layer(s, "lost"), id "lost", {}))
      assert(s:put_key("aa1", { diff_id = id "kept" }))
      assert(s:put_key("aa2", { diff_id = id "lost" }))
      local lost_blob, lost_layer = s:blob_path(bad), s:layer_dir(id "lost")
      s:close()
      sh(": > " .. lost_blob .. "; : > " .. lost_layer .. "/sub/file; : > " .. dir .. "/keys/aa/aa2")
      s = open(dir) -- the same boot: nothing is looked at
      assert.is_true((s:has_blob(bad)))
      s:close()
      write(dir .. "/boot", "00000000000000000000000000000000\n")
      s = open(dir)
      assert.is_true((s:has_blob(good)))
      assert.is_false((s:has_blob(bad)))
      assert.is_truthy(s:layer_dir(id "kept"))
      assert.is_nil((s:layer_dir(id "lost")))
      assert.are.same({ "aa1" }, s:keys())
      assert.are_not.equal("00000000000000000000000000000000\n", read(dir .. "/boot"))
      s:close()
    end)
  end)

  describe("a full disk", function()
    it("is an infra error and publishes nothing half", function()
      local dir = base .. "/small"
      local command = child.command([[
        local dir = ...
        local digest, json = require "bakery.digest", require "bakery.json"
        local s = assert(require("bakery.store").open(dir, { create = true }))
        local kept = assert(s:put_blob("kept"))
        local out = {}
        local big = ("x"):rep(3 << 20)
        local ok, err = s:put_blob(big)
        out.blob = { ok = ok ~= nil, code = err.code, class = err.class, message = err.message }
        out.has = s:has_blob("sha256:" .. digest.sha256(big))
        local tmp = s:tmpdir()
        os.execute("mkdir " .. tmp .. "/fs; dd if=/dev/zero bs=64k of=" .. tmp .. "/fs/f 2>/dev/null")
        local text = ("y"):rep(1 << 19)
        ok, err = s:publish_layer(tmp .. "/fs", kept, { text = text })
        out.layer = { ok = ok ~= nil, code = err and err.code }
        out.layer_dir = s:layer_dir(kept) ~= nil
        out.back = os.execute("test -f " .. tmp .. "/fs/f") == true
        ok, err = s:put_key("abc", { text = text })
        out.key = { ok = ok ~= nil, code = err and err.code }
        assert(s:remove_tmp(tmp))
        out.again = s:put_key("abc", { a = 1 }) and s:get_key("abc").a
        out.problems = #s:check()
        s:close()
        print(json.encode(out))
      ]], dir)
      sh("mkdir -p " .. dir)
      local text = child.output(("unshare -m sh -c 'mount -t tmpfs -o size=2m none %s && exec %s' 2>/dev/null")
        :format(dir, command:gsub("'", "'\\''")))
      if text == "" then return pending("cannot mount a tmpfs here") end
      local out = json.decode(text)
      assert.is_false(out.blob.ok)
      assert.are.equal("ENOSPC", out.blob.code)
      assert.are.equal("infra", out.blob.class)
      assert.matches("MB free", out.blob.message, 1, true)
      assert.is_false(out.has)
      assert.are.same({ ok = false, code = "ENOSPC" }, out.layer)
      assert.is_false(out.layer_dir)
      assert.is_true(out.back)
      assert.are.same({ ok = false, code = "ENOSPC" }, out.key)
      assert.are.equal(1, out.again)
      assert.are.equal(0, out.problems)
    end)
  end)

  describe("gc", function()
    -- An image: ref -> manifest -> config and layer blob; config -> layer directory.
    local function image(s, name)
      local blob = s:put_blob("layer of " .. name)
      local diff = id("diff of " .. name)
      assert(s:publish_layer(layer(s, name), diff, { blobs = json.array {} }))
      local config = s:put_blob(json.encode { rootfs = { diff_ids = json.array { diff } } })
      local manifest = s:put_blob(json.encode { config = { digest = config }, layers = json.array { { digest = blob } } })
      return { blob = blob, diff = diff, config = config, manifest = manifest }
    end

    local function there(s, i)
      return { s:has_blob(i.manifest) and true or false, s:has_blob(i.config) and true or false,
        s:has_blob(i.blob) and true or false, s:layer_dir(i.diff) ~= nil }
    end
    local all, none = { true, true, true, true }, { false, false, false, false }

    it("keeps what references reach through documents", function()
      local s <close> = open()
      local a, b = image(s, "a"), image(s, "b")
      assert(s:put_ref("image/a", { manifest = a.manifest }))
      local report = assert(s:gc { dry_run = true, grace = -1 })
      assert.are.equal(4, report.removed)
      assert.are.same(all, there(s, b))
      report = assert(s:gc {}) -- young: the grace hour protects them
      assert.are.equal(0, report.removed)
      report = assert(s:gc { grace = -1 })
      assert.are.equal(4, report.removed)
      assert.are.same({ 3, 1 }, { report.gone.blobs.count, report.gone.layers.count })
      assert.are.same(all, there(s, a))
      assert.are.same(none, there(s, b))
      assert(s:del_ref("image/a"))
      assert(s:gc { grace = -1, keep = { a.manifest } })
      assert.are.same(all, there(s, a))
      assert(s:gc { grace = -1 })
      assert.are.same(none, there(s, a))
      assert.are.equal(0, s:du().layers.count)
      assert.are.equal("", child.output("ls " .. s.dir .. "/layers"))
    end)

    it("drops the least recently used first", function()
      local s <close> = open()
      for i = 1, 4 do
        local diff = id("l" .. i)
        assert(s:publish_layer(layer(s, ("x"):rep(1000)), diff, {}))
        assert(s:put_key("aa" .. i, { diff_id = diff }))
        sh(("touch -d '%d hours ago' %s/keys/aa/aa%d %s/layers/%s"):format(10 - i, s.dir, i, s.dir, digest.sha256("l" .. i)))
      end
      assert.is_truthy(s:get_key("aa1")) -- used now
      assert(s:put_ref("pinned", { diff_id = id "l2" }))
      local report = assert(s:gc { max_bytes = 2500 })
      assert.are.equal(1000, report.gone.layers.bytes * 2 // report.gone.layers.count // 2)
      assert.are.same({ true, true, false, false }, { s:layer_dir(id "l1") ~= nil, s:layer_dir(id "l2") ~= nil,
        s:layer_dir(id "l3") ~= nil, s:layer_dir(id "l4") ~= nil })
      assert.are.same({ "aa1", "aa2" }, s:keys())
      assert(s:gc { max_bytes = 0 })
      assert.are.same({ "aa2" }, s:keys())
      assert.is_truthy(s:layer_dir(id "l2"))
    end)

    it("drops keys and references by age", function()
      local s <close> = open()
      for i = 1, 2 do
        assert(s:publish_layer(layer(s), id("l" .. i), {}))
        assert(s:put_key("aa" .. i, { diff_id = id("l" .. i) }))
      end
      assert(s:put_ref("old", { diff_id = id "l2" }))
      sh("touch -d '9 days ago' " .. s.dir .. "/keys/aa/* " .. s.dir .. "/refs/*")
      assert(s:gc { max_age = 86400 * 10, grace = -1 })
      assert.are.equal(2, #s:keys())
      assert(s:gc { max_age = 86400, grace = -1 })
      assert.are.same({}, s:keys())
      assert.is_nil((s:layer_dir(id "l1")))
      assert.is_truthy(s:layer_dir(id "l2"))
      assert(s:gc { ref_age = 86400, grace = -1 })
      assert.are.same({}, s:refs())
      assert.is_nil((s:layer_dir(id "l2")))
    end)

    it("removes directories of any mode, old cache directories and lock files", function()
      local s <close> = open()
      local fs = layer(s)
      sh(("mkdir -p %s/d/e; touch %s/d/e/f; chmod 0 %s/d/e; chmod 0555 %s/d"):format(fs, fs, fs, fs))
      assert(s:publish_layer(fs, id "odd", {}))
      s:lock("some"):close()
      s:cache_mount({ id = "c" }):close()
      assert(s:gc { grace = -1 })
      assert.is_nil((s:layer_dir(id "odd")))
      assert.is_true(exists(s.dir .. "/cachemounts/default/c/0"))
      assert.is_false(exists(s.dir .. "/locks/n-some"))
      assert(s:gc { grace = -1, max_age = -0.5 + 0.5 })
      sh("touch -d '2 days ago' " .. s.dir .. "/cachemounts/default/c/0")
      assert(s:gc { max_age = 86400 })
      assert.is_false(exists(s.dir .. "/cachemounts/default/c/0"))
    end)

    it("never runs beside a build", function()
      local dir = fresh()
      local s <close> = open(dir)
      local second = open(dir)
      local report, err = s:gc {}
      assert.is_nil(report)
      assert.are.equal("store.busy", err.code)
      assert.is_true(err.retryable)
      second:close()
      assert.is_truthy(s:gc {})
      local lock = s:lock("x")
      assert.are.equal("store.busy", select(2, s:gc {}).code)
      lock:close()
      assert.is_truthy(s:gc {})
      second = open(dir) -- and the shared lock came back
      assert.are.equal("store.busy", select(2, second:gc {}).code)
      second:close()
    end)
  end)

  describe("check", function()
    it("finds and repairs what is broken", function()
      local s <close> = open()
      local a, b = s:put_blob("a"), s:put_blob("b")
      assert(s:publish_layer(layer(s), id "l", {}))
      assert(s:put_key("abc", { a = 1 }))
      assert.are.same({}, s:check())
      write(s:blob_path(a), "A")
      write(s.dir .. "/blobs/sha256/stray", "")
      sh("touch " .. s:layer_dir(id "l") .. "/more")
      write(s.dir .. "/keys/ab/abc", "")
      local problems = s:check()
      table.sort(problems, function(x, y) return x.message < y.message end)
      local found = {}
      for i, p in ipairs(problems) do found[i] = p.area .. " " .. p.name end
      table.sort(found)
      local expected = { "blobs " .. a, "blobs stray", "keys keys/ab/abc", "layers " .. id "l" }
      table.sort(expected)
      assert.are.same(expected, found)
      assert.are.equal(4, #s:check { repair = true })
      assert.are.same({}, s:check())
      assert.is_false((s:has_blob(a)))
      assert.is_true((s:has_blob(b)))
      assert.is_nil((s:layer_dir(id "l")))
    end)
  end)

  describe("du", function()
    it("adds up", function()
      local s <close> = open()
      s:put_blob("12345")
      local fs = layer(s, "123")
      sh("ln " .. fs .. "/sub/file " .. fs .. "/again")
      assert(s:publish_layer(fs, id "l", {}))
      local du = s:du()
      assert.are.same({ count = 1, bytes = 5 }, du.blobs)
      assert.are.same({ count = 1, bytes = 3 }, du.layers)
      assert.are.equal(8, du.bytes)
    end)
  end)

  describe("run history", function()
    it("is kept, newest first", function()
      local s <close> = open()
      assert.is_false(exists(s.dir .. "/runs.db"))
      for i = 1, 3 do
        assert.are.equal(i, s:record_run { name = "build " .. i % 2, status = "ok", started = 100 + i, seconds = i / 2,
          targets = json.array { "a" } })
      end
      local runs = s:runs()
      assert.are.equal(3, #runs)
      assert.are.same({ id = 3, name = "build 1", status = "ok", started = 103, seconds = 1.5, targets = { "a" } }, runs[1])
      assert.are.equal(2, #s:runs { name = "build 1" })
      assert.are.equal(1, #s:runs { limit = 1 })
      assert.are.equal(2, #s:runs { since = 102 })
    end)

    it("that cannot be read is nobody else's problem", function()
      local s <close> = open()
      write(s.dir .. "/runs.db", ("junk"):rep(100))
      local runs, err = s:runs()
      assert.is_nil(runs)
      assert.are.equal("store.history", err.code)
      assert.is_truthy(s:put_blob("x"))
    end)
  end)
end)
