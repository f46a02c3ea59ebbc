--- Summaries as tables for people and as Markdown.
local format = require "app.report.format"
local summary = require "app.summary"

local M = {}

local UNKNOWN = "—"

local function size(bytes) return bytes and format.bytes(bytes) or UNKNOWN end
local function count(n) return n and tostring(n) or UNKNOWN end

local HEAD = { "Image", "Version", "OS", "Variant", "Platforms", "Tags", "Layers", "Registry Size", "Local Size", "Cache Size" }

local function cells(t)
  return { t.image_name, t.version, t.os, t.variant, count(t.platforms), count(t.tags), count(t.layers),
    size(t.registry_size), size(t.local_size), size(t.cache_size) }
end

--- The three numbers of a plan.
---@param targets table[]
---@return string[] lines
function M.counts(targets)
  local t = summary.totals(targets)
  local lines = format.table({ { "Metric", "Count" }, { "Build Targets", count(t.targets) },
    { "Platform Builds", count(t.platforms) }, { "Registry Tags", count(t.tags) } }, 2)
  table.insert(lines, 1, "Build Summary")
  lines[#lines + 1] = "Registry Tags counts tag aliases (version, OS, latest and so on) in all registries, not images."
  return lines
end

-- Leading cells that repeat those of the row above are left blank.
local function blank_repeated(row, last)
  if not last then return row end
  local out = table.move(row, 1, #row, 1, {})
  for i = 1, 4 do
    if row[i] ~= last[i] then break end
    out[i] = ""
  end
  return out
end

--- Everything that is known of the targets.
---@param targets table[]
---@return string[] lines
function M.full(targets)
  local rows, last = { HEAD }, nil
  for _, t in ipairs(targets) do
    local row = cells(t)
    rows[#rows + 1] = blank_repeated(row, last)
    last = row
  end
  local t = summary.totals(targets)
  rows[#rows + 1] = { "Total", "", "", "", count(t.platforms), count(t.tags), "", size(t.registry_size),
    size(t.local_size), size(t.cache_size) }
  local lines = format.table(rows, 5)
  table.insert(lines, 1, ("Build Summary (%d target%s)"):format(#targets, #targets == 1 and "" or "s"))
  return lines
end

-- A text as a cell of a Markdown table.
local function escape(text)
  return (text:gsub("[\\|`*_<>%[%]]", "\\%0"):gsub("[\r\n]+", " "))
end

--- Markdown for $GITHUB_STEP_SUMMARY and the like.
---@param targets table[]
---@param disclaimer string|nil shown above
---@return string
function M.markdown(targets, disclaimer)
  local out = {}
  if disclaimer and disclaimer ~= "" then
    out[1] = "> ⚠️ **" .. disclaimer:gsub("[\r\n]+", " ") .. "**\n"
  end
  out[#out + 1] = "### Build Summary\n"
  out[#out + 1] = "| " .. table.concat(HEAD, " | ") .. " |"
  out[#out + 1] = "|" .. ("---|"):rep(#HEAD)
  for _, t in ipairs(targets) do
    local row = cells(t)
    for i = 1, 4 do row[i] = escape(row[i]) end
    out[#out + 1] = "| " .. table.concat(row, " | ") .. " |"
  end
  local t = summary.totals(targets)
  out[#out + 1] = ("| **Total (%d targets)** |  |  |  | **%s** | **%s** |  | **%s** | **%s** | **%s** |"):format(#targets,
    count(t.platforms), count(t.tags), size(t.registry_size), size(t.local_size), size(t.cache_size))
  return table.concat(out, "\n") .. "\n"
end

return M
