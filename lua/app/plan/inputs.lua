--- Small languages inside a plan: what a context, a secret, an annotation, a size or a limit is
--- written like (docker buildx build, bake).
local containerfile = require "bakery.containerfile"

local M = {}

-- "a=b,c" as a map; a word alone is true.
local function csv(text)
  local out = {}
  for field in (text .. ","):gmatch("([^,]*),") do
    local key, value = field:match("^([^=]+)=(.*)$")
    if key then out[key:lower()] = value
    elseif field ~= "" then out[field] = true end
  end
  return out
end

--- Kind of a build context and its normal text.
---@param text string
---@return string kind "image", "oci-layout", "target", "git", "http" or "dir"
---@return string text
function M.context(text)
  if text:find("^docker%-image://") then return "image", text end
  if text:find("^oci%-layout://") then return "oci-layout", text end
  if text:find("^target:") then return "target", text end
  local remote = containerfile.remote(text)
  if remote then return remote, text end
  return "dir", text
end

--- A secret: "id=ID,src=FILE", "id=ID,env=VAR", "id=ID" (the variable ID), or bake's object.
---@param value string|table
---@return { id: string, src?: string, env?: string }|nil
---@return string? problem
function M.secret(value)
  local field = type(value) == "string" and csv(value) or value
  local id = field.id
  if type(id) ~= "string" or id == "" then return nil, "a secret needs an id" end
  local src, env = field.src or field.source, field.env
  if src and env then return nil, "a secret is either a file or a variable" end
  for key in pairs(field) do
    if key ~= "id" and key ~= "src" and key ~= "source" and key ~= "env" and key ~= "type" then
      return nil, ("unknown field '%s'"):format(tostring(key))
    end
  end
  if field.type == "env" and src then src, env = nil, src end
  if field.type == "file" and not src then src = id end
  if not src and not env then env = id end
  return { id = id, src = src, env = env }
end

local LEVELS = { manifest = true, index = true, ["manifest-descriptor"] = true, ["index-descriptor"] = true }

--- An annotation: "[LEVEL[PLATFORM],…:]NAME=VALUE".
---@param text string
---@return { levels: table<string, string|boolean>, name: string, value: string }|nil levels: to a platform, or true
---@return string? problem
function M.annotation(text)
  local left, value = text:match("^([^=]+)=(.*)$")
  if not left then return nil, "write NAME=VALUE" end
  local levels, name = left:match("^([a-z%-]+[^:=]*):(.+)$")
  local out = { name = name or left, value = value, levels = {} }
  if not levels then
    out.levels.manifest = true
    return out
  end
  for word in levels:gmatch("[^,]+") do
    local level, platform = word:match("^([a-z%-]+)%[(.+)%]$")
    level = level or word
    if not LEVELS[level] then
      return nil, ("'%s' is no level: levels are manifest, index, manifest-descriptor, index-descriptor"):format(level)
    end
    if platform and level:find("^index") then return nil, "an index has no platform" end
    local canonical = platform and containerfile.platform(platform)
    if platform and not canonical then return nil, ("'%s' is no platform"):format(platform) end
    out.levels[level] = canonical or true
  end
  return out
end

--- "64m" in bytes, or nil.
M.size = containerfile.size

-- setrlimit(2) resources under Docker's names; Linux numbers, the same on all its architectures but
-- MIPS, SPARC and Alpha.
M.limits = { core = 4, cpu = 0, data = 2, fsize = 1, locks = 10, memlock = 8, msgqueue = 12, nice = 13,
  nofile = 7, nproc = 6, rss = 5, rtprio = 14, rttime = 15, sigpending = 11, stack = 3 }

--- A resource limit: "nofile=1024[:2048]"; -1 or "unlimited" is none.
---@param text string
---@return { resource: integer, soft: integer, hard: integer }|nil -1 for no limit
---@return string? problem
function M.ulimit(text)
  local name, soft, hard = text:match("^(%l+)=([^:]+):?([^:]*)$")
  if not name then return nil, "such as nofile=1024:2048" end
  if not M.limits[name] then
    local names = {}
    for known in pairs(M.limits) do names[#names + 1] = known end
    table.sort(names)
    return nil, "limits are " .. table.concat(names, ", ")
  end
  local function number(word)
    if word == "unlimited" or word == "-1" then return -1 end
    return word:find("^%d+$") and #word < 19 and math.tointeger(tonumber(word)) or nil
  end
  local low = number(soft)
  local high = hard == "" and low or number(hard)
  if not low or not high then return nil, "limits are whole numbers" end
  if high ~= -1 and (low == -1 or low > high) then return nil, "the soft limit is above the hard one" end
  return { resource = M.limits[name], soft = low, hard = high }
end

return M
