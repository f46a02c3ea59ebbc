--- Names that bakery.yaml leaves out and that are derived from `name`, and paths below the context.
local template = require "bakery.template"

local M = {}

local CHAR = "[\0-\x7F\xC2-\xFD][\x80-\xBF]*"

-- Letters beyond ASCII change their case as in templates.
local env
local function unicode(method, text)
  env = env or template.new {}
  return assert(env:render("{{ text." .. method .. "() }}", { text = text }))
end

--- Lower case, of letters beyond ASCII too.
---@param text string
---@return string
function M.lower(text)
  if text:find "[\x80-\xFF]" then return unicode("lower", text) end
  return text:lower()
end

--- `my-cool image_x2b` -> `My Cool Image_X2B`.
---@param name string
---@return string
function M.display_name(name)
  local text = name:gsub("-", " ")
  if text:find "[\x80-\xFF]" then return unicode("title", text) end
  return (text:gsub("%a+", function(run)
    return run:sub(1, 1):upper() .. run:sub(2):lower()
  end))
end

--- Directory below the image or context: `a B` -> `a-b`.
---@param name string
---@return string
function M.subpath(name)
  return M.lower((name:gsub(" ", "-")))
end

--- Containerfile suffix of a variant or operating system: `Ubuntu 22.04` -> `ubuntu2204`.
---@param name string
---@return string
function M.extension(name)
  return (M.lower(name):gsub("[^%w_-]", ""))
end

--- Tag part of a variant or operating system: `Ubuntu 22.04` -> `ubuntu-22.04`.
---@param name string
---@return string
function M.tag_display_name(name)
  return (M.lower(name):gsub(CHAR, function(c)
    if not c:find("^[%w_.-]$") then return "-" end
  end))
end

--- A path without empty and `.` parts: `./a//b/` -> `a/b`, `.` for none.
---@param path string relative
---@return string
function M.tidy(path)
  local out = {}
  for part in path:gmatch "[^/]+" do
    if part ~= "." then out[#out + 1] = part end
  end
  return #out > 0 and table.concat(out, "/") or "."
end

--- Directory of a version or matrix, relative to the context.
---@param image table
---@param subject table the version or matrix
---@return string
function M.directory(image, subject)
  return M.tidy(image.subpath .. "/" .. subject.subpath)
end

--- `displayName` -> `display_name`, `artifactDownloadURL` -> `artifact_download_url`.
---@param key string
---@return string
function M.snake(key)
  local text = key:gsub("(%l)(%u)", "%1_%2")
  return text:lower()
end

return M
