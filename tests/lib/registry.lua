--- A private docker-registry on loopback for tests.
---
---     local registry = require "lib.registry"
---     local reg <close> = registry.start{auth = "basic", tls = true}
---     -- reg.host "127.0.0.1:PORT", reg.user, reg.password, reg.ca, reg.dir, reg.port
---
--- The server and its directory go away with stop(), <close>, garbage collection, or the end of the
--- test process, however it ends: a shell waits for the end of its standard input.
local M = {}

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function capture(command)
  local p = assert(io.popen(command, "r"))
  local text = p:read("a")
  local ok, _, code = p:close()
  if not ok then error(command .. ": exit code " .. tostring(code)) end
  return (text:gsub("\n$", ""))
end
M.capture = capture
M.quote = quote

local function read(path)
  local f = io.open(path, "rb")
  if not f then return "" end
  local text = f:read("a")
  f:close()
  return text
end
M.read = read

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end
M.write = write

--- Polls fn until it gives a value; fails after `seconds` (10).
function M.wait(what, fn, seconds)
  local deadline = os.time() + (seconds or 10) + 1
  repeat
    local value = fn()
    if value then return value end
    os.execute("sleep 0.02")
  until os.time() > deadline
  error("timeout: " .. what)
end

-- Removes the directories it is told of when we end, however that happens.
local janitor

--- A new directory that goes away with the test process.
function M.tmpdir()
  if not janitor then
    janitor = assert(io.popen("exec setsid sh -c " .. quote(
      'while read -r dir; do set -- "$@" "$dir"; done; rm -rf --one-file-system -- "$@"'), "w"))
    janitor:setvbuf("line")
  end
  local dir = capture("mktemp -d /tmp/bakery-test-XXXXXX")
  janitor:write(dir, "\n")
  return dir
end

--- A background program whose life is tied to ours; its output goes to `log`. Returns stop(). The
--- shell that waits for our end has a session of its own: who kills our process group misses it.
function M.daemon(command, log, dir)
  local script = ("%s >%s 2>&1 </dev/null & pid=$!; read -r _; kill $pid 2>/dev/null; " ..
    "wait $pid 2>/dev/null; %s"):format(command, quote(log), dir and "rm -rf " .. quote(dir) or ":")
  local pipe = assert(io.popen("exec setsid sh -c " .. quote(script), "w"))
  pipe:setvbuf("no")
  return function()
    if not pipe then return end
    pipe:write("stop\n")
    pipe:close()
    pipe = nil
  end
end

--- Self-signed CA and a server certificate for localhost and 127.0.0.1 in dir; its key of EC, which is
--- made at once, or RSA.
function M.certificate(dir, rsa)
  local ec = "ec -pkeyopt ec_paramgen_curve:prime256v1"
  capture(([[cd %s && exec 2>/dev/null
    openssl req -x509 -newkey %s -nodes -days 2 -subj /CN=bakery-test-ca \
      -addext basicConstraints=critical,CA:TRUE -keyout ca-key.pem -out ca.pem
    openssl req -newkey %s -nodes -subj /CN=localhost -keyout key.pem -out req.pem
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n' > ext
    openssl x509 -req -in req.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
      -extfile ext -out cert.pem]]):format(quote(dir), ec, rsa and "rsa:2048" or ec))
  return dir .. "/ca.pem", dir .. "/cert.pem", dir .. "/key.pem"
end

local function htpasswd(dir, user, password)
  local hash = capture(("env -u LD_PRELOAD python3 -W ignore -c 'import crypt,sys; print(crypt.crypt(sys.argv[1]," ..
    "crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=1<<4)))' %s"):format(quote(password)))
  write(dir .. "/htpasswd", user .. ":" .. hash .. "\n")
  return ("auth:\n  htpasswd:\n    realm: test\n    path: %s/htpasswd\n"):format(dir)
end

local function token_auth(reg, dir, o)
  M.certificate(dir, true)
  local log = dir .. "/token-server.log"
  reg._stop_token = M.daemon(("exec python3 %s %s %s %s %d"):format(
    quote(here .. "token_server.py"), quote(dir), quote(reg.user), quote(reg.password),
    o.token_life or 300), log)
  local port = M.wait("token server", function() return read(log):match("^(%d+)\n") end)
  return ("auth:\n  token:\n    realm: http://127.0.0.1:%s/token\n    service: test-registry\n" ..
    "    issuer: test\n    rootcertbundle: %s/cert.pem\n"):format(port, dir)
end

local methods = {}
methods.__index = methods

