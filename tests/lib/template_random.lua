-- Random templates of one kind each for the comparison with python3-jinja2: formats, numbers, methods,
-- filters on collections, operators, white space, and token soup for the parser. They come from a seed.
local M = {}

local state = 1
local function random(n)
  state = state * 6364136223846793005 + 1442695040888963407
  return ((state >> 33) % n) + 1
end
local function one(list) return list[random(#list)] end
local function words(text)
  local out = {}
  for word in text:gmatch "%S+" do out[#out + 1] = word end
  return out
end

local NUMBERS = words [[1 -1 0 42 98765 1.5 -2.5 0.1 1e10 1e-7 1e100 255 -255 12345.678 1e22 3.0 0.5 2.675
  true none 'x' 'héé' [1] ]]
local STRINGS = { "'hello world'", "'Größe ñ'", [['a\tb\nc']], "'  x  '", "''", "'ABC def'", [['it\'s']], "'x,y;z'",
  "'a-b_c.d'", [['\x00\x7f\u00a0\u2028']], "'日本語'", [['e\u0301']], "'😀'", [['O\'Neil mc-donald']],
  [['a\r\nb\x0bc\x0cd\x1ce\x85f']], [['<p class="a">x &amp; y</p>']], "'x'*30", "'12'" }
local METHODS = words [[.upper() .lower() .title() .capitalize() .swapcase() .strip() .split() .splitlines()
  .isalpha() .isdigit() .isnumeric() .isdecimal() .isalnum() .isspace() .isupper() .islower() .istitle()
  .isidentifier() .isprintable() .isascii() .casefold() .expandtabs() .expandtabs(3) .center(15) .ljust(15,'*')
  .zfill(9) |upper |title |capitalize |wordcount |list |reverse |urlencode |e |striptags |tojson |length |trim
  |indent |center(20) |truncate(5) |truncate(8,True) |wordwrap(6) |wordwrap(3) |string |pprint |first |last |sort
  |unique|list |batch(3)|list |slice(3)|list |int |float |replace('a','b') |join('-') |xmlattr |forceescape
  |safe |max |min |map('upper')|list .find('b') .rindex('x') .partition('\x20') .rpartition('-') .rsplit()
  .split(None,1) .rsplit(',',1) .count('') .replace('','-') .format_map({'a':1}) .startswith('a')
  .endswith(('x','d')) .lstrip('ah') .removeprefix('a') [1:3] [::-2] [-3:] [:100] [100] |filesizeformat |abs
  |round |dictsort |items|list |groupby(0) |sum |wordwrap(10,wrapstring='|') |indent(2,true,true) |default('q')]]
local COLLECTIONS = words [=[[3,1,2] ['b','A','c'] [] {} {'b':1,'a':2} d people nested mixed (1,2,3) range(5) 'abc'
  strs floats tree [1,'a',none] [[2,'b'],[1,'a']] [true,false,1] {'x':{'y':[1,2]}} d.items() d.values()|list range(0)
  [1.5,1,2.25] [none,none] 5 none '12']=]
local FILTERS = words [=[|sort |sort(reverse=true) |sort(attribute='name') |sort(attribute='age,name') |unique|list
  |list |first |last |length |sum |max |min |join(',') |map('string')|list |map(attribute='name')|list
  |map(attribute=0)|list |map(attribute='x.y')|list |select('defined')|list |selectattr('age','ge',26)|list
  |rejectattr('name')|list |reject('odd')|list |groupby('age') |batch(2)|list |batch(2,'-')|list |slice(2)|list
  |slice(2,'-')|list |reverse|list |dictsort |dictsort(by='value') |items|list |tojson |tojson(indent=2) |pprint
  |string |xmlattr |urlencode |e [0] [-1] ['a'] .a .count(1) .index(1) .copy() .get('a') .pop() .keys()|list
  .values()|list .items()|list |wordcount |abs |round |int |float |default('z',true) |sum(start=1)
  |sum(attribute='age') |min(attribute='age') |unique(attribute='age')|map(attribute='name')|list
  |map('default','q')|list |map('int')|list |map('float')|list |select|list |select('string')|list
  |select('in',[1,2])|list |sort(case_sensitive=true) |join(attribute='name') |map('length')|list
  |map('first')|list |list|length |format(1) |upper |trim |center |indent |replace(1,2) .append(1) .extend([1])
  .update(a=1) .clear() .sort() .reverse() .insert(0,1) .remove(1) .setdefault('a',1) .popitem()]=]
local OPERATORS = words "< <= > >= == != in + - * // % / ~ and or"
local TESTS = { "odd", "even", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable",
  "none", "defined", "undefined", "callable", "lower", "upper", "true", "false", "escaped", "divisibleby 2", "eq 1",
  "in [1]", "sameas none", "lt 2", "gt 'a'" }
local TOKENS = words [=[a b s list d missing 1 2.5 'x' "y" + - * / // ** % ~ ( ) [ ] { } , . : | = == != < > <= >= and
  or not in is if else elif for set macro call true none upper join default defined odd loop recursive x y
  items filter endif endfor import include as from ignore without context block endblock scoped required do raw
  endraw |upper (1) [0] .k ~ |e *a **d]=]
local HEADS = { "if", "for", "set", "macro", "call", "filter", "with", "block", "include", "do", "print", "extends",
  "import", "from", "raw", "autoescape", "for x in", "set x =", "if a", "macro m(", "call m(", "with x =" }
local ENDS = { "", "{% endif %}", "{% endfor %}", "{% endmacro %}", "{% endset %}", "{% endcall %}",
  "{% endwith %}", "{% endfilter %}", "{% endblock %}", "{% else %}" }

local kinds = {}

function kinds.percent()
  local fields, values = {}, {}
  for i = 1, random(3) do
    fields[i] = one { "", "a " } .. "%" .. one { "", "", "-", "+", " ", "0", "#", "-0", "+0" } ..
      one { "", "", "5", "10" } .. one { "", "", ".0", ".2", ".5", "." } ..
      one(words "s d f x X o e g r G E i c % a F u z")
    values[i] = one(NUMBERS)
  end
  return ("{{ '%s' %% (%s,) }}"):format(table.concat(fields, "|"), table.concat(values, ", "))
end

function kinds.format()
  local fields, values = {}, {}
  for i = 1, random(3) do
    local spec = one { "", "", "*<", "0>", "x^", "=" } .. one { "", "", "+", "-", " " } .. one { "", "", "#" } ..
      one { "", "", "0" } .. one { "", "", "5", "10", "1" } .. one { "", "", ",", "_" } ..
      one { "", "", ".0", ".2", ".5" } ..
      one { "", "", "s", "d", "f", "x", "X", "o", "e", "g", "b", "%", "n", "c", "E" }
    fields[i] = "{" .. one { "", tostring(i - 1) } .. one { "", "", "!r", "!s", "!a" } ..
      (spec ~= "" and ":" .. spec or "") .. "}"
    values[i] = one(NUMBERS)
  end
  return ("{{ '%s'.format(%s) }}"):format(table.concat(fields, "|"), table.concat(values, ", "))
end

function kinds.floats()
  local mantissa = random(2 ^ 31 - 1 | 0) * 4194304 + random(4194304)
  local text = ("%.17g"):format(mantissa * 10.0 ^ (random(34) - 36))
  return (("{{ X }} {{ [X] }} {{ X|round(%d) }} {{ X|int }} {{ '%%.3f' %% X }} {{ '{:.4g}'.format(X) }} {{ X * 3 }} " ..
    "{{ X|string|float == X }} {{ X // 7 }} {{ X %% 7 }} {{ -X // 7 }} {{ X|filesizeformat }}"):format(random(6) - 1)
    :gsub("X", text))
end

function kinds.strings()
  return ("{{ (%s)%s }}|{{ ((%s)%s)%s }}"):format(one(STRINGS), one(METHODS), one(STRINGS),
    one { "|upper", ".lower()", "|title", "", "[1:]" }, one(METHODS))
end

function kinds.collections()
  return ("{%% set v = %s %%}{{ v%s }}|{{ v }}|{{ (%s%s)%s }}"):format(one(COLLECTIONS), one(FILTERS),
    one(COLLECTIONS), one(FILTERS), one(FILTERS))
end

function kinds.operators()
  local function value() return one(one { NUMBERS, COLLECTIONS, STRINGS }) end
  return ("{{ %s %s %s }}|{{ %s is %s%s }}"):format(value(), one(OPERATORS), value(), value(), one { "", "not " },
    one(TESTS))
end

function kinds.soup()
  local out = {}
  for i = 1, random(3) do
    local tokens, kind = {}, random(3)
    for k = 1, random(6) do tokens[k] = one(TOKENS) end
    local inner = table.concat(tokens, " ")
    if kind == 1 then
      out[i] = one { "{{ ", "{{- " } .. inner .. one { " }}", " -}}" }
    elseif kind == 2 then
      out[i] = "{% " .. one(HEADS) .. " " .. inner .. " %}" .. one { "", "body" } .. one(ENDS)
    else
      out[i] = one { "text\n", " # x ", "{# c #}", "\n", "{{", "}}", "{%", "%}" }
    end
  end
  return table.concat(out)
end

local function sign() return one { "", "", "-", "+" } end
local function tag(name) return "{%" .. sign() .. " " .. name .. " " .. sign() .. "%}" end
local function gap()
  return one { "", " ", "  ", "\n", "\n\n", " \n", "\n  ", "\t", "\n \n ", "x", "x\n", " x ", "\r\n", "\r" }
end

function kinds.spaces()
  local out, open = {}, {}
  for _ = 1, random(6) do
    out[#out + 1] = gap()
    local kind = random(6)
    if kind == 1 then
      out[#out + 1] = "{{" .. one { "", "-", "+" } .. " a " .. one { "", "-" } .. "}}"
    elseif kind == 2 then
      out[#out + 1] = "{#" .. one { "", "-", "+" } .. " c " .. one { "", "-", "+" } .. "#}"
    elseif kind == 3 then
      out[#out + 1] = tag "if true"
      open[#open + 1] = "endif"
    elseif kind == 4 then
      out[#out + 1] = tag "for i in [1,2]"
      open[#open + 1] = "endfor"
    elseif kind == 5 then
      out[#out + 1] = tag "raw" .. gap() .. one { "", "{{ x }}" } .. gap() .. tag "endraw"
    else
      out[#out + 1] = tag "set q = 1"
    end
    if #open > 0 and random(2) == 1 then out[#out + 1] = gap() .. tag(table.remove(open)) end
  end
  while #open > 0 do out[#out + 1] = gap() .. tag(table.remove(open)) end
  local text = table.concat(out) .. gap()
  local options = { trim_blocks = random(2) == 1, lstrip_blocks = random(2) == 1,
    keep_trailing_newline = random(2) == 1 }
  if random(4) == 1 then
    options.line_statement_prefix = one { "%", "#" }
    text = text:gsub("{%%[-+]? (set q = 1) [-+]?%%}", "\n  " .. options.line_statement_prefix:gsub("%%", "%%%%")
      .. " %1\n")
  end
  if random(4) == 1 then
    options.line_comment_prefix = one { "##", "//" }
    text = text:gsub("x", "x " .. options.line_comment_prefix .. " c")
  end
  return text, options
end

M.KINDS = { "percent", "format", "floats", "strings", "collections", "operators", "spaces", "soup" }

---n templates of a kind: their text and options.
---@param kind string one of KINDS
---@param seed integer
---@param n integer
---@return {template: string, options: table|nil}[]
function M.templates(kind, seed, n)
  state = seed
  local out = {}
  for i = 1, n do
    local text, options = kinds[kind]()
    out[i] = { template = text, options = options }
  end
  return out
end

return M
