-- Variable expansion and shell-like word splitting. Works on bytes; UTF-8 matters only for what may
-- be in a variable name and what is a blank.
local fault = require "bakery.containerfile.fault"
local text = require "bakery.containerfile.text"

local expand = {}

local MAX_BYTES = 8 << 20 -- of one expanded word
local MAX_STEPS = 5000000 -- of pattern matching in one word
local MAX_RETRIES = 100 -- of ${NAME/pattern} in one word

local X = {}
X.__index = X

-- Ranges above ASCII that hold no letters or digits (Unicode general categories, coarse): the rest
-- counts as a letter, so that `$é` is one name and `$X–` is not.
local NOT_LETTERS = {
  { 0x80, 0xA9 }, { 0xAB, 0xB4 }, { 0xB6, 0xB9 }, { 0xBB, 0xBF }, { 0xD7, 0xD7 }, { 0xF7, 0xF7 },
  { 0x300, 0x36F }, { 0x2000, 0x2070 }, { 0x2072, 0x207E }, { 0x2080, 0x208F },
  { 0x20A0, 0x20FF }, { 0x2190, 0x2BFF }, { 0x2E00, 0x2E2E }, { 0x3000, 0x3004 },
  { 0x3008, 0x3030 }, { 0xD800, 0xF8FF }, { 0xFE00, 0xFE6F }, { 0xFF00, 0xFF0F },
  { 0xFFF0, 0xFFFF }, { 0x1F000, 0x1FAFF }, { 0xE0000, 0x10FFFF },
}

local function is_wide_letter(cp)
  for _, range in ipairs(NOT_LETTERS) do
    if cp < range[1] then return true end
    if cp <= range[2] then return false end
  end
  return true
end

-- Character at pos: its bytes and, above ASCII, its code point (nil when it is no valid UTF-8).
local function char_at(s, pos)
  local b = s:byte(pos)
  if not b then return nil end
  if b < 0x80 then return s:sub(pos, pos) end
  local n = b >= 0xF0 and 4 or b >= 0xE0 and 3 or b >= 0xC2 and 2 or 1
  local piece = s:sub(pos, pos + n - 1)
  if n > 1 and utf8.len(piece) == 1 then return piece, utf8.codepoint(piece) end
  return s:sub(pos, pos), nil
end

local function syntax(message, hint)
  fault.raise("expand", message, nil, hint)
end

-- --- collecting words --------------------------------------------------------------------------

local Words = {}
Words.__index = Words

function Words:char(ch)
  if text.is_blank(ch) then
    self:flush()
  else
    self:raw(ch)
  end
end

