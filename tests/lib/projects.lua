--- Small projects for specs: parsed from text or from tests/fixtures/projects.
local fs = require "bakery.fs"
local plan = require "app.plan"
local project = require "app.project"

local M = { dir = "tests/fixtures/projects" }

M.CREATED = "2025-01-01T00:00:00Z"

local HEAD = "repository: {url: https://example.org/r}\n"

--- Fails with the errors' text instead of returning them.
function M.parse(text)
  local found, errors, warnings = project.parse(text)
  if not found then error(tostring(errors), 2) end
  return found, warnings
end

--- A project with one image whose keys are given as YAML at indentation 4.
function M.image(body)
  return M.parse(HEAD .. "images:\n  - name: img\n" .. body)
end

--- Errors of a text: `line:col message` each.
function M.errors(text)
  local found, errors = project.parse(text)
  if found then return {} end
  local out = {}
  for i, problem in ipairs(errors) do
    out[i] = ("%d:%d %s"):format(problem.line or 0, problem.col or 0, problem.message)
  end
  return out, errors
end

--- Errors or warnings of an image body.
function M.image_errors(body)
  return M.errors(HEAD .. "images:\n  - name: img\n" .. body)
end

--- Texts of warnings.
function M.texts(list)
  local out = {}
  for i, problem in ipairs(list) do out[i] = problem.message end
  return out
end

--- Targets with a fixed creation time, no revision and no environment.
function M.targets(found, filters, opts)
  opts = opts or {}
  opts.created = opts.created or M.CREATED
  if opts.revision == nil then opts.revision = false end
  local env = opts.env or {}
  if type(env) == "table" then opts.env = function(name) return env[name] end end
  return plan.targets(found, filters, opts)
end

--- uids of a selection, in plan order.
function M.uids(found, filters, opts)
  local targets, warnings = M.targets(found, filters, opts)
  if not targets then error(tostring(warnings), 2) end
  local out = {}
  for i, target in ipairs(targets) do out[i] = target.uid end
  return out, warnings
end

--- Every file that the templates of a project give: versions, and the matrix of images that have one.
---@return table[] files {path=relative to the project, text=, mode=}
function M.rendered(found)
  local out = {}
  local function add(image, version)
    local files, errors = project.render(found, image, version)
    if not files then error(tostring(errors), 3) end
    table.move(files, 1, #files, #out + 1, out)
  end
  for _, image in ipairs(found.images) do
    if fs.is_dir(fs.join(found.dir, image.subpath, "template")) then
      for _, version in ipairs(image.versions) do add(image, version) end
      if image.matrix then add(image, nil) end
    end
  end
  return out
end

--- Files below a project directory that are neither expected nor sources.
---@param dir string
---@param expected table<string, any> by path relative to dir
---@return string[]
function M.strays(dir, expected)
  local out = {}
  for _, item in ipairs(fs.walk(dir)) do
    local path = item.path:sub(1, #dir + 1) == dir .. "/" and item.path:sub(#dir + 2) or item.path
    local source = path:find("/template/", 1, true) or path:find "^bakery%.ya?ml$"
    if item.type == "file" and not source and not expected[path] then out[#out + 1] = path end
  end
  return out
end

--- A fixture project.
function M.fixture(name)
  local found, errors, warnings = project.load(fs.join(M.dir, name), { name = "bakery.yaml" })
  if not found then error(tostring(errors), 2) end
  return found, warnings
end

--- Versions that a stub resolver knows, newest somewhere in the middle.
M.AVAILABLE = {
  R = { "4.1.3", "4.3.3", "4.5.1", "4.4.3", "4.2.3", "4.5.0", "4.3.1", "4.4.2" },
  python = { "3.11.9", "3.12.11", "3.13.1", "3.12.4", "3.9.20" },
  positron = { "2026.03.0-212", "2026.02.1-5", "2026.02.0-100" },
  quarto = { "1.7.34", "1.6.43" },
}

--- Resolver over AVAILABLE; notes its requests.
function M.resolver(requests)
  return function(request)
    if requests then requests[#requests + 1] = request end
    if request.kind == "versions" then return M.AVAILABLE[request.dependency] end
    if request.product == "workbench" then
      local urls = {}
      for _, os in ipairs(request.oses) do
        if os.build_os.name == "ubuntu" then urls[os.name] = "https://dl.example/" .. os.name end
      end
      return { version = request.version or "2026.03.0-daily+89.pro1", urls = urls,
        channel_latest = request.version == nil }
    end
    return nil, { message = "nothing there", code = "http.404" }
  end
end

return M
