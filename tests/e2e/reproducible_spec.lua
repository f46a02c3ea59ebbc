--- Same inputs, same digests: whoever builds, wherever, with whatever settings of the session.
local child = require "lib.child"
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local world = require "lib.world"

local root = process.uid() == 0

local PARTS = {
  copies = [[
# syntax=docker/dockerfile:1
FROM scratch AS files
COPY --chmod=750 tree /t
COPY <<one <<two /docs/
first
one
second
two
FROM scratch
COPY base/ /
ENV PATH=/bin
COPY tree/ /tree/
COPY --parents tree/./d/e /parents/
COPY --link --chown=7:8 tree/odd /linked/
COPY --from=files --chown=app:staff /t /from/
COPY --from=files /docs /docs
ADD --chown=3:4 a.tar.gz /unpacked/
ADD b.tar /unpacked/
COPY --chown=7:8 tree/plain tree/d /owned/
WORKDIR /made/deep
]],
  runs = [[
RUN --mount=source=tree,target=/m cp -a /m/odd /made/copy; cat /m/d/e/f > g; ln g h; ln -s g i; mkdir -p z/y
RUN <<EOF
umask > /made/umask
date > /made/clock; rm /made/clock
echo "${TZ-} ${LANG-} $(id -u)" > /made/session
for f in 1 2 3 4 5 6 7 8 9; do (echo $f > /made/deep/$f) & done; wait
rm -r /tree/d; mv /tree/odd/all /tree/d
EOF
COPY --from=files /t/plain /made/deep/1
]],
}

-- Odd modes, links, names and attributes; hard links to what is inside and outside of the context's part.
local TREE = [[
mkdir -p tree/d/e tree/odd; cd tree
echo plain > plain; echo f > d/e/f; echo s > odd/suid; echo n > odd/none; echo w > odd/all; : > 'odd/a b'; : > "odd/$(printf 'l\ni\\n\377')"
ln plain hard; ln d/e/f odd/hard; ln -s ../plain odd/link; ln -s nowhere dangling; mkfifo odd/fifo
head -c 3000000 /dev/zero > odd/zeros; truncate -s 5000000 odd/sparse
chmod 6755 odd/suid; chmod 400 odd/none; chmod 666 odd/all; chmod 3711 d/e; chmod 1777 d; chmod 700 odd
setfattr -n user.colour -v blue odd/all 2>/dev/null || true
cd ..
tar --owner=5 --group=6 --mtime=@1000000000 -czf a.tar.gz tree/d tree/odd/link; tar --mtime=@2000000000 -cf b.tar tree/plain
]]

