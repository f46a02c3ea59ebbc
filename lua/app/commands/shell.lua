--- `bakery shell TARGET [-- COMMAND]`: a shell in a throw-away copy of a built image.
local suggest = require "bakery.suggest"
local fail = require "app.fail"
local session = require "app.session"

local M = {}

-- The planned target of that uid.
local function find_target(values)
  local doc, project = session.plan { context = values.context, quiet = true, matrix_versions = "include",
    plan_file = values.plan_file }
  local plan = session.backend_plan(doc)
  local target = plan.targets[values[1]]
  if not target then
    local near = suggest.nearest(values[1], plan.order)
    fail.raise { class = "usage", code = "usage", message = "no target '" .. values[1] .. "'",
      hint = near and "did you mean '" .. near .. "'?" or "`bakery get targets` lists them" }
  end
  return target, project
end

function M.run(values)
  local target, project = find_target(values)
  if values.image_platform then target.platforms = { values.image_platform } end
  local dir = project and project.dir or require("bakery.fs").realpath(values.context or ".")
  local backend <close> = require("app.backend.embedded").open { dir = dir, store = values.store, isolation = values.isolation, -- luacheck: ignore
    network = values.network, security = values.security, args = values, emit = function(e)
      if e.type == "warning" then io.stderr:write("warning: ", e.where, ": ", e.text, "\n") end
    end }
  local result = backend:load(target)
  if not result then
    fail.raise { class = "build", code = "not_built", message = target.uid .. " is not built"
      .. (values.image_platform and " for " .. values.image_platform or ""), hint = "run `bakery build` first" }
  end
  local image = backend:image_of(result, values.user)
  local argv
  if #values > 1 then argv = table.move(values, 2, #values, 1, {}) end
  local status = require("app.backend.embedded.shell").in_image(backend, image, argv)
  return status.code
end

return M
