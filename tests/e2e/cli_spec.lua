local world = require "lib.world"
local fs = require "bakery.fs"

describe("command line", function()
  teardown(world.cleanup)

  local function run(...) return world.bakery { ... } end

  it("prints its version in one line", function()
    local r = run "version"
    assert.equal(0, r.code)
    assert.truthy(r.stdout:match "^bakery %d+%.%d+%.%d+\n$")
  end)

  it("prints help on stdout with exit 0, and without arguments with exit 2", function()
    assert.equal(0, run "--help".code)
    assert.truthy(run "--help".stdout:find("bakery COMMAND", 1, true))
    assert.equal(2, run().code)
    assert.truthy(run().stdout:find("bakery COMMAND", 1, true))
    assert.equal(2, run "recipes".code)
    assert.equal(0, run("build", "--help").code)
  end)

  it("names the nearest command, option and value, and exits 2", function()
    local cases = {
      { { "buidl" }, "did you mean 'build'" },
      { { "build", "--imge-name", "x" }, "did you mean '--image-name'" },
      { { "build", "--compression", "gzp" }, "did you mean 'gzip'" },
      { { "recipes", "sow", "build" }, "did you mean 'recipes show'" },
      { { "build", "--jobs", "many" }, "expected a whole number" },
      { { "build", "-v", "-q" }, "exclude each other" },
      { { "recipes", "show" }, "missing argument: NAME" },
    }
    for _, c in ipairs(cases) do
      local r = world.bakery(c[1])
      assert.equal(2, r.code, table.concat(c[1], " "))
      assert.equal("", r.stdout)
      assert.truthy(r.stderr:find(c[2], 1, true), r.stderr)
    end
  end)

  it("shows every option of every command in help, man page and completions", function()
    local help = run("build", "--help").stdout
    local man = run "man".stdout
    for flag in help:gmatch "%-%-%[?n?o?%-?%]?([%w-]+)" do
      if #flag > 3 then
        assert.truthy(man:find(flag:gsub("%-", "\\-"), 1, true), "man lacks --" .. flag)
      end
    end
    for _, shell in ipairs { "bash", "zsh", "fish" } do
      local text = run("completion", shell).stdout
      for _, word in ipairs { "image-name", "fail-fast", "metadata-file", "doctor" } do
        assert.truthy(text:find(word, 1, true), shell .. " lacks " .. word)
      end
    end
  end)

  it("makes completions that the shells accept", function()
    for shell, cmd in pairs { bash = { "bash", "-n" }, zsh = { "zsh", "-n" }, fish = { "fish", "--no-execute" } } do
      if world.needs(cmd[1]) then
        local file = world.tmp() .. "/c"
        assert(fs.write(file, run("completion", shell).stdout))
        cmd[#cmd + 1] = file
        world.run(cmd)
      end
    end
  end)

  it("completes in bash with names of the project", function()
    if not world.needs "bash" then return end
    local dir = world.project({ alpha = "FROM scratch\n", beta = "FROM scratch\n" }, { base = false })
    local file = world.tmp() .. "/c"
    assert(fs.write(file, run("completion", "bash").stdout))
    local script = ([[cd %s; bakery() { %s "$@"; }; . %s
      COMP_WORDS=(bakery build --image-name ""); COMP_CWORD=3; _bakery; echo "${COMPREPLY[@]}"
      COMP_WORDS=(bakery rec); COMP_CWORD=1; _bakery; echo "${COMPREPLY[@]}"]]):format(dir, world.bin, file)
    local r = world.run { "bash", "-c", script }
    assert.equal("alpha beta\nrecipe recipes\n", r.stdout)
  end)

  it("runs scripts and code as lua does", function()
    local dir = world.tmp()
    world.write(dir, { ["s.lua"] = "#!/usr/bin/env -S bakery lua\nprint(#arg, arg[0], arg[1], ...)\nos.exit(3)" })
    local r = run("lua", dir .. "/s.lua", "a", "b")
    assert.equal("2\t" .. dir .. "/s.lua\ta\ta\tb\n", r.stdout)
    assert.equal(3, r.code)
    r = run("lua", "-e", "print(require'bakery.json'.encode{1})")
    assert.equal("[1]\n", r.stdout)
    r = run("lua", "-e", "error('boom')")
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("boom", 1, true))
  end)

  it("reads the environment's defaults, says what it ignores or what is deprecated, unless quiet", function()
    local dir = world.project({ alpha = "FROM scratch\n" }, { base = false })
    local function plan(args, env)
      local cmd = { "build", "--plan", "-C", dir }
      for _, a in ipairs(args) do cmd[#cmd + 1] = a end
      local r = world.bakery(cmd, { env = env })
      return r.code, (r.stderr:gsub("warning: [^\n]*bakery.yaml[^\n]*\n", ""))
    end
    for _, c in ipairs {
      { {}, { BAKERY_MAX_CONCURRENCY = "many" }, 0, "BAKERY_MAX_CONCURRENCY: 'many' is ignored" },
      { {}, { BAKERY_MAX_CONCURRENCY = "0" }, 0, "" }, { {}, { BAKERY_MAX_CONCURRENCY = "-3" }, 0, "" },
      { { "-q" }, { BAKERY_MAX_CONCURRENCY = "many" }, 0, "" },
      { {}, { BAKERY_DEV_SPEC = "nonsense" }, 0, "" },
      { { "--dev-versions", "include" }, { BAKERY_DEV_SPEC = "nonsense" }, 2, "dev-spec" },
      { { "--dev-stream", "daily" }, {}, 0, "deprecated: --dev-stream, use --dev-channel" },
      { { "--dev-stream", "daily", "-q" }, {}, 0, "" },
      { { "--dev-channel", "daily" }, {}, 0, "no effect without --dev-versions" },
      { { "--dev-stream", "hourly" }, {}, 2, "release|preview|daily" },
    } do
      local code, text = plan(c[1], c[2])
      assert.equal(c[3], code, text)
      if c[4] == "" then assert.equal("", text) else assert.truthy(text:find(c[4], 1, true), text) end
    end
  end)

  it("sends to the help of the group whose command is unknown", function()
    local r = world.bakery { "store", "prunne" }
    assert.equal(2, r.code)
    assert.equal("bakery store: unknown command 'prunne'\n  did you mean 'store prune'?\nTry 'bakery store --help'.\n", r.stderr)
    assert.equal("bakery: unknown command 'biuld'\n  did you mean 'build'?\nTry 'bakery --help'.\n", world.bakery({ "biuld" }).stderr)
    -- Options of recipes stand in the columns of every help.
    local shown = world.bakery({ "recipes", "show", "stock:build" }).stdout
    assert.truthy(shown:find("      --security default|strict\n" .. (" "):rep(32) .. "strict: no-new", 1, true), shown)
  end)

  it("says which names there are when filters match nothing", function()
    local dir = world.project({ alpha = "FROM scratch\n", beta = "FROM scratch\n" }, { base = false })
    for _, case in ipairs { { "--image-name", "gamma", "hint: images: alpha, beta" },
      { "--image-version", "9", "hint: versions: 1.0.0" } } do
      local r = world.bakery { "plan", "-C", dir, case[1], case[2] }
      assert.equal(8, r.code)
      assert.truthy(r.stderr:find(case[3], 1, true), r.stderr)
      assert.falsy(r.stderr:find("matrix images", 1, true), r.stderr)
    end
  end)

  it("tells a failed check of rendered files from files that are out of date", function()
    local dir = world.project({ alpha = "FROM scratch\n" }, { base = false })
    local r = world.bakery { "update", "files", "--check", "-C", dir }
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("has no template directory", 1, true), r.stderr)
    assert.truthy(r.stderr:find("❌ Check failed", 1, true), r.stderr)
    world.write(dir, { ["alpha/template/Containerfile.jinja2"] = "FROM scratch\n{{ flavour }}\n" })
    r = world.bakery { "update", "files", "--check", "-C", dir }
    assert.truthy(r.stderr:find("alpha/template/Containerfile.jinja2:2:4: error:", 1, true), r.stderr)
    assert.truthy(r.stderr:find("--value flavour=…", 1, true), r.stderr)
    world.write(dir, { ["alpha/template/Containerfile.jinja2"] = "FROM scratch\nLABEL a=b\n" })
    r = world.bakery { "update", "files", "--check", "-C", dir }
    assert.equal(7, r.code)
    assert.truthy(r.stderr:find("❌ Rendered files are out of date", 1, true), r.stderr)
  end)

  it("prints the exit codes", function()
    local text = run("help", "exit-codes").stdout
    for _, class in ipairs { "usage", "build", "partial", "infra", "empty", "interrupt" } do
      assert.truthy(text:find(class, 1, true))
    end
  end)

  it("obeys --context exactly and searches upwards otherwise", function()
    local dir = world.project({ alpha = "FROM scratch\n" }, { base = false })
    assert.equal("alpha\n", world.bakery({ "get", "images" }, { cwd = dir .. "/alpha/1.0.0" }).stdout)
    local r = run("get", "images", "--context", dir .. "/alpha")
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("no bakery.yaml", 1, true))
    assert.equal("alpha\n", run("-C", dir, "get", "images").stdout)
  end)
