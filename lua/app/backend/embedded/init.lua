--- The embedded backend: builds a plan without daemon or external program.
local digest = require "bakery.digest"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local process = require "bakery.process"
local snapshot = require "bakery.snapshot"
local task = require "bakery.task"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local export = require "app.backend.embedded.export"
local isolation = require "app.backend.embedded.isolation"
local limits = require "app.backend.embedded.limits"
local manifests = require "app.backend.embedded.manifests"
local output = require "app.backend.embedded.output"
local lazy = require "app.lazy"
local provenance = lazy "app.backend.embedded.provenance"
local remote = require "app.backend.embedded.remote"
local commands = require "app.backend.embedded.run"
local ssh = require "app.backend.embedded.ssh"
local stamp = require "app.stamp"
local stages = require "app.backend.embedded.stages"

local M = { name = "embedded", summary = "built in: no daemon, no external program" }

local Backend = {}
Backend.__index = Backend
Backend.__close = function(self) self:close() end

--- "linux/amd64" for this machine.
function M.host_platform()
  local machine = process.machine()
  local arch = ({ x86_64 = "amd64", aarch64 = "arm64", armv7l = "arm", i686 = "386" })[machine] or machine
  return "linux/" .. arch
end

--- Default store directory; see app.backend.embedded.isolation.
M.store_dir = isolation.store_dir

--- Opens the backend.
---@param opts table { isolation=, args=options of the recipe, dir=project directory, store=, jobs=, epoch=, no_cache=, pull=, network=, security=,
--- compression=, level=, emit=fn(event), registry=options of bakery.oci.client }
---@return table backend with build, push, export, close
function M.open(opts)
  for _, spec in ipairs(opts.args and opts.args.output or {}) do export.parse(spec) end
  if opts.args and opts.args.load then export.engine() end
  if opts.args and opts.args.shell_on_failure and not (process.isatty(0) and process.isatty(1)) then
    fail.raise { class = "usage", code = "usage", message = "--shell-on-failure: there is no terminal" }
  end
  -- Ids and mounts first: the store's files must be made under the final id map.
  local chosen, opened = isolation.enter { isolation = opts.isolation, store = opts.store }
  local self = setmetatable({
    name = M.name, dir = opts.dir, report = opts.emit or function() end, epoch = opts.epoch, no_cache = opts.no_cache,
    pull = opts.pull, format = opts.format or "oci", network = opts.network or "host", security = opts.security or "default",
    compression = opts.compression or "gzip", level = output.level(opts.compression or "gzip", opts.level),
    chosen = chosen, tier = chosen.tier, flat = not chosen.overlay, userxattr = chosen.userxattr,
    rootless = chosen.userxattr and chosen.mode ~= "chroot", store = opened, store_dir = opened.dir, trees = {},
    cache_ttl = opts.args and opts.args.cache_ttl, cpus = process.cpus(), host_platform = M.host_platform(), warned = {},
    materials = {}, once = task.once(), needed = {}, coming = {},
  }, Backend)
  self.shell_on_failure = opts.args and opts.args.shell_on_failure
  self.emit = function(e)
    if self.held then table.insert(self.held, e) else self.report(e) end
  end
  self.limits = limits.read()
  self.ahead = export.compresses(opts.args or {}) and {} or nil
  self.slots = task.semaphore(opts.jobs or self.cpus)
  self.client = fail.check(oci.client(opts.registry or {}))
  self.fresh = digest.sha256(tostring(loop.now()) .. process.pid())
  self.run_id = opts.run_id or (os.date("!%Y%m%dT%H%M%SZ") .. "-" .. process.pid())
  isolation.announce(self)
  return self
end

--- While held, events wait: a shell has the terminal.
---@param on boolean
function Backend:hold(on)
  if on then
    self.report { type = "hold" }
    self.held = {}
  else
    local events = self.held
    self.held = nil
    for _, e in ipairs(events) do self.report(e) end
  end
end

