--- Part of a plan document: the filters of the command line applied to the targets of `--plan-file`,
--- by the same selector that made them. The plan has decided which development versions and matrix
--- rows there are; these modes count only when they are given.
local json = require "bakery.json"
local names = require "app.project.names"
local problems = require "app.project.problems"
local select = require "app.plan.select"

local M = {}

local FILTERS = { "image_name", "image_version", "image_variant", "image_os", "image_platform", "select", "latest",
  "dev_channel" }
local MODES = { dev_versions = "dev", matrix_versions = "matrix" }

-- The filters that were given, or nil; modes default to what keeps everything.
local function given_filters(values)
  local out, any = {}, false
  for _, name in ipairs(FILTERS) do
    out[name] = values[name] or nil
    any = any or out[name] ~= nil
  end
  for name in pairs(MODES) do
    local mode = values.given and values.given[name] and values[name]
    out[name] = mode or "include"
    any = any or (mode and mode ~= "include")
  end
  return any and out or nil
end

local function named(name, tag_name, primary)
  return name and { name = name, tag_display_name = tag_name or names.tag_display_name(name),
    extension = names.extension(name), primary = primary == true }
end

-- A target as a project with one image, one version: what the selector takes.
local function pseudo_image(uid, target, extra)
  local os_entry = extra.os and named(extra.os.name, extra.os.tagName, extra.os.primary)
  if os_entry then os_entry.platforms = target.platforms end
  local version = { name = extra.version, latest = extra.latest == true, is_dev = extra.dev == true,
    is_matrix = extra.matrix == true, channel = extra.channel, os = { os_entry } }
  return { name = extra.image, uid = uid, versions = { version }, dev_versions = {},
    variants = { named(extra.variant, extra.variantTagName, extra.primaryVariant) } }
end

local function passes_modes(filters, extra)
  for name, flag in pairs(MODES) do
    local mode = filters[name]
    if mode == "exclude" and extra[flag] or mode == "only" and not extra[flag] then return false end
  end
  return true
end

local function kept_part(doc, platforms)
  local target, extra, group = json.object(), json.object(), json.object()
  for _, uid in ipairs(doc.group.default.targets) do
    if platforms[uid] then
      target[uid] = doc.target[uid]
      target[uid].platforms = json.array(platforms[uid])
      extra[uid] = doc["x-bakery"].targets[uid]
    end
  end
  for name, entry in json.pairs(doc.group) do
    local list = json.array {}
    for _, uid in ipairs(entry.targets) do
      if platforms[uid] then list[#list + 1] = uid end
    end
    if #list > 0 or name == "default" then group[name] = json.object { { "targets", list } } end
  end
  doc.group, doc.target, doc["x-bakery"].targets = group, target, extra
  return doc
end

--- Keeps what the filters choose; without filters the document as it is.
---@param doc table as read.lua gives it; it is changed
---@param values table parsed options: filters, and `given` = set of those on the command line
---@return table|nil doc
---@return table|nil err_or_skipped {what, reason} of what was left out
function M.apply(doc, values)
  local filters = given_filters(values)
  if not filters then return doc, {} end
  local extras = doc["x-bakery"] and doc["x-bakery"].targets
  local images, out = {}, {}
  for _, uid in ipairs(doc.group.default.targets) do
    local extra = extras and extras[uid]
    if not extra then
      return nil, problems.problem("plan.no_data", ("--plan-file: the plan does not say what %s is made of, "
        .. "so that it cannot be filtered"):format(uid), { hint = "plans of `bakery plan` can be" })
    end
    if passes_modes(filters, extra) then
      images[#images + 1] = pseudo_image(uid, doc.target[uid], extra)
    else
      out[#out + 1] = { what = uid, reason = "--dev-versions or --matrix-versions" }
    end
  end
  filters.dev_versions, filters.matrix_versions = "include", "include"
  local selections, err, skipped = select.run({ images = images }, filters, { explain = true })
  if not selections then return nil, err end
  table.move(skipped, 1, #skipped, #out + 1, out)
  local platforms = {}
  for _, selection in ipairs(selections) do
    local uid = selection.image.uid
    platforms[uid] = selection.os and selection.platforms or doc.target[uid].platforms
  end
  return kept_part(doc, platforms), out
end

return M
