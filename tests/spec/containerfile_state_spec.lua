local containerfile = require "bakery.containerfile"
local json = require "bakery.json"

local DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

local function plan_of(lines, opts)
  local text = type(lines) == "table" and table.concat(lines, "\n") or lines
  return assert(containerfile.stages(assert(containerfile.parse(text, { name = "F" })), opts))
end

-- Runs all stages the plan needs; base = image config for stages that start from an image.
local function run(lines, opts, base)
  local plan = plan_of(lines, opts)
  local states, steps = {}, {}
  for _, i in ipairs(plan.order) do
    local stage = plan.stages[i]
    local s = assert(containerfile.state(stage, { globals = plan, parent = stage.base.stage and states[stage.base.stage],
      config = stage.base.image and base or nil }))
    states[i], steps = s, {}
    for step, err in s:steps() do
      if not step then return nil, err end
      steps[#steps + 1] = step
      if not step.empty_layer and step.op ~= "meta" then s:add_layer("sha256:" .. step.line .. step.op) end
    end
  end
  return states[plan.target], steps, plan
end

-- The last step of a one-stage file.
local function last(lines, opts, base)
  table.insert(lines, 1, "FROM scratch")
  local s, steps = run(lines, opts, base)
  assert(s, steps)
  return steps[#steps], s
end

local function failure(lines, code, opts)
  table.insert(lines, 1, "FROM scratch")
  local s, err = run(lines, opts)
  assert.is_nil(s)
  assert.are.equal("containerfile." .. code, err.code, err.message)
  return err
end

local function rules(s)
  local out = {}
  for i, w in ipairs(s.warnings) do out[i] = w.rule .. ":" .. w.line end
  return out
end

describe("ENV and ARG", function()
  it("keep order and replace in place", function()
    local _, s = last { "ENV A=1 B=2", "ENV C=3 A=4", "ENV PATH=/x:$PATH" }
    assert.are.same({ "PATH=/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=4", "B=2", "C=3" },
      s.config.Env)
  end)

  it("expand all right-hand sides with the environment before the line", function()
    local _, s = last { "ENV A=1", "ENV A=2 B=$A C=${D:-$A}" }
    assert.are.same({ DEFAULT_PATH, "A=2", "B=1", "C=1" }, s.config.Env)
    _, s = last { "ENV X=1", 'LABEL a=$X "b $X"=\'$X\' c=' }
    assert.are.same({ a = "1", ["b 1"] = "$X", c = "" }, s.config.Labels)
  end)

  it("expand names", function()
    local _, s = last { "ENV N=x", "ENV ${N}y=1", "ARG A$N=2" }
    assert.are.equal("1", s.env.xy)
    assert.are.equal("2", s.env.Ax)
    failure({ "ENV $U=1" }, "usage")
    failure({ "ARG $U=1" }, "usage")
  end)

  it("legacy form", function()
    local step, s = last { "ENV A b c  d" }
    assert.are.equal("b c  d", s.env.A)
    assert.are.equal("ENV A=b c  d", step.history)
  end)

  it("the later one wins while building; the config keeps ENV", function()
    local step, s = last { "ENV X=env", "ARG X=arg", "RUN x" }
    assert.are.same({ DEFAULT_PATH, "X=arg" }, step.env)
    assert.are.same({ DEFAULT_PATH, "X=env" }, s.config.Env)
    assert.are.same({ "ArgAfterEnv:3" }, rules(s))
    step, s = last { "ARG X=arg", "ENV X=env", "RUN x" }
    assert.are.same({ DEFAULT_PATH, "X=env" }, step.env)
    assert.are.same({}, rules(s))
  end)

  it("an ARG has the build argument, its default, or the global value", function()
    local file = { "ARG G=g", "ARG H=h", "FROM scratch", "ARG A=1", "ARG G", "ARG H=other", "ARG U", "ARG B=$A$G$Z", "RUN x" }
    local _, steps = run(file)
    assert.are.same({ DEFAULT_PATH, "A=1", "G=g", "H=other", "B=1g" }, steps[#steps].env)
    _, steps = run(file, { build_args = { A = "2", G = "gg", U = "u", H = "hh" } })
    assert.are.same({ DEFAULT_PATH, "A=2", "G=gg", "H=hh", "U=u", "B=2gg" }, steps[#steps].env)
  end)

  it("global values are invisible without a bare ARG", function()
    local _, steps = run { "ARG G=g", "FROM scratch", "RUN x" }
    assert.are.same({ DEFAULT_PATH }, steps[1].env)
    local s
    s, steps = run { "ARG G=g", "FROM scratch", "ENV A=$G", "RUN x" }
    assert.are.same({ DEFAULT_PATH, "A=" }, steps[2].env)
    assert.are.same({ "UndefinedVar:3" }, rules(s))
  end)

  it("automatic arguments need a bare ARG", function()
    local step = last({ "ARG TARGETARCH BUILDPLATFORM", "RUN x" }, { platform = "linux/arm64", build_platform = "linux/amd64" })
    assert.are.same({ DEFAULT_PATH, "TARGETARCH=arm64", "BUILDPLATFORM=linux/amd64" }, step.env)
  end)

  it("a default of an automatic argument hides it, with a warning when that matters", function()
    local cross = { platform = "linux/arm64", build_platform = "linux/amd64" }
    local step, s = last({ "ARG BUILDARCH", "ARG TARGETARCH=${BUILDARCH}", "RUN x" }, cross)
    assert.are.same({ DEFAULT_PATH, "BUILDARCH=amd64", "TARGETARCH=amd64" }, step.env)
    assert.are.same({ "PlatformArgDefault:3" }, rules(s))
    step, s = last({ "ARG BUILDARCH", "ARG TARGETARCH=${BUILDARCH}", "RUN x" }, { platform = "linux/amd64" })
    assert.are.equal("run", step.op)
    assert.are.same({}, rules(s))
    step, s = last({ "ARG TARGETARCH=zz", "RUN x" }, { platform = "linux/arm64", build_args = { TARGETARCH = "arm64" } })
    assert.are.same({ DEFAULT_PATH, "TARGETARCH=arm64" }, step.env)
    assert.are.same({}, rules(s))
  end)

  it("a default that is not used is not expanded", function()
    local step = last({ "ARG A=${B:?no}", "RUN x" }, { build_args = { A = "1" } })
    assert.are.same({ DEFAULT_PATH, "A=1" }, step.env)
    assert.are.equal("F:2:1", failure({ "ARG A=${B:?no}" }, "expand").where)
  end)

  it("pass from a stage to the next, the config over the arguments", function()
    local s, steps = run { "FROM scratch AS a", "ENV E=1", "ARG A=2", "ARG E=arg", "FROM a", "ARG C=3", "RUN x" }
    assert.are.same({ DEFAULT_PATH, "E=1", "A=2", "C=3" }, steps[#steps].env)
    assert.are.equal("RUN |3 A=2 E=1 C=3 /bin/sh -c x # buildkit", steps[#steps].history)
    assert.are.same({ DEFAULT_PATH, "E=1" }, s.config.Env)
  end)

  it("do not leak into the stage they come from", function()
    local plan = plan_of { "FROM scratch AS a", "ENV A=1", "FROM a AS b", "ENV A=2", "LABEL l=2", "FROM a AS c", "COPY --from=b / /" }
    local a = assert(containerfile.state(plan.stages[1], { globals = plan }))
    for _ in a:steps() do end
    local b = assert(containerfile.state(plan.stages[2], { globals = plan, parent = a }))
    for _ in b:steps() do end
    assert.are.same({ DEFAULT_PATH, "A=1" }, a.config.Env)
    assert.is_nil(a.config.Labels)
    assert.are.equal("1", a.env.A)
    assert.are.same({ DEFAULT_PATH, "A=2" }, b.config.Env)
    assert.are.equal(1, #a.history)
    assert.are.equal(3, #b.history)
  end)

  it("PATH comes from the base", function()
    local base = { config = { Env = { "PATH=/base", "Z=1" } } }
    local s = run({ "FROM img", "ENV A=1" }, nil, base)
    assert.are.same({ "PATH=/base", "Z=1", "A=1" }, s.config.Env)
  end)

  it("cannot grow without bound", function()
    local lines = { "FROM scratch", "ENV A=" .. ("x"):rep(1000) }
    for _ = 1, 40 do lines[#lines + 1] = "ENV A=$A$A" end
    local s, err = run(lines)
    assert.is_nil(s)
    assert.are.equal("containerfile.expand", err.code)
  end)

  it("warn about variables that nothing declares, once per instruction", function()
    local _, s = last { "ARG KNOWN", "ENV A=$KNOWN B=$NOPE C=$NOPE D=${DEF:-x} E=$1" }
    assert.are.same({ "UndefinedVar:3" }, rules(s))
    _, s = last { "ENV VERSION=1", "ENV B=$VERSOIN" }
    assert.is_truthy(s.warnings[1].message:find("$VERSION", 1, true))
  end)
end)

describe("RUN", function()
  it("shell and exec form", function()
    local step = last { "RUN echo $X 'y'" }
    assert.are.same({ "/bin/sh", "-c", "echo $X 'y'" }, step.argv)
    assert.is_true(step.shell)
    assert.are.equal("run", step.op)
    assert.are.equal("/", step.cwd)
    assert.are.equal("", step.user)
    assert.are.equal("RUN echo $X 'y'", step.text)
    assert.are.equal(2, step.line)
    step = last { 'RUN ["a", "$X"]' }
    assert.are.same({ "a", "$X" }, step.argv)
    assert.is_false(step.shell)
  end)

  it("follows SHELL, USER and WORKDIR", function()
    local step = last { 'SHELL ["/bin/bash", "-eu", "-c"]', "USER app:grp", "WORKDIR /a", "WORKDIR b", "RUN x" }
    assert.are.same({ "/bin/bash", "-eu", "-c", "x" }, step.argv)
    assert.are.equal("app:grp", step.user)
    assert.are.equal("/a/b", step.cwd)
  end)

  it("has the arguments in its history", function()
    assert.are.equal("RUN /bin/sh -c echo hi # buildkit", last({ "RUN echo hi" }).history)
    assert.are.equal("RUN |2 A=1 B= /bin/sh -c echo hi # buildkit", last({ "ARG A=1", "ARG B", "RUN echo hi" }).history)
    assert.are.equal("RUN |2 A=1 B= /bin/busybox true # buildkit",
      last({ "ARG A=1", "ARG B", 'RUN ["/bin/busybox", "true"]' }).history)
    assert.are.equal("RUN |1 A=3 /bin/sh -c x # buildkit", last({ "ARG A=1", "ARG A=2", "ENV A=3", "RUN x" }).history)
  end)

  it("options pass through", function()
    local step = last { "RUN --network=none --security=insecure --device=vendor/x x" }
    assert.are.same({ "none", "insecure", { "vendor/x" } }, { step.network, step.security, step.devices })
  end)

  it("proxy settings stay out of environment and history", function()
    local step = last({ "RUN x" }, { build_args = { http_proxy = "p", NO_PROXY = "n" } })
    assert.are.same({ DEFAULT_PATH }, step.env)
    assert.are.same({ "HTTP_PROXY=p", "http_proxy=p", "NO_PROXY=n", "no_proxy=n" }, step.proxy_env)
    assert.are.equal("RUN /bin/sh -c x # buildkit", step.history)
    step = last({ "ARG http_proxy", "RUN x" }, { build_args = { http_proxy = "p" } })
    assert.are.same({ DEFAULT_PATH, "http_proxy=p" }, step.env)
    assert.are.same({ "HTTP_PROXY=p" }, step.proxy_env)
    assert.are.equal("RUN |1 http_proxy=p /bin/sh -c x # buildkit", step.history)
  end)

  it("mounts are resolved", function()
    local step = last({ "WORKDIR /w", "ARG T=sub", "ARG MODE=0700",
      "RUN --mount=type=cache,target=$T,mode=${MODE} --mount=type=bind,target=,source=../x "
      .. "--mount=type=tmpfs,target=./t --mount=type=secret,id=s --mount=type=ssh --mount=type=ssh,id=o x" },
      { build_args = { BUILDKIT_CACHE_MOUNT_NS = "ns" } })
    local m = step.mounts
    assert.are.same({ "/w/sub", "/w", "/w/t", "/run/secrets/s", "/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1" },
      { m[1].target, m[2].target, m[3].target, m[4].target, m[5].target, m[6].target })
    assert.are.equal("ns/sub", m[1].id)
    assert.are.equal(tonumber("700", 8), m[1].mode)
    assert.are.equal("/x", m[2].source)
    assert.are.equal("SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0", step.env[#step.env])
  end)

  it("mounts from stages and images", function()
    local _, steps = run { "FROM scratch AS a", "FROM scratch", "RUN --mount=from=a,target=/x --mount=from=img:1,target=/y "
      .. "--mount=from=0,type=cache,target=/z --mount=type=cache,target=/c --mount=from=scratch,target=/s x" }
    local m = steps[1].mounts
    assert.are.same({ stage = 1 }, m[1].from)
    assert.are.same({ image = "img:1", platform = "linux/amd64" }, m[2].from)
    assert.are.same({ stage = 1 }, m[3].from)
    assert.is_nil(m[4].from)
    assert.are.same({ scratch = true }, m[5].from)
  end)

  it("mounts that only turn out wrong with their values", function()
    local err = failure({ "ARG T=zzz", "RUN --mount=type=$T,target=/x y" }, "mount")
    assert.are.equal("F:3:1", err.where)
    failure({ "RUN --mount=type=bind y" }, "mount")
    failure({ "RUN --mount=target=/ y" }, "mount")
    failure({ "RUN --mount=target=$U/ y" }, "mount")
  end)

  it("a heredoc alone is the command", function()
    local step = last { "RUN <<EOF", "a", "  b", "EOF" }
    assert.are.same({ "/bin/sh", "-c", "a\n  b\n" }, step.argv)
    assert.are.equal("RUN /bin/sh -c a\n  b\n # buildkit", step.history)
    assert.is_nil(step.files)
    assert.are.same({ "/bin/sh", "-c", "a\n  b\n\n" }, last({ "RUN <<-EOF", "\ta", "\t\t  b", "", "\tEOF" }).argv)
    assert.are.same({ "/bin/sh", "-c", "$X\n" }, last({ "ENV X=1", "RUN --network=none << EOF", "$X", "EOF" }).argv)
  end)

  it("a heredoc with #! becomes a file", function()
    local step = last { "RUN <<'go'", "#!/usr/bin/env python", "x", "go" }
    assert.are.same({ "/bin/sh", "-c", "/dev/pipes/go" }, step.argv)
    assert.are.same({ { name = "go", path = "/dev/pipes/go", data = "#!/usr/bin/env python\nx\n", mode = tonumber("755", 8) } },
      step.files)
    failure({ "RUN <<a/b", "#!x", "a/b" }, "heredoc")
  end)

  it("other heredocs go to the shell", function()
    local step = last { "RUN cat <<A <<-B", "1", "A", "\t2", "\tB" }
    assert.are.same({ "/bin/sh", "-c", "cat <<A <<-B\n1\nA\n\t2\nB" }, step.argv)
    assert.are.same({ "/bin/sh", "-c", "<<EOF cat\nx\nEOF" }, last({ "RUN <<EOF cat", "x", "EOF" }).argv)
  end)
end)

describe("COPY and ADD", function()
  it("expand every field that can be", function()
    local step = last { "ENV D=dir U=1:2 M=755", "COPY --chown=$U --chmod=$M --exclude=$D ${D}/a \\$b $D" }
    assert.are.same({ "dir/a", "$b" }, step.sources)
    assert.are.same({ "1:2", "755", "/dir", { "$D" } }, { step.chown, step.chmod, step.dest, step.excludes })
    assert.are.equal("COPY --chown=1:2 --chmod=755 dir/a $b dir # buildkit", step.history)
  end)

  local dests = { { "/", "/x", "/x" }, { "/", "x/", "/x/" }, { "/w", ".", "/w/" }, { "/w", "./", "/w/" }, { "/w", "..", "/" },
    { "/w", "a/../b/", "/w/b/" }, { "/w", "/a//b", "/a/b" }, { "/w", "a/.", "/w/a/" }, { "/", ".", "/" }, { "/w", "$EMPTY", "/w/" },
    { "/w", "../../../x", "/x" }, { "/w", "/", "/" } }
  for _, row in ipairs(dests) do
    it(("destination %s in %s"):format(row[2], row[1]), function()
      assert.are.equal(row[3], last({ "ENV EMPTY=", "WORKDIR " .. row[1], "COPY a " .. row[2] }).dest)
    end)
  end

  it("come from stages and images", function()
    local _, steps = run { "FROM scratch AS a", "FROM scratch", "COPY --from=A / /", "COPY --from=0 / /", "COPY --from=img / /" }
    assert.are.same({ stage = 1 }, steps[1].from)
    assert.are.same({ stage = 1 }, steps[2].from)
    assert.are.equal("img", steps[3].from.image)
    assert.are.equal("COPY / / # buildkit", steps[1].history)
  end)

  it("heredocs are files", function()
    local step = last { "ENV X=1", "COPY <<a <<'b' <<-c src /d/", "x=$X \"$X\" \\$X", "a", "$X", "b", "\t\tt", "\tc" }
    assert.are.same({ { name = "a", data = "x=1 \"1\" $X\n", mode = tonumber("644", 8) },
      { name = "b", data = "$X\n", mode = tonumber("644", 8) }, { name = "c", data = "t\n", mode = tonumber("644", 8) } },
      step.inline)
    assert.are.same({ "src" }, step.sources)
    assert.are.equal("COPY src <<a <<b <<c /d/ # buildkit", step.history)
    failure({ "COPY <<a/b /x", "a/b" }, "heredoc")
  end)

  it("know their flags", function()
    local step = last { "COPY --parents --link=false a /b" }
    assert.are.same({ true, false }, { step.parents, step.link })
    assert.are.equal("COPY --parents a /b # buildkit", step.history)
    step = last { "ADD --unpack=false --keep-git-dir=true https://x/y.git#v1:sub /b" }
    assert.are.same({ true, false, true }, { step.add, step.unpack, step.keep_git_dir })
    assert.are.same({ "git" }, step.remotes)
    assert.are.equal("ADD https://x/y.git#v1:sub /b # buildkit", step.history)
    assert.is_nil(last({ "ADD a /b" }).unpack)
  end)

  local kinds = { { "https://x/y", "http" }, { "http://x/y.git", "git" }, { "https://x/y.git?ref=a", "git" },
    { "https://x/y.tar.gz?x=.git", "http" }, { "git@host:x/y", "git" }, { "git://h/x", "git" }, { "ssh://git@h/x", "git" },
    { "HTTPS://x/y", "http" }, { "x.git", nil }, { "github.com/x/y", nil }, { "./a@b:c", nil } }
  for _, row in ipairs(kinds) do
    it("ADD " .. row[1], function()
      local step = last { "ADD " .. row[1] .. " /d/" }
      assert.are.equal(row[2], step.remotes and step.remotes[1])
      if row[2] then failure({ "COPY " .. row[1] .. " /d/" }, "usage") end
    end)
  end

  it("checksums are for remote sources", function()
    local step = last { "ADD --checksum=sha256:" .. ("a"):rep(64) .. " https://x/y /b" }
    assert.are.equal("sha256:" .. ("a"):rep(64), step.checksum)
    failure({ "ADD --checksum=sha256:aa x /b" }, "flag")
    failure({ "ADD --checksum=zz https://x/y /b" }, "flag")
    failure({ "ADD --checksum=sha256:aa https://x/y https://x/z /b/" }, "flag")
    assert.are.equal("abc1234", last({ "ADD --checksum=abc1234 https://x/y.git /b" }).checksum)
  end)

  it("a mode is checked after expansion", function()
    local step = last { "ARG NONE", "COPY --chmod=$NONE --chown=${NONE} --from= a /b" }
    assert.are.same({ "COPY a /b # buildkit" }, { step.history, step.chmod, step.chown, step.from })
    assert.is_nil(last({ "ADD --chmod= --checksum= a /b" }).chmod)
    local err = failure({ "ENV M=9x", "COPY --chmod=$M a b" }, "flag")
    assert.are.equal("F:3:1", err.where)
  end)

  for mode, ok in pairs { ["755"] = true, ["0755"] = true, ["7777"] = true, ["10000"] = false, ["u+x"] = true, ["a=rX,go-w"] = true,
    ["+x"] = true, ["u=g"] = true, ["u+s,+t"] = true, ["u+x,"] = false, ["x"] = false, ["u"] = false, ["u+x-w"] = true,
    ["u=rwx,g=u-w"] = true, ["8"] = false, ["u+ug"] = false } do
    it("--chmod=" .. mode, function()
      local ast = containerfile.parse("FROM a\nCOPY --chmod=" .. mode .. " a b")
      assert.are.equal(ok, ast ~= nil)
    end)
  end

  it("warn about several sources without a slash and about volumes", function()
    local _, s = last { "COPY a b /x" }
    assert.are.same({ "CopyDestination:2" }, rules(s))
    _, s = last { "COPY a b /x/", "COPY a /x", "COPY a b ." }
    assert.are.same({}, rules(s))
    _, s = last { "VOLUME /data", "COPY a /data/x", "COPY a /database" }
    assert.are.same({ "VolumeContent:3" }, rules(s))
  end)
end)

describe("metadata instructions", function()
  local function config(...) local _, s = last { ... } return s.config end
  local function history(...) return (last { ... }).history end

  it("WORKDIR", function()
    local step, s = last { "WORKDIR w/x" }
    assert.are.same({ "workdir", "/w/x", "WORKDIR /w/x" }, { step.op, step.path, step.history })
    assert.are.same({ "WorkdirRelativePath:2" }, rules(s))
    assert.are.same({}, rules(select(2, last { "# check=skip=WorkdirRelativePath // is known", "WORKDIR x" })))
    assert.are.equal("/w/x", s.config.WorkingDir)
    step = last { "USER app", "WORKDIR /a b/../c/" }
    assert.are.same({ "/c", "app" }, { step.path, step.user })
    step = last { "WORKDIR /" }
    assert.are.same({ "meta", true, "WORKDIR /" }, { step.op, step.empty_layer, step.history })
    assert.are.equal("/a b", last({ 'WORKDIR "/a b"' }).path)
    assert.are.equal("/a/b", last({ "WORKDIR /a", "ENV D=b", "WORKDIR $D" }).path)
    assert.are.same({ "/a", "WORKDIR /a" }, { last({ "WORKDIR /a", "WORKDIR $U" }).path, history("WORKDIR /a", "WORKDIR $U") })
    assert.are.same({ "meta", "/" }, { last({ "WORKDIR $U" }).op, config("WORKDIR $U").WorkingDir })
    for written, path in pairs { ["/a//b/"] = "/a/b", ["/a/./b"] = "/a/b", ["/a/.."] = "/", ["//"] = "/" } do
      step, s = last { "WORKDIR " .. written }
      assert.are.same({ "workdir", path, "WORKDIR " .. written, written }, { step.op, step.path, step.history, s.config.WorkingDir })
    end
    assert.are.equal("/a/b/c", config("WORKDIR /a//b/", "WORKDIR ./c/").WorkingDir)
    assert.are.equal("/a/", config("WORKDIR /a/", "WORKDIR $U").WorkingDir)
    local _, second = last { "WORKDIR /a", "WORKDIR b" }
    assert.are.same({}, rules(second))
  end)

  it("USER", function()
    assert.are.equal("a:b", config("ENV U=a", "USER $U:b").User)
    assert.are.equal("USER a:b", history("USER a:b"))
  end)

  it("CMD and ENTRYPOINT", function()
    assert.are.same({ "/bin/sh", "-c", "echo  hi $X" }, config("CMD echo  hi $X").Cmd)
    assert.are.equal('CMD ["/bin/sh" "-c" "echo hi"]', history("CMD echo hi"))
    assert.are.equal('ENTRYPOINT ["x" "y z"]', history('ENTRYPOINT ["x", "y z"]'))
    assert.are.equal("CMD []", history("CMD []"))
    assert.are.equal('CMD ["a\\n\\"\\\\" "é\\t"]', history('CMD ["a\\n\\"\\\\", "é\\t"]'))
    local c = config("CMD a", 'ENTRYPOINT ["b"]')
    assert.are.same({ "/bin/sh", "-c", "a" }, c.Cmd)
    local base = { config = { Cmd = { "old" }, Entrypoint = { "e" } } }
    local s = run({ "FROM img", 'ENTRYPOINT ["b"]' }, nil, base)
    assert.is_nil(s.config.Cmd)
    s = run({ "FROM img", 'CMD ["new"]', 'ENTRYPOINT ["b"]' }, nil, base)
    assert.are.same({ "new" }, s.config.Cmd)
    s = run({ "FROM img", "ENTRYPOINT []", "CMD []" }, nil, base)
    assert.is_nil(s.config.Entrypoint)
    assert.are.same({}, s.config.Cmd)
    s = run({ "FROM img AS a", 'CMD ["x"]', "FROM a", 'ENTRYPOINT ["b"]' }, nil, base)
    assert.is_nil(s.config.Cmd)
  end)

  it("SHELL", function()
    assert.are.equal("SHELL [/bin/bash -c]", history('SHELL ["/bin/bash", "-c"]'))
    local s, steps = run({ "FROM img", "RUN x" }, nil, { config = { Shell = { "/s" } } })
    assert.are.same({ "/s", "x" }, steps[1].argv)
    assert.are.same({ "/s" }, s.config.Shell)
  end)

  it("VOLUME", function()
    assert.are.same({ ["/v"] = true, ["/w x"] = true }, config("ENV V=/v", 'VOLUME ["$V", "/w x"]').Volumes)
    assert.are.equal("VOLUME [/v /w]", history("VOLUME /v /w"))
    failure({ "VOLUME $U" }, "usage")
  end)

  it("STOPSIGNAL", function()
    assert.are.equal("STOPSIGNAL SIGTERM", history("STOPSIGNAL SIGTERM"))
    assert.are.equal("9", config("ENV S=9", "STOPSIGNAL $S").StopSignal)
    for _, good in ipairs { "SIGRTMIN+3", "term", "15", "SIGRTMAX-14", "USR1" } do history("STOPSIGNAL " .. good) end
    for _, bad in ipairs { "SIGFOO", "0", "-1", "SIGRTMIN+16", "$U" } do failure({ "STOPSIGNAL " .. bad }, "usage") end
  end)

  it("HEALTHCHECK", function()
    assert.are.same({ Test = { "NONE" } }, config("HEALTHCHECK NONE").Healthcheck)
    assert.are.same({ Test = { "CMD", "a", "b" } }, config('HEALTHCHECK CMD ["a", "b"]').Healthcheck)
    assert.are.same({ Test = { "CMD-SHELL", "a  b" }, Interval = 5000000000, Timeout = 60000000000, StartPeriod = 1500000000,
      StartInterval = 1000000, Retries = 3 }, config("HEALTHCHECK --interval=5s --timeout=1m --start-period=1.5s "
      .. "--start-interval=1ms --retries=3 CMD a  b").Healthcheck)
    assert.are.equal("HEALTHCHECK {Test:[CMD-SHELL a b] Interval:5s Timeout:1m30s StartPeriod:0s StartInterval:0s Retries:0}",
      history("HEALTHCHECK --interval=5s --timeout=90s --start-period=0 CMD a b"))
    assert.are.equal("HEALTHCHECK {Test:[CMD a] Interval:1h0m0.5s Timeout:1.5ms StartPeriod:0s StartInterval:0s Retries:2}",
      history('HEALTHCHECK --interval=1h500ms --timeout=1500us --retries=2 CMD ["a"]'))
  end)

  it("LABEL, MAINTAINER and ENV history", function()
    assert.are.equal("LABEL a=b c=d e", history('LABEL a=b c="d e"'))
    assert.are.equal("ENV X=env Y=a b", history('ENV X=env Y="a b"'))
    assert.are.equal("ARG B", history("ARG B"))
    assert.are.equal("ARG A=1 B C=x y", history('ARG A=1 B C="x y"'))
    assert.are.equal("MAINTAINER x y", history("MAINTAINER x y"))
    local _, s = last { "MAINTAINER x y" }
    assert.are.equal("x y", s.author)
  end)

  local ports = { { "80", { "80/tcp" } }, { "80/TCP 53/udp", { "53/udp", "80/tcp" } },
    { "8000-8002", { "8000/tcp", "8001/tcp", "8002/tcp" } },
    { "90 80", { "80/tcp", "90/tcp" } }, { "127.0.0.1:8080:80", { "80/tcp" }, true }, { "8080:80/sctp", { "80/sctp" }, true },
    { "[::1]::80", { "80/tcp" }, true }, { "$P/udp", { "7/udp", "8/tcp" }, nil, "8 7" }, { '"$P"', false, nil, "8 7" },
    { "x", false }, { "70000", false }, { "9-8", false }, { "80/foo", false }, { "/tcp", false }, { "80-", false },
    { "1-2:80-90", false }, { "1-2:80", { "80/tcp" }, true },
    { "localhost:8080:80", false }, { "10.0.0.256:80:80", false }, { "10.0.0.01:80:80", false }, { "2001:db8::7:80:81", { "81/tcp" }, true },
    { "[::ffff:1.2.3.4]:80:80", { "80/tcp" }, true }, { "[fe80::1%eth0]:80:80", false }, { "[1::2::3]:80:80", false }, { "[::x]::80", false },
    { "[1:2:3:4:5:6:7:8]::80", { "80/tcp" }, true }, { "[1:2:3:4:5:6:7::8]::80", false } }
  for _, row in ipairs(ports) do
    it("EXPOSE " .. row[1], function()
      local lines = { row[4] and 'ENV P="' .. row[4] .. '"' or "ENV P=", "EXPOSE " .. row[1] }
      if not row[2] then
        failure(lines, "usage")
        return
      end
      local step, s = last(lines)
      local want = {}
      for _, p in ipairs(row[2]) do want[p] = true end
      assert.are.same(want, s.config.ExposedPorts)
      if not row[4] then assert.are.equal("EXPOSE [" .. table.concat(row[2], " ") .. "]", step.history) end
      assert.are.same(row[3] and { "ExposeInvalidFormat:3" } or row[1]:find "TCP" and { "ExposeProtoCasing:3" } or {}, rules(s))
    end)
  end
end)

describe("ONBUILD", function()
  it("is kept as text and adds no history", function()
    local _, s = last { "ONBUILD RUN a \\", " b", "ONBUILD COPY <<E /x", "hi", "E" }
    assert.are.same({ "RUN a  b", "COPY <<E /x\nhi\nE" }, s.config.OnBuild)
    assert.are.equal(0, #s.history)
  end)

  it("of a base image runs first and is not inherited", function()
    local base = { config = { OnBuild = { "ENV A=1", "RUN trig", "COPY <<E /x\nhi $A\nE" } } }
    local s, steps = run({ "FROM img", "RUN own" }, nil, base)
    assert.are.same({ "ENV", "RUN", "COPY", "RUN" }, { steps[1].name, steps[2].name, steps[3].name, steps[4].name })
    assert.is_true(steps[2].onbuild)
    assert.are.equal("hi 1\n", steps[3].inline[1].data)
    assert.are.equal(1, steps[2].line)
    assert.is_nil(s.config.OnBuild)
    assert.are.equal(3, #s.triggers)
  end)

  it("of a stage runs in the stages over it only", function()
    local s, steps = run { "FROM scratch AS a", "ONBUILD ENV A=1", "RUN x", "FROM a AS b", "RUN y", "FROM b", "RUN z" }
    assert.are.same({ "z" }, { steps[1].argv[3] })
    assert.are.equal(1, #steps)
    assert.are.equal("1", s.env.A)
    assert.is_nil(s.config.OnBuild)
  end)

  it("inserted into the plan is not run twice", function()
    local plan = plan_of { "FROM img", "RUN own" }
    plan:insert_triggers(1, { "RUN trig" })
    local s = assert(containerfile.state(plan.stages[1], { globals = plan, config = { config = { OnBuild = { "RUN trig" } } } }))
    local n = 0
    for _ in s:steps() do n = n + 1 end
    assert.are.equal(2, n)
  end)
end)

describe("errors while evaluating", function()
  it("have the place of the instruction", function()
    local err = failure({ "RUN a", '  ENV A="${B:?need B}"' }, "expand")
    assert.are.equal("F:3:3", err.where)
    assert.are.equal("B: need B", err.message)
    assert.are.equal('  ENV A="${B:?need B}"', err.source)
  end)

  it("end the iteration", function()
    local plan = plan_of { "FROM scratch", "ENV 'A=1", "ENV B=1" }
    local s = assert(containerfile.state(plan.stages[1], { globals = plan }))
    local seen = {}
    for step, err in s:steps() do seen[#seen + 1] = step == false and err.code or step.name end
    assert.are.same({ "containerfile.expand" }, seen)
  end)

  it("misuse raises", function()
    local plan = plan_of { "FROM scratch", "RUN x" }
    assert.has_error(function() containerfile.state(plan.stages[1], {}) end)
    local s = assert(containerfile.state(plan.stages[1], { globals = plan }))
    assert.has_error(function() s:add_layer "sha256:x" end)
  end)
end)

describe("the final config", function()
  local base = { architecture = "amd64", os = "linux", author = "me", created = "2020-01-01T00:00:00Z",
    docker_version = "20", container = "x",
    config = { Env = { "PATH=/p" }, Labels = { l = "1" }, ArgsEscaped = true, Hostname = "h", ExposedPorts = { ["1/tcp"] = {} },
      Cmd = json.null, User = "", Healthcheck = { Test = { "NONE" } } },
    rootfs = { type = "layers", diff_ids = { "sha256:base" } },
    history = { { created = "2019-01-01T00:00:00Z", created_by = "base step" },
      { created = "2019-02-01T00:00:00Z", created_by = "base meta", empty_layer = true } } }

  local function build(opts, times)
    local plan = plan_of { "FROM img", "ENV A=1", "RUN x", "CMD y", "WORKDIR /w", "LABEL z=2 a=3" }
    local s = assert(containerfile.state(plan.stages[1], { globals = plan, config = base }))
    local n = 0
    for step in s:steps() do
      if step.op ~= "meta" then
        n = n + 1
        s:add_layer("sha256:" .. n, times and times[n])
      end
    end
    return s:final_config(opts), s
  end

  it("is canonical", function()
    local doc = build({ created = 1700000000, labels = { cli = "x", l = "2" } }, { 1600000000, 1600000001 })
    assert.are.equal('{"architecture":"amd64","author":"me","config":{"Cmd":["/bin/sh","-c","y"],"Env":["PATH=/p","A=1"],'
      .. '"ExposedPorts":{"1/tcp":{}},"Healthcheck":{"Test":["NONE"]},"Labels":{"a":"3","cli":"x","l":"2","z":"2"},'
      .. '"WorkingDir":"/w"},"created":"2023-11-14T22:13:20Z","history":['
      .. '{"created":"2019-01-01T00:00:00Z","created_by":"base step"},'
      .. '{"created":"2019-02-01T00:00:00Z","created_by":"base meta","empty_layer":true},'
      .. '{"comment":"buildkit.dockerfile.v0","created":"2020-09-13T12:26:40Z","created_by":"ENV A=1","empty_layer":true},'
      .. '{"comment":"buildkit.dockerfile.v0","created":"2020-09-13T12:26:40Z","created_by":"RUN /bin/sh -c x # buildkit"},'
      .. '{"comment":"buildkit.dockerfile.v0","created":"2020-09-13T12:26:40Z","created_by":"CMD [\\"/bin/sh\\" \\"-c\\" \\"y\\"]",'
      .. '"empty_layer":true},'
      .. '{"comment":"buildkit.dockerfile.v0","created":"2020-09-13T12:26:41Z","created_by":"WORKDIR /w"},'
      .. '{"comment":"buildkit.dockerfile.v0","created":"2020-09-13T12:26:41Z","created_by":"LABEL z=2 a=3","empty_layer":true}],'
      .. '"os":"linux","rootfs":{"diff_ids":["sha256:base","sha256:1","sha256:2"],"type":"layers"}}', json.encode(doc))
  end)

  it("has a history entry for every layer of the base, and none too many", function()
    local function marks(history, layers)
      local diff_ids = {}
      for i = 1, layers do diff_ids[i] = "sha256:" .. i end
      local s = run({ "FROM img", "ENV A=1" }, nil, { rootfs = { type = "layers", diff_ids = diff_ids }, history = history })
      local out = {}
      for i, h in ipairs(s:final_config({}).history) do out[i] = (h.created_by or "-") .. (h.empty_layer and "" or " +") end
      return table.concat(out, ", ")
    end
    assert.are.equal("- +, - +, ENV A=1", marks(nil, 2))
    assert.are.equal("a +, m, - +, ENV A=1", marks({ { created_by = "a" }, { created_by = "m", empty_layer = true } }, 2))
    assert.are.equal("a +, b, ENV A=1", marks({ { created_by = "a", empty_layer = json.null }, { created_by = "b" } }, 1))
    assert.are.equal("ENV A=1", marks(json.array {}, 0))
  end)

  it("takes the last history time, or none", function()
    assert.are.equal("2020-09-13T12:26:41Z", build({}, { 1600000000, 1600000001 }).created)
    local s = run { "FROM scratch", "ENV A=1" }
    local doc = s:final_config()
    assert.is_nil(doc.created)
    assert.is_nil(doc.history[1].created)
  end)

  it("is clamped to the epoch", function()
    local doc = build({ created = 1700000000, epoch = 1650000000 }, { 1600000000, 1660000000.5 })
    assert.are.equal("2022-04-15T05:20:00Z", doc.created)
    local times = {}
    for i, h in ipairs(doc.history) do times[i] = h.created:sub(1, 10) end
    assert.are.same({ "2019-01-01", "2019-02-01", "2020-09-13", "2020-09-13", "2020-09-13", "2022-04-15", "2022-04-15" }, times)
    assert.are.equal("1970-01-01T00:00:00Z", build({ epoch = 0 }).created)
  end)

  it("counts as many layers as history entries with one", function()
    local doc = build({})
    local n = 0
    for _, h in ipairs(doc.history) do if not h.empty_layer then n = n + 1 end end
    assert.are.equal(#doc.rootfs.diff_ids, n)
  end)

  it("does not change the state", function()
    local _, s = build { labels = { cli = "x" } }
    assert.is_nil(s.config.Labels.cli)
    assert.are.equal(json.encode(s:final_config {}), json.encode(s:final_config {}))
  end)

  it("names the target platform", function()
    local s = run({ "FROM scratch", "ENV A=1" }, { platform = "linux/arm/v6" })
    local doc = s:final_config()
    assert.are.same({ "arm", "linux", "v6" }, { doc.architecture, doc.os, doc.variant })
    doc = s:final_config { architecture = "riscv64", os = "linux", variant = "x" }
    assert.are.same({ "riscv64", "x" }, { doc.architecture, doc.variant })
  end)

  it("warns about a base for another architecture", function()
    local s = run({ "FROM img" }, { platform = "linux/arm64" }, base)
    assert.are.same({ "InvalidBaseImagePlatform:1" }, rules(s))
    s = run({ "FROM --platform=linux/arm64 img" }, { platform = "linux/arm64" }, base)
    assert.are.same({}, rules(s))
  end)

  it("keeps empty sets empty objects", function()
    assert.are.equal('{"config":{"Env":["' .. DEFAULT_PATH .. '"],"Volumes":{"/v":{}},"WorkingDir":"/"}}',
      json.encode(json.object { { "config", run({ "FROM scratch", "VOLUME /v" }):final_config().config } }))
    local doc = run({ "FROM scratch" }):final_config()
    assert.are.equal('{"diff_ids":[],"type":"layers"}', json.encode(doc.rootfs))
  end)
end)
