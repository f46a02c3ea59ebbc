---@meta bakery.yaml

--- YAML 1.2 with the core schema: reader with positions, writer, editor that keeps comments.
--- Lines, columns (in characters) count from 1, offsets are bytes from 0 with end_offset behind the
--- last byte, so that text:sub(offset + 1, end_offset) is the node.
---@class bakery.yamllib
---@field null lightuserdata stands for null; the same value as json.null
local M = {}

---@class bakery.yaml.document closes with <close>, :close(), or when collected
local Document = {}

---@class bakery.yaml.node
---@field kind "scalar"|"seq"|"map"
---@field line integer
---@field col integer
---@field end_line integer
---@field end_col integer
---@field offset integer
---@field end_offset integer
---@field tag? string explicit tag, "tag:yaml.org,2002:str" for !!str
---@field anchor? string
---@field alias? string this is `*name`: the place is its own, the content that of the anchor
---@field flow? boolean `[…]` or `{…}`
---@field value? string|number|boolean|lightuserdata scalar: value by the core schema; dates are
--- strings
---@field text? string scalar: content after unquoting; 1.10 is a float whose text is "1.10"
---@field style? "plain"|"single"|"double"|"literal"|"folded"
---@field type? "str"|"int"|"float"|"bool"|"null"|"date"
---@field items? bakery.yaml.node[] seq
---@field keys? { key: bakery.yaml.node, value: bakery.yaml.node, merged?: boolean }[] map: in
--- order, what `<<` brought in last and marked
---@field map? table<string, bakery.yaml.node> map: value nodes by the key's text

--- Reads one document. Errors say what was expected and where: err.where "name:line:col", err.line,
--- err.col.
---@param text string UTF-8, at most 64 MiB
---@param opts? { name?: string, schema?: "1.2" } name: for errors ("yaml")
---@return bakery.yaml.document|nil
---@return table? err yaml.syntax, yaml.duplicate_key, yaml.documents, yaml.alias, yaml.merge,
--- yaml.key, yaml.tag, yaml.too_large (1,000,000 nodes with aliases expanded), yaml.too_deep (100
--- levels)
function M.parse(text, opts) end

--- The top node; nil for an empty document. The same table each time.
---@return bakery.yaml.node|nil
function Document:root() end

--- Frees the tree; nodes that root() gave stay.
function Document:close() end

--- A node as plain value: maps are ordered objects (json.object), lists have json.array_mt.
---@param node bakery.yaml.node
---@return any
function M.to_lua(node) end

--- Reads a document as plain value; yaml.null for an empty one.
---@param text string
---@param opts? { name?: string, schema?: "1.2" }
---@return any|nil value
---@return table? err as parse
function M.load(text, opts) end

--- Writes a value as block text with a newline at the end. Lists and maps are told apart and
--- ordered as json.encode does. Strings are quoted when any YAML 1.1 or 1.2 reader could take them
--- for something else; several lines become a literal block. Raises for what YAML cannot say:
--- functions, holes, keys that are not strings, strings that are not UTF-8, more than 100 levels.
---@param value any
---@return string
function M.dump(value) end

---@class bakery.yaml.editor closes with <close>, :close(), or when collected
local Editor = {}

---@alias bakery.yaml.path (string|integer)[] keys, item numbers from 1: { "images", 1, "name" }

--- Opens a text for changes that keep comments, quotes, blank lines and whatever else they do not
--- have to touch. Every change is read back: when more than the change would differ, it fails
--- (yaml.edit) and the text is as before.
---@param text string
---@param opts? { name?: string }
---@return bakery.yaml.editor|nil
---@return table? err as parse
function M.edit(text, opts) end

--- Sets a value. Missing maps on the way are made, item count + 1 is appended, a key merged in by
--- `<<` gets a local value. Of a map or list that is there, only what differs changes.
---@param path bakery.yaml.path
---@param value any
---@return true|nil
---@return table? err yaml.path, yaml.alias, yaml.edit
function Editor:set(path, value) end

--- Adds to the list at path before item `at` (nil: at the end), or the new key `at` to the map at
--- path.
---@param path bakery.yaml.path
---@param at integer|string|nil
---@param value any
---@return true|nil
---@return table? err yaml.exists, yaml.path, yaml.alias, yaml.edit
function Editor:insert(path, at, value) end

--- Removes a key or item with its lines. Comments on lines above stay.
---@param path bakery.yaml.path
---@return true|nil
---@return table? err yaml.path, yaml.alias, yaml.edit
function Editor:remove(path) end

--- The plain value at a path; nil when there is none.
---@param path bakery.yaml.path
---@return any|nil
function Editor:get(path) end

--- The text with all changes.
---@return string
function Editor:text() end

--- Gives the editor up.
function Editor:close() end

return M
