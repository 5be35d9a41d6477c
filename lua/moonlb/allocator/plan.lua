--- What moonlb would do with a set of objects, without doing it: `moonlb plan`, a policy's tests and the dry run
-- before a policy is swapped. Pure.
-- @module moonlb.allocator.plan
local engine = require("moonlb.allocator.engine")

local plan = {}

local DEFAULT_CONFIGMAP = "kube-system/kubevip"

local feeders = {}

function feeders.Service(brain, object)
  brain:set_service(object)
end

function feeders.Node(brain, object)
  brain:set_node(object)
end

local function is_configmap(object, wanted)
  local metadata = object.metadata
  return object.kind == "ConfigMap" and (metadata.namespace or "default") .. "/" .. metadata.name == wanted
end

--- Give all objects to an engine: the ConfigMap first, then Services, then Nodes (an address that a Service holds is
-- the Service's).
-- @tparam Engine brain  see `moonlb.allocator.engine`
-- @tparam table objects  array of Kubernetes objects; other kinds are passed over
-- @tparam[opt] string configmap  `namespace/name` of the ConfigMap that counts
-- @tparam[opt] function pause  called after each object; may yield
-- @treturn table  warnings of the ConfigMap
function plan.feed(brain, objects, configmap, pause)
  local warnings
  for _, object in ipairs(objects) do
    if is_configmap(object, configmap or DEFAULT_CONFIGMAP) then warnings = brain:set_configmap(object) end
  end
  if not warnings then
    warnings = brain:set_configmap(nil)
    table.insert(warnings, { object = "ConfigMap " .. (configmap or DEFAULT_CONFIGMAP), key = "", item = "",
      message = "there is none: no pool has any address", is_note = true })
  end
  for _, kind in ipairs({ "Service", "Node" }) do
    for _, object in ipairs(objects) do
      if object.kind == kind then feeders[kind](brain, object) end
      if pause then pause() end
    end
  end
  return warnings
end

local function policy_warning(decision)
  local failure = decision.failure
  return { object = ("Service %s/%s"):format(decision.namespace, decision.name), key = "policy " .. failure.policy,
    item = failure.where or "", message = failure.reason }
end

--- Decide every Service that the engine knows, in order; each decision stands before the next is made.
-- @tparam Engine brain
-- @tparam[opt] string before  the key of a Service: only those that come before it
-- @tparam[opt] function pause  called after each; may yield
-- @treturn table  decisions, see `Engine.decide`
-- @treturn table  warnings of policies that failed
function plan.decide(brain, before, pause)
  local decisions, warnings = {}, {}
  for _, key in ipairs(brain:keys()) do
    if key == before then break end
    local decision = brain:decide(key)
    decisions[#decisions + 1] = decision
    brain:place(key, decision)
    if decision.failure then warnings[#warnings + 1] = policy_warning(decision) end
    if decision.refused then
      warnings[#warnings + 1] = { object = "Service " .. key, key = "", item = "", message = decision.message }
    end
    local is_new = decision.action ~= "keep" and decision.action ~= "ignore" and decision.action ~= "pending"
    if is_new then brain:reserve(key, decision) end
    if pause then pause() end
  end
  return decisions, warnings
end

--- Both steps, with an engine of its own.
-- @tparam table objects  array of Kubernetes objects
-- @tparam[opt] table options  of `engine.new`; `pause`: see `plan.feed`
-- @treturn table  `{decisions=, warnings=, engine=}`
function plan.run(objects, options)
  options = options or {}
  local brain = engine.new(options)
  local configmap = options.settings and options.settings.configmap
  local warnings = table.move(plan.feed(brain, objects, configmap, options.pause), 1, 1000, 1, {})
  local decisions, failures = plan.decide(brain, nil, options.pause)
  table.move(failures, 1, #failures, #warnings + 1, warnings)
  return { decisions = decisions, warnings = warnings, engine = brain }
end

return plan
