-- Word splitting of the Containerfile language. Offsets are 1-based byte positions.
local text = {}

-- The blanks that separate words (no newline: logical lines have none outside heredoc bodies).
local BLANK = "[ \t\v\f\r]"
local SPLIT = BLANK .. "+"

-- Blanks above ASCII, by their bytes. They end quoted words and vanish at the ends of lines, but
-- separate no plain words.
local WIDE = {}
for _, cp in ipairs { 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000 } do WIDE[utf8.char(cp)] = true end
for cp = 0x2000, 0x200A do WIDE[utf8.char(cp)] = true end

---Is the character a blank, of ASCII or not?
function text.is_blank(ch) return WIDE[ch] or #ch == 1 and ch:find("%s") ~= nil end

-- Length of the blank above ASCII that begins at pos, or nil.
local function wide_at(s, pos)
  local b = s:byte(pos)
  if not b or b < 0xC2 or b > 0xE3 then return nil end
  local n = b < 0xE0 and 2 or 3
  return WIDE[s:sub(pos, pos + n - 1)] and n or nil
end

---Position of the first character from pos on that is no blank, or nil.
function text.skip(s, pos)
  while true do
    pos = s:find("%S", pos)
    local n = pos and wide_at(s, pos)
    if not n then return pos end
    pos = pos + n
  end
end

---@param s string
---@return string trimmed, integer offset of its first byte
function text.trim(s)
  local first = text.skip(s, 1)
  if not first then return "", 1 end
  local out = s:sub(first)
  repeat
    local size = #out
    out = out:match("^(.-)%s*$")
    for n = 2, 3 do
      if WIDE[out:sub(-n)] then out = out:sub(1, -n - 1) end
    end
  until #out == size
  return out, first
end

---Splits on blanks only; no quote handling.
---@param s string already trimmed
---@return string[] words, integer[] offsets
function text.fields(s)
  local words, at = {}, {}
  local pos = 1
  while pos <= #s do
    local from = s:find("[^ \t\v\f\r]", pos)
    if not from then break end
    local stop = (s:find(SPLIT, from) or #s + 1)
    words[#words + 1] = s:sub(from, stop - 1)
    at[#at + 1] = from
    pos = stop
  end
  return words, at
end

---Splits off the first word: word, rest (nil when there is no blank), offset of the rest.
function text.cut(s)
  local from, to = s:find(SPLIT)
  if not from then return s, nil, #s + 1 end
  return s:sub(1, from - 1), s:sub(to + 1), to + 1
end

---Takes the leading words that start with `--`. Quotes group and are removed; a backslash takes the
---next character literally, in and out of quotes; a bare `--` ends the flags.
---@param s string
---@return {text: string, at: integer}[] flags, string rest, integer rest_at
function text.flags(s)
  local out, pos = {}, 1
  while true do
    local from = s:find("%S", pos)
    if not from then return out, "", #s + 1 end
    if s:sub(from, from + 1) ~= "--" then
      return out, s:sub(from), from
    end
    local word, i, quote, quoted = {}, from, nil, false
    while i <= #s do
      local c = s:sub(i, i)
      if quote then
        if c == quote then
          quote = nil
        elseif c == "\\" then
          i = i + 1
          word[#word + 1] = s:sub(i, i)
        else
          word[#word + 1] = c
        end
      elseif c:find("%s") then
        break
      elseif c == "'" or c == '"' then
        quote, quoted = c, true
      elseif c == "\\" then
        i = i + 1
        word[#word + 1] = s:sub(i, i)
      else
        word[#word + 1] = c
      end
      i = i + 1
    end
    local flag = table.concat(word)
    if flag == "--" and not quoted then
      local rest = s:find("%S", i)
      if not rest then return out, "", #s + 1 end
      return out, s:sub(rest), rest
    end
    out[#out + 1] = { text = flag, at = from }
    pos = i
  end
end

---Words with their quotes and escapes kept, for the expander. An escape character keeps itself and
---the next character together, except inside single quotes; at the end of the text it vanishes.
---@param s string
---@param escape string one character
---@return string[] words, integer[] offsets
function text.quoted_words(s, escape)
  local words, at = {}, {}
  local pos = 1
  while true do
    local from = text.skip(s, pos)
    if not from then return words, at end
    local word, i, quote, any = {}, from, nil, false
    while i <= #s do
      local c = s:sub(i, i)
      if not quote and (c:find("%s") or wide_at(s, i)) then break end
      if c == escape and quote ~= "'" then
        if i < #s then word[#word + 1] = s:sub(i, i + 1) end
        i = i + 2
      else
        if quote then
          if c == quote then quote = nil end
        elseif c == "'" or c == '"' then
          quote, any = c, true
        end
        word[#word + 1] = c
        i = i + 1
      end
    end
    if any or #word > 0 then
      words[#words + 1] = table.concat(word)
      at[#at + 1] = from
    end
    pos = i
  end
end

return text
