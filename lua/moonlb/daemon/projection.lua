--- What the stores keep of the API's objects.
-- @module moonlb.daemon.projection
local projection = {}

-- Small parts that are alike in many Services are kept once: objects are read, never written. The set is bounded.
local LARGEST_SET = 4096
local shared, shared_count = {}, 0

local function share(part, signature)
  local known = shared[signature]
  if known then return known end
  if shared_count >= LARGEST_SET then shared, shared_count = {}, 0 end
  shared[signature], shared_count = part, shared_count + 1
  return part
end

-- What tells two values apart, as text; nil for one that is too deep or too long to be worth it.
local function signature_of(value, depth)
  if type(value) ~= "table" then return type(value) .. ":" .. tostring(value) end
  local names, parts = {}, {}
  for name in pairs(value) do names[#names + 1] = name end
  if depth == 0 or #names > 8 then return nil end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for i, name in ipairs(names) do
    local inner = signature_of(value[name], depth - 1)
    if not inner then return nil end
    parts[i] = ("%s=%q"):format(name, inner)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function share_fields(part, names)
  for _, name in ipairs(names) do
    local value = part[name]
    local signature = type(value) == "table" and signature_of(value, 2)
    if signature then part[name] = share(value, signature) end
  end
end

--- A Service of type LoadBalancer whole, since policies see the object as the API has it; of any other Service only
-- what tells that it exists, and that it may have been one.
-- @tparam table object
-- @treturn table
function projection.service(object)
  local spec, status = object.spec, object.status
  if type(spec) == "table" and spec.type == "LoadBalancer" then
    share_fields(spec, { "ports", "ipFamilies" })
    share_fields(object, { "status" })
    return object
  end
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
