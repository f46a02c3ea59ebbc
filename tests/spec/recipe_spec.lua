local recipe = require "bakery.recipe"

local function names(def)
  local out = {}
  for i, s in ipairs(def.steps) do out[i] = s.name end
  return table.concat(out, " ")
end

local function base()
  return recipe.new { name = "b", summary = "s", options = { { name = "x", type = "int" } }, steps = {
    { "one", function(ctx) ctx.log[#ctx.log + 1] = "one" end, doc = "first" },
    { "two", function(ctx) ctx.log[#ctx.log + 1] = "two" return ctx.answer end },
    { "three", function(ctx) ctx.log[#ctx.log + 1] = "three" end },
  } }
end

local function run(def, ctx)
  ctx = ctx or {}
  ctx.log = {}
  recipe.run(def, ctx)
  return table.concat(ctx.log, " ")
end

describe("recipe", function()
  it("runs its steps in order and stops when one says so", function()
    assert.equal("one two three", run(base()))
    assert.equal("one two", run(base(), { answer = "stop" }))
  end)

  it("replaces, wraps, inserts and removes steps without touching the base", function()
    local from = base()
    local def = recipe.extend(from, {
      steps = { two = function(previous, ctx)
        ctx.log[#ctx.log + 1] = "<"
        previous(ctx)
        ctx.log[#ctx.log + 1] = ">"
      end },
      before = { one = { "zero", function(ctx) ctx.log[#ctx.log + 1] = "zero" end } },
      after = { one = { { "a", function(ctx) ctx.log[#ctx.log + 1] = "a" end }, { "b", function(ctx) ctx.log[#ctx.log + 1] = "b" end } } },
      remove = { "three" },
      options = { { name = "x", type = "string" }, { name = "y", type = "flag" } },
    })
    assert.equal("zero one a b two", names(def))
    assert.equal("zero one a b < two >", run(def))
    assert.equal("one two three", names(from))
    assert.equal("string", def.options[1].type)
    assert.equal(2, #def.options)
  end)

  it("extends an extension", function()
    local first = recipe.extend(base(), { steps = { one = function(b, ctx) ctx.log[#ctx.log + 1] = "1" b(ctx) end } })
    local second = recipe.extend(first, { steps = { one = function(b, ctx) ctx.log[#ctx.log + 1] = "2" b(ctx) end } })
    assert.equal("2 1 one two three", run(second))
    assert.equal(3, #second.steps[1].origins)
    assert.equal("wrapped", second.steps[1].origins[1].how)
    assert.equal("defined", second.steps[1].origins[3].how)
  end)

  it("refuses mistakes with the nearest name", function()
    local function message(fn)
      local ok, err = pcall(fn)
      assert.is_false(ok)
      assert.equal("usage", err.class)
      return err.message
    end
    assert.truthy(message(function() recipe.extend(base(), { steps = { tow = function() end } }) end):find("did you mean 'two'", 1, true))
    assert.truthy(message(function() recipe.extend(base(), { stpes = {} }) end):find("did you mean 'steps'", 1, true))
    local twice = { { "a", function() end }, { "a", function() end } }
    assert.truthy(message(function() recipe.new { steps = twice } end):find("twice", 1, true))
    assert.truthy(message(function() recipe.new { steps = {}, needs = { "plans" } } end):find("unknown need", 1, true))
    message(function() recipe.new {} end)
    message(function() recipe.load "no-such" end)
    message(function() recipe.load "../evil" end)
  end)

  it("turns a step's plain error into an error object that names the step and the line", function()
    local def = recipe.new { name = "b", steps = { { "boom", function() error "bad" end } } }
    local ok, err = pcall(recipe.run, def, {})
    assert.is_false(ok)
    assert.truthy(err.message:find("step 'boom': bad", 1, true))
    assert.truthy(err.where:find "recipe_spec.lua:%d+$")
  end)

  it("searches directories in order and always finds the stock one", function()
    local fs = require "bakery.fs"
    local dir = assert(fs.tmpdir "recipes")
    assert(fs.write(dir .. "/r.lua", "local recipe = require 'bakery.recipe'\nreturn recipe.extend('stock:r', { summary = 'mine' })"))
    recipe.configure { dirs = { { path = dir, kind = "project", label = "recipes" } }, shipped_names = { "r" },
      shipped = function(n) return n == "r" and "return require('bakery.recipe').new { summary = 'stock', steps = {} }" or nil end }
    assert.equal("mine", recipe.load("r").summary)
    assert.equal("stock", recipe.load("stock:r").summary)
    assert.equal(1, recipe.list()[1].shadows)
    assert.equal("recipes/r.lua", recipe.load("r").file)
    fs.remove(dir, { recursive = true })
    recipe.configure { dirs = {}, shipped = function() end, shipped_names = {} }
  end)
end)
