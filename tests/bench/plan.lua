--- Plans of generated projects: time and memory of 1,000 and 10,000 targets, beside the reference where
--- `make parity` has installed it.
---   bakery lua tests/bench/plan.lua
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"

local bin = fs.realpath(os.getenv "BAKERY_BIN" or "build/bakery")
local venv = fs.realpath("build/parity")
local work = assert(fs.tmpdir "bakery-bench-plan")

local HEAD = [[
repository: {url: https://example.org/r}
registries:
  - {host: ghcr.io, namespace: team}
  - {host: docker.io, namespace: team}
images:
]]
local IMAGE = [[
  - name: image-%d
    variants:
      - name: Standard
        primary: true
      - name: Minimal
    versions:
]]
local VERSION = [[
      - name: 2026.%02d.0+%d
        subpath: "2026.%02d"
        latest: %s
        os:
          - name: Ubuntu 24.04
            primary: true
            platforms: [linux/amd64, linux/arm64]
          - name: Rocky 9
            platforms: [linux/amd64, linux/arm64]
        dependencies:
          - {dependency: R, versions: [4.5.1, 4.4.3]}
          - {dependency: python, version: 3.12.11}
]]

-- Images of 10 versions x 2 variants x 2 operating systems.
local function project(targets)
  local dir = work .. "/" .. targets
  local out = { HEAD }
  for i = 1, targets // 40 do
    out[#out + 1] = IMAGE:format(i)
    for v = 1, 10 do out[#out + 1] = VERSION:format(v, v * 7, v, v == 10) end
  end
  assert(fs.mkdir(dir, { parents = true }))
  assert(fs.write(dir .. "/bakery.yaml", table.concat(out)))
  return dir
end

-- Processor seconds and peak MB of a command: the least of n runs.
local function measure(cmd, n)
  local seconds, mb, stdout = math.huge, nil, nil
  for _ = 1, n do
    local r = assert(process.run { timeout = 900,
      cmd = { "/usr/bin/env", "time", "-f", "%U %S %M", table.unpack(cmd) } })
    local user, system, kb = r.stderr:match "([%d.]+) ([%d.]+) (%d+)%s*$"
    if r.code ~= 0 or not user then error(r.stderr:sub(-2000), 0) end
    seconds, mb, stdout = math.min(seconds, user + system), kb / 1024, r.stdout
  end
  return seconds, mb, stdout
end

local function ours(dir) return measure({ bin, "build", "--plan", "-C", dir }, 5) end

local function main()
  local small, large = project(1000), project(10000)
  local seconds, mb, text = ours(small)
  local count = 0
  for _ in pairs(json.decode(text).target) do count = count + 1 end
  assert(count == 1000, "the plan has " .. count .. " targets")
  local line = ("%-34s ours %8.3f s"):format("plan of 1,000 targets", seconds)
  if venv and fs.exists(venv .. "/bin/bakery") then
    local cases = work .. "/cases.json"
    assert(fs.write(cases, json.encode { json.object { { "kind", "cli" }, { "dir", small },
      { "args", json.array { "build", "--plan" } } } }))
    local peer = measure({ venv .. "/bin/python", "tests/parity/reference.py", cases, work .. "/answers.json" }, 1)
    print(("%s   %-10s %8.3f s   ratio %6.1fx   (goal >= 50x)"):format(line, "reference", peer, peer / seconds))
  else
    print(line .. "   (goal: under 0.150; `make parity` brings the reference)")
  end
  print(("%-34s ours %8.0f MB peak resident   (goal: under 60)"):format("plan of 1,000 targets", mb))
  local more = ours(large)
  print(("%-34s ours %8.3f s   %.1f times that of 1,000   (goal: about 10)"):format("plan of 10,000 targets", more,
    more / seconds))
end

local ok, err = pcall(main)
fs.remove(work, { recursive = true })
if not ok then error(err, 0) end
