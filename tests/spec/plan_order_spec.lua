-- Push order (config.md 2.7, commands.md 3.4).
local plan = require "app.plan"
local projects = require "lib.projects"

local function order(name, filters)
  return plan.push_order(plan.document(assert(projects.targets(projects.fixture(name), filters))))
end

describe("push order", function()
  it("sets latest and primary last, versions by their parts", function()
    local out = order "large"
    assert.are.equal("wide-4-2-2-minimal-rocky-9", out[1])
    assert.are.same({ "wide-4-5-1-minimal-rocky-9", "wide-4-5-1-minimal-ubuntu-24-04",
      "wide-4-5-1-standard-rocky-9", "wide-4-5-1-standard-ubuntu-24-04" },
      { table.unpack(out, #out - 3) })
  end)
  it("knows prereleases", function()
    assert.are.same({ "app-2026-04-1-debian-12", "app-2026-05-0-dev-15-gabc-debian-12",
      "app-2026-05-0-debian-12" }, order("prefixes", { image_name = "^app$" }))
  end)
  it("puts names that are no releases and matrix rows first", function()
    local found = projects.image [[
    versions:
      - {name: 1.0.0, os: [{name: u}]}
      - {name: zzz, os: [{name: u}]}
      - {name: 0.9.10, os: [{name: u}]}
      - {name: 0.9.9, latest: true, os: [{name: u}]}
]]
    assert.are.same({ "img-zzz-u", "img-0-9-10-u", "img-1-0-0-u", "img-0-9-9-u" },
      plan.push_order(plan.document(assert(projects.targets(found)))))
  end)
  it("keeps the order of a foreign plan", function()
    assert.are.same({ "b", "a" }, plan.push_order { group = { default = { targets = { "b", "a" } } } })
  end)
end)
