--- One editing command: the project as it was read, an editor on its bakery.yaml, and the changes that
--- are going to be made. Everything is worked out in memory; finish() shows or does it.
local changes = require "app.edit.changes"
local document = require "app.edit.document"
local fail = require "app.fail"
local fs = require "bakery.fs"
local journal = require "app.edit.journal"
local json = require "bakery.json"
local options = require "app.cli.options"
local projects = require "app.project"
local yaml = require "bakery.yaml"

local M = {}

---@class app.edit
---@field values table parsed options
---@field project table the project as read
---@field document app.edit.document bakery.yaml under change
---@field changes app.edit.changes
local Edit = {}
Edit.__index = Edit

--- Writes a line for people to standard error, unless --quiet.
---@param values table
---@param text string
function M.say(values, text)
  if not values.quiet then io.stderr:write(text, "\n") end
end

local function load(dir, file, text, name)
  local project, errors, warnings = projects.load(dir, { file = file, text = text, name = name })
  if not project then
    if errors.errors or not errors[1] then error(errors, 0) end
    error({ class = "usage", code = "config", errors = errors, message = errors[1].message }, 0)
  end
  return project, warnings
end

--- Opens the project of the command line for an edit; undoes what an interrupted one left.
---@param values table parsed options: context, dry_run, quiet
---@param command string as it is called in messages
---@return app.edit
function M.open(values, command)
  local dir, file = projects.find(values.context or ".", { context = values.context ~= nil })
  dir = fail.check(dir, file)
  if values.dry_run then
    local state = journal.pending(dir)
    if state then
      fail.raise { class = "build", code = "edit.interrupted",
        message = ("'%s' was interrupted and left the project half changed"):format(state.command),
        hint = "the next editing command without --dry-run undoes that" }
    end
  else
    journal.recover(dir, function(text) M.say(values, text) end)
  end
  local text = fail.check(fs.read(file))
  local project, warnings = load(dir, file, text)
  local editor = fail.check(yaml.edit(text, { name = project.source.name }))
  return setmetatable({ values = values, command = command, project = project, file = file, text = text,
    warnings = warnings, document = document.new(project, editor), changes = changes.new(dir) }, Edit)
end

function Edit:say(text) M.say(self.values, text) end

local function key_of(warning) return warning.message end

--- Prints warnings: all of the project as it was read, or those that `list` adds to them.
---@param list table[]|nil
function Edit:warn(list)
  local known = {}
  for _, w in ipairs(list and self.warnings or {}) do known[key_of(w)] = true end
  for _, w in ipairs(list or self.warnings) do
    if not known[key_of(w)] then
      self:say(("warning: %s%s"):format(w.where and w.where .. ": " or "", w.message))
    end
  end
end

--- An image by name; raises when there is none.
---@param name string
---@return table
function Edit:image(name) return M.image(self.project, name) end

