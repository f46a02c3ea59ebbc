local fs = require "bakery.fs"
local json = require "bakery.json"
local yaml = require "bakery.yaml"

local o, a = json.object, json.array

-- Applies { op, path, … } to the text.
local function change(text, op, ...)
  local ed = assert(yaml.edit(text, { name = "f" }))
  local good, err = ed[op](ed, ...)
  return good and ed:text(), err
end

local PROJECT = [[
# project

repository:
  url: "github.com/x/y"   # the url

images:
  # first
  - name: a   # A
    versions:
      - name: '1.0'   # one
        latest: true

      # old one
      - name: "0.9"
    os: [ "22.04", 24.04 ]
  # second
  - name: b

# end
]]

-- The text with one part (plain) replaced by another.
local function with(part, other)
  local from, to = PROJECT:find(part, 1, true)
  return PROJECT:sub(1, from - 1) .. other .. PROJECT:sub(to + 1)
end

describe("yaml.edit set", function()
  local function rows(list)
    for _, row in ipairs(list) do
      it(row[1], function() assert.are.equal(row[4], change(row[5] or PROJECT, "set", row[2], row[3])) end)
    end
  end

  rows {
    { "keeps double quotes and the comment", { "repository", "url" }, "gitlab.com/z", with("github.com/x/y", "gitlab.com/z") },
    { "keeps single quotes", { "images", 1, "versions", 1, "name" }, "it's", with("'1.0'", "'it''s'") },
    { "leaves an equal value alone", { "images", 1, "versions", 2, "name" }, "0.9", PROJECT },
    { "quotes what needs it", { "images", 2, "name" }, "1.0", with("name: b", "name: '1.0'") },
    { "changes the type", { "images", 1, "versions", 1, "latest" }, false, with("latest: true", "latest: false") },
    { "changes an item in a flow list", { "images", 1, "os", 2 }, "a, b", with("24.04", "'a, b'") },
    { "appends", { "images", 1, "os", 3 }, 1.5, with("24.04 ]", "24.04, 1.5 ]") },
    { "makes a missing key", { "repository", "vendor" }, "Me", with("# the url\n", "# the url\n  vendor: Me\n") },
    { "makes missing maps", { "x", "z" }, { 1 }, with("name: b\n", "name: b\nx:\n  z:\n    - 1\n") },
    { "turns a text into a map", { "repository", "url" }, o { { "a", 1 }, { "b", a { 2 } } },
      with(' "github.com/x/y"   # the url', "   # the url\n    a: 1\n    b:\n      - 2") },
    { "turns a map into a text", { "repository" }, "none", with('repository:\n  url: "github.com/x/y"   # the url', "repository: none") },
    { "makes several lines a block", { "repository", "url" }, "one\n two\n",
      with('"github.com/x/y"   # the url', "|   # the url\n    one\n     two") },
    { "changes only what differs in a map", { "images", 1, "versions", 1 }, o { { "name", "1.1" }, { "latest", true }, { "n", 1 } },
      with("'1.0'   # one\n        latest: true\n", "'1.1'   # one\n        latest: true\n        'n': 1\n") },
    { "changes only what differs in a list", { "images", 1, "versions" },
      a { o { { "name", "1.1" } }, o { { "name", "1.0" }, { "latest", true } }, o { { "name", "0.9" } } },
      with("    versions:\n", '    versions:\n      - name: \'1.1\'\n') },
    { "removes items in the middle", { "l" }, { "a", "d" }, "l:\n- a # 1\n- d # 4\n", "l:\n- a # 1\n- b # 2\n- c # 3\n- d # 4\n" },
    { "keeps an anchor", { "a" }, "new", "a: &x new # c\nb: *x\n", "a: &x old # c\nb: *x\n" },
    { "keeps the anchor of a map", { "a", "k" }, 2, "a: &x\n  k: 2\nb: *x\n", "a: &x\n  k: 1\nb: *x\n" },
    { "keeps comments above the first element", { "a" }, { 1 }, "a:\n  # c\n  - 1\nb: 2\n", "a:\n  # c\n  k: 1\nb: 2\n" },
    { "drops comments that a block text would take in", { "a" }, "x\ny", "a: |-\n  x\n  y\nb: 2\n", "a:\n  # c\n  k: 1\nb: 2\n" },
    { "replaces an alias", { "b" }, "own", "a: &x 1\nb: own\n", "a: &x 1\nb: *x\n" },
    { "overrides a merged key", { "b", "k" }, 2, "a: &x {k: 1}\nb:\n  <<: *x\n  k: 2\n", "a: &x {k: 1}\nb:\n  <<: *x\n" },
    { "fills a null", { "a", "b" }, 1, "a: # c\n  b: 1\nd: 2\n", "a: # c\nd: 2\n" },
    { "fills an empty list", { "a", 1 }, o { { "b", 1 } }, "a: # c\n  - b: 1\n", "a: [] # c\n" },
    { "fills an empty document", { "a" }, 1, "# c\na: 1\n", "# c\n" },
    { "fills nothing", { "a", 1 }, "x", "a:\n  - x\n", "" },
    { "follows the file's indentation", { "c", "d" }, { "x" }, "a:\n    b:\n    - 1\nc:\n    d:\n    - x\n", "a:\n    b:\n    - 1\nc:\n" },
    { "follows CRLF", { "b" }, { "x" }, "a: 1\r\nb:\r\n  - x\r\n", "a: 1\r\n" },
    { "ends the last line", { "b" }, 2, "a: 1\nb: 2\n", "a: 1" },
    { "replaces a literal block", { "a" }, "x", "a: x # c\n\n# d\nb: 1\n", "a: | # c\n  one\n\n  two\n\n# d\nb: 1\n" },
    { "replaces a block by a literal", { "a" }, "x\ny", "a: |-\n  x\n  y\nb: 1\n", "a:\n  - 1 # c\nb: 1\n" },
    { "works in nested lists", { 1, 1, 2 }, "x", "- - - a\n    - x\n  - b\n", "- - - a\n  - b\n" },
    { "keeps a byte order mark", { "a" }, 2, "\u{feff}a: 2\n", "\u{feff}a: 1\n" },
    { "counts bytes, not characters", { "b" }, "ß", "ü: ä # ö\nb: ß # é\n", "ü: ä # ö\nb: ü # é\n" },
    { "replaces everything", {}, { 1, 2 }, "- 1\n- 2\n", "a: 1\nb: 2\n" },
  }
end)

