local child = require "lib.child"
local loop = require "bakery.loop"
local process = require "bakery.process"

local function sh(code, more)
  local opts = { cmd = { "sh", "-c", code } }
  for k, v in pairs(more or {}) do opts[k] = v end
  return process.run(opts)
end

-- Waits until f() is true, at most 5 s.
local function eventually(f)
  local deadline = loop.now() + 5
  while loop.now() < deadline do
    if f() then return true end
    loop.sleep(0.005)
  end
  return false
end

local function alive(pid)
  local f = io.open(("/proc/%d/stat"):format(pid))
  if not f then return false end
  local state = f:read("a"):match("%) (%a)")
  f:close()
  return state ~= "Z" and state ~= "X"
end

local function open_fds()
  return tonumber(child.output(("ls /proc/%d/fd | wc -l"):format(process.pid())))
end

describe("process.run", function()
  it("keeps the streams apart and gives code and time", function()
    local r = assert(sh "echo out; echo err >&2; exit 3")
    assert.equal(3, r.code)
    assert.is_nil(r.signal)
    assert.equal("out\n", r.stdout)
    assert.equal("err\n", r.stderr)
    assert.is_true(r.seconds >= 0 and r.seconds < 5)
  end)

  it("merges both streams in their order", function()
    local r = assert(sh("echo 1; echo 2 >&2; echo 3", { merge = true }))
    assert.equal("1\n2\n3\n", r.stdout)
    assert.is_nil(r.stderr)
  end)

  it("is binary safe in both directions, beyond a pipe's capacity", function()
    local data = ("\0\1\255binary\n"):rep(60000)
    assert.equal(data, assert(process.run { cmd = { "cat" }, stdin = data }).stdout)
  end)

  it("reads nothing from the caller's standard input", function()
    assert.equal("", assert(process.run { cmd = { "cat" } }).stdout)
  end)

  it("tells of signals", function()
    local r = assert(sh "kill -9 $$")
    assert.equal(9, r.signal)
    assert.equal(137, r.code)
    assert.equal("killed by SIGKILL", process.exit_reason(r))
    assert.equal("exit code 3", process.exit_reason { code = 3 })
    assert.equal("killed by signal 40", process.exit_reason { code = 168, signal = 40 })
  end)

  it("lays env over ours, removes with false, replaces all with clear_env", function()
    process.setenv("BK_TEST_A", "ours")
    process.setenv("BK_TEST_B", "ours")
    local r = assert(sh("echo $BK_TEST_A $BK_TEST_B $BK_TEST_C",
      { env = { BK_TEST_A = "new", BK_TEST_B = false, BK_TEST_C = 7 } }))
    assert.equal("new 7\n", r.stdout)
    assert.equal("ours", process.getenv_all().BK_TEST_B)
    r = assert(process.run { cmd = { "/usr/bin/env" }, clear_env = true, env = { X = "1" } })
    assert.equal("X=1\n", r.stdout)
    process.setenv("BK_TEST_A", nil)
    assert.is_nil(process.getenv_all().BK_TEST_A)
  end)

  it("finds programs in the PATH of the child, below cwd when relative", function()
    local dir = child.output("mktemp -d")
    assert(os.execute(("printf '#!/bin/sh\\npwd\\n' > %s/tool; chmod +x %s/tool"):format(dir, dir)))
    assert.equal(dir .. "\n", assert(process.run { cmd = { "./tool" }, cwd = dir }).stdout)
    assert.equal("/\n", assert(process.run { cmd = { "tool" }, cwd = "/", env = { PATH = dir } }).stdout)
    os.execute("rm -r " .. dir)
  end)

  it("fails clearly when nothing can be executed", function()
    local r, err = process.run { cmd = { "no-such-tool" } }
    assert.is_nil(r)
    assert.equal("ENOENT", err.code)
    assert.equal("command not found: 'no-such-tool' is not in PATH", err.message)
    err = select(2, process.run { cmd = { "/etc/passwd" } })
    assert.equal("EACCES", err.code)
    assert.matches("execute '/etc/passwd'", err.message)
    err = select(2, process.run { cmd = { "true" }, cwd = "/nonexistent" })
    assert.equal("ENOENT", err.code)
    assert.matches("/nonexistent", err.message)
  end)

  it("with check makes a failing exit an error with the last line and the result", function()
    local r, err = sh("echo first >&2; echo 'fatal: no' >&2; echo >&2; exit 4", { check = true })
    assert.is_nil(r)
    assert.equal("process.exit", err.code)
    assert.equal("'sh' failed: exit code 4: fatal: no", err.message)
    assert.equal(4, err.result.code)
    assert.equal(0, assert(sh("exit 0", { check = true })).code)
  end)

  it("gives lines as they come, cut at their ends and at the length limit", function()
    local got = {}
    assert(sh("printf 'a\\r\\n\\nb\\n'; printf tail", { on_line = function(line, stream)
      got[#got + 1] = stream .. ":" .. line
    end }))
    assert.same({ "stdout:a", "stdout:", "stdout:b", "stdout:tail" }, got)
    local lengths = {}
    assert(process.run { cmd = { "head", "-c", "150000", "/dev/zero" },
      on_line = function(line) lengths[#lengths + 1] = #line end })
    assert.same({ 65536, 65536, 150000 - 2 * 65536 }, lengths)
  end)

  it("lets the line callback wait, in a task and outside of one", function()
    local function count()
      local n = 0
      assert(sh("seq 5", { on_line = function() loop.sleep(0.001) n = n + 1 end }))
      return n
    end
    assert.equal(5, count())
    assert.same({ true, 5 }, { loop.spawn(count):wait() })
  end)

  it("keeps a bounded head of a large output", function()
    local r = assert(process.run { cmd = { "head", "-c", "1000000", "/dev/zero" }, max_output = 1000 })
    assert.equal(1000, #r.stdout)
    assert.is_true(r.truncated)
    assert.is_nil(assert(sh("echo", { capture = false })).stdout)
  end)

  it("runs long outputs outside of tasks without using up the C stack", function()
    local n = 0
    assert(sh("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done", { on_line = function() n = n + 1 end }))
    assert.equal(3000, n)
  end)

  it("does not wait for ever for a background process that holds the pipe", function()
    local r = assert(sh "sleep 60 & echo $!")
    assert.is_true(loop.now() > 0 and r.seconds < 5)
    os.execute("kill " .. r.stdout)
  end)

  it("refuses what it does not know", function()
    assert.has_error(function() process.run { cmd = { "true" }, tiemout = 1 } end,
      "unknown option 'tiemout' (did you mean 'timeout'?)")
    assert.has_error(function() process.run { cmd = {} } end)
    assert.has_error(function() process.run { cmd = { "a\0b" } } end)
    assert.has_error(function() process.run { cmd = { "true" }, env = { ["A=B"] = "x" } } end)
    assert.has_error(function() process.run { cmd = { "true" }, env = { A = "x\0y" } } end)
  end)

  it("leaves no descriptors behind", function()
    sh "true"
    collectgarbage()
    local before = open_fds()
    for _ = 1, 20 do sh "echo x" process.run { cmd = { "no-such-tool" } } end
    for _ = 1, 3 do process.pipe() end
    collectgarbage()
    loop.sleep(0)
    assert.is_true(open_fds() <= before + 3) -- the write ends of the pipes are ours to close
  end)
end)

describe("ending processes", function()
  it("times out: TERM to the whole group, then KILL", function()
    local pids = child.output("mktemp")
    local t0 = loop.now()
    local r, err = sh(("(trap '' TERM; echo $$ > %s; sleep 60) & trap '' TERM; sleep 60 & wait; wait"):format(pids),
      { timeout = 0.1, grace = 0.2 })
    assert.is_nil(r)
    assert.equal("timeout", err.code)
    assert.equal("'sh' timed out after 0.1 s", err.message)
    assert.is_true(loop.now() - t0 < 5)
    assert.is_false(alive(tonumber(child.output("cat " .. pids))))
    os.remove(pids)
  end)

  it("gives the group time to clean up after its leader has gone", function()
    local mark = os.tmpname()
    sh(("(trap 'sleep 0.1; echo done > %s; exit' TERM; while :; do sleep 0.01; done) & wait"):format(mark),
      { timeout = 0.1 })
    assert.equal("done", child.output("cat " .. mark))
    os.remove(mark)
  end)

  it("takes the group along when its task is cancelled, before the task ends", function()
    local pid
    local t = loop.spawn(function()
      sh("sleep 60 & echo $!; wait", { on_line = function(line) pid = tonumber(line) end })
    end)
    assert.is_true(eventually(function() return pid end))
    t:cancel()
    local ok, err = t:wait()
    assert.is_false(ok)
    assert.equal("cancelled", err.code)
    assert.is_false(alive(pid))
  end)

  it("takes the group along when the line callback raises", function()
    local pid
    local ok, err = pcall(sh, "sleep 60 & echo $!; wait", { on_line = function(line)
      pid = tonumber(line)
      error("enough", 0)
    end })
    assert.is_false(ok)
    assert.equal("enough", err)
    assert.is_false(alive(pid))
  end)

  it("closes with a <close> variable", function()
    local pid
    do
      local p <close> = assert(process.spawn { cmd = { "sleep", "60" } }) -- luacheck: ignore
      pid = p.pid
      assert.is_true(alive(pid))
    end
    assert.is_false(alive(pid))
  end)

  it("dies with a builder that is killed", function()
    local pid = tonumber(child.output("exec 2>/dev/null;" .. child.command [[
      local process = require "bakery.process"
      local p = process.spawn { cmd = { "sleep", "60" } }
      print(p.pid)
      io.stdout:flush()
      process.run { cmd = { "sh", "-c", "kill -9 $PPID" } }
    ]] .. " | cat"))
    assert.is_true(eventually(function() return not alive(pid) end))
    child.clean()
  end)

  it("ends with the state that started it", function()
    local pid = tonumber(child.output(child.command [[
      local loop = require "bakery.loop"
      local process = require "bakery.process"
      keep = process.spawn { cmd = { "sh", "-c", "trap '' TERM; echo; sleep 60" } }
      keep:read_line()
      print(keep.pid)
    ]]))
    assert.is_true(eventually(function() return not alive(pid) end))
    child.clean()
  end)
end)

describe("process.spawn", function()
  it("talks both ways", function()
    local p <close> = assert(process.spawn { cmd = { "cat" } })
    assert.is_true(p:write("one\ntwo\n"))
    assert.equal("one", p:read_line())
    assert.equal("two", p:read_line())
    p:close_stdin()
    assert.is_nil(p:read_line())
    assert.equal(0, p:wait().code)
    assert.equal(0, p:wait().code)
  end)

  it("waits for room instead of buffering what is written", function()
    local p <close> = assert(process.spawn { cmd = { "sh", "-c", "sleep 0.1; wc -c" } })
    assert.is_true(p:write(("x"):rep(1000000)))
    p:close_stdin()
    assert.equal("1000000", p:read_line())
  end)

  it("reports a reader that has gone, without dying of SIGPIPE", function()
    local p <close> = assert(process.spawn { cmd = { "true" } })
    p:wait()
    local ok, err = p:write("x")
    assert.is_nil(ok)
    assert.equal("EPIPE", err.code)
  end)

  it("reads stderr apart and takes signals by name", function()
    local p <close> = assert(process.spawn { cmd = { "sh", "-c", "echo e >&2; sleep 60" } })
    assert.equal("e", p:read_line("stderr"))
    assert.is_true(p:kill("KILL"))
    assert.equal(9, p:wait().signal)
    assert.has_error(function() p:kill("NONSENSE") end)
  end)

  it("lets several tasks wait for one process", function()
    local p <close> = assert(process.spawn { cmd = { "sleep", "0.05" } })
    local a = loop.spawn(function() return p:wait().code end)
    local b = loop.spawn(function() return p:wait().code end)
    assert.same({ true, 0 }, { a:wait() })
    assert.same({ true, 0 }, { b:wait() })
  end)

  it("starts children with default signals and nothing but the standard streams", function()
    local r = assert(sh "grep SigIgn /proc/self/status; ls /proc/self/fd | wc -l")
    -- What we were told to ignore (nohup does) stays ignored, but for SIGPIPE, which is our own.
    local ours = tonumber(io.open("/proc/self/status"):read("a"):match "SigIgn:%s*(%x+)", 16) & ~(1 << 12)
    assert.matches(("SigIgn:\t%016x"):format(ours), r.stdout)
    assert.matches("\n4\n$", r.stdout) -- 0, 1, 2 and the listing's own
  end)
end)

describe("process.pipe", function()
  it("reads what others write to the raw end", function()
    local reader, fd = process.pipe()
    local f = assert(io.open("/proc/self/fd/" .. fd, "w"))
    f:write("a\nb")
    f:close()
    process.close_fd(fd)
    assert.equal("a", reader:read_line())
    assert.equal("b", reader:read())
    assert.is_nil(reader:read())
    reader:close()
    reader:close()
    assert.equal("EBADF", select(2, reader:read()).code)
  end)

  it("yields while it waits, wakes when closed, survives a cancel and collection", function()
    local reader, fd = process.pipe()
    local t = loop.spawn(function() return reader:read() end)
    loop.sleep(0.01)
    t:cancel()
    assert.is_false((t:wait()))
    local u = loop.spawn(function() return select(2, reader:read()).code end)
    loop.sleep(0.01)
    reader:close()
    assert.same({ true, "EBADF" }, { u:wait() })
    process.close_fd(fd)
    for _ = 1, 50 do
      local r, w = process.pipe()
      loop.spawn(function() r:read() end):cancel()
      r = nil -- luacheck: ignore
      collectgarbage()
      process.close_fd(w)
    end
    loop.finish()
  end)

  it("bounds what it reads ahead", function()
    local reader, fd = process.pipe()
    local p <close> = assert(process.spawn { cmd = { "sh", "-c", ("exec 3>/proc/%d/fd/%d; echo; "
      .. "dd if=/dev/zero bs=4k count=500 2>/dev/null >&3")
      :format(process.pid(), fd) } })
    p:read_line()
    process.close_fd(fd)
    loop.sleep(0.1)
    local total = 0
    while true do
      local s = reader:read()
      if not s then break end
      assert.is_true(#s <= 400 * 1024)
      total = total + #s
    end
    assert.equal(2000 * 1024, total)
    assert.equal(0, p:wait().code)
  end)
end)

describe("about this process", function()
  it("answers", function()
    assert.equal(tonumber(child.output("id -u")), process.uid())
    assert.equal(child.output("uname -n"), process.hostname())
    assert.is_true(process.cpus() >= 1)
    assert.is_true(process.max_rss() > 100000)
    assert.equal("/bin/sh", (process.which("sh"):gsub("^/usr", "")))
    assert.is_nil(process.which("no-such-tool"))
    assert.is_false(process.isatty(99))
    assert.equal(15, process.signals.TERM)
  end)
end)
