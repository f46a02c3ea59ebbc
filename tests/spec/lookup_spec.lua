-- The cache of answers, mirrors, and the document bakery.lock (config.md 2.3, 2.4).
local cache = require "app.lookup.cache"
local fs = require "bakery.fs"
local lock = require "app.lookup.lock"
local registry = require "lib.registry"
local upstream = require "lib.upstream"

describe("the cache of answers", function()
  local site, clock, warnings, dir
  local URL = "https://cdn.posit.co/r/versions.json"

  setup(function() site = upstream.start() end)
  teardown(function() site:stop() end)
  before_each(function()
    site:set {}
    site:put("cdn.posit.co/r/versions.json", { r_versions = { "4.5.1" } })
    site:requests()
    clock, warnings, dir = 1000000, {}, registry.tmpdir()
  end)

  local function open(opts)
    local o = { dir = dir, mirrors = site.mirrors, now = function() return clock end,
      warn = function(text) warnings[#warnings + 1] = text end }
    for k, v in pairs(opts or {}) do o[k] = v end
    return cache.open(o)
  end
  local function get(opts) return open(opts):get(URL) end
  local function asked()
    local out = {}
    for i, r in ipairs(site:requests()) do out[i] = r.etag and "if changed" or "fully" end
    return table.concat(out, ", ")
  end

  it("asks once an hour, then whether it changed", function()
    local first = assert(get())
    assert.are.equal("fully", asked())
    clock = clock + 3599
    assert.are.equal(first, get())
    assert.are.equal("", asked())
    clock = clock + 1
    assert.are.equal(first, get())
    assert.are.equal("if changed", asked())
    clock = clock + 3000 -- the answer 304 counts as new
    get()
    assert.are.equal("", asked())
    site:put("cdn.posit.co/r/versions.json", { r_versions = { "4.6.0" } })
    clock = clock + 3600
    assert.is_truthy(get():find("4.6.0", 1, true))
    assert.are.equal("if changed", asked())
  end)
  it("asks once in a process", function()
    local one = open { ttl = 0 }
    one:get(URL)
    one:get(URL)
    assert.are.equal("fully", asked())
  end)
  it("takes an old answer when the new one cannot be had, and says so", function()
    local first = assert(get())
    clock = clock + 7200
    for _, quirk in ipairs { { status = 500 }, { status = 404 }, { cut = 3 }, { loop = true } } do
      site:set { ["versions.json"] = quirk }
      warnings = {}
      assert.are.equal(first, get())
      assert.are.equal(1, #warnings)
      assert.is_truthy(warnings[1]:find("an answer of 2 hours ago is taken", 1, true), warnings[1])
    end
  end)
  it("keeps answers with status 200 only", function()
    site:set { ["versions.json"] = { status = 404 } }
    assert.is_nil(get())
    site:set {}
    assert.is_truthy(get())
  end)
  it("takes a damaged file for none", function()
    assert(get())
    for _, name in ipairs(assert(fs.list(dir))) do
      local file = dir .. "/" .. name
      local text = assert(fs.read(file))
      for _, damaged in ipairs { "", text:sub(1, 20), text:sub(1, -3), text .. "x", "{}\n", "null\n", "\0\0\n" } do
        assert(fs.write(file, damaged))
        asked()
        assert.is_truthy(get())
        assert.are.equal("fully", asked())
      end
    end
  end)
  it("is for its user only, and no error when it cannot be written", function()
    assert(get())
    assert.are.equal(448, fs.stat(dir).mode & 511)
    assert.are.equal(384, fs.stat(dir .. "/" .. fs.list(dir)[1]).mode & 511)
    assert(fs.write(dir .. "/file", ""))
    assert.is_truthy(get { dir = dir .. "/file/below" })
    assert.are.equal(1, #warnings)
  end)
  it("a clock that went back makes answers old, not eternal", function()
    assert(get())
    asked()
    clock = clock - 500
    get()
    assert.are.equal("if changed", asked())
  end)
  it("offline takes what it has, however old, and names what it lacks", function()
    assert(get())
    clock = clock + 10000000
    assert.is_truthy(get { offline = true })
    local body, err = open({ offline = true }):get "https://cdn.posit.co/other.json"
    assert.is_nil(body)
    assert.are.same({ "offline", "infra" }, { err.code, err.class })
    assert.is_truthy(err.message:find("other.json", 1, true))
    assert.is_nil(open({ offline = true }):head(URL))
    asked()
  end)
  it("tells answers by what was accepted", function()
    local one = open()
    one:get(URL, { accept = "a/b" })
    one:get(URL, { accept = "c/d" })
    local list = site:requests()
    assert.are.same({ "a/b", "c/d" }, { list[1].accept, list[2].accept })
  end)

  for text, seconds in pairs { ["60"] = 60, ["0"] = 0, ["-1"] = -1, ["-2"] = 3600, ["1.5"] = 3600, [""] = 3600,
    soon = 3600, ["1e3"] = 3600 } do
    it(("BAKERY_CACHE_EXPIRE_AFTER=%q is %d seconds"):format(text, seconds), function()
      assert.are.equal(seconds, cache.ttl(text))
    end)
  end
  it("without BAKERY_CACHE_EXPIRE_AFTER an hour", function() assert.are.equal(3600, cache.ttl(nil)) end)
  it("-1 is for ever", function()
    assert(get())
    asked()
    clock = clock + 100000000
    get { ttl = -1 }
    assert.are.equal("", asked())
  end)
end)

describe("mirrors", function()
  local function mirror(mirrors, url)
    return cache.open({ dir = "/nowhere", mirrors = mirrors, warn = print }):mirror(url)
  end
  for _, case in ipairs {
    { { ["https://a.example"] = "https://m.example/a" }, "https://a.example/x/y?q=1", "https://m.example/a/x/y?q=1" },
    { { ["https://a.example"] = "https://m.example/a/" }, "https://a.example/x", "https://m.example/a/x" },
    { { ["https://a.example/"] = "https://m.example" }, "https://a.example/x", "https://m.example/x" },
    { { ["https://a.example"] = "https://m.example" }, "https://a.example.org/x", "https://a.example.org/x" },
    { { ["https://a.example/r"] = "https://m.example/s" }, "https://a.example/r", "https://m.example/s" },
    { { ["https://a.example/r"] = "https://m.example/s" }, "https://a.example/r?x", "https://m.example/s?x" },
    { { ["https://a.example/r"] = "https://m.example/s" }, "https://a.example/rx", "https://a.example/rx" },
    { { ["https://a.example"] = "https://m", ["https://a.example/r"] = "https://n" }, "https://a.example/r/1", "https://n/1" },
    { {}, "https://a.example/x", "https://a.example/x" },
  } do
    it("send " .. case[2] .. " to " .. case[3], function() assert.are.equal(case[3], mirror(case[1], case[2])) end)
  end
end)

describe("bakery.lock", function()
  local TEXT = [[
# Versions that look-ups gave, pinned by `bakery lock`. Comments stay.
lock: 1
dependencies:
  R latest count=2:
    - 4.5.1
    - 4.4.3
  python count=1 max=3.10:
    - '3.10'
streams:
  connect daily:
    Debian 13: null
    Ubuntu 24.04:
      version: 2026.08.0-dev+41
      url: https://cdn.example/a%2Bb.deb
]]
  local function parse(text) return lock.parse(text, "bakery.lock") end

  it("is read and written as it was", function()
    local found = assert(parse(TEXT))
    assert.are.same({ "4.5.1", "4.4.3" }, found.dependencies["R latest count=2"])
    assert.are.same({ "3.10" }, found.dependencies["python count=1 max=3.10"])
    assert.are.same({ ["Debian 13"] = false, ["Ubuntu 24.04"] = { version = "2026.08.0-dev+41",
      url = "https://cdn.example/a%2Bb.deb" } }, (function()
        local out = {}
        for os, b in pairs(found.streams["connect daily"]) do
          out[os] = b and { version = b.version, url = b.url }
        end
        return out
      end)())
    assert.are.equal(TEXT, lock.encode(found))
  end)
  it("has the same bytes whatever order it was filled in", function()
    local one, other = lock.new(), lock.new()
    for _, key in ipairs { "b", "a", "C" } do one.dependencies[key] = { "1" } end
    for _, key in ipairs { "C", "a", "b" } do other.dependencies[key] = { "1" } end
    assert.are.equal(lock.encode(one), lock.encode(other))
    assert.are.equal(lock.encode(one), lock.encode(assert(parse(lock.encode(one)))))
    assert.are.equal("lock: 1\n", lock.encode(lock.new()):match "\n(.*)$")
  end)
  it("keeps comments with what they are about", function()
    local text = "# mine\n# two lines\nlock: 1\n\n# all of them\ndependencies: # d\n  # why two\n  R latest count=2:   # two\n"
      .. "    # first\n    - 4.5.1 # one\n    - 4.4.3\nstreams:\n  # s\n  connect daily:\n    # os\n    Debian 13: null # none\n    Ubuntu 24.04: # u\n"
      .. "      version: 1.2.3 # v\n      # url\n      url: https://a/b # b\n# the end\n"
    local found = assert(parse(text))
    local out = lock.encode(found)
    assert.are.equal("# mine\n# two lines\nlock: 1\n# all of them\ndependencies:  # d\n  # why two\n  R latest count=2:  # two\n"
      .. "    # first\n    - 4.5.1  # one\n    - 4.4.3\nstreams:\n  # s\n  connect daily:\n    # os\n    Debian 13: null  # none\n    Ubuntu 24.04:  # u\n"
      .. "      version: 1.2.3  # v\n      # url\n      url: https://a/b  # b\n# the end\n", out)
    assert.are.equal(out, lock.encode(assert(parse(out))))
    found.dependencies["R latest count=2"] = { "4.6.0", "4.4.3" }
    found.dependencies["A latest count=1"] = { "1" }
    local changed = lock.encode(found)
    assert.is_truthy(changed:find("  A latest count=1:\n    - '1'\n  # why two\n  R latest count=2:  # two\n    - 4.6.0\n    - 4.4.3\n", 1, true), changed)
  end)
  for _, case in ipairs {
    { "lock: 2\n", "format 2 is not known" },
    { "dependencies: {}\n", 'the key "lock" is missing' },
    { "lock: 1\ndependencies: [a]\n", "expected a mapping" },
    { "lock: 1\ndependencies: {R: 1}\n", "expected a list" },
    { "lock: 1\nstreams: {a: {b: {version: '1'}}}\n", 'the key "url" is missing' },
    { "lock: 1\nother: 1\n", "unknown key" },
    { "lock: 1\nlock: 1\n", "" },
    { "lock: [", "" },
    { "", 'the key "lock" is missing' },
    { "- a\n", "expected a mapping" },
    { "<<<<<<< HEAD\nlock: 1\n", "" },
  } do
    it(("refuses %q"):format(case[1]), function()
      local found, err = parse(case[1])
      assert.is_nil(found)
      assert.are.equal("usage", err.class)
      assert.is_truthy(err.where:find("^bakery.lock"), err.where)
      assert.is_truthy(err.message:find(case[2], 1, true), err.message)
    end)
  end
  for _, case in ipairs {
    { { dependency = "R", constraint = { latest = true, count = 1 } }, "R latest count=1" },
    { { dependency = "R", constraint = { latest = false } }, "R latest=false" },
    { { dependency = "q", constraint = { max = "1.10", min = "1" }, prerelease = true }, "q max=1.10 min=1 prerelease" },
    { { dependency = "n", from = "pypi:numpy", constraint = { max = "2" } }, "n from=pypi:numpy max=2" },
  } do
    it("calls a look-up " .. case[2], function() assert.are.equal(case[2], lock.versions_key(case[1])) end)
  end
  it("tells what changed", function()
    local a, b = lock.new(), lock.new()
    a.dependencies.x, b.dependencies.x = { "1", "2" }, { "1", "3" }
    a.dependencies.gone, b.dependencies.new = { "1" }, { "2" }
    a.streams.s, b.streams.s = { o = false, p = { version = "1", url = "u" } }, { o = { version = "1", url = "u" },
      p = { version = "1", url = "u" } }
    assert.are.same({ { key = "gone", from = "1" }, { key = "new", to = "2" }, { key = "x", from = "1, 2", to = "1, 3" },
      { key = "s", os = "o", from = "no build", to = "1 u" } }, lock.changes(a, b))
  end)
end)
