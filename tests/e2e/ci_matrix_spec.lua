-- `bakery ci matrix`: rows, exclusion, batches, change sets on a real git repository, saved plans.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local world = require "lib.world"

local YAML = [[
repository: {url: https://example.org/r}
registries: [{host: docker.io, namespace: team}]
images:
  - name: app
    variants: [{name: Standard, primary: true}, {name: Minimal}]
    versions:
      - name: 2.0.0
        latest: true
        os:
          - {name: Ubuntu 24.04, primary: true, platforms: [linux/amd64, linux/arm64]}
          - {name: Debian 12, platforms: [linux/arm64]}
      - name: 1.0.0
        os: [{name: Debian 12}]
  - name: app-extra
    versions: [{name: 7.0.0, os: [{name: Debian 12}]}]
  - name: mx
    matrix: {values: {go: ["1.20", "1.21"]}, os: [{name: Debian 12}]}
]]

describe("ci matrix", function()
  teardown(world.cleanup)
  local dir

  local function run(args, opts)
    local cmd = { "ci", "matrix", "-q", "-C", dir }
    for _, a in ipairs(args) do cmd[#cmd + 1] = a end
    return world.bakery(cmd, opts)
  end
  local function row_text(row)
    local out = {}
    for _, key in ipairs { "image", "version", "dev", "platform" } do
      if row[key] ~= nil then out[#out + 1] = tostring(row[key]) end
    end
    return table.concat(out, " ")
  end
  local function rows(args, opts)
    local r = run(args, opts)
    assert.equal(0, r.code, r.stderr)
    local out = {}
    for i, row in ipairs(json.decode(r.stdout)) do out[i] = row_text(row) end
    return out, r
  end

  before_each(function()
    dir = world.tmp()
    world.write(dir, { ["bakery.yaml"] = YAML })
  end)

  it("prints one raw line: rows in the order of the file, platforms as first seen", function()
    local list, r = rows {}
    assert.same({ "app 2.0.0 false linux/arm64", "app 2.0.0 false linux/amd64", "app 1.0.0 false linux/amd64",
      "app-extra 7.0.0 false linux/amd64" }, list)
    assert.equal('[{"image":"app","version":"2.0.0","dev":false,"platform":"linux/arm64"},', r.stdout:sub(1, 72))
    assert.equal(1, select(2, r.stdout:gsub("\n", "")))
    assert.equal("", r.stderr)
  end)

  it("selects by name, version and matrix mode", function()
    assert.same({ "app-extra 7.0.0 false linux/amd64" }, (rows { "extra" }))
    assert.equal(3, #rows { "^app$" })
    assert.equal(4, #rows { "app" })
    assert.same({ "app 2.0.0 false linux/arm64", "app 2.0.0 false linux/amd64" }, (rows { "--image-version", "2" }))
    assert.same({ "mx go1.20 false linux/amd64", "mx go1.21 false linux/amd64" }, (rows { "--matrix-versions", "only" }))
    assert.same({}, (rows { "nothing" }))
    local r = run { "--image-version", "9" }
    assert.equal(8, r.code)
    assert.equal("", r.stdout)
    assert.truthy(r.stderr:find("--image-version 9", 1, true))
    assert.equal("[]\n", run { "--image-version", "9", "--allow-empty" }.stdout)
  end)

  it("explains what is left out", function()
    local r = world.bakery { "ci", "matrix", "-C", dir, "^app", "--image-version", "2", "--explain" }
    assert.equal(0, r.code, r.stderr)
    assert.equal("left out: app 1.0.0: --image-version\nleft out: app-extra 7.0.0: --image-version\nleft out: mx: --image-name\n",
      (r.stderr:gsub("warning: [^\n]*\n", "")))
    world.write(dir, { ["plan.json"] = world.bakery({ "plan", "-C", dir }).stdout })
    r = world.bakery { "ci", "matrix", "extra", "--plan-file", dir .. "/plan.json", "--explain" }
    assert.truthy(r.stderr:find("left out: app: --image-name", 1, true), r.stderr)
  end)

  it("leaves fields out without merging rows", function()
    assert.same({ "app 2.0.0 false", "app 1.0.0 false" }, (rows { "^app$", "--exclude", "platform" }))
    assert.same({ "app", "app" }, (rows { "^app$", "--exclude", "platform", "--exclude", "version", "--exclude", "dev" }))
    assert.equal(2, run { "--exclude", "image" }.code)
  end)

  it("wraps, batches and sets GitHub outputs", function()
    local r = run { "--wrap", "--exclude", "dev" }
    assert.equal(4, #json.decode(r.stdout).include)
    r = run { "--max-jobs", "3" }
    local batches = json.decode(r.stdout)
    assert.same({ 3, 1 }, { #batches[1], #batches[2] })
    assert.equal("[]\n", run { "nothing", "--max-jobs", "3" }.stdout)
    local file = dir .. "/out"
    r = run({ "--max-jobs", "3", "--wrap", "--github-output", "matrix" }, { env = { GITHUB_OUTPUT = file } })
    assert.equal(0, r.code, r.stderr)
    assert.equal("matrix=" .. r.stdout .. "matrix-count=4\nmatrix-batches=[0,1]\n", fs.read(file))
    assert.equal(3, #json.decode(r.stdout)[1].include)
    assert.equal(2, run({ "--github-output", "matrix" }, { env = { GITHUB_OUTPUT = "" } }).code)
    assert.equal(2, run({ "--github-output", "a b" }, { env = { GITHUB_OUTPUT = file } }).code)
  end)

  it("reads rows from a saved plan, as the project gives them", function()
    world.write(dir, { ["plan.json"] = world.bakery({ "plan", "-C", dir, "--matrix-versions", "include" }).stdout })
    fs.remove(dir .. "/bakery.yaml")
    local list = rows { "--plan-file", dir .. "/plan.json" }
    assert.equal(6, #list)
    assert.same({ "app-extra 7.0.0 false linux/amd64" }, (rows { "extra", "--plan-file", dir .. "/plan.json" }))
    assert.same({ "app 2.0.0 false linux/arm64", "app 2.0.0 false linux/amd64" },
      (rows { "--image-version", "2", "--plan-file", dir .. "/plan.json" }))
    local r = world.bakery { "get", "tags", "--output", "uid", "--image-name", "extra", "--plan-file", dir .. "/plan.json" }
    assert.same({ "app-extra-7-0-0-debian-12" }, { (next(json.decode(r.stdout))) })
    r = world.bakery { "ci", "matrix", "--plan-file", dir .. "/plan.json", "--base-ref", "main" }
    assert.equal(6, #json.decode(r.stdout))
    assert.truthy(r.stderr:find("--base-ref is ignored", 1, true), r.stderr)
    r = world.bakery { "get", "targets", "--image-platform", "arm64", "--plan-file", dir .. "/plan.json" }
    assert.equal(4, select(2, r.stdout:gsub("\n", "")), r.stdout .. r.stderr)
  end)

  it("takes a list of changed files from a file or standard input, before --base-ref", function()
    world.write(dir, { list = "app/1.0.0/Containerfile\r\n\nREADME.md\n" })
    local want = { "app 1.0.0 false linux/amd64" }
    assert.same(want, (rows { "--changed-files-from", dir .. "/list" }))
    local child = world.start({ "ci", "matrix", "-q", "-C", dir, "--changed-files-from", "-" })
    assert(child:write "mx/x\n")
    child:close_stdin()
    assert.equal("[]\n", child:read_line "stdout" .. "\n")
    child:close()
    local r = world.bakery { "ci", "matrix", "-C", dir, "--changed-files-from", dir .. "/list", "--base-ref", "main" }
    assert.equal(0, r.code)
    assert.truthy(r.stderr:find("--base-ref main is ignored", 1, true), r.stderr)
    assert.equal(1, #json.decode(r.stdout))
    assert.same({}, (rows { "--changed-files-from", "/dev/null" }))
    assert.not_equal(0, run { "--changed-files-from", dir .. "/none" }.code)
  end)

  it("outside of a git checkout --base-ref fails, the environment's default too", function()
    local env = { GIT_CEILING_DIRECTORIES = fs.dirname(fs.realpath(dir)) }
    local r = run({ "--base-ref", "main" }, { env = env })
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("not in a git checkout", 1, true), r.stderr)
    env.BAKERY_BASE_REF = "main"
    assert.equal(1, run({}, { env = env }).code)
    env.BAKERY_BASE_REF = ""
    assert.equal(4, #rows({}, { env = env }))
  end)

  describe("in a git repository", function()
    local repo
    local function git(...)
      local r = assert(process.run { cmd = { "git", "-C", repo, "-c", "user.name=t", "-c", "user.email=t@example.org",
        "-c", "commit.gpgsign=false", ... }, env = { GIT_CONFIG_GLOBAL = "/dev/null", GIT_CONFIG_SYSTEM = "/dev/null" } })
      assert(r.code == 0, r.stderr)
      return (r.stdout:gsub("\n$", ""))
    end
    local function commit(files)
      world.write(dir, files)
      git("add", "-A")
      git("commit", "-qm", "x")
    end
    before_each(function()
      repo = world.tmp()
      dir = repo .. "/images dir"
      git("init", "-q", "-b", "main")
      commit { ["bakery.yaml"] = YAML, ["app/1.0.0/a"] = "1", ["app/2.0.0/a"] = "2", ["mx/matrix/a"] = "3",
        ["app-extra/7.0.0/a"] = "4" }
      git("checkout", "-qb", "work")
    end)

    it("follows the files that changed since the branch left", function()
      assert.same({}, (rows { "--base-ref", "main" }))
      commit { ["app/1.0.0/b"] = "x" }
      assert.same({ "app 1.0.0 false linux/amd64" }, (rows { "--base-ref", "main" }))
      -- What the other branch got meanwhile is not ours.
      git("checkout", "-q", "main")
      commit { ["app-extra/7.0.0/z"] = "x" }
      git("checkout", "-q", "work")
      assert.same({ "app 1.0.0 false linux/amd64" }, (rows { "--base-ref", "main" }))
      -- Both ends of a rename, odd names, files outside of the project.
      git("mv", "images dir/app-extra/7.0.0/a", "images dir/app/1.0.0/tab\tand \"quote\"")
      world.write(repo, { ["outside/file"] = "x" })
      git("add", "-A")
      git("commit", "-qm", "x")
      assert.same({ "app 1.0.0 false linux/amd64", "app-extra 7.0.0 false linux/amd64" }, (rows { "--base-ref", "main" }))
      assert.same({ "mx go1.21 false linux/amd64" },
        (function() commit { ["mx/matrix/b"] = "x" } return (rows { "--base-ref", "HEAD~1", "--matrix-versions", "include" }) end)())
      assert.same({}, (rows({}, { env = { BAKERY_BASE_REF = "HEAD" } })))
    end)

    it("compares bakery.yaml with its former text", function()
      local function with(find, replacement)
        local at, last = YAML:find(find, 1, true)
        commit { ["bakery.yaml"] = YAML:sub(1, at - 1) .. replacement .. YAML:sub(last + 1) }
        return (rows { "--base-ref", "HEAD~1" })
      end
      assert.same({ "app 1.0.0 false linux/amd64" }, with("- name: 1.0.0\n", "- name: 1.0.0\n        buildTarget: x\n"))
      commit { ["bakery.yaml"] = YAML }
      assert.same({ "app-extra 7.0.0 false linux/amd64" }, with("- name: app-extra\n", "- name: app-extra\n    description: x\n"))
      commit { ["bakery.yaml"] = YAML }
      assert.same({}, with("        latest: true\n", ""))
      commit { ["bakery.yaml"] = YAML }
      assert.equal(4, #with("namespace: team", "namespace: other"))
    end)

    it("takes everything as changed when git cannot tell, and says so", function()
      for _, ref in ipairs { ("0"):rep(40), "nope", "-x", "--help", "HEAD:images" } do
        local r = world.bakery { "ci", "matrix", "-C", dir, "--base-ref=" .. ref }
        assert.equal(0, r.code, r.stderr)
        assert.equal(4, #json.decode(r.stdout))
        assert.truthy(r.stderr:find("everything is taken as changed", 1, true), r.stderr)
      end
      git("checkout", "-q", "--orphan", "alone")
      git("commit", "-qm", "unrelated")
      assert.equal(4, #rows { "--base-ref", "main" })
    end)

    it("restricts plans as well", function()
      commit { ["app/1.0.0/b"] = "x" }
      local r = world.bakery { "plan", "-C", dir, "--base-ref", "main" }
      assert.same({ "app-1-0-0-minimal-debian-12", "app-1-0-0-standard-debian-12" },
        { table.unpack(json.decode(r.stdout).group.default.targets) })
      assert.equal(8, world.bakery { "plan", "-C", dir, "--base-ref", "HEAD" }.code)
    end)
  end)
end)
