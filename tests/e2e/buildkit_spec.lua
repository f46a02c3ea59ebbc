--- The cases of the differential suite once more, judged by the BuildKit of Debian's docker.io engine
--- where one can be started: the builder whose behaviour is followed.
local cases = require "lib.differential_cases"
local differential = require "lib.differential"
local dockerd = require "lib.dockerd"
local process = require "bakery.process"
local world = require "lib.world"

describe("differential build with BuildKit", function()
  local results, engine, reason
  local only = os.getenv "ONLY" -- part of a case's name
  local chosen = {}
  for _, case in ipairs(cases) do
    if not case.image and not case.old and (not only or case.name:find(only, 1, true)) then chosen[#chosen + 1] = case end
  end

  setup(function()
    if not process.which "umoci" then reason = "needs umoci" else engine, reason = dockerd.start() end
    if engine then results = differential.build(chosen, nil, engine) end
  end)
  teardown(function()
    if engine then engine:stop() end
    world.cleanup()
  end)

  for i, case in ipairs(chosen) do
    it(case.name, function()
      if not engine then
        pending(reason)
        return
      end
      local problems = differential.problems(case, results[i])
      assert.equal(0, #problems, "\n" .. table.concat(problems, "\n"))
    end)
  end
end)
