--- `bakery lua` beside lua5.4, and what commands print where.
local world = require "lib.world"
world.pending = pending
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"

local function run(args, opts)
  opts = opts or {}
  local cmd = { world.bin }
  for _, a in ipairs(args) do cmd[#cmd + 1] = a end
  return assert(process.run { cmd = cmd, stdin = opts.stdin or "", env = opts.env, cwd = opts.cwd, timeout = 30 })
end

describe("bakery lua", function()
  teardown(world.cleanup)

  local cases = {
    { "standard input without arguments", {}, stdin = "print(1 + 1)" },
    { "standard input as -, with arguments", { "-", "a", "b" }, stdin = "print(arg[0], arg[1], ...)" },
    { "several -e", { "-e", "x = 1", "-e", "print(x)" } },
    { "-e joined to its code", { "-eprint(7)" } },
    { "-e does not read standard input", { "-e", "io.write('a')" }, stdin = "print 'b'" },
    { "locals end with their -e", { "-e", "local x = 1", "-e", "print(x)" } },
    { "script arguments", { "-e", "y = 2", "s.lua", "-x", "z" }, script = "print(y, arg[0], arg[1], #arg, arg[-1], ...)" },
    { "an exit status", { "s.lua" }, script = "os.exit(7)" },
    { "os.exit(true)", { "s.lua" }, script = "io.write('out') os.exit(true)" },
    { "os.exit that closes the state", { "s.lua" }, script = "setmetatable({}, { __gc = function() print 'gc' end }) io.write('out') os.exit(5, true)" },
    { "finalizers and closers at the end", { "s.lua" }, script = "keep = setmetatable({}, { __gc = function() print 'gc' end }) "
      .. "local t <close> = setmetatable({}, { __close = function() print 'closed' end }) print 'end'" },
    { "warnings", { "s.lua" }, script = "warn 'off' warn '@on' warn('one ', 'two') warn '@off' warn 'off again'" },
    { "a failing script", { "s.lua" }, script = "error('no')" },
    { "a raised table", { "s.lua" }, script = "error({})" },
    { "a raised nil", { "s.lua" }, script = "error(nil)" },
    { "a script that is missing", { "nowhere.lua" } },
    { "a syntax error", { "s.lua" }, script = "x = = 1" },
    { "a shebang", { "s.lua" }, script = "#!/usr/bin/env lua\nprint 'hi'" },
  }
  for _, case in ipairs(cases) do
    it("does as lua5.4: " .. case[1], function()
      if not world.needs "lua5.4" then return end
      local dir = world.tmp()
      if case.script then world.write(dir, { ["s.lua"] = case.script }) end
      local theirs = assert(process.run { cmd = { "lua5.4", table.unpack(case[2]) }, stdin = case.stdin or "", cwd = dir,
        timeout = 30 })
      local ours = run({ "lua", table.unpack(case[2]) }, { stdin = case.stdin, cwd = dir })
      assert.equal(theirs.code, ours.code, ours.stderr)
      assert.equal(theirs.stdout, ours.stdout)
      local function first(r) return (r.stderr:match "[^\n]*":gsub("^[%w.]+: ", "")) end
      assert.equal(first(theirs), first(ours))
    end)
  end

  it("obeys LUA_PATH and takes modules from nowhere else", function()
    local dir = world.tmp()
    world.write(dir, { ["lib/m.lua"] = "return 'm'", ["n.lua"] = "return 'n'" })
    local env = { LUA_PATH = dir .. "/lib/?.lua", LUA_PATH_5_4 = "" }
    env.LUA_PATH_5_4 = env.LUA_PATH
    local r = run({ "lua", "-e", "print(require 'm', pcall(require, 'n'))" }, { env = env, cwd = dir })
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stdout:find "^m\t.-false", r.stdout)
  end)

  it("tells a script that is not there, or not Lua, without a traceback", function()
    local file = world.tmp() .. "/bad.lua"
    assert(fs.write(file, "return +\n"))
    for _, args in ipairs { { "lua", "/none.lua" }, { "lua", file }, { "lua", "-e", "x y" } } do
      local r = world.bakery(args)
      assert.equal(1, r.code)
      assert.falsy(r.stderr:find("traceback", 1, true), r.stderr)
      assert.truthy(r.stderr:find("^bakery: [^\n]+\n$"), r.stderr)
    end
  end)

  it("names what is wrong with its own options", function()
    assert.equal(2, run({ "lua", "-e" }).code)
    assert.equal(2, run({ "lua", "-Q" }).code)
  end)
end)

