--- Stock recipe `test`: runs the checks (test/goss.yaml beside the Containerfile) of built images, in
--- throw-away copies of them.
local recipe = require "bakery.recipe"

return recipe.new {
  summary = "run the checks of built images",
  needs = { "plan", "backend" },
  options = {
    { name = "reproducible", type = "flag", help = "as given to build" },
    { name = "network", type = "enum", choices = { "host", "none", "private" }, default = "host", help = "network of the checks" },
    { name = "require", type = "flag", help = "a target without checks is a failure" },
  },
  steps = {
    { "load", function(ctx) ctx:load_results() end, doc = "find the results of the last build" },
    { "render", function(ctx) ctx:render_ephemeral() end, doc = "write the files of development versions" },
    { "test", function(ctx)
      local failed, total = 0, 0
      for _, result in ipairs(ctx.results) do
        local outcome = ctx:check_image(result)
        if not outcome and ctx.args.require then
          ctx:fail_later("test", result.uid .. ": has no test/goss.yaml")
        end
        local mine = { total = 0, failed = 0 }
        for _, r in ipairs(outcome or {}) do
          mine.total = mine.total + 1
          if not r.ok then mine.failed = mine.failed + 1 end
        end
        mine.ok = mine.failed == 0
        total, failed = total + mine.total, failed + mine.failed
        if outcome then ctx:verdict("test", result, mine) end
        ctx:record(result)
      end
      ctx.say(("%d checks, %d failed"):format(total, failed))
      if failed > 0 then ctx:fail_later("test", failed .. " of " .. total .. " checks failed") end
    end, doc = "evaluate each image's goss file" },
  },
}
