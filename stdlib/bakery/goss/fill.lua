--- The templates of goss files: Go's text/template over { Env, Vars }, as far as goss files use it: fields,
--- variables, if / else / with / range, pipelines, comparisons and common functions of goss and sprig.
--- A key that is missing is an error, as goss has it. Source: pkg.go.dev/text/template, goss' documentation.
local json = require "bakery.json"
local regex = require "bakery.regex"

local M = {}

local function fail(at, message, hint) error({ at = at, message = message, hint = hint }, 0) end

-- --- the text as nodes ---------------------------------------------------------------------------

local TOKENS = { { "string", '^"[^"\n]*"' }, { "raw", "^`[^`]*`" }, { "number", "^%-?%d+%.?%d*" },
  { "var", "^%$[%w_]*" }, { "field", "^%.[%a_][%w_]*" }, { "dot", "^%." }, { "word", "^[%a_][%w_]*" },
  { "assign", "^:?=" }, { "op", "^[|()]" } }

-- A string token ends at the first quote that no backslash escapes.
local function quoted(text, i)
  local j, out = i + 1, {}
  while j <= #text do
    local c = text:sub(j, j)
    if c == '"' then return table.concat(out), j end
    if c == "\\" then
      j = j + 1
      c = text:sub(j, j)
      c = ({ n = "\n", t = "\t", r = "\r" })[c] or c
    end
    out[#out + 1] = c
    j = j + 1
  end
end

local function lex(text, at)
  local out, i = {}, 1
  while true do
    local _, space = text:find("^%s*", i)
    local spaced = space >= i
    i = space + 1
    if i > #text then return out end
    local token
    if text:sub(i, i) == '"' then
      local value, last = quoted(text, i)
      if not value then fail(at + i - 1, "this string has no end") end
      token = { kind = "string", value = value, at = at + i - 1 }
      i = last + 1
    else
      for _, rule in ipairs(TOKENS) do
        local found = text:match(rule[2], i)
        if found then
          token = { kind = rule[1], value = found, at = at + i - 1, spaced = spaced }
          i = i + #found
          break
        end
      end
    end
    if not token then fail(at + i - 1, ("'%s' has no meaning here"):format(text:sub(i, i))) end
    if token.kind == "raw" then token.kind, token.value = "string", token.value:sub(2, -2) end
    out[#out + 1] = token
  end
end

-- Texts and actions in order; the trim markers are applied.
local function split(text)
  local out, i, trim = {}, 1, false
  while true do
    local from = text:find("{{", i, true)
    local plain = text:sub(i, (from or 0) - 1)
    if trim then plain = plain:gsub("^%s+", "") end
    if from and text:find("^{{%-%s", from) then plain = plain:gsub("%s+$", "") end
    out[#out + 1] = { text = plain }
    if not from then return out end
    local _, first = text:find("^{{%-?", from)
    if not text:find("^{{%-%s", from) then first = from + 1 end
    local comment = text:find("^%s*/%*", first + 1)
    local stop = text:find("}}", comment and text:find("*/", first + 1, true) or first + 1, true)
    if not stop then fail(from, "'{{' without '}}'") end
    trim = text:sub(stop - 2, stop - 1):find "^%s%-$" ~= nil
    if not comment then
      local body = text:sub(first + 1, stop - (trim and 3 or 1))
      out[#out + 1] = { at = from, tokens = lex(body, first + 1) }
    end
    i = stop + 2
  end
end

-- --- expressions -----------------------------------------------------------------------------------

local FIELDS = { field = true }

local Parser = {}
Parser.__index = Parser

function Parser:peek() return self.tokens[self.i] end

function Parser:fields(node)
  local t = self:peek()
  while t and FIELDS[t.kind] and not t.spaced do
    node = { op = "field", of = node, name = t.value:sub(2), at = t.at }
    self.i = self.i + 1
    t = self:peek()
  end
  return node
end

function Parser:operand()
  local t = self:peek()
  self.i = self.i + 1
  if t.kind == "string" then return { op = "value", value = t.value } end
  if t.kind == "number" then return { op = "value", value = math.tointeger(tonumber(t.value)) or tonumber(t.value) } end
  if t.kind == "var" then return self:fields { op = "var", name = t.value, at = t.at } end
  if t.kind == "dot" then return { op = "dot" } end
  if t.kind == "field" then return self:fields { op = "field", of = { op = "dot" }, name = t.value:sub(2), at = t.at } end
  if t.kind == "word" then
    if t.value == "true" or t.value == "false" then return { op = "value", value = t.value == "true" } end
    if t.value == "nil" then return { op = "value" } end
    return { op = "call", name = t.value, at = t.at, args = {} }
  end
  if t.value == "(" then
    local node = self:pipeline()
    local close = self:peek()
    if not close or close.value ~= ")" then fail(t.at, "'(' without ')'") end
    self.i = self.i + 1
    return self:fields(node)
  end
  return fail(t.at, ("'%s' has no meaning here"):format(t.value))
end

local function ends(t) return not t or t.kind == "op" and t.value ~= "(" end

function Parser:command()
  if ends(self:peek()) then fail(self:peek() and self:peek().at or self.at, "expected a value") end
  local head = self:operand()
  while not ends(self:peek()) do
    if head.op ~= "call" then fail(self:peek().at, "only functions take arguments") end
    head.args[#head.args + 1] = self:operand()
  end
  return head
end

function Parser:pipeline()
  local node = self:command()
  while self:peek() and self:peek().value == "|" and self:peek().kind == "op" do
    self.i = self.i + 1
    local call = self:command()
    if call.op ~= "call" then fail(self.at, "expected a function behind '|'") end
    call.args[#call.args + 1] = node
    node = call
  end
  return node
end

-- [$a[, …] :=] pipeline to the end of the action.
local function expression(action, first)
  local p = setmetatable({ tokens = action.tokens, i = first, at = action.at }, Parser)
  local var, t = nil, action.tokens[first + 1]
  if action.tokens[first] and action.tokens[first].kind == "var" and t and t.kind == "assign" then
    var, p.i = action.tokens[first].value, first + 2
  end
  local node = p:pipeline()
  if p:peek() then fail(p:peek().at, ("'%s' has no meaning here"):format(p:peek().value)) end
  return node, var
end

local BLOCKS = { ["if"] = true, with = true, range = true }
local OTHERS = { define = true, template = true, block = true, ["break"] = true, ["continue"] = true }

-- The nodes up to `end` or `else`; returns the action that ended them.
local function nodes(list, i, open)
  local out = {}
  while i <= #list do
    local item = list[i]
    local word = item.tokens and item.tokens[1] and item.tokens[1].kind == "word" and item.tokens[1].value
    if not item.tokens then out[#out + 1] = item
    elseif word == "end" or word == "else" then
      if not open then fail(item.at, ("'%s' without 'if', 'with' or 'range'"):format(word)) end
      return out, i
    elseif OTHERS[word] then
      fail(item.at, ("'%s' is not supported in goss files"):format(word))
    elseif BLOCKS[word] then
      local node, start = { block = word, at = item.at }, item
      node.value, node.var = expression(item, 2)
      out[#out + 1] = node
      repeat
        node.body, i = nodes(list, i + 1, start)
        local stop = list[i]
        if stop.tokens[1].value == "else" then
          if stop.tokens[2] then -- else if: a block in the else part that shares the end
            if stop.tokens[2].value ~= "if" then fail(stop.at, "expected 'if' or nothing behind 'else'") end
            local inner = { block = "if", at = stop.at }
            inner.value, inner.var = expression(stop, 3)
            node.other, node = { inner }, inner
          else
            node.other, i = nodes(list, i + 1, start)
            if list[i].tokens[1].value ~= "end" then fail(list[i].at, "a second 'else'") end
            stop = list[i]
          end
        end
      until stop.tokens[1].value == "end"
    elseif #item.tokens == 0 then fail(item.at, "'{{ }}' without a value")
    else
      local node = { at = item.at }
      node.value, node.var = expression(item, 1)
      node.print = node.value
      out[#out + 1] = node
    end
    i = i + 1
  end
  if open then fail(open.at, ("'%s' without 'end'"):format(open.tokens[1].value)) end
  return out, i
end

-- --- evaluation --------------------------------------------------------------------------------------

local function truth(v)
  if v == nil or v == json.null or v == false or v == "" or v == 0 then return false end
  return type(v) ~= "table" or next(v) ~= nil
end

local function show(v)
  if v == nil or v == json.null then return "<no value>" end
  if type(v) == "table" then
    local out = {}
    for i, x in ipairs(v) do out[i] = show(x) end
    return "[" .. table.concat(out, " ") .. "]"
  end
  return tostring(v)
end

local function split_list(sep, s)
  local out, i = {}, 1
  while true do
    local from, to = s:find(sep, i, true)
    out[#out + 1] = s:sub(i, (from or 0) - 1)
    if not from or sep == "" then return out end
    i = to + 1
  end
end

local function has(x, list)
  for _, v in ipairs(list) do if v == x then return true end end
  return false
end

local F = {}
function F.eq(a, ...)
  for _, b in ipairs { ... } do if a == b then return true end end
  return false
end
function F.ne(a, b) return a ~= b end
function F.lt(a, b) return a < b end
function F.le(a, b) return a <= b end
function F.gt(a, b) return a > b end
function F.ge(a, b) return a >= b end
F["not"] = function(a) return not truth(a) end
function F.len(a) return #a end
function F.index(t, k) return t[type(k) == "number" and k + 1 or k] end
function F.print(...)
  local out = {}
  for i = 1, select("#", ...) do out[i] = show((select(i, ...))) end
  return table.concat(out)
end
function F.printf(format, ...)
  local args, n = { ... }, 0
  return (format:gsub("%%([%-%d%.]*)([%a%%])", function(flags, verb)
    if verb == "%" then return "%" end
    n = n + 1
    if verb == "v" or verb == "s" then return ("%" .. flags .. "s"):format(show(args[n])) end
    if verb == "q" then return json.encode(show(args[n])) end
    return ("%" .. flags .. verb):format(args[n])
  end))
end
function F.default(d, v) return truth(v) and v or d end
function F.empty(v) return not truth(v) end
function F.coalesce(...)
  for i = 1, select("#", ...) do if truth((select(i, ...))) then return (select(i, ...)) end end
end
function F.ternary(a, b, c) return truth(c) and a or b end
function F.list(...) return json.array { ... } end
F.mkSlice = F.list
function F.has(x, list) return has(x, list) end
function F.join(sep, list) return table.concat(list, sep) end
F.splitList = split_list
function F.trim(s) return s:match "^%s*(.-)%s*$" end
function F.upper(s) return s:upper() end
function F.lower(s) return s:lower() end
F.toUpper, F.toLower = F.upper, F.lower
function F.quote(s) return json.encode(show(s)) end
function F.squote(s) return "'" .. show(s) .. "'" end
function F.contains(part, s) return s:find(part, 1, true) ~= nil end
function F.hasPrefix(part, s) return s:sub(1, #part) == part end
function F.hasSuffix(part, s) return part == "" or s:sub(-#part) == part end
function F.trimPrefix(part, s) return s:sub(1, #part) == part and s:sub(#part + 1) or s end
function F.trimSuffix(part, s) return part ~= "" and s:sub(-#part) == part and s:sub(1, -#part - 1) or s end
function F.replace(old, new, s) return table.concat(split_list(old, s), new) end
F["int"] = function(v) return math.tointeger(tonumber(v)) or 0 end
F.toString = show
function F.add(...)
  local sum = 0
  for _, v in ipairs { ... } do sum = sum + v end
  return sum
end
function F.sub(a, b) return a - b end
function F.regexMatch(re, s)
  local compiled, err = regex.compile(re)
  if not compiled then error(err.message, 0) end
  return compiled:search(s) ~= nil
end

local eval

local function field(node, state)
  local of = eval(node.of, state)
  if type(of) ~= "table" then fail(node.at, ("'.%s' of something that has no fields"):format(node.name)) end
  local v = of[node.name]
  if v == nil then
    local env = of == state.data.Env
    fail(node.at, (env and "the environment has no '%s'" or "there is no '%s'"):format(node.name),
      env and 'getEnv "' .. node.name .. '" "default" gives a default' or nil)
  end
  return v
end

-- and, or: the arguments that decide nothing any more are left alone, as in Go.
local function logic(node, state)
  local v
  for _, arg in ipairs(node.args) do
    v = eval(arg, state)
    if truth(v) == (node.name == "or") then return v end
  end
  return v
end

local function call(node, state)
  if node.name == "and" or node.name == "or" then return logic(node, state) end
  local args, n = {}, #node.args
  for i, arg in ipairs(node.args) do args[i] = eval(arg, state) end
  if node.name == "getEnv" or node.name == "env" then
    return state.data.Env[args[1]] or args[2] or ""
  end
  local fn = F[node.name]
  if not fn then
    fail(node.at, ("unknown function '%s'"):format(node.name), "goss itself knows more functions than bakery does")
  end
  local ok, result = pcall(fn, table.unpack(args, 1, n))
  if not ok then fail(node.at, ("'%s': wrong arguments"):format(node.name)) end
  return result
end

function eval(node, state)
  if node.op == "value" then return node.value end
  if node.op == "dot" then return state.dot end
  if node.op == "field" then return field(node, state) end
  if node.op == "call" then return call(node, state) end
  if node.name == "$" then return state.data end
  if state.vars[node.name] == nil then fail(node.at, ("undefined variable '%s'"):format(node.name)) end
  return state.vars[node.name]
end

local render

local function block(node, state, out)
  local v = eval(node.value, state)
  if node.var and node.block ~= "range" then state.vars[node.var] = v end
  if not truth(v) then return render(node.other or {}, state, out) end
  local dot = state.dot
  if node.block == "range" then
    if type(v) ~= "table" then fail(node.at, "'range' needs a list") end
    for _, item in ipairs(v) do
      state.dot = item
      if node.var then state.vars[node.var] = item end
      render(node.body, state, out)
    end
  else
    if node.block == "with" then state.dot = v end
    render(node.body, state, out)
  end
  state.dot = dot
end

function render(list, state, out)
  for _, node in ipairs(list) do
    if node.text then out[#out + 1] = node.text
    elseif node.block then block(node, state, out)
    elseif node.var then state.vars[node.var] = eval(node.value, state)
    else out[#out + 1] = show(eval(node.value, state)) end
  end
end

--- Fills the template in.
---@param text string
---@param data { Env: table<string, string>, Vars: table|nil }
---@param name string|nil for errors
---@return string|nil text
---@return table|nil err class `usage`, code `goss.template`, with where, line and col
function M.fill(text, data, name)
  local state = { data = { Env = data.Env, Vars = data.Vars or {} }, vars = {} }
  state.dot = state.data
  local out = {}
  local ok, err = pcall(function() render((nodes(split(text), 1)), state, out) end)
  if ok then return table.concat(out) end
  if type(err) ~= "table" or not err.at then error(err, 0) end
  local before = text:sub(1, err.at - 1)
  local _, line = before:gsub("\n", "")
  local col = err.at - (before:match "^.*()\n" or 0)
  return nil, { class = "usage", code = "goss.template", message = err.message, hint = err.hint, line = line + 1,
    col = col, where = ("%s:%d:%d"):format(name or "goss.yaml", line + 1, col) }
end

return M
