--- What the steps of a target depended on, kept per run for `bakery explain`: one file per run, target
--- and platform in the store's log directory, one JSON line per step in the order they were met.
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"

local M = {}

local KEEP = 8 -- runs per target and platform
local LONG = 400 -- bytes of a value that are kept; longer ones by digest

--- Notes a step that is about to be looked up.
---@param where table
---@param step table
---@param key string
---@param inputs table[] of keys: { name, value }
function M.note(where, step, key, inputs)
  local entry = { step = step, key = key, inputs = inputs }
  where.trace[#where.trace + 1] = entry
  where.trace[step] = entry
end

--- Notes how it went.
function M.done(where, step, cached, record)
  local entry = where.trace[step]
  if entry then entry.cached, entry.record = cached, record end
end

local function short(value)
  if type(value) == "string" and #value > LONG then
    return value:sub(1, 80) .. "… sha256:" .. digest.sha256(value)
  end
  return value
end

local function input_value(v)
  if v == nil then return json.null end
  if type(v) ~= "table" then return short(v) end
  local out = json.array {}
  for i, item in ipairs(v) do
    if type(item) == "table" then
      local o, names = json.object(), {}
      for k in pairs(item) do names[#names + 1] = k end
      table.sort(names)
      for _, k in ipairs(names) do o[k] = short(item[k]) end
      out[i] = o
    else
      out[i] = short(item)
    end
  end
  return out
end

local function line_of(entry)
  local inputs = json.array {}
  for i, input in ipairs(entry.inputs) do inputs[i] = json.array { input[1], input_value(input[2]) } end
  local o = json.object { { "line", entry.step.line }, { "stage", entry.step.stage or "" }, { "text", entry.step.text or entry.step.op },
    { "key", entry.key }, { "state", entry.record == nil and "failed" or entry.cached and "cached" or "ran" } }
  if entry.record then
    o.diff_id, o.seconds, o.source = entry.record.diff_id, entry.record.seconds, entry.record.source
  end
  o.inputs = inputs
  return json.encode(o, { lossy = true })
end

-- Log names begin so for one target, platform and project.
local function prefix(dir, uid, platform)
  return ("trace-%s-%s-%s-"):format(digest.sha256(dir):sub(1, 16), uid, (platform:gsub("/", "_")))
end

local function log_dir(store) return fs.dirname((assert(store:log_path "x"))) end

local function files_of(store, start)
  local out, dir = {}, log_dir(store)
  for _, name in ipairs(fs.list(dir) or {}) do
    local stat = name:sub(1, #start) == start and fs.stat(dir .. "/" .. name)
    if stat then
      out[#out + 1] = { path = dir .. "/" .. name, run = name:sub(#start + 1, -7), at = stat.mtime, ns = stat.mtime_nsec }
    end
  end
  table.sort(out, function(a, b)
    if a.at ~= b.at then return a.at > b.at end
    return a.ns > b.ns
  end)
  return out
end

--- Writes the trace of a target that ran something or failed. Trouble with it is no trouble of the build.
function M.save(build, where)
  local start = prefix(build.dir, where.target, where.platform)
  local path = build.store:log_path(start .. build.run_id)
  if not path then return end
  local lines = { json.encode(json.object { { "target", where.target }, { "platform", where.platform }, { "run", build.run_id },
    { "file", where.file } }) }
  for i, entry in ipairs(where.trace) do lines[i + 1] = line_of(entry) end
  if not fs.write(path, table.concat(lines, "\n") .. "\n", { mode = 384 }) then return end -- 0600: values of ARGs
  for i, old in ipairs(files_of(build.store, start)) do
    if i > KEEP then fs.remove(old.path) end
  end
end

--- Platforms and runs of a target that traces are there of, newest first.
---@param store bakery.store
---@param dir string project directory
---@param uid string
---@return table { platform → { { run=, path= } … } }
function M.list(store, dir, uid)
  local out, start = {}, ("trace-%s-%s-"):format(digest.sha256(dir):sub(1, 16), uid)
  for _, file in ipairs(files_of(store, start)) do
    -- what follows is PLATFORM-RUN, and a run begins with a date
    local platform, run = file.run:match "^([%w_]+)%-(%d+T.*)$"
    if platform then
      platform = platform:gsub("_", "/")
      out[platform] = out[platform] or {}
      table.insert(out[platform], { run = run, path = file.path })
    end
  end
  return out
end

--- Reads a trace: { target=, platform=, run=, file=, steps = { … } }, or nil for one that is unreadable.
---@param path string
---@return table|nil
function M.read(path)
  local text, out = fs.read(path, 64 << 20), nil
  for line in (text or ""):gmatch "[^\n]+" do
    local doc = json.decode(line)
    if type(doc) ~= "table" then return nil end
    if not out then
      out = doc
      out.steps = {}
    else
      out.steps[#out.steps + 1] = doc
    end
  end
  return out
end

return M
