-- Change sets: the classification table, the comparison of bakery.yaml, what a set lets through (commands.md 3.3).
local changes = require "app.ci.changes"
local plan = require "app.plan"
local projects = require "lib.projects"

local HEAD = "repository: {url: https://example.org/r}\n"
local OS = "os: [{name: Ubuntu 22.04, primary: true}]"

local TEXT = HEAD .. ([[
images:
  - name: app
    versions:
      - {name: 1.0.0, OS}
      - {name: 2.0.0, latest: true, OS}
      - {name: 2.0.0-b, subpath: 2.0.0, OS}
  - name: dev
    subpath: nested/dev
    versions: [{name: 1.0.0, latest: true, OS}]
    devVersions: [{sourceType: dependency, dependency: positron, version_override: 2026.03.0, channel: daily, OS}]
  - name: mx
    matrix: {values: {go: ["1.20", "1.21"]}, OS}
    devVersions: [{sourceType: dependency, dependency: positron, version_override: 2026.03.0, channel: daily, OS}]
  - name: inner
    subpath: app/inner
    versions: [{name: 1.0.0, OS}]
]]):gsub("OS", OS)

local function set_text(set)
  if set.full then return "full" end
  local out = {}
  for name, e in pairs(set.images) do
    local parts = {}
    for _, key in ipairs { "all", "row", "dev" } do if e[key] then parts[#parts + 1] = key end end
    local versions = {}
    for v in pairs(e.versions) do versions[#versions + 1] = v end
    table.sort(versions)
    for _, v in ipairs(versions) do parts[#parts + 1] = v end
    if #parts > 0 then out[#out + 1] = name .. "=" .. table.concat(parts, "+") end
  end
  table.sort(out)
  return table.concat(out, " ")
end

describe("classification", function()
  local layout = changes.layout(projects.parse(TEXT))
  for _, case in ipairs {
    { "README.md", "" }, { "app/1.0.0/NOTES.MD", "" }, { "app/readme.Md", "" },
    { "bakery.yaml", "full" }, { "bakery.yml", "full" }, { "sub/bakery.yaml", "full" },
    { ".github/workflows/ci.yaml", "full" }, { ".github/dependabot.yml", "" }, { ".github/workflows/x.md", "" },
    { ".gitignore", "" }, { ".pre-commit-config.yaml", "" }, { ".idea/x", "" }, { ".claude/a/b", "" },
    { ".gitignore2", "full" }, { ".ideas/x", "full" },
    { "app/.gitignore", "app=all" }, { "app/common.sh", "app=all" }, { "app", "app=all" },
    { "app/1.0.0/Containerfile.ubuntu2204", "app=1.0.0" }, { "app/1.0.0", "app=1.0.0" },
    { "app/1.0.00/x", "app=all" }, { "app/2.0.0/test/goss.yaml", "app=2.0.0+2.0.0-b" },
    { "app/template/Containerfile.jinja2", "" }, { "app/templates/x", "app=all" }, { "app/template", "app=all" },
    { "nested/dev/template/x", "dev=dev" }, { "nested/dev/1.0.0/x", "dev=1.0.0" }, { "nested/dev/x", "dev=all" },
    { "nested/other", "full" }, { "nested", "full" },
    { "mx/matrix/Containerfile", "mx=row+dev" }, { "mx/template/x", "mx=row+dev" }, { "mx/x", "mx=row+dev" },
    { "mxx/x", "full" }, { "Makefile", "full" }, { "/etc/passwd", "full" }, { "../x", "full" }, { "app/../mx/x", "full" },
    -- D27: the innermost of nested image directories counts
    { "app/inner/1.0.0/x", "inner=1.0.0" }, { "app/inner/x", "inner=all" }, { "app/inner/template/x", "" },
    { "app/innermost", "app=all" },
  } do
    it(case[1], function() assert.are.equal(case[2], set_text(changes.of({ case[1] }, layout))) end)
  end
  it("adds up", function()
    assert.are.equal("app=1.0.0 dev=dev mx=row+dev", set_text(changes.of({ "app/1.0.0/x", "README.md", "mx/x",
      "nested/dev/template/a" }, layout)))
    assert.are.equal("full", set_text(changes.of({ "app/1.0.0/x", "Makefile" }, layout)))
    assert.are.equal("", set_text(changes.of({}, layout)))
  end)
  it("reads odd sub-paths", function()
    local odd = changes.layout(projects.parse(HEAD .. "images:\n  - {name: a, subpath: ./x//a/, versions: [{name: '1'}]}\n"
      .. "  - {name: root, subpath: ., versions: [{name: '2'}]}\n"))
    assert.are.equal("a=1", set_text(changes.of({ "x/a/1/f" }, odd)))
    assert.are.equal("root=2", set_text(changes.of({ "2/f" }, odd)))
    assert.are.equal("root=all", set_text(changes.of({ "other" }, odd)))
  end)
  it("a version of an outer image inside an inner image's directory counts for both", function()
    local both = changes.layout(projects.parse(HEAD .. "images:\n  - {name: a, versions: [{name: '1', subpath: b/1}]}\n"
      .. "  - {name: b, subpath: a/b, versions: [{name: '1'}]}\n"))
    assert.are.equal("a=1 b=1", set_text(changes.of({ "a/b/1/f" }, both)))
  end)
end)

describe("bakery.yaml", function()
  local function compare(old, new)
    return set_text(changes.of({ "bakery.yaml" }, {}, old, new))
  end
  local BASE = [[
repository: {url: a.b}
registries: [{host: a}]
images:
  - name: app
    description: x
    versions:
      - {name: 1.0.0, os: [{name: D}]}
      - name: 2.0.0
        latest: true
        os: [{name: D}]
  - name: mx
    matrix:
      dependencies:
        - {dependency: R, versions: ["4.4.3", "4.3.3"]}
        - {dependency: python, versions: "3.12.1, 3.11.9"}
      values: {go: [a, b]}
      os: [{name: D}]
    devVersions: [{sourceType: dependency, dependency: positron, os: [{name: D}]}]
]]
  -- { name, text to find, replacement, effect }
  for _, case in ipairs {
    { "nothing", "a", "a", "" },
    { "a comment and quotes", "    description: x\n", "    # note\n    description: 'x'\n", "" },
    { "order of keys", "{name: 1.0.0, os: [{name: D}]}", "{os: [{name: D}], name: 1.0.0}", "" },
    { "the repository", "url: a.b", "url: a.c", "full" },
    { "root registries", "host: a", "host: b", "full" },
    { "a new root key", "registries:", "other: 1\nregistries:", "full" },
    { "an image key", "description: x", "description: y", "app=all" },
    { "a new image key", "    description: x\n", "    description: x\n    buildTarget: y\n", "app=all" },
    { "a version", "{name: 1.0.0, os: [{name: D}]}", "{name: 1.0.0, os: [{name: E}]}", "app=1.0.0" },
    { "a quoted value", "{name: 1.0.0, os", "{name: 1.0.0, buildTarget: '1', os", "app=1.0.0" },
    { "a new version", "    versions:\n      - {", "    versions:\n      - {name: 3.0.0}\n      - {", "app=3.0.0" },
    { "a removed version", "      - {name: 1.0.0, os: [{name: D}]}\n", "", "" },
    { "latest lost", "        latest: true\n", "", "" },
    { "latest set to false", "latest: true", "latest: no", "" },
    { "latest lost and more", "        latest: true\n", "        subpath: z\n", "app=2.0.0" },
    { "latest gained", "{name: 1.0.0, os", "{name: 1.0.0, latest: true, os", "app=1.0.0" },
    { "latest moved", "{name: 1.0.0, os: [{name: D}]}\n      - name: 2.0.0\n        latest: true\n",
      "{name: 1.0.0, latest: true, os: [{name: D}]}\n      - name: 2.0.0\n", "app=1.0.0" },
    { "a version and an image key", "description: x\n    versions:\n      - {name: 1.0.0,",
      "versions:\n      - {name: 1.0.0, latest: true,", "app=all+1.0.0" },
    { "a new image", "images:\n", "images:\n  - {name: new, versions: [{name: '1'}]}\n", "" },
    { "a pinned value removed", '"4.4.3", "4.3.3"', '"4.4.3"', "" },
    { "a pinned value of a comma list removed", "3.12.1, 3.11.9", "3.11.9", "" },
    { "a pinned value replaced", "4.3.3", "4.3.4", "mx=row+dev" },
    { "pinned values reordered", '"4.4.3", "4.3.3"', '"4.3.3", "4.4.3"', "mx=row+dev" },
    { "a pinned dependency removed", '        - {dependency: python, versions: "3.12.1, 3.11.9"}\n', "", "mx=row+dev" },
    { "a matrix value removed", "go: [a, b]", "go: [a]", "mx=row+dev" },
    { "a matrix image's key", "  - name: mx\n", "  - name: mx\n    description: z\n", "mx=row+dev" },
    { "images no list", "images:\n", "images: 5\nother:\n", "full" },
    { "a version without name", "{name: 1.0.0, os", "{nme: 1.0.0, os", "full" },
    { "a name twice", "name: 2.0.0", "name: 1.0.0", "full" },
    { "bad syntax", "images:\n", "images: [\n", "full" },
  } do
    it(case[1], function()
      local at, last = BASE:find(case[2], 1, true)
      assert(at, "fixture")
      assert.are.equal(case[4], compare(BASE, BASE:sub(1, at - 1) .. case[3] .. BASE:sub(last + 1)))
    end)
  end
  it("a removed image is no signal, an emptied text is everything", function()
    assert.are.equal("", compare(BASE, (BASE:gsub("  %- name: mx.*$", ""))))
    assert.are.equal("full", compare(BASE, ""))
    assert.are.equal("full", compare("- a\n", BASE))
  end)
  it("development versions that changed are concerned too", function()
    local old = "repository: {url: a}\nimages:\n  - {name: a, versions: [], devVersions: [{sourceType: x}]}\n"
    assert.are.equal("a=all+dev", compare(old, (old:gsub("sourceType: x", "sourceType: y"))))
    assert.are.equal("a=all", compare(old, (old:gsub("name: a", "name: a, description: d"))))
  end)
end)

describe("selection", function()
  local function rows(paths, filters, text)
    local found = projects.parse(text or TEXT)
    filters.changes = changes.of(paths, changes.layout(found))
    local list = assert(plan.select(found, filters, { resolver = projects.resolver() }))
    local out = {}
    for i, s in ipairs(list) do out[i] = s.image.name .. " " .. s.version.name end
    return table.concat(out, ", ")
  end
  local ALL = { matrix_versions = "include", dev_versions = "include" }
  local function all() return { matrix_versions = ALL.matrix_versions, dev_versions = ALL.dev_versions } end
  it("narrows what the flags allow", function()
    assert.are.equal("mx go1.21, mx 2026.03.0", rows({ "mx/x" }, all()))
    assert.are.equal("mx go1.21", rows({ "mx/x" }, { matrix_versions = "include" }))
    assert.are.equal("", rows({ "mx/x" }, {}))
    assert.are.equal("dev 2026.03.0", rows({ "nested/dev/template/x" }, all()))
    assert.are.equal("", rows({ "nested/dev/template/x" }, {}))
    assert.are.equal("dev 1.0.0", rows({ "nested/dev/1.0.0/x" }, all()))
    assert.are.equal("app 1.0.0, app 2.0.0, app 2.0.0-b", rows({ "app/x" }, all()))
    assert.are.equal("", rows({ "app/x" }, { image_name = "dev" }))
    assert.are.equal("app 2.0.0", rows({ "app/x" }, { image_version = "2.0.0", latest = true }))
    assert.are.equal(9, select(2, rows({ "Makefile" }, all()):gsub("[^,]+", "")))
  end)
  it("takes all rows when none is known to be the latest", function()
    local text = HEAD .. "images: [{name: mx, matrix: {values: {go: [x, y]}, " .. OS .. "}}]\n"
    assert.are.equal("mx gox, mx goy", rows({ "mx/x" }, all(), text))
  end)
  it("looks nothing up for images that did not change", function()
    local requests = {}
    local found = projects.fixture "dev-versions"
    local set = changes.of({ "other.md" }, changes.layout(found))
    assert.are.same({}, assert(plan.select(found, { dev_versions = "include", changes = set },
      { resolver = projects.resolver(requests) })))
    assert.are.same({}, requests)
  end)
end)
