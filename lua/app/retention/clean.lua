--- Cache and temporary repositories: what is old goes, and at GitHub what has no tag. What a tagged index
--- that stays is made of never goes.
local fail = require "app.fail"
local ghcr = require "app.retention.ghcr"
local graph = require "app.retention.graph"
local policy = require "app.retention.policy"
local prune = require "app.retention.prune"
local registry = require "app.retention.registry"

local M = {}

local DAY = 86400

-- Digests that what stays, by tags and by digests, needs: read from the registry itself.
local function needed(client, name, tags)
  local repo = registry.open(client, name)
  repo.tags = function() return tags end
  local g = graph.read(repo)
  local roots = {}
  for _, digest in pairs(g.tags) do roots[#roots + 1] = digest end
  return graph.closure(g, roots, true)
end

--- Versions of a GitHub package that are to go.
---@param versions table[] of ghcr
---@param opts table { older_than=days|nil, untagged=boolean }
---@param now integer
---@param closure fun(names: string[]): table<string, boolean> what tags and digests need
---@return table[] versions
function M.choose(versions, opts, now, closure)
  local candidates, staying = {}, {}
  local limit = opts.older_than and opts.older_than > 0 and now - opts.older_than * DAY
  for _, v in ipairs(versions) do
    local old = limit and v.updated and v.updated < limit
    if old or opts.untagged and #v.tags == 0 then
      candidates[#candidates + 1] = v
    else
      for _, tag in ipairs(v.tags) do staying[#staying + 1] = tag end
      if #v.tags > 0 then staying[#staying + 1] = v.digest end -- the tag may have been moved since
    end
  end
  if #candidates == 0 then return {} end
  local out, keep = {}, #staying > 0 and closure(staying) or {}
  for _, v in ipairs(candidates) do
    if not keep[v.digest] then out[#out + 1] = v end
  end
  return out
end

local function clean_ghcr(client, name, opts, now, ctx)
  local package = ghcr.open(name, ctx.token())
  local doomed = M.choose(package.versions(), opts, now, function(tags) return needed(client, name, tags) end)
  local docs = {}
  for i, v in ipairs(doomed) do docs[i] = v.doc end
  if opts.dry_run then return docs end
  for _, v in ipairs(doomed) do
    local warning = package.delete(v)
    if warning then ctx.warn(warning)
    else ctx.emit { type = "removed", target = name, ref = name .. "@" .. v.digest } end
  end
  return docs
end

-- Any registry: tags by their age. Manifests without a tag cannot be listed there.
local function clean_registry(client, name, opts, now, ctx)
  if not opts.older_than or opts.older_than == 0 then
    if opts.untagged then ctx.warn(name .. ": only GitHub lists manifests without a tag; give --older-than for tags") end
    return {}
  end
  local repo = registry.open(client, name)
  local plan = prune.plan(repo, { rules = { policy.rule({ days = opts.older_than }, name, 1) }, grace = 0 }, now)
  local docs = {}
  for i, t in ipairs(plan.tags) do docs[i] = { name = t.digest, tag = t.tag } end
  if not opts.dry_run then prune.apply(repo, plan, ctx.emit) end
  return docs
end

--- Cleans one repository.
---@param client table
---@param name string "host/path"
---@param opts table { older_than=, untagged=, dry_run= }
---@param now integer
---@param ctx table { token=fn() → string, emit=fn, warn=fn }
---@return table[] what went, or would go
function M.run(client, name, opts, now, ctx)
  if name:match "^ghcr%.io/" then return clean_ghcr(client, name, opts, now, ctx) end
  return clean_registry(client, name, opts, now, ctx)
end

--- The token for GitHub's API.
function M.token()
  local token = os.getenv "GITHUB_TOKEN"
  if token and token ~= "" then return token end
  return fail.raise { class = "usage", code = "clean.token", message = "GITHUB_TOKEN is not set",
    hint = "a token with read:packages and delete:packages" }
end

return M
