--- What a Containerfile and the options of a build can ask for, beyond what other builders are compared in.
local fs = require "bakery.fs"
local json = require "bakery.json"
local peers = require "lib.peers"
local process = require "bakery.process"
local world = require "lib.world"

local BASE = "FROM scratch AS sys\nCOPY base/ /\nENV PATH=/bin\n"

local function run(dir, args, opts)
  local cmd = { "build", "-C", dir, "--store", (opts or {}).store or world.tmp() .. "/store", "--progress", "plain" }
  table.move(args or {}, 1, #(args or {}), #cmd + 1, cmd)
  return world.bakery(cmd, opts)
end

-- Builds a Containerfile; its output.
local function build(text, args, opts)
  local dir = type(text) == "table" and text.dir or world.project { app = text }
  if opts and opts.files then world.write(dir, opts.files) end
  local r = run(dir, args, opts)
  assert.equal(0, r.code, r.stderr)
  return r.stderr, dir
end

local function layout(text, args, opts)
  local out = world.tmp() .. "/oci"
  local all = { "--output", "oci:" .. out }
  table.move(args or {}, 1, #(args or {}), #all + 1, all)
  local stderr = build(text, all, opts)
  return out, stderr
end

local function has(text, part) assert.is_truthy(text:find(part, 1, true), "no '" .. part .. "' in\n" .. text) end
local function lacks(text, part) assert.is_nil(text:find(part, 1, true), "'" .. part .. "' in\n" .. text) end

describe("CopyIgnoredFile", function()
  teardown(world.cleanup)

  it("is said of sources that the ignore file leaves out, unless it has exceptions", function()
    local function try(directive, source, ignore, comment)
      local dir = world.project { app = directive .. "\nFROM scratch AS made\nCOPY base /gone\nFROM scratch\nCOPY base/ /\n"
        .. "COPY --from=made gone /g\n" .. (comment or "") .. "\nCOPY " .. source .. " /to/\n" }
      world.write(dir, { [".dockerignore"] = ignore or "gone\n", ["gone/kept"] = "k", ["gone/other"] = "o", here = "h" })
      return world.bakery { "build", "-C", dir, "--store", world.tmp() .. "/store", "--progress", "plain" }
    end
    local said = "COPY of '%s', which the ignore file of the context leaves out"
    for _, source in ipairs { "./gone", "/gone/", "gone/other" } do
      has(try("", source).stderr, "Containerfile:8: " .. said:format(source))
    end
    for _, source in ipairs { "here", "." } do
      local r = try("", source)
      assert.equal(0, r.code, r.stderr)
      lacks(r.stderr, "leaves out")
    end
    lacks(try("", "gone/other", "gone\n!gone/kept\n").stderr, "leaves out")
    lacks(try("# check=skip=CopyIgnoredFile", "gone").stderr, "leaves out")
    lacks(try("", "gone", nil, "# check=skip=CopyIgnoredFile").stderr, "leaves out")
    local r = try("# check=error=true", "gone")
    assert.equal(1, r.code, r.stderr)
    has(r.stderr, "error: " .. said:format "gone" .. " (CopyIgnoredFile)")
  end)
end)

describe("RUN mounts", function()
  teardown(world.cleanup)

  it("bind: context, stages and contexts; writes are thrown away", function()
    local dir = world.project { app = BASE .. [[
FROM sys AS made
RUN mkdir -p /out/sub && echo x > /out/x && chown 5:6 /out/x && ln -s x /out/link
FROM sys
RUN --mount=type=bind,target=/ctx ls /ctx/base/etc && ! touch /ctx/new && ! ls /ctx/ignored
RUN --mount=type=bind,source=file,target=/f cat /f && ! echo more >> /f
RUN --mount=type=bind,from=made,source=/out,target=/mnt,rw stat -c owner=%u:%g /mnt/x && echo y > /mnt/y && cat /mnt/link
RUN --mount=from=made,target=/whole test -d /whole/out/sub && test ! -e /mnt/y && test ! -e /whole/out/y
RUN --mount=from=dir,source=a*b,target=/star cat /star
WORKDIR /work
RUN --mount=source=file,target=rel cat rel && echo in=$(pwd)
]] }
    local out = world.tmp() .. "/oci"
    local log = build({ dir = dir }, { "--build-context", "dir=" .. dir, "--output", "oci:" .. out }, { files = { file = "context file\n",
      [".dockerignore"] = "ignored\n", ignored = "i", ["a*b"] = "star\n", axb = "no\n" } })
    has(log, "context file")
    has(log, "owner=5:6")
    has(log, "| star")
    lacks(log, "| no")
    has(log, "in=/work")
    local tree = peers.tree(out)
    for _, gone in ipairs { "ctx", "f", "mnt", "whole", "star", "work/rel" } do assert.is_false(tree.exists(gone), gone) end
  end)

  it("bind: the content counts for the cache, not the rest of the image it is from", function()
    local store = world.tmp() .. "/store"
    local function text(a, b)
      return BASE .. ("FROM sys AS made\nRUN echo %s > /a; echo %s > /b\nFROM sys\nRUN --mount=from=made,source=/a,target=/a cat /a\n"):format(a, b)
    end
    build(text("1", "1"), nil, { store = store })
    has(build(text("1", "2"), nil, { store = store }), "cached 3/3")
    lacks(build(text("2", "2"), nil, { store = store }), "cached 3/3")
  end)

  it("cache: kept between builds, seeded by from=, owned as asked, not in the image", function()
    local store = world.tmp() .. "/store"
    local function text(n)
      return BASE .. "FROM sys AS seed\nRUN mkdir /s && echo seed > /s/f\nFROM sys\n"
        .. "RUN --mount=type=cache,target=/c,id=own,uid=1000,gid=50,mode=0750 stat -c cache=%u:%g:%a /c; echo " .. n .. " >> /c/n; cat /c/n | wc -l\n"
        .. "RUN --mount=type=cache,target=/c,id=seeded,from=seed,source=/s cat /c/f && echo changed > /c/f && echo " .. n .. "\n"
        .. "USER app\nRUN --mount=type=cache,target=/home/app/.c,uid=1000 touch /home/app/.c/x && echo writable " .. n .. "\n"
    end
    local out, log = layout(text(1), nil, { store = store })
    has(log, "cache=1000:50:750")
    has(log, "| seed")
    has(log, "writable 1")
    assert.is_false(peers.tree(out).exists "c")
    log = build(text(2), nil, { store = store })
    has(log, "| 2")
    has(log, "| changed")
  end)

  it("cache: a directory inside one begins empty, and stays inside", function()
    local log = build(BASE .. "RUN --mount=type=cache,id=deep,source=../../../etc,target=/c ls -A /c | wc -l; echo x > /c/mine\n"
      .. "RUN --mount=type=cache,id=deep,target=/c cat /c/etc/mine\n")
    has(log, "| 0")
    has(log, "| x")
  end)

  it("cache: locked ones exclude each other, private ones are two", function()
    local stages, copies = {}, {}
    for i = 1, 3 do
      stages[i] = ("FROM sys AS s%d\nRUN --mount=type=cache,id=l,sharing=locked,target=/c test ! -e /c/b && touch /c/b && sleep 0.1 "
        .. "&& rm /c/b && echo %d > /o%d\n")
        :format(i, i, i)
      copies[i] = ("COPY --from=s%d /o%d /o%d\n"):format(i, i, i)
    end
    build(BASE .. table.concat(stages) .. "FROM sys\n" .. table.concat(copies), { "-j", "3" })
  end)

  it("tmpfs: empty, of the size asked for, gone afterwards", function()
    local out, log = layout(BASE .. "RUN mkdir /t && echo below > /t/f\nRUN --mount=type=tmpfs,target=/t,size=4m test ! -e /t/f && "
      .. "! dd if=/dev/zero of=/t/big bs=1M count=8 2>/dev/null && df -k /t | tail -1\n")
    has(log, "4096")
    local tree = peers.tree(out)
    assert.is_true(tree.exists "t/f")
    assert.is_false(tree.exists "t/big")
  end)

  it("buildah's options: tmpfs with the image's files, its mode and size, files of the command's user", function()
    local out, log = layout(BASE .. [[
RUN mkdir -m 750 /d && echo x > /d/f && chown 5:6 /d && chown 7:8 /d/f
RUN --mount=type=tmpfs,target=/d,tmpcopyup stat -c copied=%a:%u:%g /d && stat -c file=%u:%g /d/f && echo more > /d/new
RUN --mount=type=tmpfs,target=/none,tmpcopyup,tmpfs-mode=0710,tmpfs-size=1m stat -c none=%a /none && df -k /none | tail -1
USER app
RUN --mount=type=cache,target=/c,id=owned,U touch /c/mine && stat -c cache=%u:%g /c
RUN --mount=type=bind,source=base,target=/b,U,rw touch /b/mine && stat -c bind=%u:%g /b /b/etc/passwd
RUN --mount=type=bind,source=base/etc/group,target=/g,U,Z stat -c one=%u:%g /g && ! echo > /g
]])
    for _, line in ipairs { "copied=750:5:6", "file=7:8", "none=710", " 1024 ", "cache=1000:1001", "bind=1000:1001", "one=1000:1001" } do
      has(log, line)
    end
    local tree = peers.tree(out)
    assert.is_false(tree.exists "d/new")
    assert.is_false(tree.exists "none")
    assert.equal("0750 5:6", tree.meta "d")
  end)

  it("secret: files and variables, owner and mode, never in image, log or store", function()
    local store = world.tmp() .. "/store"
    local dir = world.project { app = BASE .. [[
RUN --mount=type=secret,id=one cat /run/secrets/one && stat -c %a:%u /run/secrets/one
RUN --mount=type=secret,id=two,target=/etc/two,mode=0440,uid=1000,gid=50 stat -c two=%a:%u:%g /etc/two && test "$(head -c 5 /etc/two)" = from-
RUN --mount=type=secret,id=one,env=ONE echo "[$ONE]" && test ! -e /run/secrets/one
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
USER app
RUN --mount=type=secret,id=two,uid=1000,target=mine cat mine > /dev/null
]] }
    world.write(dir, { ["hidden/two"] = "from-the-file" })
    local out = world.tmp() .. "/oci"
    local r = run(dir, { "--secret", "id=one,env=FIRST", "--secret", "id=two,src=" .. dir .. "/hidden/two", "--output", "oci:" .. out },
      { store = store, env = { FIRST = "first-secret-value" } })
    assert.equal(0, r.code, r.stderr)
    has(r.stderr, "400:0")
    has(r.stderr, "two=440:1000:50")
    lacks(r.stderr, "first-secret-value")
    assert.equal(1, process.run({ cmd = { "grep", "-rl", "-e", "first-secret-value", "-e", "from-the-file", store, out } }).code)
    local tree = peers.tree(out)
    assert.is_false(tree.exists "etc/two")
  end)

  it("secret and ssh: a missing one is an error when required", function()
    for _, row in ipairs { { "type=secret,id=x,required", "secret 'x' is required", "--secret id=x" },
      { "type=ssh,required", "ssh agent 'default' is required", "--ssh default" } } do
      local r = run(world.project { app = BASE .. "RUN --mount=" .. row[1] .. " true\n" })
      assert.is_true(r.code ~= 0)
      has(r.stderr, row[2])
      has(r.stderr, row[3])
      has(r.stderr, "Containerfile:4")
    end
    build(BASE .. "RUN --mount=type=ssh test ! -e /run/buildkit/ssh_agent.0\n")
  end)

  it("ssh: an agent, a key file, for another user, and not in the image", function()
    local keygen, add = process.which "ssh-keygen", process.which "ssh-add"
    if not keygen or not add then
      pending "needs openssh-client"
      return
    end
    local dir = world.project { app = BASE .. [[
COPY probe /bin/probe
RUN --mount=type=ssh,id=key,uid=1000,mode=0600 stat -c socket=%a:%u $SSH_AUTH_SOCK
USER app
RUN --mount=type=ssh,id=key,uid=1000 probe "$SSH_AUTH_SOCK"
]] }
    world.run { keygen, "-q", "-t", "ed25519", "-N", "", "-C", "the key", "-f", dir .. "/key" }
    -- Asks the agent for its identities (draft-ietf-sshm-ssh-agent, message 11).
    world.write(dir, { ["probe.c"] = [[
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  char answer[4096];
  strncpy(a.sun_path, argv[1], sizeof a.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) || write(fd, "\0\0\0\1\13", 5) != 5) return perror("agent"), 1;
  ssize_t n = read(fd, answer, sizeof answer);
  for (ssize_t i = 0; i + 7 <= n; i++)
    if (!memcmp(answer + i, "the key", 7)) return puts("agent knows the key"), 0;
  return 1;
}
]] })
    world.run { "cc", "-static", "-o", dir .. "/probe", dir .. "/probe.c" }
    local out = world.tmp() .. "/oci"
    local log = build({ dir = dir }, { "--ssh", "key=" .. dir .. "/key", "--output", "oci:" .. out })
    has(log, "socket=600:1000")
    has(log, "agent knows the key")
    assert.is_false(peers.tree(out).exists "run/buildkit")
    assert.equal(1, process.run({ cmd = { "pgrep", "-f", "ssh-agent -D -a " .. "/tmp/bakery-test" } }).code)
  end)
end)