describe("yaml.edit insert", function()
  local function rows(list)
    for _, row in ipairs(list) do
      it(row[1], function() assert.are.equal(row[5], change(row[6] or PROJECT, "insert", row[2], row[3], row[4])) end)
    end
  end

  rows {
    { "in front", { "images", 1, "versions" }, 1, o { { "name", "1.1" }, { "latest", true } },
      with("- name: '1.0'", "- name: '1.1'\n        latest: true\n      - name: '1.0'") },
    { "between", { "images", 1, "versions" }, 2, o { { "name", "x" } }, with("latest: true\n", "latest: true\n      - name: x\n") },
    { "at the end", { "images" }, nil, o { { "name", "c" } }, with("- name: b\n", "- name: b\n  - name: c\n") },
    { "by count + 1", { "images" }, 3, "c", with("- name: b\n", "- name: b\n  - c\n") },
    { "a key", { "images", 2 }, "k", { 1 }, with("- name: b\n", "- name: b\n    k:\n      - 1\n") },
    { "into a flow list", { "images", 1, "os" }, 1, "x", with('[ "22.04"', '[ x, "22.04"') },
    { "into a flow map", { "a" }, "k: y", "v", "a: {b: 1, 'k: y': v}\n", "a: {b: 1}\n" },
    { "into a flow list of lines", { "a" }, nil, 3, "a: [\n  1,\n  2,\n  3,\n]\n", "a: [\n  1,\n  2,\n]\n" },
    { "a collection into a flow list", { "a" }, nil, { 2, o { { "k", "v" } } }, "a: [1, [2, {k: v}]]\n", "a: [1]\n" },
    { "behind a literal block", { "a" }, nil, "x", "a:\n  - |\n    t\n  - x\n\n# c\n", "a:\n  - |\n    t\n\n# c\n" },
    { "behind a block that keeps its blank lines", { "a" }, nil, "x", "a:\n  - |+\n    t\n\n  - x\n# c\n", "a:\n  - |+\n    t\n\n# c\n" },
  }

  it("refuses what is there, and places that are not", function()
    local function code(...)
      local text, err = change(PROJECT, ...)
      assert.is_nil(text)
      return { err.code, err.message }
    end
    assert.are.same({ "yaml.exists", "'repository.url' is there already" }, code("insert", { "repository" }, "url", 1))
    assert.are.same({ "yaml.path", "there is no 'images[9]'" }, code("insert", { "images" }, 9, 1))
    assert.are.same({ "yaml.path", "there is no 'images.x'" }, code("insert", { "images" }, "x", 1))
    assert.are.same({ "yaml.path", "there is no 'none'" }, code("insert", { "none" }, nil, 1))
    assert.are.same({ "yaml.path", "there is no 'repository.url[1]'" }, code("set", { "repository", "url", 1 }, 1))
    assert.are.same({ "yaml.path", "there is no 'images[9]'" }, code("set", { "images", 9, "x" }, 1))
    assert.are.same({ "yaml.path", "there is no 'repository.none'" }, code("remove", { "repository", "none" }))
    assert.are.same({ "yaml.path", "there is no ''" }, code("remove", {}))
  end)
end)

