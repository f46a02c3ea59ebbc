--- `bakery create ci github|gitlab`: workflow files for the project, from templates/ci.
local changes = require "app.edit.changes"
local edit = require "app.edit"
local fail = require "app.fail"
local fs = require "bakery.fs"
local git = require "app.project.git"
local host = require "app.host"
local json = require "bakery.json"
local journal = require "app.edit.journal"
local shipped = require "app.shipped"

local M = {}

-- Actions by commit, as a tag can be moved.
M.ACTIONS = {
  checkout = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2",
  upload = "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2",
  download = "actions/download-artifact@d3f86a106a0bac45b974a628896c90dbdf5c8093 # v4.3.0",
}

-- --- what the project asks for -----------------------------------------------------------------

-- Every registry host and platform of the project, and whether there is a matrix, a Docker Hub namespace.
local function survey(project)
  local found = { hosts = {}, platforms = {}, matrix = false, docker_hub = false }
  local function registries(list)
    for _, r in ipairs(list) do
      found.hosts[r.host] = true
      found.docker_hub = found.docker_hub or r.host == "docker.io" and r.namespace ~= nil
    end
  end
  local function subject(s)
    registries(s.extra_registries)
    registries(s.override_registries)
    for _, os in ipairs(s.os) do
      for _, platform in ipairs(os.platforms) do found.platforms[platform] = true end
    end
  end
  registries(project.registries)
  for _, image in ipairs(project.images) do
    registries(image.extra_registries)
    registries(image.override_registries)
    for _, version in ipairs(image.versions) do subject(version) end
    for _, dev in ipairs(image.dev_versions) do subject(dev) end
    if image.matrix then
      subject(image.matrix)
      found.matrix = true
    end
  end
  if not next(found.platforms) then found.platforms["linux/amd64"] = true end
  return found
end

local function sorted(set)
  local out = {}
  for key in pairs(set) do out[#out + 1] = key end
  table.sort(out)
  return out
end

-- Runner of each platform, as an object in order; the first of them runs what is no build.
local function runners(platforms, given, defaults)
  local own = {}
  for _, text in ipairs(given or {}) do
    local platform, runner = text:match "^([^=]+)=(.+)$"
    if not platform or not platform:find "^%w+/%w+" then
      fail.raise { class = "usage", code = "usage", message = ("option '--platform': expected PLATFORM=RUNNER, got '%s'"):format(
        text), hint = "such as linux/arm64=my-arm-runner" }
    end
    own[platform] = runner
  end
  local out = json.object()
  for _, platform in ipairs(sorted(platforms)) do out[platform] = own[platform] or defaults[platform] end
  return out
end

-- Name for the secrets of a registry that has no names of its own.
local function secret_name(registry) return (registry:upper():gsub("[^%w]+", "_")) end

local function branch_of(dir)
  local git_dir = git.find(dir)
  local head = git_dir and fs.read(fs.join(git_dir, "HEAD"), 4096) or ""
  return head:match "^ref: refs/heads/([^\r\n]+)" or "main"
end

-- --- the two systems ---------------------------------------------------------------------------

local SYSTEMS = {}

SYSTEMS.github = {
  files = { { "ci/github.yml.j2", ".github/workflows/bakery.yml" },
    { "ci/github-action.yml.j2", ".github/actions/bakery/action.yml" } },
  runners = { ["linux/amd64"] = "ubuntu-24.04", ["linux/arm64"] = "ubuntu-24.04-arm" },
  temp_host = "ghcr.io",
  login = function(registry)
    if registry == "ghcr.io" then
      return { host = registry, username = "github.actor", password = "secrets.GITHUB_TOKEN" }
    end
    local name = registry == "docker.io" and "DOCKERHUB" or secret_name(registry)
    local last = registry == "docker.io" and "_TOKEN" or "_PASSWORD"
    return { host = registry, username = ("secrets.%s_USERNAME"):format(name),
      password = "secrets." .. name .. last, secrets = { name .. "_USERNAME", name .. last } }
  end,
}

SYSTEMS.gitlab = {
  files = { { "ci/gitlab.yml.j2", ".gitlab-ci.yml" } },
  runners = { ["linux/amd64"] = "saas-linux-medium-amd64", ["linux/arm64"] = "saas-linux-medium-arm64" },
  temp_host = "$CI_REGISTRY",
  login = function(registry)
    if registry == "$CI_REGISTRY" then
      return { host = registry, username = "CI_REGISTRY_USER", password = "CI_REGISTRY_PASSWORD" }
    end
    local name = registry == "docker.io" and "DOCKERHUB" or secret_name(registry)
    local last = registry == "docker.io" and "_TOKEN" or "_PASSWORD"
    return { host = registry, username = name .. "_USERNAME", password = name .. last,
      secrets = { name .. "_USERNAME", name .. last } }
  end,
}

local function variables(system, e, root, values)
  local found = survey(e.project)
  local temp_host = values.temp_registry and values.temp_registry:match "^[^/]+" or system.temp_host
  local logins, secrets = json.array {}, json.array {}
  found.hosts[temp_host] = true
  local temp
  for _, registry in ipairs(sorted(found.hosts)) do
    local login = system.login(registry)
    logins[#logins + 1] = login
    for _, name in ipairs(login.secrets or {}) do secrets[#secrets + 1] = name end
    if registry == temp_host then temp = login end
  end
  local machines = runners(found.platforms, values.platform, system.runners)
  local project = fs.relative(e.project.dir, root) or "."
  return { branch = values.branch or branch_of(e.project.dir), schedule = values.schedule or false, project = project,
    bakery_version = values.bakery_version or host.version, bakery_url = values.bakery_url or "",
    temp_registry = values.temp_registry or false, matrix_versions = found.matrix and "include" or "exclude",
    runners = machines, default_runner = machines["linux/amd64"] or system.runners["linux/amd64"], logins = logins,
    temp_logins = json.array { temp }, secrets = secrets, docker_hub = found.docker_hub, actions = M.ACTIONS,
    workflow = fs.basename(values.output or system.files[1][2]) }
end

function M.run(values)
  local name = values[1]
  local system = SYSTEMS[name]
  if not system then
    fail.raise { class = "usage", code = "usage", message = ("unknown CI system '%s'"):format(name),
      hint = "github or gitlab" }
  end
  return edit.guard(values, ("Failed to create workflow files for %s"):format(name), function()
    local e = edit.open(values, "create ci")
    local _, root = git.find(e.project.dir)
    root = root or e.project.dir
    if root ~= e.project.dir and not values.dry_run then
      journal.recover(root, function(text) e:say(text) end)
    end
    e.changes = changes.new(root)
    local vars = variables(system, e, root, values)
    for i, file in ipairs(system.files) do
      local path = i == 1 and values.output or file[2]
      local text = shipped.render(file[1], vars)
      local old = fs.read(fs.join(root, path))
      if old and old ~= text and not values.force then
        fail.raise { class = "build", code = "exists", message = ("'%s' exists and is another one"):format(path),
          hint = "--force replaces it, --dry-run shows how" }
      end
      e.changes:put(path, text)
    end
    local code = e:finish(("Successfully created %s"):format(table.concat(e.changes.order, " and ")),
      { { "system", name } })
    if vars.bakery_url == "" then
      e:say("the variable BAKERY_URL must say where bakery is downloaded from, see the head of the file")
    end
    return code
  end)
end

return M
