--- Files that GitHub Actions gives a step to write to.
local fs = require "bakery.fs"
local error_object = require "bakery.error"

local M = {}

local function file_of(variable)
  local path = os.getenv(variable)
  if path and path ~= "" then return path end
  return nil, error_object.new { class = "usage", code = "ci.no_file",
    message = variable .. " is not set: this is no step of GitHub Actions" }
end

--- Appends an output of the step.
---@param name string
---@param value string
---@return true|nil
---@return table|nil err
function M.output(name, value)
  local path, err = file_of "GITHUB_OUTPUT"
  if not path then return nil, err end
  if not name:find "^[%a_][%w_-]*$" then
    return nil, error_object.new { class = "usage", code = "ci.output_name", message = ("'%s' is no name of an output"):format(name),
      hint = "letters, digits, _ and -" }
  end
  if not value:find "\n" then return fs.append(path, name .. "=" .. value .. "\n") end
  local mark = "BAKERY"
  while value:find(mark, 1, true) do mark = mark .. "_" end
  return fs.append(path, ("%s<<%s\n%s\n%s\n"):format(name, mark, value, mark))
end

return M
