--- The results document: what happened per target. Written atomically after every target, to
--- XDG_STATE_HOME/bakery/runs/RUN.json and, with --results, to the named file.
local fs = require "bakery.fs"
local json = require "bakery.json"

local M = {}

local function state_dir()
  local dir = os.getenv "XDG_STATE_HOME"
  if not dir or dir == "" then dir = (os.getenv "HOME" or "/tmp") .. "/.local/state" end
  return dir .. "/bakery/runs"
end

local function error_object(e)
  if type(e) ~= "table" then e = { message = tostring(e) } end
  return json.object { { "class", e.class or "build" }, { "code", e.code or "error" }, { "message", tostring(e.message) },
    { "where", e.where or json.null }, { "log", e.log and json.array(e.log) or json.null } }
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
      { "digest", p.manifest and p.manifest.digest or json.null } }
  end
  if r.pushed then o.pushed = json.array(r.pushed) end
  if r.tests then o.tests = r.tests end
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

--- Writes the document; a directory that cannot be written is reported once, never fatal.
function M.write(ctx, class)
  local text = json.encode(M.document(ctx, class), { indent = 2, lossy = true }) .. "\n"
  if ctx.args.results then
    local ok, err = fs.write(ctx.args.results, text)
    if not ok then error(err, 0) end
  end
  local dir = state_dir()
  local ok, err = fs.mkdir(dir, { parents = true })
  if ok then ok, err = fs.write(("%s/%s.json"):format(dir, ctx.run_id), text) end
  if not ok and not ctx.results_warned then
    ctx.results_warned = true
    ctx.warn("results are not kept: " .. tostring(err))
  end
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
