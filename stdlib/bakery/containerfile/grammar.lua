-- Arguments of each instruction: how the rest of a line is cut up, and which counts are legal.
-- A reader gets the instruction under construction (`ins`), the rest of the line and a context `cx`
-- with escape, place(offset) and warn(rule, message); offsets are relative to the rest.
local json = require "bakery.json"

local fault = require "bakery.containerfile.fault"
local flags = require "bakery.containerfile.flags"
local heredoc = require "bakery.containerfile.heredoc"
local mounts = require "bakery.containerfile.mounts"
local text = require "bakery.containerfile.text"

local grammar = {}

-- A JSON array of strings: list; nil when the text is no JSON array; raises on other elements.
local function json_list(s, cx)
  if s:sub(1, 1) ~= "[" then return nil end
  local value = json.decode(s)
  if type(value) ~= "table" or getmetatable(value) ~= json.array_mt and #value == 0 then
    return nil
  end
  local out = {}
  for i = 1, #value do
    if type(value[i]) ~= "string" then
      fault.raise("syntax", "arrays in JSON form must hold strings only", cx.place(1))
    end
    out[i] = value[i]
  end
  return out
end

local function usage(cx, message, hint)
  fault.raise("usage", message, cx.place(1), hint)
end

local function read_command(ins, rest, cx)
  local list = json_list(rest, cx)
  if list then
    ins.form, ins.args = "exec", list
  else
    ins.form, ins.args = "shell", { rest ~= "" and rest or nil }
    if rest:find("^%[.*%]$") then
      cx.warn("JSONForm", ("%s: the text in brackets is no JSON array and is taken as a shell "
        .. "command"):format(ins.name))
    end
  end
end

local function read_list(ins, rest, cx)
  local list = json_list(rest, cx)
  if list then
    ins.form, ins.args = "exec", list
  else
    ins.form = "words"
    ins.args = text.fields(rest)
  end
end

local function read_words(ins, rest)
  ins.form = "words"
  ins.args = text.fields(rest)
end

local function read_string(ins, rest, cx)
  ins.form, ins.args = "string", { rest }
  if rest == "" then
    usage(cx, ins.name .. " requires exactly one argument")
  end
end

local function blank_key(ins, cx, at)
  fault.raise("usage", ins.name .. " names can not be blank", cx.place(at))
end

local SECRET = { "apikey", "auth", "credential", "credentials", "key", "password", "pword",
  "passwd", "secret", "token" }
local PUBLIC = { "public", "file", "version" }

local function has_word(key, words)
  for _, word in ipairs(words) do
    if key:find("_" .. word .. "_", 1, true) then return true end
  end
  return false
end

local function warn_secret(ins, key, cx)
  local parts = "_" .. key:lower() .. "_"
  if not has_word(parts, SECRET) or has_word(parts, PUBLIC) then return end
  cx.warn("SecretsUsedInArgOrEnv", ("%s %s: secrets in ARG and ENV stay readable in the image; "
    .. "use RUN --mount=type=secret"):format(ins.name, key))
end

local function read_pairs(ins, rest, cx)
  ins.form, ins.args = "pairs", {}
  local words, at = text.quoted_words(rest, cx.escape)
  if #words == 0 then usage(cx, ins.name .. " requires at least one argument") end
  if not words[1]:find("=", 1, true) then
    local key, value = text.cut(rest)
    if not value then
      usage(cx, ins.name .. " must have two arguments", ("write %s NAME=VALUE"):format(ins.name))
    end
    cx.warn("LegacyKeyValueFormat",
      ("\"%s key=value\" should be used instead of \"%s key value\""):format(ins.name, ins.name))
    ins.args[1] = { key = key, value = value, legacy = true }
  else
    for i, word in ipairs(words) do
      local key, value = word:match("^([^=]*)=(.*)$")
      if not key then
        fault.raise("syntax", ("can't find = in \"%s\""):format(word), cx.place(at[i]),
          "every word must be name=value; quote values that contain blanks")
      end
      if key == "" then blank_key(ins, cx, at[i]) end
      ins.args[i] = { key = key, value = value }
    end
  end
  if ins.name == "ENV" then
    for _, pair in ipairs(ins.args) do warn_secret(ins, pair.key, cx) end
  end
end

