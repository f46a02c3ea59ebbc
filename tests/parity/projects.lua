--- Random bakery.yaml files for the comparison with the reference: a grammar over every key, written in
--- changing styles (flow and block, quotes, comments, folded text, anchors, CR LF). A seed decides.
local M = {}

local state = 1
local function random(n)
  state = state * 6364136223846793005 + 1442695040888963407
  return ((state >> 33) % n) + 1
end
local function one(list) return list[random(#list)] end
local function chance(percent) return random(100) <= percent end

-- --- writing --------------------------------------------------------------------------------------

local OMIT = {} -- a member that is left out
local Map = {}
local function map(...)
  local out = setmetatable({}, Map)
  for _, pair in ipairs { ... } do if pair[2] ~= OMIT then out[#out + 1] = pair end end
  return out
end
local function maybe(percent, make) return chance(percent) and make() or OMIT end

local PLAIN = "^[%a][%w ._+/-]*%w$"
local RESERVED = { ["true"] = 1, ["false"] = 1, null = 1, yes = 1, no = 1, on = 1, off = 1 }

local function scalar(value, flow)
  if type(value) ~= "string" then return tostring(value) end
  local plain = value:find(PLAIN) and not RESERVED[value:lower()] or value:find "^%d+%.%d+%.%d+[%w.+-]*$"
    or value:find "^%a$"
  if flow and value:find "[,%[%]{}]" then plain = false end
  local style = random(10)
  if plain and style <= 7 then return value end
  if style % 2 == 0 then return '"' .. value:gsub('[\\"]', "\\%0") .. '"' end
  return "'" .. value:gsub("'", "''") .. "'"
end

local function flow(value)
  if type(value) ~= "table" then return scalar(value, true) end
  local out = {}
  if getmetatable(value) == Map then
    for i, pair in ipairs(value) do out[i] = pair[1] .. ": " .. flow(pair[2]) end
    return "{" .. table.concat(out, ", ") .. "}"
  end
  for i, item in ipairs(value) do out[i] = flow(item) end
  return "[" .. table.concat(out, ", ") .. (chance(10) and #out > 0 and "," or "") .. "]"
end

local function noise(out, indent)
  if chance(4) then out[#out + 1] = (" "):rep(random(12) - 1) .. "# note: [a" end
  if chance(3) then out[#out + 1] = chance(50) and "" or (" "):rep(indent) end
end

local function tail() return chance(6) and "  # why: {" or chance(3) and "   " or "" end

local block

local function block_member(out, key, value, indent, head)
  if type(value) == "table" and #value > 0 and not chance(15) then
    out[#out + 1] = head .. key .. ":" .. tail()
    local deeper = getmetatable(value) == Map and 2 * random(2) or 2 * (random(2) - 1)
    block(out, value, indent + deeper)
    return
  end
  if type(value) == "table" then
    out[#out + 1] = head .. key .. ": " .. flow(value) .. tail()
  elseif type(value) == "string" and value:find "^%a[%w ]+ [%w ]+%w$" and chance(40) then
    out[#out + 1] = head .. key .. ": " .. one { ">-", "|-", ">", "|" }
    for word in (chance(50) and value:gsub(" ", "\n", 1) or value):gmatch "[^\n]+" do
      out[#out + 1] = (" "):rep(indent + 4) .. word
    end
  else
    out[#out + 1] = head .. key .. ": " .. scalar(value) .. tail()
  end
end

function block(out, value, indent)
  local pad = (" "):rep(indent)
  if getmetatable(value) == Map then
    for _, pair in ipairs(value) do
      noise(out, indent)
      block_member(out, pair[1], pair[2], indent, pad)
    end
    return
  end
  for _, item in ipairs(value) do
    noise(out, indent)
    if getmetatable(item) == Map and #item > 0 and not chance(12) then
      for i, pair in ipairs(item) do
        block_member(out, pair[1], pair[2], indent + 2, i == 1 and pad .. "- " or pad .. "  ")
      end
    else
      out[#out + 1] = pad .. "- " .. flow(item) .. tail()
    end
  end
end

-- --- grammar --------------------------------------------------------------------------------------

local OS = { "Ubuntu 24.04", "Ubuntu 22.04", "Ubuntu 26.04", "Debian 12", "debian 12.5", "Debian", "Rocky Linux 9",
  "Rocky 9.3", "RHEL 8", "el9", "Alma", "AlmaLinux 10", "Red Hat 9", "Scratch", "Fedora 40", "Ubuntu", "Alpine/3",
  "ubuntu 22.04 LTS", "Übuntu 24.04", "openSUSE Leap 15.6" }
local VERSIONS = { "1.0.0", "1.1.0", "1.10.0", "2.0.0-rc1", "2025.05.1+513.pro3", "2025.04.0", "2026.03.0-212",
  "2026.02.1-5", "v3", "3.0.0+4-5", "go1.24", "R4.4.3-python3.12.2", "R4.4.2-python3.12.2", "quarto1.7.34",
  "A b", "1.2.3.4", "x_y", "9", "10", "2026.05.0-dev+15-gSHA", "1.0.0-alpha.1", "0.0.1-", "latest", "ü1" }
local IMAGES = { "app", "my-app", "my_cool image", "Workbench", "connect", "connect-content", "r-session", "base.min",
  "it's", "x", "product/base", "APP", "café", "a2b3" }
local DEPENDENCIES = { python = { "3.12.11", "3.11.9", "3.13.1", "3.12.4", "3.9", "v3.10.1" },
  R = { "4.5.1", "4.4.3", "4.4.2", "4.3.3", "devel", "4.5" }, quarto = { "1.7.34" }, positron = { "2026.03.0-212",
    "2026.02.1-5", "2026.02.0-100" } }
local PATTERNS = { "{{ Version }}", "{{Version}}", "{{ Version | stripMetadata }}", "{{ Version }}-{{ OS }}",
  "{{ OS }}-{{ Variant }}", "{{ Version }}-{{ Channel }}", "latest", "{{ Variant }}", "{{Variant}}", "v{{ Version }}",
  "{{ Version | stripPatch }}", "{{ Version | condense }}-x", "{{ Version.split('.')[0] }}", "-{{ Version }}-",
  "{{ OS | replace('-', '') }}", "{{ Name }}-{{ Version | tagSafe }}", "{{ Foo }}", "edge_{{ OS }}.{{ Version }}",
  "{{ Version | regexReplace('[0-9]+', 'n') }}", "{{ Name | upper }}", "{{ Version.split('.')[:2] | join('.') }}",
  "{{ Version if Variant else OS }}", "{{ Version | replace('.', '_') | quote }}", "{{ Image }}" }
local FILTERS = { "all", "latest", "latestPatch", "primaryOS", "primaryVariant", "channelLatest" }
local TEXTS = { "Says hello", "One two three four", "A: b", "x # y", "it's \"quoted\"", "Ümläut text here", "5", "true",
  " lead", "a, b", "" }

local function list(least, most, make)
  local out, seen = {}, {}
  for _ = 1, least - 1 + random(most - least + 1) do
    local item, key = make()
    if not key or not seen[key] then
      out[#out + 1] = item
      if key then seen[key] = true end
    end
  end
  return out
end

local function pick(from, most)
  local out, seen = {}, {}
  for _ = 1, random(most) do
    local item = one(from)
    if not seen[item] then out[#out + 1] = item end
    seen[item] = true
  end
  return out
end

local function boolean() return one { true, false, "yes", "no", "True", "on", 1, 0 } end

local function registry(own)
  return map({ "host", one { "ghcr.io", "docker.io", "123456789.dkr.ecr.eu-west-1.amazonaws.com", "localhost:5000",
    "GHCR.io" } }, { "namespace", maybe(60, function() return one { "team", "team/sub", "Team" } end) },
    { "repository", maybe(own and 50 or 0, function() return one { "other", "a/b" } end) })
end

local function registries(item)
  local key = one { "extraRegistries", "overrideRegistries" }
  if chance(20) then item[#item + 1] = { key, list(0, 2, function() return registry(true) end) } end
end

local function os_list(least)
  local primary = chance(70)
  return list(least, 3, function()
    local name = one(OS)
    local main = primary
    primary = false
    return map({ "name", name }, { "primary", main and boolean() or OMIT },
      { "platforms", maybe(40, function()
        return pick({ "linux/amd64", "linux/arm64" }, 2)
      end) }, { "extension", maybe(10, function() return one { "ext", "Ext_1", "a-b" } end) },
      { "tagDisplayName", maybe(10, function() return one { "disp", "D.1" } end) },
      { "artifactDownloadURL", maybe(5, function() return "https://x.example/$A/${B}?c=1" end) }), name
  end)
end

local function tag_patterns()
  return list(0, 3, function()
    return map({ "patterns", list(0, 2, function() return one(PATTERNS) end) },
      { "only", maybe(60, function() return pick(FILTERS, 3) end) })
  end)
end

local function dependencies()
  return list(1, 3, function()
    local name = one { "python", "R", "quarto", "positron" }
    local versions = DEPENDENCIES[name]
    if name == "quarto" or chance(40) then
      return map({ "dependency", name }, { "version", one(versions) }), name
    end
    return map({ "dependency", name }, { "versions", chance(20) and "4.5.1, 4.4.3 ,4.2" or pick(versions, 3) }), name
  end)
end

local function values(lists)
  local out, seen = map(), {}
  for _ = 1, random(3) - 1 do
    local key = one { "alpha", "zeta", "Ed", "k_1", "go" }
    if not seen[key] then
      local value = one { "x", "pro", "1.24.1", "go1.25.0", "v 2", "4.4" }
      if lists and chance(60) then
        value = pick({ "x", "1.24.1", "1.24.3", "1.25.0", "go1.24", "a b", "4.4.0" }, 3)
      end
      out[#out + 1] = { key, value }
    end
    seen[key] = true
  end
  return out
end

local function option()
  return one {
    function() return map({ "tool", "goss" }, { "wait", one { 5, "5", 0 } }, { "command", "sleep 5 seconds" }) end,
    function() return map({ "tool", "soci" }, { "enabled", boolean() }) end,
    function() return map({ "tool", "hadolint" }, { "ignored", { "DL3008" } }) end,
    function() return map({ "tool", "wizcli" }, { "projects", { "p" } }) end,
  } ()
end

local function version(latest)
  local name = one(VERSIONS)
  local item = map({ "name", name }, { "subpath", maybe(15, function() return one { "2025.05", "old/one", "A B" } end) },
    { "latest", latest and chance(30) and boolean() or OMIT }, { "os", maybe(90, function() return os_list(0) end) },
    { "dependencies", maybe(40, dependencies) }, { "values", maybe(20, values) },
    { "buildTarget", maybe(8, function() return one { "final", "" } end) },
    { "unknownKey", maybe(4, function() return { 1, "x" } end) })
  registries(item)
  return item, name
end

local function variant()
  local name = one { "Standard", "Minimal", "A b", "std+x", "Pro.2", "Débug" }
  return map({ "name", name }, { "primary", maybe(40, boolean) },
    { "extension", maybe(15, function() return one { "e1", "std_2" } end) },
    { "tagDisplayName", maybe(15, function() return one { "disp", "T.1" } end) },
    { "tagPatterns", maybe(20, tag_patterns) }, { "options", maybe(10, function() return { option() } end) }), name
end

local function matrix()
  local item = map({ "namePattern", maybe(25, function()
    return one { "r{{ Dependencies.R }}-py{{ Dependencies.python }}", "{{ Values.alpha }}-{{ Dependencies.R }}",
      "R{{ Dependencies.R }}-python{{ Dependencies.python }}", "{{ Values.go | default('none') }}.{{ Values.zeta }}" }
  end) }, { "subpath", maybe(20, function() return "rows" end) }, { "dependencies", maybe(95, dependencies) },
    { "values", maybe(60, function() return values(true) end) }, { "os", maybe(90, function() return os_list(1) end) },
    { "buildTarget", maybe(10, function() return "final" end) })
  registries(item)
  return item
end

local function image()
  local name = one(IMAGES)
  local item = map({ "name", name }, { "displayName", maybe(20, function() return one { "Dis Play", "X y" } end) },
    { "description", maybe(30, function() return one(TEXTS) end) },
    { "documentationUrl", maybe(15, function() return one { "Docs.Example.org/My app", "http://x.example" } end) },
    { "subpath", maybe(15, function() return one { "sub/dir", "Sub Dir", "." } end) },
    { "variants", maybe(50, function() return list(0, 3, variant) end) },
    { "tagPatterns", maybe(20, tag_patterns) }, { "buildTarget", maybe(8, function() return "stage" end) },
    { "buildSecrets", maybe(8, function() return { map({ "id", "tok" }, { "envVar", "FIXTURE_TOKEN" }),
      map({ "id", "no" }, { "envVar", "FIXTURE_NONE" }) } end) },
    { "options", maybe(10, function() return { option(), option() } end) },
    { "matrix", maybe(25, matrix) }, { "versions", maybe(85, function() return list(0, 5, function() return version(true) end) end) },
    { "x-other", maybe(5, function() return map({ "a", "b" }) end) })
  registries(item)
  return item, name
end

local function repository()
  return map({ "url", one { "https://example.org/r", "Example.ORG", "http://Example.org/a b", "github.com/T/I" } },
    { "vendor", maybe(20, function() return one { "Works, Inc.", "V: x" } end) },
    { "maintainer", maybe(30, function()
      return one { "Some One <Some@ONE.example>", "a@b.example", map({ "name", "N M" }, { "email", "n@m.example" }),
        '"Q, R" <q@r.example>' }
    end) },
    { "authors", maybe(30, function()
      return list(0, 3, function()
        return one { "zoe@example.net", "Ann Bee <Ann@EXAMPLE.net>", "bob <Bob@example.net>", "Zed <z@z.example>" }
      end)
    end) })
end

local function text()
  local root = map({ "repository", repository() },
    { "registries", maybe(75, function() return list(0, 3, function() return registry(false) end) end) },
    { "images", list(1, 4, image) }, { "x-root", maybe(10, function() return { 1, 2 } end) })
  local out = {}
  if chance(10) then out[#out + 1] = "---" end
  noise(out, 0)
  block(out, root, 0)
  local s = table.concat(out, "\n") .. (chance(90) and "\n" or "")
  if chance(10) then s = s:gsub("\n", "\r\n") end
  if chance(5) then s = "\xef\xbb\xbf" .. s end
  return s
end

---n texts for a seed.
---@param seed integer
---@param n integer
---@return string[]
function M.texts(seed, n)
  state = seed
  local out = {}
  for i = 1, n do out[i] = text() end
  return out
end

return M
