---@meta bakery.snapshot

--- Layers as directories in overlay form, and chains of them seen as one tree without mounting.
--- `lowers` is always the list of a chain's layer directories, lowest first. Paths inside a chain
--- resolve as in a chroot and never leave it. Marked calls (async) yield in tasks. Whatever goes wrong
--- in the world is `nil, err`.
local snapshot = {}

---@class bakery.snapshot.layer
---@field diff_id string  digest of the layer's tar
---@field entries integer entries of the tar
---@field size integer    bytes of the tar
---@field empty boolean   no entries

---@class bakery.snapshot.apply_options
---@field blob string
---@field dir string must not exist
---@field diff_id? string expected digest of the tar
---@field lowers? string[] give directories that the layer does not list their metadata
---@field userxattr? boolean opaque directories are marked by user.overlay.opaque
---@field rootless? boolean device nodes are errors; a single mapped id owns everything
---@field limits? { bytes?: integer, ratio?: number, floor?: integer, entries?: integer } bytes of tar and entries that there may be;
--- ratio: above `floor` bytes also this many times the size of the blob
---@field grows_to? integer bytes that the blob will have when somebody is still writing it: its end is waited for
--- while it has a name
---@field progress? bakery.loop.counter counts compressed bytes

--- Unpacks an image layer (tar, gzip or zstd) into a new directory in overlay form (async). The
--- directory is removed again when anything fails. Nothing is ever written outside it.
---@param opts bakery.snapshot.apply_options
---@return bakery.snapshot.layer|nil
---@return table? err snapshot.digest_mismatch, archive.escape, archive.bad_link, archive.bad_name,
--- archive.device, archive.malformed, archive.truncated, archive.corrupt, archive.unsupported,
--- archive.too_large, archive.too_deep, limits.entries, cancelled, errno names
function snapshot.apply(opts) end

---@class bakery.snapshot.commit_options
---@field upper string
---@field lowers? string[]
---@field epoch? integer seconds
---@field stubs? string[] paths that were made only to mount something
---@field userxattr? boolean accepted for symmetry: both kinds of marks are understood
---@field progress? bakery.loop.counter counts tar bytes

--- Turns the upper directory of an overlay mount into a layer, in place (async): unchanged copies,
--- whiteouts of nothing, sockets, empty mount stubs and overlay's own marks go, opaque directories
--- become explicit whiteouts, times later than `epoch` are set to it. `archive.pack` of the result
--- gives the same digest.
---@param opts bakery.snapshot.commit_options
---@return bakery.snapshot.layer|nil
---@return table? err snapshot.overlay_feature (redirect_dir or metacopy were on), archive.bad_name,
--- archive.too_deep, cancelled, errno names
function snapshot.commit(opts) end

--- Copies a chain into a new plain directory (async); removed again when it fails.
---@param opts { lowers: string[], dir: string, nodev?: boolean } nodev: empty files without permissions take
--- the place of devices
---@return { entries: integer }|nil
---@return table? err
function snapshot.export(opts) end

---@class bakery.snapshot.object
---@field type "file"|"dir"|"symlink"|"fifo"|"char"|"block"|"socket"
---@field mode integer    permission bits, with suid, sgid and sticky
---@field uid integer
---@field gid integer
---@field size integer    0 for directories
---@field mtime integer
---@field path string     in the chain, symlinks resolved, without a leading "/"
---@field layer integer   which of lowers has it; 0 for the root of an empty chain
---@field real? string    path of the object in that layer's directory

--- Looks a path up in a chain; `follow` is about a symlink at its end.
---@param opts { lowers: string[], path: string, follow?: boolean } follow: default true
---@return bakery.snapshot.object|nil object nil without an error: not there
---@return table? err ELOOP, errno names
function snapshot.lookup(opts) end

--- Content of a regular file of a chain, symlinks followed.
---@param opts { lowers: string[], path: string, max?: integer } max: bytes, default 10 MiB
---@return string|nil
---@return table? err ENOENT, fs.not_a_file, fs.too_large, errno names
function snapshot.read(opts) end

--- Resolves USER "name|uid[:group|gid]" by /etc/passwd and /etc/group of a chain. A name or a lone uid
--- brings its groups; an unknown lone uid has group 0; "" is root.
---@param opts { lowers: string[], spec?: string }
---@return { uid: integer, gid: integer, groups: integer[], home: string }|nil
---@return table? err snapshot.no_user, snapshot.no_group, fs.too_large
function snapshot.user(opts) end

--- Whose COPY --chown "name|uid[:group|gid]" makes files, and USER what WORKDIR makes, by the same files: a
--- name brings its group, a number alone is both ids, an unknown user is 0:0, an unknown group changes nothing.
---@param opts { lowers: string[], spec?: string }
---@return { uid: integer, gid: integer, unknown?: string }|nil unknown: a name that was not found
---@return table? err fs.too_large
function snapshot.owner(opts) end

---@class bakery.snapshot.mkdir_options
---@field lowers string[]
---@field upper string existing directory
---@field path string
---@field mode? integer of new directories, default 0755
---@field uid? integer
---@field gid? integer
---@field epoch? integer time of new directories, default now
---@field userxattr? boolean

