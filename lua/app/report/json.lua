--- One JSON object per line on standard error, for machines.
local json = require "bakery.json"

local M = {}
local Json = {}
Json.__index = Json

function M.open() return setmetatable({ started = os.time() }, Json) end

local function plain(e)
  local o = json.object()
  o.time = os.date("!%Y-%m-%dT%H:%M:%SZ")
  o.type = e.type
  local names = {}
  for k in pairs(e) do names[#names + 1] = k end
  table.sort(names)
  for _, k in ipairs(names) do
    local v = e[k]
    if type(v) == "string" or type(v) == "number" or type(v) == "boolean" then o[k] = v end
  end
  if e.step then
    o.step = e.step.text or e.step.op
    o.line = e.step.line
  end
  if e.error then
    local err = type(e.error) == "table" and e.error or { message = tostring(e.error) }
    o.error = json.object { { "class", err.class or "build" }, { "code", err.code or "error" },
      { "message", tostring(err.message) }, { "where", err.where or json.null } }
  end
  if e.result then
    o.image_id = e.result.image_id
    o.seconds = e.result.seconds
  end
  return o
end

function Json:event(e) io.stderr:write(json.encode(plain(e), { lossy = true }), "\n") end
function Json:finish() end

return M