--- Stat cache file of a context directory.
function Backend:stat_cache(root)
  return fail.check(self.store:statcache_path(digest.sha256(root):sub(1, 32)))
end

--- Emits a warning, once: several platforms and targets read the same Containerfile.
---@param target string uid
---@param where string "file:line"
---@param text string
---@param rule string|nil
function Backend:warn(target, where, text, rule)
  local id = where .. "\0" .. text
  if self.warned[id] then return end
  self.warned[id] = true
  self.emit { type = "warning", target = target, where = where, text = text, rule = rule }
end

--- Log file of a step.
function Backend:log(where, step)
  return fail.check(self.store:log_path(("%s-%s-%s-%d"):format(self.run_id, where.target, (where.platform:gsub("/", "_")),
    step.line)))
end

local function label_table(built, target)
  local labels = {}
  local config = built.state.config
  for k, v in json.pairs(config.Labels or {}) do labels[k] = v end
  for k, v in json.pairs(target.labels or {}) do labels[k] = v end
  return labels
end

local CREATED_LABEL = "org.opencontainers.image.created"

-- Digest of all that a config says except when it was made.
local function shape_of(config)
  local created, stamps = config.created, {}
  local labels = config.config and config.config.Labels
  local label = labels and labels[CREATED_LABEL]
  config.created = nil
  if label then labels[CREATED_LABEL] = "" end
  for i, h in ipairs(config.history or {}) do
    stamps[i] = h.created
    h.created = nil
  end
  local shape = digest.sha256(json.encode(config))
  config.created = created
  if label then labels[CREATED_LABEL] = label end
  for i, h in ipairs(config.history or {}) do h.created = stamps[i] end
  return shape
end

-- The target's image of an earlier build when it differs in nothing but its times: an unchanged
-- target keeps its digest, and nothing has to be pushed. With an epoch the times are part of the order.
local function unchanged(self, target, platform, shape, epoch)
  if epoch then return end
  local record = self.store:get_ref(M.target_ref(self.dir, target.uid, platform))
  if record and record.shape == shape and self.store:has_blob(record.config) then return record end
end

local function make_image(self, target, platform, built, began)
  local os_name, arch, variant = platform:match("^([^/]+)/([^/]+)/?(.*)$")
  local config = fail.check(built.state:final_config { created = stamp.text(built.epoch or os.time()), labels = target.labels,
    epoch = built.epoch, architecture = arch, os = os_name, variant = variant ~= "" and variant or nil })
  for _, entry in ipairs(target.cache_to or {}) do
    if entry.type == "inline" then config[remote.INLINE] = remote.inline_document(self, built.entries, built.chain) end
  end
  local shape = shape_of(config)
  local size = 0
  for _, layer in ipairs(built.chain) do
    local meta = self.store:layer_meta(layer.diff_id)
    size = size + (meta and meta.size or layer.blob and layer.blob.size or 0)
  end
  local image = { chain = built.chain, base = built.base, size = size, shape = shape, format = self.format,
    annotations = target.annotations }
  local kept = unchanged(self, target, platform, shape, built.epoch)
  if kept then
    image.config_digest, image.config_size, image.labels = kept.config, kept.config_size, kept.labels
  else
    local raw = json.encode(config)
    image.config_digest = fail.check(self.store:put_blob(raw))
    image.config_size, image.labels = #raw, label_table(built, target)
  end
  -- An image that is there and was only found again keeps the story of how it was made.
  image.provenance = kept and built.counts.executed == 0 and kept.provenance
    or provenance.predicate(self, target, platform, built, began)
  return image
end

