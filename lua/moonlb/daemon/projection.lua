--- What the stores keep of the API's objects.
-- @module moonlb.daemon.projection
local projection = {}

--- A Service of type LoadBalancer whole, since policies see the object as the API has it; of any other Service only
-- what tells that it exists, and that it may have been one.
-- @tparam table object
-- @treturn table
function projection.service(object)
  local spec, status = object.spec, object.status
  if type(spec) == "table" and spec.type == "LoadBalancer" then return object end
  local metadata = object.metadata
  return {
    metadata = {
      name = metadata.name, namespace = metadata.namespace, uid = metadata.uid,
      resourceVersion = metadata.resourceVersion, creationTimestamp = metadata.creationTimestamp,
      deletionTimestamp = metadata.deletionTimestamp, labels = metadata.labels, annotations = metadata.annotations,
      finalizers = metadata.finalizers,
    },
    spec = { type = type(spec) == "table" and spec.type or nil,
      loadBalancerIP = type(spec) == "table" and spec.loadBalancerIP or nil },
    status = type(status) == "table" and status.loadBalancer and { loadBalancer = status.loadBalancer } or nil,
  }
end

return projection