local function doc_comment(ins, name)
  for _, line in ipairs(ins.comments or {}) do
    if name ~= "" and line:sub(1, #name + 1) == name .. " " then return line:sub(#name + 2) end
  end
  return nil
end

local function read_arg(ins, rest, cx)
  ins.form, ins.args = "names", {}
  local words, at = text.quoted_words(rest, cx.escape)
  if #words == 0 then usage(cx, "ARG requires at least one argument") end
  for i, word in ipairs(words) do
    local key, value = word:match("^([^=]*)=(.*)$")
    if key == "" then blank_key(ins, cx, at[i]) end
    ins.args[i] = { key = key or word, value = value, doc = doc_comment(ins, key or word) }
    warn_secret(ins, key or word, cx)
  end
end

local function read_from(ins, rest, cx)
  read_words(ins, rest)
  local words = ins.args
  if #words ~= 1 and not (#words == 3 and words[2]:lower() == "as") then
    local hint = #words == 2 and "for a name write FROM IMAGE AS NAME" or nil
    usage(cx, "FROM requires either one or three arguments", hint)
  end
  ins.image = words[1]
  if words[3] then
    ins.as, ins.as_word, ins.as_name = words[3]:lower(), words[2], words[3]
    if not ins.as:find("^[a-z][a-z0-9._-]*$") then
      usage(cx, ("invalid name for build stage: '%s'"):format(words[3]),
        "a name begins with a letter and holds letters, digits, '-', '_' and '.'")
    end
    if ins.as == "context" or ins.as == "scratch" then
      cx.warn("ReservedStageName", ("stage name '%s' is a reserved word"):format(ins.as))
    end
  end
  ins.platform, ins.after = ins.flags.platform, ins.flags.after
  if ins.after then
    cx.warn("FromAfter", "FROM --after is a flag of buildah; BuildKit refuses it")
  end
  ins.doc = doc_comment(ins, ins.as or "")
end

-- Sources with variables are known to buildah; what they may be is told by resolve.
local function warn_variable(cx, what)
  cx.warn("SourceVariable", what .. " with a variable is refused by BuildKit; an alias stage is not: "
    .. "FROM ${IMAGE} AS name")
end

local function read_copy(ins, rest, cx)
  read_list(ins, rest, cx)
  if #ins.args < 2 then
    usage(cx, ("%s requires at least two arguments"):format(ins.name),
      "the last one is the destination")
  end
  local dest = ins.args[#ins.args]
  if ins.form == "words" and heredoc.parse(dest) then
    usage(cx, ins.name .. " cannot take a heredoc as destination")
  end
  ins.dest, ins.sources, ins.inline_words = dest, {}, 0
  for i = 1, #ins.args - 1 do
    local source = ins.args[i]
    if ins.form == "words" and heredoc.parse(source) then
      ins.inline_words = ins.inline_words + 1
    else
      ins.sources[#ins.sources + 1] = source
    end
  end
  local chmod = ins.flags.chmod
  if chmod and chmod ~= "" and not chmod:find("$", 1, true) and not chmod:find("[\\\"']")
    and not flags.is_mode(chmod) then
    usage(cx, ("invalid value '%s' for --chmod"):format(chmod),
      "use an octal number up to 7777 or a symbolic mode such as u+x,go-w")
  end
  if ins.flags.from and ins.flags.from:find("$", 1, true) then warn_variable(cx, "COPY --from=") end
end

local NETWORKS = { default = true, none = true, host = true }
local SECURITY = { sandbox = true, insecure = true }

local function read_run(ins, rest, cx)
  read_command(ins, rest, cx)
  local network, security = ins.flags.network, ins.flags.security
  if network and not NETWORKS[network] then
    usage(cx, ("unsupported value '%s' for --network"):format(network),
      "values are default, none, host")
  end
  if security and not SECURITY[security] then
    usage(cx, ("unsupported value '%s' for --security"):format(security),
      "values are sandbox, insecure")
  end
  if ins.form == "exec" and #ins.args == 0 then usage(cx, "RUN [] has no command") end
  if rest == "" then cx.warn("EmptyCommand", "RUN without a command only starts a shell") end
  for i, mount in ipairs(ins.flags.mount or {}) do
    mounts.parse(mount, nil, cx.flag_place("mount", i))
    local used, idle = mounts.foreign(mount)
    if #used + #idle > 0 then
      cx.warn("MountExtension", ("BuildKit refuses what only buildah and podman know of --mount: %s%s"):format(
        table.concat(table.move(idle, 1, #idle, #used + 1, used), ", "),
        idle[1] and "; without effect here: " .. table.concat(idle, ", ") or ""))
    end
    if (mounts.source(mount) or ""):find("$", 1, true) then warn_variable(cx, "RUN --mount=from=") end
  end
end

local function read_shell(ins, rest, cx)
  read_command(ins, rest, cx)
  if rest == "" or ins.form == "exec" and #ins.args == 0 then
    usage(cx, "SHELL requires at least one argument")
  end
  if ins.form ~= "exec" then
    usage(cx, "SHELL requires the arguments in JSON form", 'write SHELL ["/bin/sh", "-c"]')
  end
end

local DURATIONS = { "interval", "timeout", "start-period", "start-interval" }

local function read_healthcheck(ins, rest, cx)
  local kind, command = text.cut(rest)
  if kind == "" then usage(cx, "HEALTHCHECK requires at least one argument") end
  ins.kind = kind:upper()
  command = command and text.trim(command) or ""
  read_command(ins, command, cx)
  ins.check = {}
  if ins.kind == "NONE" then -- what its flags say is of no matter
    if #ins.args > 0 then usage(cx, "HEALTHCHECK NONE takes no arguments") end
    return
  elseif ins.kind ~= "CMD" then
    usage(cx, ("unknown type '%s' in HEALTHCHECK"):format(kind), "use CMD or NONE")
  elseif #ins.args == 0 then
    usage(cx, "missing command after HEALTHCHECK CMD")
  end
  for _, name in ipairs(DURATIONS) do
    local value = ins.flags[name]
    if value and value ~= "" then
      local ns = flags.duration(value)
      if not ns then
        usage(cx, ("invalid duration '%s' for --%s"):format(value, name), "such as 30s or 1m30s")
      elseif ns ~= 0 and ns < 1000000 then
        usage(cx, ("--%s cannot be less than 1ms"):format(name))
      end
      ins.check[name] = ns
    end
  end
  local retries = ins.flags.retries
  if retries and retries ~= "" then
    local n = retries:find("^[-+]?%d+$") and #retries < 11 and math.tointeger(tonumber(retries))
    if not n or n > 0x7FFFFFFF then
      usage(cx, ("invalid number '%s' for --retries"):format(retries))
    end
    if n < 0 then usage(cx, ("--retries cannot be negative (%d)"):format(n)) end
    ins.check.retries = n
  end
end

local function read_expose(ins, rest, cx)
  read_words(ins, rest)
  if #ins.args == 0 then usage(cx, "EXPOSE requires at least one argument") end
  table.sort(ins.args)
end

local function read_volume(ins, rest, cx)
  read_list(ins, rest, cx)
  if #ins.args == 0 then usage(cx, "VOLUME requires at least one argument") end
  for i, path in ipairs(ins.args) do
    ins.args[i] = text.trim(path)
    if ins.args[i] == "" then usage(cx, "VOLUME specified can not be an empty string") end
  end
end

local function read_maintainer(ins, rest, cx)
  read_string(ins, rest, cx)
  cx.warn("MaintainerDeprecated",
    "MAINTAINER is deprecated; use LABEL org.opencontainers.image.authors")
end

-- ONBUILD reads its trigger through the parser, which sets `trigger` and `expression`.
local function read_onbuild(ins, rest, cx)
  if rest == "" then usage(cx, "ONBUILD requires at least one argument") end
  ins.form, ins.args = "instruction", { rest }
  cx.nested(ins, rest)
  local name = ins.trigger.name
  if name == "ONBUILD" then usage(cx, "ONBUILD ONBUILD is not allowed") end
  if name == "FROM" or name == "MAINTAINER" then
    usage(cx, name .. " is not allowed as an ONBUILD trigger")
  end
end

local COPY_FLAGS = { from = "string", chown = "string", chmod = "string", link = "bool",
  parents = "bool", exclude = "list" }
local ADD_FLAGS = { chown = "string", chmod = "string", link = "bool", ["keep-git-dir"] = "bool",
  checksum = "string", unpack = "bool", exclude = "list" }

---Per instruction: reader, flags, whether heredocs are looked for.
grammar.instructions = {
  ADD = { read = read_copy, flags = ADD_FLAGS, heredoc = true },
  ARG = { read = read_arg, flags = {} },
  CMD = { read = read_command, flags = {} },
  COPY = { read = read_copy, flags = COPY_FLAGS, heredoc = true },
  ENTRYPOINT = { read = read_command, flags = {} },
  ENV = { read = read_pairs, flags = {} },
  EXPOSE = { read = read_expose, flags = {} },
  FROM = { read = read_from, flags = { platform = "string", after = "list" } },
  HEALTHCHECK = { read = read_healthcheck, flags = { interval = "string", timeout = "string",
    ["start-period"] = "string", ["start-interval"] = "string", retries = "string" } },
  LABEL = { read = read_pairs, flags = {} },
  MAINTAINER = { read = read_maintainer, flags = {} },
  ONBUILD = { read = read_onbuild, flags = {} },
  RUN = { read = read_run, heredoc = true, flags = { mount = "list", network = "string",
    security = "string", device = "list" } },
  SHELL = { read = read_shell, flags = {} },
  STOPSIGNAL = { read = read_string, flags = {} },
  USER = { read = read_string, flags = {} },
  VOLUME = { read = read_volume, flags = {} },
  WORKDIR = { read = read_string, flags = {} },
}

grammar.names = {}
for name in pairs(grammar.instructions) do grammar.names[#grammar.names + 1] = name end
table.sort(grammar.names)

return grammar
