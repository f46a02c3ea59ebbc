--- Reporters consume events; they never influence the result. Chosen by --progress.
local process = require "bakery.process"

local M = {}

--- Opens the reporter for the parsed options.
---@param values table
---@return table reporter { event=fn(self, e), say=fn(self, text), finish=fn(self) }
function M.open(values)
  local kind = values.progress or "auto"
  if values.quiet then kind = "quiet" end
  if kind == "auto" then
    local ci = os.getenv "CI"
    kind = process.isatty(2) and not (ci and ci ~= "") and os.getenv "TERM" ~= "dumb" and "tty" or "plain"
  end
  local color = require("app.report.color").enabled(values)
  return require("app.report." .. kind).open { color = color, verbose = values.verbose }
end

return M
