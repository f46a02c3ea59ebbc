--- R versions that Posit builds packages of.
local resolver = require "bakery.resolver"

local URL = "https://cdn.posit.co/r/versions.json"
local MOVING = { devel = true, next = true }

return resolver.new {
  summary = "R, as Posit builds it",
  versions = function(ctx)
    local out = {}
    for _, text in ipairs(ctx:dig_table(ctx:json(URL), URL, "r_versions")) do
      if not MOVING[text] then out[#out + 1] = text end
    end
    return out
  end,
}
