--- Running programs of other architectures: the kernel hands them to the qemu that is registered in
--- binfmt_misc (kernel Documentation/admin-guide/binfmt-misc.rst). In a user namespace of our own one is
--- registered there, when the host has none but a static qemu is installed.
local fs = require "bakery.fs"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"

local M = {}

local DIR = "/proc/sys/fs/binfmt_misc"

-- OCI architecture → name in qemu's registrations; ELF class, byte order (1 little, 2 big), machine.
local QEMU = { amd64 = { "x86_64", 2, 1, 62 }, arm64 = { "aarch64", 2, 1, 183 }, arm = { "arm", 1, 1, 40 },
  ["386"] = { "i386", 1, 1, 3 }, riscv64 = { "riscv64", 2, 1, 243 }, ppc64le = { "ppc64le", 2, 1, 21 },
  s390x = { "s390x", 2, 2, 22 }, loong64 = { "loongarch64", 2, 1, 258 }, mips64le = { "mips64el", 2, 1, 8 } }

-- What a kernel usually runs besides its own architecture.
local NATIVE = { ["linux/amd64"] = { ["linux/386"] = true } }

-- linux/arm64 and linux/arm64/v8 are the same machine.
local function plain(platform) return (platform:gsub("^(linux/arm64)/v8$", "%1"):gsub("^(linux/amd64)/v1$", "%1")) end

--- The registration for a platform: { interpreter=, fixed= (opened when registered: works in any root) }.
---@param platform string
---@return table|nil
function M.registration(platform)
  local arch = platform:match "^linux/([^/]+)"
  local text = arch and fs.read(DIR .. "/qemu-" .. (QEMU[arch] and QEMU[arch][1] or arch), 4096)
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

-- A line for binfmt_misc: programs and position-independent ones of this class, order and machine.
local function line_of(arch, interpreter, flags)
  local name, class, order, machine = table.unpack(QEMU[arch])
  local number = order == 1 and "<I2I2" or ">I2I2"
  local magic = "\127ELF" .. string.char(class, order, 1, 0) .. ("\0"):rep(8) .. number:pack(2, machine)
  local mask = ("\255"):rep(7) .. "\0" .. ("\255"):rep(8) .. number:pack(0xfffe, 0xffff)
  local function escaped(text) return (text:gsub(".", function(c) return ("\\x%02x"):format(c:byte()) end)) end
  return (":qemu-%s:M::%s:%s:%s:%s"):format(name, escaped(magic), escaped(mask), interpreter, flags)
end

-- Registers the installed qemu in our user namespace; what the host has registered does not count there
-- any more, so all that are installed are.
local function register(build)
  if build.emulators then return build.emulators end
  build.emulators = {}
  for arch, q in pairs(QEMU) do
    local qemu = process.which("qemu-" .. q[1] .. "-static")
    if qemu and build.host_platform ~= "linux/" .. arch then
      build.emulators["linux/" .. arch] = sandbox.binfmt(line_of(arch, qemu, "OCF")) or sandbox.binfmt(line_of(arch, qemu, "F"))
    end
  end
  return build.emulators
end

--- Whether RUN can work for a platform.
---@return boolean
---@return string|nil why not
---@return string|nil hint
function M.possible(build, platform)
  local wanted = plain(platform)
  if wanted == plain(build.host_platform) or (NATIVE[build.host_platform] or {})[wanted] then return true end
  local found = M.registration(wanted)
  if not found and build.tier >= "C" and build.tier <= "E" and register(build)[wanted:match "^linux/[^/]+"] then return true end
  if not found then
    local hint = "apt-get install qemu-user-static binfmt-support, or build that platform on its own machine"
    local arch = QEMU[wanted:match "^linux/([^/]+)" or ""]
    if build.tier == "A" and arch and process.which("qemu-" .. arch[1] .. "-static") then
      hint = "--isolation root-userns needs no registration (Linux 6.7), or " .. hint
    end
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
