-- --select: one expression over targets.
local expr = require "app.plan.expr"
local projects = require "lib.projects"

local function uids(name, text)
  return (projects.uids(projects.fixture(name), { select = text, matrix_versions = "include" }))
end

describe("selecting", function()
  for _, case in ipairs {
    { "prefixes", "image == app", 3 },
    { "prefixes", "image != app", 3 },
    { "prefixes", "image =~ '^app'", 5 },
    { "prefixes", "image !~ app", 0 },
    { "prefixes", "latest", 3 },
    { "prefixes", "!latest", 3 },
    { "prefixes", "latest == false", 3 },
    { "prefixes", "latest != false", 3 },
    { "prefixes", "os==debian-12 && version>=2026.05", 2 },
    { "prefixes", "version > 2026.04.1 && version < 2026.05.0", 1 },
    { "prefixes", "version == 2026.5.0", 3 },
    { "prefixes", 'os == "Ubuntu 24.04" || version <= 1.0.0', 2 },
    { "prefixes", "image == app && (latest || version == 2026.04.1)", 2 },
    { "prefixes", "!(image == app) && !(latest)", 1 },
    { "prefixes", "primary && image == app-server", 1 },
    { "variants-os", "variant == min", 3 },
    { "variants-os", "variant == AbC", 3 },
    { "variants-os", "platform == arm64", 3 },
    { "variants-os", "platform == linux/amd64 && primary", 1 },
    { "variants-os", "primary", 1 },
    { "matrix-and-versions", "matrix", 2 },
    { "matrix-and-versions", "!matrix", 1 },
    { "matrix-deps", "version =~ R4.4.3 && latest", 4 },
    { "minimal", "variant == x", 0 },
    { "minimal", "variant != x", 1 },
    { "minimal", "channel == daily || dev", 0 },
  } do
    it(case[2], function() assert.are.equal(case[3], #uids(case[1], case[2])) end)
  end
  it("narrows platforms", function()
    local list = assert(projects.targets(projects.fixture "registries-two", { select = "platform == arm64" }))
    assert.are.equal(2, #list)
    for _, item in ipairs(list) do assert.are.same({ "linux/arm64" }, item.platforms) end
  end)
  it("works together with the other filters", function()
    assert.are.same({ "app-2026-04-1-debian-12" }, (projects.uids(projects.fixture "prefixes",
      { image_name = "^app$", select = "version < 2026.05.0-a" })))
  end)
end)

describe("mistakes", function()
  for _, case in ipairs {
    { "", 1, "ends here" },
    { "imge == a", 1, "unknown field" },
    { "image", 6, "expected one of" },
    { "image ==", 9, "expected a value" },
    { "image == 'a", 10, "not closed" },
    { "image == a b", 12, "expected && or ||" },
    { "(image == a", 12, "expected )" },
    { "image == a &&", 14, "ends here" },
    { "image < a", 8, "no order" },
    { "image =~ '('", 9, "(" },
    { "latest == maybe", 10, "true or false" },
    { "latest < true", 9, "true or false" },
    { "&& latest", 1, "field name" },
  } do
    it(("%q"):format(case[1]), function()
      local found, err = expr.parse(case[1])
      assert.is_nil(found)
      assert.are.equal("usage", err.class)
      assert.are.equal(case[2], err.col)
      assert.is_truthy(err.message:find(case[3], 1, true), err.message)
    end)
  end
  it("suggests fields", function()
    local _, err = expr.parse "imge == a"
    assert.are.equal('did you mean "image"?', err.hint)
  end)
  it("has limits", function()
    assert.is_nil((expr.parse(("("):rep(2000) .. "latest")))
    assert.is_nil((expr.parse(("!"):rep(2000) .. "latest")))
    assert.is_nil((expr.parse(("a"):rep(5000))))
  end)
  it("reaches the caller of targets", function()
    local list, err = projects.targets(projects.fixture "minimal", { select = "nope" })
    assert.is_nil(list)
    assert.are.equal("select.expression", err.code)
  end)
end)
