--- Answers of the outside, kept on disk: a look-up asks again when its answer is older than the time
--- to live, with the answer's ETag or date, and takes the old one when that fails.
--- A file holds one line of JSON about the answer, then its body.
local digest = require "bakery.digest"
local errors = require "bakery.error"
local fs = require "bakery.fs"
local http = require "bakery.http"
local json = require "bakery.json"
local task = require "bakery.task"

local M = {}

M.TTL = 3600 -- seconds
M.TIMEOUT = 60 -- seconds for one answer
M.MAX_BODY = 64 << 20 -- bytes
local FORMAT = 1

---@class app.lookup.cache
---@field dir string
---@field ttl integer seconds; -1: answers stay good for ever
---@field offline boolean
local Cache = {}
Cache.__index = Cache

--- Time to live in seconds: BAKERY_CACHE_EXPIRE_AFTER when it is a whole number from -1.
---@param text string|nil
---@return integer
function M.ttl(text)
  local n = text and text:find "^%s*-?%d+%s*$" and math.tointeger(tonumber(text))
  return n and n >= -1 and n or M.TTL
end

---@class app.lookup.cache_options
---@field dir string
---@field ttl integer|nil
---@field offline boolean|nil
---@field timeout number|nil seconds
---@field mirrors table<string, string>|nil URL prefix -> what it is replaced with
---@field warn fun(text: string)
---@field now (fun(): integer)|nil seconds since 1970

