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

  describe("--strategy build", function()
    -- A docker that takes one build call per target and counts how many run at once.
    local EACH = [[#!/bin/sh
n=$(mktemp "$FAKE_LOG.XXXXXX")
printf '%s\n' "$@" > "$n"
[ "$2" = inspect ] && { echo '[{"Size":4321,"RootFS":{"Layers":["a","b"]}}]'; exit 0; }
while [ $# -gt 0 ]; do
  case $1 in --metadata-file) meta=$2; shift ;; --file) file=$2; shift ;; esac
  shift
done
echo "step of $file" >&2
case $file in *bad*) echo "ERROR: no luck" >&2; exit 17 ;; esac
name=$(basename "$(dirname "$(dirname "$file")")")
echo "{\"image.name\":\"$name:1.0.0\",\"containerimage.digest\":\"sha256:$(printf %064d 7)\"}" > "$meta"
]]
    local function calls()
      local out = {}
      for _, name in ipairs(fs.list(bin)) do
        if name:find "^log%." then out[#out + 1] = fs.read(bin .. "/" .. name) end
      end
      return out
    end
    before_each(function()
      world.write(bin, { docker = EACH })
      log = bin .. "/log"
    end)

    it("builds each target by itself", function()
      dir = world.project({ app = "FROM scratch\n", other = "FROM scratch\n" }, { registry = "r.io/team" })
      local meta = bin .. "/meta.json"
      local r = build { "--strategy", "build", "--pull", "--no-cache", "--push", "--cache-registry", "c.io/x",
        "--metadata-file", meta, "--image-name", "app", "--reproducible" }
      assert.equal(0, r.code, r.stderr)
      local here = fs.realpath(dir)
      local words = {}
      for line in calls()[1]:gmatch "[^\n]*" do
        if not line:find "^org%." and not line:find "^co%.posit" and line ~= "--label" then words[#words + 1] = line end
      end
      local text = table.concat(words, " "):gsub("%-%-metadata%-file %S+", "--metadata-file M")
      assert.equal("buildx build --progress plain --pull --push --metadata-file M --file " .. here
        .. "/app/1.0.0/Containerfile --cache-from type=registry,ref=c.io/x/app/cache:1.0.0-amd64 --cache-to "
        .. "type=registry,ref=c.io/x/app/cache:1.0.0-amd64,mode=max,compression=zstd,oci-mediatypes=true"
        .. " --platform linux/amd64 --no-cache --tag r.io/team/app:1.0.0 --tag r.io/team/app:latest " .. here .. " ", text)
      assert.equal("app:1.0.0", json.decode(fs.read(meta))["app-1-0-0"]["image.name"])
      assert.truthy(r.stderr:find("[app-1-0-0] | step of", 1, true), r.stderr)
    end)

    it("pushes by digest into a temporary registry, passes secrets by name only", function()
      local text = fs.read(dir .. "/bakery.yaml")
      world.write(dir, { ["bakery.yaml"] = text:gsub("    versions:", "    buildSecrets: [{id: tok, envVar: TOK}]\n%0", 1) })
      local r = build({ "--strategy", "build", "--push", "--temp-registry", "t.io:5000/y" }, { TOK = "s3cret" })
      assert.equal(0, r.code, r.stderr)
      local argv = calls()[1]
      assert.truthy(argv:find("\n--output\ntype=image,push-by-digest=true,name-canonical=true,push=true\n", 1, true), argv)
      assert.truthy(argv:find("\n--secret\nid=tok,env=TOK\n", 1, true))
      assert.truthy(argv:find("\n--tag\nt.io:5000/y/app/tmp\n", 1, true))
      assert.falsy(argv:find("--push\n", 1, true) or argv:find("--load", 1, true) or argv:find("s3cret", 1, true))
    end)

    it("goes on after a failure, keeps the metadata, names the command", function()
      dir = world.project { bad = "FROM scratch\n", good = "FROM scratch\n", none = "FROM scratch\n" }
      fs.remove(dir .. "/none/1.0.0/Containerfile")
      local meta = bin .. "/meta.json"
      local r = build({ "--strategy", "build", "--metadata-file", meta, "--retry", "2" }, { BAKERY_BUILD_RETRY_PAUSE = "0" })
      assert.equal(2, r.code, r.stderr)
      assert.truthy(json.decode(fs.read(meta))["good-1-0-0"])
      assert.truthy(r.stderr:find("attempt 2 of 3 failed for bad-1-0-0", 1, true), r.stderr)
      assert.truthy(r.stderr:find("command: docker buildx build", 1, true)
        or r.stderr:find("command: " .. bin .. "/docker buildx build", 1, true), r.stderr)
      assert.truthy(r.stderr:find("| ERROR: no luck", 1, true), r.stderr)
      assert.truthy(r.stderr:find("none/1.0.0/Containerfile: no such Containerfile", 1, true), r.stderr)
      assert.equal(4, #calls()) -- bad three times, good once; a missing file is not tried
    end)

    it("--fail-fast starts nothing more after a failure", function()
      dir = world.project { bad = "FROM scratch\n", good = "FROM scratch\n", zzz = "FROM scratch\n" }
      local r = build { "--strategy", "build", "--fail-fast", "--jobs", "1" }
      assert.equal(1, r.code, r.stderr)
      assert.equal(1, #calls())
      assert.truthy(r.stderr:find("good-1-0-0: skipped", 1, true), r.stderr)
    end)

    it("measures what docker loaded", function()
      local r = build { "--strategy", "build", "--summary", "--summary-format", "json" }
      assert.equal(0, r.code, r.stderr)
      local t = json.decode(r.stdout).targets[1]
      assert.same({ 2, 4321, json.null }, { t.layers, t.local_size, t.registry_size })
    end)
  end)
end)
