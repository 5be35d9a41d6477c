--- resourceVersion: opaque to clients by contract, a decimal counter by practice. Compared as a number where both
-- are one, and never trusted to be ordered otherwise (Kubernetes API concepts, "Resource versions").
-- @module moonlb.kube.version
local version = {}

--- Whether version `a` is older than `b`. Versions that are no numbers are never older.
-- @tparam string|nil a
-- @tparam string|nil b
-- @treturn boolean
function version.older(a, b)
  if not a or not b or a:find("%D") or b:find("%D") then return false end
  if #a ~= #b then return #a < #b end
  return a < b
end

return version
