--- Which tags a policy keeps. A policy is a list of rules; a tag that no rule speaks of is kept, a tag that
--- some rule speaks of is kept when one of those keeps it. Nothing whose age is unknown goes by age.
---
---   keep:                      a rule:
---     - tags: "^latest$"         tags  regular expression (search), default all
---     - tags: "^\\d"             count keep the newest N of each version line
---       count: 5                 line  major, minor, patch or all (one line): what a version line is, default minor
---       days: 90                 days  keep what is younger
---                              a rule with neither count nor days keeps all it speaks of
local regex = require "bakery.regex"
local version = require "bakery.version"
local yaml = require "bakery.yaml"
local suggest = require "bakery.suggest"
local fail = require "app.fail"

local M = {}

local DAY = 86400
local LINES = { major = 1, minor = 2, patch = 3, all = 0 }
local RULE = { tags = "string", count = "integer", days = "number", line = "string" }
local POLICY = { repositories = "table", keep = "table", ["max-delete"] = "integer", grace = "number" }

local function wrong(name, what)
  fail.raise { class = "usage", code = "prune.policy", where = name, message = what }
end

local function check_keys(map, known, name, what)
  if type(map) ~= "table" then wrong(name, what .. ": expected a mapping") end
  for k, v in pairs(map) do
    local kind = known[k]
    if not kind then
      local names = {}
      for n in pairs(known) do names[#names + 1] = n end
      local near = suggest.nearest(tostring(k), names)
      wrong(name, ("%s: unknown key '%s'%s"):format(what, tostring(k), near and " (did you mean '" .. near .. "'?)" or ""))
    end
    local fits = kind == "integer" and math.type(v) == "integer" or kind == "number" and type(v) == "number" or type(v) == kind
    if not fits then wrong(name, ("%s: %s: expected %s"):format(what, k, kind == "table" and "a list" or "a " .. kind)) end
    if (kind == "integer" or kind == "number") and v < 0 then wrong(name, ("%s: %s: must not be negative"):format(what, k)) end
  end
end

--- Checks and compiles a rule.
---@param rule table { tags=, count=, days=, line= }
---@param name string file, for errors
---@param i integer
function M.rule(rule, name, i)
  local what = ("keep[%d]"):format(i - 1)
  check_keys(rule, RULE, name, what)
  local line = rule.line or "minor"
  if not LINES[line] then wrong(name, what .. ": line is major, minor, patch or all, not '" .. line .. "'") end
  local pattern, err = regex.compile(rule.tags or "")
  if not pattern then wrong(name, what .. ": tags: " .. tostring(err)) end
  return { pattern = pattern, count = rule.count, days = rule.days, parts = LINES[line], text = rule.tags or "" }
end

--- Reads a policy file.
---@param text string
---@param name string
---@return table { repositories=string[], rules=, max_delete=, grace= }
function M.parse(text, name)
  local map, err = yaml.load(text, { name = name })
  if map == nil then
    fail.raise { class = "usage", code = "prune.policy", where = err and err.where or name,
      message = err and err.message or "the policy is empty" }
  end
  check_keys(map, POLICY, name, "policy")
  local out = { repositories = map.repositories or {}, rules = {}, max_delete = map["max-delete"], grace = map.grace }
  for i, rule in ipairs(map.keep or {}) do out.rules[i] = M.rule(rule, name, i) end
  return out
end

-- Versions of one line share this; tags that are no versions are a line of their own.
local function line_of(tag, parts)
  if parts == 0 then return "" end
  local numbers, rest = tag:match "^[vV]?(%d[%d.]*)(.*)$"
  if not numbers then return "\0" .. tag:gsub("%d+", "#") end
  local out = {}
  for n in numbers:gmatch "%d+" do
    if #out < parts then out[#out + 1] = n end
  end
  -- What follows a version names a variant or system: it has lines of its own.
  return table.concat(out, ".") .. "\0" .. rest:gsub("%d+", "#")
end

-- Newest version first, then newest image.
local function newer(a, b)
  local x, y = version.pep440(a.number or ""), version.pep440(b.number or "")
  if x and y and x ~= y then return x > y end
  if (x ~= nil) ~= (y ~= nil) then return x ~= nil end
  if a.created ~= b.created then return (a.created or math.huge) > (b.created or math.huge) end
  return a.tag > b.tag
end

local function keep_newest(list, rule, kept)
  local lines = {}
  for _, t in ipairs(list) do
    local line = line_of(t.tag, rule.parts)
    lines[line] = lines[line] or {}
    table.insert(lines[line], t)
  end
  for _, members in pairs(lines) do
    table.sort(members, newer)
    for i = 1, math.min(rule.count, #members) do
      kept[members[i].tag] = ("among the newest %d of its line"):format(rule.count)
    end
  end
end

--- Decides about tags.
---@param policy table { rules= }
---@param tags table[] { tag=, created=integer|nil }
---@param now integer
---@return table<string, string> kept tag → why
---@return table<string, string> gone tag → why
function M.decide(policy, tags, now)
  local kept, spoken = {}, {}
  for _, t in ipairs(tags) do t.number = t.tag:match "^[vV]?(%d[%d.]*)" end
  for _, rule in ipairs(policy.rules) do
    local list = {}
    for _, t in ipairs(tags) do
      if rule.pattern:find(t.tag) then
        spoken[t.tag] = true
        list[#list + 1] = t
        if not rule.count and not rule.days then kept[t.tag] = "always kept (" .. rule.text .. ")" end
        if rule.days and not t.created then kept[t.tag] = "its age is unknown" end
        if rule.days and t.created and now - t.created < rule.days * DAY then
          kept[t.tag] = ("younger than %g days"):format(rule.days)
        end
      end
    end
    if rule.count then keep_newest(list, rule, kept) end
  end
  local gone = {}
  for _, t in ipairs(tags) do
    if not spoken[t.tag] then kept[t.tag] = kept[t.tag] or "no rule speaks of it" end
    if not kept[t.tag] then gone[t.tag] = "no rule keeps it" end
  end
  return kept, gone
end

return M
