--- Agents for RUN --mount=type=ssh and for git over ssh: the one of SSH_AUTH_SOCK, another one's
--- socket, or one of our own that holds key files.
local fs = require "bakery.fs"
local process = require "bakery.process"
local fail = require "app.fail"

local M = {}

-- An agent of our own with these keys, one per build and list of files. ssh-agent ends with us.
local function own_agent(build, id, paths)
  build.agents = build.agents or {}
  return build.once:run("agent:" .. id .. "\0" .. table.concat(paths, "\0"), function()
    local agent, add = process.which "ssh-agent", process.which "ssh-add"
    if not agent or not add then
      fail.raise { class = "usage", code = "tool.missing", message = "--ssh " .. id .. ": key files need ssh-agent and ssh-add",
        hint = "apt-get install openssh-client, or start an agent yourself and give its socket" }
    end
    local dir = fail.check(build.store:tmpdir())
    local socket = dir .. "/agent"
    local child = fail.check(process.spawn { cmd = { agent, "-D", "-a", socket } })
    build.agents[#build.agents + 1] = child
    child:close_stdin()
    local line = child:read_line() -- it says where it listens once it does
    if not line then
      fail.raise { class = "infra", code = "ssh.agent", message = "--ssh " .. id .. ": ssh-agent does not start" }
    end
    for _, path in ipairs(paths) do
      local r = fail.check(process.run { cmd = { add, "-q", path }, env = { SSH_AUTH_SOCK = socket, SSH_ASKPASS_REQUIRE = "never" } })
      if r.code ~= 0 then
        fail.raise { class = "usage", code = "ssh.key", message = ("--ssh %s: %s: %s"):format(id, path, (r.stderr:gsub("%s+$", ""))),
          hint = "keys with a passphrase need an agent that knows it" }
      end
    end
    return socket
  end)
end

--- Socket of the agent that a target calls `id`, or nil when it was not given.
---@param build table the running build
---@param where table of the target: ssh = { "default" | "id=PATH" | { id=, paths= } }
---@param id string
---@return string|nil
function M.socket(build, where, id)
  for _, entry in ipairs(where.ssh or {}) do
    local name, paths = entry.id, entry.paths or {}
    if type(entry) == "string" then
      local list
      name, list = entry:match("^([^=]+)=?(.*)$")
      paths = {}
      for path in (list or ""):gmatch("[^,]+") do paths[#paths + 1] = path end
    end
    if name == id then
      local full = {}
      for i, path in ipairs(paths) do full[i] = fs.join(build.dir, path) end
      if #full == 0 then
        local socket = os.getenv "SSH_AUTH_SOCK"
        if socket and socket ~= "" then return socket end
        fail.raise { class = "usage", code = "build.no_ssh", message = "--ssh " .. id .. ": SSH_AUTH_SOCK is not set",
          hint = "start an agent: eval $(ssh-agent); ssh-add" }
      end
      local stat = fail.within("--ssh " .. id, fs.stat(full[1]))
      if stat.type == "socket" then return full[1] end
      return own_agent(build, id, full)
    end
  end
end

--- Opens a socket of a step that leads to an agent: with the owner and mode that the mount asks for,
--- which the agent's own need not have. The agent sees our user.
---@param path string
---@param socket string
---@param m table mount: mode, uid, gid
---@return table handle to be closed
function M.relay(path, socket, m)
  return fail.within("ssh agent", process.relay { listen = path, connect = socket, mode = m.mode or 384, uid = m.uid or 0, gid = m.gid or 0 })
end

--- Ends the agents of a build.
function M.close(build)
  for _, child in ipairs(build.agents or {}) do child:close() end
  build.agents = nil
end

return M
