--- `--select`: one boolean expression over targets, such as
--- `os == ubuntu-24.04 && (version >= 4.3 || latest) && image =~ "^r-"`.
---
---   expr  = both { "||" both }
---   both  = unary { "&&" unary }
---   unary = "!" unary | "(" expr ")" | FIELD [ OPERATOR VALUE ]
---
--- FIELD: image version variant os platform channel, and the flags latest matrix dev primary.
--- OPERATOR: == != =~ !~ < <= > >=. A value is a word or a text in quotes. == on os and variant
--- takes the name or its spelling in tags or files; < and > compare versions; =~ searches a regular
--- expression.
local problems = require "app.project.problems"
local regex = require "bakery.regex"
local suggest = require "bakery.suggest"
local version = require "bakery.version"

local M = {}

M.MAX = 4096
local MAX_DEPTH = 100

local TEXTS = { "image", "version", "variant", "os", "platform", "channel" }
local FLAGS = { "latest", "matrix", "dev", "primary" }
local OPERATORS = { "==", "!=", "=~", "!~", "<=", ">=", "<", ">" }

local function set(list)
  local out = {}
  for _, name in ipairs(list) do out[name] = true end
  return out
end
local IS_TEXT, IS_FLAG = set(TEXTS), set(FLAGS)

local function fail(at, message, hint)
  error(problems.problem("select.expression", ("--select, column %d: %s"):format(at, message),
    { hint = hint, col = at }), 0)
end

-- --- reading -----------------------------------------------------------------------------------

local Parser = {}
Parser.__index = Parser

function Parser:skip()
  self.at = self.text:find("%S", self.at) or #self.text + 1
end

