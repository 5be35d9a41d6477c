--- The rights that moonlb uses, as manifests/base/moonlb.yaml grants them.
-- @module moonlb.control.doctor.rights
local SYSTEM = "kube-system"

local function right(verbs, group, resource, more)
  local it = { verbs = verbs, group = group, resource = resource }
  for name, value in pairs(more or {}) do it[name] = value end
  return it
end

--- Array of `{verbs=, group=, resource=, subresource=|nil, namespace=|nil, name=|nil, half="allocate"|"announce"|nil}`.
return {
  right({ "get", "list", "watch", "patch" }, "", "services"),
  right({ "patch" }, "", "services", { subresource = "status" }),
  right({ "list", "watch" }, "", "nodes"),
  right({ "get" }, "", "namespaces", { name = SYSTEM, half = "announce" }),
  right({ "list", "watch" }, "discovery.k8s.io", "endpointslices", { half = "announce" }),
  right({ "create", "patch" }, "", "events"),
  right({ "list", "watch" }, "", "configmaps", { namespace = SYSTEM, name = "kubevip", half = "allocate" }),
  right({ "create" }, "coordination.k8s.io", "leases", { namespace = SYSTEM, half = "allocate" }),
  right({ "get", "list", "watch", "patch" }, "coordination.k8s.io", "leases",
    { namespace = SYSTEM, name = "moonlb-allocator", half = "allocate" }),
  right({ "create" }, "", "secrets", { namespace = SYSTEM, half = "announce" }),
  right({ "list", "watch" }, "", "secrets", { namespace = SYSTEM, name = "moonlb-heartbeat", half = "announce" }),
}
