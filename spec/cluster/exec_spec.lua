-- moonlb asked with `kubectl exec`, as README.md has it, in a Pod of manifests/moonlb.yaml. All that is between is
-- real: kubectl, kube-apiserver, kubelet, containerd, runc, the image of manifests/image; with -t, a terminal.
-- Not real: the DaemonSet's controller and the scheduler, so the Pod is made here of the DaemonSet's template and the
-- node's name; kube-proxy, whose one rule spec/support/kubernetes_node writes; and what else gives a namespace the
-- cluster's authority (ConfigMap kube-root-ca.crt).
local cjson = require("cjson")
local http = require("spec.support.http")
local loop = require("spec.support.loop")
local lyaml = require("lyaml")
local program = require("spec.support.program")
local screen = require("spec.support.screen")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local PARTS = { "kube-apiserver", "etcd", "kubelet", "containerd", "containerd-shim-runc-v2", "ctr", "runc" }

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

-- Why there can be no node here, or nil.
local function hindrance()
  local folder = os.getenv("MOONLB_KUBERNETES")
  if not folder then return "needs a kubelet of its own (make conformance without KUBECONFIG)" end
  for _, name in ipairs(PARTS) do
    if not uv.fs_access(folder .. "/" .. name, "X") then return ("there is no %s in %s"):format(name, folder) end
  end
  if uv.getuid() ~= 0 then return "containers need root" end
  local path = read("/proc/self/cgroup"):match(":memory:(%S+)")
  if not path or not uv.fs_access("/sys/fs/cgroup/memory" .. path, "W") then return "needs cgroup v1, writable" end
  if program.moonlb():find("sanitize", 1, true) then return "a binary with sanitizers is not what ships" end
  return nil
end

local folder, node -- the node with the Pod, once for all tests

local function kubectl(...)
  return { ("--net=/proc/%d/ns/net"):format(node.inside), "kubectl", "--kubeconfig", folder .. "/kubeconfig", "-n",
    "kube-system", ... }
end

-- kubectl with a standard input; `input` nil: an empty one.
local function try(input, ...)
  return program.run("nsenter", kubectl(...), { input = input, timeout = 60, env = { HOME = folder } })
end

local function run(...)
  local done = try(nil, ...)
  assert(done.code == 0, table.concat({ ... }, " ") .. ": " .. done.stdout .. done.stderr)
  return (done.stdout:gsub("\n$", ""))
end

local function apply(objects)
  local done = try(cjson.encode({ apiVersion = "v1", kind = "List", items = objects }), "apply", "-f", "-")
  assert(done.code == 0, done.stderr)
end

local function succeed(command, ...)
  local done = program.run(command, { ... }, { timeout = 60 })
  assert(done.code == 0, command .. ": " .. done.stdout .. done.stderr)
end

-- The image that ships; and one for the process that holds a Pod's namespaces, made by the same script.
local function make_images()
  local version = read("manifests/moonlb.yaml"):match("image: localhost/moonlb:(%S+)")
  succeed("manifests/image", program.moonlb(), version, folder .. "/moonlb.tar")
  succeed("gcc", "-static", "-o", folder .. "/pause", "-x", "c", "spec/support/pause.c")
  succeed("manifests/image", folder .. "/pause", "pause", folder .. "/pause.tar")
end

-- As README.md has it, on the node.
local function import_images()
  for _, name in ipairs({ "pause", "moonlb" }) do
    succeed("nsenter", ("--mount=/proc/%d/ns/mnt"):format(node.inside), os.getenv("MOONLB_KUBERNETES") .. "/ctr", "-n",
      "k8s.io", "images", "import", ("%s/%s.tar"):format(folder, name))
  end
end

local function start_node()
  node = http.spawn("setpriv", { "--pdeathsig", "TERM", "spec/support/kubernetes_node", os.getenv("MOONLB_KUBERNETES"),
    folder })
  make_images() -- meanwhile
  loop.until_true(function() return node.code or uv.fs_stat(folder .. "/ready") end, 120, "the node")
  assert(not node.code, node.err)
  node.inside = tonumber(read(folder .. "/pid"))
  import_images()
end

-- What the DaemonSet's controller and the scheduler do; and the controllers that give each namespace the authority.
local function make_pod()
  local daemonset
  for _, object in ipairs(lyaml.load(read("manifests/moonlb.yaml"), { all = true })) do
    if object.kind == "DaemonSet" then daemonset = object end
  end
  local template = daemonset.spec.template
  template.metadata.name = "moonlb-b7kx2"
  template.spec.nodeName = "node1"
  run("create", "configmap", "kube-root-ca.crt", "--from-file=ca.crt=" .. folder .. "/pki/ca.crt")
  run("apply", "-f", "manifests/moonlb.yaml")
  run("create", "configmap", "kubevip", "--from-literal=range-global=10.77.0.100-10.77.0.109")
  apply({ { apiVersion = "v1", kind = "Pod", metadata = template.metadata, spec = template.spec } })
end

