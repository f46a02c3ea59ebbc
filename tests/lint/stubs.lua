--- Every function of a native module, and every method of the objects it hands out, has an entry in
--- stdlib/stubs/NAME.lua, and the other way round. Object classes go by their metatable's name.
local fs = require "bakery.fs"

local bad = 0
local function complain(...)
  bad = bad + 1
  io.stdout:write(...)
  io.stdout:write "\n"
end

-- What a stub documents: functions of the module, methods by class name.
local function read_stub(file)
  local functions, classes, class_of, class = {}, {}, {}, nil
  for line in io.lines(file) do
    class = line:match "^%-%-%-@class%s+([%w_.]+)" or class
    if class then classes[class] = classes[class] or {} end
    local var = line:match "^local ([%w_]+) = "
    if var then class_of[var], class = class, nil end
    local owner, sep, name = line:match "^function ([%w_]+)([.:])([%w_]+)%s*%("
    if sep == "." then functions[name] = true
    elseif sep and class_of[owner] then classes[class_of[owner]][name] = true end
  end
  return functions, classes
end

local function each_missing(have, documented, fn)
  local list = {}
  for name in pairs(have) do
    if name:sub(1, 1) ~= "_" and not documented[name] then list[#list + 1] = name end
  end
  table.sort(list)
  for _, name in ipairs(list) do fn(name) end
end

local function functions_of(t)
  local list = {}
  for name, value in pairs(t) do if type(value) == "function" then list[name] = true end end
  return list
end

-- Methods by class name, of the classes that bakery.MOD has registered.
local function classes_of(mod)
  local list = {}
  for name, mt in pairs(debug.getregistry()) do
    if type(name) == "string" and type(mt) == "table" and (name .. "."):find("bakery." .. mod .. ".", 1, true) == 1 then
      local index = rawget(mt, "__index")
      list[name] = type(index) == "table" and functions_of(index) or nil
    end
  end
  return list
end

local function check(mod)
  local file = "stdlib/stubs/" .. mod .. ".lua"
  local functions, classes = read_stub(file)
  local ok, native = pcall(require, "bakery." .. mod)
  if not ok then return complain(file, ": no native module bakery.", mod) end
  each_missing(functions_of(native), functions, function(name)
    complain(file, ": bakery.", mod, ".", name, " is not documented")
  end)
  each_missing(functions, native, function(name)
    complain(file, ": documents bakery.", mod, ".", name, ", which does not exist")
  end)
  for name, methods in pairs(classes_of(mod)) do
    local inner = next(methods) == "close" and next(methods, "close") == nil
    if classes[name] then
      each_missing(methods, classes[name], function(m) complain(file, ": ", name, ":", m, " is not documented") end)
      each_missing(classes[name], methods, function(m) complain(file, ": ", name, " has no method ", m) end)
    elseif not inner then
      complain(file, ": class ", name, " is not documented")
    end
  end
end

for _, name in ipairs(fs.list "stdlib/stubs") do
  local mod = name:match "^(%w+)%.lua$"
  if mod then check(mod) end
end
for _, mod in ipairs(fs.list "src") do
  if (mod == "loop" or fs.exists("src/" .. mod .. "/lua_" .. mod .. ".c")) and not fs.exists("stdlib/stubs/" .. mod .. ".lua") then
    complain("src/", mod, ": no stub stdlib/stubs/", mod, ".lua")
  end
end
os.exit(bad == 0)
