--- One Containerfile, two builders: bakery and buildah build a case, umoci unpacks both results, and what
--- differs is listed path by path. A case is a table:
---   name   what it shows
---   text   Containerfile lines after the busybox base, or the whole file when `whole` is set
---   files  context files { path = text } below the context root
---   tweak  function(dir) for what text cannot say: modes, links, archives
---   image  the text names an image of a registry as @IMAGE@
---   format "docker" where buildah's OCI format drops what the case shows
---   fails  a line of the text at which both builders must stop
---   unsteady  true: what `skip` names does not always differ
---   only   reason why buildah cannot judge: then `expect` (and BuildKit, where there is one) decides
---   old    reason why the packaged BuildKit (docker.io 20.10) cannot judge
---   args   options of bakery's command line; docker_args of docker's
---   kit    as skip, for BuildKit: old quirks of it
---   skip   { [path or "config.Field"] = reason } not compared; an entry that does not differ is an error
---   expect { [path] = start of its entry, or false for absent; ["config.Field"] = value } of bakery's image
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"
local peers = require "lib.peers"
local process = require "bakery.process"
local task = require "bakery.task"
local world = require "lib.world"

local M = {}

--- Time of everything in a context; images keep its whole seconds.
M.mtime = 1600000000

-- Lines of a case's Containerfile before its own text.
local BASE = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\n"

local FILE = "app/1.0.0/Containerfile"

local FIELDS = { "Env", "User", "WorkingDir", "Entrypoint", "Cmd", "Labels", "ExposedPorts", "Volumes", "StopSignal",
  "Healthcheck", "Shell", "OnBuild" }

-- Mount points that buildah's RUN leaves in the image.
local LEFT_BEHIND = { dev = true, proc = true, sys = true, run = true, ["etc/hostname"] = true, ["etc/hosts"] = true,
  ["etc/resolv.conf"] = true }

-- Labels that one of the builders adds by itself.
local function is_own_label(name)
  return name == "io.buildah.version" or name:find "^org%.opencontainers%.image%." ~= nil
    or name:find "^co%.posit%." ~= nil
end

local function project(case, shared)
  local text = case.text:gsub("@IMAGE@", shared.image or "")
  local dir = world.project { app = (case.whole and "" or BASE) .. text }
  world.write(dir, case.files or {})
  if case.tweak then case.tweak(dir) end
  world.run { "find", dir, "-exec", "touch", "-h", "-d", ("@%d.25"):format(M.mtime), "{}", "+" }
  return dir
end

-- Extended attributes of a tree: path -> "name=value …", one call of getfattr for all of it.
local function xattrs(root)
  local out, path = {}, nil
  local r = process.run { cmd = { "getfattr", "-R", "-P", "-h", "-d", "-e", "hex", "-m", "-", "." }, cwd = root }
  for line in (r and r.stdout or ""):gmatch "[^\n]+" do
    local name = line:match "^# file: (.*)$"
    if name then path = name:gsub("\\(%d%d%d)", function(o) return string.char(tonumber(o, 8)) end)
    elseif path and line:find "^[%w]+%." and not line:find "^security%.selinux" then
      out[path] = (out[path] and out[path] .. " " or "") .. line
    end
  end
  return out
end

