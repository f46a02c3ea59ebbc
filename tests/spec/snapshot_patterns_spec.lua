local child = require "lib.child"
local snapshot = require "bakery.snapshot"

-- One row: patterns, excluded paths, kept paths (conformance.md 6.5).
local rows = {
  { { "foo" }, "foo foo/a", "a/foo foobar" },
  { { "**/foo" }, "foo a/foo a/b/foo a/foo/c", "afoo" },
  { { "foo/**" }, "foo/a foo/a/b", "foo xfoo/a" },
  { { "foo/*" }, "foo/a foo/a/b", "foo" },
  { { "*.go" }, "a.go .go", "d/a.go" },
  { { "**/*.go" }, "a.go d/a.go d/e/a.go", "a.gox" },
  { { "**" }, "a a/b .x", "" },
  { { "*" }, "a a/b .x", "" },
  { { "**/" }, "a a/b .x", "" },
  { { "." }, "", "a a/b" },
  { { "a/**/b" }, "a/b a/x/b a/x/y/b", "a/xb ab" },
  { { "docs", "!docs/README" }, "docs docs/x", "docs/README" },
  { { "!docs/README", "docs" }, "docs/README docs/x", "" },
  { { "*", "!keep" }, "a", "keep keep/x" },
  { { "/a/./b/../c/" }, "a/c a/c/d", "a/b" },
  { { "a\\*b" }, "a*b", "axb" },
  { { "[ab]c" }, "ac bc", "cc" },
  { { "[^a]c" }, "bc", "ac" },
  { { "a?c" }, "abc aéc", "a/c ac" },
  { { "**a" }, "a ba c/ba", "c/b" },
  { { "a**" }, "a ab ab/c a/b", "b" },
  { { "../x" }, "", "x" },
  { { "foo", "!foo/bar", "foo/bar/baz" }, "foo/x foo/bar/baz foo/bar/baz/z", "foo/bar foo/bar/y" },
  { { "foo", "!foo/bar", "foo" }, "foo/bar foo", "" },
  { { "a", "!a", "a/b" }, "a/b a/b/c", "a a/c" },
  { { "**/node_modules", "!web/node_modules/keep" }, "node_modules x/node_modules/a web/node_modules/b",
    "web/node_modules/keep web/node_modules/keep/x" },
  { { "a/**/c/*.o" }, "a/c/x.o a/b/b/c/y.o", "a/c/x.c a/c/d/x.p c/x.o" },
  { { "*.tar.gz" }, "x.tar.gz a.b.tar.gz", "tar.gz x.tar.gzip" },
  { { "a.b" }, "a.b", "aXb" },
  { { "x+y(z)|$" }, "x+y(z)|$", "xxyz" },
  { { "[a-c]?" }, "b1 cx", "d1 b" },
  { { "\xff*" }, "\xffx", "x\xff" },
  { { "# x" }, "", "x" },
  { { "  # x" }, "# x", "x" },
  { { " foo " }, "foo", "" },
  { { "! foo" }, "", "foo" },
  { { "foo", "! foo" }, "", "foo" },
  { { "\xef\xbb\xbffoo" }, "foo", "" },
  { { "", " ", "\t" }, "", "a" },
  { { "/" }, "", "a" },
  { { "//a//b" }, "a/b", "a" },
  { { "a/../../b" }, "", "b a" },
  { { "**/a/**/b" }, "a/b x/a/y/b a/x/y/b", "b x/b" },
  { { "a/*/c" }, "a/b/c a/b/c/d", "a/c a/b/b/c" },
  { { "**a*" }, "a ax c/ax a/b", "b ba/c/b" },
  { { "**.x*" }, ".x d/.xy", "y.z" },
  { { "a**b" }, "ab ax/b a/b a/x/b ax/y/b", "axc ba" },
  { { "a/**b" }, "a/b a/x/b", "ab ax/b" },
  { { "[a]**" }, "a ab a/b abc/d", "ba" },
  { { "a**/*.x" }, "a/1.x a/d/1.x a/d/e/1.x ab/1.x", "b/1.x" },
  { { "a/*.x**" }, "a/1.x a/2.xy a/3.x/c", "a/d/1.x" },
  { { "a**?" }, "ab axx/b", "a" },
  { { "**/d/*" }, "d/x c/d/x c/d/x/y", "d c/d" },
  { { "**/d/**" }, "d/x c/d/e/f", "d c/d" },
  { { "**/f*.x*" }, "a/b/f.x f1.xy", "a/gf.x" },
  { { "**/**/*.x" }, "a/b/f.x f.x", "f.xy" },
  { { "**file" }, "file d/file d/e/file dfile", "file2" },
  { { "***" }, "a a/b", "" },
  { { "a/***/b" }, "a/x/b a/x/y/b", "a/b ab" },
  { { "**/a/.." }, "x", "" },
  { { "a\\\\" }, "a\\", "a" },
  { { "\\!a" }, "!a", "a" },
  { { "\\#a" }, "#a", "a" },
  { { "[!a]b" }, "!b ab", "bb" },
  { { "a.|)$(}+{b" }, "a.|)$(}+{b", "axb" },
  { { "docs/", "!docs/README" }, "docs/x", "docs/README" },
  { { "**", "!dist/*.whl" }, "x dist/x", "dist/p-2.4rc3+g08ac9-py3.whl" },
  { { "x", "! /from/the/root" }, "x", "from/the/root" },
  { { "**", "!a/b/c", "a/b/c/d" }, "a a/x a/b/c/d", "a/b/c a/b/c/e" },
}

