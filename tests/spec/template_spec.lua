local json = require "bakery.json"
local template = require "bakery.template"

local env = template.new()
local strict = template.new { undefined = "strict" }

local function render(text, vars) return assert(env:render(text, vars)) end

local function fails(e, text, vars, options)
  local out, err = e:render(text, vars, options)
  assert.is_nil(out)
  return err
end

describe("template filters of bakery", function()
  local function rows(filter, list)
    for _, row in ipairs(list) do
      it(("%s of '%s'"):format(filter, row[1]), function()
        assert.are.equal(row[2], render("{{ v | " .. filter .. " }}", { v = row[1] }))
      end)
    end
  end
  rows("tagSafe", { { "a b", "a-b" }, { "-a-", "a" }, { "..a__", "a" },
    { "2025.05.1+513.pro3", "2025.05.1-513.pro3" }, { "a//b", "a--b" }, { "ü", "" }, { "aüb", "a-b" },
    { "", "" }, { "a\xffb", "a-b" }, { "x\0y", "x-y" } })
  rows("stripMetadata", { { "1.2.3", "1.2.3" }, { "1.2.3-rc1", "1.2.3" },
    { "1.2.3-dev+15-gSHA", "1.2.3-dev+15" }, { "a-b-c", "a-b" }, { "-a", "" },
    { "R4.3.3-python3.11.15", "R4.3.3" }, { "1.2.3+4-5", "1.2.3+4" }, { "a-b\nc+d", "a\nc" } })
  rows("stripMetadata | stripMetadata", { { "1.2.3+4-5", "1.2.3" } })
  rows("stripPatch", { { "1.2.3.4", "1.2" }, { "1.2", "1.2" }, { "1.2.3abc", "1.2abc" },
    { "R4.3.3-python3.11.15", "R4.3-python3.11" }, { "2026.03.0-212", "2026.03-212" },
    { "1..2.3", "1..2.3" }, { "1.2.3.", "1.2." }, { "1.2..3.4.5", "1.2..3.4" }, { "", "" } })
  rows("condense", { { "Ubuntu 22.04", "Ubuntu2204" }, { "a b.c-d_e", "abcd_e" }, { "", "" } })
  rows("quote", { { "a", '"a"' }, { 'x"y', '"x"y"' }, { "", '""' } })
  rows("split(',')", { { "a,b", "['a', 'b']" }, { " a ,b", "[' a ', 'b']" }, { "", "['']" } })
  rows([[regexReplace('-', '_')]], { { "foo-bar-baz", "foo_bar_baz" } })
  rows([[regexReplace('\\d', 'X')]], { { "a1b22", "aXbXX" } })
  rows([[regexReplace('(\\w+)@(\\w+)', '\\2 at \\1')]], { { "me@home, you@work",
    "home at me, work at you" } })
  rows([[regexReplace('(?P<a>x)(y)?', '<\\g<a>|\\g<2>>')]], { { "xxy", "<x|><x|y>" } })
  rows([[regexReplace('x*', '-')]], { { "abxd", "-a-b--d-" } }) -- as Python 3.7 and later
  rows([[regexReplace('^', '> ')]], { { "a\nb", "> a\nb" } })
  rows([[regexReplace('(?m)^', '> ')]], { { "a\nb", "> a\n> b" } })
  rows([[regexReplace('.', 'é')]], { { "ü€x", "ééé" } })

  it("render the patterns of the tag table", function()
    local vars = { Version = "1.2.3+4-5", OS = "u-22.04", Variant = "std", Name = "img", Channel = "" }
    for pattern, text in pairs {
      ["{{ Version }}"] = "1.2.3+4-5", ["{{Version}}"] = "1.2.3+4-5",
      ["{{ Version | stripMetadata }}"] = "1.2.3+4",
      ["{{ Version|stripMetadata|stripMetadata }}"] = "1.2.3",
      ["{{ Version }}-{{Channel}}"] = "1.2.3+4-5-", ["{{ Version }}-{{ Foo }}"] = "1.2.3+4-5-",
      ["{{ Version }} {{ OS }}"] = "1.2.3+4-5 u-22.04", ["{{ Version | condense }}"] = "123+45",
      ['{{ Version | regexReplace("[0-9]+", "n") }}'] = "n.n.n+n-n",
      ['{{ OS | replace("-", "") }}'] = "u22.04",
    } do
      assert.are.equal(text, render(pattern, vars))
    end
  end)

  it("fail on undefined values even when lenient", function()
    assert.are.equal("template.undefined", fails(env, "{{ Foo | stripMetadata }}").code)
  end)

  it("raise and a bad expression are errors", function()
    local err = fails(env, "{{ raise('no such repo: ' ~ 5) }}")
    assert.are.equal("template.raise", err.code)
    assert.are.equal("no such repo: 5", err.message)
    assert.are.equal("template.runtime", fails(env, "{{ 'a'|regexReplace('(', '') }}").code)
    assert.are.equal("template.runtime", fails(env, [[{{ 'a'|regexReplace('a', '\\1') }}]]).code)
    assert.are.equal("template.limit", fails(env, "{{ s|regexReplace('(a|a?)+$', '') }}",
      { s = ("a"):rep(60) .. "b" }).code)
  end)

  it("are not there without the option", function()
    local plain = template.new { bakery = false }
    assert.are.equal("template.syntax", fails(plain, "{{ 'a'|quote }}").code)
    assert.are.equal("template.undefined", fails(plain, "{{ raise('x') }}").code)
  end)
end)

