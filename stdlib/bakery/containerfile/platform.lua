-- os[/arch[/variant]] with the usual aliases.
local platform = {}

local ARCH = {
  ["x86_64"] = "amd64", ["x86-64"] = "amd64", i386 = "386", i486 = "386", i586 = "386",
  i686 = "386", aarch64 = "arm64", armhf = "arm", armel = "arm", armv5 = "arm", armv6 = "arm",
  armv7 = "arm", armv8 = "arm64", powerpc64le = "ppc64le", mips64el = "mips64le",
}
local VARIANT = { armhf = "v7", armel = "v6", armv5 = "v5", armv6 = "v6", armv7 = "v7" }
local OS = { macos = "darwin" }

local KNOWN_OS = {}
for name in ("aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 "
  .. "solaris wasip1 windows zos"):gmatch("%S+") do
  KNOWN_OS[name] = true
end

---@class bakery.containerfile.platform
---@field os string
---@field architecture string
---@field variant? string

---@param os string
---@param arch string
---@param variant? string
---@return bakery.containerfile.platform
local function normal(os, arch, variant)
  os, arch = os:lower(), arch:lower()
  variant = variant and variant ~= "" and variant:lower() or nil
  local given = arch
  os, arch = OS[os] or os, ARCH[arch] or arch
  variant = variant or VARIANT[given]
  if variant and variant:find("^%d+$") then variant = "v" .. variant end
  if arch == "arm" then
    variant = variant or "v7"
  elseif arch == "arm64" and variant == "v8" or arch == "amd64" and variant == "v1" then
    variant = nil
  end
  return { os = os, architecture = arch, variant = variant }
end

---Parses and normalises; nil when the text is no platform.
---@param s string
---@param default_arch? string taken when only an operating system is given
---@return bakery.containerfile.platform|nil
function platform.parse(s, default_arch)
  local parts = {}
  for part in (s .. "/"):gmatch("([^/]*)/") do
    if not part:find("^[%w_.-]+$") then return nil end
    parts[#parts + 1] = part
  end
  if #parts > 3 then return nil end
  if #parts == 1 then
    if KNOWN_OS[OS[parts[1]:lower()] or parts[1]:lower()] then
      return normal(parts[1], default_arch or "amd64")
    end
    return normal("linux", parts[1])
  end
  return normal(parts[1], parts[2], parts[3])
end

---@param p bakery.containerfile.platform
function platform.format(p)
  return p.os .. "/" .. p.architecture .. (p.variant and "/" .. p.variant or "")
end

---Canonical text of a platform, or nil.
---@param s string
---@param default_arch? string
---@return string|nil
function platform.canonical(s, default_arch)
  local p = platform.parse(s, default_arch)
  return p and platform.format(p)
end

return platform