describe("reproducible builds", function()
  local dir, bin, reference = nil, nil, {}

  setup(function()
    -- With one id links and fifos cannot have an owner.
    local plain = PARTS.copies:gsub("%-%-chown=[%w:]+ (/?t)", "%1"):gsub("=3:4 ", "=0:0 ")
    dir = world.project { copies = PARTS.copies, runs = PARTS.copies .. PARTS.runs, single = plain .. PARTS.runs,
      named = "FROM scratch\nCOPY base/ /\nENV PATH=/bin\nRUN hostname > /name; cat /etc/hosts >> /name\n" }
    world.run({ "sh", "-ec", TREE }, { cwd = dir })
    world.run({ "sh", "-ec", "git init -q . && git add -A bakery.yaml && git -c user.name=a -c user.email=a@example.com "
      .. "commit -qm one --date=@1700000000" }, { cwd = dir, env = { GIT_COMMITTER_DATE = "1700000000 +0000" } })
    bin = world.tmp()
    fs.chmod(bin, 493)
    assert(fs.copy(world.bin, bin .. "/bakery"))
    fs.chmod(bin .. "/bakery", 493)
    for _, path in ipairs { dir, dir .. "/base" } do fs.chmod(path, 493) end
  end)
  teardown(world.cleanup)

  -- The manifest of what an image of the project in `from` becomes, with its digest, and the log.
  local function digests(image, from, opts)
    opts = opts or {}
    local home = world.tmp()
    if opts.user then world.run { "chown", "-R", opts.user, home } end
    local words = { bin .. "/bakery", "build", "-C", from, "--image-name", "^" .. image .. "$", "--store", home .. "/store",
      "--results", home .. "/results", "--reproducible", "--progress", "plain", "--output", "oci:" .. home .. "/oci",
      table.unpack(opts.args or {}) }
    for i, w in ipairs(words) do words[i] = child.quote(w) end
    local env = { HOME = home, XDG_STATE_HOME = home, NO_COLOR = "1", SOURCE_DATE_EPOCH = "", BAKERY_ROOT = os.getenv "BAKERY_ROOT",
      BAKERY_ISOLATION = "" }
    for k, v in pairs(opts.env or {}) do env[k] = v end
    local line = ("%s exec %s %s"):format(opts.before or "", opts.prefix or "", table.concat(words, " "))
    local r = process.run { cmd = { "sh", "-ec", line }, cwd = opts.cwd, env = env, timeout = 120 }
    assert.equal(0, r.code, r.stderr)
    local manifest = json.decode(fs.read(home .. "/oci/index.json")).manifests[1].digest
    local text = fs.read(home .. "/oci/blobs/" .. manifest:gsub(":", "/"))
    return manifest .. "\n" .. text, r.stderr
  end

  local function same(image, from, opts)
    reference[image] = reference[image] or digests(image, dir)
    local found, log = digests(image, from, opts)
    assert.equal(reference[image], found, log)
  end

  -- The project elsewhere: with other times, older and younger ones, and other orders of directories.
  local function elsewhere(owner)
    local to = world.tmp() .. "/some/where else"
    assert(fs.mkdir(fs.dirname(to), { parents = true }))
    world.run { "cp", "-a", dir, to }
    world.run({ "sh", "-ec", [[
      find . -path ./.git -prune -o -depth -print0 | xargs -0 touch -h -d @1500000000
      find tree base -name '*a*' -print0 | xargs -0 touch -h -d @1790000000.5
      for d in tree/odd base/bin; do mkdir $d/.x; for f in $(ls -r $d | head -3); do
        test -f $d/$f -a ! -L $d/$f || continue; mv $d/$f $d/.x; mv $d/.x/$f $d; done; rmdir $d/.x; done
    ]] }, { cwd = to })
    if owner then -- which takes setuid bits away
      world.run { "chown", "-R", "-h", owner, fs.dirname(fs.dirname(to)) }
      fs.chmod(to .. "/tree/odd/suid", 3565)
    end
    fs.chmod(to, 493)
    return to
  end

  it("depend on no path, no time of a file, and no order in directories", function()
    if not root then return pending "needs root" end
    for _, image in ipairs { "copies", "runs" } do same(image, elsewhere()) end
  end)

  it("depend on nothing of the session", function()
    if not root then return pending "needs root" end
    for _, image in ipairs { "runs", "named" } do
      same(image, dir, { before = "umask 077;", args = { "--jobs", "1" },
        env = { TZ = "Pacific/Kiritimati", LC_ALL = "tr_TR.UTF-8", LANG = "de_DE", HOSTNAME = "other" } })
      same(image, ".", { before = "umask 000;", prefix = "unshare -u sh -c 'hostname elsewhere; exec \"$@\"' sh", cwd = dir,
        args = { "--jobs", "7" }, env = { TZ = "America/New_York", LC_ALL = "C" } })
    end
  end)

  it("depend on no tier, as far as it keeps owners", function()
    if not root then return pending "needs root" end
    for _, isolation in ipairs { "root,flat", "root-userns", "chroot" } do same("runs", dir, { args = { "--isolation", isolation } }) end
  end)

  it("depend on no user", function()
    if not root then return pending "needs root" end
    if not (world.needs "setpriv" and world.needs "newuidmap") then return end
    local to, nobody = elsewhere "65534:65534", "setpriv --reuid=65534 --regid=65534 --clear-groups"
    local range = "unshare -m sh -c 'f=$(mktemp); chmod 644 $f; echo nobody:100000:65536 > $f; mount --bind $f /etc/subuid; "
      .. "mount --bind $f /etc/subgid; rm $f; exec \"$@\"' sh " .. nobody
    for _, case in ipairs { { "runs", range, "rootless" }, { "single", nobody, "rootless-single" }, { "copies", nobody, "copy-only" } } do
      same(case[1], to, { user = "65534:65534", prefix = case[2], args = { "--jobs", "3", "--isolation", case[3] } })
    end
  end)

  it("take their time from the commit; another one is another image", function()
    local found = digests("copies", dir, { env = { SOURCE_DATE_EPOCH = "1600000000" } })
    reference.copies = reference.copies or digests("copies", dir)
    assert.not_equal(reference.copies, found)
    assert.equal(reference.copies, (digests("copies", dir, { env = { SOURCE_DATE_EPOCH = "1700000000" } })))
  end)
end)
