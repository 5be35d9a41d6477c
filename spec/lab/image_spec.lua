-- The image: its bytes, judged by sha256sum, tar and jq; and the program in it, run as a container runtime runs it.
local http = require("spec.support.http")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local uv = require("luv")

local LARGEST = 10e6 -- bytes, compressed
local VERSION = "9.8.7"

-- The sanitizers' libraries are no part of what ships, and need more than a Pod gives.
local is_sanitized = program.moonlb():find("sanitize", 1, true) ~= nil

local function shell(script, ...)
  local result = program.run("bash", { "-euo", "pipefail", "-c", script, "spec", ... }, { timeout = 120 })
  assert.equal(0, result.code, result.stdout .. result.stderr)
  return (result.stdout:gsub("\n$", ""))
end

describe("the image", function()
  local folder

  -- Built once, unpacked into layout/ and root/, with the mounts that a runtime makes.
  local function prepare()
    if is_sanitized then pending("a binary with sanitizers is not what ships") end
    if folder then return end
    folder = assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/moonlb-image-XXXXXX"))
    shell([[
      cd "$1"; "$2/manifests/image" "$3" "$4" moonlb.tar
      mkdir layout root; tar -xf moonlb.tar -C layout
      manifest=$(jq -r .manifests[0].digest layout/index.json); manifest=layout/blobs/${manifest/:/\/}
      layer=$(jq -r .layers[0].digest "$manifest"); tar -xzf "layout/blobs/${layer/:/\/}" -C root
    ]], folder, uv.cwd(), uv.fs_realpath(program.moonlb()), VERSION)
  end

  teardown(function()
    if folder then os.execute(("umount -R %s/root 2>/dev/null; rm -rf %s"):format(folder, folder)) end
  end)

  it("is the same bytes each time", loop.test(function()
    prepare()
    shell([["$2/manifests/image" "$3" "$4" "$1/again.tar"; cmp "$1/moonlb.tar" "$1/again.tar"]], folder, uv.cwd(),
      uv.fs_realpath(program.moonlb()), VERSION)
  end, 120))

  it("is at most 10 MB compressed", loop.test(function()
    prepare()
    local size = tonumber(shell([[stat -c %s "$1"/layout/blobs/sha256/* | sort -n | tail -n 1]], folder))
    assert.is_true(size <= LARGEST, size .. " bytes")
  end, 120))

  it("is an OCI image layout whose digests and sizes hold, one of the unpacked layer too", loop.test(function()
    prepare()
    local facts = shell([[
      cd "$1/layout"; sha256sum -c --quiet <(cd blobs/sha256; for f in *; do echo "$f  blobs/sha256/$f"; done)
      follow() { local it=blobs/${1/:/\/}; [ "$(stat -c %s "$it")" = "$2" ]; echo "$it"; }
      manifest=$(follow $(jq -r '.manifests[0] | "\(.digest) \(.size)"' index.json))
      config=$(follow $(jq -r '.config | "\(.digest) \(.size)"' "$manifest"))
      layer=$(follow $(jq -r '.layers[0] | "\(.digest) \(.size)"' "$manifest"))
      [ "$(jq -r '.rootfs.diff_ids[0]' "$config")" = "sha256:$(gzip -dc "$layer" | sha256sum | cut -d ' ' -f 1)" ]
      jq -r .imageLayoutVersion oci-layout
      jq -r '.manifests[0].annotations["io.containerd.image.name"]' index.json
      jq -r '.config.Entrypoint + .config.Cmd | join(" ")' "$config"
    ]], folder)
    assert.equal("1.0.0\nlocalhost/moonlb:" .. VERSION .. "\n/usr/bin/moonlb run", facts)
  end, 120))

  it("holds one program, nothing that is set-uid, nothing that others may write", loop.test(function()
    prepare()
    assert.equal("moonlb", shell([[ls "$1/root/usr/bin"]], folder))
    assert.equal("", shell([[find "$1/root" ! -type l -perm /6022]], folder))
    assert.equal("", shell([[find "$1/root" -type f -perm /111 ! -path "*/usr/bin/moonlb" ! -name "*.so*"]], folder))
  end, 120))

  it("knows UTF-8 and the terminals that line editing asks for", loop.test(function()
    prepare()
    shell([[cd "$1/root"; cmp {,/}lib/terminfo/x/xterm; cmp {,/}usr/lib/locale/C.utf8/LC_CTYPE]], folder)
  end, 120))

  it("is what manifests/Containerfile makes by the same commands", loop.test(function()
    prepare()
    local file <close> = assert(io.open("manifests/Containerfile"))
    local text = file:read("a")
    local command = assert(text:match("RUN (manifests/image %-%-rootfs %S+ /rootfs)\n"))
    command = command:gsub("/build/moonlb", "$2"):gsub(" /rootfs", " $1/rootfs")
    shell(command .. [[; diff -r --no-dereference "$1/rootfs" "$1/root"]], folder, uv.fs_realpath(program.moonlb()))
    local config = shell([[grep -l Entrypoint "$1"/layout/blobs/sha256/* | xargs jq -c .config.Entrypoint,.config.Cmd]],
      folder)
    assert.equal(text:match("ENTRYPOINT (%b[])") .. "\n" .. text:match("CMD (%b[])"), config)
  end, 120))

  -- Root read only, /proc, /dev/null, and what is mounted into it.
  local function mount(kubeconfig)
    prepare()
    shell([[
      cd "$1"; umount -R root 2>/dev/null || true
      mkdir -p root/proc root/dev root/etc/kubernetes; : >root/dev/null
      cp "$2" root/etc/kubernetes/config; chmod 644 root/etc/kubernetes/config
      cp "$3/manifests/overlays/policies/by-team.lua" root/etc/moonlb/policies/
      mount --bind root root; mount --bind /dev/null root/dev/null; mount -t proc proc root/proc
      mount -t tmpfs -o mode=1777 tmpfs root/run/moonlb
      mount -o remount,bind,ro root
      ip link show eth0 >/dev/null 2>&1 || {
        ip link add eth0 type veth peer name cable; ip link set cable up; ip link set eth0 up
        ip address add 192.168.0.2/24 dev eth0
      }
    ]], folder, kubeconfig, uv.cwd())
  end

  local function as_pod(uid, ...)
    return http.spawn("python3", { "spec/support/as_pod.py", folder .. "/root", tostring(uid), "/usr/bin/moonlb", ... })
  end

  local function serves(uid)
    return kubernetes.test(function(c)
      if uv.getuid() ~= 0 then pending("other users need root") end
      mount(c.kubeconfig)
      local version = as_pod(uid, "version"):wait(20)
      assert.matches("^moonlb %d", version.out)
      c:run("-n", "kube-system", "create", "configmap", "kubevip", "--from-literal=policy=by-team")
      c:apply("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default, labels: {team: blue}}\n"
        .. "spec: {type: LoadBalancer, ports: [{port: 80}]}\n")
      local moonlb = as_pod(uid, "run", "--kubeconfig", "/etc/kubernetes/config", "--node-name", "node1", "--interface",
        "eth0", "--probe", "off")
      c.processes[moonlb] = true
      local ok, err = pcall(loop.until_true, function()
        return c:run("get", "svc", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}") == "192.168.0.144"
      end, 30, "status")
      assert.is_true(ok, tostring(err) .. moonlb.out .. moonlb.err)
      local status = shell([[grep -E '^(Uid|Cap...):' "/proc/$1/status"]], tostring(moonlb.pid))
      assert.matches("Uid:%s+" .. uid .. "%s", status)
      assert.matches("CapEff:%s+0000000000003000\n", status)
      assert.matches("CapBnd:%s+0000000000003000\n", status)
      assert.matches("192.168.0.144", shell("ip -brief address show dev lo"))
      moonlb:kill("sigterm")
      moonlb:wait(20)
      assert.equal(0, moonlb.code, moonlb.err)
    end, 120)
  end

  it("runs as another user than root with two ambient capabilities: a mounted policy decides, the address is announced",
    serves(65532))
  it("runs as a root that has those two alone, as in the DaemonSet", serves(0))
end)
