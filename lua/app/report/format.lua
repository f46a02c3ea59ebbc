--- Numbers for people.
local M = {}

--- "12.3 MB" (powers of 1000).
function M.bytes(n)
  local units, i = { "B", "kB", "MB", "GB", "TB" }, 1
  while n >= 999.5 and i < #units do n, i = n / 1000, i + 1 end
  return i == 1 and ("%d B"):format(n) or (n < 9.95 and "%.1f %s" or "%.0f %s"):format(n, units[i])
end

--- "0.12s", "3.4s", "2m05s".
function M.seconds(s)
  if s < 9.95 then return ("%.2fs"):format(s) end
  if s < 60 then return ("%.1fs"):format(s) end
  return ("%dm%02ds"):format(s // 60, math.floor(s % 60))
end

--- First 12 hex digits of a digest.
function M.short(digest) return digest and digest:match("^%w+:(%x%x%x%x%x%x%x%x%x%x%x%x)") or "-" end

--- Text without what would move a terminal's cursor: escape sequences (ECMA-48) and control bytes.
---@param text string
---@return string
function M.printable(text)
  text = text:gsub("\27%[[0-?]*[ -/]*[@-~]", ""):gsub("\27%].-\7", "")
  return (text:gsub("[%c\127]", function(c) return c == "\t" and c or "" end))
end

--- One line of at most `width` characters.
---@param text string
---@param width integer
---@return string
function M.cut(text, width)
  text = M.printable((text:gsub("%s+", " ")))
  if (utf8.len(text) or #text) <= width then return text end
  local last = utf8.len(text) and utf8.offset(text, width) or width
  return text:sub(1, last - 1) .. "…"
end

--- Rows of cells as aligned lines; the first row is the heading.
---@param rows string[][]
---@param right integer|nil columns from this one on are aligned to the right; nil: cells that are numbers are
---@return string[]
function M.table(rows, right)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, utf8.len(cell) or #cell) end
  end
  local out = {}
  for k, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local pad = (" "):rep(widths[i] - (utf8.len(cell) or #cell))
      local number = k > 1 and cell:match("^[%d.]+%a*%s?%a*$") and i > 1
      if right then number = i >= right end
      cells[i] = number and pad .. cell or cell .. pad
    end
    out[k] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return out
end

return M
