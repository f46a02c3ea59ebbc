--- bakery.yaml as data: every key with type, default and checks. Validation, defaults and the JSON
--- Schema are derived from this table. A field is
--- {KEY, type=, doc=, required=, default= (value or function of the object), null= (null allowed),
---  aliases= (other spellings), as= (name in the model, default KEY in snake case), hidden=}.
local checks = require "app.project.checks"
local deps = require "app.project.deps"
local names = require "app.project.names"
local people = require "app.project.people"
local url = require "app.project.url"
local validate = require "app.project.validate"

local M = {}

local STRING = { kind = "string" }
local BOOL = { kind = "bool" }
local INT = { kind = "int" }
local NAME_VERSION = { kind = "string", version = "any" }
local SUBPATH = { kind = "string", min = 1, version = "any" }
local HTTP_URL = { kind = "string", what = "an http(s) URL", check = url.canonical, format = "uri" }

local function list(of) return { kind = "list", of = of } end
local function map(of) return { kind = "map", of = of } end
local function enum(values) return { kind = "enum", values = values } end
local function object(schema) return { kind = "object", schema = schema } end

local function from_name(derive)
  return function(obj) return obj.name and derive(obj.name) end
end

-- --- repository --------------------------------------------------------------------------------

local PERSON = {
  title = "person",
  unknown = "error",
  fields = {
    { "name", type = STRING, required = true },
    { "email", type = STRING, required = true },
  },
}

local PERSON_TYPE = {
  kind = "custom",
  json = { anyOf = { { type = "string" }, { type = "object", required = { "name", "email" } } } },
  parse = function(node, path, ctx)
    if node.kind == "map" then
      local value, ok = validate.value(object(PERSON), node, path, ctx)
      if not ok then return nil, false end
      return people.from_map(value.name, value.email), true
    end
    local text, ok = validate.value({ kind = "string", what = "`Name <address>` or a map with name "
      .. "and email" }, node, path, ctx)
    if not ok then return nil, false end
    local person, reason = people.parse(text)
    if not person then
      ctx:error(node, path, "config.value", ("%q is not a person: %s"):format(text, reason),
        "write `Name <user@example.org>`")
      return nil, false
    end
    return person, true
  end,
}

M.repository = {
  title = "repository",
  fields = {
    { "url", type = HTTP_URL, required = true, doc = "Source repository (https:// is added)" },
    { "vendor", type = STRING, default = "Posit Software, PBC" },
    { "maintainer", type = PERSON_TYPE,
      default = function() return people.parse("Posit Docker Team <docker@posit.co>") end },
    { "authors", type = list(PERSON_TYPE), default = {} },
  },
  finish = { checks.authors },
}

-- --- registries --------------------------------------------------------------------------------

M.base_registry = {
  title = "registry",
  unknown = "error",
  fields = {
    { "host", type = STRING, required = true, doc = "Host, with :port where needed" },
    { "namespace", type = STRING, null = true, doc = "Path below the host; may contain /" },
  },
  finish = { checks.registry_base },
}
M.registry = {
  title = "registry",
  unknown = "error",
  fields = {
    M.base_registry.fields[1],
    M.base_registry.fields[2],
    { "repository", type = STRING, doc = "Repository name; default the image name" },
  },
  finish = { checks.registry_base },
}

local REGISTRIES = list(object(M.registry))
local EXTRA = { "extraRegistries", type = REGISTRIES, default = {},
  doc = "Added to the inherited registries" }
local OVERRIDE = { "overrideRegistries", type = REGISTRIES, default = {},
  doc = "Replaces the inherited registries" }

-- --- operating systems, variants, tag patterns -------------------------------------------------

local EXTENSION = { kind = "string", check = checks.extension }
local TAG_NAME = { kind = "string", check = checks.tag_display_name }
local EXTENSION_FIELD = { "extension", type = EXTENSION, default = from_name(names.extension),
  doc = "Containerfile suffix" }
local TAG_NAME_FIELD = { "tagDisplayName", type = TAG_NAME,
  default = from_name(names.tag_display_name), doc = "Spelling in tags" }

M.PLATFORMS = { "linux/amd64", "linux/arm64" }

M.os = {
  title = "operating system",
  fields = {
    { "name", type = STRING, required = true, doc = "Name and version, such as Ubuntu 24.04" },
    { "primary", type = BOOL, default = false },
    { "platforms", type = list(enum(M.PLATFORMS)), default = { "linux/amd64" } },
    EXTENSION_FIELD,
    TAG_NAME_FIELD,
    { "artifactDownloadURL", null = true, doc = "Download address; $VARIABLES are kept",
      type = { kind = "string", what = "an http(s) URL", check = url.check_artifact } },
  },
  finish = { checks.derived_names, checks.build_os },
}
local OS = { "os", type = list(object(M.os)), default = {} }

