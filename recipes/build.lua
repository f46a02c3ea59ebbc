--- Stock recipe `build`: plan, build every target, write outputs, push, report.
local recipe = require "bakery.recipe"

return recipe.new {
  summary = "build the selected targets",
  needs = { "plan", "backend" },
  options = {
    { name = "plan", type = "flag", help = "print the plan as JSON and stop" },
    { name = "push", type = "switch", default = false, help = "push every target's tags when all were built" },
    { name = "load", type = "switch", help = "load into docker or podman [default: only with --backend buildx]" },
    { name = "output", short = "o", type = "list", metavar = "KIND:PATH", complete = "file",
      help = "also write the images there (repeatable): oci:DIR, docker-archive:FILE, the files as local:DIR or tar:FILE, "
        .. "or as buildx writes it (type=local,dest=DIR)" },
    { name = "fail-fast", type = "flag", help = "stop everything at the first failure" },
    { name = "keep-going", short = "k", type = "flag", help = "push what was built although other targets failed" },
    { name = "shell-on-failure", type = "flag", help = "open a shell where a RUN failed (needs a terminal)" },
    { name = "retry", type = "int", default = 0, min = 0, help = "further attempts for a failed target, 5 seconds apart" },
    { name = "cache", type = "switch", default = true, help = "use results of earlier builds" },
    { name = "pull", type = "switch", default = false, help = "look base images up in their registry again" },
    { name = "network", type = "enum", choices = { "host", "none", "private" }, default = "host",
      help = "network of RUN; private: one of its own, by slirp4netns" },
    { name = "security", type = "enum", choices = { "default", "strict" }, default = "default",
      help = "strict: no-new-privileges in RUN (sudo stops working)" },
    { name = "reproducible", type = "flag", help = "clamp all times to the commit's (same inputs, same digests)" },
    { name = "compression", type = "enum", choices = { "gzip", "zstd", "none" }, default = "gzip",
      help = "of layers that are exported" },
    { name = "compression-level", type = "int", min = 1, help = "its level [default: 6, zstd 3]" },
    { name = "format", type = "enum", choices = { "oci", "docker" }, default = "oci", help = "media types of manifests and layers" },
    { name = "build-arg", type = "list", metavar = "NAME[=VALUE]",
      help = "value of an ARG; without a value that of the environment (repeatable)" },
    { name = "build-context", type = "list", metavar = "NAME=WHERE",
      help = "what COPY --from=NAME and FROM NAME mean: a directory, docker-image://REF, oci-layout://DIR[:TAG], target:UID, "
        .. "a git or https URL (repeatable)" },
    { name = "secret", type = "list", metavar = "id=ID[,src=FILE|env=VAR]",
      help = "secret for RUN --mount=type=secret (repeatable)" },
    { name = "ssh", type = "list", metavar = "ID[=SOCKET|KEY]",
      help = "agent or keys for RUN --mount=type=ssh; `default` is $SSH_AUTH_SOCK (repeatable)" },
    { name = "target", type = "string", metavar = "STAGE", help = "build this stage" },
    { name = "label", type = "list", metavar = "NAME=VALUE", help = "label of the images (repeatable)" },
    { name = "annotation", type = "list", metavar = "[LEVEL:]NAME=VALUE",
      help = "annotation; LEVEL is manifest, index, manifest-descriptor or index-descriptor (repeatable)" },
    { name = "add-host", type = "list", metavar = "NAME:ADDRESS", help = "line of /etc/hosts in RUN (repeatable)" },
    { name = "shm-size", type = "string", metavar = "SIZE", help = "size of /dev/shm in RUN [default: 64m]" },
    { name = "ulimit", type = "list", metavar = "NAME=SOFT[:HARD]", help = "resource limit in RUN (repeatable)" },
    { name = "no-cache-filter", type = "list", metavar = "STAGE", help = "run these stages again (repeatable)" },
    { name = "metadata-file", type = "string", metavar = "FILE", complete = "file",
      help = "write build metadata in the shape of buildx" },
    { name = "cache-registry", type = "string", metavar = "REPO",
      help = "step cache in a registry: read REPO/IMAGE/cache, with --push write it" },
    { name = "cache-from", type = "list", metavar = "REF", help = "read the step cache (or image) REF as well (repeatable)" },
    { name = "cache-to", type = "list", metavar = "REF", help = "write the step cache REF; type=inline: into the image itself" },
    { name = "cache-ttl", type = "int", min = 1, metavar = "DAYS", help = "do not use caches in registries older than that" },
    { name = "temp-registry", type = "string", metavar = "REPO", help = "push by digest to REPO/IMAGE/tmp instead of tagging" },
    { name = "clean", type = "switch", default = true, help = "remove temporary files" },
    { name = "strategy", type = "enum", choices = { "bake", "build" }, default = "bake",
      help = "buildx: one bake call, or a build call for each target (the embedded builder does both at once)" },
    { name = "summary", type = "switch", default = true,
      help = "--summary: table of sizes, tags and layers; without it a short one; --no-summary: none" },
    { name = "summary-format", type = "enum", choices = { "table", "json" }, default = "table",
      help = "table on standard error or JSON on standard output, for `ci summary`" },
  },
  steps = {
    { "plan", function(ctx)
      if ctx.args.plan then
        ctx:print_plan()
        return "stop"
      end
      if ctx.args.push then ctx:refuse_unfinished_publish() end
      ctx.say(("%d target%s"):format(#ctx.plan.order, #ctx.plan.order == 1 and "" or "s"))
    end, doc = "compute the plan" },
    { "render", function(ctx) ctx:render_ephemeral() end, doc = "write the files of development versions" },
    { "build", function(ctx)
      local todo, attempt = nil, 0
      repeat
        for _, r in ipairs(ctx.backend:build(ctx.plan, { only = todo, fail_fast = ctx.args.fail_fast,
          push = ctx.args.push, on_result = function(r) ctx:record(r) end })) do
          ctx:record(r)
        end
        todo = {}
        for _, r in ipairs(ctx:bad()) do
          -- What the user has to mend is not tried again.
          if type(r.error) ~= "table" or r.error.class ~= "usage" then todo[#todo + 1] = r.uid end
        end
        attempt = attempt + 1
        if #todo > 0 and attempt <= ctx.args.retry then
          ctx.warn(("attempt %d of %d failed for %s"):format(attempt, ctx.args.retry + 1, table.concat(todo, ", ")))
          ctx:pause()
        end
      until #todo == 0 or attempt > ctx.args.retry
    end, doc = "build all targets" },
    { "export", function(ctx)
      for _, spec in ipairs(ctx.args.output or {}) do
        if #ctx:good() > 0 then
          ctx.backend:export(ctx:good(), spec)
          ctx.say("wrote " .. spec)
        end
      end
      if ctx.args.load and ctx.backend.load_into_engine and #ctx:good() > 0 then
        ctx.say("loaded into " .. ctx.backend:load_into_engine(ctx:good()))
      end
    end, doc = "write --output, --load" },
    { "push", function(ctx)
      if not ctx.args.push or ctx.backend.pushes_itself then return end
      if #ctx:bad() > 0 and not ctx.args.keep_going then
        ctx.warn("nothing was pushed because a target failed (--keep-going pushes the others)")
        return
      end
      ctx:stage(ctx:good())
      if not ctx.args.temp_registry then ctx:set_tags(ctx:good()) end
      for _, r in ipairs(ctx:good()) do ctx:record(r) end
    end, doc = "push content by digest, then the tags" },
    { "cache", function(ctx)
      if ctx.backend.export_cache then ctx.backend:export_cache(ctx.plan, ctx:good()) end
    end, doc = "write step caches to registries" },
    { "report", function(ctx)
      ctx:report()
      ctx:conclude()
    end, doc = "metadata file, summary, failures" },
  },
}
