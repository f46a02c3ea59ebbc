--- Tables of the commands about images outside of the project: `image …`, `login`, `logout`.
local options = require "app.cli.options"
local manage = require "app.commands.manage"

local M = {}

local function lazy(name)
  return function(values, command) return require("app.commands.image")[name](values, command) end
end

local dry_run = { name = "dry-run", type = "flag", help = "show what would be done" }
local yes = { name = "yes", short = "y", type = "flag", help = "do not ask" }
local jobs = { name = "jobs", short = "j", type = "int", min = 1, metavar = "N", help = "transfers at once (8)" }
local one_platform = { name = "platform", type = "string", metavar = "OS/ARCH", complete = "platform",
  help = "of an index, this platform's image" }
local image_arg = { name = "IMAGE" }
local copying = {
  { name = "platform", type = "list", metavar = "OS/ARCH", complete = "platform",
    help = "of an index only this platform: alone the image itself, several times a smaller index" },
  { name = "all", type = "flag", help = "the whole index, all platforms (the default)" },
  { name = "referrers", type = "flag", help = "signatures, SBOMs and other referrers too" },
  { name = "force", type = "flag", help = "look at every blob, also below manifests that are there" },
  jobs, dry_run }
local copy_options = options.join(copying, options.access)

M.image = { name = "image", group = "Images",
  summary = "inspect, copy, tag, remove and compare images in registries, layouts, archives and the store",
  description = "An image is a registry's reference (docker.io/library/debian:12), oci:DIR[:NAME], oci:DIR@DIGEST,\n"
    .. "docker-archive:FILE[:NAME] or store:NAME.",
  subcommands = {
    { name = "inspect", summary = "say what an image or index is", args = { image_arg },
      options = options.join({ one_platform }, options.access), run = lazy("inspect") },
    { name = "ls", summary = "list tags of a repository, names in oci:DIR or store:all, repositories of a registry",
      args = { { name = "REPOSITORY|REGISTRY/" } },
      options = options.join({
        { name = "match", type = "string", metavar = "RE", help = "only names that match the regular expression" },
        { name = "digests", type = "flag", help = "with the digest of each tag" },
        { name = "last", type = "string", metavar = "NAME", help = "only names behind this one" },
        { name = "limit", type = "int", min = 1, help = "at most so many" }, jobs }, options.access),
      run = lazy("ls") },
    { name = "copy", aliases = { "cp" }, summary = "copy an image or index, byte for byte, to one or more places",
      args = { { name = "FROM" }, { name = "TO" }, { name = "TO", optional = true, many = true } },
      options = options.join({ { name = "all-tags", type = "flag", help = "every tag of FROM, which is a repository then, as TO is" },
        { name = "match", type = "string", metavar = "RE", help = "with --all-tags: only tags that match the regular expression" } },
        copy_options),
      run = lazy("copy") },
    { name = "tag", summary = "give an image more tags in its repository",
      args = { image_arg, { name = "TAG" }, { name = "TAG", optional = true, many = true } },
      options = options.join({ jobs, dry_run }, options.access), run = lazy("tag") },
    { name = "rm", aliases = { "delete" }, summary = "remove a tag, or with @DIGEST an image with all its tags",
      args = { image_arg, { name = "IMAGE", optional = true, many = true } },
      options = options.join({ dry_run, yes }, options.access), run = lazy("rm") },
    { name = "diff", summary = "compare configuration, layers and files of two images",
      args = { { name = "A" }, { name = "B" } },
      options = options.join({ one_platform,
        { name = "no-files", type = "flag", help = "leave the files alone: no layer is downloaded" },
        { name = "times", type = "flag", help = "modification times count" },
        { name = "limit", type = "int", min = 0, default = 200, help = "lines about files" },
        { name = "exit-code", type = "flag", help = "exit with 7 when there are differences" }, jobs }, options.access),
      run = lazy("diff") },
    { name = "export", summary = "write an image to oci:DIR or docker-archive:FILE",
      args = { image_arg, { name = "TO" } }, options = copy_options, run = lazy("export") },
    { name = "import", summary = "bring an image from oci:DIR or docker-archive:FILE to a registry or the store",
      args = { { name = "FROM" }, { name = "TO" } }, options = copy_options, run = lazy("import") },
    { name = "manifest", summary = "print a manifest or index as it is", args = { image_arg },
      options = options.join({ one_platform }, options.access), run = lazy("manifest") },
    { name = "referrers", summary = "list what refers to an image: signatures, SBOMs, attestations", args = { image_arg },
      options = options.join({ one_platform,
        { name = "artifact-type", type = "string", metavar = "TYPE", help = "only those of this type" },
        { name = "annotation", type = "pairs", metavar = "KEY=VALUE", help = "only those with this annotation" } },
        options.access), run = lazy("referrers") },
  } }

M.login = { name = "login", group = "Images", summary = "keep credentials for a registry",
  description = "The password comes from standard input or a terminal, never from the command line. It is tried, then kept\n"
    .. "by the credential helper that docker's config.json names, else in that file.",
  args = { { name = "REGISTRY", optional = true } },
  options = options.join({
    { name = "username", short = "u", type = "string", metavar = "NAME", help = "user name" },
    { name = "password-stdin", type = "flag", help = "read the password from standard input" },
    { name = "identity-token", type = "flag", help = "what is read is an OAuth2 refresh token" },
    { name = "no-check", type = "flag", help = "keep the credentials without trying them" },
    { name = "list", type = "flag", help = "show which registries have credentials" } }, options.access),
  run = lazy("login") }

M.logout = { name = "logout", group = "Images", summary = "forget the credentials for registries",
  args = { { name = "REGISTRY", optional = true, many = true } },
  options = options.join({ { name = "all", type = "flag", help = "all of them" } }, options.access),
  run = lazy("logout") }

-- `image create` and `image remove` are about the project.
for _, c in ipairs(manage.image.subcommands) do table.insert(M.image.subcommands, c) end

return M
