--- 100,000 tags: those that are versions inside a range, newest first; beside python's packaging doing
--- the same. Both read the tags from a file.
local fs = require "bakery.fs"
local json = require "bakery.json"
local loop = require "bakery.loop"
local process = require "bakery.process"
local version = require "bakery.version"

local PYTHON = [[
import json, sys, time
from packaging.version import InvalidVersion, Version
tags = open(sys.argv[1]).read().split("\n")
started = time.perf_counter()
versions = []
for tag in tags:
    try:
        versions.append((Version(tag), tag))
    except InvalidVersion:
        pass
low, high = Version("3.2"), Version("41.5.7")
inside = [v for v in versions if not (v[0].is_prerelease) and low <= v[0] <= high]
inside.sort(key=lambda v: v[0], reverse=True)
inside = [text for _, text in inside]
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "inside": inside}))
]]

local SUFFIXES = { "", "", "", "", "", "rc1", ".post2", "-5", "a3.dev1", "-alpine", "-slim-bookworm", "+build.7" }

-- The same tags every time: a small linear congruence instead of a random source.
local function tags(n)
  local out, seed = {}, 42
  local function pick(limit)
    seed = (seed * 1103515245 + 12345) & 0x7fffffff
    return (seed >> 8) % limit
  end
  for i = 1, n do
    out[i] = ("%d.%d.%d%s"):format(pick(60), pick(30), pick(200), SUFFIXES[pick(#SUFFIXES) + 1])
  end
  return out
end

local dir = assert(fs.tmpdir "bakery-bench")
local file = dir .. "/tags"
assert(fs.write(file, table.concat(tags(100000), "\n")))
assert(fs.write(dir .. "/peer.py", PYTHON))

local function ours()
  local list = {}
  for line in (fs.read(file) .. "\n"):gmatch "([^\n]*)\n" do list[#list + 1] = line end
  local started = loop.now()
  local inside = version.select(list, { min = "3.2", max = "41.5.7" })
  return loop.now() - started, inside
end

local python
for _, candidate in ipairs { os.getenv "BENCH_PYTHON" or "python3", "build/parity/bin/python3" } do
  local r = process.run { cmd = { candidate, "-c", "import packaging" } }
  if r and r.code == 0 then python = python or candidate end
end

local best, inside
for _ = 1, 5 do
  local seconds, list = ours()
  if not best or seconds < best then best, inside = seconds, list end
end
if python then
  local peer
  for _ = 1, 3 do
    local r = assert(process.run { cmd = { python, dir .. "/peer.py", file }, timeout = 300 })
    local result = assert(json.decode(r.stdout), r.stderr)
    assert(table.concat(result.inside, " ") == table.concat(inside, " "), "the results differ")
    if not peer or result.seconds < peer.seconds then peer = result end
  end
  print(("%-34s ours %8.4f s   %-10s %8.4f s   ratio %6.1fx   (goal >= 20x)"):format("100,000 tags under a constraint", best,
    "packaging", peer.seconds, peer.seconds / best))
else
  print(("%-34s ours %8.4f s   skipped: needs python3 with packaging"):format("100,000 tags under a constraint", best))
end
fs.remove(dir, { recursive = true })
