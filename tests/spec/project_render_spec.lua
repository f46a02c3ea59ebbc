-- Rendering of template files (templates.md 2.1 to 2.5).
local fs = require "bakery.fs"
local project = require "app.project"
local projects = require "lib.projects"
local render = require "app.project.render"

local FULL = "tests/fixtures/render/full"

describe("a committed tree", function()
  it("is what its templates give, nothing more and nothing less", function()
    local expected = {}
    for _, file in ipairs(projects.rendered(assert(project.load(FULL)))) do
      local path = fs.join(FULL, file.path)
      expected[file.path] = true
      assert.are.equal(fs.read(path), file.text, path)
      assert.are.equal(fs.stat(path).mode & 73, file.mode & 73, path)
    end
    assert.are.same({}, projects.strays(FULL, expected))
  end)
end)

describe("normalisation", function()
  for _, case in ipairs {
    { "a  \n\t\nb\n  \n\n\n", "a\n\nb\n" },
    { "", "" },
    { "\n\n", "\n" },
    { "  \n\t\n", "\n" },
    { " \t ", "" },
    { "a", "a\n" },
    { "\n\na \t", "\n\na\n" },
    { "  x\n", "  x\n" },
  } do
    it(("%q"):format(case[1]), function() assert.are.equal(case[2], render.normalise(case[1])) end)
  end
end)

