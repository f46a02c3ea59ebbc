--- Whose a file is that a process leaves behind: whether that process still runs.
local fs = require "bakery.fs"
local process = require "bakery.process"

local M = {}

-- Start time of a process in clock ticks (proc(5), /proc/PID/stat field 22), so that a number used
-- again is not taken for its former owner.
local function started(pid)
  local text = fs.read(("/proc/%d/stat"):format(pid), 4096)
  if not text then return nil end
  local rest, n = text:match "^.*%)(.*)$", 2
  for field in (rest or ""):gmatch "%S+" do
    n = n + 1
    if n == 22 then return field end
  end
end

local function boot() return (fs.read("/proc/sys/kernel/random/boot_id", 64) or ""):match "%S*" end

--- Whether there is a process of that number.
---@param pid integer
---@return boolean
function M.runs(pid) return started(pid) ~= nil end

--- This process.
---@return table { pid=integer, start=string, boot=string }
function M.this()
  local pid = process.pid()
  return { pid = pid, start = started(pid) or "", boot = boot() }
end

--- Whether the process still runs, on this machine since it was started.
---@param o any what M.this() gave once
---@return boolean
function M.is_alive(o)
  return type(o) == "table" and math.type(o.pid) == "integer" and o.boot == boot()
    and started(o.pid) == o.start and o.start ~= ""
end

return M
