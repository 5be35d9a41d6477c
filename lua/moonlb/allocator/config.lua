--- The ConfigMap: which addresses there are, for whom, and how they are picked (design, section 4). Pure.
--
-- The value decides its form, not the key: `/` is a CIDR, `-` a range, neither a single address. A bad item is left
-- out and reported; the good ones stay in use.
-- @module moonlb.allocator.config
local cidr = require("moonlb.allocator.cidr")
local address = require("moonlb.core.address")

local config = {}

local Config = { __name = "moonlb.allocator.config" }
Config.__index = Config

local GLOBAL = "global"
local DHCP_ITEM = "0.0.0.0/32"

-- What Go's strconv.ParseBool takes, which is what kube-vip reads.
local BOOLEANS = {
  ["1"] = true, t = true, T = true, TRUE = true, ["true"] = true, True = true,
  ["0"] = false, f = false, F = false, FALSE = false, ["false"] = false, False = false, [""] = false,
}

local function trim(text)
  return text:match("^%s*(.-)%s*$")
end

local function warn(self, key, item, message, is_note)
  self.warnings[#self.warnings + 1] = { object = self.object, key = key, item = item, message = message,
    is_note = is_note }
end

local function boolean(self, key, value)
  local result = BOOLEANS[trim(value)]
  if result == nil then
    warn(self, key, value, ("%q is neither true nor false; it counts as false"):format(value))
  end
  return result or false
end

-- Addresses that no Service can have: each with why. Taken out of every pool.
local UNUSABLE_BLOCKS = { "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10",
  "ff00::/8" }

local function unusable()
  local set = address.set()
  for _, text in ipairs(UNUSABLE_BLOCKS) do
    local item = assert(address.item(text))
    set:add(item.first, item.last)
  end
  return set
end

local UNUSABLE = unusable()

local function read_item(self, source, text, blocks)
  local item, problem = address.item(text)
  if not item then return warn(self, source.key, text, problem) end
  local set = address.set()
  set:add(item.first, item.last)
  local size = set:size(item.family)
  set:subtract(UNUSABLE)
  if set:is_empty(item.family) then
    local hint = item.first == "0.0.0.0" and "; DHCP is a key whose only item is " .. DHCP_ITEM or ""
    return warn(self, source.key, text, "no address in it can be given to a Service" .. hint)
  end
  if set:size(item.family) < size then
    warn(self, source.key, text, "loopback, multicast, link-local and reserved addresses in it are left out")
  end
  if item.form == "cidr" and item.family == 4 then
    blocks:union(set)
  else
    source.set:union(set)
  end
end

-- One address key: its items as a set. Blocks are kept apart until their ends have been cut: ends are those of the
-- merged blocks, and an address that a range names as well stays.
local function read_source(self, key, value)
  local source = { key = key, set = address.set(), is_dhcp = trim(value):gsub(",%s*$", "") == DHCP_ITEM }
  if source.is_dhcp then return source end
  local blocks = address.set()
  for text in value:gmatch("[^,\n]+") do
    text = trim(text)
    if text ~= "" then read_item(self, source, text, blocks) end
  end
  if self.is_skipping_ends then cidr.cut_ends(blocks) end
  source.set:union(blocks)
  return source
end

local readers = {}

readers["^cidr%-(.+)$"] = function(self, namespace, key, value)
  self.cidrs[namespace] = read_source(self, key, value)
end

readers["^range%-(.+)$"] = function(self, namespace, key, value)
  self.ranges[namespace] = read_source(self, key, value)
end

readers["^allow%-share%-(.+)$"] = function(self, namespace, key, value)
  self.shares[namespace] = boolean(self, key, value)
end

readers["^interface%-(.+)$"] = function(self, namespace, _, value)
  self.interfaces[namespace] = trim(value)
end

readers["^policy%-(.+)$"] = function(self, namespace, _, value)
  self.policies[namespace] = trim(value)
end

-- Read before the rest: they say how the rest is read.
local function read_switches(self, data)
  local order = trim(data["search-order"] or "")
  self.is_descending = order == "desc"
  if order ~= "" and order ~= "asc" and order ~= "desc" then
    warn(self, "search-order", order, "neither asc nor desc; the lowest address goes first")
  end
  self.is_skipping_ends = boolean(self, "skip-end-ips-in-cidr", data["skip-end-ips-in-cidr"] or "")
  self.policy_name = trim(data.policy or "")
