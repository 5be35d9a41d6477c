--- Random clusters: whatever users and time do, no address is given twice, none that is not free, the lowest goes
-- first, what is free is given, and nothing depends on the way by which a state was reached. MOONLB_ROUNDS: how many;
-- MOONLB_SEED: one again.
local address = require("moonlb.core.address")
local allocation = require("spec.support.allocation")

local rounds = tonumber(os.getenv("MOONLB_ROUNDS") or "12")
local only_seed = tonumber(os.getenv("MOONLB_SEED") or "")
local STEPS = 60

local ADDRESSES, ASSIGNED = "kube-vip.io/loadbalancerIPs", "moonlb.io/assigned"
local NAMESPACES = { "a", "b", "c" }

-- A generator of our own: the same numbers on every machine (Numerical Recipes' LCG, its upper bits).
local function generator(seed)
  local state = seed & 0xffffffff
  return function(n)
    state = (state * 1664525 + 1013904223) & 0xffffffff
    return (state >> 8) % n + 1
  end
end

local function pick(random, list)
  return list[random(#list)]
end

local function random_address(random)
  return ("10.0.0.%d"):format(random(40) - 1)
end

local function random_items(random)
  local items = {}
  for i = 1, random(3) do
    local form, first = random(3), random(36) - 1
    if form == 1 then
      items[i] = ("10.0.0.%d/%d"):format(first, 28 + random(4))
    elseif form == 2 then
      items[i] = ("10.0.0.%d-10.0.0.%d"):format(first, first + random(6) - 1)
    else
      items[i] = ("10.0.0.%d"):format(first)
    end
  end
  return table.concat(items, ", ")
end

local function random_data(random)
  local data = { ["cidr-global"] = random_items(random), ["allow-share-global"] = random(3) == 1 and "true" or nil,
    ["search-order"] = random(4) == 1 and "desc" or nil }
  for _, namespace in ipairs({ "a", "b" }) do
    if random(3) == 1 then data["cidr-" .. namespace] = random_items(random) end
    if random(3) == 1 then data["range-" .. namespace] = random_items(random) end
    if random(3) == 1 then data["allow-share-" .. namespace] = "true" end
  end
  return data
end

local function is_ending(item)
  return item:find("%.0$") ~= nil or item:find("%.255$") ~= nil
end

local function last_octet(item)
  return tonumber(item:match("(%d+)$"))
end

-- The addresses of a value by counting, the slow and plain way: {octet = true}.
local function octets_of(value)
  local octets = {}
  for text in value:gmatch("[^,]+") do
    local item = address.item(text)
    for octet = last_octet(item.first), last_octet(item.last) do octets[octet] = true end
  end
  return octets
end

-- What the design says of the next address of a namespace's pool, by looking at every address there is.
local function expected_address(model, namespace, taken)
  local data = model.data
  local values = { data["cidr-" .. namespace], data["range-" .. namespace] }
  if not data["cidr-" .. namespace] and not data["range-" .. namespace] then values = { data["cidr-global"] } end
  local from, to, step = 0, 255, 1
  if data["search-order"] == "desc" then from, to, step = 255, 0, -1 end
  for i = 1, 2 do
    local octets = values[i] and octets_of(values[i]) or {}
    for octet = from, to, step do
      local item = "10.0.0." .. octet
      if octets[octet] and not taken[item] and not is_ending(item) then return item end
    end
  end
  return nil
end

local function addresses_of(object)
  local annotations, list = object.metadata.annotations, {}
  local texts = { annotations[ADDRESSES] or "", object.spec.loadBalancerIP or "",
    (annotations[ASSIGNED] or ""):match("^%S*") }
  for _, entry in ipairs(object.status.loadBalancer and object.status.loadBalancer.ingress or {}) do
    texts[#texts + 1] = entry.ip
  end
  for _, text in ipairs(texts) do
    for item in text:gmatch("10%.0%.0%.%d+") do list[#list + 1] = item end
  end
  return list
end

-- Every address that any Service of type LoadBalancer has, anywhere.
local function in_use(model)
  local taken = {}
  for _, object in pairs(model.cluster.objects) do
    if object.spec.type == "LoadBalancer" then
      for _, item in ipairs(addresses_of(object)) do taken[item] = true end
    end
  end
  return taken
end

-- These, and those that rest.
local function taken_now(model)
  local taken = in_use(model)
  for item, ends in pairs(model.resting) do
    if ends > model.cluster.clock then taken[item] = true end
  end
  return taken
end

-- Note what is let go, as the engine must: an address that was given and that nobody has any more rests.
local function note_freed(model, before)
  local after = in_use(model)
  for item in pairs(before) do
    if not after[item] then model.resting[item] = model.cluster.clock + 5 end
  end
end

local function changing(model, change)
  local before = in_use(model)
  change()
  note_freed(model, before)
end

local steps = {}

function steps.create(model, random)
  model.count = model.count + 1
  local namespace = pick(random, NAMESPACES)
  local options = { created = random(28), ports = { pick(random, { 80, 443, 8080 }) }, spec = {} }
  local kind = random(6)
  if kind == 1 then options.request = random_address(random) end
  if kind == 2 then options.ip = random_address(random) end
  if kind == 3 then options.spec.loadBalancerClass = "other" end
  if random(5) == 1 then options.spec.externalTrafficPolicy = "Local" end
  model.cluster:put(allocation.service(("%s/s%d"):format(namespace, model.count), options))
end

local function random_key(model, random)
  local keys = {}
  for key in pairs(model.cluster.objects) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys[1] and pick(random, keys)
end

function steps.delete(model, random)
  local key = random_key(model, random)
  if key then changing(model, function() model.cluster:delete(key) end) end
end

local function editing(change)
  return function(model, random)
    local key = random_key(model, random)
    if not key then return end
    changing(model, function() model.cluster:edit(key, function(object) change(object, random) end) end)
  end
end

steps.ask = editing(function(object, random) object.metadata.annotations[ADDRESSES] = random_address(random) end)
steps.ask_spec = editing(function(object, random) object.spec.loadBalancerIP = random_address(random) end)
steps.port = editing(function(object, random)
  object.spec.ports = { { port = pick(random, { 80, 443, 8080 }), protocol = "TCP" } }
end)

steps.kind = editing(function(object, random) object.spec.type = random(2) == 1 and "ClusterIP" or "LoadBalancer" end)

steps.clear = editing(function(object)
  object.metadata.annotations[ADDRESSES], object.spec.loadBalancerIP = nil, nil
end)

steps.announce = editing(function(object)
  local ip = (object.metadata.annotations[ASSIGNED] or ""):match("^[^ ,]+")
  object.status = { loadBalancer = { ingress = ip and { { ip = ip } } or {} } }
end)

function steps.configure(model, random)
  model.data = random_data(random)
  model.cluster:configure(model.data)
end

function steps.wait(model, random)
  model.cluster:wait(random(4))
end

local NAMES = { "create", "create", "create", "create", "delete", "ask", "ask_spec", "port", "kind", "clear",
  "announce", "configure", "wait", "wait" }

local function describe_state(model, what)
  return ("seed %d, step %d: %s"):format(model.seed, model.step, what)
end

-- One Service at a time, so that each decision can be compared with what counting says.
local function reconcile_one(model, key)
  local c = model.cluster
  local before = taken_now(model)
  local decision = c.engine:decide(key)
  if not decision then return end
  assert.same(decision, c.engine:decide(key), describe_state(model, "asked twice"))
  if decision.action == "assign" then
    assert.equal(expected_address(model, decision.namespace, before), decision.addresses[1],
      describe_state(model, key .. " did not get the next free address"))
  elseif decision.action == "pending" and not c.engine.state.services[key].request
    and not c.engine.state.services[key].request_error and not decision.conflict then
    assert.is_nil(expected_address(model, decision.namespace, before),
      describe_state(model, key .. " waits for nothing"))
  end
  changing(model, function() c:reconcile(key) end)
end

local function settle(model)
  local c = model.cluster
  for _ = 1, 8 do
    local writes = c.writes
    for _, key in ipairs(c.engine:keys()) do reconcile_one(model, key) end
    if c.writes == writes then return end
  end
  error(describe_state(model, "the writes do not end"))
end

local function ports(object)
  return object.spec.ports[1].port
end

local function may_share(a, b)
  return ports(a) ~= ports(b) and a.spec.externalTrafficPolicy ~= "Local" and b.spec.externalTrafficPolicy ~= "Local"
end

local function assert_unique(model)
  local holders = {}
  for key, object in pairs(model.cluster.objects) do
    local text = object.spec.type == "LoadBalancer" and object.metadata.annotations[ASSIGNED] or ""
    for item in text:gmatch("10%.0%.0%.%d+") do
      for other, holder in pairs(holders[item] or {}) do
        assert.is_true(may_share(object, holder), describe_state(model, item .. " twice: " .. key .. " and " .. other))
      end
      holders[item] = holders[item] or {}
      holders[item][key] = object
    end
  end
end

-- An engine that sees only what is now says the same as the one that saw it all happen.
local function assert_same_from_scratch(model)
  local c = model.cluster
  c:wait(6)
  local fresh = allocation.cluster(c.data)
  local keys = {}
  for key in pairs(c.objects) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return a > b end)
  for _, key in ipairs(keys) do fresh.engine:set_service(allocation.copy(c.objects[key])) end
  assert.same(fresh.engine:keys(), c.engine:keys(), describe_state(model, "other Services"))
  assert.same(fresh.engine:pending(), c.engine:pending(), describe_state(model, "others wait"))
  for _, key in ipairs(c.engine:keys()) do
    assert.same(fresh.engine:decide(key), c.engine:decide(key), describe_state(model, key .. " from scratch"))
  end
  assert.same(fresh.engine:pools(), c.engine:pools(), describe_state(model, "pools from scratch"))
end

local function run(seed)
  local random = generator(seed)
  local model = { seed = seed, step = 0, count = 0, resting = {}, data = random_data(random) }
  model.cluster = allocation.cluster(model.data)
  for step = 1, STEPS do
    model.step = step
    steps[pick(random, NAMES)](model, random)
    if random(3) > 1 then
      settle(model)
      assert_unique(model)
      if random(4) == 1 then model.cluster.engine:pools() end
    end
  end
  settle(model)
  assert_unique(model)
  assert_same_from_scratch(model)
end

describe("a random cluster", function()
  for i = 1, only_seed and 1 or rounds do
    local seed = only_seed or i * 7919
    it("keeps every promise, seed " .. seed, function() run(seed) end)
  end
end)
