--- The session component of Posit Workbench: see workbench.lua.
local resolver = require "bakery.resolver"

return resolver.extend("workbench", { summary = "Posit Workbench sessions: release, preview, daily" })
