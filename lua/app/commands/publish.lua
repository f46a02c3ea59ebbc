--- `bakery ci publish`, `ci merge` and `imagetools merge`: what several runners built becomes one index per
--- target, in every repository, under every tag.
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local task = require "bakery.task"
local fail = require "app.fail"
local flip = require "app.publish.flip"
local gates = require "app.publish.gates"
local index = require "app.publish.index"
local report = require "app.report"
local session = require "app.session"
local signing = require "app.signing"
local soci = require "app.soci"
local sources = require "app.publish.sources"

local M = {}

local WAIT = 600 -- seconds for what was pushed elsewhere

-- The plan that knows the targets of the files. Development versions are looked up only when a file
-- has a target that is none of the others.
local function plan_of(values, entries)
  if values.plan_file then
    local doc = session.plan(values)
    return doc, session.backend_plan(doc)
  end
  values.matrix_versions, values.allow_empty = "include", true
  for _, mode in ipairs { "exclude", "include" } do
    values.dev_versions = mode
    local doc, project = session.plan(values)
    local plan, all = session.backend_plan(doc), true
    for uid in pairs(entries) do all = all and plan.targets[uid] ~= nil end
    if all or mode == "include" then return doc, plan, project end
  end
end

local function temp_of(values)
  if values.temp_registry then return values.temp_registry end
  return fail.raise { class = "usage", code = "usage", message = "--temp-registry is missing",
    hint = "give the one that `build --temp-registry` pushed to" }
end

