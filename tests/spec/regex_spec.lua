local regex = require "bakery.regex"

local function re(pattern, flags) return assert(regex.compile(pattern, flags)) end

describe("regex.compile", function()
  for _, row in ipairs {
    { "a(b", 3, "missing closing parenthesis" },
    { "a)", 1, "unmatched closing parenthesis" },
    { "*", 0, "quantifier does not follow a repeatable item" },
    { "a{,5}(", 6, "missing closing parenthesis" },
    { "ü[", 3, "missing terminating ] for character class" },
    { "\\", 1, "\\ at end of pattern" },
  } do
    it(("says where %q is wrong"):format(row[1]), function()
      local p, err = regex.compile(row[1])
      assert.is_nil(p)
      assert.are.same({ "regex.syntax", row[2], "offset " .. row[2] }, { err.code, err.offset, err.where })
      assert.matches(row[3], err.message, 1, true)
    end)
  end

  it("refuses what is not UTF-8, unknown flags and huge patterns", function()
    assert.are.equal("regex.syntax", select(2, regex.compile "\xff").code)
    assert.are.equal("unknown regex flag 'q', expected one of imsxD", select(2, regex.compile("a", "iq")).message)
    assert.are.equal("regex.syntax", select(2, regex.compile "((a{1,1000}){1,1000}){1,1000}").code)
    assert.are.equal("regex.syntax", select(2, regex.compile(("("):rep(10000) .. (")"):rep(10000))).code)
  end)

  it("takes flags", function()
    assert.is_table(re("AbÜ", "i"):search("xaBü"))
    assert.is_table(re("^b$", "m"):search("a\nb\nc"))
    assert.is_table(re("a.b", "s"):search("a\nb"))
    assert.is_nil((re("a.b"):search("a\nb")))
    assert.is_table(re("a b # c", "x"):fullmatch("ab"))
    assert.is_table(re("a$"):search("a\n"))
    assert.is_nil((re("a$", "D"):search("a\n")))
  end)

  it("reads Python's syntax", function()
    assert.is_nil((re("a\\Z"):search("a\n")))
    assert.is_table(re("\\\\Z"):fullmatch("\\Z"))
    assert.are.equal("aa", re("a{,2}"):match("aaa")[0])
    assert.is_table(re("[{,2}]{3}"):fullmatch("{,}"))
    assert.is_table(re("[]{,2}]{2}"):fullmatch("]2"))
    assert.is_table(re("\\{,2}"):fullmatch("{,2}"))
    assert.is_table(re("\\d\\w\\s"):fullmatch("٣ü\u{a0}"))
    assert.are.same({ year = "2026", dot = false }, re("(?P<year>\\d+)(?P<dot>\\.)?"):match("2026").named)
    assert.is_table(re("(?P<q>['\"]).*(?P=q)"):fullmatch("'a\"'"))
  end)
end)

