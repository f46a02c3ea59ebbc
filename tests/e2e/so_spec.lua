local world = require "lib.world"
local fs = require "bakery.fs"

-- The native modules in plain lua5.4, each on its own, and waiting without a scheduler.
describe("make so", function()
  local dir = (os.getenv "BAKERY_BUILD" or "build/release") .. "/so"

  local function lua(code)
    return world.run({ "lua5.4", "-e", code }, { env = { LUA_CPATH = dir .. "/?.so", LUA_PATH = "stdlib/?.lua" } }).stdout
  end

  it("gives modules that load alone", function()
    if not fs.is_dir(dir) then return pending("needs make so") end
    if not world.needs "lua5.4" then return end
    for _, name in ipairs(fs.list(dir .. "/bakery")) do
      local mod = name:match "^(%w+)%.so$"
      assert.equal("table\n", lua(("print(type(require 'bakery.%s'))"):format(mod)))
    end
  end)

  it("share one loop between them", function()
    if not fs.is_dir(dir) then return pending("needs make so") end
    if not world.needs "lua5.4" then return end
    assert.equal("0\thi\t64\n", lua [[
      local process, digest, task = require "bakery.process", require "bakery.digest", require "bakery.task"
      local out = task.all {
        function() return process.run { cmd = { "echo", "hi" } } end,
        function() return digest.file "/etc/passwd" end,
      }
      print(out[1].code, (out[1].stdout:gsub("\n", "")), #out[2])
    ]])
  end)
end)
