--- Stock recipe `sign`: sign images of the last build that have been published.
local recipe = require "bakery.recipe"

return recipe.new {
  summary = "sign and attest published images of the last build",
  needs = { "plan", "backend" },
  options = {
    { name = "sign-key", type = "string", metavar = "FILE", env = "BAKERY_SIGN_KEY", complete = "file",
      help = "sign with this key (cosign's files, or env://NAME), provenance included" },
    { name = "provenance", type = "switch", help = "attach SLSA provenance; unsigned without a key [default: with a key]" },
    { name = "attest-results", type = "list", metavar = "FILE", complete = "file",
      help = "attach the test results of this results document (repeatable)" },
    { name = "compression", type = "enum", choices = { "gzip", "zstd", "none" }, default = "gzip", help = "as given to publish" },
    { name = "compression-level", type = "int", min = 1, help = "as given to publish" },
    { name = "reproducible", type = "flag", help = "as given to build" },
    { name = "summary", type = "switch", default = true, help = "print the summary table" },
  },
  steps = {
    { "load", function(ctx)
      if not ctx.args.sign_key and not ctx.args.provenance and not ctx.args.attest_results then
        ctx.fail { class = "usage", code = "usage", message = "nothing to sign with", hint = "--sign-key FILE" }
      end
      ctx:sign(true)
      ctx:load_results()
    end, doc = "find key and results of the last build" },
    { "soci", function(ctx) ctx:soci() end, doc = "make the digests that were published" },
    { "sign", function(ctx)
      ctx:published()
      ctx:sign()
      for _, r in ipairs(ctx.results) do ctx:record(r) end
    end, doc = "sign and attest" },
    { "report", function(ctx) ctx:report() end, doc = "summary" },
  },
}
