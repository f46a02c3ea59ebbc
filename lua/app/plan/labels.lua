--- Image labels of a target, in a fixed order.
local json = require "bakery.json"
local problems = require "app.project.problems"
local stamp = require "app.stamp"

local M = {}

local PREFIXES = { "org.opencontainers.image.", "co.posit.image." }

local function authors(repository)
  local out = {}
  for i, person in ipairs(repository.authors) do out[i] = person.text end
  return table.concat(out, ", ")
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
  return stamp.text(now)
end

-- Labels that exist under both prefixes.
local BOTH = { "version", "revision", "description", "documentation" }

--- Labels of a target.
---@param image table
---@param version table
---@param variant table|nil
---@param os_entry table|nil
---@param info {created: string, revision: string|nil}
---@return table labels ordered object
function M.of(image, version, variant, os_entry, info)
  local repository = image.project.repository
  local out = json.object()
  out["org.opencontainers.image.created"] = info.created
  out["org.opencontainers.image.source"] = repository.url
  out["org.opencontainers.image.title"] = image.display_name
  out["org.opencontainers.image.vendor"] = repository.vendor
  out["co.posit.image.maintainer"] = repository.maintainer.text
  out["co.posit.image.name"] = image.display_name
  if #repository.authors > 0 then
    out["org.opencontainers.image.authors"] = authors(repository)
  end
  local values = {
    version = version.name,
    revision = info.revision,
    description = image.description ~= "" and image.description or nil,
    documentation = image.documentation_url,
  }
  for _, prefix in ipairs(PREFIXES) do
    for _, name in ipairs(BOTH) do out[prefix .. name] = values[name] end
  end
  if variant then out["co.posit.image.variant"] = variant.name end
  if os_entry then out["co.posit.image.os"] = os_entry.name end
  if not (variant and variant.name == "Minimal") then
    for _, entry in ipairs(version.dependencies) do
      out["co.posit.image.tools." .. entry.dependency] = table.concat(entry.versions, ", ")
    end
  end
  return out
end

return M
