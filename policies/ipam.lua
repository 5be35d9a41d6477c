-- ipam: an address plan outside the cluster says which address a Service gets. NetBox is asked here: an address whose
-- "DNS name" is <service>.<namespace> is the Service's.
--
-- moonlb asks only hosts that are named by --policy-http-allow:
--
--   moonlb run --policy-http-allow netbox.example:8000
--
-- While a rule waits for the answer only its own Service waits. When the answer is there the rules run again from the
-- first, and http.get returns at once. Nothing is written to the IPAM: a rule decides, it has no effects.
local IPAM = "http://netbox.example:8000"

-- NetBox writes addresses with the prefix length of their network: 10.20.0.7/24.
local function address_of(entry)
  return type(entry) == "table" and type(entry.address) == "string" and entry.address:match("^[^/]+") or nil
end

function rule.ipam(service)
  local name = service.metadata.name .. "." .. service.metadata.namespace
  local answer, message = http.get(IPAM .. "/api/ipam/ip-addresses/?dns_name=" .. name, { timeout = 2 })
  if not answer then return refuse("the IPAM does not answer: " .. message) end
  if answer.status ~= 200 then return refuse("the IPAM answers with status " .. answer.status) end
  local results = answer.json and answer.json.results
  if type(results) ~= "table" then return refuse("the IPAM's answer is no NetBox list") end
  local address = address_of(results[1])
  if not address then return nil, "the IPAM has no address for " .. name end
  return use(address)
end

return {
  api = 1,
  name = "ipam",
  rules = { rule.static, rule.ipam, rule.namespace_pool, rule.global_pool },
  tests = {
    {
      name = "the IPAM's address",
      http = { ["GET http://netbox.example:8000/api/ipam/ip-addresses/?dns_name=web.shop"] =
        { status = 200, body = [[{"count": 1, "results": [{"address": "10.20.0.7/24"}]}]] } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { action = "assign", addresses = { "10.20.0.7" }, rule = "ipam" },
    },
    {
      name = "a Service that it does not know is served from the pool",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      http = { ["GET http://netbox.example:8000/api/ipam/ip-addresses/?dns_name=web.shop"] =
        { status = 200, body = [[{"count": 0, "results": []}]] } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { action = "assign", addresses = { "10.0.0.1" }, rule = "global_pool" },
    },
    {
      name = "no answer: the Service waits, and says why",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { action = "pending", rule = "ipam" },
    },
    {
      name = "an error of the IPAM is no reason to take an address from the pool",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      http = { ["GET http://netbox.example:8000/api/ipam/ip-addresses/?dns_name=web.shop"] = { status = 503 } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { action = "pending", reason = "the IPAM answers with status 503" },
    },
    {
      name = "an address that another Service holds is not given, whatever the IPAM says",
      given = { services = { { name = "other", addresses = "10.20.0.7" } } },
      http = { ["GET http://netbox.example:8000/api/ipam/ip-addresses/?dns_name=web.shop"] =
        { status = 200, body = [[{"count": 1, "results": [{"address": "10.20.0.7/24"}]}]] } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { action = "pending" },
    },
  },
}
