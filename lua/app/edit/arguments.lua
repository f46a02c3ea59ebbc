--- Option values of editing commands: K=V pairs, and JSON objects that are checked as bakery.yaml would be.
local deps = require "app.project.deps"
local fail = require "app.fail"
local json = require "bakery.json"
local problems = require "app.project.problems"
local validate = require "app.project.validate"
local yaml = require "bakery.yaml"

local M = {}

local function bad(message, hint)
  return { class = "build", code = "edit.argument", message = message, hint = hint }
end

--- Splits `--value K=V` texts at their first `=`; of equal keys the last one counts.
---@param list string[]|nil
---@param errors table[] gets an error for each text without `=`
---@return table[] pairs { key, value } in order
function M.pairs(list, errors)
  local out, at = {}, {}
  for _, text in ipairs(list or {}) do
    local key, value = text:match "^([^=]+)=(.*)$"
    if not key then
      errors[#errors + 1] = bad(("--value: expected KEY=VALUE, got '%s'"):format(text))
    elseif at[key] then out[at[key]][2] = value
    else
      out[#out + 1] = { key, value }
      at[key] = #out
    end
  end
  return out
end

local CONSTRAINT = [[{"dependency": "R", "constraint": {"latest": true, "count": 2}}]]
local VERSIONS = [[{"dependency": "R", "versions": ["4.5.1", "4.4.3"]}]]

local function object(option, text, kind, example, errors)
  local value, err = json.decode(text)
  if value == nil or text:find "^%s*[^{%s]" then
    errors[#errors + 1] = bad(("--%s: expected a JSON object%s"):format(option, err and ": " .. err.message or ""),
      "for example " .. example)
    return nil
  end
  -- JSON is YAML: the nodes carry what the validator wants.
  local doc
  doc, err = yaml.parse(text, { name = "--" .. option })
  if not doc then
    errors[#errors + 1] = bad(("--%s: %s"):format(option, err.message))
    return nil
  end
  local ctx = problems.new("--" .. option)
  local entry = validate.value(kind, doc:root(), {}, ctx)
  for _, e in ipairs(ctx.errors) do
    errors[#errors + 1] = bad(("--%s: %s"):format(option, e.message), e.hint or "for example " .. example)
  end
  return #ctx.errors == 0 and entry or nil
end

--- `--dependency-constraint JSON` texts as constraint entries of the model.
---@param list string[]|nil
---@param errors table[]
---@return table[]
function M.constraints(list, errors)
  local out = {}
  for _, text in ipairs(list or {}) do
    out[#out + 1] = object("dependency-constraint", text, deps.constraint_type, CONSTRAINT, errors)
  end
  return out
end

--- `--dependency JSON` texts as dependency entries of the model.
---@param list string[]|nil
---@param errors table[]
---@return table[]
function M.dependencies(list, errors)
  local out = {}
  for _, text in ipairs(list or {}) do
    out[#out + 1] = object("dependency", text, deps.versions_type, VERSIONS, errors)
  end
  return out
end

--- Raises all errors that were found, if any.
---@param errors table[]
function M.check(errors)
  if #errors == 1 then fail.raise(errors[1]) end
  if #errors > 1 then
    error({ class = "build", code = "edit.argument", errors = errors, message = errors[1].message }, 0)
  end
end

return M
