--- http(s) URLs of bakery.yaml: canonical text as WHATWG URL parsing gives it for the cases that
--- occur (lower-case host, default port dropped, empty path "/", dot segments, percent-encoding).
--- International host names are kept as written, not converted to punycode.
local M = {}

local MAX = 2083
local DEFAULT_PORT = { http = "80", https = "443" }

local function percent(class)
  return function(text)
    return (text:gsub("[%z\1-\x20\x7F-\xFF" .. class .. "]", function(c)
      return ("%%%02X"):format(c:byte())
    end))
  end
end
local encode_path = percent('"<>`{}')
local encode_query = percent("\"<>'")
local encode_fragment = percent('"<>`')

local function remove_dot_segments(path)
  local out = {}
  local segments = {}
  for segment in (path:sub(2) .. "/"):gmatch("([^/]*)/") do segments[#segments + 1] = segment end
  for i, segment in ipairs(segments) do
    local last = i == #segments
    if segment == ".." then
      out[#out] = nil
      if last then out[#out + 1] = "" end
    elseif segment == "." then
      if last then out[#out + 1] = "" end
    else
      out[#out + 1] = segment
    end
  end
  return "/" .. table.concat(out, "/")
end

local function split_authority(authority)
  local userinfo, hostport = authority:match("^(.*)@(.-)$")
  hostport = hostport or authority
  local host, port
  if hostport:sub(1, 1) == "[" then
    host, port = hostport:match("^(%[[%x:.]+%])(.*)$")
  else
    host, port = hostport:match("^([^:]*)(.*)$")
  end
  if not host then return nil, "the bracketed host is not an IPv6 address" end
  if host == "" then return nil, "it has no host name" end
  local bad = host:sub(1, 1) ~= "[" and host:match("[%z\1-\x20#%%/<>?@%[%]^|\\]")
  if bad then return nil, ("the host name contains %q"):format(bad) end
  if port ~= "" then
    local digits = port:match("^:(%d*)$")
    if not digits then return nil, ("%q is not a port number"):format(port:sub(2)) end
    if tonumber(digits) and tonumber(digits) > 65535 then return nil, "the port is above 65535" end
    port = digits
  end
  return { userinfo = userinfo, host = host:lower(), port = port }
end

--- Canonical text of an http(s) URL; `https://` is put in front of a text without scheme.
---@param text string
---@return string|nil url
---@return string|nil reason
---@return string|nil hint
function M.canonical(text)
  if text:find "^<[^<>]*>$" then return nil, "it is a placeholder", "replace it with the address" end
  text = text:match("^[%z\1-\x20]*(.-)[%z\1-\x20]*$"):gsub("[\t\r\n]", "")
  if #text > MAX then return nil, ("it is longer than %d characters"):format(MAX) end
  if not text:find("^https?://") then text = "https://" .. text end
  local scheme, rest = text:match("^(https?)://(.*)$")
  rest = rest:gsub("^[/\\]+", "")
  local before_fragment, fragment = rest:match("^([^#]*)#(.*)$")
  rest = before_fragment or rest
  local before_query, query = rest:match("^([^?]*)%?(.*)$")
  rest = (before_query or rest):gsub("\\", "/")
  local authority, path = rest:match("^([^/]*)(.*)$")
  local parts, reason = split_authority(authority)
  if not parts then return nil, reason end
  local out = { scheme, "://" }
  if parts.userinfo and parts.userinfo ~= "" then
    out[#out + 1] = parts.userinfo .. "@"
  end
  out[#out + 1] = parts.host
  if parts.port ~= "" and parts.port ~= DEFAULT_PORT[scheme] then
    out[#out + 1] = ":" .. tostring(math.tointeger(tonumber(parts.port)))
  end
  out[#out + 1] = encode_path(remove_dot_segments(path == "" and "/" or path))
  if query then out[#out + 1] = "?" .. encode_query(query) end
  if fragment then out[#out + 1] = "#" .. encode_fragment(fragment) end
  return table.concat(out)
end

-- `$VAR` and `${VAR}` may stand anywhere in an artefact URL.
local HOST = "A-Za-z0-9%-._~%%"
local PATH = HOST .. ":@!$&'()*+,;=/"
local QUERY = PATH .. "?"

local function only(text, class)
  return text:match("[^" .. class .. "]")
end

--- Checks an artefact download URL (which may hold build-time variables).
---@param text string
---@return boolean ok
---@return string|nil reason
function M.check_artifact(text)
  local rest = text:match("^[Hh][Tt][Tt][Pp][Ss]?://(.*)$")
  if not rest then return false, "it does not begin with http:// or https://" end
  rest = rest:gsub("%${[%a_][%w_]*}", "V"):gsub("%$[%a_][%w_]*", "V")
  local body, fragment = rest:match("^([^#]*)#?(.*)$")
  local before, query = body:match("^([^?]*)%??(.*)$")
  local authority, path = before:match("^([^/]*)(.*)$")
  local host, port = authority:match("^([^:]*)(:?.*)$")
  if host == "" then return false, "it has no host name" end
  local bad = only(host, HOST) or only(path, PATH) or only(query, QUERY) or only(fragment, QUERY)
  if bad then return false, ("the character %q is not allowed there"):format(bad) end
  if port ~= "" and port ~= ":V" and not port:find("^:%d%d?%d?%d?%d?$") then
    return false, ("%q is not a port"):format(port:sub(2))
  end
  return true
end

return M
