local config = require("moonlb.kube.config")
local exec_credential = require("moonlb.kube.exec_credential")
local loop = require("spec.support.loop")
local uv = require("luv")

local folder

local function write(name, text, mode)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  if mode then uv.fs_chmod(path, mode) end
  return path
end

local function with_folder()
  before_each(function() folder = assert(uv.fs_mkdtemp("/tmp/moonlb-spec-XXXXXX")) end)
  after_each(function()
    local entries = uv.fs_scandir(folder)
    for name in function() return uv.fs_scandir_next(entries) end do uv.fs_unlink(folder .. "/" .. name) end
    uv.fs_rmdir(folder)
  end)
end

local BASE = [[
apiVersion: v1
kind: Config
current-context: home
contexts:
- {name: home, context: {cluster: c, user: u, namespace: apps}}
- {name: other, context: {cluster: d}}
clusters:
- name: c
  cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: "UEVN", tls-server-name: kube}
- name: d
  cluster: {server: "http://10.0.0.2:8080", certificate-authority: pki/ca.crt, proxy-url: "http://proxy:3128"}
users:
- name: u
  user: %s
]]

local function with_user(user) return write("kubeconfig", BASE:format(user)) end

describe("config.kubeconfig", function()
  with_folder()

  it("takes cluster, user and namespace of the current context", function()
    local options = assert(config.kubeconfig({ with_user('{token: "t0"}') }))
    assert.same({ "https://10.0.0.1:6443", "PEM", "kube", "t0", "apps" }, { options.server, options.ca_data,
      options.server_name, options.token, options.namespace })
  end)

  it("takes another context by name; relative files are beside the kubeconfig", function()
    local options = assert(config.kubeconfig({ with_user('{token: "t0"}') }, "other"))
    assert.same({ "http://10.0.0.2:8080", folder .. "/pki/ca.crt", "http://proxy:3128" },
      { options.server, options.ca_file, options.proxy })
    assert.is_nil(options.token)
  end)

  it("takes client certificates, inline or as files", function()
    local options = assert(config.kubeconfig({ with_user('{client-certificate-data: "UEVN", client-key: /k.pem}') }))
    assert.same({ "PEM", "/k.pem" }, { options.cert_data, options.key_file })
  end)

  it("merges files: the first that names a thing wins", function()
    local first = write("first", "current-context: mine\ncontexts: [{name: mine, context: {cluster: d, user: u}}]\n"
      .. 'users: [{name: u, user: {tokenFile: tok}}]\n')
    local options = assert(config.kubeconfig({ first, with_user('{token: "t0"}') }))
    assert.same({ "http://10.0.0.2:8080", folder .. "/tok" }, { options.server, options.token_file })
    assert.is_nil(options.token)
  end)

  local function refused(user, pattern, context)
    local options, message, code = config.kubeconfig({ with_user(user) }, context)
    assert.is_nil(options)
    assert.equal("EINVAL", code)
    assert.matches(pattern, message)
    assert.is_nil(message:find("\n"))
    assert.matches(folder, message, 1, true)
  end

  it("names file and field of what is wrong, in one line", function()
    refused("{token: 123456}", "users%[u%]%.user%.token: text expected; quote it")
    refused('{client-certificate-data: "%%%"}', "users%[u%]%.user%.client%-certificate%-data: base64 expected")
    refused('{username: a, password: b}', "users%[u%].*not supported")
    refused('{exec: {apiVersion: v1, command: x}}', "users%[u%]%.user%.exec%.apiVersion: client%.authentication")
    refused('{exec: {apiVersion: client.authentication.k8s.io/v1}}', "exec%.command: text expected")
    refused('{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, env: [y]}}', "exec%.env%[1%]")
    refused('{token: "t"}', 'no context "nope"', "nope")
  end)

  it("says where YAML is broken, and which file cannot be read", function()
    local _, message = config.kubeconfig({ write("kubeconfig", "a: [1\nb: }") })
    assert.matches(folder .. "/kubeconfig: ", message, 1, true)
    _, message = config.kubeconfig({ folder .. "/absent" })
    assert.matches("/absent: No such file", message)
  end)
end)

