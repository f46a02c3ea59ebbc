--- Chains of layers: an immutable list of diff ids with its OCI chain ID (image-spec config.md,
--- "Layer ChainID").
local digest = require "bakery.digest"

---@class app.chain
---@field id string "sha256:…", or "scratch" for no layers
---@field [integer] table layer: { diff_id=, blob=descriptor|nil, source=repository|nil }
local Chain = {}
Chain.__index = Chain

local M = {}

--- The empty chain.
M.empty = setmetatable({ id = "scratch" }, Chain)

--- This chain with one more layer.
---@param layer table { diff_id=, blob=, source= }
---@return app.chain
function Chain:with(layer)
  local next_chain = table.move(self, 1, #self, 1, {})
  next_chain[#next_chain + 1] = layer
  next_chain.id = #self == 0 and layer.diff_id
    or "sha256:" .. digest.sha256(self.id .. " " .. layer.diff_id)
  return setmetatable(next_chain, Chain)
end

--- List of the diff ids.
function Chain:diff_ids()
  local out = {}
  for i, layer in ipairs(self) do out[i] = layer.diff_id end
  return out
end

return M
