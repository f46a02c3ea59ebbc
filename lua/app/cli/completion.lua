--- Shell completion scripts, made from the command tables. Names that depend on the project
--- (images, versions, recipes …) are asked for at completion time: bakery __complete KIND.
local M = {}

local function walk(commands, fn, path)
  for _, c in ipairs(commands) do
    if not c.hidden then
      local p = path and path .. " " .. c.name or c.name
      fn(c, p)
      if c.subcommands then walk(c.subcommands, fn, p) end
    end
  end
end

local function names(list)
  local out = {}
  for _, c in ipairs(list) do if not c.hidden then out[#out + 1] = c.name end end
  return table.concat(out, " ")
end

local function flags(c)
  local out = {}
  for _, o in ipairs(c.options or {}) do
    if not o.hidden then
      out[#out + 1] = "--" .. o.name
      if o.type == "switch" then out[#out + 1] = "--no-" .. o.name end
    end
  end
  return table.concat(out, " ")
end

local function recipes(commands)
  local out = {}
  for _, c in ipairs(commands) do if c.recipe then out[#out + 1] = c.name end end
  return out
end

local function value_cases(commands)
  local seen, cases = {}, {}
  walk(commands, function(c)
    for _, o in ipairs(c.options or {}) do
      local kind = o.choices and "words " .. table.concat(o.choices, " ")
        or (o.complete == "file" or o.complete == "dir") and o.complete
        or o.complete and "ask " .. o.complete
        or (o.type ~= "flag" and o.type ~= "switch") and "none"
      if kind and not seen[o.name] then
        seen[o.name] = true
        cases[#cases + 1] = { "--" .. o.name .. (o.short and "|-" .. o.short or ""), kind }
      end
    end
  end)
  return cases
end

-- Pattern of the options whose value is the next word.
local function valued(cases)
  local out = {}
  for i, v in ipairs(cases) do out[i] = v[1] end
  return table.concat(out, "|")
end

-- Words that a command's first argument may be, as "a|b" in its name.
local function choices(c)
  local name = c.args and c.args[1] and c.args[1].name
  return name and name:find("|", 1, true) and name:gsub("|", " ") or nil
end

-- `bakery recipe build` takes what `bakery build` takes.
local function recipe_pattern(commands)
  local out = {}
  for i, name in ipairs(recipes(commands)) do out[i] = '"recipe ' .. name .. '"*' end
  return table.concat(out, "|")
end

function M.bash(commands)
  local out = { "# bash completion for bakery", "_bakery() {",
    '  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path="" w skip=""',
    '  for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
    '    if [[ $skip ]]; then skip=""; continue; fi',
    ('    case $w in %s) skip=1 ;; -*) ;; *) path="$path${path:+ }$w" ;; esac'):format(valued(value_cases(commands))),
    "  done",
    ("  case $path in %s) path=${path#recipe } ;; esac"):format(recipe_pattern(commands)),
    "  case $prev in" }
  for _, v in ipairs(value_cases(commands)) do
    local name, kind = v[1], v[2]
    local action
    if kind:sub(1, 6) == "words " then action = ('COMPREPLY=($(compgen -W "%s" -- "$cur"))'):format(kind:sub(7))
    elseif kind == "file" then action = 'COMPREPLY=($(compgen -f -- "$cur"))'
    elseif kind == "dir" then action = 'COMPREPLY=($(compgen -d -- "$cur"))'
    elseif kind == "none" then action = "COMPREPLY=()"
    else action = ('COMPREPLY=($(compgen -W "$(bakery __complete %s 2>/dev/null)" -- "$cur"))'):format(kind:sub(5)) end
    out[#out + 1] = ("    %s) %s; return ;;"):format(name, action)
  end
  out[#out + 1] = "  esac"
  out[#out + 1] = "  case $path in"
  out[#out + 1] = ('    "") COMPREPLY=($(compgen -W "%s --help --version" -- "$cur")) ;;'):format(names(commands))
  local entries = {}
  walk(commands, function(c, p)
    local words = (c.subcommands and names(c.subcommands) .. " " or "") .. flags(c)
    local ask = c.args and c.args[1] and c.args[1].complete
    if ask and ask ~= "file" then words = words .. " $(bakery __complete " .. ask .. " 2>/dev/null)" end
    if choices(c) then words = choices(c) .. " " .. words end
    entries[#entries + 1] = { p, words }
  end)
  table.sort(entries, function(a, b) return #a[1] > #b[1] end)
  for _, e in ipairs(entries) do
    out[#out + 1] = ('    "%s"|"%s "*) COMPREPLY=($(compgen -W "%s" -- "$cur")) ;;'):format(e[1], e[1], e[2])
  end
  out[#out + 1] = "  esac\n}\ncomplete -F _bakery bakery\n"
  return table.concat(out, "\n")
end

local function quote(text) return (text:gsub("'", "'\\''")) end

function M.zsh(commands)
  local out = { "#compdef bakery", "_bakery() {", "  local -a words_; local path_='' w skip=''",
    "  for w in ${words[2,CURRENT-1]}; do",
    "    if [[ -n $skip ]]; then skip=''; continue; fi",
    ("    case $w in (%s) skip=1 ;; (-*) ;; (*) path_=\"$path_${path_:+ }$w\" ;; esac"):format(valued(value_cases(commands))),
    "  done",
    ("  case $path_ in (%s) path_=${path_#recipe } ;; esac"):format(recipe_pattern(commands)),
    "  case ${words[CURRENT-1]} in" }
  for _, v in ipairs(value_cases(commands)) do
    local name, kind = v[1], v[2]
    local action
    if kind:sub(1, 6) == "words " then action = "compadd " .. kind:sub(7)
    elseif kind == "file" then action = "_files"
    elseif kind == "dir" then action = "_files -/"
    elseif kind == "none" then action = "_message value"
    else action = "compadd $(bakery __complete " .. kind:sub(5) .. " 2>/dev/null)" end
    out[#out + 1] = ("    (%s) %s; return ;;"):format(name, action)
  end
  out[#out + 1] = "  esac"
  out[#out + 1] = "  case $path_ in"
  local function describe(c, list)
    local items = {}
    for _, s in ipairs(list or {}) do
      if not s.hidden then items[#items + 1] = ("'%s:%s'"):format(s.name, quote(s.summary)) end
    end
    for _, o in ipairs(c and c.options or {}) do
      if not o.hidden then items[#items + 1] = ("'--%s:%s'"):format(o.name, quote(o.help or "")) end
    end
    return "words_=(" .. table.concat(items, " ") .. "); _describe command words_"
  end
  out[#out + 1] = "    '') " .. describe(nil, commands) .. " ;;"
  local entries = {}
  walk(commands, function(c, p) entries[#entries + 1] = { p, describe(c, c.subcommands), c } end)
  table.sort(entries, function(a, b) return #a[1] > #b[1] end)
  for _, e in ipairs(entries) do
    local ask = e[3].args and e[3].args[1] and e[3].args[1].complete
    local more = choices(e[3]) and "; compadd " .. choices(e[3]) or ask == "file" and "; _files"
      or ask and "; compadd $(bakery __complete " .. ask .. " 2>/dev/null)" or ""
    out[#out + 1] = ("    '%s'|'%s '*) %s%s ;;"):format(e[1], e[1], e[2], more)
  end
  out[#out + 1] = "  esac\n}\n_bakery \"$@\"\n"
  return table.concat(out, "\n")
end

function M.fish(commands)
  local out = { "# fish completion for bakery", "complete -c bakery -f",
    "function __bakery_path\n  set -l words (commandline -opc)\n  set -l path\n"
    .. "  for w in $words[2..-1]\n    string match -q -- '-*' $w; or set path $path $w\n  end\n"
    .. "  echo $path\nend" }
  for _, c in ipairs(commands) do
    if not c.hidden then
      out[#out + 1] = ("complete -c bakery -n 'test -z (__bakery_path)' -a '%s' -d '%s'"):format(c.name, quote(c.summary))
    end
  end
  walk(commands, function(c, p)
    local cond = ("string match -q -- '%s*' (__bakery_path)"):format(p)
    for _, s in ipairs(c.subcommands or {}) do
      if not s.hidden then
        out[#out + 1] = ('complete -c bakery -n "test (__bakery_path) = \'%s\'" -a \'%s\' -d \'%s\''):format(p, s.name, quote(s.summary))
      end
    end
    for _, o in ipairs(c.options or {}) do
      if not o.hidden then
        local line = ('complete -c bakery -n "%s" -l %s -d \'%s\''):format(cond, o.name, quote(o.help or ""))
        if o.short then line = line .. " -s " .. o.short end
        if o.choices then line = line .. " -x -a '" .. table.concat(o.choices, " ") .. "'"
        elseif o.complete == "file" or o.complete == "dir" then line = line .. " -r -F"
        elseif o.complete then line = line .. " -x -a '(bakery __complete " .. o.complete .. " 2>/dev/null)'"
        elseif o.type ~= "flag" and o.type ~= "switch" then line = line .. " -x" end
        out[#out + 1] = line
      end
    end
    local ask = c.args and c.args[1] and c.args[1].complete
    if choices(c) then out[#out + 1] = ('complete -c bakery -n "%s" -a "%s"'):format(cond, choices(c)) end
    if ask == "file" then out[#out + 1] = ('complete -c bakery -n "%s" -F'):format(cond)
    elseif ask then
      out[#out + 1] = ('complete -c bakery -n "%s" -a "(bakery __complete %s 2>/dev/null)"'):format(cond, ask)
    end
  end)
  return table.concat(out, "\n") .. "\n"
end

return M
