--- moonlb as a process beside an API server, for specs that allocate: `moonlb run --allocate`, with a ConfigMap and a
-- Lease in a namespace of the test.
-- @module spec.support.allocator
local http = require("spec.support.http")
local loop = require("spec.support.loop")
local program = require("spec.support.program")

local allocator = {}

local Allocator = {}
Allocator.__index = Allocator

--- Write (or change) the ConfigMap.
-- @tparam Cluster c
-- @tparam string namespace  where ConfigMap and Lease are
-- @tparam table data  key -> text
function allocator.configure(c, namespace, data)
  local lines = {}
  for key, value in pairs(data) do lines[#lines + 1] = ("  %q: %q"):format(key, value) end
  c:apply(("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kubevip, namespace: %s}\ndata:\n%s\n"):format(namespace,
    #lines > 0 and table.concat(lines, "\n") or "  {}"))
end

--- Start moonlb; it does not wait.
-- @tparam Cluster c
-- @tparam string namespace
-- @param ...  more flags
-- @treturn Allocator
function allocator.launch(c, namespace, ...)
  local process = http.spawn(program.moonlb(), { "run", "--allocate", "--port", "0", "--kubeconfig", c.kubeconfig,
    "--configmap-namespace", namespace, "--log-level", "debug", ... })
  c.processes[process] = true
  return setmetatable({ c = c, process = process }, Allocator)
end

--- Start moonlb and wait until it leads and has listed the Services.
function allocator.start(...)
  local self = allocator.launch(...)
  self:says("msg=allocating")
  return self
end

--- Wait until its log holds a text (plain) behind `from`.
-- @treturn integer  where the text ends
function Allocator:says(text, from, timeout_s)
  local found
  loop.until_true(function()
    found = select(2, (self.process.out .. self.process.err):find(text, from or 1, true))
    if self.process.code and not found then
      error(("moonlb ended with %d before it said %q:\n%s"):format(self.process.code, text, self.process.err), 0)
    end
    return found
  end, timeout_s or 20, "moonlb says " .. text)
  return found
end

--- Stop it as a Pod is stopped; its exit code must be 0.
function Allocator:stop()
  self.process:kill("sigterm")
  self.process:wait(20)
  self.c.processes[self.process] = nil
  assert(self.process.code == 0, ("exit %d: %s"):format(self.process.code, self.process.err))
end

--- End it as a crash does.
function Allocator:crash()
  self.process:kill("sigkill")
  self.process:wait(20)
  self.c.processes[self.process] = nil
end

local SERVICE = [[
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s, annotations: {%s}, finalizers: [%s]}
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  ports: [{port: 80}]
%s]]

--- Create a Service of type LoadBalancer.
-- @tparam Cluster c
-- @tparam string namespace
-- @tparam string name
-- @tparam[opt] table options  `ip` (spec.loadBalancerIP), `annotations` (name -> text), `finalizers` (a comma list)
function allocator.service(c, namespace, name, options)
  options = options or {}
  local annotations = {}
  for key, value in pairs(options.annotations or {}) do
    annotations[#annotations + 1] = ("%q: %q"):format(key, value)
  end
  c:apply(SERVICE:format(name, namespace, table.concat(annotations, ", "), options.finalizers or "",
    options.ip and ("  loadBalancerIP: %q\n"):format(options.ip) or ""))
end

--- The Service's address, empty while it has none.
function allocator.address(c, namespace, name)
  return (c:run("-n", namespace, "get", "svc", name, "-o", "jsonpath={.spec.loadBalancerIP}"))
end

--- What moonlb says that it assigned, empty while nothing.
function allocator.assigned(c, namespace, name)
  return (c:run("-n", namespace, "get", "svc", name, "-o", [[jsonpath={.metadata.annotations.moonlb\.io/assigned}]]))
end

--- Wait, by a watch, until moonlb has assigned exactly this address.
function allocator.expect(c, namespace, name, address, rule)
  local wanted = ("%s default/%s"):format(address, rule)
  local watch = c:spawn("-n", namespace, "get", "svc", name, "--watch", "-o",
    [[jsonpath={.metadata.annotations.moonlb\.io/assigned}{"\n"}]])
  local ok, err = pcall(loop.until_true, function()
    return ("\n" .. watch.out):match("\n([^\n]*)\n$") == wanted
  end, 30, ("%s/%s has %s"):format(namespace, name, wanted))
  watch:kill()
  watch:wait()
  c.processes[watch] = nil
  if not ok then error(("%s; the watch showed:\n%s%s"):format(err, watch.out, watch.err), 2) end
end

--- Wait until `kubectl describe` of the Service shows a text (a pattern).
-- @treturn string  the whole description
function allocator.described(c, namespace, name, pattern, timeout_s)
  local text
  loop.until_true(function()
    text = c:run("-n", namespace, "describe", "svc", name)
    return text:find(pattern)
  end, timeout_s or 20, "describe shows " .. pattern)
  return text
end

return allocator
