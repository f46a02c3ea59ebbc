--- Tables of the commands that edit a project (create, update, remove) in both word orders, and of the
--- names that test, lint and scan tools have elsewhere. See init.lua for the form.
local M = {}

local function lazy(module, name)
  return function(values, command) return require("app.commands." .. module)[name](values, command) end
end

local lookup = require("app.cli.options").lookup

local GROUP = "Project"

local dry_run = { name = "dry-run", type = "flag", help = "show the changes as a diff, write nothing" }
local show_diff = { name = "diff", type = "flag", help = "print the changes as a unified diff" }
local yes = { name = "yes", short = "y", type = "flag", help = "do not ask" }
local IMAGE = { name = "IMAGE", complete = "image" }
local value = { name = "value", type = "list", metavar = "K=V", help = "value for the templates (repeatable)" }
local force = { name = "force", type = "flag", help = "render one that exists anew" }

local function command(name, summary, args, options, run, more)
  local out = { name = name, summary = summary, args = args, options = options, run = run }
  for k, v in pairs(more or {}) do out[k] = v end
  return out
end

local create_project = command("project", "write a bakery.yaml to start with", nil, {
  { name = "url", type = "string", metavar = "URL", help = "address of the repository [default: the first git remote]" },
  { name = "vendor", type = "string", metavar = "NAME", default = "Posit Software, PBC", help = "vendor in the labels" },
  { name = "maintainer", type = "string", metavar = "PERSON", default = "Posit Docker Team <docker@posit.co>",
    help = "maintainer in the labels" },
  { name = "registry", type = "string", metavar = "HOST/NAMESPACE", default = "docker.io/posit",
    help = "registry that images are tagged for" },
  dry_run,
}, lazy("create", "project"))

local create_image = command("image", "add an image with a skeleton of templates", { { name = "NAME" } }, {
  { name = "base-image", type = "string", metavar = "REF", default = "docker.io/library/ubuntu:22.04",
    help = "what the Containerfile begins with" },
  { name = "subpath", type = "string", metavar = "DIR", help = "directory of the image [default: from its name]" },
  { name = "display-name", type = "string", metavar = "TEXT", help = "name for people, in the labels" },
  { name = "description", type = "string", metavar = "TEXT", help = "description, in the labels" },
  { name = "documentation-url", type = "string", metavar = "URL", help = "documentation, in the labels" },
  dry_run, show_diff,
}, lazy("create", "image"))

local create_version = command("version", "add a version to an image and render its files",
  { IMAGE, { name = "VERSION" } }, {
    { name = "subpath", type = "string", metavar = "DIR", help = "directory below the image [default: the version]" },
    value,
    { name = "mark-latest", type = "switch", default = true, help = "mark it latest, and no other" },
    force,
    { name = "diff-against", type = "string", metavar = "VERSION", complete = "version",
      help = "print how the files differ from those of another version, as Markdown" },
    dry_run, show_diff, lookup[1], lookup[2],
  }, lazy("create", "version"), {
    description = "Operating systems are those of the latest version; dependency constraints of the image are\n"
      .. "resolved now and pinned. The entry goes where version order puts it; nothing is written when a\n"
      .. "template fails.",
    examples = { "bakery create version connect 2026.05.0 --value build=17",
      "bakery create version connect 2026.05.0 --diff-against 2026.04.1 > comment.md" },
  })

local create_matrix = command("matrix", "give an image a matrix of dependencies and values, and render its files",
  { IMAGE }, {
    { name = "name-pattern", type = "string", metavar = "TEMPLATE", help = "how the rows are named" },
    { name = "subpath", type = "string", metavar = "DIR", help = "directory below the image [default: matrix]" },
    { name = "dependency-constraint", type = "list", metavar = "JSON",
      help = [[such as {"dependency": "R", "constraint": {"latest": true, "count": 2}} (repeatable)]] },
    { name = "dependency", type = "list", metavar = "JSON",
      help = [[such as {"dependency": "R", "versions": ["4.5.1", "4.4.3"]} (repeatable)]] },
    value, force, dry_run, show_diff,
  }, lazy("create", "matrix"))

local create_ci = command("ci", "write workflow files that build, test and publish the project",
  { { name = "github|gitlab" } }, {
    { name = "output", type = "string", metavar = "FILE", complete = "file", help = "where to write it" },
    { name = "branch", type = "string", metavar = "NAME", help = "branch that is published [default: the current one]" },
    { name = "temp-registry", type = "string", metavar = "HOST/NAMESPACE",
      help = "where parts of images wait until they are published" },
    { name = "platform", type = "list", metavar = "PLATFORM=RUNNER",
      help = "runner that builds a platform (repeatable)" },
    { name = "bakery-url", type = "string", metavar = "URL",
      help = "where it downloads bakery from, with {arch} and {version} [default: the variable BAKERY_URL]" },
    { name = "bakery-version", type = "string", metavar = "VERSION", help = "version of bakery [default: this one's]" },
    { name = "schedule", type = "string", metavar = "CRON", help = "rebuild at these times" },
    { name = "force", type = "flag", help = "replace an existing file" },
    dry_run, show_diff,
  }, lazy("workflows", "run"))

