--- "Did you mean": the nearest of some names.
local M = {}

--- Nearest of `names` to `word` by edit distance, or nil when more than a third of the letters differ.
---@param word string
---@param names string[]
---@return string|nil
function M.nearest(word, names)
  local best, least = nil, #word // 3 + 2
  for _, name in ipairs(names) do
    local row = {}
    for j = 0, #name do row[j] = j end
    for i = 1, #word do
      local diag = row[0]
      row[0] = i
      for j = 1, #name do
        local sub = diag + (word:byte(i) == name:byte(j) and 0 or 1)
        diag, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, sub)
      end
    end
    if row[#name] < least then best, least = name, row[#name] end
  end
  return best
end

return M
