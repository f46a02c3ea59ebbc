-- A saved plan: filters narrow it, registries of a later run fit it (commands.md 1.4, 2.1; conventions.md 2).
local json = require "bakery.json"
local plan = require "app.plan"
local projects = require "lib.projects"

-- A document as a later command reads it.
local function saved(name, filters, opts, resolver)
  local targets = assert(projects.targets(projects.fixture(name), filters, { resolver = resolver }))
  return json.decode(plan.encode(plan.document(targets, opts)), { ordered = true })
end

local function narrowed(doc, values)
  values.given = values.given or {}
  local out = assert(plan.narrow(doc, values))
  assert(plan.check(out, "plan"))
  return out
end

local function uids(doc) return { table.unpack(doc.group.default.targets) } end

describe("filters", function()
  for _, case in ipairs {
    { "variants-os", {} }, { "variants-os", { image_variant = "min" } }, { "variants-os", { image_os = "[Uu]buntu" } },
    { "variants-os", { image_platform = { "arm64" } } }, { "variants-os", { select = "os == ubuntu-24.04 && variant == std" } },
    { "prefixes", { image_name = "^app$" } }, { "prefixes", { image_version = "2026.05" } }, { "prefixes", { latest = true } },
    { "prefixes", { select = "version < 2026.05.0 || image == server-app" } }, { "no-os", { image_os = "x" } },
    { "registries-two", { image_platform = { "arm64" }, image_variant = "Standard" } },
    { "uid-odd", { image_name = "." } },
  } do
    it(("choose the same of a plan as of the project: %s %s"):format(case[1], plan.describe_filters(case[2])), function()
      local fresh = saved(case[1], case[2])
      assert.are.equal(plan.encode(fresh), plan.encode(narrowed(saved(case[1], {}), case[2])))
    end)
  end
  it("modes count when they are given", function()
    local doc = function() return saved("dev-versions", { dev_versions = "include" }, {}, projects.resolver()) end
    assert.are.equal(4, #uids(narrowed(doc(), { dev_versions = "exclude" })))
    assert.are.equal(2, #uids(narrowed(doc(), { dev_versions = "exclude", given = { dev_versions = true } })))
    assert.are.equal(2, #uids(narrowed(doc(), { dev_versions = "only", given = { dev_versions = true } })))
    doc = saved("matrix-and-versions", { matrix_versions = "include" })
    assert.are.same({ "plain-1-0-0-debian-12" }, uids(narrowed(doc, { matrix_versions = "exclude",
      given = { matrix_versions = true } })))
  end)
  it("need to know what a target is", function()
    local doc = saved("minimal", {})
    doc["x-bakery"] = nil
    assert.are.equal(doc, narrowed(doc, {}))
    local out, err = plan.narrow(doc, { image_name = "x" })
    assert.is_nil(out)
    assert.are.equal("usage", err.class)
    out, err = plan.narrow(saved("minimal", {}), { image_name = "(" })
    assert.is_nil(out)
    assert.is_truthy(err.message:find("--image-name", 1, true))
  end)
end)

describe("registries of a later run", function()
  local FULL = { cache_registry = "c.io/x", temp_registry = "t.io:5000/y", push = true }
  for _, name in ipairs { "variants-os", "registries-two", "minimal", "no-os", "no-registries", "uid-odd" } do
    it("fit a plan made without them: " .. name, function()
      local doc = saved(name, {})
      local settled = plan.settle(doc, FULL)
      assert.are.equal("t.io:5000/y", settled.temp_registry)
      local want = saved(name, {}, FULL)
      assert.are.same(json.decode(json.encode(want)), json.decode(json.encode(doc)))
    end)
    it("leave those of the plan: " .. name, function()
      local doc = saved(name, {}, FULL)
      assert.are.same({ cache_registry = "c.io/x", temp_registry = "t.io:5000/y", push = true },
        plan.settle(doc, { push = true }))
      assert.are.equal(plan.encode(saved(name, {}, FULL)), plan.encode(doc))
    end)
  end
  it("caches are written only by a run that pushes", function()
    local doc = saved("minimal", {}, FULL)
    plan.settle(doc, {})
    local entry = doc.target[doc.group.default.targets[1]]
    assert.is_nil(entry["cache-to"])
    assert.is_nil(entry.output)
    assert.is_truthy(entry["cache-from"])
  end)
  it("cache entries of the command line stay", function()
    local doc = saved("minimal", {}, FULL)
    local entry = doc.target[doc.group.default.targets[1]]
    table.insert(entry["cache-from"], "type=registry,ref=r.io/x:1")
    entry["cache-to"] = json.array { "type=inline" }
    plan.settle(doc, { cache_registry = "other.io" })
    assert.are.equal(2, #entry["cache-from"])
    assert.are.equal("other.io/hello/cache:1.0.0-scratch-amd64", entry["cache-from"][1].ref)
    assert.are.same({ "type=inline" }, { table.unpack(entry["cache-to"]) })
  end)
  it("the cache reference follows the platforms (D3)", function()
    local doc = narrowed(saved("registries-two", {}, { cache_registry = "c.io/x" }), { image_platform = { "arm64" } })
    plan.settle(doc, {})
    for _, uid in ipairs(uids(doc)) do
      assert.is_truthy(doc.target[uid]["cache-from"][1].ref:find("%-arm64$"), doc.target[uid]["cache-from"][1].ref)
    end
  end)
end)

describe("rubbish in a saved plan", function()
  -- Every member replaced by every kind of value: what the check lets pass is narrowed and settled without a crash.
  it("is refused or harmless", function()
    local text = plan.encode(saved("variants-os", { image_variant = "min", image_os = "24" },
      { cache_registry = "c.io", temp_registry = "t.io", push = true }))
    local places = {}
    local function walk(value, path)
      for key, item in pairs(value) do
        local at = table.move(path, 1, #path, 1, {})
        at[#at + 1] = key
        places[#places + 1] = at
        if type(item) == "table" then walk(item, at) end
      end
    end
    walk(json.decode(text), {})
    assert.is_true(#places > 60)
    local refused, passed = 0, 0
    for _, place in ipairs(places) do
      for _, rubbish in ipairs { json.null, 5, 1.5, "", "x", "../x", true, json.array {}, json.object(), json.array { 5 },
        json.array { "a" }, json.object { { "a", 5 } } } do
        local doc = json.decode(text, { ordered = true })
        local at = doc
        for i = 1, #place - 1 do at = at[place[i]] end
        at[place[#place]] = rubbish
        local name = table.concat(place, ".")
        if plan.check(doc, "plan") then
          passed = passed + 1
          local ok, err = pcall(function()
            local out = plan.narrow(doc, { image_name = ".", image_os = "24", select = "latest || !latest", given = {} })
            if out then plan.settle(out, { cache_registry = "d.io", push = true }) end
            return out and plan.encode(out)
          end)
          assert.is_true(ok, name .. ": " .. tostring(err))
        else
          refused = refused + 1
        end
      end
    end
    assert.is_true(refused > 200 and passed > 50, ("%d refused, %d passed"):format(refused, passed))
  end)
end)
