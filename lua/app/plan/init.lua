--- The plan: chosen targets as data, the document that builders, tests and publishers work from.
local document = require "app.plan.document"
local labels = require "app.plan.labels"
local metadata = require "app.plan.metadata"
local narrow = require "app.plan.narrow"
local order = require "app.plan.order"
local problems = require "app.project.problems"
local read = require "app.plan.read"
local select = require "app.plan.select"
local target = require "app.plan.target"

local M = {
  describe_filters = select.describe,
  document = document.make,
  encode = document.encode,
  settle = document.settle,
  read = read.read,
  narrow = narrow.apply,
  check = read.check,
  metadata = metadata.document,
  read_metadata = metadata.read,
  metadata_ref = metadata.ref,
  push_order = order.push,
}

---@class app.plan.options
---@field resolver function|nil look-ups of dependency and development versions
---@field prefetch fun(requests: table[])|nil told which look-ups will follow
---@field env (fun(name: string): string|nil)|nil default os.getenv
---@field created string|nil fixed creation time, RFC 3339
---@field revision string|false|nil commit; false for none; default HEAD of the project's work tree
---@field explain boolean|nil

-- By display text, in file order among equals. Plain strings are sorted, which needs no comparator.
local function sorted(list)
  local texts, groups = {}, {}
  for _, item in ipairs(list) do
    local group = groups[item.display]
    if group then
      group[#group + 1] = item
    else
      groups[item.display] = { item }
      texts[#texts + 1] = item.display
    end
  end
  table.sort(texts)
  local out = {}
  for _, text in ipairs(texts) do
    for _, item in ipairs(groups[text]) do out[#out + 1] = item end
  end
  return out
end

local function check_unique(list)
  local seen = {}
  for _, item in ipairs(list) do
    local other = seen[item.uid]
    if other then
      return problems.problem("plan.duplicate_uid",
        ("two targets have the id %q%s: %s and %s"):format(item.uid,
          item.channel and (" (channel %s)"):format(item.channel) or "", other.display,
          item.display),
        { hint = "names that differ only in case, blanks or . + / collide" })
    end
    seen[item.uid] = item
  end
end

--- What the filters choose, in the order of the file; ids are unique as in a plan.
---@see app.plan.select
---@param project table
---@param filters app.plan.filters|nil
---@param opts app.plan.options|nil
---@return table[]|nil selections
---@return table warnings_or_err
---@return table[]|nil skipped with opts.explain
function M.select(project, filters, opts)
  local selections, warnings, skipped = select.run(project, filters, opts or {})
  if not selections then return nil, warnings end
  local identities = {}
  for i, selection in ipairs(selections) do identities[i] = target.identity(selection) end
  local err = check_unique(identities)
  if err then return nil, err end
  return selections, warnings, skipped
end

-- Two targets that push one tag overwrite each other.
local function warn_collisions(list, warnings)
  local owner, told = {}, {}
  for _, item in ipairs(list) do
    for _, tag in ipairs(item.tags) do
      local other = owner[tag]
      local pair = other and other.uid .. "\0" .. item.uid
      if other and not told[pair] then
        told[pair] = true
        warnings[#warnings + 1] = problems.problem("plan.tag_collision",
          ("%s and %s both have the tag %s"):format(other.uid, item.uid, tag),
          { level = "warning" })
      end
      owner[tag] = other or item
    end
  end
end

local function warn_secrets(list, missing, warnings)
  local told = {}
  for _, item in ipairs(list) do
    for _, secret in ipairs(not told[item.image] and missing[item.model.image] or {}) do
      warnings[#warnings + 1] = problems.problem("plan.secret",
        ("image %q: build secret %s is left out, %s is not set"):format(item.image, secret.id,
          secret.env), { level = "warning" })
    end
    told[item.image] = true
  end
end

--- The targets that the filters choose, sorted. All of them carry the same creation time.
---@param project table
---@param filters app.plan.filters|nil
---@param opts app.plan.options|nil
---@return table[]|nil targets
---@return table warnings_or_err
---@return table[]|nil skipped with opts.explain
function M.targets(project, filters, opts)
  opts = opts or {}
  local env = opts.env or os.getenv
  local selections, warnings, skipped = select.run(project, filters, opts)
  if not selections then return nil, warnings end
  local created, err = opts.created
  if not created then
    created, err = labels.created(env)
    if not created then return nil, err end
  end
  local revision = opts.revision
  if revision == nil then revision = project:revision() end
  local secrets, missing = {}, {}
  local context = {
    created = created,
    revision = revision or nil,
    memo = {},
    secrets = function(image)
      if not secrets[image] then secrets[image], missing[image] = target.secrets(image, env) end
      return secrets[image]
    end,
  }
  local list = {}
  for i, selection in ipairs(selections) do
    list[i], err = target.new(selection, context)
    if not list[i] then return nil, err end
  end
  list = sorted(list)
  err = check_unique(list)
  if err then return nil, err end
  warn_collisions(list, warnings)
  warn_secrets(list, missing, warnings)
  return list, warnings, skipped
end

return M
