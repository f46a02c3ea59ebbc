--- The sites that resolvers ask, on loopback, with payloads of their shapes.
---
---     local site <close> = require("lib.upstream").start()
---     site.mirrors               -- URL prefix -> URL, as app.lookup.cache takes them
---     site.env                   -- environment for the program
---     site:set { ["versions.json"] = { status = 503 } }
local fs = require "bakery.fs"
local json = require "bakery.json"
local registry = require "lib.registry"

local M = {}

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"

M.HOSTS = { "raw.githubusercontent.com", "cdn.posit.co", "quarto.org", "posit.co", "dailies.rstudio.com", "nodejs.org",
  "go.dev", "api.github.com", "pypi.org", "registry.npmjs.org", "s3.amazonaws.com", "download2.rstudio.org" }

local UV = "raw.githubusercontent.com/astral-sh/uv/refs/heads/main/crates/"
M.PYTHON = UV .. "uv-python-managed/download-metadata.json"
M.OLD_PYTHON = UV .. "uv-python/download-metadata.json"

local function python()
  local out = {}
  local function add(name, os, arch, libc, version, pre)
    local major, minor, patch = version:match "^(%d+)%.(%d+)%.(%d+)$"
    local key = ("%s-%s%s-%s-%s-%s"):format(name, version, pre or "", os, arch, libc)
    out[key] = { name = name, arch = { family = arch, variant = json.null }, os = os, libc = libc,
      major = math.tointeger(major), minor = math.tointeger(minor), patch = math.tointeger(patch),
      prerelease = pre or "", url = "https://github.com/astral-sh/python-build-standalone/releases/download/" .. key,
      sha256 = ("0"):rep(64), variant = json.null, build = "20260801" }
  end
  for _, version in ipairs { "3.14.0", "3.13.7", "3.13.6", "3.12.11", "3.11.13", "3.10.18", "3.9.23" } do
    for _, arch in ipairs { "x86_64", "aarch64" } do
      for _, libc in ipairs { "gnu", "musl" } do add("cpython", "linux", arch, libc, version) end
    end
  end
  add("cpython", "linux", "x86_64", "gnu", "3.15.0", "a1")
  add("cpython", "darwin", "aarch64", "none", "3.14.1")
  add("pypy", "linux", "x86_64", "gnu", "3.14.9")
  add("graalpy", "linux", "x86_64", "gnu", "3.12.99")
  return out
end

local function platforms(template, keys)
  local out = {}
  for i, key in ipairs(keys) do
    out[key] = { version = template.version, [template.link] = template.url:format(key), size = 1000 + i }
  end
  return out
end

local function downloads()
  local connect = platforms({ version = "2026.07.0", link = "url",
    url = "https://cdn.posit.co/connect/2026.07/rstudio-connect_2026.07.0~%s_amd64.deb" },
    { "jammy", "noble", "resolute", "redhat8", "rhel9", "multi" })
  local rspm = platforms({ version = "2026.06.1-8", link = "url",
    url = "https://cdn.posit.co/package-manager/%s/rstudio-pm_2026.06.1-8_amd64.deb" },
    { "jammy", "ubuntu64", "fedora28", "rhel9", "multi" })
  local server = platforms({ version = "2026.06.2+139.pro5", link = "url",
    url = "https://download2.rstudio.org/server/%s/amd64/rstudio-workbench-2026.06.2-139.pro5-amd64.deb" },
    { "jammy", "noble", "rhel8", "rhel9", "rhel10" })
  local session = platforms({ version = "2026.06.2+139.pro5", link = "url",
    url = "https://download2.rstudio.org/session/%s/amd64/rsp-session-2026.06.2+139.pro5-amd64.tar.gz" },
    { "jammy", "noble", "rhel8", "rhel9", "multi" })
  return { connect = { installer = connect }, rspm = { installer = rspm },
    rstudio = { pro = { stable = { server = { installer = server }, session = { installer = session } } } } }
end

