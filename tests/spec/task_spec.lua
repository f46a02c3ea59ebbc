local loop = require "bakery.loop"
local task = require "bakery.task"

describe("task", function()
  it("runs side by side and gives results in order", function()
    local started = loop.now()
    local r = task.all { function() loop.sleep(0.05) return 1 end, function() loop.sleep(0.05) return 2 end }
    assert.same({ 1, 2 }, r)
    assert.is_true(loop.now() - started < 0.095)
  end)

  it("raises a task's error object from wait, and reports it with try_wait", function()
    local e = { class = "build", message = "x" }
    local t = task.spawn(function() error(e, 0) end)
    local ok, err = pcall(t.wait, t)
    assert.is_false(ok)
    assert.equal(e, err)
    assert.is_false((t:try_wait()))
    assert.equal("failed", t:status())
  end)

  it("cancels the others of all() when one fails, and waits for them", function()
    local cleaned = false
    local ok, err = pcall(task.all, {
      function()
        local guard <close> = setmetatable({}, { __close = function() cleaned = true end }) -- luacheck: ignore
        loop.sleep(30)
      end,
      function() loop.sleep(0.01) error("first", 0) end,
    })
    assert.is_false(ok)
    assert.equal("first", err)
    assert.is_true(cleaned)
  end)

  it("takes children along when the parent of all() is cancelled", function()
    local ended = 0
    local parent = task.spawn(function()
      task.all { function()
        local g <close> = setmetatable({}, { __close = function() ended = ended + 1 end }) -- luacheck: ignore
        loop.sleep(30)
      end }
    end)
    loop.sleep(0.01)
    parent:cancel()
    local ok, err = parent:try_wait()
    assert.is_false(ok)
    assert.is_true(task.is_cancelled(err))
    assert.equal(1, ended)
  end)

  it("may wait in its closers after it was cancelled", function()
    local done = false
    local t = task.spawn(function()
      local g <close> = setmetatable({}, { __close = function() loop.sleep(0.01) done = true end }) -- luacheck: ignore
      loop.sleep(30)
    end)
    loop.sleep(0.005)
    t:cancel()
    t:try_wait()
    assert.is_true(done)
  end)

  it("does not start what was cancelled before its turn", function()
    local ran = false
    local t = task.spawn(function() ran = true end)
    t:cancel()
    local ok = t:try_wait()
    assert.is_false(ok)
    assert.is_false(ran)
  end)

  it("bounds map() and keeps order", function()
    local running, most = 0, 0
    local r = task.map({ 5, 4, 3, 2, 1 }, 2, function(x)
      running = running + 1
      most = math.max(most, running)
      loop.sleep(x / 1000)
      running = running - 1
      return x * 10
    end)
    assert.same({ 50, 40, 30, 20, 10 }, r)
    assert.equal(2, most)
  end)

  it("hands a semaphore's places on in order, also past a cancelled waiter", function()
    local s, order = task.semaphore(1), {}
    s:acquire()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = task.spawn(function() s:with(function() order[#order + 1] = i end) end)
    end
    loop.sleep(0.005)
    tasks[2]:cancel()
    s:release()
    for _, t in ipairs(tasks) do t:try_wait() end
    assert.same({ 1, 3 }, order)
    assert.equal(1, s.free)
  end)

  it("runs work once per key; another takes over when the first is cancelled", function()
    local once, runs = task.once(), 0
    local function work()
      return once:run("k", function()
        runs = runs + 1
        loop.sleep(0.02)
        return "v" .. runs
      end)
    end
    local first, second = task.spawn(work), task.spawn(work)
    loop.sleep(0.005)
    first:cancel()
    assert.equal("v2", (second:wait()))
    assert.equal("v2", (work()))
    assert.equal(2, runs)
  end)

  it("ends on time", function()
    local started = loop.now()
    local ok, err = pcall(task.timeout, 0.02, loop.sleep, 30)
    assert.is_false(ok)
    assert.equal("timeout", err.class)
    assert.is_true(loop.now() - started < 5)
    assert.equal(7, (task.timeout(5, function() return 7 end)))
  end)

  it("leaves nothing running behind a timeout or a cancelled caller", function()
    local closed = 0
    local function work()
      local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore
        loop.sleep(0.02)
        closed = closed + 1
      end })
      loop.sleep(30)
    end
    assert.is_false((pcall(task.timeout, 0.01, work)))
    assert.equal(1, closed)
    for _, run in ipairs { function() task.timeout(30, work) end, function() task.all { work } end } do
      closed = 0
      local t = task.spawn(run)
      loop.sleep(0.01)
      t:cancel()
      loop.sleep(0.005)
      t:cancel() -- insisting does not tear the children off
      local ok, err = t:try_wait()
      assert.is_false(ok)
      assert.is_true(task.is_cancelled(err))
      assert.equal(1, closed)
    end
  end)

  it("works through a user's own coroutine", function()
    local gen = coroutine.wrap(function() for i = 1, 3 do loop.sleep(0.001) coroutine.yield(i) end end)
    local t = task.spawn(function() return gen() + gen() + gen() end)
    assert.equal(6, (t:wait()))
  end)

  it("reports a wait that nothing can end", function()
    local e = loop.event()
    assert.has_error(function() e:wait() end)
  end)
end)
