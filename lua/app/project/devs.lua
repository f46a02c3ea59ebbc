--- Development versions: entries of `devVersions` resolved to versions. Look-ups go through the
--- resolver (see constraints.lua), which for products gets
--- resolver{kind="stream", product=, channel=, release_branch=, version=, oses={{name=, build_os=,
--- platforms=}…}} -> {version=, channel_latest=bool, urls={[os name]=url}, dropped={[os name]=err}}
--- | nil, err; an operating system without url is dropped.
local constraints = require "app.project.constraints"
local model = require "app.project.model"
local names = require "app.project.names"
local problems = require "app.project.problems"
local registries = require "app.project.registries"

local M = {}

-- What is the user's to mend, and not skipped: a pinned version that cannot be had, a resolver with
-- a mistake, a lock that does not fit.
local FATAL = { ["devspec.substitution"] = true, ["devspec.unavailable"] = true, ["resolver.script"] = true }

--- Does an error end the command, where others leave the development version out?
---@param err table
---@return boolean
function M.is_fatal(err) return FATAL[err.code] == true or err.class == "drift" end

local function warn(list, image, entry, message)
  list[#list + 1] = problems.at(image.project.source, entry._node, entry._path,
    "config.dev_version", ("%s: %s"):format(image.name, message), { level = "warning" })
end

M.NEWEST = { latest = true, count = 1 }

local function stream_request(entry, pin)
  return {
    kind = "stream",
    product = entry.product,
    channel = entry.channel,
    release_branch = pin.release_branch or entry.release_branch,
    version = pin.version or entry.version_override,
    oses = entry.os,
  }
end

--- What a resolver is asked for an entry of devVersions; nil when the file pins it.
---@param entry table
---@return table|nil request
function M.request(entry)
  if entry.version_override then return nil end
  if entry.source_type == "dependency" then return constraints.request(entry, M.NEWEST) end
  return stream_request(entry, {})
end

local function resolve_stream(image, entry, pin, resolver, warnings)
  if not resolver then
    return nil, problems.problem("config.no_resolver",
      ("%s %s has to be looked up, but no resolver is here"):format(entry.product, entry.channel))
  end
  local result, err = resolver(stream_request(entry, pin))
  if not result then
    return nil, err or problems.problem("config.resolve", ("no %s build"):format(entry.product))
  end
  local oses = {}
  for _, os in ipairs(entry.os) do
    local address = result.urls and result.urls[os.name]
    if address or not result.urls then
      local copy = {}
      for k, v in pairs(os) do copy[k] = v end
      copy.artifact_download_url = address or os.artifact_download_url
      oses[#oses + 1] = copy
    else
      local why = result.dropped and result.dropped[os.name]
      warn(warnings, image, entry, ("no %s build for %s, dropped%s"):format(entry.product, os.name,
        why and ": " .. tostring(why.message) or ""))
    end
  end
  if #oses == 0 then return nil, problems.problem("config.dev_version", "no OS has a build") end
  return { name = result.version, os = oses, channel_latest = result.channel_latest ~= false }
end

local function resolve_dependency(entry, pin, resolver)
  local pinned = pin.version or entry.version_override
  if pinned then return { name = pinned, os = entry.os, channel_latest = false } end
  local found, err = constraints.choose(entry, M.NEWEST, resolver)
  if not found then return nil, err end
  return { name = found[1], os = entry.os, channel_latest = true }
end

local function pinned_now(image, resolver)
  local out = {}
  for _, entry in ipairs(image.dependency_constraints) do
    local versions, err = constraints.resolve(entry, resolver)
    if not versions then return nil, constraints.located(image.project.source, entry, err) end
    out[#out + 1] = { dependency = entry.dependency, versions = versions }
  end
  return out
end

local function build(image, entry, found, resolver)
  local fields = {
    name = found.name,
    subpath = ".dev-" .. names.subpath(found.name),
    latest = false,
    is_dev = true,
    ephemeral = true,
    channel = entry.channel,
    channel_latest = found.channel_latest,
    os = found.os,
    values = entry.values,
    extra_registries = entry.extra_registries,
    override_registries = entry.override_registries,
  }
  if entry.source_type == "dependency" and image.matrix then
    fields.subpath, fields.ephemeral, fields.is_matrix = image.matrix.subpath, false, true
    fields.dependencies = { { dependency = entry.dependency, versions = { found.name } } }
  else
    local err
    fields.dependencies, err = pinned_now(image, resolver)
    if not fields.dependencies then return nil, err end
  end
  local out = model.version(fields, image)
  out._registries = registries.resolve(entry, image:registries())
  return out
end

local function describe(entry)
  return entry.source_type == "dependency" and entry.dependency
    or ("%s %s"):format(entry.product, entry.channel)
end

-- Resolves one entry and adds its version; false and the error for what ends the command.
local function add(image, entry, pin, resolver, out, warnings)
  local found, err
  if #entry.os == 0 then
    err = problems.problem("config.no_os", "no operating systems are defined")
  elseif entry.source_type == "dependency" then
    found, err = resolve_dependency(entry, pin, resolver)
  else
    found, err = resolve_stream(image, entry, pin, resolver, warnings)
  end
  local made
  if found then made, err = build(image, entry, found, resolver) end
  if made then
    out[#out + 1] = made
  elseif M.is_fatal(err) then
    return false, err.line and err or constraints.located(image.project.source, entry, err)
  else
    warn(warnings, image, entry, ("development version %s skipped: %s"):format(describe(entry),
      err.message or tostring(err)))
  end
  return true
end

--- The development versions of one image; entries that cannot be resolved are skipped with a
--- warning, except those that a dev-spec asks for by version.
---@param image table
---@param pins table|nil entry -> {version, release_branch}
---@param resolver function|nil
---@param channel string|nil only entries of this channel are looked up
---@return table[]|nil versions
---@return table warnings_or_err
function M.versions(image, pins, resolver, channel)
  local out, warnings = {}, {}
  for _, entry in ipairs(image.dev_versions) do
    if not channel or entry.channel == channel then
      local ok, err = add(image, entry, pins and pins[entry] or {}, resolver, out, warnings)
      if not ok then return nil, err end
    end
  end
  return out, warnings
end
return M
