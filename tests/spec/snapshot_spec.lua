local archive = require "bakery.archive"
local child = require "lib.child"
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local snapshot = require "bakery.snapshot"
local tar = require "lib.tar"

local q = child.quote
local base = child.output("mktemp -d")
local count = 0
local root = child.output("id -u") == "0"

local function path(name)
  count = count + 1
  return base .. "/" .. count .. (name and "-" .. name or "")
end

local function sh(cmd) assert(os.execute(cmd), cmd) end

-- A directory filled by shell commands that run in it.
local function dir(commands)
  local d = path "d"
  sh("mkdir " .. q(d))
  if commands then sh("set -e; umask 022; cd " .. q(d) .. "; " .. commands) end
  return d
end

local function out(cmd) return child.output(cmd) end
local function stat(format, p) return out(("stat -c '%s' %s"):format(format, q(p))) end
local function exists(p) return os.execute("test -e " .. q(p) .. " -o -L " .. q(p)) == true end
local function is_whiteout(p) return exists(p) and stat("%F %t %T", p) == "character special file 0 0" end
local function xattr(p, name)
  return out(("python3 -c 'import os,sys; print(os.getxattr(sys.argv[1], sys.argv[2]).decode())' %s %s 2>/dev/null")
    :format(q(p), name))
end

local function apply(entries, opts)
  opts = opts or {}
  opts.blob = tar.write(path "layer.tar", type(entries) == "string" and entries or tar.archive(entries))
  opts.dir = opts.dir or path "fs"
  local r, err = snapshot.apply(opts)
  return r, err, opts.dir
end

