-- The stock resolvers against payloads of their upstreams (config.md 2.3, 2.8), overriding, and what
-- resolver code can do wrong.
local cache = require "app.lookup.cache"
local fs = require "bakery.fs"
local os_names = require "app.project.os"
local recipe = require "app.recipe"
local registry = require "lib.registry"
local resolver = require "bakery.resolver"
local upstream = require "lib.upstream"

local site, project

local function io_of(opts)
  opts = opts or {}
  local answers = cache.open { dir = opts.dir or registry.tmpdir(), mirrors = site.mirrors, timeout = opts.timeout,
    warn = function() end }
  return { get = function(url, o) return answers:get(url, o) end, head = function(url) return answers:head(url) end,
    tags = function(repository) return answers:tags(repository) end }
end

local function versions(name, request, io)
  request = request or {}
  request.resolver, request.name = name, request.name or name
  return resolver.versions(request, io or io_of())
end

local function sorted(list)
  table.sort(list)
  return table.concat(list, " ")
end

local function build(product, channel, os_name, extra)
  local request = { resolver = product, name = product, channel = channel }
  for k, v in pairs(extra or {}) do request[k] = v end
  return resolver.build(request, { name = os_name, platforms = { "linux/amd64" }, build_os = os_names.identify(os_name) },
    io_of())
end

setup(function()
  site = upstream.start()
  project = registry.tmpdir()
  recipe.setup_resolvers(project)
end)
teardown(function() site:stop() end)
before_each(function() site:set(site.calm) end)

