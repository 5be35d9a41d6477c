--- The policy API: what a rule sees and may call (design, section 5). The same code serves policies of the binary in
-- the controller and mounted ones in the worker, over that process's `moonlb.allocator.state`.
-- @module moonlb.policy.api
local address = require("moonlb.core.address")
local decision = require("moonlb.policy.decision")
local family = require("moonlb.allocator.family")
local service = require("moonlb.allocator.service")

local api = {}

--- The level of the API; a policy says for which one it was written.
api.LEVEL = 1

local Api = { __name = "moonlb.policy.api" }
Api.__index = Api

local MAX_LOG_LINES, MAX_LOG_LENGTH, MAX_REASON = 8, 200, 500

-- Text from a policy, short enough for an Event.
local function brief(text, what)
  if text == nil then return nil end
  if type(text) ~= "string" then error(what .. ": text expected, got " .. type(text), 3) end
  return #text > MAX_REASON and text:sub(1, MAX_REASON) .. "..." or text
end

-- use("10.0.0.1"), use("10.0.0.1", "fd00::1") and use({...}) alike.
local function flatten(what, ...)
  if select("#", ...) == 1 and type((...)) == "string" then return { (...) } end
  local list = {}
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    local kind = type(value)
    if kind == "string" then
      list[#list + 1] = value
    elseif kind == "table" then
      for j = 1, rawlen(value) do list[#list + 1] = rawget(value, j) end
    else
      error(("%s: an address or a list of addresses expected, got %s"):format(what, kind), 3)
    end
  end
  if #list == 0 then error(what .. ": an address expected", 3) end
  return list
end

local decisions = {}

--- `use(address...)`: give these addresses. One that another Service holds is shared, where sharing is allowed.
function decisions.use(...)
  return decision.new({ kind = "use", addresses = flatten("use", ...) })
end

--- `share(address...)`: give addresses that other Services hold.
function decisions.share(...)
  return decision.new({ kind = "share", addresses = flatten("share", ...) })
end

--- `dhcp{hostname=}`: the LAN's DHCP server gives the address.
function decisions.dhcp(options)
  local hostname = type(options) == "table" and rawget(options, "hostname") or nil
  return decision.new({ kind = "dhcp", hostname = brief(hostname, "dhcp: hostname") })
end

--- `refuse(reason)`: stay pending, and ask no other rule.
function decisions.refuse(reason)
  return decision.new({ kind = "refuse", reason = brief(reason, "refuse") or "refused without a reason" })
end

local FAMILIES = { [4] = 4, [6] = 6, IPv4 = 4, IPv6 = 6 }

local function pool_options(self, given)
  if given == nil then return { record = self.current } end
  if type(given) ~= "table" then error("free: a table of options expected, got " .. type(given), 3) end
  local number, n, prefer = given.family, given.n, given.prefer
  if number ~= nil and not FAMILIES[number] then error("free: family is 4, 6, \"IPv4\" or \"IPv6\"", 3) end
  if n ~= nil and not math.tointeger(n) then error("free: n is a whole number", 3) end
  if prefer ~= nil and type(prefer) ~= "string" then error("free: prefer is text", 3) end
  return { record = self.current, family = number and FAMILIES[number], n = n and math.tointeger(n), prefer = prefer,
    share = given.share }
end

local pool_methods = {}

--- `pool:free{family=, prefer=, n=, share=}`: reserves nothing: asked twice, it says the same. One address as text,
-- several as a list. Without `family` the Service's families say how many. `prefer`: this address, or the one that the
-- hash of any other text picks, if it is free. `share`: one that other Services hold will do, where the pool allows
-- it.
function pool_methods.free(self, pool, given)
  local found, why, exhausted = pool:free(pool_options(self, given))
  if found then return #found == 1 and found[1] or found end
  if exhausted then
    self.exhausted = self.exhausted or {}
    self.exhausted[#self.exhausted + 1] = exhausted
  end
  return nil, why
end

--- `pool:contains(address)`.
function pool_methods.contains(_, pool, item)
  local canonical = type(item) == "string" and address.canonical(item)
  return canonical and pool:source_of(canonical) ~= nil or false
end

local pool_fields = {
  name = function(pool) return pool.name end,
  size = function(pool) return pool:size(4) + pool:size(6) end,
  used = function(pool) return pool:used(4) + pool:used(6) end,
  is_dhcp = function(pool) return pool.is_dhcp end,
}

-- What a policy holds of a pool.
local function wrap(self, pool)
  if not pool then return nil end
  local known = self.wrapped[pool]
  if known then return known end
  local methods = {}
  for name, method in pairs(pool_methods) do
    methods[name] = function(_, ...) return method(self, pool, ...) end
  end
  known = setmetatable({}, { __name = "pool", __metatable = false,
    __index = function(_, name)
      local read = pool_fields[name]
      if read then return read(pool) end
      return methods[name]
    end,
    __newindex = function() error("a pool cannot be changed", 2) end })
  self.wrapped[pool] = known
  return known
end

local function label_of(options, what)
  local label = type(options) == "table" and options.label
  if type(label) ~= "table" or type(label[1]) ~= "string" or type(label[2]) ~= "string" then
    error(what .. ": {label = {name, value}} expected", 3)
  end
  return label[1], label[2]
end

local cluster = {}

--- `cluster.namespace_pool(namespace)`: nil when the namespace has neither `cidr-` nor `range-` key. The Service's
-- own without argument.
function cluster.namespace_pool(self, namespace)
  return wrap(self, self.state.pools:namespace(namespace or self.current.namespace))
end

--- `cluster.global_pool()`: nil when there is none.
function cluster.global_pool(self)
  return wrap(self, self.state.pools:global())
end

--- `cluster.pool(text)`: a pool of your own, written as in the ConfigMap. Raises when the text is wrong.
function cluster.pool(self, text)
  if type(text) ~= "string" then error("pool: text expected, got " .. type(text), 3) end
  local pool, message = self.state.pools:parse(text)
  if not pool then error("pool: " .. message, 3) end
  return wrap(self, pool)
end

--- `cluster.requested()`: the addresses that the user asks for; nil when none are; nil and what is wrong with the
-- request.
function cluster.requested(self)
  if self.request_error then return nil, self.request_error end
  local list = self.request
  return list and table.move(list, 1, #list, 1, {}) or nil
end

--- `cluster.usable(address...)`: whether the Service may be given these: true, or nil and why not (not unicast,
-- excluded, held by whom, a family that does not fit).
function cluster.usable(self, ...)
  local list = flatten("usable", ...)
  for i, item in ipairs(list) do
    local canonical, message = address.canonical(item)
    if not canonical then return nil, ("%q is %s"):format(tostring(item):sub(1, 60), message) end
    list[i] = canonical
    local ok, why = self.state:usable(self.current, canonical)
    if not ok then return nil, why end
  end
  return family.fits(self.current.wanted, list)
end

--- `cluster.count{namespace=, label=}`: how many Services have an address, this one included if it has: of a
-- namespace, with a label, or of all.
function cluster.count(self, options)
  if options and options.label then
    local count = 0
    local name, value = label_of(options, "count")
    for _, record in pairs(self.state.labels:find(name, value, self.state.services)) do
      local is_wanted = not options.namespace or options.namespace == record.namespace
      if record.is_counted and is_wanted then count = count + 1 end
    end
    return count
  end
  return self.state:count(options and options.namespace)
end

--- `cluster.services{label={name, value}}`: the other Services with that label, oldest first: `{namespace=, name=,
-- addresses=, ports=}`.
function cluster.services(self, options)
  local list, result = {}, {}
  local label, value = label_of(options, "services")
  for _, record in pairs(self.state.labels:find(label, value, self.state.services)) do
    if record.key ~= self.current.key then list[#list + 1] = record end
  end
  table.sort(list, service.is_older)
  for i, record in ipairs(list) do
    local addresses = record.reserved or record.assigned or {}
    result[i] = { namespace = record.namespace, name = record.name, ports = record.ports,
      addresses = table.move(addresses, 1, #addresses, 1, {}) }
  end
  return result
end

-- The second argument of each rule: the functions above, and `nodes` (see `State.list_nodes`).
local function new_cluster(self)
  local functions = {}
  for name, call in pairs(cluster) do
    functions[name] = function(...) return call(self, ...) end
  end
  return setmetatable({}, { __name = "cluster", __metatable = false,
    __index = function(_, name)
      if name == "nodes" then return self.state:list_nodes() end
      return functions[name]
    end,
    __newindex = function() error("cluster cannot be changed", 2) end })
end

--- The API for the policies of one back end.
-- @treturn Api  `cluster`: the second argument of each rule
function api.new()
  local self = setmetatable({ wrapped = setmetatable({}, { __mode = "k" }) }, Api)
  self.cluster = new_cluster(self)
  return self
end

--- The names that a policy's environment gets.
-- @tparam table rules  what `rule` holds
function Api:names(rules)
  local names = { rule = rules, log = function(text) self:log(text) end }
  for name, call in pairs(decisions) do names[name] = call end
  return names
end

--- Keep a line that a policy logs; the first few of a decision are shown with its trace.
function Api:log(text)
  self.lines = self.lines or {}
  if #self.lines < MAX_LOG_LINES then
    self.lines[#self.lines + 1] = tostring(text):sub(1, MAX_LOG_LENGTH)
  end
end

--- Begin a decision.
-- @tparam State state  see `moonlb.allocator.state`
-- @tparam table record  of the Service
-- @tparam table request  `{request=, request_error=}`: what its user asks for
function Api:begin(state, record, request)
  decision.begin()
  self.state, self.current = state, record
  self.request, self.request_error = request.request, request.request_error
  self.exhausted, self.lines = nil, nil
end

return api
