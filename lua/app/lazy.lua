--- lazy(name): stands for a module that most runs do without; it is loaded when something is looked up in it.
---@param name string as for require
---@return table module
return function(name)
  return setmetatable({}, { __index = function(_, key) return require(name)[key] end })
end
