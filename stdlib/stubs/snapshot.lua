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

--- Unpacks an image layer (tar, gzip or zstd) into a new directory in overlay form (async). The
--- directory is removed again when anything fails. Nothing is ever written outside it.
---@param opts { blob: string, dir: string, diff_id?: string, lowers?: string[], userxattr?: boolean, rootless?: boolean, max_size?: integer, progress?: bakery.loop.counter } diff_id: expected digest. lowers: give directories that the layer does not list their metadata. userxattr: opaque directories are marked by user.overlay.opaque. rootless: device nodes are errors. max_size: bytes of tar. progress: compressed bytes read
---@return bakery.snapshot.layer|nil
---@return table? err snapshot.digest_mismatch, archive.escape, archive.bad_link, archive.bad_name,
--- archive.device, archive.malformed, archive.truncated, archive.corrupt, archive.unsupported,
--- archive.too_large, archive.too_deep, cancelled, errno names
function snapshot.apply(opts) end

--- Turns the upper directory of an overlay mount into a layer, in place (async): unchanged copies,
--- whiteouts of nothing, sockets, empty mount stubs and overlay's own marks go, opaque directories
--- become explicit whiteouts, times later than `epoch` are set to it. `archive.pack` of the result
--- gives the same digest.
---@param opts { upper: string, lowers?: string[], epoch?: integer, stubs?: string[], userxattr?: boolean, progress?: bakery.loop.counter } epoch: seconds. stubs: paths that were made only to mount something. progress: tar bytes hashed
---@return bakery.snapshot.layer|nil
---@return table? err snapshot.overlay_feature (redirect_dir or metacopy were on), archive.bad_name,
--- archive.too_deep, cancelled, errno names
function snapshot.commit(opts) end

--- Copies a chain into a new plain directory (async); removed again when it fails.
---@param opts { lowers: string[], dir: string }
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

--- Looks a path up in a chain.
---@param opts { lowers: string[], path: string, follow?: boolean } follow: also a symlink at the end (default true)
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

--- mkdir -p in a layer that is being made (async): parents that only lower layers have are copied up
--- with their metadata, symlinks on the way are followed inside the chain.
---@param opts { lowers: string[], upper: string, path: string, mode?: integer, uid?: integer, gid?: integer, epoch?: integer, userxattr?: boolean } mode, uid, gid: of new directories, default 0755 0:0. epoch: their time, default now
---@return { created: integer }|nil
---@return table? err ENOTDIR, errno names
function snapshot.mkdir(opts) end

return snapshot
