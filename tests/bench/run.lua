--- `make bench`: our figure and a peer's, same machine, same run, ratios printed. Timings decide nothing.
---   bakery lua tests/bench/run.lua [startup|template|plan|tags|soci|build|push|builder]
package.path = "tests/?.lua"
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local process = require "bakery.process"
local dockerd = require "lib.dockerd"
local kaniko = require "bench.kaniko"
local registry = require "lib.registry"

local bin = fs.realpath(os.getenv "BAKERY_BIN" or "build/bakery")
local work = assert(fs.tmpdir "bakery-bench")
local wanted = {}
for _, a in ipairs(arg) do wanted[a] = true end

local function run(cmd, opts)
  opts = opts or {}
  local started = loop.now()
  local r = assert(process.run { cmd = cmd, cwd = opts.cwd, env = opts.env, timeout = 1800 })
  local seconds = loop.now() - started
  if r.code ~= 0 then error(table.concat(cmd, " ") .. ":\n" .. r.stdout:sub(-2000) .. r.stderr:sub(-4000), 2) end
  return seconds, r
end

local function best(n, fn)
  local least
  for _ = 1, n do
    local s = fn()
    if not least or s < least then least = s end
  end
  return least
end

local function line(what, ours, peer, peer_name, goal)
  print(("%-34s ours %8.3f s   %-10s %8.3f s   ratio %6.1fx   (goal %s)"):format(what, ours, peer_name, peer, peer / ours, goal))
end

local function bench_startup()
  local function many(cmd)
    return best(3, function() return run { "sh", "-c", "i=0; while [ $i -lt 200 ]; do " .. cmd .. " >/dev/null; i=$((i+1)); done" } / 200 end)
  end
  local ours, lua = many(bin .. " version"), many "lua5.4 -e ''"
  print(("%-34s ours %8.2f ms  lua5.4     %8.2f ms  ratio %6.2f   (goal: within 3)"):format("bakery version", ours * 1000, lua * 1000,
    ours / lua))
end

local YAML = [[
repository:
  url: https://example.com/bench
images:
  - name: app
    versions:
      - name: 1.0.0
]]

local function project(dir, base)
  assert(fs.mkdir(dir .. "/app/1.0.0", { parents = true }))
  assert(fs.mkdir(dir .. "/small", { parents = true }))
  assert(fs.write(dir .. "/bakery.yaml", YAML))
  assert(fs.write(dir .. "/app/1.0.0/Containerfile", ([[
FROM %s
RUN mkdir -p /opt/app && echo one > /opt/app/one
COPY small/ /opt/app/small/
RUN find /opt/app/small -type f | wc -l > /opt/app/count
COPY big /opt/app/big
RUN sha256sum /opt/app/big > /opt/app/big.sha256
]]):format(base)))
  for i = 1, 2000 do
    local sub = ("%s/small/d%02d"):format(dir, i % 40)
    fs.mkdir(sub)
    assert(fs.write(("%s/f%04d"):format(sub, i), ("line %d of a small file\n"):format(i):rep(20 + i % 50)))
  end
  run { "dd", "if=/dev/urandom", "of=" .. dir .. "/big", "bs=1M", "count=30" }
end

local made
local function make_base(reg)
  if made then return made end
  print "making a Debian base with mmdebstrap …"
  local tar = os.getenv "BENCH_BASE" or work .. "/base.tar"
  if not fs.exists(tar) then
    run { "mmdebstrap", "--variant=minbase", "--mode=root", "bookworm", tar }
  end
  local layout = work .. "/base-oci"
  run { "umoci", "init", "--layout", layout }
  run { "umoci", "new", "--image", layout .. ":base" }
  run { "umoci", "raw", "add-layer", "--image", layout .. ":base", tar }
  run { "skopeo", "copy", "--dest-tls-verify=false", "oci:" .. layout .. ":base", "docker://" .. reg.host .. "/base:1" }
  made = reg.host .. "/base:1"
  return made
end

