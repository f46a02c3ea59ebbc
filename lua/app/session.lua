--- What commands share: the project of this invocation, its targets and plan.
local json = require "bakery.json"
local fail = require "app.fail"

local M = {}

--- Prints warnings on standard error, unless --quiet.
---@param values table parsed options
---@param list table[]|nil problems {message=, where=, hint=} or texts
function M.warn(values, list)
  if values.quiet then return end
  for _, w in ipairs(list or {}) do
    if type(w) ~= "table" then w = { message = tostring(w) } end
    if values.progress == "json" then
      require("app.report.json").open():event { type = "warning", where = w.where, text = w.message }
    else
      io.stderr:write("warning: ", w.where and w.where ~= "" and w.where .. ": " or "", w.message,
        w.hint and " (" .. w.hint .. ")" or "", "\n")
    end
  end
end

--- Loads and validates the project; prints warnings on standard error.
---@param values table parsed options (context, quiet)
---@return table project
function M.project(values)
  local projects = require "app.project"
  local dir, file = projects.find(values.context or ".", { context = values.context ~= nil })
  dir = fail.check(dir, file)
  local project, errors, warnings = projects.load(dir, { file = file })
  local edit = not values.quiet and require("app.edit.journal").pending(dir)
  if edit then
    M.warn(values, { { message = ("'%s' %s: files may be half changed"):format(edit.command,
      edit.alive and "is at work" or "was interrupted and is undone by the next editing command") } })
  end
  if not project then
    if errors.errors or not errors[1] then error(errors, 0) end
    error({ class = "usage", code = "config", errors = errors, message = errors[1] and errors[1].message }, 0)
  end
  M.warn(values, warnings)
  if values.verbose then M.warn(values, project.notes) end
  return project
end

local function lookups(values, project)
  if not project._lookups then
    project._lookups = require("app.lookup").open(project, { offline = values.offline, locked = values.locked,
      warn = function(text) M.warn(values, { text }) end,
      note = values.verbose and function(text) io.stderr:write(text, "\n") end or nil })
  end
  return project._lookups
end

--- The look-ups of a project: dependency and development versions. Opened when the first is needed.
---@param values table parsed options (offline, locked, quiet, verbose)
---@param project table
---@return fun(request: table): table|nil, table|nil resolver as app.plan and app.project take it
function M.resolver(values, project)
  return function(request) return lookups(values, project).resolver(request) end
end

-- Options of app.plan: look-ups of the project, --explain.
local function with_lookups(values, project)
  return { resolver = M.resolver(values, project), explain = values.explain, prefetch = function(requests)
    if #requests > 1 then lookups(values, project):prefetch(requests) end
  end }
end

--- Seconds that timestamps are clamped to (files of contexts: that they get), or nil: SOURCE_DATE_EPOCH, or the commit time with --reproducible.
---@param values table
---@param dir string project directory
function M.epoch(values, dir)
  local text = os.getenv "SOURCE_DATE_EPOCH"
  for _, arg in ipairs(values.build_arg or {}) do
    local given = arg:match "^SOURCE_DATE_EPOCH=(.*)$"
    if given and given:find "^%a" then return end -- a source, which the Containerfile has to know
    text = given or text
  end
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

local function add_cache_entries(doc, values)
  for _, uid in ipairs(doc.group.default.targets) do
    add_entries(doc.target[uid], "cache-from", values.cache_from)
    add_entries(doc.target[uid], "cache-to", values.cache_to)
  end
  return doc
end

-- The change set that --base-ref or --changed-files-from ask for, or nil.
local function change_set(values, project)
  local from, ref = values.changed_files_from, values.base_ref
  if from == "" then from = nil end
  if ref == "" then ref = nil end
  if not from and not ref then return nil end
  local changes, git = require "app.ci.changes", require "app.ci.git"
  local paths, base, old, new
  if from then
    if ref then M.warn(values, { "--changed-files-from is taken, --base-ref " .. ref .. " is ignored" }) end
    paths = fail.check(git.read_list(from))
  else
    local fatal
    paths, base, fatal = git.changed(project.dir, ref)
    if not paths and fatal then
      fail.raise { class = "build", code = "ci.no_git", message = ("--base-ref: '%s' is not in a git checkout: %s"):format(
        project.dir, base), hint = "give the changed files with --changed-files-from" }
    end
    if not paths then
      M.warn(values, { ("--base-ref %s: %s; everything is taken as changed"):format(ref, base) })
      return changes.new():everything(base)
    end
    local fs = require "bakery.fs"
    local name = fs.basename(project.file)
    old, new = git.show(project.dir, base, name), fs.read(project.file)
  end
  return changes.of(paths, changes.layout(project), old, new)
