local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"

-- Packs each target's context with tar: a builder of a sort, by an external program.
local PACK = [[
local fs = require "bakery.fs"
local digest = require "bakery.digest"
local process = require "bakery.process"
local pack = require "pack"

return {
  summary = "tar files",
  probe = function() return process.which "tar" ~= nil, "tar is there", "install tar" end,
  open = function(opts)
    local backend = { closed = false }
    function backend:build(plan, o)
      local results = {}
      for _, uid in ipairs(o.only or plan.order) do
        local target = plan.targets[uid]
        opts.emit { type = "log", target = uid, text = "packing " .. target.context }
        local file = pack.file(opts.dir, uid)
        local r = process.run { cmd = { "tar", "-C", opts.dir, "-cf", file, target.dockerfile }, merge = true }
        if r.code == 0 then
          results[#results + 1] = { uid = uid, status = "ok", digest = "sha256:" .. digest.sha256(fs.read(file)) }
        else
          results[#results + 1] = { uid = uid, status = "failed", error = r.stdout }
        end
      end
      return results
    end
    function backend:export(results, spec) fs.write(spec:match ":(.*)$", tostring(#results)) end
    function backend:close() fs.write(opts.dir .. "/closed", "yes") end
    return backend
  end,
}
]]

describe("backends of projects", function()
  teardown(world.cleanup)
  local dir, home

  before_each(function()
    dir = world.project({ app = "FROM scratch\n", web = "FROM scratch\n" }, { base = false })
    home = world.tmp()
  end)

  local function bakery(args)
    table.move({ "-C", dir }, 1, 2, #args + 1, args)
    return world.bakery(args, { env = { XDG_CONFIG_HOME = home } })
  end
  local function backend(text, where) world.write(where or dir .. "/.bakery", { ["backends/mine.lua"] = text }) end

  it("build, write outputs and are closed", function()
    backend(PACK)
    world.write(dir, { [".bakery/lib/pack.lua"] = [[return { file = function(dir, uid) return dir .. "/" .. uid .. ".tar" end }]] })
    local r = bakery { "build", "--backend", "mine", "--output", "oci:" .. dir .. "/out", "--results", dir .. "/results.json" }
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("packing", 1, true))
    local doc = json.decode(assert(fs.read(dir .. "/results.json")))
    assert.equal("mine", doc.backend)
    assert.equal(2, #doc.targets)
    local sum = require("bakery.digest").sha256(assert(fs.read(dir .. "/app-1-0-0.tar")))
    assert.equal("sha256:" .. sum, doc.targets[1].digest)
    assert.equal("2", fs.read(dir .. "/out"))
    assert.equal("yes", fs.read(dir .. "/closed"))
    -- What it cannot do is said before anything is built.
    fs.remove(dir .. "/app-1-0-0.tar")
    r = bakery { "build", "--backend", "mine", "--push" }
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("backend mine does not push", 1, true), r.stderr)
    assert.is_nil(fs.read(dir .. "/app-1-0-0.tar"))
  end)

  it("are found in the project, then in the user's configuration", function()
    local text = [[return { summary = "%s", open = function() return { build = function() return {} end } end }]]
    backend(text:format "the user's", home .. "/bakery")
    local function summary()
      for _, row in ipairs(json.decode(bakery({ "doctor", "--json" }).stdout)) do
        if row.area == "backend" and row.name == "mine" then return row.text end
      end
    end
    assert.matches("^the user's ", summary())
    backend(text:format "the project's")
    assert.matches("^the project's %(%.bakery/backends/mine%.lua%)", summary())
    assert.equal("buildx\nembedded\nmine\n", bakery({ "__complete", "backend" }).stdout)
    local r = bakery { "build", "--backend", "mien" }
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("did you mean 'mine'?", 1, true), r.stderr)
    -- Names of built-in ones are theirs.
    world.write(dir, { [".bakery/backends/embedded.lua"] = "error 'never'" })
    r = bakery { "doctor", "--json" }
    assert.truthy(r.stdout:find("never used: 'embedded' is built in", 1, true), r.stdout)
    assert.equal(0, bakery({ "build", "--plan", "--backend", "embedded" }).code)
  end)

  it("are checked, and their mistakes have a file and a line", function()
    local wrap = [[return { summary = "x", open = function() return %s end }]]
    local cases = {
      { 2, "mine.lua", "return {" },
      { 2, "expected a table { summary=, open= }, got number", "return 7" },
      { 2, "unknown key 'sumary' (did you mean 'summary'?)", "return { sumary = 'x' }" },
      { 2, "open is missing", "return { summary = 'x' }" },
      { 2, "open: expected a function, got string", "return { summary = 'x', open = 'x' }" },
      { 2, "unknown global 'exit'", "exit()" },
      { 2, "mine.lua", "\27Lua" },
      { 2, "the backend has no function 'build'", wrap:format "{}" },
      { 2, "the backend's 'close' is no function", wrap:format "{ build = print, close = 1 }" },
      { 2, "open: expected a backend, got nil", wrap:format "nil" },
      { 2, "expected a list of results, got nil", wrap:format "{ build = function() end }" },
      { 2, "a result of 'other', which was not asked for", wrap:format "{ build = function() return { { uid = 'other' } } end }" },
      { 2, "app-1-0-0: status is 'done'",
        wrap:format "{ build = function() return { { uid = 'app-1-0-0', status = 'done' } } end }" },
      { 1, ".bakery/backends/mine.lua:2: error: boom", wrap:format "{ build = function()\nerror 'boom' end }" },
      { 5, "web-1-0-0: backend mine gave no result",
        wrap:format "{ build = function() return { { uid = 'app-1-0-0', status = 'ok' } } end }" },
      { 1, "app-1-0-0: no luck", wrap:format [[{ build = function(_, plan)
        local out = {}
        for i, uid in ipairs(plan.order) do out[i] = { uid = uid, status = 'failed', error = 'no luck' } end
        return out
      end }]] },
    }
    for _, c in ipairs(cases) do
      backend(c[3])
      local r = bakery { "build", "--backend", "mine" }
      assert.equal(c[1], r.code, c[3] .. "\n" .. r.stderr)
      assert.truthy(r.stderr:find(c[2], 1, true), c[3] .. "\n" .. r.stderr)
      assert.falsy(r.stderr:find("traceback", 1, true), r.stderr)
      assert.equal(0, bakery({ "doctor", "--json" }).code)
    end
  end)
end)
