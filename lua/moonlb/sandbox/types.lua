--- The fields of every kind the sandbox stores: one table that strict decoding, strategic merge, server-side apply,
-- protobuf bodies and the OpenAPI documents all read. Source: the Kubernetes API reference of 1.32.
--
-- A type is a name on a line of its own, its fields are indented below it:
--   NUMBER NAME TYPE [merge=KEY[,KEY]]
-- NUMBER is the field's number in generated.proto (0: not known to us in protobuf). TYPE is one of `string int bool
-- number time micro intstr bytes any` (micro: a time with six digits), a type of this table, `list:T` or `map:T`.
-- `merge=` names what tells list elements apart (`merge=.` for a set of strings): strategic merge uses the first key,
-- apply all of them. `NAME open` keeps fields that are not listed.
-- @module moonlb.sandbox.types
local types = {}

local text = [[
ObjectMeta
  1 name string
  2 generateName string
  3 namespace string
  4 selfLink string
  5 uid string
  6 resourceVersion string
  7 generation int
  8 creationTimestamp time
  9 deletionTimestamp time
  10 deletionGracePeriodSeconds int
  11 labels map:string
  12 annotations map:string
  13 ownerReferences list:OwnerReference merge=uid
  14 finalizers list:string merge=.
  17 managedFields list:any
OwnerReference
  5 apiVersion string
  1 kind string
  3 name string
  4 uid string
  6 controller bool
  7 blockOwnerDeletion bool
ObjectReference
  1 kind string
  2 namespace string
  3 name string
  4 uid string
  5 apiVersion string
  6 resourceVersion string
  7 fieldPath string
LocalObjectReference
  1 name string
Condition
  1 type string
  2 status string
  3 observedGeneration int
  4 lastTransitionTime time
  5 reason string
  6 message string

Namespace
  1 metadata ObjectMeta
  2 spec NamespaceSpec
  3 status NamespaceStatus
NamespaceSpec
  1 finalizers list:string
NamespaceStatus
  1 phase string
  2 conditions list:StatusCondition merge=type
StatusCondition
  1 type string
  2 status string
  4 lastTransitionTime time
  5 reason string
  6 message string

Service
  1 metadata ObjectMeta
  2 spec ServiceSpec
  3 status ServiceStatus
ServiceSpec
  1 ports list:ServicePort merge=port,protocol
  2 selector map:string
  3 clusterIP string
  4 type string
  5 externalIPs list:string
  7 sessionAffinity string
  8 loadBalancerIP string
  9 loadBalancerSourceRanges list:string
  10 externalName string
  11 externalTrafficPolicy string
  12 healthCheckNodePort int
  13 publishNotReadyAddresses bool
  14 sessionAffinityConfig SessionAffinityConfig
  17 ipFamilyPolicy string
  18 clusterIPs list:string
  19 ipFamilies list:string
  20 allocateLoadBalancerNodePorts bool
  21 loadBalancerClass string
  22 internalTrafficPolicy string
  23 trafficDistribution string
ServicePort
  1 name string
  2 protocol string
  3 port int
  4 targetPort intstr
  5 nodePort int
  6 appProtocol string
SessionAffinityConfig
  1 clientIP ClientIPConfig
ClientIPConfig
  1 timeoutSeconds int
ServiceStatus
  1 loadBalancer LoadBalancerStatus
  2 conditions list:Condition merge=type
LoadBalancerStatus
  1 ingress list:LoadBalancerIngress
LoadBalancerIngress
  1 ip string
  2 hostname string
  3 ipMode string
  4 ports list:PortStatus
PortStatus
  1 port int
  2 protocol string
  3 error string

ConfigMap
  1 metadata ObjectMeta
  2 data map:string
  3 binaryData map:bytes
  4 immutable bool
Secret
  1 metadata ObjectMeta
  2 data map:bytes
  3 type string
  4 stringData map:string
  5 immutable bool
ServiceAccount
  1 metadata ObjectMeta
  2 secrets list:ObjectReference merge=name
  3 imagePullSecrets list:LocalObjectReference merge=name
  4 automountServiceAccountToken bool

Node
  1 metadata ObjectMeta
  2 spec NodeSpec
  3 status NodeStatus
NodeSpec
  1 podCIDR string
  7 podCIDRs list:string merge=.
  3 providerID string
  4 unschedulable bool
  5 taints list:Taint
  0 externalID string
  0 configSource any
Taint
  1 key string
  2 value string
  3 effect string
  4 timeAdded time
NodeStatus
  0 capacity map:any
  0 allocatable map:any
  0 phase string
  0 conditions list:NodeCondition merge=type
  0 addresses list:NodeAddress merge=type
  0 daemonEndpoints any
  0 nodeInfo map:string
  0 images list:any
  0 volumesInUse list:string
  0 volumesAttached list:any
  0 config any
  0 runtimeHandlers list:any
  0 features any
NodeCondition
  0 type string
  0 status string
  0 lastHeartbeatTime time
  0 lastTransitionTime time
  0 reason string
  0 message string
NodeAddress
  0 type string
  0 address string

Endpoints
  1 metadata ObjectMeta
  2 subsets list:any

Event
  0 metadata ObjectMeta
  0 involvedObject ObjectReference
  0 reason string
  0 message string
  0 source EventSource
  0 firstTimestamp time
  0 lastTimestamp time
  0 count int
  0 type string
  0 eventTime micro
  0 series EventSeries
  0 action string
  0 related ObjectReference
  0 reportingComponent string
  0 reportingInstance string
EventSource
  0 component string
  0 host string
EventSeries
  0 count int
  0 lastObservedTime micro
NewEvent
  0 metadata ObjectMeta
  0 regarding ObjectReference
  0 reason string
  0 note string
  0 deprecatedSource EventSource
  0 deprecatedFirstTimestamp time
  0 deprecatedLastTimestamp time
  0 deprecatedCount int
  0 type string
  0 eventTime micro
  0 series EventSeries
  0 action string
  0 related ObjectReference
  0 reportingController string
  0 reportingInstance string

Lease
  1 metadata ObjectMeta
  2 spec LeaseSpec
LeaseSpec
  1 holderIdentity string
  2 leaseDurationSeconds int
  3 acquireTime micro
  4 renewTime micro
  5 leaseTransitions int
  6 strategy string
  7 preferredHolder string

EndpointSlice
  0 metadata ObjectMeta
  0 addressType string
  0 endpoints list:Endpoint
  0 ports list:EndpointPort
Endpoint
  0 addresses list:string
  0 conditions EndpointConditions
  0 hostname string
  0 targetRef ObjectReference
  0 deprecatedTopology map:string
  0 nodeName string
  0 zone string
  0 hints any
EndpointConditions
  0 ready bool
  0 serving bool
  0 terminating bool
EndpointPort
  0 name string
  0 protocol string
  0 port int
  0 appProtocol string
BetaEndpointSlice
  0 metadata ObjectMeta
  0 addressType string
  0 endpoints list:BetaEndpoint
  0 ports list:EndpointPort
BetaEndpoint
  0 addresses list:string
  0 conditions EndpointConditions
  0 hostname string
  0 targetRef ObjectReference
  0 topology map:string
  0 nodeName string
  0 hints any

Deployment
  1 metadata ObjectMeta
  2 spec DeploymentSpec
  3 status DeploymentStatus
DeploymentSpec
  1 replicas int
  2 selector LabelSelector
  3 template PodTemplateSpec
  4 strategy DeploymentStrategy
  5 minReadySeconds int
  6 revisionHistoryLimit int
  7 paused bool
  9 progressDeadlineSeconds int
DeploymentStrategy
  1 type string
  0 rollingUpdate any
DeploymentStatus open
  1 observedGeneration int
  2 replicas int
  0 conditions list:any merge=type
LabelSelector
  1 matchLabels map:string
  0 matchExpressions list:any
PodTemplateSpec
  1 metadata ObjectMeta
  2 spec PodSpec
PodSpec open
  2 containers list:Container merge=name
  0 initContainers list:Container merge=name
  0 volumes list:any merge=name
Container open
  1 name string
  2 image string
  3 command list:string
  4 args list:string
  6 ports list:ContainerPort merge=containerPort,protocol
  8 resources Resources
ContainerPort
  1 name string
  2 hostPort int
  3 containerPort int
  4 protocol string
  5 hostIP string
Resources open
Pod open
  1 metadata ObjectMeta
  2 spec PodSpec

DeleteOptions
  1 gracePeriodSeconds int
  2 preconditions Preconditions
  3 orphanDependents bool
  4 propagationPolicy string
  5 dryRun list:string
  0 ignoreStoreReadErrorWithClusterBreakingPotential bool
Preconditions
  1 uid string
  2 resourceVersion string

SelfSubjectAccessReview
  1 metadata ObjectMeta
  2 spec AccessReviewSpec
  3 status AccessReviewStatus
AccessReviewSpec
  1 resourceAttributes ResourceAttributes
  2 nonResourceAttributes NonResourceAttributes
ResourceAttributes
  1 namespace string
  2 verb string
  3 group string
  4 version string
  5 resource string
  6 subresource string
  7 name string
NonResourceAttributes
  1 path string
  2 verb string
AccessReviewStatus
  1 allowed bool
  2 reason string
  3 evaluationError string
  4 denied bool
SelfSubjectRulesReview
  1 metadata ObjectMeta
  2 spec RulesReviewSpec
  3 status RulesReviewStatus
RulesReviewSpec
  1 namespace string
RulesReviewStatus open
SelfSubjectReview
  1 metadata ObjectMeta
  2 status SelfSubjectReviewStatus
SelfSubjectReviewStatus
  1 userInfo UserInfo
UserInfo
  1 username string
  2 uid string
  3 groups list:string
TokenRequest
  1 metadata ObjectMeta
  2 spec TokenRequestSpec
  3 status TokenRequestStatus
TokenRequestSpec
  1 audiences list:string
  3 boundObjectRef BoundObjectReference
  4 expirationSeconds int
BoundObjectReference
  1 kind string
  2 apiVersion string
  3 name string
  4 uid string
TokenRequestStatus
  1 token string
  2 expirationTimestamp time
]]

local scalars = {
  string = true, int = true, bool = true, number = true, time = true, micro = true, intstr = true, bytes = true,
  any = true,
}

-- "list:ServicePort" -> { form = "list", of = <type of the element> }
local function type_of(word, names)
  local form, element = word:match("^(%a+):(.+)$")
  if form then
    return { form = form, of = type_of(element, names) }
  elseif scalars[word] then
    return { form = word }
  end
  return assert(names[word], "unknown type " .. word)
end

local function parse_field(line, owner, names)
  local number, name, word, rest = line:match("^  (%d+) (%S+) (%S+) ?(.*)$")
  assert(number, "not a field: " .. line)
  local field = { name = name, number = tonumber(number), type = type_of(word, names) }
  for key in (rest:match("merge=(%S+)") or ""):gmatch("[^,]+") do
    field.merge = field.merge or {}
    table.insert(field.merge, key)
  end
  owner.fields[name] = field
  if field.number > 0 then
    owner.by_number[field.number] = field
  end
  table.insert(owner.order, name)
end

local function parse(source)
  local names, owner = {}, nil
  for line in source:gmatch("[^\n]+") do
    local name, open = line:match("^(%w+) ?(%a*)$")
    if name then
      names[name] = {
        form = "object", name = name, open = open == "open",
        fields = {}, by_number = {}, order = {},
      }
    end
  end
  for line in source:gmatch("[^\n]+") do
    local name = line:match("^(%w+)")
    if name then
      owner = names[name]
    else
      parse_field(line, owner, names)
    end
  end
  return names
end

local parsed = parse(text)

--- The type of a name.
-- @tparam string name  as in the table above
-- @treturn table  `{form="object", name=, open=, order={names}, fields={[name]=field}, by_number={[number]=field}}`;
--   a field is `{name=, number=, type=, merge={keys}|nil}`
function types.get(name)
  return parsed[name] or error("no type " .. tostring(name), 2)
end

return types
