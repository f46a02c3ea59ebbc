--- `bakery get …`: questions about the project, answered on standard output.
local json = require "bakery.json"
local fail = require "app.fail"
local session = require "app.session"

local M = {}

local function child(o, key)
  if o[key] == nil then o[key] = json.object() end
  return o[key]
end

--- Tags: image → version → [variant] → [OS] → list, or uid → list.
function M.tags(values)
  local out = json.object()
  for _, t in ipairs(session.targets(values)) do
    local tags = json.array(t.tags)
    if values.output == "uid" then
      out[t.uid] = tags
    else
      local level, last = child(out, t.image), t.version
      for _, key in ipairs { t.variant or false, t.os or false } do
        if key then
          level = child(level, last)
          last = key
        end
      end
      level[last] = tags
    end
  end
  session.print_json(out)
  return 0
end

function M.targets(values)
  local list = session.targets(values)
  if values.json then
    local out = json.array {}
    for i, t in ipairs(list) do
      out[i] = json.object { { "uid", t.uid }, { "image", t.image }, { "version", t.version },
        { "variant", t.variant or json.null }, { "os", t.os or json.null }, { "platforms", json.array(t.platforms) },
        { "containerfile", t.containerfile } }
    end
    session.print_json(out)
  else
    for _, t in ipairs(list) do io.stdout:write(t.uid, "\n") end
  end
  return 0
end

local function print_names(values, names)
  if values.json then session.print_json(json.array(names))
  else for _, n in ipairs(names) do io.stdout:write(n, "\n") end end
  return 0
end

function M.images(values)
  local names = {}
  for i, image in ipairs(session.project(values).images) do names[i] = image.name end
  return print_names(values, names)
end

local function image_named(values) return require("app.edit").image(session.project(values), values[1]) end

function M.versions(values)
  local names = {}
  for i, v in ipairs(image_named(values).versions) do names[i] = v.name end
  return print_names(values, names)
end

--- The first version marked latest, or the first with a subpath.
function M.version(values)
  local image, subpath = image_named(values), values.subpath
  for _, v in ipairs(image.versions) do
    if subpath and v.subpath == subpath or not subpath and v.latest then
      if values.json then
        session.print_json(json.object { { "image", image.name }, { "version", v.name }, { "subpath", v.subpath },
          { "latest", v.latest } })
      else io.stdout:write(v.name, "\n") end
      return 0
    end
  end
  return fail.raise { class = "build", code = "unknown_version",
    message = subpath and ("no version of image '%s' has the subpath '%s'"):format(image.name, subpath)
      or ("no version of image '%s' is marked latest"):format(image.name) }
end

function M.registries(values)
  local names = {}
  for i, r in ipairs(session.project(values).registries) do
    names[i] = r.namespace and r.host .. "/" .. r.namespace or r.host
  end
  return print_names(values, names)
end

return M