describe("config.load", function()
  with_folder()

  it("prefers --kubeconfig, then the Pod's files, then KUBECONFIG, then the home folder", function()
    local named, listed = with_user('{token: "named"}'), write("listed", BASE:format('{token: "listed"}'))
    assert.equal("named", config.load({ kubeconfig = named }, { KUBECONFIG = listed }).token)
    assert.equal("listed", config.load({}, { KUBECONFIG = folder .. "/absent:" .. listed, HOME = folder }).token)
    local nothing, message = config.load({}, { HOME = folder })
    assert.is_nil(nothing)
    assert.matches("no credentials", message)
    local in_pod = { KUBERNETES_SERVICE_HOST = "10.96.0.1", KUBERNETES_SERVICE_PORT = "443", KUBECONFIG = listed }
    assert.matches("^in%-cluster credentials: .*token", (select(2, config.load({}, in_pod))))
  end)
end)

describe("config.in_cluster", function()
  with_folder()

  it("reads the ServiceAccount's files, and writes IPv6 hosts in brackets", function()
    write("token", "t0")
    write("namespace", "kube-system")
    local environment = { KUBERNETES_SERVICE_HOST = "fd00::1", KUBERNETES_SERVICE_PORT = "443" }
    local options = assert(config.in_cluster(environment, folder))
    assert.same({ "https://[fd00::1]:443", folder .. "/ca.crt", folder .. "/token", "kube-system" },
      { options.server, options.ca_file, options.token_file, options.namespace })
  end)

  it("is nothing outside of a Pod", function()
    assert.is_nil(config.in_cluster({}, folder))
  end)
end)

describe("exec_credential.fetch", function()
  with_folder()

  local function plugin(script, more)
    local exec = { apiVersion = "client.authentication.k8s.io/v1beta1", command = write("plugin", script, 493) }
    for key, value in pairs(more or {}) do exec[key] = value end
    return assert(exec_credential.parse(exec, "users[u].exec", function(path) return path end, "kubeconfig"))
  end

  it("runs the program with its arguments and environment, and reads token and expiry", loop.test(function()
    local credential = assert(exec_credential.fetch(plugin([[#!/bin/sh
echo "$KUBERNETES_EXEC_INFO" | grep -q '"kind":"ExecCredential"' || exit 3
printf '{"kind":"ExecCredential","status":{"token":"%s-%s","expirationTimestamp":"2026-01-01T00:00:10Z"}}' "$1" "$WHO"
]], { args = { "arg" }, env = { { name = "WHO", value = "me" } } })))
    assert.same({ token = "arg-me", expires = 1767225610 }, credential)
  end))

  it("does not wait for what the program left running", loop.test(function()
    local credential = assert(exec_credential.fetch(plugin([[#!/bin/sh
sleep 3 &
printf '{"status":{"token":"t"}}'
]])))
    assert.equal("t", credential.token)
  end, 10))

  it("says what went wrong, with the hint of the kubeconfig", loop.test(function()
    local function fails(script, pattern, more, timeout)
      local credential, message = exec_credential.fetch(plugin(script, more), timeout)
      assert.is_nil(credential)
      assert.matches(pattern, message)
    end
    fails("#!/bin/sh\nexit 4\n", "exit code 4; install it$", { installHint = "install it" })
    fails("#!/bin/sh\necho nonsense\n", "printed no ExecCredential")
    fails("#!/bin/sh\nexec sleep 30\n", "no answer within 0.2 s", nil, 0.2)
    fails("#!/bin/sh\nexec cat /dev/zero\n", "more than 1048576 bytes")
    fails("", "ENOENT", { command = "/nonexistent/plugin" })
  end))
end)
