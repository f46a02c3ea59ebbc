local containerfile = require "bakery.containerfile"

local function join(...) return table.concat({ ... }, "\n") .. "\n" end

-- One line per instruction: NAME, flags, then the arguments in brackets.
local function show(ins)
  local out = { ins.name }
  for _, f in ipairs(ins.flag_words) do out[#out + 1] = f end
  for _, a in ipairs(ins.args) do
    if type(a) == "table" then a = a.key .. (a.value and "=" .. a.value or "") end
    out[#out + 1] = "[" .. a .. "]"
  end
  return table.concat(out, " ")
end

local function parse(text) return assert(containerfile.parse(text, { name = "F" })) end

local function lines(text)
  local out = {}
  for i, ins in ipairs(parse(text).instructions) do out[i] = show(ins) end
  return out
end

-- The instruction after `FROM a`.
local function second(...)
  return parse("FROM a\n" .. join(...)).instructions[2]
end

local function failure(text, code)
  local ast, err = containerfile.parse(text, { name = "F" })
  assert.is_nil(ast)
  assert.are.equal("containerfile." .. code, err.code, err.message)
  assert.are.equal("usage", err.class)
  assert.is_truthy(err.where:find("^F:%d+:%d+$"), err.where)
  return err
end

describe("line assembly", function()
  local rows = {
    { "no separator", join("FROM a\\", "b"), { "FROM [ab]" } },
    { "leading blanks are kept", join("FROM a \\", "  AS b"), { "FROM [a] [AS] [b]" } },
    { "blanks after the mark vanish", join("FROM a", "RUN a \\   ", "  b"), { "FROM [a]", "RUN [a   b]" } },
    { "double escape is no mark", join("FROM a", "RUN a \\\\", "RUN b"), { "FROM [a]", "RUN [a \\\\]", "RUN [b]" } },
    { "triple escape is none", join("FROM a", "RUN a \\\\\\", "RUN b"), { "FROM [a]", "RUN [a \\\\\\]", "RUN [b]" } },
    { "comments and empty lines inside", join("FROM a", "RUN a && \\", "", " # comment", "   b"),
      { "FROM [a]", "RUN [a &&    b]" } },
    { "end of file ends it", "FROM a\nRUN a \\", { "FROM [a]", "RUN [a]" } },
    { "end of file after a newline", "FROM a\nRUN a \\\n", { "FROM [a]", "RUN [a]" } },
    { "a lone mark", join("FROM a", "\\", "RUN b"), { "FROM [a]", "RUN [b]" } },
    { "a lone mark at the end", join("FROM a", "\\"), { "FROM [a]" } },
    { "marks only", join("FROM a", "\\", "  \\", "", "RUN b"), { "FROM [a]", "RUN [b]" } },
    { "# inside a command", join("FROM a", "RUN echo a # b"), { "FROM [a]", "RUN [echo a # b]" } },
    { "lower case", join("from a", "run a"), { "FROM [a]", "RUN [a]" } },
    { "BOM", "\239\187\191FROM a\n", { "FROM [a]" } },
    { "CRLF", "FROM a\r\nRUN a \\\r\n b\r\n", { "FROM [a]", "RUN [a  b]" } },
    { "indented", "  FROM a\n\tRUN b\n", { "FROM [a]", "RUN [b]" } },
    { "no final newline", "FROM a", { "FROM [a]" } },
    { "tabs after the name", "FROM\ta\nRUN\t\tb\n", { "FROM [a]", "RUN [b]" } },
    { "comment lines between", join("# x", "FROM a", "  # y", "RUN b"), { "FROM [a]", "RUN [b]" } },
    { "continued comment is none", join("FROM a", "# x \\", "RUN b"), { "FROM [a]", "RUN [b]" } },
    { "very long line", "FROM a\nRUN " .. ("x"):rep(300000), { "FROM [a]", "RUN [" .. ("x"):rep(300000) .. "]" } },
    { "mark before a comment that ends the file", "FROM a\nRUN b \\\n# c", { "FROM [a]", "RUN [b]" } },
  }
  for _, row in ipairs(rows) do
    it(row[1], function() assert.are.same(row[3], lines(row[2])) end)
  end

  it("warns about empty continuation lines", function()
    local ast = parse(join("FROM a", "RUN a && \\", "", " # comment", "   b"))
    assert.are.same({ { rule = "NoEmptyContinuation", message = "Empty continuation line", line = 3 } }, ast.warnings)
  end)

  it("knows where instructions begin and end", function()
    local ast = parse(join("# c", "FROM a", "", "  RUN a \\", "# x", "  b", "RUN c"))
    local got = {}
    for i, ins in ipairs(ast.instructions) do got[i] = { ins.line, ins.col, ins.end_line } end
    assert.are.same({ { 2, 1, 2 }, { 4, 3, 6 }, { 7, 1, 7 } }, got)
  end)
end)

describe("parser directives", function()
  it("escape changes continuation and quoting", function()
    assert.are.same({ "FROM [a]", "RUN [x  y \\]", "RUN [z]" },
      lines(join("# escape=`", "FROM a", "RUN x `", " y \\", "RUN z")))
    assert.are.equal("`", parse(join("# escape=`", "FROM a")).escape)
    assert.are.equal("\\", parse(join("# escape=\\", "FROM a")).escape)
  end)

  it("keeps values and lines", function()
    local ast = parse(join("#   syntax = docker/dockerfile:1   ", "#escape = `", "# check=skip=A,B;error=true", "FROM a"))
    assert.are.same({ syntax = { value = "docker/dockerfile:1", line = 1 }, escape = { value = "`", line = 2 },
      check = { value = "skip=A,B;error=true", line = 3 } }, ast.directives)
    assert.are.same({ skip = { A = true, B = true }, experimental = {}, error = true }, ast.check)
    assert.are.same({}, ast.warnings)
  end)

  for name, text in pairs {
    ["an unknown key"] = join("# foo=bar", "# escape=`", "FROM a"),
    ["an empty line"] = join("", "# escape=`", "FROM a"),
    ["a comment"] = join("# comment", "# escape=`", "FROM a"),
    ["an instruction"] = join("FROM a", "# escape=`"),
    ["a bare hash"] = join("#", "# escape=`", "FROM a"),
  } do
    it("are over after " .. name, function()
      local ast = parse(text)
      assert.are.equal("\\", ast.escape)
      assert.are.same({}, ast.directives)
    end)
  end

  it("are refused when wrong or repeated", function()
    local err = failure(join("#escape=x", "FROM a"), "directive")
    assert.is_truthy(err.message:find("invalid escape character 'x'", 1, true))
    err = failure(join("# escape=`", "# ESCAPE=\\", "FROM a"), "directive")
    assert.are.equal("only one escape parser directive can be used", err.message)
    assert.are.equal("F:2:1", err.where)
    assert.are.equal("# ESCAPE=\\", err.source)
    failure(join("# syntax=a", "# syntax=b", "FROM a"), "directive")
  end)

  it("behind a first line of #! are syntax and check alone", function()
    local ast = parse(join("#!/usr/bin/env -S docker build", "# escape=`", "# check=error=true;skip=A // why", "# check=skip=all",
      "# syntax=docker/dockerfile:1", "FROM a"))
    assert.are.equal("\\", ast.escape)
    assert.are.same({ syntax = { value = "docker/dockerfile:1", line = 5 },
      check = { value = "error=true;skip=A // why", line = 3 } }, ast.directives)
    assert.are.same({ skip = { A = true }, experimental = {}, error = true }, ast.check)
    assert.are.same({}, parse(join(" #!x", "# syntax=docker/dockerfile:1", "FROM a")).directives)
    assert.is_nil(parse(join("# syntax=docker/dockerfile:1", "#!x", "# check=error=true", "FROM a")).directives.check)
  end)

  it("of another frontend are warned about", function()
    assert.are.equal("SyntaxDirective", parse(join("# syntax=me/frontend", "FROM a")).warnings[1].rule)
    assert.are.same({}, parse(join("# syntax=docker/dockerfile:1.7-labs", "FROM a")).warnings)
  end)

  it("check=skip silences rules", function()
    local body = join("FROM a", "MAINTAINER x", "ENV A b")
    assert.are.equal(2, #parse(body).warnings)
    assert.are.equal(1, #parse("# check=skip=MaintainerDeprecated\n" .. body).warnings)
    assert.are.equal(0, #parse("# check=skip=all\n" .. body).warnings)
  end)

  it("check takes its own options only", function()
    for text, part in pairs { skip = "skip", ["skip:A"] = "skip:A", ["ignore=A"] = "ignore=A", ["skip=A;error=maybe"] = "error=maybe",
      ["error"] = "error" } do
      local err = failure(join("#   syntax=docker/dockerfile:1", "# check=" .. text, "FROM a"), "check")
      assert.are.same({ 2, "invalid check option '" .. part .. "'" }, { err.line, err.message })
    end
    assert.is_true(parse(join("# check=error=1;skip=A;experimental=B", "FROM a")).check.error)
    assert.are.equal(1, #parse(join("FROM a", "# check=skip:LegacyKeyValueFormat", "ENV A b")).warnings)
    local _, err = containerfile.stages(parse "FROM a\n", { build_args = { BUILDKIT_DOCKERFILE_CHECK = "skip" } })
    assert.are.equal("containerfile.check", err.code)
  end)
end)

describe("doc comments", function()
  it("of a stage", function()
    local ins = parse(join("# builder the builder", "FROM a AS builder")).instructions[1]
    assert.are.equal("the builder", ins.doc)
    assert.are.same({ "builder the builder" }, ins.comments)
  end)

  it("begin anew after an empty comment", function()
    local ins = parse(join("# first", "#", "# other", "# more", "ARG X", "FROM a")).instructions[1]
    assert.are.same({ "other", "more" }, ins.comments)
  end)

  it("of arguments", function()
    local ins = parse(join("# X the value", "# Y", "", "# Z  z ", "ARG X Y=1 Z", "FROM a")).instructions[1]
    assert.are.equal("the value", ins.args[1].doc)
    assert.is_nil(ins.args[2].doc)
    assert.are.equal(" z", ins.args[3].doc)
  end)

  it("do not reach the next instruction", function()
    assert.are.same({}, parse(join("# x", "FROM a", "ARG X")).instructions[2].comments)
  end)
end)

describe("flags, words and JSON", function()
  local rows = {
    { "COPY --chown=a\\ b x  y\tz", "COPY --chown=a b [x] [y] [z]" },
    { 'COPY --chown="a b":c x y', "COPY --chown=a b:c [x] [y]" },
    { "COPY --chown='a b' -- --y z", "COPY --chown=a b [--y] [z]" },
    { "COPY --link -- x y", "COPY --link [x] [y]" },
    { "COPY x --link y", "COPY [x] [--link] [y]" },
    { 'RUN --mount=type=bind,"source=a b",target=/x echo --not-a-flag',
      "RUN --mount=type=bind,source=a b,target=/x [echo --not-a-flag]" },
    { "RUN --network=none --network-is-text", false },
    { "RUN -- --x", "RUN [--x]" }, { "RUN -x", "RUN [-x]" }, { "RUN - x", "RUN [- x]" },
    { 'RUN ["a", "b\\"c", "\\u00e9"]', 'RUN [a] [b"c] [é]', "exec" },
    { 'RUN   [ "a" , "b" ]  ', "RUN [a] [b]", "exec" },
    { 'RUN ["a"', 'RUN [["a"]', "shell" }, { 'RUN ["a"] x', 'RUN [["a"] x]', "shell" },
    { "RUN ['a']", "RUN [['a']]", "shell" }, { "RUN [ a ]", "RUN [[ a ]]", "shell" },
    { "CMD []", "CMD", "exec" }, { "CMD a  b", "CMD [a  b]", "shell" }, { "CMD", "CMD", "shell" },
    { "ENTRYPOINT []", "ENTRYPOINT", "exec" }, { 'ENTRYPOINT ["x", "y z"]', "ENTRYPOINT [x] [y z]", "exec" },
    { 'COPY ["a b", "c"]', "COPY [a b] [c]", "exec" }, { 'COPY "a b" c', 'COPY ["a] [b"] [c]', "words" },
    { 'COPY ["a b" "c"]', 'COPY [["a] [b"] ["c"]]', "words" },
    { 'ADD ["a", "b"]', "ADD [a] [b]", "exec" },
    { "ENV A b c  d", "ENV [A=b c  d]" }, { 'ENV A=b C="d e" F=\'g h\' I=j\\ k',
      'ENV [A=b] [C="d e"] [F=\'g h\'] [I=j\\ k]' }, { 'ENV A= B=""', 'ENV [A=] [B=""]' },
    { "ENV A=b=c", "ENV [A=b=c]" }, { "ENV A=b\\", "ENV [A=b]" }, { "ENV A  b", "ENV [A=b]" },
    { "ENV A=b\u{a0}B=c\u{3000}\u{85}C='\u{a0}'", "ENV [A=b] [B=c] [C='\u{a0}']" }, { "\u{a0} \u{2003}RUN a\u{a0}", "RUN [a]" },
    { "RUN a \\\n\u{a0}\n\u{2028}# c\n b", "RUN [a  b]" }, { "ENV A b\u{a0}c \u{202f}", "ENV [A=b\u{a0}c]" },
    { "EXPOSE 1\u{a0}2", "EXPOSE [1\u{a0}2]" }, { "HEALTHCHECK --interval=x NONE", "HEALTHCHECK --interval=x" },
    { "ENV A='b\\' C=d", "ENV [A='b\\'] [C=d]" }, { 'ENV A="b\\" C=d"', 'ENV [A="b\\" C=d"]' },
    { 'LABEL "a b"=c "d"="e f"', 'LABEL ["a b"=c] ["d"="e f"]' }, { "LABEL a.b c d", "LABEL [a.b=c d]" },
    { 'ARG A B=c "D=e f" G=h\\ i', 'ARG [A] [B=c] ["D=e f"] [G=h\\ i]' },
    { "USER  a b ", "USER [a b]" }, { 'WORKDIR "/a b"', 'WORKDIR ["/a b"]' }, { "STOPSIGNAL 9", "STOPSIGNAL [9]" },
    { 'HEALTHCHECK --interval=5s CMD ["a"]', "HEALTHCHECK --interval=5s [a]", "exec" },
    { "HEALTHCHECK cmd a b", "HEALTHCHECK [a b]", "shell" }, { "HEALTHCHECK NONE", "HEALTHCHECK" },
    { "EXPOSE 90 80/udp  8080", "EXPOSE [80/udp] [8080] [90]" },
    { "VOLUME /a /b", "VOLUME [/a] [/b]" }, { 'VOLUME ["/a b", " /c "]', "VOLUME [/a b] [/c]" },
    { 'SHELL ["/bin/bash", "-c"]', "SHELL [/bin/bash] [-c]", "exec" }, { "MAINTAINER  a b ", "MAINTAINER [a b]" },
  }
  for _, row in ipairs(rows) do
    it(row[1], function()
      if row[2] == false then
        failure("FROM a\n" .. row[1], "flag")
      else
        local ins = second(row[1])
        assert.are.equal(row[2], show(ins))
        if row[3] then assert.are.equal(row[3], ins.form) end
      end
    end)
  end

  it("flags have values of their kind", function()
    local ins = second "COPY --link --parents=FALSE --exclude=a --exclude=b --from=x --chmod=755 s d"
    assert.are.same({ link = true, parents = false, exclude = { "a", "b" }, from = "x", chmod = "755" }, ins.flags)
    assert.are.same({ unpack = true, ["keep-git-dir"] = true, checksum = "sha256:x" },
      second("ADD --unpack=True --keep-git-dir --checksum=sha256:x s d").flags)
    assert.are.same({ mount = { "target=/a", "target=/b" }, network = "none", security = "insecure", device = { "x" } },
      second("RUN --mount=target=/a --mount=target=/b --network=none --security=insecure --device=x y").flags)
  end)

  it("only RUN lines that look like JSON are warned about", function()
    local ast = parse(join("FROM a", "RUN ['a']", "RUN [ -f x ] && y", 'RUN ["a"]'))
    assert.are.equal(1, #ast.warnings)
    assert.are.equal("JSONForm", ast.warnings[1].rule)
    assert.are.equal(2, ast.warnings[1].line)
  end)
end)

describe("cutting flags off", function()
  local text = require "bakery.containerfile.text"
  local rows = {
    { [[--chown="a b":c --x='1 2' -- --y z]], { "--chown=a b:c", "--x=1 2" }, "--y z" },
    { [[--chown=a\ b x  y]], { "--chown=a b" }, "x  y" }, { [[--a="\"b" c]], { '--a="b' }, "c" }, { [[--a='\'b' c]], { "--a='b" }, "c" },
    { "--a", { "--a" }, "" }, { "--a=\\", { "--a=" }, "" }, { "--a='x", { "--a=x" }, "" }, { "--", {}, "" }, { "-- ", {}, "" },
    { "", {}, "" },
    { "x --a", {}, "x --a" }, { "-a --b", {}, "-a --b" }, { "--''", { "--" }, "" }, { "--a --b\t--c d", { "--a", "--b", "--c" }, "d" },
  }
  for _, row in ipairs(rows) do
    it(row[1], function()
      local found, rest = text.flags(row[1])
      local words = {}
      for i, f in ipairs(found) do words[i] = f.text end
      assert.are.same(row[2], words)
      assert.are.equal(row[3], rest)
    end)
  end
end)

describe("syntax errors", function()
  local rows = {
    { 'RUN ["a", 1]', "syntax", "strings only", "F:2:5" }, { 'COPY ["a", null]', "syntax", "strings only", "F:2:6" },
    { "ENV A", "usage", "ENV must have two arguments" }, { "LABEL x", "usage", "LABEL must have two arguments" },
    { "ENV A=b C", "syntax", "can't find = in \"C\"", "F:2:9" }, { "ENV", "usage", "at least one argument", "F:2:4" },
    { "ENV A\u{a0}b", "usage", "two arguments" }, { "ENV A=1\u{a0}B", "syntax", "can't find = in \"B\"", "F:2:10" },
    { "RUN\u{a0}a", "unknown_instruction", "unknown instruction" },
    { "ENV =b", "usage", "can not be blank" }, { "LABEL a=b =c", "usage", "can not be blank", "F:2:11" },
    { "ARG", "usage", "ARG requires" }, { "ARG =x", "usage", "can not be blank" },
    { "COPY a", "usage", "COPY requires at least two", "F:2:6" }, { "ADD", "usage", "ADD requires" },
    { 'COPY ["a"]', "usage", "at least two" }, { "USER", "usage", "exactly one" }, { "WORKDIR  ", "usage", "exactly one" },
    { "STOPSIGNAL", "usage", "exactly one" }, { "MAINTAINER", "usage", "exactly one" },
    { "EXPOSE", "usage", "at least one" }, { "VOLUME", "usage", "at least one" }, { "VOLUME []", "usage", "at least one" },
    { 'VOLUME ["a", " "]', "usage", "empty string" }, { "ONBUILD", "usage", "at least one" },
    { "ONBUILD ONBUILD RUN a", "usage", "ONBUILD ONBUILD" }, { "ONBUILD FROM a", "usage", "FROM is not allowed" },
    { "ONBUILD MAINTAINER a", "usage", "MAINTAINER is not allowed" }, { "ONBUILD FOO", "unknown_instruction", "FOO", "F:2:9" },
    { "ONBUILD COPY a", "usage", "at least two", "F:2:14" },
    { "HEALTHCHECK", "usage", "at least one" }, { "HEALTHCHECK NONE x", "usage", "no arguments" },
    { "HEALTHCHECK CMD", "usage", "missing command" }, { "HEALTHCHECK CMD []", "usage", "missing command" },
    { "HEALTHCHECK FOO x", "usage", "unknown type 'FOO'" }, { "HEALTHCHECK --interval=x CMD y", "usage", "duration 'x'" },
    { "HEALTHCHECK --interval=1us CMD y", "usage", "less than 1ms" }, { "HEALTHCHECK --retries=-1 CMD y", "usage", "negative" },
    { "HEALTHCHECK --retries=a CMD y", "usage", "invalid number" }, { "HEALTHCHECK --timeout=-1s CMD y", "usage", "less than" },
    { "SHELL /bin/sh", "usage", "JSON form" }, { "SHELL []", "usage", "at least one" }, { "SHELL", "usage", "at least one" },
    { "FROM", "usage", "one or three" }, { "FROM a b", "usage", "one or three" }, { "FROM a AS b c", "usage", "one or three" },
    { "FROM a IS b", "usage", "one or three" }, { "FROM a AS 1b", "usage", "invalid name" },
    { "FROM a AS b/c", "usage", "invalid name" }, { "RUN []", "usage", "no command" },
    { "FOO bar", "unknown_instruction", "unknown instruction: FOO", "F:2:1" },
    { "RUN --bind=x y", "flag", "unknown flag --bind for RUN", "F:2:5" },
    { "COPY --chwn=1 a b", "flag", "unknown flag --chwn" }, { "ENV --x A=b", "flag", "unknown flag --x for ENV" },
    { "COPY --link --link a b", "flag", "given twice", "F:2:13" }, { "COPY --link= a b", "flag", "true or false" },
    { "COPY --link=yes a b", "flag", "true or false" }, { "COPY --from a b", "flag", "needs a value" },
    { "COPY --exclude a b", "flag", "needs a value" }, { "COPY --chmod=999 a b", "usage", "--chmod" },
    { "COPY --chmod=u+q a b", "usage", "--chmod" }, { "FROM --aftr=x y", "flag", "unknown flag --aftr" },
    { "RUN --network=x y", "usage", "--network" }, { "RUN --security=x y", "usage", "--security" },
    { "STOPSIGNAL --x 9", "flag", "unknown flag" },
    { "COPY a <<E\nx\nE", "usage", "heredoc as destination" }, { "RUN <<E\nx", "heredoc", "unterminated heredoc", "F:2:5" },
    { "COPY << E /x\ny\nE", "heredoc", "must be one word" },
    { "RUN --mount=type=x y", "mount", "unsupported mount type 'x'", "F:2:5" },
    { "RUN a \\\n --b \\\n c\nENV A", "usage", "two arguments", "F:5:5" },
    { "COPY \\\n  --bad=1 \\\n  a b", "flag", "unknown flag --bad", "F:3:3" },
  }
  for _, row in ipairs(rows) do
    it(row[1]:gsub("\n", " | "), function()
      local err = failure("FROM a\n" .. row[1] .. "\n", row[2])
      assert.is_truthy(err.message:find(row[3], 1, true), err.message)
      if row[4] then assert.are.equal(row[4], err.where) end
    end)
  end

  it("suggest the nearest name", function()
    assert.are.equal("did you mean COPY?", failure("FROM a\nCOPYY a b", "unknown_instruction").hint)
    for _, line in ipairs { "RUN <<'EOF", "RUN cat <<EOF'", 'COPY <<"EOF /x' } do
      assert.are.equal("line 2 has a quote that is not closed, so that its << begins no heredoc",
        failure("FROM a\n" .. line .. "\necho hi\nEOF\n", "unknown_instruction").hint)
    end
    assert.is_nil(failure("FROM a\nRUN <<'E\nRUN b\necho hi\n", "unknown_instruction").hint)
    assert.are.equal("did you mean --chown?", failure("FROM a\nCOPY --chwn=1 a b", "flag").hint)
    assert.are.equal("ENV takes no flags", failure("FROM a\nENV --zzz A=b", "flag").hint)
  end)

  it("carry the source line", function()
    local err = failure("FROM a\nRUN a \\\n  && b\n  ENV A\n", "usage")
    assert.are.equal("  ENV A", err.source)
    assert.are.equal("F:4:7", err.where)
    assert.are.equal("F:4:7: ENV must have two arguments", tostring(err))
  end)

  it("are safe to print", function()
    local err = failure("FROM a\n\tF\0O\27[31m\tx\n", "unknown_instruction")
    assert.are.equal("unknown instruction: F\\x00O\\x1b[31m", err.message)
    assert.are.equal("\tF?O?[31m\tx", err.source)
  end)

  it("of whole files", function()
    assert.are.equal("file with no instructions", failure("# only comment\n", "syntax").message)
    failure("", "syntax")
    failure("\n\n", "syntax")
    failure("\\\n\\\n", "syntax")
    assert.are.equal("F:1:1", failure("RUN x\nFROM a", "order").where)
    assert.is_truthy(failure("ARG X\n", "order").message:find("no build stage", 1, true))
    failure("ARG X\nENV A=b\nFROM a", "order")
    failure("FROM a\n" .. ("#\n"):rep(9 << 20), "syntax")
  end)
end)

describe("heredocs", function()
  local function docs(...)
    local out = {}
    for i, d in ipairs(second(...).heredocs) do
      out[i] = { d.name, d.content, d.expand, d.chomp, d.fd }
    end
    return out
  end

  it("take the body verbatim", function()
    assert.are.same({ { "EOF", "# not a comment\na \\\nb\n\n", true, false, 0 } },
      docs("RUN <<EOF", "# not a comment", "a \\", "b", "", "EOF", "RUN x"))
    assert.are.same({ { "E", "", true, false, 0 } }, docs("RUN <<E", "E"))
    assert.are.equal("a\r\n", second("RUN <<E\r", "a\r", "E\r").heredocs[1].content)
    assert.are.equal(" EOF\n", second("RUN <<EOF", " EOF", "EOF").heredocs[1].content)
  end)

  it("<<- knows its terminator behind tabs and keeps the body for the shell", function()
    assert.are.same({ { "EOF", "\ta\n\t  b\n", true, true, 0 } }, docs("RUN <<-EOF", "\ta", "\t  b", "\tEOF"))
  end)

  local rows = {
    { "RUN <<'EOF'", "EOF", false }, { 'RUN <<"E"F', "EF", false, "EF" }, { "RUN <<E\\OF", "EOF", true },
    { "RUN << EOF", "EOF", true }, { 'RUN cat << "E F"', "E F", false }, { "RUN 3<<EOF cat", "EOF", true, nil, 3 },
    { "RUN <<EOF;", "EOF;", true }, { "RUN echo 1<<2", "2", true, nil, 1 }, { "RUN <<$X", "$X", true },
    { "RUN <<EOF \\\n && b", "EOF", true }, { "COPY <<a /x", "a", true }, { "COPY <<'a' /x", "a", false },
    { "ADD <<a /x", "a", true }, { "RUN x && cat <<EOF > /x", "EOF", true }, { "ONBUILD RUN <<E", "E", true },
    { "ONBUILD COPY <<E /x", "E", true },
  }
  for _, row in ipairs(rows) do
    it((row[1]:gsub("\n", " | ")), function()
      local found = docs(row[1], "body", row[2])
      assert.are.same({ { row[2], "body\n", row[3], false, row[5] or 0 } }, found)
    end)
  end

  it("come in order", function()
    assert.are.same({ { "A", "1\n", true, false, 0 }, { "B", "2\n", true, false, 0 } },
      docs("RUN cat <<A <<B", "1", "A", "2", "B"))
    assert.are.same({ { "X", "Y\n", true, false, 0 }, { "Y", "X\n", true, false, 0 } },
      docs("COPY <<X <<Y /d/", "Y", "X", "X", "Y"))
    assert.are.same({ { "EOF", "1\n", true, false, 0 }, { "EOG", "2\n", true, false, 0 } },
      docs("RUN cat <<EOF > /x; cat <<EOG", "1", "EOF", "2", "EOG"))
  end)

  for _, line in ipairs { 'RUN echo "<<EOF"', "RUN a<<EOF", "RUN <<A<<B", "RUN <<<word cat", "RUN echo $((1<<2))",
    'RUN ["cat", "<<EOF"]', "CMD <<EOF", "ENV A=<<EOF", "RUN <<- EOF", "RUN echo it's <<EOF", "RUN <<", "RUN echo \\<<EOF",
    "ONBUILD CMD <<EOF", 'COPY ["<<a", "/x"]' } do
    it("none in " .. line, function()
      local ast = parse(join("FROM a", line, "USER x"))
      assert.are.equal(0, #ast.instructions[2].heredocs)
      assert.are.equal("USER", ast.instructions[3].name)
    end)
  end

  it("belong to the trigger", function()
    local ins = second("ONBUILD COPY <<E /x", "hello", "E")
    assert.are.equal("COPY", ins.trigger.name)
    assert.are.equal(ins.heredocs, ins.trigger.heredocs)
    assert.are.equal("COPY <<E /x\nhello\nE", ins.expression)
    assert.are.equal("RUN a   b", second("onbuild   RUN a \\", "  b").expression)
  end)

  it("end the instruction", function()
    local ast = parse(join("FROM a", "RUN <<A", "x", "A", "RUN y"))
    assert.are.equal(4, ast.instructions[2].end_line)
    assert.are.equal(5, ast.instructions[3].line)
  end)
end)

describe("static warnings", function()
  local rows = {
    { join("FROM a", "CMD [\"a\"]", "RUN b", "CMD [\"b\"]"), "MultipleInstructionsDisallowed", 2 },
    { join("FROM a", "CMD [\"a\"]", "FROM b", "CMD [\"b\"]"), nil },
    { join("FROM a", "ENTRYPOINT [\"a\"]", "ENTRYPOINT [\"b\"]"), "MultipleInstructionsDisallowed", 2 },
    { join("FROM a", "HEALTHCHECK NONE", "HEALTHCHECK CMD b"), "MultipleInstructionsDisallowed", 2 },
    { join("FROM a", "MAINTAINER x"), "MaintainerDeprecated", 2 },
    { join("FROM a", "ENV A b"), "LegacyKeyValueFormat", 2 }, { join("FROM a", "LABEL A b"), "LegacyKeyValueFormat", 2 },
    { join("FROM a", "ENV DB_PASSWORD=b"), "SecretsUsedInArgOrEnv", 2 },
    { join("FROM a", "ARG GITHUB_TOKEN"), "SecretsUsedInArgOrEnv", 2 },
    { join("FROM a", "ARG PUBLIC_KEY TOKENIZER MONKEY"), nil }, { join("FROM a", "ENV api-key=b my.token=c"), nil },
    { join("FROM a", "ARG TOKEN_FILE KEY_VERSION", "ENV Password_File=/run/x"), nil },
    { join("FROM a", "ARG TOKEN_FILES"), "SecretsUsedInArgOrEnv", 2 },
    -- comments of one instruction
    { join("FROM a", "# check=skip=SecretsUsedInArgOrEnv", "ARG TOKEN"), nil },
    { join("FROM a", "# why", "#  CHECK = skip=all // because", "ARG TOKEN=1", "ENV A b"), "LegacyKeyValueFormat", 5 },
    { join("FROM a", "# check=skip=MaintainerDeprecated", "# check=skip=all", "ENV A b"), "LegacyKeyValueFormat", 4 },
    { join("FROM a", "# check=skip=JSONArgsRecommended", "#", "CMD a"), "JSONArgsRecommended", 4 },
    { join("# check=skip=all;experimental=all", "# other", "ARG X", "FROM a"), "InvalidDefinitionDescription", 3 },
    { join("FROM a", "# check=experimental=InvalidDefinitionDescription", "# X good", "ARG X"), nil },
    { join("FROM a", "# check=experimental=all", "# other", "ARG X"), "InvalidDefinitionDescription", 4 },
    { join("FROM a", "CMD a"), "JSONArgsRecommended", 2 }, { join("FROM a", "ENTRYPOINT a b"), "JSONArgsRecommended", 2 },
    { join("FROM a", 'SHELL ["/bin/bash", "-c"]', "CMD a"), nil },
    { join("FROM a", 'SHELL ["x"]', "FROM b", "CMD a"), "JSONArgsRecommended", 4 },
    { join("FROM a AS b", 'SHELL ["x"]', "FROM B AS c", "FROM c", "CMD a"), nil },
    { join("FROM a AS Base"), "StageNameCasing", 1 }, { join("FROM a as base"), "FromAsCasing", 1 },
    { join("from a as base"), nil }, { join("FROM a", "run b", "RUN c"), "ConsistentInstructionCasing", 2 },
    { join("FROM a", "Run b"), "ConsistentInstructionCasing", 2 }, { join("from a", "run b", "RUN c"), "ConsistentInstructionCasing", 3 },
    { join("FROM --platform=linux/arm64 a"), "FromPlatformFlagConstDisallowed", 1 },
    { join("FROM --platform=linux/arm64 a AS build-arm64"), nil }, { join("FROM --platform=linux/arm64 a AS linux"), nil },
    { join("FROM --platform=$BUILDPLATFORM a"), nil },
    { join("# other", "ARG X", "FROM a"), nil },
    { join("# check=experimental=all", "# other", "ARG X", "FROM a"), "InvalidDefinitionDescription", 3 },
    { join("# check=experimental=InvalidDefinitionDescription", "# X good", "ARG X", "FROM a"), nil },
    { join("# check=skip=StageNameCasing;experimental=all", "FROM a AS Base"), nil },
    { join("FROM a AS scratch"), "ReservedStageName", 1 }, { join("FROM a", "RUN"), "EmptyCommand", 2 },
  }
  for _, row in ipairs(rows) do
    it((row[1]:gsub("\n", " | ")), function()
      local w = parse(row[1]).warnings
      assert.are.equal(row[2], w[1] and w[1].rule)
      assert.are.equal(row[3], w[1] and w[1].line)
      assert.is_true(#w <= 1)
    end)
  end

  it("come with the error that ends the file", function()
    local _, err = containerfile.parse(join("# check=skip=LegacyKeyValueFormat", "FROM a", "MAINTAINER x", "ENV A b", "NOTHING"))
    assert.are.equal(5, err.line)
    assert.are.equal(1, #err.warnings)
    assert.are.equal("MaintainerDeprecated", err.warnings[1].rule)
  end)
end)
