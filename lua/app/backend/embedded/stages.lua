--- One target for one platform: its stages, side by side where they do not need each other.
local containerfile = require "bakery.containerfile"
local fs = require "bakery.fs"
local task = require "bakery.task"
local chains = require "app.backend.embedded.chain"
local contexts = require "app.backend.embedded.contexts"
local epoch = require "app.backend.embedded.epoch"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local ssh = require "app.backend.embedded.ssh"
local output = require "app.backend.embedded.output"
local steps = require "app.backend.embedded.steps"
local trace = require "app.backend.embedded.trace"

local M = {}

--- Reads and parses a Containerfile once per build.
---@return table { ast=, problem=instead of it, path=, file=, text= }
function M.parse(build, file)
  return build.once:run("parse:" .. file, function()
    local path = fs.join(build.dir, file)
    if fs.exists(path) and not fs.is_file(path) then
      fail.raise { class = "usage", code = "containerfile.missing", where = file, message = "is no regular file" }
    end
    local text, err = fs.read(path, 16 << 20)
    if not text then
      fail.raise { class = "usage", code = "containerfile.missing", where = file,
        message = err.code == "ENOENT" and "no such Containerfile" or err.message,
        hint = "render it from its template, or correct `subpath` in bakery.yaml" }
    end
    local ast, problem = containerfile.parse(text, { name = file })
    return { ast = ast, problem = problem, path = path, file = file, text = text }
  end)
end

