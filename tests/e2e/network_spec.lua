--- --network private: a RUN reaches out, but neither this machine's loopback nor another RUN.
local fs = require "bakery.fs"
local process = require "bakery.process"
local world = require "lib.world"

local SERVER = [[
import http.server, socketserver
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"from outside\n")
    def log_message(self, *a): pass
with socketserver.ThreadingTCPServer(("0.0.0.0", 0), H) as s:
    print(s.server_address[1], flush=True)
    s.serve_forever()
]]

local r = process.which "hostname" and process.run { cmd = { "hostname", "-I" } }
local address = r and r.stdout:match "%f[%d]%d+%.%d+%.%d+%.%d+"
local missing = process.uid() ~= 0 and "root" or not process.which "slirp4netns" and "slirp4netns" or not fs.exists "/dev/net/tun"
  and "/dev/net/tun" or not address and "an address besides loopback" or not process.which "python3" and "python3"

describe("--network private", function()
  local server, port, store
  setup(function()
    if missing then return end
    store = world.tmp() .. "/store"
    server = assert(process.spawn { cmd = { "python3", "-c", SERVER } })
    port = assert(server:read_line())
  end)
  teardown(function()
    if server then server:close() end
    world.cleanup()
  end)
  local function net_it(name, fn)
    it(name, missing and function() pending("skipped: needs " .. missing) end or fn)
  end

  local function build(lines, args, opts)
    -- The static busybox must not look for further libraries.
    local dir = world.project { app = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN echo hosts: files > /etc/nsswitch.conf\n" .. lines }
    local cmd = { "build", "-C", dir, "--store", store, "--progress", "plain" }
    return world.bakery(table.move(args or { "--network", "private" }, 1, 9, #cmd + 1, cmd), opts)
  end
  local function slirps() return tonumber(process.run({ cmd = { "pgrep", "-c", "slirp4netns" } }).stdout) end
  local function get(host) return ("wget -q -O - http://%s:%s/"):format(host, port) end

  net_it("reaches out, and not the loopback of this machine", function()
    local before = slirps()
    local got = build(("RUN %s && ! %s && ! %s && test ! -e /sys/class/net/eth0\n"):format(get(address), get "127.0.0.1", get "10.0.2.2"))
    assert.equal(0, got.code, got.stderr)
    assert.truthy(got.stderr:find("| from outside", 1, true), got.stderr)
    assert.equal(before, slirps())
    got = build("RUN " .. get "127.0.0.1" .. "\n", {}) -- where it is shared, that works
    assert.equal(0, got.code, got.stderr)
  end)

  net_it("is one for each RUN, with names answered, and gone when the RUN fails", function()
    local before = slirps()
    local got = build("RUN cat /etc/resolv.conf; ls /sys/class/net; exit 9\n")
    assert.equal(1, got.code)
    assert.truthy(got.stderr:find("| nameserver 10.0.2.3", 1, true), got.stderr)
    for _, name in ipairs { "lo", "tap0" } do assert.truthy(got.stderr:find("| " .. name .. "\n", 1, true), got.stderr) end
    assert.equal(before, slirps())
    assert.same({}, fs.list(store .. "/tmp"))
  end)

  net_it("gives way to RUN --network=none, not to --network=host", function()
    local got = build("RUN --network=none ls /sys/class/net | tr '\\n' '.'; echo\n")
    assert.equal(0, got.code, got.stderr)
    assert.truthy(got.stderr:find("| lo.\n", 1, true), got.stderr)
    got = build("RUN --network=host true\n")
    assert.equal(2, got.code)
    assert.truthy(got.stderr:find("Containerfile:5: RUN --network=host in a build whose network is private", 1, true), got.stderr)
  end)

  it("is refused with advice where nothing can give it a way out", function()
    if missing == "root" then return pending "skipped: needs root" end
    store = store or world.tmp() .. "/store"
    local got = build("RUN true\n", nil, { env = { PATH = "/nowhere" } })
    assert.equal(2, got.code, got.stderr)
    assert.truthy(got.stderr:find("--network private needs slirp4netns", 1, true), got.stderr)
    assert.truthy(got.stderr:find("Debian package: slirp4netns", 1, true), got.stderr)
  end)
end)
