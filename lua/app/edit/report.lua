--- The Markdown report of `create version --diff-against`: two trees compared, for the comment of a
--- pull request.
local diff = require "bakery.diff"

local M = {}

M.MAX = 20000 -- characters; above it the files are listed only

local function compare(old, new)
  local paths, seen, out = {}, {}, {}
  for _, tree in ipairs { old, new } do
    for path in pairs(tree) do
      if not seen[path] then paths[#paths + 1] = path end
      seen[path] = true
    end
  end
  table.sort(paths)
  for _, path in ipairs(paths) do
    local a, b = old[path], new[path]
    if a ~= b then
      local status = not a and "added" or not b and "removed" or "modified"
      if diff.is_binary(a or "") or diff.is_binary(b or "") then status = "binary" end
      out[#out + 1] = { path = path, status = status, text = status ~= "binary"
        and diff.unified(a or "", b or "", { from = "a/" .. path, to = "b/" .. path }) }
    end
  end
  return out
end

-- A fence that the text cannot close.
local function fence(text)
  local longest = 2
  for run in text:gmatch "`+" do longest = math.max(longest, #run) end
  return ("`"):rep(longest + 1)
end

local ENTITY = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }

local function details(summary, body)
  summary = summary:gsub("[&<>]", ENTITY)
  return ("<details open><summary><code>%s</code></summary>\n\n%s\n\n</details>"):format(summary, body)
end

local function section(file)
  if file.status == "binary" then return details(file.path, "_Binary file changed._") end
  local mark = fence(file.text)
  return details(file.path, mark .. "diff\n" .. file.text .. mark)
end

--- Report on two trees.
---@param image string name
---@param old table<string, string> path -> text
---@param new table<string, string>
---@return string Markdown with a newline at the end
function M.markdown(image, old, new)
  local files = compare(old, new)
  if #files == 0 then return details(image, "_No differences from previous edition._") .. "\n" end
  local sections, list = {}, {}
  for i, file in ipairs(files) do
    sections[i] = section(file)
    list[i] = ("- `%s` (%s)"):format(file.path, file.status)
  end
  local text = details(image, table.concat(sections, "\n\n"))
  if utf8.len(text) <= M.MAX then return text .. "\n" end
  return details(image, ("Diff too large to display in full (%d files changed):\n\n%s"):format(#files,
    table.concat(list, "\n"))) .. "\n"
end

return M
