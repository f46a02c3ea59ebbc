--- The tier the builder works in (builder.md 6.6): chosen by trying, or as --isolation says, and the
--- store that goes with it.
local archive = require "bakery.archive"
local fs = require "bakery.fs"
local process = require "bakery.process"
local sandbox = require "bakery.sandbox"
local snapshot = require "bakery.snapshot"
local store = require "bakery.store"
local fail = require "app.fail"
local lazy = require "app.lazy"
local ways_out = lazy "app.backend.embedded.network"

local M = {}

--- What each tier is, for people.
M.tiers = {
  A = "root with namespaces of its own",
  B = "root of the user namespace around it, with namespaces of its own",
  C = "root in a user namespace of its own that has the same ids",
  D = "user namespace with subordinate ids",
  E = "user namespace with a single id: RUN sees every file as root's, and the owners that it sets are lost",
  F = "chroot without namespaces or mounts: RUN sees no processes in /proc (its own with ,proc) and shares network and process ids with this container",
  G = "no RUN: FROM, COPY, ADD, WORKDIR and metadata only",
}

-- Word in a store's configuration → isolation that makes such stores.
local MADE_BY = { root = "root", ["root-userxattr"] = "root-userns or chroot", ["root-marked"] = "chroot",
  ["rootless-range"] = "rootless", ["rootless-single"] = "rootless-single", recorded = "copy-only" }

-- A directory of our own where there is no home.
local function homeless()
  local dir = (os.getenv "TMPDIR" or "/var/tmp") .. "/bakery-" .. process.uid()
  fs.mkdir(dir, { mode = 448 })
  local st = fs.stat(dir, false)
  if not st or st.type ~= "dir" or st.uid ~= process.uid() or st.mode & 63 ~= 0 then
    fail.raise { class = "usage", code = "store.no_place", message = "no directory for the store: HOME is not set and "
      .. dir .. " is not ours alone", hint = "choose one with --store or BAKERY_STORE" }
  end
  return dir .. "/store"
end

--- Default store directory: BAKERY_STORE, /var/lib/bakery/store for root, else below XDG_DATA_HOME or
--- HOME, else in /var/tmp.
function M.store_dir()
  local env = os.getenv "BAKERY_STORE"
  if env and env ~= "" then return env end
  if process.uid() == 0 then return "/var/lib/bakery/store" end
  local data, home = os.getenv "XDG_DATA_HOME", os.getenv "HOME"
  if data and data ~= "" then return data .. "/bakery/store" end
  if home and home ~= "" and fs.is_writable(home) then return home .. "/.local/share/bakery/store" end
  return homeless()
end

local function make_dir(dir)
  local ok, err = fs.mkdir(dir, { parents = true, mode = 448 })
  if ok then return end
  err.message = "the store '" .. dir .. "' cannot be made: " .. tostring(err.message)
  err.hint = "choose a writable place with --store or BAKERY_STORE"
  error(err, 0)
end

