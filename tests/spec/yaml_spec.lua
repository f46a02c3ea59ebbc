local json = require "bakery.json"
local yaml = require "bakery.yaml"

local function root(text) return assert(yaml.parse(text)):root() end

local function fails(text, name)
  local doc, err = yaml.parse(text, { name = name })
  assert.is_nil(doc, text)
  return err
end

describe("yaml scalars", function()
  for _, row in ipairs {
    { "yes", "str", "yes" }, { "no", "str", "no" }, { "On", "str", "On" }, { "y", "str", "y" },
    { "true", "bool", true }, { "False", "bool", false }, { "TRUE", "bool", true }, { "tRUE", "str", "tRUE" },
    { "1.10", "float", 1.1 }, { "2026.02", "float", 2026.02 }, { "4.5", "float", 4.5 }, { "1.0.0", "str", "1.0.0" },
    { "2025.05.1+513.pro3", "str", "2025.05.1+513.pro3" }, { "2026.03.0-212", "str", "2026.03.0-212" },
    { "2026-01-01", "date", "2026-01-01" }, { "2026-01-01T10:00:00Z", "date", "2026-01-01T10:00:00Z" },
    { "2026-01-01 10:00", "date", "2026-01-01 10:00" }, { "2026-1-1", "str", "2026-1-1" }, { "2026-01-01x", "str", "2026-01-01x" },
    { "12", "int", 12 }, { "+12", "int", 12 }, { "-0", "int", 0 }, { "012", "int", 12 }, { "0o17", "int", 15 }, { "0x1F", "int", 31 },
    { "0o18", "str", "0o18" }, { "1_000", "str", "1_000" }, { "12:30", "str", "12:30" }, { "-0x1", "str", "-0x1" },
    { "9223372036854775807", "int", math.maxinteger }, { "9223372036854775808", "float", 2.0 ^ 63 },
    { "1e3", "float", 1000.0 }, { "1.", "float", 1.0 }, { ".5", "float", 0.5 }, { "-.5e-1", "float", -0.05 }, { ".", "str", "." },
    { "1e", "str", "1e" }, { "e3", "str", "e3" },
    { ".inf", "float", math.huge }, { "-.INF", "float", -math.huge }, { "+.inf", "float", math.huge },
    { "~", "null", yaml.null }, { "null", "null", yaml.null }, { "Null", "null", yaml.null }, { "nULL", "str", "nULL" },
    { "!!str 1.10", "str", "1.10" }, { "!!int '5'", "int", 5 }, { "!!float 5", "float", 5.0 },
    { "! 5", "str", "5" }, { "!x 5", "str", "5" },
    { "'1'", "str", "1" }, { '"true"', "str", "true" }, { "|\n  1\n", "str", "1\n" }, { ">-\n  1\n", "str", "1" },
  } do
    it(row[1]:gsub("\n", "\\n"), function()
      local n = root(row[1])
      assert.are.same({ "scalar", row[2] }, { n.kind, n.type })
      assert.are.equal(row[3], n.value)
      if row[2] ~= "null" then assert.are.equal(math.type(row[3]), math.type(n.value)) end
    end)
  end

  it("keep their source text and style", function()
    local map = root("a: 1.10\nb: 'it''s'\nc: \"x\\ty\"\nd: |\n  l\ne: >\n  f\n").map
    assert.are.same({ "1.10", "plain" }, { map.a.text, map.a.style })
    assert.are.same({ "it's", "single" }, { map.b.text, map.b.style })
    assert.are.same({ "x\ty", "double" }, { map.c.text, map.c.style })
    assert.are.same({ "l\n", "literal" }, { map.d.text, map.d.style })
    assert.are.same({ "f\n", "folded" }, { map.e.text, map.e.style })
    assert.is_true(root(".nan").value ~= root(".nan").value)
  end)
end)

