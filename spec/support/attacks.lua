--- The corpus of hostile policies, spec/attacks: what each tries stands in its first lines, and what must come of it
-- in
-- `-- worker: PATTERN` and, where it differs, `-- local: PATTERN` (the state in the test's own process). A pattern is
-- a Lua pattern that the
-- whole description matches. Two Services are decided: `n/a`, on which the policy attacks, and then `n/b`, which must
-- get an
-- address as if nothing had been (`-- next: PATTERN` where something else is right).
-- @module spec.support.attacks
local http = require("moonlb.policy.http")
local policy_host = require("moonlb.policy.host")
local state = require("moonlb.allocator.state")
local uv = require("luv")
local worker = require("moonlb.policy.worker")

local attacks = {}

attacks.NEXT = "use 10%.0%.0%.[12]"
-- Steps end what can be counted; time, long enough for a sanitizer, the rest.
local LIMITS = { soft_ms = 1500, hard_ms = 4000 }
local SETTINGS = { configmap = "kube-system/kubevip" }

local function clock()
  return uv.hrtime() / 1e9
end

local function service(namespace, name, addresses)
  local annotations = addresses and { ["kube-vip.io/loadbalancerIPs"] = addresses,
    ["moonlb.io/assigned"] = addresses .. " default/static" }
  return { metadata = { namespace = namespace, name = name, labels = { app = "web" }, annotations = annotations,
    creationTimestamp = "2026-01-01T00:00:00Z" },
    spec = { type = "LoadBalancer", ports = { { port = 80, protocol = "TCP" } } } }
end

--- A cluster: pool 10.0.0.0/24, Services n/a and n/b without address, other/held with 10.0.0.200, node addresses
-- 10.0.0.250.
function attacks.state()
  local all = state.new({ settings = SETTINGS, now = clock, utc = clock })
  all:set_configmap({ metadata = { name = "kubevip" }, data = { ["cidr-global"] = "10.0.0.0/24" } })
  all:set_service(service("n", "a"))
  all:set_service(service("n", "b"))
  all:set_service(service("other", "held", "10.0.0.200"))
  all:set_node({ metadata = { name = "node-1" },
    status = { addresses = { { type = "InternalIP", address = "10.0.0.250" } } } })
  return all
end

--- The files of the corpus, sorted.
function attacks.files()
  local list = {}
  local handle = assert(uv.fs_scandir("spec/attacks"))
  for name in function() return uv.fs_scandir_next(handle) end do
    if name:find("%.lua$") then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

--- A file's text and what must come of it.
function attacks.read(name)
  local file = assert(io.open("spec/attacks/" .. name, "rb"))
  local text = file:read("a")
  file:close()
  local expect = {}
  for key, pattern in text:gmatch("%-%- (%l+): ([^\n]+)\n") do expect[key] = pattern end
  return text, { worker = assert(expect.worker, name .. " does not say what must come of it"),
    ["local"] = expect["local"] or expect.worker, next = expect.next or attacks.NEXT }
end

-- An outcome as one line.
local function describe(outcome)
  local what = outcome.kind
  if what == "use" or what == "share" then what = what .. " " .. table.concat(outcome.addresses, ",") end
  if outcome.kind == "dhcp" then what = what .. " " .. tostring(outcome.hostname) end
  if outcome.kind == "refuse" then what = what .. " " .. outcome.reason end
  if outcome.kind == "error" then
    local cause, line = outcome.code or outcome.cause, outcome.line or "-"
    what = ("error %s %s:%s %s"):format(cause, outcome.file, line, outcome.reason)
  end
  if outcome.log then what = what .. " log " .. table.concat(outcome.log, "|") end
  return (what:gsub("\n", "\\n"))
end

local function answer_at_once(_, callback)
  callback(nil, { status = 200, body = "10.0.0.77" })
end

--- Run one attack.
-- @tparam string name  of the file
-- @tparam func|nil start  see `worker_session.new`
-- @treturn table  `{a=, b=}`: descriptions; `load ...` in `a` when the policy was not even taken
function attacks.run(name, start)
  local all = attacks.state()
  local backend = worker.new({ settings = SETTINGS, now = clock, utc = clock, start = start, limits = LIMITS,
    http = http.new({ allowed = { "ipam.example" }, get = answer_at_once }) })
  local host = policy_host.new({ now = clock, fallback = "pending" })
  local loaded, message = host:load("attack", (attacks.read(name)), name, backend)
  if not loaded then
    backend:close()
    return { a = "load " .. message }
  end
  local decide, said, result = backend.decide, nil, {}
  function backend.decide(...)
    local outcome = decide(...)
    said = describe(outcome)
    return outcome
  end
  for _, key in ipairs({ "a", "b" }) do
    local judged = host:decide("attack", { key = "n/" .. key }, all)
    result[key] = said .. (judged.verdict == "rejected" and " rejected " .. judged.reason or "")
  end
  backend:close()
  return result
end

return attacks
