-- Random templates for the comparison with python3-jinja2: a grammar of typed expressions and of
-- statements, driven by a seed. Values stay small, so that no 64-bit limit is met; now and then an
-- expression of a wrong type is put in, so that errors are compared too.
local M = {}

local state = 1
local function random(n)
  state = state * 6364136223846793005 + 1442695040888963407
  return ((state >> 33) % n) + 1
end
local function one(list) return list[random(#list)] end

-- Leaves and forms per type; N, S, L, D, B and A in a form stand for an expression of that type
-- (number, string, list, dict, boolean, any).
local LEAVES = {
  N = { "a", "b", "f", "zero", "neg", "0", "1", "2", "3", "7", "-1", "1.5", "0.25", "-2.5", "10", "x" },
  S = { "s", "u", "empty", "num", "'a'", "'b c'", "'A-b_c.d'", "'é€'", "'2.5'", "'x,y,,z'", [['q"t']],
    "'  sp  '", "'l1\\nl2'", "'<&>'", "y", "html", "Version" },
  L = { "list", "strs", "el", "mixed", "[]", "[1, 2, 3]", "['b', 'a', 'C']", "(1, 'x')", "range(5)|list",
    "nested", "people|map(attribute='age')|list", "floats[:2]" },
  D = { "d", "ed", "{'k': 1, 'z': 'y'}", "people[0]", "dict(p=1, q='r')", "{}" },
  B = { "yes", "no", "true", "false", "missing is defined" },
  A = { "none", "missing", "x", "y", "d.k", "d.n.deep[1].q", "d.missing" },
}
local FORMS = {
  N = { "(N + N)", "(N - N)", "(N * N)", "(N / (N or 1))", "(N // (N or 3))", "(N % (N or 7))", "-(N)",
    "(L)|length", "(S)|length", "(N)|abs", "(N)|round", "(N)|round(1)", "(N)|round(0, 'floor')",
    "(S)|int", "(S)|float(2.5)", "(S).find(S)", "(S).count('a')", "(S)|wordcount", "(N if B else N)",
    "[N, N]|max", "[N, N]|min", "[N, N, N]|sum", "(N)|int", "(N) ** 2", "([N, 4])[0]", "(N or N)" },
  S = { "(S + S)", "(S ~ A)", "(N ~ S ~ L)", "(S)|upper", "(S).lower()", "(S)|title", "(S)|capitalize",
    "(S)|trim", "(S)|replace('a', S)", "(S).replace('b', 'X', 1)", "(S)|indent(2)", "(S)|center(9)",
    "(S)[1:]", "(S)[:-1]", "(S)[::-1]", "(S)[::2]", "(L)|join", "(L)|join(S)", "(S)|string|reverse",
    "(S)|truncate(6)", "(S)|truncate(7, true, '..', 0)", "(S)|wordwrap(5)", "(S)|e", "(S)|urlencode",
    "(D)|tojson", "(L)|tojson", "(A)|string", "(S) * 2", "(S if B else S)", "'%s|%5s' % (A, S)",
    "'%d %.2f %x' % (N, N, 12)", "'{}/{!r}'.format(A, S)", "'{:>8}|{:<4}|{:^5}'.format(S, S, S)",
    "'{:06.2f}{:+}'.format(N, N)", "(A)|default(S)", "(S)|default(S, true)", "(S).strip('a ')",
    "(S).title()", "(S).zfill(5)", "(S).ljust(6, '.')", "(S)|striptags", "(D)|xmlattr", "(L)|pprint",
    "(S).partition('b')|join('/')", "(N)|filesizeformat", "(S)|list|join('.')", "(S or S)", "(N)|string" },
  L = { "(L + [A])", "(L)|list", "(L)|reverse|list", "(L)|unique|map('string')|list", "(L)[1:]",
    "(L)[::-1]", "(L)|map('string')|list", "(L)|map('string')|map('upper')|list", "(L)|select|list",
    "(L)|reject('none')|list", "(L)|select('number')|list", "(L)|select('number')|sort",
    "(L)|map('string')|sort", "(L)|batch(2)|list", "(L)|batch(2, N)|list", "(L)|slice(2)|list",
    "(S).split()", "(S).split(',')", "(S).rsplit('b', 1)", "(S)|list", "(D)|list", "(D).items()|list",
    "(D)|dictsort", "(D).values()|list", "[A, N, S]", "(N, S)|list", "range(N|int % 6)|list",
    "people|groupby('age')|map(attribute='grouper')|list", "people|map(attribute='name')|list",
    "people|selectattr('age', 'gt', 26)|map(attribute='name')|list", "(S).splitlines()",
    "people|sort(attribute='name')|map(attribute='name')|list", "(L) * 2", "(L if B else L)" },
  D = { "{'k': A, N: S}", "dict(D, w=A)", "{S: N}", "(D if B else D)", "{'n': D, 'l': L}" },
  B = { "(N < N)", "(N >= N)", "(S == S)", "(A == A)", "(S in S)", "(N in L)", "(A not in L)",
    "(S < S)", "(B and B)", "(B or B)", "(not B)", "(A is defined)", "(A is none)", "(N|int is odd)",
    "(A is string)", "(A is not number)", "(A is mapping)", "(A is sequence)", "(N is lt 3)", "(S is upper)",
    "(N|int is divisibleby 3)", "(S).startswith(S)", "(S).isdigit()", "(L == L)", "('k' in D)",
    "(0 < N < 5)", "(A is iterable)" },
  A = { "N", "S", "L", "D", "B", "(A or A)", "(A if B else A)", "(A if B)", "(D).k", "(D)['z']", "(D).get('k', A)",
    "(L)[0]", "(L)|first", "(L)|last", "([A, A])[1]", "(L)[7]", "(A)|default(A)", "(D).k.deep", "(S)[0]" },
}
local TYPES = { "N", "S", "L", "D", "B", "A" }

local function expression(kind, depth)
  if random(120) == 1 then kind = one(TYPES) end
  if depth <= 0 or random(5) == 1 then
    local leaves = LEAVES[kind]
    return leaves[random(#leaves)]
  end
  local form = one(FORMS[kind])
  return (form:gsub("%f[%w]([NSLDBA])%f[^%w]", function(k) return expression(k, depth - 1) end))
end

local body

local function any(depth) return expression(one(TYPES), depth or 2) end

local statements = {
  function(d)
    return "{% if " .. expression("B", 2) .. " %}" .. body(d) .. one { "", "{% elif " .. any() ..
      " %}" .. body(d) } .. one { "", "{% else %}" .. body(d) } .. "{% endif %}"
  end,
  function(d)
    return "{% for x in " .. expression("L", 2) .. one { "", " if " .. expression("B", 1) } .. " %}" ..
      body(d) .. one { "", "{{ loop.index }}/{{ loop.length }}", "{{ loop.last }}{{ loop.first }}",
        "{{ loop.revindex0 }}", "{{ loop.cycle('p', 'q') }}", "{{ loop.changed(x) }}",
        "{% if loop.index > 2 %}{% break %}{% endif %}", "{{ loop.previtem|default('-') }}",
        "{% if x is string %}{% continue %}{% endif %}{{ x }}", "{{ loop.nextitem is defined }}" } ..
      one { "", "{% else %}" .. body(d) } .. "{% endfor %}"
  end,
  function(d)
    return "{% for k, v in " .. expression("D", 1) .. ".items() %}{{ k }}={{ v }}" .. body(d) ..
      "{% endfor %}"
  end,
  function() return "{% set " .. one { "x", "y", "a" } .. " = " .. any() .. " %}" end,
  function()
    return "{% set x, y = " .. one { "[1, 2]", "'ab'", "(3, [4])", "(" .. any() .. ", " .. any() .. ")" } ..
      " %}{{ x }}{{ y }}"
  end,
  function(d)
    return "{% set y" .. one { "", " | upper", " | trim | length", " | replace(' ', '')" } .. " %}" ..
      body(d) .. "{% endset %}[{{ y }}]"
  end,
  function(d) return "{% with x = " .. any() .. ", y = x %}" .. body(d) .. "{% endwith %}" end,
  function(d)
    return "{% macro m(x, y=" .. any() .. ") %}" .. body(d) .. "{% endmacro %}{{ m(" .. any() ..
      one { "", ", y=" .. any(), ", " .. any() } .. ") }}"
  end,
  function(d)
    return "{% filter " .. one { "upper", "trim", "indent(1)", "replace('a', 'b')", "wordwrap(7)" } ..
      " %}" .. body(d) .. "{% endfilter %}"
  end,
  function(d)
    return "{% macro w(q) %}<{{ caller(q) }}{{ varargs|length }}>{% endmacro %}{% call(x) w(" .. any() ..
      ") %}" .. body(d) .. "{% endcall %}"
  end,
  function()
    return "{% set ns = namespace(v=" .. any() .. ") %}{% for x in [1, 2] %}{% set ns.v = [x, ns.v] %}" ..
      "{% endfor %}{{ ns.v }}"
  end,
  function(d)
    return "{% block b" .. random(1000000) .. " %}" .. body(d) .. "{% endblock %}"
  end,
  function() return one { "{%- do el.append(1) -%}", "{%- set y = 'w' -%}", "{% raw %} {{ x }} {% endraw %}" } end,
}

function body(depth)
  local out = {}
  for _ = 1, random(3) do
    local k = random(5)
    if k == 1 or depth <= 0 then
      out[#out + 1] = one { "text ", "\n  ", " a\n", "-", "{# c #}", "  {#- c -#}  ", "{{ x }}" }
    elseif k == 2 then
      out[#out + 1] = one(statements)(depth - 1)
    else
      out[#out + 1] = one { "{{ ", "{{- ", "{{ " } .. any(3) .. one { " }}", " -}}", " }}" }
    end
  end
  return table.concat(out)
end

---n templates for a seed.
---@param seed integer
---@param n integer
---@return string[]
function M.templates(seed, n)
  state = seed
  local out = {}
  for i = 1, n do out[i] = random(2) == 1 and "{{ " .. any(4) .. " }}" or body(3) end
  return out
end

return M
