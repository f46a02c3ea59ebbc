local json = require "bakery.json"

local function fails(text, opts)
  local value, err = json.decode(text, opts)
  assert.is_nil(value)
  return err
end

describe("json.decode", function()
  it("keeps integers and floats apart", function()
    local v = json.decode "[1, 1.0, -0, 1e2, 9223372036854775807, -9223372036854775808]"
    assert.are.same({ "integer", "float", "integer", "float", "integer", "integer" },
      { math.type(v[1]), math.type(v[2]), math.type(v[3]), math.type(v[4]), math.type(v[5]), math.type(v[6]) })
    assert.are.same({ 1, 1, 0, 100, math.maxinteger, math.mininteger }, { table.unpack(v) })
  end)

  it("reads any value at the top", function()
    assert.are.equal("a", json.decode '"a"')
    assert.is_true(json.decode " true\n")
    assert.is_false(json.decode "false")
    assert.are.equal(json.null, json.decode "null")
    assert.are.equal("null", tostring(json.null))
    assert.are.same({}, json.decode "{}")
  end)

  it("reads strings", function()
    assert.are.equal("\u{e9}\u{1F600}/\"\\\b\f\n\r\t\0", json.decode [["\u00e9\ud83d\ude00\/\"\\\b\f\n\r\t\u0000"]])
    assert.are.equal("ü", json.decode '"ü"')
    assert.are.same({ a = 1 }, json.decode '\xef\xbb\xbf{"a":1}')
  end)

  it("marks lists, so that they come out as lists", function()
    local v = json.decode '{"a":[],"b":{}}'
    assert.are.equal(json.array_mt, getmetatable(v.a))
    assert.is_true(json.is_array(v.a))
    assert.is_false(json.is_array(v.b))
    assert.are.equal('{"a":[],"b":{}}', json.encode(v))
  end)

  it("puts what you like for null", function()
    assert.are.same({ a = false, b = { false } }, json.decode('{"a":null,"b":[null]}', { null = false }))
  end)

  it("keeps the order when asked", function()
    local text = '{"z":1,"a":{"y":null,"b":[]},"m":3}'
    local v = json.decode(text, { ordered = true })
    assert.are.equal(text, json.encode(v))
    assert.are.equal(1, v.z)
    assert.are.equal(json.null, v.a.y)
  end)

  it("takes the last of duplicate keys, or refuses them", function()
    assert.are.same({ a = 2 }, json.decode '{"a":1,"a":2}')
    local err = fails('{"a": 1,\n "a": 2}', { unique = true, name = "config.json" })
    assert.are.equal("config.json:2:2", err.where)
    assert.matches("duplicate object key", err.message)
  end)

  for _, row in ipairs {
    { "", 1, 1, "expected a value, found end of file" },
    { "[1,\n  2", 2, 4, "expected ']', found end of file" },
    { '{"a":1,}', 1, 8, "expected string or '}', found '}'" },
    { "[1,]", 1, 4, "expected a value, found ']'" },
    { "{a:1}", 1, 2, "expected string or '}', found 'a'" },
    { '{"a" 1}', 1, 6, "expected ':', found '1'" },
    { '{\n  "a": tru\n}', 2, 8, "invalid token near 'tru'" },
    { "[1]x", 1, 4, "expected end of file, found 'x'" },
    { '["ü", x]', 1, 7, "invalid token near 'x'" },
    { '"abc', 1, 1, "premature end of input near '\"abc'" },
    { '["a\xff"]', 1, 4, "unable to decode byte 0xff near '\"a'" },
    { "[01]", 1, 2, "invalid token near '0'" },
    { "[99999999999999999999]", 1, 2, "too big integer near '99999999999999999999'" },
    { "[1e999]", 1, 2, "real number overflow near '1e999'" },
    { '["\\ud800"]', 1, 2, "invalid Unicode '\\uD800' near '\"\\ud800\"'" },
    { "\xff", 1, 1, "unable to decode byte 0xff" },
  } do
    it(("says what is wrong with %q"):format(row[1]), function()
      local err = fails(row[1])
      assert.are.equal(row[4], err.message)
      assert.are.equal(("json:%d:%d"):format(row[2], row[3]), err.where)
      assert.are.same({ "json.syntax", row[2], row[3] }, { err.code, err.line, err.col })
    end)
  end

  it("keeps line and column when the name is long", function()
    local err = fails("\n x", { name = ("n"):rep(1000) })
    assert.are.same({ 2, 2 }, { err.line, err.col })
  end)

  it("bounds the nesting", function()
    assert.is_table(json.decode(("["):rep(500) .. ("]"):rep(500)))
    local err = fails(("["):rep(501) .. ("]"):rep(501))
    assert.are.same({ "json.too_deep", "json:1:501" }, { err.code, err.where })
    assert.are.equal("json.too_deep", fails(('{"a":'):rep(100000)).code)
    assert.is_table(json.decode('["' .. ("["):rep(1000) .. '\\"[["]'))
    assert.are.equal(1000, #json.decode("[" .. ("[],"):rep(999) .. "[]]"))
  end)

  it("raises on misuse", function()
    assert.has_error(function() json.decode() end)
    assert.has_error(function() json.decode("1", { ordred = true }) end, "unknown option 'ordred' (did you mean 'ordered'?)")
  end)
end)

describe("json.encode", function()
  it("writes scalars", function()
    for text, value in pairs { ["1"] = 1, ["1.0"] = 1.0, ["-0.0"] = -0.0, ["0.1"] = 0.1, ["1e+16"] = 1e16, ["1e-05"] = 1e-5,
      ["1000000000000000.0"] = 1e15, ["0.0001"] = 1e-4, ["5e-324"] = 5e-324, ["1.7976931348623157e+308"] = 1.7976931348623157e308,
      ["123456.789"] = 123456.789, ["-9223372036854775808"] = math.mininteger, ["true"] = true, ["false"] = false,
      ["null"] = json.null, ['""'] = "" } do
      assert.are.equal(text, json.encode(value))
    end
    assert.are.equal("null", json.encode(nil))
  end)

  it("escapes what must be, and no more", function()
    assert.are.equal([["\u0000\u0001\b\t\n\f\r\u001f \"\\/<>&ü😀]] .. "\u{7f}\u{2028}\"",
      json.encode("\0\1\b\t\n\f\r\31 \"\\/<>&ü😀\u{7f}\u{2028}"))
  end)

  it("refuses strings that are not UTF-8 unless told otherwise", function()
    for _, bad in ipairs { "\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\x80" } do
      assert.has_error(function() json.encode(bad) end, "cannot encode: string is not UTF-8")
      assert.has_error(function() json.encode { [bad] = 1 } end, "cannot encode: key is not UTF-8")
    end
    assert.are.equal('["a\u{fffd}b\u{fffd}\u{fffd}"]', json.encode({ "a\xffb\xed\xa0" }, { lossy = true }))
  end)

  it("tells lists and objects apart", function()
    assert.are.equal("{}", json.encode {})
    assert.are.equal("[]", json.encode(json.array()))
    assert.are.equal("[]", json.encode(json.array {}))
    assert.are.equal("[1,[2]]", json.encode { 1, { 2 } })
    assert.has_error(function() json.encode { 1, 2, x = 3 } end,
      "cannot encode a table with list items and other fields, such as 'x'")
    assert.has_error(function() json.encode { 1, [1000] = 2 } end)
    assert.has_error(function() json.encode { [1.5] = 2 } end, "object key: expected a string, got a number")
    assert.has_error(function() json.encode { [true] = 2 } end)
  end)

  it("sorts plain tables by bytes", function()
    assert.are.equal('{"":0,"A":1,"a":2,"a\\u0000":3,"ab":4,"ü":5}',
      json.encode { ["ü"] = 5, ab = 4, a = 2, A = 1, [""] = 0, ["a\0"] = 3 })
  end)

  it("indents as Python does", function()
    local v = json.object { { "b", json.array { 1, json.array {}, {}, { 2 } } }, { "a", json.object { { "x", "y" } } } }
    assert.are.equal([[{
  "b": [
    1,
    [],
    {},
    [
      2
    ]
  ],
  "a": {
    "x": "y"
  }
}]], json.encode(v, { indent = 2 }))
    assert.are.equal('{\n "a": {\n  "x": "y"\n },', json.encode(v, { indent = 1, sort = true }):sub(1, 24))
    assert.are.equal('{"b":[1,[],{},[2]],"a":{"x":"y"}}', json.encode(v))
    assert.are.equal('{"a":{"x":"y"},"b":[1,[],{},[2]]}', json.encode(v, { sort = true }))
  end)

  it("raises for the rest", function()
    assert.has_error(function() json.encode(print) end, "cannot encode a function")
    assert.has_error(function() json.encode { a = { io.stdout } } end, "cannot encode a userdata")
    assert.has_error(function() json.encode(0 / 0) end, "cannot encode: not a finite number")
    assert.has_error(function() json.encode { 1 / 0 } end)
    local loop = {}
    loop.loop = loop
    assert.has_error(function() json.encode(loop) end, "cannot encode: nested deeper than 500 levels (a cycle?)")
    assert.has_error(function() json.encode({}, { indent = -1 }) end)
    assert.has_error(function() json.encode() end)
  end)
end)

describe("json.object", function()
  it("keeps the order of keys", function()
    local o = json.object()
    o.z = 1
    o.a = 2
    o.m = 3
    o.z = 4
    local keys = {}
    for k, v in pairs(o) do keys[#keys + 1] = k .. v end
    assert.are.same({ "z4", "a2", "m3" }, keys)
    assert.are.equal('{"z":4,"a":2,"m":3}', json.encode(o))
    o.a = nil
    assert.are.equal('{"z":4,"m":3}', json.encode(o))
    keys = {}
    for k in json.pairs(o) do keys[#keys + 1] = k end
    assert.are.same({ "z", "m" }, keys)
    o.a = 5
    assert.are.equal('{"z":4,"a":5,"m":3}', json.encode(o))
    assert.is_nil(o.none)
  end)

  it("is made of pairs, fields or another object", function()
    assert.are.equal('{"b":1,"a":2}', json.encode(json.object { { "b", 1 }, { "a", 2 } }))
    assert.are.equal('{"a":2,"b":1}', json.encode(json.object { b = 1, a = 2 }))
    local o = json.object { { "b", 1 }, { "a", 2 } }
    local copy = json.object(o)
    copy.c = 3
    assert.are.equal('{"b":1,"a":2,"c":3}', json.encode(copy))
    assert.are.equal('{"b":1,"a":2}', json.encode(o))
    assert.has_error(function() json.object { "a" } end)
    assert.has_error(function() json.object { {} } end)
    assert.has_error(function() json.object { [true] = 1 } end)
  end)

  it("survives collection and foreign use of its metatable", function()
    for i = 1, 1000 do
      local o = json.object()
      o["k" .. i] = i
      o.b = { json.object { { "x", i } } }
      if i % 100 == 0 then collectgarbage() end
      assert.are.equal(('{"k%d":%d,"b":[{"x":%d}]}'):format(i, i, i), json.encode(o))
    end
    assert.has_error(function() json.object_mt.__newindex("x", 1, 2) end)
    assert.has_error(function() json.object_mt.__pairs(1) end)
    assert.has_error(function() json.pairs(1) end)
  end)

  it("pairs over plain tables too", function()
    local n = 0
    for _ in json.pairs { a = 1, b = 2 } do n = n + 1 end
    assert.are.equal(2, n)
  end)
end)