describe("RUN flags", function()
  teardown(world.cleanup)

  it("network", function()
    local log = build(BASE .. "RUN --network=none ls /sys/class/net\nRUN --network=default true\n")
    lacks(log, "eth")
    local r = run(world.project { app = BASE .. "RUN --network=host true\n" }, { "--network", "none" })
    has(r.stderr, "RUN --network=host in a build without network")
  end)

  it("that need more than a build may have are refused with the reason", function()
    for _, row in ipairs { { "--security=insecure", "no command more than the default capabilities" }, { "--device=gpu", "no devices of the host" } } do
      local r = run(world.project { app = BASE .. "RUN " .. row[1] .. " true\n" })
      assert.equal(2, r.code)
      has(r.stderr, row[2])
      has(r.stderr, "Containerfile:4")
    end
    build(BASE .. "RUN --security=sandbox true\n")
  end)
end)

describe("USER", function()
  teardown(world.cleanup)

  it("has its own group among the supplementary ones", function()
    local log = build(BASE .. "RUN echo root $(grep Groups /proc/self/status)\nUSER app\nRUN echo app $(grep Groups /proc/self/status)\n"
      .. "USER app:0\nRUN echo other $(grep Groups /proc/self/status)\nUSER 7:8\nRUN echo numbers $(grep Groups /proc/self/status)\n")
    for _, line in ipairs { "root Groups: 0", "app Groups: 50 1001", "other Groups: 0", "numbers Groups: 8" } do has(log, line) end
  end)
end)

