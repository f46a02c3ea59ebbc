--- Asking before something is destroyed: on a terminal unless --yes; in CI and without a terminal --yes is needed (conventions.md 2).
local process = require "bakery.process"
local fail = require "app.fail"

local M = {}

local function in_ci()
  local ci = os.getenv "CI"
  return ci ~= nil and ci ~= "" and ci ~= "false" and ci ~= "0"
end

-- true or false as the user says, nil where nobody can be asked.
local function answer(question)
  if not (process.isatty(0) and process.isatty(2)) or in_ci() then return nil end
  return (process.ask(question .. "? [y/N] ") or ""):find "^%s*[yY]" ~= nil
end

--- Returns when the user agrees; raises when not, or when nobody can be asked.
---@param values table parsed options (yes)
---@param what string "remove 3 tags of registry.example/app"
---@param opts { unasked: boolean|nil }|nil unasked: where nobody can be asked it is done, as scripts of the
--- reference expect of clean and remove
function M.ask(values, what, opts)
  if values.yes then return end
  local said = answer(what)
  if said == false then fail.raise { class = "denied", code = "image.declined", message = "nothing was changed" } end
  if said or opts and opts.unasked then return end
  fail.raise { class = "denied", code = "confirm", message = what .. ": needs --yes when nobody can be asked",
    hint = "--dry-run shows what would happen" }
end

--- Whether the user agrees to a removal; without anybody to ask only --yes does: a mistake of the command line.
---@param values table parsed options (yes)
---@param what string
---@return boolean
function M.agrees(values, what)
  if values.yes then return true end
  local said = answer(what)
  if said ~= nil then return said end
  return fail.raise { class = "usage", code = "confirm", message = "nothing is removed without --yes",
    hint = "--dry-run shows what would go" }
end

return M