-- { path = "type mode uid:gid [time] content" }. Times are compared for all but directories, where the
-- builders differ in when they touch them; what the suite made prints as "now".
local function entries(root, start)
  local first, out, attributes = {}, {}, xattrs(root)
  for _, e in ipairs(assert(fs.walk(root))) do
    if not LEFT_BEHIND[e.path] then
      local full = root .. "/" .. e.path
      local s = assert(fs.stat(full, false))
      local parts = { e.type, ("%04o"):format(s.mode & 4095), s.uid .. ":" .. s.gid }
      if e.type ~= "dir" then
        parts[#parts + 1] = s.mtime >= start and s.mtime <= os.time() and "now" or tostring(s.mtime)
        local id = s.dev .. ":" .. s.ino
        if s.nlink > 1 and first[id] then parts[#parts + 1] = "same as " .. first[id] end
        first[id] = first[id] or e.path
      end
      if e.type == "symlink" then parts[#parts + 1] = "-> " .. fs.readlink(full) end
      if e.type == "file" then parts[#parts + 1] = s.size .. " " .. digest.file(full):sub(1, 12) end
      parts[#parts + 1] = attributes[e.path]
      out[e.path] = table.concat(parts, " ")
    end
  end
  return out
end

-- Which instructions the history tells of, and which of them made layers: "COPY + ENV" …
local function history(document, judge)
  local out = {}
  for _, h in ipairs(document.history or {}) do
    local text = h.created_by or ""
    local word = text:match "#%(nop%)%s+(%u+)" or text:match "^(%u+)%f[%s]" or "RUN"
    out[#out + 1] = judge == "buildah" and word or word .. (h.empty_layer and "" or " +")
  end
  return table.concat(out, ", ")
end

-- created_by as far as BuildKit's versions agree: without flags of COPY; not the texts of EXPOSE and HEALTHCHECK.
local function created_by(document)
  local out = {}
  for i, h in ipairs(document.history or {}) do
    local text = h.created_by or ""
    if text:find "^COPY " or text:find "^ADD " then text = text:gsub(" %-%-[^ ]*", "") end
    if text:find "^EXPOSE" or text:find "^HEALTHCHECK" then text = text:match "^%u+" end
    out[i] = text
  end
  return out
end

local function dump(layout, start, document)
  document = document or peers.config(layout)
  local config = document.config or {}
  local out = entries(peers.tree(layout).root, start)
  for _, field in ipairs(FIELDS) do
    local value = config[field]
    if field == "Labels" and value then
      local kept = {}
      for k, v in pairs(value) do if not is_own_label(k) then kept[k] = v end end
      value = kept
    end
    if value == json.null then value = nil end
    if value ~= nil and value ~= "" and next(type(value) == "table" and value or { 1 }) then
      out["config." .. field] = json.encode(value, { sort = true })
    end
  end
  out["config.author"] = document.author
  -- What an image without a base begins with; buildah leaves it out.
  if out["config.WorkingDir"] == '"/"' then out["config.WorkingDir"] = nil end
  return out, document
end

local function run_bakery(case, dir, shared)
  local out = world.tmp() .. "/oci"
  local cmd = { "build", "-C", dir, "--store", shared.store, "--progress", "plain", "--output", "oci:" .. out }
  for _, a in ipairs(case.args or {}) do cmd[#cmd + 1] = (a:gsub("@DIR@", dir)) end
  local r = world.bakery(cmd)
  if r.code ~= 0 or case.fails then return { code = r.code, stderr = r.stderr } end
  local tree, document = dump(out, shared.start)
  return { code = 0, tree = tree, dir = out, document = document, stderr = r.stderr }
end

local function run_buildkit(case, dir, shared)
  local args = {}
  for i, a in ipairs(case.docker_args or case.args or {}) do args[i] = a:gsub("@DIR@", dir) end
  local r = shared.engine:build(dir, FILE, args)
  if r.code ~= 0 or case.fails then return r end
  local tree, document = dump(r.layout, shared.start, r.document)
  return { code = 0, tree = tree, document = document }
end

local function run_buildah(case, dir, shared)
  local out = world.tmp() .. "/oci"
  local r = assert(process.run { cmd = { "buildah", "--root", shared.root .. "/root", "--runroot", shared.root .. "/run",
    "--storage-driver", shared.driver, "bud", "--layers=false", "--isolation", "chroot", "--tls-verify=false",
    "--cap-add", "CAP_MKNOD", -- Debian leaves it out
    "--format", case.format or "oci", "-f", dir .. "/" .. FILE, "-t", "oci:" .. out .. ":latest", dir }, timeout = 120 })
  if r.code ~= 0 or case.fails then return { code = r.code, stderr = r.stderr } end
  local tree, document = dump(out, shared.start)
  return { code = 0, tree = tree, document = document }
end

--- Builds all cases with both builders, a few side by side; a list of { bakery=, buildah= } in their order.
---@param cases table[]
---@param image string|nil for cases with `image`
---@param engine table|nil of lib.dockerd: judges instead of buildah; results have buildkit=
---@return table[]
function M.build(cases, image, engine)
  local shared = { store = world.tmp() .. "/store", root = world.tmp(), start = os.time() - 1, image = image, engine = engine }
  -- overlay on overlay does not work; vfs always does
  local kind = process.run { cmd = { "stat", "-f", "-c", "%T", shared.root } }.stdout
  shared.driver = kind:find "overlay" and "vfs" or "overlay"
  local list = {}
  for i, case in ipairs(cases) do list[i] = { case = case } end
  local results = task.map(list, 3, function(item)
    local dir = project(item.case, shared)
    return { bakery = run_bakery(item.case, dir, shared),
      buildah = not engine and not item.case.only and run_buildah(item.case, dir, shared) or nil,
      buildkit = engine and not item.case.old and run_buildkit(item.case, dir, shared) or nil, text = fs.read(dir .. "/" .. FILE) }
  end)
  process.run { cmd = { "umount", "-l", shared.root .. "/root/" .. shared.driver } }
  process.run { cmd = { "rm", "-rf", shared.root } }
  return results
end

local function line_of(text, wanted)
  local n = 0
  for line in text:gmatch "([^\n]*)\n" do
    n = n + 1
    if line == wanted then return n end
  end
  error("no line '" .. wanted .. "' in the case")
end

local function check_failure(case, result, say)
  local where = FILE .. ":" .. line_of(result.text, case.fails)
  if result.bakery.code == 0 then say "bakery builds it" end
  if not result.bakery.stderr:find(where, 1, true) then say("bakery does not name " .. where .. ":\n" .. result.bakery.stderr) end
  for _, name in ipairs { "buildah", "buildkit" } do
    if result[name] and result[name].code == 0 then say(name .. " builds it") end
  end
end

local function check_expected(case, tree, say)
  for path, want in pairs(case.expect or {}) do
    local have = tree[path]
    if want == false then
      if have then say(("%s: expected absent, is %s"):format(path, have)) end
    elseif not have or have:sub(1, #want) ~= want then
      say(("%s: expected %s, is %s"):format(path, want, have or "absent"))
    end
  end
end

-- The history as one more thing to compare, path by path.
local function compare_history(result, judge, ours, theirs)
  local a, b = result.bakery.document, result[judge].document
  ours["history"], theirs["history"] = history(a, judge), history(b, judge)
  if judge == "buildah" then -- its layouts are without Docker's fields
    for _, field in ipairs { "Healthcheck", "Shell", "OnBuild" } do ours["config." .. field] = nil end
  end
  if judge ~= "buildkit" then return end
  for side, document in pairs { [ours] = a, [theirs] = b } do
    for i, text in ipairs(created_by(document)) do side["history." .. i] = text end
  end
end

--- What is wrong with a case's result: a list of lines, empty when all is well.
---@param case table
---@param result table an item of M.build's list
---@return string[]
function M.problems(case, result)
  local out = {}
  local function say(line) out[#out + 1] = line end
  if case.fails then
    check_failure(case, result, say)
    return out
  end
  for _, name in ipairs { "bakery", "buildah", "buildkit" } do
    local side = result[name]
    if side and side.code ~= 0 then say(name .. " fails:\n" .. side.stderr) end
  end
  if #out > 0 then return out end
  check_expected(case, result.bakery.tree, say)
  local judge = result.buildah and "buildah" or result.buildkit and "buildkit"
  if not judge then return out end
  local ours, theirs, skip = result.bakery.tree, result[judge].tree, (judge == "buildah" and case.skip or judge == "buildkit" and case.kit) or {}
  compare_history(result, judge, ours, theirs)
  local paths = {}
  for path in pairs(ours) do paths[path] = true end
  for path in pairs(theirs) do paths[path] = true end
  for path in pairs(paths) do
    if ours[path] ~= theirs[path] and not skip[path] then
      say(("%s: bakery %s, %s %s"):format(path, ours[path] or "absent", judge, theirs[path] or "absent"))
    end
  end
  for path in pairs(skip) do
    if ours[path] == theirs[path] and not case.unsteady then say(path .. ": is in the skip list but does not differ") end
  end
  table.sort(out)
  return out
end

return M
