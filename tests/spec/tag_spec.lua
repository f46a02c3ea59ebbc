local tag = require "bakery.tag"

local function rows(fn, list)
  for _, row in ipairs(list) do
    it(("%s('%s')"):format(fn, row[1]), function() assert.are.equal(row[2], tag[fn](row[1])) end)
  end
end

describe("tag filters", function()
  rows("safe", { { "a b", "a-b" }, { "-a-", "a" }, { "..a__", "a" }, { "2025.05.1+513.pro3", "2025.05.1-513.pro3" },
    { "a//b", "a--b" }, { "ü", "" }, { "aüb", "a-b" }, { "", "" }, { "---", "" }, { "+x+", "x" },
    { "a\xffb", "a-b" }, { "a\xc3", "a" }, { "\xe2\x82", "" }, { "x\0y", "x-y" } })
  rows("replace", { { "+x", "-x" }, { "a b", "a-b" }, { "-a.", "-a." }, { "1.2.3+4-5", "1.2.3-4-5" } })
  rows("normalize", { { "+x", "-x" }, { "-1.2.3+4-5-", "1.2.3-4-5" }, { "_1.2.", "1.2" }, { " a ", "a" },
    { "1.2.3 u-22.04", "1.2.3-u-22.04" }, { "- a", "-a" }, { " ", "" }, { "\n-a\n", "a" } })
  rows("strip_metadata", { { "1.2.3", "1.2.3" }, { "1.2.3-rc1", "1.2.3" }, { "1.2.3-dev+15-gSHA", "1.2.3-dev+15" },
    { "a-b-c", "a-b" }, { "-a", "" }, { "R4.3.3-python3.11.15", "R4.3.3" }, { "", "" }, { "a-", "a" },
    { "1.2.3+4-5", "1.2.3+4" }, { "a-b\nc+d", "a\nc" } })
  rows("strip_patch", { { "1.2.3.4", "1.2" }, { "1.2", "1.2" }, { "R4.3.3-python3.11.15", "R4.3-python3.11" },
    { "2026.03.0-212", "2026.03-212" }, { "1.2.3abc", "1.2abc" }, { "1..2.3", "1..2.3" }, { "1.2.3.", "1.2." },
    { "", "" }, { "abc", "abc" }, { "1.2..3.4.5", "1.2..3.4" }, { "10.20.30", "10.20" } })
  rows("condense", { { "Ubuntu 22.04", "Ubuntu2204" }, { "a b.c-d_e", "abcd_e" }, { "", "" } })

  it("wants strings", function()
    for _, fn in ipairs { "safe", "replace", "normalize", "strip_metadata", "strip_patch", "condense" } do
      assert.has_error(function() tag[fn]({}) end)
    end
  end)

  it("knows what registries accept", function()
    for text, want in pairs { a = true, ["1.2-x_y"] = true, _a = true, ["-a"] = false, [".a"] = false, [""] = false,
      ["a b"] = false, ["ü"] = false, [("x"):rep(128)] = true, [("x"):rep(129)] = false } do
      assert.are.equal(want, tag.is_valid(text), text)
    end
  end)
end)

describe("tag.match", function()
  local list = { { "*", "", true }, { "*", "abc", true }, { "a*c", "abc", true }, { "a*c", "abcd", false },
    { "?", "a", true }, { "?", "", false }, { "[0-9]*", "1.2", true }, { "[0-9]*", "x1", false }, { "[!a]b", "cb", true },
    { "[^a]b", "ab", false }, { "a[", "a[", true }, { "[]]", "]", true }, { "*-rc*", "1.0-rc1", true },
    { "**x", "abx", true }, { "[a-", "[a-", true }, { "", "", true }, { "", "a", false }, { "[a-c]", "b", true },
    { "[a-]", "-", true }, { "*a*b*c", "xaxbxc", true } }
  for _, row in ipairs(list) do
    it(("%s on '%s'"):format(row[1], row[2]), function() assert.are.equal(row[3], tag.match(row[1], row[2])) end)
  end

  it("is not slowed down by many stars", function()
    local started = os.clock()
    assert.is_false(tag.match(("*a"):rep(30) .. "b", ("a"):rep(20000)))
    assert.is_true(os.clock() - started < 5)
  end)
end)

describe("tag order and sets", function()
  it("sorts naturally", function()
    assert.are.same({ "1.2", "1.2.9", "1.2.10", "1.9", "1.10-rc1", "1.10-rc2", "1.10", "1.10.1", "latest", "v1.2" },
      tag.sort { "latest", "1.10.1", "1.10", "1.9", "1.10-rc2", "1.2.10", "1.10-rc1", "1.2.9", "v1.2", "1.2" })
    assert.are.same({ "b", "a" }, tag.sort({ "a", "b" }, { reverse = true }))
    assert.are.same({ "1.10", "1.9" }, tag.sort({ "1.9", "1.10" }, { order = "text" }))
    assert.has_error(function() tag.sort({ "a" }, { order = "x" }) end)
    assert.has_error(function() tag.sort({ "a" }, { orders = "x" }) end)
    assert.has_error(function() tag.sort { 1 } end)
  end)

  it("orders every pair consistently", function()
    local list = { "", "-", "1", "01", "1-", "1.", "1.0", "1.0-a", "1a", "a1", "a10", "a9", "+", "1+b", "v1.0.0" }
    local sorted = tag.sort(list)
    for i, a in ipairs(sorted) do
      for j, b in ipairs(sorted) do
        assert.are.equal(i < j and -1 or i > j and 1 or 0, tag.compare(a, b), a .. " " .. b)
      end
    end
  end)

  it("has set operations that keep order and drop duplicates", function()
    assert.are.same({ "a", "b", "c" }, tag.union({ "a", "b", "a" }, { "c", "a" }))
    assert.are.same({}, tag.union())
    assert.are.same({ "a", "c" }, tag.intersect({ "a", "b", "a", "c" }, { "c", "a" }))
    assert.are.same({ "b" }, tag.subtract({ "a", "b", "a", "c", "b" }, { "c", "a" }))
    assert.has_error(function() tag.union({ "a" }, { {} }) end)
  end)

  it("filters by globs, expressions and predicates", function()
    local list = { "1.2", "1.3-rc1", "latest", "2.0" }
    assert.are.same({ "1.2", "2.0" }, tag.filter(list, { glob = "[0-9]*", exclude = { "*-rc*" } }))
    assert.are.same({ "1.2" }, tag.filter(list, { glob = { "1*", "2*" }, exclude = "*rc*",
      where = function(t) return t < "2" end }))
    local expression = { match = function(_, t) return t:find "^l" end }
    assert.are.same({ "latest" }, tag.filter(list, { regex = expression }))
    assert.are.same(list, tag.filter(list, {}))
    assert.has_error(function() tag.filter(list, { globs = "x" }) end)
    assert.has_error(function() tag.filter(list, { where = 1 }) end)
    assert.has_error(function() tag.filter(list, { where = function() error "boom" end }) end)
  end)

  it("handles large lists", function()
    local list = {}
    for i = 1, 20000 do list[i] = ("1.%d.%d"):format(i * 7919 % 20000, i % 13) end
    local sorted = tag.sort(list)
    assert.are.equal(20000, #sorted)
    assert.are.equal(-1, tag.compare(sorted[1], sorted[20000]))
    assert.are.equal(20000, #tag.union(list, sorted))
    assert.are.same({}, tag.subtract(list, sorted))
  end)
end)