end

local SWITCHES = { ["search-order"] = true, ["skip-end-ips-in-cidr"] = true, policy = true }

local function read_key(self, key, value)
  if SWITCHES[key] then return end
  for pattern, read in pairs(readers) do
    local namespace = key:match(pattern)
    if namespace then return read(self, namespace, key, value) end
  end
  warn(self, key, "", "no key that moonlb knows", true)
end

-- kube-vip lets cidr-global beat range-<namespace>.
local function note_precedence(self)
  local global = self.cidrs[GLOBAL]
  for namespace, source in pairs(self.ranges) do
    if global and namespace ~= GLOBAL and not self.cidrs[namespace] then
      warn(self, source.key, "", ("namespace %s takes addresses from %s, where kube-vip would take them from %s")
        :format(namespace, source.key, global.key), true)
    end
  end
end

local function strings(self, data)
  local result = {}
  for key, value in pairs(type(data) == "table" and data or {}) do
    local kind = type(value)
    if kind == "number" or kind == "boolean" then
      warn(self, tostring(key), tostring(value), "a ConfigMap holds text: put the value in quotes")
    end
    if type(key) == "string" and (kind == "string" or kind == "number" or kind == "boolean") then
      result[key] = tostring(value)
    end
  end
  return result
end

--- Read a ConfigMap.
-- @tparam table|nil object  as the API has it; nil when there is none
-- @tparam[opt] string name  `namespace/name`, for messages, when the object has none
-- @treturn Config  `is_descending`, `warnings`: array of `{object=, key=, item=, message=, is_note=}` in the order of
-- keys, where a note is no fault
function config.read(object, name)
  local metadata = object and object.metadata or {}
  name = metadata.name and (metadata.namespace or "default") .. "/" .. metadata.name or name or "kube-system/kubevip"
  local self = setmetatable({ object = "ConfigMap " .. name, name = name, is_present = object ~= nil, warnings = {},
    cidrs = {}, ranges = {}, shares = {}, interfaces = {}, policies = {} }, Config)
  local data = strings(self, object and object.data)
  read_switches(self, data)
  for key, value in pairs(data) do read_key(self, key, value) end
  note_precedence(self)
  table.sort(self.warnings, function(a, b)
    if a.key ~= b.key then return a.key < b.key end
    return a.item < b.item
  end)
  return self
end

--- Where a namespace's addresses come from: `cidr-<namespace>`, and when that is full `range-<namespace>`.
-- @treturn table|nil  array of sources `{key=, set=, is_dhcp=}`; nil when neither key is there (then the global pool
-- serves it)
function Config:namespace_sources(namespace)
  local block, range = self.cidrs[namespace], self.ranges[namespace]
  if block and range then return { block, range } end
  if block or range then return { block or range } end
  return nil
end

--- The same of the global pool.
function Config:global_sources()
  return self:namespace_sources(GLOBAL)
end

--- The pool that serves a namespace: its own name when it has a pool, else `global`.
function Config:pool_of(namespace)
  return (self.cidrs[namespace] or self.ranges[namespace]) and namespace or GLOBAL
end

--- Whether Services of a pool (a namespace or `global`) may share addresses.
function Config:is_shared(pool)
  return self.shares[pool] or false
end

--- The interface configured for a namespace; nil when there is none. An empty key stops the fall-back to the global
-- one.
function Config:interface(namespace)
  local name = self.interfaces[namespace] or self.interfaces[GLOBAL]
  return name ~= "" and name or nil
end

--- The name of the policy that decides for a namespace.
function Config:policy(namespace)
  local name = self.policies[namespace]
  if not name or name == "" then name = self.policy_name end
  return name ~= "" and name or "default"
end

--- Names of all pools: namespaces that have one, and `global` when there is a global one, sorted.
function Config:pool_names()
  local seen, names = {}, {}
  for _, sources in ipairs({ self.cidrs, self.ranges }) do
    for namespace in pairs(sources) do
      if not seen[namespace] then names[#names + 1] = namespace end
      seen[namespace] = true
    end
  end
  table.sort(names)
  return names
end

return config
