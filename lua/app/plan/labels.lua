--- Image labels of a target, in a fixed order, as pairs.
local problems = require "app.project.problems"

local M = {}

local OCI, POSIT = "org.opencontainers.image", "co.posit.image"

--- Seconds since 1970 as RFC 3339 in UTC.
---@param seconds integer|nil default now
---@return string
function M.stamp(seconds)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", seconds)
end

--- The time that everything made by one plan carries: SOURCE_DATE_EPOCH, else now, RFC 3339 in UTC.
---@param env fun(name: string): string|nil
---@param now integer|nil
---@return string|nil created
---@return table|nil err
function M.created(env, now)
  local epoch = env("SOURCE_DATE_EPOCH")
  if epoch and epoch ~= "" then
    now = epoch:find("^%d+$") and math.tointeger(tonumber(epoch))
    if not now or now > 253402300799 then
      return nil, problems.problem("plan.source_date_epoch",
        ("SOURCE_DATE_EPOCH %q is not a number of seconds since 1970"):format(epoch))
    end
  end
  return M.stamp(now)
end

--- Labels of a target.
---@param image table
---@param version table
---@param variant table|nil
---@param os_entry table|nil
---@param info {created: string, revision: string|nil}
---@return table[] pairs {name, value}
function M.of(image, version, variant, os_entry, info)
  local repository = image.project.repository
  local out = {}
  local function add(prefix, name, value)
    if value ~= nil then out[#out + 1] = { prefix .. "." .. name, value } end
  end
  add(OCI, "created", info.created)
  add(OCI, "source", repository.url)
  add(OCI, "title", image.display_name)
  add(OCI, "vendor", repository.vendor)
  add(POSIT, "maintainer", repository.maintainer.text)
  add(POSIT, "name", image.display_name)
  local authors = {}
  for i, person in ipairs(repository.authors) do authors[i] = person.text end
  if #authors > 0 then add(OCI, "authors", table.concat(authors, ", ")) end
  for _, prefix in ipairs { OCI, POSIT } do
    add(prefix, "version", version.name)
    add(prefix, "revision", info.revision)
    if image.description ~= "" then add(prefix, "description", image.description) end
    add(prefix, "documentation", image.documentation_url)
  end
  if variant then add(POSIT, "variant", variant.name) end
  if os_entry then add(POSIT, "os", os_entry.name) end
  if not (variant and variant.name == "Minimal") then
    for _, entry in ipairs(version.dependencies) do
      add(POSIT, "tools." .. entry.dependency, table.concat(entry.versions, ", "))
    end
  end
  return out
end

return M
