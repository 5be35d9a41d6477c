--- Giving an address up, or to another node, from a session with `--write`: checked before it is asked for, and
-- followed to its end, as `moonlb move` does by the API.
-- @module moonlb.control.giving
local address = require("moonlb.core.address")
local async = require("moonlb.async")
local runtime = require("moonlb.core.runtime")

local giving = {}

--- Seconds in which a node has to take what it is asked to.
giving.PATIENCE = 10
local POLL = 0.05

-- The address as the announcer knows it, and the group that it belongs to.
local function group_of(announcer, text)
  if not announcer then return nil, "this process does not announce", "ENOTSUP" end
  local ip = address.canonical(text)
  local key = ip and announcer.groups:services_of(ip)[1]
  if not key then
    return nil, ("%s is no address of a Service that moonlb announces"):format(text:sub(1, 64)), "ENOENT"
  end
  return announcer.groups:of(key), ip
end

-- Why a node cannot take the group, as far as this one knows; nil when it can.
local function trouble_of(announcer, group, node)
  local described = announcer.placement:describe(group.id) or { candidates = {} }
  local names = {}
  for i, it in ipairs(described.candidates) do
    names[i] = it.name
    if it.name == node then return it.why end
  end
  if not names[1] then return described.why or described.trouble or "this node does not know the others yet" end
  return "no moonlb of that name is heard; those that are: " .. table.concat(names, ", ")
end

-- Wait for a claim after `record`. True and the claim, or nil.
local function wait_for_claim(announcer, group, record, began)
  repeat
    async.sleep(POLL)
    local claim = announcer:record(group)
    if claim and claim.term > record.term then return claim end
  until runtime.boottime() - began > giving.PATIENCE
  return nil
end

--- Move an address, with its group, and wait until the node has it. In a task.
-- @tparam Announcer|nil announcer
-- @tparam string text  the address
-- @tparam string node  where it is to go
-- @treturn table|nil  `{address=, from=, node=, seconds=}`; or nil, message, code: it was not moved, and the request is
-- taken back
function giving.move(announcer, text, node)
  local group, ip, code = group_of(announcer, text)
  if not group then return nil, ip, code end
  local record = announcer:record(group)
  if not record then return nil, "no node has claimed " .. ip .. " yet", "EAGAIN" end
  if record.node == node then return { address = ip, from = node, node = node, seconds = 0 } end
  local why = trouble_of(announcer, group, node)
  if why then return nil, ("%s is not moved to %s: %s"):format(ip, node:sub(1, 253), why), "EHOSTUNREACH" end
  local began = runtime.boottime()
  local ok, message, reason = announcer:move(ip, node)
  if not ok then return nil, message, reason end
  local claim = wait_for_claim(announcer, group, record, began)
  if claim and claim.node == node then
    return { address = ip, from = record.node, node = node, seconds = runtime.boottime() - began }
  end
  announcer:withdraw_move(ip)
  if claim then return nil, ("%s: node %s took it meanwhile"):format(ip, claim.node), "EBUSY" end
  why = trouble_of(announcer, group, node)
  return nil, ("%s is not moved: node %s did not take it within %g s%s"):format(ip, node, giving.PATIENCE,
    why and ": " .. why or ""), "ETIMEDOUT"
end

--- Give an address up on this node, with its group, for a minute.
-- @tparam Announcer|nil announcer
-- @tparam string text  the address
-- @treturn table|nil  `{address=, services=, was_here=}`; or nil, message, code
function giving.release(announcer, text)
  local group, ip, code = group_of(announcer, text)
  if not group then return nil, ip, code end
  local vip = announcer.vips[ip]
  local was_here = vip ~= nil and vip:is_answering()
  local ok, message, reason = announcer:release(ip)
  if not ok then return nil, message, reason end
  return { address = ip, services = group.services, was_here = was_here }
end

return giving