describe("snapshot.ignore", function()
  for _, row in ipairs(rows) do
    it(table.concat(row[1], ", "), function()
      local m = assert(snapshot.ignore(row[1]))
      for path in row[2]:gmatch(row[2]:find("# ", 1, true) and ".+" or "%S+") do
        assert.is_true((m:match(path)), path .. " must be excluded")
      end
      for path in row[3]:gmatch("%S+") do
        assert.is_false((m:match(path)), path .. " must be kept")
      end
    end)
  end

  it("names the deciding line", function()
    local m = assert(snapshot.ignore { "# comment", "docs", "", " !docs/README " })
    assert.are.same({ true, "docs" }, { m:match("docs/x") })
    assert.are.same({ false, " !docs/README " }, { m:match("docs/README") })
    assert.are.same({ false }, { m:match("other") })
  end)

  it("takes paths as people write them", function()
    local m = assert(snapshot.ignore { "a/b" })
    for _, path in ipairs { "a/b", "/a/b", "./a/b", "a/b/", "a//b", "a/x/../b" } do
      assert.is_true((m:match(path)), path)
    end
  end)

  it("refuses malformed patterns with their line", function()
    for _, bad in ipairs { "!", " ! ", "[a", "a[", "[]", "[]a]", "[^]", "[-a]", "[a-]", "a\\", "x/[b" } do
      local m, err = snapshot.ignore { "ok", bad }
      assert.is_nil(m, bad)
      assert.are.equal("glob.syntax", err.code)
      assert.are.equal("line 2", err.where)
    end
    assert.are.equal("glob.syntax", select(2, snapshot.ignore { ("x"):rep(5000) }).code)
    assert.has_error(function() snapshot.ignore { 1 } end)
    assert.has_error(function() snapshot.ignore "x" end)
  end)

  it("stays fast on hostile patterns", function()
    local m = assert(snapshot.ignore { ("**/*a"):rep(200) .. "b", ("*?"):rep(1000) })
    local started = os.clock()
    m:match(("a"):rep(200) .. "/" .. ("a/"):rep(1000))
    assert.is_true(os.clock() - started < 5)
  end)
end)

