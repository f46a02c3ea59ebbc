--- Backends of projects and users: .bakery/backends/NAME.lua, then backends/NAME.lua of the user's configuration. Such
--- a file sees what recipes see (bakery.* modules, no unknown globals) and returns
---
---   { summary = "one line",
---     probe = function() return ok, text, fix end,    -- optional, for `bakery doctor`
---     open = function(opts) return backend end }
---
--- opts: dir (the project's), args (options of the recipe), emit(event), jobs, no_cache, pull, epoch (seconds or nil).
--- A backend has
---
---   build(self, plan, opts)     required: results, one for each uid of opts.only or plan.order
---   pushes_itself               true: build pushes too when args.push
---   export(self, results, spec) one --output
---   load_into_engine(self, results)  --load: text that names the engine
---   measure(self, result)       { { layers=, local_size=bytes }… } or nil
---   close(self)
---
--- plan: { order = { uid… }, targets = { [uid] = { context, dockerfile, tags, args, labels, platforms, target, … } },
--- document = the plan as `bakery plan` prints it }. A result: { uid, status = "ok"|"failed", tags?, digest?, image_id?,
--- seconds?, error? = text or an error object }. emit { type = "log", target = uid, text = line } shows a line.
local scripts = require "bakery.scripts"
local suggest = require "bakery.suggest"
local fail = require "app.fail"
local loop = require "bakery.loop"

local M = {}

local shelf = scripts.shelf("backend", ".bakery/backends")

local KEYS = { summary = "string", open = "function", probe = "function" }
local METHODS = { "export", "load_into_engine", "measure", "close" }

local function setup(root)
  shelf:configure { dirs = require("app.recipe").places(".bakery/backends", "backends", root) }
  return shelf
end

--- Names and files of all that there are.
---@param root string|nil project directory
---@return { name: string, file: string }[]
function M.list(root) return setup(root):list() end

-- Calls code of the file: what it raises as text becomes an error that says file and line.
local function guarded(fn, ...)
  local r = table.pack(pcall(fn, ...))
  if r[1] then return table.unpack(r, 2, r.n) end
  if type(r[2]) == "string" then error(scripts.raised(r[2], { class = "build", code = "backend" }), 0) end
  error(r[2], 0)
end

local function checked(def, it)
  if type(def) ~= "table" then shelf:fail("expected a table { summary=, open= }, got " .. type(def), it.file) end
  for key, value in pairs(def) do
    local want = KEYS[key]
    if not want then
      local near = suggest.nearest(tostring(key), { "summary", "open", "probe" })
      shelf:fail(("unknown key '%s'%s"):format(tostring(key), near and (" (did you mean '" .. near .. "'?)") or ""), it.file)
    end
    if type(value) ~= want then shelf:fail(("%s: expected a %s, got %s"):format(key, want, type(value)), it.file) end
  end
  for _, key in ipairs { "summary", "open" } do
    if def[key] == nil then shelf:fail(key .. " is missing", it.file) end
  end
  return def
end

-- What the backend can do is known before anything is built.
local function refuse(backend, name, args)
  local function no(what, why)
    fail.raise { class = "usage", code = "backend.unsupported", message = ("%s: backend %s %s"):format(what, name, why),
      hint = "use --backend embedded" }
  end
  if args.push and not backend.pushes_itself then no("--push", "does not push") end
  if args.output and #args.output > 0 and not backend.export then no("--output", "writes no files") end
  if args.load and not backend.load_into_engine then no("--load", "loads nothing into engines") end
end

local function result_of(r, plan, wanted, file)
  local function bad(what) shelf:fail("build: " .. what, file) end
  if type(r) ~= "table" then bad("expected a list of results, one of them is a " .. type(r)) end
  if type(r.uid) ~= "string" or not wanted[r.uid] then bad("a result of '" .. tostring(r.uid) .. "', which was not asked for") end
  if r.status ~= "ok" and r.status ~= "failed" then
    bad(("%s: status is '%s', expected 'ok' or 'failed'"):format(r.uid, tostring(r.status)))
  end
  r.tags, r.platforms = r.tags or plan.targets[r.uid].tags or {}, r.platforms or {}
  r.cached, r.executed = r.cached or 0, r.executed or 0
  if r.status == "failed" and type(r.error) ~= "table" then
    r.error = { class = "build", code = "backend.failed", message = tostring(r.error or "failed without a reason") }
  end
  return r
end

-- `build` with results that are what the rest of the program expects, one for each target.
local function build(custom, name, file, emit, told)
  return function(self, plan, opts)
    opts = opts or {}
    local wanted, seen, out, began = {}, {}, {}, loop.now()
    for _, uid in ipairs(opts.only or plan.order) do wanted[uid] = true end
    local got = guarded(custom, self, plan, opts)
    if type(got) ~= "table" then shelf:fail("build: expected a list of results, got " .. type(got), file) end
    for _, r in ipairs(got) do
      seen[result_of(r, plan, wanted, file).uid] = true
      out[#out + 1] = r
    end
    for _, uid in ipairs(opts.only or plan.order) do
      if not seen[uid] then
        out[#out + 1] = result_of({ uid = uid, status = "failed", error = "backend " .. name .. " gave no result" }, plan,
          wanted, file)
      end
    end
    for _, r in ipairs(out) do
      r.seconds = r.seconds or loop.now() - began
      if not told[r.uid] then
        if r.status == "ok" then emit { type = "target_done", target = r.uid, result = r }
        else emit { type = "target_failed", target = r.uid, error = r.error } end
      end
      told[r.uid] = nil
    end
    return out
  end
end

--- Loads a backend's file; raises error objects that name it.
---@param name string
---@param root string|nil project directory
---@return table as app.backend.get
function M.load(name, root)
  local def = setup(root):load(name, checked)
  local module = { name = name, summary = def.summary, file = def.file }
  module.probe = def.probe and function() return guarded(def.probe) end
  function module.open(opts)
    local told = {} -- targets whose end the file has reported itself
    local function emit(e)
      if type(e) ~= "table" or type(e.type) ~= "string" then shelf:fail("emit: expected a table with a type", def.file) end
      if e.type == "target_done" or e.type == "target_failed" then told[e.target] = true end
      opts.emit(e)
    end
    local given = {}
    for k, v in pairs(opts) do given[k] = v end
    given.emit, given.args = emit, opts.args or {}
    local backend = guarded(def.open, given)
    if type(backend) ~= "table" then shelf:fail("open: expected a backend, got " .. type(backend), def.file) end
    if type(backend.build) ~= "function" then shelf:fail("open: the backend has no function 'build'", def.file) end
    for _, key in ipairs(METHODS) do
      local fn = backend[key]
      if fn ~= nil then
        if type(fn) ~= "function" then shelf:fail(("open: the backend's '%s' is no function"):format(key), def.file) end
        backend[key] = function(...) return guarded(fn, ...) end
      end
    end
    refuse(backend, name, given.args)
    backend.build = build(backend.build, name, def.file, emit, told)
    backend.export, backend.close = backend.export or function() end, backend.close or function() end
    return backend
  end
  return module
end

return M
