-- Sources that are somewhere else: URLs and git repositories.
local fault = require "bakery.containerfile.fault"
local flags = require "bakery.containerfile.flags"

local remote = {}

---"http", "git" or nil for a local path.
---@param source string
---@return string|nil
function remote.kind(source)
  local scheme = source:match("^(%w+)://")
  if not scheme then return source:find("^[%w_-]+@[%w.-]+:") and "git" or nil end -- USER@HOST:PATH, as scp has it
  scheme = scheme:lower()
  if scheme == "git" or scheme == "ssh" then return "git" end
  if scheme ~= "http" and scheme ~= "https" then return nil end
  return source:match("^[^?#]*"):find("%.git$") and "git" or "http"
end

local function decode(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local QUERY = { "ref", "branch", "tag", "commit", "checksum", "subdir", "keep-git-dir", "submodules" }
local IS_QUERY = {}
for _, name in ipairs(QUERY) do IS_QUERY[name] = true end

local function boolean(key, value)
  local b = value == "" or flags.boolean(value)
  if b == nil then fault.raise("git", ("invalid value '%s' for %s"):format(value, key)) end
  return b
end

-- A value may be said twice, by the fragment and by the query, when both say the same.
local function set(out, key, value)
  if out[key] and out[key] ~= value then
    fault.raise("git", ("a git source names two values of %s: '%s' and '%s'"):format(key, out[key], value))
  end
  out[key] = value
end

local PREFIX = { ref = "", branch = "refs/heads/", tag = "refs/tags/" }

local function read_field(out, key, value)
  if not IS_QUERY[key] then
    fault.raise("git", ("unknown query key '%s' of a git source"):format(key), nil, fault.suggest(key, QUERY)
      or "keys are " .. table.concat(QUERY, ", "))
  end
  if key == "keep-git-dir" or key == "submodules" then
    out[key:gsub("-", "_")] = boolean(key, value)
  elseif value == "" then
    fault.raise("git", ("the query key '%s' of a git source has no value"):format(key))
  elseif PREFIX[key] then
    local prefix = PREFIX[key]
    set(out, "ref", value:sub(1, #prefix) == prefix and value or prefix .. value)
  else
    set(out, key == "subdir" and key or "checksum", value)
  end
end

local function read_query(out, query)
  local seen = {}
  for field in query:gmatch("[^&]+") do
    local key, value = field:match("^([^=]*)=?(.*)$")
    if seen[key] then fault.raise("git", ("the query key '%s' of a git source stands there twice"):format(key)) end
    seen[key] = true
    read_field(out, key, decode(value))
  end
  -- A whole commit names what to take; the part of one is only checked.
  if out.checksum and #out.checksum >= 40 then out.ref = out.ref or out.checksum end
end

---Takes a git source apart: REPOSITORY[?ref=…&subdir=…][#REF[:SUBDIR]].
---@param source string
---@return { url: string, ref?: string, subdir?: string, checksum?: string, keep_git_dir?: boolean,
---  submodules?: boolean }
function remote.git(source)
  local rest, fragment = source:match("^([^#]*)#?(.*)$")
  local url, query = rest:match("^([^?]*)%??(.*)$")
  local out = { url = url }
  local ref, subdir = fragment:match("^([^:]*):?(.*)$")
  if ref ~= "" then out.ref = decode(ref) end
  if subdir ~= "" then out.subdir = decode(subdir) end
  read_query(out, query)
  if out.subdir == "/" then out.subdir = nil end
  -- What git would take for an option of its own.
  for _, word in ipairs { out.url, out.ref or "x" } do
    if word:find("^%-") or word:find("[%c ]") then
      fault.raise("git", ("'%s' is no git repository or reference"):format(word))
    end
  end
  if out.subdir and ("/" .. out.subdir .. "/"):find("/../", 1, true) then
    fault.raise("git", ("the directory '%s' leaves the repository"):format(out.subdir))
  end
  if out.checksum and not out.checksum:find("^%x+$") then
    fault.raise("git", ("'%s' is no commit"):format(out.checksum))
  end
  return out
end

---Name of the file that an ADD of a URL makes below its destination: the last part of the URL's path.
---@param url string
---@return string
function remote.filename(url)
  local path = decode(url:match("^%a[%w+.-]*://[^/?#]*([^?#]*)") or "")
  local name = path:match("([^/]+)/*$")
  return name and name ~= "." and name ~= ".." and not name:find("%z") and name or "__unnamed__"
end

return remote
