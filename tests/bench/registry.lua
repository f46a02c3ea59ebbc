--- Registry work beside skopeo, crane and regctl, as far as they are there: the same job, the same run.
---   bakery lua tests/bench/run.lua registry    (BENCH_MB: size of the large image, 1024)
local archive = require "bakery.archive"
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local process = require "bakery.process"
local registry = require "lib.registry"
local pushed = require "lib.pushed"
local json = require "bakery.json"

local M = {}

local PEERS = fs.realpath "build/peers/bin"

local function find(name)
  return PEERS and fs.exists(PEERS .. "/" .. name) and PEERS .. "/" .. name or process.which(name)
end

-- Seconds and peak MB of a command; nil when it fails.
local function timed(cmd, env)
  local full = { "/usr/bin/env", "time", "-f", "\n%M" }
  table.move(cmd, 1, #cmd, #full + 1, full)
  local started = loop.now()
  local r = assert(process.run { cmd = full, env = env, timeout = 1800 })
  local seconds = loop.now() - started
  if r.code ~= 0 then
    print("  " .. table.concat(cmd, " "):sub(1, 100) .. ": " .. r.stderr:sub(-300))
    return nil
  end
  return seconds, tonumber(r.stderr:match "(%d+)%s*$") / 1024
end

local TOOLS = { "ours", "skopeo", "crane", "regctl" }

local function median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[n // 2 + 1] or (list[n // 2] + list[n // 2 + 1]) / 2
end

-- One job for every tool: jobs(round)[name] = command. They take turns, and who is first changes from
-- round to round: the first finds the caches cold. Prints the least seconds and the median of each, and
-- ours beside the best peer's in both.
local function compare(what, jobs, env, rounds)
  local times, most = {}, {}
  for round = 1, rounds or 1 do
    local commands = jobs(round)
    for turn = 1, #TOOLS do
      local name = TOOLS[(round + turn - 2) % #TOOLS + 1]
      local s, mb
      if commands[name] and (name == "ours" or find(name)) then s, mb = timed(commands[name], env) end
      if s then
        times[name] = times[name] or {}
        table.insert(times[name], s)
        most[name] = math.max(mb, most[name] or 0)
      end
    end
  end
  local least, middle, best, best_middle = {}, {}
  for _, name in ipairs(TOOLS) do
    if times[name] then
      middle[name], least[name] = median(times[name]), math.min(table.unpack(times[name]))
      print(("  %-32s %-8s %8.3f s  median %8.3f s  %6.0f MB"):format(what, name, least[name], middle[name], most[name]))
      if name ~= "ours" then
        if not best or least[name] < least[best] then best = name end
        if not best_middle or middle[name] < middle[best_middle] then best_middle = name end
      end
    end
  end
  local nan = 0 / 0
  print(("%-34s ratio %5.2fx of %s, of medians %5.2fx of %s   (goal >= 1x, under 100 MB)"):format(what,
    (least[best] or nan) / (least.ours or nan), best or "-", (middle[best_middle] or nan) / (middle.ours or nan),
    best_middle or "-"))
end

local function noise(dir, name, mb)
  local path = dir .. "/" .. name
  assert(process.run { cmd = { "sh", "-c", ("head -c %d /dev/urandom > %s"):format(mb << 20, path) }, check = true })
  return path
end

-- A layer of random bytes, compressed without effort, in a registry or file.
local function layer(dir, name, mb)
  local data = noise(dir, name, mb)
  local w <close> = assert(archive.tar_writer(dir .. "/" .. name .. ".tar")) -- luacheck: ignore
  assert(w:add { path = name, file = data })
  local plain = assert(w:finish())
  fs.remove(data)
  local gz = dir .. "/" .. name .. ".gz"
  local done = assert(archive.compress { src = dir .. "/" .. name .. ".tar", dst = gz, compression = "gzip", level = 1 })
  fs.remove(dir .. "/" .. name .. ".tar")
  return { file = gz, digest = done.digest, size = done.size, diff_id = plain.digest }
end

local function manifest(config, layers)
  local doc = json.object { { "schemaVersion", 2 }, { "mediaType", pushed.MANIFEST },
    { "config", json.object { { "mediaType", pushed.CONFIG }, { "digest", pushed.desc(config).digest }, { "size", #config } } },
    { "layers", json.array {} } }
  for i, l in ipairs(layers) do
    doc.layers[i] = json.object { { "mediaType", pushed.LAYER }, { "digest", l.digest }, { "size", l.size } }
  end
  return json.encode(doc)
end

local function config(arch, layers, salt)
  local ids = json.array {}
  for i, l in ipairs(layers) do ids[i] = l.diff_id end
  return json.encode(json.object { { "architecture", arch }, { "os", "linux" }, { "config", { Labels = { salt = salt } } },
    { "rootfs", { type = "layers", diff_ids = ids } } })
end

local function large(c, repo, dir)
  local mb = tonumber(os.getenv "BENCH_MB") or 1024
  local list = {}
  for _, arch in ipairs { "amd64", "arm64" } do
    local layers = {}
    for i = 1, 4 do layers[i] = layer(dir, arch .. i, mb // 8) end
    local text = config(arch, layers, arch)
    for _, l in ipairs(layers) do assert(c:push_blob(repo, l, { file = l.file })) end
    assert(c:push_blob(repo, pushed.desc(text), { data = text }))
    local raw = manifest(text, layers)
    local m = assert(c:push_manifest(repo, pushed.desc(raw).digest, raw, pushed.MANIFEST))
    m.platform = { os = "linux", architecture = arch }
    list[#list + 1] = m
    for _, l in ipairs(layers) do fs.remove(l.file) end
  end
  pushed.push_index(c, repo, "v1", list)
end

local function copy_jobs(bin, src, dst)
  return { ours = { bin, "image", "copy", "-q", src .. ":v1", dst .. "-ours:v1" },
    skopeo = { find "skopeo" or "skopeo", "--insecure-policy", "copy", "-q", "--all", "--src-tls-verify=false",
      "--dest-tls-verify=false", "docker://" .. src .. ":v1", "docker://" .. dst .. "-skopeo:v1" },
    crane = { find "crane" or "crane", "copy", "--insecure", src .. ":v1", dst .. "-crane:v1" },
    regctl = { find "regctl" or "regctl", "image", "copy", src .. ":v1", dst .. "-regctl:v1" } }
end

-- 40 images in a layout: 5 layers for all, one of its own each.
local function family(dir)
  local lay = assert(oci.layout(dir .. "/family", { create = true }))
  local shared = {}
  for i = 1, 5 do shared[i] = layer(dir, "shared" .. i, 8) end
  local function put(l) assert(lay:put_blob { file = l.file, digest = l.digest, link = true }) end
  for _, l in ipairs(shared) do put(l) end
  for n = 1, 40 do
    local layers = table.move(shared, 1, #shared, 1, {})
    layers[6] = layer(dir, "own" .. n, 1)
    put(layers[6])
    local text = config("amd64", layers, "n" .. n)
    assert(lay:put_blob(text))
    local raw = manifest(text, layers)
    local digest = assert(lay:put_blob(raw))
    assert(lay:add_manifest({ mediaType = pushed.MANIFEST, digest = digest, size = #raw,
      platform = { os = "linux", architecture = "amd64" } }, "t" .. n))
  end
  return dir .. "/family"
end

local function push_jobs(bin, dir, lay, host)
  local script = dir .. "/push.lua"
  assert(fs.write(script, [[
    local image, task = require "bakery.image", require "bakery.task"
    local list = {}
    for n = 1, 40 do list[n] = n end
    task.map(list, 8, function(n) assert(image.copy("oci:" .. arg[1] .. ":t" .. n, arg[2] .. ":t" .. n)) end)]]))
  local function each(command) return { "sh", "-ec", "for n in $(seq 40); do " .. command .. "; done" } end
  return { ours = { bin, "lua", script, lay, host .. "/family-ours" },
    skopeo = each(("%s --insecure-policy copy -q --dest-tls-verify=false oci:%s:t$n docker://%s/family-skopeo:t$n"):format(
      find "skopeo" or "skopeo", lay, host)),
    regctl = each(("%s image copy ocidir://%s:t$n %s/family-regctl:t$n"):format(find "regctl" or "regctl", lay, host)) },
    each(("%s image copy -q oci:%s:t$n %s/family-each:t$n"):format(bin, lay, host))
end

-- Tags as files of the registry's storage: pushing 50,000 would take longer than the rest.
local function many_tags(reg, c)
  pushed.push(c, reg.host .. "/many", { tag = "seed" })
  local tags = reg.dir .. "/data/docker/registry/v2/repositories/many/_manifests/tags"
  assert(process.run { cmd = { "sh", "-ec", ([[cd %s; for a in $(seq 0 499); do d= f=
    for b in $(seq 0 99); do d="$d v$a.$b/current"; f="$f v$a.$b/current/link"; done
    mkdir -p $d; tee $f <seed/current/link >/dev/null; done]]):format(registry.quote(tags)) }, check = true })
end

function M.run(bin)
  local dir = registry.tmpdir()
  local a <close> = registry.start()
  local b <close> = registry.start()
  local c = assert(oci.client { auth = false })
  local env = { HOME = dir, DOCKER_CONFIG = dir, XDG_RUNTIME_DIR = dir }
  if find "regctl" then
    for _, host in ipairs { a.host, b.host } do
      process.run { cmd = { find "regctl", "registry", "set", "--tls", "disabled", host }, env = env }
    end
  end
  print "making images …"
  large(c, a.host .. "/large", dir)
  local function copies(to) return function(round) return copy_jobs(bin, a.host .. "/large", to(round)) end end
  local function there(round) return b.host .. "/large" .. round end
  compare("copy between two registries", function(round)
    local jobs = copies(there)(round)
    if round > 1 then jobs.skopeo = nil end -- it remembers where the blobs are, and mounts them
    return jobs
  end, env, 4)
  compare("copy inside one registry", copies(function(round) return a.host .. "/mounted" .. round end), env, 8)
  print(("  blob uploads of ours inside one registry: %d"):format(a:count('"PUT /v2/mounted', "-ours/blobs")
    + a:count('"PATCH /v2/mounted', "-ours/blobs")))
  compare("copy again, all there", copies(function() return there(1) end), env, 8)
  local pushes, one_by_one = push_jobs(bin, dir, family(dir), b.host)
  compare("push 40 images, shared layers", function() return pushes end, env)
  print(("  %-32s %-8s %8.2f s"):format("one process for each", "ours", (timed(one_by_one, env))))
  many_tags(b, c)
  local lists = { ours = { bin, "image", "ls", b.host .. "/many" },
    skopeo = { find "skopeo" or "skopeo", "list-tags", "--tls-verify=false", "docker://" .. b.host .. "/many" },
    crane = { find "crane" or "crane", "ls", "--insecure", b.host .. "/many" },
    regctl = { find "regctl" or "regctl", "tag", "ls", b.host .. "/many" } }
  compare("list 50,000 tags", function() return lists end, env, 8)
end

return M
