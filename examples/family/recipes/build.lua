-- The stock recipe `build` with one step more: what was built is written to built.txt, unless
-- `--arg list=no`. `bakery recipes show build --why` shows where each step comes from.
local fs = require "bakery.fs"
local recipe = require "bakery.recipe"

return recipe.extend("stock:build", {
  before = {
    report = { "list", doc = "write the names of what was built to built.txt", function(ctx)
      if ctx.arg.list == "no" then return end
      local lines = {}
      for _, result in ipairs(ctx:good()) do lines[#lines + 1] = result.uid end
      table.sort(lines)
      assert(fs.write("built.txt", table.concat(lines, "\n") .. "\n"))
    end },
  },
})
