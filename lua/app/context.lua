--- The context that recipe steps get. Public fields and methods are documented in stdlib/README.md;
--- everything is made when a step first asks for it.
local json = require "bakery.json"
local loop = require "bakery.loop"
local exit = require "app.cli.exit"
local fail = require "app.fail"
local report = require "app.report"
local results_doc = require "app.results"
local session = require "app.session"
local suggest = require "bakery.suggest"

local M = {}

---@class app.context
---@field args table parsed options of the recipe
---@field arg table the --arg K=V pairs
---@field results table[] one per target, in plan order
local Context = {}

local lazy = {}

function lazy.document(self)
  local doc, project = session.plan(self.args)
  rawset(self, "project", project)
  return doc
end

function lazy.project(self)
  if rawget(self, "document") == nil and not self.args.plan_file then
    local _ = self.document
    return rawget(self, "project")
  end
end

function lazy.dir(self)
  return self.args.plan_file and session.dir(self.args) or self.project.dir
end

-- Where each target stands in the plan.
function lazy.places(self)
  local places = {}
  for i, uid in ipairs(self.plan.order) do places[uid] = i end
  return places
end

function lazy.noted() return {} end

function lazy.plan(self) return session.backend_plan(self.document) end

function lazy.backend(self)
  local a = self.args
  return require("app.backend").get(a.backend or "embedded", self.dir).open {
    dir = self.dir, store = a.store, jobs = a.jobs, epoch = session.epoch(a, self.dir), no_cache = a.cache == false,
    pull = a.pull, network = a.network, security = a.security, isolation = a.isolation, compression = a.compression,
      format = a.format,
    level = a.compression_level, run_id = self.run_id, emit = function(e) self.reporter:event(e) end,
    clean = a.clean, args = a }
end

-- Fields that may be missing.
local OPTIONAL = { on_step = true, debug = true, results_warned = true, results_next = true, printed = true, project = true,
  rendered = true, metadata_written = true, metadata_next = true }

