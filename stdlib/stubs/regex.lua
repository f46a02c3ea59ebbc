---@meta bakery.regex

--- Regular expressions: PCRE2 with UTF-8, Unicode classes and limits. Where Python's re reads a
--- pattern, it means the same here. Offsets are bytes from 1, as in string.find.
---@class bakery.regexlib
local M = {}

---@class bakery.regex.pattern closes with <close>, :close(), or when collected
local Pattern = {}

---@class bakery.regex.match
---@field [0] string the whole match
---@field [integer] string|false groups 1 …; false for one that took no part
---@field first integer byte where it begins
---@field last integer byte where it ends; first - 1 for an empty match
---@field named? table<string, string|false> named groups, (?P<name>…), when the pattern has some

--- Compiles a pattern. flags: any of "i" ignore case, "m" ^ and $ at every line, "s" dot matches
--- newline, "x" blanks and # comments, "D" $ only at the very end.
---@param pattern string
---@param flags? string
---@return bakery.regex.pattern|nil
---@return table? err regex.syntax (offset = byte of the pattern from 0), regex.flag
function M.compile(pattern, flags) end

--- A pattern that matches exactly the text.
---@param text string
---@return string
function M.escape(text) end

--- First match anywhere from `init` on.
---@param s string
---@param init? integer byte from 1, negative from the end
---@return bakery.regex.match|nil
---@return table? err regex.limit, regex.utf8
function Pattern:search(s, init) end

--- Match that begins at `init` (Python's re.match).
---@param s string
---@param init? integer
---@return bakery.regex.match|nil
---@return table? err
function Pattern:match(s, init) end

--- Match that begins at `init` and ends at the end.
---@param s string
---@param init? integer
---@return bakery.regex.match|nil
---@return table? err
function Pattern:fullmatch(s, init) end

--- First and last byte of the first match.
---@param s string
---@param init? integer
---@return integer|nil first
---@return integer|table|nil last_or_err
function Pattern:find(s, init) end

--- Iterates over all matches; raises the error object when the text is not UTF-8 or the limit is
--- hit.
---@param s string
---@return fun(): bakery.regex.match|nil
function Pattern:gmatch(s) end

--- Replaces every match (the first `max`). A text may refer to groups by \1, \g<1>, \g<name>, has
--- the escapes \n, \t …, and \\ for a backslash; a function gets the match and returns the
--- replacement, or nil or false to keep it.
---@param s string
---@param replacement string|fun(match: bakery.regex.match): string|number|false|nil
---@param max? integer
---@return string|nil
---@return integer|table count_or_err regex.template, regex.limit, regex.utf8
function Pattern:gsub(s, replacement, max) end

--- Frees the pattern at once; using it afterwards raises.
function Pattern:close() end

return M
