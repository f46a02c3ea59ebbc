--- Git sources of ADD and of named contexts, fetched by the git program into a bare repository of the
--- store's cache and checked out from there.
local containerfile = require "bakery.containerfile"
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local process = require "bakery.process"
local fail = require "app.fail"
local http = require "bakery.http"
local provenance = require "app.backend.embedded.provenance"
local secrets = require "app.backend.embedded.secrets"

local M = {}

local function shown(url) return url:find("^https?://") and http.redact(url) or url end

-- Environment of git: nobody is asked anything, neither the user's nor the system's settings count,
-- and credentials come as configuration in variables, never on a command line.
local function environment(build, where, url)
  local env = { GIT_TERMINAL_PROMPT = "0", GIT_CONFIG_NOSYSTEM = "1", GIT_CONFIG_GLOBAL = "/dev/null", LC_ALL = "C",
    GIT_DIR = false, GIT_WORK_TREE = false, GIT_INDEX_FILE = false, GIT_PROTOCOL_FROM_USER = "0",
    GIT_ALLOW_PROTOCOL = "git:http:https:ssh", GIT_SSH_COMMAND = os.getenv "GIT_SSH_COMMAND"
      or "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new" }
  local config = { { "core.hooksPath", "/dev/null" }, { "advice.detachedHead", "false" }, { "safe.directory", "*" },
    { "core.autocrlf", "false" } }
  local origin = url:match("^(https?://[^/]+)")
  if origin then
    local host = origin:gsub("^https?://", ""):gsub("^.*@", ""):gsub(":%d+$", "")
    local function secret(name)
      return secrets.value(build, where, name .. "." .. host) or secrets.value(build, where, name)
    end
    local header, token = secret "GIT_AUTH_HEADER", secret "GIT_AUTH_TOKEN"
    if not header and token then header = "basic " .. require("bakery.sign").base64("x-access-token:" .. token) end
    if header then config[#config + 1] = { "http." .. origin .. "/.extraheader", "Authorization: " .. header } end
  end
  env.GIT_CONFIG_COUNT = tostring(#config)
  for i, pair in ipairs(config) do
    env["GIT_CONFIG_KEY_" .. i - 1], env["GIT_CONFIG_VALUE_" .. i - 1] = pair[1], pair[2]
  end
  local ssh = where.ssh_socket and where.ssh_socket "default"
  if ssh then env.SSH_AUTH_SOCK = ssh end
  return env
end

local function program()
  local git = process.which "git"
  if git then return git end
  return fail.raise { class = "usage", code = "tool.missing", message = "git sources need the git program, which is not in PATH",
    hint = "apt-get install git" }
end

local Repo = {}
Repo.__index = Repo

function Repo:try(args, opts)
  local cmd, env = { program() }, self.env
  table.move(args, 1, #args, 2, cmd)
  if opts and opts.own then -- from our cache; a submodule never names a place of this machine
    env = { GIT_ALLOW_PROTOCOL = "file" }
    for k, v in pairs(self.env) do if env[k] == nil then env[k] = v end end
  end
  return fail.check(process.run { cmd = cmd, env = env, timeout = 1800 })
end

local function failed(repo, args, r)
  local why = r.stderr:gsub("%s+$", ""):gsub("\n.*\n", "\n")
  return fail.raise { class = "infra", code = "git.failed",
    message = ("git %s %s: %s"):format(args[1] == "-C" and args[3] or args[1], shown(repo.url), why ~= "" and why
      or process.exit_reason(r)) }
end

function Repo:git(args, opts)
  local r = self:try(args, opts)
  return r.code == 0 and r.stdout or failed(self, args, r)
end

-- The commit that a reference means at the remote side, and its full name there.
local function resolve(repo, ref)
  if ref and ref:find("^%x+$") and (#ref == 40 or #ref == 64) then return ref:lower() end
  local listed = repo:git { "ls-remote", repo.url, ref or "HEAD" }
  local found = {}
  for hash, name in listed:gmatch("(%x+)\t([^\n]+)") do found[name] = hash end
  local want = ref or "HEAD"
  -- A tag object is not the commit: its ^{} is.
  local peeled = repo:git { "ls-remote", repo.url, "refs/tags/" .. want:gsub("^refs/tags/", "") .. "^{}" }
  for hash, name in peeled:gmatch("(%x+)\t([^\n]+)") do found[name] = hash end
  for _, name in ipairs { want, "refs/tags/" .. want .. "^{}", want .. "^{}", "refs/heads/" .. want, "refs/tags/" .. want } do
    local hash = name == want and found[want .. "^{}"] or found[name]
    if hash then return hash, (name:gsub("%^{}$", "")) end
  end
  local names = {}
  for line in repo:git({ "ls-remote", "--heads", "--tags", repo.url }):gmatch("\trefs/%a+/([^\n^]+)") do names[#names + 1] = line end
  local near = require("bakery.suggest").nearest(want, names)
  return fail.raise { class = "build", code = "git.no_ref", message = ("%s has no reference '%s'"):format(shown(repo.url), want),
    hint = near and "did you mean '" .. near .. "'?" or nil }
end

-- A repository as provenance names it: git+https://…@refs/heads/x.
local function uri(url, name)
  local text = url:find("://", 1, true) and shown(url) or "ssh://" .. url:gsub(":", "/", 1)
  return "git+" .. text .. (name and name ~= "HEAD" and "@" .. name or "")
end

--- Resolves a git source to a commit; nothing but references is fetched.
---@param build table the running build
---@param where table of the target: secrets, ssh_socket
---@param source string as written, see bakery.containerfile.git
---@return table repo { url=, commit=, name=, subdir=, keep=, submodules= } for checkout
function M.resolve(build, where, source, checksum)
  local parts = fail.check(containerfile.git(source))
  if checksum and parts.checksum and checksum ~= parts.checksum then
    fail.raise { class = "config", code = "git.checksum", message = ("--checksum=%s, but the source asks for commit %s"):format(checksum,
      parts.checksum) }
  end
  local repo = setmetatable({ url = parts.url, subdir = parts.subdir, keep = parts.keep_git_dir,
    submodules = parts.submodules ~= false }, Repo)
  repo.env = environment(build, where, parts.url)
  local found = build.once:run("git:" .. parts.url .. "\0" .. (parts.ref or ""), function()
    local commit, name = resolve(repo, parts.ref)
    return { commit = commit, name = name }
  end)
  repo.commit, repo.name = found.commit, found.name
  provenance.note(build, where.target, where.platform, uri(parts.url, repo.name), "gitCommit:" .. repo.commit)
  local want = checksum or parts.checksum
  if want and repo.commit:sub(1, #want) ~= want:lower() then
    fail.raise { class = "build", code = "build.checksum", message = ("%s: expected commit %s, got %s"):format(shown(source), want,
      repo.commit) }
  end
  return repo
end

-- A new repository whose objects are named like those of the remote one.
local function init(repo, ...)
  local args = { "init", "--quiet", ... }
  if #repo.commit == 64 then table.insert(args, 3, "--object-format=sha256") end
  repo:git(args)
end

-- Fetches the commit into the cache repository: alone where the server allows that, else all of it.
local function fetch(repo, bare)
  if not fs.exists(bare .. "/HEAD") then init(repo, "--bare", bare) end
  repo:git { "-C", bare, "config", "uploadpack.allowAnySHA1InWant", "true" }
  if repo:try({ "-C", bare, "cat-file", "-e", repo.commit .. "^{commit}" }).code == 0 then return end
  for _, what in ipairs { repo.name or false, repo.commit } do
    if what and repo:try({ "-C", bare, "fetch", "--quiet", "--depth=1", "--no-tags", repo.url, what }).code == 0
        and repo:try({ "-C", bare, "cat-file", "-e", repo.commit .. "^{commit}" }).code == 0 then
      return
    end
  end
  repo:git { "-C", bare, "fetch", "--quiet", "--tags", repo.url, "+refs/heads/*:refs/heads/*" }
  repo:git { "-C", bare, "cat-file", "-e", repo.commit .. "^{commit}" }
end

-- A server of plain files has no shallow history to give.
local function fetch_submodules(repo, dir)
  local args = { "-C", dir, "submodule", "update", "--quiet", "--init", "--recursive", "--depth=1" }
  local r = repo:try(args)
  if r.code ~= 0 and r.stderr:find("shallow", 1, true) then
    args[#args] = nil
    r = repo:try(args)
  end
  return r.code == 0 or failed(repo, args, r)
end

-- Everything gets the time of its commit: two checkouts are alike.
local function set_times(dir, seconds)
  for _, e in ipairs(fail.check(fs.walk(dir))) do fail.check(fs.utime(dir .. "/" .. e.path, seconds)) end
  fail.check(fs.utime(dir, seconds))
end

--- Checks the commit out.
---@param build table
---@param repo table of M.resolve
---@param dir string new directory
---@param keep boolean|nil keep .git
---@return string root the wanted directory of it
function M.checkout(build, repo, dir, keep)
  local cache <close> = fail.check(build.store:cache_mount { ns = "git", sharing = "locked",
    id = digest.sha256(repo.url .. (#repo.commit == 64 and "\0sha256" or "")) })
  fetch(repo, cache.path)
  local function git(...) return repo:git({ "-C", dir, ... }) end
  init(repo, dir)
  git("remote", "add", "origin", repo.url)
  fail.check(fs.write(dir .. "/.git/info/attributes", "")) -- nothing of ours changes what is checked out
  repo:git({ "-C", dir, "fetch", "--quiet", "--depth=1", "file://" .. cache.path, repo.commit }, { own = true })
  git("checkout", "--quiet", "--force", repo.commit)
  if repo.submodules and fs.exists(dir .. "/.gitmodules") then fetch_submodules(repo, dir) end
  local seconds = math.tointeger(tonumber((git("log", "-1", "--format=%ct"):gsub("%s", ""))))
  if not keep then
    fail.check(fs.remove(dir .. "/.git", { recursive = true }))
    for _, e in ipairs(fail.check(fs.walk(dir))) do -- of submodules
      if e.type == "file" and fs.basename(e.path) == ".git" then fail.check(fs.remove(dir .. "/" .. e.path)) end
    end
  end
  set_times(dir, seconds or 0)
  if not repo.subdir then return dir end
  local root = fs.realpath(fs.join(dir, repo.subdir))
  local home = fs.realpath(dir)
  if not root or not fs.is_dir(root) or (root .. "/"):sub(1, #home + 1) ~= home .. "/" then
    fail.raise { class = "build", code = "git.no_directory", message = ("%s has no directory '%s' at %s"):format(shown(repo.url),
      repo.subdir, repo.commit:sub(1, 12)) }
  end
  return root
end

return M
