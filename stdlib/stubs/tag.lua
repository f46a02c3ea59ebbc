---@meta bakery.tag

--- Image tags: the filters of tag patterns, natural order, and sets over lists of tags.
local tag = {}

---Unsafe characters become "-", then "-", "." and "_" are stripped from both ends.
---@param text string
---@return string
function tag.safe(text) end

---Every character outside A-Za-z0-9_.- becomes "-".
---@param text string
---@return string
function tag.replace(text) end

---A rendered tag pattern as a tag: blanks stripped, then "-._" at both ends, then tag.replace.
---@param text string
---@return string
function tag.normalize(text) end

---Without the last "+" or "-" and what follows it (in every line).
---@param text string
---@return string
function tag.strip_metadata(text) end

---Runs of three or more dotted numbers cut to two: "R4.3.3-python3.11.15" to "R4.3-python3.11".
---@param text string
---@return string
function tag.strip_patch(text) end

---Without blanks, dots and dashes.
---@param text string
---@return string
function tag.condense(text) end

---Do registries accept it as a tag: [A-Za-z0-9_][A-Za-z0-9._-]{0,127}?
---@param text string
---@return boolean
function tag.is_valid(text) end

---Shell pattern with *, ? and [...]; * matches everything.
---@param pattern string
---@param text string
---@return boolean
function tag.match(pattern, text) end

---Natural order: -1, 0 or 1. Digit runs count as numbers, "1.10-rc1" is below "1.10".
---@param a string
---@param b string
---@return integer
function tag.compare(a, b) end

---A sorted copy; stable.
---@param list string[]
---@param opts? {order?: "version"|"text", reverse?: boolean} default natural order
---@return string[]
function tag.sort(list, opts) end

---Each string of the lists once, in order of first appearance.
---@param ... string[]
---@return string[]
function tag.union(...) end

---Strings of `a` that are in `b`, each once, in the order of `a`.
---@param a string[]
---@param b string[]
---@return string[]
function tag.intersect(a, b) end

---Strings of `a` that are not in `b`, each once, in the order of `a`.
---@param a string[]
---@param b string[]
---@return string[]
function tag.subtract(a, b) end

---Strings that match one of the globs (when given), none of the excluded ones, the expression
---(an object with a match method) and the predicate.
---@param list string[]
---@param opts {glob?: string|string[], exclude?: string|string[], regex?: table|userdata, where?: fun(tag: string): boolean}
---@return string[]
function tag.filter(list, opts) end

return tag
