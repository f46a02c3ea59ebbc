--- What every binding shares: option tables, error objects, and calls that wait.
local digest = require "bakery.digest"
local fs = require "bakery.fs"
local loop = require "bakery.loop"
local process = require "bakery.process"

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err)
end

describe("option tables", function()
  it("name the nearest option", function()
    assert.matches("unknown option 'parent' %(did you mean 'parents'%?%)", message(fs.mkdir, "/x", { parent = true }))
    assert.matches("unknown option 'zzzzzz'$", message(fs.mkdir, "/x", { zzzzzz = true }))
    assert.matches("expected named options, found a number key", message(fs.mkdir, "/x", { "parents" }))
  end)

  it("check types", function()
    assert.matches("option 'parents': expected a boolean, got string", message(fs.mkdir, "/x", { parents = "yes" }))
    assert.matches("option 'timeout': expected a number, got string", message(process.run, { cmd = { "true" }, timeout = "1" }))
    assert.matches("option 'cwd': expected a string, got table", message(process.run, { cmd = { "true" }, cwd = {} }))
    assert.matches("list item 2: expected a string, got number", message(process.run, { cmd = { "true", 1 } }))
  end)

  it("refuse text that C would cut off", function()
    assert.matches("option 'cwd': contains a zero byte", message(process.run, { cmd = { "true" }, cwd = "/\0x" }))
    assert.matches("list item 2: contains a zero byte", message(process.run, { cmd = { "true", "a\0b" } }))
  end)
end)

describe("error objects", function()
  it("carry code, class and message, and read as text", function()
    local none, err = fs.read "/no/such/file"
    assert.is_nil(none)
    assert.equal("ENOENT", err.code)
    assert.equal("build", err.class)
    assert.is_false(err.retryable)
    assert.matches("/no/such/file.*No such file or directory", tostring(err))
    assert.matches(err.message, tostring(err), 1, true)
  end)

  it("keep where they happened in front of the text", function()
    local _, err = require("bakery.json").decode("[1,", { name = "x.json" })
    assert.equal("x.json:1:4", err.where)
    assert.equal(err.where .. ": " .. err.message, tostring(err))
  end)

  it("keep scripts away from closers", function()
    assert.equal("bakery.digest.state", getmetatable(digest.new()))
    assert.matches("^bakery.digest.state: ", tostring(digest.new()))
  end)
end)

describe("a waiting call", function()
  it("lets tasks run when it is made outside of one", function()
    local ran = false
    loop.spawn(function() ran = true end)
    loop.sleep(0)
    assert.is_true(ran)
  end)

  it("waits inside callbacks from C, however many tasks do so", function()
    local n, tasks = 0, {}
    for i = 1, 60 do
      tasks[i] = loop.spawn(function()
        ("x"):gsub("x", function()
          loop.sleep(0.001 * (i % 7))
          assert(digest.file "/dev/null")
          n = n + 1
        end)
      end)
    end
    for _, t in ipairs(tasks) do assert.is_true((t:wait())) end
    assert.equal(60, n)
  end)

  it("can be cancelled inside a callback from C", function()
    local t = loop.spawn(function() ("x"):gsub("x", function() loop.sleep(60) end) end)
    local killer = loop.spawn(function() t:cancel() end)
    local ok, err = t:wait()
    assert.is_false(ok)
    assert.equal("cancelled", err.code)
    assert.is_true((killer:wait()))
  end)

  it("waits in a coroutine of the task's own", function()
    local t = loop.spawn(function()
      local co = coroutine.wrap(function()
        coroutine.yield(1)
        loop.sleep(0.001)
        coroutine.yield(2)
      end)
      return co(), co()
    end)
    assert.same({ true, 1, 2 }, { t:wait() })
  end)

  it("survives being resumed by a stranger", function()
    local co, woken = nil, 0
    local t = loop.spawn(function()
      co = coroutine.running()
      loop.sleep(0.01)
      woken = woken + 1
      coroutine.yield()
      loop.sleep(0.01)
      woken = woken + 1
    end)
    loop.sleep(0)
    for _ = 1, 5 do coroutine.resume(co) end
    assert.is_true((t:wait()))
    assert.equal(2, woken)
  end)

  it("says so when nothing can end it", function()
    local e = loop.event()
    assert.matches("deadlock", message(e.wait, e))
    e:set() -- the wait that was given up is out of the list
    collectgarbage()
    e:wait()
  end)

  it("does not keep finish() waiting for ever", function()
    local e = loop.event()
    local t = loop.spawn(function() e:wait() end)
    assert.matches("deadlock", message(loop.finish))
    t:cancel()
    loop.finish()
    assert.equal("failed", t:status())
  end)

  it("refuses nonsense", function()
    assert.matches("seconds expected", message(loop.sleep, -1))
    assert.matches("seconds expected", message(loop.sleep, 0 / 0))
    assert.matches("wait for signal 99", message(loop.signal, 99))
    assert.matches("function expected", message(loop.spawn, 1))
  end)
end)

