--- Runs one spec file with busted (Debian's lua-busted) and ends with "N passed, N failed".
package.path = package.path .. ";tests/?.lua"
if os.getenv "BAKERY_GC_STRESS" then collectgarbage("incremental", 1, 1000, 1) end
local file = arg[1]
local passed, failed, skipped = 0, 0, 0

package.preload["busted.outputHandlers.bakery"] = function()
  return function()
    local busted = require "busted"
    local handler = require "busted.outputHandlers.base"()
    local function name(element) return handler.getFullName(element) end
    handler.testEnd = function(element, _, status)
      if status == "success" then passed = passed + 1
      elseif status == "pending" then
        skipped = skipped + 1
        local last = handler.pendings[#handler.pendings]
        print("skipped: " .. name(element) .. (last and type(last.message) == "string" and ": " .. last.message or ""))
      else failed = failed + 1 end
      return nil, true
    end
    local function problem(element, _, message, debug)
      print("FAILED " .. name(element))
      print("  " .. tostring(type(message) == "table" and (message.message or message) or message):gsub("\n", "\n  "))
      if debug and debug.traceback and type(message) ~= "table" then print("  " .. debug.traceback:gsub("\n", "\n  ")) end
      return nil, true
    end
    handler.testFailure = problem
    handler.testError = problem
    handler.error = function(element, parent, message, debug)
      if element.descriptor ~= "it" then
        failed = failed + 1
        return problem(element, parent, message, debug)
      end
      return nil, true
    end
    busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
    busted.subscribe({ "failure", "it" }, handler.testFailure)
    busted.subscribe({ "error", "it" }, handler.testError)
    busted.subscribe({ "failure" }, handler.error)
    busted.subscribe({ "error" }, handler.error)
    busted.subscribe({ "exit" }, function()
      print(("%d passed, %d failed%s"):format(passed, failed, skipped > 0 and ", " .. skipped .. " skipped" or ""))
      return nil, true
    end)
    return handler
  end
end

arg = { [0] = "busted", "--output=busted.outputHandlers.bakery", "--no-auto-insulate", "--pattern=_spec", file }
require "busted.runner" { standalone = false }
