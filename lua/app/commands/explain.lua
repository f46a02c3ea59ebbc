--- `bakery explain TARGET`: why steps ran again, by comparing what they depended on with the run before.
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local json = require "bakery.json"
local suggest = require "bakery.suggest"
local fail = require "app.fail"
local format = require "app.report.format"
local session = require "app.session"
local trace = require "app.backend.embedded.trace"

local M = {}

local MAX_FILES = 5 -- named per COPY

local function short(value)
  if value == nil or value == json.null then return "(none)" end
  if value == "" then return "(empty)" end
  return format.cut(tostring(value), 60)
end

local function item_text(item)
  if type(item) ~= "table" then return short(item) end
  local parts = {}
  for k, v in json.pairs(item) do
    if v ~= json.null then parts[#parts + 1] = k .. "=" .. short(v) end
  end
  return table.concat(parts, " ")
end

local function change(name, old, new) return ("%s: %s → %s"):format(name, short(old), short(new)) end

-- The first variable that differs.
local function environment(old, new)
  local function map(list)
    local out = {}
    for _, kv in ipairs(list) do
      local k, v = kv:match "^([^=]*)=(.*)$"
      out[k or kv] = v or ""
    end
    return out
  end
  local a, b = map(old), map(new)
  for _, list in ipairs { new, old } do
    for _, kv in ipairs(list) do
      local k = kv:match "^[^=]*"
      if a[k] ~= b[k] then return change("variable " .. k, a[k], b[k]) end
    end
  end
  return "the variables stand in another order"
end

-- Files of a step's layer by path: { type and mode, content digest or link }.
local function layer_files(s, diff_id)
  local dir = diff_id and s:layer_dir(diff_id)
  if not dir then return nil end
  local out = {}
  for _, e in ipairs(fs.walk(dir) or {}) do
    local path = dir .. "/" .. e.path
    local stat = fs.stat(path, false)
    if stat and e.type ~= "dir" then
      out[e.path] = { meta = ("%s %o %d:%d"):format(e.type, stat.mode & 4095, stat.uid, stat.gid), size = stat.size,
        content = function()
          return e.type == "file" and digest.file(path) or e.type == "symlink" and fs.readlink(path) or ""
        end }
    end
  end
  return out
end

-- Names of files that two results of a COPY differ in; nil when a layer is gone.
local function differing_files(s, old, new)
  local a, b = layer_files(s, old.diff_id), layer_files(s, new.diff_id)
  if not a or not b then return nil end
  local names, out = {}, {}
  for path in pairs(a) do names[#names + 1] = path end
  for path in pairs(b) do if not a[path] then names[#names + 1] = path end end
  table.sort(names)
  for _, path in ipairs(names) do
    local x, y = a[path], b[path]
    local why = not x and "is new" or not y and "is gone"
      or (x.size ~= y.size or x.content() ~= y.content()) and "has other content"
      or x.meta ~= y.meta and "has another mode or owner"
    if why then out[#out + 1] = { path = path, why = why } end
  end
  return out
end

local function files_changed(s, old, new)
  local list = differing_files(s, old, new)
  if not list or #list == 0 then return "the files it takes changed" end
  local out = {}
  for i = 1, math.min(#list, MAX_FILES) do out[i] = list[i].path .. " " .. list[i].why end
  if #list > MAX_FILES then out[#out + 1] = ("… and %d more"):format(#list - MAX_FILES) end
  return "files: " .. table.concat(out, ", "), list
end

local function first_item(name, old, new)
  for i = 1, math.max(#old, #new) do
    local a, b = item_text(old[i]), item_text(new[i])
    if a ~= b then return ("%s: %s → %s"):format(name, a, b) end
  end
  return name .. " changed"
end

local function same(a, b)
  if type(a) == "table" and type(b) == "table" then return json.encode(a) == json.encode(b) end
  return a == b
end

-- Why a step has another key than its former self.
local function reason(s, old, new, parent)
  local before = {}
  for _, input in ipairs(old.inputs) do before[input[1]] = input[2] end
  for _, input in ipairs(new.inputs) do
    local name, value = input[1], input[2]
    local was = before[name]
    if not same(was, value) then
      if name == "parent" then return "parent", parent end
      if name == "no-cache" then return name, "--no-cache was given" end
      if name == "epoch" then return name, change("the epoch", was, value) end
      if name == "environment" then return name, environment(was, value) end
      if name == "files" then return name, files_changed(s, old, new) end
      if type(value) == "table" and type(was) == "table" then return name, first_item(name, was, value) end
      return name, change(name, was, value)
    end
  end
  return "store", "its result was not in the store any more"
end

-- Each step of the new run with its former self: the same text in the same stage, else the one that
-- stood in its place.
local function pair_up(old, new)
  local by_text, by_place, used = {}, {}, {}
  local function places(run, fn)
    local count = {}
    for _, step in ipairs(run.steps) do
      count[step.stage] = (count[step.stage] or 0) + 1
      fn(step, step.stage .. "\0" .. step.text, step.stage .. "\0" .. count[step.stage])
    end
  end
  if old then
    places(old, function(step, text, place)
      by_text[text] = by_text[text] or {}
      table.insert(by_text[text], step)
      by_place[place] = step
    end)
  end
  local out = {}
  places(new, function(step, text)
    local found = by_text[text] and table.remove(by_text[text], 1)
    if found then used[found] = true end
    out[step] = found and { step = found } or nil
  end)
  places(new, function(step, _, place)
    local found = by_place[place]
    if not out[step] and found and not used[found] then out[step] = { step = found, other_text = true } end
  end)
  return out
end

local function explain_step(s, old, step, was, last)
  if not old then return "first", "first run that is known" end
  if not was then return "new", "the instruction is new" end
  if was.other_text then return "instruction", "the instruction was: " .. format.cut(was.step.text, 60) end
  if was.step.state == "failed" then return "failed", "it failed the time before" end
  return reason(s, was.step, step, last and ("the step before it (line %d) gave another result"):format(last.line)
    or "the base image changed")
end

local function report(s, values, platform, runs, at)
  local new, old = trace.read(runs[at].path), runs[at + 1] and trace.read(runs[at + 1].path)
  if not new then
    fail.raise { class = "build", code = "explain.unreadable", message = "cannot read " .. runs[at].path }
  end
  local pairs_of, last, rows = pair_up(old, new), {}, {}
  for _, step in ipairs(new.steps) do
    local row = { step = step }
    if step.state ~= "cached" then
      row.kind, row.why, row.files = explain_step(s, old, step, pairs_of[step], last[step.stage])
    end
    last[step.stage] = step
    rows[#rows + 1] = row
  end
  if values.json then
    local steps = json.array {}
    for i, row in ipairs(rows) do
      steps[i] = json.object { { "line", row.step.line }, { "stage", row.step.stage }, { "text", row.step.text },
        { "state", row.step.state }, { "seconds", row.step.seconds }, { "input", row.kind }, { "reason", row.why } }
    end
    return json.object { { "target", new.target }, { "platform", platform }, { "run", new.run }, { "file", new.file },
      { "compared_with", old and old.run or json.null }, { "steps", steps } }
  end
  local out = { ("%s %s: run %s%s"):format(new.target, platform, new.run, old and ", compared with " .. old.run or "") }
  for _, row in ipairs(rows) do
    out[#out + 1] = ("  %s:%s  %-6s  %s"):format(new.file, row.step.line, row.step.state, format.cut(row.step.text, 70))
    if row.why then out[#out + 1] = "      " .. row.why end
  end
  return table.concat(out, "\n")
end

-- Which of the runs --last means: an id, or a number counted from the last.
local function choose(runs, last)
  if not last then return 1 end
  local n = math.tointeger(tonumber(last))
  for i, r in ipairs(runs) do if r.run == last or i == n then return i end end
end

local function unknown_target(values, uid)
  local known = {}
  local ok, doc = pcall(session.plan, { context = values.context, quiet = true, matrix_versions = "include" })
  if ok then known = doc.group.default.targets end
  for _, name in ipairs(known) do
    if name == uid then
      fail.raise { class = "build", code = "explain.no_run", message = uid .. ": no run of it is known here",
        hint = "build it first; runs whose steps all came from the cache are not kept" }
    end
  end
  local near = suggest.nearest(uid, known)
  fail.raise { class = "usage", code = "usage", message = "no target '" .. uid .. "'",
    hint = near and "did you mean '" .. near .. "'?" or "`bakery get targets` lists them" }
end

function M.run(values)
  local dir = fail.check(require("app.project").find(values.context or ".", { context = values.context ~= nil }))
  local s <close> = require("app.backend.embedded.isolation").open_store(values) -- luacheck: ignore
  local uid, found = values[1], nil
  local out, platforms = json.array {}, {}
  local by_platform = trace.list(s, dir, uid)
  for platform in pairs(by_platform) do platforms[#platforms + 1] = platform end
  table.sort(platforms)
  for _, platform in ipairs(platforms) do
    if not values.image_platform or values.image_platform == platform then
      local at = choose(by_platform[platform], values.last)
      if at then
        found = true
        out[#out + 1] = report(s, values, platform, by_platform[platform], at)
      end
    end
  end
  if #platforms == 0 then unknown_target(values, uid) end
  if not found then
    local names = {}
    for i, r in ipairs(by_platform[platforms[1]]) do names[i] = r.run end
    fail.raise { class = "usage", code = "usage", message = "no such run or platform of " .. uid,
      hint = "runs: " .. table.concat(names, ", ") .. "; platforms: " .. table.concat(platforms, ", ") }
  end
  if values.json then session.print_json(out)
  else io.stdout:write(table.concat(out, "\n"), "\n") end
  return 0
end

return M
