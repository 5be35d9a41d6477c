-- Run by spec/bench/pulse.
local pulsing = require("spec.support.pulsing")
require("moonlb.core.log").configure({ level = "error" })

local addresses = tonumber(os.getenv("ADDRESSES"))
local rate, seconds = tonumber(os.getenv("RATE")), tonumber(os.getenv("SECONDS_LONG"))

local function say(...)
  io.stdout:write(string.format(...), "\n")
end

local function ask(first, count, rounds)
  return pulsing.must("client", "/usr/bin/python3", "spec/support/arp_asker.py", "eth0", first, tostring(count),
    tostring(rate), tostring(rounds)):gsub("%s+$", "")
end

-- CPU seconds of the thread named pulse (proc(5): utime and stime, in ticks of 10 ms).
local function thread_seconds()
  local pipe = io.popen("cat /proc/$PPID/task/*/stat")
  local fields = pipe:read("a"):match("%(pulse%) ([^\n]*)")
  pipe:close()
  local utime, stime = fields:match("^%S+" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (utime + stime) / 100
end

it("bench", pulsing.test(function(p, _, index)
  local hold_from = os.clock()
  for i = 0, addresses - 1 do
    assert(p:hold(("10.%d.%d.%d"):format(78 + i // 65536, i // 256 % 256, i % 256), index))
  end
  assert(p:publish())
  say("held      %d addresses, table built and published in %.1f ms of CPU", addresses, (os.clock() - hold_from) * 1e3)
  local count = math.min(addresses, rate * seconds)
  -- With arp_ignore 0 the kernel answers for every local address, and this route makes 65,536 of them.
  local ignore = "/proc/sys/net/ipv4/conf/eth0/arp_ignore"
  pulsing.must(nil, "sh", "-c", "echo 0 >" .. ignore .. " && ip route add local 10.99.0.0/16 dev lo")
  say("kernel    %s us", ask("10.99.0.0", count, rate * seconds // count))
  pulsing.must(nil, "sh", "-c", "echo 1 >" .. ignore .. " && ip route delete local 10.99.0.0/16 dev lo")
  local before = thread_seconds()
  say("pulse     %s us", ask("10.78.0.0", count, rate * seconds // count))
  say("thread    %.2f s of CPU in %d s, %s scheduling", thread_seconds() - before, seconds,
    p:stats().is_realtime and "real-time" or "ordinary")
  say("counts    answered=%d unsent=%d throttled=%d", p:stats().answered, p:stats().unsent, p:stats().throttled)
end, { priority = tonumber(os.getenv("PRIORITY")) }))
