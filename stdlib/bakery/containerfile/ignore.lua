-- Ignore files: where they are looked for and what their lines mean. Matching is not done here.
local fault = require "bakery.containerfile.fault"
local text = require "bakery.containerfile.text"

local ignore = {}

---Candidates in the order of precedence: the first one that exists counts.
---@param path string of the Containerfile
---@param context? string the context directory; default "."
---@return string[]
function ignore.files(path, context)
  local root = context and context ~= "" and context:gsub("(.)/+$", "%1") or "."
  local prefix = root == "/" and "/" or root .. "/"
  return { path .. ".dockerignore", path .. ".containerignore", prefix .. ".containerignore",
    prefix .. ".dockerignore" }
end

-- Lexical clean-up that keeps a relative path relative.
local function clean(path)
  local rooted = path:sub(1, 1) == "/"
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      if #parts > 0 and parts[#parts] ~= ".." then
        parts[#parts] = nil
      elseif not rooted then
        parts[#parts + 1] = part
      end
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  local out = table.concat(parts, "/")
  return out == "" and "." or out
end

---Patterns of an ignore file, normalised: `!` stays in front, the path is clean and relative.
---@param source string
---@param opts? {name?: string}
---@return string[] patterns, integer[] lines number of the line of each
function ignore.raw_lines(source, opts)
  local out, numbers, number = {}, {}, 0
  source = source:gsub("^\239\187\191", "")
  for line in (source .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    local pattern = text.trim(line)
    if line:sub(1, 1) ~= "#" and pattern ~= "" then
      local mark = pattern:sub(1, 1) == "!" and "!" or ""
      if mark ~= "" then
        pattern = text.trim(pattern:sub(2))
        if pattern == "" then
          local col = line:find("!", 1, true)
          fault.raise("ignore", "a lone '!' excludes nothing", { line = number, col = col,
            file = { name = opts and opts.name or ".dockerignore", lines = { [number] = line } } },
            "write the pattern after the '!'")
        end
      end
      out[#out + 1] = mark .. clean(pattern)
      numbers[#numbers + 1] = number
    end
  end
  return out, numbers
end

return ignore
