--- Collects everything that is wrong or doubtful in one configuration file, with positions.
--- A problem: {level, code, class="usage", message, where="file:line:col", file, line, col, path,
--- hint}; tostring gives `where: message`. Errors of several problems are lists of them.

---@class app.project.problems
local Problems = {}
Problems.__index = Problems

local Problem = {
  __name = "bakery.error",
  __tostring = function(self)
    local text = self.message
    if self.path and self.path ~= "" then text = self.path .. ": " .. text end
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

local M = { Problem = Problem, List = List }

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

---@param file string how the file is named in messages
---@return app.project.problems
function M.new(file)
  return setmetatable({ file = file, errors = M.list(), warnings = M.list() }, Problems)
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

local function add(self, list, level, node, path, code, message, hint)
  local problem = setmetatable({
    level = level,
    code = code,
    class = "usage",
    retryable = false,
    message = message,
    hint = hint,
    file = self.file,
    line = node and node.line,
    col = node and node.col,
    path = M.path_text(path),
  }, Problem)
  problem.where = node and ("%s:%d:%d"):format(self.file, node.line, node.col) or self.file
  list[#list + 1] = problem
end

--- Records an error at a YAML node.
---@param node table|nil
---@param path table|nil
---@param code string
---@param message string
---@param hint string|nil
function Problems:error(node, path, code, message, hint)
  add(self, self.errors, "error", node, path, code, message, hint)
end

--- Records a warning; `level` is "warning" unless given ("info").
function Problems:warn(node, path, code, message, hint, level)
  add(self, self.warnings, level or "warning", node, path, code, message, hint)
end

--- Puts both lists in the order of the file (stable).
function Problems:sort()
  for _, list in ipairs { self.errors, self.warnings } do
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