end

-- The filters of a command line; options that the command does not have are absent.
local function filters_of(values, project)
  local out = {}
  for k, v in pairs(values) do
    if type(k) == "string" then out[k] = v end
  end
  out.changes = change_set(values, project)
  return out
end

-- Says for --explain what was left out.
local function explain(values, skipped)
  if not values.explain or values.quiet then return end
  for _, item in ipairs(skipped or {}) do io.stderr:write("left out: ", item.what, ": ", item.reason, "\n") end
end

--- What the filters choose in the project (app.plan.select), in the order of the file.
---@param values table
---@return table[] selections
---@return table project
function M.selections(values)
  local project = M.project(values)
  local list, warnings, skipped = require("app.plan").select(project, filters_of(values, project),
    with_lookups(values, project))
  list = fail.check(list, warnings)
  M.warn(values, warnings)
  explain(values, skipped)
  return list, project
end

-- What may have been meant by filters that match nothing: the names there are, or the images left out.
local function empty_hint(values, project)
  local images, versions, matrix = {}, {}, false
  for _, image in ipairs(project.images) do
    images[#images + 1] = image.name
    matrix = matrix or image.matrix ~= nil
    for _, v in ipairs(image.versions) do
      if not versions[v.name] then versions[#versions + 1], versions[v.name] = v.name, true end
    end
  end
  if values.dev_versions == "only" then return nil end -- what could not be looked up has been said
  if matrix and (values.matrix_versions or "exclude") == "exclude" then
    return "matrix images are left out unless --matrix-versions include is given"
  end
  local list = values.image_version and versions or values.image_name and images or {}
  if #list == 0 then return nil end
  local shown = table.concat(list, ", ", 1, math.min(#list, 8)) .. (#list > 8 and ", …" or "")
  return (values.image_version and "versions: " or "images: ") .. shown
end

local function check_not_empty(values, count, what, project)
  if count > 0 or values.allow_empty then return end
  local hint = project and empty_hint(values, project)
  fail.raise { class = "empty", code = "empty", message = "no target" .. (what or "") .. " matches "
    .. require("app.plan").describe_filters(values), hint = hint }
end

-- Targets of the project, with warnings printed; may be none.
local function project_targets(values)
  local project = M.project(values)
  local targets, warnings, skipped = require("app.plan").targets(project, filters_of(values, project),
    with_lookups(values, project))
  if not targets and tostring(warnings.code):find "^template" then warnings.class = "usage" end
  targets = fail.check(targets, warnings)
  M.warn(values, warnings)
  explain(values, skipped)
  return targets, project
end

--- The document of --plan-file, narrowed by the filters that are given and with this run's registries.
---@param values table temp_registry and cache_registry are set to those in force
---@return table doc
function M.plan_document(values)
  local plans = require "app.plan"
  for _, name in ipairs { "base_ref", "changed_files_from" } do
    if values.given and values.given[name] then
      M.warn(values, { ("--%s is ignored: the plan file says what there is to do"):format(name:gsub("_", "-")) })
    end
  end
  local doc = fail.check(plans.read(values.plan_file))
  local narrowed, err_or_skipped = plans.narrow(doc, values)
  doc = fail.check(narrowed, err_or_skipped)
  explain(values, err_or_skipped)
  local settled = plans.settle(doc, values)
  values.temp_registry, values.cache_registry = settled.temp_registry, settled.cache_registry
  return doc
end

-- Targets that are contexts (target:UID) but were not chosen come into the plan too, outside its default
-- group: they are built for those that need them, and no more.
local function add_linked(doc, project, values)
  local missing = {}
  for _, target in json.pairs(doc.target) do
    for _, value in json.pairs(target.contexts or {}) do
      local uid = value:match("^target:(.+)$")
      if uid and not doc.target[uid] then missing[uid] = true end
    end
  end
  if next(missing) == nil then return end
  local plans = require "app.plan"
  local all = fail.check(plans.targets(project, { matrix_versions = "include", dev_versions = "include" }))
  local wanted = {}
  for _, t in ipairs(all) do if missing[t.uid] then wanted[#wanted + 1] = t end end
  if #wanted == 0 then return end
  local more = plans.document(wanted, { project = project, epoch = M.epoch(values, project.dir), created = doc["x-bakery"].created })
  for uid, target in json.pairs(more.target) do
    doc.target[uid] = target
    doc["x-bakery"].targets[uid] = more["x-bakery"].targets[uid]
  end
end

--- Directory of a run that reads its plan from a file: the project's, where there is one.
---@param values table
---@return string
function M.dir(values)
  local found = require("app.project").find(values.context or ".", { context = values.context ~= nil })
  return type(found) == "string" and found or fail.check(require("bakery.fs").realpath(values.context or "."))
end

--- The plan document: read from --plan-file, or made from the project's selected targets.
---@return table doc, table|nil project
function M.plan(values)
  local overrides = require "app.plan.overrides"
  if values.plan_file then
    local doc = M.plan_document(values)
    check_not_empty(values, #doc.group.default.targets, " of " .. values.plan_file)
    local dir = require("app.project").find(values.context or ".", { context = values.context ~= nil })
    return overrides.apply(add_cache_entries(doc, values), values, type(dir) == "string" and dir or nil)
  end
  local targets, project = project_targets(values)
  check_not_empty(values, #targets, nil, project)
  local doc = require("app.plan").document(targets, { project = project, cache_registry = values.cache_registry,
    temp_registry = values.temp_registry, push = values.push, epoch = M.epoch(values, project.dir),
    platforms = values.image_platform })
  doc = overrides.apply(add_cache_entries(doc, values), values, project.dir)
  add_linked(doc, project, values)
  return doc, project
end

-- Cache entries of a plan that we can use; the kinds of other builders are left to those.
local function cache_entries(list)
  local out = {}
  for _, entry in ipairs(list or {}) do out[#out + 1] = require("app.backend.embedded.remote").parse_entry(entry) end
  return out
end

--- The chosen targets with what queries need: {uid, image, version, variant, os, platforms, tags (the final
--- ones), containerfile}; of the project, or of --plan-file.
---@param values table
---@return table[]
function M.targets(values)
  if not values.plan_file then return (project_targets(values)) end
  local doc = M.plan_document(values)
  local out = {}
  for i, uid in ipairs(doc.group.default.targets) do
    local target, extra = doc.target[uid], doc["x-bakery"] and doc["x-bakery"].targets[uid] or {}
    out[i] = { uid = uid, image = extra.image or uid, version = extra.version or "", variant = extra.variant,
      os = extra.os and extra.os.name, platforms = target.platforms, tags = extra.tags or target.tags,
      containerfile = target.dockerfile }
  end
  return out
end

-- Members of bake's targets under the names that backends know.
local function backend_target(uid, t)
  return { uid = uid, context = t.context, dockerfile = t.dockerfile, labels = t.labels, tags = t.tags, args = t.args,
    target = t.target, platforms = t.platforms, secrets = t.secret, contexts = t.contexts, ssh = t.ssh,
    annotations = t.annotations, hosts = t["extra-hosts"], shm_size = t["shm-size"], ulimits = t.ulimits,
    network = t.network, no_cache = t["no-cache"], no_cache_filter = t["no-cache-filter"],
    cache_from = cache_entries(t["cache-from"]), cache_to = cache_entries(t["cache-to"]) }
end

-- Targets that are not asked for, but are the context of one that is (target:UID), as in bake.
local function linked_targets(plan, doc)
  local function visit(uid)
    for _, value in json.pairs(plan.targets[uid].contexts or {}) do
      local other = value:match("^target:(.+)$")
      if other and doc.target[other] and not plan.targets[other] then
        plan.targets[other] = backend_target(other, doc.target[other])
        visit(other)
      end
    end
  end
  for _, uid in ipairs(plan.order) do visit(uid) end
end

--- The plan document in the form backends take: targets in order with their uid.
---@param doc table
---@return table { order={uid…}, targets={uid → entry}, extras={uid → x-bakery entry} }
function M.backend_plan(doc)
  local plan = { order = {}, targets = {}, extras = {}, document = doc }
  local extra = doc["x-bakery"] and doc["x-bakery"].targets or {}
  for i, uid in ipairs(doc.group.default.targets) do
    plan.order[i] = uid
    plan.targets[uid] = backend_target(uid, doc.target[uid])
    plan.extras[uid] = extra[uid] or {}
  end
  linked_targets(plan, doc)
  return plan
end

--- Prints a value as JSON on standard output.
function M.print_json(value) io.stdout:write(json.encode(value, { indent = 2 }), "\n") end

return M
