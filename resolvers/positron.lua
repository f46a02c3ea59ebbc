--- Positron releases; the current daily build too when prereleases are wanted.
local resolver = require "bakery.resolver"

local RELEASES = "https://cdn.posit.co/positron/releases/pwb/x86_64/all-releases.json"
local DAILY = "https://cdn.posit.co/positron/dailies/pwb/x86_64/releases.json"

return resolver.new {
  summary = "Positron",
  versions = function(ctx)
    local out = {}
    for i, release in ipairs(ctx:dig_table(ctx:json(RELEASES), RELEASES, "releases")) do
      out[i] = ctx:dig_text(release, RELEASES, "version")
    end
    if ctx.prerelease then out[#out + 1] = ctx:dig_text(ctx:json(DAILY), DAILY, "version") end
    return out
  end,
}
