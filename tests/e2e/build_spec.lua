local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"
local peers = require "lib.peers"
local process = require "bakery.process"

local store

local function build(dir, args, opts)
  opts = opts or {}
  local cmd = { "build", "-C", dir, "--store", opts.store or store, "--progress", "plain" }
  for _, a in ipairs(args or {}) do cmd[#cmd + 1] = a end
  return world.bakery(cmd, opts)
end

local function ok(r)
  assert.equal(0, r.code, r.stderr)
  return r
end

describe("embedded build", function()
  setup(function() store = world.tmp() .. "/store" end)
  teardown(world.cleanup)

  it("builds a multi-stage image that umoci unpacks to the expected tree", function()
    local dir = world.project { app = [[
ARG GLOBAL=one
FROM scratch AS base
COPY base/ /
ENV PATH=/bin

FROM base AS made
ARG GLOBAL
RUN mkdir /out && echo "$GLOBAL" > /out/global && chmod 640 /out/global
RUN ["/bin/sh", "-c", "echo exec > /out/exec"]
RUN <<EOF
set -e
echo heredoc > /out/heredoc
EOF

FROM base AS unused
RUN false

FROM base
LABEL who=me
ENV A=b C="d e"
WORKDIR /srv/app
COPY --from=made --chown=app:staff /out/ ./
COPY --chmod=755 files/*.txt text/
ADD files/a.txt /a
RUN ln -s /a link && rm /etc/group && rm -rf /home
USER app
EXPOSE 80 53/udp
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s CMD ["true"]
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/bin/echo"]
CMD ["hello"]
]] }
    world.write(dir, { ["files/a.txt"] = "a", ["files/b.txt"] = "b", ["files/c.bin"] = "c" })
    local out = world.tmp() .. "/oci"
    ok(build(dir, { "--output", "oci:" .. out }))
    local config = peers.config(out)
    assert.same({ "/bin/echo" }, config.config.Entrypoint)
    assert.same({ "hello" }, config.config.Cmd)
    assert.same({ "PATH=/bin", "A=b", "C=d e" }, config.config.Env)
    assert.equal("/srv/app", config.config.WorkingDir)
    assert.equal("app", config.config.User)
    assert.equal("me", config.config.Labels.who)
    assert.equal("https://example.com/project", config.config.Labels["org.opencontainers.image.source"])
    assert.same({ ["53/udp"] = {}, ["80/tcp"] = {} }, config.config.ExposedPorts)
    assert.equal("SIGTERM", config.config.StopSignal)
    assert.same({ "CMD", "true" }, config.config.Healthcheck.Test)
    if not world.needs "umoci" then return end
    local tree = peers.tree(out)
    assert.equal("one\n", tree.content "srv/app/global")
    assert.equal("exec\n", tree.content "srv/app/exec")
    assert.equal("heredoc\n", tree.content "srv/app/heredoc")
    assert.equal("0640 1000:50", tree.meta "srv/app/global")
    assert.equal("0755 0:0", tree.meta "srv/app/text/a.txt")
    assert.equal("a", tree.content "a")
    assert.equal("/a", tree.link "srv/app/link")
    assert.falsy(tree.exists "etc/group")
    assert.falsy(tree.exists "home")
    assert.falsy(tree.exists "srv/app/text/c.bin")
  end)

  it("takes everything from the cache the second time, and only what changed the third", function()
    local own = world.tmp() .. "/store"
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN echo once > /once\nCOPY f /f\nRUN cat /f > /g\n" }
    world.write(dir, { f = "1" })
    local function run(args) return build(dir, args, { store = own }) end
    local first = ok(run())
    assert.truthy(first.stderr:find("0/4", 1, true), first.stderr)
    local second = ok(run())
    assert.truthy(second.stderr:find("4/4", 1, true), second.stderr)
    world.write(dir, { f = "2" })
    local runs = json.decode(world.bakery({ "store", "runs", "--store", own, "--json" }).stdout)
    assert.equal(1, #runs) -- the one that did something
    assert.equal("build", runs[1].name)
    assert.equal("ok", runs[1].status)
    local third = ok(run())
    assert.truthy(third.stderr:find("2/4", 1, true), third.stderr)
    local fourth = ok(run { "--no-cache" })
    assert.truthy(fourth.stderr:find("0/4", 1, true), fourth.stderr)
  end)

  it("gives the same digest twice, on another path, with another job count", function()
    local text = "FROM scratch AS a\nCOPY base/ /\nENV PATH=/bin\nRUN date > /tmp/x; echo 1 > /one; ln /one /two\n"
      .. "FROM scratch AS b\nCOPY base/ /\nENV PATH=/bin\nWORKDIR /w\nRUN touch later && mkdir d\n"
      .. "FROM scratch\nCOPY --from=a /one /two /\nCOPY --from=b /w /w\n"
    local digests = {}
    for i, jobs in ipairs { "1", "3" } do
      local dir = world.project { app = text }
      local out, s = world.tmp() .. "/oci", world.tmp() .. "/store"
      ok(build(dir, { "--output", "oci:" .. out, "--jobs", jobs }, { store = s, env = { SOURCE_DATE_EPOCH = "1700000000" } }))
      local index = json.decode(fs.read(out .. "/index.json"))
      digests[i] = index.manifests[1].digest
    end
    assert.equal(digests[1], digests[2])
  end)

  it("executes identical steps of several targets once", function()
    local text = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN cat /proc/sys/kernel/random/uuid > /uuid\nLABEL n=%s\n"
    local dir = world.project { one = text:format "1", two = text:format "2", three = text:format "3" }
    local out = world.tmp() .. "/oci"
    local r = ok(build(dir, { "--jobs", "3", "--output", "oci:" .. out, "--json" }, { store = world.tmp() .. "/store" }))
    local doc = json.decode(r.stdout)
    local executed = 0
    for _, t in ipairs(doc.targets) do executed = executed + t.executed end
    assert.equal(2, executed)
  end)

  it("builds images on sibling images of the same plan", function()
    local dir = world.project({ zbase = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\n",
      app = "FROM registry.example.com/t/zbase:1.0.0\nRUN echo hi > /hi\n" }, { registry = "registry.example.com/t" })
    ok(build(dir))
    local apart = world.project({ zbase = "FROM scratch\n", app = "FROM 127.0.0.1:1/t/zbase:1.0.0\n" },
      { registry = "127.0.0.1:1/t", base = false })
    local alone = build(apart, { "--image-name", "app" })
    assert.equal(6, alone.code, alone.stderr)
    assert.truthy(alone.stderr:find("bakery build --image-name '^zbase$'", 1, true), alone.stderr)
    local loop = world.project({ a = "FROM registry.example.com/t/b:1.0.0\n", b = "FROM registry.example.com/t/a:1.0.0\n" },
      { registry = "registry.example.com/t", base = false })
    local r = build(loop)
    assert.truthy(r.code ~= 0)
    assert.truthy(r.stderr:find("built from each other", 1, true), r.stderr)
  end)

  it("obeys ignore files and refuses what leaves the context", function()
    local dir = world.project { app = "FROM scratch\nCOPY . /\n" }
    world.write(dir, { [".dockerignore"] = "*\n!keep\nkeep/secret\n", ["keep/a"] = "a", ["keep/secret"] = "s", other = "o" })
    assert(fs.symlink("/etc/passwd", dir .. "/keep/link"))
    local out = world.tmp() .. "/oci"
    ok(build(dir, { "--output", "oci:" .. out }))
    if not world.needs "umoci" then return end
    local tree = peers.tree(out)
    assert.equal("a", tree.content "keep/a")
    assert.falsy(tree.exists "keep/secret")
    assert.falsy(tree.exists "other")
    assert.equal("/etc/passwd", tree.link "keep/link")
  end)

  it("writes docker archives, metadata and results documents", function()
    local dir = world.project({ app = "FROM scratch\nCOPY base/ /\nCMD [\"/bin/sh\"]\n" }, { registry = "registry.example.com/t" })
    local tmp = world.tmp()
    local r = ok(build(dir, { "--output", "docker-archive:" .. tmp .. "/image.tar", "--metadata-file", tmp .. "/meta.json",
      "--results", tmp .. "/results.json" }))
    local meta = json.decode(fs.read(tmp .. "/meta.json"))
    local entry = meta["app-1-0-0"]
    assert.truthy(entry["containerimage.digest"]:match "^sha256:%x+$")
    assert.equal("amd64", entry["containerimage.descriptor"].platform.architecture)
    assert.truthy(entry["image.name"]:find("registry.example.com/t/app:1.0.0", 1, true))
    local results = json.decode(fs.read(tmp .. "/results.json"))
    assert.equal("ok", results.targets[1].status)
    assert.equal(0, results.exit.code)
    assert.truthy(r.stderr:find("app-1-0-0", 1, true))
    if world.needs "skopeo" then
      local inspect = world.run { "skopeo", "inspect", "--config",
        "docker-archive:" .. tmp .. "/image.tar:registry.example.com/t/app:1.0.0" }
      assert.same({ "/bin/sh" }, json.decode(inspect.stdout).config.Cmd)
    end
  end)

  it("names each target's own line for a step that they share and that fails", function()
    local text = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN echo seen once; exit 3\n"
    local dir = world.project { one = text, two = "# two\n" .. text }
    local r = build(dir, { "--results", dir .. "/results.json" })
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("also needed by one-1-0-0", 1, true) or r.stderr:find("also needed by two-1-0-0", 1, true), r.stderr)
    for _, target in ipairs(json.decode(fs.read(dir .. "/results.json")).targets) do
      local names = target.error.needed_by
      table.sort(names)
      assert.same({ "one-1-0-0", "two-1-0-0" }, names)
    end
    assert.truthy(r.stderr:find("one/1.0.0/Containerfile:4: RUN failed: exit code 3", 1, true), r.stderr)
    assert.truthy(r.stderr:find("two/1.0.0/Containerfile:5: RUN failed: exit code 3", 1, true), r.stderr)
    local _, outputs = r.stderr:gsub("%[[%w-]+%] | seen once", "")
    assert.equal(1, outputs, r.stderr)
    assert.truthy(r.stderr:find "hint: the step is the same as in %w+/1.0.0/Containerfile:%d, where its output is", r.stderr)
  end)

  it("keeps going after a failed target, and stops with --fail-fast", function()
    local dir = world.project { bad = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN echo before; exit 7\n",
      good = "FROM scratch\nCOPY base/ /\n" }
    local r = build(dir, { "--json" })
    assert.equal(5, r.code)
    assert.truthy(r.stderr:find("bad/1.0.0/Containerfile:4", 1, true), r.stderr)
    assert.truthy(r.stderr:find("exit code 7", 1, true))
    assert.truthy(r.stderr:find("| before", 1, true))
    assert.truthy(r.stderr:find("RUN echo before; exit 7", 1, true))
    assert.equal(1, build(dir, { "--fail-fast", "--jobs", "1" }).code)
  end)

  it("mounts caches, tmpfs, context files and secrets for one RUN only", function()
    local dir = world.project { app = [[
FROM scratch
COPY base/ /
ENV PATH=/bin
RUN --mount=type=cache,target=/c echo one >> /c/log; cat /c/log
RUN --mount=type=tmpfs,target=/t touch /t/x && test -e /t/x
RUN --mount=type=bind,source=base/etc,target=/b grep app /b/passwd > /bound
RUN --mount=type=secret,id=tok wc -c < /run/secrets/tok > /length
RUN --network=none ls /sys/class/net > /net
RUN grep CapEff /proc/self/status | cut -f2 > /caps; grep Seccomp: /proc/self/status | cut -f2 > /seccomp
RUN <<EOF
#!/bin/cat
a script
EOF
]] }
    world.write(dir, { ["bakery.yaml"] = (fs.read(dir .. "/bakery.yaml"):gsub("    versions:",
      "    buildSecrets:\n      - id: tok\n        envVar: BAKERY_TEST_TOKEN\n    versions:", 1)) })
    local out, s = world.tmp() .. "/oci", world.tmp() .. "/store"
    local r = ok(build(dir, { "--output", "oci:" .. out, "-v" }, { store = s, env = { BAKERY_TEST_TOKEN = "s3cr3t-value" } }))
    assert.falsy(r.stderr:find("s3cr3t-value", 1, true))
    assert.equal(1, process.run({ cmd = { "grep", "-rlq", "s3cr3t-value", s } }).code)
    if not world.needs "umoci" then return end
    local tree = peers.tree(out)
    for _, path in ipairs { "c", "t", "b", "run" } do assert.falsy(tree.exists(path), path) end
    assert.equal("12\n", tree.content "length")
    assert.equal("lo\n", tree.content "net")
    assert.equal("00000000a80425fb\n", tree.content "caps")
    assert.equal("2\n", tree.content "seccomp")
    assert.truthy(tree.content("bound"):find("home/app", 1, true))
    assert.truthy(r.stderr:find("| a script", 1, true), r.stderr)
    -- the cache stays: a further RUN that uses it sees what the first one wrote
    world.write(dir, { ["app/1.0.0/Containerfile"] = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\n"
      .. "RUN --mount=type=cache,target=/c echo two >> /c/log; cat /c/log\n" })
    assert.truthy(ok(build(dir, {}, { store = s })).stderr:find("| one\n[app-1-0-0] | two", 1, true))
  end)

  it("takes output that is no text in every form of progress", function()
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN printf '\\377\\001\\n'; exit 3\n" }
    for _, kind in ipairs { "json", "plain", "quiet" } do
      local r = world.bakery { "build", "-C", dir, "--store", store, "--progress", kind, "--json" }
      assert.equal(1, r.code, kind .. r.stderr)
      assert.falsy(r.stderr:find("UTF-8", 1, true), r.stderr)
      assert.equal("failed", json.decode(r.stdout).targets[1].status)
    end
  end)

  it("runs ONBUILD triggers of a base", function()
    local dir = world.project({ abase = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nONBUILD RUN echo triggered > /t\n",
      app = "FROM registry.example.com/t/abase:1.0.0\nRUN cat /t\n" }, { registry = "registry.example.com/t" })
    ok(build(dir))
  end)

  it("runs the stock test recipe on goss files", function()
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nUSER app\n" }
    world.write(dir, { ["app/1.0.0/test/goss.yaml"] = [[
file:
  /bin/busybox: { exists: true, mode: "0755", filetype: file, owner: root }
  /nowhere: { exists: false }
command:
  id -u: { exit-status: 0, stdout: ["1000"] }
  "exit 3": { exit-status: 3 }
user:
  app: { exists: true, uid: 1000, gid: 1001, groups: [app, staff] }
]] })
    ok(build(dir))
    local r = world.bakery { "test", "-C", dir, "--store", store, "--progress", "plain" }
    assert.equal(0, r.code, r.stderr)
    world.write(dir, { ["app/1.0.0/test/goss.yaml"] = "file:\n  /bin/busybox: { exists: true, mode: \"0700\" }\n" })
    r = world.bakery { "test", "-C", dir, "--store", store, "--progress", "plain" }
    assert.equal(4, r.code, r.stderr)
    assert.truthy(r.stderr:find("expected 0700, found 0755", 1, true), r.stderr)
  end)

  it("tries a failed target again with --retry", function()
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nRUN --mount=type=cache,target=/c if [ -e /c/x ]; "
      .. "then true; else touch /c/x; exit 3; fi\n" }
    local r = ok(build(dir, { "--retry", "1" }, { store = world.tmp() .. "/store", env = { BAKERY_BUILD_RETRY_PAUSE = "0" } }))
    assert.truthy(r.stderr:find("attempt 1 of 2 failed for app-1-0-0", 1, true), r.stderr)
  end)

  it("keeps secrets out of the output and the log", function()
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nRUN --mount=type=secret,id=tok "
      .. "cat /run/secrets/tok; echo; printf czNjcm%s V0LXZhbHVl; exit 9\n" }
    local text = fs.read(dir .. "/bakery.yaml")
    text = text:gsub("    versions:", "    buildSecrets:\n      - id: tok\n        envVar: TOK\n%0", 1)
    assert(fs.write(dir .. "/bakery.yaml", text))
    local own = world.tmp() .. "/store"
    local r = build(dir, {}, { store = own, env = { TOK = "s3cret-value" } })
    assert.equal(1, r.code, r.stderr)
    assert.falsy(r.stderr:find("s3cret-value", 1, true), r.stderr)
    assert.falsy(r.stderr:find("czNjcmV0LXZhbHVl", 1, true), r.stderr)
    assert.truthy(r.stderr:find("| ***", 1, true), r.stderr)
    for _, name in ipairs(fs.list(own .. "/log")) do
      assert.falsy(fs.read(own .. "/log/" .. name):find("s3cret", 1, true))
    end
  end)

  it("lets steps that want the same exclusive caches in another order both finish", function()
    local function text(a, b)
      return ("FROM scratch\nCOPY base/ /\nRUN --mount=type=cache,id=%s,target=/a,sharing=locked "
        .. "--mount=type=cache,id=%s,target=/b,sharing=locked --mount=type=cache,id=%s,target=/d,sharing=locked "
        .. "sleep 0.2\n"):format(a, b, a)
    end
    ok(build(world.project { one = text("x", "y"), two = text("y", "x") }, { "-j", "2" }, { timeout = 60 }))
  end)

  it("keeps the names of images with the same tag in one layout", function()
    local dir = world.project({ app = "FROM scratch\nLABEL a=1\n", db = "FROM scratch\nLABEL a=2\n" },
      { base = false, registry = "registry.example.com" })
    local out = world.tmp() .. "/oci"
    for _ = 1, 2 do
      ok(build(dir, { "--output", "oci:" .. out }))
      local names = {}
      for _, m in ipairs(json.decode(fs.read(out .. "/index.json")).manifests) do
        names[#names + 1] = (m.annotations or {})["org.opencontainers.image.ref.name"] or "none"
      end
      table.sort(names)
      assert.same({ "registry.example.com/app:1.0.0", "registry.example.com/app:latest",
        "registry.example.com/db:1.0.0", "registry.example.com/db:latest" }, names)
    end
  end)

  it("builds COPY-only images for other platforms as an index", function()
    local dir = world.project({ app = "FROM scratch\nCOPY f /f\nCOPY --chmod=abc f /g\n" }, { base = false })
    world.write(dir, { f = "f", ["app/1.0.0/Containerfile"] = "FROM scratch\nCOPY f /f\nCOPY none* /\n" })
    local text = fs.read(dir .. "/bakery.yaml"):gsub("(name: 1%.0%.0\n)",
      "%1        os:\n          - name: Debian\n            platforms: [linux/amd64, linux/arm64]\n")
    assert(fs.write(dir .. "/bakery.yaml", text))
    assert(fs.rename(dir .. "/app/1.0.0/Containerfile", dir .. "/app/1.0.0/Containerfile.debian"))
    local out = world.tmp()
    local r = ok(build(dir, { "--output", "oci:" .. out .. "/o" }))
    local _, warnings = r.stderr:gsub("no file matches", "")
    assert.equal(1, warnings, r.stderr)
    r = build(dir, { "--output", "docker-archive:" .. out .. "/a.tar" })
    assert.equal(2, r.code, r.stderr)
    assert.truthy(r.stderr:find("2 platforms", 1, true), r.stderr)
    assert.falsy(fs.exists(out .. "/a.tar"))
    ok(build(dir, { "--output", "docker-archive:" .. out .. "/a.tar", "--image-platform", "linux/arm64" }))
  end)

  it("prints one JSON document on standard output", function()
    local dir = world.project({ app = "FROM scratch\nLABEL a=1\n" }, { base = false })
    for _, args in ipairs { { "--json" }, { "--plan" }, { "--plan", "--json" }, { "--summary-format", "json", "--json" } } do
      local r = ok(build(dir, args))
      assert.is_table(json.decode(r.stdout), table.concat(args, " ") .. ": " .. r.stdout)
    end
    local r = ok(world.bakery { "build", "-C", dir, "--store", store, "--progress", "json" })
    for line in r.stderr:gmatch "[^\n]+" do assert.is_table(json.decode(line), line) end
  end)

  it("keeps the digest of a target in which nothing changed, whatever the time", function()
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nENV A=1\nRUN echo hi > /hi\nCMD sh\n" }
    local function digest(args)
      local r = ok(build(dir, args))
      return r.stderr:match "built (%x+)"
    end
    local first = digest()
    local plan = json.decode(ok(build(dir, { "--plan" })).stdout)
    local stamp = plan.target["app-1-0-0"].labels["org.opencontainers.image.created"]
    repeat -- until the clock shows another second
      plan = json.decode(ok(build(dir, { "--plan" })).stdout)
    until plan.target["app-1-0-0"].labels["org.opencontainers.image.created"] ~= stamp
    assert.equal(first, digest())
    world.write(dir, { ["app/1.0.0/Containerfile"] = "FROM scratch\nCOPY base/ /\nENV A=2\nRUN echo hi > /hi\nCMD sh\n" })
    assert.not_equal(first, digest())
  end)
end)
