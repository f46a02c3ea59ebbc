--- create, update, remove and get: messages, exit codes, files, dry runs.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local world = require "lib.world"

local HEAD = "repository: {url: github.com/acme/images}\n"
local TWO = HEAD .. [[
images:
  - name: a
    subpath: images/a
    versions:
      - name: 2.0.0
        latest: true
        os: [{name: Scratch}]
      - name: 1.0.0
        subpath: one
  - name: b
]]

local function project(yaml, files)
  local dir = world.tmp()
  world.write(dir, { ["bakery.yaml"] = yaml or TWO,
    ["images/a/template/Containerfile.scratch.jinja2"] = "FROM scratch\nLABEL v={{ Image.Version }}\n",
    ["images/a/template/test/goss.yaml.jinja2"] = "path: {{ Path.Version }}\n",
    ["images/a/template/run.sh"] = "#!/bin/sh\n",
    ["b/template/Containerfile.jinja2"] = "FROM scratch\n" })
  world.write(dir, files or {})
  return dir
end

local function run(dir, line, opts)
  local args = {}
  for w in line:gmatch "%S+" do args[#args + 1] = w end
  return world.bakery(args, { cwd = dir, env = opts and opts.env })
end

local function files(dir)
  local out = {}
  for _, e in ipairs(assert(fs.walk(dir))) do
    if e.type ~= "dir" and not e.path:find "template/" then out[#out + 1] = e.path end
  end
  return table.concat(out, " ")
end

-- --- what is said, and with which code ---------------------------------------------------------

local MESSAGES = {
  { "create image c", 0, "✅ Successfully created image 'c'" },
  { "create image a", 1, "image 'a' already exists", "❌ Failed to create image 'a'" },
  { "create image x --documentation-url git@x.y:z", 1, "not an http(s) URL" },
  { "create image ../x", 9, "'../x' is not inside the project" },
  { "create image", 2, "missing argument: NAME" },
  { "create version a 3.0.0", 0, "✅ Successfully created version 'a/3.0.0'" },
  { "create version a 1.0.0", 1, "version '1.0.0' already exists for image 'a'", "❌ Failed to create version 'a/1.0.0'" },
  { "create version aa 1", 1, "image 'aa' does not exist", "did you mean 'a'?" },
  { "create version a 3 --value x", 1, "--value: expected KEY=VALUE, got 'x'" },
  { "create version a 3 --diff-against 9", 1, "version '9' does not exist for image 'a'", "versions: 2.0.0, 1.0.0" },
  { "create version a ../../../etc", 9, "is not inside the project" },
  { "create version a 3 --subpath template", 9, "the place of the image's templates" },
  { "create version a 3 --subpath ..", 9, "not below the image's directory" },
  { "create version a 3 --subpath one", 0, "images/a/one is also the directory of version 1.0.0 of a" },
  { "create matrix a --value k=v", 1, "image 'a' has versions" },
  { "create matrix b", 1, "a matrix needs dependencies or values" },
  { "create matrix b --dependency x --dependency-constraint [] --value y", 1, "--dependency: expected a JSON object",
    "--dependency-constraint: expected a JSON object", "--value: expected KEY=VALUE" },
  { [[create matrix b --dependency {"dependency":"ruby","version":"3"}]], 1, "ruby" },
  { [[create matrix b --dependency-constraint {"dependency":"R","latest":true}]], 1, "latest", '"constraint": {' },
  { "create matrix b --value k=v", 0, "✅ Successfully created matrix for image 'b'", "adjust the templates" },
  { "create project", 1, "Project already exists in '" },
  { "update version a 2.0.1", 0, "✅ Successfully updated 'a' from '2.0.0' to '2.0.1'" },
  { "update version a 1.0.0", 1, "version '1.0.0' already exists", "❌ Failed to update version for 'a' to '1.0.0'" },
  { "update version a 3 --target-version 2.0", 1, "did you mean '2.0.0'?" },
  { "update version b 3", 1, "no version of image 'b' is marked latest" },
  { "update files", 0, "6 files of 2 versions rendered, 6 changed", "✅ Files updated successfully" },
  { "update files --all", 0, "6 changed" },
  { "update files --image-name ^x$", 0, "0 files of 0 versions" },
  { "update files --image-version 1 --template-pattern test --template-pattern run", 0, "2 files of 1 versions rendered" },
  { "update files --template-pattern oss", 0, "0 files of 2 versions rendered" },
  { "update files --template-pattern [", 2, "option '--template-pattern': bad regular expression" },
  { "update files --check", 7, "missing      images/a/2.0.0/run.sh", "6 rendered files are out of date" },
  { "remove version a 1.0.0", 0, "✅ Successfully removed version '1.0.0' from image 'a'" },
  { "remove version a 2.0.0", 0, "'1.0.0' is now latest" },
  { "remove version a 2.0.0 --no-promote", 0, "no version of 'a' is marked latest now" },
  { "remove version a 9", 1, "❌ Failed to remove version '9' from image 'a'" },
  { "remove image c", 1, "image 'c' does not exist", "❌ Failed to remove image 'c'" },
  { "remove matrix a", 1, "image 'a' has no matrix" },
  { "get version a", 0 },
  { "get version b", 1, "no version of image 'b' is marked latest" },
  { "get version a --subpath two", 1, "no version of image 'a' has the subpath 'two'" },
  { "get version x", 1, "image 'x' does not exist" },
  { "get versions x", 1, "image 'x' does not exist" },
  { "-C /nonexistent create image c", 2, "nonexistent" },
  { "create", 2 }, { "update", 2 }, { "remove", 2 }, { "image", 2 },
  { "hadolint run", 2, "needs a recipe 'lint', and there is none" },
  { "trivy scan", 2, "needs a recipe 'trivy'" },
  { "wizcli scan", 2, "needs a recipe 'wiz'" },
  { "openscap scan", 2, "needs a recipe 'openscap'" },
  { "run lint", 2, "warning: deprecated: bakery run lint, use bakery hadolint run" },
  { "run trivy", 2, "use bakery trivy scan" }, { "run wiz", 2, "use bakery wizcli scan" },
  { "run openscap", 2, "use bakery openscap scan" },
  { "dgoss run --image-name ^a$", 1, "not built yet" },
}

describe("editing commands", function()
  teardown(world.cleanup)

  for _, row in ipairs(MESSAGES) do
    it(row[1], function()
      local r = run(project(), row[1])
      assert.equal(row[2], r.code, r.stderr)
      for i = 3, #row do assert.truthy(r.stderr:find(row[i], 1, true), r.stderr) end
      assert.falsy(r.stderr:find("traceback", 1, true))
      local printed = row[1] == "get version a" and "2.0.0\n"
      if printed then assert.equal(printed, r.stdout)
      elseif row[2] ~= 2 or #row > 2 then assert.equal("", r.stdout) end
    end)
  end

  it("refuse names that nothing can hold", function()
    local dir = project()
    for _, args in ipairs { { "create", "image", "" }, { "create", "image", "a\nb" }, { "create", "version", "a", "" },
      { "create", "version", "a", "1\27[2J" }, { "update", "version", "a", "\255" } } do
      local r = world.bakery(args, { cwd = dir })
      assert.equal(2, r.code, r.stderr)
      assert.truthy(r.stderr:find("is no name of", 1, true), r.stderr)
    end
    assert.equal(TWO, fs.read(dir .. "/bakery.yaml"))
  end)

  it("say nothing but errors with --quiet", function()
    local dir = project()
    for _, line in ipairs { "create image c -q", "create version a 3 -q", "update version a 4 -q", "update files -q",
      "remove version a 4 -q", "remove image c -q" } do
      local r = run(dir, line)
      assert.same({ 0, "", "" }, { r.code, r.stdout, r.stderr }, line)
    end
  end)

  it("have their short names and both word orders", function()
    for line, want in pairs { ["c version a 3"] = "created version", ["new image c"] = "created image", ["u files"] = "updated",
      ["up version a 3"] = "updated 'a'", ["rm version a 1.0.0"] = "removed version", ["r image b"] = "removed image",
      ["image create c"] = "created image", ["image remove b"] = "removed image", ["version create a 3"] = "created version",
      ["version update a 3"] = "updated 'a'", ["version remove a 1.0.0"] = "removed version",
      ["matrix create b --value k=v"] = "created matrix" } do
      local r = run(project(), line)
      assert.equal(0, r.code, line .. ": " .. r.stderr)
      assert.truthy(r.stderr:find(want, 1, true), r.stderr)
    end
    assert.truthy(run(project(), "version").stdout:find "^bakery %d")
  end)

  it("answer get version by subpath, and as JSON", function()
    local dir = project()
    assert.equal("1.0.0\n", run(dir, "get version a --subpath one").stdout)
    assert.same({ image = "a", version = "2.0.0", subpath = "2.0.0", latest = true },
      json.decode(run(dir, "get version a --json").stdout))
  end)

  it("warn exactly once about a deprecated spelling", function()
    for _, line in ipairs { "get tags --dev-stream daily", "run dgoss --image-name ^a$" } do
      local r = run(project(), line)
      local _, n = r.stderr:gsub("deprecated", "")
      assert.equal(1, n, r.stderr)
    end
  end)

  it("are found by bake and b as well", function()
    for _, name in ipairs { "bake", "b" } do
      local r = run(project(), name .. " --image-name none")
      assert.equal(8, r.code, r.stderr)
    end
  end)
end)

-- --- files -------------------------------------------------------------------------------------

describe("files of", function()
  teardown(world.cleanup)

  it("a new version are rendered, with modes", function()
    local dir = project()
    run(dir, "create version a 3.0.0 --subpath x/y")
    assert.equal("bakery.yaml images/a/x/y/Containerfile.scratch images/a/x/y/run.sh images/a/x/y/test/goss.yaml", files(dir))
    assert.equal("FROM scratch\nLABEL v=3.0.0\n", fs.read(dir .. "/images/a/x/y/Containerfile.scratch"))
    assert.equal("path: images/a/x/y\n", fs.read(dir .. "/images/a/x/y/test/goss.yaml"))
    assert.equal(493, fs.stat(dir .. "/images/a/x/y/run.sh").mode)
  end)

  it("a new image are a skeleton that renders", function()
    local dir = project()
    run(dir, "create image c --base-image docker.io/library/debian:12 --subpath Dir/c")
    local text = fs.read(dir .. "/Dir/c/template/Containerfile.jinja2")
    assert.truthy(text:find('{%- import "apt.j2" as apt -%}', 1, true))
    assert.truthy(text:find("FROM docker.io/library/debian:12\n", 1, true))
    assert.equal("", fs.read(dir .. "/Dir/c/template/test/goss.yaml.jinja2"))
    assert.equal("", fs.read(dir .. "/Dir/c/template/deps/packages.txt.jinja2"))
    assert.equal(0, run(dir, "create version c 1.0.0").code)
    assert.equal("FROM docker.io/library/debian:12", fs.read(dir .. "/Dir/c/1.0.0/Containerfile"):match "^[^\n]*")
  end)

  it("an image that are there are kept by create image", function()
    local dir = project(nil, { ["c/template/Containerfile.ubuntu2404.jinja2"] = "x", ["c/template/test/goss.yaml.jinja2"] = "y" })
    run(dir, "create image c")
    assert.equal("y", fs.read(dir .. "/c/template/test/goss.yaml.jinja2"))
    assert.is_false(fs.exists(dir .. "/c/template/Containerfile.jinja2"))
  end)

  it("a version move with --force --subpath, and stay without", function()
    local dir = project(nil, { ["images/a/one/own"] = "mine" })
    assert.equal(0, run(dir, "create version a 1.0.0 --force --no-mark-latest").code)
    assert.equal("mine", fs.read(dir .. "/images/a/one/own"))
    assert.equal(0, run(dir, "create version a 1.0.0 --force --no-mark-latest --subpath deep/er").code)
    assert.equal("mine", fs.read(dir .. "/images/a/deep/er/own"))
    assert.is_false(fs.exists(dir .. "/images/a/one"))
    assert.truthy(fs.read(dir .. "/bakery.yaml"):find("subpath: deep/er", 1, true))
  end)

  it("a version are replaced, moved or kept by update version", function()
    local own = { ["images/a/2.0.0/own"] = "mine", ["images/a/one/own"] = "mine" }
    local dir = project(nil, own)
    run(dir, "update version a 2.1.0")
    assert.is_false(fs.exists(dir .. "/images/a/2.0.0"))
    assert.is_false(fs.exists(dir .. "/images/a/2.1.0/own"))
    assert.equal("path: images/a/2.1.0\n", fs.read(dir .. "/images/a/2.1.0/test/goss.yaml"))
    dir = project(nil, own)
    run(dir, "update version a 2.1.0 --no-clean")
    assert.is_false(fs.exists(dir .. "/images/a/2.0.0"))
    assert.equal("mine", fs.read(dir .. "/images/a/2.1.0/own"))
    run(dir, "update version a 1.1.0 --target-version 1.0.0 --no-clean")
    assert.equal("mine", fs.read(dir .. "/images/a/one/own"))
    run(dir, "update version a 1.2.0 --target-version 1.1.0")
    assert.is_false(fs.exists(dir .. "/images/a/one/own"))
    assert.equal("FROM scratch\nLABEL v=1.2.0\n", fs.read(dir .. "/images/a/one/Containerfile.scratch"))
  end)

  it("what is removed go, shared ones stay", function()
    local dir = project(TWO .. "    versions: [{name: 1, subpath: s}, {name: 2, subpath: s}]\n",
      { ["images/a/one/f"] = "", ["b/s/f"] = "" })
    assert.equal(0, run(dir, "remove version a 1.0.0").code)
    assert.is_false(fs.exists(dir .. "/images/a/one"))
    local r = run(dir, "remove version b 1")
    assert.truthy(r.stderr:find("the files in b/s stay: it is also the directory of version 2 of b", 1, true), r.stderr)
    assert.is_true(fs.exists(dir .. "/b/s/f"))
    assert.equal(0, run(dir, "remove image a").code)
    assert.is_false(fs.exists(dir .. "/images/a"))
    assert.is_true(fs.exists(dir .. "/images"))
  end)

  it("other images inside an image's directory stay", function()
    local dir = project(HEAD .. "images: [{name: x, subpath: images}, {name: a, subpath: images/a}]\n")
    local r = run(dir, "remove image x")
    assert.equal(0, r.code)
    assert.truthy(r.stderr:find("also the directory of image a", 1, true), r.stderr)
    assert.is_true(fs.exists(dir .. "/images/a/template"))
  end)

  it("a link are not followed out of the project", function()
    local outside = world.tmp()
    world.write(outside, { ["1.0/keep"] = "x" })
    local dir = project(HEAD .. "images: [{name: l, versions: [{name: '1.0'}]}]\n", {})
    assert(fs.symlink(outside, dir .. "/l"))
    for _, line in ipairs { "remove version l 1.0", "create version l 2.0", "update files" } do
      local r = run(dir, line)
      assert.equal(9, r.code, line .. r.stderr)
      assert.truthy(r.stderr:find("symbolic link", 1, true), r.stderr)
    end
    assert.equal("x", fs.read(outside .. "/1.0/keep"))
    -- The link itself may go.
    assert.equal(0, run(dir, "remove image l").code)
    assert.is_false(fs.exists(dir .. "/l"))
    assert.equal("x", fs.read(outside .. "/1.0/keep"))
  end)

  it("a version are not begun when a template fails", function()
    local dir = project(nil, { ["images/a/template/bad.jinja2"] = "{{ nothing }}\n", ["images/a/template/worse.jinja2"] = "{% if" })
    local r = run(dir, "create version a 3.0.0")
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("Error rendering template images/a/template/bad.jinja2, line 1", 1, true), r.stderr)
    assert.truthy(r.stderr:find("worse.jinja2", 1, true), r.stderr)
    assert.truthy(r.stderr:find("❌ Failed to create version 'a/3.0.0'", 1, true), r.stderr)
    assert.equal("bakery.yaml", files(dir))
    assert.equal(TWO, fs.read(dir .. "/bakery.yaml"))
    r = run(dir, "update files")
    assert.equal(1, r.code)
    local _, n = r.stderr:gsub("Error rendering template", "")
    assert.equal(4, n, r.stderr)
    assert.equal("bakery.yaml", files(dir))
  end)

  it("what is current are left alone", function()
    local dir = project()
    run(dir, "update files")
    local before = fs.stat(dir .. "/images/a/one/run.sh").ino
    assert.truthy(run(dir, "update files").stderr:find("6 files of 2 versions rendered, 0 changed", 1, true))
    assert.equal(before, fs.stat(dir .. "/images/a/one/run.sh").ino)
    assert.equal(0, run(dir, "update files --check").code)
    assert(fs.chmod(dir .. "/images/a/one/run.sh", 420))
    local r = run(dir, "update files --check --diff")
    assert.equal(7, r.code)
    assert.equal("diff --git a/images/a/one/run.sh b/images/a/one/run.sh\nold mode 100644\nnew mode 100755\n", r.stdout)
    assert.truthy(r.stderr:find("out of date  images/a/one/run.sh", 1, true), r.stderr)
    assert.equal(7, run(dir, "update files --check --json").code)
    run(dir, "update files")
    assert.equal(493, fs.stat(dir .. "/images/a/one/run.sh").mode)
  end)
end)

-- --- showing before doing ----------------------------------------------------------------------

describe("a dry run", function()
  teardown(world.cleanup)

  local COMMANDS = { "create image c", "create version a 3.0.0 --value k=v", "create version a 1.0.0 --force --subpath z",
    "create matrix b --value k=v", "update version a 2.1.0", "update version a 2.1.0 --no-clean", "update files",
    "remove version a 1.0.0", "remove image a" }
  local function start()
    local dir = project(nil, { ["images/a/one/own"] = "no line end", ["images/a/one/bin"] = "\0\1", ["images/a/2.0.0/own"] = "x\n" })
    return dir
  end

  local function tree(dir)
    local out = {}
    for _, e in ipairs(assert(fs.walk(dir))) do
      if e.type == "file" and not e.path:find "^%.git/" then
        out[#out + 1] = e.path .. "\n" .. fs.read(dir .. "/" .. e.path)
      end
    end
    return table.concat(out, "\n")
  end

  for _, line in ipairs(COMMANDS) do
    it("of " .. line .. " prints a patch that git makes the same of, and writes nothing", function()
      if not world.needs "git" then return end
      local dir = start()
      if line:find "remove" or line:find "subpath z" then fs.remove(dir .. "/images/a/one/bin") end
      local before = tree(dir)
      local r = run(dir, line .. " --dry-run")
      assert.equal(0, r.code, r.stderr)
      assert.truthy(r.stderr:find("nothing was written", 1, true), r.stderr)
      assert.equal(before, tree(dir))
      local other = start()
      if line:find "remove" or line:find "subpath z" then fs.remove(other .. "/images/a/one/bin") end
      assert(fs.write(other .. "/../p.patch", r.stdout))
      local done = process.run { cmd = { "git", "apply", "-p1", "--whitespace=nowarn", "../p.patch" }, cwd = other, merge = true,
        env = { GIT_CEILING_DIRECTORIES = fs.dirname(other), GIT_DIR = "/nonexistent" } }
      fs.remove(other .. "/../p.patch")
      assert.equal(0, done.code, done.stdout .. r.stdout)
      local same = run(dir, line .. " --diff")
      assert.equal(0, same.code, same.stderr)
      assert.equal(r.stdout, same.stdout)
      assert.equal(tree(dir), tree(other))
    end)
  end

  it("says what would change as JSON", function()
    local dir = project()
    local r = run(dir, "create version a 3.0.0 --dry-run --json")
    local doc = assert(json.decode(r.stdout))
    assert.same({ "create version", "a", "3.0.0", true, true }, { doc.command, doc.image, doc.version, doc.latest, doc.dryRun })
    assert.same({ path = "bakery.yaml", action = "modify" }, doc.changes[1])
    assert.same({ path = "images/a/3.0.0/run.sh", action = "create" }, doc.changes[3])
    r = run(dir, "create version a 1.0.0 --json")
    assert.equal(1, r.code)
    assert.equal("exists", json.decode(r.stderr).error.code)
  end)

  it("of create project prints the file", function()
    local dir = world.tmp()
    local r = run(dir, "create project --url x.org/y --dry-run")
    assert.truthy(r.stdout:find('url: "x.org/y"', 1, true))
    assert.is_false(fs.exists(dir .. "/bakery.yaml"))
  end)
end)

describe("bakery.yaml", function()
  teardown(world.cleanup)

  it("that changes underneath is not written", function()
    local dir = project()
    local script = ([[
      local fs = require "bakery.fs"
      local write = fs.write
      fs.write = function(path, ...)
        if path:find "journal" then write(%q, "# theirs\n") end
        return write(path, ...)
      end
      os.exit(require("app.commands.create").version { "a", "3.0.0", mark_latest = true })]]):format(dir .. "/bakery.yaml")
    assert(fs.write(dir .. "/../s.lua", script))
    local r = world.bakery({ "lua", "../s.lua" }, { cwd = dir, env = { BAKERY_ROOT = fs.cwd() } })
    fs.remove(dir .. "/../s.lua")
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("bakery.yaml was changed by something else in the meantime; nothing was written", 1, true), r.stderr)
    assert.equal("# theirs\n", fs.read(dir .. "/bakery.yaml"))
    assert.equal("bakery.yaml", files(dir))
  end)

  it("that is a link stays one, and keeps its mode", function()
    local dir = project()
    assert(fs.mkdir(dir .. "/conf"))
    assert(fs.rename(dir .. "/bakery.yaml", dir .. "/conf/b.yaml"))
    assert(fs.chmod(dir .. "/conf/b.yaml", 384))
    assert(fs.symlink("conf/b.yaml", dir .. "/bakery.yaml"))
    assert.equal(0, run(dir, "create image c").code)
    assert.equal("conf/b.yaml", fs.readlink(dir .. "/bakery.yaml"))
    assert.equal(384, fs.stat(dir .. "/bakery.yaml").mode)
    assert.truthy(fs.read(dir .. "/conf/b.yaml"):find "name: c")
  end)

  it("with errors is not edited", function()
    local dir = project(TWO .. "    versions: x\n")
    for _, line in ipairs { "create image c", "remove image b", "update files", "create project" } do
      local r = run(dir, line)
      assert.equal(2, r.code, r.stderr)
      assert.truthy(r.stderr:find "bakery.yaml:%d+:%d+: error:", r.stderr)
    end
  end)
end)

describe("create project", function()
  teardown(world.cleanup)
  local create = require "app.commands.create"

  it("guesses the repository's address", function()
    for remote, want in pairs { ["git@github.com:acme/x.git"] = "github.com/acme/x", ["https://github.com/acme/x.git"] = "github.com/acme/x",
      ["https://user:token@github.com/acme/x"] = "github.com/acme/x", ["http://x.org/a/b.js"] = "http://x.org/a/b.js",
      ["ssh://git@x.org:22/a/b.git"] = "ssh://x.org:22/a/b", ["https://x.org/a.git/"] = "x.org/a" } do
      assert.equal(want, create.repository_url(remote))
    end
    local dir = world.tmp()
    world.write(dir, { [".git/HEAD"] = "ref: refs/heads/main\n", [".git/config"] =
      '[core]\n\tbare = false\n[remote "up"]\n\turl = git@git.example:team/images.git\n\tfetch = +x\n[remote "b"]\n\turl = y\n',
      ["sub/x"] = "" })
    local r = run(dir .. "/sub", "create project --vendor Acme --maintainer Me<me@x.org> --registry ghcr.io/acme/deep")
    assert.equal(0, r.code, r.stderr)
    local text = fs.read(dir .. "/sub/bakery.yaml")
    for _, part in ipairs { 'url: "git.example/team/images"', 'vendor: "Acme"', 'maintainer: "Me<me@x.org>"', 'host: "ghcr.io"',
      'namespace: "acme/deep"', "authors: []", "images: []" } do
      assert.truthy(text:find(part, 1, true), text)
    end
  end)

  it("says what to do without a remote, and the next command names the line", function()
    local dir = world.tmp()
    local r = run(dir, "create project")
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("replace <REPLACE ME> in bakery.yaml", 1, true))
    r = run(dir, "get images")
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("bakery.yaml:5:8: error: repository.url", 1, true), r.stderr)
    assert.truthy(r.stderr:find("hint: replace it with the address", 1, true), r.stderr)
  end)

  it("makes an inner project where one is above", function()
    local dir = project()
    assert(fs.mkdir(dir .. "/inner"))
    assert.equal(0, run(dir .. "/inner", "create project --url x.org/y").code)
    assert.equal("", run(dir .. "/inner", "get images").stdout)
  end)

  it("refuses wrong options", function()
    local r = run(world.tmp(), "create project --url x.org/y --maintainer nobody")
    assert.equal(2, r.code, r.stderr)
  end)