describe("template variables", function()
  it("take Lua values", function()
    assert.are.equal("1 1.0 2.5 x True False None",
      render("{{ a }} {{ b }} {{ c }} {{ d }} {{ e }} {{ f }} {{ g }}",
        { a = 1, b = 1.0, c = 2.5, d = "x", e = true, f = false, g = template.none }))
    assert.are.equal("None None", render("{{ a }} {{ b[0] }}", { a = json.null, b = { json.null } }))
    assert.are.equal("-9223372036854775808 9223372036854775807",
      render("{{ a }} {{ b }}", { a = math.mininteger, b = math.maxinteger }))
  end)

  it("tell lists from dicts", function()
    assert.are.equal("[1, [2], 'x'] {'k': 1} {} [] []", render("{{ a }} {{ b }} {{ c }} {{ d }} {{ e }}",
      { a = { 1, { 2 }, "x" }, b = { k = 1 }, c = {}, d = template.list {}, e = json.array {} }))
  end)

  it("keep or make an order of keys", function()
    local object = json.object { { "z", 1 }, { "a", 2 } }
    object.m = 3
    local map = template.map { { "z", 1 }, { "a", 2 } }
    map.m, map.z = 3, nil
    assert.are.equal("{'z': 1, 'a': 2, 'm': 3} {'a': 2, 'm': 3} {1.5: 'h', 10: 't', 'a': 1, 'b': 2}",
      render("{{ a }} {{ b }} {{ c }}",
        { a = object, b = map, c = { b = 2, a = 1, [10] = "t", [1.5] = "h" } }))
    local many, keys = {}, {}
    for i = 1, 100 do
      many[("k%03d"):format(101 - i)] = i
      keys[i] = ("k%03d"):format(i)
    end
    assert.are.equal(table.concat(keys, ","), render("{{ m|join(',') }}", { m = many }))
  end)

  it("may share tables, and contain themselves", function()
    local loop = { name = "x" }
    loop.again = loop
    assert.are.equal("x", render("{{ l.again.again.again.name }}", { l = loop }))
    assert.are.equal("template.limit", fails(env, "{{ l }}", { l = loop }).code)
  end)

  it("may be functions", function()
    local seen
    local vars = { f = function(...)
      seen = { n = select("#", ...), ... }
      return { 1, x = 2 }
    end, nothing = function() end, callable = setmetatable({}, { __call = function(_, x) return x end }) }
    assert.are.equal("[1] None 5", render("{{ f(1, 'a', [none], k=true) }} {{ nothing() }} {{ callable(5) }}",
      vars))
    assert.are.equal(4, seen.n)
    assert.are.equal("a", seen[2])
    assert.are.equal(json.null, seen[3][1])
    assert.are.same({ k = true }, seen[4])
  end)

  it("hand dicts to functions in their order", function()
    local keys = {}
    render("{{ f({'z': 1, 'a': {'q': [1, (2,)]}}) }}", { f = function(d)
      for k in pairs(d) do keys[#keys + 1] = k end
      assert.are.equal(2, d.a.q[2][1])
    end })
    assert.are.same({ "z", "a" }, keys)
  end)

  it("are text when they are userdata", function()
    assert.truthy(render("{{ f }}", { f = io.stdout }):find("^file"))
  end)
end)

describe("template errors", function()
  it("carry position, line, hint and chain", function()
    local files = {
      outer = "one\n{% include 'inner' %}",
      inner = "{% import 'lib' as lib %}\n\n  {{ lib.show({}) }}",
      lib = "{% macro show(x) %}\n{{ x.name }}{% endmacro %}",
    }
    local e = template.new { undefined = "strict", loader = files }
    local out, err = e:render_file("outer")
    assert.is_nil(out)
    assert.are.equal("template.undefined", err.code)
    assert.are.equal("'dict object' has no attribute 'name'", err.message)
    assert.are.equal("lib:2:6", err.where)
    assert.are.equal("lib:2:6: 'dict object' has no attribute 'name'", tostring(err))
    assert.are.equal("{{ x.name }}{% endmacro %}", err.source)
    assert.are.same({
      { name = "lib", line = 2, col = 6, what = "macro 'show'" },
      { name = "inner", line = 3, col = 10, what = "include" },
      { name = "outer", line = 2, col = 4 },
    }, err.stack)
  end)

  it("count columns in characters", function()
    assert.are.equal("t:2:9", fails(strict, "x\näöü€ {{ nope }}", {}, { name = "t" }).where)
  end)

  it("suggest names", function()
    assert.are.equal("did you mean 'Version'?", fails(strict, "{{ Verison }}", { Version = 1 }).hint)
    assert.are.equal("did you mean 'Name'?", fails(strict, "{{ I.name }}", { I = { Name = 1 } }).hint)
    assert.are.equal("did you mean 'replace'?", fails(strict, "{{ 1|replcae }}").hint)
    assert.is_nil(fails(strict, "{{ something_else }}", { Version = 1 }).hint)
  end)

  local syntax = {
    { "{{ }}", "expected an expression, got '}}'", "1:4" },
    { "{{ a", "tag is not closed: expected '}}'", "1:1" },
    { "{{ (a }}", "unexpected '}', expected ')'", "1:7" },
    { "{% if a %}x", "unexpected end of template: expected 'elif', 'else' or 'endif' to close 'if' of line 1",
      "1:12" },
    { "{% for x in y %}{% endif %}",
      "unknown tag 'endif': expected a statement, or 'endfor' or 'else' to close 'for' of line 1", "1:20" },
    { "{% nope %}", "unknown tag 'nope'", "1:4" },
    { "{% for x y %}", "expected 'in', got 'y'", "1:10" },
    { "{% set 5 = 1 %}", "cannot assign to this: expected a name, not a constant", "1:8" },
    { "{% import 'a' %}", "expected 'as', got '%}'", "1:15" },
    { "{{ 'abc }}", "string is not closed: expected '", "1:4" },
    { "{# x", "comment is not closed: expected '#}'", "1:1" },
    { "{{ 99999999999999999999 }}", "integer does not fit in 64 bits", "1:4" },
    { "{{ a ? b }}", "unexpected character '?'", "1:6" },
    { "{% block a %}{% endblock %}{% block a %}{% endblock %}", "block 'a' is defined twice", "1:31" },
    { "{{ x|nope }}", "there is no filter named 'nope'", "1:6" },
    { "{% break %}", "'break' outside of a loop", "1:4" },
    { "{% macro m(a, a) %}{% endmacro %}", "parameter 'a' is named twice", "1:15" },
    { "{% if true %}\n  {{ x y }}{% endif %}", "expected '}}', got 'y'", "2:8" },
  }
  for _, row in ipairs(syntax) do
    it("of syntax: " .. row[1]:gsub("\n", "\\n"), function()
      local out, err = env:compile(row[1], { name = "t" })
      assert.is_nil(out)
      assert.are.equal("template.syntax", err.code)
      assert.are.equal(row[2], err.message)
      assert.are.equal("t:" .. row[3], err.where)
      assert.are.equal(1, #err.stack)
    end)
  end

  local runtime = {
    { "{{ 1 // 0 }}", "division by zero" },
    { "{{ 9223372036854775807 + 1 }}", "integer overflow: result needs more than 64 bits" },
    { "{{ -(-9223372036854775807 - 1) }}", "integer overflow: result needs more than 64 bits" },
    { "{{ (-9223372036854775807 - 1) // -1 }}", "integer overflow: result needs more than 64 bits" },
    { "{{ 2 ** 64 }}", "integer overflow: result needs more than 64 bits" },
    { "{{ '99999999999999999999'|int }}",
      "integer overflow: '99999999999999999999' needs more than 64 bits" },
    { "{{ 'a' + 1 }}", "unsupported operand types for +: 'str' and 'int'" },
    { "{% for x in 5 %}{% endfor %}", "'int' object is not iterable" },
    { "{% set a, b = [1] %}", "not enough values to unpack (expected 2, got 1)" },
    { "{{ 5|replace('a') }}", "replace(): argument 'new' is missing" },
    { "{{ 5|upper(1) }}", "upper() takes at most 1 arguments, got 2" },
    { "{{ 'x'|trim(bogus=1) }}", "trim() has no argument 'bogus'" },
    { "{% macro m() %}{% endmacro %}{{ m(1) }}", "macro 'm' takes not more than 0 argument(s)" },
  }
  for _, row in ipairs(runtime) do
    it("at run time: " .. row[1], function()
      local err = fails(env, row[1])
      assert.are.equal("template.runtime", err.code)
      assert.are.equal(row[2], err.message)
    end)
  end

  it("of templates that do not compile are located in them", function()
    local e = template.new { loader = { broken = "ok\n{{ 1 + }}" } }
    local err = fails(e, "{% include 'broken' %}", {}, { name = "main" })
    assert.are.equal("template.syntax", err.code)
    assert.are.equal("broken:2:8", err.where)
    assert.are.equal("{{ 1 + }}", err.source)
    assert.are.equal("main", err.stack[2].name)
  end)

  it("say which template is missing", function()
    local err = fails(env, "{% include 'gone.j2' %}")
    assert.are.equal("template.not_found", err.code)
    assert.truthy(err.message:find("gone.j2", 1, true))
    local out, missing = env:render_file("x")
    assert.is_nil(out)
    assert.are.equal("template.not_found", missing.code)
  end)
end)

describe("template functions in Lua", function()
  it("are filters and tests, before the built-in ones", function()
    local e = template.new {
      filters = { shout = function(v, mark, kw) return v .. (mark or "!") .. (kw and kw.n or "") end,
        upper = function() return "mine" end },
      tests = { long = function(v, n) return #v > (n or 3) end },
    }
    assert.are.equal("a! a? a?7 mine", e:render("{{ 'a'|shout }} {{ 'a'|shout('?') }} " ..
      "{{ 'a'|shout('?', n=7) }} {{ 'x'|upper }}"))
    assert.are.equal("False True ['ab', 'cd']", e:render("{{ 'abc' is long }} {{ 'abc' is long(2) }} " ..
      "{{ ['ab', 'c', 'cd']|select('long', 1)|list }}"))
    assert.are.equal("['a!', 'b!']", e:render("{{ ['a', 'b']|map('shout')|list }}"))
    assert.are.equal("True", e:render("{{ 'shout' is filter and 'long' is test }}"))
  end)

  it("report what goes wrong", function()
    local e = template.new { filters = {
      boom = function() error("broken", 0) end,
      object = function() error({ code = "my.code", message = "my message" }) end,
      fail = function() return nil, { code = "EIO", message = "disk" } end,
    } }
    local err = fails(e, "x\n{{ 1|boom }}", {}, { name = "t" })
    assert.are.equal("t:2:6: filter 'boom': broken", tostring(err))
    assert.are.equal("my.code", fails(e, "{{ 1|object }}").code)
    err = fails(e, "{{ 1|fail }}")
    assert.are.equal("EIO", err.code)
    assert.are.equal("filter 'fail': disk", err.message)
    assert.are.equal("template.runtime", fails(e, "{% macro m() %}{% endmacro %}{{ m|boom }}").code)
  end)

  it("may render themselves", function()
    local e
    e = template.new { globals = { again = function(n) return assert(e:render("<{{ n }}>", { n = n })) end } }
    assert.are.equal("<1><2>", e:render("{{ again(1) }}{{ again(2) }}"))
  end)

  it("are globals below the variables", function()
    local e = template.new { globals = { a = 1, b = { c = 2 } } }
    assert.are.equal("1 2 x", e:render("{{ a }} {{ b.c }} {{ b2 }}", { b2 = "x" }))
    assert.are.equal("9", e:render("{{ a }}", { a = 9 }))
  end)
end)

describe("template loaders", function()
  it("are functions or tables", function()
    local asked = {}
    local e = template.new { loader = function(name)
      asked[#asked + 1] = name
      if name == "bad" then return nil, "cannot read" end
      return name ~= "gone" and "[" .. name .. "]" or nil
    end }
    assert.are.equal("[a][a]", e:render("{% include 'a' %}{% include 'a' %}"))
    assert.are.equal("[a]", e:render_file("a"))
    assert.are.same({ "a" }, asked)
    assert.are.equal("template.not_found", fails(e, "{% include 'gone' %}").code)
    assert.truthy(fails(e, "{% include 'bad' %}").message:find("cannot read", 1, true))
    assert.are.equal("ok", e:render("{% include 'gone' ignore missing %}ok"))
  end)

  it("are asked again when auto_reload is set", function()
    local text = "one"
    local e = template.new { auto_reload = true, loader = function() return text end }
    assert.are.equal("oneone", e:render("{% include 'a' %}{% include 'a' %}"))
    text = "two"
    assert.are.equal("two", e:render("{% include 'a' %}"))
  end)

  it("may not loop for ever", function()
    local e = template.new { loader = { a = "{% include 'a' %}", b = "{% extends 'b' %}" } }
    assert.are.equal("template.limit", fails(e, "{% include 'a' %}").code)
    assert.are.equal("template.limit", fails(e, "{% extends 'b' %}").code)
  end)
end)

describe("template limits", function()
  local function limited(limits, text)
    return fails(template.new { limits = limits }, text).code
  end
  it("hold", function()
    for _, row in ipairs {
      { {}, "{{ 'x' * 999999999999 }}" }, { {}, "{{ range(99999999999) }}" }, { {}, "{{ [1] * 99999999 }}" },
      { {}, "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}" }, { {}, "{{ '%999999999d' % 1 }}" },
      { {}, "{{ '{:>999999999}'.format('x') }}" }, { {}, "{{ 'x'|center(999999999) }}" },
      { {}, "{{ 'a'|indent(999999999, true) }}" }, { { steps = 100 }, "{% for x in range(101) %}{% endfor %}" },
      { { output = 100 }, "{% for x in range(101) %}x{% endfor %}" }, { { range = 5 }, "{{ range(6) }}" },
      { { depth = 5 }, "{% macro m(n) %}{{ m(n + 1) if n < 9 }}{% endmacro %}{{ m(0) }}" },
      { { memory = 100000 }, "{% for i in range(9999) %}{% set x = [1, 2, 3, i] %}{% endfor %}" },
      { { seconds = 0.001, steps = 1 << 40 },
        "{% for i in range(1000) %}{% for k in range(1000) %}{% endfor %}{% endfor %}" },
      { {}, "{% set l = [] %}{% for i in range(30) %}{% set l2 = l + l + [1] %}{% do l.extend(l2) %}{% endfor %}" },
    } do
      assert.are.equal("template.limit", limited(row[1], row[2]), row[2])
    end
  end)
  it("hold for the nesting of expressions and statements", function()
    assert.are.equal("template.syntax", fails(env, "{{ " .. ("("):rep(300) .. "1" .. (")"):rep(300) .. " }}").code)
    assert.are.equal("template.syntax",
      fails(env, ("{% if true %}"):rep(300) .. ("{% endif %}"):rep(300)).code)
    assert.are.equal("template.syntax", fails(env, "{{ " .. ("not "):rep(300) .. "1 }}").code)
    assert.are.equal("template.syntax", fails(env, "{{ " .. ("-"):rep(300) .. "1 }}").code)
    assert.are.equal("2000", render("{{ " .. ("1 + "):rep(1999) .. "1 }}"))
    assert.are.equal("template.limit", fails(env, "{{ a" .. (".a"):rep(100000) .. " }}").code)
  end)
end)

describe("template objects", function()
  it("compile once and render often", function()
    local tpl = assert(env:compile("{{ a }}{% set a = 5 %}{{ a }}"))
    assert.are.equal("15", tpl:render { a = 1 })
    assert.are.equal("25", tpl:render { a = 2 })
    assert.are.equal("5", tpl:render())
    tpl:close()
    assert.has_error(function() tpl:render() end)
  end)

  it("outlive their environment's handle", function()
    local tpl = assert(template.new { globals = { g = 1 } }:compile("{{ g }}"))
    collectgarbage()
    assert.are.equal("1", tpl:render())
    local e = template.new()
    e:close()
    assert.has_error(function() e:render("x") end)
  end)

  it("survive collection at any moment", function()
    collectgarbage("setpause", 1)
    collectgarbage("setstepmul", 1000)
    for i = 1, 50 do
      local e = template.new { filters = { f = function(v) return { v, { k = v .. i } } end },
        loader = { m = "{% macro m(x) %}{{ x|f }}{% endmacro %}" } }
      local out = assert(e:render("{% import 'm' as m %}{% for v in list %}{{ m.m(v) }}{% endfor %}{{ d.e.f }}",
        { list = { "a", "b" }, d = json.object { { "e", { f = { 1, 2 } } } } }))
      assert.are.equal(("['a', {'k': 'a%d'}]['b', {'k': 'b%d'}][1, 2]"):format(i, i), out)
      collectgarbage("step", 0)
    end
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 100)
  end)

  it("refuse wrong options", function()
    for _, options in ipairs { { undefind = "strict" }, { undefined = "loud" }, { filters = { f = 1 } },
      { loader = 5 }, { limits = { foo = 1 } }, { limits = { steps = -1 } }, { globals = 1 },
      { line_statement_prefix = "" } } do
      assert.has_error(function() template.new(options) end)
    end
    assert.has_error(function() env:render() end)
    assert.has_error(function() env:render("x", 5) end)
    assert.has_error(function() env:render("x", {}, { nme = "y" }) end)
    assert.has_error(function() template.map { 1 } end)
  end)

  it("pass bytes through", function()
    local bytes = "\0\1\xff\xfe\xc3"
    assert.are.equal(bytes, render("{{ x }}", { x = bytes }))
    assert.are.equal(bytes, render(bytes))
    assert.are.equal("5", render("{{ x|length }}", { x = bytes }))
    assert.are.equal("['\\x00\\x01\\xff\\xfe\\xc3']", render("{{ [x] }}", { x = bytes }))
  end)

  it("treat all line ends alike", function()
    assert.are.equal("a\nb\nc\n", template.new { keep_trailing_newline = true }:render("a\r\nb\rc\r\n"))
    assert.are.equal("a\nb\nc", render("a\r\nb\rc\r\n"))
  end)
end)
