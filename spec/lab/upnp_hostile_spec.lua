local loop = require("spec.support.loop")
local upnp_lab = require("spec.support.upnp_lab")

local test, ALONE = upnp_lab.test, upnp_lab.ALONE

-- Resident memory of the node's process in bytes, by its own metrics.
local function memory(it)
  local text = it:on("node1", "curl", "-s", "http://127.0.0.1:2112/metrics").output
  return tonumber(text:match("\nmoonlb_resident_memory_bytes (%S+)"))
end

-- What is wrong with the gateway, as its Services' readers are told.
local HOSTILE = {
  endless = "the answer is longer than 65536 bytes",
  ["endless-header"] = "GET http://10.77.0.1:5000/rootDesc.xml",
  slow = "Operation timed out",
  redirect = "HTTP status 302",
  elsewhere = "no UPnP gateway answers at 10.77.0.1",
  control = "its control URL is not on the gateway itself",
  broken = "it offers neither WANIPConnection nor WANPPPConnection",
  entities = "GET http://10.77.0.1:5000/rootDesc.xml",
  length = "GET http://10.77.0.1:5000/rootDesc.xml",
  chunks = "GET http://10.77.0.1:5000/rootDesc.xml",
  silent = "Operation timed out",
  nonsense = "no UPnP gateway answers at 10.77.0.1",
}

local MODES = {}
for mode in pairs(HOSTILE) do MODES[#MODES + 1] = mode end
table.sort(MODES)

describe("a hostile router", function()
  it("stalls nothing, costs no memory, is named; a good one in its place is used at once", test(function(it, router)
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    assert.matches("hello from node1", it:curl(ip))
    local before = memory(it)
    for i, mode in ipairs(MODES) do
      local other = router:start_other(mode)
      local seen = #it.output.node1
      loop.until_true(function() return it.output.node1:find(HOSTILE[mode], seen, true)
        or it:has_event("web", "PortMapFailed", HOSTILE[mode]) end, 60, mode .. ": " .. HOSTILE[mode])
      if mode == "elsewhere" or mode == "nonsense" then assert.not_matches("asked", other:output()) end
      -- The rest of moonlb goes on: another Service is announced meanwhile.
      it:service("beside" .. i)
      local beside = it:until_address("beside" .. i)
      assert.is_true(it:is_answered(beside), mode)
      router:stop_other()
    end
    local grown = memory(it) - before
    assert.is_true(grown < 32 * 2 ^ 20, ("%d bytes more"):format(grown))
    assert.not_matches("callback failed", it.output.node1)
    router:start()
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip) }, 60)
  end, { timeout = 400, configmap = { ["range-global"] = "10.77.0.100-10.77.0.139" } }))
end)

describe("a gateway", function()
  it("that knows permanent mappings alone (725) is given those, and they are taken back", test(function(it, router)
    local other = router:start_other("permanent")
    upnp_lab.service(it, "web", "80=32380")
    local node = it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    upnp_lab.until_said(it, "web", "192.0.3.1:32380/TCP -> 80")
    assert.matches("AddPortMapping 32380 3600 " .. ip, other:output(), 1, true)
    assert.matches("AddPortMapping 32380 0 " .. ip, other:output(), 1, true)
    it:signal(node, "sigterm")
    assert(node:wait(10))
    assert.matches("DeletePortMapping 32380  " .. ip, other:output(), 1, true)
    router:stop_other()
  end))

  it("behind another router is said to be so", test(function(it, router)
    router:start_other("private")
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", ALONE)
    it:until_address("web")
    upnp_lab.until_event(it, "web", "PortMapped",
      "the gateway's outside address 192.168.1.5 is private: another router (or the provider's) stands before it")
    router:stop_other()
  end))
end)
