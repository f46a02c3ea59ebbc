--- The build operating system that is inferred from an `os` entry's name: Image.OS in templates,
--- package file naming, product download platforms.
local M = {}

local function numbered(family, rows)
  local entry = { family = family, versions = {} }
  for major, row in pairs(rows) do
    entry.versions[major] = { version = row[1], codename = row[2] }
    entry.newest = math.max(entry.newest or 0, major)
  end
  return entry
end

local RHEL = { [10] = { "10" }, [9] = { "9" }, [8] = { "8" } }
local SYSTEMS = {
  ubuntu = numbered("debian", {
    [26] = { "26.04", "resolute" },
    [24] = { "24.04", "noble" },
    [22] = { "22.04", "jammy" },
  }),
  debian = numbered("debian", {
    [13] = { "13", "trixie" },
    [12] = { "12", "bookworm" },
    [11] = { "11", "bullseye" },
  }),
  rhel = numbered("rhel", RHEL),
  alma = numbered("rhel", RHEL),
  rocky = numbered("rhel", RHEL),
  scratch = { family = "unknown", unversioned = true },
  unknown = { family = "unknown", unversioned = true },
}

local ALIASES = {
  redhat = "rhel",
  ["red hat"] = "rhel",
  rh = "rhel",
  el = "rhel",
  almalinux = "alma",
  ["alma linux"] = "alma",
  rockylinux = "rocky",
  ["rocky linux"] = "rocky",
}

-- Package file naming per family: suffix, separator before the version, before the architecture.
local PACKAGING = {
  debian = { "deb", "_", "_" },
  rhel = { "rpm", "-", "." },
  unknown = { "", "_", "_" },
}

local function build_os(name, family, version, codename)
  local packaging = PACKAGING[family]
  return {
    name = name,
    family = family,
    version = version,
    codename = codename,
    package_suffix = packaging[1],
    version_separator = packaging[2],
    arch_separator = packaging[3],
  }
end

--- Reads an `os` entry's name.
---@param text string
---@return table build_os {name, family, version, codename|nil, package_suffix, …}
---@return string|nil warning why the name could not be read at all
function M.identify(text)
  local name, version = text:lower():match("^%s*(%D*)([%d.]*)")
  name = name:match("^(.-)%s*$")
  if name == "" then
    return build_os("unknown", "unknown", ""), "could not identify an operating system in its name"
  end
  name = ALIASES[name] or name
  local system = SYSTEMS[name]
  if not system then return build_os("unknown", "unknown", "") end
  if version == "" then
    if system.unversioned then return build_os(name, system.family, "") end
    version = tostring(system.newest)
  end
  local major = math.tointeger(tonumber(version:match("^%d+")))
  local row = system.versions and system.versions[major]
  if not row then return build_os("unknown", "unknown", "") end
  return build_os(name, system.family, row.version, row.codename)
end

return M
