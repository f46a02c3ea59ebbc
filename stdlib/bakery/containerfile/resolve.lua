-- Stages: FROM references, who needs whom, and which of them a target needs at all.
local checks = require "bakery.containerfile.checks"
local expand = require "bakery.containerfile.expand"
local fault = require "bakery.containerfile.fault"
local image = require "bakery.containerfile.image"
local mounts = require "bakery.containerfile.mounts"
local parser = require "bakery.containerfile.parser"
local platform = require "bakery.containerfile.platform"
local scope = require "bakery.containerfile.scope"

local resolve = {}

---What `stages` returns: the stages of a Containerfile for one platform and target.
---@class bakery.containerfile.plan
---@field stages bakery.containerfile.stage[]
---@field target integer          index into stages
---@field order integer[]         indexes that the target needs, in file order
---@field steps integer           instructions of those stages that may make a layer
---@field images {ref: string, platform: string}[] images that must be resolved
---@field global_args table<string, string>
---@field build_args table<string, string>
---@field platform string
---@field build_platform string
---@field warnings {line: integer, rule: string, message: string}[]
local Plan = {}
Plan.__index = Plan
resolve.Plan = Plan

---@class bakery.containerfile.stage
---@field index integer           1-based place in plan.stages (--from=N counts from 0)
---@field name? string            lower case
---@field base table              {stage=index} | {image=ref} | {scratch=true} | {context=name}
---@field platform string
---@field platform_given boolean  by FROM --platform
---@field instructions table[]    without the FROM; triggers of a base stage come first
---@field from table              the FROM instruction
---@field doc? string
---@field deps table[]            what COPY --from, RUN --mount from= and FROM --after need, as base
---@field after integer[]         stages that have to be done before this one begins

local AUTOMATIC = { "BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT",
  "TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT", "TARGETSTAGE" }
resolve.automatic = {}
for _, name in ipairs(AUTOMATIC) do resolve.automatic[name] = true end

-- Build args that the builder itself understands, so that they never count as unused.
local SPECIAL = { SOURCE_DATE_EPOCH = true }
for name in ("http_proxy https_proxy ftp_proxy no_proxy all_proxy"):gmatch("%S+") do
  SPECIAL[name], SPECIAL[name:upper()] = true, true
end

local function platform_args(prefix, p, out)
  out[prefix .. "PLATFORM"] = platform.format(p)
  out[prefix .. "OS"] = p.os
  out[prefix .. "OSVERSION"] = ""
  out[prefix .. "ARCH"] = p.architecture
  out[prefix .. "VARIANT"] = p.variant or ""
end

local function need_platform(s, what)
  local p = platform.parse(s)
  if not p then
    fault.raise("platform", ("'%s' is no platform (%s)"):format(s, what), nil,
      "write os/arch, such as linux/amd64")
  end
  return p
end

