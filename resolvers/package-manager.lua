--- Posit Package Manager: release, preview and daily builds.
local resolver = require "bakery.resolver"

local RELEASE = "https://posit.co/wp-content/uploads/downloads.json"
local TEXTS = {
  preview = "https://cdn.posit.co/package-manager/deb/amd64/rstudio-pm-rc-latest.txt",
  daily = "https://cdn.posit.co/package-manager/deb/amd64/rstudio-pm-main-latest.txt",
}
local CODENAMES = { jammy = "jammy", bullseye = "jammy" }
local RHEL = { ["8"] = "fedora28", ["9"] = "rhel9", ["10"] = "multi" }

local function release_key(ctx, os)
  local build_os = os.build_os
  local major = tonumber(build_os.version:match "^%d+" or 0)
  if build_os.name == "ubuntu" and major > 22 or build_os.name == "debian" and major > 11 then return "ubuntu64" end
  if build_os.family == "debian" then
    return CODENAMES[build_os.codename] or ctx:none("there are no builds for " .. os.name)
  end
  return build_os.family == "rhel" and RHEL[build_os.version] or "multi"
end

local function package_url(os, version)
  local build_os = os.build_os
  local arch, suffix = build_os.family == "rhel" and "x86_64" or "amd64", build_os.package_suffix
  return ("https://cdn.posit.co/package-manager/%s/%s/rstudio-pm%s%s%s%s.%s"):format(suffix, arch,
    build_os.version_separator, resolver.encode(version), build_os.arch_separator, arch, suffix)
end

local function newest(ctx) return (ctx:text(TEXTS[ctx.channel]):match "^%s*(.-)%s*$") end

return resolver.new {
  summary = "Posit Package Manager: release, preview, daily",
  build = function(ctx, os)
    if TEXTS[ctx.channel] then
      local version = newest(ctx)
      return { version = version, url = package_url(os, version) }
    end
    local entry = ctx:dig_table(ctx:json(RELEASE), RELEASE, "rspm", "installer", release_key(ctx, os))
    return { version = ctx:dig_text(entry, RELEASE, "version"), url = ctx:dig_text(entry, RELEASE, "url") }
  end,
  -- Packages are found by name: no list has to know the version.
  pinned = function(ctx, os)
    if TEXTS[ctx.channel] then
      return { version = ctx.pin, url = package_url(os, ctx.pin), newest = newest(ctx) }
    end
  end,
}
