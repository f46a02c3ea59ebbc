-- `bakery check`: every kind of problem at once, with its place; `bakery schema`.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local world = require "lib.world"

local YAML = [[
repository: {url: https://example.org/r}
images:
  - name: app
    tagPatterns:
      - patterns: ["{{ Version }}", "{{ Version | nope }}", "{{ | }}"]
    versions:
      - {name: 2.0.0, latest: true, values: {new: x}, os: [{name: Ubuntu 24.04}]}
      - {name: 1.0.0, os: [{name: Ubuntu 24.04}]}
  - name: mx
    matrix: {namePattern: "{{ Values.go", values: {go: ["1"]}, os: [{name: Debian 12}]}
]]

describe("check", function()
  teardown(world.cleanup)
  local dir

  local function check(args, opts)
    local cmd = { "check", "-C", dir }
    for _, a in ipairs(args or {}) do cmd[#cmd + 1] = a end
    return world.bakery(cmd, opts)
  end
  -- "level file:line:col message" of every problem, and the whole document.
  local function problems(args, opts)
    args = args or {}
    args[#args + 1] = "--json"
    local r = check(args, opts)
    local doc, out = json.decode(r.stdout), {}
    assert.equal(r.code, doc.exit.code)
    for i, p in ipairs(doc.problems) do
      local line = p.line ~= json.null and ":" .. p.line .. ":" .. (p.col ~= json.null and p.col or "?") or ""
      out[i] = ("%s %s%s %s"):format(p.level, p.file, line, p.message):gsub((fs.realpath(dir) .. "/"):gsub("%p", "%%%0"), "")
    end
    return out, doc, r
  end
  local function has(list, text)
    for _, line in ipairs(list) do if line:find(text, 1, true) then return true end end
    error(text .. " is not in\n" .. table.concat(list, "\n"), 2)
  end

  before_each(function()
    dir = world.tmp()
    world.write(dir, { ["bakery.yaml"] = YAML })
  end)

  it("names all problems of a project that loads", function()
    world.write(dir, {
      ["app/template/Containerfile.jinja2"] = "FROM scratch\nLABEL a={{ new }}\n",
      ["app/template/other.txt.jinja2"] = "ok\n{% if %}\n",
      ["app/template/third.jinja2"] = "{{ Image.Nme }}\n",
      ["app/2.0.0/Containerfile.ubuntu2404"] = "FROM scratch\nCPOY a b\n",
      ["app/1.0.0/Containerfile.ubuntu2404"] = "FROM scratch\nCOPY --from=nowhere:1 a b\nFROM x AS y AS z\n",
      ["app/2.0.0/test/goss.yaml"] = "file:\n  /x: [\n",
      ["app/1.0.0/test/goss.yaml"] = "{{ range .Vars }}\n",
      ["recipes/mine.lua"] = "return {\n",
    })
    local list, doc = problems()
    assert.equal(2, doc.exit.code)
    for _, text in ipairs {
      "error bakery.yaml:5:37 images[0].tagPatterns[0].patterns[1]: ",
      "error bakery.yaml:5:61 images[0].tagPatterns[0].patterns[2]: ",
      "error bakery.yaml:10:27 images[1].matrix.namePattern: ",
      "error app/template/other.txt.jinja2:2:",
      "error app/template/third.jinja2:1:",
      "warning app/template/Containerfile.jinja2:2:",
      "error app/2.0.0/Containerfile.ubuntu2404:2:1 unknown instruction: CPOY",
      "error app/1.0.0/Containerfile.ubuntu2404:3:",
      "error app/2.0.0/test/goss.yaml:",
      "error mx/matrix/Containerfile.debian12 no such Containerfile (matrix of mx)",
      "recipes/mine.lua:2:",
    } do has(list, text) end
    assert.equal(0, #fs.list(dir .. "/app/template") - 3) -- nothing was written
    local r = check()
    assert.equal(2, r.code)
    assert.equal("", r.stdout)
    assert.truthy(r.stderr:find("CPOY a b", 1, true) and r.stderr:find("did you mean", 1, true), r.stderr)
    assert.truthy(r.stderr:find(("%d errors, %d warning"):format(doc.errors, doc.warnings), 1, true), r.stderr)
    assert.falsy(r.stderr:find("traceback", 1, true))
  end)

  it("looks at everything else although bakery.yaml is broken", function()
    world.write(dir, { ["bakery.yaml"] = "repository: 5\nimages:\n  - nme: x\n    versions: 7\n",
      ["x/template/a.jinja2"] = "{{ }}", ["x/1/Containerfile"] = "RUN x\n", ["recipes/mine.lua"] = "nope nope",
      [".git/template/b.jinja2"] = "{{ }}" })
    local list = problems()
    for _, text in ipairs { "error bakery.yaml:1:13 repository", 'error bakery.yaml:3:5 images[0]: the key "name" is missing',
      "error bakery.yaml:4:15 images[0].versions", "error x/template/a.jinja2:1:", "error x/1/Containerfile:1:1",
      "recipes/mine.lua:1" } do has(list, text) end
    assert.falsy(table.concat(list, "\n"):find(".git", 1, true))
    world.write(dir, { ["bakery.yaml"] = "a: [\n" })
    has(problems(), "bakery.yaml:2:1")
    fs.remove(dir .. "/bakery.yaml")
    has(problems(), "no bakery.yaml in")
  end)

  it("is content with good projects, quiet with -q, strict with --strict", function()
    local examples = 0
    for _, name in ipairs(fs.list "examples") do
      if fs.exists("examples/" .. name .. "/bakery.yaml") then
        examples = examples + 1
        local r = world.bakery({ "check", "-C", "examples/" .. name, "-q" })
        assert.same({ 0, "", "" }, { r.code, r.stdout, r.stderr }, name)
      end
    end
    assert.truthy(examples > 0)
    dir = world.project({ app = "FROM scratch\nCOPY base/ /\n" }, { base = false })
    assert.equal(0, check().code)
    assert.equal("", check({ "-q" }).stderr) -- warns of missing operating systems otherwise
    assert.equal(2, check({ "--strict" }).code)
    local _, doc = problems()
    assert.same({ 0, "ok" }, { doc.errors, doc.exit.class })
  end)

  it("names files as the working directory sees them, and asks nobody for versions", function()
    world.write(dir, { ["bakery.yaml"] = "repository: {url: a.b}\nimages:\n  - name: mx\n    matrix:\n      dependencyConstraints: "
      .. "[{dependency: R, constraint: {latest: true}}]\n      os: [{name: Debian 12}]\n",
      ["mx/matrix/Containerfile.debian12"] = "FRM scratch\n" })
    local r = world.bakery({ "check" }, { cwd = dir .. "/mx", env = { BAKERY_OFFLINE = "1", HTTPS_PROXY = "http://127.0.0.1:1" } })
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("matrix/Containerfile.debian12:1:1: error", 1, true), r.stderr)
    assert.truthy(r.stderr:find("1 error, 0 warnings", 1, true), r.stderr)
  end)

  it("reports images whose names no registry takes", function()
    dir = world.project({ good = "FROM scratch\n" }, { base = false })
    local yaml = fs.read(dir .. "/bakery.yaml")
    assert(fs.write(dir .. "/bakery.yaml", (yaml:gsub("name: good", 'name: "Not good"'))))
    assert(fs.mkdir(dir .. "/Not good/1.0.0", { parents = true }))
    assert(fs.write(dir .. "/Not good/1.0.0/Containerfile", "FROM scratch\n"))
    local r = check()
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find('image "Not good" cannot be pushed', 1, true), r.stderr)
  end)

  it("reports targets that collide", function()
    world.write(dir, { ["bakery.yaml"] = "repository: {url: a.b}\nimages:\n  - name: a\n    versions:\n"
      .. "      - {name: 1.0, os: [{name: u}]}\n      - {name: 1-0, os: [{name: u}]}\n" })
    has(problems(), "a-1-0-u")
  end)
end)

describe("schema", function()
  it("is JSON on standard output", function()
    local r = world.bakery { "schema" }
    assert.equal(0, r.code, r.stderr)
    assert.equal("bakery.yaml", json.decode(r.stdout).title)
    assert.equal("", r.stderr)
    if process.which "python3" then
      r = process.run { cmd = { "sh", "-c", "\"$0\" schema | python3 -m json.tool > /dev/null", world.bin } }
      assert.equal(0, r.code)
    end
  end)
end)
