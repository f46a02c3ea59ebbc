---@meta bakery.archive

--- Layer archives: canonical tar, compression whose bytes do not depend on the machine, unpacking of
--- foreign archives. All functions but tar_writer are (async). Whatever goes wrong in the world is
--- `nil, err`; digests are "sha256:" and 64 hex digits, sizes are bytes.
local archive = {}

---@alias bakery.archive.compression "none"|"gzip"|"zstd"

---@class bakery.archive.packed
---@field diff_id string  digest of the tar
---@field digest string   digest of the compressed bytes; equal to diff_id for "none"
---@field size integer    of the compressed bytes
---@field tar_size integer
---@field entries integer tar entries, whiteouts included

---@class bakery.archive.pack_options
---@field dir string
---@field file? string output, replaced; without it only the digests are made
---@field compression? bakery.archive.compression default "none"
---@field level? integer
---@field threads? integer compressing threads, default all CPUs
---@field progress? bakery.loop.counter counts tar bytes

--- Packs a directory in overlay form (whiteout = character device 0:0) as a layer tar. The bytes
--- depend on the tree only: sorted by path component, no entry for the root, hard links to the
--- first path, times in whole seconds, of the extended attributes security.capability and user.*.
--- Sockets are left out. gzip (levels 1 to 12, default 6) is made of members of 1 MiB, zstd (levels
--- 1 to 19, default 3) of frames of 4 MiB.
---@param opts bakery.archive.pack_options
---@return bakery.archive.packed|nil
---@return table? err archive.bad_name (a name that starts with ".wh."), archive.too_deep,
--- archive.changed (a file shrank meanwhile), cancelled, errno names
function archive.pack(opts) end

---@class bakery.archive.unpack_options
---@field file string
---@field dir string
---@field digest? string of the file, checked first
---@field uid? integer owner of everything instead of the archive's
---@field gid? integer default: uid
---@field rootless? boolean device nodes are errors
---@field limits? { bytes?: integer, ratio?: number, floor?: integer, entries?: integer } bytes of content (and 512 per entry) and
--- entries that there may be; ratio: above `floor` bytes also this many times the size of the file

--- Unpacks a tar (plain, gzip, bzip2, xz, zstd) into a directory, which is created when missing.
--- Never writes outside it: symlinks on the way resolve inside, ".." is refused, "/" is the
--- directory.
---@param opts bakery.archive.unpack_options
---@return { entries: integer }|nil
---@return table? err archive.escape, archive.bad_link, archive.bad_name, archive.device,
--- archive.malformed, archive.too_large, archive.digest_mismatch, archive.no_libarchive, errno names
function archive.unpack(opts) end

--- Whether ADD would unpack a file, judged by its content.
---@param path string
---@return "tar"|"gzip"|"bzip2"|"xz"|"zstd"|nil kind nil without an error: not an archive
---@return table? err
function archive.sniff(path) end

---@class bakery.archive.entry
---@field path string     as written; directories mostly end in "/"
---@field type "file"|"hardlink"|"symlink"|"char"|"block"|"dir"|"fifo"
---@field mode integer
---@field uid integer
---@field gid integer
---@field size integer
---@field mtime integer   seconds
---@field mtime_nsec? integer
---@field link? string
---@field major? integer
---@field minor? integer
---@field xattrs? table<string, string>
---@field digest? string of a file's content, when asked for

--- Entries of a tar (plain, gzip, zstd), in its order.
---@param path string
---@param opts? { digests?: boolean } digests: hash the content of files
---@return bakery.archive.entry[]|nil
---@return table? err archive.malformed, archive.truncated, archive.unsupported (sparse files),
--- archive.corrupt (compressed data), errno names
function archive.list(path, opts) end

---@class bakery.archive.converted: bakery.archive.packed
---@field src_digest string
---@field src_compression bakery.archive.compression

---@class bakery.archive.compress_options
---@field src string
---@field dst string replaced; removed when it fails
---@field compression? bakery.archive.compression default "gzip"
---@field level? integer
---@field threads? integer
---@field progress? bakery.loop.counter counts uncompressed bytes

--- Rewrites a file, itself compressed or not, with another compression.
---@param opts bakery.archive.compress_options
---@return bakery.archive.converted|nil
---@return table? err as archive.list
function archive.compress(opts) end

--- Rewrites a file without compression. Data after the end of a gzip or zstd stream is an error.
---@param opts { src: string, dst: string, progress?: bakery.loop.counter }
---@return bakery.archive.converted|nil
---@return table? err as archive.list
function archive.decompress(opts) end

---@class bakery.archive.tar_writer closes with <close>, :close(), or when collected
local Writer = {}

--- A tar file that is written entry by entry, in the order given.
---@param target string|integer path (replaced) or descriptor (duplicated)
---@return bakery.archive.tar_writer|nil
---@return table? err
function archive.tar_writer(target) end

---@class bakery.archive.new_entry
---@field path string
---@field type? "file"|"dir"|"symlink"|"hardlink" default "file"
---@field mode? integer default 0644, directories 0755
---@field uid? integer
---@field gid? integer
---@field mtime? integer default 0
---@field data? string content of a file
---@field file? string path of a file whose content is copied
---@field link? string target

--- Adds an entry (async). One at a time: a second task must wait for the first.
---@param entry bakery.archive.new_entry
---@return true|nil
---@return table? err
function Writer:add(entry) end

--- Writes the end (async); the writer is closed.
---@return { digest: string, size: integer }|nil
---@return table? err
function Writer:finish() end

--- Gives up the file as it is.
function Writer:close() end

--- What layers cannot hold here is kept in extended attributes and shown as if it were real; to be set
--- before the first layer, alike in bakery.archive and bakery.snapshot.
---@param what "none"|"owners"|"all" owners: there is one id only; all: no privileges at all
---@param marks? boolean whiteouts too (a store on overlayfs)
---@param devices? boolean device nodes too (a user namespace)
function archive.record_ids(what, marks, devices) end

return archive
