-- Differential test: bakery.template against python3-jinja2, on hand-written templates and on
-- generated ones. One Python process answers all cases.
local json = require "bakery.json"
local template = require "bakery.template"
local expressions = require "lib.template_expressions"
local generate = require "lib.template_generate"
local random = require "lib.template_random"
local statements = require "lib.template_statements"

local PYTHON = "env -u LD_PRELOAD python3" -- sanitizers are for our side only
local SEED, GENERATED, PER_KIND = 20260801, 2500, 700
local CLASSES = { ["template.syntax"] = "syntax", ["template.undefined"] = "undefined",
  ["template.not_found"] = "not_found" }

local function cases_of(list, option_sets)
  local out = {}
  for _, entry in ipairs(list) do
    local text, files = entry, nil
    if type(entry) == "table" then text, files = entry[1], entry.files end
    for _, options in ipairs(option_sets or { {} }) do
      for _, strict in ipairs { false, true } do
        out[#out + 1] = { template = text, files = files, options = options, strict = strict }
      end
    end
  end
  return out
end

local groups = {
  { "expressions", cases_of(expressions.expressions) },
  { "filters", cases_of(expressions.filters) },
  { "tests", cases_of(expressions.tests) },
  { "statements", cases_of(statements.statements) },
  { "white space", cases_of(statements.whitespace) },
  { "options", cases_of(statements.with_options, statements.option_sets) },
  { "line statements", cases_of(statements.line_statements, statements.line_statements.options) },
  { "inheritance and imports", cases_of(statements.inheritance) },
}

local generated = { "generated", {} }
for i, text in ipairs(generate.templates(SEED, GENERATED)) do
  generated[2][i] = { template = text, strict = i % 2 == 0, random = true }
end
groups[#groups + 1] = generated
for _, kind in ipairs(random.KINDS) do
  local group = { "random " .. kind, random.templates(kind, SEED, PER_KIND) }
  for i, case in ipairs(group[2]) do case.strict, case.random = i % 2 == 0, true end
  groups[#groups + 1] = group
end

-- All answers of Jinja, in the order of the groups; nil when it is not installed.
local function oracle()
  if not os.execute(PYTHON .. " -c 'import jinja2' 2>/dev/null") then return nil end
  local questions, answers = os.tmpname(), {}
  local file = assert(io.open(questions, "wb"))
  local vars = expressions.vars:gsub("\n", " ")
  for _, group in ipairs(groups) do
    for _, case in ipairs(group[2]) do
      local line = json.encode { template = case.template, strict = case.strict,
        files = case.files or json.object(), options = case.options or json.object() }
      file:write(line:sub(1, -2), ',"vars":', vars, "}\n")
    end
  end
  file:close()
  local pipe = assert(io.popen(PYTHON .. " tests/lib/jinja_oracle.py <" .. questions))
  for line in pipe:lines() do answers[#answers + 1] = assert(json.decode(line)) end
  pipe:close()
  os.remove(questions)
  return answers
end

local function ours(case)
  local options = { undefined = case.strict and "strict" or "lenient", loader = case.files or {} }
  for key, value in pairs(case.options or {}) do options[key] = value end
  local vars = assert(json.decode(expressions.vars, { ordered = true }))
  return template.new(options):render(case.template, vars)
end

-- Whether our answer may stand for theirs. Two differences are on purpose: an undefined value is
-- reported as such where Python only sees a wrong type, and addresses of objects are not printed.
local function same(case, want, got, err)
  if want.text then
    if want.text:lower():find("object at 0x", 1, true) then return true end
    if got == want.text then return true end
    -- Jinja's constant folding lets a slice of a number be undefined; at run time it is an error.
    return case.random and err ~= nil and err.message:find("cannot be sliced", 1, true) ~= nil
  end
  if got then return false end
  local class = CLASSES[err.code] or "runtime"
  local reported = class == "undefined" and want.message:find("Undefined", 1, true)
  if class ~= want.error and not reported and not case.random then return false end
  -- The line, where both mean the same thing: what is left open is reported at the end here, at the
  -- last tag there.
  return want.line == json.null or err.line == want.line or class ~= want.error or next(case.files or {}) ~= nil
    or err.message:find("unexpected end of template", 1, true) ~= nil
end

describe("against python3-jinja2:", function()
  local answers = oracle()
  local base = 0
  for _, group in ipairs(groups) do
    local name, cases, first = group[1], group[2], base
    base = base + #cases
    it(("%s (%d)"):format(name, #cases), function()
      if not answers then return pending "skipped: needs python3-jinja2" end
      local bad = {}
      for i, case in ipairs(cases) do
        local want = assert(answers[first + i], "the oracle has no answer")
        local got, err = ours(case)
        if not same(case, want, got, err) then
          bad[#bad + 1] = ("%s %s\n  wanted %s\n  got    %s"):format(case.strict and "strict" or "lenient",
            case.template, want.text and ("%q"):format(want.text) or want.error .. ": " .. want.message,
            got and ("%q"):format(got) or err.code .. ": " .. tostring(err))
        end
      end
      assert(#bad == 0, ("%d of %d differ:\n%s"):format(#bad, #cases, table.concat(bad, "\n", 1,
        math.min(#bad, 10))))
    end)
  end
end)
