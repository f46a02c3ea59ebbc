--- Running programs of other architectures: the kernel hands them to the qemu that is registered in
--- binfmt_misc (kernel Documentation/admin-guide/binfmt-misc.rst).
local fs = require "bakery.fs"

local M = {}

local DIR = "/proc/sys/fs/binfmt_misc"

-- OCI architecture → name in qemu's registrations.
local QEMU = { amd64 = "x86_64", arm64 = "aarch64", arm = "arm", ["386"] = "i386", riscv64 = "riscv64", ppc64le = "ppc64le",
  s390x = "s390x", loong64 = "loongarch64", mips64le = "mips64el" }

-- What a kernel usually runs besides its own architecture.
local NATIVE = { ["linux/amd64"] = { ["linux/386"] = true } }

-- linux/arm64 and linux/arm64/v8 are the same machine.
local function plain(platform) return (platform:gsub("^(linux/arm64)/v8$", "%1"):gsub("^(linux/amd64)/v1$", "%1")) end

--- The registration for a platform: { interpreter=, fixed= (opened when registered: works in any root) }.
---@param platform string
---@return table|nil
function M.registration(platform)
  local arch = platform:match "^linux/([^/]+)"
  local text = arch and fs.read(DIR .. "/qemu-" .. (QEMU[arch] or arch), 4096)
  if not text or text:sub(1, 7) ~= "enabled" then return nil end
  local interpreter, flags = text:match "\ninterpreter ([^\n]+)", text:match "\nflags: ?([A-Z]*)" or ""
  return { interpreter = interpreter, fixed = flags:find("F", 1, true) ~= nil }
end

--- Platforms with an emulator.
---@return string[]
function M.list()
  local out = {}
  for arch in pairs(QEMU) do
    if M.registration("linux/" .. arch) then out[#out + 1] = "linux/" .. arch end
  end
  table.sort(out)
  return out
end

--- Whether RUN can work for a platform.
---@return boolean
---@return string|nil why not
---@return string|nil hint
function M.possible(build, platform)
  local wanted = plain(platform)
  if wanted == plain(build.host_platform) or (NATIVE[build.host_platform] or {})[wanted] then return true end
  local found = M.registration(wanted)
  if not found then
    local hint = "apt-get install qemu-user-static binfmt-support, or build that platform on its own machine"
    if not fs.exists(DIR .. "/register") then hint = "mount -t binfmt_misc none " .. DIR .. " && " .. hint end
    return false, "no emulator is registered", hint
  end
  if not found.fixed and not fs.exists(found.interpreter or "") then
    return false, "its emulator " .. tostring(found.interpreter) .. " is not there", "apt-get install qemu-user-static"
  end
  if not found.fixed and build.tier == "F" then
    return false, "its emulator is registered without the flag F, which tier F (chroot) needs",
      "register it again with F: apt-get install --reinstall qemu-user-static"
  end
  return true
end

--- An emulator that the kernel looks for inside the root is mounted there.
function M.add_mounts(build, platform, list)
  if plain(platform) == plain(build.host_platform) then return end
  local found = M.registration(plain(platform))
  if found and not found.fixed then
    list[#list + 1] = { type = "bind", target = found.interpreter, source = found.interpreter, ro = true }
  end
end

return M
