--- The whole of moonlb on a LAN: an API server in this process, nodes as network namespaces, `moonlb run` on them.
-- Specs drive the API by `lab.kube` (moonlb.kube.client) or kubectl, and look from the namespace `client`.
local core = require("moonlb.core.kube")
local kube = require("moonlb.kube.client")
local lan = require("moonlb.sandbox.lan")
local loop = require("spec.support.loop")
local nodes = require("moonlb.sandbox.nodes")
local uv = require("luv")

local lab = {}

local Lab = {}
Lab.__index = Lab

local POOL = { ["range-global"] = "10.77.0.100-10.77.0.109", ["cidr-demo"] = "10.77.0.128/29,fd77::1:0/124" }

--- The program under test: $MOONLB, made absolute.
local function program()
  local path = os.getenv("MOONLB") or "build/moonlb"
  return assert(uv.fs_realpath(path), path .. " is not built")
end

--- API, LAN and nodes; no moonlb yet. Inside loop.test.
-- @tparam[opt] table options  `count` (nodes, 1), `configmap` (data of ConfigMap kubevip, false: none)
function lab.up(options)
  options = options or {}
  local self = setmetatable({ output = {} }, Lab)
  self.server = assert(require("moonlb.sandbox.api").start({ port = 0 }))
  self.core = assert(core.client({ server = self.server.url }))
  self.kube = kube.new(self.core)
  self.folder = assert(uv.fs_mkdtemp("/tmp/moonlb-lab-XXXXXX"))
  self.nodes = assert(nodes.up({ api_port = self.server.port, kubeconfig = self.server:kubeconfig(),
    count = options.count or 1, folder = self.folder, program = program(),
    on_output = function(name, text) self.output[name] = (self.output[name] or "") .. text end }))
  self.net = self.nodes.lan
  assert(self.kube:create("/api/v1/namespaces", { metadata = { name = "demo" } }))
  if options.configmap ~= false then
    assert(self.kube:create("/api/v1/namespaces/kube-system/configmaps", { metadata = { name = "kubevip" },
      data = options.configmap or POOL }))
  end
  return self
end

--- End everything, whatever the state.
function Lab:down()
  self.nodes:down()
  self.core:close()
  self.server:stop()
  uv.fs_rmdir(self.folder)
end

--- Body of an `it` with a lab; what moonlb said is shown when it fails.
function lab.test(body, options)
  return loop.test(function()
    local self = lab.up(options)
    local ok, err = pcall(body, self)
    self:down()
    if ok then return end
    for name, text in pairs(self.output) do io.stdout:write("--- ", name, "\n", text) end
    error(err, 0)
  end, options and options.timeout or 60)
end

--- `moonlb run` on a node. @treturn Process
function Lab:moonlb(name, arguments, env)
  return assert(self.nodes:run(name or "node1", arguments, env))
end

--- Send it a signal.
function Lab.signal(_, process, name)
  assert(lan.kill(process, name), "the program does not run")
end

local function read(path)
  local file = io.open(path)
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text
end

--- Wait until a stopped program stands still (proc(5), stat): on a busy machine SIGSTOP takes its time. The program is
-- the child of the nsenter(1) that entered the node.
function Lab.until_stopped(_, process)
  local pid = read(("/proc/%d/task/%d/children"):format(process.pid, process.pid)):match("%d+")
  loop.until_true(function() return read("/proc/" .. pid .. "/stat"):match("^.*%) (%a)") == "T" end, 5, "stopped")
end

local function path_of(name) return "/api/v1/namespaces/demo/services/" .. name end

--- Create a Service of type LoadBalancer, one port 80.
function Lab:service(name, spec, annotations)
  local object = { metadata = { name = name, annotations = annotations },
    spec = { type = "LoadBalancer", ports = { { port = 80, protocol = "TCP" } }, selector = { app = name } } }
  for key, value in pairs(spec or {}) do object.spec[key] = value end
  return assert(self.kube:create("/api/v1/namespaces/demo/services", object))
end

--- It as the API has it, or nil.
function Lab:get(name)
  return (self.kube:get(path_of(name)))
end

--- Delete it.
function Lab:delete(name)
  assert(self.kube:delete(path_of(name)))
end

--- The addresses in its status: "a,b".
function Lab:address(name)
  local object = self:get(name)
  local balancer = object and object.status and object.status.loadBalancer
  local list = {}
  for i, entry in ipairs(balancer and balancer.ingress or {}) do list[i] = entry.ip end
  return table.concat(list, ",")
end

--- Wait for an address in its status. @treturn string
function Lab:until_address(name, wanted)
  return loop.until_true(function()
    local address = self:address(name)
    return (wanted and address == wanted or not wanted and address ~= "") and address
  end, 15, "status of " .. name .. (wanted and " = " .. wanted or ""))
end

--- Run a program on a host of the LAN. @treturn table `{code=, output=}`
function Lab:on(host, ...)
  return assert(self.net:run(host, { ... }))
end

--- Start one.
function Lab:start(host, ...)
  return assert(self.net:start(host, { ... }))
end

--- Does anybody answer ARP for `ip`, asked once by the client?
function Lab:is_answered(ip)
  return self:on("client", "arping", "-c", "1", "-w", "1", "-I", "eth0", ip).code == 0
end

--- What `curl http://IP/` gives at the client; nil when it does not connect.
function Lab:curl(ip)
  local host = ip:find(":", 1, true) and "[" .. ip .. "]" or ip
  local result = self:on("client", "curl", "-s", "--max-time", "3", "http://" .. host .. "/")
  return result.code == 0 and result.output or nil
end

--- Is `ip` on lo of the node?
function Lab:is_on_node(ip, name)
  local shown = self:on(name or "node1", "ip", "-o", "address", "show", "dev", "lo").output
  return shown:find(" " .. ip .. "/", 1, true) ~= nil
end

--- Is there an Event of that reason on the Service, whose message holds `text`?
function Lab:has_event(name, reason, text)
  local found
  self.kube:list("/api/v1/namespaces/demo/events", {}, function(items)
    for _, event in ipairs(items) do
      if event.involvedObject.name == name and event.reason == reason and event.message:find(text or "", 1, true) then
        found = event.message
      end
    end
  end)
  return found
end

return lab
