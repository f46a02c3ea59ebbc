--- One target for one platform: its stages, side by side where they do not need each other.
local containerfile = require "bakery.containerfile"
local fs = require "bakery.fs"
local task = require "bakery.task"
local chains = require "app.backend.embedded.chain"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local steps = require "app.backend.embedded.steps"
local trace = require "app.backend.embedded.trace"

local M = {}

--- Reads and parses a Containerfile once per build.
---@return table { ast=, path=, file= }
function M.parse(build, file)
  return build.once:run("parse:" .. file, function()
    local path = fs.join(build.dir, file)
    local text, err = fs.read(path, 16 << 20)
    if not text then
      fail.raise { class = "usage", code = "containerfile.missing", where = file,
        message = err.code == "ENOENT" and "no such Containerfile" or err.message,
        hint = "render it from its template, or correct `subpath` in bakery.yaml" }
    end
    local ast = fail.check(containerfile.parse(text, { name = file }))
    return { ast = ast, path = path, file = file, text = text }
  end)
end

-- The ignore lines that apply to a Containerfile: the first of the known files that exists.
local function ignore_lines(context, path)
  for _, candidate in ipairs(containerfile.ignore_files(path, context)) do
    local text = fs.read(candidate, 1 << 20)
    if text then return fail.check(containerfile.ignore_lines(text, { name = candidate })) end
  end
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
  elseif not stage.base.image then
    fail.raise { class = "usage", code = "build.unsupported", where = where.file .. ":" .. stage.from.line,
      line = stage.from.line, path = where.path, message = "named build contexts are not available in the embedded builder yet",
      hint = "use --backend buildx for this target" }
  end
  local image = steps.located(where, stage.from, function()
    return images.resolve(build, stage.base.image, stage.platform, where.target)
  end)
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
  return chain:with { diff_id = record.diff_id, blob = record.blob, source = record.source }
end

--- Builds the target's stages for one platform.
---@param build table the running build
---@param target table plan entry: uid, dockerfile, context, args, target, secrets
---@param platform string
---@return table { state=, chain=, base=image|nil, counts=, entries=step records in order of their end }
function M.build(build, target, platform)
  local parsed = M.parse(build, target.dockerfile)
  local context = fs.join(build.dir, target.context or ".")
  local plan = fail.check(containerfile.stages(parsed.ast, { build_args = target.args, platform = platform,
    build_platform = build.host_platform, target = target.target, name = parsed.file,
    epoch = build.epoch }))
  for _, w in ipairs(plan.warnings or {}) do
    build:warn(target.uid, parsed.file .. ":" .. (w.line or 1), w.message)
  end
  local counts = { index = 0, total = plan.steps or 0, cached = 0, executed = 0 }
  local where = { target = target.uid, file = parsed.file, path = parsed.path, context = context, platform = platform,
    secrets = target.secrets, ignore = ignore_lines(context, parsed.path), cache_from = target.cache_from, entries = {},
    trace = {} }

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
    local state, chain = open_stage(build, where, plan, stage, stage_result)
    for _, list in ipairs { state.triggers, stage.instructions } do
      for _, instruction in ipairs(list) do
        chain = run_instruction(build, where, stage, state, chain, instruction, counts)
      end
    end
    for _, w in ipairs(state.warnings) do
      build:warn(target.uid, parsed.file .. ":" .. (w.line or 1), w.message)
    end
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
  return { state = result.state, chain = result.chain, base = where.base, counts = counts,
    entries = where.entries }
end

return M
