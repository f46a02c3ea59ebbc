-- Tags: filters, patterns, selection of patterns, suffix sets, references (templates.md section 1).
local patterns = require "app.project.patterns"
local projects = require "lib.projects"
local tags = require "app.plan.tags"

local VARS = { Version = "1.2.3+4-5", OS = "u-22.04", Variant = "std", Name = "img", Channel = "" }

describe("rendering one pattern", function()
  for _, case in ipairs {
    { "{{ Version }}", "1.2.3-4-5" },
    { "{{Version}}", "1.2.3-4-5" },
    { "{{ Version | stripMetadata }}", "1.2.3-4" },
    { "{{ Version|stripMetadata|stripMetadata }}", "1.2.3" },
    { "{{ Version }}-{{ Channel }}", false },
    { "{{ Version }}-{{Channel}}", "1.2.3-4-5" },
    { "{{ Version }}-{{ Foo }}", "1.2.3-4-5" },
    { "-{{ Version }}-", "1.2.3-4-5" },
    { "_{{ Version }}.", "1.2.3-4-5" },
    { "{{ Version }} {{ OS }}", "1.2.3-4-5-u-22.04" },
    { "{{ Version | condense }}", "123-45" },
    { '{{ Version | regexReplace("[0-9]+", "n") }}', "n.n.n-n-n" },
    { '{{ OS | replace("-", "") }}', "u22.04" },
    { '{{ "+x" }}', "-x" },
    { '{{ "ü" }}', "-" },
    { "{{ Name }}", "img" },
    { "{{Channel}}", "" },
    { "latest", "latest" },
  } do
    it(("%s gives %s"):format(case[1], tostring(case[2])), function()
      assert.are.equal(case[2], (tags.render(case[1], VARS)))
    end)
  end
  it("a filter on an undefined name is an error that names it", function()
    local out, err = tags.render("{{ Foo | stripMetadata }}", VARS)
    assert.is_nil(out)
    assert.is_truthy(tostring(err):find("stripMetadata", 1, true))
  end)
  it("a syntax error is an error", function()
    local out, err = tags.render("{{ Version | }}", VARS)
    assert.is_nil(out)
    assert.is_truthy(err)
  end)
  it("empty variables drop exactly spelled patterns only", function()
    local vars = { Version = "1", OS = "", Variant = "", Channel = "", Name = "i" }
    assert.is_false(tags.render("{{ Version }}-{{ OS }}", vars))
    assert.is_false(tags.render("{{ Variant }}", vars))
    assert.are.equal("1", (tags.render("{{ Version }}-{{OS}}", vars)))
    assert.are.equal("1", (tags.render("{{ Version }}-{{ OS | upper }}", vars)))
  end)
end)

describe("filters", function()
  local f = patterns.filters
  for _, case in ipairs {
    { "tagSafe", "a b", "a-b" },
    { "tagSafe", "-a-", "a" },
    { "tagSafe", "..a__", "a" },
    { "tagSafe", "2025.05.1+513.pro3", "2025.05.1-513.pro3" },
    { "tagSafe", "a//b", "a--b" },
    { "tagSafe", "ü", "" },
    { "stripMetadata", "1.2.3", "1.2.3" },
    { "stripMetadata", "1.2.3-rc1", "1.2.3" },
    { "stripMetadata", "1.2.3-dev+15-gSHA", "1.2.3-dev+15" },
    { "stripMetadata", "a-b-c", "a-b" },
    { "stripMetadata", "-a", "" },
    { "stripMetadata", "R4.3.3-python3.11.15", "R4.3.3" },
    { "stripPatch", "1.2.3.4", "1.2" },
    { "stripPatch", "1.2", "1.2" },
    { "stripPatch", "R4.3.3-python3.11.15", "R4.3-python3.11" },
    { "stripPatch", "2026.03.0-212", "2026.03-212" },
    { "stripPatch", "1.2.3abc", "1.2abc" },
    { "stripPatch", "1..2.3", "1..2.3" },
    { "stripPatch", "1.2.3.", "1.2." },
    { "condense", "Ubuntu 22.04", "Ubuntu2204" },
    { "condense", "a b.c-d_e", "abcd_e" },
    { "quote", "a", '"a"' },
  } do
    it(("%s of %q is %q"):format(case[1], case[2], case[3]), function()
      assert.are.equal(case[3], f[case[1]](case[2]))
    end)
  end
  it("regexReplace follows Python", function()
    assert.are.equal("foo_bar_baz", f.regexReplace("foo-bar-baz", "-", "_"))
    assert.are.equal("aXbXX", f.regexReplace("a1b23", "\\d", "X"))
    assert.are.equal("b-a", f.regexReplace("a-b", "(\\w)-(\\w)", "\\2-\\1"))
    assert.are.equal("-a-b--d-", f.regexReplace("abxd", "x*", "-"))
    assert.are.equal("xab", f.regexReplace("ab", "^", "x"))
  end)
  it("split gives a list", function()
    local out = f.split("a,b,", ",")
    assert.are.same({ "a", "b", "" }, { out[1], out[2], out[3] })
  end)
end)

