--- Tasks: functions that run side by side on one thread. A call that waits (process, network, file
--- work, sleep) lets the others go on; code between two such calls is never interrupted.
local loop = require "bakery.loop"

local M = {}

local function finish(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

---@class bakery.task
local Task = {}
Task.__index = Task
Task.__name = "bakery.task"

--- Starts fn(...) as a task.
---@param fn function
---@return bakery.task
function M.spawn(fn, ...) return setmetatable({ _t = loop.spawn(fn, ...) }, Task) end

--- Results of the task; raises its error object.
function Task:wait() return finish(self._t:wait()) end

--- As wait, but returns true, results… or false, error, traceback.
function Task:try_wait() return self._t:wait() end

--- Makes the task's current (or next) waiting call raise `cancelled`; does nothing when it has ended.
function Task:cancel() self._t:cancel() end

--- "ready" | "waiting" | "running" | "done" | "failed"
---@return string
function Task:status() return self._t:status() end

local function is_cancelled(err) return type(err) == "table" and err.code == "cancelled" end
M.is_cancelled = is_cancelled

-- Waits until a loop task has ended, whatever happens to the caller meanwhile.
local function settle(t)
  local ok, err
  repeat ok, err = pcall(t.wait, t) until ok or not is_cancelled(err)
end

-- Waits for all of `tasks`; on the first failure cancels the rest, waits for them, raises it. A
-- caller that is cancelled itself takes its children along.
local function join(tasks)
  local pending, failed, first = #tasks, nil, false
  local over = loop.event()
  local watchers = {}
  for i, t in ipairs(tasks) do
    watchers[i] = loop.spawn(function()
      local ok, err = t._t:wait()
      pending = pending - 1
      if not ok and (not first or (is_cancelled(failed) and not is_cancelled(err))) then
        first, failed = true, err
      end
      if pending == 0 or not ok then over:set() end
    end)
  end
  if pending > 0 then
    local ok, err = pcall(over.wait, over)
    if not ok and not first then first, failed = true, err end
  end
  if first then for _, t in ipairs(tasks) do t:cancel() end end
  for _, w in ipairs(watchers) do settle(w) end
  if first then error(failed, 0) end
end

--- Runs the functions side by side and returns the list of their first results, in order. The first
--- error cancels the others and is raised when they have ended.
---@param fns function[]
---@return table
function M.all(fns)
  local tasks, results = {}, {}
  for i, fn in ipairs(fns) do
    tasks[i] = M.spawn(function() results[i] = fn() end)
  end
  join(tasks)
  return results
end

--- fn(item, index) for every item, at most `limit` at a time; results in order.
---@param list table
---@param limit integer
---@param fn function
---@return table
function M.map(list, limit, fn)
  local next_index, workers, results = 1, {}, {}
  for w = 1, math.min(limit, #list) do
    workers[w] = function()
      while next_index <= #list do
        local i = next_index
        next_index = i + 1
        results[i] = fn(list[i], i)
      end
    end
  end
  M.all(workers)
  return results
end

---@class bakery.task.semaphore
local Semaphore = {}
Semaphore.__index = Semaphore

--- A counter of free places.
---@param n integer
---@return bakery.task.semaphore
function M.semaphore(n) return setmetatable({ free = n, queue = {} }, Semaphore) end

--- Takes a place, waiting for one in order of arrival.
function Semaphore:acquire()
  if self.free > 0 and #self.queue == 0 then
    self.free = self.free - 1
    return
  end
  local turn = { event = loop.event() }
  table.insert(self.queue, turn)
  local ok, err = pcall(turn.event.wait, turn.event)
  if ok then return end
  if turn.granted then self:release()
  else
    for i, q in ipairs(self.queue) do
      if q == turn then
        table.remove(self.queue, i)
        break
      end
    end
  end
  error(err, 0)
end

--- Gives the place back.
function Semaphore:release()
  local turn = table.remove(self.queue, 1)
  if turn then
    turn.granted = true
    turn.event:set()
  else
    self.free = self.free + 1
  end
end

--- Runs fn(...) holding a place.
function Semaphore:with(fn, ...)
  self:acquire()
  local r = table.pack(pcall(fn, ...))
  self:release()
  if not r[1] then error(r[2], 0) end
  return table.unpack(r, 2, r.n)
end

---@class bakery.task.future
local Future = {}
Future.__index = Future

--- A value that somebody will set once.
---@return bakery.task.future
function M.future() return setmetatable({ event = loop.event() }, Future) end

function Future:set(value)
  self.value, self.ok = value, true
  self.event:set()
end

function Future:fail(err)
  self.err, self.ok = err, false
  self.event:set()
end

function Future:is_set() return self.event:is_set() end

--- The value, when it is there; raises when the future failed.
function Future:wait()
  self.event:wait()
  if not self.ok then error(self.err, 0) end
  return self.value
end

--- Work done once per key: the first caller of once:run(key, fn) runs fn, the others wait for its
--- result. When the first is cancelled one of the waiters takes over; other errors go to all.
---@class bakery.task.once
local Once = {}
Once.__index = Once

---@return bakery.task.once
function M.once() return setmetatable({ futures = {} }, Once) end

function Once:run(key, fn)
  while true do
    local f = self.futures[key]
    if not f then
      f = M.future()
      self.futures[key] = f
      local ok, value = pcall(fn)
      if ok then
        f:set(value)
        return value, true
      end
      if is_cancelled(value) then self.futures[key] = nil end
      f:fail(value)
      error(value, 0)
    end
    f.event:wait()
    if f.ok then return f.value, false end
    if not is_cancelled(f.err) then error(f.err, 0) end
  end
end

--- fn(...) with a time limit; raises an error of class `timeout` when it is over. Either way fn has
--- ended, closers included, when this returns.
---@param seconds number
---@param fn function
function M.timeout(seconds, fn, ...)
  local t = M.spawn(fn, ...)
  local timed_out = false
  local timer = loop.spawn(function()
    loop.sleep(seconds)
    timed_out = true
    t:cancel()
  end)
  local r = table.pack(pcall(t._t.wait, t._t))
  timer:cancel()
  if not r[1] then -- the caller itself was cancelled
    t:cancel()
    settle(t._t)
    error(r[2], 0)
  end
  if r[2] then return table.unpack(r, 3, r.n) end
  local err = r[3]
  if timed_out and is_cancelled(err) then
    error(setmetatable({ class = "timeout", code = "timeout",
      message = ("timed out after %g s"):format(seconds) }, getmetatable(err)), 0)
  end
  error(err, 0)
end

M.sleep = loop.sleep

return M
