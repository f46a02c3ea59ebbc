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

return M
