--- `bakery soci convert` and `bakery imagetools soci-convert`.
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local place = require "bakery.image.place"
local task = require "bakery.task"
local convert = require "bakery.soci.convert"
local fail = require "app.fail"
local session = require "app.session"
local soci = require "app.soci"

local M = {}

local function say(values, ...)
  if not values.quiet and values.progress ~= "json" then io.stderr:write(table.concat { ... }, "\n") end
end

local function warn(values, text)
  if not values.quiet then io.stderr:write("warning: ", text, "\n") end
end

-- Converts one image and says so; returns what --json prints.
local function one(values, source, target, opts)
  opts.source, opts.target, opts.jobs = source, target, values.jobs
  local result = convert.image(opts)
  for _, text in ipairs(soci.describe(result)) do say(values, text) end
  for _, file in ipairs(result.not_found) do
    warn(values, ("prefetch file '%s' is not in every platform's indexed layers"):format(file))
  end
  local out = json.object { { "source", source.text }, { "ref", target.text }, { "digest", result.digest } }
  out.platforms = json.array {}
  for i, p in ipairs(result.platforms) do
    out.platforms[i] = json.object { { "platform", p.platform }, { "manifest", p.manifest }, { "soci_index", p.soci } }
  end
  return out
end

-- --prefetch-files-json: a list of paths, or an object with one.
local function prefetch_files(values)
  local list = table.move(values.prefetch_file or {}, 1, #(values.prefetch_file or {}), 1, {})
  local file = values.prefetch_files_json
  if not file then return list end
  local doc = fail.check(json.decode(fail.check(fs.read(file)), { name = file }))
  if type(doc) == "table" and not json.is_array(doc) then doc = doc.prefetch_files or doc.files end
  if type(doc) ~= "table" then
    fail.raise { class = "usage", code = "usage", message = file .. ": expected a list of paths" }
  end
  for _, path in ipairs(doc) do
    if type(path) ~= "string" then
      fail.raise { class = "usage", code = "usage", message = file .. ": expected a list of paths" }
    end
    list[#list + 1] = path
  end
  return list
end

-- What SRC becomes when no DST is given: its tag with "-soci".
local function default_target(source)
  local name = source.kind == "registry" and (source.ref.tag or source.ref.digest) or source.kind == "oci" and source.name
  if name then return source:renamed((oci.is_digest(name) and name:match ":(.*)$":sub(1, 12) or name) .. "-soci") end
  return fail.raise { class = "usage", code = "usage", message = "bakery soci convert: give a destination for " .. source.text }
end

local function convert_image(values)
  if values[3] then fail.raise { class = "usage", code = "usage", message = "bakery soci convert: too many arguments",
    hint = "usage: bakery soci convert SRC [DST]" } end
  local source = place.open(values[1], {})
  local closing <close> = setmetatable({}, { __close = function() source:close() end }) -- luacheck: ignore
  local target
  if values[2] then
    target = place.open(values[2], { client = source.client, write = true })
    local taken = target.kind == "oci" and target.name and target:named(target.name)
    if taken and not values.force then
      fail.raise { class = "usage", code = "exists", message = target.text .. " exists", hint = "replace it with --force" }
    end
  else
    target = default_target(source)
  end
  local out = one(values, source, target, { platforms = not values.all_platforms and values.platform or nil,
    span_size = values.span_size, min_layer_size = values.min_layer_size, prefetch_files = prefetch_files(values),
    optimizations = values.optimizations })
  if values.json then session.print_json(out)
  else io.stdout:write(out.ref, "@", out.digest, "\n") end
  return 0
end

-- The newest of a target's metadata entries.
local function newest(entries)
  local best
  for _, e in ipairs(entries or {}) do
    if e.ref and (not best or (e.created or "") >= (best.created or "")) then best = e end
  end
  return best
end

--- The reference's form: images named by metadata files, options from bakery.yaml.
function M.from_metadata(values)
  local files = {}
  for _, pattern in ipairs(values) do
    local found = fs.is_file(pattern) and { pattern } or fs.glob(pattern) or {}
    if #found == 0 then
      fail.raise { class = "usage", code = "usage", message = "no metadata file '" .. pattern .. "'" }
    end
    table.move(found, 1, #found, #files + 1, files)
  end
  values.dev_versions, values.matrix_versions = "include", "include"
  local plan = session.backend_plan((session.plan(values)))
  local known = {}
  for _, uid in ipairs(plan.order) do known[uid] = true end
  local entries = fail.check(require("app.plan.metadata").read(files, known))
  local out, failed = json.array {}, nil
  for _, uid in ipairs(plan.order) do
    local opts, entry = soci.options(plan.extras[uid]), newest(entries[uid])
    if not opts or not entry then
      if values.verbose then say(values, uid, ": ", opts and "not in this run" or "SOCI is not enabled", ", skipped") end
    else
      local ok, result = pcall(function()
        local source = place.open(entry.ref, {})
        return one(values, source, default_target(source), opts)
      end)
      if not ok then
        if task.is_cancelled(result) then error(result, 0) end
        failed = failed or result
        io.stderr:write("bakery: ", uid, ": ", tostring(result), "\n")
      else
        result.uid = uid
        out[#out + 1] = result
        if not values.json then io.stdout:write(uid, " ", result.ref, "@", result.digest, "\n") end
      end
    end
  end
  if values.json then session.print_json(out) end
  if not failed then return 0 end
  if #out > 0 then return require("app.cli.exit").code.partial end
  return require("app.cli.exit").of(failed)
end

function M.convert(values)
  -- The reference's `soci convert META…`.
  if fs.is_file(values[1]) then return M.from_metadata(values) end
  return convert_image(values)
end

return M
