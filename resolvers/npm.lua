--- Releases of an npm package: `from: npm:typescript`, `from: npm:@scope/name`. Deprecated ones do not
--- count.
local resolver = require "bakery.resolver"

return resolver.new {
  summary = "packages on npm: npm:NAME",
  versions = function(ctx)
    local url = "https://registry.npmjs.org/" .. ctx:pattern():gsub("/", "%%2F")
    local doc = ctx:json(url, { accept = "application/vnd.npm.install-v1+json" })
    local out = {}
    for text, release in pairs(ctx:dig_table(doc, url, "versions")) do
      local prerelease = text:gsub("%+.*", ""):find("-", 1, true)
      if (ctx.prerelease or not prerelease) and not (type(release) == "table" and release.deprecated) then
        out[#out + 1] = text
      end
    end
    table.sort(out)
    return ctx:versions_of(out)
  end,
}
