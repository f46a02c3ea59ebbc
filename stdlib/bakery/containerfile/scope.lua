-- Variables in COPY --from and RUN --mount from=, which buildah knows: they have to be told while stages
-- are sorted out, before anything is known of the images that these stand on.
local expand = require "bakery.containerfile.expand"
local fault = require "bakery.containerfile.fault"

local scope = {}

-- All of one ENV sees what was there before it.
local function assign(env, ins, value_of)
  local new = {}
  for _, pair in ipairs(ins.args) do new[value_of(pair.key, env)] = value_of(pair.value, env) end
  for key, value in pairs(new) do env[key] = value end
end

local function declare(env, plan, ins, value_of)
  for _, arg in ipairs(ins.args) do
    local key = value_of(arg.key, env)
    local value = plan.build_args[key]
    if value == nil and arg.value then value = value_of(arg.value, env) end
    if value == nil then value = plan.global_args[key] end
    if value ~= nil then env[key] = value end
  end
end

-- What the file itself gives an instruction of a stage: ARG and ENV so far, and of the stages below.
local function variables(plan, stage, last)
  local env = stage.base.stage and variables(plan, plan.stages[stage.base.stage]) or {}
  local function value_of(text, vars) return expand.raw(text, vars, { escape = plan.escape }) end
  for _, ins in ipairs(stage.instructions) do
    if ins == last then break end
    if ins.name == "ENV" then assign(env, ins, value_of)
    elseif ins.name == "ARG" then declare(env, plan, ins, value_of) end
  end
  return env
end

---Expands the name of a source.
---@param plan bakery.containerfile.plan
---@param stage bakery.containerfile.stage
---@param from string as written
---@param ins table the instruction
---@param at table position for messages
---@return string
function scope.expand(plan, stage, from, ins, at)
  local unset, value = {}, nil
  local ok, err = pcall(function()
    value = expand.raw(from, variables(plan, stage, ins), { escape = plan.escape, unset = unset })
  end)
  if not ok then fault.relocate(err, at) end
  local name = next(unset)
  if value == "" or name then
    fault.raise("from", ("the source '%s' is '%s'"):format(from, value), at, name
      and ("$%s is not set here: ARG and ENV of this file count, not those of images"):format(name) or nil)
  end
  return value
end

return scope
