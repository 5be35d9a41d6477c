--- What the allocator's engine knows of one Service, as facts (see moonlb.control.explain.facts).
-- @module moonlb.control.explain.allocation
local fields = require("moonlb.allocator.fields")

local allocation = {}

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
  return pool and { name = pool.name, is_dhcp = pool.is_dhcp,
    families = { [4] = not pool.is_dhcp and pool:has(4), [6] = not pool.is_dhcp and pool:has(6) } } or nil
end

--- Put what the engine knows into `facts`. In a task where a policy runs elsewhere.
-- @tparam table facts  takes `record`, `requested`, `assigned`, `wanted`, `decision`, `failure`, `policy`, `benched`,
--   `configmap` {name=, is_present=, warnings=}, `pools`, `serving`, `our_class`, `keeps_ccm_finalizer`
-- @tparam Engine engine  moonlb.allocator.engine
-- @tparam string key
function allocation.add(facts, engine, key)
  local state, namespace = engine.state, key:match("^(.-)/")
  local settings = engine.settings
  facts.our_class = settings.lb_class_name or fields.CLASS
  facts.keeps_ccm_finalizer = settings.keep_ccm_finalizer
  facts.configmap = { name = state.config.name, is_present = state.config.is_present, warnings = state.config.warnings }
  facts.pools, facts.serving = pools_of(engine, namespace), serving_of(state, namespace)
  facts.policy = settings.policy or state.config:policy(namespace)
  local benched = engine.host:benched(facts.policy)
  facts.benched = benched and math.ceil(benched)
  facts.decision = engine:look(key)
  local record = state.services[key]	-- after the wait
  facts.failure = facts.decision and facts.decision.failure
  if not record then return end
  facts.record = { why_ignored = record.why_ignored, request_error = record.request_error, by = record.by,
    is_edited = record.is_edited or nil }
  facts.assigned, facts.wanted = record.assigned, record.wanted
  facts.requested = not record.why_ignored and requested(state, record) or nil
end

return allocation