describe("yaml.edit remove", function()
  local function rows(list)
    for _, row in ipairs(list) do
      it(row[1], function() assert.are.equal(row[3], change(row[4] or PROJECT, "remove", row[2])) end)
    end
  end

  rows {
    { "a key with its lines", { "repository" }, with('repository:\n  url: "github.com/x/y"   # the url\n', "") },
    { "an item, keeping the comment above", { "images", 1, "versions", 2 }, with('      - name: "0.9"\n', "") },
    { "the first item", { "images", 1 }, with(PROJECT:match("  %- name: a.-24.04 %]\n"), "") },
    { "the first key of an item", { "images", 1, "versions", 1, "name" }, with("name: '1.0'   # one\n        latest", "latest") },
    { "the only key", { "repository", "url" }, with('repository:\n  url: "github.com/x/y"   # the url', "repository: {}") },
    { "the only key of an item", { "images", 2, "name" }, with("- name: b", "- {}") },
    { "the only item", { "a", 1 }, "a: [] # c\nb: 1\n", "a: # c\n- x\nb: 1\n" },
    { "the only item below comments", { "a", 1 }, "a: [] # c\n\n  # d\nb: 1\n", "a: # c\n\n  # d\n  - x # e\nb: 1\n" },
    { "the only item below comments, CRLF", { "a", 1 }, "a: []\r\n  # d\r\nb: 1\r\n", "a:\r\n  # d\r\n  - x\r\nb: 1\r\n" },
    { "the only key below comments", { "a", "b" }, "a: {}\n  # d\n", "a:\n  # d\n  b: 1\n" },
    { "from a flow list", { "images", 1, "os", 1 }, with('"22.04", 24.04', "24.04") },
    { "the last from a flow list", { "images", 1, "os", 2 }, with('"22.04", 24.04', '"22.04"') },
    { "from a flow map", { "a", "b" }, "a: {c: 2}\n", "a: {b: 1, c: 2}\n" },
    { "the only item of a flow list", { "a", 1 }, "a: []\n", "a: [1,]\n" },
    { "everything", { "a" }, "{}\n", "a: 1\n" },
    { "the last line", { "b" }, "a: 1\n", "a: 1\nb: 2" },
    { "beside a merge key", { "b", "k" }, "a: &x {m: 1}\nb:\n  <<: *x\n  l: 2\n", "a: &x {m: 1}\nb:\n  k: 1\n  <<: *x\n  l: 2\n" },
    { "in front of a merge key in an item", { "b", 1, "k" }, "a: &x {m: 1}\nb:\n- <<: *x\n", "a: &x {m: 1}\nb:\n- k: 1\n  <<: *x\n" },
  }

  it("refuses to break aliases", function()
    local text = "a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n"
    for _, row in ipairs {
      { "remove", { "a" }, "yaml.alias", "cannot change 'a', whose anchor is used elsewhere: unknown anchor 'x'" },
      { "remove", { "b", "k" }, "yaml.alias", "'b' is an alias of &x: change it there" },
      { "set", { "b", "k" }, "yaml.alias", "'b' is an alias of &x: change it there" },
      { "remove", { "c", "k" }, "yaml.edit", "this key is merged in by '<<': remove it there" },
    } do
      local _, err = change(text, row[1], row[2], row[1] == "set" and 2 or nil)
      assert.are.same({ row[3], row[4] }, { err.code, err.message })
    end
    local _, err = change("a: &x {m: {k: 1}}\nb:\n  <<: *x\n", "set", { "b", "m", "k" }, 2)
    assert.are.equal("'b.m' is merged in by '<<': change it there", err.message)
  end)
end)

