--- zTOC of a 1 GB layer beside soci-snapshotter's own library, which `soci convert` calls once per layer:
--- wall time and peak memory, same file, same run; the bytes must be equal.
---   bakery lua tests/bench/soci.lua [megabytes]     (needs soci-read: make peers)
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local process = require "bakery.process"

local bin = fs.realpath(os.getenv "BAKERY_BIN" or "build/bakery")
local megabytes = math.tointeger(tonumber(arg and arg[1])) or 1000
local dir = assert(fs.tmpdir "bakery-bench-soci")

local function run(cmd)
  local started = loop.now()
  local r = assert(process.run { cmd = cmd, env = { TZ = "UTC" }, timeout = 1800 })
  if r.code ~= 0 then error(table.concat(cmd, " ") .. ":\n" .. r.stdout .. r.stderr, 2) end
  return loop.now() - started, r
end

-- Peak memory of the children: measured by a shell's wait4 through /usr/bin/time where it is there.
local function measured(cmd)
  local timed = process.which "time" and { process.which "time", "-f", "%M", table.unpack(cmd) } or cmd
  local seconds, r = run(timed)
  return seconds, tonumber(r.stderr:match "(%d+)%s*$") or 0
end

-- Files of this machine, again and again under other names, until the tar is large enough.
print(("making a layer of %d MB …"):format(megabytes))
run { "sh", "-c", ([[cd %s && mkdir tree && n=0
  while [ $(du -sm tree | cut -f1) -lt %d ]; do n=$((n+1)); mkdir tree/$n; cp -r /usr/bin /usr/lib/x86_64-linux-gnu /usr/share/doc \
    tree/$n/ 2>/dev/null; done
  tar -C tree -cf - . 2>/dev/null | head -c %d > layer.tar
  # cut off somewhere: a clean end for the tar
  truncate -s $(( %d / 512 * 512 )) layer.tar; rm -r tree]]):format(dir, megabytes, megabytes * 1000000, megabytes * 1000000) }
local script = dir .. "/cut.lua"
assert(fs.write(script, [[
-- Ends the tar after its last whole entry.
local f = assert(io.open(arg[1], "r+b"))
local size, at = f:seek "end", 0
while true do
  f:seek("set", at)
  local h = f:read(512)
  if not h or #h < 512 or h:byte(1) == 0 then break end
  local n = tonumber(h:sub(125, 135), 8) or 0
  local next_at = at + 512 + (n + 511) // 512 * 512
  if next_at > size - 1024 then break end
  at = next_at
end
f:seek("set", at)
f:write(("\0"):rep(1024))
f:close()
os.exit(os.execute(("truncate -s %d '%s'"):format(at + 1024, arg[1])))
]]))
run { bin, "lua", script, dir .. "/layer.tar" }
run { "sh", "-c", "gzip -6 -n < " .. dir .. "/layer.tar > " .. dir .. "/layer.gz" }
assert(fs.write(dir .. "/ours.lua", [[
local soci = require "bakery.soci"
local b = soci.builder { tool = "bench" }
assert(b:file(arg[1]))
assert(b:save(arg[2]))
]]))

local ours, ours_kb = measured { bin, "lua", dir .. "/ours.lua", dir .. "/layer.gz", dir .. "/ours" }
print(("%d MB of tar, %d MB of gzip: ours %.2f s, peak %.0f MB"):format(fs.stat(dir .. "/layer.tar").size // 1000000,
  fs.stat(dir .. "/layer.gz").size // 1000000, ours, ours_kb / 1000))
local peer = process.which "soci-read"
if not peer then
  print "skipped: needs soci-read (make peers)"
else
  local theirs, their_kb = measured { peer, "--build", dir .. "/layer.gz", "gzip", "4194304", "bench", dir .. "/theirs" }
  print(("soci-snapshotter's library %.2f s, peak %.0f MB: ratio %.1fx (goal 2x, under 100 MB)"):format(theirs,
    their_kb / 1000, theirs / ours))
  run { "cmp", dir .. "/ours", dir .. "/theirs" }
end
fs.remove(dir, { recursive = true })
