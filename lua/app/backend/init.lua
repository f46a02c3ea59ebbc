--- Backends: what can build a plan. Built in are `embedded` and `buildx`; a project may add its own as
--- .bakery/backends/NAME.lua, a user as backends/NAME.lua beside config.yaml (see app.backend.custom).
local fail = require "app.fail"
local suggest = require "bakery.suggest"

local M = {}

local BUILT_IN = { "embedded", "buildx" }

local function built_in(name)
  for _, n in ipairs(BUILT_IN) do if n == name then return true end end
  return false
end

--- All backends, built-in ones first.
---@param root string|nil project directory
---@return { name: string, file: string|nil, unused: boolean|nil }[] file: of one that is not built in; unused: its name
--- is that of a built-in one
function M.list(root)
  local out = {}
  for i, name in ipairs(BUILT_IN) do out[i] = { name = name } end
  for _, it in ipairs(require("app.backend.custom").list(root)) do
    out[#out + 1] = { name = it.name, file = it.file, unused = built_in(it.name) or nil }
  end
  return out
end

--- The backend of that name; raises an error object when there is none, or its file is not right.
---@param name string
---@param root string|nil project directory
---@return table { name=, summary=, open=fn(opts) -> backend, probe=fn() -> ok, text, fix; or nil }
function M.get(name, root)
  if built_in(name) then return require("app.backend." .. name) end
  local names = {}
  for _, it in ipairs(M.list(root)) do
    if it.name == name then return require("app.backend.custom").load(name, root) end
    if not it.unused then names[#names + 1] = it.name end
  end
  local near = suggest.nearest(name, names)
  return fail.raise { class = "usage", code = "usage", message = "unknown backend '" .. name .. "'",
    hint = (near and "did you mean '" .. near .. "'? " or "") .. "backends: " .. table.concat(names, ", ") }
end

return M