end)

describe("recipes", function()
  teardown(world.cleanup)

  it("lists, shows, finds and ejects", function()
    local dir = world.project({ alpha = "FROM scratch\n" }, { base = false })
    local function run(...) return world.bakery({ ... }, { cwd = dir }) end
    local r = run("recipes", "list")
    assert.truthy(r.stdout:find "build%s+stock")
    assert.equal("stock:build\n", run("recipes", "which", "build").stdout)
    assert.equal(0, run("recipes", "eject", "build").code)
    assert.truthy(run("recipes", "which", "build").stdout:find("recipes/build.lua", 1, true))
    assert.equal(1, run("recipes", "eject", "build").code)
    assert.truthy(run("recipes", "list").stdout:find "build%s+recipes/build.lua")
    assert.equal(0, run("recipes", "check").code)
  end)

  it("overrides in three sizes and says which line each step comes from", function()
    local dir = world.project({ alpha = "FROM scratch\nLABEL a=b\n" }, { base = false })
    world.write(dir, { ["recipes/build.lua"] = [[
local recipe = require "bakery.recipe"
return recipe.extend("stock:build", {
  options = { { name = "greeting", type = "string", default = "hi", help = "what to say" } },
  steps = {
    plan = function(base, ctx)
      ctx.say("before " .. ctx.args.greeting)
      return base(ctx)
    end,
  },
  before = { build = { "notice", function(ctx) ctx.say("noticed " .. (ctx.arg.k or "")) end } },
  remove = { "export" },
})
]] })
    local r = world.bakery({ "recipes", "show", "build", "--why" }, { cwd = dir })
    assert.truthy(r.stdout:find("recipes/build.lua:5 (wrapped)", 1, true), r.stdout)
    assert.truthy(r.stdout:find("(defined)", 1, true))
    assert.truthy(r.stdout:find("inserted before build", 1, true))
    assert.truthy(r.stdout:find("shadows recipes/build.lua (stock)", 1, true))
    assert.falsy(r.stdout:find(" export ", 1, true))
    local help = world.bakery({ "build", "--help" }, { cwd = dir }).stdout
    assert.truthy(help:find("--greeting TEXT", 1, true))
    r = world.bakery({ "build", "--greeting", "hello", "--arg", "k=v", "--store", world.tmp() }, { cwd = dir })
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("before hello", 1, true))
    assert.truthy(r.stderr:find("noticed v", 1, true))
  end)

  it("reports mistakes in recipes with file and line, never a traceback", function()
    local dir = world.project({ alpha = "FROM scratch\n" }, { base = false })
    local cases = {
      ["return {"] = "recipes/mine.lua:1",
      ["local x = 1\nfoo = 2\nreturn x"] = "recipes/mine.lua:2",
      ["local recipe = require 'bakery.recipe'\nreturn recipe.new { steps = {}, sumary = 'x' }"] = "did you mean 'summary'",
      ["local recipe = require 'bakery.recipe'\nreturn recipe.extend('stock:build', { steps = { psh = function() end } })"] =
        "did you mean 'push'",
      ["return prnt"] = "did you mean 'print'",
      ["local recipe = require 'bakery.recipe'\nreturn recipe.extend('mine', {})"] = "extends itself",
    }
    for text, want in pairs(cases) do
      world.write(dir, { ["recipes/mine.lua"] = text })
      local r = world.bakery({ "recipe", "mine" }, { cwd = dir })
      assert.equal(2, r.code, text .. r.stderr)
      assert.truthy(r.stderr:find(want, 1, true), r.stderr)
      assert.falsy(r.stderr:find("traceback", 1, true))
      assert.equal(2, world.bakery({ "recipes", "check" }, { cwd = dir }).code)
    end
    local r = world.bakery({ "recipe", "biuld" }, { cwd = dir })
    assert.truthy(r.stderr:find("did you mean 'build'", 1, true), r.stderr)
  end)
end)
