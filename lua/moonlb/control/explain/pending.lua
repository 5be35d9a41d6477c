--- Why a Service has no address: diagnoses over facts (see moonlb.control.explain.facts), in the order in which they
-- are asked; the first that has an answer is the cause. Pure.
-- @module moonlb.control.explain.pending
local family = require("moonlb.allocator.family")
local fields = require("moonlb.allocator.fields")

-- Each is {code, function(facts) -> what is wrong, what to do}; nil: not this one.
local list = {}

local function diagnosis(code, fn)
  list[#list + 1] = { code = code, ask = fn }
end

local function metadata(facts)
  return facts.service and facts.service.metadata or {}
end

local function annotation(facts, name)
  local annotations = metadata(facts).annotations
  return type(annotations) == "table" and annotations[name] or nil
end

-- The decision leaves the Service without the address that it wants.
local function is_refused(facts)
  local decision = facts.decision
  return decision ~= nil and (decision.action == "pending" or decision.refused ~= nil)
end

-- An address is decided and not written yet.
local function is_unwritten(facts)
  local action = facts.decision and facts.decision.action
  return action ~= nil and action ~= "keep" and action ~= "pending" and action ~= "ignore"
end

local function kubectl(facts, words)
  local namespace, name = facts.key:match("^(.-)/(.+)$")
  return ("kubectl -n %s %s"):format(namespace, words:format(name))
end

-- The Service itself. -----------------------------------------------------------------------------------------------

diagnosis("forbidden", function(facts)
  local first = facts.forbidden and facts.forbidden[1]
  if not first then return end
  return ("moonlb may not %s (%s)"):format(first.what, first.message),
    "give it its rights: kubectl apply -f manifests/moonlb.yaml"
end)

diagnosis("api-unreachable", function(facts)
  if not facts.api then return end
  return ("the API server does not answer moonlb: %s"):format(facts.api.message),
    "see that it runs and is reachable from this node (moonlb doctor); what is announced stays announced"
end)

diagnosis("no-such-service", function(facts)
  if facts.service then return end
  return ("there is no Service %s"):format(facts.key), "look for its name: kubectl get svc -A"
end)

diagnosis("finalizer-stuck", function(facts)
  local finalizers = metadata(facts).finalizers
  if not metadata(facts).deletionTimestamp or type(finalizers) ~= "table" or not finalizers[1] then return end
  local name = finalizers[1]
  if name == fields.FINALIZER and not facts.keeps_ccm_finalizer and facts.allocator and facts.allocator.leader then
    return "it is being deleted, and moonlb is about to take its finalizer away",
      "wait a moment; if it stays, read the leader's log"
  end
  return ("it is being deleted, and waits for whoever put the finalizer %s there"):format(name),
    "start that controller, or take the finalizer off: "
      .. kubectl(facts, [[patch svc %s --type=merge -p '{"metadata":{"finalizers":null}}']])
end)

diagnosis("being-deleted", function(facts)
  if not metadata(facts).deletionTimestamp then return end
  return "it is being deleted: its address is withdrawn", "wait, or create it anew"
end)

diagnosis("not-a-load-balancer", function(facts)
  local kind = facts.service and facts.service.spec.type or "ClusterIP"
  if not facts.service or kind == "LoadBalancer" then return end
  return ("its type is %s, and only LoadBalancer gets an address"):format(kind),
    kubectl(facts, [[patch svc %s -p '{"spec":{"type":"LoadBalancer"}}']])
end)

diagnosis("ignored", function(facts)
  if annotation(facts, fields.IGNORE) ~= "true" then return end
  return ("its annotation %s says that it is to be left alone"):format(fields.IGNORE),
    "take it off: " .. kubectl(facts, "annotate svc %s " .. fields.IGNORE .. "-")
end)

diagnosis("other-class", function(facts)
  local class = facts.service.spec.loadBalancerClass
  if not (facts.record and facts.record.why_ignored) or not class then return end
  return ("its loadBalancerClass is %s, and this moonlb serves %s"):format(class, facts.our_class),
    ("create it anew with that class (it cannot be changed), or run moonlb with --lb-class-name %s"):format(class)
end)

diagnosis("no-class", function(facts)
  if not (facts.record and facts.record.why_ignored) then return end
  return ("it has no loadBalancerClass, and this moonlb serves only %s"):format(facts.our_class),
    "create it anew with that class, or run moonlb with --lb-class-only false"
end)

-- What decisions need. ----------------------------------------------------------------------------------------------

diagnosis("no-allocator", function(facts)
  local has_address = facts.assigned and facts.assigned[1]
  if has_address or not facts.allocator or facts.allocator.is_here then return end
  return "it has no address, and this moonlb only announces: no allocator has decided about it",
    "run one: moonlb run --allocate on a node, or leave --allocate and --announce away to have both"
end)

diagnosis("two-allocators", function(facts)
  local rest = facts.allocator and facts.allocator.paused
  if not rest then return end
  return ("another controller keeps changing what moonlb writes here; moonlb leaves it alone for %d s more")
    :format(rest),
    "turn one of the two off, or tell them apart by loadBalancerClass (Event AllocatorConflict names the other)"
end)

local function pool_key(facts)
  return "range-" .. facts.key:match("^(.-)/")
end

diagnosis("no-configmap", function(facts)
  if not is_refused(facts) or facts.requested or not facts.configmap or facts.configmap.is_present then return end
  local namespace, name = facts.configmap.name:match("^(.-)/(.+)$")
  return ("there is no ConfigMap %s: no pool has an address"):format(facts.configmap.name),
    ("make it: kubectl -n %s create configmap %s --from-literal=range-global=FIRST-LAST"):format(namespace, name)
end)

-- A request. --------------------------------------------------------------------------------------------------------

diagnosis("bad-request", function(facts)
  local problem = facts.record and facts.record.request_error
  if not problem or not is_refused(facts) then return end
  return ("the address that it asks for cannot be read: %s"):format(problem),
    ("write it as in 192.168.0.200 in the annotation %s"):format(fields.ADDRESSES)
end)

local function asked(facts, is_it)
  for _, entry in ipairs(is_refused(facts) and facts.requested or {}) do
    if is_it(entry) then return entry end
  end
  return nil
end

diagnosis("held-by-other", function(facts)
  local entry = asked(facts, function(it) return it.holder end)
  if not entry then return end
  return ("%s, which it asks for, is held by Service %s"):format(entry.address, entry.holder),
    ("ask for another, or free it there: moonlb explain %s"):format(entry.holder)
end)

diagnosis("quarantined", function(facts)
  local entry = asked(facts, function(it) return it.quarantine end)
  if not entry then return end
  return ("%s, which it asks for, is %s"):format(entry.address, entry.quarantine),
    "take that machine off the address, or ask for another"
end)

diagnosis("excluded", function(facts)
  local entry = asked(facts, function(it) return it.excluded end)
  if not entry then return end
  return ("%s, which it asks for, is the network's own: %s"):format(entry.address, entry.excluded),
    "ask for another address"
end)

diagnosis("not-usable", function(facts)
  local entry = asked(facts, function(it) return it.why end)
  if not entry then return end
  return entry.why, "ask for a unicast address of your LAN"
end)

-- Policies. ---------------------------------------------------------------------------------------------------------

diagnosis("policy-benched", function(facts)
  if not facts.benched or not (is_refused(facts) or is_unwritten(facts)) then return end
  return ("policy %s failed too often and rests for %d s more%s"):format(facts.policy, facts.benched,
    facts.failure and ": " .. facts.failure.reason or ""),
    ("mend it and try it: moonlb plan --policy %s.lua"):format(facts.policy)
end)

diagnosis("policy-asks-outside", function(facts)
  if not facts.asks_outside then return end
  return ("policy %s asks others before it decides, and this moonlb has not decided yet"):format(facts.policy),
    "wait a moment; or ask the leader's: kubectl -n kube-system exec POD -- moonlb explain " .. facts.key
end)

diagnosis("policy-failed", function(facts)
  local failure = facts.decision and facts.decision.failure
  if not failure or not is_refused(facts) then return end
  local where = failure.where and " at " .. failure.where or ""
  return ("policy %s failed%s: %s"):format(failure.policy, where, failure.reason),
    ("mend it and try it: moonlb plan --policy %s.lua"):format(failure.policy)
end)

-- Pools. ------------------------------------------------------------------------------------------------------------

diagnosis("pool-exhausted", function(facts)
  local full = is_refused(facts) and facts.decision.exhausted and facts.decision.exhausted[1]
  if not full then return end
  return ("pool %s is full: %d of %d %s addresses used"):format(full.pool, full.used, full.size,
    family.name(full.family)), ("widen it in ConfigMap %s, or delete Services that nobody uses"):format(
      facts.configmap.name)
end)

local function bad_item(facts)
  for _, warning in ipairs(facts.configmap and facts.configmap.warnings or {}) do
    local pool = warning.key:match("^%w+%-(.+)$")
    if not warning.is_note and (pool == "global" or pool == facts.key:match("^(.-)/")) then return warning end
  end
  return nil
end

local function has_any_family(facts)
  return facts.serving ~= nil and (facts.serving.families[4] or facts.serving.families[6]) or false
end

diagnosis("configmap-bad", function(facts)
  if not is_refused(facts) or facts.requested or has_any_family(facts) then return end
  local warning = bad_item(facts)
  if not warning then return end
  return ("ConfigMap %s: %s: %q is left out (%s), and no address is left"):format(facts.configmap.name, warning.key,
    warning.item, warning.message), ("mend it: kubectl -n %s edit configmap %s"):format(
      facts.configmap.name:match("^(.-)/"), facts.configmap.name:match("/(.+)$"))
end)

diagnosis("no-pool", function(facts)
  if not is_refused(facts) or facts.requested or facts.serving or facts.policy ~= "default" then return end
  return ("no pool serves namespace %s, and there is no global one"):format(facts.key:match("^(.-)/")),
    ("add %s=FIRST-LAST or range-global=FIRST-LAST to ConfigMap %s"):format(pool_key(facts), facts.configmap.name)
end)

diagnosis("family-missing", function(facts)
  if not is_refused(facts) or facts.requested or not has_any_family(facts) or not facts.wanted then return end
  if facts.policy ~= "default" then return end
  for _, number in ipairs(facts.wanted.mode ~= "any" and facts.wanted.order or {}) do
    if not facts.serving.families[number] then
      return ("it wants %s, and pool %s has no %s addresses"):format(family.name(number), facts.serving.name,
        family.name(number)), ("add a range of that family to ConfigMap %s, or change the Service's ipFamilies"):format(
          facts.configmap.name)
    end
  end
end)

diagnosis("edit-refused", function(facts)
  if not facts.decision or not facts.decision.refused then return end
  return ("the change of its address was refused (%s); it keeps %s"):format(facts.decision.refused,
    table.concat(facts.assigned or {}, ", ")), "ask for what is free, or take the change back"
end)

diagnosis("policy-refused", function(facts)
  if not is_refused(facts) then return end
  local decision = facts.decision
  return ("rule %s of policy %s refused: %s"):format(decision.rule or "-", decision.policy or facts.policy,
    decision.message or decision.reason),
    "give it what the rule asks for, or change the policy; the trace below shows each rule"
end)

-- Decided, not written. ---------------------------------------------------------------------------------------------

diagnosis("no-leader", function(facts)
  local allocator = facts.allocator
  if not is_unwritten(facts) or not allocator or (allocator.is_leading or allocator.leader) then return end
  return ("no allocator leads, so nobody writes addresses%s"):format(allocator.lease_error
    and " (" .. allocator.lease_error .. ")" or ""),
    ("see Lease %s and the Pods: kubectl -n kube-system get lease,pods -l app.kubernetes.io/name=moonlb"):format(
      allocator.lease or "moonlb-allocator")
end)

diagnosis("not-synced", function(facts)
  local allocator = facts.allocator
  if not is_unwritten(facts) or not allocator or not allocator.missing then return end
  return ("the allocator does not know all that it needs yet: %s"):format(allocator.missing),
    "wait a moment; if it stays, run moonlb doctor"
end)

diagnosis("write-failed", function(facts)
  local failure = facts.allocator and facts.allocator.failure
  if not failure then return end
  return ("its address could not be written: %s"):format(failure.message),
    "the write is tried again by itself; run moonlb doctor if it stays"
end)

diagnosis("being-written", function(facts)
  if not is_unwritten(facts) then return end
  if facts.source == "cluster" then
    return ("%s would be given to it, and nobody has written that yet"):format(
      table.concat(facts.decision.addresses, ", ")),
      "see that moonlb runs: kubectl -n kube-system get pods -l app.kubernetes.io/name=moonlb"
  end
  return ("%s is decided for it and about to be written by the leader, %s"):format(
    table.concat(facts.decision.addresses, ", "), facts.allocator and facts.allocator.leader or "this process"),
    "wait a moment"
end)

return list