describe("yaml.edit", function()
  it("leaves the text alone when it fails", function()
    local ed = assert(yaml.edit("a: &x {k: 1}\nb: {c: *x, d: 1}\n? e\n: 1\n"))
    local before = ed:text()
    assert.is_nil((ed:set({}, o { { "a", 5 }, { "b", o { { "c", 6 } } }, { "e", 2 } })))
    assert.are.equal(before, ed:text())
    assert.are.equal(1, ed:get { "b", "c", "k" })
    assert.is_true(ed:set({ "b", "d" }, 2))
  end)

  it("goes on after changes", function()
    local ed = assert(yaml.edit "l:\n  - 0\n")
    for i = 1, 50 do assert(ed:insert({ "l" }, nil, o { { "n", i } })) end
    for _ = 1, 50 do assert(ed:remove { "l", 2 }) end
    assert.are.equal("l:\n  - 0\n", ed:text())
    assert.are.same({ 0 }, ed:get { "l" })
    assert.is_nil((ed:get { "none", 1 }))
  end)

  it("raises on misuse", function()
    assert.are.equal("yaml.syntax", select(2, yaml.edit "a: [").code)
    local ed = yaml.edit "a: 1"
    assert.has_error(function() ed:set("a", 1) end)
    assert.has_error(function() ed:set { "a" } end)
    assert.has_error(function() ed:set({ 0 }, 1) end)
    assert.has_error(function() ed:set({ true }, 1) end)
    assert.has_error(function() ed:set({ "a" }, print) end, "YAML cannot say a function")
    assert.has_error(function() ed:insert({}, 1.5, 1) end)
    ed:close()
    assert.has_error(function() ed:text() end, "the editor is closed")
  end)

  -- Every place of real files, changed in every way: it works, or says that an anchor is in the way;
  -- the result reads back (the editor checks that) and comments outside of the place stay.
  local function paths(node, path, out, line)
    out[#out + 1] = { path = { table.unpack(path) }, node = node, line = line or node.line }
    if node.alias then return out end
    for _, p in ipairs(node.keys or {}) do
      if not p.merged then
        path[#path + 1] = p.key.text
        paths(p.value, path, out, p.key.line)
        path[#path] = nil
      end
    end
    for i, item in ipairs(node.items or {}) do
      path[#path + 1] = i
      paths(item, path, out)
      path[#path] = nil
    end
    return out
  end

  local function comments(text, first, last)
    local out, n = {}, 0
    for line in text:gmatch("([^\n]*)\n?") do
      n = n + 1
      if line:match("^%s*#") and not (n >= first and n <= last) then out[#out + 1] = line end
    end
    return table.concat(out, "\n")
  end

  local VALUES = { "x", "yes: no", 1, yaml.null, a {}, { "a", o { { "k", "v" }, { "l", { 1, 2 } } } },
    o { { "k", { "a" } }, { "m", o { { "n", "o" } } } }, "two\nlines\n" }

  local function try(text, place, op, ...)
    local ed = assert(yaml.edit(text))
    local good, err = ed[op](ed, place.path, ...)
    if not good then
      assert.is_true(err.code == "yaml.alias" or err.code == "yaml.merge", tostring(err))
      return
    end
    local n = place.node
    local was, is = comments(text, place.line, n.end_line), comments(ed:text(), 1, 0)
    for line in was:gmatch("[^\n]+") do assert.is_truthy(is:find(line, 1, true), ed:text()) end
  end

  local function try_all(text)
    for _, place in ipairs(paths(assert(yaml.parse(text)):root(), {}, {})) do
      for i, value in ipairs(VALUES) do
        if #place.path > 0 then try(text, place, "set", value) end
        if place.node.kind == "seq" then
          try(text, place, "insert", i % 2 == 0 and 1 or nil, value)
        elseif place.node.kind == "map" then
          try(text, place, "insert", "a new key", value)
        end
      end
      if #place.path > 0 then try(text, place, "remove") end
    end
  end

  for _, file in ipairs { "examples/quickstart/bakery.yaml", "tests/fixtures/projects/yaml-features/bakery.yaml",
    "tests/fuzz/corpus/yaml/bakery", "tests/fuzz/corpus/yaml/merge", "tests/fuzz/corpus/yaml/flow" } do
    it("changes every place of " .. file, function()
      local text = fs.read(file)
      if not text then return pending("needs " .. file) end
      try_all(text)
    end)
  end
end)
