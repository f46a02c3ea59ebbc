-- Text to instructions.
local checks = require "bakery.containerfile.checks"
local fault = require "bakery.containerfile.fault"
local flags = require "bakery.containerfile.flags"
local grammar = require "bakery.containerfile.grammar"
local heredoc = require "bakery.containerfile.heredoc"
local lexer = require "bakery.containerfile.lexer"
local text = require "bakery.containerfile.text"

local parser = {}

local MAX_BYTES = 16 << 20

-- Reads the instruction in `s`, which begins at byte `base` + 1 of the logical line.
local function instruction(lx, logical, s, base)
  local body, lead = text.trim(s)
  base = base + lead - 1
  local word, rest, rest_at = text.cut(body)
  local function place(offset)
    return lx:at(lexer.position(logical, base + offset))
  end
  local name = word:upper()
  local rule = grammar.instructions[name]
  if not rule then
    fault.raise("unknown_instruction", "unknown instruction: " .. word, place(1),
      lx.open_quote and ("line %d has a quote that is not closed, so that its << begins no heredoc"):format(lx.open_quote)
      or fault.suggest(word, grammar.names))
  end
  lx.open_quote = nil
  local words, args, args_at = text.flags(rest or "")
  local line, col = lexer.position(logical, base + 1)
  local ins = {
    name = name, word = word, line = line, col = col, end_line = logical.end_line, original = body,
    comments = base == 0 and logical.comments or {}, heredocs = {}, file = lx.file,
    source_lines = { logical.line, logical.end_line },
  }
  local function flag_offset(offset) return rest_at - 1 + offset end
  ins.flags = flags.parse(name, rule.flags, words, function(offset)
    return place(flag_offset(offset))
  end)
  ins.flag_words = {}
  for i, w in ipairs(words) do ins.flag_words[i] = w.text end
  args = text.trim(args)
  local args_base = flag_offset(args_at)
  rule.read(ins, args, {
    escape = lx.escape,
    place = function(offset) return place(args_base + offset - 1) end,
    flag_place = function(flag, n)
      for _, w in ipairs(words) do
        if w.text:match("^%-%-([^=]*)") == flag then
          n = n - 1
          if n == 0 then return place(flag_offset(w.at)) end
        end
      end
      return place(1)
    end,
    warn = function(code, message) lx:warn(code, message, line) end,
    nested = function(outer, trigger)
      outer.trigger = instruction(lx, logical, trigger, base + args_base - 1)
    end,
  })
  return ins
end

-- Attaches the bodies that the line announces, and checks that COPY found them all.
local function read_heredocs(lx, logical, ins)
  local target = ins.trigger or ins
  if not grammar.instructions[target.name].heredoc or target.form == "exec" then return end
  local docs, open = heredoc.find(logical.text)
  lx.open_quote = open and logical.line or nil
  for _, doc in ipairs(docs) do
    lx:heredoc(doc, logical)
    logical.end_line = lx.pos - 1
  end
  ins.heredocs, target.heredocs = docs, docs
  ins.end_line, target.end_line = logical.end_line, logical.end_line
  if target.name ~= "RUN" and target.inline_words ~= #docs then
    fault.raise("heredoc", "a heredoc of " .. target.name .. " must be one word",
      lx:at(lexer.position(logical, docs[1] and docs[1].at or 1)), "write <<NAME without blanks")
  end
end

local function finish_onbuild(ins)
  local expression = ins.original:match("^%S+%s*(.*)$")
  for _, doc in ipairs(ins.heredocs) do
    expression = expression .. "\n" .. doc.content .. doc.name
  end
  ins.expression = expression
end

local function check_syntax(lx)
  local directive = lx.directives.syntax
  if directive and not directive.value:find("docker/dockerfile", 1, true) then
    lx:warn("SyntaxDirective", ("# syntax=%s is ignored: the built-in language is used")
      :format(directive.value), directive.line)
  end
end

-- Rules about the order of instructions that need no values.
local function check_order(lx, list)
  local in_stage, seen = false, {}
  for _, ins in ipairs(list) do
    if ins.name == "FROM" then
      in_stage, seen = true, {}
    elseif not in_stage and ins.name ~= "ARG" then
      fault.raise("order", ("%s before the first FROM"):format(ins.name),
        lx:at(ins.line, ins.col), "only ARG may stand before FROM")
    elseif ins.name == "CMD" or ins.name == "ENTRYPOINT" or ins.name == "HEALTHCHECK" then
      if seen[ins.name] then
        lx:warn("MultipleInstructionsDisallowed", ("%s is overridden by that of line %d; only the last one counts")
          :format(ins.name, ins.line), seen[ins.name])
      end
      seen[ins.name] = ins.line
    end
  end
  if not in_stage then
    local last = list[#list]
    fault.raise("order", "no build stage: FROM is missing", lx:at(last.line, last.col))
  end
end

-- The warnings that the options let through, by line; `own` has those of single lines.
local function filter_warnings(list, options, own)
  local out = {}
  for _, w in ipairs(list) do
    if checks.wanted(options, w.rule, own[w.line]) then out[#out + 1] = w end
  end
  table.sort(out, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.rule < b.rule
  end)
  return out
end
parser.filter_warnings = filter_warnings

-- All instructions of a file into `list`, and the options of their own comments by line into `own`.
local function read_file(lx, list, own, is_trigger)
  while true do
    local logical = lx:next()
    if not logical then break end
    local ins = instruction(lx, logical, logical.text, 0)
    read_heredocs(lx, logical, ins)
    if ins.trigger then finish_onbuild(ins) end
    ins.own_check = checks.of_comments(ins.comments)
    if ins.own_check then own[ins.line] = ins.own_check end
    list[#list + 1] = ins
  end
  if #list == 0 then
    fault.raise("syntax", "file with no instructions", lx:at(1, 1))
  end
  if not is_trigger then
    check_order(lx, list)
    checks.run(list, function(rule, message, line) lx:warn(rule, message, line) end)
  end
  check_syntax(lx)
  local directive = lx.directives.check
  if directive then checks.read(directive.value, lx:at(directive.line, 1)) end
end

---@param source string
---@param opts? {name?: string, trigger?: boolean} trigger: one instruction of an ONBUILD
---@return table ast
function parser.parse(source, opts)
  opts = opts or {}
  local lx = lexer.new(source, opts.name or "Containerfile")
  if #source > MAX_BYTES then
    fault.raise("syntax", ("the file is larger than %d bytes"):format(MAX_BYTES), lx:at(1, 1))
  end
  if not source:find("%S") then
    fault.raise("syntax", "the Containerfile cannot be empty", lx:at(1, 1))
  end
  local list, own = {}, {}
  local function check() return (checks.options(lx.directives.check and lx.directives.check.value)) end
  fault.noting(function() read_file(lx, list, own, opts.trigger) end, function()
    return filter_warnings(lx.warnings, check(), own)
  end)
  return {
    name = lx.file.name,
    file = lx.file,
    escape = lx.escape,
    directives = lx.directives,
    check = check(),
    own_checks = own,
    instructions = list,
    all_warnings = lx.warnings,
    warnings = filter_warnings(lx.warnings, check(), own),
  }
end

return parser
