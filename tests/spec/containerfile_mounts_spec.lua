local containerfile = require "bakery.containerfile"

local function mount(text) return containerfile.mount(text) end

local octal = function(s) return tonumber(s, 8) end

describe("RUN --mount", function()
  local rows = {
    { "target=/a", { type = "bind", target = "/a", ro = true } },
    { "type=bind,source=x,target=/a,rw", { type = "bind", source = "x", target = "/a", ro = false } },
    { "type=bind,src=x,dst=/a,readwrite=true", { type = "bind", source = "x", target = "/a", ro = false } },
    { "destination=/a,readonly=false,from=img", { type = "bind", target = "/a", ro = false, from = "img" } },
    { "TYPE=BIND,Target=/a,RO", { type = "bind", target = "/a", ro = true } },
    { "type=bind,ro=1", { type = "bind", target = ".", ro = true } },
    { 'type=bind,"source=a b,c",target=/a', { type = "bind", source = "a b,c", target = "/a", ro = true } },
    { '"target=/a""b"', { type = "bind", target = '/a"b', ro = true } },
    { "type=cache,target=/c", { type = "cache", target = "/c", ro = false, sharing = "shared", id = "/c" } },
    { "type=cache,target=/c/../d/,id=x,sharing=LOCKED,ro", { type = "cache", target = "/c/../d/", ro = true,
      sharing = "locked", id = "x" } },
    { "type=cache,target=/c/../d/", { type = "cache", target = "/c/../d/", ro = false, sharing = "shared", id = "/d" } },
    { "type=cache,target=c/./d", { type = "cache", target = "c/./d", ro = false, sharing = "shared", id = "c/d" } },
    { "type=cache,target=/c,mode=0700,uid=1,gid=2,sharing=private,from=img,source=s", { type = "cache", target = "/c",
      ro = false, sharing = "private", id = "/c", mode = octal "700", uid = 1, gid = 2, from = "img", source = "s" } },
    { "type=tmpfs,target=/t", { type = "tmpfs", target = "/t", ro = false } },
    { "type=tmpfs,target=/t,size=64m", { type = "tmpfs", target = "/t", ro = false, size = 64 << 20 } },
    { "type=tmpfs,target=/t,size=1.5KiB", { type = "tmpfs", target = "/t", ro = false, size = 1536 } },
    { "type=tmpfs,target=/t,size=10", { type = "tmpfs", target = "/t", ro = false, size = 10 } },
    { "type=secret,id=tok", { type = "secret", id = "tok", target = "/run/secrets/tok", ro = true, mode = octal "400",
      uid = 0, gid = 0, file = true } },
    { "type=secret,source=a/tok", { type = "secret", id = "a/tok", target = "/run/secrets/tok", ro = true,
      mode = octal "400", uid = 0, gid = 0, file = true } },
    { "type=secret,target=/etc/x,mode=0440,uid=5,required", { type = "secret", id = "x", target = "/etc/x", ro = true,
      mode = octal "440", uid = 5, gid = 0, file = true, required = true } },
    { "type=secret,id=tok,env=TOKEN", { type = "secret", id = "tok", env = "TOKEN", ro = true, file = false } },
    { "type=secret,id=tok,env=TOKEN,target=/x", { type = "secret", id = "tok", env = "TOKEN", ro = true, file = true,
      target = "/x", mode = octal "400", uid = 0, gid = 0 } },
    { "type=secret,id=x,required=false", { type = "secret", id = "x", target = "/run/secrets/x", ro = true,
      mode = octal "400", uid = 0, gid = 0, file = true, required = false } },
    { "type=ssh", { type = "ssh", id = "default", ro = true, mode = octal "600", uid = 0, gid = 0 } },
    { "type=ssh,id=x,target=/s,required=true", { type = "ssh", id = "x", target = "/s", ro = true, mode = octal "600",
      uid = 0, gid = 0, required = true } },
    -- Of buildah and podman: what has a meaning here, and what has none.
    { "target=/a,Z,ro", { type = "bind", target = "/a", ro = true } },
    { "target=/a,relabel=shared,rslave,bind-propagation=rprivate,bind-nonrecursive,consistency=cached,nosuid,nodev=true,noexec,"
      .. "no-dereference", { type = "bind", target = "/a", ro = true } },
    { "type=cache,target=/c,U", { type = "cache", target = "/c", ro = false, sharing = "shared", id = "/c", owned = true } },
    { "target=/a,chown=false", { type = "bind", target = "/a", ro = true, owned = false } },
    { "tmpfs-size=64m,type=tmpfs,target=/t,tmpfs-mode=0750,tmpcopyup", { type = "tmpfs", target = "/t", ro = false, size = 64 << 20,
      tmpfs_mode = octal "750", copyup = true } },
    { "type=secret,id=x,z", { type = "secret", id = "x", target = "/run/secrets/x", ro = true, mode = octal "400", uid = 0, gid = 0,
      file = true } },
  }
  for _, row in ipairs(rows) do
    it(row[1], function() assert.are.same(row[2], assert(mount(row[1]))) end)
  end

  local bad = {
    { "tpye=bind,target=/a", "unexpected key 'tpye'", "did you mean type?" }, { "target=/a,bogus", "unexpected key 'bogus'" },
    { "target", "needs a value" }, { "id,target=/a", "needs a value" }, { "", "unexpected key ''" },
    { "type=bid,target=/a", "unsupported mount type 'bid'", "did you mean bind?" },
    { "type=cache,target=/a,sharing=lock", "unsupported sharing value", "did you mean locked?" },
    { "type=bind,target=/a,sharing=shared", "not allowed for bind" }, { "type=bind,target=/a,size=1", "not allowed for bind" },
    { "type=cache,target=/a,size=1", "not allowed for cache" }, { "type=tmpfs,target=/a,size=x", "invalid value" },
    { "target=/a,required", "not allowed for bind" }, { "type=tmpfs,target=/a,required=true", "not allowed for tmpfs" },
    { "target=/a,mode=0700", "not allowed for bind" }, { "type=tmpfs,target=/a,uid=1", "not allowed for tmpfs" },
    { "target=/a,gid=1", "not allowed for bind" }, { "type=cache,target=/a,mode=8", "invalid value '8' for mode" },
    { "type=cache,target=/a,uid=-1", "invalid value" }, { "type=cache,target=/a,uid=4294967296", "invalid value" },
    { "type=cache,target=/a,env=X", "not allowed for cache" }, { "target=/a,ro=maybe", "invalid value 'maybe'" },
    { "type=secret", "needs one of" }, { "type=secret,id=a,source=b", "not both" }, { "type=secret,id=a,from=b", "no from" },
    { "type=secret,id=a,sharing=shared", "not allowed for secret" }, { "type=secret,id=a,required=x", "invalid value" },
    { "type=ssh,from=x", "no from" }, { 'target="/a"', "a quote in an unquoted field" }, { '"target=/a', "unterminated quote" },
    { '"target=/a"x', "text after a quoted field" }, { "target=/a,tmpfs-mode=0700", "not allowed for bind" },
    { "type=cache,target=/a,tmpcopyup", "not allowed for cache" }, { "target=/a,tmpfs-size=1m", "not allowed for bind" },
    { "type=tmpfs,target=/a,tmpfs-size", "needs a value" }, { "type=tmpfs,target=/a,tmpfs-size=50%", "invalid value" },
    { "type=tmpfs,target=/a,tmpfs-mode=9", "invalid value '9' for tmpfs-mode" }, { "target=/a,U=perhaps", "invalid value 'perhaps'" },
  }
  for _, row in ipairs(bad) do
    it("refuses " .. row[1], function()
      local m, err = mount(row[1])
      assert.is_nil(m)
      assert.are.equal("containerfile.mount", err.code)
      assert.is_truthy(err.message:find(row[2], 1, true), err.message)
      if row[3] then assert.are.equal(row[3], err.hint) end
    end)
  end

  it("is checked while parsing, as far as values are known", function()
    local function parse(flag) return containerfile.parse("FROM a\nRUN --mount=" .. flag .. " x") end
    assert.is_truthy(parse "type=$T,target=/a,required")
    assert.is_truthy(parse "type=cache,target=$T")
    assert.is_nil((parse "type=cache,bogus=$T"))
    assert.is_truthy(parse "type=cache,target=/a,from=$T")
    assert.is_nil((parse "type=cache,target=/a,from=$T,bogus"))
    assert.is_nil((parse "type=cachee,target=/a"))
  end)

  it("warns of what only buildah and podman know", function()
    local function warned(flag)
      local list = assert(containerfile.parse("FROM a\nRUN --mount=" .. flag .. " x")).warnings
      return list[1] and ("%s %d %s"):format(list[1].rule, list[1].line, list[1].message) or "none"
    end
    assert.are.equal("none", warned "type=tmpfs,target=/a,size=1m")
    assert.are.equal("MountExtension 2 BuildKit refuses what only buildah and podman know of --mount: U, Z, noexec; without effect here: "
      .. "Z, noexec", warned "target=/a,Z,noexec,U=true")
    assert.are.equal("MountExtension 2 BuildKit refuses what only buildah and podman know of --mount: tmpcopyup",
      warned "type=tmpfs,target=/a,tmpcopyup")
    assert.matches("^SourceVariable 2 RUN %-%-mount=from= with a variable", warned "from=$T,target=/a")
  end)
end)

