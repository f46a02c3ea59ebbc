--- Asking before something is destroyed: on a terminal unless --yes; in CI --yes is needed (conventions.md 2).
local process = require "bakery.process"
local fail = require "app.fail"

local M = {}

local function in_ci()
  local ci = os.getenv "CI"
  return ci ~= nil and ci ~= "" and ci ~= "false" and ci ~= "0"
end

-- Whether a line that begins with y comes. A shell reads it, so that Ctrl-C ends us while we wait.
local function agrees()
  local script = "IFS= read -r a || exit 1; case $a in [yY]*) exit 0 ;; *) exit 1 ;; esac"
  local r = process.which "sh" and process.run { cmd = { "sh", "-c", script }, foreground = true }
  if r then return r.code == 0 end
  return (io.stdin:read "l" or ""):find "^%s*[yY]" ~= nil
end

--- Returns when the user agrees; raises when not, or when nobody can be asked in CI.
---@param values table parsed options (yes)
---@param what string "remove 3 tags of registry.example/app"
---@param opts { unasked: boolean|nil }|nil unasked: where nobody can be asked it is done, as scripts of the
--- reference expect of clean and remove
function M.ask(values, what, opts)
  if values.yes then return end
  if process.isatty(0) and process.isatty(2) and not in_ci() then
    io.stderr:write(what, "? [y/N] ")
    if agrees() then return end
    fail.raise { class = "denied", code = "image.declined", message = "nothing was changed" }
  end
  if opts and opts.unasked then return end
  if in_ci() or not process.isatty(0) then
    fail.raise { class = "denied", code = "confirm", message = what .. ": needs --yes when nobody can be asked",
      hint = "--dry-run shows what would happen" }
  end
end

return M
