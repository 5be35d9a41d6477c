-- Formats with widths and letters that there are not.
-- worker: refuse 5 failures
local function attack(service, cluster)
  local failures = 0
  for _, format in ipairs({ "%99999d", "%.99999f", "%099d", "%", "%y", "%10q", "%i%u", "%99.99a", "%c%c" }) do
    if not pcall(string.format, format, 1, 2) then failures = failures + 1 end
  end
  return refuse(failures .. " failures")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
