--- Packages of GitHub's container registry through GitHub's REST API ("Packages", container packages): the one
--- place that also lists manifests without a tag. For organisations and, where there is none, for users.
local http = require "bakery.http"
local json = require "bakery.json"
local fail = require "app.fail"
local graph = require "app.retention.graph"

local M = {}

local PAGE, MAX_PAGES = 100, 1000

local function base()
  local url = os.getenv "GITHUB_API_URL"
  if not url or url == "" then url = "https://api.github.com" end
  return (url:gsub("/+$", ""))
end

local function escape(text)
  return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function call(token, url, method)
  local r = fail.check(http.request { url = url, method = method or "GET", timeout = 60, user_agent = "bakery",
    headers = { accept = "application/vnd.github+json", authorization = "Bearer " .. token, ["x-github-api-version"] = "2022-11-28" } })
  local doc = json.decode(r.body)
  local message = type(doc) == "table" and type(doc.message) == "string" and doc.message or nil
  return r, doc, message
end

local function refused(what, r, message)
  return { class = "infra", code = "github." .. r.status, message = ("%s: GitHub answers %d%s"):format(what, r.status,
    message and " (" .. message .. ")" or ""), retryable = r.retryable,
    hint = (r.status == 401 or r.status == 403) and "GITHUB_TOKEN needs read:packages and delete:packages" or nil }
end

--- Opens a package.
---@param name string "ghcr.io/OWNER/PACKAGE…"
---@param token string
---@return table package with versions(), delete(version)
function M.open(name, token)
  local owner, package = name:match "^ghcr%.io/([^/]+)/(.+)$"
  if not owner then
    fail.raise { class = "usage", code = "clean.repository", message = name .. ": not a package of ghcr.io",
      hint = "expected ghcr.io/OWNER/PACKAGE" }
  end
  local path
  local p = { name = name }

  -- An organisation's package, else a user's.
  local function find()
    for _, kind in ipairs { "orgs", "users" } do
      local url = ("%s/%s/%s/packages/container/%s"):format(base(), kind, escape(owner), escape(package))
      local r, _, message = call(token, url)
      if r.ok then return url end
      if r.status ~= 404 or kind == "users" then error(refused(name, r, message), 0) end
    end
  end

  --- Versions: { id=, digest=, tags=, updated=seconds|nil, url=, doc= }, all of them.
  function p.versions()
    path = path or find()
    local out = {}
    for page = 1, MAX_PAGES do
      local r, doc, message = call(token, ("%s/versions?per_page=%d&page=%d&state=active"):format(path, PAGE, page))
      if not r.ok then error(refused(name, r, message), 0) end
      if type(doc) ~= "table" then
        fail.raise { class = "infra", code = "github.malformed", message = name .. ": GitHub's list of versions is unreadable" }
      end
      for _, v in ipairs(doc) do
        local meta = type(v.metadata) == "table" and type(v.metadata.container) == "table" and v.metadata.container or {}
        if math.type(v.id) ~= "integer" or type(v.name) ~= "string" or type(meta.tags) ~= "table" then
          fail.raise { class = "infra", code = "github.malformed", message = name .. ": a version in GitHub's list is unreadable" }
        end
        out[#out + 1] = { id = v.id, digest = v.name, tags = meta.tags, updated = graph.seconds(v.updated_at), doc = v }
      end
      if #doc < PAGE then return out end
    end
    return out
  end

  --- Deletes a version. What GitHub refuses for reasons of its own, or others have deleted, is returned as text.
  ---@return string|nil warning
  function p.delete(version)
    local r, _, message = call(token, ("%s/versions/%d"):format(path, version.id), "DELETE")
    if r.ok then return nil end
    local text = (message or ""):lower()
    if r.status == 404 or text:find("5000 downloads", 1, true) or text:find("5,000 downloads", 1, true)
        or text:find("not found", 1, true) then
      return ("%s version %d: %s"):format(name, version.id, message or "gone already")
    end
    error(refused(("%s: delete version %d"):format(name, version.id), r, message), 0)
  end
  return p
end

return M
