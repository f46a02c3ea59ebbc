-- Build checks under the names of BuildKit's linter: those that need no values, and what the `check`
-- directive says about all of them.
local fault = require "bakery.containerfile.fault"
local flags = require "bakery.containerfile.flags"

local checks = {}

---Rules that BuildKit has too: only these are errors with `# check=error=true`. false: experimental,
---reported only when asked for by `# check=experimental=RULE|all`.
checks.rules = {
  StageNameCasing = true, FromAsCasing = true, NoEmptyContinuation = true, ConsistentInstructionCasing = true,
  DuplicateStageName = true, ReservedStageName = true, JSONArgsRecommended = true, MaintainerDeprecated = true,
  UndefinedArgInFrom = true, UndefinedVar = true, WorkdirRelativePath = true, MultipleInstructionsDisallowed = true,
  SecretsUsedInArgOrEnv = true, InvalidDefaultArgInFrom = true, LegacyKeyValueFormat = true,
  FromPlatformFlagConstDisallowed = true, RedundantTargetPlatform = true, InvalidBaseImagePlatform = true,
  ExposeProtoCasing = true, ExposeInvalidFormat = true, CopyIgnoredFile = true, InvalidDefinitionDescription = false,
}

local function names(value, out)
  for rule in value:gmatch("[^,]+") do out[rule == "all" and "all" or rule] = true end
end

---Reads `skip=A,B|all;experimental=C;error=true`; what follows a blank is not part of it.
---@param text string|nil
---@return {skip: table<string, boolean>, experimental: table<string, boolean>, error: boolean}
---@return string|nil bad what is no such option
function checks.options(text)
  local out, bad = { skip = {}, experimental = {}, error = false }, nil
  for part in (text or ""):match("^[^ ]*"):gmatch("[^;]+") do
    local key, value = part:match("^(%a+)=(.*)$")
    local on = key == "error" and flags.boolean(value)
    if key == "skip" then names(value, out.skip)
    elseif key == "experimental" then names(value, out.experimental)
    elseif key == "error" and on ~= nil then out.error = on
    else bad = bad or part end
  end
  return out, bad
end

---Raises when the options of a file or a build are no such.
---@param text string|nil
---@param at table|nil place for the message
---@return table options of checks.options
function checks.read(text, at)
  local out, bad = checks.options(text)
  if bad then
    fault.raise("check", ("invalid check option '%s'"):format(bad), at, "write skip=RULE,RULE|all, experimental=RULE|all and error=true, with ; between them")
  end
  return out
end

-- Rules that concern the stages of a build only: what stands in others is no business of it.
checks.of_stages = { LegacyKeyValueFormat = true, SecretsUsedInArgOrEnv = true, JSONArgsRecommended = true,
  MultipleInstructionsDisallowed = true }

---Options in the comments above an instruction (`# check=skip=RULE`), which hold for it alone: of the first such one.
---@param comments string[]|nil
---@return table|nil options
function checks.of_comments(comments)
  for _, comment in ipairs(comments or {}) do
    local key, value = comment:match("^(%a%w*)%s*=%s*(%S.*)$")
    if key and key:lower() == "check" then
      local options, bad = checks.options(value)
      return not bad and options or nil
    end
  end
  return nil
end

local function named(list, rule) return list.all or list[rule] or false end

---Whether a rule is to be reported: an experimental one when it is asked for, any other when it is not skipped.
---@param options table of checks.options
---@param rule string
---@param own table|nil options of the instruction in question
function checks.wanted(options, rule, own)
  if checks.rules[rule] == false then
    return named(options.experimental, rule) or own ~= nil and named(own.experimental, rule)
  end
  return not (named(options.skip, rule) or own and named(own.skip, rule))
end

-- "upper", "lower", or nil for mixed case.
local function casing(word)
  return word == word:upper() and "upper" or word == word:lower() and "lower" or nil
end

local function check_casing(list, warn)
  local upper, lower = 0, 0
  for _, ins in ipairs(list) do
    local case = casing(ins.word)
    if case == "upper" then upper = upper + 1 elseif case == "lower" then lower = lower + 1 end
  end
  local majority = lower > upper and "lower" or "upper"
  for _, ins in ipairs(list) do
    if casing(ins.word) ~= majority then
      warn("ConsistentInstructionCasing", ("'%s' should be written in %s case, as the other instructions"):format(ins.word,
        majority), ins.line)
    end
  end
end

local function check_from(ins, warn)
  if ins.as_word and casing(ins.word) and casing(ins.as_word) ~= casing(ins.word) then
    warn("FromAsCasing", ("'%s' and '%s' are written in different case"):format(ins.as_word, ins.word), ins.line)
  end
  if ins.as_name and ins.as_name ~= ins.as then
    warn("StageNameCasing", ("stage name '%s' should be lower case"):format(ins.as_name), ins.line)
  end
  local platform = ins.platform
  if platform and not platform:find("$", 1, true) then
    local os_name, arch = platform:lower():match("^([^/]+)/([^/]+)")
    local function is_named(part) return ins.as ~= nil and ins.as:find(part, 1, true) ~= nil end
    if not (is_named(arch or platform:lower()) or os_name and is_named(os_name)) then
      warn("FromPlatformFlagConstDisallowed", ("--platform=%s builds this stage for one platform only; use $TARGETPLATFORM, "
        .. "$BUILDPLATFORM or no flag"):format(platform), ins.line)
    end
  end
end

-- "# name text" above FROM … AS name or ARG name describes it; any other comment there is a mistake.
local function check_description(ins, warn)
  local wanted = ins.name == "FROM" and { ins.as } or {}
  for _, arg in ipairs(ins.name == "ARG" and ins.args or {}) do wanted[#wanted + 1] = arg.key end
  for _, line in ipairs(ins.comments or {}) do
    local good = #wanted == 0 or line:find("^check%s*=") ~= nil
    for _, name in ipairs(wanted) do good = good or line:sub(1, #name + 1) == name .. " " end
    if not good then
      warn("InvalidDefinitionDescription", ("the comment above %s should begin with '%s'"):format(ins.name, wanted[1]), ins.line)
      return
    end
  end
end

---Runs the rules over the instructions of a file.
---@param list table[]
---@param warn fun(rule: string, message: string, line: integer)
function checks.run(list, warn)
  check_casing(list, warn)
  local shell, stage, shells = false, nil, {} -- whether a stage has a SHELL of its own or of its base
  for _, ins in ipairs(list) do
    if ins.name == "FROM" then
      shell, stage = shells[ins.image:lower()] or false, ins.as
      if stage then shells[stage] = shell end
      check_from(ins, warn)
    elseif ins.name == "SHELL" then
      shell = true
      if stage then shells[stage] = true end
    elseif (ins.name == "CMD" or ins.name == "ENTRYPOINT") and ins.form == "shell" and not shell then
      warn("JSONArgsRecommended", ("%s in shell form: the program is a child of /bin/sh and gets no signals; write %s [\"…\"]")
        :format(ins.name, ins.name), ins.line)
    end
    if ins.name == "FROM" or ins.name == "ARG" then check_description(ins, warn) end
  end
end

return checks
