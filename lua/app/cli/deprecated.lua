--- Old names of commands: accepted, with one line that says what to write instead. (Old options:
--- parse.lua.)
local M = {}

--- Tells about a command.
---@param old string
---@param new string
---@param args string[] the command line, for --quiet
function M.command(old, new, args)
  for _, a in ipairs(args) do if a == "-q" or a == "--quiet" then return end end
  io.stderr:write(("warning: deprecated: bakery %s, use bakery %s\n"):format(old, new))
end

return M
