--- Recipes: a named list of named steps over a context. A recipe file returns `recipe.new{…}`, or
--- `recipe.extend("stock:build", {…})` to change single steps of another one.
---
---   local recipe = require "bakery.recipe"
---   return recipe.extend("stock:build", {
---     steps  = { push = function(base, ctx) print("pushing"); return base(ctx) end },
---     before = { build = { "notice", function(ctx) ctx.say("starting") end } },
---     after  = { build = { "scan", function(ctx) … end } },
---     remove = { "report" },
---   })
local scripts = require "bakery.scripts"
local nearest = require("bakery.suggest").nearest

local M = {}

local NEEDS = { project = true, plan = true, backend = true, results = true }

---@class bakery.recipe.step
---@field name string
---@field run fun(ctx: table): any
---@field doc string|nil
---@field origins table[] newest first: { file=, line=, how="defined"|"wrapped"|"inserted" }

---@class bakery.recipe.definition
---@field name string
---@field summary string
---@field options table[] option tables as on the command line (name, type, default, help …)
---@field needs string[] what must be ready before the first step: project, plan, backend, results
---@field steps bakery.recipe.step[]
local Recipe = {}
Recipe.__index = Recipe
Recipe.__name = "bakery.recipe"

local shelf = scripts.shelf("recipe", "recipes")

local function fail(message, where)
  error({ class = "usage", code = "recipe", message = message, where = where }, 0)
end

local function origin(fn, how)
  local info = debug.getinfo(fn, "S")
  return { file = info.short_src, line = info.linedefined, how = how }
end

local function caller()
  for level = 3, 12 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.currentline > 0 and not info.short_src:find("bakery/recipe.lua", 1, true) then
      return info.short_src .. ":" .. info.currentline
    end
  end
end

local function step_from(entry, how)
  local name, fn = entry.name or entry[1], entry.run or entry[2]
  if type(name) ~= "string" or type(fn) ~= "function" then
    fail("a step must be { \"name\", function(ctx) … end, doc = … }", caller())
  end
  return { name = name, run = fn, doc = entry.doc, origins = { origin(fn, how) } }
end

