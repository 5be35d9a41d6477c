-- Raises in one __close after the other, each time with the error before it inside.
-- worker: error error .-%.lua:%d+ %(error object is a table%)
local function attack(service, cluster)
  local function nest(depth)
    local guard <close> = setmetatable({}, { __close = function(_, before) error({ before }) end })
    if depth == 0 then error("the innermost") end
    nest(depth - 1)
  end
  nest(180)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
