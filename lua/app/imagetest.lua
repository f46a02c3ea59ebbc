--- Checks of one built image: its goss file evaluated against the image's files and commands.
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

--- Runs the checks of a result; nil when it has none.
---@param ctx table recipe context
---@param result table
---@return table[]|nil results of bakery.goss
function M.run(ctx, result)
  local target = ctx.plan.targets[result.uid]
  local file = find(ctx.dir, target.dockerfile)
  if not file then return nil end
  local text = fail.check(fs.read(fs.join(ctx.dir, file), 4 << 20))
  local spec, err = goss.parse(text, { name = file })
  if not spec then
    err.path = fs.join(ctx.dir, file)
    error(err, 0)
  end
  local image = fail.check(ctx.backend:open_image(result))
  local options = ctx.plan.extras[result.uid].options
  local wait = options and options.goss and options.goss.timeout or 900
  local results = goss.run(spec, {
    lookup = function(path) return image.lookup(path) end,
    read = function(path) return image.read(path) end,
    exec = function(command, seconds)
      local r = image.exec({ "/bin/sh", "-c", command }, math.min(seconds, wait > 0 and wait or seconds))
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
