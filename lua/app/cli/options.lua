--- Option tables: the one description of a command from which parser, help, man page and completion
--- are made. An option is
---   { name=, short=, type="flag"|"switch"|"string"|"int"|"number"|"enum"|"list"|"pairs", metavar=,
---     default=, choices=, env=, help=, group=, hidden=, min=, complete=, deprecated=name of the option that
---     replaces it }
--- `switch` also accepts --no-NAME; `list` may be repeated; `pairs` takes K=V and may be repeated.
--- The value lands in the result under the name with `-` turned into `_`.
local M = {}

--- Options every command takes, before or after its name.
M.common = {
  { name = "context", short = "C", type = "string", metavar = "DIR", complete = "dir",
    help = "project directory (default: the nearest one upwards with a bakery.yaml)" },
  { name = "verbose", short = "v", type = "flag", help = "say more on standard error" },
  { name = "quiet", short = "q", type = "flag", help = "say only errors" },
  { name = "progress", type = "enum", choices = { "auto", "tty", "plain", "quiet", "json" },
    default = "auto", help = "how progress is shown on standard error" },
  { name = "color", type = "enum", choices = { "auto", "always", "never" }, default = "auto",
    help = "coloured output (NO_COLOR and FORCE_COLOR are obeyed)" },
  { name = "json", type = "flag", help = "results as JSON on standard output" },
  { name = "store", type = "string", metavar = "DIR", env = "BAKERY_STORE", complete = "dir",
    help = "where layers, blobs and the cache live" },
  { name = "isolation", type = "string", metavar = "NAME", env = "BAKERY_ISOLATION",
    help = "how RUN is isolated: auto, root, root-userns, rootless, rootless-single, chroot, copy-only or the letter "
      .. "of a tier; ,flat: without overlayfs; ,proc: a chroot with /proc (see doctor)" },
  { name = "debug", type = "flag", help = "show Lua tracebacks" },
  { name = "help", short = "h", type = "flag", help = "show this help" },
}
for _, o in ipairs(M.common) do o.group = "Common options" end

--- Which targets a command works on: the same words everywhere.
M.selection = {
  { name = "image-name", type = "string", metavar = "RE", complete = "image",
    help = "images whose name matches the regular expression" },
  { name = "image-version", type = "string", metavar = "VERSION", complete = "version",
    help = "this version, or every version it is a prefix of" },
  { name = "image-variant", type = "string", metavar = "RE", complete = "variant",
    help = "variants whose name matches" },
  { name = "image-os", type = "string", metavar = "RE", complete = "os",
    help = "operating systems whose name matches" },
  { name = "image-platform", type = "list", metavar = "RE", complete = "platform",
    help = "platforms that match, for example linux/amd64 (repeatable)" },
  { name = "latest", type = "flag", help = "only versions marked latest" },
  { name = "dev-versions", type = "enum", choices = { "include", "exclude", "only" },
    default = "exclude", help = "development versions" },
  { name = "dev-channel", type = "enum", choices = { "release", "preview", "daily" },
    help = "development versions of this channel" },
  { name = "dev-stream", type = "enum", choices = { "release", "preview", "daily" }, hidden = true,
    deprecated = "dev-channel", help = "deprecated: --dev-channel" },
  { name = "dev-spec", type = "string", metavar = "JSON", env = "BAKERY_DEV_SPEC",
    help = "development build that was asked for: {\"version\": …, \"channel\": …, \"release_branch\": …}" },
  { name = "matrix-versions", type = "enum", choices = { "include", "exclude", "only" },
    default = "exclude", help = "rows of images with a matrix" },
  { name = "select", type = "string", metavar = "EXPR",
    help = "one expression instead: 'os == ubuntu-24.04 && (version >= 4.3 || latest)'" },
  { name = "plan-file", type = "string", metavar = "FILE", complete = "file",
    help = "take the targets from a saved plan instead of bakery.yaml; the other filters narrow it" },
  { name = "allow-empty", type = "flag", help = "selecting nothing is a success" },
  { name = "explain", type = "flag", help = "say what was left out, and why" },
}
for _, o in ipairs(M.selection) do o.group = "Selection" end

--- How versions are looked up. Part of the selection, which may need look-ups.
M.lookup = {
  { name = "offline", type = "flag", env = "BAKERY_OFFLINE",
    help = "no look-ups of versions: bakery.lock and kept answers only" },
  { name = "locked", type = "flag", env = "BAKERY_LOCKED",
    help = "fail unless bakery.lock pins every look-up" },
}
for _, o in ipairs(M.lookup) do o.group = "Look-ups" end
table.move(M.lookup, 1, #M.lookup, #M.selection + 1, M.selection)

--- What restricts a plan to changed files.
M.changes = {
  { name = "base-ref", type = "string", metavar = "REF",
    help = "only what HEAD changed since it left this branch or commit" },
  { name = "changed-files-from", type = "string", metavar = "FILE|-", complete = "file",
    help = "only what these files concern, one path a line, relative to the project" },
}
for _, o in ipairs(M.changes) do o.group = "Changed files" end

--- Where images are cached and pushed to.
M.registries = {
  { name = "cache-registry", type = "string", metavar = "REPO",
    help = "registry prefix of layer caches: REPO/IMAGE/cache" },
  { name = "temp-registry", type = "string", metavar = "REPO", help = "push by digest to REPO/IMAGE/tmp instead of tagging" },
  { name = "push", type = "switch", default = false, help = "the plan is for pushing" },
}
for _, o in ipairs(M.registries) do o.group = "Registries" end

--- How registries are spoken to.
M.access = {
  { name = "plain-http", type = "list", metavar = "HOST", help = "speak http to this registry (repeatable; loopback needs no telling)" },
  { name = "ca-file", type = "string", metavar = "FILE", complete = "file", help = "certificate authorities to trust besides the system's" },
  { name = "insecure", type = "flag", help = "do not check certificates" },
  { name = "auth-file", type = "string", metavar = "FILE", complete = "file",
    help = "credentials file to look into first, or to write (docker's config.json or containers' auth.json)" },
}
for _, o in ipairs(M.access) do o.group = "Registry access" end

--- Options of a list without those of the given names.
---@param list table
---@param ... string
---@return table
function M.without(list, ...)
  local drop, out = {}, {}
  for _, name in ipairs { ... } do drop[name] = true end
  for _, o in ipairs(list) do
    if not drop[o.name] then out[#out + 1] = o end
  end
  return out
end

--- Key of an option in the parsed result.
---@param name string
---@return string
function M.key(name) return (name:gsub("%-", "_")) end

--- Joins option lists; a later option of the same name replaces the earlier one.
---@param ... table
---@return table
function M.join(...)
  local out, at = {}, {}
  for _, list in ipairs { ... } do
    for _, o in ipairs(list) do
      if at[o.name] then out[at[o.name]] = o
      else
        out[#out + 1] = o
        at[o.name] = #out
      end
    end
  end
  return out
end

M.nearest = require("bakery.suggest").nearest

return M
