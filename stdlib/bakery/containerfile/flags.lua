-- Flags of instructions: `--name`, `--name=value`, and the values that have a grammar of their own.
local fault = require "bakery.containerfile.fault"

local flags = {}

-- Kinds: "bool", "string", "list" (may be repeated).
---@param instruction string
---@param spec table<string, string> name -> kind
---@param words {text: string, at: integer}[]
---@param place fun(offset: integer): table position of a flag for messages
---@return table<string, boolean|string|string[]>
function flags.parse(instruction, spec, words, place)
  local out = {}
  for _, word in ipairs(words) do
    local at = place(word.at)
    local name, eq, value = word.text:match("^%-%-([^=]*)(=?)(.*)$")
    local kind = spec[name]
    if not kind then
      local names = {}
      for n in pairs(spec) do names[#names + 1] = n end
      table.sort(names)
      local hint = fault.suggest(name, names, "did you mean --%s?")
      if not hint then
        hint = #names == 0 and instruction .. " takes no flags"
          or "known flags: --" .. table.concat(names, ", --")
      end
      fault.raise("flag", ("unknown flag --%s for %s"):format(name, instruction), at, hint)
    end
    if out[name] ~= nil and kind ~= "list" then
      fault.raise("flag", ("flag --%s is given twice"):format(name), at)
    end
    if kind == "bool" then
      local lower = value:lower()
      if eq == "" or lower == "true" then
        out[name] = true
      elseif lower == "false" then
        out[name] = false
      else
        fault.raise("flag", ("flag --%s takes true or false, not '%s'"):format(name, value), at)
      end
    elseif eq == "" then
      fault.raise("flag", ("flag --%s needs a value"):format(name), at,
        ("write --%s=VALUE"):format(name))
    elseif kind == "list" then
      out[name] = out[name] or {}
      table.insert(out[name], value)
    else
      out[name] = value
    end
  end
  return out
end

---Is it a mode for --chmod: octal up to 07777, or symbolic as in chmod(1)?
---@param s string
function flags.is_mode(s)
  if s:find("^[0-7]+$") then
    return #s <= 8 and tonumber(s, 8) <= tonumber("7777", 8)
  end
  if s == "" or s:sub(-1) == "," then return false end
  for clause in (s .. ","):gmatch("([^,]*),") do
    local ops = clause:match("^[ugoa]*([-+=].*)$")
    if not ops then return false end
    while ops ~= "" do
      local rest = ops:match("^[-+=][ugo]([-+=]?.*)$")
      if not rest or rest ~= "" and not rest:find("^[-+=]") then
        rest = ops:match("^[-+=][rwxXst]*(.*)$")
      end
      if rest ~= "" and not rest:find("^[-+=]") then return false end
      ops = rest
    end
  end
  return true
end

local UNITS = {
  ns = 1, us = 1000, ["µs"] = 1000, ["μs"] = 1000, ms = 1000000, s = 1000000000,
  m = 60000000000, h = 3600000000000,
}

---Go duration ("1m30s", "1.5h", "-5s", "0") in nanoseconds, or nil.
---@param s string
---@return integer|nil
function flags.duration(s)
  local sign, rest = s:match("^([-+]?)(.+)$")
  if not rest then return nil end
  if rest == "0" then return 0 end
  local total = 0
  while rest ~= "" do
    local whole, dot, frac, unit, tail = rest:match("^(%d*)(%.?)(%d*)([^%d.]+)(.*)$")
    local scale = unit and UNITS[unit]
    if not scale or whole == "" and frac == "" or dot == "" and frac ~= "" or #whole > 18 then
      return nil
    end
    local n = (tonumber(whole) or 0)
    if n > math.maxinteger // scale then return nil end
    total = total + n * scale
    if frac ~= "" then
      total = total + math.floor((tonumber("0." .. frac) or 0) * scale + 0.5)
    end
    if total < 0 then return nil end
    rest = tail
  end
  return sign == "-" and -total or total
end

local BINARY = { [""] = 1, b = 1, k = 1 << 10, m = 1 << 20, g = 1 << 30, t = 1 << 40, p = 1 << 50 }

---Size with a binary suffix ("64m", "1.5GiB", "10") in bytes, or nil.
---@param s string
---@return integer|nil
function flags.size(s)
  local number, suffix = s:lower():match("^(%d+%.?%d*) ?(%a*)$")
  if not number then return nil end
  local unit = suffix:match("^([kmgtp])i?b?$") or suffix:match("^(b?)$")
  local scale = unit and BINARY[unit]
  local n = tonumber(number)
  if not scale or n * scale >= 2 ^ 62 then return nil end
  return math.floor(n * scale)
end

---Go's strconv.ParseBool.
function flags.boolean(s)
  if s == "1" or s == "t" or s == "T" or s == "true" or s == "TRUE" or s == "True" then
    return true
  elseif s == "0" or s == "f" or s == "F" or s == "false" or s == "FALSE" or s == "False" then
    return false
  end
  return nil
end

return flags