M.FILTERS = { "all", "latest", "latestPatch", "primaryOS", "primaryVariant", "channelLatest" }

M.tag_pattern = {
  title = "tag pattern",
  fields = {
    { "patterns", type = list { kind = "string", check = checks.tag_pattern }, required = true,
      doc = "Templates of tags: lower-case text and {{ expressions }}" },
    { "only", type = list(enum(M.FILTERS)), default = { "all" },
      doc = "Conditions that a target must meet" },
  },
}
local TAG_PATTERNS = list(object(M.tag_pattern))

-- --- tool options ------------------------------------------------------------------------------

local function tool(name, fields)
  local out = { { "tool", type = enum { name }, required = true } }
  for i, field in ipairs(fields) do
    if field.default == nil then field.null = true end
    field.as = field[1]
    out[i + 1] = field
  end
  return { title = name .. " options", fields = out }
end

local STRINGS = list(STRING)
M.tools = {
  goss = tool("goss", {
    { "runtimeOptions", type = STRING, doc = "Arguments of the container run" },
    { "command", type = STRING, default = "sleep infinity" },
    { "wait", type = INT, default = 0, doc = "Seconds before the tests start" },
    { "timeout", type = INT, default = 900, doc = "Seconds; 0 waits for ever" },
  }),
  soci = tool("soci", {
    { "enabled", type = BOOL, default = false },
    { "span_size", type = INT },
    { "min_layer_size", type = INT },
    { "prefetch_files", type = STRINGS, default = {} },
    { "optimizations", type = STRINGS, default = {} },
    { "platforms", type = STRINGS },
  }),
  hadolint = tool("hadolint", {
    { "failureThreshold", type = STRING },
    { "ignored", type = STRINGS },
    { "labelSchema", type = map(STRING) },
    { "noFail", type = BOOL },
    { "override", type = object {
      title = "hadolint severity override",
      fields = {
        { "error", type = STRINGS, null = true },
        { "warning", type = STRINGS, null = true },
        { "info", type = STRINGS, null = true },
        { "style", type = STRINGS, null = true },
      },
    } },
    { "strictLabels", type = BOOL },
    { "disableIgnorePragma", type = BOOL },
    { "trustedRegistries", type = STRINGS },
  }),
  wizcli = tool("wizcli", {
    { "projects", type = STRINGS },
    { "policies", type = STRINGS },
    { "tags", type = STRINGS },
    { "scanOsManagedLibraries", type = BOOL },
    { "scanGoStandardLibrary", type = BOOL },
  }),
}
M.TOOL_NAMES = { "goss", "soci", "hadolint", "wizcli" }
local OPTIONS = list { kind = "variant", title = "tool options", key = "tool",
  names = M.TOOL_NAMES, cases = M.tools }

M.variant = {
  title = "variant",
  fields = {
    { "name", type = STRING, required = true },
    { "primary", type = BOOL, default = false },
    EXTENSION_FIELD,
    TAG_NAME_FIELD,
    { "tagPatterns", type = TAG_PATTERNS, default = {} },
    { "options", type = OPTIONS, default = {} },
  },
  finish = { checks.derived_names },
}

-- --- versions, matrix, development versions ----------------------------------------------------

local VALUES = { "values", type = map { kind = "string", version = "dotted" },
  default = { keys = {}, values = {} }, doc = "Template values" }
local BUILD_TARGET = { "buildTarget", type = STRING, null = true, doc = "Containerfile stage" }
local DEPENDENCIES = { "dependencies", type = list(deps.versions_type), default = {} }
local CONSTRAINTS = { "dependencyConstraints", type = list(deps.constraint_type), default = {} }

M.version = {
  title = "version",
  fields = {
    { "name", type = NAME_VERSION, required = true },
    { "subpath", type = SUBPATH, default = from_name(names.subpath) },
    EXTRA,
    OVERRIDE,
    { "latest", type = BOOL, default = false },
    OS,
    DEPENDENCIES,
    VALUES,
    BUILD_TARGET,
  },
  finish = { checks.registries, checks.unique("dependencies", "dependency"), checks.os_list },
}