local function is_ready()
  return run("get", "pods", "-o", [[jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}]]) == "True"
end

-- In the Pod.
local function exec(...)
  return try(nil, "exec", "ds/moonlb", "--", ...)
end

local function prepare()
  local reason = hindrance()
  if reason then pending(reason) end
  if node then return end
  folder = temporary.folder("moonlb-exec")
  start_node()
  make_pod()
  local ok = pcall(loop.until_true, is_ready, 60)
  assert(ok, "the Pod is not ready:\n" .. try(nil, "describe", "pods").stdout .. try(nil, "logs", "ds/moonlb").stdout)
  run("-n", "default", "create", "service", "loadbalancer", "web", "--tcp=80")
  loop.until_true(function()
    return exec("moonlb", "eval", 'vips["10.77.0.100"].state').stdout == "held\n"
  end, 30, "an address")
end

local function test(body)
  return loop.test(function()
    prepare()
    body()
  end, 200)
end

teardown(loop.test(function()
  if not node then return end
  node:kill("sigterm")
  node:wait(30)
  temporary.remove(folder)
end, 40))

-- `body(it, again)` at a terminal where `kubectl exec OPTIONS ds/moonlb -- /usr/bin/moonlb repl FLAGS` was typed;
-- `again()` does so in a new terminal.
local function at_terminal(options, body, environment, ...)
  local flags = { ... }
  return test(function()
    local words = kubectl("exec", options, "ds/moonlb", "--", "/usr/bin/moonlb", "repl", table.unpack(flags))
    local it = screen.new(folder)
    local command = ("%s HOME=%s nsenter %s"):format(environment or "", folder, table.concat(words, " "))
    local function open() it:run(command) end
    open()
    local ok, err = xpcall(body, debug.traceback, it, open)
    it:close()
    if not ok then error(err, 0) end
  end)
end

-- Is a process with this command line there? Those of the Pod are seen from outside.
local function is_there(command)
  return program.run("pgrep", { "-f", "-x", command }).code == 0
end

-- Edit a line of 132 columns in a window of so many: it is whole only where the editor knows the width. The new size
-- goes its way through all of Kubernetes; a line that was faster is typed again.
local function is_edited_at(it, columns)
  local typed = "#'" .. ("w"):rep(118) .. "'"
  local shown = ("moonlb> " .. typed .. " + 1"):gsub(("."):rep(columns), "%0\n") .. "\n119\n"
  loop.until_true(function()
    it:clear()
    it:type(typed:sub(2), "Home")
    it:type("#", "End")
    it:type(" + 1", "Enter")
    return pcall(it.shows, it, "119\n") and it:text():find(shown, 1, true)
  end, 30, ("a line in %d columns"):format(columns))
end

describe("kubectl exec ds/moonlb --", function()
  it("moonlb eval gives a value; its exit code tells that it could not", test(function()
    local done = exec("moonlb", "eval", "services.default.web.addresses[1]")
    assert.same({ code = 0, stdout = "10.77.0.100\n", stderr = "" }, done)
    assert.equal("held\n", exec("/usr/bin/moonlb", "eval", 'vips["10.77.0.100"].state').stdout)
    local failed = exec("moonlb", "eval", "1 +")
    assert.equal(1, failed.code)
    assert.matches("^moonlb eval: ", failed.stderr)
  end))

  it("moonlb eval --write changes, as in any other session", test(function()
    assert.equal(1, exec("moonlb", "eval", "reload()").code)
    local done = exec("moonlb", "eval", "--write", "reload()")
    assert.equal(0, done.code, done.stderr)
    assert.matches("control session may write", run("logs", "ds/moonlb"))
  end))

  it("moonlb explain asks the daemon of the Pod", test(function()
    local done = exec("moonlb", "explain", "default/web")
    assert.equal(0, done.code, done.stdout)
    assert.matches("^default/web: 10%.77%.0%.100 is announced by node node1 on eth0", done.stdout)
    local report = cjson.decode(exec("moonlb", "explain", "default/web", "-o", "json").stdout)
    assert.same({ "daemon", { "10.77.0.100" } }, { report.source, report.addresses })
    local unknown = exec("moonlb", "explain", "default/nobody")
    assert.equal(1, unknown.code)
    assert.matches("^default/nobody: ", unknown.stdout)
  end))

  it("moonlb doctor finds nothing wrong", test(function()
    local done = exec("moonlb", "doctor")
    assert.equal(0, done.code, done.stdout)
    assert.matches("ok +ready +moonlb is ready", done.stdout)
    assert.matches("ok +gateway +", done.stdout)
    assert.matches("ok +read%-only +", done.stdout)
  end))
end)