describe("durations", function()
  local rows = { { "0", 0 }, { "5s", 5000000000 }, { "1m30s", 90000000000 }, { "1h", 3600000000000 }, { "1.5s", 1500000000 },
    { "100ms", 100000000 }, { "1us", 1000 }, { "1µs", 1000 }, { "2ns", 2 }, { "-1s", -1000000000 }, { "+1s", 1000000000 },
    { ".5s", 500000000 }, { "1.s", 1000000000 }, { "0s", 0 }, { "1h0m1s", 3601000000000 }, { "", nil }, { "5", nil },
    { "s", nil }, { "5x", nil }, { "5 s", nil }, { "1s1", nil }, { ".s", nil }, { "9999999999h", nil }, { "1..5s", nil }, { "-", nil } }
  for _, row in ipairs(rows) do
    it(("'%s'"):format(row[1]), function() assert.are.equal(row[2], containerfile.duration(row[1])) end)
  end
end)

describe("ignore files", function()
  it("are looked for in this order", function()
    assert.are.same({ "d/Containerfile.dockerignore", "d/Containerfile.containerignore", "ctx/.containerignore",
      "ctx/.dockerignore" }, containerfile.ignore_files("d/Containerfile", "ctx/"))
    assert.are.same({ "C.dockerignore", "C.containerignore", "./.containerignore", "./.dockerignore" },
      containerfile.ignore_files "C")
    assert.are.equal("/.dockerignore", containerfile.ignore_files("C", "/")[4])
  end)

  local rows = {
    { "foo", { "foo" } }, { "# c\nfoo\n", { "foo" } }, { "  # x", { "# x" } }, { " foo ", { "foo" } }, { "! foo", { "!foo" } },
    { "!foo", { "!foo" } }, { "\239\187\191foo\r\nbar\r\n", { "foo", "bar" } }, { "/a/./b/../c/", { "a/c" } }, { "\n\n \n", {} },
    { "/", { "." } }, { ".", { "." } }, { "a//b", { "a/b" } }, { "../x", { "../x" } }, { "a/../../x", { "../x" } },
    { "!/a", { "!a" } }, { "**/", { "**" } }, { "docs\n!docs/README", { "docs", "!docs/README" } }, { "a\\ b", { "a\\ b" } },
    { "#a\n#b", {} }, { "\\#a", { "\\#a" } }, { "/../x", { "x" } }, { "", {} },
  }
  for _, row in ipairs(rows) do
    it(("%q"):format(row[1]), function() assert.are.same(row[2], (assert(containerfile.ignore_lines(row[1])))) end)
  end

  it("report a lone exclamation mark", function()
    local list, err = containerfile.ignore_lines("a\n ! \n", { name = ".dockerignore" })
    assert.is_nil(list)
    assert.are.equal(".dockerignore:2:2", err.where)
    assert.are.equal(" ! ", err.source)
  end)

  it("know the line of each pattern", function()
    local list, numbers = containerfile.ignore_lines("# c\na\n\n!b")
    assert.are.same({ "a", "!b" }, list)
    assert.are.same({ 2, 4 }, numbers)
  end)
end)
