--- Edits of bakery.yaml as properties: on a corpus of documents and on made-up ones, every edit gives the model
--- that it should, and every line outside of what it touches stays as it is, in its place.
local diff = require "bakery.diff"
local document = require "app.edit.document"
local fs = require "bakery.fs"
local json = require "bakery.json"
local project = require "app.project"
local yaml = require "bakery.yaml"

describe("the place of a new version", function()
  for _, row in ipairs {
    { {}, "1.0", 1 },
    { { "1.0" }, "2.0", 1 }, { { "2.0" }, "1.0", 2 },
    { { "2026.9.0" }, "2026.10.0", 1 }, { { "2026.11.0", "2026.9.0" }, "2026.10.0", 2 },
    { { "1.0", "2.0", "3.0" }, "2.5", 3 }, { { "1.0", "2.0" }, "10.0", 3 }, { { "1.0", "2.0" }, "0.1", 1 },
    { { "9.0.0", "10.0.0", "8.0.0" }, "11.0.0", 1 }, { { "9.0.0", "10.0.0", "8.0.0" }, "8.5.0", 3 },
    { { "2.0.0", "2.0.0-rc.1" }, "2.0.0-rc.2", 2 }, { { "1.0.0" }, "1.0.0+5", 1 },
    { { "10", "9" }, "11", 1 }, { { "2.0", "devel" }, "1.0", 2 }, { { "2.0" }, "devel", 2 },
  } do
    it(("of %s among %s"):format(row[2], table.concat(row[1], ", ")), function()
      assert.equal(row[3], document.position(row[1], row[2]))
    end)
  end
end)

-- --- documents ---------------------------------------------------------------------------------