end)

describe("create version --diff-against", function()
  teardown(world.cleanup)

  local function details(name, body) return ("<details open><summary><code>%s</code></summary>\n\n%s\n\n</details>"):format(name, body) end

  it("prints the differences as Markdown", function()
    local dir = project(nil, { ["images/a/one/run.sh"] = "#!/bin/sh\n", ["images/a/one/gone"] = "a\n```\nb", ["images/a/one/bin"] = "\0",
      ["images/a/one/Containerfile.scratch"] = "FROM scratch\nLABEL v=1.0.0\n", ["images/a/one/test/goss.yaml"] = "path: images/a/3\n" })
    local r = run(dir, "create version a 3 --diff-against 1.0.0")
    assert.equal(0, r.code, r.stderr)
    assert.equal(details("a", table.concat({
      details("Containerfile.scratch", "```diff\n--- a/Containerfile.scratch\n+++ b/Containerfile.scratch\n@@ -1,2 +1,2 @@\n"
        .. " FROM scratch\n-LABEL v=1.0.0\n+LABEL v=3\n```"),
      details("bin", "_Binary file changed._"),
      details("gone", "````diff\n--- a/gone\n+++ b/gone\n@@ -1,3 +0,0 @@\n-a\n-```\n-b\n\\ No newline at end of file\n````"),
    }, "\n\n")) .. "\n", r.stdout)
  end)

  it("says that nothing differs", function()
    local dir = project()
    world.write(dir, { ["b/template/Containerfile.jinja2"] = "FROM scratch\n", ["b/1/Containerfile"] = "FROM scratch\n" })
    assert(fs.write(dir .. "/bakery.yaml", TWO .. "    versions: [{name: '1'}]\n"))
    local r = run(dir, "create version b 2 --diff-against 1")
    assert.equal(details("b", "_No differences from previous edition._") .. "\n", r.stdout)
  end)

  it("lists the files when the report gets long", function()
    local report = require("app.edit.report").markdown("x", { a = ("line\n"):rep(4000), b = "x" }, { b = "y", c = "\0" })
    assert.equal(details("x", "Diff too large to display in full (3 files changed):\n\n- `a` (removed)\n- `b` (modified)\n- `c` (binary)")
      .. "\n", report)
  end)

  it("only warns when there is nothing to compare with", function()
    local r = run(project(), "create version a 3 --diff-against 2.0.0")
    assert.equal(0, r.code)
    assert.equal("", r.stdout)
    assert.truthy(r.stderr:find("images/a/2.0.0 has no files to compare with", 1, true), r.stderr)
  end)
end)

describe("removing on a terminal", function()
  teardown(world.cleanup)

  it("asks", function()
    local dir = project()
    local function ask(answer, ...)
      local r = world.typed({ { "[y/N]", answer == "\3" and answer or answer .. "\n" } },
        { world.bin, "remove", "version", "a", "1.0.0", ... }, { cwd = dir, env = { CI = "", NO_COLOR = "1" } })
      return r and { code = r.code, stdout = r.output }
    end
    if not ask("n") then return end
    local r = ask("n")
    assert.equal(9, r.code, r.stdout)
    assert.truthy(r.stdout:find("Remove version '1.0.0' of image 'a': 0 files in images/a/one and its entry in bakery.yaml? [y/N]", 1, true), r.stdout)
    assert.equal(TWO, fs.read(dir .. "/bakery.yaml"))
    r = ask "\3" -- Ctrl-C
    assert.equal(130, r.code, r.stdout)
    assert.equal(TWO, fs.read(dir .. "/bakery.yaml"))
    r = ask("n", "--yes")
    assert.equal(0, r.code, r.stdout)
    dir = project()
    assert.equal(0, ask("y").code)
  end)
end)
