-- Dependency entries, constraints and unquoted versions (config.md 1.11, 2.2).
local projects = require "lib.projects"

local function entry(text)
  local found = projects.image("    versions: [{name: a, dependencies: [{" .. text
    .. "}], os: [{name: D}]}]\n")
  return found.images[1].versions[1].dependencies[1].versions
end

local function entry_errors(text)
  return projects.image_errors("    versions: [{name: a, dependencies: [{" .. text .. "}]}]\n")
end

describe("version entries", function()
  it("take a list, one text or a comma list", function()
    assert.are.same({ "4.5.1" }, entry "dependency: R, version: 4.5.1")
    assert.are.same({ "4.5.1", "4.4" }, entry "dependency: R, versions: [4.5.1, '4.4']")
    assert.are.same({ "4.5.1", "4.4", "x" }, entry "dependency: R, version: '4.5.1, 4.4 ,x'")
    assert.are.same({ "1.0.0", "1.0.0" }, entry "dependency: python, version: [1.0.0, 1.0.0]")
    assert.are.same({ "" }, entry "dependency: R, version: ''")
    assert.are.same({ "1.7" }, entry "dependency: quarto, version: '1.7', prerelease: true")
  end)
  for _, text in ipairs {
    "version: '1'", -- no dependency
    "dependency: r, version: '1'",
    "dependency: julia, version: '1'",
    "dependency: R",
    "dependency: R, version: []",
    "dependency: R, version: ",
    "dependency: R, version: true",
    "dependency: R, versions: [[a]]",
    "dependency: R, versions: {a: b}",
    "dependency: R, version: 2026-01-01",
    "dependency: R, version: '1', versions: ['2']",
    "dependency: R, version: '1', prerelease: true",
    "dependency: python, version: '1', prerelease: false",
    "dependency: quarto, versions: ['1', '2']",
    "dependency: quarto, version: '1,2'",
  } do
    it("refuses {" .. text .. "}", function() assert.are.equal(1, #entry_errors(text)) end)
  end
end)

describe("numbers without quotes", function()
  it("keep their text with a warning where a version is meant", function()
    local found, warnings = projects.image [[
    versions:
      - name: 2026.10
        subpath: 2026.10
        dependencies: [{dependency: python, version: 3.10}, {dependency: R, versions: [4.10, 4]}]
        values: {go: 1.20}
        os: [{name: Debian 12, primary: true}]
]]
    local version = found.images[1].versions[1]
    assert.are.same({ "2026.10", "2026.10" }, { version.name, version.subpath })
    assert.are.same({ "3.10" }, version.dependencies[1].versions)
    assert.are.same({ "4.10", "4" }, version.dependencies[2].versions)
    assert.are.equal("1.20", version.values.values.go)
    assert.are.equal(6, #warnings)
    assert.are.equal('quote it: "2026.10"', warnings[1].hint)
    assert.are.equal("bakery.yaml:5:15", warnings[1].where)
  end)
  it("are errors elsewhere", function()
    for _, text in ipairs { "values: {k: 1}", "values: {k: true}", "values: {k: 1e3}",
      "os: [{name: 22.04}]", "name: 0x10", "name: 1e5" } do
      local body = text:find("^name") and "    versions: [{" .. text .. "}]\n"
        or "    versions: [{name: a, " .. text .. "}]\n"
      assert.are.equal(1, #projects.image_errors(body), text)
    end
  end)
end)

describe("constraints", function()
  local function constraint(text)
    local found, warnings = projects.image("    dependencyConstraints: [{dependency: positron, constraint: {"
      .. text .. "}}]\n    versions: [{name: a, os: [{name: D, primary: true}]}]\n")
    return found.images[1].dependency_constraints[1].constraint, warnings
  end
  local function errors(text)
    return #projects.image_errors("    dependencyConstraints: [{dependency: positron, constraint: {"
      .. text .. "}}]\n    versions: [{name: a, os: [{name: D}]}]\n")
  end
  it("latest alone counts one", function()
    assert.are.equal(1, constraint("latest: true").count)
    assert.are.equal(3, constraint("latest: true, count: 3").count)
    assert.is_nil(constraint("latest: true, min: '4'").count)
    assert.is_nil(constraint("latest: false").count)
  end)
  it("bounds keep the text of numbers", function()
    local found, warnings = constraint "max: 4.10, count: 1"
    assert.are.equal("4.10", found.max)
    assert.are.equal(1, #warnings)
    found, warnings = constraint "max: 4"
    assert.are.equal("4", found.max)
    assert.are.equal(0, #warnings)
    assert.are.equal("4.3", constraint("max: 4.3").max)
  end)
  for _, text in ipairs { "", "count: 2", "min: '4'", "latest: true, max: '4'", "latest: false, max: '4'",
    "latest: true, count: 2, min: '4'", "max: '5', min: '4', count: 2", "max: '4.3', min: '4.3.2'",
    "max: '4', min: '4.3'", "latest: true, count: 0", "latest: true, count: -1", "max: [], latest: ",
    "max: 'a b', min: '1'" } do
    it("refuses {" .. text .. "}", function() assert.are.equal(1, errors(text)) end)
  end
  for _, text in ipairs { "latest: true", "latest: yes, min: '4.3.2'", "max: '4.3', min: '4.3'",
    "max: '4.3'", "max: 'a b'", "max: '4.3.1', min: '4.1.2'", "latest: false", "max: '4', count: '2'" } do
    it("accepts {" .. text .. "}", function() assert.are.equal(0, errors(text)) end)
  end
  it("prerelease is for quarto and positron only", function()
    local function check(dependency)
      return #projects.image_errors("    dependencyConstraints: [{dependency: " .. dependency
        .. ", prerelease: true, constraint: {latest: true}}]\n    versions: [{name: a, os: [{name: D}]}]\n")
    end
    assert.are.same({ 0, 0, 1, 1 }, { check "quarto", check "positron", check "R", check "python" })
  end)
end)

describe("constraint resolution", function()
  local constraints = require "app.project.constraints"
  local r = { "4.5.1", "4.5.0", "4.4.3", "4.4.2", "4.3.3", "4.3.1", "4.2.3", "4.1.3" }
  local positron = { "2026.03.0-212", "2026.02.1-5", "2026.02.0-100" }
  for _, case in ipairs {
    { r, { latest = true, count = 1 }, { "4.5.1" } },
    { r, { latest = true, count = 3 }, { "4.5.1", "4.4.3", "4.3.3" } },
    { r, { latest = true, min = "4.3.2" }, { "4.5.1", "4.4.3", "4.3.3" } },
    { r, { latest = false }, { "4.5.1", "4.4.3", "4.3.3", "4.2.3", "4.1.3" } },
    { r, { max = "4.3", count = 2 }, { "4.3.3", "4.2.3" } },
    { r, { max = "4.3.1", min = "4.1.2" }, { "4.3.1", "4.2.3", "4.1.3" } },
    { r, { max = "4.1", count = 1 }, { "4.1.3" } },
    { positron, { max = "2026.02", count = 1 }, { "2026.02.1-5" } },
    { positron, { max = "2026.02.1", count = 1 }, { "2026.02.0-100" } },
    { positron, { max = "2026.02.1-5", count = 1 }, { "2026.02.1-5" } },
  } do
    it("gives " .. table.concat(case[3], " "), function()
      local found, err = constraints.resolve({ dependency = "R", constraint = case[2] },
        function() return case[1] end)
      assert.are.same(case[3], found, tostring(err))
    end)
  end
  it("an empty result is an error", function()
    local found, err = constraints.resolve({ dependency = "R", constraint = { max = "1.0" } },
      function() return r end)
    assert.is_nil(found)
    assert.is_truthy(err.message)
  end)
  it("of quarto gives one version", function()
    assert.is_nil((constraints.resolve({ dependency = "quarto", constraint = { latest = true, count = 2 } },
      function() return { "1.7.34", "1.6.43" } end)))
  end)
  it("needs a resolver", function()
    local found, err = constraints.resolve({ dependency = "R", constraint = { latest = true } })
    assert.is_nil(found)
    assert.are.equal("config.no_resolver", err.code)
  end)
end)
