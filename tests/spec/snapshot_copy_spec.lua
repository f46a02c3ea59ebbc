local child = require "lib.child"
local snapshot = require "bakery.snapshot"

local quote, output = child.quote, child.output
local base, count = output("mktemp -d"), 0

-- Debian's minimal systems have no setfattr and getfattr.
local XATTR = [[setx() { python3 -c 'import os,sys; os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode())' "$@"; }
]]
local GETX = [[python3 -c 'import os,sys; p=sys.argv[1]
print(" ".join(sorted(n + "=" + os.getxattr(p, n).decode() for n in os.listxattr(p))))' ]]

local function sh(script, dir)
  script = XATTR .. script
  local ok = os.execute(("cd %s && sh -ec %s"):format(quote(dir or base), quote(script)))
  assert(ok, "failed: " .. script)
end

-- A fresh directory filled by a shell script.
local function tree(script)
  count = count + 1
  local dir = base .. "/t" .. count
  sh("mkdir " .. dir)
  if script then sh(script, dir) end
  return dir
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("a")
  f:close()
  return text
end

local function stat(path, format) return output(("stat -c %s %s"):format(quote(format), quote(path))) end

-- path -> "type mode uid:gid target-or-content", without the root.
local function list(dir)
  local out = {}
  local p = io.popen(("cd %s && find . -mindepth 1 -printf '%%y %%m %%U:%%G %%P\\037%%l\\0'"):format(quote(dir)))
  for entry in p:read("a"):gmatch("[^\0]+") do
    local kind, mode, owner, path, link = entry:match("^(%S+) (%S+) (%S+) (.-)\31(.*)$")
    local text = kind == "f" and read(dir .. "/" .. path) or kind == "l" and link or nil
    out[path] = kind .. " " .. (kind == "l" and "-" or mode) .. " " .. owner .. (text and " " .. text or "")
  end
  p:close()
  return out
end

local function copy(opts)
  local upper = opts.upper or base .. "/up" .. count .. "-" .. tostring({}):match("0x%x+")
  local o = { from = { root = opts.root }, lowers = {}, upper = upper, now = 1000000000 }
  if opts.stage then o.from = { lowers = opts.stage } end
  for k, v in pairs(opts) do if k ~= "root" and k ~= "stage" then o[k] = v end end
  local done, err = snapshot.copy(o)
  return done and upper, err
end

local function copied(opts)
  local upper, err = copy(opts)
  assert(upper, err)
  return list(upper), upper
end

-- What COPY of these sources gives at dest: expected listing, or an error code.
local function case(what, context, sources, dest, expected, opts)
  it(what, function()
    local o = {}
    for k, v in pairs(opts or {}) do o[k] = v end
    o.root, o.sources, o.dest = tree(context), sources, dest
    if o.below then o.lowers, o.below = { tree(o.below) }, nil end
    if type(expected) == "string" then
      local upper, err = copy(o)
      assert.is_nil(upper)
      assert.are.equal(expected, err.code)
    else
      local got, upper = copied(o)
      assert.are.same(expected, got)
      assert.is_truthy(upper)
    end
  end)
end

describe("snapshot", function()
  teardown(function()
    os.execute("rm -rf " .. quote(base))
    child.clean()
  end)

  describe("copy", function()
    describe("sources and destination", function()
      local files = "printf 1 >a; printf 2 >b; mkdir -p d/s; printf 3 >d/x; printf 4 >d/s/y; chmod 644 a b d/x d/s/y; chmod 755 d d/s"
      case("file to a new name", files, { "a" }, "/x", { x = "f 644 0:0 1" })
      case("file to a directory by its slash", files, { "a" }, "/x/", { x = "d 755 0:0", ["x/a"] = "f 644 0:0 1" })
      case("file with missing parents", files, { "a" }, "/p/q/x",
        { p = "d 755 0:0", ["p/q"] = "d 755 0:0", ["p/q/x"] = "f 644 0:0 1" })
      case("file into an existing directory", files, { "a" }, "/e", { e = "d 1777 5:6", ["e/a"] = "f 644 0:0 1" },
        { below = "mkdir e; chown 5:6 e; chmod 1777 e" })
      case("file to dot", files, { "a" }, ".", { a = "f 644 0:0 1" })
      case("file to the empty destination", files, { "a" }, "", { a = "f 644 0:0 1" })
      case("file to slash dot", files, { "a" }, "/w/.", { w = "d 755 0:0", ["w/a"] = "f 644 0:0 1" })
      case("destination with dot-dot stays inside", files, { "a" }, "/../../x", { x = "f 644 0:0 1" })
      case("directory contents, merged, not itself", files, { "d" }, "/t",
        { t = "d 755 0:0", ["t/x"] = "f 644 0:0 3", ["t/s"] = "d 755 0:0", ["t/s/y"] = "f 644 0:0 4" })
      case("directory with a slash is the same", files, { "d/" }, "/t/",
        { t = "d 755 0:0", ["t/x"] = "f 644 0:0 3", ["t/s"] = "d 755 0:0", ["t/s/y"] = "f 644 0:0 4" })
      case("the whole context", files, { "." }, "/",
        { a = "f 644 0:0 1", b = "f 644 0:0 2", d = "d 755 0:0", ["d/x"] = "f 644 0:0 3", ["d/s"] = "d 755 0:0",
          ["d/s/y"] = "f 644 0:0 4" })
      case("dot-dot in a source cannot leave the context", files, { "../../a" }, "/y", { y = "f 644 0:0 1" })
      case("leading slashes do not matter", files, { "//a", "/b/" }, "/y/",
        { y = "d 755 0:0", ["y/a"] = "f 644 0:0 1", ["y/b"] = "f 644 0:0 2" })
      case("several sources without a slash: the last one wins", files, { "a", "b" }, "/x", { x = "f 644 0:0 2" })
      case("an empty directory", "mkdir e", { "e" }, "/n", { n = "d 755 0:0" })
      case("a missing source", files, { "a", "nope" }, "/x/", "snapshot.not_found")
      case("a source below a file", files, { "a/b" }, "/x/", "snapshot.not_found")
      case("directory over a file", files, { "d" }, "/f", "snapshot.conflict", { below = "touch f" })
      case("sub-directory over a file", files, { "d" }, "/f", "snapshot.conflict", { below = "mkdir f; touch f/s" })
      case("sub-directory over a symlink to a directory", files, { "d" }, "/f", "snapshot.conflict",
        { below = "mkdir f g; ln -s ../g f/s" })
      case("file over a directory", files, { "d" }, "/f", "snapshot.conflict", { below = "mkdir -p f/x" })
      case("file over a directory by name", files, { "a" }, "/f/", "snapshot.conflict", { below = "mkdir -p f/a" })
      case("below a file", files, { "a" }, "/f/x", "snapshot.conflict", { below = "touch f" })
      case("to a directory that is a file", files, { "a" }, "/f/", "snapshot.conflict", { below = "touch f" })
      case("file over a file and over a symlink", files, { "a", "b" }, "/f/",
        { f = "d 755 0:0", ["f/a"] = "f 644 0:0 1", ["f/b"] = "f 644 0:0 2" },
        { below = "mkdir f; echo old >f/a; ln -s /etc/passwd f/b" })
      case("conflict between two sources", "mkdir -p p/x; mkdir q; touch q/x", { "p", "q" }, "/t", "snapshot.conflict")
      case("a later source replaces an earlier one", "mkdir p q; printf 1 >p/x; printf 2 >q/x; chmod 644 */x", { "p", "q" },
        "/t", { t = "d 755 0:0", ["t/x"] = "f 644 0:0 2" })
      case("a source can go into a directory that an earlier one made",
        "mkdir -p p/bin q; ln -s bin p/sbin; printf 1 >tool; chmod 644 tool", { "p", "tool" }, "/t/sbin/../bin/",
        { t = "d 755 0:0", ["t/bin"] = "d 755 0:0", ["t/bin/bin"] = "d 755 0:0", ["t/bin/sbin"] = "l - 0:0 bin",
          ["t/bin/tool"] = "f 644 0:0 1" }, { below = "mkdir -p t/bin; ln -s bin t/sbin" })
      case("names that cannot stand in a layer", "touch .wh.x", { "." }, "/", "snapshot.bad_name")
      case("unicode, blanks and bytes that are no text", "printf 1 >'ü x'; printf 2 >\"$(printf 'a\\377b')\"; chmod 644 *",
        { "." }, "/", { ["ü x"] = "f 644 0:0 1", ["a\xffb"] = "f 644 0:0 2" })
    end)

    describe("wildcards", function()
      local files = "mkdir -p d1/in d2 d1/deep; printf 1 >a.txt; printf 2 >b.txt; printf 3 >c.md; printf 4 >d1/x.txt;" ..
        "printf 5 >d1/in/y; printf 6 >d2/x.txt; printf 7 >'br[0].txt'; chmod -R u=rwX,go=rX ."
      case("files", files, { "*.txt" }, "/o/", { o = "d 755 0:0", ["o/a.txt"] = "f 644 0:0 1", ["o/b.txt"] = "f 644 0:0 2",
        ["o/br[0].txt"] = "f 644 0:0 7" })
      case("question mark and class", files, { "[ac].???", "?.txt" }, "/o/",
        { o = "d 755 0:0", ["o/a.txt"] = "f 644 0:0 1", ["o/b.txt"] = "f 644 0:0 2" })
      case("negated class", files, { "[^ab].*" }, "/o/", { o = "d 755 0:0", ["o/c.md"] = "f 644 0:0 3" })
      case("in a middle component", files, { "d*/x.txt" }, "/o/", { o = "d 755 0:0", ["o/x.txt"] = "f 644 0:0 6" })
      case("a matched directory gives its contents", files, { "d?" }, "/o/",
        { o = "d 755 0:0", ["o/x.txt"] = "f 644 0:0 6", ["o/in"] = "d 755 0:0", ["o/in/y"] = "f 644 0:0 5",
          ["o/deep"] = "d 755 0:0" })
      case("a star stops at a slash", files, { "*y" }, "/o/", {})
      case("two stars are one", files, { "**/x.txt" }, "/o/", { o = "d 755 0:0", ["o/x.txt"] = "f 644 0:0 6" })
      case("no match is an empty layer", files, { "*.none" }, "/o/", {})
      case("no match in a directory that is there", files, { "d2/*.none", "a.txt/*" }, "/o/", {})
      case("in a directory that is not there", files, { "a.txt", "d3/*" }, "/o/", "snapshot.not_found")
      case("a malformed pattern in a directory that is not there", files, { "d3/[a" }, "/o/", "snapshot.not_found")
      case("a malformed pattern matches nothing", files, { "[a", "a.txt" }, "/o/",
        { o = "d 755 0:0", ["o/a.txt"] = "f 644 0:0 1" })
      case("an escaped bracket", files, { "br[[]0].txt" }, "/o", { o = "f 644 0:0 7" })
      case("not through symlinks in the middle", "mkdir r; printf 1 >r/x; ln -s r l", { "*/x" }, "/o/",
        { o = "d 755 0:0", ["o/x"] = "f 644 0:0 1" })
      case("a matched symlink is followed, by its own name", "mkdir r; printf 1 >r/x; chmod 644 r/x; ln -s r/x l.c",
        { "*.c" }, "/o/", { o = "d 755 0:0", ["o/l.c"] = "f 644 0:0 1" })
    end)

    describe("symlinks", function()
      case("at the top are followed, to files and to directories",
        "mkdir r; printf 1 >r/x; chmod 644 r/x; ln -s r ld; ln -s r/x lf", { "ld", "lf" }, "/o/",
        { o = "d 755 0:0", ["o/x"] = "f 644 0:0 1", ["o/lf"] = "f 644 0:0 1" })
      case("inside a tree are copied", "mkdir d; ln -s /etc/passwd d/abs; ln -s ../.. d/up; ln -s nowhere d/dangling", { "d" },
        "/o", { o = "d 755 0:0", ["o/abs"] = "l - 0:0 /etc/passwd", ["o/up"] = "l - 0:0 ../..",
          ["o/dangling"] = "l - 0:0 nowhere" })
      case("of the context never show the host's files", "ln -s /etc/passwd leak", { "leak" }, "/o", "snapshot.not_found")
      case("of the context never climb out", "ln -s ../../../../../../etc/passwd leak", { "leak" }, "/o", "snapshot.not_found")
      case("of the context are rooted in it", "mkdir etc; printf mine >etc/passwd; chmod 644 etc/passwd; ln -s /etc/passwd l",
        { "l" }, "/o", { o = "f 644 0:0 mine" })
      case("through a directory link out of the context", "ln -s /etc e", { "e/passwd" }, "/o", "snapshot.not_found")
      case("that loop", "ln -s b a; ln -s a b", { "a" }, "/o", "ELOOP")
      case("that loop, matched by a wildcard", "ln -s b a; ln -s a b; printf 1 >c", { "*" }, "/o/", "ELOOP")
      case("to nothing, matched by a wildcard", "ln -s nowhere a; printf 1 >c", { "?" }, "/o/", "snapshot.not_found")
      case("to nothing, excluded", "ln -s nowhere a; printf 1 >c; chmod 644 c", { "?" }, "/o/", { o = "d 755 0:0", ["o/c"] = "f 644 0:0 1" },
        { excludes = { "a" } })
      case("to nothing", "ln -s nowhere a", { "a" }, "/o", "snapshot.not_found")

      local one = "printf 1 >a; chmod 644 a"
      case("in the destination's path are followed", one, { "a" }, "/lib/x",
        { usr = "d 755 0:0", ["usr/lib"] = "d 750 0:0", ["usr/lib/x"] = "f 644 0:0 1" },
        { below = "mkdir -p usr/lib; chmod 755 usr; chmod 750 usr/lib; ln -s usr/lib lib" })
      case("in the destination stay inside", one, { "a" }, "/l/x",
        { etc = "d 755 0:0", ["etc/x"] = "f 644 0:0 1" }, { below = "ln -s ../../../etc l" })
      case("absolute ones too", one, { "a" }, "/l/x", { srv = "d 755 0:0", ["srv/x"] = "f 644 0:0 1" },
        { below = "ln -s /srv l" })
      case("as the last component lead to a directory", one, { "a" }, "/l", { r = "d 755 0:0", ["r/a"] = "f 644 0:0 1" },
        { below = "mkdir r; ln -s r l" })
      case("as the last component lead to a file", one, { "a" }, "/l", { r = "f 644 0:0 1" },
        { below = "echo old >r; ln -s r l" })
      case("as the last component may dangle", one, { "a" }, "/l", { n = "d 755 0:0", ["n/t"] = "f 644 0:0 1" },
        { below = "ln -s n/t l" })
      case("that loop in the destination", one, { "a" }, "/l", "ELOOP", { below = "ln -s l l" })
      case("of an earlier source are rooted in the image", "mkdir d; ln -s /out d/l; printf 1 >a; chmod 644 a", { "d", "a" },
        "/l/", { l = "d 755 0:0", ["l/l"] = "l - 0:0 /out", ["l/a"] = "f 644 0:0 1" })
    end)

    describe("metadata", function()
      it("keeps modes, times to the nanosecond and hard links, and drops the owner", function()
        local ctx = tree [[mkdir d; cd d; echo x >f; chmod 4751 f; ln f g; mkdir s; chmod 2711 s; echo t >s/t; chmod 0 s/t
          chown 7:8 f s s/t; chmod 4751 f; chmod 2711 s
          touch -d '2001-02-03 04:05:06.123456789' f s/t; touch -d '2002-02-03 04:05:06.5' s]]
        local got, upper = copied { root = ctx, sources = { "d" }, dest = "/o" }
        assert.are.same({ o = "d 755 0:0", ["o/f"] = "f 4751 0:0 x\n", ["o/g"] = "f 4751 0:0 x\n", ["o/s"] = "d 2711 0:0",
          ["o/s/t"] = "f 0 0:0 t\n" }, got)
        assert.are.equal("2001-02-03 04:05:06.123456789", stat(upper .. "/o/f", "%y"):sub(1, 29))
        assert.are.equal("2002-02-03 04:05:06.500000000", stat(upper .. "/o/s", "%y"):sub(1, 29))
        assert.are.equal(stat(upper .. "/o/f", "%i"), stat(upper .. "/o/g", "%i"))
        assert.are.equal(stat(ctx .. "/d", "%y"), stat(upper .. "/o", "%y")) -- the top directory takes the source's time
      end)

      it("links only within one source", function()
        local ctx = tree "echo x >a; ln a b"
        local _, upper = copied { root = ctx, sources = { "a", "b" }, dest = "/o/" }
        assert.are_not.equal(stat(upper .. "/o/a", "%i"), stat(upper .. "/o/b", "%i"))
      end)

      it("does not take the source directory's mode for a new destination", function()
        local ctx = tree "mkdir d; chmod 1777 d; chown 5:5 d; touch d/f"
        assert.are.equal("d 755 0:0", (copied { root = ctx, sources = { "d" }, dest = "/o" }).o)
      end)

      it("re-creates parents as they are below", function()
        local low = tree [[mkdir -p p/q; chown 3:4 p; chmod 2750 p; setx p user.k v || true
          touch -d '1999-01-01 00:00:00.25' p; chmod 700 .; chown 9:9 .]]
        local ctx = tree "echo x >a"
        local got, upper = copied { root = ctx, sources = { "a" }, dest = "/p/q/", lowers = { low } }
        assert.are.equal("d 2750 3:4", got.p)
        assert.are.equal(stat(low .. "/p", "%y"), stat(upper .. "/p", "%y"))
        assert.are.equal("f 644 0:0 x\n", got["p/q/a"]:gsub("^f %d+", "f 644"), nil)
        assert.are.equal("700 9:9", stat(upper, "%a %u:%g"))
        assert.are.equal(output(GETX .. low .. "/p"), output(GETX .. upper .. "/p"))
      end)

      it("gives existing sub-directories the source's metadata, the top one not", function()
        local low = tree "mkdir -p t/s; chown 3:4 t t/s; chmod 700 t; chmod 711 t/s; touch -d 1999-01-01 t t/s"
        local ctx = tree "mkdir -p d/s; touch d/s/f; chmod 751 d/s; chmod 755 d; touch -d '2003-01-01' d d/s"
        local got, upper = copied { root = ctx, sources = { "d" }, dest = "/t", lowers = { low } }
        assert.are.equal("d 700 3:4", got.t)
        assert.are.equal("d 751 0:0", got["t/s"])
        assert.matches("^2003%-01%-01", stat(upper .. "/t/s", "%y"))
        assert.matches("^2003%-01%-01", stat(upper .. "/t", "%y"))
      end)

      it("of files in a set-group-id directory is not inherited", function()
        local low = tree "mkdir g; chown 0:50 g; chmod 2775 g"
        local got = copied { root = tree "mkdir d; touch a d/b; chmod 644 a d/b; chmod 755 d", sources = { "." }, dest = "/g",
          lowers = { low } }
        assert.are.same({ g = "d 2775 0:50", ["g/a"] = "f 644 0:0 ", ["g/d"] = "d 755 0:0", ["g/d/b"] = "f 644 0:0 " }, got)
      end)

      it("of new directories is the time given, or the epoch", function()
        local ctx = tree "echo x >a; touch -d @1500000000 a; mkdir d; touch d/f; touch -d @1600000000 d d/f"
        local _, upper = copied { root = ctx, sources = { "a" }, dest = "/p/a", now = 1234567890 }
        assert.are.equal("1234567890 1500000000", stat(upper .. "/p", "%Y") .. " " .. stat(upper .. "/p/a", "%Y"))
        _, upper = copied { root = ctx, sources = { "a", "d" }, dest = "/p/", epoch = 1400000000 }
        for _, path in ipairs { "p", "p/a", "p/f" } do assert.are.equal("1400000000", stat(upper .. "/" .. path, "%Y")) end
        _, upper = copied { root = ctx, sources = { "a" }, dest = "/p/", epoch = 1550000000 }
        assert.are.equal("1550000000 1500000000", stat(upper .. "/p", "%Y") .. " " .. stat(upper .. "/p/a", "%Y"))
      end)

      it("keeps extended attributes that belong into layers", function()
        local ctx = tree "echo x >a; setx a user.colour blue && setx a trusted.x y || touch skip"
        if os.execute("test -e " .. ctx .. "/skip") then return pending("no extended attributes here") end
        local _, upper = copied { root = ctx, sources = { "a" }, dest = "/a" }
        assert.are.equal("user.colour=blue", output(GETX .. upper .. "/a"))
      end)

      it("re-creates fifos and devices, sockets of a stage, and makes empty files of those of a directory", function()
        local ctx = tree "mkdir d; mkfifo d/p; mknod d/c c 1 3; mknod d/b b 7 0; chmod 640 d/*"
        local got, upper = copied { root = ctx, sources = { "d" }, dest = "/o" }
        assert.are.same({ o = "d 755 0:0", ["o/p"] = "p 640 0:0", ["o/c"] = "c 640 0:0", ["o/b"] = "b 640 0:0" }, got)
        assert.are.equal("1:3", stat(upper .. "/o/c", "%t:%T"))
        local none, err = copy { root = ctx, sources = { "d" }, dest = "/o", rootless = true }
        assert.is_nil(none)
        assert.are.equal("snapshot.device", err.code)
        local sock = tree "mkdir s; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s/k\")'; chmod 640 s/k; chown 3:4 s/k"
        assert.are.same({ o = "d 755 0:0", ["o/k"] = "f 640 0:0 " }, (copied { root = sock, sources = { "s" }, dest = "/o" }))
        assert.are.same({ o = "d 755 0:0", ["o/k"] = "s 640 3:4" },
          (copied { stage = { sock }, sources = { "s" }, dest = "/o", preserve_owner = true }))
        none, err = copy { root = tree "mknod w c 0 0", sources = { "." }, dest = "/" }
        assert.is_nil(none)
        assert.are.equal("snapshot.bad_name", err.code)
      end)
    end)

    describe("--chown", function()
      local low
      setup(function()
        low = tree [[mkdir etc
          printf 'root:x:0:0::/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n' >etc/passwd
          printf 'root:x:0:\nusers:x:100:\nstaff:x:50:ann\n' >etc/group]]
      end)
      for spec, owner in pairs { ann = "1000:100", ["ann:staff"] = "1000:50", ["1000:staff"] = "1000:50", ["7"] = "7:7",
        ["7:8"] = "7:8", ["nosuch"] = "0:0", ["ann:9"] = "1000:9", ["ann:nosuch"] = "1000:100", ["7:nosuch"] = "7:7",
        ["nosuch:staff"] = "0:50", [":staff"] = "0:50", ["ann:"] = "1000:0" } do
        it(spec, function()
          local ctx = tree "mkdir -p d/s; touch d/s/f a; chmod 644 d/s/f; chmod 755 d d/s; ln -s x d/l; chown 5:5 a d/s"
          local got = copied { root = ctx, sources = { "d" }, dest = "/n/o", lowers = { low }, chown = spec }
          assert.are.same({ n = "d 755 " .. owner, ["n/o"] = "d 755 " .. owner, ["n/o/s"] = "d 755 " .. owner,
            ["n/o/s/f"] = "f 644 " .. owner .. " ", ["n/o/l"] = "l - " .. owner .. " x" }, got)
        end)
      end

      it("leaves existing directories alone", function()
        local got = copied { root = tree "touch f; chmod 644 f", sources = { "f" }, dest = "/etc/", lowers = { low },
          chown = "ann" }
        assert.are.same({ etc = "d 755 0:0", ["etc/f"] = "f 644 1000:100 " }, got)
      end)
    end)

    describe("--chmod", function()
      local ctx
      setup(function()
        ctx = tree "mkdir -p d/s; touch d/f d/x d/s/t; chmod 640 d/f d/s/t; chmod 4711 d/x; chmod 750 d/s; ln -s f d/l"
      end)
      -- mode, then what o, o/f, o/x, o/s get
      for _, row in ipairs {
        { "755", "755 755 755 755" }, { "0644", "644 644 644 644" }, { "4755", "4755 4755 4755 4755" },
        { "u+x", "755 740 4711 750" }, { "a=rX", "755 444 555 555" }, { "go-rwx", "755 600 4700 700" },
        { "u=rwX,go=rX", "755 644 755 755" }, { "+X", "755 640 4711 751" }, { "u=,g=u", "755 0 1 0" },
        { "o=g", "755 644 4711 755" }, { "u-s,+t", "755 1640 1711 1750" }, { "g+s", "755 2640 6711 2750" },
        { "=r", "755 444 444 444" }, { "u+x-w", "755 540 4511 550" },
      } do
        it(row[1], function()
          local got = copied { root = ctx, sources = { "d" }, dest = "/o", chmod = row[1] }
          local modes = {}
          for i, path in ipairs { "o", "o/f", "o/x", "o/s" } do modes[i] = got[path]:match("^%S+ (%S+)") end
          assert.are.equal(row[2], table.concat(modes, " "))
          assert.are.equal("l - 0:0 f", got["o/l"])
        end)
      end

      it("refuses anything else", function()
        for _, bad in ipairs { "", "999", "10000", "07777777", "rwx", "u+q", "u", "+x,", ",", "u~x", "0x1ff", "u+x " } do
          local none, err = copy { root = ctx, sources = { "d" }, dest = "/o", chmod = bad }
          assert.is_nil(none, bad)
          assert.are.equal("snapshot.bad_mode", err.code)
        end
      end)

      it("with an octal mode decides about missing parents", function()
        local got = copied { root = ctx, sources = { "d/f" }, dest = "/p/q/f", chmod = "700" }
        assert.are.same({ p = "d 700 0:0", ["p/q"] = "d 700 0:0", ["p/q/f"] = "f 700 0:0 " }, got)
      end)
    end)

    describe("ignore rules", function()
      local files = "mkdir -p docs/in keep; touch docs/README docs/x docs/in/y keep/k a; chmod -R u=rwX,go=rX ."
      case("hide files and directories", files, { "." }, "/", { a = "f 644 0:0 ", keep = "d 755 0:0",
        ["keep/k"] = "f 644 0:0 " }, { ignore = { "docs" } })
      case("let single files through", files, { "." }, "/", { docs = "d 755 0:0", ["docs/README"] = "f 644 0:0 " },
        { ignore = { "*", "!docs/README" } })
      case("let deep files through with their directories", files, { "." }, "/",
        { docs = "d 755 0:0", ["docs/in"] = "d 755 0:0", ["docs/in/y"] = "f 644 0:0 " }, { ignore = { "**", "!docs/in/y" } })
      case("make a directory of which nothing is left disappear", files, { "." }, "/",
        { a = "f 644 0:0 ", keep = "d 755 0:0", ["keep/k"] = "f 644 0:0 " }, { ignore = { "docs", "!docs/none" } })
      case("hide a source", files, { "docs" }, "/o", "snapshot.not_found", { ignore = { "docs" } })
      case("hide a source's file", files, { "docs/x" }, "/o", "snapshot.not_found", { ignore = { "docs" } })
      case("hide all of a source", files, { "docs" }, "/o", "snapshot.not_found", { ignore = { "docs", "!docs/none" } })
      case("open a hidden source where they say so", files, { "docs" }, "/o", { o = "d 755 0:0", ["o/README"] = "f 644 0:0 " },
        { ignore = { "docs", "!docs/README" } })
      case("hide from wildcards", files, { "d*", "*" }, "/o/", { o = "d 755 0:0", ["o/k"] = "f 644 0:0 " },
        { ignore = { "docs", "a" } })
      case("hide what a visible link leads to", files .. "; ln -s docs/x l", { "l" }, "/o", "snapshot.not_found",
        { ignore = { "docs" } })
      case("hide a link to something visible", files .. "; ln -s a l", { "l" }, "/o", "snapshot.not_found", { ignore = { "l" } })
      case("hide a linked directory", files .. "; ln -s keep l", { "l/k" }, "/o", "snapshot.not_found", { ignore = { "l" } })
      case("match directories by their patterns' depth", files, { "." }, "/", { a = "f 644 0:0 ", docs = "d 755 0:0",
        ["docs/in"] = "d 755 0:0", ["docs/in/y"] = "f 644 0:0 ", keep = "d 755 0:0", ["keep/k"] = "f 644 0:0 " },
        { ignore = { "docs/*", "!docs/in" } })
      case("hide a linked file from a wildcard", files .. "; ln -s a l", { "[l]*" }, "/o/", "snapshot.not_found", { ignore = { "a" } })
      case("hide links from a wildcard", files .. "; ln -s a l; ln -s no l2", { "[l]*", "keep" }, "/o/",
        { o = "d 755 0:0", ["o/k"] = "f 644 0:0 " }, { ignore = { "l*" } })
      case("hide the directory of a wildcard", files, { "docs/*" }, "/o/", "snapshot.not_found", { ignore = { "docs" } })
      case("that are malformed", files, { "." }, "/", "glob.syntax", { ignore = { "[a" } })

      it("name the rule that hides a source", function()
        local none, err = copy { root = tree(files), sources = { "docs/x" }, dest = "/o", ignore = { "a", "do?s" } }
        assert.is_nil(none)
        assert.matches("'docs/x' is hidden from the build context by the ignore rule 'do?s'", err.message, 1, true)
      end)

      it("do not count for stages", function()
        local got = copied { stage = { tree(files) }, sources = { "docs/x" }, dest = "/o", ignore = { "docs" } }
        assert.are.same({ o = "f 644 0:0 " }, got)
      end)
    end)

    describe("--exclude", function()
      local files = "mkdir -p d/s; touch d/a.txt d/b.md d/s/c.txt d/s/e; chmod -R u=rwX,go=rX ."
      case("is relative to the source", files, { "d" }, "/o", { o = "d 755 0:0", ["o/b.md"] = "f 644 0:0 ",
        ["o/s"] = "d 755 0:0", ["o/s/c.txt"] = "f 644 0:0 ", ["o/s/e"] = "f 644 0:0 " }, { excludes = { "*.txt" } })
      case("knows **", files, { "d" }, "/o", { o = "d 755 0:0", ["o/b.md"] = "f 644 0:0 ", ["o/s"] = "d 755 0:0",
        ["o/s/e"] = "f 644 0:0 " }, { excludes = { "**/*.txt" } })
      case("knows exceptions", files, { "d" }, "/o", { o = "d 755 0:0", ["o/s"] = "d 755 0:0", ["o/s/e"] = "f 644 0:0 " },
        { excludes = { "*", "!s/e" } })
      case("leaves out whole sources", files, { "d/a.txt", "d/b.md" }, "/o/", { o = "d 755 0:0", ["o/b.md"] = "f 644 0:0 " },
        { excludes = { "*.txt" } })
      case("works beside ignore rules", files, { "d" }, "/o", { o = "d 755 0:0", ["o/s"] = "d 755 0:0",
        ["o/s/e"] = "f 644 0:0 " }, { excludes = { "b.md" }, ignore = { "**/*.txt" } })
    end)

    describe("--from", function()
      it("reads the merged layers and keeps owners", function()
        local a = tree "mkdir d; echo 1 >d/one; echo 2 >d/two; echo 3 >d/three; chown 7:8 d/one; chmod 640 d/one"
        local b = tree "mkdir d; mknod d/two c 0 0; echo 33 >d/three; ln -s one d/l"
        local got = copied { stage = { a, b }, sources = { "d" }, dest = "/o", preserve_owner = true }
        assert.are.equal("f 640 7:8 1\n", got["o/one"])
        assert.is_nil(got["o/two"])
        assert.matches("33\n$", got["o/three"])
        assert.are.equal("l - 0:0 one", got["o/l"])
        assert.are.equal("d 755 0:0", got.o)
        got = copied { stage = { a, b }, sources = { "d/one" }, dest = "/o", preserve_owner = true, chown = "9" }
        assert.are.same({ o = "f 640 9:9 1\n" }, got)
      end)

      it("does not follow symlinks out of the layers", function()
        local a = tree "ln -s /etc/hostname leak; ln -s / up"
        assert.are.equal("snapshot.not_found", select(2, copy { stage = { a }, sources = { "leak" }, dest = "/o" }).code)
        assert.are.equal("snapshot.not_found",
          select(2, copy { stage = { a }, sources = { "up/etc/hostname" }, dest = "/o" }).code)
      end)

      it("merges into a chain with deletions", function()
        local low = { tree "mkdir -p d/old; touch d/old/f; chmod 700 d", tree "mkdir d; chmod 711 d; mknod d/old c 0 0" }
        local got = copied { root = tree "mkdir old; touch old/n; chmod 755 old; chmod 644 old/n", sources = { "." },
          dest = "/d", lowers = low }
        -- old is gone in the chain: it is a new directory here, and the deletion below it still holds
        assert.are.same({ d = "d 711 0:0", ["d/old"] = "d 755 0:0", ["d/old/n"] = "f 644 0:0 " }, got)
      end)
    end)

    describe("--link", function()
      case("makes a layer that stands alone", "printf 1 >a; chmod 644 a", { "a" }, "/lib/x/a",
        { lib = "d 755 0:0", ["lib/x"] = "d 755 0:0", ["lib/x/a"] = "f 644 0:0 1" },
        { below = "mkdir usr; ln -s usr lib; chmod 700 usr", link = true })
      case("does not see what it would collide with", "mkdir d; printf 1 >d/a; chmod 644 d/a", { "d" }, "/f",
        { f = "d 755 0:0", ["f/a"] = "f 644 0:0 1" }, { below = "touch f", link = true })
      case("still knows the image's users", "touch a; chmod 644 a", { "a" }, "/a", { a = "f 644 3:4 " },
        { below = "mkdir etc; echo bob:x:3:4:: >etc/passwd", link = true, chown = "bob" })
    end)

    describe("heredocs", function()
      it("become files", function()
        local got, upper = copied { root = tree(), sources = {}, dest = "/d/", now = 77, inline = {
          { name = "a", data = "one\0two" }, { name = "b", data = "", mode = 493 } } }
        assert.are.same({ d = "d 755 0:0", ["d/a"] = "f 644 0:0 one\0two", ["d/b"] = "f 755 0:0 " }, got)
        assert.are.equal("77", stat(upper .. "/d/a", "%Y"))
      end)

      it("take owner, mode and names like sources", function()
        local got = copied { root = tree(), sources = {}, dest = "/x", chown = "3:4", chmod = "600",
          inline = { { name = "EOF", data = "t" } } }
        assert.are.same({ x = "f 600 3:4 t" }, got)
        for _, name in ipairs { "", ".", "..", "a/b" } do
          assert.has_error(function()
            copy { root = base, sources = {}, dest = "/x", inline = { { name = name, data = "" } } }
          end)
        end
      end)
    end)

    describe("ADD", function()
      local function archive(script, flags, name)
        local dir = tree(script)
        local ctx = tree()
        sh(("tar --format=pax -C %s %s -f %s/%s ."):format(dir, flags or "-c", ctx, name or "a.tar"))
        return ctx, name or "a.tar"
      end
      local content = [[mkdir -p bin sub; echo x >bin/tool; chmod 4755 bin/tool; ln bin/tool bin/again; ln -s tool bin/l
        chown 5:6 bin/tool; chmod 4755 bin/tool; chmod 755 . bin sub; touch -d @1500000000 bin/tool bin sub]]

      for _, kind in ipairs { "-c", "-cz", "-cj", "-cJ", "-c --zstd" } do
        it("unpacks tar " .. kind .. " by its content", function()
          local ctx, name = archive(content, kind, "data.bin")
          local got, upper = copied { root = ctx, sources = { name }, dest = "/opt", unpack = true }
          assert.are.same({ opt = "d 755 0:0", ["opt/bin"] = "d 755 0:0", ["opt/bin/tool"] = "f 4755 5:6 x\n",
            ["opt/bin/again"] = "f 4755 5:6 x\n", ["opt/bin/l"] = "l - 0:0 tool", ["opt/sub"] = "d 755 0:0" }, got)
          assert.are.equal("1500000000", stat(upper .. "/opt/bin/tool", "%Y"))
          assert.are.equal("1500000000", stat(upper .. "/opt/bin", "%Y"))
          assert.are.equal("2", stat(upper .. "/opt/bin/tool", "%h"))
          assert.is_nil((os.execute("test -e " .. upper .. ".add")))
        end)
      end

      it("copies archives when not asked to unpack, and other files always", function()
        local ctx = archive(content)
        assert.matches("^f", (copied { root = ctx, sources = { "a.tar" }, dest = "/x" }).x)
        sh("echo no archive >plain; : >empty; printf 'PK\\003\\004' >z.zip", ctx)
        local got = copied { root = ctx, sources = { "plain", "empty", "z.zip" }, dest = "/o/", unpack = true }
        assert.is_truthy(got["o/plain"] and got["o/empty"] and got["o/z.zip"])
      end)

      it("merges into what is there", function()
        local low = tree [[mkdir -p usr/lib opt etc; ln -s usr/lib lib; chown 3:4 opt; chmod 700 opt; echo old >etc/conf
          mkdir etc/dir]]
        local ctx = tree [[mkdir -p r/lib r/opt r/etc; echo so >r/lib/so; echo f >r/opt/f; echo new >r/etc/conf; echo f >r/etc/dir
          chmod 644 r/lib/so r/opt/f r/etc/conf r/etc/dir; tar -C r -cf a.tar lib/so opt/f etc/conf etc/dir]]
        local got = copied { root = ctx, sources = { "a.tar" }, dest = "/", lowers = { low }, unpack = true }
        assert.are.same({ usr = "d 755 0:0", ["usr/lib"] = "d 755 0:0", ["usr/lib/so"] = "f 644 0:0 so\n",
          opt = "d 700 3:4", ["opt/f"] = "f 644 0:0 f\n", etc = "d 755 0:0", ["etc/conf"] = "f 644 0:0 new\n",
          ["etc/dir"] = "f 644 0:0 f\n" }, got)
      end)

      it("gives everything to --chown and clamps to the epoch", function()
        local ctx = archive(content)
        local got, upper = copied { root = ctx, sources = { "a.tar" }, dest = "/o", unpack = true, chown = "8:9",
          epoch = 1400000000 }
        assert.are.equal("f 4755 8:9 x\n", got["o/bin/tool"])
        assert.are.equal("l - 8:9 tool", got["o/bin/l"])
        assert.are.equal("1400000000", stat(upper .. "/o/bin/tool", "%Y"))
        assert.are.equal("1400000000", stat(upper .. "/o/bin", "%Y"))
      end)

      it("gives no mode of --chmod to archives and the directories made for them", function()
        local ctx = archive(content)
        sh("echo f >f; chmod 644 f", ctx)
        local got = copied { root = ctx, sources = { "a.tar" }, dest = "/p/o", unpack = true, chmod = "0711" }
        assert.are.equal("d 755 0:0", got.p)
        assert.are.equal("d 755 0:0", got["p/o"])
        assert.matches("^f 4755 ", got["p/o/bin/tool"])
        got = copied { root = ctx, sources = { "a.tar", "f" }, dest = "/o/", unpack = true, chmod = "0711" }
        assert.are.equal("f 711 0:0 f\n", got["o/f"])
        assert.are.equal("d 755 0:0", got.o)
      end)

      it("names an archive that is damaged", function()
        local ctx = archive "seq 5000 >f"
        sh("head -c 2000 a.tar >cut; mv cut a.tar", ctx)
        local none, err = copy { root = ctx, sources = { "a.tar" }, dest = "/o", unpack = true }
        assert.is_nil(none)
        assert.matches("^unpack 'a%.tar': .*[Tt]runcated", err.message)
      end)

      it("refuses archives that climb out", function()
        local ctx = tree "mkdir x; echo evil >f; tar -P -cf a.tar --transform='s,^f$,../../../../tmp/bk-evil,' f"
        local none, err = copy { root = ctx, sources = { "a.tar" }, dest = "/o", unpack = true }
        assert.is_nil(none)
        assert.matches("^archive%.", err.code)
        assert.is_nil((os.execute("test -e /tmp/bk-evil")))
        ctx = tree "ln -s /tmp out; tar -cf a.tar out; rm out; mkdir out; echo e >out/bk-evil; tar -rf a.tar out/bk-evil"
        copy { root = ctx, sources = { "a.tar" }, dest = "/o", unpack = true }
        assert.is_nil((os.execute("test -e /tmp/bk-evil")))
      end)

      it("never lets an archive delete files below", function()
        local ctx = tree "mknod f c 0 0; tar -cf a.tar f"
        assert.are.equal("snapshot.bad_name",
          select(2, copy { root = ctx, sources = { "a.tar" }, dest = "/", unpack = true }).code)
        ctx = tree "touch .wh.f; tar -cf a.tar .wh.f"
        assert.are.equal("snapshot.bad_name",
          select(2, copy { root = ctx, sources = { "a.tar" }, dest = "/", unpack = true }).code)
      end)

      it("of a directory is a copy", function()
        local ctx = tree "mkdir d; echo x >d/f; tar -cf d/in.tar d/f; chmod 644 d/*; chmod 755 d"
        local got = copied { root = ctx, sources = { "d" }, dest = "/o", unpack = true }
        assert.matches("^f", got["o/in.tar"])
      end)
    end)

    describe("itself", function()
      it("refuses misuse", function()
        assert.has_error(function() snapshot.copy { from = { root = "/" }, dest = "/", lowers = {}, uper = "/x" } end)
        assert.has_error(function() snapshot.copy { from = {}, dest = "/", lowers = {}, upper = "/x" } end)
        assert.has_error(function() snapshot.copy { from = { root = "/", lowers = {} }, dest = "/", lowers = {}, upper = "/x" } end)
        assert.has_error(function() snapshot.copy { dest = "/", lowers = {}, upper = "/x" } end)
        assert.has_error(function() snapshot.scan { paths = { "." } } end)
        assert.has_error(function() snapshot.scan { root = "/" } end)
      end)

      it("wants an empty upper directory", function()
        local upper = tree "touch there"
        local none, err = copy { root = tree "touch a", sources = { "a" }, dest = "/", upper = upper }
        assert.is_nil(none)
        assert.are.equal("ENOTEMPTY", err.code)
      end)

      it("says when the sources are not those that were expected", function()
        local ctx = tree "echo 1 >a"
        local found = assert(snapshot.scan { root = ctx, paths = { "a" } })
        assert.is_truthy(copy { root = ctx, sources = { "a" }, dest = "/x", expect = found.digest })
        sh("echo 2 >a", ctx)
        local none, err = copy { root = ctx, sources = { "a" }, dest = "/x", expect = found.digest }
        assert.is_nil(none)
        assert.are.equal("snapshot.changed", err.code)
        assert.is_true(err.retryable)
      end)
    end)
  end)

  describe("scan", function()
    local function digest(script, opts)
      local o = { root = tree(script), paths = { "." } }
      for k, v in pairs(opts or {}) do o[k] = v end
      if o.stage then o.root, o.lowers, o.stage = nil, { o.root }, nil end
      return assert(snapshot.scan(o)).digest
    end
    local plain = "mkdir d; echo 1 >a; echo 2 >d/b; ln -s a l; chmod 644 a d/b; chmod 755 d"

    it("has the form that scan.h documents", function()
      local sha256 = require("bakery.digest").sha256
      local none = ("\0"):rep(32)
      local function raw(text) return (sha256(text):gsub("..", function(x) return string.char(tonumber(x, 16)) end)) end
      local function entry(kind, path, mode, rest) return string.pack("<c1s4I4I4I4", kind, path, mode, 0, 0) .. rest end
      local form = "bakery-scan 1\nD" .. entry("f", "a", 420, string.pack("<I8", 2) .. raw "1\n" .. none)
        .. entry("d", "d", 493, none) .. entry("f", "d/b", 420, string.pack("<I8", 2) .. raw "2\n" .. none)
        .. entry("l", "l", 511, string.pack("<s4", "a")) .. "E"
      assert.are.equal("sha256:" .. sha256(form), digest(plain))
      form = "bakery-scan 1\nF" .. string.pack("<s4", "a") .. entry("f", "", 420, string.pack("<I8", 2) .. raw "1\n" .. none)
      assert.are.equal("sha256:" .. sha256(form), digest(plain, { paths = { "a" } }))
    end)

    it("does not depend on place, times, owner of a context, or order of making", function()
      assert.are.equal(digest(plain), digest("mkdir d; chmod 755 d; echo 2 >d/b; ln -s a l; echo 1 >a; chmod 644 a d/b;" ..
        "touch -d 1999-01-01 a d d/b; chown 5:6 a d"))
    end)

    for what, other in pairs {
      content = "echo 9 >a", mode = "chmod 600 a", name = "mv a aa; ln -sf a l", link = "ln -sf b l", directory = "mkdir e",
      ["directory mode"] = "chmod 700 d", type = "rm l; touch l", suid = "chmod 4644 a", place = "mv d/b b",
      ["hard link"] = "rm d/b; ln a d/b",
    } do
      it("depends on " .. what, function()
        assert.are_not.equal(digest(plain), digest(plain .. "; " .. other))
      end)
    end

    it("depends on the owner in stages", function()
      assert.are.equal(digest(plain), digest(plain .. "; chown 5 a"))
      assert.are_not.equal(digest(plain, { stage = true }), digest(plain .. "; chown 5 a", { stage = true }))
    end)

    it("depends on extended attributes", function()
      local ctx = tree "echo x >a; setx a user.k v || touch skip"
      if os.execute("test -e " .. ctx .. "/skip") then return pending("no extended attributes here") end
      assert.are_not.equal(digest "echo x >a", digest "echo x >a; setx a user.k v")
      assert.are.equal(digest "echo x >a", digest "echo x >a; setx a trusted.k v")
    end)

    it("covers what is selected only", function()
      assert.are.equal(digest(plain, { ignore = { "a" } }), digest(plain .. "; echo 5 >a", { ignore = { "a" } }))
      assert.are.equal(digest(plain, { paths = { "d" } }), digest(plain .. "; echo 5 >a", { paths = { "d" } }))
      assert.are_not.equal(digest(plain, { paths = { "d" } }), digest(plain, { paths = { "d" }, excludes = { "b" } }))
      assert.are.equal(digest(plain, { paths = { "a" } }), digest(plain, { paths = { "[a]" } }))
      assert.are_not.equal(digest(plain, { paths = { "a" } }), digest(plain .. "; cp a b", { paths = { "b" } }))
      assert.are_not.equal(digest(plain, { paths = { "a", "l" } }), digest(plain, { paths = { "l", "a" } }))
    end)

    it("sees the same with one processor and with several: order, links across directories, what is ignored", function()
      local root = base .. "/wide"
      assert(os.execute(([[rm -rf %s && mkdir -p %s && cd %s && for d in a b c d e f g h i j k; do mkdir -p $d/sub && for f in 1 2 3; do
        echo $d$f > $d/$f; echo x$f > $d/sub/$f; done; done; ln c/1 b/to-c; ln c/1 k/to-c; ln j/2 a/first; ln -s ../a/1 h/link; echo top > top; ln top zz]])
        :format(root, root, root)))
      local code = ([[
        local snapshot = require "bakery.snapshot"
        local cache = ... ~= "" and ... or nil
        for _, o in ipairs { {}, { ignore = { "b/*", "!b/to-c", "**/3" } }, { excludes = { "j" } }, { paths = { "a", ".", "[h-k]" } } } do
          o.root, o.paths, o.cache = %q, o.paths or { "." }, cache
          local found, err = snapshot.scan(o)
          print(found and table.concat({ found.digest, found.entries, found.files, found.bytes }, " ") or err)
        end
      ]]):format(root)
      local one = child.output("taskset -c 0 " .. child.command(code))
      assert.are.equal(4, select(2, one:gsub("sha256:%x+ %d+ %d+ %d+", "")))
      for _, cache in ipairs { "", base .. "/wide-cache", base .. "/wide-cache" } do
        assert.are.equal(one, child.output(child.command(code, cache)))
      end
      child.clean()
      assert(os.execute("ln -f " .. root .. "/d/1 " .. root .. "/e/1")) -- one link more
      assert.are_not.equal(one, child.output(child.command(code)))
      child.clean()
    end)

    it("tells what matched", function()
      local found = assert(snapshot.scan { root = tree(plain), paths = { "l", "d*", "no*" } })
      assert.are.same({ { source = "l", path = "a", type = "file" }, { source = "d*", path = "d", type = "dir" } }, found.matches)
      assert.are.equal(2, found.files)
      assert.are.equal(4, found.bytes)
      local none, err = snapshot.scan { root = tree(plain), paths = { "x" } }
      assert.is_nil(none)
      assert.are.equal("snapshot.not_found", err.code)
      assert.are.equal("ENOENT", select(2, snapshot.scan { root = base .. "/none", paths = { "x" } }).code)
    end)

    describe("with a cache", function()
      local function old(ctx) -- as if nothing had been touched for a while
        os.execute("sleep 0.05")
        return ctx
      end

      it("gives the same digest and reads nothing twice", function()
        local ctx, cache = old(tree(plain .. "; setx a user.k v || true")), base .. "/cache1"
        local first = assert(snapshot.scan { root = ctx, paths = { "." } }).digest
        assert.are.equal(first, assert(snapshot.scan { root = ctx, paths = { "." }, cache = cache }).digest)
        assert.is_truthy(os.execute("test -s " .. cache))
        assert.are.equal(first, assert(snapshot.scan { root = ctx, paths = { "." }, cache = cache }).digest)
        -- A poisoned entry shows that the cache is what answers: the file is not read.
        local text = read(cache)
        local f = assert(io.open(cache, "wb"))
        f:write((text:gsub("\x43\x55\xa4", "\x43\x55\xa5"))) -- sha256 of "1\n" begins so
        f:close()
        assert.are_not.equal(text, read(cache))
        assert.are_not.equal(first, assert(snapshot.scan { root = ctx, paths = { "." }, cache = cache }).digest)
      end)

      it("notices every change", function()
        for _, change in ipairs { "echo 7 >a", "echo 9 >a; touch -r l a", "chmod 600 a", "cp -p a z; mv z a",
          "setx a user.n v" } do
          local ctx, cache = old(tree(plain .. "; touch -d 2001-01-01 a l")), base .. "/cache" .. count
          local first = assert(snapshot.scan { root = ctx, paths = { "." }, cache = cache }).digest
          sh(change .. " || true", ctx)
          local plainly = assert(snapshot.scan { root = ctx, paths = { "." } }).digest
          assert.are.equal(plainly, assert(snapshot.scan { root = ctx, paths = { "." }, cache = cache }).digest)
          if change ~= "cp -p a z; mv z a" and not change:find("setx") then assert.are_not.equal(first, plainly) end
        end
      end)

      it("does not trust files that have just changed", function()
        local ctx, cache = tree "echo 1 >a", base .. "/cache-racy"
        for i = 1, 30 do
          sh("echo " .. i % 10 .. " >a", ctx)
          local cached = assert(snapshot.scan { root = ctx, paths = { "." }, cache = cache }).digest
          assert.are.equal(assert(snapshot.scan { root = ctx, paths = { "." } }).digest, cached)
        end
      end)

      it("survives a damaged cache", function()
        local ctx, cache = old(tree(plain)), base .. "/cache2"
        local first = assert(snapshot.scan { root = ctx, paths = { "." }, cache = cache }).digest
        local text = read(cache)
        for n = 0, #text - 1, 7 do
          local f = assert(io.open(cache, "wb"))
          f:write(text:sub(1, n))
          f:close()
          assert.are.equal(first, assert(snapshot.scan { root = ctx, paths = { "." }, cache = cache }).digest)
        end
        assert.are.equal(first, assert(snapshot.scan { root = ctx, paths = { "." }, cache = "/nonexistent/cache" }).digest)
      end)

      it("is shared by selections", function()
        local ctx, cache = old(tree(plain)), base .. "/cache3"
        assert(snapshot.scan { root = ctx, paths = { "a" }, cache = cache })
        assert(snapshot.scan { root = ctx, paths = { "d" }, cache = cache })
        assert.matches("/a", read(cache), 1, true)
        assert.matches("/d/b", read(cache), 1, true)
      end)
    end)

    it("hashes large sets on several threads with the same result", function()
      local script = "for i in 1 2 3 4 5 6; do head -c 2000000 /dev/zero | tr '\\0' $i >f$i; done; chmod 644 f*"
      assert.are.equal(digest(script), digest(script, { cache = base .. "/cache4" }))
    end)
  end)
end)
