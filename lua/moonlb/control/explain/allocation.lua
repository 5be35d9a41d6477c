--- What the allocator's engine knows of one Service, as facts (see moonlb.control.explain.facts).
-- @module moonlb.control.explain.allocation
local address = require("moonlb.core.address")
local family = require("moonlb.allocator.family")
local fields = require("moonlb.allocator.fields")
local runtime = require("moonlb.core.runtime")

local allocation = {}

local BLOCKED = 5 -- addresses that are named

-- Why each address that the Service asks for can be given to it, or not.
local function requested(state, record)
  if not (record.request and record.request[1]) then return nil end
  local list = {}
  for i, item in ipairs(record.request) do
    local entry = { address = item }
    list[i] = entry
    if item ~= fields.DHCP and item ~= fields.DHCPV6 then
      local is_usable, why, holder = state:usable(record, item)
      local quarantine = state.ownership.quarantine[item]
      if not is_usable then
        entry.why, entry.holder, entry.quarantine = why, holder, quarantine and quarantine.reason
        entry.excluded = not quarantine and not holder and state.ownership:why_excluded(item) or nil
      end
    end
  end
  return list
end

-- The pools that this namespace could draw from, as Engine:pools() describes them.
local function pools_of(engine, namespace)
  local list = {}
  for _, pool in ipairs(engine:pools()) do
    if pool.name == namespace or pool.name == "global" then
      pool.ranges = nil	-- may be thousands; plan shows them
      list[#list + 1] = pool
    end
  end
  return list
end

local function serving_of(state, namespace)
  local pool = state.pools:serving(namespace)
  return pool and { name = pool.name, is_dhcp = pool.is_dhcp, is_global = pool.pool == "global",
    families = { [4] = not pool.is_dhcp and pool:has(4), [6] = not pool.is_dhcp and pool:has(6) } } or nil
end

local function pool_named(state, name)
  for _, pool in state.pools:each() do
    if pool.name == name then return pool end
  end
  return nil
end

-- How many addresses of a pool Services have.
local function held_in(state, pool, number)
  local held = 0
  for _, record in pairs(state.services) do
    for item in pairs(record.holds or {}) do
      if family.of(item) == number and pool:source_of(item) then held = held + 1 end
    end
  end
  return held
end

-- Of a pool that is full: the addresses that no Service has and none can have, by address, and how many it has lent.
local function blocked_of(state, full)
  local pool = full and pool_named(state, full.pool)
  if not pool then return nil end
  local list, ownership = {}, state.ownership
  local function add(item, why, is_stranger)
    if family.of(item) ~= full.family or not pool:source_of(item) or ownership:is_held(item) then return end
    list[#list + 1] = { address = item, why = why, is_stranger = is_stranger }
  end
  for item, entry in pairs(ownership.quarantine) do add(item, entry.reason, true) end
  for _, entry in ipairs(ownership.exclusions) do
    if not ownership.quarantine[entry.first] then add(entry.first, "excluded: " .. entry.reason) end
  end
  table.sort(list, function(a, b)
    if a.is_stranger ~= b.is_stranger then return a.is_stranger or false end
    return address.compare(a.address, b.address) < 0
  end)
  local blocked = table.move(list, 1, BLOCKED, 1, {})
  blocked.count, blocked.held = #list, held_in(state, pool, full.family)
  return blocked
end

-- Where the policy in charge comes from. What is part of the binary has no file that people could look at.
local function policy_file(engine, facts, namespace)
  local config = engine.state.config
  local policy = engine.host:policy(facts.policy)
  local own = config.policies[namespace]
  return { is_there = policy ~= nil, key = own and own ~= "" and "policy-" .. namespace or "policy",
    file = policy and not runtime.source(policy.file) and policy.file or nil }
end

-- The interface that the ConfigMap names for a namespace, and its key; nil when it names none.
local function interface_of(config, namespace)
  local name = config:interface(namespace)
  return name and { name = name, key = "interface-" .. (config.interfaces[namespace] and namespace or "global") }
end

--- Put what the engine knows into `facts`. In a task where a policy runs elsewhere.
-- @tparam table facts  takes `record`, `requested`, `assigned`, `wanted`, `decision`, `failure`, `policy`, `benched`,
--   `policy_file` {is_there=, key= of the ConfigMap, file=|nil}, `configmap` {name=, is_present=, warnings=,
--   interface={name=, key=}|nil}, `blocked` {held=, count=, {address=, why=, is_stranger=}...}, `pools`, `serving`,
--   `our_class`, `keeps_ccm_finalizer`
-- @tparam Engine engine  moonlb.allocator.engine
-- @tparam string key
function allocation.add(facts, engine, key)
  local state, namespace = engine.state, key:match("^(.-)/")
  local settings = engine.settings
  facts.our_class = settings.lb_class_name or fields.CLASS
  facts.keeps_ccm_finalizer = settings.keep_ccm_finalizer
  facts.configmap = { name = state.config.name, is_present = state.config.is_present, warnings = state.config.warnings }
  facts.pools, facts.serving = pools_of(engine, namespace), serving_of(state, namespace)
  facts.configmap.interface = interface_of(state.config, namespace)
  facts.policy = settings.policy or state.config:policy(namespace)
  facts.policy_file = policy_file(engine, facts, namespace)
  local benched = engine.host:benched(facts.policy)
  facts.benched = benched and math.ceil(benched)
  facts.decision = engine:look(key)
  local record = state.services[key]	-- after the wait
  facts.failure = facts.decision and facts.decision.failure
  facts.blocked = blocked_of(state, facts.decision and facts.decision.exhausted and facts.decision.exhausted[1])
  if not record then return end
  facts.record = { why_ignored = record.why_ignored, request_error = record.request_error, by = record.by,
    is_edited = record.is_edited or nil }
  facts.assigned, facts.wanted = record.assigned, record.wanted
  facts.requested = not record.why_ignored and requested(state, record) or nil
end

return allocation
