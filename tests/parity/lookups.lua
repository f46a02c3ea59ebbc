--- Constraints and development versions through the reference and through us, both against the same
--- payloads on a local server: versions, tags, build arguments and artefact URLs must be equal.
---   bakery lua tests/parity/lookups.lua [VENV]   (part of `make parity`)
package.path = package.path .. ";tests/?.lua"
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local upstream = require "lib.upstream"

local venv = arg[1] or "build/parity"

local CONSTRAINTS = { "{latest: true}", "{latest: true, count: 1}", "{latest: true, count: 3}", "{latest: false}",
  "{latest: true, min: '%2'}", "{max: '%2'}", "{max: '%2', count: 1}", "{max: '%2', count: 2}", "{max: '%1'}", "{max: '%3'}",
  "{max: '%3', min: '%4'}", "{max: '%2', min: '%4'}", "{max: '%3', count: 2}", "{max: '0.1'}", "{latest: true, min: '99'}" }
-- dependency -> series, minor, full version, low version
local BOUNDS = {
  python = { "3", "3.13", "3.13.6", "3.10" },
  R = { "4", "4.3", "4.3.1", "4.1.2" },
  quarto = { "1", "1.6", "1.6.43", "1.5" },
  positron = { "2026", "2026.02", "2026.02.1", "2026.02.0-1" },
}
local SYSTEMS = { "Ubuntu 22.04", "Ubuntu 24.04", "Ubuntu 26.04", "Debian 11", "Debian 12", "Debian 13", "RHEL 8", "Rocky 9",
  "Alma 10", "Scratch", "Fedora 40" }
local STREAMS = { connect = { "release", "daily", "preview" }, ["package-manager"] = { "release", "preview", "daily" },
  workbench = { "release", "preview", "daily" }, ["workbench-session"] = { "release", "preview", "daily" } }

if not fs.exists(venv .. "/bin/bakery") then
  print "look-ups: skipped: needs the reference from PyPI"
  os.exit(0)
end