---@param project table
---@param name string
function M.image(project, name)
  local image = project:image(name)
  if image then return image end
  local known = {}
  for i, other in ipairs(project.images) do known[i] = other.name end
  local near = options.nearest(name, known)
  return fail.raise { class = "build", code = "unknown_image",
    message = ("image '%s' does not exist"):format(name),
    hint = near and ("did you mean '%s'?"):format(near)
      or #known > 0 and "images: " .. table.concat(known, ", ") or "bakery create image makes one" }
end

--- A version of an image by name; raises when there is none.
---@param image table
---@param name string
---@return table version
---@return integer index from 1
function M.version(image, name)
  local known = {}
  for i, version in ipairs(image.versions) do
    if version.name == name then return version, i end
    known[i] = version.name
  end
  local near = options.nearest(name, known)
  return fail.raise { class = "build", code = "unknown_version",
    message = ("version '%s' does not exist for image '%s'"):format(name, image.name),
    hint = image.matrix and "the image has a matrix; its versions are made from it"
      or near and ("did you mean '%s'?"):format(near)
      or #known > 0 and "versions: " .. table.concat(known, ", ") or nil }
end

--- Reads the edited bakery.yaml as a project of its own; raises what is wrong with it.
---@return table project
function Edit:reload()
  local text = self.document.editor:text()
  if #text:match "[\r\n]*$" > #self.text:match "[\r\n]*$" then -- what stood before a last item that went
    text = text:gsub("[\r\n]*$", "") .. (self.text:match "\r?\n$" or "\n")
  end
  local project, warnings = load(self.project.dir, self.file, text)
  self:warn(warnings)
  self.changes:document(self.file, self.text, text)
  return project
end

--- Renders the files of a version (or of the matrix) into the changes; raises every problem at once.
---@param image table of the project that is rendered
---@param version table|nil nil: the matrix
---@param opts app.project.render_options|nil
---@return string[] notes
function Edit:render(image, version, opts)
  local files, errors = projects.render(image.project, image, version, opts)
  if not files then
    error({ class = "build", code = "render", errors = errors, message = tostring(errors) }, 0)
  end
  for _, file in ipairs(files) do
    local stat = file.copy and fs.stat(file.copy)
    self.changes:put(file.path, file.text, { mode = file.mode, mtime = stat and stat.mtime + stat.mtime_nsec / 1e9 })
  end
  return errors
end

--- Asks before something is destroyed: on a terminal only, so that scripts run as they are.
---@param what string for example "Remove image 'a': 12 files in a"
function Edit:confirm(what)
  if not self.values.dry_run then require("app.confirm").ask(self.values, what, { unasked = true }) end
end

--- A name from the command line, or raises: it must be one that bakery.yaml and paths can hold.
---@param what string "image" or "version"
---@param text string
---@return string
function M.name(what, text)
  if text ~= "" and not text:find "%c" and utf8.len(text) then return text end
  return fail.raise { class = "usage", code = "usage", message = ("%q is no name of %s"):format(text,
    what == "image" and "an image" or "a version"), hint = "it must be text without control characters, and not empty" }
end

--- Number of files that change, in words.
function M.count(n) return n == 1 and "1 file" or ("%d files"):format(n) end

--- Shows the changes (--dry-run, --diff) and carries them out; prints the line that says so.
---@param done string for example "Successfully created image 'a'"
---@param facts { [1]: string, [2]: any }[]|nil members of the JSON result
---@param opts { report: (fun(): string)|nil, note: string|nil }|nil report: text for standard output, which
--- then is its own; note: a line in front of the last one
function Edit:finish(done, facts, opts)
  local values = self.values
  local report = opts and opts.report and opts.report()
  local diff = (values.dry_run or values.diff) and not values.json and self.changes:diff()
  local data = values.json and self.changes:data()
  local list = self.changes:list()
  if not values.dry_run then self.changes:apply(self.command) end
  if diff then (report and io.stderr or io.stdout):write(diff) end
  if report then io.stdout:write(report) end
  if values.json then
    local out = json.object { { "apiVersion", 1 }, { "command", self.command } }
    for _, fact in ipairs(facts or {}) do out[fact[1]] = fact[2] end
    out.dryRun = values.dry_run == true
    out.changes = data
    io.stdout:write(json.encode(out, { indent = 2 }), "\n")
  end
  if opts and opts.note then self:say(opts.note) end
  if values.dry_run then
    self:say(("dry run: %s would change%s; nothing was written"):format(M.count(#list),
      self.changes.doc and " and " .. self.changes:document_name() or ""))
  else
    self:say("✅ " .. done)
  end
  return 0
end

--- Runs the body of a command; on failure the error is reported, followed by a line that names what
--- failed.
---@param values table
---@param failed string for example "Failed to create image 'a'"
---@param body fun(): integer
---@return integer exit code
function M.guard(values, failed, body)
  local ok, result = xpcall(body, function(e)
    if values.debug then io.stderr:write(debug.traceback(tostring(e), 2), "\n") end
    return e
  end)
  if ok then return result end
  if type(result) == "table" and result.code == "cancelled" then error(result, 0) end
  local code = require("app.cli").report(result, values)
  if type(failed) == "function" then failed = failed(result) end
  if not values.json then io.stderr:write("❌ ", failed, "\n") end
  return code
end

return M
