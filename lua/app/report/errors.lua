--- Error objects as text for people: place, message, source line with caret, hint, log tail.
local error_object = require "bakery.error"
local format = require "app.report.format"

local M = {}

-- A command as a shell takes it, on one line whatever its length, so that it can be pasted.
local function shell_text(cmd)
  local out = {}
  for i, word in ipairs(cmd) do
    out[i] = word:find "^[%w%%+,./:=@_-]+$" and word or "'" .. word:gsub("'", "'\\''") .. "'"
  end
  return format.printable(table.concat(out, " "))
end

-- The other targets that have come to the step that failed.
local function also_needed(e, target)
  local others = {}
  for _, uid in ipairs(target and e.needed_by or {}) do if uid ~= target then others[#others + 1] = uid end end
  return #others > 0 and "  also needed by " .. table.concat(others, ", ")
end

--- Text of an error without trailing newline.
---@param e any
---@param opts table { color=, debug=, target=uid whose error it is }
---@return string
function M.text(e, opts)
  if type(e) ~= "table" then return "bakery: " .. tostring(e) end
  if e.path and e.line and not e.source then
    local f = io.open(e.path, "r")
    if f then
      local n = 0
      for line in f:lines() do
        n = n + 1
        if n == e.line then
          e.source = line
          break
        end
      end
      f:close()
    end
  end
  local out = { error_object.format(e, opts) }
  out[#out + 1] = also_needed(e, opts.target) or nil
  if e.command then out[#out + 1] = "  command: " .. shell_text(e.command) end
  if e.log and #e.log > 0 then
    out[#out + 1] = #e.log == 1 and "  last line of output:" or ("  last %d lines of output:"):format(#e.log)
    for _, line in ipairs(e.log) do out[#out + 1] = "  | " .. format.printable(line) end
    if e.log_file then out[#out + 1] = "  all of it: " .. e.log_file end
  end
  return table.concat(out, "\n")
end

return M