describe("snapshot.glob_match", function()
  -- Go's filepath.Match: pattern, text, result (nil = malformed).
  local vectors = {
    { "abc", "abc", true }, { "*", "abc", true }, { "*c", "abc", true }, { "a*", "a", true }, { "a*", "abc", true },
    { "a*", "ab/c", false }, { "a*/b", "abc/b", true }, { "a*/b", "a/c/b", false },
    { "a*b*c*d*e*/f", "axbxcxdxe/f", true }, { "a*b*c*d*e*/f", "axbxcxdxexxx/f", true },
    { "a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false }, { "a*b*c*d*e*/f", "axbxcxdxexxx/fff", false },
    { "a*b?c*x", "abxbbxdbxebxczzx", true }, { "a*b?c*x", "abxbbxdbxebxczzy", false },
    { "ab[c]", "abc", true }, { "ab[b-d]", "abc", true }, { "ab[e-g]", "abc", false }, { "ab[^c]", "abc", false },
    { "ab[^b-d]", "abc", false }, { "ab[^e-g]", "abc", true }, { "a\\*b", "a*b", true }, { "a\\*b", "ab", false },
    { "a?b", "a☺b", true }, { "a[^a]b", "a☺b", true }, { "a???b", "a☺b", false }, { "a[^a][^a][^a]b", "a☺b", false },
    { "[a-ζ]*", "α", true }, { "*[a-ζ]", "A", false }, { "a?b", "a/b", false }, { "a*b", "a/b", false },
    { "[\\]a]", "]", true }, { "[\\-]", "-", true }, { "[x\\-]", "x", true }, { "[x\\-]", "-", true },
    { "[x\\-]", "z", false }, { "[\\-x]", "x", true }, { "[\\-x]", "-", true }, { "[\\-x]", "a", false },
    { "[]a]", "]", nil }, { "[-]", "-", nil }, { "[x-]", "x", nil }, { "[-x]", "x", nil }, { "[a-b-c]", "a", nil },
    { "[", "a", nil }, { "[^", "a", nil }, { "[^bc", "a", nil }, { "a[", "a", nil }, { "a[", "ab", nil },
    { "\\", "a", nil }, { "*x", "xxx", true }, { "", "", true }, { "", "a", false }, { "?", "", false },
    { "**", "abc", true }, { "**", "a/b", false }, { "*?*", "x", true }, { "*?*", "", false }, { "[!a]", "!", true },
    { "a?b", "a\xffb", true }, { "a\xffb", "a\xffb", true },
  }
  for _, v in ipairs(vectors) do
    it(("%q on %q"):format(v[1], v[2]), function()
      local got, err = snapshot.glob_match(v[1], v[2])
      assert.are.equal(v[3], got)
      if v[3] == nil then assert.are.equal("glob.syntax", err.code) end
    end)
  end
end)

-- What a copy of the whole tree selects: a directory on the way to something that is selected is there, one
-- on the way to nothing is not.
describe("snapshot.copy", function()
  local base = child.output "mktemp -d"
  setup(function()
    assert(os.execute(("mkdir %s/src && cd %s/src && mkdir -p a/b/baz a/b/bar bar baz foo/bar && touch a/b/bar/foo a/b/bar/fop bar/foo top foo/bar/bee")
      :format(base, base)))
  end)
  teardown(function()
    os.execute("rm -rf " .. base)
    child.clean()
  end)

  local all = "a a/b a/b/bar a/b/bar/foo a/b/bar/fop a/b/baz bar bar/foo baz foo foo/bar foo/bar/bee top"
  local selections = {
    includes = {
      { { "**" }, all }, { { "*" }, all },
      { { "**/bar" }, "a a/b a/b/bar a/b/bar/foo a/b/bar/fop bar bar/foo foo foo/bar foo/bar/bee" },
      { { "**/bar/foo" }, "a a/b a/b/bar a/b/bar/foo bar bar/foo" },
      { { "**/bar/f*" }, "a a/b a/b/bar a/b/bar/foo a/b/bar/fop bar bar/foo" },
      { { "**/bar/g*" }, "" }, { { "bar/g*" }, "" },
      { { "**/b*/f*" }, "a a/b a/b/bar a/b/bar/foo a/b/bar/fop bar bar/foo" },
      { { "**/b*" }, "a a/b a/b/bar a/b/bar/foo a/b/bar/fop a/b/baz bar bar/foo baz foo foo/bar foo/bar/bee" },
      { { "**/baz" }, "a a/b a/b/baz baz" }, { { "b*" }, "bar bar/foo baz" }, { { "b*/" }, "bar bar/foo baz" },
      { { "b*/foo" }, "bar bar/foo" }, { { "*/b" }, "a a/b a/b/bar a/b/bar/foo a/b/bar/fop a/b/baz" },
      { { "a/*/bar/foo" }, "a a/b a/b/bar a/b/bar/foo" }, { { "bar/foo", "t*" }, "bar bar/foo top" },
    },
    excludes = {
      { { "a", "foo", "ba*", "!bar/foo" }, "bar bar/foo top" }, { { "**", "!a/b/baz" }, "a a/b a/b/baz" },
      { { "**", "!a/b", "a/b/bar" }, "a a/b a/b/baz" }, { { "**", "!bar/none" }, "" }, { { "**", "!**/fop" }, "a a/b a/b/bar a/b/bar/fop" },
      { { "*/*" }, "a bar baz foo top" }, { { "*/**" }, "a bar baz foo top" },
      { { "**/bar", "**/baz", "top", "!foo/bar/bee" }, "a a/b foo foo/bar foo/bar/bee" },
    },
  }
  local n = 0
  for kind, list in pairs(selections) do
    for _, row in ipairs(list) do
      it(kind .. " " .. table.concat(row[1], ", "), function()
        n = n + 1
        local upper = ("%s/up%d"):format(base, n)
        assert(snapshot.copy { from = { root = base .. "/src" }, sources = { "/" }, [kind] = row[1], dest = "/", lowers = {}, upper = upper })
        local got = child.output(("cd %s && find . -mindepth 1 -printf '%%P\\n' | LC_ALL=C sort | tr '\\n' ' '"):format(upper))
        assert.are.equal(row[2], (got:gsub("%s+$", "")))
      end)
    end
  end
end)
