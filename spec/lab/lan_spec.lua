local forward = require("moonlb.sandbox.forward")
local lan = require("moonlb.sandbox.lan")
local loop = require("spec.support.loop")
local process = require("moonlb.sandbox.process")
local uv = require("luv")

local function links_outside()
  return process.run({ "ip", "-o", "link" }).output
end

describe("sandbox.lan", function()
  it("makes a LAN on which everybody reaches everybody, by both families, and nothing outside", loop.test(function()
    local before = links_outside()
    local net = assert(lan.up({ nodes = 2 }))
    for _, target in ipairs({ "router", "node1", "node2" }) do
      local arping = assert(net:run("client", { "arping", "-c", "1", "-w", "2", "-I", "eth0", net.hosts[target].ipv4 }))
      assert.equal(0, arping.code, arping.output)
      local ndisc = assert(net:run("client", { "ndisc6", "-1", "-q", "-w", "2000", net.hosts[target].ipv6, "eth0" }))
      assert.equal(0, ndisc.code, ndisc.output)
    end
    assert.equal(before, links_outside())
    net:down()
  end))

  it("ends with the process that made it, also by SIGKILL, and so does what runs on it", loop.test(function()
    local net = assert(lan.up({ nodes = 1 }))
    local started = assert(net:start("node1", { "sleep", "100" }))
    uv.kill(net.holder.pid, "sigkill")
    assert.is_not_nil(started:wait(5))
    assert.is_not_nil(net.holder:wait(5))
  end))

  it("tells when it ends by itself, and not when it is taken down", loop.test(function()
    local ended = 0
    local net = assert(lan.up({ nodes = 1, on_exit = function() ended = ended + 1 end }))
    net:down()
    net.holder:wait(5)
    assert.equal(0, ended)
    net = assert(lan.up({ nodes = 1, on_exit = function() ended = ended + 1 end }))
    uv.kill(net.holder.pid, "sigkill")
    loop.until_true(function() return ended == 1 end, 5, "on_exit")
  end))

  it("sends a signal to the program itself, not to the nsenter that waits for it", loop.test(function()
    local net = assert(lan.up({ nodes = 1 }))
    local script = "trap 'echo caught; exit 7' TERM; echo ready; sleep 100 & wait"
    local started = assert(net:start("node1", { "sh", "-c", script }))
    assert.is_true(started:wait_for(function() return started:output():find("ready") end, 5))
    assert.is_true(lan.kill(started, "sigterm"))
    assert.equal(7, started:wait(5))
    assert.matches("caught", started:output())
    net:down()
  end))
end)

describe("sandbox.forward", function()
  it("leads a node of the LAN to a server on our loopback, and carries much both ways", loop.test(function()
    local net = assert(lan.up({ nodes = 1 }))
    -- -t: a slow machine may need longer than socat's half second to send back what came before the end.
    local listen = "TCP-LISTEN:8080,bind=127.0.0.1,fork,reuseaddr"
    local server = assert(process.start({ "socat", "-d", "-d", "-t", "20", listen,
      "EXEC:cat" }))
    assert.is_true(server:wait_for(function() return server:output():find("listening on") end, 10))
    local path = os.tmpname() .. ".sock"
    local way = assert(forward.start({ path = path }, { host = "127.0.0.1", port = 8080 }))
    local client = "socat -u SYSTEM:'head -c 1048576 /dev/zero' - | socat -t20 - UNIX-CONNECT:" .. path .. " | wc -c"
    local result = assert(net:run("node1", { "sh", "-c", client }))
    assert.equal("1048576", result.output:match("%d+"), result.output)
    way:close()
    server:kill("sigterm")
    server:wait(5)
    net:down()
    os.remove(path)
  end))

  it("closes when nobody answers behind it, and says where it cannot listen", loop.test(function()
    local way = assert(forward.start({ host = "127.0.0.1", port = 0 }, { host = "127.0.0.1", port = 1 }))
    local result = assert(process.run({ "socat", "-u", "TCP:127.0.0.1:" .. way.port, "-" }))
    assert.equal("", result.output)
    local taken = { host = "127.0.0.1", port = way.port }
    local second, message, code = forward.start(taken, { host = "127.0.0.1", port = 1 })
    assert.is_nil(second)
    assert.matches("cannot listen on 127.0.0.1:" .. way.port, message, 1, true)
    assert.equal("EADDRINUSE", code)
    way:close()
  end))
end)
