--- SOCI options of targets, and what is said about a conversion.
local fail = require "app.fail"
local format = require "app.report.format"

local M = {}

local function number(options, name)
  local v = options[name]
  if v == nil then return nil end
  local n = math.tointeger(tonumber(v))
  if not n or n < 0 then
    fail.raise { class = "usage", code = "soci.options", message = ("soci option %s: expected bytes, got '%s'"):format(name,
      tostring(v)) }
  end
  return n
end

--- Options of bakery.soci.convert from a target's `options` in the plan; nil when it does not want SOCI.
---@param extra table the target's extras of the plan
---@return table|nil
function M.options(extra)
  local o = extra.options and extra.options.soci
  if not o or not o.enabled then return nil end
  return { span_size = number(o, "span_size"), min_layer_size = number(o, "min_layer_size"), platforms = o.platforms,
    prefetch_files = o.prefetch_files, optimizations = o.optimizations }
end

--- Lines about a conversion's result for people.
---@param result table of bakery.soci.convert
---@return string[]
function M.describe(result)
  local names, out = {}, {}
  for d in pairs(result.layers) do names[#names + 1] = d end
  table.sort(names, function(a, b)
    local x, y = result.layers[a], result.layers[b]
    if x.size == y.size then return a < b end
    return x.size > y.size
  end)
  for _, d in ipairs(names) do
    local r = result.layers[d]
    if r.ztoc then
      out[#out + 1] = ("layer %s (%s): zTOC %s, %d spans, %d files, %s"):format(format.short(d), format.bytes(r.size),
        format.short(r.ztoc.digest), r.ztoc.spans, r.ztoc.files, format.bytes(r.ztoc.size))
    else
      out[#out + 1] = ("layer %s (%s): left out, %s"):format(format.short(d), format.bytes(r.size),
        r.reason or "small")
    end
  end
  return out
end

return M
