--- `bakery plan`: the plan document on standard output; no side effect.
local session = require "app.session"

local M = {}

function M.run(values)
  io.stdout:write(require("app.plan").encode((session.plan(values))))
  return 0
end

return M
