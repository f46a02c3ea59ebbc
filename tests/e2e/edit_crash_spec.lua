--- Editing commands stopped at every step: what is left is as before, or becomes so by the next command.
local fs = require "bakery.fs"
local world = require "lib.world"

local YAML = [[
repository: {url: github.com/acme/images}
images:
  - name: a
    subpath: images/a
    versions:
      - name: 2.0.0
        latest: true
      - name: 1.0.0
]]

local function project()
  local dir = world.tmp()
  world.write(dir, { ["bakery.yaml"] = YAML, ["images/a/template/Containerfile.jinja2"] = "FROM scratch\nLABEL v={{ Image.Version }}\n",
    ["images/a/template/scripts/run.sh"] = "#!/bin/sh\n", ["images/a/2.0.0/Containerfile"] = "old\n",
    ["images/a/2.0.0/own/notes.txt"] = "kept by hand\n", ["images/a/1.0.0/Containerfile"] = "older\n" })
  return dir
end

local function tree(dir)
  local out = {}
  for _, e in ipairs(assert(fs.walk(dir))) do
    local full = dir .. "/" .. e.path
    local mode = ("%o"):format(fs.stat(full).mode & 511)
    out[#out + 1] = e.type == "dir" and e.path .. "/" or ("%s %s\n%s"):format(e.path, mode, fs.read(full))
  end
  return table.concat(out, "\n")
end

local MUTATIONS = { "rename", "write", "mkdir", "link", "copy", "utime", "remove" }

-- Runs a command in this process. From its Nth change of the file system on nothing happens any more: with
-- "fail" the Nth reports a full disk, with "freeze" all claim to work, so that the disk is as after a kill.
-- Returns the exit code, what was said, and whether the Nth was reached.
local function run(dir, c, action, n)
  local real, said, left, stderr = {}, {}, n or math.huge, io.stderr
  for _, name in ipairs(MUTATIONS) do
    real[name] = fs[name]
    fs[name] = function(...)
      left = left - 1
      if action == "freeze" and left <= 0 then return true end
      if action == "fail" and left == 0 then
        return nil, fs.error { code = "ENOSPC", class = "infra", message = name .. ": No space left on device" }
      end
      if name == "write" then return real.write(..., select(2, ...), { mode = (select(3, ...) or {}).mode }) end
      return real[name](...)
    end
  end
  io.stderr = { write = function(_, ...) said[#said + 1] = table.concat { ... } end } -- luacheck: ignore 122
  local group, verb = c[1]:match "^(%a+) (%a+)$"
  local values = { context = dir, clean = true, mark_latest = true, image_name = c.image_name, table.unpack(c, 2) }
  local ok, code = pcall(require("app.commands." .. group)[verb], values)
  io.stderr = stderr -- luacheck: ignore 122
  for name, fn in pairs(real) do fs[name] = fn end
  assert.is_true(ok, tostring(code))
  return code, table.concat(said), left <= 0
end

-- What this process left is made that of one which is gone.
local function disown(dir)
  for _, path in ipairs(fs.glob(dir .. "/.bakery-edit*/journal.json")) do
    assert(fs.write(path, (fs.read(path):gsub('"start":%s*"%d+"', '"start":"1"'))))
  end
  for _, path in ipairs(fs.glob(dir .. "/.bakery-edit.*")) do
    assert(fs.rename(path, (path:gsub("%d+$", "4194305"))))
  end
end

-- An editing command that repairs what it finds and changes nothing else.
local NOTHING = { "update files", image_name = "^none$" }

local COMMANDS = {
  { "create version", "a", "3.0.0" },
  { "update version", "a", "2.1.0" },
  { "remove version", "a", "2.0.0" },
  { "remove image", "a" },
  { "update files" },
}

describe("an editing command", function()
  teardown(world.cleanup)

  local before, after = tree(project()), {}

  setup(function()
    for _, c in ipairs(COMMANDS) do
      local dir = project()
      local code, said = run(dir, c)
      assert.equal(0, code, said)
      after[c] = tree(dir)
      assert.not_equal(before, after[c])
    end
  end)

  for _, c in ipairs(COMMANDS) do
    it("leaves everything as it was when a step of '" .. c[1] .. "' fails", function()
      for n = 1, 200 do
        local dir = project()
        local code, said, reached = run(dir, c, "fail", n)
        if code ~= 0 then
          assert.truthy(said:find("No space left", 1, true), said)
          assert.equal(before, tree(dir), n .. ": " .. said)
        else
          -- Past the commit only cleaning up fails, which the next one makes up for.
          disown(dir)
          run(dir, NOTHING)
          assert.equal(after[c], tree(dir), n .. ": " .. said)
        end
        fs.remove(dir, { recursive = true })
        if not reached then return assert.is_true(n > 5) end
      end
      error "it never ends"
    end)

    it("is undone or finished by the next one when '" .. c[1] .. "' is killed", function()
      local undone, finished = 0, 0
      for n = 1, 200 do
        local dir = project()
        local _, _, reached = run(dir, c, "freeze", n)
        disown(dir)
        local code, said = run(dir, NOTHING)
        assert.equal(0, code, said)
        local now = tree(dir)
        if now == before then undone = undone + 1
        else
          assert.equal(after[c], now, n .. ": " .. said)
          finished = finished + 1
        end
        fs.remove(dir, { recursive = true })
        if not reached then
          assert.is_true(undone > 2)
          return assert.is_true(finished > 0)
        end
      end
      error "it never ends"
    end)
  end
end)

describe("an interrupted edit", function()
  teardown(world.cleanup)

  -- Really killed, by SIGKILL.
  local function interrupted()
    local dir = project()
    local r = world.bakery({ "lua", fs.cwd() .. "/tests/lib/edit_child.lua", "12", "update version", "a", "2.1.0" },
      { cwd = dir, env = { BAKERY_ROOT = fs.cwd() } })
    assert.equal(9, r.signal, r.stderr)
    assert.truthy(fs.is_dir(dir .. "/.bakery-edit"))
    return dir
  end

  it("is mentioned by commands that read, and stops a dry run", function()
    local dir = interrupted()
    local r = world.bakery({ "get", "versions", "a" }, { cwd = dir })
    assert.truthy(r.stderr:find("'update version' was interrupted", 1, true), r.stderr)
    r = world.bakery({ "update", "files", "--dry-run" }, { cwd = dir })
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("half changed", 1, true), r.stderr)
  end)

  it("is not touched while its process lives", function()
    local dir = interrupted()
    local journal = fs.read(dir .. "/.bakery-edit/journal.json")
    local stat = fs.read "/proc/self/stat"
    local start = stat:match "%) (.*)$"
    local fields = {}
    for f in start:gmatch "%S+" do fields[#fields + 1] = f end
    journal = journal:gsub('"pid":%s*%d+', '"pid":' .. require("bakery.process").pid())
      :gsub('"start":%s*"%d+"', ('"start":"%s"'):format(fields[20]))
    assert(fs.write(dir .. "/.bakery-edit/journal.json", journal))
    local r = world.bakery({ "update", "files" }, { cwd = dir })
    assert.equal(6, r.code, r.stderr)
    assert.truthy(r.stderr:find("is editing this project", 1, true), r.stderr)
  end)

  it("is undone by the next command", function()
    local dir = interrupted()
    local r = world.bakery({ "update", "files", "--image-name", "^none$" }, { cwd = dir })
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stderr:find("'update version' was interrupted; its half-done changes were undone", 1, true), r.stderr)
    assert.equal(tree(project()), tree(dir))
  end)

  it("cannot be made up to reach outside of the project", function()
    local dir = project()
    local outside = world.tmp() .. "/file"
    world.write(dir, { [".bakery-edit/new/x"] = "", [".bakery-edit/old/1"] = "evil",
      [".bakery-edit/journal.json"] = ('{"command":"x","ops":[{"op":"remove","path":"../../..%s"}]}'):format(outside) })
    local r = world.bakery({ "update", "files" }, { cwd = dir })
    assert.equal(9, r.code, r.stderr)
    assert.is_false(fs.exists(outside))
    assert(fs.write(dir .. "/.bakery-edit/journal.json", '{"ops":[{"op":"exec","path":"x"}]}'))
    r = world.bakery({ "update", "files" }, { cwd = dir })
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("no readable journal", 1, true), r.stderr)
  end)
end)