describe("yaml documents", function()
  it("have nodes with places", function()
    local text = "ü: [1, {a: b}]  # c\nmap:\n  k: 'v'\n\n  # more\n  list:\n  - x\n  - |\n    two\n    lines\n\n# end\n"
    local function source(n) return text:sub(n.offset + 1, n.end_offset) end
    local r = root(text)
    assert.are.same({ "map", 1, 1, 10, 10 }, { r.kind, r.line, r.col, r.end_line, r.end_col })
    local list = r.map["ü"]
    assert.are.same({ 1, 4, 1, 15, true }, { list.line, list.col, list.end_line, list.end_col, list.flow })
    assert.are.equal("[1, {a: b}]", source(list))
    assert.are.equal("{a: b}", source(list.items[2]))
    assert.are.equal("'v'", source(r.map.map.map.k))
    assert.are.equal("list", source(r.map.map.keys[2].key))
    local inner = r.map.map.map.list
    assert.are.same({ "seq", 7, 3, nil }, { inner.kind, inner.line, inner.col, inner.flow })
    assert.are.equal("- x\n  - |\n    two\n    lines", source(inner))
    assert.are.equal("|\n    two\n    lines", source(inner.items[2]))
    assert.are.equal("two\nlines\n", inner.items[2].value)
    local doc = yaml.parse(text)
    assert.are.equal(doc:root(), doc:root())
  end)

  it("count bytes behind a byte order mark and with CRLF", function()
    local text = "\u{feff}a: x\r\nb: yz\r\n"
    local b = root(text).map.b
    assert.are.same({ 2, 4 }, { b.line, b.col })
    assert.are.equal("yz", text:sub(b.offset + 1, b.end_offset))
  end)

  it("may be empty", function()
    assert.is_nil(root "")
    assert.is_nil(root "# nothing\n")
    assert.are.equal(yaml.null, yaml.load "")
    assert.are.equal("null", root("---\n").type)
    assert.are.equal(json.null, yaml.null)
  end)

  it("expand aliases at their own place", function()
    local r = root "a: &x {k: 1}\nb: *x\nc: [*x]\n"
    assert.are.same({ "x", 2, 4, 2, 6 }, { r.map.b.alias, r.map.b.line, r.map.b.col, r.map.b.end_line, r.map.b.end_col })
    assert.are.equal("x", r.map.a.anchor)
    assert.are.equal(1, r.map.b.map.k.value)
    assert.are.equal(1, r.map.c.items[1].map.k.line)
  end)

  it("merge, local keys first", function()
    local r = root [[
one: &one {a: 1, b: 2}
two: &two {b: 3, c: 4}
x: {<<: *one, b: 9, d: 5}
y:
  <<: [*two, *one]
z: {<<: *one, "<<": text}
]]
    assert.are.equal('{"b":9,"d":5,"a":1}', json.encode(yaml.to_lua(r.map.x)))
    assert.are.same({ false, false, true }, { r.map.x.keys[1].merged or false, r.map.x.keys[2].merged or false,
      r.map.x.keys[3].merged })
    assert.are.equal('{"b":3,"c":4,"a":1}', json.encode(yaml.to_lua(r.map.y)))
    assert.are.equal("text", r.map.z.map["<<"].value)
  end)

  it("become plain values", function()
    local text = "b: [1, x, {}]\na: {c: ~, d: 2026-01-01}\n"
    local want = '{"b":[1,"x",{}],"a":{"c":null,"d":"2026-01-01"}}'
    assert.are.equal(want, json.encode(yaml.load(text)))
    assert.are.equal(want, json.encode(yaml.to_lua(root(text))))
    assert.are.equal("[]", json.encode(yaml.load "[]"))
    assert.has_error(function() yaml.to_lua {} end, "expected a YAML node")
    assert.has_error(function() yaml.to_lua { kind = "map" } end)
    local loop = { kind = "seq", items = {} }
    loop.items[1] = loop
    assert.has_error(function() yaml.to_lua(loop) end)
  end)

  it("can be closed", function()
    local doc = yaml.parse "a: 1"
    local r = doc:root()
    doc:close()
    doc:close()
    assert.are.equal(1, r.map.a.value)
    assert.is_nil(doc:root())
    assert.has_error(function() doc.close() end)
    assert.has_error(function() yaml.parse("a", { schema = "1.1" }) end)
  end)
end)