local update_files = command("files", "render the files of versions and matrices anew", nil, {
  { name = "image-name", type = "string", metavar = "RE", complete = "image", help = "images whose name matches" },
  { name = "image-version", type = "string", metavar = "VERSION", complete = "version",
    help = "this version, or every version it is a prefix of" },
  { name = "template-pattern", type = "list", metavar = "RE",
    help = "templates whose path below template/ begins so (repeatable)" },
  { name = "all", type = "flag", help = "all of them (the default without a filter)" },
  { name = "check", type = "flag", help = "write nothing, exit 7 when files are out of date" },
  dry_run, show_diff,
}, lazy("update", "files"), {
  description = "Files are overwritten, never removed; those that are as they should be are left alone.",
})

local update_version = command("version", "rename a version and render its files anew", { IMAGE, { name = "NEW" } }, {
  { name = "target-version", type = "string", metavar = "OLD", complete = "version",
    help = "version that is renamed [default: the one marked latest]" },
  value,
  { name = "clean", type = "switch", default = true, help = "remove the old files first" },
  dry_run, show_diff,
}, lazy("update", "version"))

local remove_image = command("image", "remove an image, its files and its entry", { IMAGE },
  { yes, dry_run, show_diff }, lazy("remove", "image"))
local remove_version = command("version", "remove a version, its files and its entry", { IMAGE,
  { name = "VERSION", complete = "version" } }, {
  { name = "promote", type = "switch", default = true,
    help = "mark the newest of the others latest when the latest one goes" },
  yes, dry_run, show_diff,
}, lazy("remove", "version"))
local remove_matrix = command("matrix", "remove the matrix of an image and its files", { IMAGE },
  { yes, dry_run, show_diff }, lazy("remove", "matrix"))

local function as(name, original)
  local out = {}
  for k, v in pairs(original) do out[k] = v end
  out.name = name
  return out
end

M.create = { name = "create", aliases = { "c", "new" }, group = GROUP, summary = "add to the project",
  subcommands = { create_project, create_image, create_version, create_matrix, create_ci } }
M.update = { name = "update", aliases = { "u", "up" }, group = GROUP, summary = "render files anew, rename versions",
  subcommands = { update_files, update_version } }
M.remove = { name = "remove", aliases = { "rm", "r" }, group = GROUP, summary = "take out of the project",
  subcommands = { remove_image, remove_version, remove_matrix } }

--- The same with the noun in front.
M.image = { name = "image", group = GROUP, hidden = true, summary = "create or remove an image",
  subcommands = { as("create", create_image), as("remove", remove_image) } }
M.matrix = { name = "matrix", group = GROUP, hidden = true, summary = "create or remove a matrix",
  subcommands = { as("create", create_matrix), as("remove", remove_matrix) } }
M.version_verbs = { as("create", create_version), as("update", update_version), as("remove", remove_version) }

M.get_version = command("version", "print the latest version of an image, or the one with a subpath", { IMAGE },
  { { name = "subpath", type = "string", metavar = "DIR", help = "the version with this directory" } },
  lazy("get", "version"))

-- --- tools -------------------------------------------------------------------------------------

-- Tool, its verb, the recipes that do its work (the first one there is), what it does.
local TOOLS = {
  { "dgoss", "run", { "dgoss", "test" }, "run the checks of built images" },
  { "hadolint", "run", { "hadolint", "lint" }, "lint Containerfiles" },
  { "wizcli", "scan", { "wizcli", "wiz" }, "scan built images with Wiz" },
  { "trivy", "scan", { "trivy" }, "scan built images with Trivy" },
  { "openscap", "scan", { "openscap" }, "check built images against SCAP profiles" },
}

local function tool(name, row, deprecated)
  return { name = name, summary = row[4], tool = row[1], recipes = row[3], deprecated = deprecated,
    prepare = lazy("tools", "prepare") }
end

--- `bakery dgoss run` and the like.
M.tools = {}
for i, row in ipairs(TOOLS) do
  M.tools[i] = { name = row[1], hidden = true, summary = row[4], subcommands = { tool(row[2], row) } }
end

local OLD = { dgoss = "dgoss", lint = "hadolint", trivy = "trivy", wiz = "wizcli", openscap = "openscap" }

--- `bakery run dgoss` and the like: what they were called before.
M.run = { name = "run", hidden = true, summary = "former names of the tools", subcommands = {} }
for _, name in ipairs { "lint", "dgoss", "trivy", "wiz", "openscap" } do
  for _, row in ipairs(TOOLS) do
    if row[1] == OLD[name] then
      table.insert(M.run.subcommands, tool(name, row, row[1] .. " " .. row[2]))
    end
  end
end

return M
