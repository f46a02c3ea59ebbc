--- The one selector: which versions, variants, operating systems and platforms the filters leave.
--- Every command selects through this module.
local constraints = require "app.project.constraints"
local lazy = require "app.lazy"
local devs = lazy "app.project.devs"
local devspec = lazy "app.project.devspec"
local expr = lazy "app.plan.expr"
local matrix = lazy "app.project.matrix"
local problems = require "app.project.problems"
local regex = require "bakery.regex"
local version = require "bakery.version"

local M = {}

local MODES = { include = true, exclude = true, only = true }
local CHANNELS = { release = true, preview = true, daily = true }

---@class app.plan.filters
---@field image_name string|nil regular expression, searched
---@field image_version string|nil version or prefix of one
---@field image_variant string|nil regular expression
---@field image_os string|nil regular expression
---@field image_platform string|string[]|nil regular expressions
---@field select string|nil expression of expr.lua
---@field latest boolean|nil
---@field matrix_versions "include"|"exclude"|"only"|nil default exclude
---@field dev_versions "include"|"exclude"|"only"|nil default exclude
---@field dev_channel "release"|"preview"|"daily"|nil
---@field dev_spec string|table|nil JSON text or a parsed spec
---@field changes table|nil change set (app.ci.changes): keeps only what it allows

local function usage(message, hint)
  return problems.problem("select.filter", message, { hint = hint })
end

local function compile(option, pattern)
  local re, err = regex.compile(pattern)
  if re then return re end
  return nil, usage(("%s: %q is not a regular expression: %s"):format(option, pattern,
    err and (err.message or tostring(err)) or "?"))
end

-- Filters checked and compiled.
local function prepare(filters)
  local out = { latest = filters.latest == true, image_version = filters.image_version, changes = filters.changes }
  for _, name in ipairs { "image_name", "image_variant", "image_os" } do
    if filters[name] then
      local err
      out[name], err = compile("--" .. name:gsub("_", "-"), filters[name])
      if not out[name] then return nil, err end
    end
  end
  local platforms = filters.image_platform or {}
  if type(platforms) == "string" then platforms = { platforms } end
  if #platforms > 0 then
    out.platforms = {}
    for i, pattern in ipairs(platforms) do
      local re, err = compile("--image-platform", pattern)
      if not re then return nil, err end
      out.platforms[i] = re
    end
  end
  if filters.select then
    local err
    out.select, err = expr.parse(filters.select)
    if not out.select then return nil, err end
  end
  for _, name in ipairs { "matrix_versions", "dev_versions" } do
    out[name] = filters[name] or "exclude"
    if not MODES[out[name]] then
      return nil, usage(("--%s: %q is not one of include, exclude, only"):format(
        name:gsub("_", "-"), out[name]))
    end
  end
  if filters.dev_channel and not CHANNELS[filters.dev_channel] then
    return nil, usage(("--dev-channel: %q is not one of release, preview, daily"):format(
      filters.dev_channel))
  end
  out.dev_channel = filters.dev_channel
  if filters.dev_spec and out.dev_versions ~= "exclude" then
    local spec, err = filters.dev_spec, nil
    if type(spec) == "string" then spec, err = devspec.parse(spec) end
    if not spec then return nil, err end
    if spec.channel and out.dev_channel and spec.channel ~= out.dev_channel then
      return nil, usage(("--dev-channel %s contradicts the channel %s of the dev-spec"):format(
        out.dev_channel, spec.channel))
    end
    out.dev_spec = spec
  end
  out.channel = out.dev_channel or (out.dev_spec and out.dev_spec.channel)
  return out
end

--- State of one selection run.
local Run = {}
Run.__index = Run

