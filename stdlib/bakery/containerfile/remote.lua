-- Sources that are somewhere else: URLs and git repositories.
local fault = require "bakery.containerfile.fault"
local flags = require "bakery.containerfile.flags"

local remote = {}

---"http", "git" or nil for a local path.
---@param source string
---@return string|nil
function remote.kind(source)
  local lower = source:lower()
  if lower:find("^git@[^:/]+:") or lower:find("^git://") or lower:find("^ssh://") then return "git" end
  if lower:find("^https?://") then
    local path = source:match("^[^?#]*")
    return path:find("%.git/?$") and "git" or "http"
  end
  return nil
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

local function read_query(out, query)
  for field in query:gmatch("[^&]+") do
    local key, value = field:match("^([^=]*)=?(.*)$")
    value = decode(value)
    if not IS_QUERY[key] then
      fault.raise("git", ("unknown query key '%s' of a git source"):format(key), nil, fault.suggest(key, QUERY)
        or "keys are " .. table.concat(QUERY, ", "))
    end
    if key == "branch" or key == "tag" or key == "ref" then
      if out.ref then fault.raise("git", "a git source has one of ref, branch and tag") end
      out.ref = (key == "branch" and "refs/heads/" or key == "tag" and "refs/tags/" or "") .. value
    elseif key == "keep-git-dir" or key == "submodules" then
      out[key:gsub("-", "_")] = boolean(key, value)
    elseif key == "commit" or key == "checksum" then
      out.checksum = value
    else
      out.subdir = value
    end
  end
end

---Takes a git source apart: REPOSITORY[#REF[:SUBDIR]] or REPOSITORY?ref=…&subdir=….
---@param source string
---@return { url: string, ref?: string, subdir?: string, checksum?: string, keep_git_dir?: boolean,
---  submodules?: boolean }
function remote.git(source)
  local rest, fragment = source:match("^([^#]*)#?(.*)$")
  local url, query = rest:match("^([^?]*)%??(.*)$")
  local out = { url = url }
  if query ~= "" then
    if fragment ~= "" then
      fault.raise("git", "a git source has either a query or a #fragment, not both")
    end
    read_query(out, query)
  else
    local ref, subdir = fragment:match("^([^:]*):?(.*)$")
    out.ref, out.subdir = decode(ref), decode(subdir)
  end
  if out.ref == "" then out.ref = nil end
  if out.subdir == "" or out.subdir == "/" then out.subdir = nil end
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