describe("regex matching", function()
  it("gives groups and places", function()
    local m = re("(a)|(b)(c)?"):search("xxb")
    assert.are.same({ [0] = "b", false, "b", false, first = 3, last = 3 }, m)
    m = re("ü"):search("aüb")
    assert.are.same({ 2, 3 }, { m.first, m.last })
    m = re("x*"):search("abc")
    assert.are.same({ "", 1, 0 }, { m[0], m.first, m.last })
    assert.is_nil((re("z"):search("abc")))
  end)

  it("searches, matches at the start, matches fully", function()
    local p = re("b+")
    assert.is_table(p:search("abb"))
    assert.is_nil((p:match("abb")))
    assert.is_table(p:match("bba"))
    assert.is_nil((p:fullmatch("bba")))
    assert.is_table(p:fullmatch("bb"))
    assert.are.equal("bb", re("b|bb"):fullmatch("bb")[0])
  end)

  it("starts where told", function()
    local p = re("^a|b")
    assert.are.equal(3, p:search("abba", 3).first)
    assert.is_nil((p:search("abba", 4)))
    assert.are.equal(3, p:search("abba", -2).first)
    assert.is_nil((p:search("a", 3)))
    assert.are.same({ 1, 1 }, { re("a"):find("aa", -100) })
    assert.are.same({ 2, 2 }, { re("a"):find("aa", 2) })
    assert.is_nil((re("b"):find("aa")))
  end)

  it("takes bytes that are no text as an error, not as a mismatch", function()
    local p = re("a")
    for _, fn in ipairs { "search", "match", "fullmatch", "find" } do
      local m, err = p[fn](p, "a\xff")
      assert.is_nil(m)
      assert.are.equal("regex.utf8", err.code)
      assert.matches("at byte 2", err.message, 1, true)
    end
    assert.are.equal("regex.utf8", select(2, p:gsub("\xc3", "x")).code)
    assert.are.equal("regex.match", select(2, p:search("ü", 2)).code)
    assert.has_error(function() for _ in p:gmatch("\xff") do error("matched") end end)
    assert.are.equal("\0b", re("\0."):search("a\0b")[0])
  end)

  it("ends runaway patterns", function()
    for _, pattern in ipairs { "(a+)+$", "(a|a)*$", "(x+x+)+y" } do
      local p = re(pattern)
      for _ = 1, 12 do
        local m, err = p:search(("a"):rep(50) .. ("x"):rep(50) .. "zy")
        assert.is_nil(m)
        assert.are.equal("regex.limit", err and err.code, pattern)
      end
    end
    local long = ("ab"):rep(50000)
    local p = re("(a|b)*c?")
    for _ = 1, 12 do assert.are.equal(#long, p:match(long).last) end
  end)

  it("gives the same before and after it is translated to machine code", function()
    local p = re("(?<=a)(b*)(c)?")
    local first = p:search("xabbc")
    for _ = 1, 20 do assert.are.same(first, p:search("xabbc")) end
  end)
end)

describe("regex.gsub", function()
  it("replaces by texts as Python does", function()
    for _, row in ipairs {
      { "-", "_", "foo-bar-baz", "foo_bar_baz", 2 },
      { "\\d", "X", "a1b22", "aXbXX", 3 },
      { "x*", "-", "abxd", "-a-b--d-", 5 },
      { "|a", "-", "aa", "-----", 5 },
      { "(a)(b)?", "[\\1\\2]", "aba", "[ab][a]", 2 },
      { "(?P<n>a)", "\\g<n>\\g<1>\\g<0>0", "a", "aaa0", 1 },
      { "a", "\\\\1\\n\\.\\x41", "a", nil },
      { "a", "\\\\1\\n\\.", "a", "\\1\n\\.", 1 },
      { "a", "\\101\\0\\60", "a", nil },
      { "a", "\\101\\0\\060\\341", "a", "A\0000á", 1 },
      { "$", "!", "a\n", "a!\n!", 2 },
      { "ü?", ".", "aüb", ".a..b.", 4 },
      { "a", "", "", "", 0 },
    } do
      local s, n = re(row[1]):gsub(row[3], row[2])
      assert.are.equal(row[4], s)
      if row[4] then assert.are.equal(row[5], n) else assert.are.equal("regex.template", n.code) end
    end
  end)

  it("checks the text even when nothing matches", function()
    for bad, why in pairs {
      ["\\1"] = "no such group '\\1' at offset 0", ["x\\g<n>"] = "no such group '\\g<n>' at offset 1",
      ["\\"] = "nothing behind '\\' at offset 0", ["\\q"] = "unknown escape '\\q'", ["\\g<1"] = "expected \\g<group>",
      ["\\g"] = "expected \\g<group>", ["\\g<>"] = "expected \\g<group>", ["\\g<99999999999999999999>"] = "no such group",
      ["\\777"] = "octal escape above \\377", ["\\g<-1>"] = "no such group", ["\\12"] = "no such group '\\12'" } do
      local s, err = re("a"):gsub("zzz", bad)
      assert.is_nil(s)
      assert.are.equal("regex.template", err.code)
      assert.matches(why, err.message, 1, true)
    end
  end)

  it("replaces by functions", function()
    local s, n = re("(\\w)(\\d)"):gsub("a1 b2 c3", function(m)
      if m[1] == "b" then return nil end
      if m[1] == "c" then return 7 end
      return m[2] .. m[1]
    end)
    assert.are.same({ "1a b2 7", 3 }, { s, n })
    assert.are.equal("xb", (re("a"):gsub("ab", function() return "x" end)))
    assert.has_error(function() re("a"):gsub("a", function() return {} end) end, "replacement function returned a table")
    assert.has_error(function() re("a"):gsub("a", function() error("stop", 0) end) end, "stop")
    assert.has_error(function() re("a"):gsub("a", {}) end)
  end)

  it("may use or close its own pattern meanwhile", function()
    local p = re("[ab]")
    assert.are.equal("xxxx", (p:gsub("abab", function()
      p:search("zzzb")
      return "x"
    end)))
    assert.has_error(function() p:gsub("ab", function() p:close() end) end, "the pattern is closed")
    assert.has_error(function() p:search("a") end, "the pattern is closed")
    p:close()
  end)

  it("stops after max", function()
    assert.are.same({ "xxa", 2 }, { re("a"):gsub("aaa", "x", 2) })
    assert.are.same({ "aaa", 0 }, { re("a"):gsub("aaa", "x", 0) })
  end)

  it("is linear in the text", function()
    local s, n = re("a"):gsub(("a"):rep(300000), "bc")
    assert.are.same({ 600000, 300000 }, { #s, n })
  end)
end)

describe("regex.gmatch and escape", function()
  it("iterates", function()
    local out = {}
    for m in re("(\\w)|$"):gmatch("a ü") do out[#out + 1] = (m[1] or "end") .. m.first end
    assert.are.same({ "a1", "ü3", "end5" }, out)
    for _ in re("z"):gmatch("abc") do error("matched") end
  end)

  it("escapes", function()
    for _, text in ipairs { "", "a.b*c", "(?x)[a-z]{2} #&~\t\n\r", "\\d\\E\\", "ü^$|+", "a\0b" } do
      assert.is_table(re("^" .. regex.escape(text) .. "\\Z"):fullmatch(text), text)
      assert.is_table(re(regex.escape(text), "x"):fullmatch(text), text)
    end
  end)

  it("raises on misuse", function()
    assert.has_error(function() regex.compile() end)
    assert.has_error(function() re("a").search("a") end)
    assert.has_error(function() re("a").close() end)
    assert.has_error(function() re("a").close(io.stdout) end)
  end)
end)
