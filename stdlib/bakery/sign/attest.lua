--- Statements about images (in-toto attestations): made, attached, listed and verified. Signed ones are sigstore
--- bundles, others plain statements; both refer to the image's manifest. The calls wait (in tasks: yield) and
--- raise error objects.
local err = require "bakery.error"
local json = require "bakery.json"
local oci = require "bakery.oci"
local bundle = require "bakery.sign.bundle"
local image = require "bakery.sign.image"
local task = require "bakery.task"

local M = {}

--- Short names of predicate types, as cosign's --type.
M.TYPES = {
  slsaprovenance = "https://slsa.dev/provenance/v0.2", slsaprovenance02 = "https://slsa.dev/provenance/v0.2",
  slsaprovenance1 = "https://slsa.dev/provenance/v1", link = "https://in-toto.io/Link/v1",
  spdx = "https://spdx.dev/Document", spdxjson = "https://spdx.dev/Document", cyclonedx = "https://cyclonedx.org/bom",
  vuln = "https://cosign.sigstore.dev/attestation/vuln/v1", vulns = "https://in-toto.io/attestation/vulns/v0.2",
  openvex = "https://openvex.dev/ns", custom = "https://cosign.sigstore.dev/attestation/v1",
  ["test-result"] = "https://in-toto.io/attestation/test-result/v0.1",
}

local function check(value, problem)
  if value == nil then error(problem, 0) end
  return value
end

--- Predicate type of a short name or URI.
---@param name string
---@return string
function M.type_uri(name)
  if M.TYPES[name] then return M.TYPES[name] end
  if name:find "^%w[%w+.-]*:" then return name end
  local list = {}
  for k in pairs(M.TYPES) do list[#list + 1] = k end
  table.sort(list)
  error(err.new { class = "usage", code = "attest.type", message = "unknown predicate type '" .. name .. "'",
    hint = "a URI, or one of " .. table.concat(list, ", ") }, 0)
end

-- Statements attached to an image: { digest=, signed=, legacy=by a tag, bundle=|nil, payload=, statement=, reason= }.
local function statements(client, target)
  local out = {}
  local function signed(list, legacy)
    for _, b in ipairs(list) do
      out[#out + 1] = { digest = b.digest, signed = true, legacy = legacy, bundle = b.bundle, reason = b.reason,
        payload = b.bundle and b.bundle.payload, statement = b.bundle and b.bundle.statement }
    end
  end
  signed(image.bundles(client, target))
  signed(image.envelopes(client, target), true)
  local list = check(client:referrers(target.name .. "@" .. target.digest, { artifact_type = bundle.PAYLOAD_TYPE }))
  for _, found in ipairs(task.map(list, 8, function(d)
    local got = check(client:manifest(target.name .. "@" .. d.digest))
    local doc = json.decode(got.raw, { null = false })
    local layer = type(doc) == "table" and type(doc.layers) == "table" and doc.layers[1]
    if type(layer) ~= "table" or not oci.is_digest(tostring(layer.digest)) then
      return { digest = d.digest, signed = false, reason = "no statement" }
    end
    local payload = check(client:blob_data(target.name, { digest = layer.digest, size = layer.size }, { max = 64 << 20 }))
    local statement = json.decode(payload, { name = "statement" })
    return { digest = d.digest, signed = false, payload = payload, statement = type(statement) == "table" and statement or nil,
      reason = type(statement) ~= "table" and "no statement" or nil }
  end)) do
    out[#out + 1] = found
  end
  return out
end

--- Attaches a statement to the manifest or index a reference names. What is there already, by this key, is not
--- attached twice.
---@param o table { client=|nil, ref=, key=|nil for an unsigned statement, type=short name or URI, predicate=table }
---@return table { digest=of the image, predicate_type=, referrer=digest, present=boolean }
function M.put(o)
  local client = o.client or check(oci.client())
  local kind = M.type_uri(o.type)
  local target = image.targets(client, o.ref)[1]
  local payload = bundle.statement(target.digest, kind, o.predicate)
  local out = { digest = target.digest, predicate_type = kind }
  for _, s in ipairs(statements(client, target)) do
    local same = s.payload == payload and s.signed == (o.key ~= nil) and not s.legacy
    if same and (not o.key or bundle.check(s.bundle, { key = o.key, digest = target.digest })) then
      out.referrer, out.present = s.digest, true
      return out
    end
  end
  if o.key then
    out.referrer = image.put_bundle(client, target, o.key, payload, kind)
  else
    out.referrer = image.refer(client, target, { artifact_type = bundle.PAYLOAD_TYPE, media_type = bundle.PAYLOAD_TYPE,
      data = payload, annotations = { ["in-toto.io/predicate-type"] = kind } })
  end
  return out
end

--- Statements attached to an image; with a key, each with a verdict.
---@param o table { client=|nil, ref=, key=|nil, type=|nil only of this type }
---@return table { digest=, list={ { digest=of the referrer, predicate_type=, signed=, valid=|nil, reason=,
--- statement= } } }
function M.list(o)
  local client = o.client or check(oci.client())
  local kind = o.type and M.type_uri(o.type)
  local target = image.targets(client, o.ref)[1]
  local out = { digest = target.digest, list = {} }
  for _, s in ipairs(statements(client, target)) do
    local found = { digest = s.digest, signed = s.signed, reason = s.reason, statement = s.statement,
      predicate_type = type(s.statement) == "table" and tostring(s.statement.predicateType) or nil }
    if o.key and s.bundle then
      found.valid, found.reason = bundle.check(s.bundle, { key = o.key, digest = target.digest })
    elseif o.key then
      found.valid, found.reason = false, s.reason or "not signed"
    end
    local signature = found.predicate_type == bundle.SIGNATURE
    if kind and found.predicate_type == kind or not kind and not signature then out.list[#out.list + 1] = found end
  end
  return out
end

--- Predicate "test-result" v0.1 of a target's checks.
---@param tests table[] { text=, ok=, skipped= } as in the results document
---@param configuration table[] resource descriptors of what was run
---@return table
function M.test_result(tests, configuration)
  local passed, failed = json.array {}, json.array {}
  for _, t in ipairs(tests) do
    if t.ok and not t.skipped then passed[#passed + 1] = "goss: " .. t.text
    elseif not t.ok then failed[#failed + 1] = "goss: " .. t.text end
  end
  return json.object { { "result", #failed == 0 and "PASSED" or "FAILED" }, { "configuration", json.array(configuration) },
    { "passedTests", passed }, { "warnedTests", json.array {} }, { "failedTests", failed } }
end

return M
