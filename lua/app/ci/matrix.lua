--- Rows of a CI job matrix: image × version × platform, one job each.
local json = require "bakery.json"

local M = {}

--- Fields of a row that can be left out.
M.FIELDS = { "version", "dev", "platform" }

local function row(image, version, dev, platform, excluded)
  local out = json.object()
  out.image = image
  if not excluded.version then out.version = version end
  if not excluded.dev then out.dev = dev end
  if not excluded.platform then out.platform = platform end
  return out
end

-- Groups in order of first appearance, each with its platforms in order of first appearance.
local function collect(list)
  local groups, at = {}, {}
  for _, item in ipairs(list) do
    local group = at[item.key]
    if not group then
      group = { image = item.image, version = item.version, dev = item.dev, platforms = {}, seen = {} }
      at[item.key] = group
      groups[#groups + 1] = group
    end
    for _, platform in ipairs(item.platforms) do
      if not group.seen[platform] then
        group.seen[platform] = true
        group.platforms[#group.platforms + 1] = platform
      end
    end
  end
  return groups
end

local function rows(list, exclude)
  local excluded, out = {}, json.array {}
  for _, field in ipairs(exclude or {}) do excluded[field] = true end
  for _, group in ipairs(collect(list)) do
    if excluded.platform then
      out[#out + 1] = row(group.image, group.version, group.dev, nil, excluded)
    else
      for _, platform in ipairs(group.platforms) do
        out[#out + 1] = row(group.image, group.version, group.dev, platform, excluded)
      end
    end
  end
  return out
end

--- Rows of selections (app.plan.select), in the order of the file.
---@param selections table[]
---@param exclude string[]|nil fields to leave out; rows are not merged afterwards
---@return table rows JSON array
function M.rows(selections, exclude)
  local list = {}
  for i, s in ipairs(selections) do
    list[i] = { key = s.version, image = s.image.name, version = s.version.name, dev = s.version.is_dev == true,
      platforms = s.platforms }
  end
  return rows(list, exclude)
end

--- Rows of a plan document, in its order.
---@param doc table
---@param exclude string[]|nil
---@return table rows JSON array
function M.document_rows(doc, exclude)
  local list = {}
  for i, uid in ipairs(doc.group.default.targets) do
    local extra = doc["x-bakery"].targets[uid]
    list[i] = { key = table.concat({ extra.image, extra.version, extra.channel or "" }, "\0"), image = extra.image,
      version = extra.version, dev = extra.dev == true, platforms = doc.target[uid].platforms }
  end
  return rows(list, exclude)
end

--- Parts of at most `size` rows.
---@param list table
---@param size integer
---@return table batches JSON array of arrays
function M.batches(list, size)
  local out = json.array {}
  for i = 1, #list, size do
    out[#out + 1] = json.array(table.move(list, i, math.min(i + size - 1, #list), 1, {}))
  end
  return out
end

--- Rows as GitHub's `strategy.matrix` takes them.
function M.wrap(list) return json.object { { "include", list } } end

return M