local function bench_build(reg)
  local base = make_base(reg)
  local dir = work .. "/project"
  project(dir, base)
  local function ours(store)
    return run({ bin, "build", "-C", dir, "--store", store, "--progress", "quiet", "--no-summary" })
  end
  local function buildah(root)
    return run { "buildah", "--root", root .. "/root", "--runroot", root .. "/run", "--storage-driver", "overlay", "bud", "--layers",
      "--isolation", "chroot", "--tls-verify=false", "-f", dir .. "/app/1.0.0/Containerfile", "-t", "app:1", dir }
  end
  local engine, why = dockerd.start()
  if not engine then print("(BuildKit is left out: " .. why .. ")") end
  local function buildkit(what, mine, goal, n)
    if not engine then return end
    line(what, mine, best(n or 1, function()
      return run({ dockerd.client(), "build", "--network", "host", "-q", "-f", dir .. "/app/1.0.0/Containerfile", "-t", "app:1", dir },
        { env = engine.env })
    end), "BuildKit", goal)
  end
  local program, missing = kaniko.find()
  if not program then print("(kaniko is left out: " .. missing .. ")") end
  local repo = reg.host .. "/kaniko/cache"
  local function in_place(what, mine, args)
    if not program then return end
    line(what, mine, kaniko.build({ run = run }, program, work .. "/kaniko", dir, "app/1.0.0/Containerfile", args), "kaniko", "-")
  end
  local cached_args = { "--no-push", "--cache", "--cache-repo", repo }
  local s, b = work .. "/store", work .. "/buildah"
  local cold, bcold = ours(s), buildah(b)
  line("cold build (base pulled)", cold, bcold, "buildah", ">= 4x")
  buildkit("cold build (base pulled)", cold, "-")
  in_place("cold build (base pulled)", cold, { "--no-push" })
  local cached, bcached = best(5, function() return ours(s) end), best(2, function() return buildah(b) end)
  line("nothing changed", cached, bcached, "buildah", ">= 15x")
  buildkit("nothing changed", cached, ">= 8x", 2)
  if program then kaniko.build({ run = run }, program, work .. "/kaniko", dir, "app/1.0.0/Containerfile", cached_args) end
  in_place("nothing changed", cached, cached_args)
  fs.append(dir .. "/small/d01/f0001", "changed\n")
  local one, bone = ours(s), buildah(b)
  line("one small file changed", one, bone, "buildah", ">= 5x")
  buildkit("one small file changed", one, "-")
  in_place("one small file changed", one, cached_args)
  if engine then engine:stop() end
  run { "buildah", "--root", b .. "/root", "--runroot", b .. "/run", "--storage-driver", "overlay", "rmi", "-a", "-f" }
end

local function bench_push(reg)
  local dir = work .. "/large"
  assert(fs.mkdir(dir .. "/app/1.0.0", { parents = true }))
  assert(fs.write(dir .. "/bakery.yaml", (YAML:gsub("images:", ("registries:\n  - host: %s\n    namespace: bench\nimages:"):format(reg.host), 1))))
  assert(fs.write(dir .. "/app/1.0.0/Containerfile", "FROM scratch\nCOPY large /large\n"))
  run { "sh", "-c", "head -c 1000000000 /dev/urandom > " .. dir .. "/large" }
  local r = select(2, run({ "/usr/bin/env", "time", "-f", "%M", bin, "build", "-C", dir, "--store", work .. "/store2", "--progress", "quiet",
    "--no-summary", "--push" }))
  local kb = tonumber(r.stderr:match "(%d+)%s*$")
  print(("%-34s ours %8.0f MB peak resident                              (goal: under 100)"):format("build and push a 1 GB layer", kb / 1024))
end

local ok, err = pcall(function()
  if not next(wanted) or wanted.startup then bench_startup() end
  if not next(wanted) or wanted.registry then dofile("tests/bench/registry.lua").run(bin) end
  if not next(wanted) or wanted.template then dofile "tests/bench/template.lua" end
  if not next(wanted) or wanted.plan then dofile "tests/bench/plan.lua" end
  if not next(wanted) or wanted.tags then dofile "tests/bench/tags.lua" end
  if not next(wanted) or wanted.soci then dofile "tests/bench/soci.lua" end
  if not next(wanted) or wanted.build or wanted.push or wanted.builder then
    local reg <close> = registry.start {}
    if not next(wanted) or wanted.build then bench_build(reg) end
    if not next(wanted) or wanted.push then bench_push(reg) end
    if not next(wanted) or wanted.builder then
      dofile "tests/bench/builder.lua" ({ bin = bin, work = work, run = run, best = best, line = line, base = make_base }, reg)
    end
  end
end)
process.run { cmd = { "rm", "-rf", work } }
if not ok then error(err, 0) end
