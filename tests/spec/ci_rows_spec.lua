-- Job matrix rows, file patterns, GitHub's files, the policy of retries.
local fs = require "bakery.fs"
local github = require "app.ci.github"
local glob = require "app.ci.glob"
local json = require "bakery.json"
local matrix = require "app.ci.matrix"
local plan = require "app.plan"
local process = require "bakery.process"
local projects = require "lib.projects"
local retry = require "app.retry"

local function texts(rows)
  local out = {}
  for i, r in ipairs(rows) do out[i] = ("%s %s %s %s"):format(r.image, r.version, tostring(r.dev), r.platform) end
  return out
end

describe("rows", function()
  local function of(name, filters, opts)
    opts = opts or { resolver = projects.resolver() }
    return texts(matrix.rows(assert(plan.select(projects.fixture(name), filters, opts))))
  end
  it("mark development versions", function()
    local list = of("dev-versions", { dev_versions = "include" })
    assert.are.same({ "product 2026.01.0 false linux/amd64", "product 2026.03.0-daily+89.pro1 true linux/amd64",
      "ide 2026.02.1-5 false linux/amd64", "ide 2026.03.0-212 true linux/amd64" }, list)
    assert.are.same({ list[2], list[4] }, of("dev-versions", { dev_versions = "only" }))
  end)
  it("are those that a build selects: matrix images are out under exclude, their development versions too (D11)", function()
    local filters = { dev_versions = "include", dev_spec = { version = "2026.03.0-212" }, image_name = "mx" }
    assert.are.same({}, of("dev-dependency", filters))
    filters.matrix_versions = "include"
    local list = of("dev-dependency", filters)
    assert.is_truthy(table.concat(list, "\n"):find("mx 2026.03.0-212 true", 1, true))
  end)
  it("of a plan document are the same set", function()
    for _, name in ipairs { "variants-os", "prefixes", "matrix-and-versions", "registries-two", "no-os", "dev-versions" } do
      local filters = { dev_versions = "include", matrix_versions = "include" }
      local want = of(name, filters)
      local targets = assert(projects.targets(projects.fixture(name), filters, { resolver = projects.resolver() }))
      local doc = json.decode(plan.encode(plan.document(targets)), { ordered = true })
      local got = texts(matrix.document_rows(doc))
      table.sort(want)
      table.sort(got)
      assert.are.same(want, got)
    end
  end)
  it("are cut into batches", function()
    local function sizes(n, size)
      local list, out = {}, {}
      for i = 1, n do list[i] = i end
      for i, b in ipairs(matrix.batches(list, size)) do out[i] = #b end
      return out
    end
    assert.are.same({}, sizes(0, 3))
    assert.are.same({ 3 }, sizes(3, 3))
    assert.are.same({ 256, 256, 88 }, sizes(600, 256))
    assert.are.equal("[[1],[2]]", json.encode(matrix.batches(json.array { 1, 2 }, 1)))
  end)
end)

describe("file patterns", function()
  local dir
  setup(function()
    dir = assert(fs.realpath(assert(fs.tmpdir "glob")))
    for _, name in ipairs { "b-1.json", "a-1.json", "a-10.json", "a.txt", "[x].json", ".hidden.json", "sub/c.json", "sub2/c.json" } do
      assert(fs.mkdir(fs.dirname(fs.join(dir, name)), { parents = true }))
      assert(fs.write(fs.join(dir, name), "{}"))
    end
  end)
  teardown(function() fs.remove(dir, { recursive = true }) end)
  for _, case in ipairs {
    { "*.json", "[x].json a-1.json a-10.json b-1.json" }, { "?-1.json", "a-1.json b-1.json" }, { "[ab]-?.json", "a-1.json b-1.json" },
    { "[!a]-1.json", "b-1.json" }, { "a-*", "a-1.json a-10.json" }, { "sub*/c.json", "sub/c.json sub2/c.json" },
    { "*/c.json", "sub/c.json sub2/c.json" }, { "[x].json", "[x].json" }, { "none*", "none*" }, { "a.txt", "a.txt" },
    { "[unclosed", "[unclosed" }, { "./sub/../a.txt", "a.txt" }, { ".h*", ".hidden.json" }, { "a%.txt", "a%.txt" },
  } do
    it(case[1], function()
      local out = {}
      for i, path in ipairs(glob.expand { fs.join(dir, case[1]) }) do out[i] = path:sub(#dir + 2) end
      assert.are.equal(case[2], table.concat(out, " "))
    end)
  end
end)

describe("GITHUB_OUTPUT", function()
  it("takes values of one line and of several", function()
    local file = os.tmpname()
    process.setenv("GITHUB_OUTPUT", file)
    assert(github.output("one", "a=b"))
    assert(github.output("two", "x\nBAKERY\ny"))
    local out, err = github.output("a=b\nc", "x")
    assert.is_nil(out)
    assert.are.equal("usage", err.class)
    assert.are.equal("one=a=b\ntwo<<BAKERY_\nx\nBAKERY\ny\nBAKERY_\n", fs.read(file))
    process.setenv("GITHUB_OUTPUT", "")
    assert.is_nil((github.output("one", "x")))
    os.remove(file)
  end)
end)

describe("retries", function()
  local function policy(values)
    local warnings = {}
    local out = retry.policy(function(name) return values[name:match "RETRY_(.*)$"] end,
      function(text) warnings[#warnings + 1] = text end)
    return out, warnings
  end
  it("follow the environment, bad values count as unset", function()
    assert.are.same({ attempts = 5, initial = 2.0, max = 32.0, multiplier = 2.0 }, (policy {}))
    assert.are.same({ attempts = 1, initial = 0, max = 0.5, multiplier = 1 }, (policy { ATTEMPTS = "1", INITIAL_BACKOFF = "0",
      MAX_BACKOFF = "0.5", MULTIPLIER = "1" }))
    local out, warnings = policy { ATTEMPTS = "0", INITIAL_BACKOFF = "-1", MAX_BACKOFF = "x", MULTIPLIER = "0.5" }
    assert.are.same({ attempts = 5, initial = 2.0, max = 32.0, multiplier = 2.0 }, out)
    assert.are.equal(4, #warnings)
    assert.are.equal(5, (policy { ATTEMPTS = "1.5" }).attempts)
  end)
  it("wait 2, 4, 8, 16, at most 32 seconds", function()
    local p, out = policy {}, {}
    for i = 1, 6 do out[i] = retry.delay(p, i) end
    assert.are.same({ 2.0, 4.0, 8.0, 16.0, 32.0, 32.0 }, out)
  end)
  it("stop at success, at what cannot pass, and at the last attempt", function()
    local p = { attempts = 3, initial = 0, max = 0, multiplier = 1 }
    local function run(list)
      local calls, told = 0, 0
      local ok, err = retry.run(p, function()
        calls = calls + 1
        local step = list[calls]
        if step == "ok" then return "done" end
        return nil, { message = step, retryable = step == "later" }
      end, function() told = told + 1 end)
      return { ok or err.message, calls, told }
    end
    assert.are.same({ "done", 1, 0 }, run { "ok" })
    assert.are.same({ "done", 3, 2 }, run { "later", "later", "ok" })
    assert.are.same({ "never", 2, 1 }, run { "later", "never", "ok" })
    assert.are.same({ "later", 3, 2 }, run { "later", "later", "later", "ok" })
  end)
end)
