--- Only failures.
local errors = require "app.report.errors"

local M = {}
local Quiet = {}
Quiet.__index = Quiet

function M.open(opts) return setmetatable({ color = opts.color }, Quiet) end

function Quiet:event(e)
  if e.type == "target_failed" and not e.same_as then
    io.stderr:write("[", e.target, "] failed\n", errors.text(e.error, { color = self.color, target = e.target }), "\n")
  elseif e.type == "failure" then
    io.stderr:write("bakery: ", e.text, "\n")
  elseif e.type == "test" and not e.ok then
    io.stderr:write("[", e.target, "] FAILED ", e.text, "\n")
  end
end

function Quiet:finish() end

return M
