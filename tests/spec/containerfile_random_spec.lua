-- Random input: nothing ever raises, errors have a place inside the file, time stays bounded.
local containerfile = require "bakery.containerfile"

local SEED = tonumber(os.getenv "BAKERY_SEED" or "") or 20240607

-- Own generator, so that a seed means the same on every Lua build.
local function generator(seed)
  local x = seed
  return function(n)
    x = x * 6364136223846793005 + 1442695040888963407
    return (x >> 33) % n + 1
  end
end

local PIECES = { "FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "LABEL", "CMD", "ENTRYPOINT", "ONBUILD", "HEALTHCHECK", "SHELL",
  "EXPOSE", "VOLUME", "USER", "WORKDIR", "STOPSIGNAL", "MAINTAINER", "FROM a AS b", "FROM b", "FROM scratch", "from $X",
  " ", " ", " ", "\n", "\n", "\n", "\\\n", "\\", "`", "#", "# escape=`\n", "# syntax=x\n", "\r\n", "\t", "\0", "\239\187\191",
  "$", "${", "}", "$X", "${X:-", "${Y#", "${Y//", "/", "*", "?", "'", '"', "=", "A=b", "X=$X$X", "[", "]", '["a", "b"]',
  '["a"', ",", "--", "--from=b", "--from=0", "--from=$X", "--mount=type=cache,target=/x", "--mount=", "type=secret,id=a", "--chmod=",
  "--link", "--interval=5s", "--platform=$TARGETPLATFORM", "AS", "NONE", "80-90/tcp", "80", "<<", "<<EOF", "<<-EOF", "<<'EOF'",
  "EOF\n", "\tEOF\n", "-", "&&", "é", "\xff", "\xc3", "$é", "a", "b", "x y", "/dest/", ".", "..", "{", ":", "+", "%", "@" }

local function random_text(rnd)
  local out = {}
  if rnd(3) > 1 then out[1] = "FROM a\n" end
  for _ = 1, rnd(60) do out[#out + 1] = PIECES[rnd(#PIECES)] end
  if rnd(4) == 1 then out[#out + 1] = "\n" end
  return table.concat(out)
end

local function check_error(err, text)
  assert(type(err) == "table" and type(err.message) == "string" and err.message ~= "", "an error object")
  assert(err.code:find("^containerfile%.%a"), err.code)
  assert(tostring(err):find(err.message, 1, true))
  if err.line then
    local _, lines = text:gsub("\n", "")
    assert(err.line >= 1 and err.line <= lines + 1, "line " .. err.line .. " of " .. lines + 1)
    assert(err.col >= 1, "column")
  end
end

local function evaluate(plan)
  local states = {}
  for _, i in ipairs(plan.order) do
    local stage = plan.stages[i]
    local s, err = containerfile.state(stage, { globals = plan, parent = stage.base.stage and states[stage.base.stage],
      config = stage.base.image and { config = { Env = { "PATH=/bin", "X=1" } } } or nil })
    if not s then return err end
    states[i] = s
    for step, problem in s:steps() do
      if not step then return problem end
      if step.op ~= "meta" then s:add_layer("sha256:0") end
    end
    s:final_config {}
  end
end

local function try(text)
  local ast, err = containerfile.parse(text)
  if not ast then
    check_error(err, text)
    return "syntax"
  end
  for _, ins in ipairs(ast.instructions) do
    assert(ins.line >= 1 and ins.end_line >= ins.line, "instruction lines")
  end
  local plan, problem = containerfile.stages(ast, { build_args = { X = "x" }, platform = "linux/arm64",
    build_platform = "linux/amd64" })
  if not plan then
    check_error(problem, text)
    return "stages"
  end
  problem = evaluate(plan)
  if problem then
    check_error(problem, text)
    return "steps"
  end
  return "ok"
end

describe("random Containerfiles", function()
  it("never raise", function()
    local rnd, seen = generator(SEED), { syntax = 0, stages = 0, steps = 0, ok = 0 }
    for i = 1, 6000 do
      local text = random_text(rnd)
      local ok, result = xpcall(try, debug.traceback, text)
      if not ok then error(("seed %d, case %d: %s\n%q"):format(SEED, i, result, text)) end
      seen[result] = seen[result] + 1
    end
    -- The generator is worth something only if it reaches every phase.
    for phase, n in pairs(seen) do assert.is_true(n > 0, phase .. " " .. n) end
  end)

  it("nor do damaged real ones", function()
    local rnd = generator(SEED + 1)
    local whole = table.concat({ "# syntax=docker/dockerfile:1", "ARG BASE=debian:12", "# app the app", "FROM ${BASE} AS app",
      "ARG TARGETARCH V=1.2", "ENV A=b C=\"d e\" PATH=$PATH:/x", "SHELL [\"/bin/bash\", \"-c\"]", "RUN --mount=type=cache,"
      .. "target=/c,sharing=locked apt-get update && \\", "  # comment", "  apt-get install -y x=${V%.*}", "COPY --chown=1:2 "
      .. "--chmod=u+x a \"b\" /d/", "RUN <<EOF cat <<'X Y'", "body $A", "EOF", "b2", "X Y", "FROM app", "COPY --from=app <<E /y "
      .. "/z/", "${A/b/c}", "E", "HEALTHCHECK --interval=1m30s CMD [\"x\"]", "EXPOSE 80-82/TCP $V", "ONBUILD RUN <<T", "t", "T", "" }, "\n")
    assert.are.equal("syntax", try("FROM"))
    for i = 1, 3000 do
      local text = whole
      for _ = 1, rnd(4) do
        local at = rnd(#text)
        local kind = rnd(3)
        if kind == 1 then text = text:sub(1, at - 1) .. text:sub(at + rnd(8))
        elseif kind == 2 then text = text:sub(1, at) .. PIECES[rnd(#PIECES)] .. text:sub(at + 1)
        else text = text:sub(1, at) end
        if text == "" then text = "x" end
      end
      local ok, result = xpcall(try, debug.traceback, text)
      if not ok then error(("seed %d, case %d: %s\n%q"):format(SEED + 1, i, result, text)) end
    end
  end)

  it("expand any word without raising", function()
    local rnd = generator(SEED + 2)
    for _ = 1, 20000 do
      local out = {}
      for _ = 1, rnd(12) do out[#out + 1] = PIECES[rnd(#PIECES)] end
      local text = table.concat(out)
      for _, mode in ipairs { "word", "split" } do
        local ok, got, err = pcall(containerfile.expand, text, { X = "a b", Y = "x/y" }, { mode = mode,
          escape = rnd(2) == 1 and "\\" or "`" })
        assert.is_true(ok, text)
        assert.is_true(got ~= nil or err ~= nil)
      end
      local ok = pcall(containerfile.mount, text)
      assert.is_true(ok, text)
      assert.is_true((pcall(containerfile.ignore_lines, text)))
    end
  end)
end)

describe("large input", function()
  it("takes time in proportion", function()
    local lines = { "FROM scratch" }
    for i = 1, 4000 do lines[#lines + 1] = "RUN echo " .. i .. " && \\\n  echo more" end
    local started = os.clock()
    assert.are.equal("ok", try(table.concat(lines, "\n")))
    assert.is_true(os.clock() - started < 10)
    started = os.clock()
    assert.are.equal("ok", try("FROM scratch\nRUN " .. ("a \\\n"):rep(50000) .. "b"))
    assert.is_true(os.clock() - started < 10)
  end)
end)
