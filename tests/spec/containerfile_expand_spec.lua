local containerfile = require "bakery.containerfile"
local expand = containerfile.expand

local env = { X = "val", E = "", P = "a/b/a/c", S = "*abc", W = "a b", N = "a\nb", D = "$X" }

local function check(rows, opts)
  for _, row in ipairs(rows) do
    local input, want = row[1], row[2]
    it(("%q gives %q"):format(input, want), function()
      local got, err = expand(input, env, opts)
      assert.is_nil(err)
      assert.are.equal(want, got)
    end)
  end
end

describe("expansion of words", function()
  check {
    { "he'll'o", "hello" }, { "he\\'llo", "he'llo" }, { "a\\$b", "a$b" }, { '"a\\$b"', "a$b" },
    { '"a\\b"', "a\\b" }, { '"a\\\\b"', "a\\b" }, { '"a\\"b"', 'a"b' }, { "'a\\$b'", "a\\$b" },
    { "\"a'b'c\"", "a'b'c" }, { "'a\"b\"c'", 'a"b"c' }, { "abc\\", "abc" }, { "a\\bc", "abc" },
    { "$", "$" }, { "a$", "a$" }, { "$$", "" }, { "$X", "val" }, { '"$X"', "val" }, { "'$X'", "$X" },
    { "$Xa", "" }, { "$X_Y", "" }, { "${X}a", "vala" }, { "$X.y", "val.y" }, { "$1x", "x" }, { "$12x", "x" },
    { "${12}", "" }, { "$@", "" }, { "$*", "" }, { "$#", "" }, { "$?", "" }, { "$-", "" }, { "$!", "" },
    { "$0", "" }, { "a$+b", "a$+b" }, { "é$X", "éval" }, { "<<EOF", "<<EOF" }, { "$é", "" }, { "a  b", "a  b" },
    { " a ", " a " }, { "", "" }, { "\\\\", "\\" }, { "a\\\\b", "a\\b" }, { "$X$X", "valval" }, { "$X-y", "val-y" },
    { "$X:y", "val:y" }, { "$D", "$X" }, { "\\${X}", "${X}" }, { "${@}", "" }, { "a$ b", "a$ b" }, { '""', "" },
    { "$X–y", "val–y" }, { "$X€", "val€" }, { "a<b", "a<b" }, { "a << b", "a << b" }, { "${X}}", "val}" },
    { "$X{a}", "val{a}" },
  }
end)

describe("modifiers", function()
  check {
    { "${X:-d}", "val" }, { "${E:-d}", "d" }, { "${E-d}", "" }, { "${U:-d}", "d" }, { "${U-d}", "d" },
    { "${X:+d}", "d" }, { "${E:+d}", "" }, { "${E+d}", "d" }, { "${U+d}", "" }, { "${U:+d}", "" }, { "${E?}", "" },
    { "${X:?m}", "val" }, { "${X?m}", "val" }, { "${U:-$X}", "val" }, { "${U:-${X}/b}", "val/b" },
    { "${U:-'$X'}", "$X" }, { "${U:-a\\}b}", "a}b" }, { '${U:-"a b"}', "a b" }, { "${U:-}", "" }, { "${X-}", "val" },
    { "${U:-${V:-${W}}}", "a b" }, { "${U:-a:b}", "a:b" }, { "${U:-{a}", "{a" },
    { "${X#v}", "al" }, { "${P#*/}", "b/a/c" }, { "${P##*/}", "c" }, { "${P%/*}", "a/b/a" }, { "${P%%/*}", "a" },
    { "${P/a/z}", "z/b/a/c" }, { "${P//a/z}", "z/b/z/c" }, { "${P/*b/z}", "z/a/c" }, { "${P/a\\/b/z}", "z/a/c" },
    { "${P//\\//-}", "a-b-a-c" }, { "${P/?/z}", "z/b/a/c" }, { "${P//a/$X}", "val/b/val/c" }, { "${S#\\*}", "abc" },
    { "${X#x}", "val" }, { "${X%l}", "va" }, { "${X%x}", "val" }, { "${X#}", "val" }, { "${X%*}", "val" },
    { "${X%%*}", "" }, { "${X##*}", "" }, { "${X#*}", "val" }, { "${X#?}", "al" }, { "${X%?}", "va" }, { "${P##a*a}", "/c" },
    { "${P#a*a}", "/c" }, { "${P%a*}", "a/b/" }, { "${P%%a*}", "" }, { "${P/x/z}", "a/b/a/c" }, { "${U/a/b}", "" },
    { "${U#a}", "" }, { "${X//?/z}", "zzz" }, { "${X/a/}", "vl" }, { "${P//\\//}", "abac" }, { "${P/*/z}", "z" },
    { "${P//*/z}", "z" }, { "${X/$X/y}", "y" }, { "${X#$X}", "" }, { "${X#\"v\"}", "al" }, { "${X#'v'}", "al" },
    { "${P/a/\\}}", "\\}/b/a/c" }, { "${X//a/$1}", "vl" }, { "${N#*b}", "a\nb" }, { "${N//?/.}", ".\n." },
    { "${X/%/z}", "val" }, { "${W% *}", "a" }, { "${X//a/b/c}", "vb/cl" },
  }
end)

