--- The allocator's brain: which address each Service gets, and why. Pure and deterministic: it is told what is,
-- answers what should be, and does nothing. `moonlb plan` runs it over files, the controller over the cluster.
-- @module moonlb.allocator.engine
local fields = require("moonlb.allocator.fields")
local placing = require("moonlb.allocator.placing")
local policy_host = require("moonlb.policy.host")
local service = require("moonlb.allocator.service")
local state = require("moonlb.allocator.state")
local writes = require("moonlb.allocator.writes")

local engine = {}

local Engine = { __name = "moonlb.allocator.engine" }
Engine.__index = Engine

--- @tparam table options  `now`: seconds of a clock that never jumps (boot time); `utc`: seconds since 1970;
-- `settings`: `lb_class_name`, `lb_class_only`, `no_spec_ip`, `keep_ccm_finalizer`, `configmap` ("namespace/name"),
-- `policy` (the name of a policy that decides whatever the ConfigMap says); `host`: see `moonlb.policy.host`, one with
-- the stock policy when absent
-- @treturn Engine
function engine.new(options)
  local now = options.now or os.time
  local settings = options.settings or {}
  return setmetatable({ settings = settings, host = options.host or policy_host.new({ now = now }),
    state = state.new({ settings = settings, now = now, utc = options.utc or os.time }), waiting = {}, placed = {},
    nodes_version = 0 }, Engine)
end

--- Take the ConfigMap as it is now; nil: there is none. No Service that has an address is touched by it.
-- @treturn table  warnings: array of `{object=, key=, item=, message=, is_note=}`
function Engine:set_configmap(object)
  self.host:feed("set_configmap", object)
  return self.state:set_configmap(object)
end

-- Whether a Service waits for an address.
local function is_waiting(record)
  return record ~= nil and not record.why_ignored and not record.is_deleting and not record.reserved
    and (not record.assigned or record.is_edited or record.is_cleared) or nil
end

--- Take a Service as the API has it now.
-- @treturn boolean  whether an address came free by it: then `pending()` may be tried when `next_expiry()` is over
function Engine:set_service(object)
  local record, freed = self.state:set_service(object)
  self.host:feed("set_service", object)	-- after it was filled in
  if record then
    self.waiting[record.key] = is_waiting(record)
  else
    self.waiting[(object.metadata.namespace or "default") .. "/" .. object.metadata.name] = nil
  end
  return freed
end

--- Forget a Service: it is gone.
-- @treturn boolean  whether an address came free by it
function Engine:remove_service(key)
  self.host:feed("remove_service", key)
  self.waiting[key], self.placed[key] = nil, nil
  return self.state:remove_service(key)
end

--- Take a Node as the API has it now.
-- @treturn boolean  whether a policy that ranks nodes may say otherwise by it: then `placed_by_policy()` is to be
-- reconciled
function Engine:set_node(object)
  local old = self.state.nodes[object.metadata.name]
  self.host:feed("set_node", object)
  self.state:set_node(object)
  if old and placing.is_same_node(old.object, object) then return false end
  self.nodes_version = self.nodes_version + 1
  return true
end

--- Forget a Node.
function Engine:remove_node(name)
  self.host:feed("remove_node", name)
  self.state:remove_node(name)
  self.nodes_version = self.nodes_version + 1
end

--- Take addresses out of every pool.
-- @tparam string text  an address, CIDR or range
-- @tparam string reason  for people
-- @treturn boolean|nil  true, or nil, message, `"EINVAL"`
function Engine:exclude(text, reason)
  self.host:feed("exclude", text, reason)
  return self.state:exclude(text, reason)
end

--- End an exclusion made with the same text and reason.
function Engine:unexclude(text, reason)
  self.host:feed("unexclude", text, reason)
  self.state:unexclude(text, reason)
end

--- Seconds until an address that rests or is quarantined comes free; nil when none will.
function Engine:next_expiry()
  return self.state.ownership:next_expiry()
end

local function new_decision(record, action, values)
  local decision = values or {}
  decision.namespace, decision.name, decision.action = record.namespace, record.name, action
  decision.addresses, decision.trace = decision.addresses or {}, decision.trace or {}
  return decision
end

local function ignore(record, why)
  return new_decision(record, "ignore", { reason = why, message = "left alone: " .. why })
end

-- The key of the pool that an address comes from: of the Service's own pool, or of any.
local function source_of(self, record, item)
  local book = self.state.pools
  local serving = book:serving(record.namespace)
  local key = serving and serving:source_of(item)
  if key then return key end
  local global = book:global()
  return global and global ~= serving and global:source_of(item) or nil
end