describe("kubectl exec -i ds/moonlb -- moonlb repl", function()
  it("answers the lines of a pipe, and nothing else", test(function()
    local done = try("pools\n1 + 1\n'grün' .. 'x'\n", "exec", "-i", "ds/moonlb", "--", "moonlb", "repl")
    assert.same({ code = 0, stderr = "", stdout = "NAME    USED  SIZE  KEYS          SHARED\n"
      .. "global     1    10  range-global  false\n2\ngrünx\n" }, done)
  end))

  it("tells by its exit code that a line went wrong", test(function()
    local done = try("no.such\n2 + 2\n", "exec", "-i", "ds/moonlb", "--", "/usr/bin/moonlb", "repl")
    assert.equal(1, done.code)
    assert.matches("\n4\n$", done.stdout)
  end))
end)

describe("kubectl exec -it ds/moonlb -- /usr/bin/moonlb repl", function()
  it("greets, and says nothing else; answers; leaves on Ctrl-D", at_terminal("-it", function(it)
    local greeting = it:shows("moonlb>")
    assert.matches("^moonlb %d[%d.]* on node1, read only%. help lists the names, Ctrl%-D leaves%.\nmoonlb>$", greeting)
    it:type("1 + 41", "Enter")
    it:shows("\n42\n")
    it:type("pools", "Enter")
    it:shows("\nglobal     1    10  range-global  false\n")
    it:type("", "C-d")
    it:shows("ended with 0")
  end))

  it("edits within a line, also beyond ASCII", at_terminal("-it", function(it)
    it:shows("moonlb>")
    it:type("10 + 3", "Left", "BSpace", "BSpace", "BSpace")
    it:type(" * ", "Enter")
    it:shows("\n30\n")
    it:type("'grün' .. 'ß'", "Enter")
    it:shows("\ngrünß\n")
    it:type("ü'", "Home")
    it:type("#'", "End")
    it:type(" + 4", "Enter")
    it:shows("moonlb> #'ü' + 4\n6\n")
    it:type("12", "Home", "DC", "Enter")
    it:shows("moonlb> 2\n2\n")
  end))

  it("brings lines back, a short one after a long one, and in the next session", at_terminal("-it", function(it, again)
    it:shows("moonlb>")
    it:type("short = 'first'", "Enter")
    it:type("'" .. ("long"):rep(12) .. "'", "Enter")
    it:type("", "Up", "Up")
    assert.matches("moonlb> short = 'first'$", it:shows("longlong\nmoonlb> short = 'first'"))
    it:type("", "Enter")
    it:type("", "C-d")
    it:shows("ended with 0")
    local history = uv.fs_stat(("/proc/%d/root/run/moonlb/repl_history"):format(node.inside))
    assert.equal(tonumber("600", 8), history.mode & 511)
    again()
    it:shows("moonlb>")
    it:type("", "Up")
    it:shows("moonlb> short = 'first'")
  end))

  it("completes names", at_terminal("-it", function(it)
    it:shows("moonlb>")
    it:type("services.default.w", "Tab")
    it:shows("moonlb> services.default.web")
    it:type(".st", "Tab", "Tab")
    it:shows("state  status")
  end))

  it("is interrupted in a loop, in a wait and in a line, and goes on", at_terminal("-it", function(it)
    it:shows("moonlb>")
    it:type("print('round'); while true do end", "Enter")
    it:shows("\nround")
    it:type("", "C-c")
    it:shows("interrupted")
    it:clear()
    it:type("watch('#services', 600)", "Enter")
    it:shows("600)\n1")
    it:type("", "C-c")
    it:shows("interrupted")
    it:type("half a line", "C-c")
    it:type("7 * 7", "Enter")
    it:shows("\n49\n")
  end))

  it("follows the window's size", at_terminal("-it", function(it)
    it:shows("moonlb>")
    for _, columns in ipairs({ 140, 60 }) do
      it:tmux("resize-window", "-t", "it", "-x", tostring(columns), "-y", "20")
      is_edited_at(it, columns)
    end
  end))

  -- What was begun in a container goes on without kubectl: no hangup comes. It would take of the Pod's memory for ever.
  it("ends some time after kubectl was killed", at_terminal("-it", function(it)
    it:shows("moonlb>")
    assert.is_true(is_there("/usr/bin/moonlb repl --idle 3"))
    it:close()
    loop.until_true(function() return not is_there("/usr/bin/moonlb repl --idle 3") end, 20, "the end of the session")
  end, nil, "--idle", "3"))

  it("ends at once where it has no terminal", at_terminal("-i", function(it)
    it:type("1 + 1", "Enter")
    it:shows("1 + 1\n2")
    assert.is_true(is_there("/usr/bin/moonlb repl --idle 0"))
    it:close()
    loop.until_true(function() return not is_there("/usr/bin/moonlb repl --idle 0") end, 20, "the end of the session")
  end, nil, "--idle", "0"))

  it("works at a terminal that can do nothing, with and without -t", function()
    for _, options in ipairs({ "-it", "-i" }) do
      at_terminal(options, function(it)
        if options == "-it" then it:shows("moonlb>") end
        it:type("9 * 9", "Enter")
        it:shows("9 * 9\n81")
        it:type("", "C-d")
        it:shows("ended with 0")
      end, "TERM=dumb")()
    end
  end)
end)
