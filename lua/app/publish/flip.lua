--- Setting all tags of a release in one short phase. What every tag showed before is looked up first and
--- written, with what it is to show, into a journal (fsynced) before the first tag moves: after a crash
--- the journal finishes the release or takes it back, whatever had been set. Content must be in its
--- repositories already, by digest.
local fs = require "bakery.fs"
local json = require "bakery.json"
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local task = require "bakery.task"
local config = require "app.config"
local fail = require "app.fail"
local owner = require "app.owner"

local M = {}

local FORMAT = 1
local KEEP = 20 -- finished journals
local VERIFY_TRIES = 6

---@class app.publish.step
---@field repository string "host/path"
---@field tag string
---@field digest string of the manifest it is to show
---@field media_type string
---@field target string uid
---@field raw? string the manifest, when it is at hand
---@field old? string|false digest it showed before, false: there was no such tag

local function state_dir() return config.state_dir() .. "/publish" end

-- Journals of one project lie together.
local function project_dir(project) return state_dir() .. "/" .. require("bakery.digest").sha256(project):sub(1, 16) end

local function name_of(step) return step.repository .. ":" .. step.tag end

-- `latest` moves after everything else of its repository; otherwise the given (push) order stays.
local function in_order(steps)
  local out, last = {}, {}
  for _, step in ipairs(steps) do
    local list = step.tag == "latest" and last or out
    list[#list + 1] = step
  end
  return table.move(last, 1, #last, #out + 1, out)
end

local function write(journal)
  local doc = json.object { { "format", FORMAT }, { "id", journal.id }, { "project", journal.project }, { "state", journal.state },
    { "started", journal.started }, { "owner", json.object(journal.owner) } }
  doc.steps = json.array {}
  for i, s in ipairs(journal.steps) do
    doc.steps[i] = json.object { { "target", s.target }, { "repository", s.repository }, { "tag", s.tag }, { "digest", s.digest },
      { "media_type", s.media_type }, { "old", s.old or json.null } }
  end
  fail.within("write the journal", fs.write(journal.file, json.encode(doc, { indent = 1 }) .. "\n", { sync = true }))
end

local function read(file)
  local doc, err = json.decode(fail.check(fs.read(file, 64 << 20)), { name = file })
  if type(doc) ~= "table" or doc.format ~= FORMAT or type(doc.steps) ~= "table" then
    fail.raise { class = "build", code = "publish.journal", message = file .. ": not a journal of bakery publish",
      hint = err and tostring(err) or nil }
  end
  for _, s in ipairs(doc.steps) do if s.old == json.null then s.old = false end end
  doc.file = file
  return doc
end

local function forget_old(dir)
  local names = fs.list(dir) or {}
  for i = 1, #names - KEEP do
    local file = dir .. "/" .. names[i]
    local ok, journal = pcall(read, file)
    if ok and journal.state ~= "setting" then fs.remove(file) end
  end
end

-- Journals of publishes that have not ended, oldest first.
local function unfinished(project)
  local dir, out = project_dir(project), {}
  for _, name in ipairs(fs.list(dir) or {}) do
    local journal = name:match "%.json$" and read(dir .. "/" .. name)
    if journal and journal.state == "setting" then out[#out + 1] = journal end
  end
  return out
end

--- The journal of a publish that did not end, or the one named by its id.
---@param project string directory of the project
---@param id string|nil
---@return table|nil journal
function M.find(project, id)
  if not id then return unfinished(project)[1] end
  local file = project_dir(project) .. "/" .. id .. ".json"
  return fs.exists(file) and read(file) or nil
end

-- Raises when the process that writes a journal still runs.
local function refuse_running(journal)
  if journal.state ~= "setting" or not owner.is_alive(journal.owner) then return end
  fail.raise { class = "build", code = "publish.running", message = ("another publish of this project (%s, process %d) is setting "
    .. "tags"):format(journal.id, journal.owner.pid), hint = "wait until it has ended" }
end

--- Raises when an earlier publish of the project stopped between two tags, or is still at it.
---@param project string
function M.refuse_unfinished(project)
  local journal = M.find(project)
  if not journal then return end
  refuse_running(journal)
  fail.raise { class = "build", code = "publish.unfinished", message = "an earlier publish (" .. journal.id
    .. ") stopped while it was setting tags", hint = "bakery publish --resume sets the rest, bakery publish --rollback restores "
    .. "what the tags showed before" }
end

-- Digest a tag shows now, false when there is none; raises when the registry does not say.
local function shown(client, step)
  local m, err = client:head(name_of(step))
  if m then return m.digest end
  if err.code == "oci.not_found" or err.code == "http.404" then return false end
  return fail.check(nil, err)
end

-- The manifest that a digest names in the step's repository.
local function manifest(client, step, digest)
  if digest == step.digest and step.raw then return step.raw, step.media_type end
  local m = fail.within(("%s: fetch %s"):format(name_of(step), digest), client:manifest(step.repository .. "@" .. digest))
  return m.raw, m.media_type
end

local function put(client, step, digest)
  local raw, media_type = manifest(client, step, digest)
  fail.within("tag " .. name_of(step), client:push_manifest(step.repository, step.tag, raw, media_type))
end

-- Calls fn for each step: repositories side by side, one after the other within each.
local function each(steps, fn)
  local order, by_repo = {}, {}
  for _, step in ipairs(steps) do
    if not by_repo[step.repository] then
      by_repo[step.repository] = {}
      order[#order + 1] = step.repository
    end
    table.insert(by_repo[step.repository], step)
  end
  task.map(order, 8, function(repository)
    for _, step in ipairs(by_repo[repository]) do fn(step) end
  end)
end

-- Waits until a tag shows the digest (false: is gone): registries may take a moment.
local function verify(client, step, digest)
  local now
  for try = 1, VERIFY_TRIES do
    now = shown(client, step)
    if now == digest then return end
    if try < VERIFY_TRIES then loop.sleep(0.1 * 2 ^ try) end
  end
  fail.raise { class = "infra", code = "publish.verify", message = ("%s shows %s, not %s"):format(name_of(step),
    now or "nothing", digest or "nothing") }
end

local function hint(journal, err)
  if type(err) == "table" then
    err.hint = (err.hint and err.hint .. "; " or "") .. "some tags may have moved: bakery publish --resume sets the rest, "
      .. "bakery publish --rollback restores the old ones (" .. journal.id .. ")"
  end
  return err
end

local function finish(journal, state)
  journal.state = state
  write(journal)
  forget_old(fs.dirname(journal.file))
end

-- Steps whose tags are ours to set: a tag that shows neither what it did before nor what we set was moved by
-- somebody else since the publish stopped, and stays as it is.
local function ours(client, journal, emit)
  local out, shows = {}, task.map(journal.steps, 8, function(step) return shown(client, step) end)
  for i, step in ipairs(journal.steps) do
    local now = shows[i]
    if now and now ~= step.digest and now ~= step.old then
      emit { type = "warning", text = ("%s was set to %s by somebody else since: left as it is"):format(name_of(step), now) }
    else
      out[#out + 1] = step
    end
  end
  return out
end

-- Brings tags of the journal to their new digests.
local function forward(client, journal, steps, emit)
  each(steps, function(step)
    if shown(client, step) ~= step.digest then put(client, step, step.digest) end
    emit { type = "tagged", target = step.target, ref = name_of(step), digest = step.digest }
  end)
  each(steps, function(step) verify(client, step, step.digest) end)
  finish(journal, "done")
end

--- Sets the tags of a release.
---@param opts table { client=, steps=app.publish.step[] in push order, project=directory, id=run id, emit=fn }
---@return table journal
function M.run(opts)
  local client, emit = opts.client, opts.emit or function() end
  M.refuse_unfinished(opts.project)
  local journal = { id = opts.id, project = opts.project, state = "setting", started = os.date "!%Y-%m-%dT%H:%M:%SZ", owner = owner.this(),
    steps = in_order(opts.steps), file = project_dir(opts.project) .. "/" .. opts.id .. ".json" }
  task.map(journal.steps, 8, function(step) step.old = shown(client, step) end)
  fail.within("write the journal", fs.mkdir(project_dir(opts.project), { parents = true }))
  write(journal)
  for _, other in ipairs(unfinished(opts.project)) do
    if other.id ~= journal.id then -- it came at the same moment
      fs.remove(journal.file)
      M.refuse_unfinished(opts.project)
    end
  end
  local ok, err = pcall(forward, client, journal, journal.steps, emit)
  if not ok then error(hint(journal, err), 0) end
  return journal
end

-- Takes up a journal, also one that had ended: should it stop now, that is to be known.
local function reopen(journal)
  refuse_running(journal)
  journal.state, journal.owner = "setting", owner.this()
  write(journal)
end

--- Finishes a publish that stopped half-way.
---@param client table
---@param journal table of M.find
---@param emit fun(event: table)
function M.resume(client, journal, emit)
  local ok, err = pcall(forward, client, journal, ours(client, journal, emit), emit)
  if not ok then error(hint(journal, err), 0) end
end

-- Other tags of the repository that show the digest, besides those that are to go too.
local function others_showing(client, journal, step)
  local own, out = {}, {}
  for _, s in ipairs(journal.steps) do
    if s.repository == step.repository and not s.old then own[s.tag] = true end
  end
  for _, tag in ipairs(fail.check(client:tags(step.repository))) do
    if not own[tag] and shown(client, { repository = step.repository, tag = tag }) == step.digest then out[#out + 1] = tag end
  end
  return out
end

-- Takes a tag away that was not there before. Registries that cannot delete tags delete the manifest
-- instead, which is right only when no other tag shows it.
local function remove_tag(client, journal, step)
  local ok, err = client:delete(name_of(step))
  if ok or err.code == "oci.not_found" or err.code == "http.404" then return end
  if err.code ~= "oci.unsupported" and err.code ~= "http.405" and err.code ~= "http.400" then fail.check(nil, err) end
  local others = others_showing(client, journal, step)
  if #others > 0 then
    fail.raise { class = "infra", code = "publish.rollback", message = ("%s was not there before, and %s can only delete its "
      .. "manifest, which %s shows too"):format(name_of(step), step.repository:match "^[^/]+", table.concat(others, ", ")) }
  end
  fail.within("remove " .. name_of(step), client:delete(step.repository .. "@" .. step.digest))
end

--- Restores what the tags of a publish showed before.
---@param client table
---@param journal table of M.find
---@param emit fun(event: table)
function M.rollback(client, journal, emit)
  local reversed, steps = {}, ours(client, journal, emit)
  for i = #steps, 1, -1 do reversed[#reversed + 1] = steps[i] end
  each(reversed, function(step)
    if step.old and shown(client, step) ~= step.old then put(client, step, step.old) end
    if step.old then emit { type = "tagged", target = step.target, ref = name_of(step), digest = step.old } end
  end)
  -- Only now: a manifest that is deleted takes its tags along.
  each(reversed, function(step)
    if not step.old and shown(client, step) then remove_tag(client, journal, step) end
    if not step.old then emit { type = "untagged", target = step.target, ref = name_of(step) } end
  end)
  each(reversed, function(step) verify(client, step, step.old) end)
  finish(journal, "rolled back")
end

--- What `--resume` and `--rollback` do: finds the journal and a client, then one of the two.
---@param values table { resume=, rollback=, journal=id|nil }
---@param project string
---@param emit fun(event: table)
---@return table journal
function M.recover(values, project, emit)
  local journal = M.find(project, values.journal)
  if not journal then
    fail.raise { class = "usage", code = "publish.nothing", message = values.journal and "no journal '" .. values.journal .. "'"
      or "no publish of this project stopped half-way" }
  end
  local client <close> = fail.check(oci.client {}) -- luacheck: ignore
  reopen(journal)
  if values.rollback then M.rollback(client, journal, emit) else M.resume(client, journal, emit) end
  return journal
end

return M
