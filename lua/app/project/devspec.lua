--- The dev-spec (`--dev-spec`, BAKERY_DEV_SPEC): pins one development version of each image.
local json = require "bakery.json"
local suggest = require "bakery.suggest"
local problems = require "app.project.problems"

local M = {}

local KEYS = { "version", "channel", "release_branch" }
local CHANNELS = { release = true, preview = true, daily = true }

local function fail(message, hint)
  return nil, problems.problem("devspec.invalid", "dev-spec: " .. message, { hint = hint })
end

local function identifiers(text, class, numeric_strict)
  if text == "" or text:find("^%.") or text:find("%.$") or text:find("..", 1, true) then
    return false
  end
  for part in text:gmatch("[^.]+") do
    if part:find("[^" .. class .. "]") then return false end
    if numeric_strict and part:find("^0%d+$") then return false end
  end
  return true
end

--- A calendar version A.B.C[-pre][+build] in full.
---@param text string
---@return boolean
function M.is_calver(text)
  local core, build = text:match("^([^+]*)%+(.*)$")
  if build and not identifiers(build, "0-9A-Za-z-", false) then return false end
  core = core or text
  local numbers, pre = core:match("^([%d.]+)%-(.*)$")
  if pre and not identifiers(pre, "0-9A-Za-z-", true) then return false end
  local a, b, c = (numbers or core):match("^(%d+)%.(%d+)%.(%d+)$")
  return b ~= nil and not a:find("^0%d") and not c:find("^0%d")
end

--- Reads and checks a dev-spec.
---@param text string JSON object
---@return table|nil spec {version, channel, release_branch}
---@return table|nil err
function M.parse(text)
  local value, err = json.decode(text, { null = false })
  if value == nil and err then return fail(err.message or tostring(err)) end
  if type(value) ~= "table" or getmetatable(value) == json.array_mt then
    return fail("expected a JSON object")
  end
  local spec = {}
  for key, member in pairs(value) do
    if type(key) ~= "string" or not (key == "version" or key == "channel"
      or key == "release_branch") then
      local near = suggest.nearest(tostring(key), KEYS)
      return fail(("unknown key %q"):format(tostring(key)),
        near and ("did you mean %q?"):format(near))
    end
    if member ~= false then
      if type(member) ~= "string" then return fail(("%s must be a text"):format(key)) end
      member = member:match("^%s*(.-)%s*$")
      if member == "" then return fail(("%s must not be empty"):format(key)) end
      spec[key] = member
    end
  end
  if not spec.version and not spec.release_branch then
    return fail("version or release_branch is needed")
  end
  if spec.channel and not CHANNELS[spec.channel] then
    return fail(("channel %q is not one of release, preview, daily"):format(spec.channel))
  end
  if spec.version and not M.is_calver(spec.version) then
    return fail(("version %q is not a calendar version such as 2026.06.0"):format(spec.version))
  end
  return spec
end

--- Which entry of an image the spec pins.
---@param image table
---@param spec table
---@param dev_channel string|nil `--dev-channel`
---@return table|nil pins entry -> {version, release_branch}
---@return table err_or_warnings
function M.apply(image, spec, dev_channel)
  local channel = dev_channel or spec.channel
  local found, warnings = {}, {}
  for _, entry in ipairs(image.dev_versions) do
    if not channel or entry.channel == channel then found[#found + 1] = entry end
  end
  if #found > 1 then
    return fail(("image %q has %d development versions that the spec could mean"):format(image.name,
      #found), "disambiguate with a channel")
  end
  local entry = found[1]
  if not entry then return {}, warnings end
  local pin = { version = spec.version, release_branch = spec.release_branch }
  if entry.source_type == "stream" then
    if spec.version then pin.release_branch = spec.version:match("^%d+%.%d+") end
  elseif not spec.version then
    warnings[1] = problems.problem("devspec.branch",
      ("image %q: a dependency has no release branch; the latest version is taken"):format(
        image.name), { level = "warning" })
  end
  return { [entry] = pin }, warnings
end

return M