--- mkdir -p in a layer that is being made (async): parents that only lower layers have are copied up
--- with their metadata, symlinks on the way are followed inside the chain.
---@param opts bakery.snapshot.mkdir_options
---@return { created: integer }|nil
---@return table? err ENOTDIR, errno names
function snapshot.mkdir(opts) end

--- What a COPY of `paths` would take, as one digest (async). The digest covers names, types, modes,
--- contents, link targets and kept extended attributes (owners too for `lowers`), never times or
--- places; its form is in src/snapshot/scan.h. Literal paths must exist, wildcards may match nothing.
---@param opts { root?: string, lowers?: string[], paths: string[], ignore?: string[], excludes?: string[],
--- includes?: string[], cache?: string, userxattr?: boolean, limits?: { entries?: integer } } root: a context directory, or lowers: layers, lowest first;
--- ignore: lines of an ignore file (contexts only); excludes: patterns relative to each source; includes: likewise, of what alone is wanted; cache:
--- stat cache file
---@return { digest: string, entries: integer, files: integer, bytes: integer, matches: { source: string, path: string, type: string }[] }|nil
---@return table? err snapshot.not_found, snapshot.changed, limits.entries, glob.syntax (where "line N"), errno names
function snapshot.scan(opts) end

--- COPY and ADD without mounts (async): makes `upper` a layer directory in overlay form.
---@param opts { from: { root?: string, lowers?: string[] }, sources?: string[], dest: string, lowers: string[],
--- upper: string, chown?: string, chmod?: string, ignore?: string[], excludes?: string[], includes?: string[], link?: boolean,
--- unpack?: boolean, inline?: { name: string, data: string, mode?: integer }[], epoch?: integer, now?: integer,
--- preserve_owner?: boolean, rootless?: boolean, expect?: string, cache?: string, reuse?: string,
--- userxattr?: boolean, stamp?: boolean, limits?: table }
--- limits: as for apply, for each archive that is unpacked, and how many entries the sources may have;
--- dest: absolute, a trailing slash means a directory; lowers: the destination's layers; upper: new or
--- empty; link: the layer stands alone; unpack: archives are unpacked (ADD); inline: heredocs; epoch: no
--- later time is written, seconds; stamp: all times are the epoch, members of archives excepted; now: time of new directories; reuse: an earlier layer
--- directory whose equal files are linked; expect: the digest that scan gave, checked
--- again afterwards with `cache`
---@return { entries: integer }|nil
---@return table? err snapshot.not_found, snapshot.conflict, snapshot.changed (retryable with expect),
--- snapshot.bad_mode, snapshot.bad_name, snapshot.device, glob.syntax, archive.*, errno names
function snapshot.copy(opts) end

---@class bakery.snapshot.ignore
local Ignore = {}

--- Compiles the lines of an ignore file.
---@param lines string[]
---@return bakery.snapshot.ignore|nil
---@return table? err glob.syntax, where "line N"
function snapshot.ignore(lines) end

--- Whether a path, relative to the context, is excluded, and the line that decided.
---@param path string
---@param is_dir? boolean makes no difference
---@return boolean excluded
---@return string? line
function Ignore:match(path, is_dir) end

--- Releases the matcher; also when collected.
function Ignore:close() end

--- Go's filepath.Match, as COPY sources use it.
---@param pattern string
---@param path string
---@return boolean|nil
---@return table? err glob.syntax
function snapshot.glob_match(pattern, path) end

---@class bakery.snapshot.record closes with <close>
local Record = {}

---@class bakery.snapshot.placed closes with <close>
local Placed = {}

--- Notes every object of a plain tree and waits until the clock has left the last change (async).
---@param opts { dir: string }
---@return bakery.snapshot.record|nil
---@return table? err
function snapshot.record(opts) end

--- Copies what has changed in the tree since the record into `upper`, in overlay form (async).
---@param opts { upper: string, epoch?: integer, stubs?: string[] } stubs: mount points to be removed first;
--- epoch: later times are clamped, in the tree
---@return true|nil
---@return table? err
function Record:diff(opts) end

--- Forgets the record.
function Record:close() end

--- Puts one more layer directory on top of a plain tree (async).
---@param opts { layer: string, dir: string, nodev?: boolean } nodev: as for export
---@return true|nil
---@return table? err
function snapshot.apply_dir(opts) end

--- Moves files and directories into a tree for a while: paths are resolved inside, missing parents made.
---@param opts { tree: string, aside: string, items: { path: string, source: string, uid?: integer, gid?: integer }[] }
--- aside: an empty directory for what stood there; all on one file system
---@return bakery.snapshot.placed|nil
---@return table? err
function snapshot.place(opts) end

--- Moves everything back; what a command left in their place is removed, no symlink followed.
---@return true|nil
---@return table? err
function Placed:restore() end

--- As restore, without an answer.
function Placed:close() end

--- What layers cannot hold here is kept in extended attributes and shown as if it were real; to be set
--- before the first layer, alike in bakery.archive and bakery.snapshot.
---@param what "none"|"owners"|"all" owners: there is one id only; all: no privileges at all
---@param marks? boolean whiteouts too (a store on overlayfs)
---@param devices? boolean device nodes too (a user namespace)
function snapshot.record_ids(what, marks, devices) end

return snapshot
