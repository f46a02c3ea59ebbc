--- The embedded builder beside buildah and the BuildKit in Debian's docker engine, where that starts.
--- Returns function(ctx): ctx of run.lua { bin, work, run, best, line, base(reg) → reference }.
local fs = require "bakery.fs"
local process = require "bakery.process"
local dockerd = require "lib.dockerd"
local kaniko = require "bench.kaniko"

local YAML = "repository:\n  url: https://example.com/bench\nimages:\n"

return function(ctx, reg)
  local run, work, bin = ctx.run, ctx.work, ctx.bin
  local base = ctx.base(reg)
  local root = work .. "/builder"
  local engine, why = dockerd.start()
  if not engine then print("(BuildKit is left out: " .. why .. ")") end
  local program, missing = kaniko.find()
  if not program then print("(kaniko is left out: " .. missing .. ")") end

  local function project(name, files, images)
    local dir = root .. "/" .. name
    for path, text in pairs(files) do
      assert(fs.mkdir(fs.dirname(dir .. "/" .. path), { parents = true }))
      assert(fs.write(dir .. "/" .. path, text))
    end
    local list = {}
    for i, image in ipairs(images or { "app" }) do
      list[i] = ("  - name: %s\n    versions:\n      - name: 1.0.0\n"):format(image)
    end
    assert(fs.write(dir .. "/bakery.yaml", YAML .. table.concat(list)))
    return dir
  end
  local store = root .. "/store"
  local function ours(dir, ...)
    return run { bin, "build", "-C", dir, "--store", store, "--progress", "quiet", "--no-summary", ... }
  end
  local graph = { "--root", root .. "/bh/root", "--runroot", root .. "/bh/run", "--storage-driver", "overlay" }
  local function buildah_cmd(...)
    local cmd = table.move(graph, 1, #graph, 2, { "buildah" })
    return table.move({ ... }, 1, select("#", ...), #cmd + 1, cmd)
  end
  local function buildah(dir, tag, file)
    return run(buildah_cmd("bud", "--layers", "--isolation", "chroot", "--tls-verify=false", "-f", dir .. "/" .. file, "-t", tag, dir))
  end
  local function export(tag, out) return run(buildah_cmd("push", tag, "oci:" .. out)) end
  local function buildkit(dir, tag, file)
    return run({ dockerd.client(), "build", "--network", "host", "-q", "-f", dir .. "/" .. file, "-t", tag, dir }, { env = engine.env })
  end
  -- It pulls the base every time; its layers are always compressed and pushed.
  local function in_place(what, mine, dir, name)
    if not program then return end
    ctx.line(what, mine, kaniko.build(ctx, program, root .. "/kaniko", dir, "app/1.0.0/Containerfile",
      { "--destination", reg.host .. "/kaniko/" .. name .. ":1" }), "kaniko", "-")
  end
  -- Everybody else has the base already.
  local warm = project("warm", { ["app/1.0.0/Containerfile"] = "FROM " .. base .. "\nRUN true\n" })
  ours(warm)
  buildah(warm, "warm", "app/1.0.0/Containerfile")
  if engine then buildkit(warm, "warm", "app/1.0.0/Containerfile") end

  local function compare(what, mine, theirs, goal, kit, kit_goal)
    ctx.line(what, mine, theirs, "buildah", goal)
    if kit then ctx.line(what, mine, kit, "BuildKit", kit_goal) end
  end
  local file = "app/1.0.0/Containerfile"

  local lines = {}
  for i = 1, 20 do lines[i] = ("RUN echo %d > /f%d\n"):format(i, i) end
  local w1 = project("w1", { [file] = "FROM " .. base .. "\n" .. table.concat(lines) })
  local twenty = ours(w1)
  compare("20 trivial RUNs", twenty, buildah(w1, "w1", file), ">= 20x", engine and buildkit(w1, "w1", file), ">= 5x")
  in_place("20 trivial RUNs", twenty, w1, "w1")
  compare("20 trivial RUNs, nothing changed", ctx.best(5, function() return ours(w1) end),
    ctx.best(2, function() return buildah(w1, "w1", file) end), "-",
    engine and ctx.best(3, function() return buildkit(w1, "w1", file) end), "-")

  -- Exported with gzip: a layout, or a push where the engine compresses only then.
  local function exported(name, dir, goal)
    local mine = ours(dir, "--output", "oci:" .. root .. "/" .. name .. "-ours")
    local theirs = buildah(dir, name, file) + export(name .. ":latest", root .. "/" .. name .. "-buildah")
    local kit
    if engine then
      local tag = reg.host .. "/" .. name .. ":1"
      kit = buildkit(dir, tag, file) + run({ dockerd.client(), "push", "-q", tag }, { env = engine.env })
    end
    return mine, theirs, goal, kit, goal
  end
  local w2 = project("w2", { [file] = "FROM " .. base .. "\nRUN cp -a /usr /usr2\n" })
  local function measured(what, name, dir, goal)
    local mine, theirs, _, kit = exported(name, dir, goal)
    compare(what, mine, theirs, goal, kit, goal)
    in_place(what, mine, dir, name)
  end
  measured("RUN cp -a /usr, gzip", "w2", w2, ">= 4x")

  local w3 = project("w3", { [file] = "FROM " .. base .. "\nCOPY src /src\n" })
  for i = 1, 5000 do
    local dir = ("%s/src/d%03d"):format(w3, i % 100)
    fs.mkdir(dir, { parents = true })
    assert(fs.write(("%s/f%04d"):format(dir, i), ("%d: some text that is not all the same\n"):format(i):rep(60 + i * 7 % 400)))
  end
  measured("COPY of 5,000 files, gzip", "w3", w3, ">= 5x")

  local files, names, shared = {}, {}, {}
  for i = 1, 5 do shared[i] = ("RUN echo shared %d > /s%d\n"):format(i, i) end
  for i = 1, 40 do
    names[i] = ("t%02d"):format(i)
    local own = {}
    for k = 1, 5 do own[k] = ("RUN echo %d %d > /o%d\n"):format(i, k, k) end
    files[names[i] .. "/1.0.0/Containerfile"] = "FROM " .. base .. "\n" .. table.concat(shared) .. table.concat(own)
  end
  local many = project("many", files, names)
  local mine, theirs = ours(many), 0
  for _, name in ipairs(names) do theirs = theirs + buildah(many, name, name .. "/1.0.0/Containerfile") end
  compare("40 targets, half their steps shared", mine, theirs, ">= 10x")

  local heap = project("heap", { [file] = "FROM " .. base .. "\nCOPY heap /heap\nRUN rm -rf /heap\n" })
  run { "sh", "-c", ([[mkdir -p %s/heap && cd %s/heap && for d in $(seq 100); do mkdir $d; done && i=0
    seq 100000 | awk '{ f = ($1 %% 100 + 1) "/" $1; print $1 > f; close(f) }']]):format(heap, heap) }
  compare("100,000 files copied and removed", ours(heap), buildah(heap, "heap", file), "-")

  local big = project("big", { [file] = "FROM scratch\nCOPY data /data\n" })
  run { "sh", "-c", ("mkdir %s/data && cd %s/data && for i in 1 2 3 4; do (tar -cf - /usr/lib /usr/bin 2>/dev/null | head -c 250000000; "
    .. "head -c 250000000 /dev/urandom) > f$i; done"):format(big, big) }
  local seconds, r = run { "/usr/bin/env", "time", "-f", "%M", bin, "build", "-C", big, "--store", store, "--progress", "quiet",
    "--no-summary", "--output", "oci:" .. root .. "/big-ours" }
  print(("%-34s ours %8.0f MB peak resident                              (goal: under 100)"):format("2 GB layer, gzip",
    tonumber(r.stderr:match "(%d+)%s*$") / 1024))
  if process.which "libdeflate-gzip" then
    local plain = run { "sh", "-c", ([[cd %s && tar -cf t data && split -n %d t part. && rm t &&
      for p in part.*; do libdeflate-gzip -6 $p & done; wait; rm part.*]]):format(big, process.cpus()) }
    ctx.line("2 GB layer, gzip", seconds, plain, "tar|libdef.", "ours <= 1.2 of it")
  else
    print "(tar | libdeflate is left out: needs libdeflate-tools)"
  end

  local thousand, images = {}, {}
  for i = 1, 1000 do
    images[i] = ("i%04d"):format(i)
    thousand[images[i] .. "/1.0.0/Containerfile"] = ("FROM scratch\nCOPY a /a\nENV I=%d\nCOPY b /b\nWORKDIR /w\nCMD [\"x\"]\n"):format(i)
  end
  thousand.a, thousand.b = "a", "b"
  local k = project("thousand", thousand, images)
  ours(k)
  print(("%-34s ours %8.3f s                                             (goal: under 1 s)"):format("1,000 targets, nothing changed",
    ctx.best(3, function() return ours(k) end)))
  if engine then engine:stop() end
  process.run { cmd = buildah_cmd("rmi", "-a", "-f") }
end
