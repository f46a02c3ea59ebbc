--- Exit codes and their classes: frozen numbers.
local M = {}

M.list = {
  { code = 0, class = "ok", help = "everything selected succeeded", retry = "-" },
  { code = 1, class = "build", help = "a step failed and no target succeeded, or --fail-fast", retry = "no" },
  { code = 2, class = "usage", help = "bad flag, bad bakery.yaml, Lua syntax error, unknown tool", retry = "no" },
  { code = 3, class = "gate", help = "lint, scan, policy or size budget said no", retry = "no" },
  { code = 4, class = "test", help = "tests of an image failed", retry = "no" },
  { code = 5, class = "partial", help = "some targets succeeded, others failed or were skipped", retry = "resume" },
  { code = 6, class = "infra", help = "registry, network, disk or a missing report", retry = "yes" },
  { code = 7, class = "drift", help = "locked or rendered files out of date", retry = "no" },
  { code = 8, class = "empty", help = "the selection matched no target", retry = "no" },
  { code = 9, class = "denied", help = "refused by sandbox or trust rules", retry = "no" },
  { code = 124, class = "timeout", help = "timed out", retry = "maybe" },
  { code = 130, class = "interrupt", help = "interrupted (SIGINT)", retry = "maybe" },
  { code = 143, class = "terminated", help = "terminated (SIGTERM)", retry = "maybe" },
}

M.code = {}
for _, e in ipairs(M.list) do M.code[e.class] = e.code end

-- Which class wins when several apply: the most useful one for a human first.
M.order = { "interrupt", "terminated", "timeout", "usage", "denied", "empty", "drift", "build", "partial",
  "test", "gate", "infra" }

--- Exit code for an error object (or anything raised).
---@param err any
---@return integer
function M.of(err)
  if type(err) == "table" and err.class then return M.code[err.class] or 1 end
  return 1
end

--- The table as text for `bakery help exit-codes`.
---@return string
function M.text()
  local out = { "code  class       meaning  (retry in CI?)" }
  for _, e in ipairs(M.list) do
    out[#out + 1] = ("%4d  %-11s %s (%s)"):format(e.code, e.class, e.help, e.retry)
  end
  return table.concat(out, "\n") .. "\n"
end

return M
