--- `bakery image …`: images in registries, layouts, archives and the store.
require("bakery.http").warm_up() -- before the rest is loaded
local json = require "bakery.json"
local oci = require "bakery.oci"
local process = require "bakery.process"
local image = require "bakery.image"
local confirm = require "app.confirm"
local fail = require "app.fail"
local format = require "app.report.format"
local reports = require "app.report"

local function print_json(doc) require("app.session").print_json(doc) end

local M = {}

-- Options of bakery.image from the command line, and the reporter; finish() when done.
local function settings(values)
  local client = fail.check(oci.client { plain_http = values.plain_http, ca_file = values.ca_file, insecure = values.insecure,
    auth_file = values.auth_file, parallel = values.jobs })
  local reporter = reports.open(values)
  local opts = { client = client, store = values.store, jobs = values.jobs or 8, dry_run = values.dry_run,
    emit = function(e) reporter:event(e) end }
  local function finish()
    reporter:finish()
    for _, text in ipairs(client:warnings()) do reporter:event { type = "warning", text = text } end
  end
  return opts, finish
end

-- Runs fn(opts) with the reporter ended whatever happens.
local function run(values, fn)
  local opts, finish = settings(values)
  local r = table.pack(pcall(fn, opts))
  finish()
  if not r[1] then error(r[2], 0) end
  return table.unpack(r, 2, r.n)
end

local function out(...) io.stdout:write(...) end
local function say(values, ...) if not values.quiet then io.stderr:write(table.concat { ... }, "\n") end end

-- --- inspect, manifest, ls, referrers

local function field(name, value)
  if value ~= nil and value ~= "" then out(("%-12s %s\n"):format(name, format.printable(tostring(value)))) end
end

