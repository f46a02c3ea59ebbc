local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"

-- A docker that records what it was asked and writes the metadata a real one would.
local FAKE = [[#!/bin/sh
if [ "$2" = version ]; then echo "github.com/docker/buildx v0.12.0 fake"; exit 0; fi
printf '%s\n' "$@" > "$FAKE_LOG"
pwd > "$FAKE_LOG.cwd"
while [ $# -gt 0 ]; do
  case $1 in
    --file) cp "$2" "$FAKE_LOG.plan"; stat -c %a "$2" > "$FAKE_LOG.mode"; echo "$2" > "$FAKE_LOG.path"; shift ;;
    --metadata-file) meta=$2; shift ;;
  esac
  shift
done
echo "#1 building" >&2
[ -n "$FAKE_FAIL" ] && { echo "ERROR: failed to solve: no" >&2; exit 17; }
printf %s '{"app-1-0-0":{"image.name":"app:1.0.0",' > "$meta"
echo '"containerimage.digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"buildx.build.warnings":[]}' >> "$meta"
]]

describe("backend buildx", function()
  teardown(world.cleanup)
  local dir, bin, log

  before_each(function()
    dir = world.project({ app = "FROM scratch\n" }, { base = false })
    bin = world.tmp()
    log = bin .. "/log"
    world.write(bin, { docker = FAKE })
  end)

  local function build(args, env)
    local cmd = { "build", "-C", dir, "--backend", "buildx", "--progress", "plain" }
    for _, a in ipairs(args) do cmd[#cmd + 1] = a end
    env = env or {}
    env.PATH, env.FAKE_LOG = bin .. ":" .. os.getenv "PATH", log
    return world.bakery(cmd, { env = env })
  end

  it("passes the plan in a private file that is gone afterwards", function()
    local r = build {}
    assert.equal(0, r.code, r.stderr)
    local argv = fs.read(log)
    assert.truthy(argv:find("buildx\nbake\n", 1, true))
    assert.truthy(argv:find("\n--load\n", 1, true))
    assert.equal("600\n", fs.read(log .. ".mode"))
    assert.falsy(fs.exists((fs.read(log .. ".path"):gsub("\n", ""))))
    assert.falsy(fs.exists(dir .. "/.bakery-bake.json"))
    assert.equal(fs.realpath(dir) .. "\n", fs.read(log .. ".cwd"))
    local plan = json.decode(fs.read(log .. ".plan"))
    assert.same({ "app-1-0-0" }, plan.group.default.targets)
    assert.is_nil(plan["x-bakery"])
    assert.equal("app/1.0.0/Containerfile", plan.target["app-1-0-0"].dockerfile)
  end)

  it("translates options and collects metadata, ignoring foreign keys", function()
    local meta = bin .. "/meta.json"
    local r = build { "--push", "--no-cache", "--pull", "--output", "oci:" .. bin .. "/out", "--metadata-file", meta }
    assert.equal(0, r.code, r.stderr)
    local argv = fs.read(log)
    for _, word in ipairs { "--push", "--no-cache", "--pull", "*.output=type=oci,tar=false,dest=" .. bin .. "/out" } do
      assert.truthy(argv:find("\n" .. word .. "\n", 1, true), argv .. " lacks " .. word)
    end
    assert.falsy(argv:find("--load", 1, true))
    assert.equal("sha256:" .. ("a"):rep(64), json.decode(fs.read(meta))["app-1-0-0"]["containerimage.digest"])
  end)

  it("reports a failure with its output and cleans up", function()
    local r = build({}, { FAKE_FAIL = "1" })
    assert.equal(1, r.code, r.stderr)
    assert.truthy(r.stderr:find("exit code 17", 1, true))
    assert.truthy(r.stderr:find("failed to solve", 1, true))
    assert.falsy(fs.exists((fs.read(log .. ".path"):gsub("\n", ""))))
  end)

  it("says what is missing without docker", function()
    fs.remove(bin .. "/docker")
    local r = world.bakery({ "build", "-C", dir, "--backend", "buildx" }, { env = { PATH = bin } })
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("needs docker", 1, true), r.stderr)
  end)

  it("writes output where the caller means, whatever the path", function()
    local here = fs.realpath(bin)
    local env = { PATH = bin .. ":" .. os.getenv "PATH", FAKE_LOG = log }
    local r = world.bakery({ "build", "-C", dir, "--backend", "buildx", "--output", "docker-archive:a,b.tar" },
      { env = env, cwd = here })
    assert.equal(0, r.code, r.stderr)
    assert.truthy(fs.read(log):find('\n*.output=type=docker,"dest=' .. here .. '/a,b.tar"\n', 1, true), fs.read(log))
  end)

  it("keeps bake from evaluating strings and from refusing names", function()
    local plan = dir .. "/plan.json"
    local labels = json.object { { "l${x}", "a ${HOME} %{ if } $${y} $5 100% {}" } }
    local function target(tag)
      return json.object { { "context", "." }, { "dockerfile", "app/1.0.0/Containerfile" }, { "labels", labels },
        { "tags", json.array { tag } }, { "platforms", json.array { "linux/amd64" } } }
    end
    assert(fs.write(plan, json.encode(json.object {
      { "group", json.object { { "default", { targets = json.array { "app-1.0.0", "app-1_0_0" } } },
        { "app 1.0", { targets = json.array { "app-1.0.0" } } }, { "app", { targets = json.array { "app-1.0.0" } } } } },
      { "target", json.object { { "app-1.0.0", target "x/app:1" }, { "app-1_0_0", target "x/app:2" } } } })))
    local results = bin .. "/results.json"
    local r = build { "--plan-file", plan, "--results", results }
    assert.equal(0, r.code, r.stderr)
    local doc = json.decode(fs.read(log .. ".plan"))
    assert.same({ "app-1_0_0_2", "app-1_0_0" }, doc.group.default.targets)
    assert.same({ "app-1_0_0_2" }, doc.group.app.targets)
    assert.is_nil(doc.group["app 1.0"])
    assert.same({ "x/app:1" }, doc.target["app-1_0_0_2"].tags)
    assert.same({ "x/app:2" }, doc.target["app-1_0_0"].tags)
    assert.same({ ["l$${x}"] = "a $${HOME} %%{ if } $$${y} $5 100% {}" }, doc.target["app-1_0_0"].labels)
    assert.equal("app-1.0.0", json.decode(fs.read(results)).targets[1].uid)
  end)
end)