--- The text of a choice: what it is and why it is not a better one.
---@param chosen table as sandbox.enter gives it
---@return string line
---@return string[] more one line per better tier, with what would make it possible
function M.describe(chosen)
  local line = ("tier %s (%s): %s%s"):format(chosen.tier, chosen.mode, M.tiers[chosen.tier],
    chosen.overlay and "" or chosen.tier < "F" and "; flat trees instead of overlayfs" or "")
  local more = {}
  for _, t in ipairs(chosen.tries) do
    if t.mode == chosen.mode then break end
    if t.why ~= "not root" then more[#more + 1] = ("not %s (%s): %s; fix: %s"):format(t.tier, t.mode, t.why, t.fix) end
  end
  local last = chosen.tries[#chosen.tries]
  if last and type(last.overlay) == "string" then
    more[#more + 1] = "overlayfs does not work in the store: " .. last.overlay
      .. "; fix: a store on ext4, xfs, btrfs or tmpfs (--store), not on overlayfs"
  end
  return line, more
end

-- "chroot,proc": what the sandbox is told, and whether /proc is to be answered for in a chroot.
local function read_proc(text)
  local rest, count = (text or ""):gsub(",proc$", "")
  rest = rest:gsub(",proc,", function() -- luacheck: ignore
    count = 1
    return ","
  end)
  return rest ~= "" and rest or nil, count > 0
end

--- Enters the tier and opens its store. A default store that another tier made is left alone: this one
--- gets its own beside it.
---@param opts table { isolation=string|nil, store=string|nil }
---@return table chosen
---@return table store
function M.enter(opts)
  local isolation, proc = read_proc(opts.isolation or os.getenv "BAKERY_ISOLATION")
  if isolation and isolation:gsub(",.*", ""):lower() == "in-place" then
    fail.raise { class = "usage", code = "build.isolation", message = "isolation in-place is not there: RUN in the root directory of "
      .. "this container would write over the files that the builder runs on and mix what the container has into the image",
      hint = "--isolation chroot,proc needs no more privileges and works in a tree of its own" }
  end
  local env = os.getenv "BAKERY_STORE"
  local dir = opts.store or M.store_dir()
  make_dir(dir)
  local chosen = fail.check(sandbox.enter { isolation = isolation, dir = fs.realpath(dir) })
  chosen.proc = proc
  local recorded = chosen.mode == "copy-only" and "all" or chosen.mode == "rootless-single" and "owners" or "none"
  for _, module in ipairs { archive, snapshot } do module.record_ids(recorded, not chosen.marks, chosen.userxattr and chosen.tier < "F") end
  local opened, err = store.open(dir, { create = true, mode = chosen.ids })
  if not opened and err.code == "store.mode" and not opts.store and not (env and env ~= "") then
    dir = dir .. "-" .. chosen.ids
    make_dir(dir)
    opened, err = store.open(dir, { create = true, mode = chosen.ids })
  end
  if not opened and err.code == "store.mode" then
    local made = tostring(err.message):match "it was made for (%S+)"
    err.hint = MADE_BY[made] and "or the isolation that made it: --isolation " .. MADE_BY[made]
  end
  return chosen, fail.within("open store", opened, err)
end

--- The store, for commands that only look at it.
---@param values table parsed options
---@return table store
function M.open_store(values)
  return (select(2, M.enter { isolation = values.isolation, store = values.store }))
end

--- Tells which tier a build works in, once it is open.
---@param build table
function M.announce(build)
  local line, more = M.describe(build.chosen)
  build.emit { type = "isolation", tier = build.tier, mode = build.chosen.mode, overlay = not build.flat, text = line,
    reasons = more }
end

--- Raises for a RUN in a tier that cannot do what it wants, else returns.
---@param build table
---@param where table|nil with `step`: the RUN; nil: a command in a finished image
---@param step table|nil
---@param network string
function M.check_run(build, where, step, network)
  local what = where and "RUN" or "running a command in an image"
  local function refuse(message, hint)
    fail.raise { class = "usage", code = "build.isolation", where = where and where.file .. ":" .. step.line,
      line = step and step.line, path = where and where.path, message = message, hint = hint }
  end
  if build.tier == "G" then
    -- A user's last resort decides: better tiers need what it needs, and more.
    local best
    for _, t in ipairs(build.chosen.tries) do
      if not t.usable and t.why ~= "not root" and (not best or t.mode == "rootless-single") then best = t end
    end
    refuse(what .. " is not possible here: " .. (best and best.why or "tier G (copy-only) was asked for"),
      best and best.fix or "leave --isolation out")
  end
  if build.tier == "F" and network ~= "host" then
    refuse((where and "RUN --network=" or "--network ") .. network .. " is not possible in tier F (chroot): there is no network namespace",
      "leave it out, or see `bakery doctor` for what a higher tier needs")
  end
  if network == "private" and not process.which(ways_out.PROGRAM) then
    refuse("--network private needs " .. ways_out.PROGRAM .. " as a way out of a network namespace, and it is not there", ways_out.HINT)
  end
end

return M
