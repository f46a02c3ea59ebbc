local error_object = require "bakery.error"
local fs = require "bakery.fs"
local yaml = require "bakery.yaml"

describe("error", function()
  it("makes objects like native ones", function()
    local e = error_object.new { message = "no", code = "x.y", class = "usage", hint = "try", where = "f:1:2", extra = 5 }
    assert.are.same({ "no", "x.y", "usage", "try", 5, false }, { e.message, e.code, e.class, e.hint, e.extra, e.retryable })
    assert.are.equal("f:1:2: no", tostring(e))
    local _, native = fs.read("/none/none")
    assert.are.equal(getmetatable(native), getmetatable(e))
    e = error_object.new {}
    assert.are.same({ "error", "build", "unknown error" }, { e.code, e.class, e.message })
    assert.are.equal("a.lua:3:1", error_object.new({ message = "m", path = "a.lua", line = 3 }).where)
    assert.are.equal("a.lua", error_object.new({ message = "m", path = "a.lua" }).where)
    assert.has_error(function() error_object.new() end)
  end)

  it("knows error objects", function()
    assert.is_true(error_object.is(error_object.new { message = "m" }))
    assert.is_true(error_object.is(select(2, fs.read("/none"))))
    assert.is_true(error_object.is { class = "usage", message = "m" })
    for _, other in ipairs { "text", 5, {}, { message = "m" } } do assert.is_false(error_object.is(other)) end
    assert.is_false(error_object.is(nil))
  end)

  it("raises", function()
    local good, e = pcall(error_object.raise, { message = "m", code = "c" })
    assert.are.same({ false, "c", "m" }, { good, e.code, e.message })
    local _, same = pcall(error_object.raise, e)
    assert.are.equal(e, same)
  end)

  describe("format", function()
    local function format(fields, opts) return error_object.format(error_object.new(fields), opts) end

    it("shows place, message, source, caret and hint", function()
      assert.are.equal([[
bakery.yaml:3:7: error: expected a text, found a list
    3 |   name: [a]
      |         ^
  hint: quote it]], format { where = "bakery.yaml:3:7", message = "expected a text, found a list", line = 3, col = 9,
        source = "  name: [a]", hint = "quote it" })
      assert.are.equal("bakery: error: m", format { message = "m" })
      assert.are.equal("bakery: error: m", format { message = "m", where = "" })
      assert.are.equal("plain", error_object.format "plain")
      assert.are.equal("f: error: m\n    1 | x", format { message = "m", where = "f", line = 1, source = "x" })
    end)

    it("counts characters, takes tabs as one blank, stays in the line", function()
      local text = format { message = "m", line = 1, col = 5, source = "\tüß x" }
      assert.are.equal("bakery: error: m\n    1 |  üß x\n      |     ^", text)
      assert.matches("|    ^$", format { message = "m", line = 1, col = 99, source = "abc" })
      assert.matches("| ^$", format { message = "m", line = 1, col = 0, source = "abc" })
      assert.matches("| ^$", format { message = "m", line = 1, col = 1, source = "" })
    end)

    it("cuts long lines around the caret", function()
      local source = ("a"):rep(300) .. "X" .. ("b"):rep(300)
      local line, caret = format({ message = "m", line = 7, col = 301, source = source }):match("\n([^\n]*)\n([^\n]*)$")
      assert.are.equal("X", line:sub(utf8.offset(line, utf8.len(caret)), utf8.offset(line, utf8.len(caret) + 1) - 1))
      assert.is_true(utf8.len(line) < 140)
    end)

    it("colours when asked, and lets no foreign escape through", function()
      assert.are.equal("\27[1mf: \27[0m\27[1;31merror: \27[0ma?[31mb\n    1 | x?y\n      | \27[1;32m^\27[0m",
        format({ message = "a\27[31mb", where = "f", line = 1, col = 1, source = "x\27y\r\nz" }, { color = true }))
    end)

    it("fits what yaml returns", function()
      local text = "ü: [\n  é: 'x\n"
      local _, e = yaml.parse(text, { name = "f" })
      e.source = "  é: 'x"
      assert.are.equal("f:2:6: error: expected a closing quote for this text\n    2 |   é: 'x\n      |      ^", error_object.format(e))
    end)
  end)
end)
