--- Posit Workbench, and its session component: release builds, and the builds of a branch (preview and
--- daily are the same; `latest` without a branch).
local resolver = require "bakery.resolver"

local RELEASE = "https://posit.co/wp-content/uploads/downloads.json"
local BRANCH = "https://dailies.rstudio.com/rstudio/%s/index.json"

local CODENAMES = { bookworm = "noble", bullseye = "jammy" }
-- product -> key in the release list, key in a branch's index
local KEYS = { workbench = { "server", "workbench" }, ["workbench-session"] = { "session", "session" } }

local function os_key(ctx, os)
  local build_os = os.build_os
  if build_os.name == "ubuntu" then return build_os.codename end
  if build_os.name == "debian" then
    return CODENAMES[build_os.codename] or ctx:none("there are no builds for " .. os.name)
  end
  return build_os.family == "rhel" and "rhel" .. build_os.version or "multi"
end

return resolver.new {
  summary = "Posit Workbench and its sessions: release, preview, daily",
  build = function(ctx, os)
    local key, names = os_key(ctx, os), KEYS[ctx.product] or KEYS.workbench
    if ctx.channel == "release" then
      local entry = ctx:dig_table(ctx:json(RELEASE), RELEASE, "rstudio", "pro", "stable", names[1], "installer", key)
      return { version = ctx:dig_text(entry, RELEASE, "version"), url = ctx:dig_text(entry, RELEASE, "url") }
    end
    local url = BRANCH:format(resolver.encode(ctx.branch or "latest"))
    local platform = key .. "-" .. (os.build_os.family == "rhel" and "x86_64" or "amd64")
    local entry = ctx:dig_table(ctx:json(url), url, "products", names[2], "platforms", platform)
    return { version = ctx:dig_text(entry, url, "version"), url = ctx:dig_text(entry, url, "link") }
  end,
}
