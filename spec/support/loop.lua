--- Specs that wait: a test's body as a coroutine on the event loop, with a deadline.
-- @module spec.support.loop
local uv = require("luv")

local loop = {}

local function start(fn)
  local has_async, async = pcall(require, "moonlb.async")
  if has_async then
    async.run(fn)
  else
    assert(coroutine.resume(coroutine.create(fn)))
  end
end

--- Make the body of an `it` from a function that may wait (by `moonlb.async`, or by `loop.until_true`).
-- Runs the loop until the function returns or raises; what it raises fails the test.
-- @tparam function fn
-- @tparam[opt=30] number timeout_s  the test fails when it takes longer
-- @treturn function
function loop.test(fn, timeout_s)
  return function()
    local is_done, ok, err = false, nil, nil
    local is_late = false
    local deadline = uv.new_timer()
    deadline:start(math.floor((timeout_s or 30) * 1000), 0, function() is_late = true end)
    start(function()
      ok, err = pcall(fn)
      is_done = true
    end)
    while not is_done and not is_late do uv.run("once") end
    deadline:close()
    if not is_done then error(("the test did not end within %g s"):format(timeout_s or 30), 0) end
    if not ok then error(err, 0) end
  end
end

--- Wait, inside `loop.test`, until `fn()` is truthy.
-- @tparam function fn
-- @tparam[opt=10] number timeout_s
-- @tparam[opt] string what  named in the error when it takes longer
-- @return what `fn` returned
function loop.until_true(fn, timeout_s, what)
  local give_up = uv.hrtime() + (timeout_s or 10) * 1e9
  local timer = uv.new_timer()
  local co = coroutine.running()
  local value = fn()
  while not value and uv.hrtime() < give_up do
    timer:start(5, 0, function() assert(coroutine.resume(co)) end)
    coroutine.yield()
    value = fn()
  end
  timer:close()
  return value or error(("%s: not within %g s"):format(what or "condition", timeout_s or 10), 2)
end

return loop
