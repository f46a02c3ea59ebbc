--- The same Containerfiles by bakery and by buildah: the same files and the same configuration.
local world = require "lib.world"
local cases = require "lib.differential_cases"
local differential = require "lib.differential"
local process = require "bakery.process"
local registry = require "lib.registry"

local IMAGE = [[
FROM scratch
COPY base/ /
ENV PATH=/bin
LABEL of=base
RUN echo made > /made && mkdir /owned && echo x > /owned/x && chmod 600 /owned/x && chmod 640 /made && chown -R 12:34 /made /owned
]]

describe("differential build", function()
  local results, reg
  local judges = process.which "buildah" and process.which "umoci"
  local only = os.getenv "ONLY" -- part of a case's name
  local chosen = {}
  for _, case in ipairs(cases) do
    if not only or case.name:find(only, 1, true) then chosen[#chosen + 1] = case end
  end

  -- Pushes the image that some cases start from; nil without a registry program.
  local function image()
    reg = process.which "docker-registry" and registry.start {}
    if not reg then return end
    local dir = world.project({ made = IMAGE }, { registry = reg.host .. "/cases" })
    local r = world.bakery { "build", "-C", dir, "--store", world.tmp() .. "/store", "--progress", "plain", "--push" }
    assert.equal(0, r.code, r.stderr)
    return reg.host .. "/cases/made:1.0.0"
  end

  setup(function()
    if not judges then return end
    local name = image()
    for i = #chosen, 1, -1 do
      if chosen[i].image and not name then chosen[i] = { name = chosen[i].name, text = "", missing = "docker-registry" } end
    end
    results = differential.build(chosen, name)
  end)
  teardown(function()
    if reg then reg:stop() end
    world.cleanup()
  end)

  for i, case in ipairs(chosen) do
    it(case.name, function()
      world.pending = pending -- the one of a running test, which ends it as skipped
      if not (world.needs "buildah" and world.needs "umoci") then return end
      if case.image and not world.needs "docker-registry" then return end
      local problems = differential.problems(case, results[i])
      assert.equal(0, #problems, "\n" .. table.concat(problems, "\n"))
    end)
  end
end)