local function check_keys(t, known, what)
  for key in pairs(t) do
    if not known[key] then
      local names = {}
      for k in pairs(known) do names[#names + 1] = k end
      local near = type(key) == "string" and nearest(key, names)
      fail(("unknown key '%s' in %s%s"):format(tostring(key), what,
        near and (" (did you mean '" .. near .. "'?)") or ""), caller())
    end
  end
end

--- Makes a recipe.
---@param def table { name=, summary=, options=, needs=, steps={ {name, fn, doc=}, … } }
---@return bakery.recipe.definition
function M.new(def)
  check_keys(def, { name = 1, summary = 1, description = 1, options = 1, needs = 1, steps = 1 }, "recipe.new")
  local self = setmetatable({ name = def.name, summary = def.summary or "", description = def.description,
    options = def.options or {}, needs = def.needs or {}, steps = {} }, Recipe)
  for _, need in ipairs(self.needs) do
    if not NEEDS[need] then fail("unknown need '" .. tostring(need) .. "' (project, plan, backend, results)", caller()) end
  end
  local seen = {}
  for _, entry in ipairs(def.steps or fail("a recipe needs `steps`", caller())) do
    local step = step_from(entry, "defined")
    if seen[step.name] then fail("step '" .. step.name .. "' is defined twice", caller()) end
    seen[step.name] = true
    self.steps[#self.steps + 1] = step
  end
  return self
end

--- Index of a step, or nil.
---@param name string
---@return integer|nil
function Recipe:index(name)
  for i, s in ipairs(self.steps) do if s.name == name then return i end end
end

local function need_index(self, name)
  local i = self:index(name)
  if i then return i end
  local names = {}
  for _, s in ipairs(self.steps) do names[#names + 1] = s.name end
  local near = nearest(name, names)
  fail(("recipe '%s' has no step '%s'%s; its steps: %s"):format(self.name or "?", name,
    near and (" (did you mean '" .. near .. "'?)") or "", table.concat(names, ", ")), caller())
end

local function entries(value)
  if type(value) == "function" then return { { "custom", value } } end
  if type(value[1]) == "table" or type(value[1]) == "nil" and value.name == nil then return value end
  return { value }
end

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t or {}) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

--- A copy of another recipe with changed steps. `steps` replaces or wraps: the function gets the
--- previous one as `base`. `before` and `after` insert one step or a list of steps.
---@param base string|bakery.recipe.definition recipe name ("stock:build") or a definition
---@param changes table { summary=, options=, needs=, steps={ name=function(base, ctx) }, before={}, after={}, remove={} }
---@return bakery.recipe.definition
function M.extend(base, changes)
  check_keys(changes, { name = 1, summary = 1, description = 1, options = 1, needs = 1, steps = 1,
    before = 1, after = 1, remove = 1 }, "recipe.extend")
  local from = type(base) == "string" and M.load(base) or base
  local self = setmetatable({ name = changes.name or from.name, summary = changes.summary or from.summary,
    description = changes.description or from.description, options = {}, needs = {}, steps = {},
    extends = type(base) == "string" and base or from.name }, Recipe)
  table.move(from.options, 1, #from.options, 1, self.options)
  table.move(from.needs, 1, #from.needs, 1, self.needs)
  for _, o in ipairs(changes.options or {}) do
    local at = #self.options + 1
    for i, old in ipairs(self.options) do if old.name == o.name then at = i end end
    self.options[at] = o
  end
  for _, need in ipairs(changes.needs or {}) do self.needs[#self.needs + 1] = need end
  for i, s in ipairs(from.steps) do
    self.steps[i] = { name = s.name, run = s.run, doc = s.doc, origins = table.move(s.origins, 1, #s.origins, 1, {}) }
  end
  for _, name in ipairs(sorted_keys(changes.steps)) do
    local fn = changes.steps[name]
    local step = self.steps[need_index(self, name)]
    if type(fn) ~= "function" then fail("steps." .. name .. ": expected function(base, ctx)", caller()) end
    local previous = step.run
    step.run = function(ctx) return fn(previous, ctx) end
    table.insert(step.origins, 1, origin(fn, "wrapped"))
  end
  for _, place in ipairs { "before", "after" } do
    for _, name in ipairs(sorted_keys(changes[place])) do
      local offset = place == "after" and 1 or 0
      for k, entry in ipairs(entries(changes[place][name])) do
        local step = step_from(entry, "inserted " .. place .. " " .. name)
        if self:index(step.name) then step.name = step.name .. "-" .. place .. "-" .. name end
        local at = need_index(self, name)
        table.insert(self.steps, place == "after" and at + k or at + offset, step)
      end
    end
  end
  for _, name in ipairs(changes.remove or {}) do table.remove(self.steps, need_index(self, name)) end
  return self
end

--- Told by the program: where recipes are found.
---@see bakery.scripts.shelf.configure
function M.configure(opts) shelf:configure(opts) end

--- Every place a recipe of this name exists, winning one first.
---@param name string "build" or "stock:build"
---@return bakery.scripts.found[]
function M.which(name) return shelf:which(name) end

--- Loads a recipe by name; "stock:NAME" is always the shipped one.
---@param name string
---@return bakery.recipe.definition
function M.load(name)
  return shelf:load(name, function(value, it)
    if type(value) ~= "table" then fail("a recipe file must return recipe.new{…} or recipe.extend(…)", it.file) end
    return getmetatable(value) == Recipe and value or M.new(value)
  end)
end

--- All recipes that can be run by name: { name=, kind=, file=, shadows=n } sorted by name.
---@return table[]
function M.list() return shelf:list() end

--- Runs the steps in order. `ctx.on_step(step, "start"|"done"|"failed", seconds)` is told, when there.
--- A step ends the recipe early by returning the string "stop".
---@param def bakery.recipe.definition
---@param ctx table
function M.run(def, ctx)
  local now = require("bakery.loop").now
  for _, step in ipairs(def.steps) do
    local started = now()
    if ctx.on_step then ctx.on_step(step, "start", 0) end
    local ok, result = xpcall(step.run, function(e)
      if type(e) == "string" and ctx.debug then return debug.traceback(e, 2) end
      return e
    end, ctx)
    if ctx.on_step then ctx.on_step(step, ok and "done" or "failed", now() - started) end
    if not ok then
      if type(result) == "string" then
        result = scripts.raised(result, { class = "build", code = "recipe.step", prefix = ("step '%s': "):format(step.name) })
      end
      error(result, 0)
    end
    if result == "stop" then break end
  end
end

return M
