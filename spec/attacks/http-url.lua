-- Asks at addresses with line ends, zero bytes, users and names that only begin as an allowed one.
-- worker: refuse 4 malformed, 2 not allowed
local function attack(service, cluster)
  local malformed, unnamed = 0, 0
  for _, url in ipairs({ "http://ipam.example/\r\nHost: evil", "http://ipam.example\0.evil/", "http://a@ipam.example/",
    "http://ipam.example:80:80/", "http://[::1]/", "https://IPAM.EXAMPLE.evil/" }) do
    local answer, why = http.get(url)
    if answer then return use("10.0.0.9") end
    if why == "no plain http address" then malformed = malformed + 1 end
    if why:find("is not named by %-%-policy%-http%-allow$") then unnamed = unnamed + 1 end
  end
  return refuse(("%d malformed, %d not allowed"):format(malformed, unnamed))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
