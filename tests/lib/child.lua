--- Runs Lua code in another process with the interpreter and modules that run this test.
local M = {}

local function interpreter()
  local p = assert(io.popen("readlink /proc/$PPID/exe"))
  local exe = p:read("l")
  p:close()
  return exe:match("/bakery$") and exe .. " lua" or exe
end

--- One word for the shell.
function M.quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

--- Shell command that runs `code`; arguments arrive as `...`.
---@param code string
---@return string
function M.command(code, ...)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(code)
  f:close()
  M.files[#M.files + 1] = path
  local words = { interpreter(), path }
  for _, a in ipairs { ... } do words[#words + 1] = M.quote(tostring(a)) end
  return table.concat(words, " ")
end

M.files = {}

--- Removes the scripts made so far.
function M.clean()
  for _, path in ipairs(M.files) do os.remove(path) end
  M.files = {}
end

--- Output of a shell command, without the last newline.
function M.output(command)
  local p = assert(io.popen(command))
  local text = p:read("a")
  p:close()
  return (text:gsub("\n$", ""))
end

return M