-- By which rule a Service has its addresses. kube-vip does not say: inside the Service's pool they are the pool's,
-- else static.
local function rule_of(self, record)
  if record.by then return record.by:match("([^/]*)$"), record.by:match("^(.*)/") end
  if service.is_unspecified(record.assigned[1]) then return "dhcp", "default" end
  local book = self.state.pools
  local pool = book:serving(record.namespace)
  for _, item in ipairs(record.assigned) do
    if not pool or not pool:source_of(item) then return "static", "default" end
  end
  return pool == book:global() and "global_pool" or "namespace_pool", "default"
end

local function interface_of(self, record)
  local own = record.object.metadata.annotations[fields.INTERFACE]
  if type(own) == "string" and own ~= "" then return own end
  return self.state.config:interface(record.namespace)
end

local function keep(self, record, reason)
  local addresses = record.reserved or record.assigned
  local rule, policy = "", ""
  if record.assigned then rule, policy = rule_of(self, record) end
  return new_decision(record, "keep", { addresses = { table.unpack(addresses) }, rule = rule, policy = policy,
    pool = rule ~= "static" and source_of(self, record, addresses[1]) or nil, interface = interface_of(self, record),
    reason = reason, message = reason, trace = { { rule = rule, result = "keep", reason = reason } } })
end

