--- "Did you mean": the nearest of some names.
local M = {}

-- Edit distance in which swapping two neighbours is one step (optimal string alignment).
local function distance(a, b)
  local before, last, row
  last = {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local n = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        n = math.min(n, before[j - 2] + 1)
      end
      row[j] = n
    end
    before, last = last, row
  end
  return last[#b]
end

--- Nearest of `names` to `word` by edit distance, or nil when more than a third of the letters differ.
---@param word string
---@param names string[]
---@return string|nil
function M.nearest(word, names)
  local best, least = nil, #word // 3 + 2
  for _, name in ipairs(names) do
    local n = distance(word, name)
    if n < least then best, least = name, n end
  end
  return best
end

return M
