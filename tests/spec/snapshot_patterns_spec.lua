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
}

describe("snapshot.ignore", function()
  for _, row in ipairs(rows) do
    it(table.concat(row[1], ", "), function()
      local m = assert(snapshot.ignore(row[1]))
      for path in row[2]:gmatch(row[2]:find("#", 1, true) and ".+" or "%S+") do
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
