---@meta bakery.http

--- HTTP(S) requests. Calls marked (async) yield in tasks and turn the loop elsewhere. A status is
--- never an error by itself; what keeps an answer from arriving is `nil, err` with err.retryable set
--- where another try may help. Retrying is the caller's business.
---@class bakery.httplib
local M = {}

---@class bakery.http.request
---@field url string http or https; user:password@ in it is sent as Basic and shown nowhere
---@field method? string upper case ("GET")
---@field headers? table<string, string>
---@field body? string
---@field body_file? string path; sent with its length, read as it goes
---@field out_file? string path that gets a 2xx body: appears complete or not at all; see max_file
---@field max_file? integer bytes of out_file (0 = no limit); more is http.too_large
---@field max_body? integer bytes of a body in memory (16 MiB); a 2xx body beyond it is
--- http.too_large, another one is cut
---@field timeout? number seconds for everything (0 = none)
---@field connect_timeout? number seconds (30)
---@field stall_timeout? number seconds without a byte (60)
---@field follow? integer redirects (5). Credentials and headers that look like them stay on the
--- origin they were given for; https to http is refused
---@field ca_file? string PEM, trusted beside the system's authorities
---@field cert_file? string client certificate, PEM
---@field key_file? string its key
---@field insecure? boolean no certificate checks
---@field user? string Basic authentication, for the origin of url only
---@field password? string
---@field netrc? boolean look hosts up in ~/.netrc
---@field user_agent? string
---@field progress? userdata loop.counter(): bytes sent and received are added

---@class bakery.http.response
---@field status integer
---@field ok boolean status is 2xx
---@field retryable boolean status is one of 408, 425, 429, 499, 500, 502-504, 520-524
---@field retry_after? number seconds the server asks to wait, at most 300
---@field headers table<string, string> lower-case names; the first of repeated ones
---@field headers_all table<string, string[]>
---@field body string empty with out_file and a 2xx status
---@field size integer bytes of the body received
---@field url string after redirects, without user and password

--- One request (async). Error codes: http.url, http.method, http.header (class usage); http.resolve,
--- http.connect, http.timeout, http.tls, http.certificate, http.send, http.recv, http.truncated,
--- http.too_large, http.redirect, http.proxy, http.library (class infra); errno names for files;
--- cancelled. Messages never contain queries, credentials or bodies.
---@param request bakery.http.request
---@return bakery.http.response|nil
---@return table? err
function M.request(request) end

--- request{ url = url, method = "GET", … } (async).
---@param url string
---@param opts? bakery.http.request
---@return bakery.http.response|nil
---@return table? err
function M.get(url, opts) end

--- request{ url = url, method = "POST", body = body, … } (async).
---@param url string
---@param body? string
---@param opts? bakery.http.request
---@return bakery.http.response|nil
---@return table? err
function M.post(url, body, opts) end

--- The URL without user, password, query and fragment, for messages.
---@param url string
---@return string
function M.redact(url) end

--- Is a status worth another try?
---@param status integer
---@return boolean
function M.is_retryable(status) end

--- Has the HTTP library loaded by a thread meanwhile, for who is about to make a request and has
--- other things to do first. Without it, the first request loads it.
function M.warm_up() end

return M
