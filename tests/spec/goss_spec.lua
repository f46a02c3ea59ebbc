local digest = require "bakery.digest"
local goss = require "bakery.goss"
local matcher = require "bakery.goss.matcher"
local json = require "bakery.json"

local FILES = { ["/etc/passwd"] = "root:x:0:0:root:/root:/bin/sh\nme:x:10:20:me:/home/me:/bin/ash\n",
  ["/etc/group"] = "root:x:0:\nus:x:20:\nmore:x:30:me,you\n", ["/f"] = "alpha\nbeta\n" }

local system = {
  lookup = function(path)
    if path == "/link" then return { type = "symlink", mode = 511, uid = 0, gid = 0, size = 1, target = "/f" } end
    return FILES[path] and { type = "file", mode = 420, uid = 10, gid = 20, size = #FILES[path] } or nil
  end,
  read = function(path) return FILES[path] end,
  exec = function(cmd) return { code = tonumber(cmd:match "exit (%d+)") or 0, stdout = "out: " .. cmd .. "\n", stderr = "" } end,
}

local function check(text)
  local results = goss.run(assert(goss.parse(text)), system)
  local bad = {}
  for _, r in ipairs(results) do if not r.ok then bad[#bad + 1] = goss.describe(r) end end
  return bad, results
end

describe("goss", function()
  it("accepts what is as expected", function()
    local bad, results = check([[
file:
  /f: { exists: true, mode: "0644", owner: me, group: us, uid: 10, size: 11, filetype: file,
    contents: [alpha, "/^be/", "!gamma"], sha256: ]]
      .. digest.sha256(FILES["/f"]) .. [[ }
  /link: { exists: true, filetype: symlink, linked-to: /f }
  /none: { exists: false }
command:
  echo hi: { exit-status: 0, stdout: [hi], stderr: [] }
  named: { exec: "exit 4", exit-status: 4, timeout: 500 }
user:
  me: { exists: true, uid: 10, gid: 20, home: /home/me, shell: /bin/ash, groups: [us, more] }
group:
  us: { exists: true, gid: 20 }
]])
    assert.same({}, bad)
    assert.is_true(#results > 20)
  end)

  it("names what differs", function()
    local bad = check "file:\n  /f: { exists: true, mode: \"0600\", contents: [zeta] }\n"
    assert.same({ "file /f: mode: expected 0600, found 0644",
      'file /f: contents: expected ["zeta"], found alpha\nbeta\n (missing: zeta)' }, bad)
  end)

  it("skips the rest of a resource that is not there", function()
    local bad, results = check "file:\n  /no: { exists: true, mode: \"0644\" }\n"
    assert.equal(1, #bad)
    assert.is_true(results[2].skipped)
  end)

  it("says what it does not know", function()
    local bad = check "file:\n  /f: { exsts: true }\nport:\n  tcp:80: { listening: true }\n"
    assert.truthy(bad[1]:find("did you mean 'exists'", 1, true) or bad[2]:find("did you mean 'exists'", 1, true))
    assert.truthy(table.concat(bad, "\n"):find("'port' is not supported", 1, true))
  end)

  it("knows the matchers", function()
    local list = json.array
    local cases = {
      { { equal = 3 }, 3, true }, { { gt = 2 }, 3, true }, { { lt = 2 }, "3", false }, { { ["have-prefix"] = "ab" }, "abc", true },
      { { ["have-suffix"] = "bc" }, "abc", true }, { { ["contain-substring"] = "z" }, "abc", false },
      { { ["match-regexp"] = "^a.c$" }, "abc", true }, { { ["have-len"] = 2 }, list { 1, 2 }, true },
      { { ["not"] = "x" }, "y", true }, { { ["and"] = list { { gt = 1 }, { lt = 5 } } }, 3, true },
      { { ["or"] = list { "a", "b" } }, "b", true }, { { ["consist-of"] = list { "b", "a" } }, list { "a", "b" }, true },
      { { ["consist-of"] = list { "a" } }, list { "a", "b" }, false }, { list { "a" }, list { "a", "b" }, true },
      { { ["contain-element"] = { ["have-prefix"] = "b" } }, list { "a", "bc" }, true },
      { "3", 3, true }, { 3, "3", true }, { true, 1, false },
    }
    for i, c in ipairs(cases) do assert.equal(c[3], (matcher.matches(c[1], c[2])), "case " .. i) end
    assert.has_error(function() matcher.matches({ ["have-prefx"] = "a" }, "a") end)
  end)

  it("fails what is no list of resources instead of passing it over", function()
    local results = goss.run(assert(goss.parse "file: 3\ncommand:\n"), {})
    assert.equal(1, #results)
    assert.is_false(results[1].ok)
    assert.truthy(goss.describe(results[1]):find("expected a mapping", 1, true))
  end)
end)
