-- Calculates with a decision, calls it and looks inside.
-- worker: refuse 6 decision: use
local function attack(service, cluster)
  local decision, failures = use("10.0.0.9"), 0
  for _, try in ipairs({
    function() return decision < decision end,
    function() return decision() end,
    function() return decision .. "" end,
    function() return decision + 1 end,
    function() return -decision end,
    function() return decision.kind end,
  }) do
    if not pcall(try) then failures = failures + 1 end
  end
  return refuse(failures .. " " .. tostring(decision))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