describe("selecting patterns", function()
  local none = { latest = false, latestPatch = false, primaryOS = false, primaryVariant = false,
    channelLatest = false }
  local function with(...)
    local out = {}
    for k, v in pairs(none) do out[k] = v end
    for _, name in ipairs { ... } do out[name] = true end
    return out
  end
  for _, case in ipairs {
    { {}, none, true },
    { { "all" }, none, true },
    { { "latest" }, none, false },
    { { "latest" }, with "latest", true },
    { { "all", "latest" }, none, true },
    { { "latest", "primaryOS" }, with "latest", false },
    { { "latest", "primaryOS" }, with("latest", "primaryOS"), true },
    { { "channelLatest" }, none, false },
    { { "all", "channelLatest" }, none, false },
    { { "channelLatest", "all", "latest" }, with "channelLatest", true },
    { { "latestPatch" }, with "latestPatch", true },
  } do
    it(table.concat(case[1], "+") .. " is " .. tostring(case[3]), function()
      assert.are.equal(case[3], tags.applies(case[1], case[2]))
    end)
  end
end)

-- Suffixes of one target of an image.
local function suffixes(body, filters, uid)
  local targets = assert(projects.targets(projects.image(body), filters or { matrix_versions = "include" }))
  for _, target in ipairs(targets) do
    if not uid or target.uid == uid then return target.suffixes end
  end
end

local VARIANTS = "    variants: [{name: std, primary: true}, {name: min}]\n"

