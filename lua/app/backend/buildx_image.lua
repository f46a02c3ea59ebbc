--- What both strategies of the buildx backend need: running docker, results, local images.
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local fail = require "app.fail"

local M = {}

--- Value of --output for an output of ours, a CSV record. The path is made absolute: docker runs elsewhere.
---@param spec string "oci:DIR" or "docker-archive:FILE"
---@return string
function M.output_entry(spec)
  local kind, path = spec:match "^([%w-]+):(.+)$"
  if kind ~= "oci" and kind ~= "docker-archive" then
    fail.raise { class = "usage", code = "usage", message = "unknown output '" .. spec .. "'" }
  end
  local dest = "dest=" .. (fs.is_absolute(path) and path or fs.join(fail.check(fs.cwd()), path))
  if dest:find '[",]' then dest = '"' .. dest:gsub('"', '""') .. '"' end
  return (kind == "oci" and "type=oci,tar=false," or "type=docker,") .. dest
end

--- Runs docker in the project's directory; its lines become log events of `target`.
---@param backend table
---@param cmd string[]
---@param target string
---@return string[] tail the last lines
---@return table result of bakery.process
function M.run(backend, cmd, target)
  local tail = {}
  local r = fail.check(process.run { cmd = cmd, cwd = backend.dir, merge = true, capture = false,
    on_line = function(line)
      if line ~= "" then
        tail[#tail + 1] = line
        if #tail > 30 then table.remove(tail, 1) end
        backend.emit { type = "log", target = target, text = line }
      end
    end })
  return tail, r
end

--- The result of a target that was built.
---@param uid string
---@param entry table|nil its metadata
---@param tags string[]
---@return table
function M.result(uid, entry, tags)
  local digest = entry and entry["containerimage.digest"]
  return { uid = uid, status = "ok", tags = tags, platforms = {}, digest = digest,
    image_id = entry and (entry["containerimage.config.digest"] or digest), metadata = entry, cached = 0, executed = 0 }
end

--- What docker knows of a loaded image: {layers=, local_size=}, or nil.
---@param backend table
---@param tag string
---@return table|nil
function M.inspect(backend, tag)
  local r = process.run { cmd = { backend.docker, "image", "inspect", tag }, timeout = 60 }
  local doc = r and r.code == 0 and json.decode(r.stdout)
  doc = type(doc) == "table" and doc[1]
  if type(doc) ~= "table" then return nil end
  local layers = type(doc.RootFS) == "table" and type(doc.RootFS.Layers) == "table" and #doc.RootFS.Layers or nil
  return { layers = layers, local_size = math.tointeger(doc.Size) }
end

return M
