--- A target: one image, version, variant and operating system with everything that its build needs.
local labels = require "app.plan.labels"
local names = require "app.project.names"
local options = require "app.project.options"
local schema = require "app.project.schema"
local tag_filter = require "bakery.tag"
local tags = require "app.plan.tags"

local M = {}

local Target = { __name = "bakery.target" }
Target.__index = Target
Target.__tostring = function(self) return self.display end

--- Identity of a target: file names, bake keys, metadata keys.
---@param image string
---@param version string
---@param variant string|nil
---@param os_name string|nil
---@param channel string|nil of a development version
---@return string
function M.uid(image, version, variant, os_name, channel)
  local parts = { image, version }
  parts[#parts + 1] = variant
  parts[#parts + 1] = os_name
  if channel and channel ~= "release" then parts[#parts + 1] = channel end
  return names.lower((table.concat(parts, "-"):gsub("[ .+/]", "-")))
end

--- The text that targets are sorted and reported by.
function M.display(image, version, variant, os_name)
  local parts = { ("image='%s'"):format(image), ("version='%s'"):format(version) }
  if variant then parts[#parts + 1] = ("variant='%s'"):format(variant) end
  if os_name then parts[#parts + 1] = ("os='%s'"):format(os_name) end
  return "ImageTarget(" .. table.concat(parts, ", ") .. ")"
end

--- What tells a selection apart.
---@param selection table {image, version, variant, os} of select.lua
---@return {uid: string, display: string, channel: string|nil}
function M.identity(selection)
  local image, version = selection.image.name, selection.version
  local variant, os_name = selection.variant and selection.variant.name, selection.os and selection.os.name
  local channel = version.is_dev and version.channel or nil
  return { uid = M.uid(image, version.name, variant, os_name, channel), channel = channel,
    display = M.display(image, version.name, variant, os_name) }
end

--- The file that a version directory has for an operating system and variant.
---@param dir string
---@param os_entry table|nil
---@param variant table|nil
---@return string
function M.containerfile(dir, os_entry, variant)
  local name = "Containerfile"
  if os_entry and os_entry.extension ~= "" then name = name .. "." .. os_entry.extension end
  if variant and variant.extension ~= "" then name = name .. "." .. variant.extension end
  return dir == "." and name or dir .. "/" .. name
end

local function args_of(version)
  local out = {}
  if not version.is_matrix then return out end
  for _, entry in ipairs(version.dependencies) do
    out[#out + 1] = { entry.dependency:upper() .. "_VERSION", entry.versions[1] }
  end
  for _, key in ipairs(version.values.keys) do
    out[#out + 1] = { key:upper(), version.values.values[key] }
  end
  return out
end

--- Secrets whose environment variable holds something; the others are named in `missing`.
---@param image table
---@param env fun(name: string): string|nil
---@return table[] secrets {id, env}
---@return table[] missing
function M.secrets(image, env)
  local out, missing = {}, {}
  for _, secret in ipairs(image.build_secrets) do
    local value = env(secret.env_var)
    local list = value and value ~= "" and out or missing
    list[#list + 1] = { id = secret.id, env = secret.env_var }
  end
  return out, missing
end

--- Reference of the registry layer cache; the architecture is part of it when there is only one.
---@param registry string
---@param image_name string
---@param version_name string
---@param os_tag string|nil spelling of the operating system in tags
---@param variant_tag string|nil spelling of the variant
---@param platforms string[]
---@return string
function M.cache_ref(registry, image_name, version_name, os_tag, variant_tag, platforms)
  local tag = tag_filter.safe((version_name:gsub("%+.*$", "")))
  if os_tag then tag = tag .. "-" .. os_tag end
  if variant_tag then tag = tag .. "-" .. variant_tag end
  if #platforms == 1 then
    tag = tag .. "-" .. platforms[1]:gsub("^linux/", ""):gsub("/", "-")
  end
  return ("%s/%s/cache:%s"):format(registry, image_name, tag)
end

local function flags_of(version, variant, os_entry)
  return {
    latest = version.latest,
    latestPatch = version.latest_patch == true,
    primaryOS = not os_entry or os_entry.primary,
    primaryVariant = not variant or variant.primary,
    channelLatest = not version.is_dev or version.channel_latest,
  }
end

--- Effective options of all tools by name, shared by the targets of an image and variant.
---@return table<string, table>
function Target:tool_options()
  local owner = self.model.variant or self.model.image
  if not owner._tool_options then
    owner._tool_options = {}
    for _, tool in ipairs(schema.TOOL_NAMES) do
      owner._tool_options[tool] = options.effective(self.model.image, self.model.variant, tool)
    end
  end
  return owner._tool_options
end

--- Labels in order; the creation time of the plan unless another is given.
---@param created string|nil
---@return table labels ordered object
function Target:labels(created)
  local m = self.model
  return labels.of(m.image, m.version, m.variant, m.os,
    { created = created or self.created, revision = self.revision })
end

--- Builds a target. Names are plain texts; the model objects are in `model`.
---@param selection table {image, version, variant, os, platforms} of select.lua
---@param context table {created, revision, secrets(image), memo}
---@return table|nil target
---@return table|nil err
function M.new(selection, context)
  local image, version = selection.image, selection.version
  local variant, os_entry = selection.variant, selection.os
  local identity = M.identity(selection)
  local channel = identity.channel
  local self = setmetatable({
    model = selection,
    image = image.name,
    version = version.name,
    variant = variant and variant.name,
    os = os_entry and os_entry.name,
    channel = channel,
    platforms = selection.platforms,
    uid = identity.uid,
    display = identity.display,
    flags = flags_of(version, variant, os_entry),
    image_dir = names.tidy(image.subpath),
    version_dir = names.directory(image, version),
    args = args_of(version),
    secrets = context.secrets(image),
    created = context.created,
    revision = context.revision,
    registries = version:registries(),
  }, Target)
  self.containerfile = M.containerfile(self.version_dir, os_entry, variant)
  self.build_target = version.build_target
  if self.build_target == nil then self.build_target = image.build_target end
  local err
  self.suffixes, err = tags.suffixes(tags.pool(image, variant), self.flags, {
    Version = version.name,
    OS = os_entry and os_entry.tag_display_name or "",
    Variant = variant and variant.tag_display_name or "",
    Channel = channel or "",
    Name = image.name,
  }, context.memo)
  if not self.suffixes then return nil, err end
  self.tags = tags.references(image.name, self.registries, self.suffixes)
  return self
end

--- Reference of the target in a registry layer cache.
---@param registry string
---@return string
function Target:cache_ref(registry)
  local m = self.model
  return M.cache_ref(registry, self.image, self.version, m.os and m.os.tag_display_name,
    m.variant and m.variant.tag_display_name, self.platforms)
end

--- Untagged repository that a temporary registry holds an image in.
---@param registry string
---@param image_name string
---@return string
function M.temp_ref(registry, image_name)
  return ("%s/%s/tmp"):format(registry, image_name)
end

function Target:temp_ref(registry) return M.temp_ref(registry, self.image) end

return M