local function tree(command, ...)
  local words = { "python3 tests/lib/tree.py", command }
  for _, a in ipairs { ... } do words[#words + 1] = q(tostring(a)) end
  return out(table.concat(words, " "))
end

local function lines(text)
  local t = {}
  for l in (text .. "\n"):gmatch "(.-)\n" do if l ~= "" then t[#t + 1] = l end end
  return t
end

local function needs_root(fn)
  return function()
    if not root then return pending "skipped: needs root" end
    return fn()
  end
end

describe("snapshot", function()
  teardown(function()
    child.clean()
    sh("rm -rf " .. q(base))
  end)

  describe("lookup and read", function()
    local lowers
    setup(function()
      if not root then return end
      lowers = {
        dir [[mkdir -p usr/bin etc gone kept opq/sub hid; echo 1 > usr/bin/a; ln -s usr/bin bin; echo x > gone/f; echo x > kept/f
              ln -s /etc/../usr abs; ln -s ../../../../etc/conf up; echo conf > etc/conf; ln -s loop2 loop1; ln -s loop1 loop2
              ln -s nowhere/file dangling; echo low > opq/sub/f; echo low > opq/g; echo low > hid/f; ln -s usr file-or-link]],
        dir [[mkdir -p usr/bin kept; echo 2 > usr/bin/b; mknod gone c 0 0; mknod kept/f c 0 0; mkdir -p opq/sub; echo up > opq/h
              python3 -c 'import os; os.setxattr("opq", "trusted.overlay.opaque", b"y")'; echo plain > hid; echo file > file-or-link]],
        dir [[mkdir hid; echo top > hid/g; mkdir gone; echo new > gone/g]],
      }
    end)

    local function text(p) return (snapshot.read { lowers = lowers, path = p }) end

    it("merges layers", needs_root(function()
      assert.are.equal("1\n", text "usr/bin/a")
      assert.are.equal("2\n", text "/usr//bin/./b")
      local e = snapshot.lookup { lowers = lowers, path = "usr/bin/b" }
      assert.are.same({ "file", 2, "usr/bin/b", lowers[2] .. "/usr/bin/b", 2, 420, 0 },
        { e.type, e.size, e.path, e.real, e.layer, e.mode, e.uid })
    end))

    it("honours whiteouts, opaque directories and changed types", needs_root(function()
      assert.is_nil(snapshot.lookup { lowers = lowers, path = "gone/f" })
      assert.are.equal("new\n", text "gone/g")
      assert.is_nil(snapshot.lookup { lowers = lowers, path = "kept/f" })
      assert.are.equal("dir", snapshot.lookup { lowers = lowers, path = "kept" }.type)
      assert.is_nil(snapshot.lookup { lowers = lowers, path = "opq/g" })
      assert.is_nil(snapshot.lookup { lowers = lowers, path = "opq/sub/f" })
      assert.are.equal("up\n", text "opq/h")
      assert.is_nil(snapshot.lookup { lowers = lowers, path = "hid/f" })
      assert.are.equal("top\n", text "hid/g")
      assert.are.equal("file", snapshot.lookup { lowers = lowers, path = "file-or-link" }.type)
    end))

    it("knows whiteouts in the form of files with an attribute", needs_root(function()
      local low = dir "mkdir d; touch d/a d/b"
      local up = dir [[mkdir d; touch d/a d/c; python3 -c '
import os
os.setxattr("d", "trusted.overlay.opaque", b"x"); os.setxattr("d/a", "trusted.overlay.whiteout", b"")']]
      local chain = { low, up }
      assert.is_nil(snapshot.lookup { lowers = chain, path = "d/a" })
      assert.are.equal("file", snapshot.lookup { lowers = chain, path = "d/b" }.type)
      local before = assert(archive.pack { dir = up }).diff_id
      assert.are.equal(before, assert(snapshot.commit { upper = up, lowers = { low } }).diff_id)
      assert.is_true(is_whiteout(up .. "/d/a"))
      assert.is_nil(snapshot.lookup { lowers = chain, path = "d/a" })
    end))

    it("follows symlinks inside the chain and never out of it", needs_root(function()
      assert.are.equal("2\n", text "bin/b")
      assert.are.equal("1\n", text "abs/bin/a")
      assert.are.equal("conf\n", text "up")
      assert.are.equal("conf\n", text "../../../etc/conf")
      assert.are.equal("symlink", snapshot.lookup { lowers = lowers, path = "bin", follow = false }.type)
      assert.are.equal("usr/bin", snapshot.lookup { lowers = lowers, path = "bin/" }.path)
      assert.is_nil(snapshot.lookup { lowers = lowers, path = "dangling" })
      local r, err = snapshot.lookup { lowers = lowers, path = "loop1" }
      assert.is_nil(r)
      assert.are.equal("ELOOP", err.code)
    end))

    it("reads regular files up to a bound", needs_root(function()
      local r, err = snapshot.read { lowers = lowers, path = "etc" }
      assert.is_nil(r)
      assert.are.equal("fs.not_a_file", err.code)
      r, err = snapshot.read { lowers = lowers, path = "etc/conf", max = 3 }
      assert.is_nil(r)
      assert.are.equal("fs.too_large", err.code)
      r, err = snapshot.read { lowers = lowers, path = "etc/none" }
      assert.is_nil(r)
      assert.are.equal("ENOENT", err.code)
    end))

    it("knows the empty chain", function()
      assert.are.equal("dir", snapshot.lookup { lowers = {}, path = "/" }.type)
      assert.is_nil(snapshot.lookup { lowers = {}, path = "/etc" })
      assert.has_error(function() snapshot.lookup { path = "/" } end, "option 'lowers' is required")
    end)
  end)

  describe("user", function()
    local lowers
    setup(function()
      lowers = { dir [[mkdir etc; cat > etc/passwd <<E
# comment
root:x:0:0:root:/root:/bin/sh
app:x:1000:1001:App:/home/app:/bin/sh
bad:x:zz:1:::
second:x:1000:5:::/x
123:x:77:78::/numeric:
E
cat > etc/group <<E
root:x:0:
app:x:1001:
audio:x:29:app,other
video:x:44:other,app
again:x:29:app
staff:x:50:applet
E
]] }
    end)

    local function ids(spec)
      local u, err = snapshot.user { lowers = lowers, spec = spec }
      if not u then return err.code end
      return ("%d:%d [%s] %s"):format(u.uid, u.gid, table.concat(u.groups, ","), u.home)
    end

    for spec, want in pairs {
      [""] = "0:0 [0] /root", root = "0:0 [0] /root", app = "1000:1001 [29,44,1001] /home/app",
      ["1000"] = "1000:1001 [29,44,1001] /home/app", ["app:audio"] = "1000:29 [29] /home/app",
      ["app:5"] = "1000:5 [5] /home/app", ["7:8"] = "7:8 [8] /", ["4000"] = "4000:0 [0] /", ["0:0"] = "0:0 [0] /root",
      ["123"] = "123:0 [0] /", nobody = "snapshot.no_user", ["app:none"] = "snapshot.no_group", bad = "snapshot.no_user",
      ["4294967295"] = "snapshot.no_user", ["1000:app"] = "1000:1001 [1001] /home/app",
    } do
      it("resolves '" .. spec .. "'", function() assert.are.equal(want, ids(spec)) end)
    end

    -- For --chown and WORKDIR: "uid:gid", and the name that was not found.
    for spec, want in pairs {
      [""] = "0:0", root = "0:0", app = "1000:1001", ["1000"] = "1000:1000", ["123"] = "123:123", ["app:audio"] = "1000:29", ["7:8"] = "7:8",
      ["app:"] = "1000:0", [":audio"] = "0:29", ["app:root"] = "1000:0", nobody = "0:0 nobody", ["nobody:audio"] = "0:29 nobody",
      ["app:none"] = "1000:1001 none", ["7:none"] = "7:7 none", ["nobody:none"] = "0:0 nobody",
    } do
      it("says whom '" .. spec .. "' makes the owner", function()
        local o = assert(snapshot.owner { lowers = lowers, spec = spec })
        assert.are.equal(want, ("%d:%d%s"):format(o.uid, o.gid, o.unknown and " " .. o.unknown or ""))
      end)
    end

    it("works without databases", function()
      assert.are.same({ uid = 0, gid = 0 }, snapshot.owner { lowers = {}, spec = "root:root" })
      assert.are.equal("/root", assert(snapshot.user { lowers = {}, spec = "" }).home)
      local _, err = snapshot.user { lowers = {}, spec = "x" }
      assert.matches("no user 'x' in /etc/passwd of the image", err.message, 1, true)
    end)

    it("refuses huge databases", function()
      local big = dir "mkdir etc; truncate -s 11M etc/passwd"
      local _, err = snapshot.user { lowers = { big }, spec = "x" }
      assert.are.equal("fs.too_large", err.code)
    end)

    it("does not leave the image through a symlink", function()
      local evil = dir "mkdir etc; ln -s /etc/hostname etc/passwd"
      local _, err = snapshot.user { lowers = { evil }, spec = "x" }
      assert.are.equal("snapshot.no_user", err.code)
    end)
  end)

  describe("apply", function()
    it("creates what the layer says", needs_root(function()
      local r, err, d = apply {
        { name = "d/", type = "5", mode = 448, mtime = 11 },
        { name = "d/f", data = "text", mode = 2541, uid = 1, gid = 2, mtime = 12 },
        { name = "d/s", type = "2", link = "/abs", mtime = 13, uid = 3 },
        { name = "d/h", type = "1", link = "d/f", mode = 2541, uid = 1, gid = 2, mtime = 12 },
        { name = "p", type = "6" }, { name = "null", type = "3", major = 1, minor = 3, mode = 438 },
        { name = "x", pax = { ["SCHILY.xattr.user.k"] = "v", ["SCHILY.xattr.trusted.overlay.redirect"] = "/evil",
          ["SCHILY.xattr.user.overlay.opaque"] = "y", ["SCHILY.xattr.trusted.t"] = "1", mtime = "14.25" } },
      }
      assert(r, err)
      assert.are.equal(7, r.entries)
      assert.are.equal("700 11", stat("%a %Y", d .. "/d"))
      assert.are.equal("4755 1 2 12 2 text", stat("%a %u %g %Y %h", d .. "/d/f") .. " " .. tar.read(d .. "/d/h"))
      assert.are.equal("3 13", stat("%u %Y", d .. "/d/s"))
      assert.are.equal("fifo", stat("%F", d .. "/p"))
      assert.are.equal("character special file 1 3 666", stat("%F %t %T %a", d .. "/null"))
      assert.are.equal("user.k", out("python3 -c 'import os,sys; print(*os.listxattr(sys.argv[1]))' " .. q(d .. "/x")))
      assert.matches("14%.25", stat("%.Y", d .. "/x"))
    end))

    it("turns whiteouts into overlay form, whatever their order", needs_root(function()
      local r, err, d = apply {
        { name = "a/", type = "5" }, { name = "a/.wh.gone" }, { name = "a/.wh..wh..opq" }, { name = "a/new" },
        { name = "both/", type = "5" }, { name = "both/f" }, { name = ".wh.both" },
        { name = ".wh.later" }, { name = "later/", type = "5" }, { name = ".wh.file" }, { name = "file", data = "x" },
        { name = "kept" }, { name = ".wh.kept" }, { name = ".wh.implied" }, { name = "implied/x" },
        { name = ".wh..wh.plnk/1.2" }, { name = ".wh..wh.aufs" },
      }
      assert(r, err)
      assert.is_true(is_whiteout(d .. "/a/gone"))
      for _, name in ipairs { "a", "both", "later", "implied" } do
        assert.are.equal("y", xattr(d .. "/" .. name, "trusted.overlay.opaque"), name)
      end
      assert.are.equal("regular file", stat("%F", d .. "/file"))
      assert.are.equal("regular empty file", stat("%F", d .. "/kept"))
      assert.are.equal("a both file implied kept later", out("cd " .. q(d) .. " && ls -A | xargs"))
      local _, _, u = apply({ { name = "a/", type = "5" }, { name = "a/.wh..wh..opq" } }, { userxattr = true })
      assert.are.equal("y", xattr(u .. "/a", "user.overlay.opaque"))
    end))

    it("expands an opaque root over its lower layers", needs_root(function()
      local lower = dir "mkdir a b; touch c"
      local r, err, d = apply({ { name = ".wh..wh..opq" }, { name = "b/", type = "5" }, { name = "n" } }, { lowers = { lower } })
      assert(r, err)
      assert.is_true(is_whiteout(d .. "/a") and is_whiteout(d .. "/c"))
      assert.are.equal("y", xattr(d .. "/b", "trusted.overlay.opaque"))
    end))

    it("takes metadata of directories that are not listed from below", needs_root(function()
      local lower = dir "mkdir -p a/b; chmod 2711 a/b; chown 5:6 a/b; touch -d @77 a/b; chmod 555 .; touch -d @88 ."
      local r, err, d = apply({ { name = "a/b/c/f" } }, { lowers = { lower } })
      assert(r, err)
      assert.are.equal("2711 5 6 77", stat("%a %u %g %Y", d .. "/a/b"))
      assert.are.equal("755 0 0 0", stat("%a %u %g %Y", d .. "/a/b/c"))
      assert.are.equal("555 88", stat("%a %Y", d))
      assert.are.equal("0:0", stat("%u:%g", d .. "/a/b/c/f"), "the group of a setgid parent is not inherited")
    end))

    it("lets later entries win", needs_root(function()
      local r, err, d = apply {
        { name = "a/", type = "5" }, { name = "a/x" }, { name = "a", data = "file" }, { name = "b" },
        { name = "b/", type = "5", mtime = 5 }, { name = "c", data = "1" }, { name = "./c", data = "2" },
        { name = "l", type = "2", link = "/etc/passwd" }, { name = "l", data = "mine" },
        { name = "./", type = "5", mode = 457, mtime = 99 },
      }
      assert(r, err)
      assert.are.equal("file2mine", tar.read(d .. "/a") .. tar.read(d .. "/c") .. tar.read(d .. "/l"))
      assert.are.equal("directory 5", stat("%F %Y", d .. "/b"))
      assert.are.equal("711 99", stat("%a %Y", d))
    end))

    it("verifies the diff id and removes what it made", function()
      local r, err, d = apply({ { name = "a", data = "x" } }, { diff_id = "sha256:" .. ("0"):rep(64) })
      assert.is_nil(r)
      assert.are.equal("snapshot.digest_mismatch", err.code)
      assert.is_false(exists(d))
    end)

    it("counts bytes behind the end of the archive into the diff id", function()
      local text = tar.archive({ { name = "a" } }, ("\0"):rep(20480))
      local r = assert(apply(text))
      assert.are.equal("sha256:" .. require "bakery.digest".sha256(text), r.diff_id)
      assert.are.equal(#text, r.size)
    end)

    it("bounds the size only when asked", function()
      local blob = path "gz"
      assert(archive.compress { src = tar.write(path "t", tar.archive { { name = "a", data = ("\0"):rep(5000000) } }),
        dst = blob })
      local r, err = snapshot.apply { blob = blob, dir = path "fs", limits = { bytes = 1000000 } }
      assert.is_nil(r)
      assert.are.equal("archive.too_large", err.code)
      -- A bomb: 5 MB of zeros in some KB. The ratio counts above the floor alone.
      local function code(limits)
        local done, problem = snapshot.apply { blob = blob, dir = path("fs" .. tostring(limits)), limits = limits }
        return done and "ok" or problem.code
      end
      assert.are.equal("archive.too_large", code { ratio = 100 })
      assert.are.equal("archive.too_large", code { ratio = 100, floor = 4900000, bytes = 1 << 40 })
      assert.are.equal("archive.too_large", code { ratio = 10000, floor = 1, bytes = 4900000 })
      assert.are.equal("ok", code { ratio = 100, floor = 5100000 })
      assert.are.equal("ok", code { ratio = 10000 })
      assert.are.equal("ok", code { entries = 1 })
      local two = tar.write(path "two", tar.archive { { name = "a" }, { name = "b" } })
      r, err = snapshot.apply { blob = two, dir = path "fs2", limits = { entries = 1 } }
      assert.is_nil(r)
      assert.are.equal("limits.entries", err.code)
      assert.is_false(exists(path "fs2"))
      assert(snapshot.apply { blob = blob, dir = path "fs" })
    end)

    it("takes a blob that is still being written, and notices when nobody writes it any more", function()
      local text = tar.archive { { name = "first", data = ("1"):rep(600000) }, { name = "second", data = ("2"):rep(600000) } }
      local blob, d = path "growing", path "fs"
      assert(fs.write(blob, text:sub(1, 2)))
      local task = loop.spawn(function() return snapshot.apply { blob = blob, dir = d, grows_to = #text } end)
      assert(fs.append(blob, text:sub(3, 900000)))
      local deadline = loop.now() + 60
      while not exists(d .. "/first") and loop.now() < deadline do loop.sleep(0.001) end
      assert.is_true(exists(d .. "/first"))
      assert.equal("waiting", task:status())
      assert(fs.append(blob, text:sub(900001)))
      local _, r = task:wait()
      assert.equal("sha256:" .. require "bakery.digest".sha256(text), r.diff_id)
      assert.equal(("2"):rep(600000), fs.read(d .. "/second"))

      local function begun()
        d = path "fs"
        assert(fs.write(blob, text:sub(1, 700000)))
        task = loop.spawn(function() return snapshot.apply { blob = blob, dir = d, grows_to = #text } end)
        while not exists(d .. "/first") and loop.now() < deadline do loop.sleep(0.001) end
      end
      begun()
      assert(fs.remove(blob))
      local ok, nothing, err = task:wait()
      assert.same({ true, "archive.truncated" }, { ok, err.code })
      assert.is_nil(nothing)
      assert.is_false(exists(d))
      begun()
      task:cancel()
      assert.is_false((task:wait()))
      while exists(d) and loop.now() < deadline do loop.sleep(0.001) end
      assert.is_false(exists(d))
    end)

    it("can be cancelled, and leaves nothing", function()
      local entries = {}
      for i = 1, 5000 do entries[i] = { name = "f" .. i, data = "x" } end
      local d = path "fs"
      local blob = tar.write(path "t", tar.archive(entries))
      local task = loop.spawn(function() return snapshot.apply { blob = blob, dir = d } end)
      local deadline = loop.now() + 60
      local function there() return os.rename(d, d) ~= nil end
      while not there() and loop.now() < deadline do loop.sleep(0.0005) end
      task:cancel()
      if task:wait() then return end -- it was faster
      while there() and loop.now() < deadline do loop.sleep(0.01) end
      assert.is_false(there())
    end)

    it("leaves an existing directory alone", function()
      local d = dir "touch precious"
      local r, err = apply({ { name = "a" } }, { dir = d })
      assert.is_nil(r)
      assert.are.equal("EEXIST", err.code)
      assert.is_true(exists(d .. "/precious"))
    end)

    local outside = base .. "/outside"
    local hostile = {
      { "'..' in a name", { { name = "../evil" } }, "archive.escape" },
      { "'..' inside a name", { { name = "a/../../evil" } }, "archive.escape" },
      { "'..' in a pax name", { { name = "x", pax = { path = "a/.." } } }, "archive.escape" },
      { "'..' in a hard link", { { name = "l", type = "1", link = "../../../etc/passwd" } }, "archive.escape" },
      { "a hard link to an absolute path", { { name = "l", type = "1", link = "/etc/passwd" } }, "archive.bad_link" },
      { "a hard link through a symlink", { { name = "s", type = "2", link = "/etc" }, { name = "l", type = "1", link = "s/passwd" } },
        "archive.bad_link" },
      { "a hard link to itself", { { name = "l", type = "1", link = "l" } }, "archive.bad_link" },
      { "a hard link to a directory", { { name = "d/", type = "5" }, { name = "l", type = "1", link = "d" } }, "archive.bad_link" },
      { "a hard link to a whiteout", { { name = ".wh.w" }, { name = "l", type = "1", link = "w" } }, "archive.bad_link" },
      { "a whiteout without a name", { { name = "a/.wh." } }, "archive.bad_name" },
      { "a whiteout of '.'", { { name = "a/.wh.." } }, "archive.bad_name" },
      { "a whiteout of '..'", { { name = "a/.wh..." } }, "archive.bad_name" },
      { "an entry below a whiteout", { { name = ".wh.a/b" } }, "archive.bad_name" },
      { "an entry below a file", { { name = "a" }, { name = "a/b" } }, "ENOTDIR" },
      { "a root that is no directory", { { name = "/", data = "x" } }, "archive.bad_name" },
      { "a symlink without target", { { name = "s", type = "2", link = "" } }, "ENOENT" },
      { "symlinks that loop", { { name = "s", type = "2", link = "s" }, { name = "s/x" } }, "ELOOP" },
      { "a name that is too long", { { name = "x", pax = { path = ("n"):rep(256) } } }, "ENAMETOOLONG" },
      { "a path that is too long", { { name = "x", pax = { path = ("n/"):rep(2500) .. "f" } } }, "archive.bad_name" },
      { "too many levels", { { name = "x", pax = { path = ("n/"):rep(300) .. "f" } } }, "archive.too_deep" },
      { "a truncated archive", tar.header { name = "a", size = 100 } .. "x", "archive.truncated" },
      { "a checksum error after files", { { name = "a" }, { name = "b", sum = "0" } }, "archive.malformed" },
      { "a sparse file", { { name = "a", type = "S" } }, "archive.unsupported" },
    }
    for _, case in ipairs(hostile) do
      it("refuses " .. case[1], needs_root(function()
        local r, err, d = apply(case[2])
        assert.is_nil(r)
        assert.are.equal(case[3], err.code)
        assert.is_false(exists(d), "partial directory")
        assert.is_false(exists(base .. "/evil"))
      end))
    end

    it("keeps entries behind symlinks inside the layer", needs_root(function()
      sh("mkdir -p " .. q(outside))
      local r, err, d = apply {
        { name = "abs", type = "2", link = outside }, { name = "abs/f", data = "1" },
        { name = "up", type = "2", link = "../../../../../../.." .. outside }, { name = "up/g", data = "2" },
        { name = "in/", type = "5" }, { name = "rel", type = "2", link = "x/../in" }, { name = "rel/h", data = "3" },
        { name = "/rooted", data = "4" }, { name = "hl", type = "1", link = "/abs/f" },
        { name = "chain", type = "2", link = "rel" }, { name = "chain/.wh.w" }, { name = "rel/.wh..wh..opq" },
      }
      assert(r, err)
      assert.are.equal("", out("ls -A " .. q(outside)))
      assert.are.equal("1", tar.read(d .. outside .. "/f"))
      assert.are.equal("2", tar.read(d .. outside .. "/g"))
      assert.are.equal("341", tar.read(d .. "/in/h") .. tar.read(d .. "/rooted") .. tar.read(d .. "/hl"))
      assert.is_true(is_whiteout(d .. "/in/w"))
      assert.are.equal("y", xattr(d .. "/in", "trusted.overlay.opaque"))
    end))

    it("does not touch what a replaced directory's links point to", needs_root(function()
      sh("mkdir -p " .. q(outside .. "/sub") .. " && touch -d @1000 " .. q(outside .. "/sub"))
      local r, err = apply {
        { name = "a/", type = "5", mtime = 5 }, { name = "a/sub/", type = "5", mtime = 6 },
        { name = "a", type = "2", link = outside },
      }
      assert(r, err)
      assert.are.equal("1000", stat("%Y", outside .. "/sub"))
      local ok, why, d = apply {
        { name = "a/", type = "5" }, { name = "a/sub/", type = "5", mtime = 7 },
        { name = "b/", type = "5" }, { name = "b/sub/", type = "5", mtime = 6 }, { name = "b", type = "2", link = "a" },
      }
      assert(ok, why)
      assert.are.equal("7", stat("%Y", d .. "/a/sub"))
    end))

    it("refuses device nodes without privileges, but not whiteouts", needs_root(function()
      local r, err = apply({ { name = "dev/", type = "5" }, { name = "dev/sda", type = "4", major = 8, minor = 1 } },
        { rootless = true })
      assert.is_nil(r)
      assert.are.equal("archive.device", err.code)
      assert.matches("'dev/sda'", err.message, 1, true)
      local ok, _, d = apply({ { name = ".wh.a" }, { name = "b", type = "3" } }, { rootless = true })
      assert.is_truthy(ok)
      assert.is_true(is_whiteout(d .. "/a") and is_whiteout(d .. "/b"))
    end))

    it("works in a user namespace with a single id, and says which owner has no place", needs_root(function()
      if not os.execute "unshare -Ur true 2>/dev/null" then return pending "skipped: needs user namespaces" end
      local blob = tar.write(path "t", tar.archive { { name = "d/", type = "5", uid = 5 },
        { name = "d/f", uid = 7, gid = 8, mode = 2541 } })
      local code = [[
        local r, err = require "bakery.snapshot".apply { blob = (...), dir = select(2, ...), userxattr = true,
          rootless = select(3, ...) == "rootless" }
        io.write(r and "fine" or err.code)]]
      local function run(mode)
        local d = path "fs"
        return out("unshare -Ur " .. child.command(code, blob, d, mode)), d
      end
      local how, d = run "rootless"
      assert.are.equal("fine", how)
      assert.are.equal("0:0 4755", stat("%u:%g %a", d .. "/d/f"))
      assert.are.equal("archive.unmapped_owner", (run "rootful"))
    end))

    it("is the inverse of pack for canonical archives", needs_root(function()
      local d = dir()
      sh(("cd %s && python3 %s/tests/lib/odd_tree.py"):format(q(d), q(out "pwd")))
      local odd = path "t"
      local first = assert(archive.pack { dir = d, file = odd })
      local copy = path "fs"
      assert(snapshot.apply { blob = odd, dir = copy, diff_id = first.diff_id })
      assert.are.equal(first.diff_id, assert(archive.pack { dir = copy }).diff_id)
      for seed = 1, 8 do
        local t, blob, found = dir(), path "z", path "fs"
        tree("random", t, seed, 50)
        local r = assert(archive.pack { dir = t, file = blob, compression = seed % 2 == 0 and "gzip" or "zstd" })
        assert(snapshot.apply { blob = blob, dir = found, diff_id = r.diff_id })
        assert.are.equal(r.diff_id, assert(archive.pack { dir = found }).diff_id, "seed " .. seed)
        assert.are.equal(tree("list-seconds", t), tree("list-seconds", found))
      end
    end))

    it("agrees with umoci and skopeo on compressed layers", needs_root(function()
      if not os.execute "command -v umoci skopeo >/dev/null" then return pending "skipped: needs umoci and skopeo" end
      local src, image = dir(), dir "mkdir -p blobs/sha256; echo '{\"imageLayoutVersion\":\"1.0.0\"}' > oci-layout"
      tree("random", src, 21, 60)
      sh("head -c 5000000 /dev/urandom > " .. q(src) .. "/several-members && touch -d @9 " .. q(src) .. "/several-members")
      local function put(text)
        local hex = require "bakery.digest".sha256(text)
        tar.write(image .. "/blobs/sha256/" .. hex, text)
        return ('"digest":"sha256:%s","size":%d'):format(hex, #text)
      end
      local blob = path "layer"
      local r = assert(archive.pack { dir = src, file = blob, compression = "gzip" })
      local config = put(('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["%s"]}}')
        :format(r.diff_id))
      local manifest = put(([[{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},
        "layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",%s}]}]]):format(config, put(tar.read(blob))))
      tar.write(image .. "/index.json", ([[{"schemaVersion":2,"manifests":[{%s,
        "mediaType":"application/vnd.oci.image.manifest.v1+json",
        "annotations":{"org.opencontainers.image.ref.name":"t"}}]}]]):format(manifest))
      local bundle, archived, copied, unpacked = path "bundle", path "docker.tar", path "dir", path "fs"
      sh(("umoci unpack --image %s:t %s >/dev/null 2>&1"):format(q(image), q(bundle)))
      assert.are.equal(tree("list-seconds", src), tree("list-seconds", bundle .. "/rootfs"))
      sh(("skopeo copy -q oci:%s:t docker-archive:%s"):format(q(image), q(archived))) -- decompresses
      sh("mkdir " .. q(copied) .. " && tar -xf " .. q(archived) .. " -C " .. q(copied))
      sh(("cp %s/%s.tar %s"):format(q(copied), r.diff_id:match ":(.*)", q(blob)))
      assert(snapshot.apply { blob = blob, dir = unpacked, diff_id = r.diff_id })
      assert.are.equal(tree("list-seconds", src), tree("list-seconds", unpacked))
    end))
  end)

  describe("commit", function()
    -- Upper directory made by hand, committed; returns the names left.
    local function commit(upper, lowers, opts)
      opts = opts or {}
      opts.upper, opts.lowers = upper, lowers
      local r, err = snapshot.commit(opts)
      if not r then return nil, err end
      assert.are.equal(r.diff_id, assert(archive.pack { dir = upper }).diff_id)
      return out(("cd %s && find . -mindepth 1 | sort | xargs"):format(q(upper))), r
    end

    it("knows the empty layer", function()
      local left, r = commit(dir(), {})
      assert.are.equal("", left)
      assert.is_true(r.empty)
      assert.are.same({ "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef", 0, 1024 },
        { r.diff_id, r.entries, r.size })
    end)

    it("drops unchanged copies and keeps changes of any field", needs_root(function()
      local lower = dir [[for f in same touched mode owner data xattr late; do echo $f > $f; touch -d @5 $f; done
        ln -s a link; touch -hd @5 link; ln -s a target; touch -hd @5 target; mkdir d e; chmod 700 e]]
      local upper = dir(("cp -a %s/. .; touch -d @6 touched; chmod 600 mode; chown 1 owner; echo DATA > data; touch -d @5 data;"
        .. " python3 -c 'import os; os.setxattr(\"xattr\", \"user.a\", b\"1\")'; touch -d @5 xattr; ln -sfn b target;"
        .. " touch -hd @5 target; echo LATE > late; touch -d @5.000000001 late; chmod 755 e"):format(q(lower)))
      assert.are.equal("./data ./e ./late ./mode ./owner ./target ./touched ./xattr", (commit(upper, { lower })))
    end))

    it("trusts equal times with nanoseconds", needs_root(function()
      local lower = dir "echo aaaa > f; touch -d @5.5 f"
      local upper = dir "echo bbbb > f; touch -d @5.5 f"
      assert.are.equal("", (commit(upper, { lower })))
    end))

    it("keeps an unchanged copy that got a second link", needs_root(function()
      local lower = dir "echo x > a; touch -d @5 a"
      local upper = dir(("cp -a %s/a a; ln a b"):format(q(lower)))
      assert.are.equal("./a ./b", (commit(upper, { lower })))
      assert.are.equal("2", stat("%h", upper .. "/a"))
    end))

    it("drops whiteouts of nothing, sockets and overlay's own marks", needs_root(function()
      local lower = dir "touch there"
      local upper = dir [[mknod there c 0 0; mknod none c 0 0; mkdir d; touch d/f; python3 -c '
import os, socket
socket.socket(socket.AF_UNIX).bind("sock")
os.setxattr("d", "trusted.overlay.impure", b"y"); os.setxattr("d/f", "trusted.overlay.origin", b"o")
os.setxattr(".", "trusted.overlay.impure", b"y"); os.setxattr("d/f", "user.mine", b"1")']]
      assert.are.equal("./d ./d/f ./there", (commit(upper, { lower })))
      assert.are.equal("", out("cd " .. q(upper) .. " && getfattr -m overlay -d . d d/f 2>/dev/null"))
      assert.are.equal("1", xattr(upper .. "/d/f", "user.mine"))
    end))

    it("expands opaque directories, also those below", needs_root(function()
      local lower = dir "mkdir -p d/sub/x d/other; touch d/a d/b d/sub/x/f d/sub/y"
      local upper = dir [[mkdir -p d/sub; echo new > d/b; python3 -c 'import os; os.setxattr("d", "trusted.overlay.opaque", b"y")']]
      assert.are.equal("./d ./d/a ./d/b ./d/other ./d/sub ./d/sub/x ./d/sub/y", (commit(upper, { lower })))
      for _, name in ipairs { "d/a", "d/other", "d/sub/x", "d/sub/y" } do
        assert.is_true(is_whiteout(upper .. "/" .. name), name)
      end
      assert.are.equal("", xattr(upper .. "/d", "trusted.overlay.opaque"))
    end))

    it("fails hard on redirects and metacopy", needs_root(function()
      for _, what in ipairs { "redirect", "metacopy" } do
        local upper = dir(("mkdir d; python3 -c 'import os; os.setxattr(\"d\", \"trusted.overlay.%s\", b\"/x\")'"):format(what))
        local r, err = commit(upper, {})
        assert.is_nil(r)
        assert.are.equal("snapshot.overlay_feature", err.code)
      end
    end))

    it("clamps times to the epoch: files, links, directories and their parents", needs_root(function()
      local upper = dir "mkdir -p a/b; echo x > a/b/f; ln -s f a/b/l; touch old; touch -d @50 old; touch frac; touch -d @1000.5 frac"
      commit(upper, {}, { epoch = 1000 })
      assert.are.equal("1000 1000 1000 1000 50 1000", out("cd " .. q(upper) .. " && stat -c %Y a a/b a/b/f a/b/l old frac | xargs"))
      local again = dir "mkdir -p a/b; echo x > a/b/f; ln -s f a/b/l; touch -d @50 old; touch -d @1000.5 frac"
      local _, one = commit(again, {}, { epoch = 1000 })
      assert.are.equal(one.diff_id, assert(archive.pack { dir = upper }).diff_id)
    end))

    it("keeps directory times that the walk itself would change", needs_root(function()
      local lower = dir "mkdir d; touch d/a; touch -d @5 d/a"
      local upper = dir(("mkdir d; cp -a %s/d/a d/a; touch d/new; touch -d @77 d"):format(q(lower)))
      assert.are.equal("./d ./d/new", (commit(upper, { lower })))
      assert.are.equal("77", stat("%Y", upper .. "/d"))
    end))

    it("removes mount stubs that are still empty", needs_root(function()
      local lower = dir "mkdir etc var; touch etc/hosts; chmod 755 etc"
      local upper = dir [[mkdir -p etc run/secrets var full proc; touch etc/resolv.conf etc/hosts run/secrets/key var/new full/f
        echo used > written; touch -d @5 var]]
      local stubs = { "/etc/resolv.conf", "/etc/hosts", "/run", "/run/secrets", "/run/secrets/key", "/full", "/written", "/proc",
        "/var/stub", "/none/x", "/", "../x" }
      assert.are.equal("./etc ./etc/hosts ./full ./full/f ./var ./var/new ./written", (commit(upper, { lower }, { stubs = stubs })))
      assert.are.equal("5", stat("%Y", upper .. "/var"))
    end))

    it("does not follow symlinks when it removes stubs", needs_root(function()
      local victim = dir "mkdir sub; touch sub/empty"
      local upper = dir(("ln -s %s run; ln -s %s/sub/empty file"):format(q(victim), q(victim)))
      commit(upper, {}, { stubs = { "/run/sub/empty", "/run/sub", "/file" } })
      assert.is_true(exists(victim .. "/sub/empty"))
    end))

    it("gives the root the look of the one below", needs_root(function()
      local lower = dir "chmod 1711 .; chown 3:4 .; touch -d @9 ."
      local upper = dir "touch x"
      commit(upper, { lower })
      assert.are.equal("1711 3 4 9", stat("%a %u %g %Y", upper))
    end))

    it("finds the same changes as a comparison of the two trees, over a real overlay", needs_root(function()
      if not os.execute "unshare -m true 2>/dev/null" then return pending "skipped: needs mount namespaces" end
      local script = path "overlay.sh"
      tar.write(script, [[
set -e
w=$1 seed=$2 t="python3 tests/lib/tree.py"
ovl() { mount -t overlay overlay -o "$1,redirect_dir=off,index=off,metacopy=off" $w/m; }
mkdir -p $w/l1 $w/l2 $w/up $w/wk1 $w/wk2 $w/empty $w/m $w/old
$t random $w/l1 $seed 60
ovl lowerdir=$w/l1,upperdir=$w/l2,workdir=$w/wk1
$t mutate $w/m $((seed + 1000)) 25
umount $w/m
mount -t overlay overlay -o lowerdir=$w/empty:$w/l2:$w/l1 $w/old
ovl lowerdir=$w/l2:$w/l1,upperdir=$w/up,workdir=$w/wk2
$t mutate $w/m $((seed + 2000)) 30
$t diff $w/old $w/m > $w/want
$t list-files $w/m > $w/before
]])
      local after = path "after.sh"
      tar.write(after, [[
set -e
w=$1 t="python3 tests/lib/tree.py"
mount -t overlay overlay -o lowerdir=$w/up:$w/l2:$w/l1 $w/m
$t list-files $w/m > $w/after
umount $w/m
mount -t overlay overlay -o lowerdir=$w/applied:$w/l2:$w/l1 $w/m
$t list-seconds $w/m > $w/pulled
]])
      for seed = 1, 6 do
        local w = dir()
        local lowers = { w .. "/l1", w .. "/l2" }
        sh(("unshare -m sh %s %s %d"):format(q(script), q(w), seed))
        local r = assert(snapshot.commit { upper = w .. "/up", lowers = lowers })
        assert(archive.pack { dir = w .. "/up", file = w .. "/t" })
        assert(snapshot.apply { blob = w .. "/t", dir = w .. "/applied", diff_id = r.diff_id, lowers = lowers })
        assert(snapshot.export { lowers = { lowers[1], lowers[2], w .. "/applied" }, dir = w .. "/flat" })
        sh(("unshare -m sh %s %s"):format(q(after), q(w)))
        assert.are.equal(tar.read(w .. "/before"), tar.read(w .. "/after"), "seed " .. seed)
        assert.are.equal(tar.read(w .. "/pulled"), tree("list-seconds", w .. "/flat") .. "\n", "seed " .. seed)

        local got, want, maybe = {}, {}, {}
        for _, e in ipairs(assert(archive.list(w .. "/t"))) do
          local type = e.type == "hardlink" and "file" or e.type
          got[#got + 1] = ("'%s' %s"):format(e.path:gsub("/$", ""), type)
        end
        for _, l in ipairs(lines(tar.read(w .. "/want"))) do
          if l:sub(1, 2) == "? " then
            for p in (l:sub(3, -2) .. "/"):gmatch "()/" do maybe[l:sub(3, p + 1) .. "'"] = true end
          else want[l] = true end
        end
        for _, l in ipairs(got) do
          assert.is_true(want[l] or maybe[l:match "^('.*') "] or false, ("seed %d: unexpected %s"):format(seed, l))
          want[l] = nil
        end
        assert.is_nil(next(want), ("seed %d: missing %s"):format(seed, tostring(next(want))))
      end
    end))
  end)

  describe("mkdir", function()
    it("makes what is missing and copies parents with their metadata", needs_root(function()
      local lower = dir "mkdir -p srv/data; chown 5:6 srv; chmod 711 srv; touch -d @9 srv/data srv; ln -s /srv link; chmod 555 ."
      local upper = dir()
      local r = assert(snapshot.mkdir { lowers = { lower }, upper = upper, path = "/link/data/new/deep", mode = 493, uid = 7,
        gid = 8, epoch = 1000 })
      assert.are.equal(2, r.created)
      assert.are.equal("711 5 6 9", stat("%a %u %g %Y", upper .. "/srv"))
      assert.are.equal("755 0 0 9", stat("%a %u %g %Y", upper .. "/srv/data"))
      assert.are.equal("755 7 8 1000", stat("%a %u %g %Y", upper .. "/srv/data/new"))
      assert.are.equal("755 7 8 1000", stat("%a %u %g %Y", upper .. "/srv/data/new/deep"))
      assert.are.equal("555", stat("%a", upper))
      assert.is_false(exists(upper .. "/link"))
    end))

    it("makes nothing for a directory that is there", needs_root(function()
      local lower, upper = dir "mkdir a", dir()
      assert.are.equal(0, assert(snapshot.mkdir { lowers = { lower }, upper = upper, path = "a/" }).created)
      assert.are.equal("", out("ls -A " .. q(upper)))
    end))

    it("refuses to go through a file, and looks at the upper directory too", needs_root(function()
      local lower, upper = dir "touch f; mkdir d", dir "mknod d c 0 0"
      local r, err = snapshot.mkdir { lowers = { lower }, upper = upper, path = "f/x" }
      assert.is_nil(r)
      assert.are.equal("ENOTDIR", err.code)
      assert.are.equal(2, assert(snapshot.mkdir { lowers = { lower }, upper = upper, path = "d/x" }).created)
      assert.are.equal("y", xattr(upper .. "/d", "trusted.overlay.opaque"))
    end))
  end)

  describe("export", function()
    it("flattens a chain and removes a partial result", needs_root(function()
      local a = dir "mkdir d; echo 1 > d/f; ln d/f d/g; ln -s f d/s; chmod 4755 d/f; chown 3 d; touch -d @5 d"
      local b = dir "mkdir d; mknod d/s c 0 0; echo 2 > h"
      local flat = path "flat"
      assert.are.equal(4, assert(snapshot.export { lowers = { a, b }, dir = flat }).entries)
      assert.are.equal("4755 2", stat("%a %h", flat .. "/d/g"))
      assert.is_false(exists(flat .. "/d/s"))
      local r, err = snapshot.export { lowers = { a }, dir = flat }
      assert.is_nil(r)
      assert.are.equal("EEXIST", err.code)
      assert.is_true(exists(flat .. "/h"))
    end))
  end)
end)
