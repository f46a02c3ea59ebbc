--- The Containerfile language: parser, stages, variable expansion, and an evaluator that turns the
--- instructions of a stage into resolved build steps. No I/O; see README.md for the dialect.
local checks = require "bakery.containerfile.checks"
local expand = require "bakery.containerfile.expand"
local fault = require "bakery.containerfile.fault"
local flags = require "bakery.containerfile.flags"
local grammar = require "bakery.containerfile.grammar"
local ignore = require "bakery.containerfile.ignore"
local mounts = require "bakery.containerfile.mounts"
local parser = require "bakery.containerfile.parser"
local platform = require "bakery.containerfile.platform"
local remote = require "bakery.containerfile.remote"
local resolve = require "bakery.containerfile.resolve"
local state = require "bakery.containerfile.state"

local containerfile = {}

---Parses a Containerfile.
---@param text string
---@param opts? {name?: string} file name for messages
---@return table|nil ast {name=, directives=, escape=, instructions=, warnings=, check=}
---@return bakery.containerfile.error? err
containerfile.parse = fault.guard(parser.parse)

---Resolves FROM references and the stages that a target needs.
---@param ast table
---@param opts? {build_args?: table<string,string>, platform?: string, build_platform?: string,
---  target?: string, contexts?: table<string, any>, epoch?: integer, every_stage?: boolean} every_stage: the
---  warnings are to be of all stages, not of those that the target needs
---@return bakery.containerfile.plan|nil plan
---@return bakery.containerfile.error? err
containerfile.stages = fault.guard(resolve.stages)

---Opens the evaluator of a stage: over another stage's state, a base image's configuration document
---or nothing (scratch).
---@param stage bakery.containerfile.stage
---@param opts {globals: bakery.containerfile.plan, parent?: bakery.containerfile.state,
---  config?: table}
---@return bakery.containerfile.state|nil state
---@return bakery.containerfile.error? err
containerfile.state = fault.guard(state.open)

containerfile.expand = expand.expand

---Where ignore files are looked for, best first.
containerfile.ignore_files = ignore.files

---Patterns of an ignore file.
---@param text string
---@param opts? {name?: string}
---@return string[]|nil patterns, integer[]|bakery.containerfile.error lines
containerfile.ignore_lines = fault.guard(ignore.raw_lines)

---Parses the value of a RUN --mount flag on its own.
---@param text string
---@param expander? fun(value: string): string
containerfile.mount = fault.guard(function(text, expander)
  return mounts.parse(text, expander or function(value) return value end)
end)

---Canonical os/arch[/variant], or nil.
containerfile.platform = platform.canonical

---Go duration in nanoseconds, or nil.
containerfile.duration = flags.duration

---Bytes of a size such as "64m", or nil.
containerfile.size = flags.size

---"http" or "git" when a source or context is one of these, else nil.
containerfile.remote = remote.kind

---Parts of a git source: { url=, ref=, subdir=, checksum=, keep_git_dir=, submodules= }.
---@param source string
containerfile.git = fault.guard(remote.git)

---File name of an ADDed URL.
containerfile.url_filename = remote.filename

---Rules of BuildKit's linter: name -> true, or false for an experimental one.
containerfile.checks = checks.rules

---Whether a rule is to be reported under a plan's `check` options.
containerfile.check_wanted = checks.wanted

---Names of all instructions, sorted.
containerfile.instructions = grammar.names

return containerfile
