--- Matrix expansion: axes, rows and their names, which rows are latest or the latest patch.
local constraints = require "app.project.constraints"
local model = require "app.project.model"
local patterns = require "app.project.patterns"
local problems = require "app.project.problems"
local registries = require "app.project.registries"
local tag = require "bakery.tag"
local version = require "bakery.version"

local M = {}

M.MAX_ROWS = 20000

local function sorted(list)
  local out = table.move(list, 1, #list, 1, {})
  table.sort(out)
  return out
end

--- The name pattern that is used when none is given.
---@param matrix table
---@return string
function M.default_pattern(matrix)
  local parts = {}
  for _, list in ipairs { matrix.dependencies, matrix.dependency_constraints } do
    for _, entry in ipairs(list) do
      parts[#parts + 1] = ("%s{{ Dependencies.%s }}"):format(entry.dependency, entry.dependency)
    end
  end
  for _, key in ipairs(sorted(matrix.values.keys)) do
    parts[#parts + 1] = ("%s{{ Values.%s }}"):format(key, key)
  end
  return (table.concat(parts, "-"):gsub("%-+$", ""))
end

local function failed(matrix, node, path, code, message, extra)
  return problems.at(matrix.image.project.source, node, path, code, message, extra)
end

-- Axes in order: pinned dependencies, resolved constraints, values in file order.
local function axes_of(matrix, resolver)
  local axes = {}
  for _, entry in ipairs(matrix.dependencies) do
    axes[#axes + 1] = { dependency = entry.dependency, items = entry.versions }
  end
  for _, entry in ipairs(matrix.dependency_constraints) do
    local versions, err = constraints.resolve(entry, resolver)
    if not versions then
      return nil, constraints.located(matrix.image.project.source, entry, err)
    end
    axes[#axes + 1] = { dependency = entry.dependency, items = versions }
  end
  for _, key in ipairs(matrix.values.keys) do
    local axis = matrix.values.values[key]
    if axis.bad then
      return nil, failed(matrix, axis.bad.node, axis.bad.path, "config.matrix_value",
        ("a member must be a text, found %s"):format(axis.bad.found))
    end
    axes[#axes + 1] = { value = key, items = axis.list or { axis.text }, scalar = not axis.list }
  end
  return axes
end

-- Every combination of one item per axis, the first axis changing slowest.
local function combine(axes)
  local total = 1
  for _, axis in ipairs(axes) do
    total = total * #axis.items
    if total > M.MAX_ROWS then return nil, total end
  end
  local rows = {}
  for index = 0, total - 1 do
    local choice, rest = {}, index
    for i = #axes, 1, -1 do
      choice[i] = axes[i].items[rest % #axes[i].items + 1]
      rest = rest // #axes[i].items
    end
    rows[#rows + 1] = choice
  end
  return rows
end

local function name_of(pattern, axes, choice)
  local vars = { Dependencies = {}, Values = {} }
  for i, axis in ipairs(axes) do
    if axis.dependency then
      vars.Dependencies[axis.dependency] = choice[i]
    else
      vars.Values[axis.value] = choice[i]
    end
  end
  local text, err = patterns.render(pattern, vars)
  if not text then return nil, err end
  return patterns.strip_ends(text:match("^%s*(.-)%s*$"))
end

-- The greatest item of an axis (first of equals), or nil and the text that is no version.
local function greatest(items)
  local best, best_text
  for _, text in ipairs(items) do
    local parsed = version.pep440(text)
    if not parsed then return nil, text end
    if not best or best < parsed then best, best_text = parsed, text end
  end
  return best_text, ""
end

local function mark_latest(axes, rows, warn)
  local want, any = {}, false
  for i, axis in ipairs(axes) do
    if not axis.scalar then
      local text, bad = greatest(axis.items)
      if not text then
        return warn(("%s: %q is not a version, so no row is latest"):format(
          axis.dependency or axis.value, bad))
      end
      want[i], any = text, true
    end
  end
  if not any then return end
  for _, row in ipairs(rows) do
    local latest = true
    for i, text in pairs(want) do latest = latest and row.choice[i] == text end
    row.latest = latest
  end
end

-- Every `digits(.digits)+` run of a text as a version.
local function number_runs(text)
  local out, at = {}, 1
  while true do
    local first, last = text:find("%d+%.%d+", at)
    if not first then return out end
    while true do
      local _, more = text:find("^%.%d+", last + 1)
      if not more then break end
      last = more
    end
    out[#out + 1] = version.pep440(text:sub(first, last))
    at = last + 1
  end
end

-- -1, 0 or 1 for two lists of versions, as tuples compare.
local function compare(a, b)
  for i = 1, math.max(#a, #b) do
    if not a[i] or not b[i] then return a[i] and 1 or -1 end
    if a[i] < b[i] then return -1 end
    if b[i] < a[i] then return 1 end
  end
  return 0
end

local function compare_keys(a, b)
  for i = 1, #a do
    local order = compare(a[i], b[i])
    if order ~= 0 then return order end
  end
  return 0
end

-- Axis positions in the order that decides between rows: dependencies by name, values by key.
local function priority(axes)
  local order = {}
  for i in ipairs(axes) do order[i] = i end
  table.sort(order, function(a, b)
    local x, y = axes[a], axes[b]
    if (x.dependency ~= nil) ~= (y.dependency ~= nil) then return x.dependency ~= nil end
    return (x.dependency or x.value) < (y.dependency or y.value)
  end)
  return order
end

local function mark_latest_patch(axes, rows, warn)
  local order, groups = priority(axes), {}
  for _, row in ipairs(rows) do
    local key, group = {}, {}
    for at, i in ipairs(order) do
      local text = row.choice[i]
      if axes[i].dependency then
        local parsed = version.pep440(text)
        if not parsed then
          return warn(("%s: %q is not a version, so no row is the latest patch"):format(
            axes[i].dependency, text))
        end
        key[at] = { parsed }
      else
        key[at] = number_runs(text)
      end
      group[at] = tag.strip_patch(text)
    end
    local id = table.concat(group, "\0")
    local best = groups[id]
    if not best or compare_keys(best.key, key) < 0 then groups[id] = { key = key, row = row } end
  end
  for _, best in pairs(groups) do best.row.latest_patch = true end
end

local function row_version(matrix, axes, row)
  local fields = {
    name = row.name,
    subpath = matrix.subpath,
    latest = row.latest == true,
    latest_patch = row.latest_patch == true,
    is_matrix = true,
    os = matrix.os,
    build_target = matrix.build_target,
    extra_registries = matrix.extra_registries,
    override_registries = matrix.override_registries,
    dependencies = {},
    values = { keys = {}, values = {} },
  }
  for i, axis in ipairs(axes) do
    if axis.dependency then
      table.insert(fields.dependencies,
        { dependency = axis.dependency, versions = { row.choice[i] } })
    else
      table.insert(fields.values.keys, axis.value)
      fields.values.values[axis.value] = row.choice[i]
    end
  end
  local out = model.version(fields, matrix.image)
  out._registries = registries.resolve(matrix, matrix.image:registries())
  return out
end

--- The rows of a matrix as versions. Kept on the matrix once they are made.
---@param matrix table
---@param resolver function|nil looks up available versions for dependencyConstraints
---@return table[]|nil rows
---@return table warnings_or_err list of warnings, or the error
function M.rows(matrix, resolver)
  if matrix._rows then return matrix._rows, {} end
  local axes, err = axes_of(matrix, resolver)
  if not axes then return nil, err end
  local pattern = matrix.name_pattern or M.default_pattern(matrix)
  local choices, total = combine(axes)
  if not choices then
    return nil, failed(matrix, matrix._node, matrix._path, "config.matrix_size",
      ("the matrix has %d or more rows; at most %d are possible"):format(total, M.MAX_ROWS))
  end
  local rows = {}
  for i, choice in ipairs(choices) do
    local name
    name, err = name_of(pattern, axes, choice)
    if not name then
      local node = matrix._node.map.namePattern or matrix._node
      return nil, failed(matrix, node, matrix._path, "config.name_pattern",
        ("namePattern %s: %s"):format(pattern, err.message or tostring(err)))
    end
    rows[i] = { choice = choice, name = name }
  end
  local warnings = problems.list()
  local function warn(message)
    local warning = failed(matrix, matrix._node, matrix._path, "config.matrix_latest",
      ("matrix %s: %s"):format(pattern, message), { level = "warning" })
    warnings[#warnings + 1] = warning
  end
  mark_latest(axes, rows, warn)
  mark_latest_patch(axes, rows, warn)
  local out = {}
  for i, row in ipairs(rows) do out[i] = row_version(matrix, axes, row) end
  matrix._rows = out
  return out, warnings
end

return M
