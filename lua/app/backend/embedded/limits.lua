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

local LAYER_MAX, LAYER_RATIO, LAYER_FLOOR, LAYER_ENTRIES = 64 << 30, 1100, 4 << 30, 4000000

local function number(name, default, whole)
  local text = setting(name)
  local n = text and tonumber(text) or not text and default
  if n and n >= 1 and (not whole or math.type(n) == "integer") then return n end
  return fail.raise { class = "usage", code = "usage",
    message = ("%s: expected a%s number of at least 1, got '%s'"):format(name, whole and " whole" or "", text) }
end

--- What foreign layers, the archives of ADD and the sources of COPY may be: BAKERY_LAYER_MAX (64g) bytes, where
--- that is more than 4 GiB at most BAKERY_LAYER_RATIO (1100, more than gzip can do) times the size of the blob,
--- and BAKERY_LAYER_ENTRIES (4000000) files.
---@return { bytes: integer, ratio: number, floor: integer, entries: integer } limits of bakery.snapshot and bakery.archive
function M.foreign()
  local size = setting "BAKERY_LAYER_MAX"
  return { bytes = size and M.size(size, "BAKERY_LAYER_MAX") or LAYER_MAX, ratio = number("BAKERY_LAYER_RATIO", LAYER_RATIO),
    floor = LAYER_FLOOR, entries = number("BAKERY_LAYER_ENTRIES", LAYER_ENTRIES, true) }
end

--- The result and error of a call that has such limits; the error then says how they are set.
---@param done any
---@param err table|nil
function M.explain(done, err)
  if err and err.code == "archive.too_large" then
    err.hint = "BAKERY_LAYER_MAX (64g) and BAKERY_LAYER_RATIO (1100) say how large layers and archives may be unpacked"
  elseif err and err.code == "limits.entries" then
    err.hint = "BAKERY_LAYER_ENTRIES (4000000) says how many files there may be in a layer, an archive or the sources of a COPY"
  end
  return done, err
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
