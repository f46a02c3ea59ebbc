---@meta bakery.fs

--- Files, directories and path text. Calls block the loop (they are local and short); what touches
--- many files or bytes is in bakery.snapshot and bakery.archive. What goes wrong in the world is
--- `nil, err` with the errno's name as err.code; a path with a NUL byte raises.
---@class bakery.fslib
local M = {}

---@alias bakery.fs.type "file"|"dir"|"symlink"|"fifo"|"char"|"block"|"socket"

--- Whole content of a file.
---@param path string
---@param max? integer bytes, default 1 GiB
---@return string|nil
---@return table? err ENOENT …, fs.too_large
function M.read(path, max) end

--- Replaces a file atomically: the old content or all of the new, never a part.
---@param path string
---@param data string
---@param opts? { mode?: integer, sync?: boolean } mode: default 420 (0644); sync: fsync before the
--- rename
---@return true|nil
---@return table? err
function M.write(path, data, opts) end

--- Adds to the end of a file, which is created when missing.
---@param path string
---@param data string
---@return true|nil
---@return table? err
function M.append(path, data) end

--- Whether the name exists; a dangling symlink does.
---@param path string
---@return boolean
function M.exists(path) end

--- Whether the path, symlinks followed, is a directory.
---@param path string
---@return boolean
function M.is_dir(path) end

--- Whether the path, symlinks followed, is a regular file.
---@param path string
---@return boolean
function M.is_file(path) end

--- Whether this process may write to the path.
---@param path string
---@return boolean
function M.is_writable(path) end

---@class bakery.fs.stat
---@field type bakery.fs.type
---@field size integer bytes
---@field mode integer permission bits with setuid, setgid and sticky
---@field uid integer
---@field gid integer
---@field mtime integer seconds since 1970
---@field mtime_nsec integer
---@field ino integer
---@field dev integer
---@field nlink integer

---@param path string
---@param follow? boolean default true; false describes a symlink itself
---@return bakery.fs.stat|nil
---@return table? err
function M.stat(path, follow) end

--- Names in a directory, sorted by bytes, without "." and "..".
---@param path string
---@return string[]|nil
---@return table? err
function M.list(path) end

--- Everything below a directory: parents first, names sorted by bytes in each directory. Symlinks
--- are listed, not followed.
---@param root string
---@param fn? fun(path: string, type: bakery.fs.type): boolean|nil called for each entry, must not
--- yield; returning false keeps out of that directory
---@return { path: string, type: bakery.fs.type }[]|nil list paths relative to root
---@return table? err ELOOP below 200 levels
function M.walk(root, fn) end

---@param path string
---@param opts? { parents?: boolean, mode?: integer } parents: as mkdir -p; mode: default 493 (0755)
---@return true|nil
---@return table? err EEXIST without parents
function M.mkdir(path, opts) end

--- Removes a file or an empty directory; with recursive a whole tree, where missing is fine and
--- symlinks are not followed.
---@param path string
---@param opts? { recursive?: boolean }
---@return true|nil
---@return table? err
function M.remove(path, opts) end

---@param from string
---@param to string
---@return true|nil
---@return table? err
function M.rename(from, to) end

--- Creates the symlink `path` that says `target`.
---@param target string
---@param path string
---@return true|nil
---@return table? err
function M.symlink(target, path) end

--- Creates the hard link `path` to the file `from`.
---@param from string
---@param path string
---@return true|nil
---@return table? err
function M.link(from, path) end

---@param path string
---@return string|nil target
---@return table? err
function M.readlink(path) end

--- The absolute path with every symlink resolved; it must exist.
---@param path string
---@return string|nil
---@return table? err
function M.realpath(path) end

---@param path string symlinks are followed
---@param mode integer
---@return true|nil
---@return table? err
function M.chmod(path, mode) end

--- Sets access and modification time; of a symlink itself.
---@param path string
---@param seconds number since 1970
---@return true|nil
---@return table? err
function M.utime(path, seconds) end

--- Copies content and permission bits of a file; the destination is replaced atomically.
---@param from string
---@param to string
---@return true|nil
---@return table? err
function M.copy(from, to) end

--- A new private directory below $TMPDIR or /tmp. The caller removes it.
---@param prefix? string default "bakery"
---@param opts? { memory?: boolean } memory: prefer a tmpfs, for secrets
---@return string|nil path
---@return table? err
function M.tmpdir(prefix, opts) end

---@return string|nil
---@return table? err
function M.cwd() end

---@param path string
---@return true|nil
---@return table? err
function M.chdir(path) end

--- Paths that match a shell pattern (`*`, `?`, `[…]`), sorted; none is an empty list.
---@param pattern string
---@return string[]|nil
---@return table? err
function M.glob(pattern) end

--- Joins parts with single slashes and normalizes; an absolute part starts over.
---@param ... string
---@return string
function M.join(...) end

--- The path without doubled slashes and ".", with ".." folded as text: "a/./b/..//c" gives "a/c".
---@param path string
---@return string
function M.normalize(path) end

--- All before the last slash; "." without one.
---@param path string
---@return string
function M.dirname(path) end

--- All behind the last slash.
---@param path string
---@return string
function M.basename(path) end

---@param path string
---@return boolean
function M.is_absolute(path) end

--- The way from `base` to `path` as text.
---@param path string
---@param base string
---@return string|nil
---@return table? err fs.relative when only one of them is absolute, or base climbs out by ".."
function M.relative(path, base) end

--- Error object with these fields, as native functions return them; see bakery.error.
---@param fields table
---@return table
function M.error(fields) end

return M
