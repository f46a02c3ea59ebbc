--- --network private (builder.md 6.4): a network namespace for each command, with slirp4netns as its way
--- out. It reaches what this machine reaches, not the machine's loopback, and nobody reaches it.
local fs = require "bakery.fs"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"
local fail = require "app.fail"

local M = {}

local Net = {}
Net.__index = Net

M.PROGRAM = "slirp4netns"
M.HINT = "install it (Debian package: slirp4netns), or --network host"

-- slirp4netns answers DNS at .3 of its network (10.0.2.0/24) by asking the machine's own resolver.
local function resolv(path)
  local lines = { "nameserver 10.0.2.3" }
  for line in (fs.read "/etc/resolv.conf" or ""):gmatch "[^\n]+" do
    if line:find "^%s*search%s" or line:find "^%s*options%s" then lines[#lines + 1] = line end
  end
  fail.check(fs.write(path, table.concat(lines, "\n") .. "\n"))
  return path
end

-- It says "1" when the network is there, and ends with its standard input: with us, however we end.
local function start(self)
  self.child = fail.check(process.spawn { cmd = { M.PROGRAM, "--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=1",
    "--exit-fd=0", "--netns-type=path", ("/proc/%d/fd/%d"):format(process.pid(), self.netns), "tap0" } })
  if self.child:read "stdout" then return end
  local why = {}
  for line in function() return self.child:read_line "stderr" end do why[#why + 1] = line end
  fail.raise { class = "infra", code = "build.network", message = M.PROGRAM .. " did not make a network: "
    .. (why[#why] or "it ended without a word"), log = why, hint = "/dev/net/tun is needed; or --network host" }
end

--- Opens a network; to be closed.
---@param tmp string directory for its resolv.conf
---@return table { netns=descriptor, resolv_conf=file }
function M.open(tmp)
  local self = setmetatable({ netns = fail.check(sandbox.netns()) }, Net)
  local ok, err = pcall(function()
    self.resolv_conf = resolv(tmp .. "/resolv.conf")
    start(self)
  end)
  if ok then return self end
  self:close()
  error(err, 0)
end

--- Puts a command's spec into a network of its own when it is to have one.
---@param spec table for sandbox.spawn; its network is "host", "none" or "private"
---@param tmp string
---@return table|nil to be closed when the command has ended
function M.apply(spec, tmp)
  if spec.network ~= "private" then return end
  local net = M.open(tmp)
  spec.network, spec.netns = "none", net.netns
  if spec.resolv_conf ~= false then spec.resolv_conf = net.resolv_conf end
  return net
end

function Net:close()
  if self.child then self.child:close() end
  if self.netns then process.close_fd(self.netns) end
  self.child, self.netns = nil, nil
end

Net.__close = Net.close

return M
