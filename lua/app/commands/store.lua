--- `bakery store …`: the local store.
local json = require "bakery.json"
local fail = require "app.fail"
local format = require "app.report.format"
local limits = require "app.backend.embedded.limits"
local session = require "app.session"

local M = {}

local function open(values)
  return require("app.backend.embedded.isolation").open_store(values)
end

function M.du(values)
  local s <close> = open(values) -- luacheck: ignore
  local du = fail.check(s:du())
  if values.json then
    session.print_json(du)
    return 0
  end
  local names = {}
  for k in pairs(du) do names[#names + 1] = k end
  table.sort(names)
  local rows = { { "WHAT", "SIZE", "COUNT" } }
  for _, k in ipairs(names) do
    if type(du[k]) == "table" then
      rows[#rows + 1] = { k, format.bytes(du[k].bytes or 0), tostring(du[k].count or 0) }
    end
  end
  io.stdout:write(table.concat(format.table(rows), "\n"), "\n")
  return 0
end

function M.ls(values)
  local s <close> = open(values) -- luacheck: ignore
  local rows, out = { { "IMAGE", "PLATFORM", "IMAGE ID", "SIZE" } }, json.array {}
  for _, name in ipairs(s:refs "image/") do
    local r = s:get_ref(name)
    if r then
      rows[#rows + 1] = { r.name, r.platform, format.short(r.config), r.size and format.bytes(r.size) or "-" }
      out[#out + 1] = json.object { { "name", r.name }, { "platform", r.platform }, { "image_id", r.config } }
    end
  end
  if values.json then session.print_json(out)
  else io.stdout:write(table.concat(format.table(rows), "\n"), "\n") end
  return 0
end

local function gc(values, opts)
  local s <close> = open(values) -- luacheck: ignore
  opts.dry_run = values.dry_run or false
  local report = fail.check(s:gc(opts))
  if values.json then session.print_json(report)
  else
    io.stdout:write(("%s %d objects, %s\n"):format(values.dry_run and "would remove" or "removed", report.removed or 0,
      format.bytes(report.bytes or 0)))
  end
  return 0
end

function M.gc(values)
  return gc(values, { max_age = values.max_age and values.max_age * 86400,
    max_bytes = values.max_bytes or values.max_size and limits.size(values.max_size, "--max-size") or nil })
end

--- Everything that can be made again: step results, pulled images, cache mounts; with --images built ones too.
function M.prune(values)
  local what = "remove all step results, cache mounts" .. (values.images and " and images" or "") .. " from the store"
  if not values.dry_run and not require("app.confirm").agrees(values, what) then return 0 end
  local older = (values.older_than or 0) * 86400
  return gc(values, { max_age = older, grace = older, ref_age = values.images and older or nil })
end

function M.runs(values)
  local s <close> = open(values) -- luacheck: ignore
  local runs = fail.check(s:runs { limit = values.limit })
  if values.json then
    session.print_json(json.array(runs))
    return 0
  end
  local rows = { { "WHEN", "RECIPE", "RESULT", "TARGETS", "TIME", "RUN" } }
  for _, r in ipairs(runs) do
    rows[#rows + 1] = { os.date("!%Y-%m-%d %H:%M:%S", math.floor(r.started)), r.name, r.status, tostring(r.targets or "-"),
      format.seconds(r.seconds or 0), r.run or "-" }
  end
  io.stdout:write(table.concat(format.table(rows), "\n"), "\n")
  return 0
end

function M.check(values)
  local s <close> = open(values) -- luacheck: ignore
  local problems = fail.check(s:check())
  if values.json then session.print_json(json.array(problems))
  else
    for _, p in ipairs(problems) do io.stdout:write(type(p) == "table" and (p.message or p.path) or p, "\n") end
  end
  io.stderr:write(#problems == 0 and "the store is sound\n" or #problems .. " problems\n")
  return #problems == 0 and 0 or 1
end

return M
