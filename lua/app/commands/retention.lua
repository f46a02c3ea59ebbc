--- `bakery clean cache-registry|temp-registry` and `bakery prune`.
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local confirm = require "app.confirm"
local fail = require "app.fail"
local session = require "app.session"

local M = {}

local function say(values, text)
  if not values.quiet and values.progress ~= "json" then io.stderr:write(text, "\n") end
end

local function emitter(values)
  return function(e)
    if e.ref then say(values, "removed " .. e.ref) end
  end
end

-- Images of the selection, each once, in plan order.
local function images(values)
  local doc = session.plan(values)
  local out, seen = {}, {}
  for _, uid in ipairs(doc.group.default.targets) do
    local image = doc["x-bakery"].targets[uid].image
    if not seen[image] then out[#out + 1] = image end
    seen[image] = true
  end
  return out
end

local function clean(values, suffix)
  local clean_repository = require "app.retention.clean"
  values.allow_empty = true
  if values.matrix_versions == nil then values.matrix_versions = "exclude" end
  local prefix = values[1]
  local client <close> = fail.check(oci.client {}) -- luacheck: ignore
  local errors, out = 0, json.array {}
  local opts = { older_than = values.older_than, untagged = values.untagged, dry_run = values.dry_run }
  for _, image in ipairs(images(values)) do
    local name = fail.within("registry", oci.ref(("%s/%s/%s"):format(prefix, image, suffix))).name
    local ok, list = pcall(clean_repository.run, client, name, opts, os.time(), { token = clean_repository.token,
      emit = emitter(values), warn = function(text) io.stderr:write("warning: ", text, "\n") end })
    if not ok then
      if require("bakery.task").is_cancelled(list) then error(list, 0) end
      if type(list) == "table" and list.class == "usage" then error(list, 0) end
      errors = errors + 1
      io.stderr:write("bakery: ", tostring(type(list) == "table" and list.message or list), "\n")
    elseif values.dry_run then
      out[#out + 1] = json.object { { "versions", json.array(list) } }
    else
      say(values, ("%s: %d removed"):format(name, #list))
    end
  end
  if values.dry_run then
    for _, doc in ipairs(out) do session.print_json(doc) end
  end
  if errors == 0 then return 0 end
  io.stderr:write(("bakery: %d of the repositories could not be cleaned\n"):format(errors))
  return 1
end

function M.clean_cache(values) return clean(values, "cache") end
function M.clean_temp(values) return clean(values, "tmp") end

local function policy_of(values)
  local policies = require "app.retention.policy"
  local policy = { rules = {}, repositories = {} }
  if values.policy then policy = policies.parse(fail.check(fs.read(values.policy, 1 << 20)), values.policy) end
  local rule = { count = values.keep_last, days = values.keep_days, line = values.line, tags = values.tags }
  if next(rule) then
    if not rule.count and not rule.days then
      fail.raise { class = "usage", code = "usage", message = "--tags and --line need --keep-last or --keep-days" }
    end
    table.insert(policy.rules, policies.rule(rule, "command line", 1))
  end
  for _, pattern in ipairs(values.keep_tag or {}) do
    table.insert(policy.rules, policies.rule({ tags = pattern }, "--keep-tag", 1))
  end
  if #policy.rules == 0 then
    fail.raise { class = "usage", code = "usage", message = "bakery prune: no rule says what to keep",
      hint = "give --policy FILE, --keep-last or --keep-days" }
  end
  policy.grace = values.grace or policy.grace
  return policy, values.max_delete or policy.max_delete
end

local function plan_document(plans)
  local doc = json.object { { "apiVersion", "bakery/v1" }, { "kind", "PrunePlan" } }
  doc.repositories = json.array {}
  local function rows(list)
    local out = json.array {}
    for i, t in ipairs(list) do out[i] = json.object { { "tag", t.tag }, { "digest", t.digest }, { "reason", t.reason } } end
    return out
  end
  for i, p in ipairs(plans) do
    doc.repositories[i] = json.object { { "repository", p.repository }, { "tags", rows(p.tags) },
      { "manifests", json.array(p.manifests) }, { "kept", rows(p.kept) } }
  end
  return doc
end

-- Whether a member of a plan document is a repository's plan.
local function is_plan(r)
  if type(r) ~= "table" or type(r.repository) ~= "string" or type(r.tags) ~= "table" or type(r.manifests) ~= "table" then
    return false
  end
  for _, t in ipairs(r.tags) do
    if type(t) ~= "table" or type(t.tag) ~= "string" or not oci.is_digest(tostring(t.digest)) then return false end
  end
  for _, d in ipairs(r.manifests) do if not oci.is_digest(tostring(d)) then return false end end
  return true
end

local function read_plan(file)
  local doc = fail.check(json.decode(fail.check(fs.read(file, 256 << 20)), { name = file }))
  if type(doc) ~= "table" or doc.kind ~= "PrunePlan" or type(doc.repositories) ~= "table" then
    fail.raise { class = "usage", code = "prune.plan", message = file .. ": not a plan of bakery prune" }
  end
  local out = {}
  for _, r in ipairs(doc.repositories) do
    if not is_plan(r) then
      fail.raise { class = "usage", code = "prune.plan", message = file .. ": a repository's plan in it is malformed" }
    end
    out[r.repository] = r
  end
  return out, doc.repositories
end

-- Repositories of the command line, the policy, the plan file, or the project's own.
local function repositories(values, policy, saved)
  local list = {}
  for i, r in ipairs(values) do list[i] = r end
  if #list == 0 and saved then for i, r in ipairs(saved) do list[i] = r.repository end end
  if #list == 0 then list = policy.repositories end
  local seen = {}
  if #list > 0 then
    local out = {}
    for _, name in ipairs(list) do
      if not seen[name] then out[#out + 1] = name end
      seen[name] = true
    end
    return out
  end
  values.allow_empty, values.matrix_versions = true, "include"
  local doc = session.plan(values)
  for _, uid in ipairs(doc.group.default.targets) do
    for _, name in ipairs(doc["x-bakery"].targets[uid].repositories or {}) do
      if not seen[name] then list[#list + 1] = name end
      seen[name] = true
    end
  end
  return list
end

local function show(values, plans)
  if values.json then return session.print_json(plan_document(plans)) end
  for _, p in ipairs(plans) do
    io.stdout:write(("%s: %d tags go, %d stay, %d manifests go\n"):format(p.repository, #p.tags, #p.kept, #p.manifests))
    for _, t in ipairs(p.tags) do io.stdout:write(("  - %s  %s\n"):format(t.tag, t.reason)) end
    if values.verbose then
      for _, t in ipairs(p.kept) do io.stdout:write(("  + %s  %s\n"):format(t.tag, t.reason)) end
      for _, d in ipairs(p.manifests) do io.stdout:write("  - ", d, "\n") end
    end
  end
end

--- `bakery prune [REPOSITORY…]`: shows what would go; --apply does it.
function M.prune(values)
  local prune, registry = require "app.retention.prune", require "app.retention.registry"
  local policy, most = policy_of(values)
  local by_name, saved
  if values.apply_plan then by_name, saved = read_plan(values.apply_plan) end
  local client <close> = fail.check(oci.client {}) -- luacheck: ignore
  local plans, repos, count = {}, {}, 0
  for i, name in ipairs(repositories(values, policy, saved)) do
    repos[i] = registry.open(client, name)
    plans[i] = prune.plan(repos[i], policy, os.time())
    local old = by_name and by_name[repos[i].name]
    if by_name and not old then
      fail.raise { class = "usage", code = "prune.plan", message = values.apply_plan .. ": has no plan for " .. repos[i].name }
    end
    if old then
      prune.recheck(old, plans[i], repos[i].name)
      plans[i].tags, plans[i].manifests = old.tags, old.manifests
    end
    count = count + #plans[i].tags + #plans[i].manifests
  end
  if values.plan_out then
    fail.check(fs.write(values.plan_out, json.encode(plan_document(plans), { indent = 2 }) .. "\n"))
  end
  local writes = values.apply or values.apply_plan
  if not writes or not values.quiet then show(values, plans) end
  if most and count > most then
    fail.raise { class = "gate", code = "prune.max_delete", message = ("%d tags and manifests would go, more than --max-delete %d")
      :format(count, most), hint = "look at the plan; nothing was removed" }
  end
  if not writes then
    say(values, "nothing was removed (--apply does it)")
    return 0
  end
  if count == 0 or not confirm.agrees(values, ("remove %d tags and manifests"):format(count)) then return 0 end
  local removed = 0
  for i, plan in ipairs(plans) do removed = removed + prune.apply(repos[i], plan, emitter(values)) end
  say(values, removed .. " removed")
  return 0
end

return M
