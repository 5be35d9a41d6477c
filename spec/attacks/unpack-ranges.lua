-- Unpacks and joins ranges of up to 2^64 items of an empty table.
-- worker: refuse 10 failures
local function attack(service, cluster)
  local failures, first, last = 0, math.mininteger, math.maxinteger
  for _, range in ipairs({ { first, last }, { 1, last }, { last - 1, last }, { first, first + 1 }, { 1, 10000000 },
    { 0, 1 << 31 } }) do
    if not pcall(table.unpack, {}, range[1], range[2]) then failures = failures + 1 end
    if not pcall(table.concat, {}, "", range[1], range[2]) then failures = failures + 1 end
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