describe("templates", function()
  local dir
  before_each(function()
    dir = assert(fs.realpath(assert(fs.tmpdir "render-spec")))
    fs.mkdir(dir .. "/img/template", { parents = true })
  end)
  after_each(function() fs.remove(dir, { recursive = true }) end)

  local function write(path, text, mode)
    local full = dir .. "/img/template/" .. path
    fs.mkdir(fs.dirname(full), { parents = true })
    assert(fs.write(full, text, { mode = mode }))
  end

  -- Renders the only version of image img; image is extra YAML.
  local function run(image, opts, as_matrix)
    local found, errors = project.parse("repository: {url: a.b}\nimages:\n  - name: img\n" .. (image
      or "    versions: [{name: 1.0.0, os: [{name: Ubuntu 22.04}]}]\n"), { dir = dir })
    assert(found, tostring(errors))
    local files, notes, good = project.render(found, found.images[1],
      not as_matrix and found.images[1].versions[1] or nil, opts)
    if not files then return nil, notes, good end
    local out = {}
    for _, file in ipairs(files) do out[file.path] = file.text end
    return out, notes
  end

  local VARIANTS = [[
    variants: [{name: Standard, primary: true}, {name: Minimal}]
    versions: [{name: 1.0.0, os: [{name: Ubuntu 22.04, primary: true}, {name: Scratch}]}]
]]

  it("names of outputs with variants", function()
    for _, name in ipairs { "Containerfile.ubuntu2204.jinja2", "Containerfile.jinja2",
      "Containerfile.rocky9.jinja2", "Containerfile.ubuntu2204.std.jinja2", "Containerfile.ubuntu2204.j2",
      "sub/Containerfile.jinja2", "d.j2", "e.jinja", "c.html" } do
      write(name, "x")
    end
    local out, notes = run(VARIANTS)
    local names = {}
    for name in pairs(out) do names[#names + 1] = name:sub(#"img/1.0.0/" + 1) end
    table.sort(names)
    assert.are.same({ "Containerfile.minimal", "Containerfile.standard", "Containerfile.ubuntu2204.minimal",
      "Containerfile.ubuntu2204.standard", "c.html", "d.j2", "e.jinja", "sub/Containerfile" }, names)
    assert.are.equal(3, #notes)
  end)
  it("names of outputs without variants", function()
    for _, name in ipairs { "Containerfile.ubuntu2204.jinja2", "Containerfile.rocky9.jinja2",
      "Containerfile.ubuntu2204.j2", "Containerfile.jinja2" } do
      write(name, "{{ Image.OS is defined }}")
    end
    assert.are.same({
      ["img/1.0.0/Containerfile"] = "False\n",
      ["img/1.0.0/Containerfile.rocky9"] = "False\n",
      ["img/1.0.0/Containerfile.ubuntu2204"] = "False\n",
      ["img/1.0.0/Containerfile.ubuntu2204.j2"] = "False\n",
    }, (run()))
  end)
  it("a matrix never skips", function()
    write("Containerfile.rocky9.jinja2", "{{ Image.OS is defined }}")
    write("Containerfile.ubuntu2204.j2", "x")
    assert.are.same({
      ["img/matrix/Containerfile.rocky9.std"] = "False\n",
      ["img/matrix/Containerfile.ubuntu2204.j2.std"] = "x\n",
    }, (run([[
    variants: [{name: std}]
    matrix: {values: {a: b}, os: [{name: Ubuntu 22.04}]}
]], nil, true)))
  end)
  it("variables of the operating system and the variant", function()
    write("Containerfile.ubuntu2204.jinja2",
      "{{ Image.Variant }} {{ Image.OS.Codename }} {{ Image.DownloadURL is defined }}")
    write("Containerfile.scratch.jinja2", "{{ Image.OS.Name }}:{{ Image.OS.Version }}:{{ Image.OS.Codename }}")
    local out = run(VARIANTS)
    assert.are.equal("Standard jammy False\n", out["img/1.0.0/Containerfile.ubuntu2204.standard"])
    assert.are.equal("scratch::None\n", out["img/1.0.0/Containerfile.scratch.minimal"])
  end)
  it("values come last and may replace what is built in", function()
    write("a.txt.j2", "{{ Image }} {{ go }} {{ Path.Version }}")
    local out = run "    versions: [{name: a B, values: {Image: mine, go: '1.20'}, os: [{name: D}]}]\n"
    assert.are.equal("mine 1.20 img/a-b\n", out["img/a-b/a.txt.j2"])
  end)
  it("filters select by the start of the path, suffix included", function()
    for _, name in ipairs { "a.txt.jinja2", "b/a.txt", "ba.jinja2" } do write(name, "x") end
    local out = run(nil, { patterns = { "a\\.", "b/" } })
    assert.are.same({ ["img/1.0.0/a.txt"] = "x\n", ["img/1.0.0/b/a.txt"] = "x" }, out)
    local files, errors = run(nil, { patterns = { "(" } })
    assert.is_nil(files)
    assert.are.equal("render.filter", errors[1].code)
  end)
  it("project files shadow the built-in macro files", function()
    write("apt.j2", "{% macro x() %}mine{% endmacro %}")
    write("a.jinja2", '{% import "apt.j2" as apt %}{{ apt.x() }}')
    assert.are.equal("mine\n", run()["img/1.0.0/a"])
  end)
  it("all errors are collected with file, line and what was rendered", function()
    write("a.jinja2", "ok\n{{ nope }}")
    write("b.jinja2", "{% if %}")
    write("c.jinja2", "{{ raise('stop here') }}")
    write("d.jinja2", "fine")
    local files, errors, good = run()
    assert.is_nil(files)
    assert.are.equal(3, #errors)
    assert.is_truthy(errors[1].message:find(
      "Error rendering template img/template/a.jinja2, line 2: ", 1, true), errors[1].message)
    assert.is_truthy(errors[1].message:find("  - Image: img\n  - Version: 1.0.0\n"
      .. "  - Destination: img/1.0.0/a", 1, true), errors[1].message)
    assert.is_truthy(errors[3].message:find("stop here", 1, true))
    assert.are.equal("img/1.0.0/d", good[1].path)
  end)
  it("loader stays inside the template directory", function()
    fs.write(dir .. "/secret", "s")
    write("a.jinja2", '{% include "../../secret" %}')
    assert.is_nil((run()))
    write("a.jinja2", '{% include "' .. dir .. '/secret" %}')
    assert.is_nil((run()))
  end)
  it("links outside are refused, links inside are followed", function()
    write("real.jinja2", "{{ Image.Name }}")
    fs.symlink("real.jinja2", dir .. "/img/template/link.jinja2")
    local out, errors = run()
    assert(out, tostring(errors))
    assert.are.equal("img\n", out["img/1.0.0/link"])
    fs.write(dir .. "/outside", "s")
    fs.symlink("../../outside", dir .. "/img/template/bad")
    out, errors = run()
    assert.is_nil(out)
    assert.is_truthy(errors[1].message:find("outside the template directory", 1, true))
  end)
  it("an image without templates is an error", function()
    fs.remove(dir .. "/img/template", { recursive = true })
    local out, errors = run()
    assert.is_nil(out)
    assert.are.equal("render.file", errors[1].code)
  end)
end)
