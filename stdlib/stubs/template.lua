---@meta bakery.template

--- Jinja 3.1 templates: the whole expression and statement language, with do and loop controls, the
--- built-in filters and tests, and Python's way of printing values. See src/template/README.md.
---
--- Values: strings, numbers (64-bit integers, floats), booleans. Tables with elements 1..n, and those
--- of json.array and template.list, are lists; other tables are dicts, in the order of their __pairs
--- (json.object, template.map) or sorted by key. Keys that are neither strings nor numbers are left
--- out; an empty plain table is a dict. template.none and json.null are none; a nil variable is
--- undefined. Functions can be called from templates; they cannot yield, so that a blocking call in
--- one turns the loop until it is done. Userdata are their tostring.
local template = {}

---None: prints as `None`; json.null where bakery.json is loaded.
---@type lightuserdata
template.none = nil

---@class bakery.template.limits
---@field depth integer|nil    nested macros, includes, blocks, recursive loops: 200
---@field output integer|nil   bytes of output and of any single text: 64 MiB, at most 1 GiB
---@field memory integer|nil   bytes of values of one rendering: 512 MiB
---@field steps integer|nil    loop rounds, calls and the like: 10 million
---@field range integer|nil    elements of a range() or a repeated list: 1 million
---@field seconds number|nil   wall clock: 60

---@class bakery.template.options
---@field undefined "lenient"|"strict"|nil  lenient: undefined values print as nothing
---@field keep_trailing_newline boolean|nil keep one newline at the end of a template
---@field trim_blocks boolean|nil           drop the newline after a block tag
---@field lstrip_blocks boolean|nil         drop blanks before a block tag at the start of a line
---@field line_statement_prefix string|nil  lines that begin with it are block tags
---@field line_comment_prefix string|nil    what follows it on a line is a comment
---@field bakery boolean|nil   tagSafe, stripMetadata, stripPatch, condense, regexReplace, quote, split
---                            and the function raise (default true)
---@field loader table<string, string>|(fun(name: string): string|nil, any)|nil
---                            text of a template by name; nil = there is none; nil, err = failed
---@field auto_reload boolean|nil ask the loader in every rendering, not once per name
---@field filters table<string, fun(value: any, ...): any>|nil own filters; keyword arguments come
---                            last, as a table. nil, err or an error fails the rendering
---@field tests table<string, fun(value: any, ...): any>|nil own tests
---@field globals table<string, any>|nil    variables and functions of every template
---@field limits bakery.template.limits|nil

---An error of a template: code is template.syntax, template.undefined, template.not_found,
---template.raise, template.limit or template.runtime, or that of a failing Lua function.
---@class bakery.template.error: bakery.error
---@field name string|nil   template
---@field line integer|nil  from 1
---@field col integer|nil   from 1, in characters
---@field source string|nil the line
---@field hint string|nil   "did you mean 'x'?"
---@field stack {name: string, line: integer, col: integer, what: string|nil}[] innermost first: where
---                         each template was, and how it was entered ("macro 'm'", "include" …)

---An environment. Raises for unknown options.
---@param options bakery.template.options|nil
---@return bakery.template.env
function template.new(options) end

---A table that keeps the order in which its keys were set, for variables.
---@param pairs {[1]: any, [2]: any}[]|nil
---@return table
function template.map(pairs) end

---Marks a table as a list, also when it is empty.
---@param list any[]|nil
---@return any[] list the same table
function template.list(list) end

---@class bakery.template.env
local env = {}

---Renders a text; the last texts are remembered in their compiled form.
---@param text string
---@param vars table|nil
---@param options {name: string|nil}|nil name for messages
---@return string|nil
---@return bakery.template.error|nil
function env:render(text, vars, options) end

---Renders a template of the loader.
---@param name string
---@param vars table|nil
---@return string|nil
---@return bakery.template.error|nil
function env:render_file(name, vars) end

---@param text string
---@param options {name: string|nil}|nil
---@return bakery.template.template|nil
---@return bakery.template.error|nil
function env:compile(text, options) end

---Releases the environment before the garbage collector does; compiled templates stay usable only as
---values, not for rendering.
function env:close() end

---@class bakery.template.template
local compiled = {}

---@param vars table|nil
---@return string|nil
---@return bakery.template.error|nil
function compiled:render(vars) end

function compiled:close() end

return template