-- bash and buildah know them, BuildKit does not; what BuildKit can read keeps its meaning.
describe("replacements left out", function()
  check {
    { "${P/a}", "/b/a/c" }, { "${P//a}", "/b//c" }, { "${P/$P}", "" }, { "/x/${P//\\/}/y", "/x/abac/y" }, { "${P/}", "a/b/a/c" },
    { "${P//}", "a/b/a/c" }, { '"${P/b} ${P/b/z}"', "a//a/c a/z/a/c" }, { "${P//a}${X/a}", "/b//cvl" }, { "${U:-${P/b}}", "a//a/c" },
    { "${P/a}/z}", "a/b/a/c" }, { ("${X/a}"):rep(9), ("vl"):rep(9) },
  }

  it("are told", function()
    local short = {}
    expand("${P/a} ${X/a/} ${U/a}", env, { short = short })
    assert.are.same({ P = true, U = true }, short)
  end)

  it("do not take long", function()
    local started = os.clock()
    for _, text in ipairs { ("${A/x} "):rep(20000), ("${A/"):rep(90), ("${A/"):rep(90) .. ("}"):rep(90), ("${A/x} "):rep(99) } do
      expand(text, {})
    end
    assert.is_true(os.clock() - started < 5)
  end)
end)

describe("the other escape character", function()
  check({
    { "a`$X", "a$X" }, { "a\\$X", "a\\val" }, { '"a`"b"', 'a"b' }, { "a``b", "a`b" }, { "${S#\\*}", "abc" },
    { "a`", "a" }, { '"a`b"', "a`b" }, { "'`'", "`" },
  }, { escape = "`" })
end)

describe("errors of expansion", function()
  local rows = {
    { "he'llo", "single quote" }, { '"abc', "double quote" }, { "he\\\\'llo", "single quote" },
    { "${U:?msg}", "U: msg" }, { "${U?msg}", "U: msg" }, { "${E:?}", "E: is not allowed to be empty" },
    { "${U?}", "U: is not allowed to be unset" }, { "${U:?}", "U: is not allowed to be unset" },
    { "${E:?gone $X}", "E: gone val" },
    { "${}", "bad substitution" }, { "${:-a}", "bad substitution" }, { "${{X}}", "bad substitution" },
    { "${X", "missing '}'" }, { "${", "missing '}'" }, { "${X:", "missing '}'" }, { "${X:-a", "missing '}'" },
    { "${P:#x}", "unsupported modifier (:#)" }, { "${P:%x}", "unsupported modifier (:%)" },
    { "${P:1:2}", "unsupported modifier (:1)" }, { "${P^^}", "unsupported modifier (^)" },
    { "${P,}", "unsupported modifier (,)" }, { "${#P}", "unsupported modifier (P)" }, { "${!P}", "unsupported modifier (P)" },
    { "${P/a", "missing '/'" }, { "${P//", "missing '/'" }, { "${P/a/b", "missing '}'" }, { '"${P/a"', "double quote" },
    { "${S#\\a}", "invalid escape '\\a'" }, { "${X#a\\", "missing '}'" }, { "${X:-'a}", "single quote" },
    { '"${X"', "unsupported modifier (\")" }, { "${X Y}", "unsupported modifier ( )" },
  }
  for _, row in ipairs(rows) do
    it(row[1], function()
      local got, err = expand(row[1], env)
      assert.is_nil(got)
      assert.are.equal("containerfile.expand", err.code)
      assert.is_truthy(err.message:find(row[2], 1, true), err.message)
    end)
  end
end)

describe("splitting", function()
  local rows = {
    { "$W", { "a", "b" } }, { '"$W"', { "a b" } }, { "a$W.b", { "aa", "b.b" } }, { '"a  b" c', { "a  b", "c" } },
    { "$U", {} }, { "", {} }, { "  ", {} }, { '""', {} }, { "a\\ b", { "a b" } }, { " a  b ", { "a", "b" } },
    { "${U:-x y}", { "x", "y" } }, { "'a b'c d", { "a bc", "d" } }, { "80 $W 90", { "80", "a", "b", "90" } },
    { "<< EOF", { "<< EOF" } }, { "a\u{a0}b\u{3000}c", { "a", "b", "c" } },
  }
  for _, row in ipairs(rows) do
    it(("%q"):format(row[1]), function()
      assert.are.same(row[2], assert(expand(row[1], env, { mode = "split" })))
    end)
  end
end)

describe("options of expand", function()
  it("asks a function for values", function()
    assert.are.equal("<A>b<C>", expand("${A}b$C", function(name) return "<" .. name .. ">" end))
  end)

  it("leaves quotes alone in heredoc bodies", function()
    assert.are.equal([['val' "val" \x]], expand([['$X' "${X}" \\x]], env, { skip_quotes = true }))
    assert.are.equal("it's val", expand("it's $X", env, { skip_quotes = true }))
    assert.are.equal("'d'", expand("${U:-'d'}", env, { skip_quotes = true }))
  end)

  it("collects names that are not set", function()
    local unset, used = {}, {}
    expand("$A ${B} ${C:-x} ${D:+y} $X ${E%a} ${F#b}", { X = "1", E = "" }, { unset = unset, used = used })
    assert.are.same({ A = true, B = true, F = true }, unset)
    assert.are.same({ X = true, E = true }, used)
  end)

  it("keeps references to unset variables", function()
    assert.are.equal("$A ${B} ${C:-x} ${D/a/b} val", expand("$A ${B} ${C:-x} ${D/a/b} $X", { X = "val" },
      { keep_unset = true }))
  end)

  it("bounds size, nesting and pattern work", function()
    local big = ("x"):rep(1 << 20)
    local got, err = expand(("$B"):rep(64), { B = big })
    assert.is_nil(got)
    assert.is_truthy(err.message:find("larger than", 1, true))
    got, err = expand(("${A:-"):rep(5000) .. ("}"):rep(5000), {})
    assert.is_nil(got)
    assert.is_truthy(err.message:find("nested too deeply", 1, true))
    local started = os.clock()
    got, err = expand("${B//*a*a*a*b/}", { B = ("a"):rep(100000) })
    assert.is_nil(got)
    assert.is_truthy(err.message:find("takes too long", 1, true))
    assert.is_true(os.clock() - started < 20)
  end)
end)
