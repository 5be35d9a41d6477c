--- What tells this cluster from another one on the same LAN: for heartbeats and for DHCP.
-- @module moonlb.announcer.identity
local async = require("moonlb.async")

local identity = {}

--- The identity where the cluster's own may not be read.
identity.UNKNOWN = "moonlb"

local RETRY = 5 -- seconds until the API is asked again

--- The UID of namespace kube-system, which is the cluster's for life. Asks until there is an answer. In a task.
-- @tparam Client client
-- @tparam function is_stopped  () -> boolean
-- @tparam function on_error  (message): asked again in a while
-- @treturn string  the UID, or identity.UNKNOWN and why it is (Forbidden, NotFound); nil when stopped
-- @treturn string|nil  why it is unknown
function identity.find(client, is_stopped, on_error)
  while not is_stopped() do
    local namespace, message, reason = client:get("/api/v1/namespaces/kube-system")
    if namespace and type(namespace.metadata) == "table" and namespace.metadata.uid then
      return namespace.metadata.uid
    end
    if reason == "Forbidden" or reason == "NotFound" then return identity.UNKNOWN, message end
    on_error(message)
    if not async.sleep(RETRY) then return nil end
  end
end

return identity
