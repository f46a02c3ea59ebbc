-- Matrix expansion, latest and latest-patch rows (config.md 1.10, 2.5, 2.6).
local matrix = require "app.project.matrix"
local projects = require "lib.projects"

local function load(body)
  return projects.image("    matrix:\n      os: [{name: Debian 12, primary: true}]\n" .. body).images[1]
end

local function rows(body, resolver)
  local list, warnings = matrix.rows(load(body).matrix, resolver)
  assert(list, tostring(warnings))
  return list, warnings
end

local function names(list, flag)
  local out = {}
  for _, row in ipairs(list) do
    if type(flag) ~= "string" or row[flag] then out[#out + 1] = row.name end
  end
  return out
end

local DEPS = "      dependencies:\n"

describe("name pattern", function()
  it("names dependencies, constraints, then values by key", function()
    local image = load(DEPS .. [[
        - {dependency: python, version: '3.12'}
        - {dependency: R, version: '4.5'}
      dependencyConstraints: [{dependency: positron, constraint: {latest: true}}]
      values: {zeta: a, alpha: b}
]])
    assert.are.equal("python{{ Dependencies.python }}-R{{ Dependencies.R }}"
      .. "-positron{{ Dependencies.positron }}-alpha{{ Values.alpha }}-zeta{{ Values.zeta }}",
      matrix.default_pattern(image.matrix))
  end)
  it("renders leniently and is stripped", function()
    assert.are.same({ "x" }, names(rows(
      "      namePattern: ' -._{{ Nope }}x{{ Values.q }}._ '\n      values: {a: b}\n")))
  end)
  it("an error names the key and the pattern", function()
    local list, err = matrix.rows(load("      namePattern: '{{ Values. }}'\n      values: {a: b}\n").matrix)
    assert.is_nil(list)
    assert.are.equal("bakery.yaml:6:20", err.where)
    assert.is_truthy(err.message:find("namePattern {{ Values. }}", 1, true))
  end)
end)

describe("rows", function()
  it("are the product of the axes, the first changing slowest", function()
    local list = rows(DEPS .. [[
        - {dependency: R, versions: [4.4.3, 4.3.3]}
        - {dependency: python, versions: ['3.12', '3.11']}
      namePattern: "r{{ Dependencies.R }}-py{{ Dependencies.python }}"
]])
    assert.are.same({ "r4.4.3-py3.12", "r4.4.3-py3.11", "r4.3.3-py3.12", "r4.3.3-py3.11" }, names(list))
    local row = list[2]
    assert.are.same({ { dependency = "R", versions = { "4.4.3" } },
      { dependency = "python", versions = { "3.11" } } }, row.dependencies)
    assert.is_true(row.is_matrix)
    assert.are.equal("matrix", row.subpath)
    assert.are.equal("img", row.image.name)
  end)
  it("keep values in file order; scalars are single", function()
    local row = rows("      values: {z: [one, two], a: b}\n")[1]
    assert.are.same({ "z", "a" }, row.values.keys)
    assert.are.same({ z = "one", a = "b" }, row.values.values)
    assert.are.equal("ab-zone", row.name)
  end)
  it("an empty list gives none", function()
    assert.are.same({}, names(rows "      values: {a: [], b: c}\n"))
  end)
  it("members must be texts", function()
    local image, warnings = projects.image("    matrix:\n      os: [{name: D, primary: true}]\n"
      .. "      values: {go: ['1.20', 1, true]}\n")
    assert.are.equal(1, #warnings)
    local list, err = matrix.rows(image.images[1].matrix)
    assert.is_nil(list)
    assert.are.equal("bakery.yaml:6:29", err.where)
    assert.is_truthy(err.message:find("found the number 1", 1, true))
  end)
  it("take registries, operating systems and the build target of the matrix", function()
    local found = projects.parse [[
repository: {url: a.b}
registries: [{host: root}]
images:
  - name: img
    extraRegistries: [{host: image}]
    matrix:
      values: {a: b}
      buildTarget: stage
      extraRegistries: [{host: matrix}]
      os: [{name: D, primary: true}]
]]
    local row = matrix.rows(found.images[1].matrix)[1]
    local bases = {}
    for i, r in ipairs(row:registries()) do bases[i] = r.base end
    assert.are.same({ "matrix", "image", "root" }, bases)
    assert.are.equal("stage", row.build_target)
  end)
  it("too many are refused", function()
    local axis = "[" .. ("a,"):rep(200) .. "b]"
    local list, err = matrix.rows(load("      values: {a: " .. axis .. ", b: " .. axis .. "}\n").matrix)
    assert.is_nil(list)
    assert.are.equal("config.matrix_size", err.code)
  end)
  it("constraints go through the resolver, once", function()
    local requests = {}
    local image = load [[
      dependencyConstraints: [{dependency: R, constraint: {latest: true, count: 2}}]
]]
    local resolver = projects.resolver(requests)
    assert.are.same({ "R4.5.1", "R4.4.3" }, names(assert(matrix.rows(image.matrix, resolver))))
    matrix.rows(image.matrix, resolver)
    assert.are.same({ { kind = "versions", dependency = "R", prerelease = false,
      constraint = { latest = true, count = 2 } } }, requests)
  end)
  it("constraints without a resolver are an error with position", function()
    local list, err = matrix.rows(load(
      "      dependencyConstraints: [{dependency: R, constraint: {latest: true}}]\n").matrix)
    assert.is_nil(list)
    assert.are.equal("config.no_resolver", err.code)
    assert.are.equal("bakery.yaml:6:31", err.where)
  end)
end)

describe("latest rows", function()
  for _, case in ipairs {
    { "a scalar is no axis", "values: {ed: pro}", {}, { "edpro" }, 0 },
    { "texts that are no versions", "values: {go: [go1.24.1, go1.24.3, go1.25.0]}", {},
      { "gogo1.24.3", "gogo1.25.0" }, 1 },
    { "a version with a suffix", "values: {go: [1.24-lib2.3.1, 1.24-lib2.3.2]}", {},
      { "go1.24-lib2.3.2" }, 1 },
    { "two dependencies", "dependencies: [{dependency: R, versions: [4.4.3, 4.4.2, 4.3.3]}, "
      .. "{dependency: python, versions: [3.12.1, 3.12.2, 3.11.9]}]", { "R4.4.3-python3.12.2" },
      { "R4.4.3-python3.12.2", "R4.4.3-python3.11.9", "R4.3.3-python3.12.2", "R4.3.3-python3.11.9" }, 0 },
    { "equal versions", "dependencies: [{dependency: R, versions: ['4.4', 4.4.0]}]", { "R4.4" },
      { "R4.4" }, 0 },
    { "unparseable dependency", "dependencies: [{dependency: R, versions: [devel, 4.4.0]}]", {}, {}, 2 },
    { "numeric order", "values: {v: ['1.9', '1.10']}", { "v1.10" }, { "v1.9", "v1.10" }, 0 },
    { "first of equals", "values: {v: [1.0.0, 1.0.0+a, '1.0']}", { "v1.0.0+a" },
      { "v1.0.0", "v1.0.0+a" }, 0 },
  } do
    it(case[1], function()
      local list, warnings = rows("      " .. case[2] .. "\n")
      assert.are.same(case[3], names(list, "latest"))
      assert.are.same(case[4], names(list, "latest_patch"))
      assert.are.equal(case[5], #warnings)
    end)
  end
  it("an empty axis beside others gives no rows and a warning", function()
    local list, warnings = rows "      values: {a: ['1.0', '2.0'], b: []}\n"
    assert.are.same({}, list)
    assert.are.equal(1, #warnings)
  end)
  it("a list of one is an axis, a scalar is not", function()
    assert.are.same({ "v1.0" }, names(rows("      values: {v: ['1.0']}\n"), "latest"))
    assert.are.same({}, names(rows("      values: {v: '1.0'}\n"), "latest"))
  end)
end)