-- Remembers an image in the store under each of its tags and its target's uid.
local function keep_image(self, target, platform, image)
  local record = { built = true, config = image.config_digest, config_size = image.config_size, platform = platform,
    uid = target.uid, layers = json.array {}, labels = image.labels, size = image.size, shape = image.shape,
    provenance = image.provenance,
    format = image.format, annotations = image.annotations,
    base = image.base and { name = image.base.name, digest = image.base.digest } }
  for i, layer in ipairs(image.chain) do
    record.layers[i] = { diff_id = layer.diff_id, blob = layer.blob, source = layer.source }
  end
  record.name = target.uid
  fail.check(self.store:put_ref(M.target_ref(self.dir, target.uid, platform), record))
  for _, tag in ipairs(target.tags or {}) do
    local ref = oci.ref(tag)
    if ref then
      record.name = tostring(ref)
      fail.check(self.store:put_ref(images.ref_key(record.name, platform), record))
    end
  end
end

M.target_ref = images.target_ref

--- Builds one target for all its platforms; raises on failure.
function Backend:build_target(target)
  manifests.check_annotations(target.annotations, self.format, #target.platforms)
  local started = loop.now()
  self.emit { type = "target_started", target = target.uid, platforms = target.platforms }
  local result = { uid = target.uid, tags = target.tags or {}, platforms = {}, cached = 0, executed = 0, size = 0 }
  local jobs = {}
  for i, platform in ipairs(target.platforms) do
    jobs[i] = function()
      local began = os.time()
      local built = stages.build(self, target, platform)
      local image = make_image(self, target, platform, built, began)
      keep_image(self, target, platform, image)
      result.platforms[i] = { platform = platform, image = image, entries = built.entries }
      result.cached = result.cached + built.counts.cached
      result.executed = result.executed + built.counts.executed
      self.made = self.made or built.counts.executed > 0
      result.size = result.size + image.size
      return true
    end
  end
  task.all(jobs)
  result.image_id = result.platforms[1].image.config_digest
  result.seconds = loop.now() - started
  return result
end

-- Targets that are contexts of others (target:UID) without being asked for themselves.
local function linked_targets(plan, order)
  local seen, out = {}, {}
  for _, uid in ipairs(order) do seen[uid] = true end
  local function visit(uid)
    for _, value in json.pairs(plan.targets[uid].contexts or {}) do
      local other = value:match("^target:(.+)$")
      if other and plan.targets[other] and not seen[other] then
        seen[other], out[#out + 1] = true, other
        visit(other)
      end
    end
  end
  for _, uid in ipairs(order) do visit(uid) end
  return out
end

--- Builds all targets of a plan; failures are collected, other targets go on unless fail_fast.
---@param plan table the plan document
---@param opts table { only={uid…}|nil, fail_fast=, on_result=fn(result) }
---@return table[] results in plan order: { uid=, status="ok"|"failed"|"skipped", error=, … }
function Backend:build(plan, opts)
  opts = opts or {}
  self.once, self.needed, self.coming = task.once(), {}, {} -- an earlier attempt's failures must not be handed out again
  local results, tasks, failed = {}, {}, false
  local order = opts.only or plan.order
  local linked = linked_targets(plan, order)
  self.siblings, self.done, self.waits, self.uids, self.materials = {}, {}, {}, plan.order, {}
  for _, uid in ipairs(linked) do self.done[uid] = task.future() end
  for _, uid in ipairs(order) do
    self.done[uid] = task.future()
    for _, tag in ipairs(plan.targets[uid].tags or {}) do
      local ref = oci.ref(tag)
      if ref then self.siblings[tostring(ref)] = uid end
    end
  end
  for i, uid in ipairs(order) do
    tasks[i] = task.spawn(function()
      if failed and opts.fail_fast then
        results[i] = { uid = uid, status = "skipped", tags = plan.targets[uid].tags or {} }
        return
      end
      local ok, result = pcall(self.build_target, self, plan.targets[uid])
      if ok then
        result.status = "ok"
        self.done[uid]:set(result)
      else
        self.done[uid]:fail(result)
        if not task.is_cancelled(result) or not failed then
          self.emit { type = "target_failed", target = uid, error = result }
        end
        result = { uid = uid, status = (failed and task.is_cancelled(result)) and "skipped" or "failed",
          error = result, tags = plan.targets[uid].tags or {} }
        if opts.fail_fast and not failed then
          failed = true
          for k, t in ipairs(tasks) do if k ~= i then t:cancel() end end
        end
      end
      results[i] = result
      if ok then self.emit { type = "target_done", target = uid, result = result } end
      if opts.on_result then opts.on_result(result) end
    end)
  end
  for _, uid in ipairs(linked) do -- needed, but not asked for: what goes wrong is said by who needs them
    tasks[#tasks + 1] = task.spawn(function()
      local ok, result = pcall(self.build_target, self, plan.targets[uid])
      if ok then self.done[uid]:set(result) else
        self.done[uid]:fail(result)
        if not task.is_cancelled(result) then self.emit { type = "target_failed", target = uid, error = result } end
      end
    end)
  end
  local interrupted
  local ok, err = pcall(function()
    for i, t in ipairs(tasks) do
      local done, e = t:try_wait()
      if not done and not task.is_cancelled(e) then interrupted = e end
      if not done and order[i] then results[i] = results[i] or { uid = order[i], status = "skipped", tags = {} } end
    end
  end)
  if not ok or interrupted then -- stopped from outside: nothing may go on behind the caller's back
    for _, t in ipairs(tasks) do t:cancel() end
    for _, t in ipairs(tasks) do t:try_wait() end
    output.settle_ahead(self, true)
    error(ok and interrupted or err, 0)
  end
  local settled, problem = pcall(output.settle_ahead, self)
  if not settled then
    output.settle_ahead(self, true)
    error(problem, 0)
  end
  return results
end

--- Writes the remote caches that the plan asks for; what goes wrong is a warning.
---@param plan table
---@param results table[] of targets that were built
function Backend:export_cache(plan, results)
  task.map(results, 4, function(result) remote.export(self, result, plan.targets[result.uid].cache_to or {}) end)
end

--- Makes manifests (and the index of a multi-platform target): compresses what is not compressed yet.
function Backend:finish(result)
  if result.top then return result end
  for _, p in ipairs(result.platforms) do p.manifest = output.manifest(self, p.image, p.platform) end
  local first = result.platforms[1].manifest
  result.top = #result.platforms == 1 and first or output.index(self, result.platforms)
  result.digest = result.top.digest
  return result
end

--- Loads a target's result of an earlier build from the store, or nil.
function Backend:load(target)
  local result = { uid = target.uid, tags = target.tags or {}, platforms = {}, status = "ok", size = 0,
    cached = 0, executed = 0, seconds = 0 }
  for i, platform in ipairs(target.platforms) do
    local record = self.store:get_ref(M.target_ref(self.dir, target.uid, platform))
    if not record or not self.store:has_blob(record.config) then return end
    local chain = require("app.backend.embedded.chain").empty
    for _, layer in ipairs(record.layers) do
      if not layer.blob and not self.store:layer_dir(layer.diff_id) then return end
      chain = chain:with { diff_id = layer.diff_id, blob = layer.blob, source = layer.source }
    end
    result.platforms[i] = { platform = platform, image = { config_digest = record.config,
      config_size = record.config_size, chain = chain, labels = record.labels, base = record.base, size = record.size,
      provenance = record.provenance, format = record.format, annotations = record.annotations } }
    result.size = result.size + (record.size or 0)
  end
  result.image_id = result.platforms[1].image.config_digest
  return result
end

--- What is known of a result's images: {platform=, layers=, local_size=, registry_size=}…; the last when it was
--- pushed.
---@param result table
---@return table[]
function Backend:measure(result)
  local out = {}
  for i, p in ipairs(result.platforms) do
    local sent
    for _, layer in ipairs(result.pushed and p.manifest and p.manifest.layers or {}) do sent = (sent or 0) + layer.size end
    out[i] = { platform = p.platform, layers = #p.image.chain, local_size = p.image.size,
      registry_size = result.pushed and (sent or 0) or nil }
  end
  return out
end

--- Uploads results by digest; no tag is touched.
---@param results table[]
---@param opts table|nil { temp=fn(result) -> the one repository to push to instead of the tags' }
function Backend:push_content(results, opts)
  task.map(results, 4, function(result)
    self:finish(result)
    local repos = opts and opts.temp and { opts.temp(result) } or output.repositories(result)
    for _, repo in ipairs(repos) do
      self.emit { type = "push_started", target = result.uid, repository = repo, digest = result.digest }
      output.push_content(self, result, repo)
    end
    result.pushed = repos
  end)
end

--- The tags of results that push_content has uploaded, as steps of app.publish.flip.
---@param results table[]
---@return app.publish.step[]
function Backend:tag_steps(results)
  local steps = {}
  for _, result in ipairs(results) do
    local repos, tags = output.repositories(result)
    for _, repo in ipairs(repos) do
      for _, tag in ipairs(tags[repo]) do
        steps[#steps + 1] = { repository = repo, tag = tag, digest = result.top.digest, raw = result.top.raw,
          media_type = result.top.media_type, target = result.uid }
      end
    end
  end
  return steps
end

--- Repositories of a result's tags.
---@param result table
---@return string[]
function Backend:repositories(result) return (output.repositories(result)) end

--- Makes SOCI indexes of a result, before it is pushed.
---@param result table
---@param opts table options of bakery.soci.convert
---@return table|nil nil when no layer is large enough
function Backend:soci(result, opts)
  return require("app.backend.embedded.soci").convert(self, self:finish(result), opts)
end

--- Writes results elsewhere, see export.parse.
---@param results table[]
---@param spec string
function Backend:export(results, spec) export.write(self, results, spec) end

--- Loads results into docker or podman.
---@param results table[]
---@return string engine
function Backend:load_into_engine(results) return export.load(self, results) end

--- Opens a result's image (of its first platform) for looking at and trying out: every exec runs in
--- a fresh throw-away copy, as the image's user, with its environment and working directory.
---@param result table
---@return table { lookup=fn(path), read=fn(path), exec=fn(argv, seconds, variables) -> { code=, output=, errors= } }
function Backend:open_image(result)
  local image = self:image_of(result)
  return {
    config = image.config,
    lookup = function(path) return snapshot.lookup { lowers = image.lowers, path = path, follow = false } end,
    read = function(path) return snapshot.read { lowers = image.lowers, path = path, max = 64 << 20 } end,
    exec = function(argv, seconds, variables) return commands.in_image(self, image, argv, seconds, variables) end,
  }
end

--- What it takes to run something in a result's image (of its first platform).
---@param result table
---@param user string|nil instead of the image's
---@return table { config=, chain=, lowers=, env=, cwd=, user= }
function Backend:image_of(result, user)
  local p = result.platforms[1]
  local doc = fail.check(json.decode(fail.check(self.store:get_blob(p.image.config_digest))))
  local config = doc.config or {}
  local image = { config = doc, chain = p.image.chain, lowers = images.lowers(self, p.image.chain), env = {}, cwd = config.WorkingDir }
  if not image.cwd or image.cwd == "" then image.cwd = "/" end
  image.user = fail.check(snapshot.user { lowers = image.lowers, spec = user or config.User or "" })
  for _, kv in ipairs(config.Env or {}) do image.env[#image.env + 1] = kv end
  image.env[#image.env + 1] = "HOME=" .. (image.user.home or "/")
  return image
end

--- Adds a run to the store's history; a history that cannot be written is no reason to fail.
---@param run table
function Backend:record(run)
  local ok, err = self.store:record_run(run)
  if not ok then self.emit { type = "warning", text = "the run is not in the history: " .. tostring(err) } end
end

function Backend:close()
  ssh.close(self)
  if self.store then
    if self.limits and self.made then limits.apply(self.store, self.limits, self.emit) end
    self.store:close()
    self.store = nil
  end
end

return M
