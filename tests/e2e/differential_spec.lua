--- The same Containerfiles by bakery and by buildah: the same files and the same configuration.
local world = require "lib.world"
world.pending = pending
local cases = require "lib.differential_cases"
local differential = require "lib.differential"
local process = require "bakery.process"

describe("differential build", function()
  local results
  local judges = process.which "buildah" and process.which "umoci"
  local only = os.getenv "ONLY" -- part of a case's name
  local chosen = {}
  for _, case in ipairs(cases) do
    if not only or case.name:find(only, 1, true) then chosen[#chosen + 1] = case end
  end

  setup(function() if judges then results = differential.build(chosen) end end)
  teardown(world.cleanup)

  for i, case in ipairs(chosen) do
    it(case.name, function()
      if not (world.needs "buildah" and world.needs "umoci") then return end
      local problems = differential.problems(case, results[i])
      assert.equal(0, #problems, "\n" .. table.concat(problems, "\n"))
    end)
  end
end)
