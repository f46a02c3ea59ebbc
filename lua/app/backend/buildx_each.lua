--- `--strategy build` of the buildx backend: one `docker buildx build` for each target.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local task = require "bakery.task"
local fail = require "app.fail"
local images = require "app.backend.buildx_image"

local M = {}

-- "type=registry,ref=…" of a cache entry.
local function csv(entry)
  if type(entry) == "string" then return entry end
  local parts = {}
  for k, v in json.pairs(entry) do parts[#parts + 1] = k .. "=" .. tostring(v) end
  return table.concat(parts, ",")
end

local function add_map(cmd, flag, map)
  for k, v in json.pairs(map or {}) do
    cmd[#cmd + 1] = flag
    cmd[#cmd + 1] = k .. "=" .. v
  end
end

--- The command line for one target; paths are absolute, so that it means the same everywhere.
---@param backend table
---@param bake table the target of the plan document
---@param metadata string file that gets the metadata
---@return string[]
function M.command(backend, bake, metadata)
  local a, dir = backend.args, backend.dir
  local cmd = { backend.docker, "buildx", "build", "--progress", "plain" }
  local function add(...) for _, w in ipairs { ... } do cmd[#cmd + 1] = w end end
  add_map(cmd, "--build-arg", bake.args)
  add_map(cmd, "--label", bake.labels)
  if backend.pull then add "--pull" end
  local by_digest = a.temp_registry and a.push
  if a.push and not by_digest then add "--push" elseif not a.push and a.load ~= false then add "--load" end
  add("--metadata-file", metadata, "--file", fs.join(dir, bake.dockerfile))
  if bake.target then add("--target", bake.target) end
  for _, entry in ipairs(bake["cache-from"] or {}) do add("--cache-from", csv(entry)) end
  for _, entry in ipairs(bake["cache-to"] or {}) do add("--cache-to", csv(entry)) end
  for _, s in ipairs(bake.secret or {}) do add("--secret", ("id=%s,env=%s"):format(s.id, s.env)) end
  if by_digest then add("--output", "type=image,push-by-digest=true,name-canonical=true,push=true") end
  for _, spec in ipairs(a.output or {}) do add("--output", images.output_entry(spec)) end
  if #bake.platforms > 0 then add("--platform", table.concat(bake.platforms, ",")) end
  if backend.no_cache then add "--no-cache" end
  for _, tag in ipairs(bake.tags) do add("--tag", tag) end
  add(fs.join(dir, bake.context or "."))
  return cmd
end

local function build_one(backend, uid, plan, tmp)
  local bake = plan.document.target[uid]
  local file = fs.join(backend.dir, bake.dockerfile)
  if not fs.is_file(file) then
    fail.raise { class = "usage", code = "ENOENT", where = bake.dockerfile, message = "no such Containerfile" }
  end
  backend.emit { type = "target_started", target = uid, platforms = bake.platforms }
  local metadata = fs.join(tmp, (uid:gsub("/", "_")) .. ".json")
  local cmd = M.command(backend, bake, metadata)
  local tail, r = images.run(backend, cmd, uid)
  if r.code ~= 0 then
    fail.raise { class = "build", code = "buildx.failed", message = "docker buildx build: " .. process.exit_reason(r),
      log = tail, command = cmd }
  end
  local text = fs.read(metadata)
  local entry = text and json.decode(text, { ordered = true })
  local result = images.result(uid, type(entry) == "table" and entry or nil, bake.tags)
  result.seconds = r.seconds
  return result
end

--- Builds targets side by side, as many as --jobs (4) says; with fail_fast none starts after a failure, those
--- that run are let finish.
---@param backend table
---@param plan table
---@param opts table as for Backend:build
---@param tmp string directory for metadata files
---@return table[] results in plan order
function M.build(backend, plan, opts, tmp)
  local order, results, failed = opts.only or plan.order, {}, false
  task.map(order, backend.jobs or 4, function(uid, i)
    local result
    if failed and opts.fail_fast then
      result = { uid = uid, status = "skipped", tags = {} }
    else
      local ok, value = pcall(build_one, backend, uid, plan, tmp)
      if not ok and task.is_cancelled(value) then error(value, 0) end
      failed = failed or not ok
      result = ok and value or { uid = uid, status = "failed", tags = {}, error = value }
      backend.emit(ok and { type = "target_done", target = uid, result = result }
        or { type = "target_failed", target = uid, error = value })
    end
    results[i] = result
    if opts.on_result then opts.on_result(result) end
    return true
  end)
  return results
end

return M
