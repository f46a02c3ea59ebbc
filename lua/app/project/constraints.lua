--- dependencyConstraints turned into versions. Available versions come from a resolver, a function
--- resolver{kind="versions", dependency=, prerelease=} -> list of texts | nil, err.
local problems = require "app.project.problems"
local version = require "bakery.version"

local M = {}

--- Available versions of a dependency.
---@param dependency string
---@param prerelease boolean|nil
---@param resolver function|nil
---@return string[]|nil
---@return table|nil err
function M.available(dependency, prerelease, resolver)
  if not resolver then
    return nil, problems.problem("config.no_resolver",
      ("the available versions of %s have to be looked up, but no resolver is here"):format(
        dependency))
  end
  local list, err = resolver { kind = "versions", dependency = dependency,
    prerelease = prerelease == true }
  if list then return list end
  return nil, err or problems.problem("config.resolve", ("no versions of %s"):format(dependency))
end

--- Versions that meet a constraint entry, newest first.
---@param entry table {dependency, constraint, prerelease}
---@param resolver function|nil
---@return string[]|nil
---@return table|nil err
function M.resolve(entry, resolver)
  if entry._resolved then return entry._resolved end
  local all, err = M.available(entry.dependency, entry.prerelease, resolver)
  if not all then return nil, err end
  local constraint = entry.constraint
  local found
  found, err = version.resolve({
    latest = constraint.latest,
    count = constraint.count,
    max = constraint.max,
    min = constraint.min,
  }, all)
  if not found then return nil, err end
  if #found == 0 then
    return nil, problems.problem("config.resolve",
      ("no version of %s meets the constraint"):format(entry.dependency))
  end
  if entry.dependency == "quarto" and #found > 1 then
    return nil, problems.problem("config.resolve",
      ("quarto takes exactly one version, the constraint gives %d"):format(#found))
  end
  local texts = {}
  for i, v in ipairs(found) do texts[i] = type(v) == "table" and v.text or tostring(v) end
  entry._resolved = texts
  return texts
end

return M
