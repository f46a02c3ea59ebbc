--- Runs everything: C unit tests, fuzz corpora, Lua specs (busted, under bakery's own interpreter).
--- Arguments: names (parts of file names) to run only those. Ends with "N passed, N failed".
--- With SANITIZE set the specs of cheap modules run once more with the collector always at work.
local fs = require "bakery.fs"
local process = require "bakery.process"

local build = os.getenv "BUILD" or "build/release"
local only = { table.unpack(arg) }
local passed, failed, skipped = 0, 0, 0
local bad = {}

-- Programs of `make peers`.
local peers = fs.realpath "build/peers/bin"
if peers then process.setenv("PATH", peers .. ":" .. os.getenv "PATH") end

local GC_STRESS = { "digest", "fs", "json", "luakit", "regex", "tag", "task", "template", "version", "yaml" }

-- Sanitizers write to files: nobody may overlook what a child of a child says on its standard error.
local reports = fs.realpath(build) .. "/reports"
if os.getenv "SANITIZE" then
  fs.remove(reports, { recursive = true })
  assert(fs.mkdir(reports))
  process.setenv("ASAN_OPTIONS", "detect_stack_use_after_return=1:strict_string_checks=1:log_path=" .. reports .. "/asan")
  process.setenv("UBSAN_OPTIONS", "print_stacktrace=1:log_path=" .. reports .. "/ubsan")
end

-- Prints and removes the reports; returns their number.
local function new_reports()
  local names = fs.list(reports) or {}
  for _, name in ipairs(names) do
    io.stdout:write(fs.read(reports .. "/" .. name) or "", "\n")
    fs.remove(reports .. "/" .. name)
  end
  return #names
end

local function wanted(name)
  if #only == 0 then return true end
  for _, o in ipairs(only) do if name:find(o, 1, true) then return true end end
end

local function run(name, cmd, env)
  local r, err = process.run { cmd = cmd, env = env, merge = true, timeout = 900 }
  if not r then r = { code = 1, stdout = tostring(err) } end
  if r.signal then r.stdout = r.stdout .. "\ndied by signal " .. tostring(r.signal) end
  local p, f, s = r.stdout:match("(%d+) passed, (%d+) failed,? ?(%d*)[^\n]*\n?$")
  p, f, s = tonumber(p) or 0, tonumber(f) or 0, tonumber(s) or 0
  if (r.code ~= 0 or r.signal) and f == 0 then f = 1 end
  f = f + new_reports()
  passed, failed, skipped = passed + p, failed + f, skipped + s
  if f > 0 then
    bad[#bad + 1] = name
    io.stdout:write(r.stdout, "\n")
  else
    for line in r.stdout:gmatch("skipped: [^\n]*") do io.stdout:write("  ", line, "\n") end
  end
  io.stdout:write(("%-44s %d passed, %d failed%s  %.1fs\n"):format(name, p, f, s > 0 and ", " .. s .. " skipped" or "",
    r.seconds or 0))
  io.stdout:flush()
end

for _, name in ipairs(fs.list "tests/unit") do
  local test = name:match("^(test_.*)%.c$")
  if test and wanted(test) then run("unit " .. test, { build .. "/unit/" .. test }) end
end
for _, name in ipairs(fs.list "tests/fuzz") do
  local test = name:match("^fuzz_(.*)%.c$")
  if test and wanted("fuzz_" .. test) then run("fuzz " .. test, { build .. "/fuzz/fuzz_" .. test, "tests/fuzz/corpus/" .. test }) end
end
local function spec(label, file, gc)
  run(label, { build .. "/bakery", "lua", "tests/runspec.lua", file },
    { BAKERY_BIN = fs.realpath(build .. "/bakery"), BAKERY_BUILD = build, BAKERY_GC_STRESS = gc })
end
for _, dir in ipairs { "tests/spec", "tests/e2e" } do
  for _, name in ipairs(fs.list(dir) or {}) do
    if name:match("_spec%.lua$") and wanted(name) then spec(dir:match("%w+$") .. " " .. name, dir .. "/" .. name) end
  end
end
for _, module in ipairs(os.getenv "SANITIZE" and GC_STRESS or {}) do
  local name = module .. "_spec.lua"
  if wanted("gc " .. name) then spec("gc " .. name, "tests/spec/" .. name, "1") end
end

if #bad > 0 then io.stdout:write("\nfailed: ", table.concat(bad, ", "), "\n") end
io.stdout:write(("%d passed, %d failed%s\n"):format(passed, failed, skipped > 0 and ", " .. skipped .. " skipped" or ""))
os.exit(failed == 0 and passed > 0 and 0 or 1)
