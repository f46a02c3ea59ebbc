--- A manifest that names blobs which the registry had, or said it had, and has lost: they are brought
--- again, and the manifest is put once more.
local TRIES = 3

---@param put fun(): any, table|nil stores the manifest
---@param bring fun() uploads what it names
---@return any what `put` gave
---@return table|nil err
return function(put, bring)
  for n = 1, TRIES do
    local done, err = put()
    if done or err.code ~= "oci.blob_unknown" or n == TRIES then return done, err end
    bring()
  end
end
