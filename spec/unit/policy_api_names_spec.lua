-- The names of the policy API, level 1, must not change by accident: spec/vectors/policy_api.txt holds them, and both
-- back ends have just these. A new name goes into that file and into policies/README.md; a name that goes needs a new
-- level.
local loop = require("spec.support.loop")
local policy_host = require("moonlb.policy.host")
local runtime = require("moonlb.core.runtime")
local tests = require("moonlb.policy.tests")
local worker = require("moonlb.policy.worker")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

-- All names that a policy could have: the API's own, and Lua's.
local function candidates()
  local list = { "use", "share", "dhcp", "refuse", "log", "http.get", "rule.static", "rule.dhcp", "rule.namespace_pool",
    "rule.global_pool" }
  for name, value in pairs(_G) do
    if name:find("^[%a_][%w_]*$") then list[#list + 1] = name end
    if type(value) == "table" and (package.loaded[name] == value) and name ~= "_G" then
      for field in pairs(value) do
        if type(field) == "string" and field:find("^[%a_][%w_]*$") then list[#list + 1] = name .. "." .. field end
      end
    end
  end
  return list
end

-- A policy that says, by way of `tests`, which of them it sees.
local function probe()
  local parts = { "local lines = {}\nlocal function add(name, value)\n"
    .. "if value ~= nil then lines[#lines + 1] = name .. ' ' .. type(value) end end\n" }
  for _, name in ipairs(candidates()) do
    local library = name:match("^([^.]+)%.")
    parts[#parts + 1] = ("add(%q, %s)\n"):format(name, library and ("%s and %s"):format(library, name) or name)
  end
  parts[#parts + 1] = "return { api = 1, rules = { rule.static }, tests = lines }"
  return table.concat(parts)
end

-- The functions and fields that `cluster` and pools have are behind metatables: their names stand in the source.
local function behind_metatables()
  local lines, source = {}, read("lua/moonlb/policy/api.lua")
  for name in source:gmatch("\nfunction cluster%.([%w_]+)") do lines[#lines + 1] = "cluster." .. name .. " function" end
  for name in source:gmatch("\nfunction pool_methods%.([%w_]+)") do
    lines[#lines + 1] = "pool:" .. name .. " function"
  end
  for name in source:match("local pool_fields = (%b{})"):gmatch("\n  ([%w_]+) = function") do
    lines[#lines + 1] = "pool." .. name
  end
  lines[#lines + 1] = "cluster.nodes table"
  return lines
end

local function sorted(list)
  table.sort(list)
  return table.concat(list, "\n") .. "\n"
end

-- A policy that says which options are looked at: by what is read of a table that notes it or, where that is read raw,
-- by the error about a value of a wrong type.
local OPTIONS = [[
local seen = {}
local function note(call, option) seen[call .. "{" .. option .. "}"] = true end
local function noting(call)
  return setmetatable({}, { __index = function(_, option) note(call, option) end })
end
local NAMES = { "family", "prefer", "n", "share", "timeout", "label", "namespace", "hostname" }
return { api = 1,
  rules = { function(_, cluster)
    cluster.global_pool():free(noting("pool:free"))
    cluster.count(noting("cluster.count"))
    pcall(cluster.services, noting("cluster.services"))
    dhcp(noting("dhcp"))
    http.get("http://a/", noting("http.get"))
    for _, name in ipairs(NAMES) do
      if not pcall(dhcp, { [name] = {} }) then note("dhcp", name) end
      if not pcall(http.get, "http://a/", { [name] = {} }) then note("http.get", name) end
    end
    local list = {}
    for name in pairs(seen) do list[#list + 1] = name end
    return refuse(table.concat(list, " "))
  end },
  tests = { { given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
    http = { ["GET http://a/"] = { body = "{}" } }, expect = { reason = "?" } } } }
]]

local function options_seen_by(backend)
  local host, list = policy_host.new({}), {}
  assert(host:load("options", OPTIONS, "options.lua", backend))
  local failure = tests.run(host, "options")[1].failure
  local reason = assert(failure:match("^reason is (.*), expected %?"), failure)
  for name in reason:gmatch("%S+") do list[#list + 1] = name end
  return list
end

local function seen_by(backend)
  local host = policy_host.new({})
  local list = assert(host:load("probe", probe(), "probe.lua", backend)).tests
  table.move(behind_metatables(), 1, 100, #list + 1, list)
  return sorted(table.move(options_seen_by(backend), 1, 100, #list + 1, list))
end

local SHAPES = [[
local function shape(prefix, map)
  local names = {}
  for name, value in next, map do names[#names + 1] = prefix .. name .. " " .. type(value) end
  table.sort(names)
  return table.concat(names, " ")
end
return { api = 1,
  rules = { function(_, cluster)
    local answer = http.get("http://a/")
    return refuse(shape("node.", cluster.nodes[1]) .. "; " .. shape("taint.", cluster.nodes[1].taints[1]) .. "; "
      .. shape("other.", cluster.services({ label = { "a", "b" } })[1]) .. "; " .. shape("answer.", answer))
  end },
  place = function(group, nodes)
    error(shape("group.", group) .. "; " .. shape("service.", group.services[1]) .. "; " .. shape("node.", nodes[1]))
  end,
  tests = { { given = { configmap = { ["cidr-global"] = "10.0.0.0/24" }, services = { { name = "s",
      addresses = "10.0.0.9", metadata = { labels = { a = "b" } } } },
    nodes = { { name = "n", spec = { taints = { { key = "k", value = "v", effect = "NoSchedule" } } } } } },
    http = { ["GET http://a/"] = { body = "{}" } }, expect = { reason = "?" } } } }
]]

local function backends(body)
  return loop.test(function()
    body(nil, "this process")
    local own = worker.new({ settings = {}, now = runtime.boottime, utc = runtime.walltime })
    body(own, "a worker")
    own:close()
  end)
end

describe("the policy API", function()
  it("has the names of spec/vectors/policy_api.txt, in both back ends", backends(function(backend, where)
    assert.equal(read("spec/vectors/policy_api.txt"), seen_by(backend), where)
  end))

  it("hands over nodes, Services and answers of one shape", backends(function(backend, where)
    local host = policy_host.new({})
    assert(host:load("shapes", SHAPES, "shapes.lua", backend))
    assert.truthy(tests.run(host, "shapes")[1].failure:find("reason is node.addresses table node.is_draining boolean "
      .. "node.labels table node.name string node.services number node.taints table; taint.effect string "
      .. "taint.key string taint.value string; other.addresses table other.name string other.namespace string "
      .. "other.ports string; answer.body string answer.json table answer.status number, expected ?", 1, true), where)
    host:policy("shapes").tests[1].expect = { place = "?" }
    host:policy("shapes").tests[1].http = nil
  end))

  it("is described whole in policies/README.md", function()
    local readme = read("policies/README.md")
    for line in read("spec/vectors/policy_api.txt"):gmatch("[^\n]+") do
      local name = line:match("^%S+")
      local call, option = name:match("^(.*){(.*)}$")
      if option then	-- as in call{option=} or call(x, {option=})
        assert.truthy(readme:find(call:gsub("%p", "%%%0") .. "[({][^)}]*" .. option .. "="), name)
      elseif not name:find("^math%.") and not name:find("^string%.") and not name:find("^table%.")
        and not name:find("^utf8%.") then
        assert.truthy(readme:find(name, 1, true), name .. " is not in policies/README.md")
      end
    end
  end)
end)
