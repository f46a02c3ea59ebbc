--- `make parity`: the same projects through the reference and through us, differences by value.
--- Argument: the directory of the virtual environment (made when missing).
local fs = require "bakery.fs"
local json = require "bakery.json"
local matrix = require "app.ci.matrix"
local plan = require "app.plan"
local process = require "bakery.process"
local project = require "app.project"

package.path = package.path .. ";tests/?.lua;./tests/?.lua"
local projects = require "lib.projects"
local rules = require "parity.rules"

local VERSION = "0.8.0"
local FIXTURES = "tests/fixtures/projects"
local SEED, RANDOM = 20260801, 300
local venv = arg[1] or "build/parity"
local CREATED = "org.opencontainers.image.created"

local function sh(what, cmd)
  local result, err = process.run { cmd = cmd, timeout = 900, merge = true, env = { FIXTURE_TOKEN = "x" } }
  if result and result.code == 0 then return result.stdout end
  io.stderr:write(what, ": ", err and tostring(err) or result.stdout, "\n")
  os.exit(1)
end

local function install()
  if fs.exists(venv .. "/bin/bakery") then return true end
  local python = { "python3", "-m", "venv", venv }
  local result = process.run { cmd = python, timeout = 300, merge = true }
  result = result and result.code == 0 and process.run { timeout = 600, merge = true,
    cmd = { venv .. "/bin/pip", "install", "-q", "posit-bakery==" .. VERSION } }
  return result and result.code == 0
end

-- --- cases ----------------------------------------------------------------------------------------

local FILTERS = {
  {},
  { image_name = "app" }, { image_name = "^app$" }, { image_name = "nomatch" },
  { image_version = "2026" }, { image_version = "2026.05" }, { image_version = "2026.05.0-dev" },
  { image_version = "1" }, { image_version = "1.0.0" }, { image_version = "R4.4.3" },
  { image_version = "R4.4.3-python3.12.2" }, { image_version = "go1" }, { image_variant = "Min" },
  { image_variant = "^Standard$" }, { image_os = "Ubuntu" }, { image_os = "22.04" },
  { image_platform = { "linux/arm64" } }, { image_platform = { "amd64" } },
  { image_platform = { "arm64", "amd64" } }, { image_platform = { "s390" } }, { latest = true },
  { cache_registry = "localhost:5000/c" }, { cache_registry = "ghcr.io/posit-dev", push = true },
  { temp_registry = "ghcr.io/posit-dev" },
  { cache_registry = "r.io/c", image_platform = { "linux/arm64" } },
}