describe("versions of", function()
  for _, case in ipairs {
    { "python", {}, "3.10.18 3.11.13 3.12.11 3.13.6 3.13.7 3.14.0 3.9.23" },
    { "python", { prerelease = true }, "3.10.18 3.11.13 3.12.11 3.13.6 3.13.7 3.14.0 3.15.0a1 3.9.23" },
    { "R", {}, "3.6.3 4.1.3 4.2.3 4.3.1 4.3.3 4.4.2 4.4.3 4.5.0 4.5.1" },
    { "quarto", {}, "1.10 1.5.57 1.6.43 1.7.34" },
    { "quarto", { prerelease = true }, "1.10 1.5.57 1.6.43 1.7.34 1.8.21" },
    { "positron", {}, "2026.02.0-100 2026.02.1-5 2026.03.0-212" },
    { "positron", { prerelease = true }, "2026.02.0-100 2026.02.1-5 2026.03.0-212 2026.04.0-33" },
    { "node", {}, "22.20.0 23.11.0 24.8.1 24.9.0 25.1.0" },
    { "node", { argument = "lts" }, "22.20.0 24.8.1 24.9.0" },
    { "go", {}, "1.20 1.24.9 1.25.3" },
    { "go", { prerelease = true }, "1.20 1.24.9 1.25.3 1.26rc1" },
    { "github", { argument = "acme/tool" }, "1.9.7 2.0.4 2.1.0" },
    { "github", { argument = "acme/tool", prerelease = true }, "1.9.7 2.0.4 2.1.0 2.2.0-rc.1" },
    { "github", { argument = "acme/tool#cli-v*" }, "9.0.0 9.1.0" },
    { "pypi", { argument = "Demo_Pkg" }, "1.0 1.1.0" },
    { "pypi", { argument = "demo-pkg", prerelease = true }, "1.0 1.1.0 2.0.0rc1" },
    { "npm", { argument = "@acme/tool" }, "4.9.8 5.0.3 5.1.0" },
    { "npm", { argument = "@acme/tool", prerelease = true }, "4.9.8 5.0.3 5.1.0 5.2.0-beta.1" },
  } do
    local name = case[1] .. (case[2].argument and ":" .. case[2].argument or "") .. (case[2].prerelease and " prerelease" or "")
    it(name, function()
      local list, err = versions(case[1], case[2])
      assert.are.equal(case[3], sorted(assert(list, tostring(err))))
    end)
  end

  it("an OCI repository", function()
    local server <close> = registry.start()
    local oci = require "bakery.oci"
    local client <close> = assert(oci.client {})
    local repo = server.host .. "/team/base"
    local empty = "{}"
    local desc = { digest = "sha256:" .. require("bakery.digest").sha256(empty), size = #empty,
      mediaType = "application/vnd.oci.image.config.v1+json" }
    assert(client:push_blob(repo, desc, { data = empty }))
    local manifest = require("bakery.json").encode { schemaVersion = 2, config = desc, layers = require("bakery.json").array {},
      mediaType = "application/vnd.oci.image.manifest.v1+json" }
    for _, tag in ipairs { "12.5", "12.4", "11", "latest", "12.5-slim", "13rc1", "v7.0" } do
      assert(client:push_manifest(repo, tag, manifest, "application/vnd.oci.image.manifest.v1+json"))
    end
    assert.are.equal("11 12.4 12.5 7.0", sorted(assert(versions("oci", { argument = repo }))))
    assert.are.equal("12.5", sorted(assert(versions("oci", { argument = repo .. "#*-slim" }))))
    local list, err = versions("oci", { argument = server.host .. "/nobody/here" })
    assert.is_nil(list)
    assert.are.equal("oci.not_found", err.code)
  end)

  it("python is found where its list was before, too", function()
    local all = upstream.payloads()[upstream.PYTHON]
    site:put(upstream.PYTHON, nil)
    local list, err = versions "python"
    assert.is_nil(list)
    assert.are.same({ "http.404", "infra" }, { err.code, err.class })
    site:put(upstream.OLD_PYTHON, all)
    assert.are.equal(7, #assert(versions "python"))
    site:put(upstream.OLD_PYTHON, nil)
    site:put(upstream.PYTHON, all)
    site:set { ["download-metadata"] = { status = 500 } }
    site:requests()
    versions "python"
    assert.are.equal(1, #site:requests())
  end)

  it("quarto is asked in the order of the rules, prereleases only when wanted", function()
    local function paths()
      local out = {}
      for i, r in ipairs(site:requests()) do out[i] = fs.basename(r.path) end
      return out
    end
    paths()
    versions("quarto", {})
    assert.are.same({ "_download.json", "_download-older.yml" }, paths())
    versions("quarto", { prerelease = true })
    assert.are.same({ "_download.json", "_prerelease.json", "_download-older.yml" }, paths())
  end)
end)

describe("GitHub's interface", function()
  it("gets no token that was not meant for it", function()
    site:requests()
    assert(versions("github", { argument = "acme/tool" }))
    for _, r in ipairs(site:requests()) do assert.is_false(r.authorization) end
  end)
end)

-- product, channel, OS, version, URL (a pattern), or nil and the reason
describe("builds", function()
  local P = "2026.08.0-dev+89-ga1b2c3d4e5"
  local PPM = "https://cdn.posit.co/package-manager/"
  for _, case in ipairs {
    { "connect", "release", "Ubuntu 22.04", "2026.07.0", "~jammy_" },
    { "connect", "release", "Ubuntu 24.04", "2026.07.0", "~noble_" },
    { "connect", "release", "Ubuntu 26.04", "2026.07.0", "~resolute_" },
    { "connect", "release", "Debian 12", "2026.07.0", "~noble_" },
    { "connect", "release", "Debian 11", "2026.07.0", "~jammy_" },
    { "connect", "release", "Debian 13", nil, "no builds for Debian 13" },
    { "connect", "release", "Rocky 8", "2026.07.0", "~redhat8_" },
    { "connect", "release", "RHEL 9", "2026.07.0", "~rhel9_" },
    { "connect", "release", "Alma 10", "2026.07.0", "~multi_" },
    { "connect", "release", "Scratch", "2026.07.0", "~multi_" },
    { "connect", "release", "Fedora 40", "2026.07.0", "~multi_" },
    { "connect", "daily", "Ubuntu 22.04", "2026.08.0-dev+41-g0a1b2c3d4e", "~ubuntu22_amd64" },
    { "connect", "daily", "Debian 12", "2026.08.0-dev+41-g0a1b2c3d4e", "~ubuntu24_amd64" },
    { "connect", "daily", "Rocky Linux 9.3", "2026.08.0-dev+41-g0a1b2c3d4e", "~el9_x86_64" },
    { "connect", "daily", "RHEL 10", nil, "no package for rhel10/x86_64" },
    { "connect", "daily", "Scratch", nil, "no package for scratch/amd64" },
    { "connect", "preview", "Ubuntu 24.04", nil, "there is no preview channel" },
    { "package-manager", "release", "Ubuntu 22.04", "2026.06.1-8", "/jammy/" },
    { "package-manager", "release", "Ubuntu 24.04", "2026.06.1-8", "/ubuntu64/" },
    { "package-manager", "release", "Debian 12", "2026.06.1-8", "/ubuntu64/" },
    { "package-manager", "release", "Debian 11", "2026.06.1-8", "/jammy/" },
    { "package-manager", "release", "RHEL 8", "2026.06.1-8", "/fedora28/" },
    { "package-manager", "release", "RHEL 9", "2026.06.1-8", "/rhel9/" },
    { "package-manager", "release", "RHEL 10", "2026.06.1-8", "/multi/" },
    { "package-manager", "release", "Scratch", "2026.06.1-8", "/multi/" },
    { "package-manager", "daily", "Ubuntu 24.04", P, PPM .. "deb/amd64/rstudio-pm_2026.08.0-dev%2B89-ga1b2c3d4e5_amd64.deb" },
    { "package-manager", "daily", "Rocky 9", P, PPM .. "rpm/x86_64/rstudio-pm-2026.08.0-dev%2B89-ga1b2c3d4e5.x86_64.rpm" },
    { "package-manager", "preview", "Debian 12", "2026.07.0-rc4", PPM .. "deb/amd64/rstudio-pm_2026.07.0-rc4_amd64.deb" },
    { "workbench", "release", "Ubuntu 24.04", "2026.06.2+139.pro5", "/server/noble/" },
    { "workbench", "release", "Debian 12", "2026.06.2+139.pro5", "/server/noble/" },
    { "workbench", "release", "Debian 11", "2026.06.2+139.pro5", "/server/jammy/" },
    { "workbench", "release", "RHEL 8", "2026.06.2+139.pro5", "/server/rhel8/" },
    { "workbench", "release", "RHEL 10", "2026.06.2+139.pro5", "/server/rhel10/" },
    { "workbench", "release", "Ubuntu 26.04", nil, "has no rstudio.pro.stable.server.installer.resolute" },
    { "workbench", "release", "Scratch", nil, "has no rstudio.pro.stable.server.installer.multi" },
    { "workbench", "daily", "Ubuntu 22.04", "2026.09.0-daily+77.pro2", "/server/jammy-amd64/" },
    { "workbench", "preview", "Rocky 9", "2026.09.0-daily+77.pro2", "/server/rhel9-x86_64/" },
    { "workbench", "daily", "Debian 13", nil, "no builds for Debian 13" },
    { "workbench-session", "release", "Ubuntu 22.04", "2026.06.2+139.pro5", "/session/jammy/" },
    { "workbench-session", "release", "Scratch", "2026.06.2+139.pro5", "/session/multi/" },
    { "workbench-session", "daily", "Scratch", "2026.09.0-daily+77.pro2", "/session/multi-amd64/" },
    { "workbench-session", "daily", "RHEL 8", nil, "has no products.session.platforms.rhel8-x86_64" },
  } do
    it(table.concat({ case[1], case[2], case[3] }, " "), function()
      local found, err = build(case[1], case[2], case[3])
      assert.are.equal(case[4], found and found.version, tostring(err))
      local text = found and found.url or err.message
      assert.is_truthy(text:find(case[5], 1, true), text)
      if not found then assert.are.equal("resolver.none", err.code) end
    end)
  end

  it("of a branch", function()
    assert.are.equal("2026.06.3-daily+12.pro1", assert(build("workbench", "daily", "Ubuntu 24.04", { branch = "2026.06" })).version)
  end)

  for _, case in ipairs { { "not a version", "no version like" }, { "2026.08", "no version like" },
    { "2026.08.0/../../x", "no version like" }, { "2026.08.0\0", "no version like" } } do
    it("refuse the version " .. case[1], function()
      site:set { ["rc-latest.txt"] = { body = case[1] } }
      local found, err = build("package-manager", "preview", "Ubuntu 24.04")
      assert.is_nil(found)
      assert.are.same({ "resolver.payload", "infra" }, { err.code, err.class })
      assert.is_truthy(err.message:find(case[2], 1, true))
    end)
  end
  it("refuse a URL that is none", function()
    site:set { ["latest-packages"] = { body = '{"packages":[{"platform":"ubuntu24/amd64","version":"2026.1.0","url":"file:///etc"}]}' } }
    local found, err = build("connect", "daily", "Ubuntu 24.04")
    assert.is_nil(found)
    assert.is_truthy(err.message:find("no http(s) URL", 1, true))
  end)
end)

describe("a pinned build", function()
  local function heads()
    local out = {}
    for _, r in ipairs(site:requests()) do if r.method == "HEAD" then out[#out + 1] = r.path end end
    return out
  end
  it("takes the place of the newest one in its URL", function()
    for _, case in ipairs {
      { "connect", "daily", "2026.08.0-dev+40-gffff", "2026.08.0-dev%2B40-gffff" }, -- percent-encoded
      { "workbench", "daily", "2026.09.0-daily+70.pro1", "rstudio-workbench-2026.09.0-daily-70.pro1-amd64" }, -- + as -
      { "connect", "release", "2026.06.1", "rstudio-connect_2026.06.1~noble" }, -- plain
    } do
      site:set { ["rstudio-"] = { body = "x" } }
      site:requests()
      local pin = case[3]
      local found, err = build(case[1], case[2], "Ubuntu 24.04", { pin = pin })
      assert.is_truthy(found, tostring(err))
      assert.are.equal(pin, found.version)
      assert.is_truthy(found.url:find(case[4], 1, true), found.url)
      assert.are.equal(1, #heads())
    end
  end)
  it("of package-manager needs no list, but says what is newest", function()
    site:set { ["rstudio-pm_"] = { body = "x" } }
    local found = assert(build("package-manager", "daily", "Ubuntu 24.04", { pin = "2026.08.0-dev+1" }))
    assert.are.same({ "2026.08.0-dev+1", "2026.08.0-dev+89-ga1b2c3d4e5" }, { found.version, found.newest })
    assert.is_truthy(found.url:find("rstudio-pm_2026.08.0-dev%2B1_amd64.deb", 1, true))
  end)
  it("that is not there is the user's error", function()
    local found, err = build("package-manager", "daily", "Ubuntu 24.04", { pin = "2026.08.0-dev+1" })
    assert.is_nil(found)
    assert.are.same({ "devspec.unavailable", "usage" }, { err.code, err.class })
    assert.is_truthy(err.message:find("answers 404", 1, true))
  end)
  it("whose URL does not hold the newest version is refused", function()
    site:set { ["latest-packages"] = { body =
      '{"packages":[{"platform":"ubuntu24/amd64","version":"2026.1.0","url":"https://cdn.posit.co/latest.deb"}]}' } }
    local found, err = build("connect", "daily", "Ubuntu 24.04", { pin = "2026.2.0" })
    assert.is_nil(found)
    assert.are.same({ "devspec.substitution", "usage" }, { err.code, err.class })
  end)
end)

describe("trouble upstream", function()
  for _, case in ipairs {
    { "an error status", { status = 404 }, "http.404", "the server answers 404" },
    { "a server error", { status = 503 }, "http.503", "the server answers 503" },
    { "what is no JSON", { body = "<html>sign in</html>" }, "resolver.payload", "no JSON" },
    { "JSON of another shape", { body = '{"versions": []}' }, "resolver.none", "has no r_versions" },
    { "a text where a list is meant", { body = '{"r_versions": "4.5"}' }, "resolver.payload", "r_versions is no list" },
    { "an answer that ends early", { cut = 20 }, "http.truncated", "versions.json" },
    { "redirects in a circle", { loop = true }, "http.redirect", "versions.json" },
    { "an answer that never comes", { hang = true }, "http.timeout", "versions.json", 0.3 },
    { "an endless answer", { huge = 80 << 20 }, "http.too_large", "versions.json" },
  } do
    it(case[1], function()
      site:set { ["versions.json"] = case[2] }
      local list, err = versions("R", {}, io_of { timeout = case[5] })
      assert.is_nil(list)
      assert.are.same({ case[3], "infra" }, { err.code, err.class })
      assert.is_truthy(err.message:find(case[4], 1, true), err.message)
      assert.is_truthy(err.message:find("versions.json", 1, true), err.message)
    end)
  end
  it("a version that is no text", function()
    site:set { ["all-releases"] = { body = '{"releases": [{"version": 3}]}' } }
    local _, err = versions "positron"
    assert.are.equal("resolver.payload", err.code)
  end)
  it("an argument that is missing or unusable", function()
    for _, case in ipairs { { "pypi", {}, "needs an argument" }, { "github", { argument = "acme" }, "no owner/repository" },
      { "github", { argument = "a/b#v" }, "one *" }, { "node", { argument = "odd" }, "node:lts" } } do
      local list, err = versions(case[1], case[2])
      assert.is_nil(list)
      assert.is_truthy(err.message:find(case[3], 1, true), err.message)
    end
  end)
end)

describe("a project's resolvers", function()
  local function put(name, text)
    assert(fs.mkdir(project .. "/resolvers", { parents = true }))
    assert(fs.write(project .. "/resolvers/" .. name .. ".lua", text))
  end
  after_each(function() fs.remove(project .. "/resolvers", { recursive = true }) end)

  it("are found by name", function()
    put("julia", 'return { summary = "s", versions = function(ctx) return { "1.11.0", ctx.name, "1.11.0" } end }')
    assert.are.same({ "1.11.0", "julia" }, versions("julia"))
  end)
  it("extend stock ones, which stay to be had", function()
    put("R", [[local resolver = require "bakery.resolver"
      return resolver.extend("stock:R", { versions = function(base, ctx)
        local out = {}
        for _, v in ipairs(base(ctx)) do if v:find "^4%.5" then out[#out + 1] = v end end
        return out
      end })]])
    assert.are.equal("4.5.0 4.5.1", sorted(versions("R")))
    assert.are.equal(9, #assert(resolver.versions({ resolver = "stock:R", name = "R" }, io_of())))
    assert.are.equal(1, resolver.load("R").shadows[1] and 1)
  end)
  it("may be in .bakery/resolvers", function()
    assert(fs.mkdir(project .. "/.bakery/resolvers", { parents = true }))
    assert(fs.write(project .. "/.bakery/resolvers/hidden.lua", 'return { versions = function() return { "1" } end }'))
    assert.are.same({ "1" }, versions("hidden"))
  end)
  for _, case in ipairs {
    { "no Lua", "return {", "expected" },
    { "no table", "return 3", "must return resolver.new" },
    { "nothing to look up", "return { summary = 's' }", "needs `versions` or `build`" },
    { "an unknown key", "return { version = function() end }", "did you mean 'versions'" },
    { "no function", "return { versions = {} }", "must be a function" },
    { "an error while it runs", "return { versions = function(ctx)\n  return nil + 1\nend }", "arithmetic" },
    { "an unknown method", "return { versions = function(ctx)\n  return ctx:jsn 'x'\nend }", "jsn" },
    { "no list", "return { versions = function() return '1' end }", "list of texts" },
    { "a number in the list", "return { versions = function() return { '1', 2 } end }", "version 2 is no text" },
    { "a global", "return { versions = function() x = 1 end }", "use a local" },
    { "itself as base", "return require('bakery.resolver').extend('bad', {})", "extends itself" },
  } do
    it("with " .. case[1] .. " are the user's mistake", function()
      put("bad", case[2])
      local list, err = versions("bad")
      assert.is_nil(list)
      assert.are.same({ "resolver.script", "usage" }, { err.code, err.class })
      assert.is_truthy(err.message:find(case[3], 1, true), err.message)
      assert.is_truthy(err.where:find("resolvers/bad.lua", 1, true), err.where)
    end)
  end
  it("that are not there are named with the nearest one", function()
    local _, err = versions("pyton")
    assert.is_truthy(err.message:find("did you mean 'python'", 1, true), err.message)
  end)
  it("for versions give no builds, and the other way round", function()
    local _, err = resolver.build({ resolver = "R", name = "R", channel = "daily" }, {}, io_of())
    assert.is_truthy(err.message:find("looks up no build", 1, true))
    _, err = versions("connect")
    assert.is_truthy(err.message:find("looks up no versions", 1, true))
  end)
end)
