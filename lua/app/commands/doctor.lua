--- `bakery doctor`: what works here, what does not and how to fix it.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"
local color = require "app.report.color"
local session = require "app.session"

local M = {}

local function version_of(cmd)
  local r = process.run { cmd = cmd, timeout = 10, merge = true }
  if not r or r.code ~= 0 then return nil end
  return (r.stdout:match("%d+%.%d+[%w%.%-%+~]*"))
end

-- External programs: who uses them, how to get them.
local TOOLS = {
  { name = "git", args = { "--version" }, use = "revision labels, --reproducible", fix = "apt-get install git" },
  { name = "docker", args = { "--version" }, use = "backend buildx", fix = "install docker and its buildx plugin" },
  { name = "goss", args = { "--version" }, env = "GOSS_PATH", use = "further checks of images",
    fix = "install goss or set GOSS_PATH" },
  { name = "hadolint", args = { "--version" }, env = "HADOLINT_PATH", use = "linting Containerfiles",
    fix = "install hadolint or set HADOLINT_PATH" },
  { name = "slirp4netns", args = { "--version" }, use = "--network private", fix = "apt-get install slirp4netns" },
  { name = "skopeo", args = { "--version" }, use = "looking at pushed images", fix = "apt-get install skopeo" },
}

local function row(list, area, name, ok, text, fix)
  list[#list + 1] = { area = area, name = name, ok = ok, text = text, fix = fix }
end

-- One row for the tier, then one for each better one that does not work, with what would change that.
local function tiers(list, values, dir)
  local isolation = require "app.backend.embedded.isolation"
  local probe = sandbox.probe { dir = fs.exists(dir) and fs.realpath(dir) or nil }
  local wanted = values.isolation
  local chosen
  for _, t in ipairs(probe.tries) do
    if t.mode == probe.mode then chosen = t end
  end
  row(list, "builder", "isolation", probe.tier < "G", ("tier %s (%s): %s%s"):format(probe.tier, probe.mode,
    isolation.tiers[probe.tier], wanted and wanted ~= "" and wanted ~= "auto" and "; but --isolation says " .. wanted or ""),
    "see the rows below: RUN needs one of the higher tiers")
  for _, t in ipairs(probe.tries) do
    if t.mode == probe.mode then break end
    if t.why ~= "not root" and t.mode ~= "copy-only" then
      row(list, "builder", "tier " .. t.tier, false, t.mode .. ": " .. t.why, t.fix)
    end
  end
  if chosen.overlay ~= nil then
    row(list, "builder", "overlay", chosen.overlay == true, chosen.overlay == true and "overlayfs works in the store"
      or "overlayfs does not work in the store (" .. chosen.overlay .. "): flat trees are used, which is slower",
      "a store on ext4, xfs, btrfs or tmpfs (--store), not on overlayfs")
  end
  if chosen.proc ~= nil then
    row(list, "builder", "proc", chosen.proc == true, chosen.proc == true and "RUN has a /proc of its own"
      or "RUN sees the /proc of this container (" .. chosen.proc .. ")",
      "in Kubernetes securityContext.procMount: Unmasked; docker run --security-opt systempaths=unconfined")
  end
  if probe.tier < "G" then
    local net = chosen.net == true
    row(list, "builder", "network none", net, net and "--network none works" or "--network none does not work here",
      "needs a tier with namespaces (A to E)")
  end
  row(list, "builder", "seccomp", probe.seccomp == true, probe.seccomp == true and "a filter can be loaded"
    or "no filter: " .. tostring(probe.seccomp), "a kernel with CONFIG_SECCOMP_FILTER")
end

local function nearest_existing(dir)
  while not fs.exists(dir) do dir = fs.dirname(dir) end
  return dir
end

local function builder(list, values)
  local dir = values.store or require("app.backend.embedded").store_dir()
  local near = nearest_existing(dir)
  local writable = fs.is_writable(near)
  tiers(list, values, writable and near or "/nonexistent")
  row(list, "builder", "store", writable, dir .. (writable and "" or ": not writable"),
    "choose a writable place with --store or BAKERY_STORE")
  local emulated = require("app.backend.embedded.emulate").list()
  local text = table.concat(emulated, ", ")
  if #emulated == 0 then
    text = process.which "qemu-aarch64-static" and "qemu is installed and not registered: RUN for foreign platforms works in tiers C to E"
      or "no foreign platforms in RUN (COPY works)"
  end
  row(list, "builder", "emulation", #emulated > 0, text, "apt-get install qemu-user-static binfmt-support")
end

local function backends(list, values)
  local backend, root = require "app.backend", require("app.recipe").root(values)
  for _, it in ipairs(backend.list(root)) do
    local loaded, b = pcall(backend.get, it.name, root)
    if it.unused then
      row(list, "backend", it.file, false, "never used: '" .. it.name .. "' is built in", "give the file another name")
    elseif not loaded then
      if type(b) ~= "table" then error(b, 0) end
      row(list, "backend", it.name, false, (b.where and b.where .. ": " or "") .. b.message, "correct " .. it.file)
    elseif b.probe then
      local probed, ok, text, fix = pcall(b.probe)
      if not probed then ok, text, fix = false, tostring(type(ok) == "table" and ok.message or ok), it.file and "correct " .. it.file end
      row(list, "backend", it.name, ok, tostring(text or b.summary), fix)
    else
      row(list, "backend", it.name, true, b.summary .. (it.file and " (" .. it.file .. ")" or ""))
    end
  end
end

local function tools(list)
  for _, t in ipairs(TOOLS) do
    local path = t.env and os.getenv(t.env)
    if not path or path == "" then path = process.which(t.name) end
    if not path then
      row(list, "tool", t.name, false, "not found (" .. t.use .. ")", t.fix)
    else
      local cmd = { path }
      for _, a in ipairs(t.args) do cmd[#cmd + 1] = a end
      row(list, "tool", t.name, true, (version_of(cmd) or "?") .. "  " .. path)
    end
  end
end

local function registries(list, values)
  local ok, project = pcall(session.project, { context = values.context, quiet = true })
  if not ok then
    row(list, "registry", "project", false, "no readable bakery.yaml here", "run it inside a project, or pass --context")
    return
  end
  local oci = require "bakery.oci"
  local client, seen = oci.client {}, {}
  for _, r in ipairs(project.registries) do
    if not seen[r.host] then
      seen[r.host] = true
      local source = oci.credentials and oci.credentials(r.host)
      row(list, "registry", r.host, source ~= nil, source and "credentials from " .. tostring(source.source or "file")
        or "no credentials: pulls are anonymous, pushes will be refused", "docker login " .. r.host
        .. ", skopeo login " .. r.host .. ", or REGISTRY_AUTH_FILE")
    end
  end
  return client
end

function M.run(values)
  local list = {}
  builder(list, values)
  backends(list, values)
  tools(list)
  registries(list, values)
  if values.json then
    local out = json.array {}
    for i, r in ipairs(list) do
      out[i] = json.object { { "area", r.area }, { "name", r.name }, { "ok", r.ok and true or false }, { "text", r.text },
        { "fix", not r.ok and r.fix or json.null } }
    end
    session.print_json(out)
  else
    local paint = color.painter(color.enabled(values))
    for _, r in ipairs(list) do
      io.stdout:write(r.ok and paint("green", "ok  ") or paint("yellow", "--  "), ("%-9s %-14s "):format(r.area, r.name),
        r.text or "", "\n")
      if not r.ok and r.fix then io.stdout:write((" "):rep(29), "fix: ", r.fix, "\n") end
    end
  end
  -- Only what the embedded builder cannot do without decides the exit code.
  for _, r in ipairs(list) do
    if not r.ok and r.area == "builder" and (r.name == "isolation" or r.name == "store") then return 1 end
  end
  return 0
end

return M
