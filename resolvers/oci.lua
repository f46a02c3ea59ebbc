--- Tags of a repository in a container registry that are versions: `from: oci:docker.io/library/debian`.
--- `oci:docker.io/library/python#*-slim` takes tags of that form only; the version stands at the `*`.
local resolver = require "bakery.resolver"

return resolver.new {
  summary = "tags in a container registry: oci:HOST/REPOSITORY",
  versions = function(ctx)
    local repository, pick = ctx:pattern()
    local out = {}
    for _, tag in ipairs(ctx:tags(repository)) do out[#out + 1] = pick(tag) end
    return ctx:versions_of(out)
  end,
}
