local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local place = require "bakery.image.place"
local process = require "bakery.process"
local sign = require "bakery.sign"
local attest = require "bakery.sign.attest"
local bundle = require "bakery.sign.bundle"
local image = require "bakery.sign.image"
local keys = require "bakery.sign.keys"
local task = require "bakery.task"
local simple = require "bakery.sign.simple"
local images = require "lib.images"
local registry = require "lib.registry"

local corpus = "tests/fuzz/corpus/sign/"

describe("sign", function()
  local dir = registry.tmpdir()
  local reg, client, one, two
  setup(function()
    reg = registry.start()
    client = assert(oci.client())
    one, two = assert(sign.generate()), assert(sign.generate())
  end)
  teardown(function() reg:stop() end)

  local function refused(code, fn, ...)
    local ok, e = pcall(fn, ...)
    assert.is_false(ok)
    assert.equal(code, e.code, tostring(e.message))
    return e
  end

  -- A repository with an index of two platforms.
  local function repo(name)
    local layout = images.layout(dir .. "/" .. name)
    images.index(layout, "v1", {
      images.manifest(layout, { platform = "linux/amd64", layers = { { { name = "a", data = name } } } }),
      images.manifest(layout, { platform = "linux/arm64", layers = { { { name = "b", data = name } } } }) })
    local from, to = place.open("oci:" .. dir .. "/" .. name .. ":v1", {}), place.open(reg.host .. "/team/" .. name .. ":v1", {})
    local root = from:root()
    for _, m in ipairs(json.decode(root.raw).manifests) do
      local manifest = from:get(m.digest)
      local doc = json.decode(manifest.raw)
      for _, d in ipairs { doc.config, doc.layers[1] } do to:put_blob(d, from) end
      to:put(manifest)
    end
    to:tag(root)
    return to.text, to.repo, root.digest
  end

  it("reads the keys that cosign and openssl write", function()
    local cases = { { "cosign-key", "ecdsa-p256", "hello" }, { "public", "ecdsa-p256" }, { "sec1", "ecdsa-p256" },
      { "ed25519", "ed25519" }, { "rsa", "rsa-2048" }, { "pkcs8-encrypted", "ecdsa-p256", "x" } }
    for _, c in ipairs(cases) do
      local k = assert(sign.read_key(assert(fs.read(corpus .. c[1])), c[3]), c[1])
      assert.equal(c[2], k:type())
      assert.equal(c[1] ~= "public", k:is_private())
      if k:is_private() then
        local sig = assert(k:sign "text")
        local public = assert(sign.read_key(assert(k:public_pem())))
        assert.is_true(public:verify("text", sig))
        assert.is_false(public:verify("texT", sig))
        assert.equal(k:id(), public:id())
        assert.equal(32, #k:id())
      end
      if c[3] then
        local _, e = sign.read_key(assert(fs.read(corpus .. c[1])))
        assert.equal("sign.password_needed", e.code)
        _, e = sign.read_key(assert(fs.read(corpus .. c[1])), "wrong")
        assert.equal("sign.password", e.code)
      end
    end
    local private = assert(sign.read_key(assert(fs.read(corpus .. "cosign-key")), "hello"))
    assert.equal(assert(sign.read_key(assert(fs.read(corpus .. "public")))):id(), private:id())
    local text = assert(fs.read(corpus .. "public"))
    local off_curve = text:sub(1, 99) .. (text:sub(100, 100) == "A" and "B" or "A") .. text:sub(101)
    for _, bad in ipairs { "", "text", "-----BEGIN X-----\nAAAA\n-----END X-----\n", off_curve } do
      local k, e = sign.read_key(bad)
      assert.is_nil(k)
      assert.equal("sign.key", e.code)
      assert.equal("usage", e.class)
    end
    local _, e = assert(sign.read_key(assert(fs.read(corpus .. "public")))):sign "x"
    assert.equal("sign.key", e.code)
  end)

  it("reads keys as tools and editors leave them, and no others", function()
    if not process.which "openssl" then return print "skipped: needs openssl" end
    local function openssl(...)
      local r = assert(process.run { cmd = { "openssl", ... }, cwd = dir })
      assert.equal(0, r.code, r.stderr)
      return r.stdout
    end
    local named = openssl("ecparam", "-name", "prime256v1", "-genkey")
    assert.truthy(named:find "^%-%-%-%-%-BEGIN EC PARAMETERS")
    assert(fs.write(dir .. "/named.pem", named))
    local pkcs8 = openssl("pkcs8", "-topk8", "-nocrypt", "-in", "named.pem")
    local kinds = { [named] = "ecdsa-p256", [pkcs8] = "ecdsa-p256", [pkcs8:gsub("\n", "\r\n")] = "ecdsa-p256",
      ["a note\n\n" .. pkcs8 .. "more\n"] = "ecdsa-p256", [openssl("ecparam", "-name", "secp384r1", "-genkey", "-noout")] = "ecdsa-p384",
      [openssl("ecparam", "-name", "secp521r1", "-genkey")] = "ecdsa-p521", [openssl("genpkey", "-algorithm", "ed25519")] = "ed25519",
      [openssl("pkey", "-in", "named.pem", "-pubout")] = "ecdsa-p256" }
    local id = assert(sign.read_key(named)):id()
    for text, kind in pairs(kinds) do
      local k = assert(sign.read_key(text))
      assert.equal(kind, k:type())
      if kind == "ecdsa-p256" then assert.equal(id, k:id()) end
      if k:is_private() then assert.is_true(assert(sign.read_key(assert(k:public_pem()))):verify("x", assert(k:sign "x"))) end
    end
    local parameters = named:match "^(.-%-%-%-%-%-END EC PARAMETERS%-%-%-%-%-\n)"
    for _, bad in ipairs { openssl("genrsa", "1024"), openssl("ecparam", "-name", "secp256k1", "-genkey", "-noout"), parameters,
      openssl("genpkey", "-algorithm", "x25519"), openssl("ec", "-in", "named.pem", "-aes128", "-passout", "pass:x"),
      pkcs8:sub(1, 80), (pkcs8:gsub("PRIVATE", "EVIL")) } do
      local k, e = sign.read_key(bad, "x")
      assert.is_nil(k, bad)
      assert.equal("sign.key", e.code)
    end
  end)

  it("writes signatures that openssl verifies", function()
    if not process.which "openssl" then return print "skipped: needs openssl" end
    local payload = bundle.statement("sha256:" .. ("a"):rep(64), bundle.SIGNATURE, nil, { env = "prod" })
    local doc = json.decode(assert(bundle.make(one, payload)))
    assert.equal(payload, sign.unbase64(doc.dsseEnvelope.payload))
    assert(fs.write(dir .. "/pub.pem", assert(one:public_pem())))
    assert(fs.write(dir .. "/sig", sign.unbase64(doc.dsseEnvelope.signatures[1].sig)))
    assert(fs.write(dir .. "/pae", "DSSEv1 28 application/vnd.in-toto+json " .. #payload .. " " .. payload))
    local r = assert(process.run { cmd = { "openssl", "dgst", "-sha256", "-verify", dir .. "/pub.pem", "-signature",
      dir .. "/sig", dir .. "/pae" }, merge = true })
    assert.equal("Verified OK\n", r.stdout)
    assert.equal('{"critical":{"identity":{"docker-reference":"index.docker.io/library/x"},"image":'
      .. '{"docker-manifest-digest":"sha256:00"},"type":"cosign container image signature"},"optional":null}',
      simple.payload("docker.io/library/x", "sha256:00"))
  end)

  it("signs an index with its children, in both forms, once", function()
    local ref, name, top = repo "both"
    refused("sign.none", image.verify, { client = client, ref = ref, key = one })
    local done = image.sign { client = client, ref = ref, key = one, annotations = { env = "prod" } }
    assert.equal(3, #done)
    assert.equal(top, done[1].digest)
    for _, d in ipairs(done) do assert.same({ "signed", "signed" }, { d.bundle, d.simple }) end
    for _, d in ipairs(image.sign { client = client, ref = ref, key = one, annotations = { env = "prod" } }) do
      assert.same({ "present", "present" }, { d.bundle, d.simple })
    end
    local r = image.verify { client = client, ref = ref, key = one, recursive = true, annotations = { env = "prod" } }
    assert.equal(3, #r.images)
    assert.equal(keys.fingerprint(one), r.key)
    assert.equal(top, r.digest)
    for _, i in ipairs(r.images) do assert.equal(2, #i.signatures) end
    local e = refused("sign.invalid", image.verify, { client = client, ref = ref, key = one, annotations = { env = "test" } })
    assert.truthy(e.hint:find("annotation env differs", 1, true))
    e = refused("sign.invalid", image.verify, { client = client, ref = ref, key = two })
    assert.equal("gate", e.class)
    assert.truthy(e.hint:find("signed with another key", 1, true))
    -- A second signer adds to what is there.
    image.sign { client = client, ref = ref, key = two, recursive = false }
    image.verify { client = client, ref = ref, key = one, recursive = true }
    image.verify { client = client, ref = ref, key = two }
    refused("sign.invalid", image.verify, { client = client, ref = ref, key = two, recursive = true })
    -- Each form alone is enough, and what verifies is the digest, whatever the tag says.
    assert(client:delete(name .. ":" .. simple.tag(top)))
    local after = image.verify { client = client, ref = name .. "@" .. top, key = one }
    for _, s in ipairs(after.images[1].signatures) do assert.equal("bundle", s.kind) end
    refused("sign.format", image.sign, { client = client, ref = ref, key = one, formats = { "pgp" } })
    refused("oci.not_found", image.verify, { client = client, ref = name .. ":none", key = one })
  end)

  it("loses no signature when several sign at once", function()
    local ref = repo "crowd"
    local crowd, jobs = {}, {}
    for i = 1, 5 do
      crowd[i] = assert(sign.generate())
      jobs[i] = function() return image.sign { ref = ref, key = crowd[i], recursive = false } end
    end
    task.all(jobs)
    for i = 1, 5 do
      local kinds = {}
      for _, s in ipairs(image.verify { client = client, ref = ref, key = crowd[i] }.images[1].signatures) do
        if s.valid then kinds[s.kind] = true end
      end
      assert.same({ bundle = true, simple = true }, kinds)
    end
  end)

  it("does not take what was signed for something else", function()
    local ref, name = repo "victim"
    local _, _, other = repo "other"
    local target = image.targets(client, ref)[1]
    local function put(statement, key)
      return image.put_bundle(client, target, key or one, statement, bundle.SIGNATURE)
    end
    local cases = {
      { "signed for another image", bundle.statement(other, bundle.SIGNATURE) },
      { "a statement of type https://slsa.dev", bundle.statement(target.digest, "https://slsa.dev/provenance/v1") },
      { "no in-toto statement", '{"_type":"x"}' },
      { "no in-toto statement", "no json" },
      { "signed for another image", '{"_type":"https://in-toto.io/Statement/v1","subject":7,"predicateType":"x"}' },
    }
    for _, c in ipairs(cases) do
      put(c[2])
      local e = refused("sign.invalid", image.verify, { client = client, ref = ref, key = one })
      assert.truthy(e.hint:find(c[1], 1, true), e.hint)
    end
    -- Bundles that are none, or are damaged.
    local good = json.decode(assert(bundle.make(one, bundle.statement(target.digest, bundle.SIGNATURE))))
    local function damaged(change)
      local copy = json.decode(json.encode(good))
      change(copy)
      return json.encode(copy)
    end
    local bad = { "garbage", "{}", "[]", '"x"',
      damaged(function(b) b.dsseEnvelope.signatures[2] = { sig = "AA==" } end),
      damaged(function(b) b.dsseEnvelope.signatures = json.array {} end),
      damaged(function(b) b.dsseEnvelope.payloadType = "text/plain" end),
      damaged(function(b) b.dsseEnvelope.payload = "!!" end),
      damaged(function(b) b.dsseEnvelope = 1 end),
      damaged(function(b) b.mediaType = "application/vnd.dev.sigstore.bundle.v9+json" end),
      damaged(function(b) b.verificationMaterial = { x509CertificateChain = {} } end),
      damaged(function(b) b.dsseEnvelope.signatures[1].sig = sign.base64 "x" end) }
    for _, text in ipairs(bad) do
      image.refer(client, target, { artifact_type = bundle.MEDIA_TYPE, media_type = bundle.MEDIA_TYPE, data = text,
        annotations = {} })
    end
    local e = refused("sign.invalid", image.verify, { client = client, ref = ref, key = one })
    assert.truthy(e.hint:find("exactly one signature", 1, true))
    -- A .sig tag with another image's signature, and one that is no image at all.
    image.sign { client = client, ref = reg.host .. "/team/other:v1", key = one, recursive = false, formats = { "simple" } }
    local foreign = assert(client:manifest(reg.host .. "/team/other:" .. simple.tag(other)))
    for _, d in ipairs { json.decode(foreign.raw).config, json.decode(foreign.raw).layers[1] } do
      assert(client:copy_blob(name, reg.host .. "/team/other", { digest = d.digest, size = d.size }))
    end
    assert(client:push_manifest(name, simple.tag(target.digest), foreign.raw, foreign.media_type))
    e = refused("sign.invalid", image.verify, { client = client, ref = ref, key = one })
    assert.equal("gate", e.class)
    -- Then a real one.
    image.sign { client = client, ref = ref, key = one, recursive = false }
    image.verify { client = client, ref = ref, key = one }
  end)

  it("does not take a good signature with another text, or another kind of digest", function()
    local ref = repo "tampered"
    local target = image.targets(client, ref)[1]
    local function statement(subject)
      return json.encode { _type = "https://in-toto.io/Statement/v1", predicateType = bundle.SIGNATURE, subject = subject,
        predicate = json.object() }
    end
    local hex = target.digest:sub(8)
    local cases = { { "signed for another image", { { digest = { sha512 = hex, sha1 = hex } }, { digest = target.digest }, 7 } },
      { "the signature does not fit", { { digest = { sha256 = hex } } }, "other" } }
    for _, c in ipairs(cases) do
      local doc = json.decode(assert(bundle.make(one, statement(c[2]))))
      if c[3] then -- the signature is of another statement by the same key
        doc.dsseEnvelope.signatures = json.decode(assert(bundle.make(one, statement { { digest = { sha256 = ("0"):rep(64) } } })))
          .dsseEnvelope.signatures
      end
      image.refer(client, target, { artifact_type = bundle.MEDIA_TYPE, media_type = bundle.MEDIA_TYPE, data = json.encode(doc),
        annotations = {} })
      local e = refused("sign.invalid", image.verify, { client = client, ref = ref, key = one })
      assert.truthy(e.hint:find(c[1], 1, true), e.hint)
    end
    -- a .sig tag whose payload was changed after it was signed
    local payload = simple.payload(target.name, target.digest)
    local layer = simple.layer(payload .. " ", "sha256:" .. digest.sha256(payload .. " "), assert(one:sign(payload)))
    local function sha(text) return "sha256:" .. digest.sha256(text) end
    local raw, config, media_type = simple.manifest({ layer }, sha)
    for _, text in ipairs { config, payload .. " " } do
      assert(client:push_blob(target.name, { digest = sha(text), size = #text }, { data = text }))
    end
    assert(client:push_manifest(target.name, simple.tag(target.digest), raw, media_type))
    local e = refused("sign.invalid", image.verify, { client = client, ref = ref, key = one })
    assert.truthy(e.hint:find("the signature does not fit this key", 1, true), e.hint)
  end)

  it("attaches statements and finds them again", function()
    local ref = repo "attested"
    local predicate = json.object { { "result", "PASSED" }, { "configuration", json.array {} } }
    local signed = attest.put { client = client, ref = ref, key = one, type = "test-result", predicate = predicate }
    assert.is_nil(signed.present)
    assert.is_true(attest.put { client = client, ref = ref, key = one, type = "test-result", predicate = predicate }.present)
    local plain = attest.put { client = client, ref = ref, type = "https://example.com/x", predicate = {} }
    local list = attest.list { client = client, ref = ref, key = one }.list
    assert.equal(2, #list)
    for _, a in ipairs(list) do
      assert.equal(a.digest == signed.referrer, a.valid)
      assert.equal(a.digest == plain.referrer, not a.signed)
    end
    assert.equal("PASSED", attest.list { client = client, ref = ref, type = "test-result" }.list[1].statement.predicate.result)
    assert.is_false(attest.list { client = client, ref = ref, key = two, type = "test-result" }.list[1].valid)
    -- Older cosign's tag: DSSE envelopes as layers.
    local target = image.targets(client, ref)[1]
    local repository = target.name
    local layers = json.array {}
    local function envelope(text)
      assert(client:push_blob(repository, { digest = "sha256:" .. digest.sha256(text), size = #text }, { data = text }))
      layers[#layers + 1] = { mediaType = bundle.ENVELOPE, digest = "sha256:" .. digest.sha256(text), size = #text }
    end
    local function dsse(key, about, kind)
      return json.encode(json.decode(assert(bundle.make(key, bundle.statement(about, kind, { by = "cosign" })))).dsseEnvelope)
    end
    local legacy = dsse(one, target.digest, "https://example.com/legacy")
    envelope(legacy)
    envelope(dsse(two, target.digest, "https://example.com/legacy"))
    envelope(dsse(one, "sha256:" .. ("0"):rep(64), "https://example.com/legacy"))
    envelope "{}"
    assert(client:push_blob(repository, { digest = "sha256:" .. digest.sha256 "{}", size = 2 }, { data = "{}" }))
    assert(client:push_manifest(repository, oci.fallback_tag(target.digest) .. ".att", json.encode { schemaVersion = 2,
      mediaType = "application/vnd.oci.image.manifest.v1+json", config = { digest = "sha256:" .. digest.sha256 "{}",
        size = 2, mediaType = "application/vnd.oci.image.config.v1+json" }, layers = layers },
      "application/vnd.oci.image.manifest.v1+json"))
    local verdicts = {}
    for _, a in ipairs(attest.list { client = client, ref = ref, key = one, type = "https://example.com/legacy" }.list) do
      verdicts[#verdicts + 1] = { a.digest == "sha256:" .. digest.sha256(legacy), a.valid, a.reason or "", a.statement.predicate.by }
    end
    assert.same({ { true, true, "", "cosign" }, { false, false, "the signature does not fit", "cosign" },
      { false, false, "signed for another image", "cosign" } }, verdicts)
    -- what only the old tag has is attached anew
    assert.is_nil(attest.put { client = client, ref = ref, key = one, type = "https://example.com/legacy",
      predicate = { by = "cosign" } }.present)
    -- An attestation is no signature.
    refused("sign.invalid", image.verify, { client = client, ref = ref, key = one })
    refused("attest.type", attest.put, { client = client, ref = ref, type = "nonsense", predicate = {} })
    local result = attest.test_result({ { text = "a", ok = true }, { text = "b", ok = false }, { text = "c", ok = true,
      skipped = true } }, {})
    assert.equal('{"result":"FAILED","configuration":[],"passedTests":["goss: a"],"warnedTests":[],"failedTests":["goss: b"]}',
      json.encode(result))
  end)

  it("is commands; passwords come by environment or standard input only", function()
    local ref = repo "cli"
    local bin = os.getenv "BAKERY_BIN" or "build/bakery"
    local function go(code, o)
      o.cwd, o.merge = dir, true
      local r = assert(process.run(o))
      assert.equal(code, r.code, r.stdout)
      return r.stdout
    end
    local env = { COSIGN_PASSWORD = "s3cret-pw" }
    go(0, { cmd = { bin, "key", "generate" }, env = env })
    assert.equal(384, fs.stat(dir .. "/cosign.key").mode)
    assert.truthy(fs.read(dir .. "/cosign.key"):find("BEGIN ENCRYPTED SIGSTORE PRIVATE KEY", 1, true))
    assert.truthy(go(2, { cmd = { bin, "key", "generate" }, env = env }):find("cosign.key exists", 1, true))
    go(0, { cmd = { bin, "key", "generate", "--output-key-prefix", "second" }, stdin = "other-pw\n" })
    local sh = { "sh", "-c", "unset COSIGN_PASSWORD; exec \"$@\" </dev/null", "sh", bin, "sign", ref, "--key", "second.key" }
    assert.truthy(go(2, { cmd = sh }):find("COSIGN_PASSWORD", 1, true))
    local wrong = go(2, { cmd = { bin, "sign", ref, "--key", "cosign.key" }, env = { COSIGN_PASSWORD = "wrong-pw" } })
    assert.truthy(wrong:find("does not open the key", 1, true))
    assert.is_nil(wrong:find("wrong-pw", 1, true))
    go(0, { cmd = { bin, "sign", ref, "--key", "cosign.key" }, env = env })
    local out = go(0, { cmd = { bin, "verify", ref, "--key", "cosign.pub", "--recursive", "--json", "-q" } })
    assert.equal(3, #json.decode(out))
    local pem = assert(fs.read(dir .. "/cosign.pub"))
    go(0, { cmd = { bin, "verify", ref }, env = { BAKERY_SIGN_KEY = "env://PUB", PUB = pem } })
    assert.truthy(go(3, { cmd = { bin, "verify", ref, "--key", "second.pub" } }):find("no valid signature", 1, true))
    assert.truthy(go(2, { cmd = { bin, "sign", ref, "--key", "cosign.pub" } }):find("public key", 1, true))
    go(2, { cmd = { bin, "verify", ref } })
    go(1, { cmd = { bin, "verify", ref .. "none", "--key", "cosign.pub" } })
    assert(fs.write(dir .. "/p.json", '{"x":1}'))
    go(0, { cmd = { bin, "attest", ref, "--type", "https://example.com/t", "--predicate", "p.json", "--key", "cosign.key" },
      env = env })
    assert.truthy(go(0, { cmd = { bin, "attestations", ref, "--key", "cosign.pub" } }):find("https://example.com/t: valid", 1, true))
    go(3, { cmd = { bin, "attestations", ref, "--key", "second.pub" } })
    go(0, { cmd = { bin, "attest", ref, "--type", "custom", "--predicate", "p.json" } })
    local custom = json.decode((go(0, { cmd = { bin, "attestations", ref, "--type", "custom", "--json", "-q" } })))
    assert.equal('{"x":1}', custom[1].statement.predicate.Data)
    assert.is_false(custom[1].signed)
    assert.truthy(go(2, { cmd = { bin, "attest", ref, "--type", "nonsense", "--predicate", "p.json" } }):find("slsaprovenance1", 1, true))
    go(0, { cmd = { bin, "key", "import", fs.cwd() .. "/" .. corpus .. "sec1", "--output-key-prefix", "imported" }, env = env })
    assert.truthy(go(0, { cmd = { bin, "key", "public", "imported.key" }, env = env }):find("BEGIN PUBLIC KEY", 1, true))
  end)

  it("agrees with cosign", function()
    local cosign = fs.exists "build/peers/bin/cosign" and fs.realpath "build/peers/bin/cosign" or process.which "cosign"
    if not cosign then return print "skipped: needs cosign (make peers)" end
    local function go(...)
      local r = assert(process.run { cmd = { cosign, ... }, cwd = dir, merge = true,
        env = { COSIGN_PASSWORD = "pw", HOME = dir } })
      return r.code, r.stdout
    end
    local insecure = { "--allow-http-registry", "--allow-insecure-registry" }
    local function verifies(ref, key, ...)
      local code, text = go("verify", "--key", key, "--insecure-ignore-tlog=true", "--trusted-root", "root.json", insecure[1],
        insecure[2], ..., ref)
      return code == 0, text
    end
    assert(fs.write(dir .. "/root.json", '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'))
    assert.equal(0, (go("generate-key-pair", "--output-key-prefix", "theirs")))
    assert(fs.write(dir .. "/ours.pub", assert(one:public_pem())))
    for _, form in ipairs { "simple", "bundle" } do
      local ref = repo("cosign-" .. form)
      local flag = "--new-bundle-format=" .. tostring(form == "bundle")
      image.sign { client = client, ref = ref, key = one, formats = { form } }
      local ok, text = verifies(ref, "ours.pub", flag)
      assert.is_true(ok, text)
      assert.is_false((verifies(ref, "theirs.pub", flag)))
      local code, said = go("sign", "--key", "theirs.key", "--tlog-upload=false", "-y", flag, insecure[1], insecure[2], ref)
      assert.equal(0, code, said)
      local theirs = keys.public(dir .. "/theirs.pub")
      image.verify { client = client, ref = ref, key = theirs }
      image.verify { client = client, ref = ref, key = one, recursive = true }
    end
    -- Statements about the index and about a child, in both forms: theirs, ours.
    local ref, name, top = repo "cosign-statements"
    local child = image.targets(client, ref, true)[2]
    local predicate = json.object { { "buildDefinition", json.object { { "buildType", "https://example.com/b" },
      { "externalParameters", json.object() }, { "resolvedDependencies", json.array {} } } },
      { "runDetails", json.object { { "builder", json.object { { "id", "https://example.com/x" } } } } } }
    assert(fs.write(dir .. "/predicate.json", json.encode(predicate)))
    local theirs = keys.public(dir .. "/theirs.pub")
    local function statements(key, ...)
      return go("verify-attestation", "--key", key, "--insecure-ignore-tlog=true", "--trusted-root", "root.json", insecure[1],
        insecure[2], ...)
    end
    for _, digest_of in ipairs { top, child.digest } do
      local at = name .. "@" .. digest_of
      attest.put { client = client, ref = at, key = one, type = "slsaprovenance1", predicate = predicate }
      local code, text = statements("ours.pub", "--new-bundle-format=true", "--type", "slsaprovenance1", at)
      assert.equal(0, code, text)
      assert.not_equal(0, (statements("theirs.pub", "--new-bundle-format=true", "--type", "slsaprovenance1", at)))
      assert.not_equal(0, (statements("ours.pub", "--new-bundle-format=true", "--type", "vuln", at)))
      for n, form in ipairs { "true", "false" } do
        local failed, said = go("attest", "--key", "theirs.key", "--tlog-upload=false", "-y", "--new-bundle-format=" .. form, insecure[1],
          insecure[2], "--type", "slsaprovenance1", "--predicate", "predicate.json", at)
        assert.equal(0, failed, said)
        local list, valid = attest.list { client = client, ref = at, key = theirs, type = "slsaprovenance1" }.list, 0
        for _, a in ipairs(list) do
          if a.valid then
            valid = valid + 1
            assert.equal("https://example.com/x", a.statement.predicate.runDetails.builder.id)
          else
            assert.equal("signed with another key", a.reason)
          end
        end
        assert.equal(n, valid, form)
      end
      -- a statement of theirs is no signature either
      refused("sign.invalid", image.verify, { client = client, ref = at, key = theirs })
    end
    local private = keys.private(dir .. "/theirs.key", "pw")
    assert.equal(keys.fingerprint(keys.public(dir .. "/theirs.pub")), keys.fingerprint(private))
    assert.truthy(digest.sha256(assert(private:sign "x")))
  end)
end)
