--- What the cluster has to be like.
-- @module moonlb.control.doctor.cluster
local rights = require("moonlb.control.doctor.rights")
local status = require("moonlb.announcer.status")
local timestamp = require("moonlb.kube.timestamp")
local words = require("moonlb.control.explain.words")

local list = {}

-- A check that asks the API; without one it is not looked at.
local function check(name, run)
  list[#list + 1] = { name = name, run = function(look, report)
    if not look.client then
      return report("warn", "not looked at: " .. (look.client_error or "no API server"),
        "give it credentials: moonlb doctor --kubeconfig FILE; kubectl version shows whether they are good")
    end
    run(look, report)
  end }
end

local APPLY = "kubectl apply -f manifests/moonlb.yaml"
local SKEW = 20 -- seconds: a renewal each 2 s, a request under way, and then some
local OWN = "run it with your own credentials: moonlb doctor --kubeconfig FILE"
local REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

-- The right as this installation needs it: names and namespace may be others.
local function attributes(it, verb, settings)
  local namespace = it.namespace and settings.configmap_namespace
  local name = it.resource == "configmaps" and settings.configmap or it.name
  return { verb = verb, group = it.group, resource = it.resource, subresource = it.subresource, namespace = namespace,
    name = name }
end

local function say(it)
  return ("%s %s%s%s%s"):format(it.verb, it.resource, it.subresource and "/" .. it.subresource or "",
    it.group ~= "" and "." .. it.group or "", it.namespace and " in " .. it.namespace or "")
end

