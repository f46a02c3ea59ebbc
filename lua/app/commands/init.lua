--- Every command of the program, in the order of the help. A command is
---   { name=, aliases=, summary=, description=, group=, args=, options=, run=fn(values, command) -> exit code,
---     subcommands=, hidden=, prepare=fn(command, args) -> command }; with `run` and `subcommands` it runs
---     unless one of these is named.
--- Implementations are loaded when they run.
local manage = require "app.commands.manage"
local options = require "app.cli.options"
local images = require "app.commands.images"

local M = {}

local function lazy(module, name)
  return function(values, command) return require("app.commands." .. module)[name](values, command) end
end

local function recipe_command(name, summary, aliases)
  return { name = name, aliases = aliases, summary = summary, group = "Daily work", recipe = name,
    prepare = lazy("recipe", "prepare"), run = lazy("recipe", "run") }
end

local dry_run = { name = "dry-run", type = "flag", help = "show what would be done" }

local base_ref_of_ci = {}
for k, v in pairs(options.changes[1]) do base_ref_of_ci[k] = v end
base_ref_of_ci.env = "BAKERY_BASE_REF"

local key_option = { name = "key", type = "string", metavar = "FILE", env = "BAKERY_SIGN_KEY", complete = "file",
  help = "key file, or env://NAME for a variable with the PEM text" }
local key_files = {
  { name = "output-key-prefix", type = "string", metavar = "PREFIX", help = "names of the files without .key and .pub" },
  { name = "force", type = "flag", help = "replace existing files" },
}
local password_text = "The password comes from COSIGN_PASSWORD, from a line of standard input, or from the terminal; never"
  .. " from an argument."
-- Options of what makes indexes from metadata files.
local merge_options = options.join({
  { name = "temp-registry", type = "string", metavar = "REPO", help = "where the runners pushed to: REPO/IMAGE/tmp" },
  { name = "dry-run", type = "switch", default = false, help = "show what would be done" },
  { name = "allow-missing-platform", type = "flag", help = "publish targets although a declared platform was not built" },
  { name = "keep-going", short = "k", type = "flag", help = "publish the other targets when one fails" },
  { name = "wait", type = "int", min = 0, metavar = "SECONDS", help = "for images that cannot be seen yet [default: 600]" },
  { name = "sign-key", type = "string", metavar = "FILE", env = "BAKERY_SIGN_KEY", complete = "file",
    help = "sign with this key before the tags are set" },
  { name = "require", type = "list", metavar = "test|lint|scan", env = "BAKERY_PUBLISH_REQUIRE",
    help = "publish only images that have this verdict in the results, and a good one (repeatable)" },
  { name = "results-from", type = "list", metavar = "FILE", complete = "file",
    help = "results documents of the runners (--results) with those verdicts (repeatable)" },
}, options.without(options.selection, "image-version", "image-variant", "image-os", "image-platform", "latest",
  "dev-versions", "matrix-versions", "select"))

local function clean_options(untagged)
  return options.join({
    { name = "untagged", type = "switch", default = untagged, help = "versions without a tag too (ghcr.io)" },
    { name = "older-than", type = "int", min = 0, metavar = "DAYS", help = "what was not updated for so long" },
    { name = "dry-run", type = "flag", help = "print what would be removed as JSON" },
  }, options.without(options.selection, "image-version", "image-variant", "image-os", "image-platform", "latest", "dev-spec", "select"))
end