local function pick(list) return list[math.random(#list)] end
local function chance(p) return math.random() < p end

-- A bakery.yaml in some style: indentation, quotes, comments, blank lines, flow parts, line ends.
local function make_text()
  local map, dash, blank = pick { 2, 2, 4 }, pick { 0, 2, 2 }, chance(0.4)
  local out = {}
  local function put(indent, text)
    if chance(0.15) then out[#out + 1] = (" "):rep(pick { 0, indent }) .. "# " .. pick { "why", "note: a: b", "- item", "'quote" } end
    if chance(0.2) then text = text .. pick { " # end", "\t# tab", "   ", " # - x: y" } end
    out[#out + 1] = (" "):rep(indent) .. text
    if blank and chance(0.2) then out[#out + 1] = pick { "", "  " } end
  end
  local function scalar(text) return pick { text, text, "'" .. text .. "'", '"' .. text .. '"' } end
  put(0, "repository: {url: " .. scalar "example.org/r" .. "}")
  put(0, "images:")
  for i = 1, math.random(1, 3) do
    local at = dash + 2
    put(dash, "- name: " .. scalar("img" .. i))
    if chance(0.3) then
      out[#out + 1] = (" "):rep(at) .. "description: " .. pick { ">-", "|", ">+" }
      out[#out + 1] = (" "):rep(at + 2) .. "first # no comment"
      out[#out + 1] = (" "):rep(at + 2) .. "- second"
    end
    if chance(0.3) then put(at, "displayName: " .. scalar "D N") end
    local n = math.random(0, 4)
    if n == 0 and chance(0.5) then put(at, "versions: []") end
    if n > 0 and chance(0.2) then
      local items = {}
      for v = n, 1, -1 do items[#items + 1] = ("{name: '%d.0.0'%s}"):format(v, v == n and ", latest: true" or "") end
      put(at, "versions: [" .. table.concat(items, ", ") .. "]")
    elseif n > 0 then
      put(at, "versions:")
      local order, inner = chance(0.8), at + dash
      for k = 1, n do
        local v = order and n + 1 - k or k
        put(inner, "- name: " .. scalar(v .. ".0.0"))
        if v == n then put(inner + 2, "latest: true") end
        if chance(0.3) then put(inner + 2, pick { "values: {k: v}", "values:\n" .. (" "):rep(inner + 2 + map) .. "k: v" }) end
        if chance(0.3) then put(inner + 2, "os: [{name: Scratch}]") end
      end
    end
  end
  if chance(0.3) then out[#out + 1] = "# the end" end
  local text = table.concat(out, "\n") .. (chance(0.9) and "\n" or "")
  return chance(0.2) and text:gsub("\n", "\r\n") or text
end

local function corpus()
  local out = {}
  for _, path in ipairs(assert(fs.glob "tests/fixtures/projects/*/bakery.yaml")) do out[#out + 1] = { path, assert(fs.read(path)) } end
  for _, path in ipairs(assert(fs.glob "examples/*/bakery.yaml")) do out[#out + 1] = { path, assert(fs.read(path)) } end
  return out
end

-- --- edits -------------------------------------------------------------------------------------

local array, object = json.array, json.object

-- Each makes an edit: { the change on the plain value, the change on the document, node whose lines it may change }.
local EDITS = {}

function EDITS.add_version(found, i)
  local image = found.images[i]
  local name = ("%d.%d.7"):format(math.random(0, 6), math.random(0, 12))
  local value = object { { "name", name }, { "latest", chance(0.5) or nil }, { "values", chance(0.5) and object { { "x", "1" } } or nil } }
  local names = {}
  for k, v in ipairs(image.versions) do names[k] = v.name end
  local node = image._node.map.versions
  return function(doc)
    local versions = doc.images[i].versions or array {}
    table.insert(versions, document.position(names, name), value)
    doc.images[i].versions = versions
  end, function(d) d:add_version(image, value) end, node and (node.flow or #node.items == 0) and node
end

local function some_version(found, i)
  local image = found.images[i]
  if #image.versions > 0 then return image, math.random(#image.versions) end
end

function EDITS.remove_version(found, i)
  local image, k = some_version(found, i)
  if not image then return end
  local list = image._node.map.versions
  return function(doc) table.remove(doc.images[i].versions, k) end, function(d) d:remove_version(image, k) end,
    list.flow and list or list.items[k], #list.items == 1 and "versions:"
end

function EDITS.rename(found, i)
  local image, k = some_version(found, i)
  if not image then return end
  local name = pick { "1.10", "it's", "new: name", "7.7.7" }
  return function(doc) doc.images[i].versions[k].name = name end,
    function(d) d:set_version(image, k, { { "name", name } }) end, image._node.map.versions.items[k].map.name
end

function EDITS.set_values(found, i)
  local image, k = some_version(found, i)
  if not image then return end
  local node = image._node.map.versions.items[k]
  return function(doc)
    local v = doc.images[i].versions[k]
    v.values = v.values or object {}
    v.values.k = "changed"
    v.values["new key"] = "yes"
  end, function(d) d:set_values(image, k, { { "k", "changed" }, { "new key", "yes" } }) end,
    node.map.values or node.flow and node
end

function EDITS.unmark(found, i)
  local image, k = some_version(found, i)
  if not image or not image.versions[k].latest then return end
  return function(doc) doc.images[i].versions[k].latest = nil end, function(d) d:unmark(image, k) end,
    image._node.map.versions.items[k].map.latest
end

function EDITS.add_image()
  local value = object { { "name", "brand new" }, { "description", "a: b" } }
  return function(doc) table.insert(doc.images, value) end, function(d) d:add_image(value) end, nil
end

function EDITS.remove_image(found, i)
  local image = found.images[i]
  if #found.images == 1 then return end
  return function(doc) table.remove(doc.images, i) end, function(d) d:remove_image(image) end, image._node
end

local NAMES = { "add_version", "remove_version", "rename", "set_values", "unmark", "add_image", "remove_image" }

-- One edit on a text; returns the new text, or nil when there is nothing to edit or an anchor is in the way.
local function check(text, name)
  local found = project.parse(text)
  if not found or #found.images == 0 then return nil end
  local i = math.random(#found.images)
  local on_value, on_document, node, key = EDITS[name](found, i)
  if not on_value then return nil end
  -- In flow style the lines of what it stands in change.
  local list, image = yaml.parse(text):root().map.images, found.images[i]._node
  if list.flow then node, key = list, nil
  elseif image.flow and name ~= "add_image" then node, key = image, nil end
  local editor = assert(yaml.edit(text))
  local ok, err = pcall(on_document, document.new(found, editor))
  if not ok then
    assert.is_true(type(err) == "table" and err.code:find "^yaml%." ~= nil, tostring(err))
    assert.is_truthy(text:find "[&*]", tostring(err) .. "\n" .. text)
    return nil
  end
  local new = editor:text()
  if not text:find "[&*]%l" then
    local expected = yaml.load(text)
    on_value(expected)
    assert.equal(json.encode(expected), json.encode(yaml.load(new)), new)
  end
  if not text:find "\n$" then text = text .. (text:find "\r\n" and "\r\n" or "\n") end -- a last line gets its end
  local old, now = diff.lines(text), diff.lines(new)
  local function same(from, to, shift)
    for line = from, to do
      assert.equal(old[line], now[line + shift], ("%s changed line %d\n%s\n---\n%s"):format(name, line, text, new))
    end
  end
  if node then
    local first = node.line
    while key and not old[first]:find(key, 1, true) do first = first - 1 end
    same(1, first - 1, 0)
    same(node.end_line + 1, #old, #now - #old)
    -- Comments between a key and its only element stay.
    if key then for line = first + 1, node.line - 1 do assert.truthy(new:find(old[line], 1, true)) end end
  else
    assert.same({}, (diff.compare(old, now)), ("%s took a line away\n%s\n---\n%s"):format(name, text, new))
  end
  return new
end

describe("an edit of bakery.yaml", function()
  it("touches nothing else, on the corpus", function()
    math.randomseed(11)
    local done = 0
    for _, item in ipairs(corpus()) do
      for _, name in ipairs(NAMES) do
        for _ = 1, 4 do if check(item[2], name) then done = done + 1 end end
      end
    end
    assert.is_true(done > 100, done .. " edits")
  end)

  it("touches nothing else, on made-up documents, one edit after the other", function()
    math.randomseed(12)
    local done = 0
    for _ = 1, 250 do
      local text = make_text()
      assert.is_truthy(project.parse(text), text)
      for _ = 1, 6 do
        local new = check(text, pick(NAMES))
        if new then
          text, done = new, done + 1
          if not project.parse(text) then break end -- two images of one name
        end
      end
    end
    assert.is_true(done > 800, done .. " edits")
  end)
end)
