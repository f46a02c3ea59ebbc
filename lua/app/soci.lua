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

--- Makes the SOCI indexes of a run's good results whose targets want them.
---@param ctx table recipe context
function M.run(ctx)
  for _, r in ipairs(ctx:good()) do
    local opts = M.options(ctx.plan.extras[r.uid])
    if opts and not ctx.backend.soci then
      fail.raise { class = "usage", code = "backend.no_soci", message = "backend " .. ctx.args.backend
        .. " cannot make the SOCI index that " .. r.uid .. " wants", hint = "push, then run `bakery soci convert`" }
    elseif opts then
      r.soci = ctx.backend:soci(r, opts)
      if not r.soci then ctx.warn(r.uid .. ": no layer is large enough for a SOCI index") end
      for _, file in ipairs(r.soci and r.soci.not_found or {}) do
        ctx.warn(("%s: prefetch file '%s' is not in every platform's indexed layers"):format(r.uid, file))
      end
    end
  end
end

return M
