---@meta bakery.sandbox

--- Runs commands over image layers, isolated from the host. Calls marked (async) let other tasks run.
---@class bakery.sandboxlib
local M = {}

---@class bakery.sandbox.try one mode, tried in a child
---@field mode "root"|"root-userns"|"rootless"|"rootless-single"|"chroot"|"copy-only"
---@field tier string "A" … "G" (root is "B" inside a user namespace)
---@field usable boolean
---@field why? string what stands in the way
---@field fix? string what would change that
---@field overlay? true|string overlayfs on the given directory: true, or what is wrong; nil: not tried
---@field proc? true|string a fresh /proc (probe only)
---@field net? true|string a network namespace (probe only)

---@class bakery.sandbox.probe_result
---@field mode string the best that works
---@field tier string
---@field tries bakery.sandbox.try[] in the order of the modes
---@field newuidmap boolean the tool is there
---@field subuid_count integer subordinate ids of this user
---@field seccomp true|string
---@field pidfd boolean
---@field cgroup "v1"|"v2"|"hybrid"|"none"

--- What works here, by trying it in throw-away processes.
---@param opts? { dir?: string } dir: where overlayfs is tried (a store)
---@return bakery.sandbox.probe_result
function M.probe(opts) end

---@class bakery.sandbox.choice
---@field mode string
---@field tier string
---@field overlay boolean layers can be mounted; else roots are flat trees
---@field userxattr boolean layers carry user.overlay.* instead of trusted.overlay.*
---@field marks boolean whiteout devices can be made in dir (not so on overlayfs)
---@field ids "root"|"root-userxattr"|"root-marked"|"rootless-range"|"rootless-single"|"recorded" how files are owned (store.open's mode)
---@field tries bakery.sandbox.try[] until the choice, which is the last

--- Makes this process what the isolation says; afterwards files are made under the final id map. Call
--- it once, before anything starts a thread; later calls return the same.
---@param opts? { isolation?: string, dir?: string } isolation: "auto" (default: the best that works), a
--- mode or the letter of a tier, each with ",flat" for no overlayfs; dir: where layers will be
---@return bakery.sandbox.choice|nil
---@return table? err sandbox.isolation
function M.enter(opts) end

--- A new network namespace: for `netns` of spawn, and for whoever gives it a way out. It lives as long as
--- the descriptor and the commands in it.
---@return integer|nil descriptor to be closed with process.close_fd
---@return table? err errno names
function M.netns() end

--- Fills a directory with what /dev has in a box, for commands in a chroot.
---@param dir string
---@return true|nil
---@return string|table|nil missing_or_err a device that cannot be made or used there
function M.make_dev(dir) end

--- Whether something (a control group, a nodev mount) keeps the host's devices away from nodes in `dir`.
---@param dir string
---@return boolean
function M.devices_refused(dir) end

--- Registers an emulator for the user namespace that was entered (Linux 6.7), not for the host.
---@param line string as for binfmt_misc's register: ":NAME:M::MAGIC:MASK:INTERPRETER:FLAGS"
---@return true|nil
---@return table? err
function M.binfmt(line) end

---@class bakery.sandbox.mount
---@field type "bind"|"cache"|"layers"|"tmpfs"|"secret"
---@field target string absolute, inside
---@field source? string host path (bind, cache; secret without data)
---@field subpath? string below source or the layers, resolved inside
---@field lowers? string[] layers, lowest first: shown as one tree, read-only (layers; not in tier F)
---@field data? string content of a secret; it exists nowhere else
---@field ro? boolean
---@field size? integer bytes (tmpfs)
---@field mode? integer permissions (tmpfs: 01777, secret: 0400)
---@field uid? integer owner of a secret
---@field gid? integer

---@class bakery.sandbox.spec
---@field lowers? string[] layer directories, lowest first; none: upper alone is the root
---@field upper string directory that receives the changes, in overlayfs form
---@field work string empty directory on the same file system
---@field argv string[]
---@field env? string[] "K=V"
---@field cwd? string must exist; default "/"
---@field uid? integer
---@field gid? integer
---@field groups? integer[]
---@field hostname? string default "buildkitsandbox"
---@field network? "host"|"none" default "host"
---@field netns? integer with "none": descriptor of a network namespace to join (sandbox.netns)
---@field mounts? bakery.sandbox.mount[]
---@field stdin? integer descriptor, default /dev/null
---@field stdout? integer descriptor, copied; default /dev/null
---@field stderr? integer
---@field userxattr? boolean layers carry user.overlay.* (rootless)
---@field proc? boolean in a chroot: the command is told what /proc says of its own processes (no_new_privs is set)
---@field security? "default"|"strict"|"insecure" strict: no_new_privs; insecure: no isolation of privileges
---@field limits? { resource: integer, soft: integer, hard: integer }[] as setrlimit(2) has them; -1: none
---@field shm_size? integer bytes, default 64 MiB
---@field add_hosts? string[] "name:address"
---@field resolv_conf? string|false file; default the host's, false: the image's own

---@class bakery.sandbox.box closes with <close>; a collected box is killed too
local Box = {}

--- Starts a command (async): returns when it has been executed.
---@param spec bakery.sandbox.spec
---@return bakery.sandbox.box|nil box
---@return table? err sandbox.not_found (127), sandbox.not_executable (126), or an errno with the failing step
function M.spawn(spec) end

--- Waits for the end of the command (async); nothing it started is left then.
---@return { code: integer, signal?: integer, seconds: number, oom: boolean, stubs: string[] }|nil
---@return table? err
function Box:wait() end

--- Signals the command (pid 1 of the box: signals it does not handle have no effect, but KILL).
---@param signal? integer default KILL
---@return boolean delivered
function Box:kill(signal) end

--- Process id of the command on the host, nil when closed.
---@return integer|nil
function Box:pid() end

--- Kills everything in the box and returns when it is gone (async).
function Box:close() end

--- Ranges of subordinate ids in the text of /etc/subuid or /etc/subgid.
---@param text string
---@param user string name
---@param uid integer
---@return { first: integer, count: integer }[]
function M.subids(text, user, uid) end

return M
