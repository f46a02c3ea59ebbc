local containerfile = require "bakery.containerfile"

local function plan(lines, opts)
  return assert(containerfile.stages(assert(containerfile.parse(table.concat(lines, "\n"), { name = "F" })), opts))
end

local function failure(lines, opts, code)
  local ast = assert(containerfile.parse(table.concat(lines, "\n"), { name = "F" }))
  local p, err = containerfile.stages(ast, opts)
  assert.is_nil(p)
  assert.are.equal("containerfile." .. code, err.code, err.message)
  return err
end

local function bases(p)
  local out = {}
  for i, s in ipairs(p.stages) do
    local b = s.base
    out[i] = b.stage and "stage " .. b.stage or b.image and "image " .. b.image
      or b.context and "context " .. b.context or "scratch"
  end
  return out
end

local function rules(p)
  local out = {}
  for i, w in ipairs(p.warnings) do out[i] = w.rule .. ":" .. w.line end
  return out
end

describe("FROM", function()
  it("finds stages, scratch and images", function()
    local p = plan { "FROM alpine:3 AS Base", "FROM base", "FROM BASE AS x", "FROM scratch", "FROM other/x@sha256:1", "FROM X" }
    assert.are.same({ "image alpine:3", "stage 1", "stage 1", "scratch", "image other/x@sha256:1", "stage 3" }, bases(p))
    assert.are.equal("base", p.stages[1].name)
  end)

  it("is shadowed by stage names, from the next stage on", function()
    local p = plan { "FROM alpine AS alpine", "FROM alpine" }
    assert.are.same({ "image alpine", "stage 1" }, bases(p))
  end)

  it("takes the latest of several stages with one name", function()
    local p = plan { "FROM a AS x", "FROM b AS x", "FROM x" }
    assert.are.same({ "image a", "image b", "stage 2" }, bases(p))
    assert.are.same({ "DuplicateStageName:2" }, rules(p))
  end)

  it("expands global arguments only", function()
    local p = plan({ "ARG V=3", "ARG REF=alpine:${V}", "FROM ${REF}-$TARGETARCH AS b", "ARG REF=zzz", "ENV REF=yyy", "FROM $REF" },
      { platform = "linux/arm64" })
    assert.are.same({ "image alpine:3-arm64", "image alpine:3" }, bases(p))
  end)

  it("lets build arguments override", function()
    local p = plan({ "ARG V=3", "FROM a:$V", "FROM b:$TARGETARCH" }, { build_args = { V = "4", TARGETARCH = "zz" } })
    assert.are.same({ "image a:4", "image b:zz" }, bases(p))
  end)

  it("needs a base after expansion", function()
    local err = failure({ "FROM $NOPE" }, nil, "from")
    assert.are.equal("F:1:1", err.where)
    assert.are.equal("$NOPE is not set", err.hint)
    failure({ "FROM ${X:?needed}" }, nil, "expand")
    assert.are.equal("F:2:1", failure({ "ARG X=${Y:?m}", "FROM ${X:?needed}" }, { build_args = { X = "" } }, "expand").where)
    assert.are.equal("F:1:1", failure({ "ARG X=${Y:?m}", "FROM a" }, nil, "expand").where)
  end)

  it("warns about arguments that are not declared before the first FROM", function()
    assert.are.same({ "UndefinedArgInFrom:2" }, rules(plan { "FROM a", "FROM b$V", "ARG V" }))
    assert.are.same({}, rules(plan { "ARG V", "FROM b$V" }))
  end)

  it("names the argument that a name of FROM is nearly", function()
    for _, row in ipairs { { "FROM --platform=$BULIDPLATFORM a", "did you mean $BUILDPLATFORM?" },
      { "FROM --platform=linux/${MYARCH} a", "did you mean $MY_ARCH?" } } do
      local ast = assert(containerfile.parse("ARG MY_ARCH=amd64\n" .. row[1] .. "\n"))
      local _, err = containerfile.stages(ast, {})
      assert.are.equal(row[2], err.hint)
      assert.are.equal("UndefinedArgInFrom", err.warnings[1].rule)
      assert.is_truthy(err.warnings[1].message:find(row[2], 1, true))
    end
  end)

  it("does not warn about single instructions of stages that are not built", function()
    local text = { "FROM a AS one", "ENV A b", "CMD x", "CMD [\"y\"]", "ARG TOKEN", "MAINTAINER m", "FROM a as two", "ENV A b" }
    local all = { "LegacyKeyValueFormat:2", "JSONArgsRecommended:3", "MultipleInstructionsDisallowed:3", "SecretsUsedInArgOrEnv:5",
      "MaintainerDeprecated:6", "FromAsCasing:7", "LegacyKeyValueFormat:8" }
    assert.are.same({ "MaintainerDeprecated:6", "FromAsCasing:7", "LegacyKeyValueFormat:8" }, rules(plan(text)))
    assert.are.same(table.move(all, 1, 6, 1, {}), rules(plan(text, { target = "one" })))
    assert.are.same(all, rules(plan(text, { every_stage = true })))
  end)

  it("the option BUILDKIT_DOCKERFILE_CHECK replaces the directive, comments of one instruction stay", function()
    local text = { "# check=skip=all", "FROM a as b", "MAINTAINER x", "# check=skip=LegacyKeyValueFormat", "ENV A b", "ENV A c" }
    assert.are.same({}, rules(plan(text)))
    local args = { BUILDKIT_DOCKERFILE_CHECK = "skip=MaintainerDeprecated;error=true" }
    local p = plan(text, { build_args = args })
    assert.are.same({ "FromAsCasing:2", "LegacyKeyValueFormat:6" }, rules(p))
    assert.is_true(p.check.error)
  end)
end)

