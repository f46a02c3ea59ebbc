---@meta bakery.json

--- JSON (RFC 8259): reader with positions, writer with a stable form.
---@class bakery.jsonlib
---@field null lightuserdata stands for null; equal only to itself, the same value as yaml.null
---@field array_mt table metatable of lists: json.encode writes such a table as [] even when empty
---@field object_mt table metatable of ordered objects
local M = {}

--- Reads one document. Objects become tables, lists tables with json.array_mt, integers Lua
--- integers and other numbers floats; integers beyond 64 bits are an error. At most 256 MiB and 500
--- levels.
---@param text string
---@param opts? { name?: string, null?: any, ordered?: boolean, unique?: boolean } name: for errors
--- ("json"); null: value for null (json.null); ordered: objects as json.object() makes them;
--- unique: duplicate keys are an error instead of the last one counting
---@return any|nil value
---@return table? err json.syntax, json.too_deep, json.too_large; where "name:line:col", line, col
function M.decode(text, opts) end

--- Writes a value. Tables with json.array_mt, or with the keys 1 … n, are lists; others are
--- objects, their keys in order for ordered objects and sorted by bytes otherwise. Without indent
--- no blanks at all; with indent as Python's json.dumps(indent=n, ensure_ascii=False). Raises for
--- what JSON cannot say: functions, NaN, holes, tables that are list and object at once, strings
--- that are not UTF-8, more than 500 levels (cycles).
---@param value any
---@param opts? { indent?: integer, sort?: boolean, lossy?: boolean } indent: 0 … 16; sort: sort
--- ordered objects too; lossy: U+FFFD for bytes that are not UTF-8
---@return string text without newline at the end
function M.encode(value, opts) end

--- Makes an object that keeps the order in which its keys are first set: it is read, written and
--- iterated (pairs) like any table; a removed key that is set again keeps its place.
---@param fields? { [1]: string, [2]: any }[]|table list of { key, value }, or a table of named
--- fields (taken in order from an ordered object, else sorted)
---@return table
function M.object(fields) end

--- Marks a table (a new one by default) as list and returns it.
---@param list? table
---@return table
function M.array(list) end

--- Iterates in order over an ordered object; over any other table as pairs without metamethods.
---@param object table
---@return function next
---@return table state
---@return any first
function M.pairs(object) end

--- Whether encode would write the value as a list.
---@param value any
---@return boolean
function M.is_array(value) end

return M
