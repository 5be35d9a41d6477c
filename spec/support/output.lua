--- busted output handler: the failures with file, line and message, what was skipped by name, and a closing line
-- `N passed, N failed, N skipped` that spec/run adds up. An error outside any test (a spec that does not load) is a
-- failure.
local pretty = require("pl.pretty")

local function describe(failure)
  local trace = failure.trace or failure.element.trace or {}
  local message = failure.message
  if type(message) ~= "string" then message = message == nil and "no message" or pretty.write(message) end
  return ("FAILED %s\n  at %s:%s\n  %s"):format(failure.name, trace.short_src or "?", trace.currentline or "?",
    message:gsub("\n", "\n  "))
end

return function()
  local busted = require("busted")
  local handler = require("busted.outputHandlers.base")()

  function handler.suite_end()
    for _, pending in ipairs(handler.pendings) do
      local why = pending.message and (": " .. tostring(pending.message)) or ""
      print("skipped " .. pending.name .. why)
    end
    for _, failure in ipairs(handler.failures) do print(describe(failure)) end
    for _, failure in ipairs(handler.errors) do print(describe(failure)) end
    print(("%d passed, %d failed, %d skipped"):format(handler.successesCount,
      handler.failuresCount + handler.errorsCount, handler.pendingsCount))
    io.stdout:flush()
    return nil, true
  end

  busted.subscribe({ "suite", "end" }, handler.suite_end)
  return handler
end
