--- Where files of an image can come from besides the context: URLs, git repositories, named contexts.
local fs = require "bakery.fs"
local peers = require "lib.peers"
local process = require "bakery.process"
local servers = require "lib.servers"
local world = require "lib.world"

local BASE = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\n"

-- Builds and unpacks; fails the test when the build does.
local function build(dir, args, opts)
  local out = world.tmp() .. "/oci"
  local cmd = { "build", "-C", dir, "--store", (opts or {}).store or world.tmp() .. "/store", "--progress", "plain",
    "--output", "oci:" .. out }
  table.move(args or {}, 1, #(args or {}), #cmd + 1, cmd)
  local r = world.bakery(cmd, opts)
  assert.equal(0, r.code, r.stderr)
  return peers.tree(out), r, out
end

local function refused(dir, args, opts)
  local cmd = { "build", "-C", dir, "--store", (opts or {}).store or world.tmp() .. "/store", "--progress", "plain" }
  table.move(args or {}, 1, #(args or {}), #cmd + 1, cmd)
  local r = world.bakery(cmd, opts)
  assert.is_true(r.code ~= 0, "it builds")
  assert.is_nil(r.stderr:find("traceback", 1, true), r.stderr)
  return r.stderr, r.code
end

local function mtime(tree, path) return assert(fs.stat(tree.root .. "/" .. path, false)).mtime end

describe("ADD of URLs", function()
  local server
  setup(function() server = servers.files() end)
  teardown(function()
    server:stop()
    world.cleanup()
  end)

  it("takes name, time and mode as BuildKit does", function()
    server:write("dir/file.txt", "hello", 1500000000)
    local tree = build(world.project { app = ("FROM scratch\nADD %s/dir/file.txt?x=1#frag /d/\nADD %s/bare/dir/file.txt /named\n"
      .. "ADD --chmod=755 --chown=5:6 %s/to/dir/file.txt /run/\nADD %s/dir/file.txt base/etc/group /two/\n"):gsub("%%s", server.url) }, nil)
    assert.equal("0600 0:0", tree.meta "d/file.txt")
    assert.equal(1500000000, mtime(tree, "d/file.txt"))
    assert.equal(0, mtime(tree, "named"))
    assert.equal("0755 5:6", tree.meta "run/file.txt")
    assert.equal("hello", tree.content "two/file.txt")
    assert.is_true(tree.exists "two/group")
  end)

  it("asks again with the entity tag, fetches what changed, and nothing with a checksum it has", function()
    server:write("a", "one", 1500000000)
    local store = world.tmp() .. "/store"
    local dir = world.project { app = "FROM scratch\nADD " .. server.url .. "/a /a\n" }
    server:requests()
    build(dir, nil, { store = store })
    assert.equal("GET /a 200\n", server:requests())
    local _, r = build(dir, nil, { store = store })
    assert.equal("GET /a 304\n", server:requests())
    assert.is_truthy(r.stderr:find("cached", 1, true), r.stderr)
    server:write("a", "two", 1500000000)
    local tree = build(dir, nil, { store = store })
    assert.equal("two", tree.content "a")
    server:requests()
    local sum = require("bakery.digest").sha256 "two"
    dir = world.project { app = ("FROM scratch\nADD --checksum=sha256:%s %s/a /a\n"):format(sum, server.url) }
    build(dir, nil, { store = store })
    build(dir, nil, { store = store })
    assert.is_nil(server:requests():find("200", 1, true))
  end)

  it("tries again, follows redirects, uses the build secret", function()
    server:write("b", "bee")
    local tree = build(world.project { app = ("FROM scratch\nADD %s/once/503/b /x/\nADD %s/auth/b /y/\n"):gsub("%%s", server.url) },
      { "--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN" }, { env = { TOKEN = "sesame" } })
    assert.equal("bee", tree.content "x/b")
    assert.equal("bee", tree.content "y/b")
  end)

  it("unpacks only when told to", function()
    local t = world.tmp()
    world.write(t, { ["in/f"] = "f" })
    world.run({ "tar", "-czf", server.dir .. "/www/t.tgz", "in" }, { cwd = t })
    local tree = build(world.project { app = ("FROM scratch\nADD %s/t.tgz /packed/\nADD --unpack=true %s/t.tgz /open/\n"):gsub("%%s",
      server.url) })
    assert.is_true(tree.exists "packed/t.tgz")
    assert.equal("f", tree.content "open/in/f")
  end)

  it("says what is wrong", function()
    server:write("c", ("x"):rep(5000))
    for _, row in ipairs {
      { "ADD @/nothing /x", "Containerfile:1", "the server answers 404" }, { "ADD @/auth/c /x", "answers 401", "HTTP_AUTH_TOKEN" },
      { "ADD --checksum=sha256:" .. ("0"):rep(64) .. " @/c /x", "expected sha256:0000", "got sha256:" },
      { "ADD --checksum=md5:aa @/c /x", "checksum" }, { "COPY @/c /x", "COPY cannot take the URL source", "use ADD" },
      { "ADD http://127.0.0.1:1/x /x", "ADD http://127.0.0.1:1/x" }, { "ADD @/c @/c /c", nil },
    } do
      local dir = world.project { app = "FROM scratch\n" .. row[1]:gsub("@", server.url) .. "\n" }
      if row[2] then
        local text = refused(dir)
        for i = 2, #row do
          if row[i] ~= "Containerfile:1" then assert.is_truthy(text:find(row[i], 1, true), row[1] .. ":\n" .. text) end
        end
        assert.is_truthy(text:find("Containerfile:2", 1, true), text)
      end
    end
    local text = refused(world.project { app = "FROM scratch\nADD " .. server.url .. "/c /x\n" }, nil, { env = { BAKERY_ADD_MAX = "1k" } })
    assert.is_truthy(text:find("longer than 1024 bytes", 1, true), text)
  end)

  it("leaves nothing of a transfer that breaks off", function()
    server:write("d", "dee")
    local store = world.tmp() .. "/store"
    refused(world.project { app = "FROM scratch\nADD " .. server.url .. "/cut/d /x\n" }, nil, { store = store })
    assert.equal("", world.run({ "find", store .. "/tmp", "-type", "f" }, { any = true }).stdout)
  end)
end)

describe("SOURCE_DATE_EPOCH of a Containerfile", function()
  local server
  setup(function() server = servers.files() end)
  teardown(function()
    server:stop()
    world.cleanup()
  end)

  local SEEN = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nARG SOURCE_DATE_EPOCH\nRUN echo \"$SOURCE_DATE_EPOCH\" > /seen\nCOPY here /here\n"

  -- What RUN sees, times of files and of the configuration are all the same.
  local function epoch(head, args, text)
    local dir = world.project { app = "ARG SOURCE_DATE_EPOCH=" .. head .. "\n" .. (text or SEEN) }
    world.write(dir, { here = "x" })
    local tree, _, out = build(dir, args)
    local seen = tonumber(tree.content "seen")
    if seen then
      assert.equal(seen, mtime(tree, "here"))
      assert.equal(seen, mtime(tree, "seen"))
      assert.equal(os.date("!%Y-%m-%dT%H:%M:%SZ", seen), (peers.config(out)).created)
    else
      assert.is_true(mtime(tree, "here") > 1700000000)
    end
    return seen
  end

  it("is a time, or the time of a source", function()
    server:write("plain", "text", 1500000003)
    local dir = world.tmp()
    world.write(dir, { ["d/a"] = "a", ["d/b"] = "b" })
    world.run({ "sh", "-ec", "touch -d @1500000001 d/a; touch -d @1500000002 d/b; touch -d @1600000000 d; tar -cf t.tar d" }, { cwd = dir })
    server:write("t.tar", fs.read(dir .. "/t.tar"), 1500000004)
    assert.equal(1445412480, epoch "1445412480")
    assert.equal(1445412481, epoch("1445412480", { "--build-arg", "SOURCE_DATE_EPOCH=1445412481" }))
    assert.is_nil(epoch "context")
    local function stage(path) return ("FROM scratch AS src\nARG P=%s\nADD %s/$P /\n"):format(path, server.url) .. SEEN end
    assert.equal(1500000003, epoch("SRC", nil, stage "plain"))
    assert.equal(1500000004, epoch("src", nil, stage "t.tar"))
    assert.equal(1500000002, epoch("src", nil, stage "bare/t.tar")) -- the newest file
    assert.is_nil(epoch("src", nil, stage "bare/plain"))
    assert.equal(1500000002, epoch("src", { "--build-context", "src=" .. server.url .. "/bare/t.tar" }))
    assert.is_nil(epoch("src", { "--build-context", "src=" .. dir }))
  end)

  it("of a git repository is the time of the commit", function()
    if not process.which "git" then return pending "needs git" end
    local repo = servers.git()
    if not repo then return pending "needs git daemon" end
    repo:commit { f = "one" }
    local want = 1500000000
    assert.equal(want, epoch("src", nil, "FROM scratch AS src\nADD " .. repo.url .. " /\n" .. SEEN))
    assert.equal(want, epoch("src", { "--build-context", "src=" .. repo.url }))
    repo:stop()
  end)

  it("names stages of one ADD only", function()
    for _, row in ipairs { { "FROM scratch AS src\nCOPY base /\n", "may not have COPY" }, { "FROM sys AS src\nADD " .. server.url .. "/x /\n", "FROM scratch" },
      { "FROM scratch AS src\nADD base /\n", "one source from outside" }, { "FROM scratch AS src\nARG A\n", "has no ADD" } } do
      local text = "ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS sys\nCOPY base/ /\n" .. row[1] .. "FROM sys\n"
      local stderr, code = refused(world.project { app = text })
      assert.equal(2, code)
      assert.is_truthy(stderr:find(row[2], 1, true), stderr)
      assert.is_truthy(stderr:find("Containerfile:4", 1, true), stderr)
    end
    local stderr = refused(world.project { app = "FROM scratch\n" }, { "--build-arg", "SOURCE_DATE_EPOCH=nowhere" })
    assert.is_truthy(stderr:find("invalid SOURCE_DATE_EPOCH: nowhere", 1, true), stderr)
  end)
end)

describe("ADD of git repositories", function()
  local repo
  setup(function() if process.which "git" then repo = servers.git() end end)
  teardown(function()
    if repo then repo:stop() end
    world.cleanup()
  end)

  it("takes branches, tags, commits and directories", function()
    if not repo then
      pending "needs git daemon"
      return
    end
    local first = repo:commit({ ["a.txt"] = "first", ["sub/b.txt"] = "b", ["run.sh"] = "#!/bin/sh\n" }, "v1")
    repo:git { "-C", repo.dir, "branch", "side" }
    local second = repo:commit { ["a.txt"] = "second" }
    local u = repo.url
    local tree = build(world.project { app = table.concat({ "FROM scratch", "ADD " .. u .. " /head/", "ADD " .. u .. "#v1 /tag/",
      "ADD " .. u .. "#side:sub /sub/", "ADD " .. u .. "#" .. first .. " /commit/",
      "ADD " .. u .. "?branch=main&subdir=sub /query/", "ADD --keep-git-dir=true --checksum=" .. second:sub(1, 12) .. " " .. u .. " /kept/",
      "ADD --chown=5:6 --exclude=sub " .. u .. "#refs/heads/main /owned", "" }, "\n") })
    assert.equal("second", tree.content "head/a.txt")
    assert.equal("first", tree.content "tag/a.txt")
    assert.equal("b", tree.content "sub/b.txt")
    assert.equal("first", tree.content "commit/a.txt")
    assert.equal("b", tree.content "query/b.txt")
    assert.is_true(tree.exists "kept/.git/HEAD")
    assert.is_false(tree.exists "head/.git")
    assert.equal("0755 0:0", tree.meta "head/run.sh")
    assert.equal("0644 0:0", tree.meta "head/a.txt")
    assert.equal(1500000000, mtime(tree, "head/a.txt"))
    assert.equal("0644 5:6", tree.meta "owned/a.txt")
    assert.is_false(tree.exists "owned/sub")
  end)

  it("finds the result again without fetching, and says what is wrong", function()
    if not repo then
      pending "needs git daemon"
      return
    end
    local store = world.tmp() .. "/store"
    local dir = world.project { app = "FROM scratch\nADD " .. repo.url .. "#v1 /x/\n" }
    build(dir, nil, { store = store })
    local _, r = build(dir, nil, { store = store })
    assert.is_truthy(r.stderr:find("1/1", 1, true) and r.stderr:find("cached", 1, true), r.stderr)
    for _, row in ipairs { { repo.url .. "#nope /x/", "no reference 'nope'" }, { repo.url .. "#sid /x/", "did you mean 'side'" },
      { repo.url .. "#v1:none /x/", "no directory 'none'" }, { "--checksum=abcdef " .. repo.url .. " /x/", "expected commit abcdef" },
      { repo.url .. "#v1:../.. /x/", "leaves the repository" },
      { "--keep-git-dir=false " .. repo.url .. "?keep-git-dir /x/", "says keep-git-dir=true" },
      { "--checksum=abc " .. repo.url .. "?commit=abd /x/", "asks for commit abd" }, { repo.url .. "?reff=x /x/", "did you mean ref?" },
      { "git://127.0.0.1:1/r.git /x/", "git ls-remote" } } do
      local text = refused(world.project { app = "FROM scratch\nADD " .. row[1] .. "\n" })
      assert.is_truthy(text:find(row[2], 1, true), row[1] .. ":\n" .. text)
      assert.is_truthy(text:find("Containerfile:2", 1, true), text)
    end
    local text = refused(dir, { "--no-cache" }, { env = { PATH = "/nowhere" } })
    assert.is_truthy(text:find("need the git program", 1, true), text)
  end)
end)

describe("ADD of git repositories that are plain files", function()
  local server
  setup(function() server = servers.files() end)
  teardown(function()
    server:stop()
    world.cleanup()
  end)

  it("takes submodules, whose history nobody can shorten there", function()
    if not process.which "git" then return pending "needs git" end
    local part, whole = servers.git_files(server, "part"), servers.git_files(server, "whole")
    part:commit { file = "part" }
    whole:git { "-C", whole.dir, "submodule", "--quiet", "add", part.url, "part" }
    whole:commit({ file = "first" }, "v1")
    whole:commit { file = "second" }
    local tree = build(world.project { app = ("FROM scratch\nADD U /a/\nADD U?submodules=false&tag=v1 /b/\n"):gsub("U", whole.url) })
    assert.equal("second", tree.content "a/file")
    assert.equal("part", tree.content "a/part/file")
    assert.is_false(tree.exists "a/part/.git")
    assert.equal("first", tree.content "b/file")
    assert.is_false(tree.exists "b/part/file")
  end)

  it("takes those that name their objects by sha256", function()
    if not process.which "git" then return pending "needs git" end
    local repo = servers.git_files(server, "long", "--object-format=sha256")
    local first = repo:commit({ file = "first" }, "v1")
    local second = repo:commit { file = "second" }
    local tree = build(world.project { app = ("FROM scratch\nADD U#v1 /tag/\nADD --keep-git-dir --checksum=%s U#%s /commit/\nADD --checksum=%s U /head/\n")
      :format(first, first, second:sub(1, 10)):gsub("U", repo.url) })
    assert.equal(64, #first)
    assert.equal("first", tree.content "tag/file")
    assert.equal(first, (tree.content "commit/.git/HEAD":gsub("%s", "")))
    assert.equal("second", tree.content "head/file")
  end)
end)

describe("named contexts", function()
  local server
  setup(function() server = servers.files() end)
  teardown(function()
    server:stop()
    world.cleanup()
  end)

  it("are directories with their own ignore file, URLs, layouts and images of other builds", function()
    local store = world.tmp() .. "/store"
    local other = world.tmp()
    world.write(other, { f = "f", hidden = "h", [".dockerignore"] = "hidden\n", ["sub/g"] = "g" })
    server:write("tool", "tool", 1500000000)
    world.run({ "tar", "-czf", server.dir .. "/www/t.tgz", "-C", other, "sub" })
    local _, _, layout = build(world.project { base = BASE .. "LABEL a=b\nRUN echo made > /made\nONBUILD RUN echo triggered > /triggered\n" },
      nil, { store = store })
    local dir = world.project { app = "FROM img\nCOPY --from=files . /files/\nCOPY --from=tar / /tar/\nCOPY --from=url / /url/\n"
      .. "RUN --mount=type=bind,from=files,source=sub,target=/mnt cp /mnt/g /copied\nCOPY --from=files /sub/../f /plain\n" }
    local tree, _, out = build(dir, { "--build-context", "files=" .. other, "--build-context", "tar=" .. server.url .. "/t.tgz",
      "--build-context", "url=" .. server.url .. "/tool", "--build-context", "img=oci-layout://" .. layout .. ":1.0.0" }, { store = store })
    assert.equal("f", tree.content "files/f")
    assert.is_false(tree.exists "files/hidden")
    assert.equal("g", tree.content "tar/sub/g")
    assert.equal("tool", tree.content "url/tool")
    assert.equal("g", tree.content "copied")
    assert.equal("made\n", tree.content "made")
    assert.equal("triggered\n", tree.content "triggered")
    assert.equal("b", peers.config(out).config.Labels.a)
  end)

  it("may be a base, replace a stage, and be other targets, which are then built first", function()
    local dir = world.project { app = "FROM scratch AS two\nRUN exit 1\nFROM files AS one\nCOPY --from=two /made /two\nFROM one\n",
      lib = BASE .. "RUN echo lib > /made\n" }
    world.write(dir, { ["tree/f"] = "f" })
    local tree, _, out = build(dir, { "--build-context", "files=" .. dir .. "/tree", "--build-context", "two=target:lib-1-0-0",
      "--image-name", "^app$" })
    assert.equal("f", tree.content "f")
    assert.equal("lib\n", tree.content "two")
    local config = peers.config(out)
    assert.equal(#config.rootfs.diff_ids, 2)
    assert.equal("FROM context files # buildkit", config.history[1].created_by)
  end)

  it("may be nothing: docker-image://scratch", function()
    local dir = world.project { app = "FROM busybox AS one\nCOPY base/etc/group /g\nFROM one\nCOPY --from=busybox / /none/\n" }
    local tree, _, out = build(dir, { "--build-context", "busybox=docker-image://scratch" })
    assert.same({ "g", "none" }, fs.list(tree.root))
    assert.equal("COPY base/etc/group /g # buildkit", peers.config(out).history[1].created_by)
  end)

  it("are refused when they lead nowhere", function()
    local dir = world.project { app = "FROM scratch\nCOPY --from=ctx / /x/\n" }
    for _, row in ipairs { { "ctx=" .. dir .. "/nope", "is no directory" }, { "ctx=target:nope", "no such target" },
      { "ctx=target:app-1-0-0", "built from each other" }, { "ctx=oci-layout://" .. dir .. "/nope", "oci-layout://" },
      { "ctx=docker-image://127.0.0.1:1/x", "127.0.0.1:1/x" }, { "ctx", "expected NAME=VALUE" } } do
      local text = refused(dir, { "--build-context", row[1] })
      assert.is_truthy(text:find(row[2], 1, true), row[1] .. ":\n" .. text)
    end
  end)
end)
