--- Verdicts of tests, lint and scans about exactly the images that are to be published: kept in the store by
--- image id, or read from results documents of other machines.
local fs = require "bakery.fs"
local json = require "bakery.json"
local fail = require "app.fail"

local M = {}

--- Kinds of verdicts and the exit class of a bad one.
M.kinds = { test = "test", lint = "gate", scan = "gate" }

local function ref(kind, image_id) return "verdict/" .. kind .. "/" .. image_id:gsub("^sha256:", "") end

--- Keeps a verdict about every platform's image of a result.
---@param store bakery.store
---@param kind string
---@param result table
---@param verdict table { ok=boolean, total=integer, failed=integer }
function M.keep(store, kind, result, verdict)
  for _, p in ipairs(result.platforms or {}) do
    fail.check(store:put_ref(ref(kind, p.image.config_digest), { ok = verdict.ok, total = verdict.total,
      failed = verdict.failed, at = os.time() }))
  end
end

local function verdict_of(target, kind)
  if kind ~= "test" then return type(target.verdicts) == "table" and target.verdicts[kind] or nil end
  if type(target.tests) ~= "table" then return nil end
  local total, failed = 0, 0
  for _, t in ipairs(target.tests) do
    total = total + 1
    if not t.ok then failed = failed + 1 end
  end
  return { ok = failed == 0, total = total, failed = failed }
end

--- Verdicts of results documents by kind and image id.
---@param files string[]
---@return table { test = { image id → verdict }, … }
function M.read(files)
  local out = { test = {}, lint = {}, scan = {} }
  for _, file in ipairs(files or {}) do
    local doc = fail.check(json.decode(fail.check(fs.read(file, 256 << 20)), { name = file }))
    if type(doc) ~= "table" or doc.kind ~= "Results" or type(doc.targets) ~= "table" then
      fail.raise { class = "infra", code = "publish.results", message = file .. ": not a results document" }
    end
    for _, target in ipairs(doc.targets) do
      for kind in pairs(M.kinds) do
        local verdict = verdict_of(target, kind)
        for _, p in ipairs(verdict and target.platforms or {}) do
          if type(p.image_id) == "string" then out[kind][p.image_id] = verdict end
        end
      end
    end
  end
  return out
end

-- The verdict about one platform's image, or nil.
local function find(store, read, kind, image_id)
  return read[kind][image_id] or store and store:get_ref(ref(kind, image_id)) or nil
end

--- Checks that every result has a good verdict of each required kind; says all that is missing or bad.
---@param ctx table recipe context: backend, fail_later
---@param results table[]
---@param required string[]
---@param files string[]|nil results documents
---@return boolean
function M.check(ctx, results, required, files)
  local read, good = M.read(files), true
  for _, kind in ipairs(required) do
    if not M.kinds[kind] then
      fail.raise { class = "usage", code = "usage", message = "--require: no such verdict '" .. kind .. "'",
        hint = "verdicts are test, lint and scan" }
    end
    for _, r in ipairs(results) do
      for _, p in ipairs(r.platforms) do
        local verdict = find(ctx.backend.store, read, kind, p.image.config_digest)
        local where = ("%s (%s)"):format(r.uid, p.platform)
        if not verdict then
          good = false
          ctx:fail_later("infra", ("%s: no %s result for image %s"):format(where, kind, p.image.config_digest:sub(1, 19)))
        elseif verdict.ok ~= true then
          good = false
          ctx:fail_later(M.kinds[kind], ("%s: %s failed (%s of %s)"):format(where, kind, tostring(verdict.failed or "?"),
            tostring(verdict.total or "?")))
        end
      end
    end
  end
  return good
end

return M
