--- Changed files of a project, asked of git.
local fs = require "bakery.fs"
local process = require "bakery.process"

local M = {}

local TIMEOUT = 120

-- Runs git in the project: its standard output, or nil and what it said.
local function git(dir, ...)
  local r, err = process.run { cmd = { "git", "-C", dir, ... }, timeout = TIMEOUT, env = { LC_ALL = "C",
    GIT_OPTIONAL_LOCKS = "0" } }
  if not r then return nil, err.message end
  if r.code ~= 0 then return nil, (r.stderr:match "^%s*(.-)%s*$"):gsub("\n.*", "") end
  return r.stdout
end

local function first_line(text) return text and text:match "^([^\n]*)" end

--- Files that HEAD changed since it left another branch or commit: paths relative to the project, those
--- outside of it left out; both names of a renamed file.
---@param dir string project directory
---@param ref string branch, tag or commit
---@return string[]|nil paths
---@return string err_or_base the commit compared with; with nil what git said
---@return boolean|nil fatal with nil: this is no git checkout at all
function M.changed(dir, ref)
  local inside, err = git(dir, "rev-parse", "--is-inside-work-tree")
  if not inside or first_line(inside) ~= "true" then return nil, err or "not inside a work tree", true end
  local commit
  commit, err = git(dir, "rev-parse", "--verify", "--quiet", "--end-of-options", ref .. "^{commit}")
  commit = first_line(commit)
  if not commit then
    return nil, err and err ~= "" and err or ("there is no commit '%s' here"):format(ref)
  end
  local base
  base, err = git(dir, "merge-base", commit, "HEAD")
  base = first_line(base)
  if not base then return nil, err and err ~= "" and err or ("HEAD and '%s' have no common commit"):format(ref) end
  local out
  out, err = git(dir, "diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--relative", base, "HEAD", "--")
  if not out then return nil, err end
  local paths = {}
  for path in out:gmatch "([^%z]+)" do paths[#paths + 1] = path end
  return paths, base
end

--- Text of a file of the project in a commit, or nil.
---@param dir string project directory
---@param commit string
---@param path string relative to the project
---@return string|nil
function M.show(dir, commit, path)
  return (git(dir, "show", commit .. ":./" .. path))
end

--- Paths of a list file, one a line; "-" reads standard input.
---@param file string
---@return string[]|nil paths
---@return table|nil err
function M.read_list(file)
  local text, err
  if file == "-" then text = io.read "a" else text, err = fs.read(file) end
  if not text then return nil, err end
  local paths = {}
  for line in text:gmatch "[^\n]+" do
    line = line:gsub("\r$", "")
    if line ~= "" then paths[#paths + 1] = line end
  end
  return paths
end

return M
