--- Why a Service has no address: diagnoses over facts (see moonlb.control.explain.facts), in the order in which they
-- are asked; the first that has an answer is the cause. All of them know manifests alone, unless they say so. Pure.
-- @module moonlb.control.explain.pending
local ago = require("moonlb.control.explain.ago")
local family = require("moonlb.allocator.family")
local fields = require("moonlb.allocator.fields")
local pools = require("moonlb.allocator.pools")
local words = require("moonlb.control.explain.words")

local kubectl = words.kubectl

-- Each is {code, function(facts) -> what is wrong, what to do}; nil: not this one. `of`: what has to be asked to know
-- it, "files", "cluster" or "daemon".
local list = {}

local function diagnosis(code, fn, of)
  list[#list + 1] = { code = code, ask = fn, of = of or "files" }
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

-- What the addresses of a request, taken together, have against them; only where the stock policy decides, since
-- another may give what nobody asked for.
local function request_of(facts)
  local is_stock = facts.policy == "default" or (facts.decision and facts.decision.failure ~= nil)
  if not is_refused(facts) or not is_stock or not facts.wanted then return nil end
  local addresses, dhcp = {}, {}
  for _, entry in ipairs(facts.requested or {}) do
    local is_dhcp = entry.address == fields.DHCP or entry.address == fields.DHCPV6
    table.insert(is_dhcp and dhcp or addresses, entry.address)
  end
  return addresses, dhcp
end

local function ask_for(facts, text)
  return kubectl(facts, "annotate svc %s --overwrite " .. fields.ADDRESSES .. "=" .. text)
end

diagnosis("request-mixed", function(facts)
  local addresses, dhcp = request_of(facts)
  if not addresses or not dhcp[1] or #addresses + #dhcp == 1 then return end
  return ("it asks for %s together: an address by DHCP comes alone"):format(
    table.concat(table.move(addresses, 1, #addresses, #dhcp + 1, { table.unpack(dhcp) }), " and ")),
    "ask for one of them: " .. ask_for(facts, addresses[1] or dhcp[1])
end)

diagnosis("request-dhcp-family", function(facts)
  local _, dhcp = request_of(facts)
  if not dhcp or not dhcp[1] then return end
  if facts.wanted.mode == "require" then
    return "it asks for DHCP, which gives one address, and is RequireDualStack",
      "let one do: " .. kubectl(facts, [[patch svc %s -p '{"spec":{"ipFamilyPolicy":"SingleStack"}}']])
  end
  if dhcp[1] ~= fields.DHCP or facts.wanted.mode ~= "one" or facts.wanted.order[1] ~= 6 then return end
  return "it asks for DHCP of IPv4 (0.0.0.0), and is IPv6 only", "ask for DHCPv6: " .. ask_for(facts, fields.DHCPV6)
end)

diagnosis("request-family", function(facts)
  local addresses = request_of(facts)
  if not addresses or not addresses[1] then return end
  local fits, why = family.fits(facts.wanted, addresses)
  if fits then return end
  if facts.wanted.mode == "require" then
    return "what it asks for does not fit it: " .. why,
      "ask for one of each family: " .. ask_for(facts, addresses[1] .. ",SECOND")
  end
  return "what it asks for does not fit it: " .. why, "ask for another: "
    .. ask_for(facts, facts.wanted.mode == "one" and family.name(facts.wanted.order[1]) .. "-ADDRESS" or addresses[1])
end)

-- Policies. ---------------------------------------------------------------------------------------------------------

-- The policy that is in charge, when what it says or that it is not there is the cause.
local function failing(facts)
  return (is_refused(facts) or is_unwritten(facts)) and facts.policy_file or nil
end

local function try_policy(facts)
  local file = facts.policy_file and facts.policy_file.file
  return file and "mend it and try it: moonlb plan --policy " .. file
    or "mend it: moonlb policy test FILE says what is wrong with it"
end

-- Most reasons begin with file and line already.
local function at(failure)
  if not failure.where or failure.reason:find(failure.where, 1, true) then return "" end
  return " at " .. failure.where
end

diagnosis("policy-missing", function(facts)
  local file = failing(facts)
  if not file or file.is_there or file.error or not is_refused(facts) then return end
  return words.missing_policy(facts), words.choose_policy(facts)
end, "daemon")

diagnosis("policy-bad", function(facts)
  local file = failing(facts)
  if not file or not file.error or file.is_there or not is_refused(facts) then return end
  return ("policy %s is not in use: %s"):format(facts.policy, file.error), try_policy(facts)
end, "daemon")

diagnosis("policy-benched", function(facts)
  if not facts.benched or not (is_refused(facts) or is_unwritten(facts)) then return end
  return ("policy %s failed too often and rests for %d s more%s"):format(facts.policy, facts.benched,
    facts.failure and ": " .. facts.failure.reason or ""), try_policy(facts)
end, "daemon")

diagnosis("policy-asks-outside", function(facts)
  if not facts.asks_outside then return end
  return ("policy %s asks others before it decides, and this moonlb has not decided yet"):format(facts.policy),
    "wait a moment; or ask the leader's: kubectl -n kube-system exec POD -- moonlb explain " .. facts.key
end, "daemon")

diagnosis("policy-failed", function(facts)
  local failure = facts.decision and facts.decision.failure
  if not failure or not is_refused(facts) then return end
  return ("policy %s failed%s: %s"):format(failure.policy, at(failure), failure.reason), try_policy(facts)
end, "daemon")

-- Pools. ------------------------------------------------------------------------------------------------------------

local function full_pool(facts)
  return is_refused(facts) and facts.decision.exhausted and facts.decision.exhausted[1] or nil
end

local function blocked_text(blocked)
  local first = blocked[1]
  return ("%s is %s%s"):format(first.address, first.why, blocked.count > 1
    and (", and %d others are not free either"):format(blocked.count - 1) or "")
end

diagnosis("pool-blocked", function(facts)
  local full, blocked = full_pool(facts), facts.blocked
  if not full or not blocked or blocked.held > 0 or not blocked[1] then return end
  local wrong = ("pool %s has no %s address to give, though no Service has one of it: %s"):format(full.pool,
    family.name(full.family), blocked_text(blocked))
  if blocked[1].is_stranger then
    return wrong, "take that machine off the address, or widen the pool: " .. words.edit_configmap(facts)
  end
  return wrong, "give it addresses that the network does not need itself: " .. words.edit_configmap(facts)
end)

diagnosis("pool-rests", function(facts)
  local full, blocked = full_pool(facts), facts.blocked
  if not full or not blocked or blocked.held > 0 then return end
  return ("pool %s has no %s address to give yet: what was given back rests before it is given anew"):format(full.pool,
    family.name(full.family)), "wait a minute, or widen the pool: " .. words.edit_configmap(facts)
end)

diagnosis("pool-exhausted", function(facts)
  local full, blocked = full_pool(facts), facts.blocked
  if not full then return end
  return ("pool %s%s"):format(pools.describe_full(full), blocked and blocked[1]
    and (" (%s)"):format(blocked_text(blocked)) or ""),
    ("widen it in ConfigMap %s, or delete Services that nobody uses: %s"):format(facts.configmap.name,
      words.edit_configmap(facts))
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
    warning.item, warning.message), "mend it: " .. words.edit_configmap(facts)
end)

diagnosis("pool-empty", function(facts)
  local pool = facts.serving
  if not is_refused(facts) or facts.requested or not pool or pool.is_dhcp or has_any_family(facts) then return end
  if facts.policy ~= "default" then return end
  local namespace = facts.key:match("^(.-)/")
  return ("pool %s has no addresses: its key is empty%s"):format(pool.name, pool.is_global and ""
    or (", and keeps namespace %s away from the global pool"):format(namespace)),
    "give it addresses, or take the key away: " .. words.edit_configmap(facts)
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

local NO = { AddressRefused = true, PoolExhausted = true, PolicyFailed = true, AllocatorConflict = true,
  AddressConflict = true, AddressAssigned = true }

-- What this node's network needs for itself is known to the moonlb there alone: what looks free from here may not be.
diagnosis("refused-lately", function(facts)
  local event = facts.source == "cluster" and is_unwritten(facts) and words.last_event(facts, NO)
  if not event or event.type ~= "Warning" then return end
  return ("moonlb did not give it %s (Event %s, %s ago): %s"):format(table.concat(facts.decision.addresses, ", "),
    event.reason, ago(facts.walltime - event.at), event.message),
    "ask for another address; the moonlb that decides knows more: " .. words.ask_daemon(facts)
end, "cluster")

diagnosis("would-be-given", function(facts)
  if facts.source ~= "files" or not is_unwritten(facts) then return end
  local decision = facts.decision
  local what = decision.action == "dhcp" and "it would get its address by DHCP"
    or table.concat(decision.addresses, ", ") .. " would be given to it"
  return ("%s by rule %s of policy %s%s"):format(what, decision.rule or "-", decision.policy or facts.policy,
    decision.pool and ", from " .. decision.pool or ""), "nothing is wrong in these files"
end)

diagnosis("being-written", function(facts)
  if not is_unwritten(facts) then return end
  if facts.source == "cluster" then
    return ("%s would be given to it, and nobody has written that yet"):format(
      table.concat(facts.decision.addresses, ", ")),
      "see that moonlb runs: " .. words.PODS
  end
  return ("%s is decided for it and about to be written by the leader, %s"):format(
    table.concat(facts.decision.addresses, ", "), facts.allocator and facts.allocator.leader or "this process"),
    "wait a moment"
end)

return list
