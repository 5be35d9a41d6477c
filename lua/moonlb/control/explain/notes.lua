--- What people should know of a Service beside the one sentence: nothing of it keeps it from being served. Pure.
-- @module moonlb.control.explain.notes
local ago = require("moonlb.control.explain.ago")
local words = require("moonlb.control.explain.words")

local notes = {}

-- Each: function(facts, code of the diagnosis) -> text, or nil.
local list = {}

-- These say it already.
local SAYS_POLICY = { ["policy-missing"] = true, ["policy-bad"] = true, ["policy-benched"] = true,
  ["policy-failed"] = true, ["no-such-service"] = true }

-- The policy that would decide about it next is not there, or not as its file has it.
table.insert(list, function(facts, code)
  local file = facts.policy_file
  if not file or SAYS_POLICY[code] or facts.source ~= "daemon" then return nil end
  if file.error then
    return ("policy %s: %s; %s"):format(facts.policy, file.error, file.is_there and "the version before stays in use"
      or "it is not in use")
  end
  if not file.is_there then return ("%s; %s"):format(words.missing_policy(facts), words.choose_policy(facts)) end
  if facts.benched then
    return ("policy %s failed too often and is not asked for %d s more"):format(facts.policy, facts.benched)
  end
  return nil
end)

table.insert(list, function(facts, code)
  local event = not SAYS_POLICY[code] and words.last_event(facts, { PolicyFailed = true })
  if not event then return nil end
  return ("Event PolicyFailed, %s ago: %s"):format(ago(math.max(0, facts.walltime - event.at)), event.message)
end)

-- Machines of the LAN do not ask by ARP for what is in none of their subnets.
table.insert(list, function(facts)
  local off = facts.announcer and facts.announcer.off_segment
  if not off then return nil end
  return ("%s is in no subnet of interface %s of node %s (%s): machines of that LAN reach it only by a route; see what "
    .. "they do: ip route get %s"):format(off.address, off.interface, facts.node, table.concat(off.subnets, ", "),
      off.address)
end)

table.insert(list, function(facts, code)
  if not facts.stale_socket or code == "daemon-gone" then return nil end
  return ("nobody answers on %s: the moonlb of node %s has ended; %s"):format(facts.stale_socket, facts.node or "here",
    words.PODS)
end)

--- @tparam table facts  see moonlb.control.explain.facts
-- @tparam string code  of the diagnosis: what it says is not said again
-- @treturn table  array of texts
function notes.of(facts, code)
  local result = {}
  for _, ask in ipairs(list) do result[#result + 1] = ask(facts, code) end
  return result
end

return notes
