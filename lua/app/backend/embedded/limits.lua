--- How large and how old the store may get: BAKERY_STORE_MAX_SIZE ("20g") and BAKERY_STORE_MAX_AGE (days).
--- Looked at after builds that made something, at most once an hour; what is used is not touched, and a
--- store that another process uses is left for the next time.
local fs = require "bakery.fs"
local flags = require "bakery.containerfile.flags"
local fail = require "app.fail"

local M = {}

local HOUR, DAY = 3600, 86400

--- Bytes of a size as people write it; raises with the name of what had it.
---@param text string
---@param what string
---@return integer
function M.size(text, what)
  local n = flags.size(text)
  if n then return n end
  return fail.raise { class = "usage", code = "usage", message = ("%s: expected a size such as 20g, got '%s'"):format(what, text) }
end

local function setting(name)
  local text = os.getenv(name)
  return text and text ~= "" and text or nil
end

--- The limits in force: options for store:gc, or nil when there are none.
---@return table|nil { max_bytes=, max_age=seconds }
function M.read()
  local size, age = setting "BAKERY_STORE_MAX_SIZE", setting "BAKERY_STORE_MAX_AGE"
  if not size and not age then return nil end
  local days = age and tonumber(age)
  if age and not (days and days >= 0) then
    fail.raise { class = "usage", code = "usage", message = "BAKERY_STORE_MAX_AGE: expected days, got '" .. age .. "'" }
  end
  return { max_bytes = size and M.size(size, "BAKERY_STORE_MAX_SIZE"), max_age = days and days * DAY }
end

local LAYER_MAX, LAYER_RATIO, LAYER_FLOOR = 64 << 30, 1100, 4 << 30

--- How large foreign layers and the archives of ADD may be when unpacked: BAKERY_LAYER_MAX (64g), and where
--- that is more than 4 GiB at most BAKERY_LAYER_RATIO (1100) times their own size, more than gzip can do.
---@return integer bytes
---@return number ratio
function M.unpacked()
  local size, ratio = setting "BAKERY_LAYER_MAX", setting "BAKERY_LAYER_RATIO"
  local max = size and M.size(size, "BAKERY_LAYER_MAX") or LAYER_MAX
  local times = ratio and tonumber(ratio) or not ratio and LAYER_RATIO
  if not times or times < 1 or times ~= times then
    fail.raise { class = "usage", code = "usage", message = "BAKERY_LAYER_RATIO: expected a number of at least 1, got '" .. ratio .. "'" }
  end
  return max, times
end

--- The words for an error that says "too large".
---@param size integer|nil bytes of the blob or archive
---@return string
function M.hint(size)
  return ("%sBAKERY_LAYER_MAX (64g) and BAKERY_LAYER_RATIO (1100) say how large layers and archives may be unpacked")
    :format(size and ("it has %d bytes; "):format(size) or "")
end

--- The same for one blob or archive.
---@param blob_size integer|nil its bytes
---@return integer
function M.layer_max(blob_size)
  local max, times = M.unpacked()
  if not blob_size or times * blob_size >= max then return max end
  return math.min(max, math.max(LAYER_FLOOR, math.floor(times * blob_size)))
end

-- Whether the last look is long enough ago; notes this one.
local function due(store)
  local file = fs.dirname((assert(store:log_path "x"))) .. "/limits"
  local stat = fs.stat(file)
  if stat and os.time() - stat.mtime < HOUR then return false end
  fs.write(file, "")
  return true
end

--- Brings the store within its limits.
---@param store bakery.store
---@param limits table of M.read
---@param emit fun(event: table)
function M.apply(store, limits, emit)
  if not due(store) then return end
  local report, err = store:gc(limits)
  if report and report.removed > 0 then
    emit { type = "message", text = ("store: %d objects (%s) went, by BAKERY_STORE_MAX_SIZE and BAKERY_STORE_MAX_AGE")
      :format(report.removed, require("app.report.format").bytes(report.bytes)) }
  elseif not report and err.code ~= "store.busy" then
    emit { type = "warning", text = "the store's limits were not applied: " .. tostring(err.message) }
  end
end

return M