local function connect_daily()
  local list = {}
  for _, platform in ipairs { "el8/x86_64", "el9/x86_64", "ubuntu22/amd64", "ubuntu24/amd64", "ubuntu24/arm64", "ubuntu26/amd64" } do
    local name, arch = platform:match "^(.-)/(.*)$"
    list[#list + 1] = { platform = platform, version = "2026.08.0-dev+41-g0a1b2c3d4e",
      url = ("https://cdn.posit.co/connect/2026.08/rstudio-connect_2026.08.0-dev%%2B41-g0a1b2c3d4e~%s_%s.deb"):format(name, arch) }
  end
  return { packages = list }
end

local function workbench(version)
  local dashed = version:gsub("%+", "-")
  local function of(product, keys)
    local out = {}
    for _, key in ipairs(keys) do
      out[key] = { name = key, version = version, size = 1, sha256 = "ab",
        link = ("https://s3.amazonaws.com/rstudio-ide-build/%s/%s/rstudio-workbench-%s-amd64.deb"):format(product, key, dashed) }
    end
    return { platforms = out }
  end
  return { products = { workbench = of("server", { "jammy-amd64", "noble-amd64", "rhel8-x86_64", "rhel9-x86_64" }),
    session = of("session", { "jammy-amd64", "noble-amd64", "rhel9-x86_64", "multi-amd64" }) } }
end

local function github()
  local function release(tag, extra)
    local out = { tag_name = tag, name = tag, draft = false, prerelease = false, published_at = "2026-08-01T00:00:00Z" }
    for k, v in pairs(extra or {}) do out[k] = v end
    return out
  end
  return { release("v2.1.0"), release("v2.2.0-rc.1", { prerelease = true }), release("v3.0.0", { draft = true }),
    release("v2.0.4"), release("cli-v9.1.0"), release("nightly") }, { release("v1.9.7"), release("cli-v9.0.0") }
end

--- Every file of the sites: HOST/PATH -> text or a value written as JSON.
function M.payloads()
  local first, second = github()
  local releases = "api.github.com/repos/acme/tool/releases"
  return {
    [M.PYTHON] = python(),
    ["cdn.posit.co/r/versions.json"] = { r_versions = { "devel", "next", "4.5.1", "4.5.0", "4.4.3", "4.4.2", "4.3.3", "4.3.1",
      "4.2.3", "4.1.3", "3.6.3" } },
    ["quarto.org/docs/download/_download.json"] = { version = "1.7.34", created = "2026-07-01T00:00:00Z", assets = {} },
    ["quarto.org/docs/download/_prerelease.json"] = { version = "1.8.21", created = "2026-08-01T00:00:00Z", assets = {} },
    ["raw.githubusercontent.com/quarto-dev/quarto-web/refs/heads/main/docs/download/_download-older.yml"] =
      "- title: 1.6.43\n  date: 2025-05-01\n  path: /docs/download/changelog/1.6/\n- title: \"1.5.57\"\n  date: 2024-08-01\n"
      .. "- title: 1.10\n  date: 2020-01-01\n",
    ["cdn.posit.co/positron/releases/pwb/x86_64/all-releases.json"] = { releases = { { version = "2026.03.0-212" },
      { version = "2026.02.1-5" }, { version = "2026.02.0-100" }, { version = "2026.02.0-100" } } },
    ["cdn.posit.co/positron/dailies/pwb/x86_64/releases.json"] = { version = "2026.04.0-33", url = "https://x.example/y" },
    ["nodejs.org/dist/index.json"] = { { version = "v25.1.0", date = "2026-08-01", lts = false, files = { "linux-x64" } },
      { version = "v24.9.0", lts = "Krypton" }, { version = "v24.8.1", lts = "Krypton" }, { version = "v23.11.0", lts = false },
      { version = "v22.20.0", lts = "Jod" } },
    ["go.dev/dl/index.json"] = { { version = "go1.26rc1", stable = false, files = {} }, { version = "go1.25.3", stable = true },
      { version = "go1.24.9", stable = true }, { version = "go1.20", stable = true } },
    [releases] = first,
    [releases .. "@per_page=100&page=2"] = second,
    ["pypi.org/simple/demo-pkg/index.json"] = { meta = { ["api-version"] = "1.1" }, name = "demo-pkg",
      versions = { "1.0", "1.1.0", "1.2.0", "2.0.0rc1", "not a version" },
      files = { { filename = "demo-pkg-1.0.tar.gz", yanked = false }, { filename = "demo_pkg-1.1.0-py3-none-any.whl", yanked = false },
        { filename = "demo_pkg-1.2.0-py3-none-any.whl", yanked = "broken" }, { filename = "demo_pkg-2.0.0rc1.tar.gz", yanked = false } } },
    ["registry.npmjs.org/@acme/tool"] = { name = "@acme/tool", ["dist-tags"] = { latest = "5.1.0" }, versions = {
      ["5.1.0"] = { name = "@acme/tool" }, ["5.0.3"] = {}, ["5.2.0-beta.1"] = {}, ["4.9.9"] = { deprecated = "use 5" },
      ["4.9.8"] = {} } },
    ["posit.co/wp-content/uploads/downloads.json"] = downloads(),
    ["cdn.posit.co/connect/latest-packages.json"] = connect_daily(),
    ["cdn.posit.co/package-manager/deb/amd64/rstudio-pm-main-latest.txt"] = "2026.08.0-dev+89-ga1b2c3d4e5\n",
    ["cdn.posit.co/package-manager/deb/amd64/rstudio-pm-rc-latest.txt"] = "  2026.07.0-rc4\n",
    ["dailies.rstudio.com/rstudio/latest/index.json"] = workbench "2026.09.0-daily+77.pro2",
    ["dailies.rstudio.com/rstudio/2026.06/index.json"] = workbench "2026.06.3-daily+12.pro1",
  }
