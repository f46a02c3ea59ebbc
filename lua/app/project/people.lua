--- Maintainer and authors: `Name <addr>`, a bare address, or a map with `name` and `email`.
local M = {}

local RESERVED = { "test", "invalid", "local", "localhost", "arpa", "onion", "alt" }

local function check_domain(domain)
  if domain == "" then return nil, "there is nothing after the @" end
  local bad = domain:match("[^%w.\x80-\xFF-]")
  if bad then return nil, ("the part after the @ contains %q"):format(bad) end
  if not domain:find(".", 1, true) then return nil, "the part after the @ needs a period" end
  if domain:find("..", 1, true) or domain:find("^%.") or domain:find("%.$") then
    return nil, "the part after the @ has an empty label"
  end
  for label in domain:gmatch("[^.]+") do
    if label:find("^-") or label:find("-$") or #label > 63 then
      return nil, ("%q is not a domain label"):format(label)
    end
  end
  local top = domain:match("[^.]+$"):lower()
  if top:find("^%d+$") then return nil, "the top-level domain is a number" end
  for _, name in ipairs(RESERVED) do
    if top == name then return nil, (".%s is a reserved name"):format(name) end
  end
  return true
end

local function check_local(part)
  if part == "" then return nil, "there is nothing before the @" end
  local bad = part:match("[^%w.!#$%%&'*+/=?^_`{|}~\x80-\xFF-]")
  if bad then return nil, ("the part before the @ contains %q"):format(bad) end
  if part:find("..", 1, true) or part:find("^%.") or part:find("%.$") then
    return nil, "a period stands at an end of the part before the @, or twice"
  end
  if #part > 64 then return nil, "the part before the @ is longer than 64 characters" end
  return true
end

--- The text that labels and sorting use: `name <email>`.
---@param name string
---@param email string
---@return string
function M.text(name, email)
  if name:find("@", 1, true) then return ('"%s" <%s>'):format(name, email) end
  return ("%s <%s>"):format(name, email)
end

local function person(name, email)
  return { name = name, email = email, text = M.text(name, email) }
end

--- Reads the string form.
---@param text string
---@return table|nil person {name, email, text}
---@return string|nil reason
function M.parse(text)
  local name, address, after = text:match("^%s*([^<]-)%s*<%s*([^<>]-)%s*>%s*(.*)$")
  if not address then
    if text:find("<", 1, true) then return nil, "the address has an opening < without >" end
    name, address, after = "", text:match("^%s*(.-)%s*$"), ""
  end
  if after ~= "" then return nil, "there is text after the address" end
  if #address > 254 then return nil, "the address is longer than 254 characters" end
  local user, domain = address:match("^([^@]*)@(.*)$")
  if not user then return nil, "the address has no @" end
  local ok, reason = check_local(user)
  if not ok then return nil, reason end
  ok, reason = check_domain(domain)
  if not ok then return nil, reason end
  name = name:match('^"(.*)"$') or name
  if name == "" then name = user end
  return person(name, user .. "@" .. domain:lower())
end

--- The map form, whose address is not checked.
---@param name string
---@param email string
---@return table person
function M.from_map(name, email)
  return person(name, email)
end

--- Drops authors with the same text and sorts the rest, upper and lower case alike.
---@param list table[]
---@return table[] people
---@return string[] dropped texts that occurred again
function M.unique(list)
  local seen, out, dropped = {}, {}, {}
  for i, entry in ipairs(list) do
    if seen[entry.text] then
      dropped[#dropped + 1] = entry.text
    else
      seen[entry.text] = i
      out[#out + 1] = entry
    end
  end
  table.sort(out, function(a, b)
    local la, lb = a.text:lower(), b.text:lower()
    if la ~= lb then return la < lb end
    return seen[a.text] < seen[b.text]
  end)
  return out, dropped
end

return M
