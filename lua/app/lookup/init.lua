--- Look-ups of a project: resolvers, the cache of answers and bakery.lock behind the one function that
--- the model calls (see app.project.constraints, app.project.devs).
local cache = require "app.lookup.cache"
local config = require "app.config"
local devs = require "app.project.devs"
local errors = require "bakery.error"
local fail = require "app.fail"
local locks = require "app.lookup.lock"
local resolver = require "bakery.resolver"
local task = require "bakery.task"
local version = require "bakery.version"

local M = {}

---@class app.lookup
---@field lock app.lookup.lock|nil
---@field locked boolean look-ups that are not in the lock fail
local Lookup = {}
Lookup.__index = Lookup

-- "PREFIX=URL PREFIX=URL", blanks or commas between.
local function mirrors_of_environment(out)
  for word in (os.getenv "BAKERY_RESOLVER_MIRRORS" or ""):gmatch "[^%s,]+" do
    local prefix, url = word:match "^(https?://[^=]+)=(https?://.+)$"
    if not prefix then
      fail.raise { class = "usage", code = "config.mirror",
        message = ("BAKERY_RESOLVER_MIRRORS: %q is not PREFIX=URL"):format(word) }
    end
    out[prefix] = url
  end
end

-- The user's file, then the project, then the environment: the later one wins for the same prefix.
local function mirrors(project)
  local out = {}
  for _, owner in ipairs { config.load(), project } do
    for prefix, url in pairs(owner.resolvers and owner.resolvers.mirrors.values or {}) do out[prefix] = url end
  end
  mirrors_of_environment(out)
  return out
end

local function seconds_of_environment()
  local text = os.getenv "BAKERY_RESOLVER_TIMEOUT"
  if not text or text == "" then return nil end
  local n = tonumber(text)
  if not n or n <= 0 then
    fail.raise { class = "usage", code = "usage",
      message = "BAKERY_RESOLVER_TIMEOUT: expected seconds, got '" .. text .. "'" }
  end
  return n
end

---@class app.lookup.options
---@field offline boolean|nil
---@field locked boolean|nil
---@field live boolean|nil take no notice of bakery.lock
---@field warn fun(text: string)
---@field note fun(text: string)|nil what was found, for -v

--- Opens the look-ups of a project; nothing is asked yet. Raises an error object when the lock or the
--- settings cannot be read.
---@param project table
---@param opts app.lookup.options
---@return app.lookup
function M.open(project, opts)
  require("app.recipe").setup_resolvers(project.dir)
  local answers = cache.open { dir = config.cache_dir() .. "/lookups", ttl = cache.ttl(os.getenv "BAKERY_CACHE_EXPIRE_AFTER"),
    offline = opts.offline, timeout = seconds_of_environment(), mirrors = mirrors(project), warn = opts.warn }
  local lock, err
  if not opts.live then lock, err = locks.read(project.dir) end
  if err then error(err, 0) end
  local self = setmetatable({ project = project, cache = answers, lock = lock, locked = opts.locked == true,
    warn = opts.warn, note = opts.note or function() end, done = task.once(), told = {} }, Lookup)
  self.io = {
    get = function(url, o) return answers:get(url, o) end,
    head = function(url) return answers:head(url) end,
    tags = function(repository) return answers:tags(repository) end,
  }
  self.resolver = function(request)
    if request.kind == "stream" then return self:stream(request) end
    return self:versions(request)
  end
  return self
end

-- fn() once per key in this process; tasks that ask at the same time share it.
local function once(self, key, fn)
  local kept = self.done:run(key, function() return table.pack(fn()) end)
  return table.unpack(kept, 1, kept.n)
end

local SIDE_BY_SIDE = 8

--- Makes look-ups that will be asked for soon side by side. What goes wrong is said when they are.
---@param requests table[] as self.resolver takes them
function Lookup:prefetch(requests)
  if #requests < 2 then return end
  task.map(requests, SIDE_BY_SIDE, function(request) self.resolver(request) end)
end