describe("output", function()
  teardown(world.cleanup)
  local dir, store

  before_each(function()
    dir = world.project({ app = "FROM scratch\nLABEL a=1\n" }, { base = false })
    store = world.tmp() .. "/store"
  end)

  it("is JSON with --json everywhere", function()
    assert.equal(0, world.bakery({ "build", "-C", dir, "--store", store }).code)
    for _, words in ipairs { "get targets", "get images", "get versions app", "get registries", "recipes list",
      "recipes check", "store du", "store ls", "store gc", "store check", "store runs", "version" } do
      local args = { "--json", "-C", dir, "--store", store }
      for word in words:gmatch "%S+" do args[#args + 1] = word end
      local r = world.bakery(args)
      assert.equal(0, r.code, words .. ": " .. r.stderr)
      assert.is_table(json.decode(r.stdout), words .. ": " .. r.stdout)
    end
  end)

  it("takes common options in front of a recipe's name", function()
    for _, args in ipairs { { "-C", dir, "recipe", "build", "--plan" }, { "recipe", "--color", "never", "-C", dir, "build", "--plan" } } do
      local r = world.bakery(args)
      assert.equal(0, r.code, r.stderr)
      assert.is_table(json.decode(r.stdout))
    end
  end)

  it("names a context field that does not exist", function()
    world.write(dir, { ["recipes/odd.lua"] = [[
return require("bakery.recipe").new { summary = "odd", steps = { { "one", function(ctx) return ctx.agrs.x end } } }
]] })
    local r = world.bakery { "recipe", "odd", "-C", dir, "--store", store }
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("no field 'agrs' (did you mean 'args'?)", 1, true), r.stderr)
  end)

  it("closes the store when the results cannot be written, and says why", function()
    local r = world.bakery { "build", "-C", dir, "--store", store, "--results", "/nonexistent/results.json" }
    assert.not_equal(0, r.code)
    assert.truthy(r.stderr:find("/nonexistent/results.json", 1, true), r.stderr)
    assert.same({}, fs.list(store .. "/tmp"))
  end)

  it("keeps a terminal in order whatever a command prints", function()
    if not world.needs "script" then return end
    local text = "FROM scratch\nCOPY base/ /\nRUN echo first; sleep 0.3; printf '\\033[2J\\033[31mred\\033[0m\\rover\\n'; exit 3\n"
    local busy = world.project { app = text }
    local cmd = ("stty cols 40 rows 10; %s build -C %s --store %s --progress tty"):format(world.bin, busy, store)
    local r = assert(process.run { cmd = { "script", "-qec", cmd, "/dev/null" }, stdin = "", timeout = 60,
      env = { NO_COLOR = "1", TERM = "xterm", CI = "", XDG_STATE_HOME = world.state } })
    assert.equal(1, r.code, r.stdout)
    assert.falsy(r.stdout:find("\27[2J", 1, true), (r.stdout:gsub("\27", "^")))
    assert.truthy(r.stdout:find("app-1-0-0 0.", 1, true), (r.stdout:gsub("\27", "^")))
    assert.truthy(r.stdout:find("\27[1A\27[J", 1, true), (r.stdout:gsub("\27", "^")))
    for line in r.stdout:gmatch "[^\r\n]+" do
      if line:find("●", 1, true) then assert.truthy(utf8.len((line:gsub("\27%[[%dAJ]+", ""))) <= 40, line) end
    end
  end)
end)

describe("completion", function()
  teardown(world.cleanup)

  -- What bash offers behind `words`.
  local function offered(dir, words)
    local bin = world.tmp()
    assert(fs.symlink(world.bin, bin .. "/bakery"))
    local text = world.bakery({ "completion", "bash" }).stdout .. '\nCOMP_WORDS=("$@")\nCOMP_CWORD=$(($# - 1))\n'
      .. "_bakery\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    world.write(bin, { script = text })
    local r = assert(process.run { cmd = { "bash", bin .. "/script", "bakery", table.unpack(words) }, cwd = dir,
      env = { PATH = bin .. ":" .. os.getenv "PATH" }, timeout = 30 })
    return "\n" .. r.stdout
  end

  it("knows the command behind option values, recipes, backends, shells", function()
    local dir = world.project({ app = "FROM scratch\n" }, { base = false })
    for _, case in ipairs { { "--image-name", "-C", "/tmp", "build", "--ima" }, { "--output", "recipe", "build", "--ou" },
      { "buildx", "build", "--backend", "" }, { "zsh", "completion", "" }, { "app", "get", "versions", "" },
      { "publish", "recipe", "pu" }, { "list", "recipes", "" } } do
      local out = offered(dir, { table.unpack(case, 2) })
      assert.truthy(out:find("\n" .. case[1] .. "\n", 1, true), table.concat(case, " ", 2) .. ":" .. out)
    end
  end)

  for _, shell in ipairs { "bash", "zsh", "fish" } do
    it("is a script that " .. shell .. " reads", function()
      if not world.needs(shell) then return end
      local dir = world.tmp()
      world.write(dir, { script = world.bakery({ "completion", shell }).stdout })
      local r = world.run { shell, "-n", dir .. "/script" }
      assert.equal("", r.stderr)
    end)
  end
end)
