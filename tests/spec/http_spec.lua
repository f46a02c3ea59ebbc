local http = require "bakery.http"
local json = require "bakery.json"
local loop = require "bakery.loop"
local registry = require "lib.registry"

describe("bakery.http", function()
  local server, base, other

  setup(function()
    server, other = registry.quirky(), registry.quirky()
    base = "http://" .. server.host .. "/http/"
  end)
  teardown(function()
    server:stop()
    other:stop()
  end)

  local function echo(opts)
    opts.url = opts.url or base .. "echo"
    local r = assert(http.request(opts))
    return assert(json.decode(r.body)), r
  end

  it("gets a body, status and headers", function()
    local r = assert(http.get(base .. "size/5"))
    assert.same({ 200, "xxxxx", "5" }, { r.status, r.body, r.headers["content-length"] })
    assert.equal(base .. "size/5", r.url)
    assert.is_true(r.ok)
  end)

  it("keeps every value of a repeated header", function()
    local r = assert(http.get(base .. "twice"))
    assert.same({ "one", "two" }, r.headers_all["x-twice"])
    assert.equal("one", r.headers["x-twice"])
  end)

  it("does not take another status for an error, and says whether to retry", function()
    local r = assert(http.get(base .. "status/404"))
    assert.same({ 404, false, false, "said no" }, { r.status, r.ok, r.retryable, r.body })
    server:set { retry_after = "7" }
    r = assert(http.get(base .. "status/503"))
    assert.same({ true, 7.0 }, { r.retryable, r.retry_after })
    server:set { retry_after = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 100) }
    r = assert(http.get(base .. "status/503"))
    assert.is_true(r.retry_after > 90 and r.retry_after <= 100)
  end)

  it("sends methods, headers and bodies without Expect", function()
    local got = echo { method = "PUT", headers = { ["X-A"] = "1", ["Content-Type"] = "t/p" },
      body = ("b"):rep(2 << 20) }
    assert.same({ "PUT", "1", "t/p", 2 << 20 },
      { got.method, got.headers["X-A"], got.headers["Content-Type"], #got.body })
    assert.is_nil(got.headers.Expect)
    assert.equal("0", echo { method = "POST" }.headers["Content-Length"])
    assert.equal("DELETE", echo { method = "DELETE" }.method)
    assert.equal("hi", json.decode(assert(http.post(base .. "echo", "hi")).body).body)
  end)

  it("sends a body from a file and writes one to a file", function()
    local dir = registry.tmpdir()
    registry.write(dir .. "/in", "from\0file")
    assert.equal("from\0file", echo { method = "PUT", body_file = dir .. "/in" }.body)
    local counter = loop.counter()
    local r = assert(http.request { url = base .. "size/70000", out_file = dir .. "/out",
      max_body = 10, progress = counter })
    assert.same({ 70000, "" }, { r.size, r.body })
    assert.equal(70000, #registry.read(dir .. "/out"))
    assert.equal(70000, (counter:get()))
    r = assert(http.request { url = base .. "status/500", out_file = dir .. "/none" })
    assert.same({ 500, "said no" }, { r.status, r.body })
    local f = io.open(dir .. "/none")
    assert.is_nil(f)
    assert.equal("in\nout", registry.capture("ls -A " .. dir))
    os.execute("rm -rf " .. dir)
  end)

  it("limits bodies", function()
    local r, err = http.request { url = base .. "size/1001", max_body = 1000 }
    assert.is_nil(r)
    assert.equal("http.too_large", err.code)
    assert.is_truthy(http.request { url = base .. "size/1000", max_body = 1000 })
  end)

  it("follows redirects, with the method changed as the RFC says", function()
    local to = base .. "echo"
    local function via(status, method)
      local got, r = echo { url = base .. "redirect/" .. status .. "?to=" .. to, method = method, body = "x" }
      assert.equal(to, r.url)
      return got.method .. got.body
    end
    assert.equal("GET", via(302, "POST"))
    assert.equal("GET", via(303, "PUT"))
    assert.equal("POSTx", via(307, "POST"))
    assert.equal("PUTx", via(308, "PUT"))
    assert.equal("GET", echo { url = base .. "redirect/301?to=echo2" .. "/../../echo" }.method)
    assert.equal(302, assert(http.request { url = base .. "redirect/302?to=" .. to, follow = 0 }).status)
  end)

  it("stops at too many redirects", function()
    local r, err = http.request { url = base .. "loop", follow = 3 }
    assert.is_nil(r)
    assert.equal("http.redirect", err.code)
    assert.matches("more than 3 redirects", err.message)
  end)

  it("keeps credentials on the origin they were meant for", function()
    local to = "http://" .. other.host .. "/http/echo"
    local got = echo { url = base .. "redirect/307?to=" .. to, user = "u", password = "p",
      headers = { Authorization = "Bearer x", Cookie = "a=b", ["PRIVATE-TOKEN"] = "t", Accept = "text/x" } }
    assert.is_nil(got.headers.Authorization)
    assert.is_nil(got.headers.Cookie)
    assert.is_nil(got.headers["PRIVATE-TOKEN"])
    assert.equal("text/x", got.headers.Accept)
    got = echo { url = base .. "redirect/307?to=" .. base .. "echo", user = "u", password = "p" }
    assert.equal("Basic dTpw", got.headers.Authorization)
    got = echo { url = "http://u:p@" .. server.host .. "/http/echo" }
    assert.equal("Basic dTpw", got.headers.Authorization)
  end)

  it("refuses to leave TLS", function()
    local tls = registry.quirky { tls = true }
    local url = "https://" .. tls.host .. "/http/redirect/302?to=" .. base .. "echo"
    local r, err = http.get(url, { ca_file = tls.ca })
    assert.is_nil(r)
    assert.same({ "http.redirect", "infra" }, { err.code, err.class })
    assert.matches("from https to http", err.message)
    tls:stop()
  end)

  it("verifies certificates", function()
    local tls = registry.quirky { tls = true }
    local url = "https://" .. tls.host .. "/http/size/1"
    local r, err = http.get(url)
    assert.is_nil(r)
    assert.same({ "http.certificate", false }, { err.code, err.retryable })
    assert.equal("x", assert(http.get(url, { ca_file = tls.ca })).body)
    assert.equal("x", assert(http.get(url, { insecure = true })).body)
    assert.is_nil((http.get(url)), "a trusted connection must not be reused without trust")
    r, err = http.get(url, { ca_file = "/nonexistent/ca.pem" })
    assert.is_nil(r)
    assert.equal("ENOENT", err.code)
    tls:stop()
  end)

  it("reports connection trouble as retryable", function()
    local r, err = http.get("http://127.0.0.1:1/x?sig=secret")
    assert.is_nil(r)
    assert.same({ "http.connect", true, "infra" }, { err.code, err.retryable, err.class })
    assert.matches("GET http://127.0.0.1:1/x: ", err.message, 1, true)
    assert.is_nil(tostring(err):find "secret")
    r, err = http.get("http://nowhere.invalid/")
    assert.is_nil(r)
    assert.equal("http.resolve", err.code)
  end)

  it("gives up on stalls and on the whole time", function()
    local _, err = http.get(base .. "stall", { timeout = 0.3 })
    assert.same({ "http.timeout", true }, { err.code, err.retryable })
    _, err = http.get(base .. "stall", { stall_timeout = 1 })
    assert.equal("http.timeout", err.code)
  end)

  it("refuses what is no web address", function()
    for _, url in ipairs { "", "ftp://x/", "file:///etc/passwd", "http://", "relative", "http://a b/",
      "http://x/\nHost: y" } do
      local r, err = http.get(url)
      assert.is_nil(r, url)
      assert.equal("http.url", err.code)
    end
    local _, err = http.get("ftp://user:pw@host/p?q")
    assert.is_nil(tostring(err):find "pw")
    _, err = http.request { url = base .. "echo", headers = { ["X-A"] = "1\r\nX-B: 2" } }
    assert.equal("http.header", err.code)
    _, err = http.request { url = base .. "echo", method = "GET / HTTP/1.1\r\nX: y" }
    assert.equal("http.method", err.code)
  end)

  it("raises on misuse", function()
    assert.error_matches(function() http.request { uri = "x" } end, "unknown option 'uri'.*'url'")
    assert.error_matches(function() http.request {} end, "'url' is required")
    assert.error_matches(function() http.get() end, "string expected")
    assert.error_matches(function() http.request { url = "x", follow = -1 } end, "follow")
    assert.error_matches(function() http.request { url = "http://a\0b/" } end, "zero byte")
    assert.error_matches(function() http.request { url = "x", body = "a", body_file = "b" } end, "exclude")
    assert.error_matches(function() http.request { url = "x", headers = { 1 } } end, "headers")
  end)

  it("yields in tasks and can be cancelled", function()
    local n = 0
    local waiting = loop.spawn(function() http.get(base .. "stall") end)
    local tasks = {}
    for i = 1, 6 do
      tasks[i] = loop.spawn(function()
        local body = assert(http.get(base .. "size/10")).body
        n = n + #body
      end)
    end
    for _, t in ipairs(tasks) do assert.is_true((t:wait())) end
    assert.equal(60, n)
    assert.equal("waiting", waiting:status())
    waiting:cancel()
    assert.is_false((waiting:wait()))
  end)

  it("takes proxies from the environment, but not for loopback", function()
    local bin = os.getenv "BAKERY_BIN"
    if not bin then return pending "skipped: needs BAKERY_BIN" end
    local function get(url, env)
      return registry.capture(("env -u no_proxy -u http_proxy %s %s lua -e %s"):format(env, bin, registry.quote(
        ('local r, e = require("bakery.http").get(%q, { timeout = 5 }) print(r and r.body or e.code)'):format(url))))
    end
    local proxy = "http://" .. server.host
    server:requests()
    for _, name in ipairs { "http_proxy", "HTTP_PROXY", "ALL_PROXY" } do
      assert.equal("xxx", get("http://somewhere.invalid/http/size/3", name .. "=" .. proxy))
      assert.equal(1, #server:requests())
    end
    assert.equal("http.resolve", get("http://somewhere.invalid/", "NO_PROXY=.invalid http_proxy=" .. proxy))
    assert.equal("http.resolve", get("http://somewhere.invalid/", "REQUEST_METHOD=GET HTTP_PROXY=" .. proxy))
    assert.equal("xx", get(base .. "size/2", "http_proxy=http://127.0.0.1:1"))
  end)

  it("redacts addresses", function()
    assert.equal("https://h:1/p", http.redact "https://user:pw@h:1/p?sig=1#f")
    assert.is_true(http.is_retryable(503))
    assert.is_false(http.is_retryable(404))
  end)
end)
