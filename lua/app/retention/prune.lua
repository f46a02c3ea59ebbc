--- Removing tags by policy, and what only they needed. Marked is what a kept tag needs in any way: its
--- manifest, children, referrers by API or fallback tag, and their subjects. Swept is what a doomed tag needs
--- and nothing marked does, parents before children, so that a sweep that stops leaves no image with holes.
local graph = require "app.retention.graph"
local fail = require "app.fail"
local policies = require "app.retention.policy"

local M = {}

local HOUR = 3600

-- Tags that stand for themselves; the others belong to a manifest and share its fate.
local function own_tags(g)
  local out = {}
  for tag in pairs(g.tags) do
    if not graph.belongs_to(tag) then out[#out + 1] = tag end
  end
  table.sort(out)
  return out
end

-- What a kept tag shows must be whole, or the graph is not to be trusted. Only what somebody refers to
-- may have gone.
local function refuse_holes(repo, g, roots, marked)
  local named = {}
  for _, digest in ipairs(roots) do named[digest] = true end
  for digest in pairs(marked) do
    local node = g.nodes[digest]
    for _, child in ipairs(node.children) do named[child] = named[child] or not node.loose[child] or nil end
  end
  for digest in pairs(named) do
    if g.nodes[digest].missing then graph.unresolved(repo.name, digest .. " is needed by a kept image and is not there") end
  end
end

-- Doomed manifests: an index before what it names, referrers after what they refer to.
local function in_order(g, doomed)
  local parents, names, out, seen = {}, {}, {}, {}
  for digest in pairs(doomed) do
    names[#names + 1] = digest
    for _, child in ipairs(g.nodes[digest].children) do
      parents[child] = parents[child] or {}
      table.insert(parents[child], digest)
    end
  end
  table.sort(names)
  local function add(digest)
    if seen[digest] or not doomed[digest] then return end
    seen[digest] = true
    local subject = g.nodes[digest].subject
    if subject then add(subject) end
    for _, parent in ipairs(parents[digest] or {}) do add(parent) end
    out[#out + 1] = digest
  end
  for _, digest in ipairs(names) do add(digest) end
  return out
end

--- What a policy removes from a repository; nothing is written.
---@param repo table see graph, with name and created(node) → seconds|nil
---@param policy table { rules=, grace=hours }
---@param now integer seconds since 1970
---@return table { repository=, kept={{tag,digest,reason}}, tags={{tag,digest,reason}}, manifests={digest}, graph= }
function M.plan(repo, policy, now)
  local g = graph.read(repo)
  local grace = (policy.grace or 24) * HOUR
  local tags = {}
  for i, tag in ipairs(own_tags(g)) do
    tags[i] = { tag = tag, digest = g.tags[tag], created = graph.created(g, g.tags[tag], repo.created) }
  end
  local kept, gone = policies.decide(policy, tags, now)
  local out = { repository = repo.name, kept = {}, tags = {}, manifests = {}, graph = g }
  local roots, doomed_roots = {}, {}
  for _, t in ipairs(tags) do
    if gone[t.tag] and grace > 0 then
      if not t.created then kept[t.tag] = "its age is unknown (--grace 0 does not ask for it)"
      elseif now - t.created < grace then kept[t.tag] = ("younger than %g hours"):format(grace / HOUR) end
    end
    if kept[t.tag] then
      roots[#roots + 1] = t.digest
      out.kept[#out.kept + 1] = { tag = t.tag, digest = t.digest, reason = kept[t.tag] }
    else
      doomed_roots[#doomed_roots + 1] = t.digest
      out.tags[#out.tags + 1] = { tag = t.tag, digest = t.digest, reason = gone[t.tag] }
    end
  end
  -- Fallback tags of manifests that no own tag leads to: nobody knows whose they are, so they stay.
  local from_kept, from_doomed = graph.closure(g, roots, true), graph.closure(g, doomed_roots)
  for tag, digest in pairs(g.tags) do
    local subject = graph.belongs_to(tag)
    if subject and not from_kept[subject] and not from_doomed[subject] then roots[#roots + 1] = digest end
  end
  local marked = graph.closure(g, roots, true)
  refuse_holes(repo, g, roots, marked)
  local doomed, dropped = {}, {}
  for digest in pairs(from_doomed) do
    if not marked[digest] then
      dropped[digest] = true
      if not g.nodes[digest].missing then doomed[digest] = true end
    end
  end
  out.manifests = in_order(g, doomed)
  for tag, digest in pairs(g.tags) do
    local subject = graph.belongs_to(tag)
    if subject and dropped[subject] then
      out.tags[#out.tags + 1] = { tag = tag, digest = digest, reason = "belongs to " .. subject:sub(1, 19) }
    end
  end
  table.sort(out.tags, function(a, b) return a.tag < b.tag end)
  return out
end

local function changed(name, what)
  fail.raise { class = "drift", code = "prune.changed", message = ("%s%s since the plan was made"):format(name, what),
    hint = "make a new plan" }
end

-- Raises unless the repository is still as the plan has it: its tags show what they did, and no other tag, old or
-- new, needs what is to go.
local function must_hold(repo, plan)
  local going, roots, doomed = {}, {}, {}
  for _, t in ipairs(plan.tags) do going[t.tag] = t.digest end
  for _, digest in ipairs(plan.manifests) do doomed[digest] = true end
  local g = graph.read(repo, plan.graph)
  for tag, digest in pairs(g.tags) do
    if not going[tag] then roots[#roots + 1] = digest
    elseif going[tag] ~= digest then changed(repo.name, ":" .. tag .. " has changed") end
  end
  for digest in pairs(graph.closure(g, roots, true)) do
    if doomed[digest] then changed(repo.name, "@" .. digest .. " has come to be needed") end
  end
end

local function remove_tag(repo, t)
  local now = repo.shows(t.tag)
  if not now then return end
  if now ~= t.digest then changed(repo.name, ":" .. t.tag .. " has changed") end
  repo.delete_tag(t.tag)
end

--- Carries a plan out. The repository is looked at again before, and once more before manifests go: what
--- others have done since, while somebody was asked or tags were removed, stops it.
---@param repo table as for plan, with delete_tag(tag) and delete(digest)
---@param plan table of M.plan
---@param emit fun(event: table)
---@return integer removed
function M.apply(repo, plan, emit)
  local removed = 0
  must_hold(repo, plan)
  for _, t in ipairs(plan.tags) do
    remove_tag(repo, t)
    emit { type = "untagged", target = plan.repository, ref = repo.name .. ":" .. t.tag }
    removed = removed + 1
  end
  if #plan.tags > 0 and #plan.manifests > 0 then must_hold(repo, plan) end
  for _, digest in ipairs(plan.manifests) do
    repo.delete(digest)
    emit { type = "removed", target = plan.repository, ref = repo.name .. "@" .. digest }
    removed = removed + 1
  end
  return removed
end

--- Checks a saved plan against what would be decided now: everything it removes must still be removed, and
--- nothing may have moved.
---@param saved table { tags={{tag,digest}}, manifests={digest} }
---@param now table of M.plan
---@param name string of the repository
function M.recheck(saved, now, name)
  local tags, manifests = {}, {}
  for _, t in ipairs(now.tags) do tags[t.tag] = t.digest end
  for _, d in ipairs(now.manifests) do manifests[d] = true end
  for _, t in ipairs(saved.tags) do
    if tags[t.tag] ~= t.digest then changed(name, ":" .. t.tag .. " has changed") end
  end
  for _, d in ipairs(saved.manifests) do
    if not manifests[d] then changed(name, "@" .. d .. " has come to be needed") end
  end
end

return M