describe("a task", function()
  it("passes any number of arguments and results", function()
    local args = {}
    for i = 1, 250 do args[i] = i end
    local r = { loop.spawn(function(...) return select("#", ...), ... end, table.unpack(args)):wait() }
    assert.equal(252, #r)
    assert.equal(250, r[2])
    assert.equal(250, r[252])
  end)

  it("gives error and traceback to everybody who waits", function()
    local t = loop.spawn(function() error { code = "mine" } end)
    for _ = 1, 2 do
      local ok, err, trace = t:wait()
      assert.is_false(ok)
      assert.equal("mine", err.code)
      assert.matches("luakit_spec.lua:%d+", trace)
    end
  end)

  it("can be cancelled before it began, and twice", function()
    local t = loop.spawn(function() error "never" end)
    t:cancel()
    t:cancel()
    local ok, err = t:wait()
    assert.is_false(ok)
    assert.equal("cancelled", err.code)
    t:cancel()
    assert.equal("failed", t:status())
  end)

  it("is cancelled out of every kind of wait", function()
    local e, other = loop.event(), loop.spawn(function() loop.sleep(60) end)
    local waits = {
      function() loop.sleep(60) end,
      function() e:wait() end,
      function() other:wait() end,
      function() loop.signal(10) end,
      function() process.run { cmd = { "sleep", "60" } } end,
      function() digest.file(os.getenv "BAKERY_BIN" or "/proc/self/exe") end,
      function() coroutine.yield() loop.sleep(60) end,
    }
    local started = loop.now()
    for i, fn in ipairs(waits) do
      local closed = false
      local t = loop.spawn(function()
        local _g <close> = setmetatable({}, { __close = function() loop.sleep(0) closed = true end })
        fn()
      end)
      loop.sleep(0)
      t:cancel()
      local ok, err = t:wait()
      assert.is_false(ok, i)
      assert.equal("cancelled", err.code, i)
      assert.is_true(closed, i)
      collectgarbage()
    end
    other:cancel()
    loop.finish()
    assert.is_true(loop.now() - started < 20)
    e:set()
  end)

  it("knows itself", function()
    assert.is_nil(loop.current())
    local t
    t = loop.spawn(function() return loop.current() == t, t:status() end)
    assert.same({ true, true, "running" }, { t:wait() })
  end)

  it("hears signals", function()
    local t = loop.spawn(function() loop.signal(10) return "heard" end)
    local keep = loop.spawn(function() loop.sleep(10) end) -- waiting for a signal alone keeps nothing alive
    loop.sleep(0)
    assert(process.run { cmd = { "kill", "-USR1", tostring(process.pid()) } })
    assert.same({ true, "heard" }, { t:wait() })
    keep:cancel()
    loop.finish()
  end)

  it("is collected when it has ended", function()
    local weak = setmetatable({}, { __mode = "k" })
    for _ = 1, 50 do weak[loop.spawn(function() loop.sleep(0) end)] = true end
    loop.finish()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)
end)

describe("an event", function()
  it("wakes all who wait, and none after clear", function()
    local e, n = loop.event(), 0
    for _ = 1, 3 do loop.spawn(function() e:wait() n = n + 1 end) end
    loop.sleep(0)
    e:set()
    loop.finish()
    assert.equal(3, n)
    assert.is_true(e:is_set())
    e:clear()
    assert.is_false(e:is_set())
  end)
end)

describe("a counter", function()
  it("adds up", function()
    local c = loop.counter()
    c:add(3, 10)
    c:add(4)
    assert.same({ 7, 10 }, { c:get() })
  end)
end)
