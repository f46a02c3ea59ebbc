--- What every step shares: its result is looked up by key or made once, in this process and in
--- others, and its errors say where in the Containerfile they arose.
local json = require "bakery.json"
local loop = require "bakery.loop"
local task = require "bakery.task"
local fail = require "app.fail"
local remote = require "app.backend.embedded.remote"

local M = {}

--- Makes a directory the layer of a step.
---@param build table the running build
---@param upper string
---@param done table { diff_id=, size=, entries= }
---@return string path of its files in the store
function M.publish(build, upper, done)
  return fail.check(build.store:publish_layer(upper, done.diff_id,
    { size = done.size, entries = done.entries, blobs = json.array {} }))
end

-- A stored result counts only while its layer can still be had.
local function stored(build, key)
  if build.no_cache then return end
  local record = build.store:get_key(key)
  if record and build.store:layer_dir(record.diff_id) then return record end
end

-- The error of a step that another target ran: at this one's place, without the output once more.
local function of_another(err)
  if type(err) ~= "table" or task.is_cancelled(err) then return err end
  local mine = setmetatable({}, getmetatable(err))
  for k, v in pairs(err) do mine[k] = v end
  mine.where, mine.line, mine.path, mine.log = nil, nil, nil, nil
  if err.where then mine.hint = "the step is the same as in " .. err.where .. ", where its output is" end
  return mine
end

-- The targets that came to a step, in the order in which they came.
local function needed_by(build, where, key)
  local list = build.needed[key] or {}
  build.needed[key] = list
  for _, uid in ipairs(list) do if uid == where.target then return list end end
  list[#list + 1] = where.target
  return list
end

--- Looks the key up, here and in the target's remote caches, or runs `execute(tmpdir) -> record`
--- once, in this process and in others.
---@return table record { key=, diff_id=, created=, seconds=, blob=, source= }
---@return boolean cached
function M.run(build, where, key, execute)
  local hit, mine
  local targets = needed_by(build, where, key)
  local ok, record, first = pcall(build.once.run, build.once, "step:" .. key, function()
    mine = true
    local found = stored(build, key)
    if found then
      hit = true
      return found
    end
    local lock <close> = fail.check(build.store:lock("k-" .. key)) -- luacheck: ignore
    found = stored(build, key)
    if not found then
      found = remote.lookup(build, where, key)
      -- Counts from now on as a result of this store, as soon as the layer's files are here.
      if found then fail.check(build.store:put_key(key, { diff_id = found.diff_id, created = found.created, seconds = found.seconds })) end
    end
    if found then
      hit = true
      return found
    end
    local tmp = fail.check(build.store:tmpdir())
    local started = loop.now()
    local done, result = pcall(execute, tmp)
    build.store:remove_tmp(tmp)
    if not done then error(result, 0) end
    result.created = build.epoch or os.time()
    result.seconds = loop.now() - started
    fail.check(build.store:put_key(key, result))
    return result
  end)
  if not ok then
    if type(record) == "table" and not task.is_cancelled(record) then record.needed_by = record.needed_by or targets end
    error(mine and record or of_another(record), 0)
  end
  record.key = key
  return record, hit or not first
end

--- Adds the place of a step to the fields of an error.
function M.error_at(where, step, fields)
  fields.class = fields.class or "build"
  fields.where = where.file .. ":" .. step.line
  fields.line, fields.path = step.line, where.path
  return fields
end

--- Raises an error at a step.
function M.fail(where, step, fields) fail.raise(M.error_at(where, step, fields)) end

--- Wraps whatever a step raises with the place in the Containerfile.
function M.located(where, step, fn)
  local ok, a, b = pcall(fn)
  if ok then return a, b end
  if type(a) == "table" and not a.where then
    a.where = where.file .. ":" .. step.line
    a.line, a.path = step.line, where.path
  end
  error(a, 0)
end

return M
