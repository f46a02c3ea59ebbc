---@meta bakery.loop

--- The event loop and its tasks: functions that run side by side on one thread. A call marked (async)
--- suspends the task it is made in; made anywhere else (main chunk, a coroutine of your own, inside
--- string.gsub or another C function that calls back) it returns when it is done and lets the tasks
--- run meanwhile. `bakery.task` is the comfortable layer above.
---@class bakery.looplib
local M = {}

---@class bakery.loop.task
local Task = {}

---@class bakery.loop.event a flag to wait for
local Event = {}

---@class bakery.loop.counter progress that worker threads add to: the `progress` option of long calls
local Counter = {}

--- Starts fn(...) as a task; it first runs when the current one waits.
---@param fn function
---@param ... any arguments
---@return bakery.loop.task
function M.spawn(fn, ...) end

--- The task this code runs in; nil outside of tasks.
---@return bakery.loop.task|nil
function M.current() end

--- Waits (async). 0 lets the others go first.
---@param seconds number at least 0
function M.sleep(seconds) end

--- Monotonic clock, with no relation to the time of day.
---@return number seconds
function M.now() end

---@return bakery.loop.event event not set
function M.event() end

---@return bakery.loop.counter counter 0 of 0
function M.counter() end

--- Runs until every task has ended. Raises when they wait for each other.
function M.finish() end

--- Waits for the next signal of that number (async); without a waiter the signal has its default
--- effect again. Does not keep the program alive on its own.
---@param signum integer 2 is SIGINT, 15 SIGTERM
function M.signal(signum) end

--- Waits until the task has ended (async); may be called by several and again later.
---@return boolean ok
---@return any ... its results; or its error and the error's traceback
function Task:wait() end

--- Makes the call the task waits in, or its next such call, raise an error with code `cancelled`, once;
--- what the call had begun is given up. Does nothing when the task has ended.
function Task:cancel() end

---@return "ready"|"waiting"|"running"|"done"|"failed"
function Task:status() end

--- Sets the flag and lets everybody who waits go on.
function Event:set() end

function Event:clear() end

---@return boolean
function Event:is_set() end

--- Returns when the flag is set (async).
function Event:wait() end

---@return integer done
---@return integer total
function Counter:get() end

---@param done? integer to add
---@param total? integer to add
function Counter:add(done, total) end

return M
