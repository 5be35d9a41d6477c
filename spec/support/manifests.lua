--- The manifests as kubectl renders them, and moonlb run with what they grant.
-- @module spec.support.manifests
local cjson = require("cjson")
local forward = require("moonlb.sandbox.forward")
local http = require("spec.support.http")
local lyaml = require("lyaml")
local program = require("spec.support.program")
local uv = require("luv")

local manifests = {}

--- The objects of a file, or of a folder with a kustomization as `kubectl kustomize` renders it, below manifests/.
-- @tparam Cluster c
-- @tparam string path  such as "moonlb.yaml" or "overlays/policies"
-- @treturn table  list of objects
function manifests.render(c, path)
  if path:find("%.yaml$") then
    local file <close> = assert(io.open("manifests/" .. path, "r"))
    return lyaml.load(file:read("a"), { all = true })
  end
  c:needs_client(21) -- kubectl 1.20 holds kustomize 2, which knows no `patches`
  return lyaml.load(c:run("kustomize", "manifests/" .. path), { all = true })
end

--- The first object of a kind, or nil.
function manifests.find(objects, kind)
  for _, object in ipairs(objects) do
    if object.kind == kind then return object end
  end
  return nil
end

local function is_rbac(object)
  return object.kind == "ServiceAccount" or object.apiVersion:find("^rbac%.authorization%.k8s%.io/") ~= nil
end

--- Only the ServiceAccount and what it may, in `namespace` instead of kube-system, and with names of its own where
-- there are no namespaces, so that a cluster that runs moonlb is left alone.
function manifests.grants(objects, namespace)
  local list = {}
  for _, object in ipairs(objects) do
    if is_rbac(object) then
      list[#list + 1] = object
      local metadata = object.metadata
      if metadata.namespace then metadata.namespace = namespace else metadata.name = "moonlb-" .. namespace end
      if object.kind == "ClusterRoleBinding" then object.roleRef.name = "moonlb-" .. namespace end
      for _, subject in ipairs(object.subjects or {}) do subject.namespace = namespace end
    end
  end
  return list
end

--- Apply objects.
-- @param ...  more flags of `kubectl apply`
function manifests.apply(c, objects, ...)
  c:apply(cjson.encode({ apiVersion = "v1", kind = "List", items = objects }), ...)
end

--- Remove what `grants` made outside the namespace.
function manifests.remove(c, namespace)
  local name = "moonlb-" .. namespace
  c:run("delete", "--ignore-not-found", "clusterrole/" .. name, "clusterrolebinding/" .. name)
end

local function view(c, field)
  return (c:run("config", "view", "--minify", "--raw", "--flatten", "-o", "jsonpath={.clusters[0].cluster." .. field
    .. "}"))
end

-- kubectl can make a token from 1.24 on, and this call before.
local function token(c, namespace)
  local answer = c:run("create", "--raw", ("/api/v1/namespaces/%s/serviceaccounts/moonlb/token"):format(namespace),
    "-f", "-", { stdin = '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}' })
  return cjson.decode(answer).status.token
end

-- A kubeconfig with nothing but the ServiceAccount's token (TokenRequest), for a server on the node's loopback.
local function write_kubeconfig(c, path, namespace, port)
  local file = assert(io.open(path, "w"))
  file:write(cjson.encode({ apiVersion = "v1", kind = "Config", ["current-context"] = "moonlb",
    contexts = { { name = "moonlb", context = { cluster = "spec", user = "moonlb" } } },
    clusters = { { name = "spec", cluster = { server = "https://127.0.0.1:" .. port,
      ["certificate-authority-data"] = view(c, "certificate-authority-data") } } },
    users = { { name = "moonlb", user = { token = token(c, namespace) } } } }))
  file:close()
end

-- A node: a network namespace with one interface (the other end of the cable hangs loose), and a way to the API.
local NODE = [[
ip link set lo up
ip link add eth0 type veth peer name cable
ip link set cable up
ip link set eth0 up
ip address add 10.77.0.2/24 dev eth0
ip route add default via 10.77.0.1
setpriv --pdeathsig KILL "$0" sandbox node --name node1 --api "$1" --api-port "$2" &
shift 2
exec "$0" run "$@"
]]

local NODE_API_PORT = 6443

--- Start `moonlb run` as the ServiceAccount of `namespace`, on a node of its own. What it says is in `out` and `err`.
-- @tparam Cluster c  a real one, on 127.0.0.1
-- @tparam string namespace  of ServiceAccount, ConfigMap and Lease
-- @tparam table arguments  of `moonlb run`
-- @treturn Process  of spec.support.http; `close()` ends it, once
function manifests.run(c, namespace, arguments)
  local host, port = c.server:match("^https://([^:/]+):(%d+)$")
  local socket, kubeconfig = c.home .. "/" .. namespace .. ".sock", c.home .. "/" .. namespace .. ".kubeconfig"
  local way = assert(forward.start({ path = socket }, { host = host, port = tonumber(port) }))
  write_kubeconfig(c, kubeconfig, namespace, NODE_API_PORT)
  local argv = uv.getuid() == 0 and { "--net" } or { "--user", "--map-root-user", "--net" }
  for _, part in ipairs({ { "sh", "-euc", NODE, program.moonlb(), socket, tostring(NODE_API_PORT) },
    { "--kubeconfig", kubeconfig, "--configmap-namespace", namespace, "--node-name", "node1", "--interface", "eth0" },
    { "--probe", "off", "--state-dir", c.home, "--log-level", "debug" }, arguments }) do
    table.move(part, 1, #part, #argv + 1, argv)
  end
  local process = http.spawn("unshare", argv)
  c.processes[process] = true
  function process.close()
    if not c.processes[process] then return end
    process:kill()
    process:wait()
    c.processes[process] = nil
    way:close()
  end
  return process
end

return manifests
