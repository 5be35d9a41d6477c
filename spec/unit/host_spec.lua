local host = require("moonlb.announcer.host")
local interface = require("moonlb.announcer.interface")
local played = require("spec.support.wire")
local kernel = require("spec.support.kernel").new
require("moonlb.core.log").configure({ level = "error" })

describe("announcer.host", function()
  local nl, clock, changes, removed, path
  before_each(function()
    nl, clock, changes, removed = kernel(), played.new(), 0, {}
    path = os.tmpname()
  end)
  after_each(function() os.remove(path) end)

  local function open()
    return assert(host.open({ netlink = nl, after = clock.after, settings_file = path,
      on_change = function() changes = changes + 1 end, on_removed = function(ip) removed[#removed + 1] = ip end }))
  end

  local function tagged(ip, prefix)
    return { index = 1, address = ip, prefix = prefix, family = prefix == 32 and 4 or 6, scope = "host",
      protocol = interface.PROTOCOL }
  end

  describe("accept", function()
    it("puts the address on lo, tagged, scope host, without DAD", function()
      local it = open()
      it:accept("10.0.0.9")
      it:accept("fd00::9")
      it:accept("10.0.0.9")
      assert.equal("add 10.0.0.9/32 host 109 true 1, add fd00::9/128 host 109 true 1", nl:said())
    end)

    it("does not touch what a former run left", function()
      nl.all[3] = tagged("10.0.0.9", 32)
      local it = open()
      assert.is_true(it:accept("10.0.0.9"))
      assert.equal("", nl:said())
    end)

    it("names the capability that it needs", function()
      nl.refused.add = "EPERM"
      local ok, message, code = open():accept("10.0.0.9")
      assert.is_nil(ok)
      assert.equal("cannot add: moonlb needs the capability CAP_NET_ADMIN", message)
      assert.equal("EPERM", code)
    end)
  end)

  it("sweeps tagged addresses that nobody wants, and nothing else", function()
    nl.all[3], nl.all[4] = tagged("10.0.0.9", 32), tagged("10.0.0.8", 32)
    nl.all[5] = { index = 1, address = "10.0.0.7", prefix = 32, family = 4, scope = "host", protocol = 0 }
    assert.equal(1, #open():sweep(function(ip) return ip == "10.0.0.8" end))
    assert.equal("delete 10.0.0.9/32", nl:said())
  end)

  it("tells at once that somebody removed a held address, not what it removes itself", function()
    local it = open()
    it:accept("10.0.0.9")
    local event = tagged("10.0.0.9", 32)
    event.type, event.action = "address", "delete"
    nl.tell(event)
    assert.same({ "10.0.0.9" }, removed)
    it:accept("10.0.0.9")
    it:refuse("10.0.0.9")
    nl.tell(event)
    assert.equal(1, #removed)
  end)

  it("tells once a turn that links or foreign addresses changed, never of its own", function()
    open():accept("10.0.0.9")
    local own = tagged("10.0.0.9", 32)
    own.type, own.action = "address", "new"
    nl.tell(own)
    clock:advance(0)
    assert.equal(0, changes)
    for i = 1, 3 do
      nl.tell({ type = "address", action = "new", index = 2, address = "10.0.1." .. i, prefix = 24, family = 4 })
    end
    nl.tell({ type = "link", action = "new", index = 2, name = "eth0", mac = "m2", is_up = false })
    clock:advance(0)
    assert.equal(1, changes)
  end)

  it("reads everything again when notifications were lost", function()
    local it = open()
    it:accept("10.0.0.9")
    it:accept("10.0.0.8")
    nl.all[3] = tagged("10.0.0.9", 32)
    nl.tell({ type = "overrun" })
    assert.same({ "10.0.0.8" }, removed)
  end)

  describe("silence_kernel", function()
    it("sets arp_ignore and arp_announce once, and puts them back at close", function()
      local it = open()
      it:silence_kernel(2)
      it:silence_kernel(2)
      it:close()
      assert.equal("conf 2 1 2, conf 2 0 0, close", nl:said())
    end)

    it("sets them wherever else the same question may be heard: the parent, and interfaces that have an IPv4 address",
      function()
        for index = 3, 5 do nl.conf[index] = { arp_ignore = 0, arp_announce = 0 } end
        local links = nl.links()
        links[3] = { index = 3, name = "mv0", kind = "macvlan", parent = 4, mac = "m3", is_up = true }
        links[4] = { index = 4, name = "eth1", mac = "m4", is_up = true }
        links[5] = { index = 5, name = "veth1", mac = "m5", is_up = true }
        function nl.links() return links end
        local it = open()
        it:silence_kernel(3)
        assert.equal("conf 3 1 2, conf 4 1 2, conf 2 1 2", nl:said())
        nl.tell({ type = "address", action = "new", index = 5, address = "10.5.0.1", prefix = 24, family = 4,
          scope = "global", protocol = 0 })
        clock:advance(0)
        assert.equal("conf 5 1 2", nl:said())
      end)

    it("keeps a stricter arp_ignore", function()
      nl.conf[2] = { arp_ignore = 2, arp_announce = 1 }
      local it = open()
      it:silence_kernel(2)
      it:close()
      assert.equal("conf 2 2 2, conf 2 2 1, close", nl:said())
    end)

    it("remembers over a crash what they were", function()
      open():silence_kernel(2)
      local it = open()
      nl:said()
      it:silence_kernel(2)
      assert.equal("", nl:said())
      it:close()
      assert.equal("conf 2 0 0, close", nl:said())
      it = open()
      it:silence_kernel(2)
      nl.conf[2] = { arp_ignore = 1, arp_announce = 2 }
      it:close()
      assert.equal("conf 2 1 2, conf 2 0 0, close", nl:said())
    end)

    it("takes what is there for the original when the file is nonsense", function()
      local file = assert(io.open(path, "w"))
      file:write("[[[")
      file:close()
      nl.conf[2] = { arp_ignore = 1, arp_announce = 2 }
      local it = open()
      it:silence_kernel(2)
      it:close()
      assert.equal("conf 2 1 2, close", nl:said())
    end)
  end)
end)
