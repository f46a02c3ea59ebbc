--- Value at a path of names and numbers, nil when anything on the way is no table: for documents that
--- somebody else wrote.
---@param t any
---@return any
return function(t, ...)
  for _, k in ipairs { ... } do
    if type(t) ~= "table" then return nil end
    t = t[k]
  end
  return t
end
