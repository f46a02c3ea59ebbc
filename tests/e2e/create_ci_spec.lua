--- Workflow files: read by a YAML parser, actionlint and bash; every call of bakery in them is one that this
--- program takes; the scripts that need no CI system are run.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local world = require "lib.world"

local YAML = [[
repository: {url: github.com/acme/images}
registries:
  - {host: docker.io, namespace: acme}
  - {host: ghcr.io, namespace: acme}
images:
  - name: a
    extraRegistries: [{host: "registry.example.org:5000", repository: x}]
    versions:
      - name: 1.0.0
        latest: true
        os:
          - name: Scratch
            platforms: [linux/amd64, linux/arm64]
  - name: m
    matrix:
      values: {go: ["1.24.0", "1.25.0"]}
      os: [{name: Scratch}]
]]

local function project(sub)
  local dir = world.tmp()
  world.write(dir, { [(sub and sub .. "/" or "") .. "bakery.yaml"] = YAML })
  return dir
end

local function create(dir, ...)
  local r = world.bakery({ "create", "ci", ... }, { cwd = dir })
  assert.equal(0, r.code, r.stderr)
  return r
end

-- A YAML file as python reads it.
local function load(path)
  local r = world.run { "python3", "-c", "import json,sys,yaml; print(json.dumps({str(k): v for k, v in yaml.safe_load(open(sys.argv[1])).items()}))", path }
  return assert(json.decode(r.stdout))
end

