--- One repository of a registry, as graph and prune want it.
local json = require "bakery.json"
local oci = require "bakery.oci"
local fail = require "app.fail"
local graph = require "app.retention.graph"

local M = {}

local function absent(err) return err.code == "oci.not_found" or err.code == "http.404" end
local function unsupported(err) return err.code == "oci.unsupported" or err.code == "http.405" or err.code == "http.400" end

--- Opens a repository.
---@param client table bakery.oci.client
---@param text string "host/path"
---@return table repo
function M.open(client, text)
  local ref = fail.within("repository", oci.ref(text))
  local name = ref.name
  local repo = { name = name }
  local function at(what)
    return what:find("^sha%d+:") and name .. "@" .. what or name .. ":" .. what
  end

  function repo.tags()
    local list, err = client:tags(name)
    if not list and absent(err) then return {} end
    return fail.within(name, list, err)
  end

  function repo.get(what)
    local m, err = client:manifest(at(what))
    if not m and absent(err) then return nil end
    return fail.within(at(what), m, err)
  end

  function repo.shows(tag)
    local m, err = client:head(name .. ":" .. tag)
    if not m and absent(err) then return nil end
    return fail.within(name .. ":" .. tag, m, err).digest
  end

  -- The fallback tags are tags like others; only what the API says is of interest here.
  function repo.referrers(d)
    local list, err = client:referrers(name .. "@" .. d)
    if not list and absent(err) then return {} end
    return fail.within("referrers of " .. at(d), list, err)
  end

  --- When an image was made, by its config; nil when that does not say.
  function repo.created(node)
    if type(node.config) ~= "table" or type(node.config.digest) ~= "string" then return nil end
    local config, err = client:blob_data(name, node.config, { max = 16 << 20 })
    if not config and not absent(err) and err.code ~= "oci.too_large" then fail.within("config of " .. at(node.digest), config, err) end
    local doc = config and json.decode(config)
    return type(doc) == "table" and graph.seconds(doc.created) or nil
  end

  local function remove(what)
    local ok, err = client:delete(at(what))
    if ok or absent(err) then return end
    if unsupported(err) then
      err.hint = "deletion may be switched off in the registry (distribution: storage.delete.enabled)"
    end
    fail.within("remove " .. at(what), ok, err)
  end

  repo.delete_tag, repo.delete = remove, remove
  return repo
end

return M
