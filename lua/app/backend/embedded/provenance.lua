--- SLSA provenance (https://slsa.dev/provenance/v1) of embedded builds: what went in, who built, when. Plain
--- tables throughout, so that the text is the same before and after the store.
local digest = require "bakery.digest"
local json = require "bakery.json"

local M = {}

M.BUILD_TYPE = "urn:bakery:buildtype:containerfile:v1"

-- Names of arguments that look like secrets, in lower case.
local SUSPICIOUS = { "password", "passwd", "secret", "token", "credential", "private_key", "api_key", "apikey" }

local function suspicious(name)
  name = name:lower()
  for _, part in ipairs(SUSPICIOUS) do if name:find(part, 1, true) then return true end end
end

-- Values of the target's secrets that come from the environment.
local function secret_values(target)
  local out = {}
  for _, s in ipairs(target.secrets or {}) do
    local env = type(s) == "table" and s.env or type(s) == "string" and s:match "env=([^,]+)"
    local value = env and os.getenv(env)
    if value and #value > 3 then out[#out + 1] = value end
  end
  return out
end

-- Arguments that may be told, and names of those that may not.
local function arguments(target)
  local told, withheld, secrets = json.object(), {}, secret_values(target)
  for name, value in json.pairs(target.args or {}) do
    local hide = suspicious(name)
    for _, s in ipairs(secrets) do hide = hide or tostring(value):find(s, 1, true) ~= nil end
    if hide then withheld[#withheld + 1] = name else told[name] = tostring(value) end
  end
  table.sort(withheld)
  return json.object(told), withheld
end

--- Notes what went into a target.
---@param build table the running build
---@param target string uid
---@param platform string
---@param name string image reference or URL, without credentials
---@param digest_text string "sha256:…", of a repository "gitCommit:…"
function M.note(build, target, platform, name, digest_text)
  build.materials[target] = build.materials[target] or {}
  build.materials[target][name .. "@" .. platform] = { name = name, digest = digest_text, platform = platform }
end

local function algorithm_and_hex(text) return text:match "^(%w+):(%x+)$" end

-- Base images and sources by what they were resolved to; images of the building platform are those of stages that
-- run there.
local function dependencies(build, target, platform)
  local materials = build.materials[target.uid] or {}
  local list = json.array {}
  local source, revision = (target.labels or {})["org.opencontainers.image.source"],
    (target.labels or {})["org.opencontainers.image.revision"]
  if source and tostring(revision):find "^%x+$" and #revision == 40 then
    list[#list + 1] = { uri = "git+" .. source, digest = { gitCommit = revision } }
  end
  local names = {}
  for key in pairs(materials) do names[#names + 1] = key end
  table.sort(names)
  for _, key in ipairs(names) do
    local m = materials[key]
    local algorithm, hex = algorithm_and_hex(m.digest or "")
    if hex and (m.platform == platform or m.platform == build.host_platform) then
      list[#list + 1] = { uri = m.name:find("^[%w+-]+:/") and m.name or "docker-image://" .. m.name, digest = { [algorithm] = hex },
        annotations = { platform = m.platform } }
    end
  end
  return list
end

-- Who builds: BAKERY_BUILDER_ID, a GitHub workflow, or nobody in particular.
local function builder_id()
  local own = os.getenv "BAKERY_BUILDER_ID"
  if own and own ~= "" then return own end
  local server, workflow = os.getenv "GITHUB_SERVER_URL", os.getenv "GITHUB_WORKFLOW_REF"
  if os.getenv "GITHUB_ACTIONS" == "true" and server and workflow then return server .. "/" .. workflow end
  return "urn:bakery:builder:embedded"
end

local function invocation(build)
  local server, repository, run = os.getenv "GITHUB_SERVER_URL", os.getenv "GITHUB_REPOSITORY", os.getenv "GITHUB_RUN_ID"
  if os.getenv "GITHUB_ACTIONS" == "true" and server and repository and run then
    return ("%s/%s/actions/runs/%s/attempts/%s"):format(server, repository, run, os.getenv "GITHUB_RUN_ATTEMPT" or "1")
  end
  return build.run_id
end

local function utc(seconds) return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds)) end

--- The predicate of one platform's build.
---@param build table the backend
---@param target table plan entry
---@param platform string
---@param built table of stages.build: containerfile={ file=, text= }
---@param began number seconds since the epoch
---@return table
function M.predicate(build, target, platform, built, began)
  local args, withheld = arguments(target)
  local parameters = { target = target.uid, platform = platform, context = target.context or ".", args = args,
    containerfile = { path = built.containerfile.file, digest = { sha256 = digest.sha256(built.containerfile.text) } } }
  if target.target then parameters.stage = target.target end
  if #withheld > 0 then parameters.withheldArgs = json.array(withheld) end
  local internal = { network = build.network, security = build.security }
  if built.epoch then internal.sourceDateEpoch = built.epoch end
  return {
    buildDefinition = { buildType = M.BUILD_TYPE, externalParameters = parameters, internalParameters = internal,
      resolvedDependencies = dependencies(build, target, platform) },
    runDetails = { builder = { id = builder_id(), version = { bakery = require("app.host").version } },
      metadata = { invocationId = invocation(build), startedOn = utc(began), finishedOn = utc(os.time()) } },
  }
end

return M
