--- In-toto statements, DSSE envelopes and sigstore bundles (in-toto attestation framework v1, DSSE v1,
--- sigstore bundle v0.3): made, and read with a reason for what is wrong. Nothing here talks to anybody.
local json = require "bakery.json"
local sign = require "bakery.sign"
local at = require "bakery.sign.at"

local M = {}

M.MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
M.PAYLOAD_TYPE = "application/vnd.in-toto+json"
M.SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
M.ENVELOPE = "application/vnd.dsse.envelope.v1+json" -- layers of sha256-HEX.att tags

--- DSSE's pre-authentication encoding: what is signed.
---@param kind string payload type
---@param payload string
---@return string
function M.pae(kind, payload) return ("DSSEv1 %d %s %d "):format(#kind, kind, #payload) .. payload end

--- A statement about an image.
---@param digest string "sha256:…" of the manifest
---@param predicate_type string
---@param predicate table|nil
---@param annotations table<string, string>|nil of the subject
---@return string JSON
function M.statement(digest, predicate_type, predicate, annotations)
  local algorithm, hex = digest:match "^(%w+):(%x+)$"
  local subject = json.object { { "digest", json.object { { algorithm, hex } } } }
  if annotations and next(annotations) then subject.annotations = json.object(annotations) end
  return json.encode(json.object { { "_type", "https://in-toto.io/Statement/v1" }, { "subject", json.array { subject } },
    { "predicateType", predicate_type }, { "predicate", predicate or json.object() } })
end

--- A signed bundle around a statement.
---@param key bakery.sign.key
---@param payload string the statement
---@return string|nil JSON
---@return table? err
function M.make(key, payload)
  local signature, problem = key:sign(M.pae(M.PAYLOAD_TYPE, payload))
  if not signature then return nil, problem end
  local id
  id, problem = key:id()
  if not id then return nil, problem end
  return json.encode(json.object { { "mediaType", M.MEDIA_TYPE },
    { "verificationMaterial", json.object { { "publicKey", json.object { { "hint", sign.base64(id) } } } } },
    { "dsseEnvelope", json.object { { "payload", sign.base64(payload) }, { "payloadType", M.PAYLOAD_TYPE },
      { "signatures", json.array { json.object { { "sig", sign.base64(signature) } } } } } } })
end

local KNOWN = { ["application/vnd.dev.sigstore.bundle.v0.3+json"] = 3,
  ["application/vnd.dev.sigstore.bundle+json;version=0.3"] = 3,
  ["application/vnd.dev.sigstore.bundle+json;version=0.2"] = 2,
  ["application/vnd.dev.sigstore.bundle+json;version=0.1"] = 1 }

--- Whether an artifact type is one of bundles.
---@param media_type any
---@return boolean
function M.is_bundle(media_type) return KNOWN[media_type] ~= nil end

local function read_envelope(envelope)
  local list = at(envelope, "signatures")
  if type(list) ~= "table" or #list ~= 1 then return nil, "the envelope has not exactly one signature" end
  if at(envelope, "payloadType") ~= M.PAYLOAD_TYPE then return nil, "the payload is no in-toto statement" end
  local payload, sig = at(envelope, "payload"), at(list, 1, "sig")
  payload = type(payload) == "string" and sign.unbase64(payload)
  sig = type(sig) == "string" and sign.unbase64(sig)
  if not payload or not sig then return nil, "payload or signature is no base64" end
  local statement = json.decode(payload, { name = "statement", null = false, unique = true })
  if not tostring(at(statement, "_type")):find("^https://in%-toto%.io/Statement/v") then
    return nil, "the payload is no in-toto statement"
  end
  return { payload = payload, signature = sig, statement = statement }
end

--- Reads a bundle; what it says is not yet believed.
---@param text string
---@return table|nil { payload=, signature=, hint=bytes|nil, statement=table }
---@return string|nil reason
function M.read(text)
  local doc = json.decode(text, { name = "bundle", null = false, unique = true })
  local version = KNOWN[at(doc, "mediaType")]
  if not version then return nil, "not a sigstore bundle of a known version" end
  if version >= 3 and at(doc, "verificationMaterial", "x509CertificateChain") then
    return nil, "a certificate chain is not allowed in this version of bundles"
  end
  local envelope = at(doc, "dsseEnvelope")
  if not envelope then return nil, "the bundle has no DSSE envelope" end
  local out, reason = read_envelope(envelope)
  if not out then return nil, reason end
  local hint = at(doc, "verificationMaterial", "publicKey", "hint")
  out.hint = type(hint) == "string" and sign.unbase64(hint) or nil
  out.certificate = at(doc, "verificationMaterial", "certificate") ~= nil
    or at(doc, "verificationMaterial", "x509CertificateChain") ~= nil
  return out
end

--- Reads a bare DSSE envelope, as older cosign stored statements.
---@param text string
---@return table|nil { payload=, signature=, statement=table }
---@return string|nil reason
function M.read_envelope(text)
  return read_envelope(json.decode(text, { name = "envelope", null = false, unique = true }))
end

local function has_subject(statement, digest)
  local algorithm, hex = digest:match "^(%w+):(%x+)$"
  local subjects = at(statement, "subject")
  if type(subjects) ~= "table" then return nil end
  for _, s in ipairs(subjects) do
    if at(s, "digest", algorithm) == hex then return s end
  end
end

--- Checks a bundle that was read: signature, subject, predicate type, annotations.
---@param b table of M.read
---@param o table { key=, digest=, predicate_type=nil for any, annotations=that must be there }
---@return boolean ok
---@return string|nil reason
function M.check(b, o)
  if not o.key:verify(M.pae(M.PAYLOAD_TYPE, b.payload), b.signature) then
    if b.certificate then return false, "signed with a certificate, not with a key" end
    if b.hint and b.hint ~= o.key:id() then return false, "signed with another key" end
    return false, "the signature does not fit"
  end
  local subject = has_subject(b.statement, o.digest)
  if not subject then return false, "signed for another image" end
  local kind = tostring(at(b.statement, "predicateType"))
  if o.predicate_type and kind ~= o.predicate_type then return false, "a statement of type " .. kind:sub(1, 200) end
  for k, v in pairs(o.annotations or {}) do
    if at(subject, "annotations", k) ~= v then return false, "annotation " .. k .. " differs" end
  end
  return true
end

return M