function Run:warn(code, message)
  local warning = problems.problem(code, message, { level = "warning" })
  self.warnings[#self.warnings + 1] = warning
end

-- Why something was left out, for --explain.
function Run:skip(reason, ...)
  if not self.explain then return end
  local words = {}
  for i = 1, select("#", ...) do words[#words + 1] = select(i, ...) end
  self.skipped[#self.skipped + 1] = { what = table.concat(words, " "), reason = reason }
end

function Run:general_warnings()
  local f = self.filters
  if f.dev_channel and f.dev_versions == "exclude" then
    self:warn("select.no_effect", "--dev-channel has no effect without --dev-versions")
  end
  if f.latest and f.dev_versions ~= "exclude" then
    self:warn("select.no_effect", "--latest never selects development versions")
  end
end

-- Candidate versions of an image after the matrix gate; nil and a reason when it is skipped.
function Run:candidates(image)
  local f = self.filters
  if image.matrix and f.matrix_versions == "exclude" then
    return nil, "it has a matrix, and --matrix-versions is exclude"
  end
  if not image.matrix and f.matrix_versions == "only" then
    return nil, "it has no matrix, and --matrix-versions is only"
  end
  local list = {}
  local touched = not f.changes or f.changes:touches(image)
  if f.dev_versions ~= "only" and touched then
    local own, extra = image.versions, nil
    if image.matrix then
      own, extra = matrix.rows(image.matrix, self.resolver)
      if not own then return false, extra end
    end
    for _, warning in ipairs(extra or {}) do self.warnings[#self.warnings + 1] = warning end
    table.move(own, 1, #own, 1, list)
  end
  touched = not f.changes or f.changes:touches_dev(image)
  if f.dev_versions ~= "exclude" and #image.dev_versions > 0 and touched then
    local pins, found
    if f.dev_spec then
      pins, found = devspec.apply(image, f.dev_spec, f.dev_channel)
      if not pins then return false, found end
      for _, warning in ipairs(found) do self.warnings[#self.warnings + 1] = warning end
    end
    local made, extra = devs.versions(image, pins, self.resolver, f.channel)
    if not made then return false, extra end
    for _, warning in ipairs(extra) do self.warnings[#self.warnings + 1] = warning end
    table.move(made, 1, #made, #list + 1, list)
  end
  return list
end

-- Whether the filters keep a version; false with a reason otherwise.
function Run:keeps(image, candidate)
  local f = self.filters
  if candidate.is_dev and f.channel and candidate.channel ~= f.channel then
    return false, ("its channel is not %s"):format(f.channel)
  end
  if f.image_version and not version.matches_filter(candidate.name, f.image_version) then
    return false, nil
  end
  if f.latest and (candidate.is_dev or not candidate.latest) then
    return false, "it is not the latest version"
  end
  if f.changes and not f.changes:allows(image, candidate) then return false, "nothing of it changed" end
  return true
end

local function any_matches(list, text)
  for _, re in ipairs(list) do
    if re:search(text) then return true end
  end
  return false
end

function Run:platforms_of(os_entry)
  if not self.filters.platforms then return os_entry.platforms end
  local out = {}
  for _, platform in ipairs(os_entry.platforms) do
    if any_matches(self.filters.platforms, platform) then out[#out + 1] = platform end
  end
  return out
end

function Run:add(image, candidate, variant, os_entry, platforms)
  local selection = {
    image = image,
    version = candidate,
    variant = variant,
    os = os_entry,
    platforms = platforms,
  }
  if self.filters.select then
    selection.platforms = {}
    for _, platform in ipairs(platforms) do
      if self.filters.select:holds(selection, platform) then
        table.insert(selection.platforms, platform)
      end
    end
    if #selection.platforms == 0 then
      return self:skip("--select", image.name, candidate.name, variant and variant.name,
        os_entry and os_entry.name)
    end
  end
  self.list[#self.list + 1] = selection
end

-- Operating systems and platforms of one version and variant.
function Run:expand_os(image, candidate, variant)
  local f = self.filters
  if #candidate.os == 0 then
    return self:add(image, candidate, variant, nil, { "linux/amd64" })
  end
  for _, os_entry in ipairs(candidate.os) do
    if f.image_os and not f.image_os:search(os_entry.name) then
      self:skip("--image-os", image.name, candidate.name, os_entry.name)
    else
      local platforms = self:platforms_of(os_entry)
      if f.platforms and #platforms == 0 then
        self:skip("--image-platform", image.name, candidate.name, os_entry.name)
      else
        self:add(image, candidate, variant, os_entry, platforms)
      end
    end
  end
end

function Run:expand(image, candidate)
  local f = self.filters
  if #candidate.os == 0 and (f.image_os or f.platforms) then
    self:warn("select.no_os",
      ("%s %s has no operating systems: the OS and platform filters are ignored for it"):format(
        image.name, candidate.name))
  end
  if #image.variants == 0 then
    if f.image_variant then return self:skip("--image-variant: the image has none", image.name) end
    return self:expand_os(image, candidate, nil)
  end
  for _, variant in ipairs(image.variants) do
    if f.image_variant and not f.image_variant:search(variant.name) then
      self:skip("--image-variant", image.name, candidate.name, variant.name)
    else
      self:expand_os(image, candidate, variant)
    end
  end
end

function Run:image(image)
  local f = self.filters
  local list, reason = self:candidates(image)
  if list == false then return nil, reason end
  if not list then
    if f.image_name then
      self:warn("select.skipped", ("image %q is skipped: %s"):format(image.name, reason))
    end
    self:skip(reason, image.name)
    return true
  end
  local before = #self.list
  for _, candidate in ipairs(list) do
    local keep, why = self:keeps(image, candidate)
    if keep then
      self:expand(image, candidate)
    else
      if f.image_version and why then
        self:warn("select.dropped", ("%s %s matches --image-version but is left out: %s"):format(
          image.name, candidate.name, why))
      end
      self:skip(why or "--image-version", image.name, candidate.name)
    end
  end
  if f.image_name and #self.list == before then
    self:warn("select.nothing", ("image %q matches --image-name but gives no targets"):format(
      image.name))
  end
  return true
end

-- Look-ups that the chosen images will need, for Run.prefetch. A dev-spec asks for others, and a
-- change set may need fewer: nothing is foreseen then.
function Run:requests(images)
  local f, out = self.filters, {}
  local function constraints_of(list)
    for _, entry in ipairs(list) do out[#out + 1] = constraints.request(entry) end
  end
  for _, image in ipairs(images) do
    local skipped = image.matrix and f.matrix_versions == "exclude" or not image.matrix and f.matrix_versions == "only"
    if not skipped and image.matrix and f.dev_versions ~= "only" then constraints_of(image.matrix.dependency_constraints) end
    local any = false
    for _, entry in ipairs(not skipped and f.dev_versions ~= "exclude" and image.dev_versions or {}) do
      if not f.channel or entry.channel == f.channel then
        any = true
        out[#out + 1] = devs.request(entry)
      end
    end
    if any then constraints_of(image.dependency_constraints) end
  end
  return out
end

--- Applies the filters to a project.
---@param project table
---@param filters app.plan.filters|nil
---@param opts {resolver: function|nil, prefetch: function|nil, explain: boolean|nil}|nil
---@return table[]|nil selections {image, version, variant, os, platforms} in file order
---@return table warnings_or_err
---@return table[]|nil skipped {what, reason} with opts.explain
function M.run(project, filters, opts)
  opts = opts or {}
  local prepared, err = prepare(filters or {})
  if not prepared then return nil, err end
  local run = setmetatable({
    filters = prepared,
    resolver = opts.resolver,
    explain = opts.explain,
    list = {},
    skipped = {},
    warnings = problems.list(),
  }, Run)
  run:general_warnings()
  if opts.prefetch and not prepared.changes and not prepared.dev_spec then
    local chosen = {}
    for _, image in ipairs(project.images) do
      if not prepared.image_name or prepared.image_name:search(image.name) then chosen[#chosen + 1] = image end
    end
    opts.prefetch(run:requests(chosen))
  end
  for _, image in ipairs(project.images) do
    if prepared.image_name and not prepared.image_name:search(image.name) then
      run:skip("--image-name", image.name)
    else
      local ok
      ok, err = run:image(image)
      if not ok then return nil, err end
    end
  end
  return run.list, run.warnings, run.skipped
end

local SHOWN = { "image_name", "image_version", "image_variant", "image_os", "image_platform",
  "select", "latest", "dev_versions", "dev_channel", "matrix_versions" }

--- The active filters as command-line text, for messages about an empty selection.
---@param filters app.plan.filters
---@return string
function M.describe(filters)
  local out = {}
  for _, name in ipairs(SHOWN) do
    local value = filters[name]
    local option = "--" .. name:gsub("_", "-")
    if value == true then
      out[#out + 1] = option
    elseif type(value) == "table" then
      for _, item in ipairs(value) do out[#out + 1] = option .. " " .. item end
    elseif value then
      out[#out + 1] = option .. " " .. value
    end
  end
  return #out > 0 and table.concat(out, " ") or "none"
end

return M