local function sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- One project per constraint (a failing one ends the whole plan), one with all development versions.
local function cases()
  local out = {}
  local head = "repository: {url: https://example.org/r}\nimages:\n"
  for _, name in ipairs(sorted(BOUNDS)) do
    for _, constraint in ipairs(CONSTRAINTS) do
      local text = constraint:gsub("%%(%d)", function(i) return BOUNDS[name][tonumber(i)] end)
      for _, pre in ipairs { "", "        prerelease: true\n" } do
        if pre == "" or name == "quarto" or name == "positron" then
          out[#out + 1] = { what = name .. " " .. text .. (pre ~= "" and " prerelease" or ""), yaml = head
            .. ("  - name: m\n    matrix:\n      dependencyConstraints:\n      - dependency: %s\n%s        constraint: %s\n"):format(
              name, pre, text) .. "      os: [{name: Debian 12, primary: true}]\n" }
        end
      end
    end
  end
  local list = {}
  for _, product in ipairs(sorted(STREAMS)) do
    for _, channel in ipairs(STREAMS[product]) do
      for i, os in ipairs(SYSTEMS) do
        local platforms = i % 2 == 0 and ", platforms: [linux/amd64, linux/arm64]" or ""
        list[#list + 1] = ("  - name: %s-%s-%d\n    devVersions:\n      - {sourceType: stream, product: %s, channel: %s, "
          .. "os: [{name: %s, primary: true%s}]}\n"):format(product, channel, i, product, channel, os, platforms)
      end
    end
  end
  for _, name in ipairs { "quarto", "positron" } do
    for _, pre in ipairs { "true", "false" } do
      list[#list + 1] = ("  - name: d-%s-%s\n    devVersions:\n      - {sourceType: dependency, dependency: %s, prerelease: %s, "
        .. "channel: daily, os: [{name: Debian 12, primary: true}]}\n"):format(name, pre, name, pre)
    end
  end
  out[#out + 1] = { what = "development versions", yaml = head .. table.concat(list) }
  return out
end

local function write_project(case, dir)
  assert(fs.mkdir(dir, { parents = true }))
  assert(fs.write(dir .. "/bakery.yaml", case.yaml))
  for name in case.yaml:gmatch "  %- name: (%S+)\n" do
    assert(fs.mkdir(("%s/%s/template"):format(dir, name), { parents = true }))
    assert(fs.write(("%s/%s/template/Containerfile.jinja2"):format(dir, name), "FROM scratch\n"))
  end
end

local function theirs(site, dirs)
  local cmd = { venv .. "/bin/python", "tests/parity/lookups.py", site.port }
  table.move(dirs, 1, #dirs, #cmd + 1, cmd)
  local r = process.run { cmd = cmd, timeout = 600, env = { TMPDIR = site.dir, PYTHONPATH = "tests/parity" } }
  local out = {}
  for line in r.stdout:gmatch "[^\n]+" do out[#out + 1] = assert(json.decode(line), line) end
  assert(#out == #dirs, r.stderr)
  return out
end

local function ours(site, dir)
  local env = { XDG_CACHE_HOME = site.dir .. "/ours" }
  for k, v in pairs(site.env) do env[k] = env[k] or v end
  local r = process.run { cmd = { "build/bakery", "plan", "-C", dir, "--matrix-versions", "include", "--dev-versions", "include" },
    env = env, timeout = 60 }
  local out = { code = r.code, log = r.stderr, targets = {}, urls = {} }
  local doc = r.code == 0 and json.decode(r.stdout)
  for uid, target in pairs(doc and doc.target or {}) do
    local tags = setmetatable(target.tags, nil)
    table.sort(tags)
    out.targets[uid] = { args = target.args or {}, tags = tags }
    local ephemeral = doc["x-bakery"].targets[uid].ephemeral
    out.urls[uid] = ephemeral and ephemeral.url
  end
  return out
end

local function text(value) return json.encode(value, { sort = true }) end

local site <close> = upstream.start()
-- The reference crashes on titles without quotes.
site:put("raw.githubusercontent.com/quarto-dev/quarto-web/refs/heads/main/docs/download/_download-older.yml",
  "- title: \"1.6.43\"\n- title: \"1.5.57\"\n- title: \"1.4.557\"\n")
local work = assert(fs.tmpdir "bakery-parity")
local bad, compared, list, dirs = 0, 0, cases(), {}
for i, case in ipairs(list) do
  dirs[i] = ("%s/%d"):format(work, i)
  write_project(case, dirs[i])
end
local answers = theirs(site, dirs)
for i, case in ipairs(list) do
  local a, b = answers[i], ours(site, dirs[i])
  compared = compared + 1
  local function differs(what, x, y)
    bad = bad + 1
    print(("%s: %s: theirs %s, ours %s"):format(case.what, what, x, y))
  end
  if (a.code == 0) ~= (b.code == 0) then differs("outcome", a.code .. " " .. a.log, tostring(b.code)) end
  local all = {}
  for uid in pairs(a.targets) do all[uid] = true end
  for uid in pairs(b.targets) do all[uid] = true end
  for _, uid in ipairs(sorted(all)) do
    local x, y = a.targets[uid], b.targets[uid]
    if not x or not y then differs(uid, x and "has it" or "has it not", y and "has it" or "has it not")
    else
      if text(x) ~= text(y) then differs(uid, text(x), text(y)) end
      if a.urls[uid] then
        compared = compared + 1
        if a.urls[uid] ~= b.urls[uid] then differs(uid .. " url", a.urls[uid], tostring(b.urls[uid])) end
      end
    end
    compared = compared + 1
  end
end
fs.remove(work, { recursive = true })
print(("look-ups: %d compared, %d differences"):format(compared, bad))
os.exit(bad == 0 and 0 or 1)