function Plan:warn(rule, message, line)
  self.warnings[#self.warnings + 1] = { rule = rule, message = message, line = line }
end

local function place(ins, file)
  return { line = ins.line, col = ins.col, file = file }
end

-- Global scope: automatic args, then the ARGs before the first FROM, in order.
local function global_scope(plan, ast, last_name, opts)
  local env = {}
  platform_args("BUILD", plan.build_p, env)
  platform_args("TARGET", plan.target_p, env)
  env.TARGETSTAGE = opts.target or last_name or "default"
  for name in pairs(env) do
    if plan.build_args[name] then env[name] = plan.build_args[name] end
  end
  plan.declared, plan.default_args = {}, setmetatable({}, { __index = env })
  for _, ins in ipairs(ast.instructions) do
    if ins.name == "FROM" then break end
    for _, arg in ipairs(ins.args) do
      local ok, err = pcall(function()
        local value = plan.build_args[arg.key]
        if value == nil and arg.value then
          value = expand.raw(arg.value, env, { escape = ast.escape })
        end
        if value ~= nil then env[arg.key] = value end
        plan.default_args[arg.key] = arg.value
          and expand.expand(arg.value, plan.default_args, { escape = ast.escape }) or ""
      end)
      if not ok then fault.relocate(err, place(ins, ast.file)) end
      plan.declared[arg.key] = true
    end
  end
  return env
end

-- Without build arguments the base must be a reference too.
local function check_default(plan, ast, ins, word)
  if not word:find("$", 1, true) then return end
  local value = expand.expand(word, plan.default_args, { escape = ast.escape })
  if not value or value == "" or value:find("[:/@]$") or value:find("^[:/@]") or value:find("//", 1, true)
    or value:find("[:@]@") or value:find("/:") then
    plan:warn("InvalidDefaultArgInFrom", ("without --build-arg the base '%s' is '%s', which is no image"):format(word, value or ""),
      ins.line)
  end
end

-- The value, and a hint when a name in it is nearly another's.
local function expand_from(plan, ast, ins, word, what)
  local unset, short = {}, {}
  local value, err = expand.expand(word, plan.global_args, { escape = ast.escape, unset = unset, short = short })
  if not value then fault.rethrow(err, place(ins, ast.file)) end
  if next(short) then plan:warn("ShortReplacement", expand.shortened(short), ins.line) end
  local names, near = image.sorted_keys(unset), nil
  for _, name in ipairs(names) do
    if not plan.declared[name] then
      local hint = fault.suggest(name, image.sorted_keys(plan.global_args), "did you mean $%s?")
      near = near or hint
      plan:warn("UndefinedArgInFrom", ("FROM uses $%s, which no ARG before the first FROM declares%s")
        :format(name, hint and " (" .. hint .. ")" or ""), ins.line)
    end
  end
  if what == "the base of FROM" then check_default(plan, ast, ins, word) end
  if value == "" then
    local hint = near or names[1] and ("$%s is not set"):format(names[1]) or nil
    fault.raise("from", ("%s is empty: '%s'"):format(what, word), place(ins, ast.file), hint)
  end
  return value, near
end

-- The nearest earlier stage of that name, or an earlier index; raises on a later or the same one.
local function find_stage(plan, name, before)
  local lower = name:lower()
  for i = before - 1, 1, -1 do
    if plan.stages[i].name == lower then return plan.stages[i] end
  end
  return nil
end

local function context_of(plan, name, p)
  if name:lower() == "scratch" or name:lower() == "context" then return nil end
  local trimmed = name:gsub(":latest$", "")
  for _, candidate in ipairs { name .. "::" .. p, trimmed .. "::" .. p, name, trimmed } do
    if plan.contexts[candidate] ~= nil then return candidate end
  end
  return nil
end

local function outside(plan, ref, p)
  if ref == "scratch" then return { scratch = true } end
  local context = context_of(plan, ref, p)
  if context then return { context = context, platform = p } end
  return { image = ref, platform = p }
end

---Resolves a `from` of COPY or RUN --mount in a stage.
---@param stage bakery.containerfile.stage
---@param from string
---@param ins table the instruction, for messages
---@return table {stage=}|{image=}|{context=}|{scratch=}
function Plan:source(stage, from, ins)
  local at = place(ins, self.file)
  if from:find("$", 1, true) then from = scope.expand(self, stage, from, ins, at) end
  local number = from:match("^%d+$") and #from < 10 and tonumber(from)
  if number then
    local index = number + 1
    if not self.stages[index] then
      fault.raise("from", ("invalid stage index %d: the file has %d stages"):format(number,
        #self.stages), at, "stages count from 0")
    elseif index >= stage.index then
      fault.raise("from", index == stage.index and "a stage cannot copy from itself"
        or ("stage %d is defined after this one"):format(number), at)
    end
    return { stage = index }
  end
  local found = find_stage(self, from, stage.index)
  if found then return { stage = found.index } end
  for i = stage.index, #self.stages do
    if self.stages[i].name == from:lower() then
      fault.raise("from", i == stage.index
        and ("circular dependency: stage '%s' needs itself"):format(from)
        or ("stage '%s' must be defined before the stage that uses it"):format(from), at,
        i ~= stage.index and ("it begins at line %d"):format(self.stages[i].from.line) or nil)
    end
  end
  return outside(self, from, stage.platform)
end

-- Sources that one instruction needs, as a list.
local function needs(plan, stage, ins)
  local out = {}
  if ins.name == "COPY" and ins.flags.from then
    out[1] = plan:source(stage, ins.flags.from, ins)
  elseif ins.name == "RUN" then
    for _, mount in ipairs(ins.flags.mount or {}) do
      local from = mounts.source(mount)
      if from then out[#out + 1] = plan:source(stage, from, ins) end
    end
  end
  return out
end

local function collect_deps(plan, stage)
  stage.deps, stage.after = {}, {}
  for _, name in ipairs(stage.from.after or {}) do
    local dep = plan:source(stage, name, stage.from)
    if not dep.stage then
      fault.raise("from", ("FROM --after=%s: there is no such stage"):format(name), place(stage.from, plan.file))
    end
    stage.deps[#stage.deps + 1] = dep
    stage.after[#stage.after + 1] = dep.stage
  end
  for _, ins in ipairs(stage.instructions) do
    for _, dep in ipairs(needs(plan, stage, ins)) do
      stage.deps[#stage.deps + 1] = dep
    end
  end
end

-- Parses ONBUILD texts into instructions that carry the place of the FROM they come in by.
function resolve.triggers(plan, stage, texts)
  local out = {}
  for _, source in ipairs(texts) do
    local ok, ast = pcall(parser.parse, source, { name = "ONBUILD", trigger = true })
    if not ok then
      local err = fault.caught(ast)
      fault.raise("onbuild", ("ONBUILD trigger '%s': %s"):format(source, err.message),
        place(stage.from, plan.file), err.hint)
    end
    local ins = ast.instructions[1]
    if #ast.instructions ~= 1 or ins.name == "ONBUILD" or ins.name == "FROM"
      or ins.name == "MAINTAINER" then
      fault.raise("onbuild", ("'%s' is no legal ONBUILD trigger"):format(source),
        place(stage.from, plan.file))
    end
    ins.line, ins.col, ins.end_line = stage.from.line, stage.from.col, stage.from.end_line
    ins.file, ins.onbuild = plan.file, true
    out[#out + 1] = ins
  end
  return out
end

local function prepend(stage, list)
  stage.instructions = table.move(stage.instructions, 1, #stage.instructions, #list + 1,
    table.move(list, 1, #list, 1, {}))
end

---Inserts the ONBUILD triggers of a stage's base image, and resolves what they need in turn.
---@param index integer
---@param onbuild string[]|nil OnBuild of the base image's config
---@return boolean new whether `order` and `images` may have grown
function Plan:insert_triggers(index, onbuild)
  local stage = self.stages[index]
  if stage.triggered or not onbuild or #onbuild == 0 then return false end
  stage.triggered = true
  local list = resolve.triggers(self, stage, onbuild)
  prepend(stage, list)
  collect_deps(self, stage)
  self:reach()
  for _, ins in ipairs(list) do
    if #needs(self, stage, ins) > 0 then return true end
  end
  return false
end
Plan.insert_triggers = fault.guard(Plan.insert_triggers)

local LAYERS = { RUN = true, COPY = true, ADD = true, WORKDIR = true }

---Recomputes `order`, `images` and `steps` from the target.
function Plan:reach()
  local wanted = {}
  local function visit(index)
    if wanted[index] then return end
    wanted[index] = true
    local stage = self.stages[index]
    if stage.base.stage then visit(stage.base.stage) end
    if stage.base.context then return end
    for _, dep in ipairs(stage.deps) do
      if dep.stage then visit(dep.stage) end
    end
  end
  visit(self.target)
  self.order, self.images, self.steps = {}, {}, 0
  local seen = {}
  local function need_image(base)
    local key = base.image and base.image .. " " .. base.platform
    if key and not seen[key] then
      seen[key] = true
      self.images[#self.images + 1] = { ref = base.image, platform = base.platform }
    end
  end
  for i, stage in ipairs(self.stages) do
    if wanted[i] then
      self.order[#self.order + 1] = i
      need_image(stage.base)
      for _, dep in ipairs(stage.deps) do need_image(dep) end
      for _, ins in ipairs(stage.instructions) do
        if LAYERS[ins.name] then self.steps = self.steps + 1 end
      end
    end
  end
end

local function stage_platform(plan, ast, ins)
  if not ins.platform then return plan.platform end
  local value, near = expand_from(plan, ast, ins, ins.platform, "the platform")
  local p = platform.parse(value, plan.target_p.architecture)
  if not p then
    fault.raise("platform", ("'%s' is no platform"):format(value), place(ins, ast.file),
      near or "write os/arch, such as linux/amd64")
  end
  if ins.platform:find("^%$%{?TARGETPLATFORM%}?$") then
    plan:warn("RedundantTargetPlatform",
      "--platform=$TARGETPLATFORM is what FROM takes anyway", ins.line)
  end
  return platform.format(p)
end

-- FROM of an earlier stage's number, which buildah and imagebuilder know.
local function numbered_stage(plan, ref, p, ins)
  local number = ref:match("^%d+$") and #ref < 10 and tonumber(ref)
  local stage = number and plan.stages[number + 1]
  if not stage or context_of(plan, ref, p) then return nil end
  plan:warn("NumberedBase", ("FROM %s is taken for the stage of line %d; BuildKit looks for an image of that name: "
    .. "give the stage one"):format(ref, stage.from.line), ins.line)
  return stage
end

local function add_stage(plan, ast, ins)
  local index = #plan.stages + 1
  local ref = expand_from(plan, ast, ins, ins.image, "the base of FROM")
  local p = stage_platform(plan, ast, ins)
  local stage = { index = index, name = ins.as, from = ins, doc = ins.doc, platform = p,
    platform_given = ins.platform ~= nil, instructions = {}, deps = {}, file = ast.file }
  local own = ins.as and context_of(plan, ins.as, p)
  local earlier = find_stage(plan, ref, index) or numbered_stage(plan, ref, p, ins)
  if own then
    stage.base, stage.replaced = { context = own, platform = p }, true
  elseif earlier then
    stage.base, stage.platform = { stage = earlier.index }, earlier.platform
  else
    stage.base = outside(plan, ref, p)
  end
  if ins.as and find_stage(plan, ins.as, index) then
    plan:warn("DuplicateStageName", ("stage name '%s' is used twice; the later one counts")
      :format(ins.as), ins.line)
  end
  plan.stages[index] = stage
  return stage
end

-- SOURCE_DATE_EPOCH as an argument: seconds, or the name of a source whose time is asked for.
local function read_epoch(plan, ast, opts)
  local text = plan.build_args.SOURCE_DATE_EPOCH or plan.global_args.SOURCE_DATE_EPOCH
  if plan.epoch or not text or text == "" then return end
  plan.epoch_arg, plan.epoch = text, text:find("^%d+$") and math.tointeger(tonumber(text)) or nil
  if plan.epoch or text == "context" then return end -- a directory has no time of its own
  local context, stage = context_of(plan, text, plan.platform), nil
  for i, s in ipairs(plan.stages) do stage = stage or s.name == text:lower() and i or nil end
  plan.epoch_source = context and { context = context } or stage and { stage = stage }
  if plan.epoch_source or opts.every_stage then return end -- a check knows no contexts
  local at
  for _, ins in ipairs(ast.instructions) do
    for _, arg in ipairs(ins.name == "ARG" and ins.args or {}) do
      if arg.key == "SOURCE_DATE_EPOCH" then at = at or place(ins, ast.file) end
    end
  end
  fault.raise("epoch", "invalid SOURCE_DATE_EPOCH: " .. text, at, "it is whole seconds, a stage or a named context")
end

local function add_stages(plan, ast)
  local stage
  for _, ins in ipairs(ast.instructions) do
    if ins.name == "FROM" then
      stage = add_stage(plan, ast, ins)
    elseif stage and not stage.replaced then
      stage.instructions[#stage.instructions + 1] = ins
    end
  end
end

local function find_target(plan, name)
  if not name then return #plan.stages end
  local names = {}
  for i = #plan.stages, 1, -1 do
    if plan.stages[i].name == name:lower() then return i end
    names[#names + 1] = plan.stages[i].name
  end
  local number = name:match("^%d+$") and #name < 10 and tonumber(name)
  if number and plan.stages[number + 1] then return number + 1 end
  fault.raise("target", ("target stage '%s' could not be found"):format(name), nil,
    fault.suggest(name, names) or #names > 0 and "stages: " .. table.concat(names, ", ")
    or "no stage has a name")
end

local function unused_args(plan, ast)
  local known = {}
  local function scan(ins)
    local arg = ins.trigger or ins
    if arg.name == "ARG" then
      for _, a in ipairs(arg.args) do known[a.key] = true end
    end
  end
  for _, ins in ipairs(ast.instructions) do scan(ins) end
  local names = {}
  for name in pairs(plan.build_args) do
    if not known[name] and not SPECIAL[name] and not resolve.automatic[name]
      and not name:find("^BUILDKIT_") then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    plan:warn("UnusedBuildArg", ("build argument '%s' is not declared by any ARG"):format(name), 1)
  end
end

local function check_frontend(plan)
  local frontend = plan.build_args.BUILDKIT_SYNTAX
  if frontend and not frontend:find("docker/dockerfile", 1, true) then
    plan:warn("SyntaxDirective", ("BUILDKIT_SYNTAX=%s is ignored: the built-in language is used")
      :format(frontend), 1)
  end
end

-- The warnings of the parser; of stages that are not built only those that concern the whole file.
local function take_warnings(plan, ast, every_stage)
  local built = {}
  for _, i in ipairs(plan.order) do built[i] = true end
  for _, w in ipairs(ast.all_warnings) do
    local stage
    for i, s in ipairs(plan.stages) do
      if s.from.line <= w.line then stage = i end
    end
    if every_stage or not stage or built[stage] or not checks.of_stages[w.rule] then
      plan.warnings[#plan.warnings + 1] = w
    end
  end
end

local function copy_map(t)
  local out = {}
  for k, v in pairs(t or {}) do out[k] = tostring(v) end
  return out
end

---@param ast table result of parse
---@param opts? table see the public `stages`
---@return bakery.containerfile.plan
function resolve.stages(ast, opts)
  opts = opts or {}
  local plan = setmetatable({ name = ast.name, file = ast.file, escape = ast.escape, stages = {},
    build_args = copy_map(opts.build_args), contexts = opts.contexts or {}, warnings = {} }, Plan)
  plan.target_p = need_platform(opts.platform or "linux/amd64", "platform")
  plan.build_p = need_platform(opts.build_platform or opts.platform or "linux/amd64",
    "build_platform")
  plan.platform = platform.format(plan.target_p)
  plan.build_platform = platform.format(plan.build_p)
  plan.epoch = opts.epoch
  plan.check = plan.build_args.BUILDKIT_DOCKERFILE_CHECK and checks.read(plan.build_args.BUILDKIT_DOCKERFILE_CHECK)
    or ast.check
  local last
  for _, ins in ipairs(ast.instructions) do
    if ins.name == "FROM" then last = ins end
  end
  fault.noting(function()
    plan.global_args = global_scope(plan, ast, last.as, opts)
    add_stages(plan, ast)
    read_epoch(plan, ast, opts)
  end, function() return parser.filter_warnings(plan.warnings, plan.check, ast.own_checks) end)
  for _, s in ipairs(plan.stages) do
    if s.base.stage then
      local texts = {}
      for _, ins in ipairs(plan.stages[s.base.stage].instructions) do
        if ins.name == "ONBUILD" then texts[#texts + 1] = ins.expression end
      end
      prepend(s, resolve.triggers(plan, s, texts))
    end
  end
  for _, s in ipairs(plan.stages) do collect_deps(plan, s) end
  plan.target = find_target(plan, opts.target)
  plan:reach()
  unused_args(plan, ast)
  check_frontend(plan)
  take_warnings(plan, ast, opts.every_stage)
  plan.warnings = parser.filter_warnings(plan.warnings, plan.check, ast.own_checks)
  return plan
end

return resolve