-- A stage whose base is a directory: its files are the first layer.
local function from_files(build, where, stage, opts, files)
  local state = fail.check(containerfile.state(stage, opts))
  local step = { line = stage.from.line, sources = { "/" }, dest = "/", stage = stage.name or tostring(stage.index) }
  local record = steps.copy_source(build, where, step, files)
  where.entries[#where.entries + 1] = record
  state:record("FROM context " .. stage.base.context .. " # buildkit", true)
  state:add_layer(record.diff_id, record.created)
  return state, chains.empty:with { diff_id = record.diff_id, blob = record.blob, source = record.source }
end

-- The state a stage starts from: another stage, an image of the store or a registry, or nothing.
local function open_stage(build, where, plan, stage, stage_result)
  local opts = { globals = plan, name = where.file }
  if stage.base.stage then
    local from = stage_result(stage.base.stage)
    opts.parent = from.state
    return fail.check(containerfile.state(stage, opts)), from.chain
  elseif stage.base.scratch then
    return fail.check(containerfile.state(stage, opts)), chains.empty
  end
  local image, files = steps.located(where, stage.from, function()
    if stage.base.image then return images.resolve(build, stage.base.image, stage.platform, where.target) end
    local found = contexts.resolve(build, where, stage.base.context, stage.platform)
    return found.image or nil, found
  end)
  if files and files.scratch then return fail.check(containerfile.state(stage, opts)), chains.empty end
  if not image then return from_files(build, where, stage, opts, files) end
  -- ONBUILD triggers of the base may need further stages: they are inserted before anything runs.
  local more = fail.check_bool(plan:insert_triggers(stage.index, image.config.config and image.config.config.OnBuild))
  if more then where.prefetch() end
  where.base = stage.index == plan.target and image or where.base
  opts.config = image.config
  return fail.check(containerfile.state(stage, opts)), image.chain
end

local function run_instruction(build, where, stage, state, chain, instruction, counts)
  local step = fail.check(state:apply(instruction))
  step.text = step.text or instruction.original
  step.stage = stage.name or tostring(stage.index)
  if not steps[step.op] then return chain end
  counts.index = counts.index + 1
  build.emit { type = "step_started", target = where.target, step = step, index = counts.index, total = counts.total }
  local record, cached = steps[step.op](build, where, step, chain)
  where.entries[#where.entries + 1] = record
  trace.done(where, step, cached, record)
  build.emit { type = cached and "step_cached" or "step_done", target = where.target, step = step, source = record.source,
    index = counts.index, total = counts.total, seconds = cached and 0 or record.seconds }
  counts[cached and "cached" or "executed"] = counts[cached and "cached" or "executed"] + 1
  state:add_layer(record.diff_id, record.created)
  local layer = { diff_id = record.diff_id, blob = record.blob, source = record.source }
  if where.exported[stage.index] then output.pack_ahead(build, layer) end
  return chain:with(layer)
end

-- Stages whose layers are the image's: the target and what it is FROM.
local function exported_stages(plan)
  local out, i = {}, plan.target
  while i do
    out[i] = true
    i = plan.stages[i].base.stage
  end
  return out
end

-- What RUN sees as its host's name.
local function hostname(args)
  local name = args and args.BUILDKIT_SANDBOX_HOSTNAME
  return name and name ~= "" and name or "buildkitsandbox"
end

-- Engines mount the layers of an image by one overlay, whose options and whose kernel set a limit.
local MAX_LAYERS = 127

-- Refuses an image that no engine could run before any of its steps has run.
local function check_layers(where, state, stage, chain)
  local count = #chain
  for _, list in ipairs { state.triggers, stage.instructions } do
    for _, ins in ipairs(list) do
      if ins.name == "RUN" or ins.name == "COPY" or ins.name == "ADD" then count = count + 1 end
    end
  end
  if count <= MAX_LAYERS then return end
  fail.raise { class = "usage", code = "build.layers", where = where.file .. ":" .. stage.from.line, line = stage.from.line,
    path = where.path, message = ("%s would have %d layers, and engines take %d"):format(where.target, count, MAX_LAYERS),
    hint = "join RUN lines with && or a heredoc, and COPY lines into one; or copy the result into a last stage of its own" }
end

--- Builds the target's stages for one platform.
---@param build table the running build
---@param target table plan entry: uid, dockerfile, context, args, target, secrets
---@param platform string
---@return table { state=, chain=, base=image|nil, counts=, entries=step records in order of their end }
function M.build(build, target, platform)
  local parsed = M.parse(build, target.dockerfile)
  local context = fs.join(build.dir, target.context or ".")
  local plan, problem = nil, parsed.problem
  if parsed.ast then
    plan, problem = containerfile.stages(parsed.ast, { build_args = target.args, platform = platform,
      build_platform = build.host_platform, target = target.target, name = parsed.file,
      epoch = build.epoch, contexts = contexts.names(target.contexts) })
  end
  local function warn(list)
    for _, w in ipairs(list or {}) do
      build:warn(target.uid, parsed.file .. ":" .. (w.line or 1), w.message, w.rule)
      if plan and plan.check.error and containerfile.checks[w.rule] ~= nil then
        fail.raise { class = "build", code = "containerfile.check", where = parsed.file .. ":" .. (w.line or 1),
          line = w.line, path = parsed.path, message = ("%s (%s)"):format(w.message, w.rule),
          hint = "the file says `# check=error=true`: warnings are errors" }
      end
    end
  end
  if not plan then
    warn(problem.warnings)
    fail.check(nil, problem)
  end
  warn(plan.warnings)
  local counts = { index = 0, total = plan.steps or 0, cached = 0, executed = 0 }
  local where = { target = target.uid, file = parsed.file, path = parsed.path, context = context, platform = platform,
    secrets = target.secrets, ssh = target.ssh, contexts = target.contexts, hosts = target.hosts, shm_size = target.shm_size,
    ulimits = target.ulimits, network = target.network, hostname = hostname(target.args),
    ignore = contexts.ignore_lines(build, target.uid, context, parsed.path), cache_from = target.cache_from, entries = {},
    trace = {}, exported = exported_stages(plan) }
  local again = {}
  for _, name in ipairs(target.no_cache_filter or {}) do again[name:lower()] = true end
  -- What makes a step's key differ from those of earlier builds: nothing, or something new.
  function where.salt(step)
    if build.no_cache or target.no_cache or again[step.stage] then return build.fresh end
  end
  -- What only a look at the context can tell.
  function where.check(step, rule, message)
    local own = not step.onbuild and parsed.ast.own_checks[step.line] or nil
    if containerfile.check_wanted(plan.check, rule, own) then warn { { line = step.line, rule = rule, message = message } } end
  end
  function where.ssh_socket(id) return ssh.socket(build, where, id) end
  if plan.epoch_source then plan.epoch = epoch.of(build, where, plan) end
  if plan.epoch ~= build.epoch then -- the Containerfile's own: the same build, but for its time
    build = setmetatable({ epoch = plan.epoch }, { __index = build, __newindex = build })
  end

  local tasks, started, build_stage = {}, {}, nil
  local function start(i)
    if not tasks[i] then
      tasks[i] = task.spawn(build_stage, i)
      started[#started + 1] = tasks[i]
    end
    return tasks[i]
  end
  -- Starts every stage that is needed and not running yet.
  function where.prefetch()
    for _, i in ipairs(plan.order) do start(i) end
  end
  local function stage_result(i) return start(i):wait() end
  function where.stage_chain(i) return stage_result(i).chain end
  function build_stage(i)
    local stage = plan.stages[i]
    for _, before in ipairs(stage.after) do stage_result(before) end
    local state, chain = open_stage(build, where, plan, stage, stage_result)
    if i == plan.target then check_layers(where, state, stage, chain) end
    for _, list in ipairs { state.triggers, stage.instructions } do
      for _, instruction in ipairs(list) do
        chain = run_instruction(build, where, stage, state, chain, instruction, counts)
      end
    end
    warn(state.warnings)
    return { state = state, chain = chain }
  end
  where.prefetch()
  local ok, result = pcall(stage_result, plan.target)
  if not ok or counts.executed > 0 then trace.save(build, where) end
  if not ok then
    -- The first real failure counts, not the cancellations that follow from it.
    local running = #started
    for _, t in ipairs(started) do t:cancel() end
    for k, t in ipairs(started) do
      if k > running then t:cancel() end -- started by a stage on its way out
      local done, err = t:try_wait()
      if not done and task.is_cancelled(result) and not task.is_cancelled(err) then result = err end
    end
    error(result, 0)
  end
  return { state = result.state, chain = result.chain, base = where.base, counts = counts, epoch = plan.epoch,
    entries = where.entries, containerfile = parsed }
end

return M
