--- Whether to colour, and the few colours in use.
local process = require "bakery.process"

local M = {}

local function set(name)
  local v = os.getenv(name)
  return v ~= nil and v ~= "" and v
end

--- FORCE_COLOR > --color > NO_COLOR > CLICOLOR_FORCE > CLICOLOR and a terminal.
---@param values table parsed options
---@return boolean
function M.enabled(values)
  if set "FORCE_COLOR" then return true end
  if values.color == "always" then return true elseif values.color == "never" then return false end
  if set "NO_COLOR" then return false end
  if set "CLICOLOR_FORCE" then return true end
  if os.getenv "TERM" == "dumb" or set "CLICOLOR" == "0" then return false end
  return process.isatty(2)
end

local codes = { red = 31, green = 32, yellow = 33, blue = 34, dim = 2, bold = 1 }

--- paint(name, text) that colours or leaves alone.
---@param on boolean
function M.painter(on)
  return function(name, text)
    return on and ("\27[%dm%s\27[0m"):format(codes[name], text) or text
  end
end

return M