describe("options of a build", function()
  teardown(world.cleanup)

  it("arguments, stage, labels, hosts, limits", function()
    local out, log = layout(BASE .. [[
ARG A=default B C
FROM sys AS mid
ARG A B C
RUN echo "A=$A B=$B C=$C" && grep -c 10.1.2.3 /etc/hosts && ulimit -n && df -k /dev/shm | tail -1 && echo host=$(hostname)
FROM sys AS last
RUN exit 1
]], { "--build-arg", "A=given", "--build-arg", "B", "--target", "MID", "--label", "x=1", "--label", "org.opencontainers.image.title=t",
      "--add-host", "db:10.1.2.3", "--ulimit", "nofile=77:88", "--shm-size", "16m", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=named" },
      { env = { B = "from environment" } })
    has(log, "A=given B=from environment C=")
    has(log, "| 77")
    has(log, "16384")
    has(log, "host=named")
    local config, manifest = peers.config(out)
    assert.equal("1", config.config.Labels.x)
    assert.equal("t", manifest.annotations["org.opencontainers.image.title"])
  end)

  it("SOURCE_DATE_EPOCH is the epoch, and RUN sees it when it asks", function()
    local text = BASE .. "RUN echo \"[$SOURCE_DATE_EPOCH]\"\nARG SOURCE_DATE_EPOCH\nRUN echo \"<$SOURCE_DATE_EPOCH>\"\n"
    local out, log = layout(text, { "--build-arg", "SOURCE_DATE_EPOCH=1500000000" })
    has(log, "| []")
    has(log, "| <1500000000>")
    assert.equal("2017-07-14T02:40:00Z", (peers.config(out)).created)
    out, log = layout(text, nil, { env = { SOURCE_DATE_EPOCH = "1500000001" } })
    has(log, "| <1500000001>")
    assert.equal("2017-07-14T02:40:01Z", (peers.config(out)).created)
  end)

  it("are in the plan, and a plan brings them", function()
    local dir = world.project { app = BASE .. "ARG A\nRUN echo A=$A\n" }
    local r = run(dir, { "--plan", "--build-arg", "A=planned", "--target", "sys", "--ulimit", "core=0", "--annotation", "index:a=b",
      "--ssh", "default", "--build-context", "x=docker-image://busybox" })
    local doc = json.decode(r.stdout)
    local t = doc.target["app-1-0-0"]
    assert.equal("planned", t.args.A)
    assert.equal("sys", t.target)
    assert.equal("docker-image://busybox", t.contexts.x)
    assert.are.same({ "core=0" }, t.ulimits)
    t.annotations, t.ssh, t.contexts = nil, nil, nil
    world.write(dir, { ["plan.json"] = json.encode(doc) })
    r = run(dir, { "--plan-file", dir .. "/plan.json" })
    assert.equal(0, r.code, r.stderr)
    has(r.stderr, "A=planned")
    for _, row in ipairs { { "contexts", { x = "/etc" } }, { "secret", { { type = "file", id = "x", src = "../../etc/shadow" } } },
      { "ssh", { "default=/home/me/.ssh/id" } }, { "ulimits", { "nofiles=1" } }, { "shm-size", "big" } } do
      doc = json.decode(r.stdout ~= "" and r.stdout or fs.read(dir .. "/plan.json"))
      doc.target["app-1-0-0"][row[1]] = row[2]
      world.write(dir, { ["bad.json"] = json.encode(doc) })
      local bad = run(dir, { "--plan-file", dir .. "/bad.json" })
      assert.equal(2, bad.code, row[1])
      has(bad.stderr, "target.app-1-0-0." .. row[1])
    end
  end)

  it("are checked", function()
    local dir = world.project { app = BASE }
    for _, row in ipairs { { "--ulimit", "nofile", "nofile=1024:2048" }, { "--ulimit", "files=1", "limits are core" },
      { "--ulimit", "nofile=9:1", "above the hard" },
      { "--add-host", "x", "NAME:ADDRESS" }, { "--add-host", "x:host-gateway", "127.0.0.1" }, { "--shm-size", "much", "128m" },
      { "--secret", "src=x", "needs an id" }, { "--secret", "id=a,src=/none/such", "does not" }, { "--secret", "id=a,fiel=b", "unknown field 'fiel'" },
      { "--label", "x", "NAME=VALUE" }, { "--annotation", "idx:a=b", "is no level" }, { "--annotation", "index:a=b", "no index" },
      { "--target", "syss", "did you mean sys?" }, { "--ssh", "default", "SSH_AUTH_SOCK is not set" } } do
      local text = row[1] == "--ssh" and BASE .. "RUN --mount=type=ssh true\n" or BASE
      local r = run(row[1] == "--ssh" and world.project { app = text } or dir, { row[1], row[2] }, { env = { SSH_AUTH_SOCK = "" } })
      assert.equal(2, r.code, row[1] .. " " .. row[2] .. "\n" .. r.stderr)
      has(r.stderr, row[3])
    end
  end)

  it("no-cache-filter runs only those stages again", function()
    local store = world.tmp() .. "/store"
    local text = BASE .. "FROM sys AS a\nRUN echo a > /a\nFROM sys AS b\nRUN echo b > /b\nFROM sys\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n"
    local _, dir = build(text, nil, { store = store })
    local log = build({ dir = dir }, { "--no-cache-filter", "B" }, { store = store })
    has(log, "done   ")
    local ran = {}
    for line in log:gmatch "done +%d+/%d+ ([^\n]*)" do ran[#ran + 1] = line:gsub(" %d.*$", "") end
    assert.are.same({ "RUN echo b > /b" }, ran)
  end)

  it("format docker, annotations of every level", function()
    local dir = world.project { app = BASE .. "HEALTHCHECK CMD true\n" }
    local out = world.tmp() .. "/oci"
    build({ dir = dir }, { "--format", "docker", "--output", "oci:" .. out })
    local _, manifest, index = peers.config(out)
    assert.equal("application/vnd.docker.distribution.manifest.v2+json", manifest.mediaType)
    assert.equal(manifest.mediaType, index.manifests[1].mediaType)
    assert.equal("application/vnd.docker.container.image.v1+json", manifest.config.mediaType)
    assert.equal("application/vnd.docker.image.rootfs.diff.tar.gzip", manifest.layers[1].mediaType)
    assert.is_nil(manifest.annotations)
    local r = run(dir, { "--format", "docker", "--annotation", "a=b" })
    has(r.stderr, "annotations need OCI media types")
    r = run(dir, { "--format", "docker", "--backend", "buildx" })
    assert.equal(2, r.code)
    has(r.stderr, "--format docker")
    out = world.tmp() .. "/oci2"
    build({ dir = dir }, { "--annotation", "a=b", "--annotation", "manifest,manifest-descriptor:c=d", "--annotation",
      "manifest[linux/s390x]:no=no", "--output", "oci:" .. out })
    _, manifest, index = peers.config(out)
    assert.equal("b", manifest.annotations.a)
    assert.equal("d", manifest.annotations.c)
    assert.is_nil(manifest.annotations.no)
    assert.equal("d", index.manifests[1].annotations.c)
    assert.is_nil(index.manifests[1].annotations.a)
  end)
end)

describe("Containerfiles", function()
  teardown(world.cleanup)

  it("warn under the names of BuildKit's checks, and fail where the file says so", function()
    local text = "FROM scratch as a\nCMD echo\n"
    local log = build(text)
    has(log, "different case")
    has(log, "gets no signals")
    local r = run(world.project { app = "# check=error=true\n" .. text })
    assert.equal(1, r.code)
    has(r.stderr, "(FromAsCasing)")
    build("# check=skip=FromAsCasing,JSONArgsRecommended;error=true\n" .. text)
    build("# check=skip=all;error=true\n" .. text)
    build(text, { "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all;error=true" })
    r = run(world.project { app = text }, { "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true" })
    assert.equal(1, r.code)
  end)

  it("build what buildah knows and BuildKit refuses", function()
    local log = build "ARG WHICH=one\nFROM scratch AS one\nCOPY base/ /\nENV PATH=/bin\nFROM 0 AS two\nRUN sleep 0.1; echo two is done\n"
      .. "FROM --after=two scratch AS three\nCOPY base/ /\nENV PATH=/bin\nARG WHICH\nCOPY --from=$WHICH etc/group /copied\n"
      .. "RUN --mount=from=${WHICH},target=/m ls /m/etc/passwd /copied\n"
    has(log, "two is done")
    has(log, "/m/etc/passwd")
  end)

  it("name what they do not know, and its nearest neighbour", function()
    for _, row in ipairs { { "RNU echo", "unknown instruction: RNU", "did you mean RUN?" }, { "IMPORT x", "unknown instruction: IMPORT" },
      { "COPY --form=x a b", "unknown flag --form", "did you mean --from?" }, { "RUN --mount=type=bnid true", "did you mean bind?" },
      { "RUN --mount=type=cache,taget=/x true", "did you mean target?" }, { "ADD --parents a b", "unknown flag --parents" },
      { "HEALTHCHECK --intervall=5s CMD x", "did you mean --interval?" } } do
      local r = run(world.project { app = "FROM scratch\n" .. row[1] .. "\n" })
      assert.equal(2, r.code)
      has(r.stderr, "Containerfile:2:")
      for i = 2, #row do has(r.stderr, row[i]) end
    end
  end)

  it("have ignore files of their own", function()
    local dir = world.project { app = "FROM scratch\nCOPY tree /\n" }
    world.write(dir, { ["tree/a"] = "a", ["tree/b"] = "b", [".dockerignore"] = "tree/a\n", ["app/1.0.0/Containerfile.dockerignore"] = "tree/b\n" })
    local out = world.tmp() .. "/oci"
    local log = build({ dir = dir }, { "--output", "oci:" .. out })
    has(log, ".dockerignore is not looked at")
    local tree = peers.tree(out)
    assert.is_true(tree.exists "a")
    assert.is_false(tree.exists "b")
  end)

  it("warn of owners that the image does not know", function()
    local log = build(BASE .. "COPY --chown=nosuch base/etc/group /a\nCOPY --chown=app:none base/etc/group /b\nCOPY --chown=app:staff base/etc/group /c\n")
    has(log, "Containerfile:4: --chown=nosuch: the image has no 'nosuch'; the files belong to 0:0")
    has(log, "Containerfile:5: --chown=app:none: the image has no 'none'; the files belong to 1000:1001")
    lacks(log, "Containerfile:6:")
  end)

  it("warn of files that become one, and of what BuildKit refuses", function()
    local log = build(BASE .. "ENV V=1.2\nCOPY base/etc/* /one\nCOPY base/etc/* /etc\nCOPY base/etc/g* /g${V//.}\nRUN ls /g12\n")
    has(log, "Containerfile:5: COPY of 2 files to '/one', which does not end with '/': the last one wins")
    lacks(log, "Containerfile:6:")
    has(log, "Containerfile:7: BuildKit refuses ${V/pattern} without a replacement: write ${V/pattern/}")
  end)

  it("may not make more layers than engines take", function()
    local r = run(world.project { app = BASE .. ("RUN true\n"):rep(130) })
    assert.equal(2, r.code)
    has(r.stderr, "would have 131 layers")
    lacks(r.stderr, "RUN true 0.")
    build(BASE .. ("ENV A=b\n"):rep(200))
  end)

  it("copy with --parents: pivots, patterns, excludes, missing ones", function()
    local dir = world.project { app = BASE .. [[
COPY --parents a/x.c a/b/y.c ./c /flat/
COPY --parents a/./b/y.c /pivot
COPY --parents **/*.c /all/
COPY --parents --exclude=**/y.* a /part/
COPY --parents a/empty /dirs/
COPY --parents no*/./such a/./no*such /nothing/
FROM sys
COPY --from=0 --parents /flat/a/./b /from/
COPY --from=0 --parents --chmod=700 --chown=5:6 /flat/**/*.c /owned
]] }
    world.write(dir, { ["a/x.c"] = "x", ["a/b/y.c"] = "y", ["a/b/n"] = "n", ["c/z.c"] = "z", ["a/d/w.c"] = "w" })
    assert(fs.mkdir(dir .. "/a/empty"))
    fs.chmod(dir .. "/a/b", 448) -- 0700
    local first = world.tmp() .. "/first"
    build({ dir = dir }, { "--target", "sys", "--output", "oci:" .. first })
    local tree = peers.tree(first)
    for _, path in ipairs { "nothing", "flat/a/x.c", "flat/a/b/y.c", "flat/c/z.c", "pivot/b/y.c", "all/a/b/y.c", "all/c/z.c", "part/a/x.c", "part/a/b/n",
      "dirs/a/empty" } do
      assert.is_true(tree.exists(path), path)
    end
    for _, path in ipairs { "flat/a/d", "flat/a/b/n", "pivot/a", "all/a/empty", "part/a/b/y.c", "dirs/a/b" } do
      assert.is_false(tree.exists(path), path)
    end
    assert.equal("0700 0:0", tree.meta "flat/a/b")
    local second = world.tmp() .. "/second"
    build({ dir = dir }, { "--output", "oci:" .. second })
    tree = peers.tree(second)
    assert.is_true(tree.exists "from/b/y.c")
    assert.equal("0700 5:6", tree.meta "owned/flat/a/x.c")
    for _, path in ipairs { "none/such", "none/./such", "base/./such" } do
      local r = run(world.project { app = BASE .. "COPY --parents " .. path .. " /x/\n" })
      has(r.stderr, "'" .. (path == "none/./such" and "/none" or path) .. "' does not exist in the build context")
    end
  end)
end)
