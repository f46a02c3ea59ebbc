--- What the command line changes in a plan: build arguments, contexts, secrets and the like, for all
--- of its targets, under bake's names. The words are those of `docker buildx build`.
local fs = require "bakery.fs"
local json = require "bakery.json"
local fail = require "app.fail"
local inputs = require "app.plan.inputs"

local M = {}

-- The options (declared by the build recipe) in the order in which they are applied.
local ORDER = { "build_arg", "build_context", "secret", "ssh", "target", "label", "annotation", "add_host", "shm_size",
  "ulimit", "no_cache_filter" }

local function usage(option, value, expected, hint)
  fail.raise { class = "usage", code = "usage", message = ("option '--%s': expected %s, got '%s'"):format(option, expected, value),
    hint = hint }
end

-- A path of the command line, as the plan names it: relative to the project, in which plans are built.
local function project_path(path, dir)
  if not dir then return path end
  local absolute = fs.is_absolute(path) and path or fs.join(fail.check(fs.cwd()), path)
  local home = fs.realpath(dir) or dir
  return fs.relative(fs.realpath(absolute) or absolute, home) or absolute
end

local function pairs_of(option, list)
  local out = {}
  for i, text in ipairs(list) do
    local name, value = text:match("^([^=]+)=(.*)$")
    if not name then usage(option, text, "NAME=VALUE") end
    out[i] = { name, value }
  end
  return out
end

local set = {}

function set.build_arg(target, list)
  local args = target.args or json.object()
  for _, text in ipairs(list) do
    local name, value = text:match("^([^=]+)=(.*)$")
    if not name then
      name, value = text, os.getenv(text)
      if name == "" or name:sub(1, 1) == "=" then usage("build-arg", text, "NAME=VALUE or NAME") end
    end
    if value then args[name] = value end
  end
  target.args = args
end

function set.build_context(target, list, dir)
  local contexts = target.contexts or json.object()
  for _, pair in ipairs(pairs_of("build-context", list)) do
    local kind, value = inputs.context(pair[2])
    if kind == "dir" then value = project_path(value, dir) end
    if kind == "oci-layout" then value = "oci-layout://" .. project_path(value:sub(14), dir) end
    contexts[pair[1]] = value
  end
  target.contexts = contexts
end

function set.secret(target, list, dir)
  local secrets = target.secret or json.array {}
  for _, text in ipairs(list) do
    local secret, problem = inputs.secret(text)
    if not secret then usage("secret", text, "id=ID[,src=FILE|env=VAR]", problem) end
    if secret.src then secret.src = project_path(secret.src, dir) end
    if secret.src and dir and not fs.exists(fs.join(dir, secret.src)) then
      usage("secret", text, "a file that exists", secret.src .. " does not")
    end
    for i = #secrets, 1, -1 do -- the command line comes last
      if secrets[i].id == secret.id then table.remove(secrets, i) end
    end
    secrets[#secrets + 1] = json.object { { "type", secret.src and "file" or "env" }, { "id", secret.id },
      secret.src and { "src", secret.src } or { "env", secret.env } }
  end
  target.secret = secrets
end

function set.ssh(target, list, dir)
  local out = target.ssh or json.array {}
  for _, text in ipairs(list) do
    local id, paths = text:match("^([^=]+)=?(.*)$")
    if not id then usage("ssh", text, "ID[=SOCKET|KEY]") end
    local found = json.array {}
    for path in paths:gmatch("[^,]+") do found[#found + 1] = project_path(path, dir) end
    out[#out + 1] = json.object { { "id", id }, #found > 0 and { "paths", found } or nil }
  end
  target.ssh = out
end

function set.target(target, name) target.target = name end

function set.label(target, list)
  target.labels = target.labels or json.object()
  for _, pair in ipairs(pairs_of("label", list)) do target.labels[pair[1]] = pair[2] end
end

-- Adds values of an option, each of which check(text) -> ok, problem must like, to a field of the target.
local function add_checked(target, field, list, option, check, expected)
  local out = target[field] or json.array {}
  for _, text in ipairs(list) do
    local ok, problem = check(text)
    if not ok then usage(option, text, expected, problem) end
    out[#out + 1] = text
  end
  target[field] = out
end

function set.annotation(target, list)
  add_checked(target, "annotations", list, "annotation", inputs.annotation, "[LEVEL:]NAME=VALUE")
end

function set.add_host(target, list)
  local hosts = target["extra-hosts"] or json.object()
  for _, text in ipairs(list) do
    local name, address = text:match("^([%w._-]+)[:=]%[?([%x:.]+)%]?$")
    if not name then
      usage("add-host", text, "NAME:ADDRESS", text:find("host-gateway", 1, true) and "host-gateway is Docker's: RUN has the "
        .. "host's own network here, so 127.0.0.1 is the host" or nil)
    end
    hosts[name] = address
  end
  target["extra-hosts"] = hosts
end

function set.shm_size(target, text)
  if not inputs.size(text) then usage("shm-size", text, "a size such as 128m") end
  target["shm-size"] = text
end

function set.ulimit(target, list)
  add_checked(target, "ulimits", list, "ulimit", inputs.ulimit, "NAME=SOFT[:HARD]")
end

function set.no_cache_filter(target, list)
  local out = target["no-cache-filter"] or json.array {}
  table.move(list, 1, #list, #out + 1, out)
  target["no-cache-filter"] = out
end

--- Applies the options to every target of the document.
---@param doc table plan document, changed in place
---@param values table parsed options
---@param dir string|nil the project's directory, which relative paths of the plan start at
---@return table doc
function M.apply(doc, values, dir)
  for _, key in ipairs(ORDER) do
    local value = values[key]
    if value ~= nil then
      for _, target in json.pairs(doc.target) do set[key](target, value, dir) end
    end
  end
  return doc
end

return M
