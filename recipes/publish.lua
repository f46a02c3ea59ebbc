--- Stock recipe `publish`: push what was built, by digest first; tags move only when every target of
--- the selection has arrived.
local recipe = require "bakery.recipe"

return recipe.new {
  summary = "push built images by digest, then set their tags",
  needs = { "plan", "backend" },
  options = {
    { name = "dry-run", type = "flag", help = "show what would be pushed and tagged" },
    { name = "require", type = "list", metavar = "test|lint|scan", env = "BAKERY_PUBLISH_REQUIRE",
      help = "publish only images that have this verdict, and a good one (repeatable)" },
    { name = "results-from", type = "list", metavar = "FILE", complete = "file",
      help = "take verdicts from this results document of another run as well (repeatable)" },
    { name = "keep-going", short = "k", type = "flag", help = "publish the other targets when one fails" },
    { name = "resume", type = "flag", help = "set the remaining tags of a publish that stopped half-way" },
    { name = "rollback", type = "flag", help = "restore what the tags of such a publish showed before" },
    { name = "journal", type = "string", metavar = "ID", help = "with --resume or --rollback: that publish, finished or not" },
    { name = "compression", type = "enum", choices = { "gzip", "zstd", "none" }, default = "gzip", help = "of layers" },
    { name = "compression-level", type = "int", min = 1, help = "its level [default: 6, zstd 3]" },
    { name = "reproducible", type = "flag", help = "as given to build" },
    { name = "metadata-file", type = "string", metavar = "FILE", complete = "file",
      help = "write build metadata in the shape of buildx" },
    { name = "sign-key", type = "string", metavar = "FILE", env = "BAKERY_SIGN_KEY", complete = "file",
      help = "sign with this key (cosign's files, or env://NAME), provenance included" },
    { name = "provenance", type = "switch", help = "attach SLSA provenance; unsigned without a key [default: with a key]" },
    { name = "attest-results", type = "list", metavar = "FILE", complete = "file",
      help = "attach the test results of this results document (repeatable)" },
    { name = "summary", type = "switch", default = true,
      help = "--summary: table of sizes, tags and layers; without it a short one; --no-summary: none" },
    { name = "summary-format", type = "enum", choices = { "table", "json" }, default = "table",
      help = "table on standard error or JSON on standard output, for `ci summary`" },
  },
  steps = {
    { "recover", function(ctx)
      if ctx.args.resume or ctx.args.rollback then
        ctx:recover_publish()
        return "stop"
      end
      ctx:refuse_unfinished_publish()
    end, doc = "--resume, --rollback" },
    { "load", function(ctx)
      if not ctx.args.dry_run then ctx:sign(true) end -- keys and passwords before anything is sent
      ctx:load_results()
    end, doc = "find the results of the last build" },
    { "gates", function(ctx)
      if ctx.args.require and not ctx:gates(ctx.results, ctx.args.require) then
        ctx.warn "nothing was published"
        return "stop"
      end
    end, doc = "required verdicts of tests, lint and scans" },
    { "soci", function(ctx)
      if not ctx.args.dry_run then ctx:soci() end
    end, doc = "make the SOCI indexes of targets that want them" },
    { "stage", function(ctx)
      if ctx.args.dry_run then
        for _, r in ipairs(ctx:good()) do
          for _, tag in ipairs(r.tags) do ctx.say("would push " .. r.uid .. " as " .. tag) end
        end
        return "stop"
      end
      ctx:stage(ctx:good())
    end, doc = "push all content by digest" },
    { "sign", function(ctx) ctx:sign() end, doc = "sign and attest, before any tag names it" },
    { "tag", function(ctx)
      ctx:set_tags(ctx:good())
      for _, r in ipairs(ctx.results) do ctx:record(r) end
    end, doc = "set the tags" },
    { "report", function(ctx) ctx:report() end, doc = "metadata file and summary" },
  },
}
