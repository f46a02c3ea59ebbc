--- The steps that make layers: RUN, COPY/ADD and WORKDIR. Each is looked up by its key first; equal
--- keys of several targets share one execution, other processes wait on the key's lock.
local archive = require "bakery.archive"
local fs = require "bakery.fs"
local snapshot = require "bakery.snapshot"
local copies = require "app.backend.embedded.copies"
local fail = require "app.fail"
local images = require "app.backend.embedded.images"
local keys = require "app.backend.embedded.keys"
local mounts = require "app.backend.embedded.mounts"
local once = require "app.backend.embedded.once"
local run = require "app.backend.embedded.run"
local trace = require "app.backend.embedded.trace"

local M = { located = once.located, copy = copies.copy, copy_source = copies.copy_source }

-- The network of a RUN: its own flag, the target's, the build's.
local function network_of(build, where, step)
  local usual = where.network and where.network ~= "default" and where.network or build.network
  local asked = step.network and step.network ~= "default" and step.network or usual
  if asked == "host" and usual ~= "host" then
    once.fail(where, step, { class = "usage", code = "build.network", message = "RUN --network=host in a build "
      .. (usual == "none" and "without network" or "whose network is private"), hint = "leave --network " .. usual .. " away, or the flag" })
  end
  return asked
end

local function refuse_privileges(where, step)
  if step.security == "insecure" then
    once.fail(where, step, { class = "usage", code = "build.unsupported",
      message = "RUN --security=insecure: the embedded builder gives no command more than the default capabilities",
      hint = "do without the flag, or build this target with --backend buildx and a builder that allows security.insecure" })
  elseif step.devices then
    once.fail(where, step, { class = "usage", code = "build.unsupported",
      message = "RUN --device: the embedded builder gives commands no devices of the host",
      hint = "use --backend buildx with a builder that has CDI devices" })
  end
end

local function execute_run(build, where, step, chain, network, tmp)
  local done, upper = run.execute(build, where, step, chain, network, tmp)
  once.publish(build, upper, done)
  return { diff_id = done.diff_id }
end

--- RUN: executes in the sandbox unless its result is known.
function M.run(build, where, step, chain)
  return once.located(where, step, function()
    refuse_privileges(where, step)
    local network = network_of(build, where, step)
    local content = mounts.keys(build, where, step)
    local names = {}
    for i, line in ipairs(mounts.hosts(where.hosts)) do names[i] = line:match("^[^=]*") end
    local key, inputs = keys.run { platform = where.platform, parent = chain.id, argv = step.argv, env = step.env,
      cwd = step.cwd, user = step.user, network = network, security = run.security(build), mounts = content,
      files = step.files, hosts = names, epoch = build.epoch, salt = where.salt(step) }
    trace.note(where, step, key, inputs)
    return once.run(build, where, key, function(tmp)
      run.check(build, where, step, network)
      build.emit { type = "step_running", target = where.target, step = step }
      return build.slots:with(execute_run, build, where, step, chain, network, tmp)
    end)
  end)
end

--- WORKDIR: a layer of its own with the directory, empty when it exists already.
function M.workdir(build, where, step, chain)
  return once.located(where, step, function()
    local key, inputs = keys.mkdir { parent = chain.id, path = step.path, owner = step.user, epoch = build.epoch,
      salt = where.salt(step) }
    trace.note(where, step, key, inputs)
    return once.run(build, where, key, function(tmp)
      local lowers = images.lowers(build, chain)
      local upper = tmp .. "/upper"
      fail.check(fs.mkdir(upper))
      local found = snapshot.lookup { lowers = lowers, path = step.path }
      if found and found.type ~= "dir" then
        once.fail(where, step, { code = "build.not_a_directory",
          message = "WORKDIR " .. step.path .. ": exists and is not a directory" })
      elseif not found then
        local owner = fail.check(snapshot.owner { lowers = lowers, spec = step.user or "" })
        fail.check(snapshot.mkdir { lowers = lowers, upper = upper, path = step.path, mode = 493, uid = owner.uid,
          gid = owner.gid, epoch = build.epoch, userxattr = build.userxattr })
      end
      local packed = fail.check(archive.pack { dir = upper })
      once.publish(build, upper, { diff_id = packed.diff_id, size = packed.tar_size, entries = packed.entries })
      return { diff_id = packed.diff_id }
    end)
  end)
end

return M
