--- Node.js releases. `from: node:lts` keeps long-term support lines only.
local resolver = require "bakery.resolver"

local URL = "https://nodejs.org/dist/index.json"

return resolver.new {
  summary = "Node.js; node:lts keeps long-term support releases",
  versions = function(ctx)
    local lts, list = ctx.argument == "lts", ctx:json(URL)
    if ctx.argument and not lts then
      ctx:none(("node:%s is unknown; node and node:lts are there"):format(ctx.argument))
    end
    if type(list) ~= "table" then ctx:unexpected(URL, "no list of releases") end
    local out = {}
    for _, release in ipairs(list) do
      if not lts or release.lts then out[#out + 1] = (ctx:dig_text(release, URL, "version"):gsub("^v", "")) end
    end
    return ctx:versions_of(out)
  end,
}
