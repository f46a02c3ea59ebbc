--- Named Lua files that a project may shadow: where recipes and resolvers are found, and how their
--- code is loaded. The winning place comes first: the project, directories it names, the user, stock.
local nearest = require("bakery.suggest").nearest

local M = {}

---@class bakery.scripts.place
---@field path string directory
---@field label string|nil how messages call it
---@field kind "project"|"named"|"user"
---@field lib string|nil directory that `require` of such files searches too

---@class bakery.scripts.found
---@field name string
---@field kind "project"|"named"|"user"|"stock"
---@field file string how messages call it
---@field path string|nil on disk
---@field text string

---@class bakery.scripts.shelf
---@field what string "recipe"
---@field folder string of the shipped ones: "recipes"
local Shelf = {}
Shelf.__index = Shelf

--- A shelf of scripts of one kind.
---@param what string how messages call one: "recipe"; also the errors' code
---@param folder string "recipes"
---@return bakery.scripts.shelf
function M.shelf(what, folder)
  return setmetatable({ what = what, folder = folder, loading = {},
    config = { dirs = {}, shipped = function() end, shipped_names = {} } }, Shelf)
end

-- The globals that such code sees.
local ALLOWED = { "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "print", "rawequal",
  "rawget", "rawlen", "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "warn", "xpcall",
  "coroutine", "math", "string", "table", "utf8", "io", "_VERSION" }

function Shelf:fail(message, where)
  error({ class = "usage", code = self.what, message = message, where = where }, 0)
end

local function read_file(path)
  local f = io.open(path, "r")
  if not f then return end
  local text = f:read("a")
  f:close()
  return text
end

function Shelf:environment()
  local libs = {}
  for _, dir in ipairs(self.config.dirs) do if dir.lib then libs[#libs + 1] = dir.lib end end
  local visible, names = {}, {}
  for _, name in ipairs(ALLOWED) do visible[name] = _G[name] end
  visible.os = { time = os.time, date = os.date, getenv = os.getenv, clock = os.clock, difftime = os.difftime }
  local loaded = {}
  local env = {}
  function visible.require(name)
    if name == "bakery" or name:sub(1, 7) == "bakery." then return require(name) end
    if loaded[name] ~= nil then return loaded[name] end
    for _, dir in ipairs(libs) do
      local path = dir .. "/" .. name:gsub("%.", "/") .. ".lua"
      local text = read_file(path)
      if text then
        local chunk, err = load(text, "@" .. path, "t", env)
        if not chunk then self:fail(err) end
        loaded[name] = chunk(name) or true
        return loaded[name]
      end
    end
    error("module '" .. name .. "' not found in: bakery.*, " .. table.concat(libs, ", "), 2)
  end
  for k in pairs(visible) do names[#names + 1] = k end
  return setmetatable(env, {
    __index = function(_, key)
      local v = visible[key]
      if v ~= nil then return v end
      local near = nearest(tostring(key), names)
      error(("unknown global '%s'%s"):format(tostring(key), near and (" (did you mean '" .. near .. "'?)") or ""), 2)
    end,
    __newindex = function(_, key) error("assignment to global '" .. tostring(key) .. "': use a local", 2) end,
  })
end

--- Told by the program: where the scripts are.
---@param opts { dirs?: bakery.scripts.place[], shipped?: (fun(name: string): string|nil), shipped_names?: string[] }
function Shelf:configure(opts) for k, v in pairs(opts) do self.config[k] = v end end

--- Every place a script of this name exists, winning one first.
---@param name string "build" or "stock:build"
---@return bakery.scripts.found[]
function Shelf:which(name)
  local found, stock = {}, name:match("^stock:(.+)$")
  local plain = stock or name
  if plain:find("[^%w_%-]") then self:fail(("bad %s name '%s'"):format(self.what, plain)) end
  if not stock then
    for _, dir in ipairs(self.config.dirs) do
      for _, form in ipairs { "%s/%s.lua", "%s/%s/init.lua" } do
        local file = form:format(dir.path, plain)
        local text = read_file(file)
        if text then
          found[#found + 1] = { name = plain, kind = dir.kind, file = dir.label and form:format(dir.label, plain) or file,
            path = file, text = text }
          break
        end
      end
    end
  end
  local text = self.config.shipped(plain)
  if text then
    found[#found + 1] = { name = plain, kind = "stock", file = self.folder .. "/" .. plain .. ".lua", text = text }
  end
  return found
end

--- All names there are: { name=, kind=, file=, shadows=n } sorted by name.
---@return table[]
function Shelf:list()
  local names, sorted = {}, {}
  for _, n in ipairs(self.config.shipped_names) do names[n] = true end
  local ok, fs = pcall(require, "bakery.fs")
  for _, dir in ipairs(ok and self.config.dirs or {}) do
    for _, entry in ipairs(fs.list(dir.path) or {}) do
      local n = entry:match("^([%w_%-]+)%.lua$")
        or (entry:match("^[%w_%-]+$") and fs.is_file(dir.path .. "/" .. entry .. "/init.lua") and entry)
      if n then names[n] = true end
    end
  end
  for n in pairs(names) do sorted[#sorted + 1] = n end
  table.sort(sorted)
  local out = {}
  for _, n in ipairs(sorted) do
    local found = self:which(n)
    if found[1] then out[#out + 1] = { name = n, kind = found[1].kind, file = found[1].file, shadows = #found - 1 } end
  end
  return out
end

function Shelf:find(name)
  local found = self:which(name)
  if found[1] then return found end
  local names = {}
  for _, r in ipairs(self:list()) do names[#names + 1] = r.name end
  local near = nearest(name, names)
  self:fail(("no %s '%s'%s; there are: %s"):format(self.what, name, near and (" (did you mean '" .. near .. "'?)") or "",
    table.concat(names, ", ")))
end

--- An error that Lua code raised as text, as an error object that says file and line.
---@param text string
---@param fields table for the object: class, code, …
---@return table
function M.raised(text, fields)
  local file, line, message = text:match("^(.-):(%d+): (.*)$")
  fields.message = (fields.prefix or "") .. (message or text)
  fields.where = file and file .. ":" .. line or fields.where
  fields.line, fields.prefix = tonumber(line), nil
  return fields
end

--- Loads a script by name; "stock:NAME" is always the shipped one. Raises an error object for
--- whatever is wrong with it.
---@param name string
---@param make fun(value: any, it: bakery.scripts.found): table checks what the file returned
---@return table value
function Shelf:load(name, make)
  local found = self:find(name)
  local it = found[1]
  local id = it.kind .. ":" .. it.file
  if self.loading[id] then
    self:fail(("%s '%s' extends itself; extend 'stock:%s' instead"):format(self.what, name, it.name), it.file)
  end
  self.loading[id] = true
  local ok, def = pcall(function()
    local chunk, err = load(it.text, "@" .. it.file, "t", self:environment())
    if not chunk then
      local e = M.raised(err, { class = "usage", code = self.what .. ".syntax", where = it.file })
      e.path = it.path
      error(e, 0)
    end
    return make(chunk(it.name), it)
  end)
  self.loading[id] = nil
  if not ok then
    if type(def) == "string" then def = M.raised(def, { class = "usage", code = self.what, where = it.file }) end
    if def.where == nil then def.where = it.file end
    error(def, 0)
  end
  def.name, def.kind, def.file = it.name, it.kind, it.file
  def.shadows = table.move(found, 2, #found, 1, {})
  return def
end

return M
