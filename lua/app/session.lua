--- What commands share: the project of this invocation, its targets and plan.
local json = require "bakery.json"
local fail = require "app.fail"

local M = {}

local function warn(values, w)
  if values.progress == "json" then
    local event = { type = "warning", where = w.where, text = w.message }
    require("app.report.json").open():event(event)
  else io.stderr:write("warning: ", w.where and w.where .. ": " or "", w.message, "\n") end
end

--- Loads and validates the project; prints warnings on standard error.
---@param values table parsed options (context, quiet)
---@return table project
function M.project(values)
  local projects = require "app.project"
  local dir, file = projects.find(values.context or ".", { context = values.context ~= nil })
  dir = fail.check(dir, file)
  local project, errors, warnings = projects.load(dir, { file = file })
  if not project then
    if errors.errors or not errors[1] then error(errors, 0) end
    error({ class = "usage", code = "config", errors = errors, message = errors[1] and errors[1].message }, 0)
  end
  if not values.quiet then
    for _, w in ipairs(warnings or {}) do
      warn(values, w)
    end
  end
  return project
end

--- Seconds that timestamps are clamped to, or nil: SOURCE_DATE_EPOCH, or the commit time with --reproducible.
---@param values table
---@param dir string project directory
function M.epoch(values, dir)
  local text = os.getenv "SOURCE_DATE_EPOCH"
  if text and text ~= "" then
    local n = math.tointeger(tonumber(text))
    if not n or n < 0 then
      fail.raise { class = "usage", code = "usage", message = "SOURCE_DATE_EPOCH: expected whole seconds, got '" .. text .. "'" }
    end
    return n
  end
  if not values.reproducible then return end
  local r = require("bakery.process").run { cmd = { "git", "-C", dir, "log", "-1", "--format=%ct" } }
  local n = r and r.code == 0 and math.tointeger(tonumber(r.stdout:match("%d+")))
  return n or 0
end

-- Appends the command line's cache entries to a target's.
local function add_entries(target, member, entries)
  if not entries or #entries == 0 then return end
  local all = target[member] or json.array {}
  for _, entry in ipairs(entries) do
    if not require("app.backend.embedded.remote").parse_entry(entry) then
      fail.raise { class = "usage", code = "usage", message = ("--%s: cannot use '%s'"):format(member, entry),
        hint = "give REPOSITORY:TAG, type=registry,ref=REPOSITORY:TAG[,mode=min|max] or type=inline" }
    end
    all[#all + 1] = entry:find("=", 1, true) and entry or "type=registry,ref=" .. entry
  end
  target[member] = all
end

--- The plan document: read from --plan-file, or made from the project's selected targets.
---@return table doc, table|nil project
function M.plan(values)
  local plans = require "app.plan"
  if values.plan_file then return fail.check(plans.read(values.plan_file)) end
  local project = M.project(values)
  local targets, warnings = plans.targets(project, values)
  if not targets and tostring(warnings.code):find "^template" then warnings.class = "usage" end
  targets = fail.check(targets, warnings)
  if not values.quiet then
    for _, w in ipairs(warnings or {}) do
      warn(values, type(w) == "table" and { message = w.message } or { message = tostring(w) })
    end
  end
  if #targets == 0 and not values.allow_empty then
    local text = plans.describe_filters(values)
    fail.raise { class = "empty", code = "empty", message = "no target matches " .. text,
      hint = "matrix images are left out unless --matrix-versions include is given" }
  end
  local doc = plans.document(targets, { project = project, cache_registry = values.cache_registry,
    temp_registry = values.temp_registry, push = values.push, epoch = M.epoch(values, project.dir),
    platforms = values.image_platform })
  for _, uid in ipairs(doc.group.default.targets) do
    add_entries(doc.target[uid], "cache-from", values.cache_from)
    add_entries(doc.target[uid], "cache-to", values.cache_to)
  end
  return doc, project
end

-- Cache entries of a plan that we can use; the kinds of other builders are left to those.
local function cache_entries(list)
  local out = {}
  for _, entry in ipairs(list or {}) do out[#out + 1] = require("app.backend.embedded.remote").parse_entry(entry) end
  return out
end

--- The plan document in the form backends take: targets in order with their uid.
---@param doc table
---@return table { order={uid…}, targets={uid → entry}, extras={uid → x-bakery entry} }
function M.backend_plan(doc)
  local plan = { order = {}, targets = {}, extras = {}, document = doc }
  local extra = doc["x-bakery"] and doc["x-bakery"].targets or {}
  for i, uid in ipairs(doc.group.default.targets) do
    local t = doc.target[uid]
    plan.order[i] = uid
    plan.targets[uid] = { uid = uid, context = t.context, dockerfile = t.dockerfile, labels = t.labels, tags = t.tags,
      args = t.args, target = t.target, platforms = t.platforms, secrets = t.secret,
      cache_from = cache_entries(t["cache-from"]), cache_to = cache_entries(t["cache-to"]) }
    plan.extras[uid] = extra[uid] or {}
  end
  return plan
end

--- Prints a value as JSON on standard output.
function M.print_json(value) io.stdout:write(json.encode(value, { indent = 2 }), "\n") end

return M
