--- `bakery explain`: the first input that differs, for every step that ran.
local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"

local APP = [[
FROM scratch AS made
COPY base/ /
ARG FLAGS=-O1
RUN echo "$FLAGS" > /flags

FROM scratch
COPY base/ /
ENV PATH=/bin
COPY src/ /src/
WORKDIR /srv
RUN cat /src/a > b
COPY --from=made /flags /flags
]]

describe("explain", function()
  local dir, store
  setup(function()
    dir = world.project { app = APP }
    store = world.tmp() .. "/store"
    world.write(dir, { ["src/a"] = "a\n", ["src/keep"] = "keep\n" })
  end)
  teardown(world.cleanup)

  local function bakery(...) return world.bakery { select(1, ...), "-C", dir, "--store", store, select(2, ...) } end
  local function build(...)
    local r = bakery("build", "--progress", "plain", ...)
    return r
  end
  local function explained(...)
    local r = bakery("explain", "app-1-0-0", "--json", ...)
    assert.equal(0, r.code, r.stderr)
    local doc, out = json.decode(r.stdout)[1], {}
    for _, step in ipairs(doc.steps) do
      if step.state ~= "cached" then out[step.text] = step.input .. ": " .. step.reason end
    end
    return out, doc
  end
  local function containerfile(text) world.write(dir, { ["app/1.0.0/Containerfile"] = text }) end

  it("has nothing to say of a target that was never built, and knows the nearest name", function()
    local r = bakery("explain", "app-1-0-0")
    assert.equal(1, r.code)
    assert.truthy(r.stderr:find("no run of it is known here", 1, true), r.stderr)
    r = bakery("explain", "ap-1-0-0")
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find("did you mean 'app-1-0-0'?", 1, true), r.stderr)
  end)

  it("names files, variables, instructions and the step before", function()
    assert.equal(0, build().code)
    local why = explained()
    assert.equal("first: first run that is known", why["COPY src/ /src/"])

    world.write(dir, { ["src/a"] = "changed\n", ["src/new"] = "" })
    assert(fs.remove(dir .. "/src/keep"))
    assert(fs.chmod(dir .. "/bakery.yaml", 420))
    assert.equal(0, build().code)
    why = explained()
    assert.equal("files: files: src/a has other content, src/keep is gone, src/new is new", why["COPY src/ /src/"])
    assert.equal("parent: the step before it (line 9) gave another result", why["WORKDIR /srv"])
    assert.is_nil(why["COPY base/ /"])

    containerfile((APP:gsub("%-O1", "-O2")))
    assert.equal(0, build().code)
    why = explained()
    assert.equal("environment: variable FLAGS: -O1 → -O2", why['RUN echo "$FLAGS" > /flags'])
    assert.equal("files: files: flags has other content", why["COPY --from=made /flags /flags"])

    containerfile((APP:gsub("cat /src/a > b", "cat /src/a > c")))
    assert.equal(0, build().code)
    why = explained()
    assert.equal("instruction: the instruction was: RUN cat /src/a > b", why["RUN cat /src/a > c"])
  end)

  it("says what options changed, and looks at earlier runs", function()
    assert.equal(0, build("--network", "none").code)
    local why, doc = explained()
    assert.equal("network: network: host → none", why['RUN echo "$FLAGS" > /flags'])
    assert.equal(0, build("--no-cache").code)
    why = explained()
    assert.equal("no-cache: --no-cache was given", why["COPY base/ /"])
    local _, before = explained("--last", "2")
    assert.equal(doc.run, before.run)
    _, before = explained("--last", doc.run)
    assert.equal(doc.run, before.run)
    local r = bakery("explain", "app-1-0-0", "--last", "99")
    assert.equal(2, r.code)
    assert.truthy(r.stderr:find(doc.run, 1, true), r.stderr)
  end)

  it("covers the step that failed, and what the store has lost", function()
    containerfile((APP:gsub("cat /src/a > b", "cat /nothing")))
    assert.equal(1, build().code)
    local why = explained()
    assert.equal("instruction: the instruction was: RUN cat /src/a > c", why["RUN cat /nothing"])
    containerfile(APP)
    assert.equal(0, build().code)
    world.run { "sh", "-c", "rm -rf \"$0\"/keys/* \"$0\"/layers/*", store }
    local r = build()
    assert.equal(0, r.code, r.stderr)
    why = explained()
    assert.equal("store: its result was not in the store any more", why["COPY base/ /"])
  end)

  it("reads as lines with file and line", function()
    local r = bakery("explain", "app-1-0-0")
    assert.equal(0, r.code, r.stderr)
    assert.truthy(r.stdout:find("app/1.0.0/Containerfile:9  ran     COPY src/ /src/\n", 1, true), r.stdout)
  end)
end)
