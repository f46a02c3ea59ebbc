---@meta bakery.store

--- The content store of the embedded builder. Marked calls (async) yield in tasks. Everything that
--- goes wrong in the world is `nil, err`; a digest is "sha256:" and 64 lower-case hex digits.
---@class bakery.storelib
local M = {}

---@class bakery.store
---@field dir string absolute path of the store; nil once closed
local Store = {}

---@class bakery.store.lock closes with <close>, :close(), or when collected
---@field path? string data directory, for cache mounts
local Lock = {}

---@class bakery.store.area
---@field count integer
---@field bytes integer

---@class bakery.store.usage
---@field blobs bakery.store.area
---@field layers bakery.store.area
---@field keys bakery.store.area
---@field refs bakery.store.area
---@field remote bakery.store.area
---@field cachemounts bakery.store.area
---@field tmp bakery.store.area
---@field log bakery.store.area
---@field statcache bakery.store.area
---@field bytes integer all together

--- Opens a store (async): takes its shared lock, removes what dead processes left, and after a
--- reboot drops objects that had not reached the disk.
---@param dir string
---@param opts? { create?: boolean, durable?: boolean, timeout?: number, mode?: string } durable: fsync
--- what is published; timeout: seconds to wait for a garbage collection (60); mode: one word for the id
--- map the files are made under, which a store never changes
---@return bakery.store|nil
---@return table? err ENOENT, store.foreign, store.version, store.mode, store.busy
function M.open(dir, opts) end

--- Removes this handle's temporary space and gives up the shared lock. Also by <close>.
function Store:close() end

--- Where a blob is or would be.
---@param digest string
---@return string|nil path
---@return table? err store.digest
function Store:blob_path(digest) end

---@param digest string
---@return boolean|nil there
---@return integer|table|nil size_or_err
function Store:has_blob(digest) end

--- Stores bytes under their digest.
---@param data string
---@return string|nil digest
---@return integer|table size_or_err
function Store:put_blob(data) end

--- Takes over a file, by rename where it can (async).
---@param path string
---@param digest string
---@param opts? { verify?: boolean } verify: hash it first
---@return true|nil
---@return table? err store.digest (class infra) when the bytes are others
function Store:add_blob_file(path, digest, opts) end

---@param digest string
---@param max? integer bytes, default 16 MiB
---@return string|nil
---@return table? err store.missing_blob, fs.too_large
function Store:get_blob(digest, max) end

--- Fresh directory in the store, removed at the latest when the store is closed.
---@return string|nil path
---@return table? err
function Store:tmpdir() end

--- Fresh empty file, likewise.
---@return string|nil path
---@return table? err
function Store:tmpfile() end

--- Removes something below this handle's temporary space (async).
---@param path string
---@return true|nil
---@return table? err store.path
function Store:remove_tmp(path) end

--- Removes temporary space of dead processes (async); opening does it too.
---@return integer|nil removed
---@return table? err
function Store:clean_tmp() end

--- Directory with the files of an unpacked layer.
---@param diff_id string
---@return string|nil path
function Store:layer_dir(diff_id) end

--- Makes a directory in the store's temporary space the layer (async). When the layer is there
--- already, `fs` stays where it is.
---@param fs string
---@param diff_id string
---@param meta? table
---@return string|nil path of the layer's files
---@return table? err
function Store:publish_layer(fs, diff_id, meta) end

---@param diff_id string
---@return table|nil
---@return table? err
function Store:layer_meta(diff_id) end

---@param diff_id string
---@param meta table
---@return true|nil
---@return table? err store.missing_layer
function Store:set_layer_meta(diff_id, meta) end

--- Result of a step; using it renews its last-use stamp.
---@param key string
---@return table|nil
---@return table? err
function Store:get_key(key) end

---@param key string
---@param value table
---@return true|nil
---@return table? err
function Store:put_key(key, value) end

---@param key string
---@return boolean|nil removed
---@return table? err
function Store:del_key(key) end

--- Names of the keys that begin with prefix, sorted; with `full` a list of { name=, value=, stamp= }.
---@param prefix? string
---@param full? boolean
---@return (string|table)[]|nil
---@return table? err
function Store:keys(prefix, full) end

--- A named root of garbage collection: whatever digest its value mentions is kept.
---@param name string
---@return table|nil
---@return table? err
function Store:get_ref(name) end

---@param name string
---@param value table
---@return true|nil
---@return table? err
function Store:put_ref(name, value) end

---@param name string
---@return boolean|nil removed
---@return table? err
function Store:del_ref(name) end

--- As keys(); listing does not count as use.
---@param prefix? string
---@param full? boolean
---@return (string|table)[]|nil
---@return table? err
function Store:refs(prefix, full) end

--- What a registry said about a tag.
---@param ref string
---@param max_age? number seconds; older counts as absent
---@return table|nil
---@return number|table|nil age_or_err seconds
function Store:remote_get(ref, max_age) end

---@param ref string
---@param value table
---@return true|nil
---@return table? err
function Store:remote_put(ref, value) end

---@param ref string
---@return boolean|nil removed
---@return table? err
function Store:remote_del(ref) end

--- Waits for a named lock (async): excludes other tasks and other processes alike.
---@param name string
---@param opts? { timeout?: number, shared?: boolean } seconds, 0 = do not wait, default for ever
---@return bakery.store.lock|nil
---@return table? err store.locked (retryable)
function Store:lock(name, opts) end

--- Directory of a RUN --mount=type=cache, locked as its sharing asks (async).
---@param opts { id: string, ns?: string, sharing?: "shared"|"private"|"locked", mode?: integer, uid?: integer,
--- gid?: integer, timeout?: number } mode, uid, gid: for a directory made now
---@return bakery.store.lock|nil handle with .path
---@return table? err store.locked
function Store:cache_mount(opts) end

--- Directory of the shared cache instance, whose files are in data/; without a lock.
---@param id string
---@return string|nil path
---@return table? err
function Store:cache_dir(id) end

--- File for snapshot.scan's cache option; its folder exists afterwards.
---@param name string
---@return string|nil path
---@return table? err
function Store:statcache_path(name) end

--- log/<id>.jsonl; its folder exists afterwards.
---@param id string
---@return string|nil path
---@return table? err
function Store:log_path(id) end

--- What takes how much space (async).
---@return bakery.store.usage|nil
---@return table? err
function Store:du() end

--- Removes what no reference reaches, keys unused for max_age, and the least recently used objects
--- until max_bytes are left (async). References (and `keep`) always stay unless unused for ref_age.
---@param opts? { max_bytes?: integer, max_age?: number, ref_age?: number, grace?: number, dry_run?: boolean,
--- keep?: string[] } ages in seconds; grace: age from which an unreferenced object goes (3600); keep: digests
---@return { removed: integer, bytes: integer, dry_run: boolean, gone: bakery.store.usage, kept: bakery.store.usage }|nil
---@return table? err store.busy (retryable) while a build uses the store
function Store:gc(opts) end

--- Verifies digests, layers and records (async); with repair, broken ones are removed.
---@param opts? { repair?: boolean }
---@return { area: string, name: string, problem: string, message: string }[]|nil
---@return table? err
function Store:check(opts) end

--- Adds a run to the history (async). Fields name, status, started and seconds can be searched; all
--- are kept.
---@param run table
---@return integer|nil id
---@return table? err store.history
function Store:record_run(run) end

--- Runs, newest first, with their id (async).
---@param opts? { name?: string, since?: number, limit?: integer }
---@return table[]|nil
---@return table? err store.history
function Store:runs(opts) end

--- Releases the lock; harmless when done already.
function Lock:close() end

return M
