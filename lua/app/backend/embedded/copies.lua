--- COPY and ADD: of the context, other stages, images, named contexts, URLs and git repositories.
local archive = require "bakery.archive"
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local snapshot = require "bakery.snapshot"
local fail = require "app.fail"
local contexts = require "app.backend.embedded.contexts"
local lazy = require "app.lazy"
local git = lazy "app.backend.embedded.git"
local images = require "app.backend.embedded.images"
local limits = require "app.backend.embedded.limits"
local keys = require "app.backend.embedded.keys"
local once = require "app.backend.embedded.once"
local remote = require "app.backend.embedded.remote"
local trace = require "app.backend.embedded.trace"
local fetch = lazy "app.backend.embedded.fetch"

local M = {}

-- --- what is copied ------------------------------------------------------------------------------

local function look(build, source, what)
  local found = fail.check(limits.explain(snapshot.scan { root = source.root, lowers = source.chain and images.lowers(build, source.chain),
    paths = what.paths, ignore = source.ignore, excludes = what.excludes, includes = what.includes,
    cache = source.root and build:stat_cache(source.root), userxattr = build.userxattr, limits = { entries = limits.foreign().entries } }))
  local files = 0
  for _, match in ipairs(found.matches) do
    if match.type ~= "dir" then files = files + 1 end
  end
  return found.digest, found.entries == 0 and (#found.matches == 0 or what.includes ~= nil), files
end

--- What a selection holds, as one digest. What a chain of layers says never changes: it is remembered,
--- here and in the target's remote caches, and looked up before any file of it is fetched or read.
---@param build table the running build
---@param where table of the target
---@param source table { root=, ignore= } or { chain= }, of contexts.source
---@param what table { paths=, excludes=, includes= }
---@return string digest
---@return boolean nothing whether nothing is selected
---@return integer? files how many files the paths name themselves, when that was looked at
function M.scan(build, where, source, what)
  if source.root then return look(build, source, what) end
  local key = keys.view { chain = source.chain.id, sources = what.paths, excludes = what.excludes, includes = what.includes }
  local record, count = build.store:get_key(key), nil
  if not record then
    record = remote.lookup(build, where, key)
    if not record then
      local found, nothing, files = look(build, source, what)
      if nothing then return found, true end
      record, count = { view = found }, files
    end
    fail.check(build.store:put_key(key, { view = record.view }))
  end
  where.entries[#where.entries + 1] = { key = key, view = record.view }
  return record.view, false, count
end

--- A path as a source that means this path and nothing else.
---@param path string
---@return string
function M.literal(path)
  if not path:find("[*?[]") then return path end
  return (path:gsub("[*?[\\]", { ["\\"] = "\\\\", ["*"] = "[*]", ["?"] = "[?]", ["["] = "[[]" }))
end

--- Whether all times of what is taken from a source become the epoch: files of a directory have the times
--- of whoever wrote them there, which differ between machines.
---@param build table
---@param source table of contexts.source
---@return boolean
function M.stamped(build, source) return build.epoch ~= nil and source.root ~= nil and not source.dated end

-- A group is a run of sources that one snapshot.copy takes: { sources=, source=, includes=, unpack=,
-- digests= } of files that are there, or with prepare(tmp), which fetches them when they are needed.

local function has_magic(pattern) return pattern:gsub("\\.", ""):find("[*?%[]") ~= nil end

-- "a/./b/c" is b/c below a; without the pivot the whole path is kept.
local function parents_of(source)
  local parent, pattern = ("/" .. source):match("^(.-)/%./(.*)$")
  if not parent then parent, pattern = "/", source end
  return fs.normalize("/" .. parent), (fs.normalize("/" .. pattern):gsub("^/+", ""))
end

-- --parents: the sources are patterns below a root, which is copied with their directories.
local function parent_groups(build, where, step, source)
  local groups, by_root = {}, {}
  for _, word in ipairs(step.sources) do
    local root, pattern = parents_of(word)
    local includes = pattern ~= "" and { pattern } or nil
    local found, nothing = M.scan(build, where, source, { paths = { root }, excludes = step.excludes, includes = includes })
    if nothing and not has_magic(root) and not has_magic(pattern) then
      once.fail(where, step, { code = "snapshot.not_found", message = ("'%s' does not exist in %s"):format(word,
        source.root and "the build context" or "the image or stage") })
    end
    local group = by_root[root]
    if not group then
      group = { sources = { root }, source = source, includes = {}, digests = {} }
      by_root[root], groups[#groups + 1] = group, group
    end
    group.digests[#group.digests + 1] = { name = root, digest = found }
    if includes and group.includes then table.insert(group.includes, pattern) else group.includes = nil end
  end
  return groups
end

local function http_group(build, where, step, url)
  local file = fetch.url(build, where, url, step.checksum)
  local unpack = step.unpack == true
  return { sources = { M.literal(file.name) }, unpack = unpack,
    digests = { { name = file.name, digest = ("%s %d"):format(file.digest, file.mtime) } },
    prepare = function(tmp)
      fail.check(fs.mkdir(tmp))
      local path = tmp .. "/" .. file.name
      fail.check(fs.copy(file.path, path))
      fail.check(fs.chmod(path, 384)) -- 0600
      fail.check(fs.utime(path, file.mtime))
      return { root = tmp, dated = true }
    end }
end

local function git_group(build, where, step, text)
  local repo = git.resolve(build, where, text, step.checksum)
  local keep = repo.keep
  if keep == nil then keep = step.keep_git_dir end
  if step.keep_git_dir ~= nil and keep ~= step.keep_git_dir then
    once.fail(where, step, { class = "config", code = "git.keep", message = ("--keep-git-dir=%s, but the source says keep-git-dir=%s")
      :format(step.keep_git_dir, keep) })
  end
  return { sources = { "/" }, unpack = false,
    digests = { { name = "git", digest = ("%s %s %s %s"):format(repo.commit, repo.subdir or "", keep and "keep" or "",
      repo.submodules and "" or "no submodules") } },
    prepare = function(tmp)
      build.emit { type = "download", text = "fetching " .. repo.commit:sub(1, 12) }
      return { root = git.checkout(build, repo, tmp, keep) }
    end }
end

local function local_group(build, where, step, source, sources)
  local found, nothing, files = M.scan(build, where, source, { paths = sources, excludes = step.excludes })
  if nothing then
    build:warn(where.target, where.file .. ":" .. step.line, "no file matches " .. table.concat(sources, " ")
      .. "; the layer is empty")
  end
  return { sources = sources, source = source, unpack = step.add and step.unpack ~= false, expect = found, files = files,
    digests = { { name = "", digest = found } } }
end

-- A source of the build context that its ignore file leaves out; the context's root is never meant. An
-- ignore file with exceptions may let part of it in, and is taken to.
local function check_ignored(where, step, source, word)
  if step.from or not source.ignore then return end
  for _, pattern in ipairs(source.ignore) do
    if pattern:find "^%s*!" then return end
  end
  local path = fs.normalize("/" .. word):sub(2)
  if path ~= "" and fail.check(snapshot.ignore(source.ignore)):match(path) then
    where.check(step, "CopyIgnoredFile", ("%s of '%s', which the ignore file of the context leaves out"):format(
      step.add and "ADD" or "COPY", word))
  end
end

-- The sources of a step as groups, in their order.
local function groups_of(build, where, step)
  local source = contexts.source(build, where, step.from)
  for i, word in ipairs(step.sources) do
    if not (step.remotes and step.remotes[i]) then check_ignored(where, step, source, word) end
  end
  if step.parents then return parent_groups(build, where, step, source) end
  local groups, here = {}, {}
  local function flush()
    if #here > 0 then groups[#groups + 1] = local_group(build, where, step, source, here) end
    here = {}
  end
  for i, word in ipairs(step.sources) do
    local kind = step.remotes and step.remotes[i]
    if kind then
      flush()
      groups[#groups + 1] = (kind == "git" and git_group or http_group)(build, where, step, word)
    else
      here[#here + 1] = word
    end
  end
  flush()
  return groups
end

-- --- making the layer ----------------------------------------------------------------------------

-- Layer directory that this very COPY made the last time, whatever its files were then: most of them
-- will be the same and can be linked.
local function last_copy(build, where, step)
  local id = digest.sha256(table.concat({ "last copy", where.context, where.file, step.dest, step.chown or "",
    step.chmod or "", table.unpack(step.sources) }, "\0"))
  local record = build.store:get_key(id)
  return id, record and build.store:layer_dir(record.diff_id)
end

local function copy_group(build, step, group, inline, lowers, upper, tmp, reuse)
  local source = group.source or group.prepare(tmp)
  local from = source.root and { root = source.root } or { lowers = images.lowers(build, source.chain) }
  local expect = #inline == 0 and source.root and group.expect or nil
  -- With --parents the destination is a directory, and the root's own metadata plays no part.
  local dest = step.parents and step.dest:gsub("/*$", "/") or step.dest
  fail.check(limits.explain(snapshot.copy { from = from, sources = group.sources, includes = group.includes, dest = dest, lowers = lowers,
    upper = upper, chown = step.chown, chmod = step.chmod, ignore = source.ignore, excludes = step.excludes,
    link = step.link or false, unpack = group.unpack or false, limits = limits.foreign(), inline = inline, epoch = build.epoch,
    stamp = M.stamped(build, source), rootless = build.rootless,
    preserve_owner = source.preserve or false, userxattr = build.userxattr, reuse = reuse, expect = expect,
    cache = expect and build:stat_cache(source.root) }))
end

-- Names of --chown that the image does not know: their files go to root, where other builders stop.
local function check_owner(build, where, step, chain)
  if not step.chown or step.chown:find "^%d+:?%d*$" then return end
  local owner = fail.check(snapshot.owner { lowers = images.lowers(build, chain), spec = step.chown })
  if owner.unknown then
    build:warn(where.target, where.file .. ":" .. step.line, ("--chown=%s: the image has no '%s'; the files belong to %d:%d")
      :format(step.chown, owner.unknown, owner.uid, owner.gid))
  end
end

-- A wildcard may name several files: without a slash and without a directory there they are one.
local function check_destination(build, where, step, group, lowers)
  if step.dest:sub(-1) == "/" or #step.sources > 1 or (group.files or 0) < 2 or group.unpack then return end
  local found = snapshot.lookup { lowers = lowers, path = step.dest }
  if found and found.type == "dir" then return end
  build:warn(where.target, where.file .. ":" .. step.line, ("%s of %d files to '%s', which does not end with '/': the last one wins; "
    .. "other builders make a directory or refuse"):format(step.add and "ADD" or "COPY", group.files, step.dest))
end

-- Each group on top of the ones before it, and all of them together as one layer.
local function copy_groups(build, step, groups, lowers, upper, tmp)
  local parts, stack = {}, table.move(lowers, 1, #lowers, 1, {})
  for i, group in ipairs(groups) do
    parts[i] = ("%s/part%d"):format(tmp, i)
    copy_group(build, step, group, i == #groups and step.inline or {}, stack, parts[i], ("%s/fetched%d"):format(tmp, i))
    stack[#stack + 1] = parts[i]
  end
  fail.check(snapshot.copy { from = { lowers = parts }, sources = { "/" }, dest = "/", lowers = lowers, upper = upper,
    link = step.link or false, preserve_owner = true, epoch = build.epoch, rootless = build.rootless,
    userxattr = build.userxattr })
end

--- The files of a directory as a layer of their own: what FROM of such a context begins with.
---@param source table of contexts.source
---@return table record { diff_id=, created= }
function M.copy_source(build, where, step, source)
  return once.located(where, step, function()
    local group = local_group(build, where, step, source, step.sources)
    local key = keys.copy { platform = where.platform, parent = "scratch", dest = step.dest, sources = group.digests,
      epoch = build.epoch, salt = where.salt(step) }
    return (once.run(build, where, key, function(tmp)
      local upper = tmp .. "/upper"
      copy_group(build, step, group, {}, {}, upper, tmp .. "/fetched")
      local packed = fail.check(archive.pack { dir = upper })
      once.publish(build, upper, { diff_id = packed.diff_id, size = packed.tar_size, entries = packed.entries })
      return { diff_id = packed.diff_id }
    end))
  end)
end

--- COPY and ADD.
---@param build table the running build
---@param where table of the target
---@param step table of bakery.containerfile
---@param chain app.chain what it stands on
---@return table record { diff_id= }
---@return boolean cached
function M.copy(build, where, step, chain)
  return once.located(where, step, function()
    local groups = groups_of(build, where, step)
    local digests, preserve = {}, false
    for _, group in ipairs(groups) do
      table.move(group.digests, 1, #group.digests, #digests + 1, digests)
      preserve = preserve or group.source and group.source.preserve or false
    end
    for _, file in ipairs(step.inline or {}) do
      digests[#digests + 1] = { name = file.name, digest = digest.sha256(file.data) }
    end
    local key, inputs = keys.copy { add = step.add, platform = where.platform, parent = chain.id, dest = step.dest,
      sources = digests, chown = step.chown, chmod = step.chmod, link = step.link, preserve = preserve,
      unpack = step.unpack, parents = step.parents, epoch = build.epoch, salt = where.salt(step) }
    trace.note(where, step, key, inputs)
    return once.run(build, where, key, function(tmp)
      build.emit { type = "step_running", target = where.target, step = step }
      local upper = tmp .. "/upper"
      local lowers = keys.stands_alone(step) and {} or images.lowers(build, chain)
      check_owner(build, where, step, chain)
      local only = groups[1] or { sources = {}, source = { root = where.context } }
      local last_id, reuse
      if #groups <= 1 and only.source and only.source.root then last_id, reuse = last_copy(build, where, step) end
      if #groups <= 1 then
        check_destination(build, where, step, only, lowers)
        copy_group(build, step, only, step.inline or {}, lowers, upper, tmp .. "/fetched", reuse)
      else
        copy_groups(build, step, groups, lowers, upper, tmp)
      end
      local packed = fail.check(archive.pack { dir = upper })
      once.publish(build, upper, { diff_id = packed.diff_id, size = packed.tar_size, entries = packed.entries })
      if last_id then fail.check(build.store:put_key(last_id, { diff_id = packed.diff_id })) end
      return { diff_id = packed.diff_id }
    end)
  end)
end

return M