describe("suffix sets", function()
  it("single OS, latest, no variants", function()
    assert.are.same({ "1.0.0", "1.0.0-scratch", "latest", "scratch" }, suffixes
      "    versions: [{name: 1.0.0, latest: true, os: [{name: Scratch}]}]\n")
  end)
  local two = VARIANTS .. "    versions: [{name: 1.0.0, latest: true, os: [{name: ubuntu 22.04, primary: true}]}]\n"
  it("secondary variant", function()
    assert.are.same({ "1.0.0-min", "1.0.0-ubuntu-22.04-min", "min", "ubuntu-22.04-min" },
      suffixes(two, nil, "img-1-0-0-min-ubuntu-22-04"))
  end)
  it("primary variant", function()
    assert.are.same({ "1.0.0", "1.0.0-std", "1.0.0-ubuntu-22.04", "1.0.0-ubuntu-22.04-std", "latest",
      "std", "ubuntu-22.04", "ubuntu-22.04-std" }, suffixes(two, nil, "img-1-0-0-std-ubuntu-22-04"))
  end)
  it("metadata is stripped once", function()
    assert.are.same({ "2025.05.1-513.pro3-a-b", "2025.05.1-513.pro3-u-a-b", "2025.05.1-a-b",
      "2025.05.1-u-a-b" }, suffixes
      "    variants: [{name: a-b}]\n    versions: [{name: 2025.05.1+513.pro3, os: [{name: u}]}]\n")
  end)
  it("no OS", function()
    assert.are.same({ "1-v" }, suffixes "    variants: [{name: V}]\n    versions: [{name: '1'}]\n")
  end)
  it("custom patterns replace the defaults", function()
    assert.are.same({}, suffixes(
      "    tagPatterns: [{patterns: [a], only: [latest]}]\n    versions: [{name: '1', os: [{name: u}]}]\n"))
    assert.are.same({}, suffixes("    tagPatterns: []\n    versions: [{name: '1', os: [{name: u}]}]\n"))
  end)
  it("variant patterns are added to the image's", function()
    local body = [[
    variants: [{name: A, primary: true, tagPatterns: [{patterns: ["zz-{{ Version }}"]}]}, {name: B}]
    versions: [{name: '1', os: [{name: u}]}]
]]
    assert.are.same({ "1", "1-a", "1-u", "1-u-a", "zz-1" }, suffixes(body, nil, "img-1-a-u"))
    assert.are.same({ "1-b", "1-u-b" }, suffixes(body, nil, "img-1-b-u"))
  end)
  it("matrix rows", function()
    assert.are.same({ "R4.4-python3.12", "R4.4-python3.12-u", "R4.4.3-python3.12.2",
      "R4.4.3-python3.12.2-u", "latest", "u" }, suffixes([[
    matrix:
      namePattern: "R{{ Dependencies.R }}-python{{ Dependencies.python }}"
      dependencies: [{dependency: R, versions: [4.4.3, 4.4.2]}, {dependency: python, versions: [3.12.2, 3.12.1]}]
      os: [{name: u}]
]], nil, "img-r4-4-3-python3-12-2-u"))
  end)
  local dev = "    devVersions: [{sourceType: dependency, dependency: positron, %s, os: [{name: ubuntu 22.04}]}]\n"
  local function dev_suffixes(version, channel, resolver)
    local targets = assert(projects.targets(projects.image(dev:format(channel)),
      { dev_versions = "only", dev_spec = not resolver and { version = version } or nil },
      { resolver = resolver }))
    return targets[1].suffixes
  end
  it("a development version at the head of its channel", function()
    assert.are.same({ "2025.04.0-dev-10", "2025.04.0-dev-10-gbe0a4a3d31",
      "2025.04.0-dev-10-gbe0a4a3d31-ubuntu-22.04", "2025.04.0-dev-10-ubuntu-22.04", "daily",
      "daily-ubuntu-22.04" }, dev_suffixes(nil, "channel: daily", function()
        return { "2025.04.0-dev+10-gbe0a4a3d31" }
      end))
  end)
  it("a development version without channel", function()
    assert.are.same({ "2026.03.0", "2026.03.0-212", "2026.03.0-212-ubuntu-22.04",
      "2026.03.0-ubuntu-22.04" }, dev_suffixes(nil, "prerelease: true", function()
        return { "2026.03.0-212" }
      end))
  end)
  it("a pinned development version has no channel tags", function()
    assert.are.same({ "2026.03.0", "2026.03.0-5", "2026.03.0-5-ubuntu-22.04",
      "2026.03.0-ubuntu-22.04" }, dev_suffixes("2026.03.0-5", "channel: daily"))
  end)
end)

describe("references", function()
  local function r(base, repository) return { base = base, repository = repository } end
  it("cross registries and suffixes, sorted", function()
    assert.are.same({ "b.io/n/img:1", "b.io/n/img:2", "localhost:5000/img:1", "localhost:5000/img:2" },
      tags.references("img", { r "localhost:5000", r "b.io/n" }, { "1", "2" }))
  end)
  it("without registries are bare", function()
    assert.are.same({ "img:1" }, tags.references("img", {}, { "1" }))
  end)
  it("take the registry's repository", function()
    assert.are.same({ "b/other:1" }, tags.references("img", { r("b", "other") }, { "1" }))
  end)
  it("an empty suffix gives no tag", function()
    assert.are.same({ "b/img", "b/img:x" }, tags.references("img", { r "b" }, { "", "x" }))
  end)
  it("are not repeated by colliding registries", function()
    assert.are.same({ "bo/b:2" }, tags.references("b", { r "bo", r("bo", "b") }, { "2" }))
  end)
end)