function Parser:take(token)
  self:skip()
  if self.text:sub(self.at, self.at + #token - 1) ~= token then return false end
  self.at = self.at + #token
  return true
end

function Parser:operator()
  self:skip()
  for _, op in ipairs(OPERATORS) do
    if self.text:sub(self.at, self.at + #op - 1) == op then
      self.at = self.at + #op
      return op
    end
  end
end

function Parser:value()
  self:skip()
  local quote = self.text:match("^[\"']", self.at)
  if quote then
    local last = self.text:find(quote, self.at + 1, true)
    if not last then fail(self.at, "the quote is not closed") end
    local value = self.text:sub(self.at + 1, last - 1)
    self.at = last + 1
    return value
  end
  local word = self.text:match("^[^%s()&|!=<>~\"']+", self.at)
  if not word then fail(self.at, "expected a value") end
  self.at = self.at + #word
  return word
end

function Parser:test()
  self:skip()
  local start = self.at
  local field = self.text:match("^[%a_]+", start)
  if not field then
    fail(start, start > #self.text and "the expression ends here" or "expected a field name")
  end
  if not IS_TEXT[field] and not IS_FLAG[field] then
    local known = table.move(FLAGS, 1, #FLAGS, #TEXTS + 1, { table.unpack(TEXTS) })
    local near = suggest.nearest(field, known)
    fail(start, ("unknown field %q; there are %s"):format(field, table.concat(known, ", ")),
      near and ("did you mean %q?"):format(near))
  end
  self.at = start + #field
  local op = self:operator()
  if not op then
    if IS_FLAG[field] then return { kind = "flag", field = field } end
    fail(self.at, ("expected one of %s"):format(table.concat(OPERATORS, " ")))
  end
  local place = self.at
  local node = { kind = "test", field = field, op = op, value = self:value() }
  if IS_FLAG[field] then
    if (op ~= "==" and op ~= "!=") or (node.value ~= "true" and node.value ~= "false") then
      fail(place, ("%s is compared with == or != to true or false"):format(field))
    end
    return { kind = "flag", field = field, negate = (op == "==") ~= (node.value == "true") }
  end
  if op == "=~" or op == "!~" then
    local re, err = regex.compile(node.value)
    if not re then fail(place, ("%q: %s"):format(node.value, err.message or tostring(err))) end
    node.re = re
  elseif op:find("^[<>]") and field ~= "version" then
    fail(place, ("%s has no order; only version has"):format(field))
  end
  return node
end

function Parser:unary(depth)
  if depth > MAX_DEPTH then fail(self.at, "the expression is nested too deeply") end
  self:skip()
  if self.text:find("^![^=~]", self.at) then
    self.at = self.at + 1
    return { kind = "not", self:unary(depth + 1) }
  end
  if not self:take "(" then return self:test() end
  local node = self:either(depth + 1)
  if not self:take ")" then fail(self.at, "expected )") end
  return node
end

function Parser:chain(kind, token, part, depth)
  local node = { kind = kind, part(self, depth) }
  while self:take(token) do node[#node + 1] = part(self, depth) end
  return #node == 1 and node[1] or node
end

function Parser:both(depth) return self:chain("and", "&&", self.unary, depth) end
function Parser:either(depth) return self:chain("or", "||", self.both, depth) end

-- --- evaluating --------------------------------------------------------------------------------

local function names_of(item)
  if not item then return {} end
  return { item.name, item.tag_display_name, item.extension }
end

local function candidates(field, selection, platform)
  local v = selection.version
  if field == "image" then return { selection.image.name } end
  if field == "version" then return { v.name } end
  if field == "variant" then return names_of(selection.variant) end
  if field == "os" then return names_of(selection.os) end
  if field == "platform" then return { platform, (platform:gsub("^linux/", "")) } end
  return { v.is_dev and v.channel or nil }
end

local function flag(field, selection)
  local v = selection.version
  if field == "latest" then return v.latest and not v.is_dev end
  if field == "matrix" then return v.is_matrix == true end
  if field == "dev" then return v.is_dev == true end
  return (not selection.os or selection.os.primary)
    and (not selection.variant or selection.variant.primary)
end

-- Order of two version texts: release names where both are, else PEP 440, else none.
local function order(a, b)
  for _, parse in ipairs { version.release, version.pep440 } do
    local x, y = parse(a), parse(b)
    if x and y then return x < y and -1 or y < x and 1 or 0 end
  end
end

local function matches(node, text)
  if node.re then return node.re:search(text) ~= nil end
  if node.op == "==" or node.op == "!=" then
    if node.field == "version" then return text == node.value or order(text, node.value) == 0 end
    return text == node.value
  end
  local found = order(text, node.value)
  if not found then return false end
  if node.op == "<" then return found < 0 end
  if node.op == "<=" then return found <= 0 end
  if node.op == ">" then return found > 0 end
  return found >= 0
end

local function holds(node, selection, platform)
  if node.kind == "and" or node.kind == "or" then
    local stop = node.kind == "or"
    for _, part in ipairs(node) do
      if holds(part, selection, platform) == stop then return stop end
    end
    return not stop
  elseif node.kind == "not" then
    return not holds(node[1], selection, platform)
  elseif node.kind == "flag" then
    return flag(node.field, selection) ~= (node.negate == true)
  end
  local any = false
  for _, text in ipairs(candidates(node.field, selection, platform)) do
    any = any or matches(node, text)
  end
  return any ~= (node.op == "!=" or node.op == "!~")
end

local Expression = {}
Expression.__index = Expression

--- Whether the expression holds for a selection on one platform.
---@param selection table {image, version, variant, os}
---@param platform string
---@return boolean
function Expression:holds(selection, platform)
  return holds(self.node, selection, platform)
end

--- Reads an expression.
---@param text string
---@return table|nil expression
---@return table|nil err with the column
function M.parse(text)
  if #text > M.MAX then
    return nil, problems.problem("select.expression", "--select: the expression is too long")
  end
  local parser = setmetatable({ text = text, at = 1 }, Parser)
  local ok, node = pcall(function()
    local found = parser:either(0)
    parser:skip()
    if parser.at <= #text then fail(parser.at, "expected && or ||") end
    return found
  end)
  if not ok then
    if type(node) ~= "table" then error(node, 0) end
    return nil, node
  end
  return setmetatable({ node = node }, Expression)
end

return M
