-- Physical lines to logical lines: parser directives, comments, continuations, heredoc bodies.
local fault = require "bakery.containerfile.fault"
local blanks = require "bakery.containerfile.text"

local lexer = {}
lexer.__index = lexer

local DIRECTIVES = { syntax = true, escape = true, check = true }
local BOM = "\239\187\191"

-- Lines without their line ends; `raw` keeps them for heredoc bodies. A last empty piece after the
-- final newline is no line.
local function split_lines(source)
  local lines, raw = {}, {}
  local pos = 1
  while pos <= #source do
    local nl = source:find("\n", pos, true)
    local stop = nl or #source
    local piece = source:sub(pos, stop)
    raw[#raw + 1] = piece
    lines[#lines + 1] = piece:match("^(.-)[\r\n]*$")
    pos = stop + 1
  end
  if lines[1] then
    if lines[1]:sub(1, 3) == BOM then
      lines[1], raw[1] = lines[1]:sub(4), raw[1]:sub(4)
    end
  end
  return lines, raw
end

---@param source string
---@param name string file name for messages
function lexer.new(source, name)
  local lines, raw = split_lines(source)
  return setmetatable({
    lines = lines,
    raw = raw,
    pos = 1,
    escape = "\\",
    directives = {},
    warnings = {},
    file = { name = name, lines = lines },
    open = true, -- parser directives are still allowed
  }, lexer)
end

function lexer:at(line, col)
  return { line = line, col = col, file = self.file }
end

function lexer:warn(rule, message, line)
  self.warnings[#self.warnings + 1] = { rule = rule, message = message, line = line }
end

-- Records "#key=value" when it is a directive; anything else closes the directives for good. Behind a first
-- line of "#!" only syntax and check are still read, each where it stands first.
function lexer:directive(text, line, col)
  if line == 1 and col == 1 and text:sub(1, 2) == "#!" then
    self.shebang = true
    return true
  end
  local key, value = text:match("^#%s*(%a%w*)%s*=%s*(%S.-)%s*$")
  key = key and key:lower()
  if not key or not DIRECTIVES[key] then
    self.open = false
    return false
  end
  if self.shebang and (key == "escape" or self.directives[key]) then return true end
  if self.directives[key] then
    fault.raise("directive", ("only one %s parser directive can be used"):format(key),
      self:at(line, col))
  end
  if key == "escape" then
    if value ~= "\\" and value ~= "`" then
      fault.raise("directive", ("invalid escape character '%s'"):format(value),
        self:at(line, col), "use # escape=\\ or # escape=`")
    end
    self.escape = value
  end
  self.directives[key] = { value = value, line = line }
  return true
end

-- The part before a continuation mark, and whether there is one. The mark is the escape character
-- as the last non-blank, not itself preceded by the escape character.
function lexer:cut(s)
  local last = s:find("[^ \t][ \t]*$")
  if last and s:sub(last, last) == self.escape
    and (last == 1 or s:sub(last - 1, last - 1) ~= self.escape) then
    return s:sub(1, last - 1), true
  end
  return s, false
end

---Next logical line, or nil at the end of the file.
---@return table|nil logical {text=, line=, end_line=, comments=, parts={ {at=, line=, col=} }}
function lexer:next()
  local comments = {}
  while self.pos <= #self.lines do
    local number = self.pos
    local full = self.lines[number]
    local col = blanks.skip(full, 1) or #full + 1
    local s = full:sub(col)
    self.pos = number + 1
    if self.open and self:directive(s, number, col) then
      goto continue
    end
    if s == "" then goto continue end
    if s:sub(1, 1) == "#" then
      local comment = s:match("^#%s*(.-)%s*$")
      if comment == "" then
        comments = {}
      else
        comments[#comments + 1] = comment
      end
      goto continue
    end
    do
      local logical = self:join(s, number, col)
      logical.comments = comments
      if blanks.skip(logical.text, 1) then return logical end
    end
    ::continue::
  end
  return nil
end

-- Appends continuation lines to the first part. Positions of the parts are kept for messages.
function lexer:join(first, number, col)
  local text, more = self:cut(first)
  local buf, parts = { text }, { { at = 1, line = number, col = col } }
  local length, empty = #text, nil
  while more and self.pos <= #self.lines do
    local line = self.lines[self.pos]
    local start = blanks.skip(line, 1)
    if not start then
      empty = empty or self.pos
    elseif line:sub(start, start) ~= "#" then
      text, more = self:cut(line)
      parts[#parts + 1] = { at = length + 1, line = self.pos, col = 1 }
      buf[#buf + 1] = text
      length = length + #text
    end
    self.pos = self.pos + 1
  end
  if empty then
    self:warn("NoEmptyContinuation", "Empty continuation line", empty)
  end
  return { text = table.concat(buf), line = number, end_line = self.pos - 1, parts = parts,
    file = self.file }
end

---Line and column of a byte offset in a logical line.
function lexer.position(logical, offset)
  local part = logical.parts[1]
  for _, p in ipairs(logical.parts) do
    if p.at > offset then break end
    part = p
  end
  return part.line, part.col + offset - part.at
end

---Reads the body of a heredoc from the physical lines that follow: verbatim, line ends included.
---@param doc table {name=, chomp=, …}; gets content, line, end_line
---@param logical table the line that opened it
function lexer:heredoc(doc, logical)
  local body = {}
  doc.line = self.pos
  while self.pos <= #self.lines do
    local line = self.lines[self.pos]
    if doc.chomp then line = line:gsub("^\t+", "") end
    self.pos = self.pos + 1
    if line == doc.name then
      doc.content = table.concat(body)
      doc.end_line = self.pos - 1
      return
    end
    body[#body + 1] = self.raw[self.pos - 1]
  end
  local line, col = lexer.position(logical, doc.at or 1)
  fault.raise("heredoc", "unterminated heredoc", self:at(line, col),
    ("no line consists of '%s' alone after this one"):format(doc.name))
end

return lexer
