--- Quarto: the current release, the current prerelease when wanted, the last patch of older minors.
local resolver = require "bakery.resolver"

local CURRENT = "https://quarto.org/docs/download/_download.json"
local PRERELEASE = "https://quarto.org/docs/download/_prerelease.json"
local OLDER = "https://raw.githubusercontent.com/quarto-dev/quarto-web/refs/heads/main/docs/download/_download-older.yml"

return resolver.new {
  summary = "Quarto",
  versions = function(ctx)
    local out = { ctx:dig_text(ctx:json(CURRENT), CURRENT, "version") }
    if ctx.prerelease then out[2] = ctx:dig_text(ctx:json(PRERELEASE), PRERELEASE, "version") end
    local list = ctx:yaml(OLDER)
    if list.kind ~= "seq" then ctx:unexpected(OLDER, "no list of releases") end
    for _, item in ipairs(list.items) do
      local title = item.map and item.map.title
      if not title or not title.text then ctx:unexpected(OLDER, ("line %d: no title"):format(item.line)) end
      out[#out + 1] = title.text
    end
    return out
  end,
}
