--- Verdicts of tests, lint and scans about exactly the images that are to be published: kept in the store by
--- image id, or read from results documents of other machines.
local fs = require "bakery.fs"
local json = require "bakery.json"
local fail = require "app.fail"

local M = {}

--- Kinds of verdicts and the exit class of a bad one.
M.kinds = { test = "test", lint = "gate", scan = "gate" }

local function ref(kind, image_id) return "verdict/" .. kind .. "/" .. image_id:gsub("^sha256:", "") end

-- Platforms that a verdict is about: tests run in the image of the first, lint and scans look at all.
local function judged(kind, platforms) return kind == "test" and { platforms[1] } or platforms end

--- Keeps a verdict about the images of a result.
---@param store bakery.store
---@param kind string
---@param result table
---@param verdict table { ok=boolean, total=integer, failed=integer }
function M.keep(store, kind, result, verdict)
  if kind == "test" and verdict.total == 0 then return end -- nothing was looked at
  for _, p in ipairs(judged(kind, result.platforms or {})) do
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
  return total > 0 and { ok = failed == 0, total = total, failed = failed } or nil
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
        for _, p in ipairs(verdict and type(target.platforms) == "table" and judged(kind, target.platforms) or {}) do
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

--- Refuses kinds of verdicts that there are not.
---@param required string[]|nil
function M.known(required)
  for _, kind in ipairs(required or {}) do
    if not M.kinds[kind] then
      fail.raise { class = "usage", code = "usage", message = "--require: no such verdict '" .. kind .. "'",
        hint = "verdicts are test, lint and scan" }
    end
  end
end

--- What stands between a result and its publication.
---@param store bakery.store|nil
---@param read table of M.read
---@param required string[]
---@param result table { uid=, platforms={ { platform=, image={ config_digest= } } } }
---@return table[] { class=, message= }
function M.problems(store, read, required, result)
  local out = {}
  for _, kind in ipairs(required) do
    for _, p in ipairs(result.platforms) do
      local verdict = find(store, read, kind, p.image.config_digest)
      local where = ("%s (%s)"):format(result.uid, p.platform)
      if not verdict then
        out[#out + 1] = { class = "infra", message = ("%s: no %s result for image %s"):format(where, kind,
          p.image.config_digest:sub(1, 19)) }
      elseif verdict.ok ~= true then
        out[#out + 1] = { class = M.kinds[kind], message = ("%s: %s failed (%s of %s)"):format(where, kind,
          tostring(verdict.failed or "?"), tostring(verdict.total or "?")) }
      end
    end
  end
  return out
end

--- Checks that every result has a good verdict of each required kind; says all that is missing or bad.
---@param ctx table recipe context: backend, fail_later
---@param results table[]
---@param required string[]
---@param files string[]|nil results documents
---@return boolean
---@return table<string, table> bad uid → the first problem
function M.check(ctx, results, required, files)
  M.known(required)
  local read, bad = M.read(files), {}
  for _, r in ipairs(results) do
    for _, problem in ipairs(M.problems(ctx.backend.store, read, required, r)) do
      bad[r.uid] = bad[r.uid] or problem
      ctx:fail_later(problem.class, problem.message)
    end
  end
  return next(bad) == nil, bad
end

return M
