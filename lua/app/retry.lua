--- Trying again what may work later, by the policy of BAKERY_REGISTRY_RETRY_*.
local loop = require "bakery.loop"

local M = {}

-- Environment variable -> member, default, least value, whether whole.
local SETTINGS = {
  { "BAKERY_REGISTRY_RETRY_ATTEMPTS", "attempts", 5, 1, true },
  { "BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", "initial", 2.0, 0 },
  { "BAKERY_REGISTRY_RETRY_MAX_BACKOFF", "max", 32.0, 0 },
  { "BAKERY_REGISTRY_RETRY_MULTIPLIER", "multiplier", 2.0, 1 },
}

--- The policy of the environment; values that are none or too small count as unset, with a warning.
---@param env (fun(name: string): string|nil)|nil default os.getenv
---@param warn fun(text: string)|nil
---@return {attempts: integer, initial: number, max: number, multiplier: number} seconds
function M.policy(env, warn)
  local out = {}
  for _, s in ipairs(SETTINGS) do
    local text = (env or os.getenv)(s[1])
    local value = text and text ~= "" and tonumber(text) or nil
    if value and s[5] then value = math.tointeger(value) end
    if text and text ~= "" and (not value or value ~= value or value < s[4]) then
      if warn then warn(("%s: '%s' is ignored, %s is taken"):format(s[1], text, s[3])) end
      value = nil
    end
    out[s[2]] = value or s[3]
  end
  return out
end

--- Seconds to wait after the n-th failed attempt.
function M.delay(policy, n) return math.min(policy.max, policy.initial * policy.multiplier ^ (n - 1)) end

--- Calls fn until it succeeds, fails for good, or the attempts are used up. fn returns its results, or
--- nil and an error whose `retryable` and `retry_after` (seconds) say whether and when to try again.
---@param policy table of M.policy
---@param fn fun(attempt: integer): any
---@param on_retry fun(err: table, attempt: integer, seconds: number)|nil
---@return any result
---@return table|nil err
function M.run(policy, fn, on_retry)
  for attempt = 1, policy.attempts do
    local result, err = fn(attempt)
    if result ~= nil or type(err) ~= "table" or not err.retryable or attempt == policy.attempts then
      return result, err
    end
    local seconds = math.max(M.delay(policy, attempt), tonumber(err.retry_after) or 0)
    if on_retry then on_retry(err, attempt, seconds) end
    loop.sleep(seconds)
  end
end

return M