function Words:raw(s)
  self.buf[#self.buf + 1] = s
end

function Words:text(s)
  local pos = 1
  while pos <= #s do
    local ch = char_at(s, pos)
    self:char(ch)
    pos = pos + #ch
  end
end

function Words:flush()
  local word = table.concat(self.buf)
  if word ~= "" then self.list[#self.list + 1] = word end
  self.buf = {}
end

-- --- scanning ----------------------------------------------------------------------------------

function X:peek()
  return self.s:sub(self.pos, self.pos)
end

function X:lookup(name, quiet)
  local value
  if type(self.env) == "function" then value = self.env(name) else value = self.env[name] end
  if value == nil and self.unset and not quiet then self.unset[name] = true end
  self:spend(value and #value or 0)
  if value ~= nil and self.used then self.used[name] = true end
  return value
end

-- Bounds the size of one expansion: values that double in every line must not eat the memory.
function X:spend(bytes)
  self.bytes = self.bytes + bytes
  if self.bytes > MAX_BYTES then
    syntax(("the expansion is larger than %d bytes"):format(MAX_BYTES))
  end
end

-- A variable name at the current place; "" when there is none.
function X:name()
  local s, pos = self.s, self.pos
  local digits = s:match("^%d+", pos)
  if digits then
    self.pos = pos + #digits
    return digits
  end
  if s:find("^[@*#?$!%-]", pos) then
    self.pos = pos + 1
    return s:sub(pos, pos)
  end
  while pos <= #s do
    local ch, cp = char_at(s, pos)
    if not (ch:find("^[%w_]$") or cp and is_wide_letter(cp)) then break end
    pos = pos + #ch
  end
  local name = s:sub(self.pos, pos - 1)
  self.pos = pos
  return name
end

function X:single_quote()
  local stop = self.s:find("'", self.pos + 1, true)
  if not stop then syntax("missing closing single quote") end
  local from, to = self.pos + 1, stop - 1
  if self.raw_quotes then from, to = from - 1, to + 1 end
  self.pos = stop + 1
  return self.s:sub(from, to)
end

function X:double_quote()
  local out, s = {}, self.s
  self.pos = self.pos + 1
  if self.raw_quotes then out[1] = '"' end
  while true do
    local ch = char_at(s, self.pos)
    if not ch then syntax("missing closing double quote") end
    if ch == '"' then
      self.pos = self.pos + 1
      if self.raw_quotes then out[#out + 1] = '"' end
      return table.concat(out)
    elseif ch == "$" then
      out[#out + 1] = self:dollar()
    else
      self.pos = self.pos + #ch
      if ch == self.escape then
        if self.raw_escapes then out[#out + 1] = ch end
        local after = self:peek()
        if after == '"' or after == "$" or after == self.escape then
          ch = after
          self.pos = self.pos + 1
        elseif after == "" then
          ch = ""
        end
      end
      out[#out + 1] = ch
    end
  end
end

-- Where nobody asks for words.
local NO_WORDS = { char = function() end, raw = function() end, text = function() end,
  flush = function() end, list = {} }

-- Text up to `stop` (consumed) or, without stop, the end. Nesting is bounded: so much of it is an
-- attack rather than a Containerfile.
function X:until_char(stop, raw_escapes)
  self.depth = self.depth + 1
  if self.depth > 100 then syntax("substitutions nested too deeply") end
  local saved = self.raw_escapes
  self.raw_escapes = raw_escapes
  local out, words, s = {}, NO_WORDS, self.s
  if self.split and not stop then words = setmetatable({ buf = {}, list = {} }, Words) end
  while self.pos <= #s do
    local ch = char_at(s, self.pos)
    if ch == stop then
      self.pos = self.pos + 1
      self.raw_escapes, self.depth = saved, self.depth - 1
      return table.concat(out), words
    end
    local piece
    if ch == "$" then
      piece = self:dollar()
      words:text(piece)
    elseif ch == "'" and not self.skip_quotes then
      piece = self:single_quote()
      words:raw(piece)
    elseif ch == '"' and not self.skip_quotes then
      piece = self:double_quote()
      words:raw(piece)
    elseif ch == "<" then
      -- Blanks after << belong to the word: that is how "<< EOF" is one heredoc.
      piece = s:match("^<<[ \t\r\n]*", self.pos) or "<"
      self.pos = self.pos + #piece
      words:raw(piece)
    elseif ch == self.escape then
      self.pos = self.pos + 1
      local after = char_at(s, self.pos) or ""
      self.pos = self.pos + #after
      piece = raw_escapes and ch .. after or after
      if piece ~= "" then words:raw(piece) end
    else
      self.pos = self.pos + #ch
      piece = ch
      words:char(ch)
    end
    out[#out + 1] = piece
  end
  if stop then
    syntax(("missing '%s' in substitution"):format(stop))
  end
  words:flush()
  self.raw_escapes, self.depth = saved, self.depth - 1
  return table.concat(out), words
end

-- --- patterns ----------------------------------------------------------------------------------

-- Shell pattern (only * and ?) as a list of literal characters, ONE and MANY.
local ONE, MANY = {}, {}

local function compile_pattern(pattern)
  local out, pos = {}, 1
  while pos <= #pattern do
    local ch = char_at(pattern, pos)
    pos = pos + #ch
    if ch == "*" then
      if out[#out] ~= MANY then out[#out + 1] = MANY end
    elseif ch == "?" then
      out[#out + 1] = ONE
    elseif ch == "\\" then
      local after = char_at(pattern, pos)
      if after == "}" or after == "/" then
        ch = nil
      elseif after == "*" or after == "?" or after == "\\" then
        ch = after
        pos = pos + 1
      else
        syntax(("invalid pattern (%s) in substitution: invalid escape '\\%s'"):format(pattern,
          after or ""), "a backslash escapes only * ? \\ } and /")
      end
      if ch then out[#out + 1] = ch end
    else
      out[#out + 1] = ch
    end
  end
  return out
end

local function characters(s)
  local out, pos = {}, 1
  while pos <= #s do
    local ch = char_at(s, pos)
    out[#out + 1] = ch
    pos = pos + #ch
  end
  return out
end

-- End positions (exclusive) of matches of `pat` that begin at chars[start]: the shortest or the
-- longest one. Sets of reachable positions, so the time is bounded by #pat * #chars.
local function match_at(x, pat, chars, start, longest)
  local n = #chars
  local cur = { [start] = true }
  local low, high = start, start
  for _, p in ipairs(pat) do
    local nxt, nlow, nhigh = {}, nil, nil
    x.steps = x.steps + (p == MANY and n - low or high - low) + 1
    if x.steps > MAX_STEPS then syntax("the pattern takes too long to match") end
    if p == MANY then
      -- `.` does not match a newline in the reference, so * stops there.
      local on = false
      for i = low, n + 1 do
        on = on or cur[i] == true
        if on then
          nxt[i] = true
          nlow, nhigh = nlow or i, i
          if chars[i] == "\n" then on = false end
        end
      end
    else
      for i = low, high do
        local ch = chars[i]
        if cur[i] and ch and (p == ch or p == ONE and ch ~= "\n") then
          nxt[i + 1] = true
          nlow, nhigh = nlow or i + 1, i + 1
        end
      end
    end
    if not nlow then return nil end
    cur, low, high = nxt, nlow, nhigh
  end
  return longest and high or low
end

local function trim(x, value, pattern, from_end, longest)
  local pat, chars = compile_pattern(pattern), characters(value)
  if from_end then
    local p, c = {}, {}
    for i = #pat, 1, -1 do p[#p + 1] = pat[i] end
    for i = #chars, 1, -1 do c[#c + 1] = chars[i] end
    local stop = match_at(x, p, c, 1, longest)
    return stop and table.concat(chars, "", 1, #chars - stop + 1) or value
  end
  local stop = match_at(x, pat, chars, 1, longest)
  return stop and table.concat(chars, "", stop) or value
end

-- Leftmost matches, longest first (a greedy `*`); an empty match is replaced too when `all`.
local function substitute(x, value, pattern, replacement, all)
  local pat, chars = compile_pattern(pattern), characters(value)
  local out, i = {}, 1
  -- After a non-empty match an empty one at the same place does not count.
  local last = 0
  while i <= #chars + 1 do
    local stop = match_at(x, pat, chars, i, true)
    if stop and not (stop == i and last == i) then
      x:spend(#replacement)
      out[#out + 1] = replacement
      if not all then
        out[#out + 1] = table.concat(chars, "", stop)
        return table.concat(out)
      end
      if stop == i then
        out[#out + 1] = chars[i] or ""
        i = i + 1
      else
        i, last = stop, stop
      end
    else
      out[#out + 1] = chars[i] or ""
      i = i + 1
    end
  end
  return table.concat(out)
end

-- --- $ forms -----------------------------------------------------------------------------------

-- Value by ${name<op>word}; `op` is one of - + ? # %.
local function modified(self, name, op, colon, word)
  local value = self:lookup(name, op == "-" or op == "+" or op == "?")
  if value == nil and self.keep_unset then
    return ("${%s%s%s%s}"):format(name, colon and ":" or "", op, word)
  end
  local missing = value == nil or colon and value == ""
  if op == "-" then return missing and word or value end
  if op == "+" then return missing and "" or word end
  if op == "?" then
    if missing then
      if word == "" then
        word = value == nil and "is not allowed to be unset" or "is not allowed to be empty"
      end
      fault.raise("expand", ("%s: %s"):format(name, word))
    end
    return value
  end
  local longest = word:sub(1, 1) == op
  if longest then word = word:sub(2) end
  return trim(self, value or "", word, op == "%", longest)
end

-- Pattern and replacement at the current place. The ${NAME/pattern} of bash and buildah is read only
-- where BuildKit would fail: to it a } before the / is part of the pattern.
local function pattern_pair(self)
  local start, depth, saved = self.pos, self.depth, self.raw_escapes
  if not self.short_at[start] then
    local ok, pattern, replacement = pcall(function()
      return (self:until_char("/", true)), (self:until_char("}", true))
    end)
    if ok then return pattern, replacement end
    self.retries = self.retries + 1
    if self.retries > MAX_RETRIES then error(pattern, 0) end
    self.pos, self.depth, self.raw_escapes = start, depth, saved
    self.short_at[start] = pattern
  end
  local ok, pattern = pcall(self.until_char, self, "}", true)
  if not ok then error(self.short_at[start], 0) end
  return pattern, "", true
end

local function replaced(self, name)
  local all = self:peek() == "/"
  if all then self.pos = self.pos + 1 end
  local pattern, replacement, short = pattern_pair(self)
  if short and self.short then self.short[name] = true end
  local value = self:lookup(name)
  if value == nil and self.keep_unset then
    return ("${%s/%s/%s}"):format(name, pattern, replacement)
  end
  return substitute(self, value or "", pattern, replacement, all)
end

-- At a `$`: consumes the reference and returns its value.
function X:dollar()
  self.pos = self.pos + 1
  if self:peek() ~= "{" then
    local name = self:name()
    if name == "" then return "$" end
    local value = self:lookup(name)
    if value == nil and self.keep_unset then return "$" .. name end
    return value or ""
  end
  self.pos = self.pos + 1
  local first = self:peek()
  if first == "" then syntax("missing '}' in substitution") end
  if first == "{" or first == "}" or first == ":" then
    syntax("bad substitution", "write ${NAME}")
  end
  local name = self:name()
  local op = self:peek()
  self.pos = self.pos + 1
  if op == "}" then
    local value = self:lookup(name)
    if value == nil and self.keep_unset then return "${" .. name .. "}" end
    return value or ""
  end
  if op == "/" then return replaced(self, name) end
  local colon = op == ":"
  if colon then
    op = self:peek()
    self.pos = self.pos + 1
  end
  if op == "" then syntax("missing '}' in substitution") end
  local pattern = op == "#" or op == "%"
  if not op:find("^[-+?#%%]$") or colon and pattern then
    syntax(("unsupported modifier (%s%s) in substitution"):format(colon and ":" or "", op),
      "supported are :- - :+ + :? ? # ## % %% / //")
  end
  return modified(self, name, op, colon, self:until_char("}", pattern))
end

-- --- interface ---------------------------------------------------------------------------------

---Options of `expand`.
---@class bakery.containerfile.expand_options
---@field escape? string        "\\" (default) or "`"
---@field mode? "word"|"split"  one string, or the list of words
---@field raw_quotes? boolean   keep the quotes
---@field raw_escapes? boolean  keep escape characters
---@field skip_quotes? boolean  quotes are ordinary characters (heredoc bodies)
---@field keep_unset? boolean   leave references to unset variables as they are
---@field unset? table          gets name = true for every variable that was not set and had
---                            no default by - + or ?
---@field used? table           gets name = true for every variable that was found
---@field short? table          gets name = true for every ${NAME/pattern}

---As the public `expand`, but raises a fault.
function expand.raw(word, env, opts)
  opts = opts or {}
  local x = setmetatable({
    s = word,
    pos = 1,
    depth = 0,
    bytes = 0,
    steps = 0,
    retries = 0,
    short_at = {}, -- places of ${NAME/pattern}
    env = env or {},
    escape = opts.escape or "\\",
    raw_quotes = opts.raw_quotes,
    raw_escapes = opts.raw_escapes,
    skip_quotes = opts.skip_quotes,
    keep_unset = opts.keep_unset,
    unset = opts.unset,
    used = opts.used,
    short = opts.short,
    split = opts.mode == "split",
  }, X)
  local result, words = x:until_char(nil, opts.raw_escapes or false)
  if x.split then return words.list end
  return result
end

---What to say of the names in `short`.
function expand.shortened(short)
  return ("BuildKit refuses ${%s/pattern} without a replacement: write ${%s/pattern/}"):format(next(short), next(short))
end

---Expands `$NAME`, `${NAME…}`, quotes and escapes of one word.
---@param word string
---@param env table<string,string>|fun(name: string): string?
---@param opts? bakery.containerfile.expand_options
---@return string|string[]|nil result, bakery.containerfile.error? err
expand.expand = fault.guard(expand.raw)

return expand
