--- The macro files that ship with bakery (apt.j2 …), for `import` in image templates.
local M = {}

M.NAMES = { "apt.j2", "dnf.j2", "goss.j2", "python.j2", "quarto.j2", "r.j2" }

local has_host, host = pcall(require, "app.host")

local function from_disk(name)
  local dir = os.getenv("BAKERY_ROOT") or "."
  local file = io.open(dir .. "/templates/macros/" .. name, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

--- Text of a macro file, or nil.
---@param name string
---@return string|nil
function M.read(name)
  for _, known in ipairs(M.NAMES) do
    if known == name then
      return has_host and host.read("templates/macros/" .. name) or from_disk(name)
    end
  end
end

return M
