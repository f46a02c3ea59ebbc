--- Posit Connect: release and daily builds.
local resolver = require "bakery.resolver"

local RELEASE = "https://posit.co/wp-content/uploads/downloads.json"
local DAILY = "https://cdn.posit.co/connect/latest-packages.json"

-- Debian takes the packages of the Ubuntu release of its age.
local CODENAMES = { jammy = "jammy", noble = "noble", resolute = "resolute", bookworm = "noble", bullseye = "jammy" }
local RHEL = { ["8"] = "redhat8", ["9"] = "rhel9", ["10"] = "multi" }

local function release_key(ctx, os)
  local build_os = os.build_os
  if build_os.family == "debian" then
    return CODENAMES[build_os.codename] or ctx:none("there are no builds for " .. os.name)
  end
  return build_os.family == "rhel" and RHEL[build_os.version] or "multi"
end

local function daily_key(os)
  local build_os = os.build_os
  local major = build_os.version:match "^%d*"
  if build_os.family == "rhel" then
    return (major == "8" or major == "9") and "el" .. major .. "/x86_64" or build_os.name .. major .. "/x86_64"
  end
  if build_os.name == "debian" then return ("ubuntu%d/amd64"):format(2 * tonumber(major)) end
  return build_os.name .. major .. "/amd64"
end

local channels = {}

function channels.release(ctx, os)
  local doc, key = ctx:json(RELEASE), release_key(ctx, os)
  local entry = ctx:dig_table(doc, RELEASE, "connect", "installer", key)
  return { version = ctx:dig_text(entry, RELEASE, "version"), url = ctx:dig_text(entry, RELEASE, "url") }
end

function channels.daily(ctx, os)
  local key = daily_key(os)
  for _, package in ipairs(ctx:dig_table(ctx:json(DAILY), DAILY, "packages")) do
    if package.platform == key then
      return { version = ctx:dig_text(package, DAILY, "version"), url = ctx:dig_text(package, DAILY, "url") }
    end
  end
  ctx:none(("%s: no package for %s"):format(DAILY, key))
end

return resolver.new {
  summary = "Posit Connect: release, daily",
  build = function(ctx, os)
    local channel = channels[ctx.channel] or ctx:none("there is no " .. ctx.channel .. " channel")
    return channel(ctx, os)
  end,
}
