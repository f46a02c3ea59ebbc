--- What a hostile RUN can reach, tried in every tier that runs commands: files and processes of the host,
--- the store, secrets of other steps, devices, the kernel's switches.
local world = require "lib.world"
local child = require "lib.child"
local fs = require "bakery.fs"
local process = require "bakery.process"

local root = process.uid() == 0
local ready = root and process.which "gcc" and process.which "setpriv" and process.which "python3"

local DOCKER = "setpriv --bounding-set=-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,"
  .. "+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write"
local NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"

-- The other stage holds a secret while the probe looks around.
local TEXT = [[
FROM scratch AS base
COPY base/ /
ENV PATH=/bin
FROM base AS other
RUN --mount=type=secret,id=s,env=S --mount=type=cache,target=/c sh -c 'touch /c/up; for i in $(seq 200); do test -e /c/done && exit; sleep 0.1; done'
FROM base
RUN --mount=type=cache,target=/c for i in $(seq 100); do test -e /c/up && break; sleep 0.1; done
RUN /probe %s marker-%s %d %s > /result; cat /result
RUN --mount=type=cache,target=/c touch /c/done
COPY --from=other /bin/sh /other
]]

-- Tier F moves caches, so it cannot wait for another step in one.
local ALONE = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN /probe %s marker-%s %d %s > /result; cat /result\n"

describe("a hostile RUN", function()
  local dir, bin, confine, marker, socket, listener

  setup(function()
    if not ready then return end
    dir = world.project { app = "FROM scratch\n" }
    bin = world.tmp()
    confine = bin .. "/confine"
    assert(fs.copy(world.bin, bin .. "/bakery"))
    fs.chmod(bin .. "/bakery", 493)
    world.run { "gcc", "-D_GNU_SOURCE", "-o", confine, "tests/lib/confine.c" }
    world.run { "gcc", "-D_GNU_SOURCE", "-static", "-o", dir .. "/base/probe", "tests/lib/escape_probe.c" }
    for _, path in ipairs { dir, dir .. "/base", bin } do fs.chmod(path, 493) end
    marker = bin .. "/marker"
    assert(fs.write(marker, "host"))
    socket = "bakery-test-" .. process.pid()
    listener = assert(process.spawn { cmd = { "python3", "-c", ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\n"
      .. "s.bind('\\0%s')\ns.listen(64)\nprint('up',flush=True)\nsys.stdin.read()"):format(socket) } })
    assert.equal("up", listener:read_line())
  end)
  teardown(function()
    if listener then listener:close() end
    world.cleanup()
    child.clean()
  end)

  -- Names of what the probe reached.
  local function reached(prefix, text, ...)
    local home = world.tmp()
    local as_nobody = prefix:find("reuid", 1, true)
    if as_nobody then world.run { "chown", "65534:65534", home } end
    local victim = assert(process.spawn { cmd = { "sh", "-c", "exec " .. (as_nobody and NOBODY .. " " or "") .. "sleep 600" } })
    world.write(dir, { ["app/1.0.0/Containerfile"] = text:format(marker, socket, victim.pid, socket) })
    local words = { bin .. "/bakery", "build", "-C", dir, "--store", home .. "/store", "--results", home .. "/results",
      "--progress", "plain", "--secret", "id=s,env=SECRET", "--jobs", "4", ... }
    for i, w in ipairs(words) do words[i] = child.quote(w) end
    local line = prefix:gsub("CONFINE", function() return confine end):gsub("CMD", function() return table.concat(words, " ") end)
    local r = process.run { cmd = { "sh", "-c", line }, timeout = 300, env = { HOME = home, XDG_STATE_HOME = home,
      BAKERY_ROOT = os.getenv "BAKERY_ROOT", NO_COLOR = "1", BAKERY_ISOLATION = "", SECRET = "marker-" .. socket } }
    victim:close()
    assert.equal(0, r.code, r.stderr)
    local out, n = {}, 0
    for name, verdict in r.stderr:gmatch "| ([%w_]+) (%u*%l*)" do
      n = n + 1
      if verdict == "REACHED" then out[name] = true end
    end
    assert.truthy(n > 25, r.stderr)
    local names = {}
    for name in pairs(out) do names[#names + 1] = name end
    table.sort(names)
    return table.concat(names, " ")
  end

  for _, case in ipairs {
    { "A", "CMD", TEXT },
    { "A, strict", "CMD", TEXT, "--security", "strict" },
    { "A, flat", "CMD", TEXT, "--isolation", "root,flat" },
    { "C", DOCKER .. " CMD", TEXT },
    { "E", NOBODY .. " CMD", TEXT },
    { "E with a masked /proc", "unshare -m sh -c " .. child.quote("mount --bind /dev/null /proc/keys; mount -t tmpfs none "
      .. "/sys/kernel; exec " .. NOBODY .. " CMD"), TEXT },
  } do
    it("reaches nothing in tier " .. case[1], ready and function()
      if not case[1]:find "^A" and not world.user_namespaces() then return pending "needs user namespaces" end
      assert.equal("", reached(case[2], case[3], table.unpack(case, 4)))
    end or function() pending "skipped: needs root, gcc, setpriv and python3" end)
  end

  it("in a chroot reaches nothing but what shares its namespaces with it", ready and function()
    local found = reached("CONFINE unshare,mount " .. DOCKER .. " CMD", ALONE)
    assert.equal("abstract_socket keyctl kill", found) -- a container's own filter would refuse keyctl
    assert.equal("", reached("CONFINE unshare,mount " .. DOCKER .. " CMD", ALONE, "--security", "strict"))
  end or function() pending "skipped: needs root, gcc, setpriv and python3" end)
end)