-- What was tried and why each failed.
local function account(trace)
  local parts = {}
  for _, entry in ipairs(trace) do
    if entry.reason then parts[#parts + 1] = entry.rule .. ": " .. entry.reason end
  end
  return table.concat(parts, "; ")
end

local function pending(record, result)
  local last = result.trace[#result.trace]
  local reason = result.reason or last and last.reason or "no rule gave an address"
  local message = result.verdict == "pass" and account(result.trace) or reason
  return new_decision(record, "pending", { reason = reason, message = message, rule = result.rule,
    policy = result.policy, trace = result.trace, exhausted = result.exhausted, failure = result.failure,
    verdict = result.verdict, log = result.log, is_from_outside = result.is_from_outside })
end

local function given(self, record, result)
  local addresses = result.addresses
  local action = result.verdict == "dhcp" and "dhcp" or result.rule == "static" and "static" or "assign"
  if action ~= "dhcp" and self.state:is_shared(record, addresses) then action = "share" end
  local pool = result.rule ~= "static" and source_of(self, record, addresses[1]) or nil
  if result.verdict == "dhcp" and result.rule ~= "dhcp" then
    local serving = self.state.pools:serving(record.namespace)
    pool = serving and serving.name
  end
  return new_decision(record, action, { addresses = addresses, rule = result.rule, policy = result.policy, pool = pool,
    interface = interface_of(self, record), message = pool and "from " .. pool or "as asked for",
    trace = result.trace, failure = result.failure, hostname = result.hostname, log = result.log,
    is_from_outside = result.is_from_outside })
end

local function policy_of(self, record)
  return self.settings.policy or self.state.config:policy(record.namespace)
end

-- Ask the policy in charge. While a policy elsewhere is asked the Service may change: then nothing is decided.
local function ask(self, record, request, problem)
  local name = policy_of(self, record)
  local result = self.host:decide(name, { key = record.key, request = request, request_error = problem }, self.state)
  if result.verdict == "superseded" then return new_decision(record, "pending", { is_superseded = true }) end
  if result.addresses then return given(self, record, result) end
  return pending(record, result)
end

-- A request that differs from what the Service has: it gets that, or keeps what it has and is told why.
local function decide_edit(self, record)
  local decision = ask(self, record, record.request, record.request_error)
  if decision.addresses[1] or decision.is_superseded then return decision end
  local kept = keep(self, record, "keeps its address: " .. decision.reason)
  kept.refused, kept.failure, kept.exhausted = decision.reason, decision.failure, decision.exhausted
  table.move(decision.trace, 1, #decision.trace, 2, kept.trace)
  return kept
end

-- Why a Service cannot keep what it has: what to say, and whether its address is asked for again.
local function lost(self, record)
  local rule = rule_of(self, record)
  local other, item = self.state:displaced_by(record)
  if other then
    return ("%s is held by Service %s, which is older"):format(item, other.key), rule == "static" and record.assigned
  end
  if rule == "static" or rule == "dhcp" then return nil end
  for _, held in ipairs(record.assigned) do
    local quarantined = self.state.ownership.quarantine[held]
    if quarantined then return ("%s is %s"):format(held, quarantined.reason) end
  end
  return nil
end

local function decide_again(self, record, why, request)
  local decision = ask(self, record, request or nil)
  decision.conflict = why
  if decision.is_superseded then return decision end
  if decision.action ~= "pending" then return decision end
  decision.message = why .. "; " .. decision.message
  return decision
end

local function decide_once(self, record)
  if record.why_ignored then return ignore(record, record.why_ignored) end
  self.state.ownership:expire()
  if record.reserved then return keep(self, record, "its address is being written") end
  if record.is_deleting then
    return record.assigned and keep(self, record, "it is being deleted") or ignore(record, "it is being deleted")
  end
  if not record.assigned then return ask(self, record, record.request, record.request_error) end
  if record.is_edited then return decide_edit(self, record) end
  if record.is_cleared then return ask(self, record) end
  local why, request = lost(self, record)
  if why then return decide_again(self, record, why, request) end
  return keep(self, record, "it has an address")
end

--- What should become of a Service. Reserves nothing: asked twice, it says the same. Inside a task where a policy
-- runs elsewhere: then it waits, and what it says is about the Service as it is afterwards.
-- @tparam string key  `namespace/name`
-- @treturn table|nil  nil for a Service that is not there. Else `namespace`, `name`, `action` (assign keep share
-- static dhcp pending ignore), `addresses`, `rule`, `policy`, `pool` (the ConfigMap's key), `interface`, `reason` (of
-- pending, keep and ignore), `message`, `trace`; `failure` when a policy failed (see `Host.decide`), `exhausted`,
-- `conflict`, `refused` (an edit that could not be granted)
function Engine:decide(key)
  local record, decision
  repeat
    record = self.state.services[key]
    decision = record and decide_once(self, record)
  until not (decision and decision.is_superseded)
  return decision or nil
end

--- What `decide` would say, for those who only look: no failure of a policy is counted, and nobody outside is asked;
-- where a policy wanted to ask, the decision or its `failure` has `is_from_outside`, and may be another in earnest.
function Engine:look(key)
  return setmetatable({ host = self.host:dry() }, { __index = self }):decide(key)
end

--- Where the group of a Service shall live. Inside a task where a policy runs elsewhere.
-- @tparam string key
-- @tparam table decision  of `decide`: takes `place` (array of names), or `failure` when the policy failed at it
function Engine:place(key, decision)
  local record = self.state.services[key]
  if not record or not decision.addresses[1] or record.is_deleting then return end
  local name, version = policy_of(self, record), self.nodes_version
  local policy = self.host:policy(name)
  if not policy or not policy.has_place then return end
  local group = placing.group(self.state, record, decision.addresses)
  local names, failure = self.host:place(name, group, self.state:list_nodes(), self.state)
  decision.place, decision.failure = names, decision.failure or failure
  self.placed[key] = version
end

-- Whether a Service's place is to be looked at: its address is new, or the nodes are others than when it was last.
local function wants_place(self, key, decision)
  if decision.action == "ignore" or decision.action == "pending" then return false end
  return decision.action ~= "keep" or self.placed[key] ~= self.nodes_version
end

-- Whether what was decided for a Service still holds after a wait.
local function still_holds(self, record, decision)
  if self.state.services[record.key] ~= record then return false end
  for _, item in ipairs(decision.action ~= "keep" and decision.action ~= "dhcp" and decision.addresses or {}) do
    if not self.state:usable(record, item) then return false end
  end
  return true
end

--- The Services whose policy ranks nodes.
-- @treturn table  keys
function Engine:placed_by_policy()
  local keys = {}
  for key, record in pairs(self.state.services) do
    local policy = record.assigned and not record.why_ignored and self.host:policy(policy_of(self, record))
    if policy and policy.has_place then keys[#keys + 1] = key end
  end
  return keys
end

--- Hold a decision's addresses for the Service until a write has shown them, or `release` says that the write failed.
function Engine:reserve(key, decision)
  local home = decision.place and decision.place[1]
  self.host:feed("reserve", key, decision.addresses, home)
  self.state:reserve(key, decision.addresses, home)
  self.waiting[key] = nil
end

--- Give up a reservation: the write did not happen.
function Engine:release(key)
  self.host:feed("release", key)
  self.state:release(key)
  self.waiting[key] = is_waiting(self.state.services[key])
end

-- Decide and place. Placing may wait: what was decided must hold afterwards, on the same Service.
local function settle(self, key)
  while true do
    local decision = self:decide(key)
    local record = self.state.services[key]
    if not decision or not wants_place(self, key, decision) then return decision end
    self:place(key, decision)
    if still_holds(self, record, decision) then return decision end
  end
end

--- What the allocator has to write for a Service now. Inside a task where a policy runs elsewhere.
-- @tparam string key  `namespace/name`
-- @treturn table  `patch`: a JSON merge patch of the object, guarded by `metadata.resourceVersion`; nil when nothing
-- is to be written. `decision`; `reserve`: whether the decision's addresses are to be reserved before the patch is
-- sent; `status_clear`: whether `status.loadBalancer` is to be emptied; `finalizer_removal`: a merge patch that takes
-- the cloud controllers' finalizer away, to be sent once the Service's addresses are withdrawn; `events`: array of
-- `{type=, reason=, message=}`, each once until its cause changes
function Engine:reconcile(key)
  local record = self.state.services[key]
  if not record then return { events = {} } end
  if record.is_deleting and record.is_load_balancer then
    return { decision = self:decide(key), events = {},
      finalizer_removal = writes.finalizer_removal(record, self.settings) }
  end
  if not record.is_load_balancer then
    local patch, clears_status = writes.clear(record)
    return { decision = ignore(record, record.why_ignored), patch = patch, status_clear = clears_status, events = {} }
  end
  local decision = settle(self, key)
  record = self.state.services[key]
  if not decision or not record.is_load_balancer or record.is_deleting then return { events = {} } end
  local result = { decision = decision, events = writes.events(record, decision) }
  if decision.action == "ignore" or record.reserved then return result end
  result.patch = writes.patch(record, decision, self.settings)
  result.reserve = result.patch ~= nil and decision.addresses[1] ~= nil
  return result
end

-- Those that ask for an address, then the rest; each by creationTimestamp, namespace, name. Sorted as texts: a third of
-- the time that comparing records takes, and with 10,000 Services that is the longest step there is.
local function sorted_keys(records)
  local order, keys = {}, {}
  for i, record in ipairs(records) do
    local text = table.concat({ record.request ~= nil and "0" or "1", record.created, record.namespace, record.name },
      "\0")
    order[i], keys[text] = text, record.key
  end
  table.sort(order)
  for i, text in ipairs(order) do order[i] = keys[text] end
  return order
end

--- The Services that wait for an address, in the order in which they are to be decided: those that ask for one, then
-- the rest; each by creationTimestamp, namespace, name.
-- @treturn table  keys
function Engine:pending()
  local records = {}
  for key in pairs(self.waiting) do records[#records + 1] = self.state.services[key] end
  return sorted_keys(records)
end

--- The Services that a new ConfigMap may concern: those that wait. One with an address is never moved by it.
function Engine:affected_by_config()
  return self:pending()
end

--- All Services in the order of `pending()`.
function Engine:keys()
  local records = {}
  for _, record in pairs(self.state.services) do records[#records + 1] = record end
  return sorted_keys(records)
end

--- The pools, for people and metrics.
-- @treturn table  array of `{name=, keys={...}, is_shared=, is_dhcp=, families={{family="IPv4", size=, used=}, ...},
-- ranges={{first=, last=}, ...}}`
function Engine:pools()
  self.state.ownership:expire()
  local result = {}
  for i, pool in self.state.pools:each() do
    local described = { name = pool.pool, keys = {}, is_shared = pool.is_shared, is_dhcp = pool.is_dhcp, families = {},
      ranges = {} }
    for j, source in ipairs(pool.sources) do
      described.keys[j] = source.key
      for _, range in ipairs(source.set:ranges()) do table.insert(described.ranges, range) end
    end
    for _, number in ipairs({ 4, 6 }) do
      if pool:has(number) then
        table.insert(described.families,
          { family = "IPv" .. number, size = pool:size(number), used = pool:used(number) })
      end
    end
    result[i] = described
  end
  return result
end

--- The addresses that the pools would give next, one of each family.
-- @tparam number most  pools
-- @treturn table  array of addresses
function Engine:next_free(most)
  self.state.ownership:expire()
  local result = {}
  for i, pool in self.state.pools:each() do
    if i > most then break end
    for _, number in ipairs({ 4, 6 }) do
      result[#result + 1] = not pool.is_dhcp and pool:has(number) and pool:free_one(number, {}) or nil
    end
  end
  return result
end

--- The addresses that nobody is given, each with why.
-- @treturn table  array of `{text=, reason=}`: exclusions in the order in which they were made, then quarantined
-- addresses
function Engine:excluded()
  self.state.ownership:expire()
  local result, quarantined = {}, {}
  for i, entry in ipairs(self.state.ownership.exclusions) do
    result[i] = { text = entry.text, reason = entry.reason }
  end
  for item, entry in pairs(self.state.ownership.quarantine) do
    quarantined[#quarantined + 1] = { text = item, reason = entry.reason }
  end
  table.sort(quarantined, function(a, b) return a.text < b.text end)
  table.move(quarantined, 1, #quarantined, #result + 1, result)
  return result
end

--- What the ConfigMap's bad items are as Events on it: array of `{type=, reason=, message=}`.
function Engine:configmap_events()
  return writes.configmap_events(self.state.config)
end

return engine
