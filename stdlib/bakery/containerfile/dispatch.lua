-- What each instruction does to a state, and the step that comes of it.
local fault = require "bakery.containerfile.fault"
local flags = require "bakery.containerfile.flags"
local heredoc = require "bakery.containerfile.heredoc"
local mounts = require "bakery.containerfile.mounts"
local remote = require "bakery.containerfile.remote"
local resolve = require "bakery.containerfile.resolve"
local values = require "bakery.containerfile.values"

local dispatch = {}
local on = {}

local function meta(history)
  return { op = "meta", history = history, empty_layer = true }
end

local function with_shell(s, ins)
  if ins.form == "exec" then return table.move(ins.args, 1, #ins.args, 1, {}) end
  local argv = table.move(s.shell, 1, #s.shell, 1, {})
  argv[#argv + 1] = ins.args[1] or ""
  return argv
end

-- --- environment -------------------------------------------------------------------------------

local function expand_pairs(s, ins)
  local out = {}
  for i, pair in ipairs(ins.args) do
    out[i] = { key = s:expand(pair.key), value = s:expand(pair.value) }
    if out[i].key == "" then
      fault.raise("usage", ins.name .. " names can not be blank")
    end
  end
  return out
end

function on.ENV(s, ins)
  local text = { "ENV" }
  for _, pair in ipairs(expand_pairs(s, ins)) do
    s:set_env(pair.key, pair.value)
    s:set_config_env(pair.key, pair.value)
    text[#text + 1] = pair.key .. "=" .. pair.value
  end
  return meta(table.concat(text, " "))
end

function on.LABEL(s, ins)
  local text = { "LABEL" }
  s.config.Labels = s.config.Labels or {}
  for _, pair in ipairs(expand_pairs(s, ins)) do
    s.config.Labels[pair.key] = pair.value
    text[#text + 1] = pair.key .. "=" .. pair.value
  end
  return meta(table.concat(text, " "))
end

-- The value an ARG gets, or nil: build argument, default, global scope.
local function arg_value(s, key, default)
  local given = s.plan.build_args[key]
  if key == "SOURCE_DATE_EPOCH" and (s.plan.epoch or s.plan.epoch_arg) then given = tostring(s.plan.epoch or "") end
  if given ~= nil then return given end
  local global = s.plan.global_args[key]
  if default == nil then return global end
  local value = s:expand(default)
  if resolve.automatic[key] and global and value ~= global then
    s:warn("PlatformArgDefault", ("the default of ARG %s hides its automatic value: '%s' instead "
      .. "of '%s'; write ARG %s without a default"):format(key, value, global, key))
  end
  return value
end

-- Arguments that speak to the builder alone: no command sees them.
local NOT_ENV = { BUILDKIT_SBOM_SCAN_CONTEXT = true, BUILDKIT_SBOM_SCAN_STAGE = true }

function on.ARG(s, ins)
  local text = { "ARG" }
  for _, arg in ipairs(ins.args) do
    local key = s:expand(arg.key)
    if key == "" then fault.raise("usage", "ARG names can not be blank") end
    local value = arg_value(s, key, arg.value)
    s.declared[key] = true
    s.args[#s.args + 1] = { key = key, value = value }
    if value ~= nil then
      local before = s:config_env(key)
      if before and before ~= value then
        s:warn("ArgAfterEnv", ("ARG %s overrides the ENV of that name while building; buildah and "
          .. "the classic builder let ENV win"):format(key))
      end
      if not NOT_ENV[key] then s:set_env(key, value) end
      text[#text + 1] = key .. "=" .. value
    else
      text[#text + 1] = key
    end
  end
  return meta(table.concat(text, " "))
end

-- --- RUN ---------------------------------------------------------------------------------------

-- Argument vector, and files to be put below /dev/pipes for a heredoc that is a script.
local function run_command(s, ins)
  if #ins.heredocs == 0 then return with_shell(s, ins), nil end
  local text = ins.args[1]
  local argv = table.move(s.shell, 1, #s.shell, 1, {})
  if heredoc.parse(text) then
    local doc = ins.heredocs[1]
    local body = heredoc.content(doc)
    if body:sub(1, 2) ~= "#!" then
      argv[#argv + 1] = body
      return argv, nil
    end
    if doc.name:find("/", 1, true) or doc.name == "." or doc.name == ".." then
      fault.raise("heredoc", ("heredoc name '%s' cannot be a file name"):format(doc.name))
    end
    local path = "/dev/pipes/" .. doc.name
    argv[#argv + 1] = path
    return argv, { { name = doc.name, path = path, data = body, mode = 493 } } -- 0755
  end
  local parts = { text }
  for _, doc in ipairs(ins.heredocs) do
    parts[#parts + 1] = "\n" .. doc.content .. doc.name
  end
  argv[#argv + 1] = table.concat(parts)
  return argv, nil
end

local function resolve_mount(s, ins, text, state)
  local m = mounts.parse(text, function(value) return s:expand(value) end)
  if m.target then
    m.target = values.join(s.workdir, m.target)
    if m.target == "/" and m.type ~= "secret" and m.type ~= "ssh" then
      fault.raise("mount", "a mount cannot have the target '/'", nil,
        "name a directory: target=/path")
    end
  end
  if m.source then m.source = values.clean(m.source) end
  if m.type == "ssh" then
    m.target = m.target or mounts.ssh_path(state.ssh)
    state.ssh = state.ssh + 1
    state.socket = state.socket or m.target
  elseif m.type == "cache" then
    m.from = m.from and s.plan:source(s.stage, m.from, ins) or nil
    if m.from and m.from.scratch then m.from = nil end
    local ns = s.plan.build_args.BUILDKIT_CACHE_MOUNT_NS
    if ns and ns ~= "" then m.id = ns .. "/" .. m.id end
  elseif m.type == "bind" and m.from then
    m.from = s.plan:source(s.stage, m.from, ins)
  elseif m.type == "tmpfs" then
    m.from = nil
  end
  return m
end

local PROXIES = { "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy" }

-- Proxy settings given as build arguments: they reach the command, but neither key nor history.
local function proxy_env(s)
  local out = {}
  for _, name in ipairs(PROXIES) do
    local value = s.plan.build_args[name] or s.plan.build_args[name:upper()]
    if value then
      for _, form in ipairs { name:upper(), name } do
        if s.env[form] == nil then out[#out + 1] = form .. "=" .. value end
      end
    end
  end
  return out
end

-- "|2 A=1 B= " in front of the command: every ARG declared so far, once.
local function arg_prefix(s)
  local order, seen = {}, {}
  for _, arg in ipairs(s.args) do
    local text = arg.key .. "=" .. (s.env[arg.key] or arg.value or "")
    if seen[arg.key] then
      order[seen[arg.key]] = text
    else
      order[#order + 1] = text
      seen[arg.key] = #order
    end
  end
  if #order == 0 then return "" end
  return ("|%d %s "):format(#order, table.concat(order, " "))
end

function on.RUN(s, ins)
  local argv, files = run_command(s, ins)
  local step = {
    op = "run",
    argv = argv,
    files = files,
    shell = ins.form ~= "exec",
    env = s:environment(),
    proxy_env = proxy_env(s),
    cwd = s.workdir,
    user = s.user,
    network = ins.flags.network,
    security = ins.flags.security,
    devices = ins.flags.device,
    mounts = {},
  }
  local shared = { ssh = 0 }
  for i, text in ipairs(ins.flags.mount or {}) do
    step.mounts[i] = resolve_mount(s, ins, text, shared)
  end
  if shared.socket then step.env[#step.env + 1] = "SSH_AUTH_SOCK=" .. shared.socket end
  step.history = ("RUN %s%s # buildkit"):format(arg_prefix(s), table.concat(argv, " "))
  return step
end

-- --- COPY and ADD ------------------------------------------------------------------------------

local function inline_files(s, ins)
  local out = {}
  for i, doc in ipairs(ins.heredocs) do
    local data = heredoc.content(doc)
    if doc.expand then data = s:expand(data, { escape = "\\", skip_quotes = true }) end
    if doc.name:find("/", 1, true) or doc.name == "." or doc.name == ".." then
      fault.raise("heredoc", ("heredoc name '%s' cannot be a file name"):format(doc.name))
    end
    out[i] = { name = doc.name, data = data, mode = 420 } -- 0644
  end
  return out
end

-- A flag that expands to nothing is as good as not there.
local function expand_flag(s, ins, name)
  local value = ins.flags[name]
  value = value and s:expand(value)
  return value ~= "" and value or nil
end

local function check_copy(s, ins, step)
  local count = #step.sources + #step.inline
  if count > 1 and step.dest:sub(-1) ~= "/" then
    s:warn("CopyDestination", ("%s of several sources to '%s', which does not end with '/': the "
      .. "last one wins; other builders make a directory or refuse"):format(ins.name, ins.dest))
  end
  for _, volume in ipairs(s.volumes) do
    if (step.dest .. "/"):sub(1, #volume + 1) == volume .. "/" then
      s:warn("VolumeContent", ("'%s' lies below the volume '%s': other builders drop what is "
        .. "written there"):format(step.dest, volume))
      break
    end
  end
end

local function copy_sources(s, ins)
  local sources, remotes = {}, {}
  for i, word in ipairs(ins.sources) do
    local source = s:expand(word)
    local kind = remote.kind(source)
    if kind and ins.name == "COPY" then
      fault.raise("usage", ("COPY cannot take the %s source '%s'"):format(
        kind == "git" and "git" or "URL", source), nil, "use ADD")
    end
    sources[i] = source
    if kind then remotes[i] = kind end
  end
  return sources, next(remotes) and remotes or nil
end

local function check_checksum(step)
  local sum = step.checksum
  if not sum then return end
  if not step.remotes then
    fault.raise("flag", "--checksum is for URL and git sources")
  elseif #step.sources ~= 1 then
    fault.raise("flag", "--checksum needs exactly one source")
  end
  local kind = step.remotes[1]
  if kind == "http" and not sum:find("^sha%d+:%x+$")
    or kind == "git" and not sum:find("^%x+$") then
    fault.raise("flag", ("invalid value '%s' for --checksum"):format(sum), nil,
      kind == "http" and "write sha256:DIGEST" or "write the commit's hash")
  end
end

local function copy(s, ins)
  local add = ins.name == "ADD"
  local sources, remotes = copy_sources(s, ins)
  local dest = s:expand(ins.dest)
  local step = {
    op = "copy",
    add = add,
    sources = sources,
    remotes = remotes,
    inline = inline_files(s, ins),
    dest = values.destination(s.workdir, dest),
    chown = expand_flag(s, ins, "chown"),
    chmod = expand_flag(s, ins, "chmod"),
    checksum = expand_flag(s, ins, "checksum"),
    link = ins.flags.link or false,
    parents = ins.flags.parents or false,
    excludes = ins.flags.exclude,
    keep_git_dir = ins.flags["keep-git-dir"],
    unpack = ins.flags.unpack,
  }
  if step.chmod and not flags.is_mode(step.chmod) then
    fault.raise("flag", ("invalid value '%s' for --chmod"):format(step.chmod), nil,
      "use an octal number up to 7777 or a symbolic mode such as u+x,go-w")
  end
  if (ins.flags.from or "") ~= "" then step.from = s.plan:source(s.stage, ins.flags.from, ins) end
  check_checksum(step)
  check_copy(s, ins, step)
  local text = { ins.name }
  if step.parents then text[#text + 1] = "--parents" end
  if step.chown then text[#text + 1] = "--chown=" .. step.chown end
  if step.chmod then text[#text + 1] = "--chmod=" .. step.chmod end
  table.move(sources, 1, #sources, #text + 1, text)
  for _, file in ipairs(step.inline) do text[#text + 1] = "<<" .. file.name end
  text[#text + 1] = dest
  step.history = table.concat(text, " ") .. " # buildkit"
  return step
end

on.COPY, on.ADD = copy, copy

-- --- process and file system -------------------------------------------------------------------

function on.WORKDIR(s, ins)
  local path = s:expand(ins.args[1])
  if not s.workdir_set and path:sub(1, 1) ~= "/" then
    s:warn("WorkdirRelativePath", ("relative WORKDIR '%s' depends on the base image's one")
      :format(path))
  end
  s.workdir_set = true
  s.workdir = values.join(s.workdir, path)
  -- An absolute path is told as it is written.
  local told = path == "" and s.config.WorkingDir or path
  s.config.WorkingDir = told:sub(1, 1) == "/" and told or s.workdir
  local history = "WORKDIR " .. s.config.WorkingDir
  if s.config.WorkingDir == "/" then return meta(history) end
  return { op = "workdir", path = s.workdir, user = s.user, history = history }
end

function on.USER(s, ins)
  s.user = s:expand(ins.args[1])
  s.config.User = s.user
  return meta("USER " .. s.user)
end

function on.SHELL(s, ins)
  s.shell = table.move(ins.args, 1, #ins.args, 1, {})
  s.config.Shell = s.shell
  return meta(("SHELL [%s]"):format(table.concat(s.shell, " ")))
end

function on.VOLUME(s, ins)
  s.config.Volumes = s.config.Volumes or {}
  local list = {}
  for i, word in ipairs(ins.args) do
    local path = s:expand(word)
    if path == "" then fault.raise("usage", "VOLUME specified can not be an empty string") end
    s.config.Volumes[path], list[i] = true, path
    if path:sub(1, 1) == "/" and path ~= "/" then s.volumes[#s.volumes + 1] = path end
  end
  return meta(("VOLUME [%s]"):format(table.concat(list, " ")))
end

-- --- config ------------------------------------------------------------------------------------

function on.CMD(s, ins)
  local argv = with_shell(s, ins)
  s.config.Cmd = argv
  s.cmd_set = true
  return meta("CMD " .. values.quote_list(argv))
end

function on.ENTRYPOINT(s, ins)
  local argv = with_shell(s, ins)
  s.config.Entrypoint = #argv > 0 and argv or nil
  if not s.cmd_set then s.config.Cmd = nil end
  return meta("ENTRYPOINT " .. values.quote_list(argv))
end

function on.EXPOSE(s, ins)
  s.config.ExposedPorts = s.config.ExposedPorts or {}
  local list = {}
  for _, word in ipairs(ins.args) do
    for _, spec in ipairs(s:expand(word, { mode = "split" })) do
      local ports, problem, has_host = values.ports(spec)
      if not ports then fault.raise("usage", problem, nil, "write PORT[-PORT][/tcp|udp|sctp]") end
      if has_host then
        s:warn("ExposeInvalidFormat", ("EXPOSE '%s': host address and port have no effect")
          :format(spec))
      end
      local proto = spec:match("/([^/]*)$")
      if proto and proto ~= proto:lower() then
        s:warn("ExposeProtoCasing", ("EXPOSE '%s': the protocol should be lower case"):format(spec))
      end
      for _, port in ipairs(ports) do
        s.config.ExposedPorts[port] = true
        list[#list + 1] = port
      end
    end
  end
  return meta(("EXPOSE [%s]"):format(table.concat(list, " ")))
end

function on.STOPSIGNAL(s, ins)
  local signal = s:expand(ins.args[1])
  if not values.is_signal(signal) then
    fault.raise("usage", ("'%s' is no signal"):format(signal), nil, "such as SIGTERM or 15")
  end
  s.config.StopSignal = signal
  return meta("STOPSIGNAL " .. signal)
end

function on.HEALTHCHECK(s, ins)
  local test
  if ins.kind == "NONE" then
    test = { "NONE" }
  else
    test = { ins.form == "exec" and "CMD" or "CMD-SHELL" }
    table.move(ins.args, 1, #ins.args, 2, test)
  end
  local check = ins.kind == "NONE" and {} or ins.check
  local function set(value) return value and value ~= 0 and value or nil end
  s.config.Healthcheck = {
    Test = test,
    Interval = set(check.interval),
    Timeout = set(check.timeout),
    StartPeriod = set(check["start-period"]),
    StartInterval = set(check["start-interval"]),
    Retries = set(check.retries),
  }
  return meta(("HEALTHCHECK {Test:[%s] Interval:%s Timeout:%s StartPeriod:%s StartInterval:%s "
    .. "Retries:%d}"):format(table.concat(test, " "), values.duration(check.interval or 0),
    values.duration(check.timeout or 0), values.duration(check["start-period"] or 0),
    values.duration(check["start-interval"] or 0), check.retries or 0))
end

function on.MAINTAINER(s, ins)
  s.author = ins.args[1]
  return meta("MAINTAINER " .. s.author)
end

function on.ONBUILD(s, ins)
  s.config.OnBuild = s.config.OnBuild or {}
  table.insert(s.config.OnBuild, ins.expression)
  return meta(nil)
end

---Applies one instruction to the state and returns its step. Raises faults.
function dispatch.instruction(s, ins)
  return on[ins.name](s, ins)
end

return dispatch
