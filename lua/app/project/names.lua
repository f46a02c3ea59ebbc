--- Names that bakery.yaml leaves out and that are derived from `name`. Letter case is changed for
--- ASCII only; other characters keep their case and count as letters.
local M = {}

local CHAR = "[\0-\x7F\xC2-\xFD][\x80-\xBF]*"

--- `my-cool image_x2b` -> `My Cool Image_X2B`.
---@param name string
---@return string
function M.display_name(name)
  local text = name:gsub("-", " ")
  return (text:gsub("[%a\x80-\xFF]+", function(run)
    return run:sub(1, 1):upper() .. run:sub(2):lower()
  end))
end

--- Directory below the image or context: `a B` -> `a-b`.
---@param name string
---@return string
function M.subpath(name)
  return (name:gsub(" ", "-"):lower())
end

--- Containerfile suffix of a variant or operating system: `Ubuntu 22.04` -> `ubuntu2204`.
---@param name string
---@return string
function M.extension(name)
  return (name:lower():gsub("[^%w_-]", ""))
end

--- Tag part of a variant or operating system: `Ubuntu 22.04` -> `ubuntu-22.04`.
---@param name string
---@return string
function M.tag_display_name(name)
  return (name:lower():gsub(CHAR, function(c)
    if not c:find("^[%w_.-]$") then return "-" end
  end))
end

--- `displayName` -> `display_name`, `artifactDownloadURL` -> `artifact_download_url`.
---@param key string
---@return string
function M.snake(key)
  local text = key:gsub("(%l)(%u)", "%1_%2")
  return text:lower()
end

local function distance(a, b, limit)
  if math.abs(#a - #b) > limit then return limit + 1 end
  local before, row = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local older
    older, before, row = before, row, { [0] = i }
    for j = 1, #b do
      local ca, cb = a:byte(i), b:byte(j)
      local best = before[j - 1] + (ca == cb and 0 or 1)
      best = math.min(best, before[j] + 1, row[j - 1] + 1)
      if i > 1 and j > 1 and ca == b:byte(j - 1) and a:byte(i - 1) == cb then
        best = math.min(best, older[j - 2] + 1)
      end
      row[j] = best
    end
  end
  return row[#b]
end

--- The candidate nearest to `word` (edits and neighbour swaps, case ignored), if it is near enough
--- to be a likely typing mistake.
---@param word string
---@param candidates string[]
---@return string|nil
function M.nearest(word, candidates)
  local limit = #word <= 3 and 1 or #word <= 7 and 2 or 3
  local best, best_distance = nil, limit + 1
  for _, candidate in ipairs(candidates) do
    local d = distance(word:lower(), candidate:lower(), limit)
    if d < best_distance and d < math.max(#candidate, 2) then
      best, best_distance = candidate, d
    end
  end
  return best
end

return M
