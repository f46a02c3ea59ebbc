--- Writes the expected documents of tests/fixtures/projects (plan.json, for wide projects tags.json):
--- `bakery lua tests/lib/regenerate_plans.lua`. Look at the difference before committing it.
local fs = require "bakery.fs"
local json = require "bakery.json"
local plan = require "app.plan"
local projects = require "lib.projects"

local M = { MAX_TARGETS = 14 }

--- The expected text of a fixture and the file it is in.
function M.expected(name)
  local found = projects.fixture(name)
  local filters = { matrix_versions = "include" }
  if name == "dev-versions" then filters.dev_versions = "include" end
  if name == "dev-dependency" then
    filters.dev_versions, filters.dev_spec = "include", { version = "2026.03.0-212" }
  end
  local targets = assert(projects.targets(found, filters,
    { resolver = projects.resolver(), env = { FIXTURE_TOKEN = "x" }, revision = ("a"):rep(40) }))
  if #targets <= M.MAX_TARGETS then return plan.encode(plan.document(targets)), "plan.json" end
  local tags = {}
  for i, target in ipairs(targets) do tags[i] = { target.uid, json.array(target.tags) } end
  return json.encode(json.object(tags), { indent = 2 }) .. "\n", "tags.json"
end

if arg and arg[0] and arg[0]:find("regenerate_plans.lua", 1, true) then
  for _, name in ipairs(fs.list(projects.dir)) do
    if fs.is_dir(fs.join(projects.dir, name)) then
      local text, file = M.expected(name)
      assert(fs.write(fs.join(projects.dir, name, file), text))
    end
  end
end

return M
