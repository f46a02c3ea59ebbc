--- The results document: what happened per target, in XDG_STATE_HOME/bakery/runs/RUN.json and, with
--- --results, in the named file. While the run goes on each target's result is a line of RUN.jsonl, which
--- a run that was killed leaves behind; the document replaces it.
local fs = require "bakery.fs"
local json = require "bakery.json"
local loop = require "bakery.loop"

local M = {}

local KEEP = 500 -- files of runs

local function state_dir() return require("app.config").state_dir() .. "/runs" end

local function error_object(e)
  if type(e) ~= "table" then e = { message = tostring(e) } end
  return json.object { { "class", e.class or "build" }, { "code", e.code or "error" }, { "message", tostring(e.message) },
    { "where", e.where or json.null }, { "log", e.log and json.array(e.log) or json.null },
    { "needed_by", e.needed_by and #e.needed_by > 1 and json.array(e.needed_by) or nil } }
end

local function target_object(r)
  local o = json.object { { "uid", r.uid }, { "status", r.status } }
  o.seconds = r.seconds and tonumber(("%.3f"):format(r.seconds)) or nil
  o.cached, o.executed, o.size = r.cached, r.executed, r.size
  o.image_id, o.digest = r.image_id, r.digest
  o.tags = json.array(r.tags or {})
  o.platforms = json.array {}
  for i, p in ipairs(r.platforms or {}) do
    o.platforms[i] = json.object { { "platform", p.platform }, { "image_id", p.image and p.image.config_digest },
      { "digest", p.manifest and p.manifest.digest or json.null },
      { "provenance", p.image and p.image.provenance } }
  end
  if r.pushed then o.pushed = json.array(r.pushed) end
  if r.signatures then o.signatures = json.array(r.signatures) end
  if r.soci then
    o.soci = json.array {}
    for i, p in ipairs(r.soci.platforms) do
      o.soci[i] = json.object { { "platform", p.platform }, { "index", p.soci } }
    end
  end
  if r.tests then o.tests = r.tests end
  if r.verdicts then
    o.verdicts = json.object()
    for _, kind in ipairs { "test", "lint", "scan" } do
      local v = r.verdicts[kind]
      if v then o.verdicts[kind] = json.object { { "ok", v.ok }, { "total", v.total }, { "failed", v.failed } } end
    end
  end
  if r.error then o.error = error_object(r.error) end
  return o
end

--- The document of a run.
---@param ctx table
---@param class string|nil exit class, when the run has ended
function M.document(ctx, class)
  local doc = json.object { { "apiVersion", "bakery/v1" }, { "kind", "Results" }, { "run", ctx.run_id },
    { "recipe", ctx.recipe } }
  doc.backend = ctx.args.backend
  doc.finished = class ~= nil
  if class then doc.exit = json.object { { "code", require("app.cli.exit").code[class] or 1 }, { "class", class } } end
  doc.targets = json.array {}
  for i, r in ipairs(ctx.results) do doc.targets[i] = target_object(r) end
  return doc
end

-- A directory that cannot be written is reported once, never fatal.
local function keep(ctx, fn)
  if ctx.results_warned then return end
  local dir = state_dir()
  local ok, err = fs.mkdir(dir, { parents = true })
  if ok then ok, err = fn(dir .. "/" .. ctx.run_id, dir) end
  if not ok then
    ctx.results_warned = true
    ctx.warn("results are not kept: " .. tostring(err))
  end
end

local function write_file(ctx, text)
  local ok, err = fs.write(ctx.args.results, text)
  if not ok then error(err, 0) end
end

-- The --results file is a whole document each time: seldom enough that it costs a small part of the run.
local function refresh_file(ctx)
  local now = loop.now()
  if ctx.results_next and now < ctx.results_next then return end
  write_file(ctx, json.encode(M.document(ctx), { indent = 2, lossy = true }) .. "\n")
  local done = loop.now()
  ctx.results_next = done + 20 * (done - now)
end

--- Notes one target's result in the journal of the run.
---@param ctx table
---@param result table
function M.note(ctx, result)
  local line = json.encode(target_object(result), { lossy = true }) .. "\n"
  keep(ctx, function(base) return fs.append(base .. ".jsonl", line) end)
  if ctx.args.results then refresh_file(ctx) end
end

-- Now and then: it has to look at all of them.
local function forget_old(dir)
  if os.time() % 16 ~= 0 then return end
  local names = fs.list(dir) or {} -- names begin with the time
  for i = 1, #names - KEEP do fs.remove(dir .. "/" .. names[i]) end
end

--- Writes the document of a run that has ended.
---@param ctx table
---@param class string exit class
function M.write(ctx, class)
  local text = json.encode(M.document(ctx, class), { indent = 2, lossy = true }) .. "\n"
  if ctx.args.results then write_file(ctx, text) end
  keep(ctx, function(base, dir)
    local ok, err = fs.write(base .. ".json", text)
    if ok then fs.remove(base .. ".jsonl") end
    forget_old(dir)
    return ok, err
  end)
end

--- Rows for the summary table.
---@param ctx table
---@return string[] lines
function M.summary(ctx)
  local format = require "app.report.format"
  local rows = { { "TARGET", "STATUS", "IMAGE ID", "SIZE", "TIME", "CACHED", "DIGEST" } }
  for _, r in ipairs(ctx.results) do
    if r.status == "ok" then
      rows[#rows + 1] = { r.uid, "ok", format.short(r.image_id), format.bytes(r.size or 0), format.seconds(r.seconds or 0),
        ("%d/%d"):format(r.cached or 0, (r.cached or 0) + (r.executed or 0)), format.short(r.digest) }
    else
      rows[#rows + 1] = { r.uid, r.status, "-", "-", "-", "-", "-" }
    end
  end
  return format.table(rows)
end

return M
