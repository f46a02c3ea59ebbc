--- Checks of one built image: its goss file evaluated against the image's files and commands.
local fill = require "bakery.goss.fill"
local fs = require "bakery.fs"
local goss = require "bakery.goss"
local json = require "bakery.json"
local fail = require "app.fail"

local M = {}

-- test/goss.yaml (or .yml) of a target, below the directory of its Containerfile.
local function find(dir, containerfile)
  local base = fs.dirname(containerfile)
  for _, name in ipairs { "goss.yaml", "goss.yml" } do
    local file = fs.join(base, "test", name)
    if fs.is_file(fs.join(dir, file)) then return file end
  end
end

--- The variables that goss files and their commands find beside the image's own: those that dgoss
--- recipes of image families hand to the container.
---@param target table of the plan
---@param extra table of the plan, x-bakery
---@param platform string
---@return table<string, string>
function M.variables(target, extra, platform)
  local os = extra.os or {}
  local out = { IMAGE_VERSION = extra.version, IMAGE_VARIANT = extra.variant, IMAGE_OS = os.name, IMAGE_OS_NAME = os.id,
    IMAGE_OS_CODENAME = os.name and (os.codename or ""), IMAGE_OS_FAMILY = os.family, IMAGE_OS_VERSION = os.version,
    IMAGE_OS_PLATFORM = platform }
  for name, value in pairs(target.args or {}) do out["BUILD_ARG_" .. name] = tostring(value) end
  return out
end

-- The goss file's text with its template filled in: .Env is the image's environment and the variables.
local function filled(file, full, image, variables)
  local text = fail.check(fs.read(full, 4 << 20))
  if not text:find("{{", 1, true) then return text, { name = file } end
  local env = {}
  for _, kv in ipairs(image.config.config and image.config.config.Env or {}) do
    local name, value = kv:match "^([^=]*)=(.*)$"
    if name then env[name] = value end
  end
  for name, value in pairs(variables) do env[name] = value end
  local out, err = fill.fill(text, { Env = env }, file)
  if not out then
    err.path = full
    error(err, 0)
  end
  return out, { name = file .. " (filled in)" }
end

--- Runs the checks of a result; nil when it has none.
---@param ctx table recipe context
---@param result table
---@return table[]|nil results of bakery.goss
function M.run(ctx, result)
  local target = ctx.plan.targets[result.uid]
  local file = find(ctx.dir, target.dockerfile)
  if not file then return nil end
  local full = fs.join(ctx.dir, file)
  local image = fail.check(ctx.backend:open_image(result))
  local platform = result.platforms[1] and result.platforms[1].platform
  local variables = M.variables(target, ctx.plan.extras[result.uid], platform)
  local text, opts = filled(file, full, image, variables)
  local spec, err = goss.parse(text, opts)
  if not spec then
    if opts.name == file then err.path = full end
    error(err, 0)
  end
  local options = ctx.plan.extras[result.uid].options
  local wait = options and options.goss and options.goss.timeout or 900
  local results = goss.run(spec, {
    lookup = function(path) return image.lookup(path) end,
    read = function(path) return image.read(path) end,
    exec = function(command, seconds)
      local r = image.exec({ "/bin/sh", "-c", command }, math.min(seconds, wait > 0 and wait or seconds), variables)
      return { code = r.code, stdout = r.output, stderr = r.errors }
    end,
  })
  local doc = json.array {}
  for i, r in ipairs(results) do
    ctx.reporter:event { type = "test", target = result.uid, ok = r.ok, text = goss.describe(r) }
    doc[i] = json.object { { "resource", r.resource }, { "id", tostring(r.id) }, { "property", r.property }, { "ok", r.ok },
      { "skipped", r.skipped or false }, { "text", goss.describe(r) } }
  end
  result.tests = doc
  return results
end

return M
