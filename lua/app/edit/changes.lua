--- What an editing command is going to change below a project: files written, trees removed or moved,
--- and bakery.yaml. Nothing is touched before apply.
local diff = require "bakery.diff"
local fail = require "app.fail"
local fs = require "bakery.fs"
local journal = require "app.edit.journal"
local json = require "bakery.json"
local paths = require "app.edit.paths"

local M = {}

---@class app.edit.changes
local Changes = {}
Changes.__index = Changes

---@param dir string project directory
---@return app.edit.changes
function M.new(dir)
  return setmetatable({ dir = dir, removed = {}, moved = {}, files = {}, order = {} }, Changes)
end

--- Removes a file or a whole tree. A symbolic link goes, not what it names.
---@param path string relative to the project
function Changes:remove(path)
  path = paths.inside(self.dir, path)
  if fs.exists(fs.join(self.dir, path)) then table.insert(self.removed, path) end
end

--- Moves a tree.
function Changes:move(from, to)
  from, to = paths.inside(self.dir, from), paths.inside(self.dir, to)
  if fs.exists(fs.join(self.dir, to)) and not self:is_removed(to) then
    fail.raise { class = "build", code = "edit.exists", message = ("'%s' cannot be moved to '%s': it exists"):format(
      from, to) }
  end
  table.insert(self.moved, { from = from, to = to })
end

function Changes:is_removed(path)
  for _, dir in ipairs(self.removed) do if paths.is_below(path, dir) then return true end end
  return false
end

