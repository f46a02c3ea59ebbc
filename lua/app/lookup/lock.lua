--- bakery.lock: what look-ups gave, pinned. The text has one form (sections, then entries sorted by
--- bytes), so that the same pins give the same bytes; comments above and behind an entry stay with it.
---
---   lock: 1
---   dependencies:
---     R latest count=2:
---       - 4.5.1
---       - 4.4.3
---   streams:
---     connect daily:
---       Debian 13: null           # no build for it when this was written
---       Ubuntu 24.04:
---         version: 2026.05.0-dev+12
---         url: https://…
local fs = require "bakery.fs"
local problems = require "app.project.problems"
local validate = require "app.project.validate"
local yaml = require "bakery.yaml"

local M = {}

M.NAME = "bakery.lock"
M.FORMAT = 1
local HEADER = "# Versions that look-ups gave, pinned by `bakery lock`. Comments stay.\n"
local SECTIONS = { "dependencies", "streams" }

---@class app.lookup.lock
---@field dependencies table<string, string[]> look-up -> versions
---@field streams table<string, table<string, { version: string, url: string }|false>> look-up -> OS ->
--- build; false: there was none
---@field notes table what comments to keep where

--- An empty lock.
---@return app.lookup.lock
function M.new()
  return { dependencies = {}, streams = {}, notes = { above = {}, behind = {}, header = nil, footer = nil } }
end

local ORDER = { "latest", "count", "max", "min" }

