--- Asking before something is destroyed: on a terminal unless --yes; in CI --yes is needed (conventions.md 2).
local process = require "bakery.process"
local fail = require "app.fail"

local M = {}

local function in_ci()
  local ci = os.getenv "CI"
  return ci ~= nil and ci ~= "" and ci ~= "false" and ci ~= "0"
end

--- Returns when the user agrees; raises when not, or when nobody can be asked in CI.
---@param values table parsed options (yes)
---@param what string "remove 3 tags of registry.example/app"
function M.ask(values, what)
  if values.yes then return end
  if process.isatty(0) and process.isatty(2) and not in_ci() then
    io.stderr:write(what, "? [y/N] ")
    local line = io.stdin:read "l"
    if line and line:lower():match "^%s*y" then return end
    fail.raise { class = "denied", code = "image.declined", message = "nothing was changed" }
  end
  if in_ci() or not process.isatty(0) then
    fail.raise { class = "denied", code = "confirm", message = what .. ": needs --yes when nobody can be asked",
      hint = "--dry-run shows what would happen" }
  end
end

return M