-- All scripts in a parsed file.
local function scripts(node, out)
  out = out or {}
  if type(node) ~= "table" then return out end
  for key, value in pairs(node) do
    if key == "run" and type(value) == "string" then out[#out + 1] = value
    elseif (key == "script" or key == "before_script") and type(value) == "table" then
      out[#out + 1] = table.concat(value, "\n")
    else scripts(value, out) end
  end
  return out
end

-- Calls of bakery in a script, words split as a shell does, `set --` lines put in front of "$@".
local function calls(script)
  local text = script:gsub("\\\n%s*", " ")
  local set = {}
  for line in text:gmatch "[^\n]+" do
    local words = line:match "set %-%- (.-); fi$" or line:match "set %-%- (.*)$"
    if words then set[#set + 1] = words:gsub('"%$@" ?', "") end
  end
  local out = {}
  for line in text:gmatch "[^\n]+" do
    local call = line:match "^%s*bakery (%l.*)$" or line:match "| bakery (%l.*)$"
    if call then
      call = call:gsub('"%$@"', table.concat(set, " ")):gsub(" > .*$", "")
      local words = {}
      for word in call:gmatch "%S+" do words[#words + 1] = (word:gsub('^"(.*)"$', "%1"):gsub("%-%*%.json", "-1.json")) end
      out[#out + 1] = words
    end
  end
  return out
end

-- Whether the command tables take a call: "yes", the error, or the name of a command that is not there.
local function accepted(words)
  local commands, options, parse = require "app.commands", require "app.cli.options", require "app.cli.parse"
  local list, command, i = commands.list, nil, 1
  while list do
    local found
    for _, c in ipairs(list) do if c.name == words[i] then found = c end end
    if not found then return nil, table.concat(words, " ", 1, i) end
    command, list, i = found, found.subcommands, i + 1
  end
  if command.prepare then command = command.prepare(command, {}) end
  for k, word in ipairs(words) do
    -- What the shell fills in: any value of the right kind.
    words[k] = word:gsub("%$DEV_VERSIONS", "exclude"):gsub("%$MATRIX_VERSIONS", "include")
  end
  local values, err = parse.parse(words, options.join(command.options or {}, options.common), i)
  if not values then return false, err.message end
  local ok
  ok, err = parse.check_args(values, command.args)
  return ok and "yes" or false, err and err.message
end

local FILES = { github = { ".github/workflows/bakery.yml", ".github/actions/bakery/action.yml" }, gitlab = { ".gitlab-ci.yml" } }

describe("create ci", function()
  teardown(world.cleanup)

  for _, system in ipairs { "github", "gitlab" } do
    describe(system, function()
      it("writes files that a YAML parser and bash read", function()
        if not world.needs "python3" or not world.needs "bash" then return end
        local dir = project()
        create(dir, system)
        for _, file in ipairs(FILES[system]) do
          local list = scripts(load(dir .. "/" .. file))
          assert.is_true(#list > 0)
          for _, script in ipairs(list) do
            local path = world.tmp() .. "/s"
            assert(fs.write(path, script))
            world.run { "bash", "-n", path }
          end
        end
      end)

      it("calls bakery the way it can be called", function()
        if not world.needs "python3" then return end
        local dir = project()
        create(dir, system)
        local n, missing = 0, {}
        for _, file in ipairs(FILES[system]) do
          for _, script in ipairs(scripts(load(dir .. "/" .. file))) do
            for _, call in ipairs(calls(script)) do
              n = n + 1
              local text = table.concat(call, " ")
              local ok, err = accepted(call)
              if ok == nil then missing[#missing + 1] = err
              else assert.equal("yes", ok, text .. ": " .. tostring(err)) end
            end
          end
        end
        assert.is_true(n >= 7, n .. " calls")
        if #missing > 0 then pending("needs bakery " .. table.concat(missing, ", bakery ")) end
      end)
    end)
  end

  it("github is content with actionlint", function()
    local lint = process.which "actionlint" or fs.exists "build/peers/bin/actionlint" and fs.realpath "build/peers/bin/actionlint"
    if not lint then return pending "needs actionlint (make peers)" end
    for _, options in ipairs { {}, { "--schedule", "17 3 * * 1", "--platform", "linux/arm64=my-arm", "--temp-registry", "r.example.org/tmp",
      "--bakery-url", "https://x.org/{version}/bakery-{arch}" } } do
      local dir = project()
      assert(fs.mkdir(dir .. "/.git"))
      create(dir, "github", table.unpack(options))
      local r = process.run { cmd = { lint, "-no-color", "-shellcheck", process.which "shellcheck" or "" }, cwd = dir, merge = true }
      assert.equal("", r.stdout)
      assert.equal(0, r.code)
    end
  end)

  it("github pins actions, gives each job only what it needs, and knows the project", function()
    if not world.needs "python3" then return end
    local dir = project()
    local r = create(dir, "github", "--branch", "trunk", "--schedule", "0 4 * * *")
    assert.truthy(r.stderr:find("✅ Successfully created .github/workflows/bakery.yml and .github/actions/bakery/action.yml", 1, true))
    local text = fs.read(dir .. "/" .. FILES.github[1])
    for use in text:gmatch "uses: ([^\n]*)" do
      assert.truthy(use:find "^%./" or use:find "@%x+ # v%d", use)
      assert.truthy(use:find "^%./" or #use:match "@(%x+)" == 40, use)
    end
    for script in text:gmatch "run: [^\n]*" do assert.falsy(script:find("${{", 1, true), script) end
    local doc = load(dir .. "/" .. FILES.github[1])
    assert.same({ contents = "read" }, doc.permissions)
    assert.same({ "trunk" }, doc["True"].push.branches) -- YAML 1.1 reads `on` as true
    assert.equal("0 4 * * *", doc["True"].schedule[1].cron)
    assert.equal("include", doc.env.MATRIX_VERSIONS)
    assert.same({ ["linux/amd64"] = "ubuntu-24.04", ["linux/arm64"] = "ubuntu-24.04-arm" },
      json.decode(doc.jobs.matrix.outputs.runners))
    for _, job in pairs(doc.jobs) do
      for _, need in ipairs(type(job.needs) == "table" and job.needs or { job.needs }) do assert.is_table(doc.jobs[need]) end
    end
    for _, secret in ipairs { "DOCKERHUB_TOKEN", "GITHUB_TOKEN", "REGISTRY_EXAMPLE_ORG_5000_PASSWORD" } do
      assert.truthy(text:find("${{ secrets." .. secret .. " }}", 1, true), secret)
    end
  end)

  it("writes at the root of the repository for a project below it", function()
    local dir = project "sub/project"
    world.write(dir, { [".git/HEAD"] = "ref: refs/heads/release/1\n" })
    create(dir .. "/sub/project", "github")
    local text = fs.read(dir .. "/.github/workflows/bakery.yml")
    assert.truthy(text:find('PROJECT: "sub/project"', 1, true), text)
    assert.truthy(text:find('branches: ["release/1"]', 1, true), text)
    assert.is_false(fs.exists(dir .. "/sub/project/.github"))
  end)

  it("replaces what was changed only with --force", function()
    local dir = project()
    create(dir, "gitlab")
    create(dir, "gitlab") -- the same again
    assert(fs.write(dir .. "/.gitlab-ci.yml", "mine: true\n"))
    local r = world.bakery({ "create", "ci", "gitlab" }, { cwd = dir })
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("'.gitlab-ci.yml' exists and is another one", 1, true), r.stderr)
    assert.equal("mine: true\n", fs.read(dir .. "/.gitlab-ci.yml"))
    r = world.bakery({ "create", "ci", "gitlab", "--force", "--dry-run" }, { cwd = dir })
    assert.truthy(r.stdout:find("\n-mine: true\n+# Images of this project", 1, true), r.stdout)
    create(dir, "gitlab", "--force", "--output", "ci/images.yml")
    assert.equal("mine: true\n", fs.read(dir .. "/.gitlab-ci.yml"))
    create(dir, "gitlab", "--force")
    assert.truthy(fs.read(dir .. "/.gitlab-ci.yml"):find "^# Images")
  end)

  it("refuses what it does not know", function()
    for _, row in ipairs { { { "jenkins" }, "unknown CI system 'jenkins'" }, { { "github", "--platform", "arm64" }, "expected PLATFORM=RUNNER" },
      { { "github", "--output", "../x.yml" }, "is not inside the project" }, { {}, "missing argument: github|gitlab" } } do
      local r = world.bakery({ "create", "ci", table.unpack(row[1]) }, { cwd = project() })
      assert.is_true(r.code == 2 or r.code == 9, r.stderr)
      assert.truthy(r.stderr:find(row[2], 1, true), r.stderr)
    end
  end)

  -- --- scripts run as on a runner --------------------------------------------------------------

  local function bash(script, dir, env)
    local path = world.tmp() .. "/script"
    assert(fs.write(path, script))
    return process.run { cmd = { "bash", "-e", path }, cwd = dir, env = env, timeout = 120 }
  end

  it("github finds its program and its rows", function()
    for _, tool in ipairs { "python3", "bash", "git", "curl", "sha256sum" } do if not world.needs(tool) then return end end
    local dir = project()
    create(dir, "github")
    local action = load(dir .. "/" .. FILES.github[2])
    local install = action.runs.steps[1].run
    local temp = world.tmp()
    local arch = world.run({ "uname", "-m" }).stdout:match "%S+"
    local env = { URL = "file://" .. world.bin .. "{version}", VERSION = "", SHA256 = "", RUNNER_TEMP = temp, GITHUB_PATH = temp .. "/path" }
    local r = bash(install, dir, env)
    assert.equal(0, r.code, r.stderr)
    local bin = fs.read(temp .. "/path"):match "[^\n]+"
    env.SHA256 = "other=1 " .. arch .. "=" .. ("0"):rep(64)
    assert.not_equal(0, bash(install, dir, env).code)
    env.SHA256 = arch .. "=" .. world.run({ "sha256sum", world.bin }).stdout:match "%x+"
    assert.equal(0, bash(install, dir, env).code)
    env.URL = ""
    r = bash(install, dir, env)
    assert.equal(1, r.code)
    assert.truthy(r.stdout:find("::error::the variable BAKERY_URL", 1, true))

    local rows
    for _, step in ipairs(load(dir .. "/" .. FILES.github[1]).jobs.matrix.steps) do if step.id == "rows" then rows = step.run end end
    local out = temp .. "/output"
    local matrix = { PATH = bin .. ":" .. os.getenv "PATH", GITHUB_OUTPUT = out, DEV_VERSIONS = "exclude", MATRIX_VERSIONS = "include",
      PROJECT = ".", BASE = ("0"):rep(40), IMAGE_NAME = "", IMAGE_VERSION = "" }
    local function ask(more)
      fs.remove(out)
      for k, v in pairs(more) do matrix[k] = v end
      local result = bash(rows, dir, matrix)
      assert.equal(0, result.code, result.stderr)
      local text = fs.read(out)
      return json.decode(text:match "rows=([^\n]*)"), tonumber(text:match "rows%-count=(%d+)")
    end
    local list, count = ask {}
    assert.equal(4, count)
    assert.same({ image = "a", version = "1.0.0", dev = false, platform = "linux/amd64" }, list[1])
    assert.same({ list[2] }, (function() local l = ask { IMAGE_NAME = "^a$", IMAGE_VERSION = "1.0" }; return { l[2] } end)())
    -- Only what changed since the commit before.
    local function git(...)
      return world.run { "git", "-C", dir, "-c", "user.name=x", "-c", "user.email=x@x.org", "-c", "commit.gpgsign=false", ... }
    end
    git("init", "-q")
    world.write(dir, { ["a/1.0.0/x"] = "", ["m/matrix/x"] = "" })
    git("add", "-A")
    git("commit", "-qm", "one")
    local base = git("rev-parse", "HEAD").stdout:match "%x+"
    world.write(dir, { ["a/1.0.0/x"] = "changed" })
    git("commit", "-qam", "two")
    list, count = ask { BASE = base, IMAGE_NAME = "", IMAGE_VERSION = "" }
    assert.equal(2, count)
    assert.equal("a", list[2].image)
  end)

  it("github's last step fails when a job did", function()
    if not world.needs "python3" or not world.needs "bash" then return end
    local dir = project()
    create(dir, "github")
    local steps = load(dir .. "/" .. FILES.github[1]).jobs.summary.steps
    local result = steps[#steps].run
    assert.equal(0, bash(result, dir, { RESULTS = "success success skipped" }).code)
    assert.equal(1, bash(result, dir, { RESULTS = "success failure skipped" }).code)
    assert.equal(1, bash(result, dir, { RESULTS = "success success cancelled" }).code)
  end)

  it("gitlab finds its program", function()
    if not world.needs "python3" or not world.needs "bash" or not world.needs "curl" then return end
    local dir = project()
    create(dir, "gitlab")
    local before = table.concat(load(dir .. "/.gitlab-ci.yml").default.before_script, "\n")
    local r = bash(before .. "\nbakery version", dir, { BAKERY_URL = "file://" .. world.bin, CI_PROJECT_DIR = dir, BAKERY_VERSION = "1" })
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stdout:find "^bakery %d")
    assert.equal(1, bash(before, dir, { BAKERY_URL = "", CI_PROJECT_DIR = dir }).code)
  end)
end)