-- Which rights are refused: array of texts; nil, message when that cannot be asked.
local function refused(look)
  local missing = {}
  for _, it in ipairs(rights) do
    for _, verb in ipairs((not it.half or look.settings[it.half]) and it.verbs or {}) do
      local asked = attributes(it, verb, look.settings)
      local answer, message = look.client:create(REVIEWS, { apiVersion = "authorization.k8s.io/v1",
        kind = "SelfSubjectAccessReview", spec = { resourceAttributes = asked } })
      if not answer then return nil, message end
      if not (answer.status and answer.status.allowed == true) then missing[#missing + 1] = say(asked) end
    end
  end
  return missing
end

check("rbac", function(look, report)
  local missing, message = refused(look)
  if not missing then
    return report("fail", "the API server cannot be asked what is allowed: " .. message,
      "see that it runs: kubectl version")
  end
  if missing[1] then return report("fail", "not allowed: " .. table.concat(missing, "; "), APPLY) end
  report("ok", "all rights are there (as these credentials; moonlb's own are asked in its Pod)")
end)

check("configmap", function(look, report)
  local settings = look.settings
  local path = ("/api/v1/namespaces/%s/configmaps"):format(settings.configmap_namespace)
  local found
  local ok, message = look.client:list(path, { field_selector = "metadata.name=" .. settings.configmap },
    function(items) found = found or items[1] end)
  local name = settings.configmap_namespace .. "/" .. settings.configmap
  if not ok then return report("fail", ("ConfigMap %s cannot be read: %s"):format(name, message), APPLY) end
  if found then return report("ok", ("ConfigMap %s is there"):format(name)) end
  report("fail", ("there is no ConfigMap %s: no pool has an address"):format(name),
    ("kubectl -n %s create configmap %s --from-literal=range-global=FIRST-LAST"):format(settings.configmap_namespace,
      settings.configmap))
end)

-- kube-proxy's configuration is YAML in a ConfigMap; two of its fields matter.
check("strict-arp", function(look, report)
  local object, message, reason = look.client:get("/api/v1/namespaces/kube-system/configmaps/kube-proxy")
  if not object then
    if reason == "NotFound" then
      return report("ok", "there is no ConfigMap kube-system/kube-proxy: it is configured elsewhere, or replaced")
    end
    return report("warn", "not looked at: " .. message, OWN)
  end
  local text = type(object.data) == "table" and object.data["config.conf"] or ""
  local is_ipvs = text:match("\n%s*mode:%s*\"?ipvs") or text:match("^mode:%s*\"?ipvs")
  local is_strict = text:match("strictARP:%s*true")
  if is_ipvs and not is_strict then
    return report("fail", "kube-proxy uses IPVS without strictARP: every node answers ARP for every VIP",
      "kubectl -n kube-system edit configmap kube-proxy (ipvs: strictARP: true), then kubectl -n kube-system rollout "
        .. "restart daemonset kube-proxy")
  end
  report("ok", is_ipvs and "kube-proxy uses IPVS with strictARP" or "kube-proxy does not use IPVS")
end)

check("clock", function(look, report)
  local namespace = look.settings.configmap_namespace
  local lease, message = look.client:get(("/apis/coordination.k8s.io/v1/namespaces/%s/leases/moonlb-allocator"):format(
    namespace))
  local show = ("kubectl -n %s get lease moonlb-allocator -o yaml; %s"):format(namespace, words.PODS)
  if not lease then return report("warn", "not compared with the leader's: " .. message, show) end
  local text = lease.spec and type(lease.spec.renewTime) == "string" and lease.spec.renewTime or ""
  local at = timestamp.seconds((text:gsub("%.%d+Z$", "Z")))
  local held = lease.spec and type(lease.spec.holderIdentity) == "string" and lease.spec.holderIdentity ~= ""
  if not at or not held then return report("warn", "not compared: nobody leads", show) end
  local skew = look.walltime() - at
  if math.abs(skew) <= SKEW then
    return report("ok", ("the leader renewed its Lease %.0f s ago by this clock"):format(skew))
  end
  report("warn", ("the leader's last renewal is %.0f s %s by this clock: it is gone, or a clock is wrong"):format(
    math.abs(skew), skew > 0 and "ago" or "ahead"), "timedatectl on both nodes; kubectl -n kube-system get lease")
end)

local function is_kube_vip(pod)
  for _, container in ipairs(pod.spec and type(pod.spec.containers) == "table" and pod.spec.containers or {}) do
    if type(container.image) == "string" and container.image:match("kube%-vip") then
      for _, it in ipairs(type(container.env) == "table" and container.env or {}) do
        if it.name == "svc_enable" then return true, it.value == "true" end
      end
      return true, false
    end
  end
  return false
end

check("kube-vip", function(look, report)
  local announcing, others
  local ok, message = look.client:list("/api/v1/namespaces/kube-system/pods", {}, function(items)
    for _, pod in ipairs(items) do
      local is_it, is_announcing = is_kube_vip(pod)
      if is_it and is_announcing then announcing = pod.metadata.name elseif is_it then others = pod.metadata.name end
    end
  end)
  if announcing then
    return report("fail", ("Pod kube-system/%s is kube-vip with svc_enable=true: both announce Services"):format(
      announcing), ("set svc_enable=false where it comes from (kubectl -n kube-system describe pod %s), or run "
        .. "moonlb with --allocate alone"):format(announcing))
  end
  if not ok then return report("warn", "Pods were not looked at: " .. message, OWN) end
  report("ok", others and ("Pod kube-system/%s is kube-vip, for the control plane alone"):format(others)
    or "no kube-vip runs in kube-system")
end)

-- Somebody else's mark on Services: kube-vip writes vipHost as moonlb does, but knows no claim.
check("foreign-hosts", function(look, report)
  local foreign
  local ok, message = look.client:list("/api/v1/services", {}, function(items)
    for _, service in ipairs(items) do
      local annotations = type(service.metadata.annotations) == "table" and service.metadata.annotations or {}
      local claim = annotations[status.CLAIM] and annotations[status.CLAIM]:match(" (%S+)$")
      if annotations[status.HOST] and annotations[status.HOST] ~= claim then
        foreign = foreign or { service.metadata.namespace .. "/" .. service.metadata.name, annotations[status.HOST] }
      end
    end
  end)
  if not ok then return report("fail", "Services cannot be read: " .. message, APPLY) end
  if not foreign then return report("ok", "no other announcer has marked a Service") end
  report("warn", ("Service %s is announced by node %s, and not by moonlb"):format(foreign[1], foreign[2]),
    "stop kube-vip's services (svc_enable=false), or run moonlb with --allocate alone: kubectl -n "
      .. foreign[1]:gsub("/", " get svc ") .. " -o yaml")
end)

return list
