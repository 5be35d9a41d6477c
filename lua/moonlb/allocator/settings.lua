--- What kube-vip's environment says to the allocator: the ConfigMap's name and the load-balancer classes.
-- @module moonlb.allocator.settings
local fields = require("moonlb.allocator.fields")

local settings = {}

-- As Go's strconv.ParseBool; anything else counts as false and is reported.
local TRUE = { ["1"] = true, t = true, T = true, TRUE = true, ["true"] = true, True = true }
local FALSE = { ["0"] = true, f = true, F = true, FALSE = true, ["false"] = true, False = true, [""] = true }

local function boolean(environment, name, warnings)
  local value = environment(name)
  if value == nil or FALSE[value] then return false end
  if not TRUE[value] then
    warnings[#warnings + 1] = ("%s=%s is neither true nor false; it counts as false"):format(name, value)
  end
  return TRUE[value] or false
end

local function text(environment, ...)
  for _, name in ipairs({ ... }) do
    local value = environment(name)
    if value and value ~= "" then return value end
  end
  return nil
end

--- @tparam func environment  name -> text or nil (`os.getenv`)
-- @treturn table  `configmap="namespace/name"`, `lb_class_name`, `lb_class_only` (a Service without a class is left
-- alone)
-- @treturn table  warnings: array of text
function settings.read(environment)
  local warnings = {}
  local only = boolean(environment, "lb_class_only", warnings)
  return {
    configmap = (text(environment, "KUBEVIP_NAMESPACE") or "kube-system") .. "/"
      .. (text(environment, "KUBEVIP_CONFIG_MAP") or "kubevip"),
    lb_class_name = text(environment, "lb_class_name", "KUBEVIP_CUSTOM_LOADBALANCERCLASS_NAME") or fields.CLASS,
    lb_class_only = boolean(environment, "KUBEVIP_ENABLE_LOADBALANCERCLASS", warnings) or only,
  }, warnings
end

return settings
