-- Word splitting of the Containerfile language. Offsets are 1-based byte positions.
local text = {}

-- The blanks that separate words (no newline: logical lines have none outside heredoc bodies).
local BLANK = "[ \t\v\f\r]"
local SPLIT = BLANK .. "+"

---@param s string
---@return string trimmed, integer offset of its first byte
function text.trim(s)
  local first = s:find("%S")
  if not first then return "", 1 end
  return s:sub(first):match("^(.-)%s*$"), first
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
    local from = s:find("%S", pos)
    if not from then return words, at end
    local word, i, quote, any = {}, from, nil, false
    while i <= #s do
      local c = s:sub(i, i)
      if not quote and c:find("%s") then break end
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
