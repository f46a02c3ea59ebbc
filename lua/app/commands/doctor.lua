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
  { name = "skopeo", args = { "--version" }, use = "looking at pushed images", fix = "apt-get install skopeo" },
}

local function row(list, area, name, ok, text, fix)
  list[#list + 1] = { area = area, name = name, ok = ok, text = text, fix = fix }
end

local function builder(list, values)
  local p = sandbox.probe()
  local root = p.root
  row(list, "builder", "isolation", p.userns or root, "tier " .. tostring(p.tier),
    not (p.userns or root) and (p.reasons and p.reasons.userns
      or "allow user namespaces: sysctl user.max_user_namespaces=15000") or nil)
  row(list, "builder", "overlay", root and p.overlay or p.overlay_userxattr,
    root and "overlayfs as root" or "overlayfs in a user namespace (userxattr)",
    not (root and p.overlay or p.overlay_userxattr) and "a kernel from 5.11 on, and a store that is not on overlayfs" or nil)
  if not root then
    row(list, "builder", "ids", p.newuidmap and (p.subuid_count or 0) > 0,
      p.newuidmap and ("%d subordinate ids"):format(p.subuid_count or 0) or "a single id: RUN sees every file as root's",
      "apt-get install uidmap; echo \"$USER:100000:65536\" | sudo tee -a /etc/subuid /etc/subgid")
  end
  row(list, "builder", "seccomp", p.seccomp, p.seccomp and "filter can be loaded" or "not available",
    "a kernel with CONFIG_SECCOMP_FILTER")
  local dir = values.store or require("app.backend.embedded").store_dir()
  local probe_dir = dir
  while not fs.exists(probe_dir) do probe_dir = fs.dirname(probe_dir) end
  local writable = fs.tmpdir and fs.is_writable and fs.is_writable(probe_dir)
  row(list, "builder", "store", writable ~= false, dir, "choose a writable place with --store or BAKERY_STORE")
  local foreign = {}
  for _, name in ipairs(fs.list("/proc/sys/fs/binfmt_misc") or {}) do
    local arch = name:match("^qemu%-(.*)")
    if arch then foreign[#foreign + 1] = arch end
  end
  row(list, "builder", "emulation", #foreign > 0, #foreign > 0 and table.concat(foreign, ", ") or "no foreign platforms in RUN",
    "apt-get install qemu-user-static binfmt-support")
end

local function backends(list)
  local names = require("app.backend").names
  for _, name in ipairs(names) do
    local b = require("app.backend").get(name)
    if b.probe then
      local ok, text, fix = b.probe()
      row(list, "backend", name, ok, text, fix)
    else
      row(list, "backend", name, true, b.summary)
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
  backends(list)
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
