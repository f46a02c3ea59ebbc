--- What hangs on what in one repository: tags → indexes → children, and referrers of each. Everything a
--- decision needs is read before anything is decided; what cannot be read stops the work.
---
--- A repository is whatever has
---   tags()             → string[]
---   get(tag or digest) → { digest=, media_type=, raw= } or nil when it is not there
---   shows(tag)         → digest, or nil when there is no such tag
---   referrers(digest)  → descriptors by the referrers API (none when there is no such API)
--- all raising error objects for other trouble.
local json = require "bakery.json"
local media = require "bakery.image.media"
local oci = require "bakery.oci"
local task = require "bakery.task"
local fail = require "app.fail"
local seconds = require("app.stamp").seconds

local M = {}

local CREATED = "org.opencontainers.image.created"

---@class app.retention.node
---@field digest string
---@field is_index boolean
---@field children string[] digests of an index's manifests
---@field loose table<string, boolean> children that may be no manifests: layers of BuildKit's caches
---@field about table<string, boolean> children that are about others: BuildKit's attestations
---@field subject string|nil digest it refers to
---@field referrers string[] digests of manifests that refer to it
---@field created integer|nil seconds since 1970
---@field missing boolean named by something, and not there
---@field config table|nil descriptor

--- Whole seconds since 1970 of an RFC 3339 stamp, or nil.
---@param stamp any
---@return integer|nil
function M.seconds(stamp)
  local at = seconds(stamp)
  return at and math.floor(at)
end

--- Digest that a fallback tag of the referrers scheme (distribution-spec, "Referrers Tag Schema") or a tag of
--- older cosign belongs to.
---@param tag string
---@return string|nil digest
---@return string|nil kind "referrers", "sig", "att" or "sbom"
function M.belongs_to(tag)
  local algorithm, hex, suffix = tag:match "^(sha%d+)%-(%x+)%.?(%a*)$"
  if not algorithm or #hex ~= (algorithm == "sha256" and 64 or 128) then return nil end
  if suffix ~= "" and suffix ~= "sig" and suffix ~= "att" and suffix ~= "sbom" then return nil end
  return algorithm .. ":" .. hex, suffix == "" and "referrers" or suffix
end

local ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json" -- of image-spec 1.1's drafts
local SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+"
local KINDS = { [media.oci.index] = "index", [media.docker.index] = "index", [media.oci.manifest] = "image",
  [media.docker.manifest] = "image", [ARTIFACT] = "image", [SCHEMA1 .. "json"] = "image", [SCHEMA1 .. "prettyjws"] = "image" }

--- Raises: nothing is decided about a repository with something that cannot be understood.
---@param name string what it is about
---@param what string
function M.unresolved(name, what)
  fail.raise { class = "infra", code = "prune.unresolved", message = name .. ": " .. what,
    hint = "nothing is removed from a repository that cannot be understood" }
end

-- "index" or "image"; what a manifest says of itself and what the registry says of it must agree.
local function kind_of(m, doc)
  local said, told = KINDS[m.media_type], KINDS[doc.mediaType]
  if type(doc.mediaType) == "string" and not told then M.unresolved(m.digest, "unknown type " .. doc.mediaType) end
  if not said and not told then M.unresolved(m.digest, "unknown type " .. tostring(m.media_type)) end
  if said and told and said ~= told then
    M.unresolved(m.digest, ("the registry says %s, the manifest %s"):format(m.media_type, doc.mediaType))
  end
  return told or said
end

local function digest_of(m, d, what)
  if type(d) ~= "table" or not oci.is_digest(tostring(d.digest)) then M.unresolved(m.digest, "malformed " .. what) end
  return d.digest
end

local function fill_index(node, m, doc)
  if type(doc.manifests) ~= "table" then M.unresolved(m.digest, "an index without manifests") end
  for i, d in ipairs(doc.manifests) do
    local digest = digest_of(m, d, "entry " .. i)
    node.children[i] = digest
    node.loose[digest] = d.mediaType ~= nil and d.mediaType ~= json.null and not KINDS[d.mediaType] or nil
    local platform = type(d.platform) == "table" and d.platform.os == "unknown"
    node.about[digest] = platform and true or nil
  end