describe("platforms", function()
  local rows = { { "linux/amd64", "linux/amd64" }, { "x86_64", "linux/amd64" }, { "linux/x86_64", "linux/amd64" },
    { "linux/aarch64", "linux/arm64" }, { "linux/arm64/v8", "linux/arm64" }, { "linux/arm64/8", "linux/arm64" },
    { "linux/arm", "linux/arm/v7" }, { "linux/arm/v6", "linux/arm/v6" }, { "linux/arm/7", "linux/arm/v7" },
    { "armhf", "linux/arm/v7" }, { "armel", "linux/arm/v6" }, { "linux/i386", "linux/386" }, { "LINUX/AMD64", "linux/amd64" },
    { "arm64", "linux/arm64" }, { "linux", "linux/amd64" }, { "linux/amd64/v1", "linux/amd64" }, { "linux/amd64/v3", "linux/amd64/v3" },
    { "windows/amd64", "windows/amd64" }, { "macos/arm64", "darwin/arm64" }, { "linux/riscv64", "linux/riscv64" },
    { "", nil }, { "a/b/c/d", nil }, { "linux/", nil }, { "/amd64", nil }, { "lin ux/amd64", nil } }
  for _, row in ipairs(rows) do
    it(row[1], function() assert.are.equal(row[2], containerfile.platform(row[1])) end)
  end

  it("come from FROM or the target", function()
    local p = plan({ "FROM --platform=$BUILDPLATFORM a AS x", "FROM b", "FROM --platform=linux/s390x c", "FROM x" },
      { platform = "linux/arm64", build_platform = "linux/x86_64" })
    local got = {}
    for i, s in ipairs(p.stages) do got[i] = s.platform end
    assert.are.same({ "linux/amd64", "linux/arm64", "linux/s390x", "linux/amd64" }, got)
    assert.is_true(p.stages[1].platform_given)
    assert.is_false(p.stages[2].platform_given)
  end)

  it("are checked", function()
    assert.are.equal("F:1:1", failure({ "FROM --platform=a/b/c/d x" }, nil, "platform").where)
    failure({ "FROM --platform=$NOPE x" }, nil, "from")
    failure({ "FROM x" }, { platform = "a b" }, "platform")
    assert.are.same({ "RedundantTargetPlatform:1" }, rules(plan { "FROM --platform=$TARGETPLATFORM x" }))
  end)

  it("set the automatic arguments", function()
    local g = plan({ "FROM a AS Fin" }, { platform = "linux/arm/v7", build_platform = "linux/amd64" }).global_args
    assert.are.same({ TARGETPLATFORM = "linux/arm/v7", TARGETOS = "linux", TARGETARCH = "arm", TARGETVARIANT = "v7",
      TARGETOSVERSION = "", BUILDPLATFORM = "linux/amd64", BUILDOS = "linux", BUILDARCH = "amd64", BUILDVARIANT = "",
      BUILDOSVERSION = "", TARGETSTAGE = "fin" }, g)
    assert.are.equal("default", plan({ "FROM a" }).global_args.TARGETSTAGE)
    assert.are.equal("x", plan({ "FROM a AS x", "FROM b" }, { target = "x" }).global_args.TARGETSTAGE)
  end)
end)

