--- `bakery shell` and --shell-on-failure, with and without a terminal (script(1) gives one).
local world = require "lib.world"
local process = require "bakery.process"

local APP = "FROM scratch\nCOPY base/ /\nENV PATH=/bin GREETING=hello\nWORKDIR /srv\nRUN echo content > file\nUSER app\n"

describe("shell", function()
  local dir, store
  setup(function()
    store = world.tmp() .. "/store"
    dir = world.project { app = APP }
  end)
  teardown(world.cleanup)

  local function args(...) return { select(1, ...), "-C", dir, "--store", store, select(2, ...) } end

  -- On a terminal: `typed` is what a person types. script(1) ends with the program's exit code.
  local function on_terminal(cmd, typed)
    local words = {}
    for i, w in ipairs(cmd) do words[i] = "'" .. w:gsub("'", "'\\''") .. "'" end
    local r = assert(process.run { cmd = { "script", "-qec", table.concat(words, " "), "/dev/null" }, stdin = typed, timeout = 60,
      env = { TERM = "xterm", CI = "", XDG_STATE_HOME = world.state, NO_COLOR = "1" } })
    return r, (r.stdout:gsub("\r", ""))
  end
  local function bakery_words(...)
    local out = { world.bin }
    for _, a in ipairs(args(...)) do out[#out + 1] = a end
    return out
  end

  it("wants a target that is built", function()
    local r = world.bakery(args("shell", "app-1-0-0"))
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("app-1-0-0 is not built", 1, true), r.stderr)
    r = world.bakery(args("shell", "app-1-0"))
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("did you mean 'app-1-0-0'?", 1, true), r.stderr)
    assert.equal(0, world.bakery(args("build")).code)
  end)

  it("runs a command as the image would, in a copy that goes away", function()
    local r = world.bakery(args("shell", "app-1-0-0", "--", "sh", "-c", "id -u; pwd; cat file; echo $GREETING; exit 7"))
    assert.equal(7, r.code)
    assert.equal("1000\n/srv\ncontent\nhello\n", r.stdout)
    r = world.bakery(args("shell", "app-1-0-0", "--user", "root", "--", "sh", "-c", "id -u; echo new > /srv/new; rm file; ls /srv"))
    assert.equal("0\nnew\n", r.stdout)
    r = world.bakery(args("shell", "app-1-0-0", "--", "ls", "/srv"))
    assert.equal("file\n", r.stdout)
    r = world.bakery(args("shell", "app-1-0-0", "--", "nothing-like-it"))
    assert.not_equal(0, r.code)
    assert.truthy(r.stderr:find("command not found: 'nothing-like-it'", 1, true), r.stderr)
  end)

  it("reads standard input when that is no terminal", function()
    local r = assert(process.run { cmd = bakery_words("shell", "app-1-0-0"), stdin = "cat file; exit 4\n",
      env = { XDG_STATE_HOME = world.state } })
    assert.equal("content\n", r.stdout)
    assert.equal(4, r.code)
  end)

  it("gives a terminal of its own, with job control, and gives ours back", function()
    if not world.needs "script" then return end
    local r, out = on_terminal(bakery_words("shell", "app-1-0-0"), "echo $((40+2)); test -t 0 && echo is-a-$TERM; : </dev/tty && echo c-tty; exit 5\n")
    assert.truthy(out:find("\n42\n", 1, true), out)
    assert.truthy(out:find("\nis-a-xterm\n", 1, true), out)
    assert.truthy(out:find("\nc-tty\n", 1, true), out)
    assert.is_nil(out:find("job control turned off", 1, true), out)
    assert.equal(5, r.code)
    -- raw mode ends with the shell
    out = select(2, on_terminal({ "sh", "-c", "stty -a > /tmp/$$.a; \"$@\"; stty -a | cmp - /tmp/$$.a && echo same-terminal; rm /tmp/$$.a", "sh",
      table.unpack(bakery_words("shell", "app-1-0-0", "--", "true")) }, ""))
    assert.truthy(out:find("same-terminal", 1, true), out)
  end)

  it("opens where a RUN failed, with its files as they were", function()
    if not world.needs "script" then return end
    world.write(dir, { ["app/1.0.0/Containerfile"] = APP:gsub("USER app\n", "")
      .. "RUN --mount=type=secret,id=none echo partial > half && rm file && false\n" })
    local _, out = on_terminal(bakery_words("build", "--shell-on-failure"), "cat half; ls /srv; pwd; exit\n")
    assert.truthy(out:find("app/1.0.0/Containerfile:6: RUN --mount=type=secret,id=none", 1, true), out)
    assert.truthy(out:find("\npartial\n", 1, true), out)
    assert.truthy(out:find("\nhalf\n", 1, true), out)
    assert.truthy(out:find("\n/srv\n", 1, true), out)
    assert.truthy(out:find("RUN failed: exit code 1", 1, true), out)
    local r = world.bakery(args("build", "--shell-on-failure"))
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("there is no terminal", 1, true), r.stderr)
  end)
end)