end

local Site = {}
Site.__index = Site

--- Replaces a file: path as in payloads(), text or a value; nil removes it.
function Site:put(path, value)
  local file = self.dir .. "/site/" .. path
  if value == nil then return fs.remove(file) end
  assert(fs.mkdir(fs.dirname(file), { parents = true }))
  assert(fs.write(file, type(value) == "string" and value or json.encode(value)))
end

--- What happens instead of answers; see upstream_server.py. {} is peace.
function Site:set(quirks)
  assert(fs.write(self.dir .. "/quirks.json", json.encode(json.object(quirks))))
end

--- Requests since the last call: { method=, path=, query=, etag=, accept=, authorization= }.
function Site:requests()
  local out, text = {}, fs.read(self.dir .. "/requests.jsonl") or ""
  for line in text:sub(self.seen + 1):gmatch "[^\n]+" do out[#out + 1] = json.decode(line, { null = false }) end
  self.seen = #text
  return out
end

function Site:stop() self._stop() end
Site.__close = Site.stop
Site.__gc = Site.stop

--- Starts the server.
function M.start()
  local dir = registry.tmpdir()
  local site = setmetatable({ dir = dir, seen = 0 }, Site)
  for path, value in pairs(M.payloads()) do site:put(path, value) end
  local log = dir .. "/server.log"
  site._stop = registry.daemon(("exec python3 %s %s"):format(registry.quote(here .. "upstream_server.py"),
    registry.quote(dir)), log, dir)
  site.port = registry.wait("upstream server", function() return registry.read(log):match "^(%d+)\n" end)
  site.url = "http://127.0.0.1:" .. site.port
  site.mirrors = {}
  local words = {}
  for i, host in ipairs(M.HOSTS) do
    site.mirrors["https://" .. host] = site.url .. "/" .. host
    words[i] = ("https://%s=%s/%s"):format(host, site.url, host)
  end
  site:set { ["/acme/tool/releases?per_page=100&page=2"] = {}, ["/acme/tool/releases"] = {
    headers = { Link = ('<https://api.github.com/repos/acme/tool/releases?per_page=100&page=2>; rel="next"') } } }
  site.calm = json.decode(assert(fs.read(dir .. "/quirks.json")))
  site.env = { BAKERY_RESOLVER_MIRRORS = table.concat(words, " "), XDG_CACHE_HOME = dir .. "/cache",
    XDG_CONFIG_HOME = dir .. "/config", BAKERY_CACHE_EXPIRE_AFTER = "", GITHUB_TOKEN = "", GH_TOKEN = "",
    BAKERY_OFFLINE = "", BAKERY_LOCKED = "", BAKERY_DEV_SPEC = "" }
  return site
end

return M
