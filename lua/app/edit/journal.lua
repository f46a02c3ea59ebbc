--- Carries out a list of file operations so that a project is never left half changed. Everything new
--- is staged in PROJECT/.bakery-edit first, what goes away is kept there until the end, and
--- journal.json beside it says what has to be undone. The directory is the lock as well: it comes and
--- goes by rename. A process killed half-way leaves it; the next edit undoes what it finds.
local fail = require "app.fail"
local fs = require "bakery.fs"
local json = require "bakery.json"
local owner = require "app.owner"
local paths = require "app.edit.paths"
local process = require "bakery.process"

local M = {}

M.DIR = ".bakery-edit"
-- Operations and their paths.
M.OPS = { put = { "path" }, mkdir = { "path" }, move = { "from", "to" }, remove = { "path" } }
local MAX = 64 * 1024 * 1024

-- The journal, or nil. A foreign one could name any path: everything in it is checked.
local function read(project)
  local dir = fs.join(project, M.DIR)
  for _, sub in ipairs { "", "/new", "/old" } do
    local stat = fs.stat(dir .. sub, false)
    if not stat or stat.type ~= "dir" then return nil end
  end
  local text = fs.read(dir .. "/journal.json", MAX)
  local doc = text and json.decode(text)
  if type(doc) ~= "table" or type(doc.ops) ~= "table" then return nil end
  for _, op in ipairs(doc.ops) do
    if type(op) ~= "table" or not M.OPS[op.op] then return nil end
    for _, key in ipairs(M.OPS[op.op]) do
      if type(op[key]) ~= "string" then return nil end
      paths.inside(project, op[key])
    end
  end
  return doc
end

local function discard(dir)
  -- Renamed first: a directory of the known name is always a complete one.
  local away = ("%s.done-%d"):format(dir, process.pid())
  if fs.rename(dir, away) then fs.remove(away, { recursive = true }) end
end

-- --- undoing -----------------------------------------------------------------------------------

local undo = {}

function undo.put(op, at, slot)
  if op.fresh then
    if not fs.exists(slot "new") then return not fs.exists(at(op.path)) or fs.remove(at(op.path)) end
  elseif fs.exists(slot "old") then
    return fs.rename(slot "old", at(op.path))
  end
  return true
end

function undo.mkdir(op, at)
  fs.remove(at(op.path)) -- one that something else was put into stays
  return true
end

function undo.move(op, at)
  if fs.exists(at(op.from)) or not fs.exists(at(op.to)) then return true end
  return fs.rename(at(op.to), at(op.from))
end

function undo.remove(op, at, slot)
  if not fs.exists(slot "old") or fs.exists(at(op.path)) then return true end
  return fs.rename(slot "old", at(op.path))
end

