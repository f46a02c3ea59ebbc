--- `bakery key`, `bakery sign`, `bakery verify`, `bakery attest`, `bakery attestations`.
local fs = require "bakery.fs"
local json = require "bakery.json"
local oci = require "bakery.oci"
local sign = require "bakery.sign"
local attest = require "bakery.sign.attest"
local image = require "bakery.sign.image"
local keys = require "bakery.sign.keys"
local fail = require "app.fail"
local format = require "app.report.format"
local session = require "app.session"

local M = {}

local function say(values, ...)
  if not values.quiet then io.stderr:write(table.concat { ... }, "\n") end
end

local function fingerprint_line(key) return key:type() .. " " .. keys.fingerprint(key) end

--- `bakery key generate`
function M.generate(values)
  local prefix = values.output_key_prefix or "cosign"
  for _, file in ipairs { prefix .. ".key", prefix .. ".pub" } do
    if fs.exists(file) and not values.force then
      fail.raise { class = "usage", code = "exists", message = file .. " exists", hint = "replace it with --force" }
    end
  end
  local password = keys.password { confirm = true }
  local key <close> = fail.check(sign.generate()) -- luacheck: ignore
  local private, public = keys.write(key, prefix, password, values.force)
  say(values, "private key: ", private, ", public key: ", public)
  io.stdout:write(fingerprint_line(key), "\n")
  return 0
end

--- `bakery key import`
function M.import(values)
  local key <close> = keys.private(values[1]) -- luacheck: ignore
  local private, public = keys.write(key, values.output_key_prefix or "import-cosign", keys.password { confirm = true },
    values.force)
  say(values, "private key: ", private, ", public key: ", public)
  io.stdout:write(fingerprint_line(key), "\n")
  return 0
end

--- `bakery key public`
function M.public(values)
  local key <close> = keys.public(values[1]) -- luacheck: ignore
  io.stdout:write(fail.check(key:public_pem()))
  say(values, fingerprint_line(key))
  return 0
end

local function need_key(values)
  if values.key then return values.key end
  fail.raise { class = "usage", code = "usage", message = "no key given", hint = "--key FILE (or env://NAME)" }
end

local function pairs_of(values) return values.annotations and next(values.annotations) and values.annotations or nil end

--- `bakery sign`
function M.sign(values)
  local key <close> = keys.private(need_key(values)) -- luacheck: ignore
  local client = fail.check(oci.client())
  local out = json.array {}
  for _, ref in ipairs(values) do
    for _, r in ipairs(image.sign { client = client, ref = ref, key = key, recursive = values.recursive,
        formats = values.format, annotations = pairs_of(values), force = values.force }) do
      say(values, ("%s %s%s: bundle %s, tag %s"):format(ref, format.short(r.digest), r.platform and " (" .. r.platform .. ")" or "",
        r.bundle or "not wanted", r.simple or "not wanted"))
      out[#out + 1] = json.object { { "ref", ref }, { "digest", r.digest }, { "platform", r.platform },
        { "bundle", r.bundle }, { "simple", r.simple } }
    end
  end
  if values.json then session.print_json(out) end
  return 0
end

--- `bakery verify`
function M.verify(values)
  local key <close> = keys.public(need_key(values)) -- luacheck: ignore
  local client = fail.check(oci.client())
  local out = json.array {}
  for _, ref in ipairs(values) do
    local r = image.verify { client = client, ref = ref, key = key, recursive = values.recursive,
      annotations = pairs_of(values) }
    for _, i in ipairs(r.images) do
      local kinds = {}
      for _, s in ipairs(i.signatures) do if s.valid then kinds[#kinds + 1] = s.kind end end
      say(values, ("verified %s %s%s: %s by key %s (no transparency log asked)"):format(ref, format.short(i.digest),
        i.platform and " (" .. i.platform .. ")" or "", table.concat(kinds, ", "), r.key:sub(1, 16)))
      local list = json.array {}
      for n, s in ipairs(i.signatures) do
        list[n] = json.object { { "kind", s.kind }, { "where", s.where }, { "valid", s.valid }, { "reason", s.reason } }
      end
      out[#out + 1] = json.object { { "ref", ref }, { "digest", i.digest }, { "platform", i.platform }, { "key", r.key },
        { "signatures", list } }
    end
    if not values.json then io.stdout:write((ref:gsub("@.*$", "")), "@", r.digest, "\n") end
  end
  if values.json then session.print_json(out) end
  return 0
end

local function predicate_of(values)
  local text = fail.check(fs.read(values.predicate, 64 << 20))
  if values.type == "custom" then -- cosign's own wrapping of any text
    return json.object { { "Data", text }, { "Timestamp", os.date "!%Y-%m-%dT%H:%M:%SZ" } }
  end
  local doc = fail.check(json.decode(text, { name = values.predicate, ordered = true }))
  if type(doc) ~= "table" then
    fail.raise { class = "usage", code = "usage", message = values.predicate .. ": expected a JSON object" }
  end
  return doc
end

--- `bakery attest`
function M.attest(values)
  if not values.predicate or not values.type then
    fail.raise { class = "usage", code = "usage", message = "bakery attest: --type and --predicate are needed" }
  end
  local key = values.key and keys.private(values.key)
  local r = attest.put { ref = values[1], key = key, type = values.type, predicate = predicate_of(values) }
  say(values, key and "attested " or "attached unsigned to ", values[1], "@", r.digest, ": ", r.predicate_type,
    r.present and " (was there)" or "")
  if values.json then
    session.print_json(json.object { { "ref", values[1] }, { "digest", r.digest }, { "predicateType", r.predicate_type },
      { "statement", r.referrer }, { "signed", key ~= nil } })
  else
    io.stdout:write(r.referrer, "\n")
  end
  return 0
end

--- `bakery attestations`
function M.attestations(values)
  local key = values.key and keys.public(values.key)
  local r = attest.list { ref = values[1], key = key, type = values.type }
  local good = 0
  local out = json.array {}
  for _, a in ipairs(r.list) do
    if a.valid or not key and a.statement then good = good + 1 end
    out[#out + 1] = json.object { { "digest", a.digest }, { "predicateType", a.predicate_type }, { "signed", a.signed },
      { "valid", a.valid }, { "reason", a.reason }, { "statement", a.statement } }
    say(values, ("%s %s: %s%s"):format(format.short(a.digest), a.predicate_type or "?",
      not a.signed and "unsigned" or a.valid and "valid" or key and "not valid" or "signed, not verified",
      a.reason and ", " .. a.reason or ""))
  end
  if values.json then session.print_json(out) end
  if good > 0 then return 0 end
  fail.raise { class = "gate", code = "sign.none", message = ("%s: no %sattestation%s"):format(values[1],
    key and "valid " or "", values.type and " of type " .. values.type or "") }
end

return M
