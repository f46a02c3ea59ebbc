--- Reads a plan document back (`--plan-file`) and checks everything that later stages rely on.
local document = require "app.plan.document"
local fs = require "bakery.fs"
local inputs = require "app.plan.inputs"
local json = require "bakery.json"
local problems = require "app.project.problems"

local M = {}

M.MAX = 256 * 1024 * 1024

local function is_object(value)
  return type(value) == "table" and getmetatable(value) ~= json.array_mt and value ~= json.null
end

local function is_list_of_texts(value)
  if type(value) ~= "table" or (next(value) == nil and getmetatable(value) ~= json.array_mt) then
    return false
  end
  for i, item in pairs(value) do
    if math.type(i) ~= "integer" or type(item) ~= "string" then return false end
  end
  return true
end

local function is_map_of_texts(value)
  if not is_object(value) then return false end
  for key, item in pairs(value) do
    if type(key) ~= "string" or type(item) ~= "string" then return false end
  end
  return true
end

local function is_text(value) return type(value) == "string" end

local function is_relative(value)
  if type(value) ~= "string" or value == "" or value:sub(1, 1) == "/" then return false end
  return not ("/" .. value .. "/"):find("/../", 1, true)
end

local function is_bool(value) return type(value) == "boolean" end

-- A list whose items `good` accepts.
local function list_of(good)
  return function(value)
    if type(value) ~= "table" or value == json.null then return false end
    for i, item in pairs(value) do
      if math.type(i) ~= "integer" or not good(item) then return false end
    end
    return true
  end
end

-- A plan names nothing outside its project: that is for the command line alone.
local is_secrets = list_of(function(item)
  local secret = (type(item) == "string" or is_object(item)) and inputs.secret(item)
  return secret and (secret.src == nil or is_relative(secret.src)) or false
end)
local is_relative_list = list_of(is_relative)
local is_ssh = list_of(function(item)
  if type(item) == "string" then return not item:find("=", 1, true) end
  return is_object(item) and is_text(item.id) and (item.paths == nil or is_relative_list(item.paths))
end)
local function is_contexts(value)
  if not is_map_of_texts(value) then return false end
  for _, text in json.pairs(value) do
    local kind = inputs.context(text)
    local path = kind == "dir" and text or kind == "oci-layout" and text:sub(14)
    if path and not is_relative(path) then return false end
  end
  return true
end
local is_annotations = list_of(function(item) return type(item) == "string" and inputs.annotation(item) ~= nil end)
local is_ulimits = list_of(function(item) return type(item) == "string" and inputs.ulimit(item) ~= nil end)
local function is_size(value) return type(value) == "string" and inputs.size(value) ~= nil end
local function is_network(value) return value == "host" or value == "none" or value == "default" end

local function is_cache(value)
  if type(value) ~= "table" then return false end
  for _, item in ipairs(value) do
    if not is_text(item) and not (is_object(item) and is_text(item.type)) then return false end
  end
  return true
end

local TARGET = {
  { "context", is_relative, "a path inside the project", required = true },
  { "dockerfile", is_relative, "a path inside the project", required = true },
  { "labels", is_map_of_texts, "an object of texts" },
  { "tags", is_list_of_texts, "a list of texts", required = true },
  { "args", is_map_of_texts, "an object of texts" },
  { "target", is_text, "a text" },
  { "platforms", is_list_of_texts, "a list of texts", required = true },
  { "cache-from", is_cache, "a list of cache entries" },
  { "cache-to", is_cache, "a list of cache entries" },
  { "secret", is_secrets, "a list of {type: env, id, env} or {type: file, id, src: a path inside the project}" },
  { "contexts", is_contexts, "an object of images, targets, URLs and paths inside the project" },
  { "ssh", is_ssh, "a list of ids or {id, paths inside the project}" },
  { "annotations", is_annotations, "a list of [LEVEL:]NAME=VALUE" },
  { "extra-hosts", is_map_of_texts, "an object of addresses" },
  { "shm-size", is_size, "a size such as 128m" },
  { "ulimits", is_ulimits, "a list of NAME=SOFT[:HARD]" },
  { "network", is_network, "host, none or default" },
  { "no-cache", is_bool, "true or false" },
  { "no-cache-filter", is_list_of_texts, "a list of stages" },
}