---@param opts app.lookup.cache_options
---@return app.lookup.cache
function M.open(opts)
  local prefixes = {}
  for prefix in pairs(opts.mirrors or {}) do prefixes[#prefixes + 1] = prefix end
  table.sort(prefixes, function(a, b) return #a > #b or #a == #b and a < b end)
  return setmetatable({ dir = opts.dir, ttl = opts.ttl or M.TTL, offline = opts.offline == true,
    timeout = opts.timeout or M.TIMEOUT, mirrors = opts.mirrors or {}, prefixes = prefixes, warn = opts.warn,
    now = opts.now or os.time, once = task.once() }, Cache)
end

--- The URL that is really asked: the longest mirrored prefix replaced.
---@param url string
---@return string
function Cache:mirror(url)
  for _, prefix in ipairs(self.prefixes) do
    local rest = url:sub(#prefix + 1)
    if url:sub(1, #prefix) == prefix and (rest == "" or prefix:sub(-1) == "/" or rest:find "^[/?#]") then
      local target = self.mirrors[prefix]
      if rest:sub(1, 1) == "/" then target = target:gsub("/+$", "") end
      if prefix:sub(-1) == "/" and target:sub(-1) ~= "/" then target = target .. "/" end
      return target .. rest
    end
  end
  return url
end

-- --- files --------------------------------------------------------------------------------------------

function Cache:file(key) return ("%s/%s"):format(self.dir, digest.sha256(key)) end

-- What is kept under a key, or nil; a damaged file counts as none.
function Cache:read(key)
  local text = fs.read(self:file(key), M.MAX_BODY + 65536)
  local head, body = (text or ""):match "^([^\n]*)\n(.*)$"
  local about = head and json.decode(head)
  if type(about) ~= "table" or about.format ~= FORMAT or about.key ~= digest.sha256(key)
    or about.sha256 ~= digest.sha256(body) or not math.type(about.fetched) then
    return nil
  end
  about.body = body
  return about
end

function Cache:write(key, answer)
  local about = json.object { { "format", FORMAT }, { "key", digest.sha256(key) }, { "url", answer.url },
    { "fetched", answer.fetched }, { "etag", answer.etag }, { "last_modified", answer.last_modified },
    { "link", answer.link }, { "sha256", digest.sha256(answer.body) } }
  local ok, err = fs.mkdir(self.dir, { parents = true, mode = 448 }) -- 0700
  if ok then ok, err = fs.write(self:file(key), json.encode(about, { lossy = true }) .. "\n" .. answer.body, { mode = 384 }) end
  if not ok and not self.told then
    self.told = true
    self.warn(("answers are not kept: %s"):format(err.message))
  end
end

-- --- fetching -----------------------------------------------------------------------------------------

local function fresh(self, answer)
  local age = self.now() - answer.fetched
  return self.ttl == -1 or age >= 0 and age < self.ttl
end

local function age_text(seconds)
  if seconds < 5400 then return ("%d minutes"):format(seconds // 60) end
  if seconds < 172800 then return ("%d hours"):format(seconds // 3600) end
  return ("%d days"):format(seconds // 86400)
end

local function offline_error(what)
  return errors.new { class = "infra", code = "offline",
    message = ("%s: not looked up, because --offline (or BAKERY_OFFLINE) is set, and no answer is kept"):format(what),
    hint = "run once without --offline, or pin it with `bakery lock`" }
end

-- The answer under a key: kept, or from `fetch(old)`, which gives an answer, "same" or nil, err.
local function find(self, key, what, fetch)
  local old = self:read(key)
  if not old and self.offline then return nil, offline_error(what) end
  if not old or not (self.offline or fresh(self, old)) then
    local new, err = fetch(old)
    if new == "same" then new = old end
    if new then
      new.fetched = self.now()
      self:write(key, new)
    elseif old then
      self.warn(("an answer of %s ago is taken: %s"):format(age_text(self.now() - old.fetched),
        err.message or tostring(err)))
      new = old
    else
      return nil, err
    end
    old = new
  end
  return old
end

-- As find, once in this process, however many tasks ask at the same time.
function Cache:answer(key, what, fetch)
  local result = self.once:run(key, function() return table.pack(find(self, key, what, fetch)) end)
  return result[1], result[2]
end

-- Tokens for GitHub's interface: our own wherever a mirror leads, the common ones to GitHub only.
local function authorization(url, target)
  if not url:find("https://api.github.com/", 1, true) then return nil end
  local token = os.getenv "BAKERY_GITHUB_TOKEN"
  if (not token or token == "") and target:find("^https://api%.github%.com/") then
    token = os.getenv "GITHUB_TOKEN"
    if not token or token == "" then token = os.getenv "GH_TOKEN" end
  end
  return token and token ~= "" and "Bearer " .. token or nil
end

local function status_error(verb, url, response)
  local hint
  if response.status == 403 or response.status == 429 then
    hint = "the server limits requests; GitHub allows more with GITHUB_TOKEN set"
  elseif response.status == 404 then
    hint = "is the mirror, or the resolver's address, still right?"
  end
  return errors.new { class = "infra", code = "http." .. response.status, retryable = response.retryable,
    message = ("%s %s: the server answers %d"):format(verb, http.redact(url), response.status), hint = hint }
end

local function request(self, verb, url, headers)
  local target = self:mirror(url)
  headers = headers or {}
  headers.Authorization = authorization(url, target)
  local response, err = http.request { url = target, method = verb, headers = headers, timeout = self.timeout,
    connect_timeout = math.min(self.timeout, 15), max_body = M.MAX_BODY, user_agent = "bakery" }
  if response then return response, target end
  local shown = http.redact(target)
  local message = tostring(err.message)
  if not message:find(shown, 1, true) then message = ("%s %s: %s"):format(verb, shown, message) end
  return nil, errors.new { class = err.class == "usage" and "usage" or "infra", code = err.code,
    retryable = err.retryable, message = message }
end

--- Body of a GET.
---@param url string
---@param opts { accept?: string, headers?: table<string, string> }|nil
---@return string|nil body
---@return table? err codes of bakery.http, http.STATUS, offline
---@return table<string, string>? headers etag, last-modified and link
function Cache:get(url, opts)
  opts = opts or {}
  local key = table.concat({ "GET", self:mirror(url), opts.accept or "" }, "\n")
  local answer, err = self:answer(key, "GET " .. http.redact(self:mirror(url)), function(old)
    local headers = { Accept = opts.accept }
    for name, value in pairs(opts.headers or {}) do headers[name] = value end
    if old then
      headers["If-None-Match"] = old.etag
      headers["If-Modified-Since"] = not old.etag and old.last_modified or nil
    end
    local response, target = request(self, "GET", url, headers)
    if not response then return nil, target end
    if response.status == 304 and old then return "same" end
    if response.status ~= 200 then return nil, status_error("GET", target, response) end
    local h = response.headers
    return { url = http.redact(target), body = response.body, etag = h.etag, last_modified = h["last-modified"],
      link = h.link }
  end)
  if not answer then return nil, err end
  return answer.body, nil, { etag = answer.etag, ["last-modified"] = answer.last_modified, link = answer.link }
end

--- Status of a HEAD, redirects followed; never kept.
---@param url string
---@return integer|nil status
---@return table? err
function Cache:head(url)
  if self.offline then return nil, offline_error("HEAD " .. http.redact(url)) end
  local response, err = request(self, "HEAD", url)
  if not response then return nil, err end
  return response.status
end

--- Tags of a repository in a registry.
---@param repository string
---@return string[]|nil
---@return table? err codes of bakery.oci
function Cache:tags(repository)
  local answer, err = self:answer("TAGS\n" .. repository, "tags of " .. repository, function()
    local oci = require "bakery.oci"
    local ref, problem = oci.ref(repository)
    if not ref then return nil, problem end
    self.client = self.client or assert(oci.client {})
    local list
    list, problem = self.client:tags(ref)
    if not list then return nil, problem end
    return { url = "oci:" .. repository, body = json.encode(json.array(list)) }
  end)
  if not answer then return nil, err end
  return json.decode(answer.body)
end

return M
