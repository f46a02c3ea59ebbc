---@meta bakery.soci

--- zTOCs: where the files of a compressed layer are, so that clients can start an image before they
--- have all of it (SOCI, github.com/awslabs/soci-snapshotter; byte-identical with its files). Whole
--- images are converted by bakery.soci.convert. Calls marked (async) yield in tasks. Errors are
--- `nil, err`: soci.malformed, soci.unsupported, soci.too_large, soci.digest_mismatch, soci.ztoc (all
--- class build), errno names.
---@class bakery.socilib
local M = {}

---@class bakery.soci.options
---@field span_size? integer uncompressed bytes between checkpoints (4194304; 512 to 1 GiB)
---@field tool? string build tool identifier, part of the zTOC's bytes ("bakery VERSION")
---@field compression? "gzip"|"none" of the layer (gzip)
---@field tmp? string directory for checkpoints until they are written (TMPDIR or /tmp)

---@class bakery.soci.builder a sink (see bakery.oci.client:stream); closes with <close>, :close(), or when collected
local Builder = {}

---@class bakery.soci.result
---@field digest string of the zTOC
---@field size integer of the zTOC, bytes
---@field layer_size integer bytes of the layer's blob
---@field tar_size integer bytes of the tar up to its end mark
---@field spans integer
---@field files integer entries of the tar
---@field no_xattrs boolean no extended attributes and no opaque directories

--- Begins the zTOC of a layer. Feed it once, with client:stream or :file, then :save it.
---@param opts? bakery.soci.options
---@return bakery.soci.builder
function M.builder(opts) end

--- Reads a zTOC and checks it.
---@param text string
---@return { version: string, tool: string, compression: "gzip"|"none", layer_size: integer, tar_size: integer, files: table[], spans: table[] }|nil ztoc
--- files: { name=, type=, link=, mtime=, offset=, size=, mode=, uid=, gid= }; spans: { digest=, in=, out= }
---@return table? err
function M.read(text) end

--- Feeds a file (async).
---@param path string
---@param opts? { digest?: string, progress?: userdata } digest: what the file must have; progress: loop.counter()
---@return true|nil
---@return table? err
function Builder:file(path, opts) end

--- Writes the zTOC (async): by rename, when it is complete. Once per layer.
---@param path string
---@return bakery.soci.result|nil
---@return table? err
function Builder:save(path) end

--- The spans that hold a file, from 0; nil when the layer has no file of that path.
---@param path string
---@return integer|nil first
---@return integer|nil last
function Builder:spans(path) end

function Builder:close() end

return M
