--- Points in time as text (RFC 3339).
local M = {}

--- Seconds since 1970 as a stamp in UTC.
---@param seconds integer|nil default now
---@return string
function M.text(seconds) return tostring(os.date("!%Y-%m-%dT%H:%M:%SZ", seconds)) end

local function noon(y, mo, d) return os.time { year = y, month = mo, day = d, hour = 12 } end

--- Seconds since 1970 of a stamp, with its fraction; without a zone it counts as UTC. nil for anything else.
---@param stamp any
---@return number|nil
function M.seconds(stamp)
  local y, mo, d, h, mi, s, rest = tostring(stamp):match "^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(.*)$"
  if not y then return nil end
  local days = (noon(y, mo, d) - noon(1970, 1, 1) + 43200) // 86400
  local at = days * 86400 + h * 3600 + mi * 60 + s
  local fraction, zone = rest:match "^(%.?%d*)(.*)$"
  local sign, zh, zm = zone:match "^([+-])(%d%d):?(%d%d)$"
  if sign then at = at - (sign == "-" and -1 or 1) * (zh * 3600 + zm * 60) end
  return at + (tonumber("0" .. fraction) or 0)
end

return M
