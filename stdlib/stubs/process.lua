---@meta bakery.process

--- Child processes, pipes, and facts about this process. Calls marked (async) let other tasks run.
---@class bakery.processlib
---@field signals table<string, integer> numbers by name without SIG: signals.TERM
local M = {}

---@class bakery.process.options
---@field cmd string[] program and arguments; the program is searched in the child's PATH
---@field cwd? string working directory; a program with a slash is relative to it
---@field env? table<string, string|number|false> laid over our environment; false removes
---@field clear_env? boolean start from an empty environment
---@field stdin? string what the program reads; default: nothing (spawn: a pipe)
---@field timeout? number seconds; then TERM to the process group
---@field grace? number seconds from TERM to KILL, default 10
---@field merge? boolean standard error goes where standard output goes
---@field foreground? boolean share our terminal, streams and process group (nothing is captured)

---@class bakery.process.run_options: bakery.process.options
---@field check? boolean a failing exit is an error
---@field on_line? fun(line: string, stream: "stdout"|"stderr") called for every line; may wait
---@field capture? boolean default true
---@field max_output? integer bytes kept per stream, default 64 MiB

---@class bakery.process.result
---@field code integer exit code; 128 + n after a signal
---@field signal? integer
---@field seconds number
---@field stdout? string
---@field stderr? string
---@field truncated? boolean output was longer than max_output

--- Runs a program to its end (async). Cancelling the task, an error in on_line and the timeout end
--- the whole process group before the call returns.
---@param options bakery.process.run_options
---@return bakery.process.result|nil result
---@return table? err code ENOENT, EACCES …; timeout; process.exit (with check); err.result when it ran
function M.run(options) end

---@class bakery.process.child closes with <close>; a collected handle ends its processes too
---@field pid integer
local Child = {}

--- Waits for the exit (async). Several tasks may wait.
---@return bakery.process.result|nil result without output
---@return table? err code timeout
function Child:wait() end

--- Signals the process group.
---@param signal? integer|string number or name, default TERM
---@return boolean|nil ok
---@return table? err
function Child:kill(signal) end

--- Some bytes, nil at the end of the stream (async).
---@param stream? "stdout"|"stderr"
---@return string|nil
---@return table? err
function Child:read(stream) end

--- The next line without its end, nil at the end of the stream (async).
---@param stream? "stdout"|"stderr"
---@return string|nil
---@return table? err
function Child:read_line(stream) end

--- Writes to standard input, until all is in the pipe (async).
---@param data string
---@return boolean|nil ok
---@return table? err code EPIPE
function Child:write(data) end

--- Ends the program's standard input.
function Child:close_stdin() end

--- Ends the process group, TERM then KILL, and returns when it is gone (async).
function Child:close() end

--- Starts a program with piped standard streams.
---@param options bakery.process.options
---@return bakery.process.child|nil child
---@return table? err
function M.spawn(options) end

---@class bakery.process.reader closes with <close>
local Reader = {}

--- Some bytes, nil at the end (async).
---@return string|nil
---@return table? err
function Reader:read() end

--- The next line without its end, nil at the end (async).
---@return string|nil
---@return table? err
function Reader:read_line() end

function Reader:close() end

--- A pipe: a reader for us, a raw descriptor for somebody who writes (close it with close_fd). With a path
--- it is a FIFO, made there, which everybody may open.
---@param path? string
---@return bakery.process.reader|nil reader
---@return integer|table fd_or_err
function M.pipe(path) end

---@param fd integer
---@return boolean|nil ok
---@return table? err
function M.close_fd(fd) end

--- Path of an executable found in our PATH.
---@param name string
---@return string|nil
function M.which(name) end

--- "exit code 3" or "killed by SIGKILL".
---@param result { code?: integer, signal?: integer }
---@return string
function M.exit_reason(result) end

---@param fd integer
---@return boolean
function M.isatty(fd) end

--- Size of the terminal, or nil when there is none.
---@return integer|nil columns
---@return integer? rows
function M.winsize() end

--- A pseudo-terminal as two raw descriptors: our end, and the one for a program's standard streams.
--- Close the latter (close_fd) when the program has been started.
---@return integer|nil master
---@return integer|table slave_or_err
function M.pty() end

--- Connects our terminal (standard input and output) with a pseudo-terminal until the program there has
--- ended (async). Takes the descriptor over. Our terminal is in raw mode meanwhile.
---@param master integer
---@return true|nil
---@return table? err
function M.pty_relay(master) end

--- Asks on the terminal (async): the question goes to standard error, the answer is a line of standard
--- input; nil at its end. Ctrl-C and termination end the wait; the terminal is left as it was.
---@param question string
---@param opts? { hide?: boolean } hide: what is typed is not shown
---@return string|nil line
---@return table? err
function M.ask(question, opts) end

---@return integer
function M.pid() end

--- Effective user.
---@return integer
function M.uid() end

--- Effective group.
---@return integer
function M.gid() end

---@return table<string, string>
function M.getenv_all() end

--- Sets a variable of our environment; nil removes it.
---@param name string
---@param value? string
function M.setenv(name, value) end

---@return string
function M.hostname() end

--- Architecture of the machine as uname has it: "x86_64", "aarch64" …
---@return string
function M.machine() end

--- CPUs this process may run on.
---@return integer
function M.cpus() end

--- Largest resident size of this process so far, in bytes.
---@return integer
function M.max_rss() end

---@class bakery.process.relay closes with <close>; a collected one is closed too
local Relay = {}

--- Ends its connections and removes the socket.
function Relay:close() end

--- Makes a Unix socket whose connections are passed on to another one, by a thread of its own: who may
--- use it is said by mode, uid and gid, and the other side sees this process.
---@param opts { listen: string, connect: string, mode?: integer, uid?: integer, gid?: integer } mode: default 0600
---@return bakery.process.relay|nil
---@return table? err errno names
function M.relay(opts) end

return M
