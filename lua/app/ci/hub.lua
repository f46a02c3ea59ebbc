--- Docker Hub's own API, as far as repository descriptions need it
--- (https://docs.docker.com/reference/api/hub/latest/: createAuthAccessToken; the description is a member
--- of the repository). Docker Hub takes personal access tokens here, not organisation ones.
local error_object = require "bakery.error"
local http = require "bakery.http"
local json = require "bakery.json"
local loop = require "bakery.loop"
local retry = require "app.retry"

local M = {}

--- Tokens are made anew after this many seconds.
M.TOKEN_LIFE = 600

local Hub = {}
Hub.__index = Hub

---@class app.ci.hub.options
---@field url string|nil default BAKERY_DOCKER_HUB_URL, else https://hub.docker.com
---@field username string
---@field password string personal access token with the scope to change repositories
---@field policy table|nil of app.retry
---@field now (fun(): number)|nil seconds
---@field on_retry function|nil as in app.retry

---@param opts app.ci.hub.options
function M.open(opts)
  local url = opts.url or os.getenv "BAKERY_DOCKER_HUB_URL"
  if not url or url == "" then url = "https://hub.docker.com" end
  return setmetatable({ url = (url:gsub("/+$", "")), username = opts.username, password = opts.password,
    policy = opts.policy or retry.policy(), now = opts.now or loop.now, on_retry = opts.on_retry }, Hub)
end

-- What the server says, without what must not be shown.
function Hub:reason(response)
  local doc = json.decode(response.body)
  local text = type(doc) == "table" and (doc.detail or doc.message or doc.error) or nil
  if type(text) ~= "string" then return "" end
  for _, secret in ipairs { self.password, self.bearer } do
    if secret and secret ~= "" then text = text:gsub(secret:gsub("%p", "%%%0"), "***") end
  end
  return ": " .. text:gsub("%c", " "):sub(1, 200)
end

local CLASS = { [401] = "denied", [403] = "denied" }

function Hub:request(method, path, body, bearer)
  local headers = { ["Content-Type"] = "application/json", Accept = "application/json" }
  if bearer then headers.Authorization = "Bearer " .. bearer end
  local response, err = http.request { url = self.url .. path, method = method, headers = headers,
    body = json.encode(body), timeout = 120, follow = 0 }
  if not response then return nil, err end
  if response.ok then return response end
  return nil, error_object.new { class = response.retryable and "infra" or CLASS[response.status] or "build",
    code = "http." .. response.status, retryable = response.retryable, retry_after = response.retry_after,
    status = response.status, where = http.redact(self.url .. path),
    message = ("%s: Docker Hub answers %d%s"):format(method, response.status, self:reason(response)) }
end

-- The bearer token, made when there is none or the last one is old.
function Hub:token()
  if self.bearer and self.now() - self.made < M.TOKEN_LIFE then return self.bearer end
  self.bearer = nil
  local made = self.now()
  local response, err = retry.run(self.policy, function()
    return self:request("POST", "/v2/auth/token", json.object { { "identifier", self.username },
      { "secret", self.password } })
  end, self.on_retry)
  if not response then
    if err.status == 401 then err.hint = "DOCKER_HUB_README_PASSWORD must be a personal access token" end
    return nil, err
  end
  local doc = json.decode(response.body)
  local token = type(doc) == "table" and (doc.access_token or doc.token)
  if type(token) ~= "string" or token == "" then
    return nil, error_object.new { class = "infra", code = "hub.token", message = "Docker Hub gave no token",
      where = http.redact(self.url) }
  end
  self.bearer, self.made = token, made
  return token
end

local function escape(text)
  return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- Sets the description of a repository.
---@param namespace string
---@param repository string
---@param text string UTF-8
---@param short string|nil the short description, left as it is without
---@return true|nil
---@return table|nil err
function Hub:describe(namespace, repository, text, short)
  local path = ("/v2/namespaces/%s/repositories/%s"):format(escape(namespace), escape(repository))
  local body = json.object { { "full_description", text }, { "description", short } }
  local function try()
    local bearer, err, response
    for turn = 1, 2 do -- a token may be taken back before its time
      bearer, err = self:token()
      if not bearer then
        err.retryable = false -- token() has made its own attempts
        return nil, err
      end
      response, err = self:request("PATCH", path, body, bearer)
      if response then return true end
      if err.status ~= 401 or turn == 2 then return nil, err end
      self.bearer = nil
    end
  end
  return retry.run(self.policy, try, self.on_retry)
end

return M
