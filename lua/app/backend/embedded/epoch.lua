--- The time of a source that SOURCE_DATE_EPOCH names: `ARG SOURCE_DATE_EPOCH=source` before FROM, where source is
--- a named context, or a stage that is nothing but one ADD from outside.
local archive = require "bakery.archive"
local containerfile = require "bakery.containerfile"
local fs = require "bakery.fs"
local contexts = require "app.backend.embedded.contexts"
local fail = require "app.fail"
local fetch = require "app.backend.embedded.fetch"
local git = require "app.backend.embedded.git"
local limits = require "app.backend.embedded.limits"

local M = {}

-- Newest of the files in an archive.
local function newest(build, path)
  if not fail.check_bool(archive.sniff(path)) then return nil end
  local dir, latest = fail.check(build.store:tmpdir()), nil
  local done, err = limits.explain(archive.unpack { file = path, dir = dir .. "/files", rootless = build.rootless,
    limits = limits.foreign() })
  for _, e in ipairs(done and fail.check(fs.walk(dir .. "/files")) or {}) do
    local time = e.type == "file" and fail.check(fs.stat(dir .. "/files/" .. e.path, false)).mtime
    if time and time > (latest or -math.huge) then latest = time end
  end
  build.store:remove_tmp(dir)
  fail.within(path, done, err)
  return latest
end

-- What the server says, else what the archive says.
local function http_time(build, where, url, checksum)
  local file = fetch.url(build, where, url, checksum)
  return file.mtime ~= 0 and file.mtime or newest(build, file.path)
end

local function git_time(build, where, source, checksum)
  local dir = fail.check(build.store:tmpdir())
  local root = git.checkout(build, git.resolve(build, where, source, checksum), dir .. "/git")
  local time = fail.check(fs.stat(root)).mtime -- all of a checkout has the time of its commit
  build.store:remove_tmp(dir)
  return time
end

local function bad(plan, stage, message)
  fail.raise { class = "usage", code = "containerfile.epoch", where = ("%s:%d"):format(plan.name, stage.from.line), line = stage.from.line,
    message = ("the stage '%s' that SOURCE_DATE_EPOCH names %s"):format(stage.name, message),
    hint = "it is FROM scratch, ARGs and one ADD of one URL or git source" }
end

-- The ADD of a stage that consists of it.
local function only_add(plan, stage)
  if not stage.base.scratch then bad(plan, stage, "must be FROM scratch") end
  local state, add = fail.check(containerfile.state(stage, { globals = plan })), nil
  for step, err in state:steps() do
    fail.check(step, err)
    if step.name ~= "ARG" and step.name ~= "ADD" then bad(plan, stage, "may not have " .. step.name) end
    if step.name == "ADD" then
      if add or not step.remotes or #step.sources ~= 1 or #step.inline > 0 then bad(plan, stage, "needs one ADD of one source from outside") end
      add = step
      state:add_layer "sha256:"
    end
  end
  return add or bad(plan, stage, "has no ADD")
end

local TIMES = { git = git_time, http = http_time }

--- Seconds, or nil when the source has no time.
---@param build table the running build
---@param where table of the target
---@param plan table of bakery.containerfile, with epoch_source
---@return integer|nil
function M.of(build, where, plan)
  local source = plan.epoch_source
  if source.stage then
    local add = only_add(plan, plan.stages[source.stage])
    return TIMES[add.remotes[1]](build, where, add.sources[1], add.checksum)
  end
  local value = where.contexts[source.context]
  local time = TIMES[contexts.kind(value)]
  return time and time(build, where, value)
end

return M