end

local function fill(node, m)
  local doc = json.decode(m.raw, { name = m.digest })
  if type(doc) ~= "table" then M.unresolved(m.digest, "not a manifest") end
  node.is_index = kind_of(m, doc) == "index"
  if doc.subject ~= nil and doc.subject ~= json.null then node.subject = digest_of(m, doc.subject, "subject") end
  node.created = M.seconds(type(doc.annotations) == "table" and doc.annotations[CREATED])
  node.config = doc.config
  if node.is_index then fill_index(node, m, doc)
  elseif doc.manifests ~= nil then M.unresolved(m.digest, "an image with a list of manifests") end
end

--- Reads the graph of a repository.
---@param repo table
---@param known table|nil a graph of it that was read before: what is below a digest does not change
---@return table { tags = { tag → digest }, nodes = { digest → node } }
function M.read(repo, known)
  local g = { tags = {}, nodes = {} }
  local function visit(digest, m)
    if g.nodes[digest] then return end
    local old = known and known.nodes[digest]
    if old and not old.missing then
      g.nodes[digest] = old
      for _, list in ipairs { old.children, old.referrers, { old.subject } } do
        for _, d in ipairs(list) do visit(d) end
      end
      return
    end
    local node = { digest = digest, missing = false, is_index = false, children = {}, loose = {}, about = {}, referrers = {} }
    g.nodes[digest] = node -- before anything is waited for: other tasks come by
    m = m or repo.get(digest)
    if not m then
      node.missing = true
      return
    end
    fill(node, m)
    for _, child in ipairs(node.children) do visit(child) end
    if node.subject then visit(node.subject) end
    for _, d in ipairs(repo.referrers(digest)) do
      node.referrers[#node.referrers + 1] = d.digest
      visit(d.digest)
    end
  end
  task.map(repo.tags(), 8, function(tag)
    local m = not known and repo.get(tag) or nil
    local digest = m and m.digest or known and repo.shows(tag)
    if digest then -- a tag that went away meanwhile is no tag
      g.tags[tag] = digest
      visit(digest, m)
    end
    return true
  end)
  -- The tag forms of "refers to".
  for tag, digest in pairs(g.tags) do
    local subject = M.belongs_to(tag)
    if subject then
      visit(subject)
      local node = g.nodes[subject]
      node.referrers[#node.referrers + 1] = digest
    end
  end
  return g
end

--- All that hangs on the given manifests: children and referrers, with `subjects` what they refer to too.
---@param g table
---@param roots string[]
---@param subjects boolean|nil
---@return table<string, boolean>
function M.closure(g, roots, subjects)
  local seen, todo = {}, table.move(roots, 1, #roots, 1, {})
  while #todo > 0 do
    local digest = table.remove(todo)
    if not seen[digest] then
      seen[digest] = true
      local node = g.nodes[digest]
      for _, list in ipairs { node and node.children or {}, node and node.referrers or {} } do
        table.move(list, 1, #list, #todo + 1, todo)
      end
      if subjects and node and node.subject then todo[#todo + 1] = node.subject end
    end
  end
  return seen
end

--- When a manifest was made: its annotation, the newest of its children, or what created_of says of the config.
---@param g table
---@param digest string
---@param created_of fun(node: table): integer|nil
---@return integer|nil
function M.created(g, digest, created_of)
  local node = g.nodes[digest]
  if not node or node.missing then return nil end
  if node.created then return node.created end
  if not node.is_index then
    node.created = created_of(node)
    return node.created
  end
  local newest
  for _, child in ipairs(node.children) do
    local at = M.created(g, child, created_of)
    if not at and not node.about[child] then return nil end
    if at then newest = math.max(newest or at, at) end
  end
  node.created = newest
  return newest
end

return M
