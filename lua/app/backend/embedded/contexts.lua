--- Named build contexts (--build-context, bake's `contexts`): what FROM NAME, COPY --from=NAME and
--- RUN --mount=from=NAME mean when no stage has the name.
local archive = require "bakery.archive"
local containerfile = require "bakery.containerfile"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local config = require "app.config"
local fail = require "app.fail"
local lazy = require "app.lazy"
local git = lazy "app.backend.embedded.git"
local images = require "app.backend.embedded.images"
local limits = require "app.backend.embedded.limits"
local fetch = lazy "app.backend.embedded.fetch"

local M = {}

-- What bakery itself keeps below a context is no part of it: a store would be copied into itself without an
-- end, and what tells of the last run makes every build another one.
local function without_own(build, root, lines)
  local out, dir = table.move(lines or {}, 1, #(lines or {}), 1, {}), fs.realpath(root)
  for _, own in ipairs { build.store.dir, config.state_dir(), config.cache_dir() } do
    own = fs.realpath(own)
    local path = own and dir and own ~= dir and fs.relative(own, dir)
    if path and path ~= ".." and path:sub(1, 3) ~= "../" then out[#out + 1] = "/" .. path:gsub("[*?%[\\]", "\\%0") end
  end
  return out[1] and out or lines
end

--- The ignore lines of a directory, or of a Containerfile's context: of the first of the known files
--- that exists.
---@param build table the running build
---@param target string uid, for the warning when there are two
---@param root string
---@param path string|nil the Containerfile; nil: only the directory's own files count
---@return string[]|nil
function M.ignore_lines(build, target, root, path)
  local used, lines
  for i, candidate in ipairs(containerfile.ignore_files(path or "", root)) do
    if path or i > 2 then
      if fs.exists(candidate) and not fs.is_file(candidate) then -- a fifo would keep us waiting
        fail.raise { class = "usage", code = "containerfile.ignore", message = candidate .. " is no regular file" }
      end
      local text = fs.read(candidate, 1 << 20)
      if text and not used then
        used = candidate
        lines = fail.check(containerfile.ignore_lines(text, { name = candidate }))
      elseif text then
        build:warn(target, used, ("%s is not looked at, because %s exists"):format(fs.basename(candidate), fs.basename(used)))
      end
    end
  end
  return without_own(build, root, lines)
end

local make = {}

function make.image(build, where, value, platform)
  if value == "docker-image://scratch" then return { scratch = true } end
  return { image = images.resolve(build, value:match("^docker%-image://(.*)$"), platform, where.target) }
end

make["oci-layout"] = function(build, where, value, platform)
  local dir = value:match("^oci%-layout://(.*)$")
  local path, name = dir:match("^(.-)@(sha%d+:%x+)$")
  if not path then
    path, name = dir:match("^(.+):([%w_][%w._-]*)$")
    if not path then path = dir end
  end
  local layout = fail.within(value, oci.layout(fs.join(build.dir, path)))
  local found = fail.within(value, layout:resolve(name, platform))
  local image = images.import(build, layout, found, value, platform)
  layout:close()
  return { image = images.remember(build, where.target, image, platform) }
end

function make.target(build, where, value, platform)
  local image = images.of_target(build, value:match("^target:(.*)$"), platform, where.target)
  return { image = images.remember(build, where.target, image, platform) }
end

function make.git(build, where, value)
  local repo = git.resolve(build, where, value)
  local dir = fail.check(build.store:tmpdir())
  return { root = git.checkout(build, repo, dir .. "/git", repo.keep) }
end

function make.http(build, where, value)
  local file = fetch.url(build, where, value)
  local dir = fail.check(build.store:tmpdir()) .. "/files"
  if fail.check_bool(archive.sniff(file.path)) then
    local done, err = limits.explain(archive.unpack { file = file.path, dir = dir, uid = 0, gid = 0, rootless = build.rootless,
      limits = limits.foreign() })
    fail.within(value, done, err)
  else
    fail.check(fs.mkdir(dir))
    fail.check(fs.copy(file.path, dir .. "/" .. file.name))
    fail.check(fs.utime(dir .. "/" .. file.name, file.mtime))
  end
  return { root = dir, dated = true } -- times of the server, or of the archive
end

function make.dir(build, where, value, _, name)
  local root = fs.join(build.dir, value)
  if not fs.is_dir(root) then
    fail.raise { class = "usage", code = "build.no_context", message = ("the build context '%s' is no directory: %s"):format(name, value),
      hint = "contexts are a directory, docker-image://, oci-layout://, target: or a URL" }
  end
  return { root = root, ignore = M.ignore_lines(build, where.target, root) }
end

--- What a context's value is, by the rules of the command line: dir, image, oci-layout, target, git or http.
---@param value string
---@return string
function M.kind(value) return (require("app.plan.inputs").context(value)) end

--- What a named context is: { root=directory, ignore=lines|nil, dated=true|nil }, { image=image } or { scratch=true }; dated:
--- the times of its files belong to the content.
---@param build table the running build
---@param where table of the target: contexts, target, secrets
---@param name string as in where.contexts
---@param platform string
---@return table
function M.resolve(build, where, name, platform)
  local value = where.contexts[name]
  return build.once:run(("context:%s\0%s\0%s\0%s"):format(where.target, name, value, platform), function()
    return make[M.kind(value)](build, where, value, platform, name)
  end)
end

--- Where `from` of COPY, ADD or a mount takes its files: as bakery.containerfile's plan resolves it.
---@param from table|nil { stage= } | { image= } | { context= } | { scratch= }; nil: the build context
---@return table { root=, ignore= } or { chain=, preserve=true }
function M.source(build, where, from)
  if not from then return { root = where.context, ignore = where.ignore } end
  if from.stage then return { chain = where.stage_chain(from.stage), preserve = true } end
  if from.image then
    return { chain = images.resolve(build, from.image, from.platform or where.platform, where.target).chain, preserve = true }
  end
  local found = from.scratch and from or M.resolve(build, where, from.context, from.platform or where.platform)
  if found.scratch then return { chain = require("app.backend.embedded.chain").empty, preserve = true } end
  if found.image then return { chain = found.image.chain, preserve = true } end
  return { root = found.root, ignore = found.ignore, dated = found.dated }
end

--- Names of contexts as a set, for bakery.containerfile.stages.
---@param contexts table|nil
---@return table<string, boolean>
function M.names(contexts)
  local out = {}
  for name in json.pairs(contexts or {}) do out[name] = true end
  return out
end

return M
