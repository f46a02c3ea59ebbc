--- Build secrets of a target: from environment variables and files, read when they are needed.
local fs = require "bakery.fs"
local fail = require "app.fail"

local M = {}

-- Largest secret, as in BuildKit.
local MAX = 500 << 10

--- Value of a secret, or nil when the target has none of that id.
---@param build table the running build: paths start at its directory
---@param where table of the target: secrets = { { id=, env= } or { id=, src= } }
---@param id string
---@return string|nil
function M.value(build, where, id)
  for _, s in ipairs(where.secrets or {}) do
    if s.id == id then
      if s.src then
        local value, err = fs.read(fs.join(build.dir, s.src), MAX)
        if not value then
          fail.raise { class = "usage", code = "build.no_secret", message = ("secret '%s': %s"):format(id, err.message) }
        end
        return value
      end
      local value = os.getenv(s.env)
      if value and value ~= "" then return value end
    end
  end
end

return M
