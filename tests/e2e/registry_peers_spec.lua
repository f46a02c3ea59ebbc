--- Repositories shared with skopeo, crane, regctl, oras, umoci and cosign: what one writes the others read,
--- on a registry with the referrers API and on one without.
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local process = require "bakery.process"
local images = require "lib.pushed"
local registry = require "lib.registry"
local world = require "lib.world"

local PEERS = fs.realpath "build/peers/bin"

local function ok(args, opts)
  local r = world.bakery(args, opts)
  if r.code ~= 0 then error("bakery " .. table.concat(args, " ") .. ": " .. r.code .. "\n" .. r.stdout .. r.stderr, 2) end
  return r.stdout, r.stderr
end

--- A peer in a home of its own; nil where it is not installed.
local function peer(name, dir)
  local path = PEERS and fs.exists(PEERS .. "/" .. name) and PEERS .. "/" .. name or process.which(name)
  if not path then return nil end
  local env = { HOME = dir, DOCKER_CONFIG = dir, XDG_RUNTIME_DIR = dir, COSIGN_PASSWORD = "pw" }
  return function(...) return world.run({ path, ... }, { env = env, cwd = dir }).stdout end
end

local function shown(ref) return json.decode((ok { "image", "inspect", ref, "--json" })) end
local function raw(ref) return (ok { "image", "manifest", ref }) end
local function referrers(ref, ...)
  local types = {}
  for _, d in ipairs(json.decode((ok { "image", "referrers", ref, "--json", ... }))) do types[#types + 1] = d.artifactType end
  table.sort(types)
  return table.concat(types, " ")
end

local function same_files(a, b, ...)
  local d = json.decode((ok { "image", "diff", a, b, "--json", ... }))
  assert.same({ 0, 0, 0 }, { #d.files.added, #d.files.removed, #d.files.changed })
end

for kind, start in pairs {
  ["with the referrers API"] = function()
    local q = registry.quirky()
    q:set { referrers = true, artifact_filter = true, referrers_page = 2, strict_blobs = true }
    return q
  end,
  ["without the referrers API"] = registry.start,
} do
  describe("a registry " .. kind, function()
    local api = kind:find "^with " ~= nil
    local reg, c, repo, dir
    local n = 0
    setup(function() reg, c = start(), assert(oci.client { auth = false }) end)
    teardown(function()
      reg:stop()
      world.cleanup()
    end)
    before_each(function()
      n = n + 1
      repo, dir = reg.host .. "/peers/app" .. n, world.tmp()
    end)

    local function with(name, what, fn)
      it(name .. ": " .. what, function()
        local run = peer(name, dir)
        if not run then return pending("needs " .. name) end
        if name == "regctl" then run("registry", "set", "--tls", "disabled", reg.host) end
        fn(run)
      end)
    end
    local function extra_tags()
      local found = {}
      for _, tag in ipairs(assert(c:tags(repo, { sort = true }))) do if tag:find "^sha256%-%x+$" then found[#found + 1] = tag end end
      return #found
    end

    with("regctl", "artifacts with a subject, both ways", function(run)
      local _, amd = images.multi(c, repo, "v1", n)
      run("artifact", "put", "--artifact-type", "x/theirs", "--subject", repo .. "@" .. amd.digest, "--file-media-type",
        "text/plain", "--annotation", "k=v", "--file", fs.realpath "Makefile")
      images.push(c, repo, { artifact_type = "x/ours", subject = amd, annotations = { by = "us" } })
      images.push(c, repo, { artifact_type = "x/third", subject = amd })
      assert.equal("x/ours x/theirs x/third", referrers(repo .. "@" .. amd.digest))
      assert.equal("x/theirs", referrers(repo .. "@" .. amd.digest, "--annotation", "k=v"))
      local list = run("artifact", "list", repo .. "@" .. amd.digest)
      for _, t in ipairs { "x/ours", "x/theirs", "x/third" } do assert.matches(t, list, 1, true) end
      local filtered = run("artifact", "list", "--filter-artifact-type", "x/ours", repo .. "@" .. amd.digest)
      assert.matches("x/ours", filtered, 1, true)
      assert.is_nil(filtered:find("x/third", 1, true))
      assert.equal(api and 0 or 1, extra_tags())
      run("image", "copy", "--referrers", repo .. ":v1", repo .. "-theirs:v1")
      ok { "image", "copy", repo .. ":v1", repo .. "-ours:v1", "--referrers" }
      for _, to in ipairs { "-theirs", "-ours" } do
        assert.equal("x/ours x/theirs x/third", referrers(repo .. to .. "@" .. amd.digest))
        assert.matches("x/third", run("artifact", "list", repo .. to .. "@" .. amd.digest), 1, true)
      end
      run("manifest", "delete", repo .. "@" .. images.push(c, repo, { artifact_type = "x/gone", subject = amd }).digest)
      assert.is_nil(api and referrers(repo .. "@" .. amd.digest):find("x/gone", 1, true) or nil)
    end)

    with("oras", "attachments, both ways", function(run)
      local index, amd = images.multi(c, repo, "v1", n)
      world.write(dir, { ["f.txt"] = "attached" })
      run("attach", "--plain-http", "--artifact-type", "x/theirs", repo .. "@" .. amd.digest, "f.txt:text/plain")
      images.push(c, repo, { artifact_type = "x/ours", subject = amd, blobs = { "ours" } })
      images.push(c, repo, { artifact_type = "x/index", subject = index, blobs = { "of the index" } })
      assert.equal("x/ours x/theirs", referrers(repo .. "@" .. amd.digest))
      assert.equal("x/index", referrers(repo .. ":v1"))
      local found = run("discover", "--plain-http", repo .. "@" .. amd.digest)
      assert.matches("x/ours", found, 1, true)
      assert.matches("x/theirs", found, 1, true)
      run("cp", "-r", "--from-plain-http", "--to-plain-http", repo .. ":v1", repo .. "-theirs:v1")
      ok { "image", "copy", repo .. ":v1", repo .. "-ours:v1", "--referrers" }
      for _, to in ipairs { "-theirs", "-ours" } do
        assert.equal(index.raw, raw(repo .. to .. ":v1"))
        assert.equal("x/ours x/theirs", referrers(repo .. to .. "@" .. amd.digest))
        assert.matches("x/index", run("discover", "--plain-http", repo .. to .. ":v1"), 1, true)
      end
    end)

    with("crane", "images, both ways", function(run)
      local index, amd = images.multi(c, repo, "v1", n)
      run("copy", "--insecure", repo .. ":v1", repo .. "-theirs:v1")
      assert.equal(index.raw, raw(repo .. "-theirs:v1"))
      ok { "image", "copy", repo .. "-theirs:v1", repo .. "-ours:v1" }
      run("validate", "--insecure", "--remote", repo .. "-ours@" .. amd.digest)
      assert.equal(index.raw, run("manifest", "--insecure", repo .. "-ours:v1"))
      world.write(dir, { ["more.txt"] = "one file more" })
      world.run { "tar", "-C", dir, "-cf", dir .. "/more.tar", "more.txt" }
      run("append", "--insecure", "--platform", "linux/amd64", "-b", repo .. "@" .. amd.digest, "-f", dir .. "/more.tar", "-t", repo .. ":more")
      run("mutate", "--insecure", repo .. ":more", "--annotation", "k=v", "-t", repo .. ":mutated")
      assert.equal("v", shown(repo .. ":mutated").annotations.k)
      local d = json.decode((ok { "image", "diff", repo .. "@" .. amd.digest, repo .. ":mutated", "--json" }))
      assert.same({ 1, "/more.txt" }, { #d.files.added, d.files.added[1].path })
      run("index", "append", "--insecure", "-m", repo .. "@" .. amd.digest, "-m", repo .. ":mutated", "-t", repo .. ":made")
      assert.equal(2, #shown(repo .. ":made").manifests)
      world.run({ "sh", "-c", 'exec "$0" export --insecure --platform linux/amd64 "$1" out.tar', PEERS .. "/crane", repo .. "-ours:v1" }, { cwd = dir })
      assert.equal("amd64", registry.capture("tar -xOf " .. dir .. "/out.tar bin/tool"))
    end)

    if not api then -- skopeo's own types, which strict registries do not take
      with("skopeo", "Docker's schema 2, lists and images", function(run)
        local a = images.push(c, repo, { docker = true, layers = { { ["etc/a"] = "amd" .. n } } })
        local b = images.push(c, repo, { docker = true, platform = "linux/arm64", layers = { { ["etc/a"] = "arm" .. n } } })
        local list = images.push_index(c, repo, "v1", { a, b }, { docker = true })
        local copy = { "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false" }
        local function skopeo(...)
          local args = table.move({ ... }, 1, select("#", ...), #copy + 1, table.move(copy, 1, #copy, 1, {}))
          return run(table.unpack(args))
        end
        skopeo("--all", "--preserve-digests", "docker://" .. repo .. ":v1", "docker://" .. repo .. "-theirs:v1")
        ok { "image", "copy", repo .. "-theirs:v1", repo .. "-ours:v1" }
        assert.equal(list.raw, run("inspect", "--raw", "--tls-verify=false", "docker://" .. repo .. "-ours:v1"))
        assert.equal(images.DOCKER_LIST, shown(repo .. "-ours:v1").media_type)
        -- converted by skopeo both ways, read by us
        skopeo("--all", "--format", "oci", "docker://" .. repo .. ":v1", "docker://" .. repo .. "-oci:v1")
        assert.equal(images.INDEX, shown(repo .. "-oci:v1").media_type)
        same_files(repo .. ":v1", repo .. "-oci:v1", "--platform", "linux/arm64")
        images.multi(c, repo .. "-multi", "v1", n)
        skopeo("--format", "v2s2", "--override-arch", "amd64", "docker://" .. repo .. "-multi:v1", "docker://" .. repo .. "-v2s2:v1")
        assert.equal(images.DOCKER_MANIFEST, shown(repo .. "-v2s2:v1").media_type)
        same_files(repo .. "-multi:v1", repo .. "-v2s2:v1", "--platform", "linux/amd64")
        skopeo("dir:" .. (function()
          skopeo("docker://" .. repo .. "@" .. a.digest, "dir:" .. dir .. "/d")
          return dir .. "/d"
        end)(), "docker://" .. repo .. "-dir:v1")
        assert.equal(a.digest, shown(repo .. "-dir:v1").digest)
      end)

      with("skopeo", "zstd layers, both ways", function(run)
        local files = { ["etc/a"] = ("zstd "):rep(5000) .. n }
        local z = images.push(c, repo, { tag = "zstd", zstd = true, layers = { files, { ["etc/b"] = "b" } } })
        images.push(c, repo, { tag = "gzip", layers = { files, { ["etc/b"] = "b" } } })
        same_files(repo .. ":zstd", repo .. ":gzip")
        run("--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests",
          "docker://" .. repo .. ":zstd", "docker://" .. repo .. "-theirs:zstd")
        assert.equal(z.raw, raw(repo .. "-theirs:zstd"))
        run("--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "--dest-compress-format", "zstd",
          "docker://" .. repo .. ":gzip", "oci:" .. dir .. "/lay:gzip")
        ok { "image", "import", "oci:" .. dir .. "/lay:gzip", repo .. ":again" }
        same_files(repo .. ":again", repo .. ":zstd")
      end)

      with("umoci", "layouts it has written and changed", function(run)
        local _, amd = images.multi(c, repo, "v1", n)
        ok { "image", "export", repo .. "@" .. amd.digest, "oci:" .. dir .. "/lay:v1" }
        run("config", "--image", dir .. "/lay:v1", "--tag", "v2", "--config.env", "NEW=1", "--author", "umoci")
        ok { "image", "import", "oci:" .. dir .. "/lay:v2", repo .. ":umoci" }
        local got = shown(repo .. ":umoci")
        assert.is_truthy(json.encode(got.config):find("NEW=1", 1, true))
        same_files(repo .. ":umoci", repo .. "@" .. amd.digest)
      end)
    end

    with("crane", "zstd layers", function(run)
      images.push(c, repo, { tag = "zstd", zstd = true, layers = { { ["etc/a"] = "by zstd" } } })
      run("copy", "--insecure", repo .. ":zstd", repo .. "-theirs:zstd")
      ok { "image", "copy", repo .. "-theirs:zstd", repo .. "-ours:zstd" }
      assert.equal(shown(repo .. ":zstd").digest .. "\n", run("digest", "--insecure", repo .. "-ours:zstd"))
      same_files(repo .. ":zstd", repo .. "-theirs:zstd")
    end)

    with("regctl", "zstd, Docker's types and attestations", function(run)
      local index, amd = images.multi(c, repo, "v1", n)
      run("image", "mod", "--layer-compress", "zstd", repo .. ":v1", "--create", repo .. ":zstd")
      same_files(repo .. ":zstd", repo .. ":v1", "--platform", "linux/arm64")
      assert.equal(images.ZSTD, shown(repo .. "@" .. json.decode(raw(repo .. ":zstd")).manifests[1].digest).layers[1].media_type)
      run("image", "mod", "--to-docker", repo .. "@" .. amd.digest, "--create", repo .. ":docker")
      assert.equal(images.DOCKER_MANIFEST, shown(repo .. ":docker").media_type)
      same_files(repo .. ":docker", repo .. "@" .. amd.digest)
      run("index", "create", repo .. ":made", "--ref", repo .. "@" .. amd.digest, "--ref",
        repo .. "@" .. json.decode(index.raw).manifests[2].digest, "--annotation", "k=v")
      local made = shown(repo .. ":made")
      assert.same({ 2, "linux/arm64/v8", "v" }, { #made.manifests, made.manifests[2].platform, made.annotations.k })
      same_files(repo .. ":made", repo .. ":v1", "--platform", "linux/arm64")
      run("image", "copy", repo .. ":v1", repo .. "-theirs:v1")
      ok { "image", "copy", repo .. "-theirs:v1", "oci:" .. dir .. "/lay:v1" }
      assert.equal(index.digest .. "\n", run("image", "digest", "ocidir://" .. dir .. "/lay:v1"))
      local kept = 0
      for _, d in ipairs(shown("oci:" .. dir .. "/lay:v1").manifests) do
        if d.attestation_of == amd.digest then kept = kept + 1 end
      end
      assert.equal(1, kept)
    end)

    it("is signed, attested, verified and copied with all of it", function()
      local index, amd = images.multi(c, repo, "v1", n)
      local function bakery(...) return world.bakery({ ... }, { cwd = dir, env = { COSIGN_PASSWORD = "pw", HOME = dir } }) end
      local function good(...)
        local r = bakery(...)
        assert.equal(0, r.code, r.stdout .. r.stderr)
        return r.stdout .. r.stderr
      end
      good("key", "generate")
      good("sign", repo .. ":v1", "--key", "cosign.key")
      world.write(dir, { ["p.json"] = '{"x":1}' })
      good("attest", repo .. ":v1", "--type", "https://example.com/t", "--predicate", "p.json", "--key", "cosign.key")
      assert.equal(api, extra_tags() == 0)
      local other <close> = (api and registry.start or registry.quirky)()
      if not api then other:set { referrers = true, referrers_page = 1, strict_blobs = true } end
      local there, back = other.host .. "/moved/app" .. n, reg.host .. "/back/app" .. n
      good("image", "copy", repo .. ":v1", there .. ":v1", "--referrers")
      good("image", "copy", there .. ":v1", back .. ":v1", "--referrers")
      good("image", "copy", there .. ":v1", "oci:" .. dir .. "/lay:v1", "--referrers")
      good("image", "copy", "oci:" .. dir .. "/lay:v1", back .. "-lay:v1", "--referrers")
      for _, place in ipairs { repo, there, back, back .. "-lay" } do
        assert.matches(index.digest, good("verify", place .. ":v1", "--key", "cosign.pub", "--recursive", "--json"), 1, true)
        assert.matches("https://example.com/t: valid", good("attestations", place .. ":v1", "--key", "cosign.pub"), 1, true)
      end
      -- what was signed elsewhere does not verify here
      good("key", "generate", "--output-key-prefix", "second")
      assert.equal(3, bakery("verify", there .. ":v1", "--key", "second.pub").code)
      local alone = reg.host .. "/alone/app" .. n
      good("image", "copy", repo .. ":v1", alone .. ":v1")
      assert.equal(3, bakery("verify", alone .. ":v1", "--key", "cosign.pub").code)
      assert.equal(amd.digest, shown(alone .. "@" .. amd.digest).digest)
      local cosign = peer("cosign", dir)
      if not cosign then return end
      world.write(dir, { ["root.json"] = '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}' })
      local insecure = { "--allow-http-registry", "--allow-insecure-registry" }
      cosign("verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", "--trusted-root", "root.json", "--new-bundle-format=true",
        insecure[1], insecure[2], back .. ":v1")
      cosign("generate-key-pair", "--output-key-prefix", "theirs")
      cosign("sign", "--key", "theirs.key", "--tlog-upload=false", "-y", "--new-bundle-format=true", insecure[1], insecure[2], back .. ":v1")
      good("verify", back .. ":v1", "--key", "theirs.pub")
      good("image", "copy", back .. ":v1", there .. "-theirs:v1", "--referrers")
      good("verify", there .. "-theirs:v1", "--key", "theirs.pub")
      good("verify", there .. "-theirs:v1", "--key", "cosign.pub", "--recursive")
    end)
  end)
end

describe("logins", function()
  local reg, c
  setup(function()
    reg = registry.start { auth = "basic" }
    c = assert(oci.client { auth = { username = "user", password = "secret" } })
    images.push(c, reg.host .. "/a/b", { tag = "v1", layers = { { a = "1" } } })
  end)
  teardown(function()
    reg:stop()
    world.cleanup()
  end)

  -- name -> how it logs in (password on standard input where it can), lists tags, and where it keeps logins
  for name, p in pairs {
    crane = { login = { "auth", "login", "HOST", "-u", "user", "--password-stdin" }, list = { "ls", "--insecure", "HOST/a/b" } },
    oras = { login = { "login", "--plain-http", "HOST", "-u", "user", "--password-stdin" }, list = { "repo", "tags", "--plain-http", "HOST/a/b" } },
    skopeo = { login = { "login", "--tls-verify=false", "HOST", "-u", "user", "--password-stdin" },
      list = { "list-tags", "--tls-verify=false", "docker://HOST/a/b" }, file = true },
    regctl = { list = { "tag", "ls", "HOST/a/b" }, before = { "registry", "set", "--tls", "disabled", "HOST" } },
  } do
    it("are shared with " .. name, function()
      local path = PEERS and fs.exists(PEERS .. "/" .. name) and PEERS .. "/" .. name or process.which(name)
      if not path then return pending("needs " .. name) end
      local function run(dir, args, stdin, want)
        local cmd = { path }
        for i, a in ipairs(args) do cmd[i + 1] = a:gsub("HOST", reg.host) end
        local r = assert(process.run { cmd = cmd, stdin = stdin, merge = true, timeout = 60, env = { HOME = dir, DOCKER_CONFIG = dir,
          XDG_RUNTIME_DIR = dir, REGISTRY_AUTH_FILE = p.file and dir .. "/config.json" or nil } })
        assert.equal(want or 0, r.code, r.stdout)
        return r.stdout
      end
      local function bakery(dir, args, stdin)
        local cmd = table.move(args, 1, #args, 2, { world.bin })
        local r = assert(process.run { cmd = cmd, stdin = stdin, timeout = 60, env = { HOME = dir, DOCKER_CONFIG = dir,
          XDG_RUNTIME_DIR = dir, BAKERY_REGISTRY_RETRY_ATTEMPTS = "1" } })
        assert.equal(0, r.code, r.stderr)
        return r.stdout
      end
      local ours = world.tmp()
      bakery(ours, { "login", reg.host, "-u", "user", "--password-stdin" }, "secret\n")
      if p.before then run(ours, p.before) end
      assert.matches("v1", run(ours, p.list), 1, true)
      if not p.login then return end
      local theirs = world.tmp()
      run(theirs, p.login, "secret")
      assert.equal("v1\n", bakery(theirs, { "image", "ls", reg.host .. "/a/b" }))
      assert.matches(reg.host .. " +user", bakery(theirs, { "login", "--list" }))
      bakery(theirs, { "logout", reg.host })
      assert.matches("REGISTRY +USER +KEPT IN\n$", bakery(theirs, { "login", "--list" }))
    end)
  end
end)