--- Where the content of a path is now: moves are followed; nil when it is going away.
function Changes:source(path)
  for _, m in ipairs(self.moved) do
    if paths.is_below(path, m.to) then return m.from .. path:sub(#m.to + 1) end
  end
  for _, m in ipairs(self.moved) do if paths.is_below(path, m.from) then return nil end end
  if not self:is_removed(path) then return path end
end

--- Writes a file (its directories are made). One that is there with this content and mode is left alone.
---@param path string relative to the project
---@param text string
---@param opts { mode: integer|nil, mtime: number|nil }|nil
function Changes:put(path, text, opts)
  path = paths.inside(self.dir, path)
  local mode = opts and opts.mode or 420
  if not self.files[path] then self.order[#self.order + 1] = path end
  self.files[path] = { text = text, mode = mode, mtime = opts and opts.mtime }
end

--- bakery.yaml, written after everything else.
---@param file string
---@param old string its text when it was read
---@param new string
function Changes:document(file, old, new)
  if old ~= new then self.doc = { file = fs.realpath(file) or file, old = old, new = new } end
end

-- --- what it comes to --------------------------------------------------------------------------

local function content(path)
  local stat = fs.stat(path, false)
  if not stat then return nil end
  if stat.type == "symlink" then return { text = fs.readlink(path) or "", mode = 511, link = true } end
  if stat.type ~= "file" then return nil end
  return { text = fail.check(fs.read(path)), mode = stat.mode & 511 }
end

-- Files at or below a path of the project.
local function tree(dir, path)
  local full = fs.join(dir, path)
  local stat = fs.stat(full, false)
  if not stat then return {} end
  if stat.type ~= "dir" then return { path } end
  local out = {}
  for _, e in ipairs(fail.check(fs.walk(full))) do
    if e.type ~= "dir" then out[#out + 1] = path .. "/" .. e.path end
  end
  return out
end

---@class app.edit.change
---@field path string
---@field action "create"|"modify"|"remove"|"move"
---@field from string|nil of a move
---@field old { text: string, mode: integer }|nil
---@field new { text: string, mode: integer }|nil

--- The single files that change, sorted by path.
---@return app.edit.change[]
function Changes:list()
  if self._list then return self._list end
  local by = {}
  local function before(path) return content(fs.join(self.dir, path)) end
  for _, root in ipairs(self.removed) do
    for _, path in ipairs(tree(self.dir, root)) do
      by[path] = { path = path, action = "remove", old = before(path) }
    end
  end
  for _, m in ipairs(self.moved) do
    for _, from in ipairs(tree(self.dir, m.from)) do
      local to = m.to .. from:sub(#m.from + 1)
      local old = before(from)
      by[to] = { path = to, from = from, action = "move", old = old, new = old }
    end
  end
  for path, file in pairs(self.files) do
    local known = by[path]
    local old = known and known.old
    if not known then
      local source = self:source(path)
      old = source and before(source)
    end
    local same = old and not old.link and old.text == file.text and old.mode == file.mode
    if known and known.action == "move" then known.new = file
    elseif same then by[path] = nil
    else by[path] = { path = path, action = old and "modify" or "create", old = old, new = file } end
  end
  local out = {}
  for _, change in pairs(by) do out[#out + 1] = change end
  table.sort(out, function(a, b) return a.path < b.path end)
  self._list = out
  return out
end

--- The files of a directory as they will be: path below it -> text.
---@param dir string relative to the project
---@return table<string, string>
function Changes:after(dir)
  local out = {}
  local source = self:source(dir)
  for _, path in ipairs(source and tree(self.dir, source) or {}) do
    local full = fs.join(self.dir, path)
    if fs.is_file(full) then out[path:sub(#source + 2)] = fail.check(fs.read(full)) end
  end
  for path, file in pairs(self.files) do
    if paths.is_below(path, dir) then out[path:sub(#dir + 2)] = file.text end
  end
  return out
end

--- Name of bakery.yaml for messages and diffs: relative to the project when it is inside.
---@return string
function Changes:document_name()
  return fs.relative(self.doc.file, fs.realpath(self.dir) or self.dir) or fs.basename(self.doc.file)
end

local function git_mode(file) return file.link and "120000" or file.mode & 64 ~= 0 and "100755" or "100644" end

local function file_diff(change)
  local old, new, path = change.old, change.new, change.path
  local from = change.from or path
  local out = { ("diff --git a/%s b/%s"):format(from, path) }
  if change.action == "create" then out[2] = "new file mode " .. git_mode(new)
  elseif change.action == "remove" then out[2] = "deleted file mode " .. (old and git_mode(old) or "100644")
  elseif git_mode(old) ~= git_mode(new) then
    out[2] = "old mode " .. git_mode(old)
    out[3] = "new mode " .. git_mode(new)
  end
  if change.from then
    out[#out + 1] = "rename from " .. from
    out[#out + 1] = "rename to " .. path
  end
  local a, b = old and old.text or "", new and new.text or ""
  local names = { from = old and "a/" .. from or "/dev/null", to = new and "b/" .. path or "/dev/null" }
  local body
  if a ~= b and (diff.is_binary(a) or diff.is_binary(b)) then
    body = ("Binary files %s and %s differ\n"):format(names.from, names.to)
  else
    body = diff.unified(a, b, names)
  end
  return table.concat(out, "\n") .. "\n" .. body
end

--- Everything as one unified diff that git apply and patch -p1 take, bakery.yaml first.
---@return string
function Changes:diff()
  local out = {}
  if self.doc then
    local name = self:document_name()
    out[1] = diff.unified(self.doc.old, self.doc.new, { from = "a/" .. name, to = "b/" .. name })
  end
  for _, change in ipairs(self:list()) do out[#out + 1] = file_diff(change) end
  return table.concat(out)
end

--- As plain data for --json.
---@return table[]
function Changes:data()
  local out = json.array {}
  if self.doc then
    out[1] = json.object { { "path", self:document_name() }, { "action", "modify" } }
  end
  for _, c in ipairs(self:list()) do
    out[#out + 1] = json.object { { "path", c.path }, { "action", c.action }, { "from", c.from } }
  end
  return out
end

-- --- carrying out ------------------------------------------------------------------------------

-- Directories that have to be made for a path, outermost first.
local function parents(self, path, made, ops)
  local missing, at = {}, fs.dirname(path)
  while at ~= "." and not made[at] do
    local source = self:source(at)
    if source and fs.exists(fs.join(self.dir, source)) then break end
    table.insert(missing, 1, at)
    at = fs.dirname(at)
  end
  for _, dir in ipairs(missing) do
    made[dir] = true
    ops[#ops + 1] = { op = "mkdir", path = dir }
  end
end

--- Carries everything out, or nothing. Raises.
---@param command string for messages of a later recovery
function Changes:apply(command)
  local ops, made, wanted = {}, {}, {}
  for _, path in ipairs(self.removed) do ops[#ops + 1] = { op = "remove", path = path } end
  for _, m in ipairs(self.moved) do
    parents(self, m.to, made, ops)
    ops[#ops + 1] = { op = "move", from = m.from, to = m.to }
  end
  for _, c in ipairs(self:list()) do wanted[c.path] = true end
  for _, path in ipairs(self.order) do
    local file, source = self.files[path], self:source(path)
    local there = source and fs.exists(fs.join(self.dir, source))
    if wanted[path] or not there then
      parents(self, path, made, ops)
      ops[#ops + 1] = { op = "put", path = path, text = file.text, mode = file.mode, mtime = file.mtime,
        fresh = not there }
    end
  end
  if self.doc and fs.read(self.doc.file) ~= self.doc.old then fail.raise(journal.changed(self.doc.file)) end
  if #ops == 0 and not self.doc then return end
  journal.apply(self.dir, { command = command, ops = ops, document = self.doc })
end

return M
