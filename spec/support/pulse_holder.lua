-- Not a spec: a process that holds the addresses of $HOLD on eth0 until it is killed, for specs that stop it.
local log = require("moonlb.core.log")
local pulse = require("moonlb.core.pulse")
local pulsing = require("spec.support.pulsing")
local loop = require("spec.support.loop")
local uv = require("luv")

local function say(text)
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

it("holds", loop.test(function()
  log.configure({ level = "error" })
  local p
  p = assert(pulse.start({ on_event = function(event)
    say(event.type .. " " .. (event.reason or ""))
    if event.type == "mute" then p:acknowledge() end
  end }))
  local alive = uv.new_timer()
  alive:start(0, 500, function() p:alive() end)
  local index = pulsing.index()
  assert(p:attach(index, pulsing.mac()))
  for address in os.getenv("HOLD"):gmatch("[^,]+") do assert(p:hold(address, index)) end
  assert(p:publish())
  say("holding")
  loop.until_true(function() return false end, 300)
end, 300))
