--- Resolvers: where the versions of a dependency, or the builds of a product, are looked up. A file
--- of resolvers/ returns `resolver.new{…}`, or `resolver.extend("stock:python", {…})`.
---
---   local resolver = require "bakery.resolver"
---   return resolver.new {
---     summary = "releases of julia",
---     versions = function(ctx)
---       local out = {}
---       for version, entry in pairs(ctx:json "https://julialang-s3.julialang.org/bin/versions.json") do
---         if entry.stable or ctx.prerelease then out[#out + 1] = version end
---       end
---       return out
---     end,
---   }
---
--- bakery.yaml then says `dependency: julia`, `from: julia`. Code reads top to bottom: what cannot
--- be fetched or read raises an error that names the URL.
local json = require "bakery.json"
local scripts = require "bakery.scripts"
local version = require "bakery.version"
local yaml = require "bakery.yaml"
local errors = require "bakery.error"

local M = {}

local shelf = scripts.shelf("resolver", "resolvers")

---@class bakery.resolver.definition
---@field name string
---@field summary string
---@field versions (fun(ctx: bakery.resolver.context): string[])|nil versions of a dependency, any
--- order; doubles are dropped
---@field build (fun(ctx: bakery.resolver.context, os: bakery.resolver.os): bakery.resolver.build)|nil
--- the newest build of a product for one operating system
---@field pinned (fun(ctx: bakery.resolver.context, os: bakery.resolver.os): bakery.resolver.build)|nil
--- the build of version ctx.pin; without it the version inside the newest build's URL is replaced
local Resolver = {}
Resolver.__index = Resolver
Resolver.__name = "bakery.resolver"

---@class bakery.resolver.os an operating system of bakery.yaml
---@field name string as written: "Ubuntu 24.04"
---@field platforms string[]
---@field build_os { name: string, family: "debian"|"rhel"|"unknown", version: string, codename?: string,
--- package_suffix: string, version_separator: string, arch_separator: string }

---@class bakery.resolver.build
---@field version string
---@field url string where it is downloaded
---@field newest string|nil with ctx.pin: the version that is current upstream

---@class bakery.resolver.io how a context reaches the world; nil, err when it cannot
---@field get fun(url: string, opts: { accept?: string, headers?: table<string, string> }): string|nil, table|nil, table|nil
---@field head fun(url: string): integer|nil, table|nil
---@field tags fun(repository: string): string[]|nil, table|nil

---@class bakery.resolver.context
---@field name string dependency or product
---@field argument string|nil what `from: RESOLVER:ARGUMENT` says behind the colon
---@field prerelease boolean prereleases count too
---@field product string|nil product builds: also channel, branch and pin
---@field channel "release"|"preview"|"daily"|nil
---@field branch string|nil release branch; nil for the newest
---@field pin string|nil the version that is asked for
local Context = {}
Context.__index = Context

local KEYS = { name = 1, summary = 1, versions = 1, build = 1, pinned = 1 }
local FUNCTIONS = { "versions", "build", "pinned" }

local function checked(def, what)
  for key in pairs(def) do
    if not KEYS[key] then
      local near = require("bakery.suggest").nearest(tostring(key), { "summary", "versions", "build", "pinned" })
      shelf:fail(("unknown key '%s' in %s%s"):format(tostring(key), what,
        near and (" (did you mean '" .. near .. "'?)") or ""))
    end
  end
  for _, key in ipairs(FUNCTIONS) do
    if def[key] ~= nil and type(def[key]) ~= "function" then
      shelf:fail(("%s: %s must be a function"):format(what, key))
    end
  end
  return def
end

--- Makes a resolver.
---@param def table { summary=, versions=, build=, pinned= }
---@return bakery.resolver.definition
function M.new(def)
  checked(def, "resolver.new")
  if not def.versions and not def.build then shelf:fail "a resolver needs `versions` or `build`" end
  return setmetatable({ summary = def.summary or "", versions = def.versions, build = def.build,
    pinned = def.pinned }, Resolver)
end

--- A copy of another resolver; a replaced function gets the previous one as first argument.
---@param base string|bakery.resolver.definition "stock:python"
---@param changes table { summary=, versions=function(base, ctx), build=function(base, ctx, os), pinned= }
---@return bakery.resolver.definition
function M.extend(base, changes)
  checked(changes, "resolver.extend")
  local from = type(base) == "string" and M.load(base) or base
  local def = { summary = changes.summary or from.summary }
  for _, key in ipairs(FUNCTIONS) do
    local previous, change = from[key], changes[key]
    def[key] = change and function(ctx, os) return change(previous, ctx, os) end or previous
  end
  return M.new(def)
end

--- Told by the program: where resolvers are found.
function M.configure(opts) shelf:configure(opts) end

--- Every place a resolver of this name exists, winning one first.
---@param name string
---@return bakery.scripts.found[]
function M.which(name) return shelf:which(name) end

--- All resolvers: { name=, kind=, file=, shadows=n } sorted by name.
---@return table[]
function M.list() return shelf:list() end

--- Loads a resolver by name; "stock:NAME" is always the shipped one.
---@param name string
---@return bakery.resolver.definition
function M.load(name)
  return shelf:load(name, function(value, it)
    if type(value) ~= "table" then
      shelf:fail("a resolver file must return resolver.new{…} or resolver.extend(…)", it.file)
    end
    return getmetatable(value) == Resolver and value or M.new(value)
  end)
end

-- --- what resolver code calls ---------------------------------------------------------------------

local function raise(code, message, extra)
  local fields = { class = "infra", code = code, message = message }
  for k, v in pairs(extra or {}) do fields[k] = v end
  errors.raise(fields)
end

--- Ends the look-up: the place has nothing of that kind.
---@param message string
function Context.none(_, message) raise("resolver.none", message) end

--- Ends the look-up: the answer is not what this place is known to give.
---@param url string
---@param message string
function Context.unexpected(_, url, message) raise("resolver.payload", url .. ": " .. message) end

--- Body of a GET; answers are kept in the cache.
---@param url string
---@param opts { accept?: string, headers?: table<string, string> }|nil
---@return string body
---@return table<string, string> headers etag, last-modified and link of the answer
function Context:text(url, opts)
  local body, err, headers = self._io.get(url, opts or {})
  if not body then errors.raise(err) end
  return body, headers or {}
end

--- Body of a GET read as JSON; null is false.
---@param url string
---@param opts { accept?: string, headers?: table<string, string> }|nil
---@return any value
---@return table<string, string> headers
function Context:json(url, opts)
  local body, headers = self:text(url, opts)
  local value, err = json.decode(body, { null = false })
  if value == nil then self:unexpected(url, "no JSON: " .. tostring(err and err.message or err)) end
  return value, headers
end

--- Body of a GET read as YAML: the top node (see bakery.yaml), so that `1.10` keeps its text.
---@param url string
---@return bakery.yaml.node
function Context:yaml(url)
  local doc, err = yaml.parse((self:text(url)), { name = url })
  if not doc then self:unexpected(url, "no YAML: " .. tostring(err.message)) end
  return doc:root() or { kind = "map", keys = {}, map = {} }
end

--- A member deep inside a decoded answer; raises when it is missing.
---@param value any
---@param url string for the message
---@param ... string|integer keys
---@return any
function Context:dig(value, url, ...)
  local way = {}
  for _, key in ipairs { ... } do
    way[#way + 1] = tostring(key)
    value = type(value) == "table" and value[key] or nil
    if value == nil then self:none(("%s: has no %s"):format(url, table.concat(way, "."))) end
  end
  return value
end

--- As dig, for what must be a text.
---@return string
function Context:dig_text(value, url, ...)
  local found = self:dig(value, url, ...)
  if type(found) ~= "string" then
    self:unexpected(url, ("%s is no text"):format(table.concat({ ... }, ".")))
  end
  return found
end

--- As dig, for what must be a list or an object.
---@return table
function Context:dig_table(value, url, ...)
  local found = self:dig(value, url, ...)
  if type(found) ~= "table" then
    self:unexpected(url, ("%s is no list or object"):format(table.concat({ ... }, ".")))
  end
  return found
end

--- Tags of a repository in a registry.
---@param repository string "ghcr.io/org/app"
---@return string[]
function Context:tags(repository)
  local list, err = self._io.tags(repository)
  if not list then errors.raise(err) end
  return list
end

--- The texts that are versions (PEP 440), newest first, without prereleases unless the look-up wants
--- them.
---@param list string[]
---@return string[]
function Context:versions_of(list) return version.select(list, { prerelease = self.prerelease }) end

--- The argument split at "#": "owner/repo#v*" gives "owner/repo" and a function that takes a text and
--- returns what stands at the `*`, or nil. Without a pattern it removes a leading "v".
---@return string subject
---@return fun(text: string): string|nil
function Context:pattern()
  local subject, pattern = (self.argument or ""):match("^([^#]*)#?(.*)$")
  if subject == "" then
    errors.raise { class = "usage", code = "resolver.argument",
      message = ("the resolver needs an argument: from: %s:…"):format(self.resolver) }
  end
  if pattern == "" then return subject, function(text) return (text:gsub("^v(%d)", "%1")) end end
  local before, after = pattern:match("^([^*]*)%*([^*]*)$")
  if not before then
    errors.raise { class = "usage", code = "resolver.argument",
      message = ("%q must have one * where the version is"):format(pattern) }
  end
  return subject, function(text)
    if #text > #before + #after and text:sub(1, #before) == before
      and (after == "" or text:sub(-#after) == after) then
      return text:sub(#before + 1, #text - #after)
    end
  end
end

--- A text with everything but letters, digits and `_.-~` percent-encoded.
---@param text string
---@return string
function M.encode(text)
  return (text:gsub("[^%w_.~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- --- look-ups ---------------------------------------------------------------------------------------

---@class bakery.resolver.request
---@field resolver string name of the resolver
---@field name string dependency or product
---@field argument string|nil
---@field prerelease boolean|nil
---@field channel string|nil
---@field branch string|nil
---@field pin string|nil

local function context(request, io)
  return setmetatable({ resolver = request.resolver, name = request.name, argument = request.argument,
    prerelease = request.prerelease == true, product = request.channel and request.name,
    channel = request.channel, branch = request.branch, pin = request.pin, _io = io }, Context)
end

-- Runs code of a resolver: a raised text is a mistake in its file.
local function call(def, fn, ...)
  local ok, value = pcall(fn, ...)
  if ok then return value end
  if type(value) == "string" then
    value = scripts.raised(value, { class = "usage", code = "resolver.script", where = def.file,
      prefix = ("resolver '%s': "):format(def.name) })
  end
  return nil, errors.is(value) and errors.new(value) or value
end

local function wrong(def, message)
  return nil, errors.new { class = "usage", code = "resolver.script", where = def.file,
    message = ("resolver '%s': %s"):format(def.name, message) }
end

local function load_for(request, what)
  local ok, def = pcall(M.load, request.resolver)
  if not ok then
    def.code = "resolver.script"
    return nil, errors.new(def)
  end
  if not def[what] then return wrong(def, "it looks up no " .. what) end
  return def
end

--- Versions of a dependency, as the resolver gives them, without doubles.
---@param request bakery.resolver.request
---@param io bakery.resolver.io
---@return string[]|nil
---@return table? err code resolver.script: the resolver's own mistake; else class infra
function M.versions(request, io)
  local def, err = load_for(request, "versions")
  if not def then return nil, err end
  local list
  list, err = call(def, def.versions, context(request, io))
  if err then return nil, err end
  if type(list) ~= "table" then return wrong(def, "versions must return a list of texts") end
  local out, seen = {}, {}
  for i, text in ipairs(list) do
    if type(text) ~= "string" then return wrong(def, ("version %d is no text"):format(i)) end
    if not seen[text] then out[#out + 1] = text end
    seen[text] = true
  end
  return out
end

local function check_build(def, found)
  if type(found) ~= "table" or type(found.version) ~= "string" or type(found.url) ~= "string" then
    return wrong(def, "build must return { version = text, url = text }")
  end
  local text = found.version:match("^%s*(.-)%s*$")
  -- It becomes a directory name and part of tags.
  if not text:find "%d+%.%d+%.%d+" or text:find "[^%w ._+~!-]" then
    return nil, errors.new { class = "infra", code = "resolver.payload",
      message = ("%q is no version like 2026.05.0"):format(text:sub(1, 80)) }
  end
  if not found.url:find("^[Hh][Tt][Tt][Pp][Ss]?://[^/%s]") or found.url:find("[%s%c]") then
    return nil, errors.new { class = "infra", code = "resolver.payload",
      message = ("%q is no http(s) URL"):format(found.url:sub(1, 200)) }
  end
  return { version = text, url = found.url, newest = found.newest }
end

local function replace_all(text, from, to)
  local out, at = {}, 1
  while true do
    local first, last = text:find(from, at, true)
    if not first then break end
    out[#out + 1] = text:sub(at, first - 1) .. to
    at = last + 1
  end
  return at > 1 and table.concat(out) .. text:sub(at) or nil
end

-- The URL of the pinned version: the newest build's version in it, in one of its spellings, replaced.
local function substitute(url, from, to)
  local function dashed(text) return (text:gsub("%+", "-")) end
  return replace_all(url, from, to) or replace_all(url, M.encode(from), M.encode(to))
    or replace_all(url, dashed(from), dashed(to))
end

local function pinned(def, ctx, os, io)
  local found, err
  if def.pinned then
    found, err = call(def, def.pinned, ctx, os)
    if found then found, err = check_build(def, found) end
  end
  if err then return nil, err end
  if not found then
    found, err = call(def, def.build, ctx, os)
    if found or not err then found, err = check_build(def, found) end
    if not found then return nil, err end
    local url = substitute(found.url, found.version, ctx.pin)
    if not url then
      return nil, errors.new { class = "usage", code = "devspec.substitution",
        message = ("version %s cannot be asked for: %s does not contain %s"):format(ctx.pin, found.url, found.version) }
    end
    found = { version = ctx.pin, url = url, newest = found.version }
  end
  local status
  status, err = io.head(found.url)
  if not status then return nil, err end
  if status >= 400 then
    return nil, errors.new { class = "usage", code = "devspec.unavailable",
      message = ("%s %s is not available: %s answers %d"):format(ctx.name, ctx.pin, found.url, status) }
  end
  return found
end

--- The build of a product for one operating system.
---@param request bakery.resolver.request with channel; pin asks for a version
---@param os bakery.resolver.os
---@param io bakery.resolver.io
---@return bakery.resolver.build|nil
---@return table? err code resolver.none: there is none for this system; devspec.substitution and
--- devspec.unavailable (usage): the pinned version cannot be had; resolver.script
function M.build(request, os, io)
  local def, err = load_for(request, "build")
  if not def then return nil, err end
  local ctx = context(request, io)
  if ctx.pin then return pinned(def, ctx, os, io) end
  local found
  found, err = call(def, def.build, ctx, os)
  if err then return nil, err end
  return check_build(def, found)
end

return M
