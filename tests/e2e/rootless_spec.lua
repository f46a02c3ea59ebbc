local world = require "lib.world"
local fs = require "bakery.fs"
local json = require "bakery.json"
local peers = require "lib.peers"
local process = require "bakery.process"

local TEXT = [[
FROM scratch
COPY base/ /
ENV PATH=/bin
RUN id -u > /uid; echo mine > /mine; chown app:staff /mine; mkdir -p /d && rm -rf /home
USER app
RUN cat /mine > /tmp/copy
]]

-- A directory that another user may use.
local function open_project()
  local dir = world.project { app = TEXT }
  for _, path in ipairs { dir, dir .. "/base" } do fs.chmod(path, 493) end
  local bin = world.tmp()
  fs.chmod(bin, 493)
  assert(fs.copy(world.bin, bin .. "/bakery"))
  fs.chmod(bin .. "/bakery", 493)
  return dir, bin .. "/bakery"
end

local function home_for(uid)
  local home = world.tmp()
  world.run { "chown", uid .. ":" .. uid, home }
  return home
end

describe("rootless build", function()
  teardown(world.cleanup)

  it("works with a single id as nobody", function()
    if process.uid() ~= 0 then return pending("needs root to become nobody") end
    if not world.user_namespaces() then return pending("needs user namespaces") end
    local dir, bin = open_project()
    local home = home_for "65534"
    local r = process.run { cmd = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", bin, "build", "-C", dir,
      "--store", home .. "/store", "--progress", "plain", "--output", "oci:" .. home .. "/oci" },
      env = { HOME = home, XDG_STATE_HOME = home, BAKERY_ROOT = os.getenv "BAKERY_ROOT" } }
    assert.equal(0, r.code, r.stderr)
    local config = peers.config(home .. "/oci")
    assert.equal("app", config.config.User)
    if not world.needs "umoci" then return end
    assert.equal("mine\n", peers.tree(home .. "/oci").content "tmp/copy")
  end)

  it("keeps owners with a range of subordinate ids", function()
    if process.uid() ~= 0 or not world.needs "newuidmap" then return end
    local name = "bakerytest" .. process.pid() % 10000
    world.run { "useradd", "--create-home", name }
    local ok, err = pcall(function()
      if not (fs.read "/etc/subuid" or ""):find(name .. ":", 1, true) then return pending("needs a subordinate id range") end
      local dir, bin = open_project()
      local r = process.run { cmd = { "su", name, "-c", ("BAKERY_ROOT=%s %s build -C %s --store ~/store --progress plain --output oci:oci")
        :format(os.getenv "BAKERY_ROOT" or "", bin, dir) }, cwd = "/home/" .. name }
      if r.code ~= 0 and r.stderr:find("user namespace", 1, true) then return pending("needs user namespaces") end
      assert.equal(0, r.code, r.stderr)
      local tree = peers.tree("/home/" .. name .. "/oci")
      assert.equal("0644 1000:50", tree.meta "mine")
      assert.equal("0\n", tree.content "uid")
      assert.falsy(tree.exists "home")
      local doctor = process.run { cmd = { "su", name, "-c", bin .. " doctor --json" }, cwd = "/home/" .. name,
        env = { BAKERY_ROOT = os.getenv "BAKERY_ROOT" } }
      local rows = {}
      for _, row in ipairs(json.decode(doctor.stdout)) do rows[row.name] = row end
      assert.truthy(rows.isolation.text:find("tier D", 1, true), rows.isolation.text)
    end)
    process.run { cmd = { "userdel", "-r", name } }
    if not ok then error(err, 0) end
  end)

  it("gives the image that root gives", function()
    if process.uid() ~= 0 then return pending("needs root") end
    if not world.user_namespaces() then return pending("needs user namespaces") end
    local dir, bin = open_project()
    local home = home_for "65534"
    local env = { SOURCE_DATE_EPOCH = "1700000000", XDG_STATE_HOME = home, HOME = home, BAKERY_ROOT = os.getenv "BAKERY_ROOT" }
    assert(fs.write(dir .. "/app/1.0.0/Containerfile",
      "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nWORKDIR /w\nRUN echo a > b && ln -s b c\n"))
    local digests = {}
    for i, prefix in ipairs { { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }, {} } do
      local cmd = table.move(prefix, 1, #prefix, 1, {})
      for _, a in ipairs { bin, "build", "-C", dir, "--store", home .. "/store" .. i, "--output", "oci:" .. home .. "/oci" .. i } do
        cmd[#cmd + 1] = a
      end
      local r = process.run { cmd = cmd, env = env }
      if i == 1 and r.code ~= 0 and r.stderr:find("user namespace", 1, true) then return pending("needs user namespaces") end
      assert.equal(0, r.code, r.stderr)
      digests[i] = json.decode(fs.read(home .. "/oci" .. i .. "/index.json")).manifests[1].digest
    end
    assert.equal(digests[1], digests[2])
  end)
end)
