--- dependencyConstraints turned into versions. Available versions come from a resolver, a function
--- resolver{kind="versions", dependency=, from=, prerelease=, constraint=} -> list of texts | nil, err;
--- with the constraint it may give only the versions that meet it.
local problems = require "app.project.problems"
local version = require "bakery.version"

local M = {}

--- What a resolver is asked for a dependency under a constraint.
---@param entry table {dependency, from, prerelease}
---@param constraint table {latest, count, max, min}; default: that of the entry
---@return table request
function M.request(entry, constraint)
  local c = constraint or entry.constraint
  return { kind = "versions", dependency = entry.dependency, from = entry.from,
    prerelease = entry.prerelease == true,
    constraint = { latest = c.latest, count = c.count, max = c.max, min = c.min } }
end

--- Versions of a dependency that meet a constraint, newest first.
---@param entry table {dependency, from, prerelease}
---@param constraint table {latest, count, max, min}
---@param resolver function|nil
---@return string[]|nil
---@return table|nil err its message begins with the dependency
function M.choose(entry, constraint, resolver)
  local name = entry.dependency
  if not resolver then
    return nil, problems.problem("config.no_resolver",
      ("the available versions of %s have to be looked up, but no resolver is here"):format(name))
  end
  local all, err = resolver(M.request(entry, constraint))
  if not all then
    return nil, err or problems.problem("config.resolve", ("no versions of %s"):format(name))
  end
  local found
  found, err = version.resolve(constraint, all)
  if not found then
    return nil, problems.problem(err.code, ("%s: %s"):format(name, err.message))
  end
  if #found == 0 then
    return nil, problems.problem("config.resolve", ("no version of %s meets the constraint"):format(name))
  end
  local texts = {}
  for i, v in ipairs(found) do texts[i] = type(v) == "table" and v.text or tostring(v) end
  return texts
end

--- Versions that meet a constraint entry, newest first.
---@param entry table {dependency, from, constraint, prerelease}
---@param resolver function|nil
---@return string[]|nil
---@return table|nil err
function M.resolve(entry, resolver)
  if entry._resolved then return entry._resolved end
  local texts, err = M.choose(entry, M.request(entry).constraint, resolver)
  if not texts then return nil, err end
  if entry.dependency == "quarto" and #texts > 1 then
    return nil, problems.problem("config.resolve",
      ("quarto takes exactly one version, the constraint gives %d"):format(#texts))
  end
  entry._resolved = texts
  return texts
end

--- An error of a look-up at the place in bakery.yaml that asked for it.
---@param source table of the project
---@param entry table with _node and _path
---@param err table
---@return table
function M.located(source, entry, err)
  return problems.at(source, entry._node, entry._path, err.code or "config.resolve", tostring(err.message or err),
    { class = err.class, retryable = err.retryable, hint = err.hint })
end

return M
