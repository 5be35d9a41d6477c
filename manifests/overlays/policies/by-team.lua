-- by-team: a Service whose namespace belongs to a team, told by the label team, gets an address of the team's pool; all
-- others are served as ever. `moonlb policy test manifests/overlays/policies/by-team.lua` runs the tests below.
local POOLS = { red = "192.168.0.128/28", blue = "192.168.0.144/28" }

function rule.team(service, cluster)
  local team = service.metadata.labels.team
  if not team then return nil, "no label team" end
  if not POOLS[team] then return refuse("team " .. team .. " has no pool") end
  local address, why = cluster.pool(POOLS[team]):free()
  if not address then return refuse(why) end
  return use(address)
end

return {
  api = 1,
  name = "by-team",
  rules = { rule.static, rule.dhcp, rule.team, rule.namespace_pool, rule.global_pool },
  tests = {
    {
      name = "a team's Service gets an address of its pool",
      service = { metadata = { labels = { team = "blue" } } },
      expect = { action = "assign", addresses = { "192.168.0.144" }, rule = "team" },
    },
    {
      name = "a team without a pool waits, and is told why",
      service = { metadata = { labels = { team = "green" } } },
      expect = { action = "pending", reason = "team green has no pool" },
    },
    {
      name = "who names no team is served from the global pool",
      given = { configmap = { ["range-global"] = "192.168.0.200-192.168.0.219" } },
      expect = { action = "assign", addresses = { "192.168.0.200" }, rule = "global_pool" },
    },
  },
}
