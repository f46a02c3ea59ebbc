--- Go releases, without the `go` in front: 1.24.1.
local resolver = require "bakery.resolver"

local URL = "https://go.dev/dl/?mode=json&include=all"

return resolver.new {
  summary = "Go",
  versions = function(ctx)
    local list, out = ctx:json(URL), {}
    if type(list) ~= "table" then ctx:unexpected(URL, "no list of releases") end
    for _, release in ipairs(list) do
      if release.stable or ctx.prerelease then
        out[#out + 1] = (ctx:dig_text(release, URL, "version"):gsub("^go", ""))
      end
    end
    return ctx:versions_of(out)
  end,
}