describe("yaml errors", function()
  for _, row in ipairs {
    { "a: 1\nb: 2\na: 3\n", 3, 1, "yaml.duplicate_key", "duplicate key 'a' (first at 1:1)" },
    { "{x: 1, 'x': 2}", 1, 8, "yaml.duplicate_key", "duplicate key 'x' (first at 1:2)" },
    { "1: a\n'1': b\n", 2, 1, "yaml.duplicate_key", "duplicate key '1' (first at 1:1)" },
    { "a: &a {}\nb:\n  <<: *a\n  <<: *a\n", 4, 3, "yaml.duplicate_key", "duplicate key '<<' (first at 3:3)" },
    { "--- a\n--- b\n", 2, 1, "yaml.documents", "expected one document, found another" },
    { "a: *x\n", 1, 4, "yaml.alias", "unknown anchor 'x'" },
    { "a: &a [*a]\n", 1, 8, "yaml.alias", "anchor 'a' contains itself" },
    { "a:\n  <<: 1\n", 2, 3, "yaml.merge", "expected a map or a list of maps behind '<<'" },
    { "a: &a [[]]\nb: {<<: *a}", 2, 5, "yaml.merge", "expected a map or a list of maps behind '<<'" },
    { "? [a]\n: b\n", 1, 3, "yaml.key", "expected a text as key, found a list or map" },
    { "a: !!int x\n", 1, 4, "yaml.tag", "'x' is not of the type !!int" },
    { "a: b: c\n", 1, 5, "yaml.syntax", "unexpected ':' (quote the text, or check the indentation)" },
    { "a: 1\n  b: 2\n", 2, 4, "yaml.syntax", "unexpected ':' (quote the text, or check the indentation)" },
    { "a:\n\t- b\n", 2, 1, "yaml.syntax", "tabs do not count as indentation: use blanks" },
    { "a: @x\n", 1, 4, "yaml.syntax", "a text must not begin with '@': quote it" },
    { "a: [1, 2\nb: 3\n", 2, 2, "yaml.syntax", "expected ',' or ']' (in the flow sequence that begins at line 1)" },
    { "a:\n  - b\n c: d\n", 3, 2, "yaml.syntax", "expected a key of the map that begins at line 1 (check the indentation)" },
    { "- a\nb: c\n", 2, 1, "yaml.syntax", "expected a '-' of the list that begins at line 1 (check the indentation)" },
    { "ü: 'x\n", 1, 4, "yaml.syntax", "expected a closing quote for this text" },
    { "a: b\nc\nd: e\n", 2, 1, "yaml.syntax", "expected ':' behind this key" },
    { 'a: "\\q"\n', 1, 5, "yaml.syntax", "unknown escape: write \\\\ for a backslash, or use single quotes" },
    { "a: 'x' y\n", 1, 8, "yaml.syntax", "expected a key of the map that begins at line 1 (check the indentation)" },
    { "'x' y\n", 1, 5, "yaml.syntax", "expected the end of the document, found more text" },
    { "a: ü\nb: \xff\n", 2, 4, "yaml.syntax", "invalid leading UTF-8 octet (byte 0xff)" },
    { "a: \1\n", 1, 4, "yaml.syntax", "control characters are not allowed (byte 0x01)" },
    { "a: {b: 1}}\n", 1, 10, "yaml.syntax", "expected a key of the map that begins at line 1 (check the indentation)" },
  } do
    it(("of %q"):format(row[1]), function()
      local err = fails(row[1], "bakery.yaml")
      assert.are.equal(row[5], err.message)
      assert.are.same({ row[4], "usage" }, { err.code, err.class })
      assert.are.same({ ("bakery.yaml:%d:%d"):format(row[2], row[3]), row[2], row[3] }, { err.where, err.line, err.col })
    end)
  end

  it("keep line and column when the name is long", function()
    local err = fails("a: 1\na: 2", ("n"):rep(1000))
    assert.are.same({ 2, 1 }, { err.line, err.col })
  end)

  it("bound depth, aliases and merges", function()
    assert.is_table(root(("["):rep(100) .. ("]"):rep(100)))
    local err = fails(("["):rep(101) .. ("]"):rep(101))
    assert.are.same({ "yaml.too_deep", 101 }, { err.code, err.col })
    assert.are.equal("yaml.too_deep", fails(("{a: "):rep(100000)).code)
    local deep = "a: &a " .. ("["):rep(60) .. ("]"):rep(60) .. "\nb: " .. ("["):rep(60) .. "*a" .. ("]"):rep(60)
    assert.are.equal("yaml.too_deep", fails(deep).code)

    local bomb = { "a0: &a0 [x, x, x, x, x, x, x, x, x, x]" }
    for i = 1, 9 do
      bomb[#bomb + 1] = ("a%d: &a%d [%s]"):format(i, i, ("*a" .. i - 1):rep(10, ", "))
    end
    err = fails(table.concat(bomb, "\n"))
    assert.are.same({ "yaml.too_large", 6 }, { err.code, err.line })

    local many = { "a: &a {k0: 0}", "b:" }
    for i = 1, 3000 do many[#many + 1] = ("  k%d: 1"):format(i) end
    many[#many + 1] = "  <<: [" .. ("*a"):rep(3000, ", ") .. "]"
    assert.are.equal(3001, #root(table.concat(many, "\n")).map.b.keys)
  end)
end)

describe("yaml.dump", function()
  local o = json.object

  it("writes block text", function()
    assert.are.equal([[
name: x
list:
  - a
  - k: 1
    l:
      - 2
  - - 3
    - - 4
  - []
map:
  empty: {}
  'null': null
  text: |-
    two
      lines
]], yaml.dump(o { { "name", "x" }, { "list", { "a", o { { "k", 1 }, { "l", { 2 } } }, { 3, { 4 } }, json.array() } },
      { "map", o { { "empty", {} }, { "null", yaml.null }, { "text", "two\n  lines" } } } }))
    assert.are.equal("a: 1\nb: 2\n", yaml.dump { b = 2, a = 1 })
    assert.are.equal("x\n", yaml.dump "x")
    assert.are.equal("[]\n", yaml.dump(json.array()))
    assert.are.equal("|\n  a\n  b\n", yaml.dump "a\nb\n")
  end)

  it("quotes what a reader could take for something else", function()
    for text, want in pairs { ["plain text"] = false, ["1.2.3"] = false, ["a:b"] = false, ["a#b"] = false, ["-x"] = false,
      ["/usr/bin"] = false, ["ü"] = false, ["a, b"] = false, ["(x)"] = false, ["it's"] = false, ["2026.01.0-1"] = false,
      yes = true, NO = true, on = true, n = true, ["1.10"] = true, ["012"] = true, ["0b1"] = true, ["1_0"] = true, ["1:30"] = true,
      ["2026-01-01"] = true, [""] = true, [" a"] = true, ["a "] = true, ["a: b"] = true, ["a #b"] = true, ["a:"] = true, ["- a"] = true,
      ["-"] = true, ["---"] = true, ["..."] = true, ["~"] = true, ["null"] = true, ["true"] = true, [".5"] = true, ["1e3"] = true,
      ["@x"] = true,
      ["%x"] = true, ["*x"] = true, ["&x"] = true, ["!x"] = true, ["[x"] = true, ["{x"] = true,
      ["<<"] = true, ["="] = true,
      ["a\tb"] = true, ["\n"] = true, ["\u{85}"] = true, ["\u{feff}"] = true, ["a\0"] = true, ["|"] = true, [">x"] = true,
      ["? a"] = true } do
      local out = yaml.dump(text)
      assert.are.equal(want, out:match("^[\"']") ~= nil, out)
      assert.are.equal(text, yaml.load(out))
    end
    assert.are.equal("'\"x\" it''s'\n", yaml.dump '"x" it\'s')
    assert.are.equal("\\d+\n", yaml.dump "\\d+")
    assert.are.equal("'\\d: '\n", yaml.dump "\\d: ")
  end)

  it("comes back as it was", function()
    local values = { 1, -1.5, 0.1, 1e100, 1e16, 1 / 3, math.huge, -math.huge, math.mininteger, true, false, yaml.null, "\r\n", "a\n\n\n",
      "\n\na", " a\nb", "a\n b\n", "a\nb ", "a\n\tb\n", "tab\t\n", "#\n#", "a: b\nc", "\u{1F600}\u{2028}", "'\"\\", ("x "):rep(500),
      "---\n...\n", "\u{a0}", "\127" }
    local function compare(v)
      local text = yaml.dump(v)
      local back, err = yaml.load(text)
      assert.are.equal(json.encode(v), err and tostring(err) or json.encode(back), text)
    end
    for _, v in ipairs(values) do
      if math.type(v) == "float" then assert.are.equal(v, yaml.load(yaml.dump(v)))
      else
        compare(v)
        compare { k = v, l = { v, { v }, { a = v, b = { v } } } }
        if type(v) == "string" then compare { [v] = v } end
      end
    end
    compare { [("k"):rep(2000)] = { 1 } }
  end)

  it("raises for the rest", function()
    assert.has_error(function() yaml.dump(print) end, "YAML cannot say a function")
    assert.has_error(function() yaml.dump { "\xff" } end, "YAML: a string is not UTF-8")
    assert.has_error(function() yaml.dump { [1.5] = 1 } end, "YAML: expected string keys, got a number")
    assert.has_error(function() yaml.dump { 1, a = 2 } end)
    assert.has_error(function() yaml.dump { 1, [5] = 2 } end)
    local loop = {}
    loop.loop = loop
    assert.has_error(function() yaml.dump(loop) end, "YAML: nested deeper than 100 levels (a cycle?)")
    assert.has_error(function() yaml.dump() end)
  end)
end)