describe("reachable stages", function()
  local file = { "FROM a AS one", "RUN x", "FROM b AS two", "COPY --from=one /x /y", "FROM c AS three",
    "RUN --mount=type=bind,from=two,target=/m y", "FROM d AS four", "COPY --from=0 /a /b", "COPY --from=img:1 /a /b",
    "RUN --mount=from=three,type=cache,target=/c z" }

  it("follow bases, copies and mounts", function()
    local p = plan(file)
    assert.are.equal(4, p.target)
    assert.are.same({ 1, 2, 3, 4 }, p.order)
    assert.are.equal(6, p.steps)
    assert.are.same({ { stage = 1 }, { image = "img:1", platform = "linux/amd64" }, { stage = 3 } }, p.stages[4].deps)
    assert.are.same({ 1, 2 }, plan(file, { target = "two" }).order)
    assert.are.same({ 1 }, plan(file, { target = "ONE" }).order)
    assert.are.same({ 1, 2, 3 }, plan(file, { target = "2" }).order)
  end)

  it("name the images that they need", function()
    local refs = {}
    for i, image in ipairs(plan(file).images) do refs[i] = image.ref end
    assert.are.same({ "a", "b", "c", "d", "img:1" }, refs)
    assert.are.same({ { ref = "a", platform = "linux/amd64" } }, plan(file, { target = "one" }).images)
  end)

  it("keep unused ones out", function()
    local p = plan { "FROM a", "RUN x", "FROM b" }
    assert.are.same({ 2 }, p.order)
    assert.are.equal(0, p.steps)
  end)

  it("name a target that exists", function()
    local err = failure({ "FROM a AS build", "FROM b AS final" }, { target = "buidl" }, "target")
    assert.are.equal("did you mean build?", err.hint)
    failure({ "FROM a" }, { target = "7" }, "target")
  end)

  it("a stage name that looks like a number is impossible, so indexes are indexes", function()
    local p = plan { "FROM a", "FROM b", "COPY --from=0 x y" }
    assert.are.same({ { stage = 1 } }, p.stages[2].deps)
  end)
end)

describe("dependencies between stages", function()
  local rows = {
    { { "FROM a AS x", "COPY --from=x a b" }, "circular" }, { { "FROM a", "COPY --from=0 a b" }, "itself" },
    { { "FROM a AS x", "COPY --from=y a b", "FROM x AS y" }, "must be defined before" },
    { { "FROM a", "COPY --from=1 a b", "FROM b" }, "defined after" }, { { "FROM a", "COPY --from=9 a b" }, "invalid stage index" },
    { { "FROM a AS x", "RUN --mount=from=x,target=/y z" }, "circular" },
    { { "FROM a AS x", "RUN --mount=type=cache,from=y,target=/y z", "FROM b AS y" }, "must be defined before" },
  }
  for _, row in ipairs(rows) do
    it(table.concat(row[1], " | "), function()
      local err = failure(row[1], nil, "from")
      assert.is_truthy(err.message:find(row[2], 1, true), err.message)
      assert.are.equal("F:2:1", err.where)
    end)
  end

  it("are checked in unused stages too", function()
    failure({ "FROM a AS x", "COPY --from=x a b", "FROM b" }, nil, "from")
  end)

  it("do not read from= where it has no meaning", function()
    local p = plan { "FROM a", "RUN --mount=type=secret,id=from=x --mount=type=tmpfs,target=/from=y,from=zz z" }
    assert.are.same({}, p.stages[1].deps)
  end)
end)

