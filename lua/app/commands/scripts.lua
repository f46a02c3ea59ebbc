--- `list` of the commands about scripts: recipes and resolvers.
local json = require "bakery.json"
local format = require "app.report.format"
local session = require "app.session"

local M = {}

--- Prints what there is, and where it comes from.
---@param values table parsed options (json)
---@param module table bakery.recipe or bakery.resolver
---@param heading string "RECIPE"
---@param broken fun(err: any): string what is said instead of the summary of one that cannot be loaded
---@return integer
function M.list(values, module, heading, broken)
  local rows, out = { { heading, "FROM", "SUMMARY" } }, json.array {}
  for _, r in ipairs(module.list()) do
    local ok, def = pcall(module.load, r.name)
    local summary = ok and def.summary or broken(def)
    rows[#rows + 1] = { r.name, r.kind == "stock" and "stock" or r.file, summary }
    out[#out + 1] = json.object { { "name", r.name }, { "kind", r.kind }, { "file", r.file }, { "summary", summary } }
  end
  if values.json then session.print_json(out)
  else io.stdout:write(table.concat(format.table(rows), "\n"), "\n") end
  return 0
end

return M
