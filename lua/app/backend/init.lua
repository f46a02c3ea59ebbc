--- Backends: what can build a plan. Each is a table { name=, summary=, open=fn(opts) -> backend };
--- projects may add their own as .bakery/backends/NAME.lua.
local fail = require "app.fail"
local suggest = require "bakery.suggest"

local M = {}

M.names = { "embedded", "buildx" }

--- The backend module of that name.
---@param name string
---@return table
function M.get(name)
  for _, n in ipairs(M.names) do
    if n == name then return require("app.backend." .. n) end
  end
  local near = suggest.nearest(name, M.names)
  return fail.raise { class = "usage", code = "usage", message = "unknown backend '" .. name .. "'",
    hint = (near and "did you mean '" .. near .. "'? " or "") .. "backends: " .. table.concat(M.names, ", ") }
end

return M
