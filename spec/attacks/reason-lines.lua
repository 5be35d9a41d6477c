-- Tries to forge lines of a log by its reason.
-- worker: refuse all is well level=error msg= %[31mfire
local function attack(service, cluster)
  return refuse("all is well\nlevel=error msg=\27[31mfire")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