local function map(title, values)
  local names = {}
  for k in pairs(values or {}) do names[#names + 1] = k end
  table.sort(names)
  if #names > 0 then out(title, ":\n") end
  for _, k in ipairs(names) do out("  ", format.printable(k), " = ", format.printable(tostring(values[k])), "\n") end
end

local function entry_kind(d)
  if d.attestation_of then return "attestation of " .. format.short(d.attestation_of) end
  return d.artifact_type or (oci.is_index(d.media_type) and "index") or "image"
end

local function command_text(list) return type(list) == "table" and json.encode(list) or nil end

local function show(info)
  field("Name", info.name)
  field("Digest", info.digest)
  field("Media type", info.media_type)
  field("Type", info.artifact_type or info.kind)
  field("Platform", info.platform)
  field("Created", info.created)
  field("Subject", info.subject)
  if info.compressed_size then field("Size", format.bytes(info.compressed_size) .. " in " .. #info.layers .. " layers") end
  local c = info.config
  if type(c) == "table" then
    field("User", c.User)
    field("Workdir", c.WorkingDir)
    field("Entrypoint", command_text(c.Entrypoint))
    field("Cmd", command_text(c.Cmd))
    map("Labels", c.Labels)
  end
  map("Annotations", info.annotations)
  if info.manifests then
    local rows = { { "PLATFORM", "DIGEST", "TYPE" } }
    for _, d in ipairs(info.manifests) do rows[#rows + 1] = { d.platform or "-", d.digest, entry_kind(d) } end
    out(table.concat(format.table(rows), "\n"), "\n")
  elseif info.layers and #info.layers > 0 then
    local rows = { { "LAYER", "SIZE", "MEDIA TYPE" } }
    for _, l in ipairs(info.layers) do rows[#rows + 1] = { l.digest, format.bytes(l.size), l.media_type or "-" } end
    out(table.concat(format.table(rows), "\n"), "\n")
  end
end

function M.inspect(values)
  local info = run(values, function(opts)
    opts.platform = values.platform
    return fail.check(image.inspect(values[1], opts))
  end)
  if values.json then print_json(info) else show(info) end
  return 0
end

function M.manifest(values)
  local m = run(values, function(opts)
    opts.platform = values.platform
    return fail.check(image.manifest(values[1], opts))
  end)
  if values.json then
    print_json(json.object { { "digest", m.digest }, { "mediaType", m.media_type }, { "size", m.size },
      { "manifest", fail.check(json.decode(m.raw, { ordered = true })) } })
  else out(m.raw) end
  return 0
end

-- A registry without a repository: "registry.example" or "registry.example/".
local function is_host(text)
  local host = text:match "^([^/]+)/?$"
  return host and (host:find "[.:]" or host == "localhost") and not host:find "@" and (text:sub(-1) == "/"
    or host:match "^%[?[%x:.]*%]?:?%d*$" ~= nil or not host:find ":" or host:match ":%d+$" ~= nil) and host or nil
end

function M.ls(values)
  local kind, text = image.parse(values[1])
  local regex, bad
  if values.match then
    regex, bad = require("bakery.regex").compile(values.match)
    if not regex then
      bad.class, bad.message = "usage", "--match: " .. bad.message
      fail.raise(bad)
    end
  end
  local names, digests = run(values, function(opts)
    opts.last, opts.max, opts.sort = values.last, values.limit, true -- some give another order each time
    local host = kind == "docker" and is_host(text)
    local list = fail.check((host and image.repositories or image.tags)(host or values[1], opts))
    if regex then
      local kept = {}
      for _, name in ipairs(list) do if regex:find(name) then kept[#kept + 1] = name end end
      list = kept
    end
    if not values.digests or host or kind ~= "docker" then return list end
    local repo = fail.check(oci.ref(text)).name
    return list, require("bakery.task").map(list, opts.jobs, function(tag)
      return fail.check(opts.client:head(repo .. ":" .. tag)).digest
    end)
  end)
  if values.json then
    local doc = json.array {}
    for i, name in ipairs(names) do
      doc[i] = digests and json.object { { "name", name }, { "digest", digests[i] } } or name
    end
    print_json(doc)
  else
    local lines = names
    if digests or not table.concat(names):find "^[ -~]*$" then
      lines = {}
      for i, name in ipairs(names) do lines[i] = format.printable(name) .. (digests and " " .. digests[i] or "") end
    end
    if #lines > 0 then out(table.concat(lines, "\n"), "\n") end
  end
  return 0
end

function M.referrers(values)
  local list = run(values, function(opts)
    opts.platform, opts.artifact_type, opts.annotations = values.platform, values.artifact_type, values.annotation
    return fail.check(image.referrers(values[1], opts))
  end)
  if values.json then print_json(list)
  else
    local rows = { { "TYPE", "DIGEST", "SIZE" } }
    for _, d in ipairs(list) do
      rows[#rows + 1] = { format.printable(d.artifactType or "-"), d.digest, format.bytes(math.tointeger(d.size) or 0) }
    end
    out(table.concat(format.table(rows), "\n"), "\n")
  end
  return 0
end

-- --- copy, export, import, tag, rm

local function sum_up(values, done)
  if values.json then
    print_json(done)
    return 0
  end
  for _, d in ipairs(done.destinations) do
    local b = d.blobs
    if values.dry_run then
      say(values, ("would copy %d manifests and up to %d blobs (%s) to %s"):format(d.manifests, b.planned, format.bytes(d.bytes),
        d.ref))
    else
      out(d.tagged[1] or d.ref, " ", d.digest, "\n")
    end
  end
  if done.rewritten then
    say(values, "the index is a new one: signatures of the whole index do not cover it")
  end
  return 0
end

local function copy(values, from, to)
  return sum_up(values, run(values, function(opts)
    opts.platforms = not values.all and values.platform or nil
    opts.referrers, opts.force = values.referrers, values.force
    return fail.check(image.copy(from, to, opts))
  end))
end

local function conflicting(values)
  if values.all and values.platform then
    fail.raise { class = "usage", code = "usage", message = "--all and --platform exclude each other" }
  end
end

-- Every tag of a repository.
local function copy_tags(values, from, to)
  local list = run(values, function(opts)
    opts.platforms, opts.match = not values.all and values.platform or nil, values.match
    opts.referrers, opts.force = values.referrers, values.force
    return fail.check(image.copy_tags(from, to, opts))
  end)
  if values.json then
    print_json(json.array(list))
    return 0
  end
  for _, done in ipairs(list) do sum_up(values, done) end
  if #list == 0 then say(values, from, values.match and ": no tag matches" or ": no tags") end
  return 0
end

function M.copy(values)
  conflicting(values)
  if values.match and not values.all_tags then
    fail.raise { class = "usage", code = "usage", message = "--match goes with --all-tags" }
  end
  if values.all_tags then return copy_tags(values, values[1], table.move(values, 2, #values, 1, {})) end
  return copy(values, values[1], table.move(values, 2, #values, 1, {}))
end

local function need_kind(spec, wanted, what)
  local kind = image.parse(spec)
  if wanted[kind] then return end
  fail.raise { class = "usage", code = "usage", message = ("%s: expected %s"):format(spec, what) }
end

function M.export(values)
  conflicting(values)
  need_kind(values[2], { oci = true, ["docker-archive"] = true }, "oci:DIR[:NAME] or docker-archive:FILE[:NAME]")
  return copy(values, values[1], { values[2] })
end

function M.import(values)
  conflicting(values)
  need_kind(values[1], { oci = true, ["docker-archive"] = true }, "oci:DIR[:NAME] or docker-archive:FILE[:NAME]")
  need_kind(values[2], { docker = true, store = true }, "a registry's reference or store:NAME")
  return copy(values, values[1], { values[2] })
end

function M.tag(values)
  local done = run(values, function(opts)
    opts.emit = nil -- said below, with what the tag was
    return fail.check(image.tag(values[1], table.move(values, 2, #values, 1, {}), opts))
  end)
  if values.json then print_json(done)
  else
    for _, t in ipairs(done.tagged) do
      say(values, values.dry_run and "would tag " or "tagged ", t.ref, t.was and " (was " .. t.was .. ")" or "")
    end
    out(done.digest, "\n")
  end
  return 0
end

function M.rm(values)
  local done = run(values, function(opts)
    local list = {}
    -- All are looked up first: a mistyped name removes nothing.
    local look = { client = opts.client, store = opts.store, jobs = opts.jobs, emit = opts.emit, dry_run = true }
    for i, spec in ipairs(values) do list[i] = fail.check(image.remove(spec, look)) end
    if values.dry_run then return list end
    local names = {}
    for i, item in ipairs(list) do names[i] = item.ref end
    confirm.ask(values, "remove " .. table.concat(names, ", "))
    for i, spec in ipairs(values) do list[i] = fail.check(image.remove(spec, opts)) end
    return list
  end)
  if values.json then print_json(json.array(done))
  else
    for _, item in ipairs(done) do
      say(values, item.removed and "removed " or "would remove ", item.ref, " ", item.digest)
    end
  end
  return 0
end

-- --- diff

local function show_files(f, limit)
  out(("files: %d added, %d removed, %d changed\n"):format(#f.added, #f.removed, #f.changed))
  local left = limit
  local function line(...)
    left = left - 1
    if left >= 0 then out(...) end
  end
  for _, e in ipairs(f.removed) do line("  - ", format.printable(e.path), "\n") end
  for _, e in ipairs(f.added) do
    line("  + ", format.printable(e.path), e.type == "file" and "  " .. format.bytes(e.size) or "", "\n")
  end
  for _, e in ipairs(f.changed) do
    line("  ~ ", format.printable(e.path), "  ", format.printable(table.concat(e.what, ", ")), "\n")
  end
  if left < 0 then out("  … and ", -left, " more (--limit)\n") end
end

local function show_pairs(title, list)
  if #list == 0 then return end
  out(title, ":\n")
  for _, e in ipairs(list) do
    out("  ", format.printable(e.path), ": ", format.printable(e.a or "(none)"), " → ", format.printable(e.b or "(none)"), "\n")
  end
end

function M.diff(values)
  local d = run(values, function(opts)
    opts.platform, opts.files, opts.times = values.platform, not values.no_files, values.times
    return fail.check(image.diff(values[1], values[2], opts))
  end)
  if values.json then print_json(d)
  else
    out("a ", d.a.ref, " ", d.a.digest, "\nb ", d.b.ref, " ", d.b.digest, "\n")
    show_pairs("config", d.config)
    show_pairs("annotations", d.annotations)
    out(("layers: %d in common, then %d and %d\n"):format(d.layers.common, d.layers.a - d.layers.common,
      d.layers.b - d.layers.common))
    if d.files then show_files(d.files, values.limit) end
  end
  if d.same and not values.json then say(values, "no differences") end
  return values.exit_code and not d.same and 7 or 0
end

-- --- login, logout

local function ask(question, opts)
  local line, err = process.ask(question, opts)
  if err then fail.raise(err) end
  return line or ""
end

local function read_secret(values)
  if values.password_stdin or not process.isatty(0) then
    if not values.password_stdin then
      fail.raise { class = "usage", code = "usage", message = "no terminal to ask for the password on",
        hint = "give it on standard input with --password-stdin" }
    end
    local text = io.stdin:read(65536) or ""
    return (text:gsub("[\r\n]+$", ""))
  end
  return ask("Password: ", { hide = true })
end

local function read_user(values)
  if values.username then return values.username end
  if not process.isatty(0) or values.password_stdin then
    fail.raise { class = "usage", code = "usage", message = "missing --username" }
  end
  return ask "Username: "
end

local function print_logins(values, list)
  if values.json then
    print_json(list)
    return
  end
  local rows = { { "REGISTRY", "USER", "KEPT IN" } }
  for _, l in ipairs(list) do rows[#rows + 1] = { l.registry, l.username or "(token)", l.source } end
  out(table.concat(format.table(rows), "\n"), "\n")
end

function M.login(values)
  local client = fail.check(oci.client { auth_file = values.auth_file })
  if values.list then
    print_logins(values, fail.check(client:logins()))
    return 0
  end
  if not values[1] then fail.raise { class = "usage", code = "usage", message = "missing argument: REGISTRY" } end
  local host = values[1]:match "^[^/]+"
  local login = { host = values[1] }
  if not values.identity_token then login.username = read_user(values) end
  local secret = read_secret(values)
  if secret == "" then fail.raise { class = "usage", code = "usage", message = "the password is empty" } end
  login[values.identity_token and "identity_token" or "password"] = secret
  if not values.no_check then
    local try = fail.check(oci.client { plain_http = values.plain_http, ca_file = values.ca_file, insecure = values.insecure,
      auth = { [host] = { username = login.username, password = login.password, identity_token = login.identity_token } } })
    fail.within("login", try:ping(host, { strict = true }))
  end
  local where = fail.check(client:save_login(login))
  if values.json then print_json(json.object { { "registry", values[1] }, { "kept_in", where } })
  else say(values, "login to ", values[1], " kept in ", where) end
  return 0
end

function M.logout(values)
  local client = fail.check(oci.client { auth_file = values.auth_file })
  local list = json.array {}
  if values.all then
    for _, l in ipairs(fail.check(client:logins())) do values[#values + 1] = l.registry end
  elseif not values[1] then
    fail.raise { class = "usage", code = "usage", message = "missing argument: REGISTRY" }
  end
  for _, host in ipairs(values) do
    local where = fail.check_bool(client:erase_login(host))
    list[#list + 1] = json.object { { "registry", host }, { "removed", where ~= false } }
    if not values.json then say(values, where and "logged out of " or "not logged in to ", host) end
  end
  if values.json then print_json(list) end
  return 0
end

return M