local function arguments(filters)
  local names, out = {}, { "build", "--plan" }
  for name in pairs(filters) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value, option = filters[name], "--" .. name:gsub("_", "-")
    if value == true then
      out[#out + 1] = option
    else
      for _, item in ipairs(type(value) == "table" and value or { value }) do
        out[#out + 1] = option
        out[#out + 1] = item
      end
    end
  end
  return out
end

-- bakery.yaml and the templates of a project, without what they give. The reference writes, and the
-- projects must lie outside of a git work tree.
local function copy_sources(from, to)
  local templates = false
  assert(fs.mkdir(to, { parents = true }))
  for _, item in ipairs(fs.walk(from)) do
    local path = item.path:sub(1, #from + 1) == from .. "/" and item.path:sub(#from + 2) or item.path
    local template = path:find("/template/", 1, true)
    if item.type == "file" and (template or path:find "^bakery%.ya?ml$") then
      assert(fs.mkdir(fs.dirname(fs.join(to, path)), { parents = true }))
      sh("cp", { "cp", "-p", fs.join(from, path), fs.join(to, path) })
      templates = templates or template ~= nil
    end
  end
  return templates
end

local function add_project(out, dir, name, filters, mode)
  local all = { matrix_versions = mode }
  for k, v in pairs(filters) do all[k] = v end
  out[#out + 1] = { kind = "cli", dir = dir, args = json.array(arguments(all)), name = name, filters = all }
end

local function add_matrix(out, dir, name, mode)
  out[#out + 1] = { kind = "matrix", dir = dir, name = name, filters = { matrix_versions = mode },
    args = json.array { "ci", "matrix", "--matrix-versions", mode } }
end

local function cases(work)
  local out = {}
  for _, name in ipairs(fs.list(FIXTURES)) do
    local source, dir = FIXTURES .. "/" .. name, work .. "/" .. name
    if fs.is_dir(source) and not rules.SKIP[name] then
      local templates = copy_sources(source, dir)
      for _, mode in ipairs { "include", "exclude" } do
        for _, filters in ipairs(FILTERS) do add_project(out, dir, name, filters, mode) end
        add_matrix(out, dir, name, mode)
      end
      if templates then out[#out + 1] = { kind = "render", dir = dir, source = source, name = name } end
    end
  end
  for i, text in ipairs(require("parity.projects").texts(SEED, RANDOM)) do
    local dir, name = work .. "/random" .. i, "random " .. i
    assert(fs.mkdir(dir))
    assert(fs.write(dir .. "/bakery.yaml", text))
    add_project(out, dir, name, FILTERS[i % #FILTERS + 1], "include")
    add_matrix(out, dir, name, "include")
  end
  copy_sources("tests/fixtures/render/full", work .. "/rendered")
  out[#out + 1] = { kind = "render", dir = work .. "/rendered", source = "tests/fixtures/render/full" }
  for _, text in ipairs(require "parity.documents") do out[#out + 1] = { kind = "load", text = text } end
  return out
end

local function ask_reference(list, work)
  local plain = json.array {}
  for i, case in ipairs(list) do
    plain[i] = json.object { { "kind", case.kind }, { "dir", case.dir }, { "args", case.args },
      { "text", case.text } }
  end
  assert(fs.write(work .. "/cases.json", json.encode(plain)))
  sh("the reference", { venv .. "/bin/python", "tests/parity/reference.py", work .. "/cases.json",
    work .. "/answers.json" })
  return assert(json.decode(assert(fs.read(work .. "/answers.json"))))
end

-- --- comparing ------------------------------------------------------------------------------------

local function differences(a, b, path, out)
  if type(a) ~= type(b) then
    out[#out + 1] = { path = path, theirs = a, ours = b }
  elseif type(a) == "table" then
    local keys = {}
    for k in pairs(a) do keys[k] = true end
    for k in pairs(b) do keys[k] = true end
    for k in pairs(keys) do differences(a[k], b[k], path .. "/" .. tostring(k), out) end
  elseif a ~= b then
    out[#out + 1] = { path = path, theirs = a, ours = b }
  end
  return out
end

local loaded = {}

local function load(case)
  if not loaded[case.name] then
    local errors
    loaded[case.name], errors = project.load(case.dir)
    if not loaded[case.name] then return nil, tostring(errors) end
  end
  return loaded[case.name]
end

local function our_plan(case)
  local found, errors = load(case)
  if not found then return nil, errors end
  local targets, err = plan.targets(found, case.filters, { revision = false,
    env = function(name) return name == "FIXTURE_TOKEN" and "x" or nil end })
  if not targets then return nil, tostring(err) end
  local doc = json.decode(plan.encode(plan.document(targets, case.filters)))
  doc["x-bakery"] = nil
  return doc, #targets
end

local function without_time(doc)
  for _, target in pairs(doc.target) do target.labels[CREATED] = nil end
  return doc
end

local compare = {}

function compare.cli(case, answer)
  local ours, count = our_plan(case)
  if not ours then
    return answer.ok and { { path = "error", ours = count, theirs = "a plan" } } or {}
  end
  if not answer.ok then
    return count == 0 and {} or { { path = "targets", ours = count, theirs = answer.text } }
  end
  return differences(without_time(answer.value), without_time(ours), "", {})
end

-- Rows; those of the reference also say whether the version is the latest one.
function compare.matrix(case, answer)
  local found = load(case)
  if not found then return answer.ok and { { path = "error", ours = "refused", theirs = "rows" } } or {} end
  local selections, err = plan.select(found, case.filters)
  if not selections then return answer.ok and { { path = "error", ours = tostring(err), theirs = "rows" } } or {} end
  if not answer.ok then return { { path = "error", ours = "rows", theirs = answer.text } } end
  for _, row in ipairs(answer.value) do row.latest = nil end
  return differences(answer.value, json.decode(json.encode(matrix.rows(selections))), "", {})
end

function compare.render(case, answer)
  local found, errors = project.load(case.source)
  assert(found, tostring(errors))
  local ours = {}
  for _, file in ipairs(projects.rendered(found)) do
    ours[file.path] = { text = file.text, executable = file.mode & 73 ~= 0 }
  end
  return differences(answer.value, ours, case.kind, {})
end

function compare.load(case, answer)
  local found, errors, warnings = project.parse(case.text)
  if (found ~= nil) == answer.ok then return {} end
  local unquoted = false
  for _, warning in ipairs(found and warnings or {}) do
    unquoted = unquoted or warning.code == "config.unquoted"
  end
  return { { unquoted = unquoted, path = case.text,
    theirs = answer.ok and "accepted" or "refused: " .. answer.error:sub(1, 200),
    ours = found and "accepted" or "refused: " .. tostring(errors) } }
end

local function main()
  if not install() then
    print("parity: the package index cannot be reached, skipped")
    return 0
  end
  local work = assert(fs.realpath(assert(fs.tmpdir "bakery-parity")))
  local list = cases(work)
  local answers = ask_reference(list, work)
  local same, expected, bad = 0, {}, 0
  for i, case in ipairs(list) do
    local left = 0
    for _, difference in ipairs(compare[case.kind](case, answers[i])) do
      local reason = rules.reason(case, difference)
      if reason then
        expected[reason] = (expected[reason] or 0) + 1
      else
        left = left + 1
        local args = case.args and table.concat(case.args, " ") or ""
        print(("%s %s\n  %s\n  reference: %s\n  bakery:    %s"):format(case.name or case.kind, args,
          difference.path, tostring(difference.theirs), tostring(difference.ours)))
      end
    end
    if left == 0 then same = same + 1 else bad = bad + 1 end
  end
  fs.remove(work, { recursive = true })
  for _, reason in ipairs(rules.ORDER) do
    if expected[reason] then print(("intended: %-60s %d"):format(reason, expected[reason])) end
  end
  print(("%d passed, %d failed"):format(same, bad))
  return bad == 0 and 0 or 1
end

os.exit(main())