-- What buildah and imagebuilder know and BuildKit refuses: built, with a warning.
describe("sources with variables", function()
  local head = { "ARG SRC=a DST=b", "FROM i AS a", "FROM j AS b", "ARG LOW=b", "ENV PART=stage", "FROM b AS stage_b" }
  local function deps(lines, opts)
    local file = table.move(lines, 1, #lines, #head + 1, table.move(head, 1, #head, 1, {}))
    local p = plan(file, opts)
    local out = {}
    for i, d in ipairs(p.stages[#p.stages].deps) do out[i] = d.stage and tostring(d.stage) or d.image end
    return table.concat(out, " "), p
  end
  local rows = {
    { { "FROM scratch", "ARG SRC", "COPY --from=$SRC x y" }, "1" }, { { "FROM scratch", "ARG SRC=b", "COPY --from=${SRC} x y" }, "2" },
    { { "FROM scratch", "ARG DST", "COPY --from=stage_$DST x y" }, "3" }, { { "FROM scratch", "ARG N=0", "COPY --from=$N x y" }, "1" },
    { { "FROM scratch", "COPY --from=${UNSET:-img:1} x y" }, "img:1" }, { { "FROM stage_b", "COPY --from=${PART}_$LOW x y" }, "3" },
    { { "FROM scratch", "ENV A=a", "ENV A=b B=$A", "COPY --from=$B x y", "ENV A=c", "COPY --from=stage_$A x y" }, "1 stage_c" },
    { { "FROM scratch", "ARG SRC", "RUN --mount=from=stage_${SRC:+b},target=/m x" }, "3" },
    { { "FROM scratch", "ARG SRC", "COPY --from=$SRC x y" }, "2", { SRC = "b" } },
    { { "FROM scratch", "ARG Q='two words'", "COPY --from=\"${Q#two word}tage_b\" x y" }, "3" },
  }
  for _, row in ipairs(rows) do
    it(table.concat(row[1], " | "), function() assert.are.equal(row[2], (deps(row[1], { build_args = row[3] }))) end)
  end

  it("are warned about", function()
    local _, p = deps { "FROM scratch", "ARG SRC", "COPY --from=$SRC x y" }
    assert.are.same({ "SourceVariable:9" }, rules(p))
  end)

  it("need their variables before images are known", function()
    local err = failure({ "FROM i", "COPY --from=$HERE$X x y" }, nil, "from")
    assert.are.equal("F:2:1", err.where)
    assert.matches("is not set here", err.hint, 1, true)
    failure({ "FROM i", "ARG X=", "COPY --from=$X x y" }, nil, "from")
    failure({ "FROM i", "COPY --from=${X:?needed} x y" }, nil, "expand")
    failure({ "FROM i AS a", "ARG X=a", "COPY --from=$X x y" }, nil, "from")
  end)
end)

describe("FROM of a number", function()
  it("is an earlier stage, unless a context has that name", function()
    local p = plan { "FROM i", "ENV A=b", "FROM j", "FROM 0", "FROM 1 AS x", "FROM 7" }
    assert.are.same({ "image i", "image j", "stage 1", "stage 2", "image 7" }, bases(p))
    assert.are.same({ "NumberedBase:4", "NumberedBase:5" }, rules(p))
    assert.are.same({ "image i", "context 0" }, bases(plan({ "FROM i", "FROM 0" }, { contexts = { ["0"] = true } })))
    assert.are.same({ "image 0" }, bases(plan { "FROM 0" }))
  end)
end)

describe("FROM --after", function()
  it("makes a stage wait for others", function()
    local p = plan { "FROM i AS a", "FROM j", "FROM --after=A --after=1 k" }
    assert.are.same({ 1, 2, 3 }, p.order)
    assert.are.same({ 1, 2 }, p.stages[3].after)
    assert.are.same({ "FromAfter:3" }, rules(p))
    assert.are.same({ 2 }, plan({ "FROM i AS a", "FROM j" }).order)
  end)

  it("names an earlier stage", function()
    for _, name in ipairs { "b", "x", "9", "self" } do
      assert.are.equal("F:2:1", failure({ "FROM i AS a", "FROM --after=" .. name .. " j AS self", "FROM k AS b" }, nil, "from").where)
    end
  end)
end)

describe("named contexts", function()
  local contexts = { base = true, ["other::linux/arm64"] = true, ["lib/img"] = true, scratch = true, mine = true }

  it("come after stages and before images", function()
    local p = plan({ "FROM base", "FROM lib/img:latest", "FROM lib/img:2", "FROM a AS base", "FROM base" },
      { contexts = { base = true, ["lib/img"] = true } })
    assert.are.same({ "context base", "context lib/img", "image lib/img:2", "context base", "stage 4" }, bases(p))
  end)

  it("may be for one platform", function()
    local p = plan({ "FROM other", "FROM --platform=linux/arm64 other" }, { contexts = contexts })
    assert.are.same({ "image other", "context other::linux/arm64" }, bases(p))
  end)

  it("replace a stage of that name with its body", function()
    local p = plan({ "FROM nothing AS mine", "COPY --from=zzz a b", "FROM mine" }, { contexts = contexts })
    assert.are.same({ "context mine", "stage 1" }, bases(p))
    assert.are.same({}, p.stages[1].instructions)
    assert.are.same({}, p.images)
  end)

  it("cannot be called scratch", function()
    assert.are.same({ "scratch" }, bases(plan({ "FROM scratch" }, { contexts = contexts })))
  end)

  it("serve COPY --from", function()
    local p = plan({ "FROM a", "COPY --from=mine x y" }, { contexts = contexts })
    assert.are.equal("mine", p.stages[1].deps[1].context)
  end)
end)

describe("ONBUILD", function()
  it("of an earlier stage runs at the start of the next", function()
    local p = plan { "FROM a AS x", "RUN one", "ONBUILD COPY --from=img s d", "ONBUILD RUN two", "FROM x", "RUN three" }
    local names = {}
    for i, ins in ipairs(p.stages[2].instructions) do names[i] = ins.name .. (ins.onbuild and "*" or "") end
    assert.are.same({ "COPY*", "RUN*", "RUN" }, names)
    assert.are.equal(5, p.stages[2].instructions[1].line)
    assert.are.same({ { image = "img", platform = "linux/amd64" } }, p.stages[2].deps)
  end)

  it("of a base image is inserted when that is known, with what it needs", function()
    local p = plan { "FROM q AS lib", "FROM a", "RUN x" }
    assert.are.same({ 2 }, p.order)
    assert.is_true(p:insert_triggers(2, { "COPY --from=lib /a /b", "ENV A=b" }))
    assert.are.same({ 1, 2 }, p.order)
    assert.are.equal("COPY", p.stages[2].instructions[1].name)
    assert.is_false(p:insert_triggers(2, { "RUN again" }))
    assert.are.equal(3, #p.stages[2].instructions)
    assert.is_false(p:insert_triggers(1, nil))
  end)

  it("is refused when it is nonsense", function()
    for _, trigger in ipairs { "FROM x", "ONBUILD RUN x", "MAINTAINER x", "FOO", "RUN a\nRUN b", "", "COPY a" } do
      local p = plan { "FROM a" }
      local ok, err = p:insert_triggers(1, { trigger })
      assert.is_nil(ok, trigger)
      assert.are.equal("containerfile.onbuild", err.code)
      assert.are.equal("F:1:1", err.where)
    end
  end)
end)

describe("SOURCE_DATE_EPOCH", function()
  local file = { "ARG T=2", "ARG SOURCE_DATE_EPOCH=1$T", "FROM a AS One", "FROM b" }

  it("is the default of an ARG before FROM, unless something is given", function()
    assert.are.equal(12, plan(file).epoch)
    assert.are.equal(7, plan(file, { epoch = 7 }).epoch)
    assert.are.equal(5, plan(file, { build_args = { SOURCE_DATE_EPOCH = "5" } }).epoch)
    assert.are.equal(5, plan({ "FROM a" }, { build_args = { SOURCE_DATE_EPOCH = "5" } }).epoch)
    assert.is_nil(plan(file, { build_args = { SOURCE_DATE_EPOCH = "" } }).epoch)
    assert.is_nil(plan({ "FROM a", "ARG SOURCE_DATE_EPOCH=3" }).epoch)
  end)

  it("may name a stage or a context", function()
    local function source(name, contexts)
      local p = plan(file, { build_args = { SOURCE_DATE_EPOCH = name }, contexts = contexts })
      assert.is_nil(p.epoch)
      return p.epoch_source
    end
    assert.are.same({ stage = 1 }, source "oNE")
    assert.are.same({ context = "one" }, source("one", { one = true }))
    assert.is_nil(source "context")
  end)

  it("is nothing else", function()
    for _, text in ipairs { "yesterday", "-1", "1.5", "two" } do
      local err = failure({ "ARG A=1", "ARG SOURCE_DATE_EPOCH=" .. text, "FROM a AS one" }, nil, "epoch")
      assert.are.equal("F:2:1", err.where)
    end
    assert.is_nil(plan({ "ARG SOURCE_DATE_EPOCH=later", "FROM a" }, { every_stage = true }).epoch)
  end)
end)

describe("build arguments", function()
  it("that nobody declares are warned about", function()
    local file = { "ARG A", "FROM a", "ARG B", "ONBUILD ARG C" }
    local args = { A = "1", B = "2", C = "3", D = "4", HTTP_PROXY = "x", no_proxy = "y", SOURCE_DATE_EPOCH = "1",
      BUILDKIT_SYNTAX = "docker/dockerfile:1", TARGETARCH = "q" }
    local p = plan(file, { build_args = args })
    assert.are.same({ "UnusedBuildArg:1" }, rules(p))
    assert.is_truthy(p.warnings[1].message:find("'D'", 1, true))
  end)

  it("cannot bring another language", function()
    assert.are.same({ "SyntaxDirective:1" }, rules(plan({ "FROM a" }, { build_args = { BUILDKIT_SYNTAX = "me/other" } })))
  end)

  it("may be numbers", function()
    assert.are.same({ "image a:3" }, bases(plan({ "ARG V", "FROM a:$V" }, { build_args = { V = 3 } })))
  end)
end)
