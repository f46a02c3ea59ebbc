-- Recognising heredoc words. Always lexed with a backslash as escape character.
local expand = require "bakery.containerfile.expand"

local heredoc = {}

local function words(s, raw_quotes, raw_escapes)
  return expand.expand(s, {}, { mode = "split", raw_quotes = raw_quotes, raw_escapes = raw_escapes,
    keep_unset = true })
end

local function quotes(s)
  local _, n = s:gsub("['\"]", "")
  return n
end

---Reads one raw word: `[fd]<<[-]name`, nil when it is something else.
---@param word string
---@return table|nil doc {name=, expand=, chomp=, fd=}
function heredoc.parse(word)
  local fd, dash, rest = word:match("^(%d*)<<(%-?)%s*([^<]*)$")
  if not rest or rest == "" then return nil end
  local bare = words(rest, false)
  if not bare or #bare ~= 1 then return nil end
  local raw = words(rest, true)
  if not raw or #raw ~= 1 then return nil end
  return {
    name = bare[1],
    expand = quotes(bare[1]) == quotes(raw[1]), -- no part of the name was quoted
    chomp = dash == "-",
    fd = tonumber(fd) or 0,
  }
end

---All heredocs that a logical line opens, in order, with the offset of each. A line with an open quote
---opens none (as in BuildKit: it may be the business of the shell).
---@param line string
---@return table[] docs
---@return boolean open whether an open quote hides what looks like a heredoc
function heredoc.find(line)
  local docs = {}
  local mark = line:find("<<", 1, true)
  if not mark then return docs, false end
  local at, found = 1, words(line, true, true)
  if not found then return docs, line:find("<<%-?[\"'%w]", mark) ~= nil end
  for _, word in ipairs(found) do
    local doc = heredoc.parse(word)
    if doc then
      doc.at = line:find(word, at, true) or at
      at = doc.at + #word
      docs[#docs + 1] = doc
    end
  end
  return docs, false
end

---Content as the instruction sees it: `<<-` strips the leading tabs of every line.
function heredoc.content(doc)
  if not doc.chomp then return doc.content end
  return (doc.content:gsub("^\t+", ""):gsub("\n\t+", "\n"))
end

return heredoc