M.list = {
  recipe_command("build", "build the selected targets", { "bake", "b" }),
  recipe_command("test", "run the checks of built images"),
  recipe_command("publish", "push built images by digest, then set their tags"),
  { name = "plan", group = "Daily work", summary = "print the plan of the selected targets as JSON",
    options = options.join(options.registries, options.selection, options.changes), run = lazy("plan", "run") },
  { name = "get", group = "Daily work", summary = "ask the project for names", subcommands = {
    { name = "tags", summary = "print the tags of the selected targets as JSON",
      options = options.join({ { name = "output", type = "enum", choices = { "component", "uid" },
        default = "component", help = "nested by component, or by target uid" } }, options.selection),
      run = lazy("get", "tags") },
    manage.get_version,
    { name = "targets", summary = "print the selected targets", options = options.selection,
      run = lazy("get", "targets") },
    { name = "images", summary = "print the images of the project", run = lazy("get", "images") },
    { name = "versions", summary = "print the versions of an image", args = { { name = "IMAGE", complete = "image" } },
      run = lazy("get", "versions") },
    { name = "registries", summary = "print the registries of the project", run = lazy("get", "registries") },
  } },
  manage.create, manage.update, manage.remove, manage.matrix,
  { name = "ci", group = "Pipelines", summary = "what CI pipelines ask for", subcommands = {
    { name = "matrix", summary = "print the job matrix of the selected versions as JSON: one row per version and platform",
      args = { { name = "IMAGE", optional = true, complete = "image" } },
      options = options.join({
        { name = "exclude", type = "list", choices = { "version", "dev", "platform" },
          help = "field to leave out of the rows (repeatable)" },
        { name = "wrap", type = "flag", help = "print {\"include\": [rows]} instead of the bare array" },
        { name = "max-jobs", type = "int", min = 1, metavar = "N",
          help = "print a list of matrices of at most N rows each (GitHub takes 256 in one)" },
        { name = "github-output", type = "string", metavar = "NAME",
          help = "also set the outputs NAME, NAME-count and, with --max-jobs, NAME-batches of this GitHub step" },
      }, options.without(options.selection, "image-variant", "image-os", "image-platform", "latest", "select"),
        options.changes, { base_ref_of_ci }),
      run = lazy("ci", "matrix") },
    { name = "readme", summary = "push each image's README.md to its repositories on Docker Hub",
      description = "Images count that have a latest version, or a matrix, and a registry on docker.io with a namespace.\n"
        .. "Needs DOCKER_HUB_README_USERNAME and DOCKER_HUB_README_PASSWORD (a personal access token).",
      options = { { name = "check", type = "flag", help = "only check that no README is too long for Docker Hub" }, dry_run,
        { name = "short-description", type = "flag", help = "set the short description to the image's description too" },
        { name = "image-name", type = "string", metavar = "RE", complete = "image", group = "Selection",
          help = "images whose name matches the regular expression" },
        { name = "dev-versions", type = "enum", choices = { "include", "exclude", "only" }, default = "include",
          group = "Selection", help = "development versions (they have no README)" },
        { name = "dev-channel", type = "enum", choices = { "release", "preview", "daily" }, group = "Selection",
          help = "accepted for compatibility" },
        { name = "dev-stream", type = "enum", choices = { "release", "preview", "daily" }, hidden = true,
          deprecated = "dev-channel", help = "deprecated: --dev-channel" },
        { name = "matrix-versions", type = "enum", choices = { "include", "exclude", "only" }, default = "include",
          group = "Selection", help = "images with a matrix" } },
      run = lazy("ci", "readme") },
    { name = "summary", summary = "merge --summary-format json files of several jobs into one Markdown report",
      args = { { name = "JSON", many = true, complete = "file" } },
      options = { { name = "output", type = "string", metavar = "FILE", complete = "file",
          help = "write the report there (- is standard output)" },
        { name = "disclaimer", type = "string", help = "a warning above the report" } },
      run = lazy("ci", "summary") },
    { name = "publish", summary = "make one index per target of what several runners built, and set its tags",
      description = "META are the metadata files of `build --push --temp-registry`. Nothing is tagged unless every target "
        .. "could be staged; `bakery publish --resume` or `--rollback` mends a publish that was killed.",
      args = { { name = "META", many = true, complete = "file" } },
      options = options.join({ { name = "jobs", short = "j", type = "int", min = 1, help = "targets at the same time [default: 4]" },
        { name = "summary", type = "flag", help = "sizes, tags and layers of what was published" },
        { name = "summary-format", type = "enum", choices = { "table", "json" }, default = "table",
          help = "table on standard error or JSON on standard output, for `ci summary`" } },
        merge_options), run = lazy("publish", "publish") },
    { name = "merge", summary = "the same", args = { { name = "META", many = true, complete = "file" } },
      options = merge_options, run = lazy("publish", "publish") },
  } },
  { name = "check", group = "Daily work",
    summary = "validate bakery.yaml, templates, Containerfiles, tests and recipes, change nothing",
    options = { { name = "strict", type = "flag", help = "warnings are errors" } }, run = lazy("check", "run") },
  { name = "schema", group = "Scripting", summary = "print the JSON Schema of bakery.yaml, for editors",
    run = lazy("check", "schema") },
  { name = "explain", group = "Daily work", summary = "say why the steps of a target ran again",
    args = { { name = "TARGET", complete = "target" } },
    options = { { name = "last", type = "string", metavar = "RUN", help = "that run instead of the last (id, or 2 for the one before it)" },
      { name = "image-platform", type = "string", metavar = "OS/ARCH", help = "only that platform" } },
    run = lazy("explain", "run") },
  { name = "shell", group = "Daily work", summary = "open a shell in a throw-away copy of a built image",
    args = { { name = "TARGET", complete = "target" }, { name = "COMMAND", optional = true, many = true } },
    options = { { name = "user", type = "string", metavar = "USER", help = "instead of the image's" },
      { name = "network", type = "enum", choices = { "host", "none", "private" }, default = "host", help = "network of the shell" },
      { name = "security", type = "enum", choices = { "default", "strict" }, default = "default",
        help = "strict: no-new-privileges" },
      { name = "image-platform", type = "string", metavar = "OS/ARCH", help = "of a target with several" } },
    run = lazy("shell", "run") },
  { name = "sign", group = "Images", summary = "sign images of registries with a key, offline",
    description = "Writes a sigstore bundle that refers to the image and a .sig tag, as cosign does. Rekor and Fulcio are"
      .. " never asked. Signing an index signs every manifest in it.",
    args = { { name = "REF", many = true } },
    options = { key_option, { name = "recursive", type = "switch", default = true, help = "manifests of an index too" },
      { name = "format", type = "list", metavar = "FORM", help = "bundle or simple (repeatable; default: both)" },
      { name = "annotations", short = "a", type = "pairs", metavar = "K=V", help = "what the signature also says (repeatable)" },
      { name = "force", type = "flag", help = "sign again what the key has signed" } },
    run = lazy("sign", "sign") },
  { name = "verify", group = "Images", summary = "verify that a key has signed images, offline",
    description = "One valid signature of either form is enough for each manifest asked about. Exit code 3: not signed, or"
      .. " not by this key.",
    args = { { name = "REF", many = true } },
    options = { key_option, { name = "recursive", type = "switch", help = "every manifest of an index must be signed too" },
      { name = "annotations", short = "a", type = "pairs", metavar = "K=V", help = "that signatures must have (repeatable)" } },
    run = lazy("sign", "verify") },
  { name = "attest", group = "Images", summary = "attach a statement to an image, signed when a key is given",
    args = { { name = "REF" } },
    options = { key_option, { name = "type", type = "string", metavar = "TYPE",
        help = "predicate type: slsaprovenance1, spdx, cyclonedx, openvex, test-result … or a URI" },
      { name = "predicate", type = "string", metavar = "FILE", complete = "file", help = "the predicate (JSON)" } },
    run = lazy("sign", "attest") },
  { name = "attestations", group = "Images", summary = "list the statements attached to an image",
    description = "With --key, each is verified; without a valid one the exit code is 3.",
    args = { { name = "REF" } },
    options = { key_option, { name = "type", type = "string", metavar = "TYPE", help = "only of this predicate type" } },
    run = lazy("sign", "attestations") },
  { name = "key", group = "Images", summary = "keys to sign with, in cosign's files", subcommands = {
    { name = "generate", summary = "make a key pair: cosign.key and cosign.pub",
      description = password_text, options = key_files, run = lazy("sign", "generate") },
    { name = "import", summary = "encrypt a private key (PEM) as cosign does", args = { { name = "FILE", complete = "file" } },
      description = password_text, options = key_files, run = lazy("sign", "import") },
    { name = "public", summary = "print the public key", args = { { name = "FILE", complete = "file" } },
      run = lazy("sign", "public") },
  } },
  { name = "soci", group = "Images", summary = "indexes for clients that load images lazily", subcommands = {
    { name = "convert", summary = "make an image that lazily loading clients (SOCI) can start early",
      description = "SRC and DST are image references or oci:DIR[:NAME]; without DST, the source's tag with -soci. Metadata"
        .. " files instead of SRC: as imagetools soci-convert.",
      args = { { name = "SRC", complete = "file" }, { name = "DST", optional = true, many = true, complete = "file" } },
      options = { { name = "platform", type = "list", metavar = "OS/ARCH", complete = "platform",
          help = "index this platform (repeatable; default: all)" },
        { name = "all-platforms", type = "flag", help = "index all platforms" },
        { name = "span-size", type = "int", min = 512, metavar = "BYTES", help = "between two entry points [default: 4194304]" },
        { name = "min-layer-size", type = "int", min = 0, metavar = "BYTES",
          help = "leave smaller layers out [default: 10485760]" },
        { name = "prefetch-file", type = "list", metavar = "PATH", help = "clients load this file first (repeatable)" },
        { name = "prefetch-files-json", type = "string", metavar = "FILE", complete = "file", help = "a list of such paths" },
        { name = "optimizations", type = "list", metavar = "NAME", help = "xattr: note layers without extended attributes" },
        { name = "jobs", short = "j", type = "int", min = 1, help = "layers at the same time" },
        { name = "force", type = "flag", help = "replace an image of that name in a layout" } },
      run = lazy("soci", "convert") },
  } },
  { name = "imagetools", aliases = { "oras" }, group = "Images", summary = "work on images that metadata files name", subcommands = {
    { name = "merge", summary = "as ci publish, without waiting for sources and without SOCI",
      args = { { name = "META", many = true, complete = "file" } }, options = merge_options, run = lazy("publish", "merge") },
    { name = "soci-convert", summary = "make SOCI indexes of the targets that want them, as TAG-soci",
      args = { { name = "META", many = true, complete = "file" } },
      options = options.join({ { name = "jobs", short = "j", type = "int", min = 1, help = "layers at the same time" } },
        options.selection), run = lazy("soci", "from_metadata") },
  } },
  { name = "recipe", group = "Recipes", summary = "run a recipe by name",
    args = { { name = "NAME", complete = "recipe" } }, prepare = lazy("recipe", "prepare"), run = lazy("recipe", "run") },
  { name = "recipes", group = "Recipes", summary = "list and inspect recipes", subcommands = {
    { name = "list", summary = "list all recipes and where they come from", run = lazy("recipes", "list") },
    { name = "show", summary = "print a recipe's steps and options",
      args = { { name = "NAME", complete = "recipe" } },
      options = { { name = "why", type = "flag", help = "file and line each step comes from, and what is shadowed" } },
      run = lazy("recipes", "show") },
    { name = "which", summary = "print the file a recipe is taken from",
      args = { { name = "NAME", complete = "recipe" } },
      options = { { name = "all", short = "a", type = "flag", help = "shadowed files too" } },
      run = lazy("recipes", "which") },
    { name = "eject", summary = "copy a stock recipe into the project to change it",
      args = { { name = "NAME", complete = "recipe" } },
      options = { { name = "force", type = "flag", help = "replace an existing file" }, dry_run },
      run = lazy("recipes", "eject") },
    { name = "check", summary = "load every recipe and report problems", run = lazy("recipes", "check") },
  } },
  { name = "lock", group = "Daily work", summary = "look versions up and pin them in bakery.lock",
    description = "Without NAME everything is looked up anew; with names only those dependencies, products or "
      .. "look-ups, besides what is missing. What bakery.yaml no longer asks for goes.",
    args = { { name = "NAME", optional = true, many = true } },
    options = { { name = "check", type = "flag", help = "look nothing up: exit 7 unless bakery.lock fits bakery.yaml" },
      { name = "keep", type = "flag", help = "look up only what is missing" }, dry_run, options.lookup[1] },
    run = lazy("lock", "run") },
  { name = "resolvers", group = "Recipes", summary = "list and try what looks versions up", subcommands = {
    { name = "list", summary = "list all resolvers and where they come from", run = lazy("resolvers", "list") },
    { name = "show", summary = "print a resolver's source", args = { { name = "NAME" } }, run = lazy("resolvers", "show") },
    { name = "versions", summary = "print the versions that a resolver knows, newest first",
      args = { { name = "NAME[:ARGUMENT]" } },
      options = { { name = "prerelease", type = "flag", help = "prereleases too" },
        { name = "latest", type = "flag", help = "the newest of each minor version" },
        { name = "count", type = "int", min = 1, help = "so many minor versions" },
        { name = "max", type = "string", metavar = "VERSION", help = "not above this version or series" },
        { name = "min", type = "string", metavar = "VERSION", help = "not below this version" }, options.lookup[1] },
      run = lazy("resolvers", "versions") },
  } },
  images.image, images.login, images.logout,
  { name = "clean", group = "Maintenance", summary = "remove old contents of cache and temporary registries", subcommands = {
    { name = "cache-registry", summary = "clean REGISTRY/IMAGE/cache of the selected images",
      args = { { name = "REGISTRY" } }, options = clean_options(true), run = lazy("retention", "clean_cache") },
    { name = "temp-registry", summary = "clean REGISTRY/IMAGE/tmp of the selected images",
      args = { { name = "REGISTRY" } }, options = clean_options(false), run = lazy("retention", "clean_temp") },
  } },
  { name = "prune", group = "Maintenance", summary = "remove old tags of published images, and what only they need",
    description = "Without repositories: those of the policy, else the project's. Tags that no rule speaks of stay; so does "
      .. "whatever a tag that stays needs: children of indexes, signatures, SBOMs. Without --apply only the plan is shown.",
    args = { { name = "REPOSITORY", optional = true, many = true } },
    options = { { name = "policy", type = "string", metavar = "FILE", complete = "file", help = "rules: what to keep (YAML)" },
      { name = "keep-last", type = "int", min = 0, metavar = "N", help = "keep the newest N of each version line" },
      { name = "keep-days", type = "number", metavar = "DAYS", help = "keep what is younger" },
      { name = "line", type = "enum", choices = { "major", "minor", "patch", "all" }, help = "what a version line is [default: minor]" },
      { name = "tags", type = "string", metavar = "RE", help = "--keep-last and --keep-days speak of these tags only" },
      { name = "keep-tag", type = "list", metavar = "RE", help = "keep these tags whatever else is said (repeatable)" },
      { name = "grace", type = "number", metavar = "HOURS", help = "leave what is younger alone, and what may be [default: 24]" },
      { name = "max-delete", type = "int", min = 0, metavar = "N", help = "refuse to remove more" },
      { name = "plan-out", type = "string", metavar = "FILE", complete = "file", help = "write the plan there" },
      { name = "apply", type = "flag", help = "carry the plan out" },
      { name = "apply-plan", type = "string", metavar = "FILE", complete = "file",
        help = "carry out a saved plan, if all of it still holds" },
      { name = "yes", short = "y", type = "flag", help = "do not ask" } },
    run = lazy("retention", "prune") },
  { name = "store", group = "Maintenance", summary = "look at and clean the local store", subcommands = {
    { name = "du", summary = "how much space what takes", run = lazy("store", "du") },
    { name = "ls", summary = "images in the store", run = lazy("store", "ls") },
    { name = "gc", summary = "remove what nothing needs",
      options = { dry_run,
        { name = "max-size", type = "string", metavar = "SIZE", help = "shrink the store to about that, for example 20g" },
        { name = "max-bytes", type = "int", hidden = true, help = "the same in bytes" },
        { name = "max-age", type = "int", metavar = "DAYS", help = "drop cache entries unused for so long" } },
      run = lazy("store", "gc") },
    { name = "prune", summary = "remove everything that can be made again",
      options = { { name = "images", type = "flag", help = "images too" },
        { name = "older-than", type = "int", min = 0, metavar = "DAYS", help = "only what was not used for so long" }, dry_run,
        { name = "yes", short = "y", type = "flag", help = "do not ask" } }, run = lazy("store", "prune") },
    { name = "runs", summary = "the last runs, newest first",
      options = { { name = "limit", type = "int", min = 1, default = 20, help = "how many" } }, run = lazy("store", "runs") },
    { name = "check", summary = "verify digests of blobs and layers", run = lazy("store", "check") },
  } },
  { name = "doctor", group = "Maintenance", summary = "say what works on this machine and how to fix what does not",
    run = lazy("doctor", "run") },
  { name = "lua", group = "Scripting", summary = "run a Lua script with bakery's modules",
    args = { { name = "FILE", optional = true, complete = "file" }, { name = "ARGS", optional = true, many = true } },
    options = { { name = "e", type = "string", metavar = "CODE", help = "run this code first (written -e CODE)" } },
    run = lazy("lua", "run") },
  { name = "completion", group = "Scripting", summary = "print a shell completion script",
    args = { { name = "bash|zsh|fish" } }, run = lazy("meta", "completion") },
  { name = "man", group = "Scripting", summary = "print the manual page", run = lazy("meta", "man") },
  { name = "version", group = "Scripting", summary = "print the version", run = lazy("meta", "version"),
    subcommands = manage.version_verbs },
  { name = "help", group = "Scripting", summary = "print help", args = { { name = "TOPIC", optional = true, many = true } },
    run = lazy("meta", "help") },
  manage.run,
  { name = "__complete", hidden = true, summary = "names for shell completion",
    args = { { name = "KIND" } }, run = lazy("meta", "complete") },
}
for _, tool in ipairs(manage.tools) do table.insert(M.list, tool) end

return M
