--- The commit of a work tree, read from the repository's files; git itself is asked only for
--- storage that this does not know (reftable).
local fs = require "bakery.fs"
local process = require "bakery.process"

local M = {}

local MAX = 64 * 1024

local function line(path)
  local text = fs.read(path, MAX)
  return text and text:match("^([^\r\n]*)")
end

local function is_commit(text)
  return text ~= nil and (#text == 40 or #text == 64) and text:find("^%x+$") ~= nil
end

--- The `.git` directory that governs `dir`, following worktree and submodule links.
---@param dir string
---@return string|nil git_dir
---@return string|nil work_tree
function M.find(dir)
  local at = fs.realpath(dir)
  while at do
    local path = fs.join(at, ".git")
    if fs.is_dir(path) then return path, at end
    local link = fs.is_file(path) and line(path)
    link = link and link:match("^gitdir: (.+)$")
    if link then return fs.is_absolute(link) and link or fs.normalize(fs.join(at, link)), at end
    local parent = fs.dirname(at)
    at = parent ~= at and parent or nil
  end
end

-- Refs of linked worktrees live in the main repository.
local function common_dir(git_dir)
  local link = line(fs.join(git_dir, "commondir"))
  if not link then return git_dir end
  return fs.is_absolute(link) and link or fs.normalize(fs.join(git_dir, link))
end

local function packed_ref(dir, ref)
  local text = fs.read(fs.join(dir, "packed-refs"), 64 * 1024 * 1024)
  for commit, name in ("\n" .. (text or "")):gmatch("\n(%x+) ([^\r\n]+)") do
    if name == ref then return commit end
  end
end

local function resolve(git_dir, text)
  local common = common_dir(git_dir)
  for _ = 1, 5 do
    if is_commit(text) then return text end
    local ref = text and text:match("^ref: (.+)$")
    if not ref or ref:find("..", 1, true) then return nil end
    text = line(fs.join(git_dir, ref)) or line(fs.join(common, ref)) or packed_ref(common, ref)
  end
end

--- HEAD commit of the work tree around a directory; nil when there is none.
---@param dir string
---@return string|nil commit
function M.revision(dir)
  local git_dir, work_tree = M.find(dir)
  if not git_dir then return nil end
  local head = line(fs.join(git_dir, "HEAD"))
  local commit = resolve(git_dir, head)
  if commit or not head then return commit end
  if not fs.is_dir(fs.join(common_dir(git_dir), "reftable")) then return nil end
  local result = process.run { cmd = { "git", "-C", work_tree, "rev-parse", "HEAD" }, timeout = 10 }
  local text = result and result.code == 0 and result.stdout:match("^(%x+)")
  return is_commit(text) and text or nil
end

--- Address of the first remote of the repository around a directory, as its configuration says it;
--- files that the configuration includes are not read.
---@param dir string
---@return string|nil
function M.remote(dir)
  local git_dir = M.find(dir)
  if not git_dir then return nil end
  local text = fs.read(fs.join(common_dir(git_dir), "config"), 1024 * 1024)
  local in_remote = false
  for entry in ((text or "") .. "\n"):gmatch "([^\r\n]*)\r?\n" do
    local section = entry:match "^%s*%[(.-)%]"
    if section then in_remote = section:find '^remote%s' ~= nil end
    local value = in_remote and entry:match "^%s*[uU][rR][lL]%s*=%s*(.-)%s*$"
    if value and value ~= "" then return value:match '^"(.*)"$' or value end
  end
end

return M
