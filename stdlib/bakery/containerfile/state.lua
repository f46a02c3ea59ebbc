-- The evaluator of one stage: instructions in, fully resolved steps out. A state is a value: FROM
-- of an earlier stage starts with a copy of that stage's state.
local checks = require "bakery.containerfile.checks"
local dispatch = require "bakery.containerfile.dispatch"
local expand = require "bakery.containerfile.expand"
local fault = require "bakery.containerfile.fault"
local image = require "bakery.containerfile.image"
local platform = require "bakery.containerfile.platform"
local resolve = require "bakery.containerfile.resolve"
local values = require "bakery.containerfile.values"

local state = {}

---@class bakery.containerfile.state
---@field config table      config object of the image (Env, Cmd, Labels … ; sets as name = true)
---@field history table[]   entries so far, the base's first
---@field diff_ids string[]
---@field env table         name -> value: what expansion sees (ENV and ARG)
---@field workdir string    absolute
---@field user string       as written, "" = root
---@field shell string[]
---@field triggers table[]  ONBUILD instructions of the base image, to be applied first
---@field warnings table[]
local State = {}
State.__index = State
state.State = State

local DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
local HISTORY_COMMENT = "buildkit.dockerfile.v0"
local MAX_ENV_BYTES = 64 << 20

---Sets a variable of the build environment; its place is that of its first appearance.
function State:set_env(name, value)
  if self.env[name] == nil then self.env_order[#self.env_order + 1] = name end
  self.env_bytes = self.env_bytes + #value - #(self.env[name] or "")
  if self.env_bytes > MAX_ENV_BYTES then
    fault.raise("expand", "the environment is larger than 64 MiB")
  end
  self.env[name] = value
end

---Sets a variable of the image config, in place when it is there.
function State:set_config_env(name, value)
  local list = self.config.Env
  for i, entry in ipairs(list) do
    if entry:match("^[^=]*") == name then
      list[i] = name .. "=" .. value
      return
    end
  end
  list[#list + 1] = name .. "=" .. value
end

function State:config_env(name)
  for _, entry in ipairs(self.config.Env) do
    local k, v = entry:match("^([^=]*)=?(.*)$")
    if k == name then return v end
  end
  return nil
end

---Environment of a RUN as "K=V" strings.
function State:environment()
  local out = {}
  for i, name in ipairs(self.env_order) do out[i] = name .. "=" .. self.env[name] end
  return out
end

function State:warn(rule, message)
  local ins = self.current
  if self.plan.check and not checks.wanted(self.plan.check, rule, ins and ins.own_check) then return end
  self.warnings[#self.warnings + 1] = { rule = rule, message = message, line = ins and ins.line }
end

---Expands one word of the current instruction; unknown variables are warned about.
function State:expand(word, opts)
  opts = opts or {}
  local unset, short = {}, {}
  local value = expand.raw(word, self.env, {
    escape = opts.escape or self.plan.escape,
    mode = opts.mode,
    skip_quotes = opts.skip_quotes,
    unset = unset,
    short = short,
  })
  if next(short) then self:warn("ShortReplacement", expand.shortened(short)) end
  for _, name in ipairs(image.sorted_keys(unset)) do
    if name:find("^[%a_]") and not self.declared[name] and not self.reported[name] then
      self.reported[name] = true
      local hint = fault.suggest(name, self.env_order, " (did you mean $%s?)") or ""
      self:warn("UndefinedVar", ("usage of undefined variable '$%s'%s"):format(name, hint))
    end
  end
  return value
end

---Adds a history entry; `pending` says that add_layer will follow.
function State:record(created_by, has_layer)
  self.history[#self.history + 1] = {
    created_by = created_by,
    comment = HISTORY_COMMENT,
    empty_layer = not has_layer or nil,
    pending = has_layer or nil,
  }
end

---Evaluates one instruction: the state moves on, the step says what is to be done.
---@param ins table instruction of an ast
---@return table|nil step {op="run"|"copy"|"workdir"|"meta", history=, line=, text=, …}
---@return bakery.containerfile.error? err
function State:apply(ins)
  self.current = ins
  self.reported = {}
  local ok, step = pcall(dispatch.instruction, self, ins)
  if not ok then
    fault.relocate(step, { line = ins.line, col = ins.col, file = ins.file })
  end
  step.line, step.end_line, step.col = ins.line, ins.end_line, ins.col
  step.name, step.text, step.onbuild = ins.name, ins.original, ins.onbuild
  if step.history then self:record(step.history, not step.empty_layer) end
  self.current = nil
  return step
end
State.apply = fault.guard(State.apply)

---Iterates over the steps of the whole stage, the triggers of its base first. An error ends the
---loop: the iterator then returns `false, err`.
---@return fun(): table|false|nil, bakery.containerfile.error?
function State:steps()
  local list = table.move(self.triggers, 1, #self.triggers, 1, {})
  table.move(self.stage.instructions, 1, #self.stage.instructions, #list + 1, list)
  local i = 0
  return function()
    i = i + 1
    if not list[i] then return nil end
    local step, err = self:apply(list[i])
    if not step then
      list = {}
      return false, err
    end
    return step
  end
end

---Says what the first layer step that has no layer yet has made.
---@param diff_id string
---@param created? integer|string seconds since 1970 or RFC 3339
function State:add_layer(diff_id, created)
  self.diff_ids[#self.diff_ids + 1] = diff_id
  for _, h in ipairs(self.history) do
    if h.pending then
      h.pending, h.created = nil, image.timestamp(created)
      return
    end
  end
  error("add_layer without a step that makes a layer", 2)
end

local function copy_list(list)
  return table.move(list, 1, #list, 1, {})
end

local function copy_map(map)
  local out = {}
  for k, v in pairs(map) do out[k] = v end
  return out
end

---@return bakery.containerfile.state
function State:clone()
  local new = setmetatable(copy_map(self), State)
  new.config = image.copy(self.config)
  new.history = {}
  for i, h in ipairs(self.history) do new.history[i] = copy_map(h) end
  new.diff_ids, new.env_order = copy_list(self.diff_ids), copy_list(self.env_order)
  new.args, new.env = copy_list(self.args), copy_map(self.env)
  new.declared = copy_map(self.declared)
  new.top, new.volumes = copy_map(self.top), copy_list(self.volumes)
  new.warnings, new.triggers, new.reported = {}, {}, {}
  return new
end

---The finished image configuration document: json.object with sorted keys at every level.
---@param opts? {created?: integer|string, epoch?: integer, labels?: table, architecture?: string,
---  os?: string, variant?: string}
---@return table
function State:final_config(opts)
  return image.close(self, opts or {})
end

-- Puts the config's variables into the build environment, over what a parent stage's ARGs left.
local function load_env(s)
  if not s:config_env("PATH") and s.platform.os ~= "windows" then
    s:set_config_env("PATH", DEFAULT_PATH)
  end
  for _, entry in ipairs(s.config.Env) do
    local name, value = entry:match("^([^=]*)=?(.*)$")
    s:set_env(name, value)
  end
end

local function load_shell(s)
  s.workdir = values.clean("/" .. (s.config.WorkingDir or ""))
  s.user = s.config.User or ""
  s.shell = s.config.Shell and #s.config.Shell > 0 and s.config.Shell or { "/bin/sh", "-c" }
end

---Opens the state of a stage.
---@param stage bakery.containerfile.stage
---@param opts {globals: bakery.containerfile.plan, parent?: bakery.containerfile.state,
---  config?: table, name?: string}
---@return bakery.containerfile.state
function state.open(stage, opts)
  local plan = opts.globals or opts.plan
  if not plan then error("option 'globals' is missing: the result of stages()", 3) end
  local s
  if opts.parent then
    s = opts.parent:clone()
    s.config.OnBuild = nil
  else
    s = setmetatable({ args = {}, env = {}, env_order = {}, env_bytes = 0, declared = {},
      volumes = {}, warnings = {}, triggers = {}, reported = {} }, State)
    s.config, s.history, s.diff_ids, s.top = image.open(opts.config)
    if not opts.config then s.config.WorkingDir = "/" end -- as BuildKit begins an image without base
    s.author = s.top.author
  end
  s.stage, s.plan = stage, plan
  s.platform = platform.parse(stage.platform)
  s.cmd_set, s.workdir_set = false, opts.parent and opts.parent.workdir_set or false
  local onbuild = s.config.OnBuild
  s.config.OnBuild = nil
  if not stage.triggered then s.triggers = resolve.triggers(plan, stage, onbuild or {}) end
  load_env(s)
  load_shell(s)
  local base_arch = s.top.architecture
  if opts.config and not stage.platform_given and base_arch
    and base_arch ~= s.platform.architecture then
    s.warnings[1] = { rule = "InvalidBaseImagePlatform", line = stage.from.line,
      message = ("the base image is for %s, the target is %s"):format(base_arch, stage.platform) }
  end
  return s
end

return state
