--- Signing what a run has pushed: signatures, provenance and test results of every target.
local fs = require "bakery.fs"
local json = require "bakery.json"
local attest = require "bakery.sign.attest"
local digest = require "bakery.digest"
local image = require "bakery.sign.image"
local keys = require "bakery.sign.keys"
local fail = require "app.fail"

local M = {}

--- What results documents say of images, by image id: what was built and tested is what is signed.
---@param files string[]|nil
---@return table<string, table> { tests=|nil, file=of the tests, provenance=|nil }
function M.read(files)
  local out = {}
  local function of(id)
    out[id] = out[id] or {}
    return out[id]
  end
  for _, file in ipairs(files or {}) do
    local text = fail.check(fs.read(file, 64 << 20))
    local doc, problem = json.decode(text, { name = file })
    if doc == nil then
      problem.class = "usage"
      error(problem, 0)
    end
    if type(doc) ~= "table" or doc.kind ~= "Results" or type(doc.targets) ~= "table" then
      fail.raise { class = "usage", code = "usage", message = file .. ": not a results document (--results FILE)" }
    end
    for _, t in ipairs(doc.targets) do
      if type(t.tests) == "table" and t.image_id then
        of(t.image_id).tests = t.tests
        of(t.image_id).file = { name = fs.basename(file), digest = { sha256 = digest.sha256(text) } }
      end
      for _, p in ipairs(type(t.platforms) == "table" and t.platforms or {}) do
        if type(p.image_id) == "string" and type(p.provenance) == "table" then of(p.image_id).provenance = p.provenance end
      end
    end
  end
  return out
end

--- What the options ask for; nil when nothing. The key's password is asked for now, not half-way.
---@param args table parsed options
---@return table|nil
function M.open(args)
  local provenance = args.provenance
  if provenance == nil then provenance = args.sign_key ~= nil end
  local tests = M.read(args.attest_results)
  if not args.sign_key and not provenance and not next(tests) then return nil end
  return { key = args.sign_key and keys.private(args.sign_key), provenance = provenance, tests = tests }
end

local function note(list, repo, what, digest_text, extra)
  local o = json.object { { "repository", repo }, { "what", what }, { "digest", digest_text } }
  for k, v in pairs(extra or {}) do o[k] = v end
  list[#list + 1] = o
end

local function attach(ctx, signer, result, repo, subject, kind, predicate)
  local r = attest.put { client = ctx.backend.client, ref = repo .. "@" .. subject, key = signer.key, type = kind,
    predicate = predicate }
  note(result.signatures, repo, "attestation", subject, { predicateType = r.predicate_type, referrer = r.referrer,
    signed = signer.key ~= nil })
end

--- Attaches what results documents say of an image to its manifest.
---@param client table
---@param key table|nil
---@param ref string "repository@digest"
---@param known table of M.read
function M.attest(client, key, ref, known)
  if known.provenance then
    attest.put { client = client, ref = ref, key = key, type = "slsaprovenance1", predicate = known.provenance }
  end
  if known.tests then
    attest.put { client = client, ref = ref, key = key, type = "test-result", predicate = attest.test_result(known.tests,
      { known.file }) }
  end
end

-- Signs one result in each repository it went to.
local function apply(ctx, signer, result)
  if not result.pushed then
    fail.raise { class = "usage", code = "sign.not_pushed", message = result.uid .. " has not been pushed: nothing to sign" }
  end
  result.signatures = {}
  for _, repo in ipairs(result.pushed) do
    for _, p in ipairs(result.platforms) do
      if signer.provenance and p.image.provenance then
        attach(ctx, signer, result, repo, p.manifest.digest, "slsaprovenance1", p.image.provenance)
      end
      local tested = signer.tests[p.image.config_digest]
      if tested and tested.tests then
        attach(ctx, signer, result, repo, p.manifest.digest, "test-result", attest.test_result(tested.tests, { tested.file }))
      end
    end
    if signer.key then
      for _, s in ipairs(image.sign { client = ctx.backend.client, ref = repo .. "@" .. result.digest, key = signer.key }) do
        note(result.signatures, repo, "signature", s.digest, { bundle = s.bundle, simple = s.simple,
          key = keys.fingerprint(signer.key) })
      end
      ctx.say(("signed %s %s@%s"):format(result.uid, repo, result.digest))
    end
  end
end

--- Signs results that have been pushed by digest, in each repository they went to.
---@param ctx table recipe context
---@param signer table of M.open
function M.apply(ctx, signer)
  ctx:attempt(ctx:good(), 1, function(result) apply(ctx, signer, result) end)
end

--- Reads what signing needs (prepare), or signs.
---@param ctx table recipe context
---@param prepare boolean|nil
function M.run(ctx, prepare)
  if rawget(ctx, "signer") == nil then rawset(ctx, "signer", M.open(ctx.args) or false) end
  if ctx.signer and not ctx.backend.client then
    fail.raise { class = "usage", code = "backend.no_sign", message = "backend " .. ctx.args.backend
      .. " cannot sign what it pushes", hint = "use `bakery sign REF --key FILE` afterwards" }
  end
  if ctx.signer and not prepare then M.apply(ctx, ctx.signer) end
end

--- Notes for results of the last build in which repositories they are.
---@param ctx table recipe context
function M.published(ctx)
  for _, r in ipairs(ctx:good()) do
    ctx.backend:finish(r)
    r.pushed = ctx.backend:repositories(r)
  end
end

return M
