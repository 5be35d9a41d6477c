--- The daemon's collections as a session sees them: `services.shop.web`, `vips["10.0.0.1"]`, `#pools`, `pairs(nodes)`.
-- Live: each look asks anew. Read only.
-- @module moonlb.control.repl.collection
local collection = {}

--- What leads to a key of a table: `.web`, `["web-1"]`.
function collection.accessor(key)
  return key:match("^[%a_][%w_]*$") and "." .. key or ("[%q]"):format(key)
end

-- proxy -> `{what=, prefix=, source=}`; a proxy itself is empty, so that nothing in it can be changed.
local known = setmetatable({}, { __mode = "k" })

-- What tables show of each, in this order; other fields come after them by name.
collection.COLUMNS = {
  services = { "name", "state", "action", "addresses", "node", "rule", "pool", "says", "message", "warning" },
  pools = { "name", "used", "size", "keys", "shared" },
  nodes = { "name", "state", "services", "interfaces", "says" },
  vips = { "address", "state", "interface", "services", "reason" },
  leases = { "service", "address", "state", "server", "interface" },
  mappings = { "service", "address", "port", "protocol", "state", "outside", "external_port", "reason" },
  policy = { "name", "is_loaded", "failures", "file", "error", "note" },
  config = { "name", "value", "flag" },
}

local function ask(self, request)
  request.what = self.what
  local result, message = self.source():ask(request)
  if result == nil and message then error(message, 0) end
  return result
end

local new

local function index(proxy, key)
  if type(key) == "number" then return nil end -- ipairs ends
  local self = known[proxy]
  key = tostring(key)
  if self.what == "services" and self.prefix == "" and not key:find("/", 1, true) then
    return new(self.source, self.what, key .. "/")
  end
  local result = ask(self, { op = "get", key = self.prefix .. key })
  return type(result) == "table" and result or nil -- none is JSON's null
end

--- A page of a collection.
-- @tparam table proxy
-- @tparam[opt] table request  `after`, `limit`
-- @treturn table  `items`, `after`, `total`, see `moonlb.control.views`
function collection.page(proxy, request)
  local self = known[proxy]
  request = request or {}
  request.op, request.prefix = "list", self.prefix
  return ask(self, request)
end

--- The first rows, of as many pages as they take.
-- @tparam integer most
-- @treturn table  array of rows, at least `most` if there are so many
-- @treturn integer  how many there are
function collection.rows(proxy, most)
  local rows, page = {}, nil
  repeat
    page = collection.page(proxy, { after = page and page.after, limit = most - #rows })
    table.move(page.items, 1, #page.items, #rows + 1, rows)
  until #rows >= most or not page.after
  return rows, page.total
end

local function each(proxy)
  local self, page, at = known[proxy], nil, 0
  return function()
    at = at + 1
    if not page or (at > #page.items and page.after) then
      page, at = collection.page(proxy, { after = page and page.after }), 1
    end
    local row = page.items[at]
    if not row then return nil end
    local key = row.name or row.address or row.key or row.service or at
    return self.prefix ~= "" and tostring(key):sub(#self.prefix + 1) or key, row
  end
end

local META = {
  __name = "moonlb.collection", __metatable = "a collection of the daemon",
  __index = index,
  __pairs = each,
  __len = function(proxy) return collection.page(proxy, { limit = 1 }).total end,
  __newindex = function() error("this is read only: it shows what the daemon knows", 2) end,
  __tostring = function(proxy) return known[proxy].what end,
}

function new(source, what, prefix)
  local proxy = setmetatable({}, META)
  known[proxy] = { source = source, what = what, prefix = prefix or "" }
  return proxy
end

--- @tparam function source  `source()` -> what is asked (`:ask(request)`), now
-- @tparam string what  a collection of `moonlb.control.views`
-- @treturn table
function collection.new(source, what)
  return new(source, what)
end

--- @return `{what=, prefix=}` of a collection; nil for any other value
function collection.of(value)
  return known[value]
end

--- How keys go on that begin with `prefix`, for completion: of a namespace's Services, or namespaces.
-- @treturn table  array of texts
function collection.names(proxy, prefix)
  local self = known[proxy]
  local request = { op = "names", prefix = self.prefix .. prefix }
  if self.what == "services" and self.prefix == "" and not prefix:find("/", 1, true) then request.stop = "/" end
  local names = ask(self, request)
  for i, name in ipairs(names) do names[i] = name:sub(#self.prefix + 1) end
  return names
end

return collection