-- Puts everything back in reverse order; returns the errors.
local function roll_back(project, dir, ops)
  local errors = {}
  local function at(path) return fs.join(project, path) end
  for i = #ops, 1, -1 do
    local op = ops[i]
    local ok, err = undo[op.op](op, at, function(kind) return ("%s/%s/%d"):format(dir, kind, i) end)
    if not ok then errors[#errors + 1] = tostring(err) end
  end
  return errors
end

local function is_committed(dir, doc)
  if not doc.document then return fs.exists(dir .. "/committed") end
  local wanted = fs.read(dir .. "/document")
  return wanted ~= nil and wanted == fs.read(doc.document)
end

local function stuck(dir, errors)
  fail.raise { class = "build", code = "edit.interrupted", path = dir,
    message = "an interrupted edit could not be undone: " .. table.concat(errors, "; "),
    hint = "what was replaced is in " .. dir .. "/old, the list in journal.json; remove the directory when done" }
end

--- What an interrupted edit left in a project, if anything.
---@param project string directory
---@return table|nil state { command=, alive=, pid= }
function M.pending(project)
  local dir = fs.join(project, M.DIR)
  if not fs.exists(dir) then return nil end
  local doc = read(project) or { ops = {} }
  return { command = doc.command or "an edit", alive = owner.is_alive(doc.owner), pid = doc.owner and doc.owner.pid }
end

--- Undoes what an interrupted edit left half done, or finishes it when its bakery.yaml was written.
--- Raises when another process is editing the project.
---@param project string directory
---@param say fun(text: string)
function M.recover(project, say)
  for _, path in ipairs(fs.glob(fs.join(project, M.DIR) .. ".*") or {}) do
    local pid = math.tointeger(tonumber(path:match "%-(%d+)$"))
    if pid and not owner.runs(pid) then fs.remove(path, { recursive = true }) end
  end
  local state = M.pending(project)
  if not state then return end
  if state.alive then
    fail.raise { class = "infra", code = "edit.busy", retryable = true,
      message = ("another bakery (process %d) is editing this project"):format(state.pid),
      hint = "try again when it is done" }
  end
  local dir = fs.join(project, M.DIR)
  local doc = read(project)
  if not doc then fail.raise { class = "build", code = "edit.interrupted", path = dir,
    message = dir .. " has no readable journal", hint = "look into it, then remove it" } end
  if is_committed(dir, doc) then
    say(("'%s' was interrupted after its changes were made; cleaned up"):format(state.command))
  else
    local errors = roll_back(project, dir, doc.ops)
    if #errors > 0 then stuck(dir, errors) end
    say(("'%s' was interrupted; its half-done changes were undone"):format(state.command))
  end
  discard(dir)
end

-- --- doing -------------------------------------------------------------------------------------

local act = {}

function act.remove(op, at, slot) return fs.rename(at(op.path), slot "old") end
function act.mkdir(op, at) return fs.mkdir(at(op.path)) end
function act.move(op, at) return fs.rename(at(op.from), at(op.to)) end

function act.put(op, at, slot)
  if not op.fresh then
    local kept = fs.link(at(op.path), slot "old")
    if not kept then
      local ok, err = fs.copy(at(op.path), slot "old")
      if not ok then return nil, err end
    end
  end
  return fs.rename(slot "new", at(op.path))
end

local function stage(dir, run)
  fail.check(fs.mkdir(dir .. "/new", { parents = true }))
  fail.check(fs.mkdir(dir .. "/old"))
  local ops = json.array {}
  for i, op in ipairs(run.ops) do
    local entry = json.object { { "op", op.op } }
    for _, key in ipairs { "path", "from", "to", "fresh" } do entry[key] = op[key] end
    ops[i] = entry
    if op.op == "put" then
      local file = ("%s/new/%d"):format(dir, i)
      fail.check(fs.write(file, op.text, { mode = op.mode }))
      if op.mtime then fail.check(fs.utime(file, op.mtime)) end
    end
  end
  if run.document then fail.check(fs.write(dir .. "/document", run.document.new)) end
  local journal = json.object { { "command", run.command }, { "owner", owner.this() },
    { "document", run.document and run.document.file }, { "ops", ops } }
  fail.check(fs.write(dir .. "/journal.json", json.encode(journal), { sync = true }))
end

local function commit(dir, document)
  if not document then return fs.write(dir .. "/committed", "", { sync = true }) end
  local now, err = fs.read(document.file)
  if not now then return nil, err end
  if now ~= document.old then return nil, M.changed(document.file) end
  local stat = fs.stat(document.file)
  return fs.write(document.file, document.new, { mode = stat and stat.mode & 511, sync = true })
end

--- The error for a file that somebody else wrote while we worked on it.
function M.changed(file)
  return { class = "build", code = "edit.changed", retryable = true,
    message = fs.basename(file) .. " was changed by something else in the meantime; nothing was written",
    hint = "run the command again" }
end

---@class app.edit.run
---@field command string for messages
---@field ops table[] {op="remove", path=} | {op="mkdir", path=} | {op="move", from=, to=} |
--- {op="put", path=, text=, mode=, mtime=, fresh=nothing is there}; paths relative to the project
---@field document { file: string, old: string, new: string }|nil written last: the commit

--- Carries out the operations, all of them or none. Raises; then the project is as before.
---@param project string directory
---@param run app.edit.run
function M.apply(project, run)
  local dir = fs.join(project, M.DIR)
  local own = ("%s.tmp-%d"):format(dir, process.pid())
  local ok, err = pcall(stage, own, run)
  if ok then
    ok, err = fs.rename(own, dir)
    if not ok and (err.code == "ENOTEMPTY" or err.code == "EEXIST") then
      err = { class = "infra", code = "edit.busy", retryable = true,
        message = "another bakery is editing this project" }
    end
  end
  if not ok then
    fs.remove(own, { recursive = true })
    fail.check(nil, err)
  end
  local function at(path) return fs.join(project, path) end
  local done = {}
  for i, op in ipairs(run.ops) do
    done[i] = op
    ok, err = act[op.op](op, at, function(kind) return ("%s/%s/%d"):format(dir, kind, i) end)
    if not ok then break end
  end
  if ok then ok, err = commit(dir, run.document) end
  if not ok then
    local errors = roll_back(project, dir, done)
    if #errors > 0 then stuck(dir, errors) end
    discard(dir)
    fail.raise(err)
  end
  discard(dir)
end

return M
