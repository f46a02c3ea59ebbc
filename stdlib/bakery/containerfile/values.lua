-- Values of metadata instructions: ports, signals, paths, quoting.
local values = {}

local function port(s)
  if not s:find("^%d+$") or #s > 5 then return nil end
  local n = tonumber(s)
  return n <= 65535 and n or nil
end

-- "80" or "80-90": first and last port, or nil.
local function range(s)
  local a, b = s:match("^(%d+)%-(%d+)$")
  a, b = port(a or s), port(b or s)
  if not a or not b or b < a then return nil end
  return a, b
end

local function is_ipv4(s)
  local parts = { s:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$") }
  for _, part in ipairs(parts) do
    if tonumber(part) > 255 or part:find("^0.") then return false end
  end
  return #parts == 4
end

-- Groups of one side of "::"; nil when one of them is none. Four bytes at the end count as two groups.
local function count_groups(s, last)
  if s == "" then return 0 end
  local count = 0
  for group, stop in (s .. ":"):gmatch("([^:]*):()") do
    if group:find("^%x%x?%x?%x?$") then count = count + 1
    elseif last and stop > #s + 1 and is_ipv4(group) then count = count + 2
    else return nil end
  end
  return count
end

---Is it an IP address in its text form (RFC 4291 section 2.2), without a zone?
---@param s string
function values.is_ip(s)
  if not s:find(":", 1, true) then return is_ipv4(s) end
  local left, right = s:match("^(.-)::(.*)$")
  local a, b = count_groups(left or s, not left), count_groups(right or "", true)
  if not a or not b then return false end
  return left and a + b < 8 or not left and a == 8
end

-- Why what stands before the container's port is wrong, or nil: "[ip:]host", host being a port or a range.
local function address_problem(spec, address, size)
  local ip, host = address:match("^(.*):([^:]*)$")
  host = host or address
  local from, to = range(host)
  if host ~= "" and not from then return ("invalid host port '%s' in '%s'"):format(host, spec) end
  if from and to - from ~= size and size > 0 then return ("the port ranges of '%s' differ in length"):format(spec) end
  if ip and ip ~= "" and not values.is_ip(ip:match("^%[(.*)%]$") or ip) then
    return ("invalid IP address '%s' in '%s'"):format(ip, spec)
  end
  return nil
end

---`[ip:][host:]port[-range][/proto]` to "80/tcp" names. Only the container's ports matter here.
---@param spec string
---@return string[]|nil ports, string? problem, boolean? has_host whether host parts were given
function values.ports(spec)
  local address, rest = spec:match("^(.*):([^:]*)$")
  rest = rest or spec
  local ports, proto = rest:match("^([^/]*)/?(.*)$")
  if ports == "" then return nil, ("no port in '%s'"):format(spec) end
  proto = proto == "" and "tcp" or proto:lower()
  if proto ~= "tcp" and proto ~= "udp" and proto ~= "sctp" then
    return nil, ("unknown protocol '%s' in '%s'"):format(proto, spec)
  end
  local first, last = range(ports)
  if not first then return nil, ("invalid port '%s' in '%s'"):format(ports, spec) end
  local problem = address and address_problem(spec, address, last - first)
  if problem then return nil, problem end
  local out = {}
  for n = first, last do out[#out + 1] = ("%d/%s"):format(n, proto) end
  return out, nil, address ~= nil
end

local SIGNALS = {}
for name in ("ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV "
  .. "STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX")
  :gmatch("%S+") do
  SIGNALS[name] = true
end
for i = 1, 15 do
  SIGNALS["RTMIN+" .. i] = true
  if i < 15 then SIGNALS["RTMAX-" .. i] = true end
end

---Is it a signal: a number above 0, or a Linux name with or without SIG?
function values.is_signal(s)
  if s:find("^%d+$") then return #s < 10 and tonumber(s) > 0 end
  return SIGNALS[(s:upper():gsub("^SIG", ""))] == true
end

---Lexical clean-up of an absolute path: no empty, `.` or `..` parts; `..` stops at the root.
---@param path string
function values.clean(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end

---`path` seen from `base`; the result is clean and absolute.
function values.join(base, path)
  if path:sub(1, 1) == "/" then return values.clean(path) end
  return values.clean(base .. "/" .. path)
end

---Destination of COPY and ADD: a trailing slash, `.` and "" keep their meaning (a directory).
function values.destination(base, dest)
  local path = values.join(base, dest)
  if path ~= "/" and (dest == "" or dest == "." or dest:find("/$") or dest:find("/%.$")) then
    path = path .. "/"
  end
  return path
end

local ESCAPES = { ["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t", ["\v"] = "\\v", ['"'] = '\\"', ["\\"] = "\\\\" }

---Go's %q of a string.
function values.quote(s)
  local out, pos = {}, 1
  while pos <= #s do
    local b = s:byte(pos)
    local n = b < 0x80 and 1 or b >= 0xF0 and 4 or b >= 0xE0 and 3 or b >= 0xC2 and 2 or 1
    local piece = s:sub(pos, pos + n - 1)
    if n > 1 and not utf8.len(piece) or n == 1 and b >= 0x80 then
      piece, n = ("\\x%02x"):format(b), 1
    elseif n == 1 and ESCAPES[piece] then
      piece = ESCAPES[piece]
    elseif n == 1 and (b < 0x20 or b == 0x7F) then
      piece = ("\\x%02x"):format(b)
    elseif n == 2 and b == 0xC2 and s:byte(pos + 1) <= 0xA0 then
      piece = ("\\u%04x"):format(utf8.codepoint(piece))
    elseif piece == "\239\187\191" then
      piece = "\\ufeff"
    end
    out[#out + 1] = piece
    pos = pos + n
  end
  return '"' .. table.concat(out) .. '"'
end

---Go's %q of a slice: `["a" "b"]`.
function values.quote_list(list)
  local out = {}
  for i, s in ipairs(list or {}) do out[i] = values.quote(s) end
  return "[" .. table.concat(out, " ") .. "]"
end

-- Fraction digits of n / scale without trailing zeros: ".5" or "".
local function fraction(n, scale)
  local digits = ("%0" .. #tostring(scale) - 1 .. "d"):format(n % scale):gsub("0+$", "")
  return digits ~= "" and "." .. digits or ""
end

---Go's text of a duration in nanoseconds: "1m30s", "0s", "1.5ms".
function values.duration(ns)
  if ns == 0 then return "0s" end
  local sign = ns < 0 and "-" or ""
  ns = math.abs(ns)
  if ns < 1000 then return ("%s%dns"):format(sign, ns) end
  if ns < 1000000 then return ("%s%d%sµs"):format(sign, ns // 1000, fraction(ns, 1000)) end
  if ns < 1000000000 then
    return ("%s%d%sms"):format(sign, ns // 1000000, fraction(ns, 1000000))
  end
  local s = ns // 1000000000
  local out = ("%d%ss"):format(s % 60, fraction(ns, 1000000000))
  if s >= 60 then out = ("%dm"):format(s // 60 % 60) .. out end
  if s >= 3600 then out = ("%dh"):format(s // 3600) .. out end
  return sign .. out
end

return values
