--- Differences to the reference that are intended; README.md gives the reasons.
local M = {}

--- Fixtures that the reference cannot load or that need the network there.
M.SKIP = { constraints = true, unquoted = true, ["dev-versions"] = true, ["dev-dependency"] = true }

local NARROWED = "D3: the plan shows the platforms that are built"
local CACHE = "D3: the cache reference names the only platform"
local VARIANT = "D12: a variant filter on images without variants"
local UNQUOTED = "numbers that look like versions keep their text"
local BOUND = "bounds are versions, not any value"
local STRICT = "a person's name is a text, authors are a list"

M.ORDER = { NARROWED, CACHE, VARIANT, UNQUOTED, BOUND, STRICT }

local function of_document(difference)
  local text = difference.path
  if difference.unquoted then return UNQUOTED end
  if not difference.ours:find("^refused") then return nil end
  if text:find("%f[%w]m[ai][xn]:") then return BOUND end
  if text:find("%f[%w]authors:") then return STRICT end
end

--- Why a difference is intended, or nil.
---@param case table
---@param difference table {path, theirs, ours, unquoted}
---@return string|nil
function M.reason(case, difference)
  if case.kind == "load" then return of_document(difference) end
  if case.kind ~= "cli" then return nil end
  if case.filters.image_variant and difference.path == "targets" then
    return tostring(difference.theirs):find("'NoneType' object has no attribute 'name'", 1, true) and VARIANT
  end
  if not case.filters.image_platform then return nil end
  if difference.path:find("/platforms") then return NARROWED end
  if difference.path:find("/cache%-from/1/ref$") then return CACHE end
end

return M
