-- bakery.yaml: types, defaults, coercions, checks and positions (config.md section 1).
local projects = require "lib.projects"
local project = require "app.project"

local OS = "    versions: [{name: '1', os: [{name: Debian 12}]}]\n"

local function first_error(text)
  return projects.errors(text)[1]
end

describe("the document", function()
  it("needs a repository", function()
    assert.are.same({ '1:1 the key "repository" is missing' }, (projects.errors ""))
    assert.are.same({ '1:1 the key "repository" is missing' }, (projects.errors "images: []\n"))
  end)
  it("is a mapping", function()
    assert.are.equal("1:1 expected a mapping (project), found a list", first_error "- a\n")
    assert.are.equal('1:1 expected a mapping (project), found the text "text"', first_error "text\n")
  end)
  it("reports syntax errors with position", function()
    local found, errors = project.parse("repository: [\n", { name = "dir/bakery.yaml" })
    assert.is_nil(found)
    assert.are.equal(1, #errors)
    assert.is_truthy(errors[1].where:find("^dir/bakery.yaml:%d+"))
    assert.are.equal("usage", errors[1].class)
  end)
  it("refuses duplicate keys and several documents", function()
    assert.are.equal(1, #projects.errors "repository: {url: a.b}\nimages: []\nimages: []\n")
    assert.are.equal(1, #projects.errors "repository: {url: a.b}\n---\nimages: []\n")
  end)
  it("warns when no images are defined", function()
    local _, warnings = projects.parse "repository: {url: a.b}\n"
    assert.are.same({ "images: no images are defined; most commands need one" },
      projects.texts(warnings))
  end)
  it("collects all problems in the order of the file", function()
    local errors = projects.errors [[
registries:
  - {host: 1, nmespace: x}
repository:
  url: "git@github.com:a/b.git"
  maintainer: nobody
images:
  - displayName: no name
    versions:
      - name: "1"
        latest: 2
        os: [{name: Debian, platforms: [linux/arm]}]
        subpath: ""
]]
    assert.are.same({
      "2:12 registries[0].host: expected a text, found the number 1",
      "2:15 registries[0].nmespace: unknown key in registry; allowed: host, namespace",
      "4:8 repository.url: \"git@github.com:a/b.git\" is not valid: \"a\" is not a port number",
      "5:15 repository.maintainer: \"nobody\" is not a person: the address has no @",
      '7:5 images[0]: the key "name" is missing',
      "10:17 images[0].versions[0].latest: expected true or false, found the number 2",
      "11:41 images[0].versions[0].os[0].platforms[0]: expected one of linux/amd64, linux/arm64, "
        .. 'found the text "linux/arm"',
      "12:18 images[0].versions[0].subpath: must not be empty",
    }, errors)
  end)
  it("names the file, the position and a hint in one line", function()
    local _, list = projects.errors "repository: {url: a.b}\nregistries:\n  - {hots: x}\n"
    assert.are.equal('bakery.yaml:3:5: registries[0]: the key "host" is missing\n'
      .. "bakery.yaml:3:6: registries[0].hots: unknown key in registry; allowed: host, namespace "
      .. '(did you mean "host"?)', tostring(list))
  end)
end)

describe("unknown keys", function()
  it("are ignored, with a hint when a known key is near", function()
    local _, warnings = projects.parse [[
repository: {url: a.b, vendr: x}
x-anything: 1
images:
  - name: a
    registries: []
    tags: []
    varaints: []
    versions: [{name: "1", latst: true, os: [{name: Debian 12, primary: true}]}]
]]
    local out = {}
    for i, w in ipairs(warnings) do out[i] = w.message .. " / " .. tostring(w.hint) end
    assert.are.same({
      'repository.vendr: unknown key, ignored / did you mean "vendor"?',
      'images[0].varaints: unknown key, ignored / did you mean "variants"?',
      'images[0].versions[0].latst: unknown key, ignored / did you mean "latest"?',
    }, out)
  end)
  for _, case in ipairs {
    { "a registry", "    extraRegistries: [{host: a, port: 5}]\n" .. OS, "4:33" },
    { "a dependency", "    versions: [{name: a, dependencies: [{dependency: R, version: '1', x: y}]}]\n" },
    { "a constraint entry",
      "    dependencyConstraints: [{dependency: R, constraint: {latest: true}, x: y}]\n" .. OS },
  } do
    it("are errors in " .. case[1], function()
      local errors = projects.image_errors(case[2])
      assert.are.equal(1, #errors)
      assert.is_truthy(errors[1]:find("unknown key in", 1, true))
    end)
  end
  it("are ignored inside constraint", function()
    assert.are.same({}, (projects.image_errors(
      "    dependencyConstraints: [{dependency: R, constraint: {latest: true, x: y}}]\n" .. OS)))
  end)
  it("repository in a root registry is an error", function()
    assert.are.equal(1, #projects.errors
      "repository: {url: a.b}\nregistries: [{host: a, repository: b}]\n")
  end)
end)

describe("scalars", function()
  local function bool(text)
    local found = projects.image("    versions: [{name: a, latest: " .. text .. ", os: [{name: D}]}]\n")
    return found.images[1].versions[1].latest
  end
  it("booleans", function()
    for _, text in ipairs { "true", "True", "1", "yes", "ON", "y", "T", "'1'", '"TRUE"' } do
      assert.is_true(bool(text), text)
    end
    for _, text in ipairs { "false", "0", "no", "Off", "N", "f", "'0'" } do
      assert.is_false(bool(text), text)
    end
    for _, text in ipairs { "2", "", "maybe", "[]", "{}", "1.5" } do
      assert.are.equal(1, #projects.image_errors("    versions: [{name: a, latest: " .. text .. " }]\n"),
        text)
    end
  end)
  it("whole numbers", function()
    local function wait(text)
      local found = projects.image("    options: [{tool: goss, wait: " .. text .. "}]\n" .. OS)
      return found.images[1].options[1].wait
    end
    assert.are.equal(5, wait "5")
    assert.are.equal(5, wait "5.0")
    assert.are.equal(5, wait "'5'")
    assert.are.equal(1, wait "true")
    assert.are.equal(-3, wait "'-3'")
    for _, text in ipairs { "5.5", "x", "[]", "'5.5'" } do
      assert.are.equal(1, #projects.image_errors("    options: [{tool: goss, wait: " .. text
        .. "}]\n" .. OS), text)
    end
  end)
  it("texts are never made of other types", function()
    for _, text in ipairs { "5", "1.5", "true", "2026-01-01", "", "null", "~", "[a]", "{a: b}" } do
      local errors = projects.image_errors("    displayName: " .. text .. "\n" .. OS)
      assert.are.equal(1, #errors, text)
      assert.is_truthy(errors[1]:find("expected a text", 1, true), text)
    end
    for _, text in ipairs { "yes", "on", "'5'", '"true"', "1.0.0", "0x", "2026.03.0-212" } do
      assert.are.same({}, (projects.image_errors("    displayName: " .. text .. "\n" .. OS)), text)
    end
  end)
  it("lists are not made of single values", function()
    local errors, list = projects.image_errors("    tagPatterns: abc\n" .. OS)
    assert.are.same({ '4:18 images[0].tagPatterns: expected a list, found the text "abc"' }, errors)
    assert.are.equal("write it as a list: - value", list[1].hint)
  end)
  it("enumerations are exact", function()
    local errors, list = projects.image_errors(
      "    tagPatterns: [{patterns: [a], only: [Latest]}]\n" .. OS)
    assert.are.equal(1, #errors)
    assert.are.equal('did you mean "latest"?', list[1].hint)
  end)
end)

describe("null", function()
  for _, key in ipairs { "displayName", "subpath", "extraRegistries", "overrideRegistries", "variants",
    "versions", "devVersions", "tagPatterns", "buildSecrets", "options", "dependencyConstraints" } do
    it("is an error for " .. key, function()
      assert.are.equal(1, #projects.image_errors("    " .. key .. ":\n"))
    end)
  end
  for _, key in ipairs { "description", "documentationUrl", "matrix", "buildTarget" } do
    it("is accepted for " .. key, function()
      assert.are.same({}, (projects.image_errors("    " .. key .. ":\n" .. OS)))
    end)
  end
  it("is an error for root lists", function()
    assert.are.equal(1, #projects.errors "repository: {url: a.b}\nimages:\n")
    assert.are.equal(1, #projects.errors "repository: {url: a.b}\nregistries:\n")
  end)
  it("is accepted for namespace, bounds, downloads and tool members", function()
    assert.are.same({}, (projects.errors [[
repository: {url: a.b}
registries: [{host: a, namespace: }]
images:
  - name: a
    options: [{tool: goss, runtimeOptions: }, {tool: soci, platforms: }, {tool: hadolint, ignored: }]
    dependencyConstraints: [{dependency: R, constraint: {latest: true, count: , min: , max: }}]
    versions: [{name: a, buildTarget: , os: [{name: D, artifactDownloadURL: }]}]
    devVersions: [{sourceType: dependency, dependency: positron, channel: , os: [{name: D}]}]
]]))
  end)
end)

describe("defaults", function()
  it("of the repository", function()
    local found = projects.parse "repository: {url: Example.org}\n"
    assert.are.equal("https://example.org/", found.repository.url)
    assert.are.equal("Posit Software, PBC", found.repository.vendor)
    assert.are.equal("Posit Docker Team <docker@posit.co>", found.repository.maintainer.text)
    assert.are.same({}, found.repository.authors)
  end)
  it("of an image, its variants, versions and operating systems", function()
    local found = projects.image [[
    variants: [{name: Std Foo!}]
    versions: [{name: a B, os: [{name: Ubuntu 22.04}]}]
]]
    local image = found.images[1]
    assert.are.equal("Img", image.display_name)
    assert.are.equal("img", image.subpath)
    assert.is_nil(image.tag_patterns)
    local variant, version = image.variants[1], image.versions[1]
    assert.are.same({ "stdfoo", "std-foo-", false },
      { variant.extension, variant.tag_display_name, variant.primary })
    assert.are.same({ "a-b", false }, { version.subpath, version.latest })
    local os = version.os[1]
    assert.are.same({ "ubuntu2204", "ubuntu-22.04", true, { "linux/amd64" } },
      { os.extension, os.tag_display_name, os.primary, os.platforms })
    assert.are.equal("jammy", os.build_os.codename)
  end)
  it("an explicit empty list of tag patterns stays empty", function()
    assert.are.same({}, projects.image("    tagPatterns: []\n" .. OS).images[1].tag_patterns)
  end)
end)

describe("names", function()
  it("may be used once", function()
    assert.are.same({
      '3:11 images[1].name: "a" is used twice (first in line 2)',
      '4:11 images[2].name: "a" is used twice (first in line 2)',
    }, (projects.errors "images:\n  - name: a\n  - name: a\n  - name: a\nrepository: {url: a.b}\n"))
    assert.are.equal(1, #projects.image_errors("    versions: [{name: a}, {name: a}]\n"))
    assert.are.equal(1, #projects.image_errors("    variants: [{name: a}, {name: a}]\n" .. OS))
    assert.are.equal(1, #projects.image_errors("    versions: [{name: a, dependencies: "
      .. "[{dependency: R, version: '1'}, {dependency: R, version: '2'}]}]\n"))
    assert.are.equal(1, #projects.image_errors("    dependencyConstraints: [{dependency: R, constraint: "
      .. "{latest: true}}, {dependency: R, constraint: {max: '4'}}]\n" .. OS))
  end)
  it("derived or written extensions and tag names are checked", function()
    assert.are.equal(1, #projects.image_errors("    variants: [{name: a, extension: a.b}]\n" .. OS))
    assert.are.equal(1, #projects.image_errors("    variants: [{name: a, extension: ''}]\n" .. OS))
    assert.are.equal(1, #projects.image_errors("    variants: [{name: a, tagDisplayName: 'a b'}]\n" .. OS))
    local errors, list = projects.image_errors("    variants: [{name: '!'}]\n" .. OS)
    assert.are.equal(1, #errors)
    assert.are.equal("set extension", list[1].hint)
  end)
end)

describe("registries", function()
  it("are merged and sorted by base, upper case first", function()
    local found, warnings = projects.parse [[
repository: {url: a.b}
registries:
  - {host: b, namespace: x}
  - {host: a}
  - {host: Z}
  - {host: b, namespace: x}
images: [{name: i, versions: [{name: a, os: [{name: D, primary: true}]}]}]
]]
    local out = {}
    for i, r in ipairs(found.registries) do out[i] = r.base end
    assert.are.same({ "Z", "a", "b/x" }, out)
    assert.are.same({ "registries[3]: the registry b/x is named twice" }, projects.texts(warnings))
  end)
  it("extra and override exclude each other, an empty override means none", function()
    local both = "extraRegistries: [{host: a}], overrideRegistries: [{host: b}]"
    assert.are.equal(1, #projects.image_errors("    versions: [{name: a, " .. both .. "}]\n"))
    assert.are.same({}, (projects.image_errors(
      "    extraRegistries: [{host: a}]\n    overrideRegistries: []\n" .. OS)))
  end)
  it("differ by repository", function()
    local found = projects.image("    extraRegistries: [{host: a, repository: x}, {host: a, repository: y},"
      .. " {host: a}]\n" .. OS)
    assert.are.equal(3, #found.images[1].extra_registries)
  end)
  it("are mappings", function()
    assert.are.equal(1, #projects.errors "repository: {url: a.b}\nregistries: [docker.io]\n")
  end)
end)

describe("people", function()
  it("map form needs name and email and nothing else", function()
    local function errors(person)
      return #projects.errors("repository: {url: a.b, maintainer: " .. person .. "}\n")
    end
    assert.are.equal(0, errors "{name: A, email: xxx}")
    assert.are.equal(1, errors "{name: A}")
    assert.are.equal(1, errors "{email: a@b.c}")
    assert.are.equal(1, errors "{name: A, email: a@b.c, x: y}")
    assert.are.equal(1, errors "5")
    assert.are.equal(1, errors "[a@b.co]")
  end)
end)

describe("operating systems", function()
  local function os_list(text)
    local found, warnings = projects.image("    versions: [{name: a, os: " .. text .. "}]\n")
    return found.images[1].versions[1].os, projects.texts(warnings)
  end
  it("an empty list warns", function()
    local _, warnings = os_list "[]"
    assert.are.same({ "images[0].versions[0].os: no operating systems are defined" }, warnings)
  end)
  it("are de-duplicated and sorted by name", function()
    local list, warnings = os_list
      "[{name: b}, {name: a, primary: true}, {name: b, primary: true}, {name: b, extension: c}]"
    assert.are.equal(3, #list)
    assert.are.same({ "a", "b", "c" }, { list[1].name, list[2].name, list[3].extension })
    assert.are.same({ 'images[0].versions[0].os[2]: the operating system "b" is named twice' }, warnings)
  end)
  it("a single one becomes primary even against its word", function()
    assert.is_true(os_list("[{name: a, primary: false}]")[1].primary)
  end)
  it("several primary ones are an error, none is a warning", function()
    assert.are.equal(1, #projects.image_errors(
      "    versions: [{name: a, os: [{name: b, primary: true}, {name: c, primary: true}]}]\n"))
    local _, warnings = os_list "[{name: b}, {name: c}]"
    assert.are.same({ "images[0].versions[0].os: no operating system is primary" }, warnings)
  end)
  it("platforms may be empty or repeated", function()
    assert.are.same({}, os_list("[{name: a, platforms: []}]")[1].platforms)
    assert.are.same({ "linux/arm64", "linux/arm64" },
      os_list("[{name: a, platforms: [linux/arm64, linux/arm64]}]")[1].platforms)
  end)
  it("artefact URLs are checked", function()
    assert.are.equal(1, #projects.image_errors(
      "    versions: [{name: a, os: [{name: b, artifactDownloadURL: 'ftp://x/y'}]}]\n"))
  end)
end)

describe("image warnings", function()
  it("no versions at all", function()
    local _, warnings = projects.image ""
    assert.are.same({ 'images[0]: image "img" has no versions, devVersions or matrix' },
      projects.texts(warnings))
  end)
  it("constraints or versions beside a matrix", function()
    local _, warnings = projects.image [[
    dependencyConstraints: [{dependency: R, constraint: {latest: true}}]
    versions: [{name: a, os: [{name: D, primary: true}]}]
    matrix: {values: {a: b}, os: [{name: D, primary: true}]}
]]
    assert.are.equal(2, #warnings)
  end)
  it("several latest versions and primary variants", function()
    local _, warnings = projects.image [[
    variants: [{name: a, primary: true}, {name: b, primary: true}]
    versions:
      - {name: a, latest: true, os: [{name: D, primary: true}]}
      - {name: b, latest: true, os: [{name: D, primary: true}]}
]]
    assert.are.same({ 'images[0].variants[1].primary: "b" is primary, but so is "a"',
      'images[0].versions[1].latest: "b" is latest, but so is "a"' }, projects.texts(warnings))
  end)
end)

describe("tag pattern syntax", function()
  local checks = require "app.project.checks"
  for _, text in ipairs { "latest", "a-b_c.1", "{{ Version }}", "{{Version}}-{{ OS }}", "x{{ 'A B' }}y",
    "{{ a }} {{ b }}", "{{ a }}}}", "{{ { } }}", "{{x}}", "{{{}}}" } do
    it("accepts " .. text, function() assert.is_true((checks.tag_pattern(text))) end)
  end
  for _, text in ipairs { "", "R{{ Version }}", "Latest", "{% if a %}b{% endif %}", "{# c #}a", "a/b",
    "a:b", "a b", "a\n", "{{}}", "{{ a", "{{ a\n }}", "{{ a }}!", "{a}", "é" } do
    it(("refuses %q"):format(text), function() assert.is_nil((checks.tag_pattern(text))) end)
  end
  it("is linear in hostile input", function()
    assert.is_nil((checks.tag_pattern(("{{"):rep(20000))))
    assert.is_true((checks.tag_pattern(("{{x}}"):rep(4000))))
  end)
  it("lists are lists", function()
    assert.are.equal(1, #projects.image_errors("    tagPatterns: [{patterns: a}]\n" .. OS))
    assert.are.equal(1, #projects.image_errors("    tagPatterns: [{patterns: [a], only: all}]\n" .. OS))
    assert.are.equal(1, #projects.image_errors("    tagPatterns: [{only: [all]}]\n" .. OS))
    assert.are.equal(0, #projects.image_errors("    tagPatterns: [{patterns: []}]\n" .. OS))
  end)
end)

describe("secrets and options", function()
  it("ids and variables", function()
    local function errors(text)
      return #projects.image_errors("    buildSecrets: [" .. text .. "]\n" .. OS)
    end
    assert.are.equal(0, errors "{id: a.b-c_1, envVar: A_1}, {id: _a, envVar: _}")
    assert.are.equal(0, errors "{id: a, envVar: A}, {id: a, envVar: A}")
    for _, text in ipairs { "{id: .a, envVar: A}", "{id: 'a b', envVar: A}", "{id: a, envVar: 1A}",
      "{id: a, envVar: A-B}", "{id: a}", "{envVar: A}" } do
      assert.are.equal(1, errors(text), text)
    end
  end)
  it("tools are known", function()
    local function errors(text)
      return projects.image_errors("    options: [" .. text .. "]\n" .. OS)
    end
    assert.are.same({}, (errors "{tool: goss}, {tool: soci}, {tool: hadolint}, {tool: wizcli}"))
    assert.are.equal(1, #errors "{tool: gos}")
    assert.are.equal(1, #errors "{wait: 5}")
    assert.are.equal(1, #errors "{tool: soci, prefetch_files: a}")
  end)
end)

describe("development versions", function()
  local function errors(text)
    return projects.image_errors("    devVersions: [{" .. text .. ", os: [{name: D}]}]\n")
  end
  it("of products", function()
    assert.are.same({}, (errors "sourceType: stream, product: connect, channel: release"))
    assert.are.same({}, (errors "sourceType: channel, product: workbench-session, channel: daily"))
    assert.are.same({}, (errors "sourceType: stream, product: package-manager, stream: preview"))
    assert.are.same({}, (errors
      "sourceType: stream, product: workbench, channel: daily, release_branch: x"))
    for _, text in ipairs { "product: connect, channel: release", "sourceType: x",
      "sourceType: stream, product: nope, channel: daily", "sourceType: stream, product: connect",
      "sourceType: stream, channel: daily", "sourceType: stream, product: connect, channel: stable" } do
      assert.are.equal(1, #errors(text), text)
    end
  end)
  it("of dependencies", function()
    assert.are.same({}, (errors "sourceType: dependency, dependency: positron, prerelease: yes"))
    assert.are.same({}, (errors "sourceType: dependency, dependency: R, channel: daily"))
    assert.are.equal(1, #errors "sourceType: dependency, dependency: positron, channel: release")
    assert.are.equal(1, #errors "sourceType: dependency")
  end)
  it("the key stream is deprecated unless channel is there too", function()
    local function warnings(text)
      local _, list = projects.image("    devVersions: [{sourceType: stream, product: connect, " .. text
        .. ", os: [{name: D}]}]\n")
      return projects.texts(list)
    end
    assert.are.same({ "images[0].devVersions[0].stream: the key stream is deprecated" },
      warnings "stream: daily")
    assert.are.same({}, warnings "stream: bogus, channel: daily")
  end)
end)

-- One row for what the sections above do not pin: { what, YAML below an image (or a whole document), number of
-- errors, warnings }.
describe("table", function()
  local HEAD = "repository: {url: a.b}\nimages:\n  - name: img\n"
  local function V(rest) return "    versions: [{name: a, os: [{name: Debian 12}]" .. rest .. "}]\n" end
  local function D(rest) return "    devVersions: [{sourceType: stream, product: connect, channel: daily, os: [{name: Debian 12}]"
    .. rest .. "}]\n" end
  local function M(rest) return "    matrix: {values: {a: b}, os: [{name: Debian 12}]" .. rest .. "}\n" end
  for _, row in ipairs {
    -- unknown keys, per kind of mapping
    { "repository", "repository: {url: a.b, zz: 1}\nimages: [{name: a, versions: [{name: a, os: [{name: Debian 12}]}]}]\n", 0, {} },
    { "root", "zz: {a: b}\n" .. HEAD .. V "", 0, {} },
    { "image, variant, version, os", "    zz: 1\n    variants: [{name: a, zz: 1}]\n    versions: [{name: a, zz: 1, "
      .. "os: [{name: Debian 12, zz: 1}]}]\n", 0, {} },
    { "matrix", M ", zz: 1", 0, {} },
    { "tag pattern", V "" .. "    tagPatterns: [{patterns: [a], zz: 1}]\n", 0, {} },
    { "build secret", V "" .. "    buildSecrets: [{id: a, envVar: A, zz: 1}]\n", 0, {} },
    { "development version", D ", zz: 1", 0, {} },
    { "tool option", V "" .. "    options: [{tool: goss, zz: 1}, {tool: hadolint, override: {zz: [a]}}]\n", 0, {} },
    { "internal members", V ", ephemeral: true, isDevelopmentVersion: true, metadata: {a: 1}", 0, {} },
    { "root registry", "registries: [{host: a, zz: 1}]\n" .. HEAD .. V "", 1 },
    { "own registry", V ", overrideRegistries: [{host: a, zz: 1}]", 1 },
    { "repository of an own registry", V ", extraRegistries: [{host: a, repository: b, namespace: c/d}]", 0, {} },
    -- null is no default
    { "values", V ", values: ", 1 }, { "os", "    versions: [{name: a, os: }]\n", 1 },
    { "dependencies", V ", dependencies: ", 1 }, { "latest", V ", latest: ", 1 },
    { "platforms", "    versions: [{name: a, os: [{name: Debian 12, platforms: }]}]\n", 1 },
    { "primary", "    versions: [{name: a, os: [{name: Debian 12, primary: }]}]\n", 1 },
    { "only", V "" .. "    tagPatterns: [{patterns: [a], only: }]\n", 1 },
    { "namePattern", M ", namePattern: ", 1 }, { "matrix values", "    matrix: {values: , os: []}\n", 1 },
    { "wait", V "" .. "    options: [{tool: goss, wait: }]\n", 1 },
    { "prefetch_files", V "" .. "    options: [{tool: soci, prefetch_files: }]\n", 1 },
    { "span_size and hadolint members", V "" .. "    options: [{tool: soci, span_size: }, {tool: hadolint, failureThreshold: , "
      .. "override: , noFail: }, {tool: wizcli, tags: }]\n", 0, {} },
    { "channel of a stream", "    devVersions: [{sourceType: stream, product: connect, channel: , os: [{name: D 1}]}]\n", 1 },
    { "namespace", V ", extraRegistries: [{host: a, namespace: }]", 0, {} },
    { "registry repository", V ", extraRegistries: [{host: a, repository: }]", 1 },
    { "constraint", V "" .. "    dependencyConstraints: [{dependency: R, constraint: }]\n", 1 },
    { "email", "repository: {url: a.b, maintainer: {name: a, email: }}\n", 1 },
    -- required keys
    { "host", "registries: [{namespace: a}]\n" .. HEAD .. V "", 1 }, { "variant name", "    variants: [{primary: true}]\n" .. V "", 1 },
    { "version name", "    versions: [{latest: true}]\n", 1 }, { "os name", "    versions: [{name: a, os: [{primary: true}]}]\n", 1 },
    { "patterns", V "" .. "    tagPatterns: [{}]\n", 1 }, { "tool", V "" .. "    options: [{}]\n", 1 },
    { "sourceType", "    devVersions: [{os: []}]\n", 1 },
    -- texts, also those that look like versions
    { "version 2026.02", "    versions: [{name: 2026.02, os: [{name: Debian 12}]}]\n", 0,
      { 'versions[0].name: the number 2026.02 is taken as the text "2026.02"' } },
    { "version 2026", "    versions: [{name: 2026, os: [{name: Debian 12}]}]\n", 0,
      { 'versions[0].name: the number 2026 is taken as the text "2026"' } },
    { "version 1e3", "    versions: [{name: 1e3, os: [{name: Debian 12}]}]\n", 1 },
    { "version true", "    versions: [{name: true, os: [{name: Debian 12}]}]\n", 1 },
    { "version date", "    versions: [{name: 2026-01-01, os: [{name: Debian 12}]}]\n", 1 },
    { "subpath 3.10", V ", subpath: 3.10", 0, { 'versions[0].subpath: the number 3.10 is taken as the text "3.10"' } },
    { "dependency 3.10", V ", dependencies: [{dependency: python, version: 3.10}]", 0,
      { 'versions[0].dependencies[0].version: the number 3.10 is taken as the text "3.10"' } },
    { "dependencies [3.10, 3.9]", V ", dependencies: [{dependency: python, versions: [3.10, '3.9']}]", 0,
      { 'versions[0].dependencies[0].versions[0]: the number 3.10 is taken as the text "3.10"' } },
    { "value 1.20", V ", values: {go: 1.20}", 0, { 'versions[0].values.go: the number 1.20 is taken as the text "1.20"' } },
    { "value 1", V ", values: {go: 1}", 1 }, { "value true", V ", values: {go: true}", 1 },
    { "value key 1", V ", values: {1: a}", 1 }, { "matrix value list", M ", namePattern: x", 0, {} },
    { "quoted", V ", values: {go: '1', b: \"true\", c: yes}", 0, {} },
    { "image name", "repository: {url: a.b}\nimages: [{name: 5}]\n", 1 },
    { "an empty image name", "repository: {url: a.b}\nimages: [{name: '', subpath: x, versions: [{name: a, os: [{name: D 1}]}]}]\n", 0, {} },
    { "an empty build target", V ", buildTarget: ''", 0, {} },
    -- both, either, neither
    { "version and versions", V ", dependencies: [{dependency: R, version: '1', versions: ['1']}]", 1 },
    { "an empty list of versions", V ", dependencies: [{dependency: R, versions: []}]", 1 },
    { "an empty version", V ", dependencies: [{dependency: R, version: ''}]", 0, {} },
    { "two quartos", V ", dependencies: [{dependency: quarto, version: '1, 2'}]", 1 },
    { "prerelease of R", V ", dependencies: [{dependency: R, version: '1', prerelease: true}]", 1 },
    { "a dependency pinned and constrained", "    matrix: {dependencies: [{dependency: R, version: '1'}], os: [{name: Debian 12}], "
      .. "dependencyConstraints: [{dependency: R, constraint: {latest: true}}]}\n", 1 },
    { "an empty matrix", "    matrix: {}\n", 1, nil }, { "a matrix of lists", M ", dependencies: []", 0, {} },
    { "no matrix", V "" .. "    matrix:\n", 0, {} },
    { "registries of a development version", D ", extraRegistries: [{host: a}], overrideRegistries: [{host: b}]", 1 },
    { "registries of a matrix", M ", extraRegistries: [{host: a}], overrideRegistries: [{host: b}]", 1 },
    { "registries twice", V ", extraRegistries: [{host: a}, {host: a}]", 0,
      { "versions[0].extraRegistries[1]: the registry a is named twice" } },
    -- warnings
    { "a system named by digits", "    versions: [{name: a, os: [{name: 12 Debian}]}]\n", 0, "config.unknown_os" },
    { "a development version without systems", "    devVersions: [{sourceType: dependency, dependency: positron}]\n", 0, "config.no_os" },
    { "constraints beside a matrix", M "" .. "    dependencyConstraints: [{dependency: R, constraint: {latest: true}}]\n", 0, "config.ignored" },
    -- YAML
    { "anchors and merge keys", "    versions:\n      - &a {name: a, os: [{name: Debian 12}]}\n      - {<<: *a, name: b}\n", 0, {} },
    { "a repeated key", V "" .. "    description: a\n    description: b\n", 1 },
  } do
    it(row[1], function()
      local text = row[2]:find "^%s" and HEAD .. row[2] or row[2]
      local found, errors, warnings = project.parse(text)
      assert.are.equal(row[3], found and 0 or #errors, tostring(errors or ""))
      if type(row[4]) == "string" then
        local codes = {}
        for _, w in ipairs(warnings) do codes[w.code] = true end
        assert.is_true(codes[row[4]])
      elseif row[4] and found then
        local texts = projects.texts(warnings)
        for i, line in ipairs(texts) do texts[i] = line:gsub("^images%[0%]%.", "") end
        assert.are.same(row[4], texts)
      end
    end)
  end

  it("options: defaults, the last of a variant, the first of an image, written members win", function()
    local options = require "app.project.options"
    local function effective(body, tool, variant)
      local image = projects.image(body .. V "").images[1]
      return options.effective(image, variant and image.variants[1], tool)
    end
    assert.are.same({ command = "sleep infinity", wait = 0, timeout = 900 }, effective("", "goss"))
    local soci = effective("", "soci")
    assert.are.same({ false, 0, 0 }, { soci.enabled, #soci.prefetch_files, #soci.optimizations })
    assert.are.same({}, effective("", "hadolint"))
    assert.are.same({}, effective("", "wizcli"))
    local two = "[{tool: goss, wait: 1, command: a}, {tool: goss, wait: 2}]\n"
    assert.are.same({ command = "a", wait = 1, timeout = 900 }, effective("    options: " .. two, "goss"))
    local variant = "    options: [{tool: goss, wait: 7, timeout: 1}]\n    variants: [{name: v%s}]\n"
    assert.are.equal(7, effective(variant:format "", "goss", true).wait)
    assert.are.same({ command = "sleep infinity", wait = 0, timeout = 1 },
      effective(variant:format ", options: [{tool: goss, wait: 5}, {tool: goss, wait: 0}]", "goss", true))
    assert.are.equal(7, effective(variant:format ", options: [{tool: soci}]", "goss", true).wait)
  end)
  it("derived members of matrix and development versions", function()
    local found = projects.image(M "" .. D ", stream: x")
    local image = found.images[1]
    assert.are.equal("matrix", image.matrix.subpath)
    assert.is_true(image.matrix.os[1].primary)
    assert.are.same({ "stream", "daily", true }, { image.dev_versions[1].source_type, image.dev_versions[1].channel,
      image.dev_versions[1].os[1].primary })
    -- A development version's only system becomes primary without a note, others are noted.
    assert.are.same({ "images[0].matrix.os[0]" }, { found.notes[1].key, found.notes[2] and found.notes[2].key })
  end)
end)