--- Name of a version look-up in the lock: everything that its result depends on.
---@param request { dependency: string, from?: string, prerelease?: boolean, constraint: table }
---@return string
function M.versions_key(request)
  local words = { request.dependency }
  if request.from then words[2] = "from=" .. request.from end
  for _, name in ipairs(ORDER) do
    local value = request.constraint[name]
    if value ~= nil then words[#words + 1] = value == true and name or ("%s=%s"):format(name, value) end
  end
  if request.prerelease then words[#words + 1] = "prerelease" end
  return table.concat(words, " ")
end

--- Name of a product look-up in the lock.
---@param request { product: string, channel: string, release_branch?: string }
---@return string
function M.stream_key(request)
  local words = { request.product, request.channel }
  if request.release_branch then words[3] = "branch=" .. request.release_branch end
  return table.concat(words, " ")
end

-- --- reading --------------------------------------------------------------------------------------------

local TEXT = { kind = "string", version = "any", what = "a text" }
local VERSIONS = { kind = "map", of = { kind = "list", of = TEXT } }
local BUILD = { kind = "object", schema = { title = "build", unknown = "error", fields = {
  { "version", type = TEXT, required = true }, { "url", type = TEXT, required = true } } } }
local STREAMS = { kind = "map", of = { kind = "map", of = { kind = "custom", parse = function(node, path, ctx)
  if validate.is_null(node) then return false, true end
  return validate.value(BUILD, node, path, ctx)
end } } }
local ROOT = { kind = "object", schema = { title = "lock", unknown = "error", fields = {
  { "lock", type = { kind = "int" }, required = true },
  { "dependencies", type = VERSIONS, default = { keys = {}, values = {} } },
  { "streams", type = STREAMS, default = { keys = {}, values = {} } } } } }

-- Comments of the file: blocks of full lines by the line they stand above, and what follows a line.
local function comments(text)
  local lines, above = {}, {}
  local block
  for line in (text:gsub("\n?$", "\n")):gmatch "([^\n]*)\n" do
    lines[#lines + 1] = line
    if line:find "^%s*#" then
      block = block or {}
      block[#block + 1] = line:match "^%s*(.-)%s*$"
    elseif not line:find "^%s*$" then
      above[#lines], block = block, nil
    end
  end
  return lines, above, block
end

-- Remembers the comments of the node at a line under its place in the lock.
local function note(notes, place, node, lines, above)
  notes.above[place] = above[node.line]
  local rest = lines[node.end_line] or ""
  local column = utf8.offset(rest, node.end_col) or #rest + 1
  notes.behind[place] = rest:sub(column):match "^:?%s+(#.-)%s*$"
end

local function collect(lock, root, text)
  local lines, above, footer = comments(text)
  local notes = lock.notes
  notes.footer = footer
  for _, section in ipairs(root.keys) do
    local name = section.key.text
    if name == "lock" then
      notes.header = above[section.key.line]
    else
      note(notes, name, section.key, lines, above)
    end
    for _, entry in ipairs(section.value.keys or {}) do
      local place = name .. "\0" .. entry.key.text
      note(notes, place, entry.key, lines, above)
      for _, item in ipairs(entry.value.items or {}) do note(notes, place .. "\0" .. item.text, item, lines, above) end
      for _, os in ipairs(entry.value.keys or {}) do
        local at = place .. "\0" .. os.key.text
        note(notes, at, os.key, lines, above)
        if validate.is_null(os.value) then note(notes, at, os.value, lines, above) end
        for _, member in ipairs(os.value.keys or {}) do
          note(notes, at .. "\0" .. member.key.text, member.value, lines, above)
        end
      end
    end
  end
end

--- Reads the text of a lock.
---@param text string
---@param name string for messages
---@param path string|nil
---@return app.lookup.lock|nil
---@return table? err class usage
function M.parse(text, name, path)
  local doc, err = yaml.parse(text, { name = name })
  local hint = "`bakery lock` writes it anew"
  if not doc then
    err.class, err.path, err.hint = "usage", path, hint
    return nil, err
  end
  local ctx = problems.new(name, path)
  local root = doc:root() or { kind = "map", keys = {}, map = {}, line = 1, col = 1 }
  local value = validate.value(ROOT, root, {}, ctx)
  if #ctx.errors > 0 then
    ctx.errors[1].hint = ctx.errors[1].hint or hint
    return nil, ctx.errors[1]
  end
  if value.lock ~= M.FORMAT then
    return nil, problems.at(ctx.file, root.map.lock, {}, "lock.format",
      ("format %d is not known, only %d is"):format(value.lock, M.FORMAT), { hint = "a newer bakery wrote it" })
  end
  local lock = M.new()
  lock.dependencies = value.dependencies.values
  for _, key in ipairs(value.streams.keys) do lock.streams[key] = value.streams.values[key].values end
  collect(lock, root, text)
  return lock
end

--- Reads the lock of a project.
---@param dir string
---@return app.lookup.lock|nil
---@return table? err nil when there is no lock
function M.read(dir)
  local path = fs.join(dir, M.NAME)
  if not fs.exists(path) then return nil end
  local text, err = fs.read(path, 16 << 20)
  if not text then return nil, err end
  return M.parse(text, M.NAME, path)
end

-- --- writing --------------------------------------------------------------------------------------------

local function sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function scalar(text) return (yaml.dump(text):gsub("\n$", "")) end

--- The text of a lock.
---@param lock app.lookup.lock
---@return string
function M.encode(lock)
  local out, notes = {}, lock.notes
  local function line(place, indent, text)
    for _, comment in ipairs(notes.above[place] or {}) do out[#out + 1] = indent .. comment end
    local behind = notes.behind[place]
    out[#out + 1] = indent .. text .. (behind and "  " .. behind or "")
  end
  local header = notes.header and table.concat(notes.header, "\n") .. "\n" or HEADER
  for _, section in ipairs(SECTIONS) do
    if next(lock[section]) then line(section, "", section .. ":") end
    for _, key in ipairs(sorted(lock[section])) do
      local place, entry = section .. "\0" .. key, lock[section][key]
      line(place, "  ", scalar(key) .. ":")
      if section == "dependencies" then
        for _, text in ipairs(entry) do line(place .. "\0" .. text, "    ", "- " .. scalar(text)) end
      else
        for _, os in ipairs(sorted(entry)) do
          local build, at = entry[os], place .. "\0" .. os
          line(at, "    ", scalar(os) .. (build and ":" or ": null"))
          if build then
            for _, name in ipairs { "version", "url" } do
              line(at .. "\0" .. name, "      ", name .. ": " .. scalar(build[name]))
            end
          end
        end
      end
    end
  end
  for _, comment in ipairs(notes.footer or {}) do out[#out + 1] = comment end
  return header .. "lock: " .. M.FORMAT .. "\n" .. table.concat(out, "\n") .. (#out > 0 and "\n" or "")
end

-- --- differences ----------------------------------------------------------------------------------------

local function show(value)
  if value == nil then return nil end
  if value == false then return "no build" end
  return value.version and value.version .. " " .. value.url or table.concat(value, ", ")
end

--- What changed from one lock to another: { key=, os=, from=, to= } sorted; from or to is missing for
--- what is new or gone.
---@param old app.lookup.lock
---@param new app.lookup.lock
---@return { key: string, os: string|nil, from: string|nil, to: string|nil }[]
function M.changes(old, new)
  local out = {}
  local function compare(key, os, a, b)
    a, b = show(a), show(b)
    if a ~= b then out[#out + 1] = { key = key, os = os, from = a, to = b } end
  end
  local function both(a, b, visit)
    local all = {}
    for key in pairs(a) do all[key] = true end
    for key in pairs(b) do all[key] = true end
    for _, key in ipairs(sorted(all)) do visit(key, a[key], b[key]) end
  end
  both(old.dependencies, new.dependencies, function(key, a, b) compare(key, nil, a, b) end)
  both(old.streams, new.streams, function(key, a, b)
    both(a or {}, b or {}, function(os, x, y) compare(key, os, x, y) end)
  end)
  return out
end

return M