local function is_os(value)
  return is_object(value) and is_text(value.name) and (value.tagName == nil or is_text(value.tagName))
end

local EXTRA = {
  { "image", is_text, "a text", required = true },
  { "version", is_text, "a text", required = true },
  { "variant", is_text, "a text" },
  { "variantTagName", is_text, "a text" },
  { "os", is_os, "an object with a name" },
  { "imageDir", is_relative, "a path inside the project", required = true },
  { "versionDir", is_relative, "a path inside the project", required = true },
  { "tags", is_list_of_texts, "a list of texts" },
  { "suffixes", is_list_of_texts, "a list of texts" },
  { "repositories", is_list_of_texts, "a list of texts" },
  { "options", is_object, "an object" },
}

local function check_members(rules, value, where, fail)
  for _, rule in ipairs(rules) do
    local member = value[rule[1]]
    if member == nil then
      if rule.required then fail(("%s.%s is missing"):format(where, rule[1])) end
    elseif not rule[2](member) then
      fail(("%s.%s: expected %s"):format(where, rule[1], rule[3]))
    end
  end
end

local function check_targets(doc, fail)
  for uid, entry in pairs(doc.target) do
    if not is_object(entry) then
      fail(("target.%s: expected an object"):format(uid))
    else
      check_members(TARGET, entry, "target." .. uid, fail)
    end
  end
end

local function check_groups(doc, fail)
  local default = is_object(doc.group) and doc.group.default
  if not is_object(default) or not is_list_of_texts(default.targets) then
    return fail("group.default.targets: expected a list of target names")
  end
  for name, group in pairs(doc.group) do
    local list = is_object(group) and is_list_of_texts(group.targets) and group.targets
    if not list then fail(("group.%s.targets: expected a list of target names"):format(name)) end
    for _, uid in ipairs(list or {}) do
      if doc.target[uid] == nil then
        fail(("group.%s names the target %q, which is not there"):format(name, tostring(uid)))
      end
    end
  end
end

local function check_extra(doc, fail)
  local extra = doc["x-bakery"]
  if extra == nil then return end
  if not is_object(extra) or math.type(extra.version) ~= "integer" then
    return fail("x-bakery.version: expected a number")
  end
  if extra.version > document.FORMAT then
    return fail(("x-bakery.version is %d; this program knows up to %d"):format(extra.version,
      document.FORMAT))
  end
  for _, key in ipairs { "tempRegistry", "cacheRegistry" } do
    if extra[key] ~= nil and not is_text(extra[key]) then fail(("x-bakery.%s: expected a text"):format(key)) end
  end
  if not is_object(extra.targets) then return fail("x-bakery.targets: expected an object") end
  for uid, entry in pairs(extra.targets) do
    if doc.target[uid] == nil then
      fail(("x-bakery.targets.%s has no target"):format(uid))
    elseif not is_object(entry) then
      fail(("x-bakery.targets.%s: expected an object"):format(uid))
    else
      check_members(EXTRA, entry, "x-bakery.targets." .. uid, fail)
    end
  end
end

--- Checks a decoded plan document.
---@param doc any
---@param name string how messages call it
---@return boolean|nil ok
---@return table|nil err its `errors` lists all problems
function M.check(doc, name)
  local list = problems.list()
  local function fail(message)
    list[#list + 1] = problems.problem("plan.invalid", message, { where = name, path = nil })
  end
  if not is_object(doc) or not is_object(doc.target) then
    fail("not a plan: expected an object with the keys group and target")
  else
    check_targets(doc, fail)
    check_groups(doc, fail)
    check_extra(doc, fail)
  end
  if #list == 0 then return true end
  table.sort(list, function(a, b) return a.message < b.message end)
  local err = problems.problem("plan.invalid", list[1].message, { where = name, errors = list })
  return nil, err
end

--- Reads a plan file.
---@param file string
---@return table|nil document with the key order of the file
---@return table|nil err
function M.read(file)
  local text, err = fs.read(file, M.MAX)
  if not text then
    err.class = "usage"
    return nil, err
  end
  local doc
  doc, err = json.decode(text, { name = file, ordered = true })
  if doc == nil then
    err.class = "usage"
    return nil, err
  end
  local ok
  ok, err = M.check(doc, file)
  if not ok then return nil, err end
  return doc
end

return M