--- Text of the registry's log; its access lines tell which requests were made.
function methods:log() return read(self.dir .. "/registry.log") end

--- Lines of the token service: "GET account scope|scope".
function methods:token_log() return read(self.dir .. "/token.log") end

--- Number of requests whose access line contains all the given plain texts.
function methods:count(...)
  local n = 0
  for line in self:log():gmatch('[^\n]+') do
    local all = line:find('" [1-5]%d%d ') ~= nil
    for _, text in ipairs { ... } do all = all and line:find(text, 1, true) ~= nil end
    if all then n = n + 1 end
  end
  return n
end

function methods:stop()
  if self._stop_token then self._stop_token() end
  self._stop()
end
methods.__close = methods.stop
methods.__gc = function(self) if self._stop then self:stop() end end

--- Starts a registry. o.auth: nil, "basic" or "token"; o.user, o.password ("user", "secret");
--- o.tls: https with an own CA (reg.ca); o.config: more lines of its configuration;
--- o.token_life: seconds.
function M.start(o)
  o = o or {}
  local dir = M.tmpdir()
  local reg = setmetatable({ dir = dir, user = o.user or "user", password = o.password or "secret" },
    methods)
  local auth, tls = "", ""
  if o.auth == "basic" then auth = htpasswd(dir, reg.user, reg.password) end
  if o.auth == "token" then auth = token_auth(reg, dir, o) end
  if o.tls then
    local ca, cert, key = M.certificate(dir)
    reg.ca = ca
    tls = ("  tls:\n    certificate: %s\n    key: %s\n"):format(cert, key)
  end
  write(dir .. "/config.yml", "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n" ..
    "    rootdirectory: " .. dir .. "/data\n  delete:\n    enabled: true\n" ..
    "http:\n  addr: 127.0.0.1:0\n" .. tls .. auth .. (o.config or ""))
  local log = dir .. "/registry.log"
  reg._stop = M.daemon("exec env OTEL_TRACES_EXPORTER=none docker-registry serve " ..
    quote(dir .. "/config.yml"), log, dir)
  reg.port = tonumber(M.wait("docker-registry", function()
    local text = read(log)
    if text:find("level=fatal") then error("docker-registry: " .. text) end
    return text:match("listening on 127%.0%.0%.1:(%d+)")
  end))
  reg.host = "127.0.0.1:" .. reg.port
  return reg
end

local quirk_methods = {}
quirk_methods.__index = quirk_methods

--- Sets the quirks (see quirk_server.py); forgets how often earlier ones happened.
function quirk_methods:set(quirks)
  local json = require "bakery.json"
  self._generation = self._generation + 1
  quirks.generation = self._generation
  write(self.dir .. "/quirks.tmp", json.encode(quirks))
  os.rename(self.dir .. "/quirks.tmp", self.dir .. "/quirks.json")
end

--- Requests since the last call: { method=, path=, query=, auth=, range=, expect=, length= }.
function quirk_methods:requests()
  local json = require "bakery.json"
  local out, text = {}, read(self.dir .. "/requests.jsonl")
  for line in text:sub(self._seen + 1):gmatch("[^\n]+") do out[#out + 1] = json.decode(line) end
  self._seen = #text
  return out
end

--- "POST GET" …: the methods of the requests since the last call whose path contains `part`.
function quirk_methods:methods_of(part)
  local out = {}
  for _, r in ipairs(self:requests()) do
    if r.path:find(part, 1, true) then out[#out + 1] = r.method end
  end
  return table.concat(out, " ")
end

function quirk_methods:stop() self._stop() end
quirk_methods.__close = quirk_methods.stop
quirk_methods.__gc = function(self) if self._stop then self._stop() end end

--- Starts quirk_server.py; o.tls as for start(), o.client: only for clients with a certificate of that CA.
function M.quirky(o)
  local dir = M.tmpdir()
  local q = setmetatable({ dir = dir, _seen = 0, _generation = 0 }, quirk_methods)
  local tls = ""
  if o and o.tls then
    local ca, cert, key = M.certificate(dir)
    q.ca = ca
    tls = quote(cert) .. " " .. quote(key) .. (o.client and " " .. quote(ca) or "")
  end
  local log = dir .. "/quirk.log"
  q._stop = M.daemon(("exec python3 %s %s %s"):format(quote(here .. "quirk_server.py"), quote(dir), tls),
    log, dir)
  q.port = tonumber(M.wait("quirk server", function() return read(log):match("^(%d+)\n") end))
  q.host = "127.0.0.1:" .. q.port
  return q
end

return M
