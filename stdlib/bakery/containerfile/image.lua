-- The image configuration: taken over from a base, written out in one canonical form.
local json = require "bakery.json"

local image = {}

-- Fields of config that survive; the rest of what engines put there is dropped (ArgsEscaped too).
local LISTS = { "Cmd", "Entrypoint", "Env", "OnBuild", "Shell" }
local STRINGS = { "StopSignal", "User", "WorkingDir" }
local SETS = { "ExposedPorts", "Volumes" }

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do
    if type(k) == "string" then keys[#keys + 1] = k end
  end
  table.sort(keys)
  return keys
end
image.sorted_keys = sorted_keys

local function present(v)
  return v ~= nil and v ~= json.null
end

local function strings(v)
  if type(v) ~= "table" then return nil end
  local out = {}
  for i, s in ipairs(v) do out[i] = tostring(s) end
  return out
end

local function copy(v)
  if type(v) ~= "table" or v == json.null then return v end
  local out = {}
  for k, x in pairs(v) do
    if present(x) then out[k] = copy(x) end
  end
  return setmetatable(out, getmetatable(v) == json.array_mt and json.array_mt or nil)
end
image.copy = copy

-- Every layer has an entry of the history, and every entry without empty_layer a layer: tools count on it.
-- Bases that say otherwise are put right as BuildKit does it.
local function match_layers(history, layers)
  local count = 0
  for _, h in ipairs(history) do
    if h.empty_layer ~= true then
      if count == layers then h.empty_layer = true else count = count + 1 end
    end
  end
  for _ = count + 1, layers do
    history[#history + 1] = { comment = "buildkit.exporter.image.v0", base = true }
  end
end

---Takes over what a base image's configuration document says.
---@param doc? table decoded JSON (config, history, rootfs, os, architecture …)
---@return table config, table[] history, string[] diff_ids, table top
function image.open(doc)
  doc = doc or {}
  local from = present(doc.config) and doc.config or {}
  local config = {}
  for _, k in ipairs(LISTS) do config[k] = strings(from[k]) end
  for _, k in ipairs(STRINGS) do
    if type(from[k]) == "string" and from[k] ~= "" then config[k] = from[k] end
  end
  for _, k in ipairs(SETS) do
    if type(from[k]) == "table" then
      config[k] = {}
      for name in pairs(from[k]) do config[k][name] = true end
    end
  end
  if type(from.Labels) == "table" then
    config.Labels = {}
    for k, v in pairs(from.Labels) do config.Labels[k] = tostring(v) end
  end
  if type(from.Healthcheck) == "table" then config.Healthcheck = copy(from.Healthcheck) end
  config.Env = config.Env or {}
  local history = {}
  for i, h in ipairs(present(doc.history) and doc.history or {}) do
    history[i] = copy(h)
    history[i].base = true
  end
  local rootfs = present(doc.rootfs) and doc.rootfs or {}
  local diff_ids = strings(present(rootfs.diff_ids) and rootfs.diff_ids) or {}
  match_layers(history, #diff_ids)
  local top = {}
  for _, k in ipairs { "architecture", "os", "variant", "author", "os.version", "os.features" } do
    if present(doc[k]) and doc[k] ~= "" then top[k] = copy(doc[k]) end
  end
  return config, history, diff_ids, top
end

local function object(t)
  local out = json.object()
  for _, k in ipairs(sorted_keys(t)) do out[k] = t[k] end
  return out
end

-- Objects with sorted keys all the way down.
local function canonical(v)
  if type(v) ~= "table" or v == json.null then return v end
  if getmetatable(v) == json.array_mt or #v > 0 then
    local out = {}
    for i, x in ipairs(v) do out[i] = canonical(x) end
    return json.array(out)
  end
  local out = {}
  for k, x in pairs(v) do out[k] = canonical(x) end
  return object(out)
end

local function name_set(names)
  local out = {}
  for name in pairs(names) do out[name] = json.object() end
  return object(out)
end

local function config_object(config)
  local out = {}
  for _, k in ipairs(LISTS) do
    if config[k] and #config[k] > 0 then out[k] = json.array(copy(config[k])) end
  end
  for _, k in ipairs(STRINGS) do
    if config[k] and config[k] ~= "" then out[k] = config[k] end
  end
  for _, k in ipairs(SETS) do
    if config[k] and next(config[k]) then out[k] = name_set(config[k]) end
  end
  if config.Labels and next(config.Labels) then out.Labels = object(config.Labels) end
  if config.Healthcheck and next(config.Healthcheck) then
    out.Healthcheck = canonical(config.Healthcheck)
  end
  return object(out)
end

---RFC 3339 of seconds since 1970; strings pass.
---@param t integer|string|nil
---@return string|nil
function image.timestamp(t)
  if type(t) == "number" then
    local whole = math.floor(t)
    local text = tostring(os.date("!%Y-%m-%dT%H:%M:%S", whole))
    local nanos = math.floor((t - whole) * 1e9)
    if nanos > 0 then text = text .. (".%09d"):format(nanos):gsub("0+$", "") end
    return text .. "Z"
  end
  return t
end

-- RFC 3339 texts in UTC compare by their bytes once the fraction has a fixed width.
local function sortable(t)
  local whole, fraction = t:match("^([^.Z]*)%.?(%d*)Z$")
  if not whole then return t end
  return whole .. "." .. fraction .. ("0"):rep(9 - #fraction)
end

-- Times of the entries that have none: that of the layer before them, or of the first new layer.
local function fill_times(history, fallback, epoch)
  local first
  for _, h in ipairs(history) do
    if not h.base and h.created then
      first = h.created
      break
    end
  end
  local last = first or fallback
  for _, h in ipairs(history) do
    if not h.base then
      h.created = h.created or last
      if epoch and (not h.created or sortable(h.created) > sortable(epoch)) then
        h.created = epoch
      end
      last = h.created
    end
  end
end

---@param s table state: config, history, diff_ids, top, platform
---@param opts table see state:final_config
---@return table document json.object with sorted keys
function image.close(s, opts)
  local config = copy(s.config)
  if opts.labels and next(opts.labels) then
    config.Labels = config.Labels or {}
    for k, v in pairs(opts.labels) do config.Labels[k] = tostring(v) end
  end
  local epoch = image.timestamp(opts.epoch)
  local created = image.timestamp(opts.created)
  local history = {}
  for i, h in ipairs(s.history) do
    history[i] = copy(h)
    history[i].created = image.timestamp(h.created)
  end
  fill_times(history, created, epoch)
  if not created and #history > 0 then created = history[#history].created end
  if epoch and (not created or sortable(created) > sortable(epoch)) then created = epoch end
  for i, h in ipairs(history) do
    h.base, h.pending = nil, nil
    if not h.empty_layer then h.empty_layer = nil end
    history[i] = object(h)
  end
  local top = {
    architecture = opts.architecture or s.platform.architecture,
    os = opts.os or s.platform.os,
    author = s.author,
    config = config_object(config),
    created = created,
    rootfs = object { type = "layers", diff_ids = json.array(copy(s.diff_ids)) },
    history = #history > 0 and json.array(history) or nil,
  }
  top.variant = opts.variant or s.platform.variant
  for _, k in ipairs { "os.version", "os.features" } do
    if s.top[k] and s.top.os == top.os then top[k] = canonical(s.top[k]) end
  end
  return object(top)
end

return image