Context.__index = function(self, key)
  local method = Context[key]
  if method ~= nil then return method end
  local make = lazy[key]
  if make then
    local value = make(self)
    rawset(self, key, value)
    return value
  end
  if OPTIONAL[key] then return nil end
  local known = { "args", "arg", "results", "reporter", "say", "warn", "plan_text", "run_id" }
  for _, list in ipairs { Context, lazy } do for name in pairs(list) do known[#known + 1] = name end end
  local near = suggest.nearest(tostring(key), known)
  error(("the context has no field '%s'%s"):format(tostring(key), near and (" (did you mean '" .. near .. "'?)") or ""), 2)
end

--- Opens the context of one recipe run.
---@param values table parsed options
---@param definition table the recipe
function M.open(values, definition)
  local self = setmetatable({ args = values, arg = values.arg or {}, results = {}, recipe = definition.name,
    started = loop.now(), began = os.time(), run_id = os.date("!%Y%m%dT%H%M%SZ") .. "-" .. require("bakery.process").pid(),
    debug = values.debug, failures = {} }, Context)
  rawset(self, "reporter", report.open(values))
  rawset(self, "say", function(text) self.reporter:event { type = "message", text = text } end)
  rawset(self, "plan_text", function() return require("app.plan").encode(self.document) end)
  rawset(self, "warn", function(text) self.reporter:event { type = "warning", text = text } end)
  return self
end

--- Records a target's result, in the run's journal too, so that a stopped run leaves what it had.
function Context:record(result)
  local place, results = self.places, self.results
  local at = place[result.uid] or 0
  local low, high = 1, #results + 1 -- the first that does not stand before it
  while low < high do
    local middle = (low + high) // 2
    if (place[results[middle].uid] or 0) < at then low = middle + 1 else high = middle end
  end
  if results[low] and results[low].uid == result.uid then results[low] = result else table.insert(results, low, result) end
  local state = ("%s %s %d"):format(result.status, result.digest, #(result.pushed or {}))
  if self.noted[result] == state then return end
  self.noted[result] = state
  results_doc.note(self, result)
  if result.status == "ok" then self:refresh_metadata() end
end

--- Results that are good so far.
---@return table[]
function Context:good()
  local out = {}
  for _, r in ipairs(self.results) do if r.status == "ok" then out[#out + 1] = r end end
  return out
end

--- Results that are not.
---@return table[]
function Context:bad()
  local out = {}
  for _, r in ipairs(self.results) do if r.status ~= "ok" then out[#out + 1] = r end end
  return out
end

--- Writes data to standard output: it is then what the run prints there, with --json too.
---@param text string
function Context:print(text)
  self.printed = true
  io.stdout:write(text)
end

--- Notes a verdict that makes the run fail at its end without stopping it now.
---@param class string exit-code class
---@param message string
function Context:fail_later(class, message) table.insert(self.failures, { class = class, message = message }) end

--- Raises an error of a class ("build", "test", "gate", "usage", …).
function Context.fail(fields) fail.raise(fields) end

--- Puts results of the last build of the planned targets into the context; raises when one is missing.
function Context:load_results()
  local backend, missing = self.backend, {}
  if not backend.load then
    fail.raise { class = "usage", code = "backend.no_store", message = "backend " .. self.args.backend
      .. " keeps no images that could be looked at or pushed later", hint = "use --backend embedded, or build --push" }
  end
  for _, uid in ipairs(self.plan.order) do
    local r = backend:load(self.plan.targets[uid])
    if r then self.results[#self.results + 1] = r else missing[#missing + 1] = uid end
  end
  if #missing > 0 then
    fail.raise { class = "build", code = "not_built", message = "not built yet: " .. table.concat(missing, ", "),
      hint = "run `bakery build` with the same selection first" }
  end
end

--- Writes the files of the plan's development versions (`.dev-…` directories), which go away when the
--- run ends, unless it has --no-clean.
function Context:render_ephemeral()
  local ephemeral = require "app.ephemeral"
  if rawget(self, "rendered") or not ephemeral.needed(self.document) then return end
  local project = self.project or session.project(self.args)
  rawset(self, "rendered", ephemeral.render(self.document, project, self.args.clean ~= false))
end

--- Writes --metadata-file with what is good so far.
function Context:write_metadata()
  local file = self.args.metadata_file
  if not file then return end
  self.metadata_written = true
  for _, r in ipairs(self:good()) do if self.backend.finish then self.backend:finish(r) end end
  local text = json.encode(require("app.plan").metadata(self:good(), self.document), { indent = 2 }) .. "\n"
  fail.check(require("bakery.fs").write(file, text))
end

--- Writes --metadata-file while others are still building, so that a run which is killed leaves what it had;
--- rarely enough to cost little in large plans. What fails here is said when the run ends.
function Context:refresh_metadata()
  local now = loop.now()
  if not self.args.metadata_file or self.metadata_next and now < self.metadata_next then return end
  local ok, err = pcall(self.write_metadata, self)
  if not ok and require("bakery.task").is_cancelled(err) then error(err, 0) end
  local done = loop.now()
  self.metadata_written, self.metadata_next = nil, done + 20 * (done - now)
end

-- The targets of this run with their sizes (app.summary).
function Context:measured()
  local by_uid, backend = {}, self.backend
  for _, r in ipairs(self:good()) do by_uid[r.uid] = r end
  return require("app.summary.measure").run(self.document, {
    stage = self.recipe == "publish" and "publish" or "build", results = by_uid,
    images = function(r) return backend.measure and backend:measure(r) end,
    ref = function(r) return backend.pushes_itself and self.args.push and require("app.plan").metadata_ref(r) or nil end })
end

-- Whether --summary was asked for, not only left on.
local function asked_for_summary(a) return a.summary == true and a.given ~= nil and a.given.summary == true end

--- Lines on standard error behind everything that is shown live.
function Context:print_lines(lines)
  if self.args.quiet then return end
  self.reporter:finish()
  io.stderr:write(table.concat(lines, "\n"), "\n")
end

--- Prints the plan on standard output; with --summary its counts on standard error.
function Context:print_plan()
  local a = self.args
  local _ = self.document
  if a.strategy == "build" then
    fail.raise { class = "build", code = "plan.strategy", message = "--plan prints bake plans, and --strategy is build",
      hint = "leave --strategy out; `bakery plan` prints the same" }
  end
  if asked_for_summary(a) and a.summary_format == "json" then
    fail.raise { class = "build", code = "plan.summary",
      message = "--plan and --summary --summary-format json both want standard output", hint = "leave one of them out" }
  end
  self:print(self.plan_text())
  if asked_for_summary(a) then
    self:print_lines(require("app.summary.tables").counts(require("app.summary").planned(self.document)))
  end
end

--- Refuses to go on while an earlier publish of this project is neither finished nor taken back.
function Context:refuse_unfinished_publish() require("app.publish.flip").refuse_unfinished(self.dir) end

--- Uploads results by digest, to the temporary registry or to the repositories of their tags.
---@param results table[]
function Context:stage(results)
  local opts = { temp = self.args.temp_registry and function(r) return r.tags[1] end or nil }
  if not self.args.keep_going then return self.backend:push_content(results, opts) end
  self:attempt(results, 4, function(r) self.backend:push_content({ r }, opts) end)
end

--- Calls fn for each result, several at a time. With --keep-going one that fails counts as failed, and the
--- others go on.
---@param results table[]
---@param limit integer
---@param fn fun(result: table)
function Context:attempt(results, limit, fn)
  local task = require "bakery.task"
  task.map(results, limit, function(r)
    if not self.args.keep_going then return fn(r) end
    local ok, err = pcall(fn, r)
    if ok then return end
    if task.is_cancelled(err) then error(err, 0) end
    r.status, r.error = "failed", err
    self.reporter:event { type = "target_failed", target = r.uid, error = err }
  end)
end

--- Sets all tags of staged results in one short phase, in push order; a journal makes it whole again
--- after a crash.
---@param results table[]
function Context:set_tags(results)
  local place, sorted = {}, table.move(results, 1, #results, 1, {})
  for i, uid in ipairs(require("app.plan").push_order(self.document)) do place[uid] = i end
  table.sort(sorted, function(a, b) return (place[a.uid] or 0) < (place[b.uid] or 0) end)
  local steps = self.backend:tag_steps(sorted)
  if #steps == 0 then return end
  require("app.publish.flip").run { client = self.backend.client, steps = steps, project = self.dir, id = self.run_id,
    emit = function(e) self.reporter:event(e) end }
end

--- Finishes (--resume) or takes back (--rollback) a publish that stopped between two tags.
function Context:recover_publish()
  local journal = require("app.publish.flip").recover(self.args, self.dir, function(e) self.reporter:event(e) end)
  self.say(("%s %s (%d tags)"):format(journal.state == "done" and "finished" or "took back", journal.id, #journal.steps))
end

--- Keeps a verdict about a result's images, for `publish --require`.
---@param kind "test"|"lint"|"scan"
---@param result table
---@param verdict table { ok=boolean, total=integer, failed=integer }
function Context:verdict(kind, result, verdict)
  result.verdicts = result.verdicts or {}
  result.verdicts[kind] = verdict
  if self.backend.store then require("app.publish.gates").keep(self.backend.store, kind, result, verdict) end
end

--- Whether every result has a good verdict of each required kind; what is missing makes the run fail. With
--- --keep-going it is enough that one has: the others count as failed.
---@param results table[]
---@param required string[]
---@return boolean
function Context:gates(results, required)
  local good, bad = require("app.publish.gates").check(self, results, required, self.args.results_from)
  if good or not self.args.keep_going then return good end
  for _, r in ipairs(results) do
    if bad[r.uid] then r.status, r.error = "failed", bad[r.uid] end
  end
  return #self:good() > 0
end

--- Writes --metadata-file and prints the summary.
function Context:report()
  local a = self.args
  self:write_metadata()
  if a.summary == false then return end
  if a.summary_format == "json" then
    self:print(json.encode(require("app.summary").document(self:measured()), { indent = 2, lossy = true }) .. "\n")
  elseif not a.quiet and not a.json and a.progress ~= "json" then
    self:print_lines(asked_for_summary(a) and require("app.summary.tables").full(self:measured())
      or results_doc.summary(self))
  end
end

--- Says how a build ended: every failed target once more, for logs that are long.
function Context:conclude()
  local bad, total = self:bad(), #self.results
  if #bad == 0 then
    self.say "Build completed"
    return
  end
  for _, r in ipairs(bad) do
    local e = r.error
    local text = r.status == "skipped" and "skipped" or type(e) == "table" and e.message or tostring(e)
    local where = type(e) == "table" and e.where and e.where ~= "" and e.where .. ": " or ""
    self.reporter:event { type = "failure", class = "build", text = ("%s: %s%s"):format(r.uid, where, text) }
  end
  self.reporter:event { type = "failure", class = "build", text = ("build failed: %d of %d target%s"):format(#bad, total,
    total == 1 and "" or "s") }
end

--- Waits before another attempt: BAKERY_BUILD_RETRY_PAUSE seconds, or 5.
function Context:pause()
  local seconds = tonumber(os.getenv "BAKERY_BUILD_RETRY_PAUSE" or "") or 5
  if seconds > 0 then loop.sleep(seconds) end
end

--- Runs the checks of one result's image; nil when it has none.
---@return table[]|nil
function Context:check_image(result) return require("app.imagetest").run(self, result) end

--- Makes the SOCI indexes of good results whose targets want them (tool option soci, enabled).
function Context:soci() require("app.soci").run(self) end

--- Signs and attests what has been pushed, as --sign-key, --provenance and --attest-results say. Call it with
--- true before anything is pushed: keys and files are read then.
---@param prepare boolean|nil
function Context:sign(prepare) require("app.signing").run(self, prepare) end

--- Notes where results of the last build have been published, without sending anything.
function Context:published() require("app.signing").published(self) end

local function failure_class(self)
  local good, bad, kinds = #self:good(), 0, {}
  for _, r in ipairs(self.results) do
    if r.status ~= "ok" then
      bad = bad + 1
      if r.status == "failed" then kinds[type(r.error) == "table" and r.error.class or "build"] = true end
    end
  end
  for _, f in ipairs(self.failures) do kinds[f.class] = true end
  if bad > 0 and good > 0 and not self.args.fail_fast and (kinds.build or kinds.infra or self.args.keep_going) then
    kinds.partial = true
  end
  -- Failures of single targets count as build failures; only a run without any other kind keeps theirs.
  if kinds.partial then kinds.build = nil end
  for _, class in ipairs(exit.order) do
    if kinds[class] then return class end
  end
  return bad > 0 and "build" or "ok"
end

-- Gives the run to the store's history and closes the backend, when one was opened.
local function close_backend(self, class)
  local backend = rawget(self, "backend")
  if not backend then return end
  -- A build that found everything in the cache is no history, and must stay fast.
  local idle = class == "ok" and self.recipe == "build"
  for _, r in ipairs(self.results) do idle = idle and (r.executed or 0) == 0 end
  if backend.record and not idle then
    backend:record { name = self.recipe, status = class, started = self.began, seconds = loop.now() - self.started,
      run = self.run_id, targets = #self.results }
  end
  backend:close()
end

--- Ends the run: results document, backend, reporter; returns the exit code. Whatever cannot be
--- written, the backend is closed; with `err` that error is the caller's to raise.
---@param err any|nil what a step raised
---@return integer
function Context:close(err)
  local class = err and (type(err) == "table" and exit.code[err.class] and err.class or "build") or failure_class(self)
  local written, problem = true, nil
  -- What was built before the run broke off has its metadata all the same.
  if err and self.args.metadata_file and not self.metadata_written and #self:good() > 0 then pcall(self.write_metadata, self) end
  if #self.results > 0 then written, problem = pcall(results_doc.write, self, class) end
  close_backend(self, class)
  local rendered = rawget(self, "rendered")
  if rendered then rendered:remove() end
  for _, f in ipairs(self.failures) do self.reporter:event { type = "failure", class = f.class, text = f.message } end
  self.reporter:finish()
  if err then return exit.code[class] end
  if not written then error(problem, 0) end
  if self.args.json and not self.printed then
    io.stdout:write(json.encode(results_doc.document(self, class), { indent = 2, lossy = true }), "\n")
  end
  return exit.code[class]
end

return M
