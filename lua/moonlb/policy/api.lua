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

local MAX_LOG_LINES, MAX_LOG_LENGTH, MAX_REASON, MAX_RULE_NAME = 8, 200, 500, 63

-- Text from a policy, short enough for an Event; or nil and what is wrong with it.
local function brief(text)
  if type(text) ~= "string" then return nil, "text expected, got " .. type(text) end
  return #text > MAX_REASON and text:sub(1, MAX_REASON) .. "..." or text
end

-- ("10.0.0.1"), ("10.0.0.1", "fd00::1") and ({...}) alike: a list; or nil and what is wrong.
local function flatten(...)
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
      return nil, "an address or a list of addresses expected, got " .. kind
    end
  end
  if #list == 0 then return nil, "an address expected" end
  return list
end

-- name -> the fields of such a decision; or nil and what is wrong with the arguments.
local decisions = {}

--- `use(address...)`: give these addresses. One that another Service holds is shared, where sharing is allowed.
function decisions.use(...)
  local list, problem = flatten(...)
  return list and { kind = "use", addresses = list }, problem
end

--- `share(address...)`: give addresses that other Services hold.
function decisions.share(...)
  local list, problem = flatten(...)
  return list and { kind = "share", addresses = list }, problem
end

--- `dhcp{hostname=}`: the LAN's DHCP server gives the address.
function decisions.dhcp(options)
  local hostname = type(options) == "table" and rawget(options, "hostname") or nil
  if hostname == nil then return { kind = "dhcp" } end
  local text, problem = brief(hostname)
  return text and { kind = "dhcp", hostname = text }, problem and "hostname: " .. problem
end

--- `refuse(reason)`: stay pending, and ask no other rule.
function decisions.refuse(reason)
  if reason == nil then return { kind = "refuse", reason = "refused without a reason" } end
  local text, problem = brief(reason)
  return text and { kind = "refuse", reason = text }, problem
end

-- Below the function that the policy calls: level 3 is the policy.
local function decide(self, name, call, ...)
  local fields, problem = call(...)
  if not fields then error(name .. ": " .. problem, 3) end
  fields.line = self.line()
  return decision.new(fields)
end

local FAMILIES = { [4] = 4, [6] = 6, IPv4 = 4, IPv6 = 6 }

local function pool_options(self, given)
  if given == nil then return { record = self.current } end
  if type(given) ~= "table" then error("free: a table of options expected, got " .. type(given), 4) end
  local number, n, prefer = given.family, given.n, given.prefer
  if number ~= nil and not FAMILIES[number] then error("free: family is 4, 6, \"IPv4\" or \"IPv6\"", 4) end
  if n ~= nil and not math.tointeger(n) then error("free: n is a whole number", 4) end
  if prefer ~= nil and type(prefer) ~= "string" then error("free: prefer is text", 4) end
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

-- A view that has methods, and fields that are read when they are asked for; nothing in it can be changed.
local function new_view(name, methods, read_field)
  setmetatable(methods, { __index = read_field })
  return setmetatable({}, { __name = name, __metatable = false, __index = methods,
    __newindex = function() error("a " .. name .. " cannot be changed", 2) end })
end

-- What a policy holds of a pool.
local function wrap(self, pool)
  if not pool then return nil end
  local known = self.wrapped[pool]
  if known then return known end
  local methods = {}
  for name, method in pairs(pool_methods) do
    methods[name] = self.expose(function(_, ...) return method(self, pool, ...) end)
  end
  known = new_view("pool", methods, function(_, name)
    local read = pool_fields[name]
    return read and read(pool)
  end)
  self.wrapped[pool] = known
  return known
end

-- What a policy hands over is read once: a table with metamethods may say something else the next time.
local function label_of(label, what)
  local name, value
  if type(label) == "table" then name, value = label[1], label[2] end
  if type(name) ~= "string" or type(value) ~= "string" then
    error(what .. ": {label = {name, value}} expected", 4)
  end
  return name, value
end

local cluster = {}

--- `cluster.namespace_pool(namespace)`: nil when the namespace has neither `cidr-` nor `range-` key. The Service's
-- own without argument.
function cluster.namespace_pool(self, namespace)
  if namespace ~= nil and type(namespace) ~= "string" then
    error("namespace_pool: text expected, got " .. type(namespace), 3)
  end
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
  local list, problem = flatten(...)
  if not list then error("usable: " .. problem, 3) end
  for i, item in ipairs(list) do
    if type(item) ~= "string" then error("usable: an address expected, got " .. type(item), 3) end
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
  if options == nil then return self.state:count() end
  if type(options) ~= "table" then error("count: a table of options expected, got " .. type(options), 3) end
  local namespace, label = options.namespace, options.label
  if namespace ~= nil and type(namespace) ~= "string" then error("count: namespace is text", 3) end
  if label == nil then return self.state:count(namespace) end
  local count, name, value = 0, label_of(label, "count")
  for _, record in pairs(self.state.labels:find(name, value, self.state.services)) do
    if record.is_counted and (not namespace or namespace == record.namespace) then count = count + 1 end
  end
  return count
end

--- `cluster.services{label={name, value}}`: the other Services with that label, oldest first: `{namespace=, name=,
-- addresses=, ports=}`.
function cluster.services(self, options)
  local list, result = {}, {}
  local label, value = label_of(type(options) == "table" and options.label, "services")
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
    functions[name] = self.expose(function(...) return call(self, ...) end)
  end
  return new_view("cluster", functions, function(_, name)
    return name == "nodes" and self.state:list_nodes() or nil
  end)
end

--- The API for the policies of one back end.
-- @tparam func expose  a function -> one of C that calls it. What a policy calls is of C: `return use(...)` is a tail
-- call, and one to a function of Lua would take the policy's own line from the stack
-- @tparam func line  -> the line of the policy that is running; nil or 0 when none is
-- @tparam func text_of  tostring without addresses
-- @treturn Api  `cluster`: the second argument of each rule
function api.new(expose, line, text_of)
  local self = setmetatable({ wrapped = setmetatable({}, { __mode = "k" }), expose = expose, line = line,
    text_of = text_of }, Api)
  self.cluster = new_cluster(self)
  return self
end

--- What is wrong with what a policy put into `rule`; nil when nothing is.
function api.rule_fault(rules)
  for name, rule in next, rules do
    if type(name) ~= "string" or #name > MAX_RULE_NAME or not name:find("^[%w_]+$") then
      return ("rule[%s]: a rule's name has at most %d letters, digits and _"):format(
        type(name) == "string" and ("%q"):format(name:sub(1, MAX_RULE_NAME + 1)) or type(name), MAX_RULE_NAME)
    end
    if type(rule) ~= "function" then return ("rule.%s is no function"):format(name) end
  end
  return nil
end

--- The names that a policy's environment gets; `tostring` in the place of Lua's, which shows addresses.
-- @tparam table rules  what `rule` holds
function Api:names(rules)
  local names = { rule = rules, tostring = self.text_of, log = self.expose(function(text) self:log(text) end) }
  for name, call in pairs(decisions) do
    names[name] = self.expose(function(...) return decide(self, name, call, ...) end)
  end
  return names
end

--- Keep a line that a policy logs; the first few of a decision are shown with its trace.
function Api:log(text)
  self.lines = self.lines or {}
  if #self.lines < MAX_LOG_LINES then
    self.lines[#self.lines + 1] = self.text_of(text):sub(1, MAX_LOG_LENGTH)
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

--- Begin the same decision again.
function Api:again()
  decision.begin()
  self.exhausted, self.lines = nil, nil
end

return api
