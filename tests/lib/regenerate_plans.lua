--- Writes what is expected of the projects in tests/fixtures/projects: plan.json (for wide projects
--- tags.json), matrix.json and the rendered trees: `bakery lua tests/lib/regenerate_plans.lua`. Look at
--- the difference before committing it.
local fs = require "bakery.fs"
local json = require "bakery.json"
local matrix = require "app.ci.matrix"
local plan = require "app.plan"
local projects = require "lib.projects"

local M = { MAX_TARGETS = 14 }

-- What the plan and the matrix of a fixture are made with.
local function filters_of(name)
  local filters = { matrix_versions = "include" }
  if name == "dev-versions" then filters.dev_versions = "include" end
  if name == "dev-dependency" then
    filters.dev_versions, filters.dev_spec = "include", { version = "2026.03.0-212" }
  end
  return filters
end

local function plan_file(targets)
  if #targets <= M.MAX_TARGETS then return "plan.json", plan.encode(plan.document(targets)) end
  local tags = {}
  for i, target in ipairs(targets) do tags[i] = { target.uid, json.array(target.tags) } end
  return "tags.json", json.encode(json.object(tags), { indent = 2 }) .. "\n"
end

-- One row per line.
local function matrix_text(rows)
  local lines = {}
  for i, row in ipairs(rows) do lines[i] = "  " .. json.encode(row) end
  return #lines > 0 and "[\n" .. table.concat(lines, ",\n") .. "\n]\n" or "[]\n"
end

--- The expected files of a fixture.
---@param name string
---@return table<string, {text: string, mode: integer|nil}> files by path in the fixture
function M.expected(name)
  local found = projects.fixture(name)
  local opts = { resolver = projects.resolver(), env = { FIXTURE_TOKEN = "x" }, revision = ("a"):rep(40) }
  local file, text = plan_file(assert(projects.targets(found, filters_of(name), opts)))
  local out = { [file] = { text = text } }
  found = projects.fixture(name)
  out["matrix.json"] = { text = matrix_text(matrix.rows(assert(plan.select(found, filters_of(name),
    { resolver = projects.resolver() })))) }
  for _, item in ipairs(projects.rendered(found)) do out[item.path] = item end
  return out
end

--- Names of all fixtures.
---@return string[]
function M.names()
  local out = {}
  for _, name in ipairs(fs.list(projects.dir)) do
    if fs.is_dir(fs.join(projects.dir, name)) then out[#out + 1] = name end
  end
  return out
end

if arg and arg[0] and arg[0]:find("regenerate_plans.lua", 1, true) then
  for _, name in ipairs(M.names()) do
    for path, item in pairs(M.expected(name)) do
      local full = fs.join(projects.dir, name, path)
      assert(fs.mkdir(fs.dirname(full), { parents = true }))
      assert(fs.write(full, item.text, { mode = item.mode }))
    end
  end
end

return M
