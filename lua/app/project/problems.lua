--- Problems of a configuration file with their positions: collected all, reported at once.
--- A problem is an error object: {code, class="usage", message (begins with the key path),
--- where="file:line:col", path (the file), line, col, key, hint, level}.

---@class app.project.problems
local Problems = {}
Problems.__index = Problems

local Problem = {
  __name = "bakery.error",
  __tostring = function(self)
    local text = self.message
    if self.where and self.where ~= "" then text = self.where .. ": " .. text end
    if self.hint then text = text .. " (" .. self.hint .. ")" end
    return text
  end,
}

local List = {
  __tostring = function(self)
    local lines = {}
    for i, problem in ipairs(self) do lines[i] = tostring(problem) end
    return table.concat(lines, "\n")
  end,
}

local M = {}

--- A single problem outside any file.
---@param code string
---@param message string
---@param extra table|nil further fields
---@return table problem
function M.problem(code, message, extra)
  local out = { level = "error", code = code, class = "usage", retryable = false, where = "" }
  for k, v in pairs(extra or {}) do out[k] = v end
  out.message = message
  return setmetatable(out, Problem)
end

--- A list whose tostring is one problem a line.
---@param list table[]|nil
---@return table[]
function M.list(list)
  return setmetatable(list or {}, List)
end

--- Key path of a linked path {up=, key=}: `images[0].versions[1].name` (indices from 0).
---@param path table|nil
---@return string
function M.path_text(path)
  local parts = {}
  while path and path.up do
    table.insert(parts, 1, path.key)
    path = path.up
  end
  local out = {}
  for _, key in ipairs(parts) do
    if math.type(key) then
      out[#out + 1] = ("[%d]"):format(key - 1)
    elseif key:find("^[%w_-]+$") then
      out[#out + 1] = (#out > 0 and "." or "") .. key
    else
      out[#out + 1] = ("[%q]"):format(key)
    end
  end
  return table.concat(out)
end

--- A problem at a YAML node of a file.
---@param file {name: string, path: string|nil} how messages call the file, where it is
---@param node table|nil
---@param path table|nil linked key path
---@param code string
---@param message string
---@param extra table|nil further fields
---@return table problem
function M.at(file, node, path, code, message, extra)
  local key = M.path_text(path)
  local out = M.problem(code, key ~= "" and key .. ": " .. message or message, extra)
  out.key, out.path = key, file.path
  out.line, out.col = node and node.line, node and node.col
  out.where = node and ("%s:%d:%d"):format(file.name, node.line, node.col) or file.name
  return out
end

---@param name string how messages call the file
---@param path string|nil where the file is, for the source line
---@return app.project.problems
function M.new(name, path)
  return setmetatable({
    file = { name = name, path = path },
    errors = M.list(),
    warnings = M.list(),
    notes = M.list(),
  }, Problems)
end

--- Records an error at a YAML node.
---@param node table|nil
---@param path table|nil
---@param code string
---@param message string
---@param hint string|nil
function Problems:error(node, path, code, message, hint)
  self.errors[#self.errors + 1] = M.at(self.file, node, path, code, message, { hint = hint })
end

--- Records a warning.
function Problems:warn(node, path, code, message, hint)
  self.warnings[#self.warnings + 1] = M.at(self.file, node, path, code, message,
    { hint = hint, level = "warning" })
end

--- Records something worth knowing that is no reason to change the file.
function Problems:note(node, path, code, message)
  self.notes[#self.notes + 1] = M.at(self.file, node, path, code, message, { level = "info" })
end

--- Puts the lists in the order of the file (stable).
function Problems:sort()
  for _, list in ipairs { self.errors, self.warnings, self.notes } do
    local index = {}
    for i, problem in ipairs(list) do index[problem] = i end
    table.sort(list, function(a, b)
      local al, bl = a.line or 0, b.line or 0
      if al ~= bl then return al < bl end
      local ac, bc = a.col or 0, b.col or 0
      if ac ~= bc then return ac < bc end
      return index[a] < index[b]
    end)
  end
end

return M
