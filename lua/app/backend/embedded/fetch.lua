--- ADD of URLs: fetched once, asked for again by ETag and date only, kept as blobs of the store.
local containerfile = require "bakery.containerfile"
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local http = require "bakery.http"
local loop = require "bakery.loop"
local fail = require "app.fail"
local provenance = require "app.backend.embedded.provenance"
local secrets = require "app.backend.embedded.secrets"

local M = {}

-- Tries of a request whose answer may be better the next time.
local TRIES = 4

--- Largest file that ADD fetches: BAKERY_ADD_MAX bytes (or with a suffix: 4g), 16 GiB without it.
local function max_bytes()
  local text = os.getenv "BAKERY_ADD_MAX"
  if not text or text == "" then return 16 << 30 end
  local n = containerfile.size(text)
  if not n or n < 1 then
    fail.raise { class = "usage", code = "usage", message = "BAKERY_ADD_MAX: expected a size such as 4g, got '" .. text .. "'" }
  end
  return n
end

local MONTHS = {}
for i, name in ipairs { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" } do
  MONTHS[name] = i
end

--- Seconds since 1970 of an HTTP date (RFC 9110, 5.6.7: IMF-fixdate), or nil.
---@param text string|nil
---@return integer|nil
function M.http_date(text)
  local day, month, year, h, m, s = (text or ""):match("^%a+, (%d+) (%a+) (%d+) (%d+):(%d+):(%d+) GMT$")
  month = MONTHS[month]
  if not month then return nil end
  -- Days from the civil calendar, years beginning in March.
  local y = tonumber(year) - (month <= 2 and 1 or 0)
  local days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * ((month + 9) % 12) + 2) // 5 + tonumber(day) - 1 - 719468
  return days * 86400 + h * 3600 + m * 60 + s
end

-- BuildKit's secrets for ADD: HTTP_AUTH_HEADER_<host> is the header's value, HTTP_AUTH_TOKEN_<host> a
-- bearer token.
local function authorization(build, where, url)
  local host = url:match("^%a+://([^/?#]*)"):gsub("^.*@", ""):gsub(":%d+$", "")
  local header = secrets.value(build, where, "HTTP_AUTH_HEADER_" .. host)
  local token = not header and secrets.value(build, where, "HTTP_AUTH_TOKEN_" .. host)
  return header or token and "Bearer " .. token or nil
end

local function request(url, headers, file)
  local response, err
  for try = 1, TRIES do
    response, err = http.request { url = url, headers = headers, out_file = file, max_file = max_bytes(),
      netrc = true, user_agent = "bakery" }
    if response and not response.retryable or err and not err.retryable or try == TRIES then break end
    loop.sleep(response and response.retry_after or 0.3 * try)
  end
  return fail.within("ADD " .. http.redact(url), response, err)
end

local function status_error(url, response)
  fail.raise { class = response.status >= 500 and "infra" or "build", code = "http." .. response.status,
    message = ("ADD %s: the server answers %d"):format(http.redact(url), response.status),
    hint = (response.status == 401 or response.status == 403) and ("credentials come from ~/.netrc or the build secret "
      .. "HTTP_AUTH_TOKEN_<host>") or nil }
end

local function check_sum(url, file, want)
  local algorithm = want:match("^(%w+):")
  if algorithm ~= "sha256" and algorithm ~= "sha512" then
    fail.raise { class = "usage", code = "build.checksum", message = ("--checksum: %s is not known here"):format(algorithm),
      hint = "use sha256:… or sha512:…" }
  end
  local have = algorithm .. ":" .. fail.check(digest.file(file, algorithm))
  if have ~= want:lower() then
    fail.raise { class = "build", code = "build.checksum", message = ("ADD %s: expected %s, got %s"):format(http.redact(url), want,
      have) }
  end
end

local function download(build, where, url, known, want)
  local headers = { authorization = authorization(build, where, url) }
  if known then
    headers["if-none-match"], headers["if-modified-since"] = known.etag, not known.etag and known.last_modified or nil
  end
  build.emit { type = "download", url = http.redact(url), text = "downloading " .. http.redact(url) }
  local tmp = fail.check(build.store:tmpfile())
  fs.remove(tmp)
  local response = request(url, headers, tmp)
  if response.status == 304 and known then
    if want then check_sum(url, build.store:blob_path(known.digest), want) end
    return known
  end
  if not response.ok then status_error(url, response) end
  if want then
    local ok, err = pcall(check_sum, url, tmp, want)
    if not ok then
      fs.remove(tmp)
      error(err, 0)
    end
  end
  local record = { digest = "sha256:" .. fail.check(digest.file(tmp)), size = response.size, etag = response.headers.etag,
    last_modified = response.headers["last-modified"], mtime = M.http_date(response.headers["last-modified"]) or 0 }
  fail.check(build.store:add_blob_file(tmp, record.digest))
  return record
end

--- Fetches a URL, or finds that what was fetched before is still what the server has. With a sha256
--- checksum that is in the store nothing is asked.
---@param build table the running build
---@param where table of the target: secrets
---@param url string
---@param want string|nil checksum "sha256:…"
---@return table { digest=, size=, mtime=, path=file, name= }
function M.url(build, where, url, want)
  local id = digest.sha256("http source\0" .. url)
  local record = build.once:run("http:" .. id .. (want or ""), function()
    local lock <close> = fail.check(build.store:lock("http-" .. id)) -- luacheck: ignore
    local known = build.store:get_key(id)
    if known and not build.store:has_blob(known.digest) then known = nil end
    if known and want and known.digest == want:lower() then return known end
    local fresh = download(build, where, url, not build.no_cache and known or nil, want)
    if fresh ~= known then fail.check(build.store:put_key(id, fresh)) end
    return fresh
  end)
  provenance.note(build, where.target, where.platform, http.redact(url), record.digest)
  return { digest = record.digest, size = record.size, mtime = record.mtime, path = build.store:blob_path(record.digest),
    name = containerfile.url_filename(url) }
end

return M
