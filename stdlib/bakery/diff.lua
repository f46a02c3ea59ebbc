--- Differences between texts: line scripts (Myers) and unified diffs as `diff -u`, git and patch know.
local M = {}

local MAX_EDITS = 1000 -- beyond it two texts have little in common: all old lines go, all new ones come

--- The lines of a text without their line feeds. An empty text has none.
---@param text string
---@return string[] lines
---@return boolean complete the last line ends with a line feed (true for an empty text)
function M.lines(text)
  local out = {}
  for line in text:gmatch "([^\n]*)\n" do out[#out + 1] = line end
  local rest = text:match "([^\n]*)$"
  if rest ~= "" then out[#out + 1] = rest end
  return out, rest == ""
end

-- Furthest points of every number of edits (Myers 1986), from which the way back is read.
local function trace(a, b, first, n, m)
  local v, history = { [1] = 0 }, {}
  for d = 0, math.min(n + m, MAX_EDITS) do
    local row = {}
    for k = -d, d, 2 do
      local x
      if k == -d or (k ~= d and v[k - 1] < v[k + 1]) then x = v[k + 1] else x = v[k - 1] + 1 end
      local y = x - k
      while x < n and y < m and a[first + x] == b[first + y] do x, y = x + 1, y + 1 end
      v[k], row[k] = x, x
      if x >= n and y >= m then
        history[d] = row
        return history, d
      end
    end
    history[d] = row
  end
end

-- Marks the lines that go and those that come between the common head and tail.
local function mark(a, b, first, n, m, gone, new)
  local history, d = trace(a, b, first, n, m)
  if not history then
    for i = 0, n - 1 do gone[first + i] = true end
    for i = 0, m - 1 do new[first + i] = true end
    return
  end
  local x, y = n, m
  while d > 0 do
    local row, k = history[d - 1], x - y
    local down = k == -d or (k ~= d and row[k - 1] < row[k + 1])
    local before = down and k + 1 or k - 1
    x = row[before]
    y = x - before
    if down then new[first + y] = true else gone[first + x] = true end
    d = d - 1
  end
end

--- Which lines of two lists differ.
---@param a string[]
---@param b string[]
---@return table<integer, true> gone indices in a
---@return table<integer, true> new indices in b
function M.compare(a, b)
  local gone, new, first = {}, {}, 1
  local n, m = #a, #b
  while first <= n and first <= m and a[first] == b[first] do first = first + 1 end
  while n >= first and m >= first and a[n] == b[m] do n, m = n - 1, m - 1 end
  n, m = n - first + 1, m - first + 1
  if n > 0 or m > 0 then mark(a, b, first, n, m, gone, new) end
  return gone, new
end

-- Steps { sign, line index in a, in b } in order.
local function script(a, b)
  local gone, new = M.compare(a, b)
  local out, i, j = {}, 1, 1
  while i <= #a or j <= #b do
    if gone[i] then
      out[#out + 1] = { "-", i, j }
      i = i + 1
    elseif new[j] then
      out[#out + 1] = { "+", i, j }
      j = j + 1
    else
      out[#out + 1] = { " ", i, j }
      i, j = i + 1, j + 1
    end
  end
  return out
end

-- Ranges of steps that belong together: changes with `context` lines around them.
local function hunks(steps, context)
  local out, at = {}, nil
  for i, step in ipairs(steps) do
    if step[1] ~= " " then
      if at and i - at.last <= 2 * context + 1 then
        at.last = i
      else
        at = { first = i, last = i }
        out[#out + 1] = at
      end
    end
  end
  for _, h in ipairs(out) do
    h.first, h.last = math.max(1, h.first - context), math.min(#steps, h.last + context)
  end
  return out
end

local function range(start, count)
  if count == 1 then return tostring(start) end
  return ("%d,%d"):format(count == 0 and start - 1 or start, count)
end

---@class bakery.diff.options
---@field from? string name in the `---` line, default "a"
---@field to? string name in the `+++` line, default "b"
---@field context? integer lines around a change, default 3

--- Unified diff of two texts; "" when they are equal. A missing line feed at the end is said the way
--- diff and git do.
---@param old string
---@param new string
---@param opts? bakery.diff.options
---@return string
function M.unified(old, new, opts)
  if old == new then return "" end
  opts = opts or {}
  local a, a_whole = M.lines(old)
  local b, b_whole = M.lines(new)
  -- A last line without line feed is another line than one with it.
  if not a_whole then a[#a] = a[#a] .. "\n" end
  if not b_whole then b[#b] = b[#b] .. "\n" end
  local steps, out = script(a, b), { "--- " .. (opts.from or "a"), "+++ " .. (opts.to or "b") }
  for _, h in ipairs(hunks(steps, opts.context or 3)) do
    local olds, news, body = 0, 0, {}
    for i = h.first, h.last do
      local sign, x, y = table.unpack(steps[i])
      local line = sign == "+" and b[y] or a[x]
      if sign ~= "+" then olds = olds + 1 end
      if sign ~= "-" then news = news + 1 end
      body[#body + 1] = sign .. line:gsub("\n$", "\n\\ No newline at end of file")
    end
    local start = steps[h.first]
    out[#out + 1] = ("@@ -%s +%s @@"):format(range(start[2], olds), range(start[3], news))
    out[#out + 1] = table.concat(body, "\n")
  end
  return table.concat(out, "\n") .. "\n"
end

--- Whether a text is none that people read by lines: it has a NUL byte or is not UTF-8.
---@param text string
---@return boolean
function M.is_binary(text)
  return text:find("\0", 1, true) ~= nil or utf8.len(text) == nil
end

return M