-- An error with the dependency or product in front.
local function named(name, err)
  local copy = {}
  for k, v in pairs(err) do copy[k] = v end
  for _, k in ipairs { "code", "class", "message", "retryable", "where", "hint" } do copy[k] = err[k] end
  if copy.message:sub(1, #name + 2) ~= name .. ": " then copy.message = name .. ": " .. copy.message end
  return errors.new(copy)
end

--- Versions of a dependency as its resolver gives them now.
---@param request { dependency: string, from?: string, prerelease?: boolean }
---@return string[]|nil
---@return table? err
function Lookup:available(request)
  local from = request.from or request.dependency
  local name, argument = from:match "^([^:]*):?(.*)$"
  return once(self, ("versions\0%s\0%s"):format(from, request.prerelease), function()
    local list, err = resolver.versions({ resolver = name, argument = argument ~= "" and argument or nil,
      name = request.dependency, prerelease = request.prerelease }, self.io)
    if not list then return nil, named(request.dependency, err) end
    self.note(("%s: %d versions known"):format(request.dependency, #list))
    return list
  end)
end

-- Says once that a look-up is not in the lock; an error when it has to be.
function Lookup:missing(key, what)
  local message = ("%s %s"):format(what, self.lock and "is not in bakery.lock" or "is not pinned: there is no bakery.lock")
  if self.locked then
    return errors.new { class = "drift", code = "lock.missing", message = message, hint = "run `bakery lock`" }
  end
  if self.lock and not self.told[key] then
    self.told[key] = true
    self.warn(message .. " and is looked up (run `bakery lock`)")
  end
end

-- Pinned versions, when they still are what the constraint chooses among them.
function Lookup:pinned(key, constraint)
  local pins = self.lock and self.lock.dependencies[key]
  if not pins then return nil end
  local kept = version.resolve(constraint, pins)
  if kept and table.concat(kept, "\0") == table.concat(pins, "\0") then return pins end
  return nil, ("%s: the versions in bakery.lock (%s) do not meet the constraint"):format(key, table.concat(pins, ", "))
end

--- Versions that a constraint may choose from: those of the lock, else all that there are.
---@param request { dependency: string, from?: string, prerelease?: boolean, constraint?: table }
---@return string[]|nil
---@return table? err
function Lookup:versions(request)
  if request.constraint then
    local key = locks.versions_key(request)
    local pins, wrong = self:pinned(key, request.constraint)
    if pins then return pins end
    if wrong and self.locked then
      return nil, errors.new { class = "drift", code = "lock.mismatch", message = wrong, hint = "run `bakery lock`" }
    end
    local err = self:missing(key, key)
    if err then return nil, err end
  end
  return self:available(request)
end

-- --- products -------------------------------------------------------------------------------------------

--- The build of a product for one operating system as its resolver gives it now.
---@param request table {product, channel, release_branch, version}
---@param os table
---@return bakery.resolver.build|nil
---@return table? err
function Lookup:build(request, os)
  local build_os = os.build_os
  local key = table.concat({ "build", request.product, request.channel, request.release_branch or "",
    request.version or "", build_os.name, build_os.version }, "\0")
  return once(self, key, function()
    local found, err = resolver.build({ resolver = request.product, name = request.product,
      channel = request.channel, branch = request.release_branch, pin = request.version }, os, self.io)
    if not found then return nil, named(request.product, err) end
    self.note(("%s %s for %s: %s"):format(request.product, request.channel, os.name, found.version))
    return found
  end)
end

function Lookup:locked_build(request, os)
  if request.version then return self:build(request, os) end -- pinned by who asks
  local key = locks.stream_key(request)
  local entry = self.lock and self.lock.streams[key]
  local pin = entry and entry[os.name]
  if pin then return pin end
  if pin == false then
    return nil, errors.new { class = "infra", code = "resolver.none",
      message = ("%s: bakery.lock says that there is no build"):format(key) }
  end
  local err = self:missing(key .. "\0" .. os.name, ("%s for %s"):format(key, os.name))
  if err then return nil, err end
  return self:build(request, os)
end

-- Architectures in a URL become the variable that builders set, unless amd64 is all there is.
local function generalise(url, platforms)
  if #platforms == 1 and platforms[1] == "linux/amd64" then return url end
  return (url:gsub("amd64", "$TARGETARCH"):gsub("x86_64", "$TARGETARCH"))
end

--- The builds of a product for the operating systems of a development version.
---@param request table {product, channel, release_branch, version, oses}
---@return { version: string, channel_latest: boolean, urls: table<string, string>, dropped: table<string, table> }|nil
---@return table? err when no operating system has a build
function Lookup:stream(request)
  local out, first_error = { urls = {}, dropped = {} }, nil
  for _, os in ipairs(request.oses) do
    local found, err = self:locked_build(request, os)
    if found then
      out.urls[os.name] = generalise(found.url, os.platforms)
      if not out.version then
        out.version, out.channel_latest = found.version, not request.version or request.version == found.newest
      end
    elseif devs.is_fatal(err) then
      return nil, err
    else
      out.dropped[os.name] = err
      first_error = first_error or err
    end
  end
  if not out.version then return nil, first_error end
  return out
end

return M