M.matrix = {
  title = "matrix",
  fields = {
    { "namePattern", type = STRING, doc = "Template of the row names" },
    { "subpath", type = SUBPATH, default = "matrix" },
    CONSTRAINTS,
    DEPENDENCIES,
    { "values", type = map(deps.axis_type), default = { keys = {}, values = {} },
      doc = "Text, or a list of texts that is multiplied out" },
    OS,
    EXTRA,
    OVERRIDE,
    BUILD_TARGET,
  },
  finish = {
    checks.registries,
    checks.unique("dependency_constraints", "dependency"),
    checks.unique("dependencies", "dependency"),
    checks.matrix_inputs,
    checks.os_list,
  },
}

M.PRODUCTS = { "connect", "package-manager", "workbench", "workbench-session" }
M.CHANNELS = { "release", "preview", "daily" }
local SOURCE_TYPES = { "stream", "channel", "dependency" }
local SOURCE_TYPE = { "sourceType", required = true, type = { kind = "enum", values = SOURCE_TYPES,
  alias = { channel = "stream" } } }
local PINNED = { "version_override", type = STRING, null = true, hidden = true }

M.stream_version = {
  title = "development version",
  fields = {
    SOURCE_TYPE,
    { "product", type = enum(M.PRODUCTS), required = true },
    { "channel", type = enum(M.CHANNELS), required = true, aliases = { "stream" } },
    { "release_branch", type = STRING, null = true, hidden = true },
    PINNED,
    OS,
    EXTRA,
    OVERRIDE,
    VALUES,
  },
  finish = { checks.legacy_stream, checks.registries, checks.os_list },
}
M.dependency_version = {
  title = "development version",
  fields = {
    SOURCE_TYPE,
    { "dependency", type = deps.NAME, required = true },
    deps.FROM,
    { "prerelease", type = BOOL, default = false },
    { "channel", type = enum { "preview", "daily" }, null = true },
    PINNED,
    OS,
    EXTRA,
    OVERRIDE,
    VALUES,
  },
  finish = { deps.known_or_from, checks.registries, checks.os_list },
}
local DEV_VERSION = { kind = "variant", title = "development version", key = "sourceType",
  names = SOURCE_TYPES,
  cases = { stream = M.stream_version, channel = M.stream_version,
    dependency = M.dependency_version } }

-- --- image, root -------------------------------------------------------------------------------

M.build_secret = {
  title = "build secret",
  fields = {
    { "id", type = { kind = "string", check = checks.secret_id }, required = true },
    { "envVar", type = { kind = "string", check = checks.env_var }, required = true },
  },
}

M.image = {
  title = "image",
  fields = {
    { "name", type = STRING, required = true },
    { "displayName", type = STRING, default = from_name(names.display_name) },
    { "description", type = STRING, null = true },
    { "documentationUrl", type = HTTP_URL, null = true },
    { "subpath", type = SUBPATH, default = from_name(names.subpath) },
    EXTRA,
    OVERRIDE,
    CONSTRAINTS,
    { "variants", type = list(object(M.variant)), default = {} },
    { "versions", type = list(object(M.version)), default = {} },
    { "devVersions", type = list(DEV_VERSION), default = {} },
    { "matrix", type = object(M.matrix), null = true },
    { "tagPatterns", type = TAG_PATTERNS, doc = "Default: the standard or the matrix set" },
    BUILD_TARGET,
    { "buildSecrets", type = list(object(M.build_secret)), default = {} },
    { "options", type = OPTIONS, default = {} },
  },
  finish = {
    checks.registries,
    checks.unique("dependency_constraints", "dependency"),
    checks.unique("variants", "name"),
    checks.unique("versions", "name"),
    checks.image,
  },
}

-- Places that stand in for others, by the beginning of their URLs.
local MIRROR = { kind = "string", check = checks.mirror }
M.resolvers = {
  title = "resolvers",
  fields = { { "mirrors", type = map(MIRROR), default = { keys = {}, values = {} },
    doc = "URL prefix -> URL that look-ups ask instead" } },
  finish = { checks.mirror_prefixes },
}
local RESOLVERS = { "resolvers", type = object(M.resolvers), null = true, doc = "Settings of look-ups" }

M.root = {
  title = "project",
  fields = {
    { "repository", type = object(M.repository), required = true },
    { "registries", type = list(object(M.base_registry)), default = {} },
    { "images", type = list(object(M.image)), default = {} },
    RESOLVERS,
  },
  finish = { checks.root },
}
M.ROOT = object(M.root)
-- The user's own config.yaml.
M.CONFIG = object { title = "configuration", fields = { RESOLVERS } }

return M