-- One target's release: { uid=, target=, sources=, index=, source=reference to copy, error=, phase= }.
local function releases(values, doc, plan, by_uid)
  local out = {}
  for _, uid in ipairs(require("app.plan").push_order(doc)) do
    if by_uid[uid] and #by_uid[uid] > 0 then
      out[#out + 1] = { uid = uid, target = plan.targets[uid], extra = plan.extras[uid], sources = by_uid[uid] }
    elseif values.every then
      out[#out + 1] = { uid = uid, target = plan.targets[uid], extra = plan.extras[uid], sources = {}, skipped = true }
    end
  end
  return out
end

local function stage_soci(client, r, repository, tag, emit)
  local opts = soci.options(r.extra)
  if not opts then return end
  local place, convert = require "bakery.image.place", require "bakery.soci.convert"
  opts.source = place.open(("%s@%s"):format(repository, r.index.digest), { client = client })
  opts.target = place.open(("%s:%s-soci"):format(repository, tag:sub(1, 123)), { client = client })
  local result = convert.image(opts)
  for _, line in ipairs(soci.describe(result)) do emit { type = "message", text = "[" .. r.uid .. "] " .. line } end
  r.digest = result.digest
end

-- Makes the index of a target and puts it beside its sources; returns the repository.
local function stage_index(client, r, ctx)
  r.index = index.patiently(ctx.wait, function()
    return index.make(client, r.target, r.sources, { allow_missing = ctx.values.allow_missing_platform })
  end)
  for _, p in ipairs(r.index.missing) do ctx.emit { type = "warning", text = r.uid .. ": nothing was built for " .. p } end
  if ctx.values.require then
    r.phase = "gates"
    local problems = gates.problems(nil, ctx.verdicts, ctx.values.require, { uid = r.uid,
      platforms = index.images(client, r.temp, r.index.entries) })
    if #problems > 0 then
      local texts = {}
      for i, problem in ipairs(problems) do texts[i] = problem.message end
      fail.raise { class = problems[1].class, code = "publish.gate", message = table.concat(texts, "; ") }
    end
    r.phase = "create"
  end
  local name = ("%s:%s"):format(r.temp, index.temp_tag(r.uid, r.sources))
  fail.within("push " .. name, client:push_manifest(r.temp, index.temp_tag(r.uid, r.sources), r.index.raw, r.index.media_type))
  r.digest = r.index.digest
  ctx.emit { type = "message", text = ("[%s] index %s of %s"):format(r.uid, r.index.digest:sub(1, 19),
    table.concat(r.index.platforms, ", ")) }
end

-- Copies what was staged, with all that refers to it, to every repository of the target.
local function stage_copies(client, r, ctx)
  local image, seen = require "bakery.image", {}
  r.steps = {}
  local m = fail.check(client:manifest(r.temp .. "@" .. r.digest))
  r.raw = m.raw
  for _, name in ipairs(r.extra.tags or r.target.tags) do
    local ref = fail.check(oci.ref(name))
    r.steps[#r.steps + 1] = { repository = ref.name, tag = ref.tag or "latest", digest = r.digest, target = r.uid,
      media_type = m.media_type, raw = m.raw }
  end
  for _, step in ipairs(r.steps) do
    if not seen[step.repository] then
      seen[step.repository] = true
      r.at = step.repository
      ctx.emit { type = "push_started", target = r.uid, repository = step.repository, digest = r.digest }
      fail.within("copy to " .. step.repository, image.copy(r.temp .. "@" .. r.digest, step.repository .. "@" .. r.digest,
        { client = client, referrers = true }))
    end
  end
end

-- Everything of one target but its tags.
local function stage(client, r, ctx)
  r.phase, r.at = "wait", r.sources[1].repository
  r.temp = index.temp_repository(ctx.temp, r.extra.image)
  index.check_place(ctx.temp, r.extra.image, r.sources)
  if ctx.wait then index.wait(client, r.sources, ctx.wait) end
  r.phase = "create"
  stage_index(client, r, ctx)
  if ctx.soci then
    r.phase = "soci"
    stage_soci(client, r, r.temp, index.temp_tag(r.uid, r.sources), ctx.emit)
  end
  r.phase = "copy"
  stage_copies(client, r, ctx)
  r.phase = nil
end

-- Signs what was staged and attaches what is known of its images, in each of its repositories, before any tag shows it.
local function sign(client, r, ctx)
  local image, seen = require "bakery.sign.image", {}
  r.phase = "sign"
  local images = next(ctx.known) and index.images(client, r.temp, json.decode(r.raw).manifests) or {}
  for _, step in ipairs(r.steps) do
    if not seen[step.repository] then
      seen[step.repository] = true
      r.at = step.repository
      for _, p in ipairs(images) do
        local known = ctx.known[p.image.config_digest]
        if known then signing.attest(client, ctx.key, step.repository .. "@" .. p.digest, known) end
      end
      if ctx.key then
        image.sign { client = client, ref = step.repository .. "@" .. r.digest, key = ctx.key }
        ctx.say(("signed %s %s@%s"):format(r.uid, step.repository, r.digest))
      end
    end
  end
  r.phase = nil
end

-- What a failure is about: trouble of a registry is the same trouble for every target that needs it.
local function cause(r)
  local e = r.error
  if type(e) ~= "table" then return tostring(e) end
  local of_registry = e.code == "publish.registry" or e.class == "infra" and (e.code == "oci.unauthorized"
    or tostring(e.code):find "^http%.")
  return of_registry and e.code .. " " .. r.at:match "^[^/]+" or tostring(e.message)
end

-- Says what failed: each cause once, with all the targets that it keeps from being published.
local function say_failures(failed, emit)
  local first = {}
  for _, r in ipairs(failed) do
    local key = cause(r)
    first[key] = first[key] or { r = r, uids = {} }
    table.insert(first[key].uids, r.uid)
  end
  for _, r in ipairs(failed) do
    local same = first[cause(r)]
    if same.r == r and type(r.error) == "table" and #same.uids > 1 then r.error.needed_by = same.uids end
    emit { type = "target_failed", target = r.uid, error = r.error, same_as = same.r ~= r and same.r.uid or nil }
  end
end

-- Calls fn for each target that is still good.
local function attempt(client, list, ctx, jobs, fn)
  local failed = {}
  task.map(list, jobs, function(r)
    if r.skipped or r.error then return end
    local ok, err = pcall(fn, client, r, ctx)
    if ok then return end
    if task.is_cancelled(err) then error(err, 0) end
    r.error = err
  end)
  for _, r in ipairs(list) do if r.error and not r.said then failed[#failed + 1], r.said = r, true end end
  say_failures(failed, ctx.emit)
end

local function dry_run(list, ctx)
  for _, r in ipairs(list) do
    if not r.skipped then
      local temp, tag = index.temp_repository(ctx.temp, r.extra.image), index.temp_tag(r.uid, r.sources)
      local ok, err = pcall(index.check_place, ctx.temp, r.extra.image, r.sources)
      if not ok then ctx.emit { type = "warning", text = ("%s: %s"):format(r.uid, tostring(err.message or err)) } end
      local refs = {}
      for i, s in ipairs(r.sources) do refs[i] = s.ref end
      ctx.say(("would create %s:%s from %s"):format(temp, tag, table.concat(refs, ", ")))
      for _, name in ipairs(r.extra.tags or r.target.tags) do ctx.say("would tag " .. name) end
    end
  end
end

local function outcome(list, values)
  local doc, failed, good = json.array {}, nil, 0
  for _, r in ipairs(list) do
    if not r.skipped then
      local o = json.object { { "uid", r.uid }, { "status", r.error and "failed" or values.dry_run and "planned" or "published" } }
      o.digest, o.phase = r.digest, r.error and r.phase or nil
      if r.error then o.error = tostring(type(r.error) == "table" and r.error.message or r.error) end
      o.tags = json.array {}
      for i, s in ipairs(r.error and {} or r.steps or {}) do o.tags[i] = s.repository .. ":" .. s.tag end
      doc[#doc + 1] = o
      if r.error then failed = failed or r.error else good = good + 1 end
    end
  end
  return doc, failed, good
end

local function failure_class(failed, good, values)
  if not failed then return "ok" end
  if good > 0 and values.keep_going then return "partial" end
  return type(failed) == "table" and failed.class or "build"
end

-- Numbers of what was published, on standard output or standard error.
local function summarize(doc, list, values)
  if not values.summary then return end
  local results = {}
  for _, r in ipairs(list) do if r.steps and not r.error then results[r.uid] = r end end
  local targets = require("app.summary.measure").run(doc, { stage = "publish", results = results,
    images = function() return nil end, ref = function(r) return r.steps[1].repository .. "@" .. r.digest end })
  local kept = {}
  for _, t in ipairs(targets) do if results[t.uid] then kept[#kept + 1] = t end end
  if values.summary_format == "json" then
    io.stdout:write(json.encode(require("app.summary").document(kept), { indent = 2, lossy = true }), "\n")
  elseif not values.quiet then
    io.stderr:write(table.concat(require("app.summary.tables").full(kept), "\n"), "\n")
  end
end

-- Sets the tags of what was staged.
local function set_tags(client, list, ctx)
  local steps = {}
  for _, r in ipairs(list) do
    if not r.error and not r.skipped then table.move(r.steps, 1, #r.steps, #steps + 1, steps) end
  end
  if #steps == 0 then return end
  flip.run { client = client, steps = steps, project = ctx.project, id = ctx.id, emit = ctx.emit }
end

-- Whether tags may be set: nothing has failed, or what is good is to go on alone.
local function may_go_on(list, values)
  local _, failed = outcome(list, values)
  return not failed or values.keep_going
end

local function release(client, list, ctx)
  flip.refuse_unfinished(ctx.project)
  attempt(client, list, ctx, ctx.jobs, stage)
  if (ctx.key or next(ctx.known)) and may_go_on(list, ctx.values) then attempt(client, list, ctx, 1, sign) end
  if may_go_on(list, ctx.values) then return set_tags(client, list, ctx) end
  ctx.emit { type = "warning", text = "no tag was set because a target failed (--keep-going publishes the others)" }
  for _, r in ipairs(list) do r.steps = nil end
end

-- What the files have of the project's targets.
local function found_in(files, doc, plan, entries, opts, reporter)
  local by_uid, empty = sources.of_plan(entries, plan)
  local list, found = releases({ every = opts.every }, doc, plan, by_uid), 0
  for _, r in ipairs(list) do if not r.skipped then found = found + 1 end end
  reporter:event { type = "message", text = ("Found %d target%s in %d file%s"):format(found, found == 1 and "" or "s", #files,
    #files == 1 and "" or "s") }
  for _, uid in ipairs(empty) do
    reporter:event { type = "warning", text = uid .. ": left out, its metadata names nothing that was pushed" }
  end
  return list, found
end

local function run(values, opts)
  gates.known(values.require)
  local files = sources.expand(values)
  local entries = sources.load(files)
  local doc, plan, project = plan_of(values, entries)
  local reporter = report.open(values)
  local emit = function(e) reporter:event(e) end
  local list, found = found_in(files, doc, plan, entries, opts, reporter)
  local ctx = { values = values, emit = emit, say = function(text) emit { type = "message", text = text } end, soci = opts.soci,
    jobs = opts.jobs or 1, id = os.date "!%Y%m%dT%H%M%SZ" .. "-" .. require("bakery.process").pid(),
    project = project and project.dir or session.dir(values),
    known = signing.read(values.attest_results), verdicts = values.require and gates.read(values.results_from) }
  local started = loop.now()
  if values.sign_key and not values.dry_run then ctx.key = require("bakery.sign.keys").private(values.sign_key) end
  if found > 0 then
    ctx.temp = temp_of(values)
    if values.dry_run then
      dry_run(list, ctx)
    else
      ctx.wait = opts.wait and index.patience(values.wait or WAIT)
      local client <close> = fail.check(oci.client {}) -- luacheck: ignore
      release(client, list, ctx)
    end
  end
  reporter:finish()
  summarize(doc, list, values)
  local out, failed, good = outcome(list, values)
  local class = failure_class(failed, good, values)
  if values.json and not (values.summary and values.summary_format == "json") then
    session.print_json(json.object { { "apiVersion", "bakery/v1" }, { "kind", "Published" }, { "run", ctx.id },
      { "seconds", tonumber(("%.3f"):format(loop.now() - started)) }, { "targets", out } })
  end
  return require("app.cli.exit").code[class]
end

--- `ci publish META…` and `ci merge META…`.
function M.publish(values) return run(values, { wait = true, soci = true, jobs = values.jobs or 4 }) end

--- `imagetools merge META…`: no waiting, no SOCI, one target after the other.
function M.merge(values) return run(values, { jobs = 1, every = true }) end

return M
