-- Run by netlink_spec.lua in a process without CAP_NET_ADMIN.
local netlink = require("moonlb.core.netlink")

describe("netlink without CAP_NET_ADMIN", function()
  local nl = assert(netlink.open())

  local function assert_denied(ok, message, code)
    assert.is_nil(ok)
    assert.equal("EPERM", code)
    assert.truthy(message:find("(needs CAP_NET_ADMIN)", 1, true), message)
    return message
  end

  it("names the capability in each error", function()
    assert.matches("^add address 10%.9%.9%.9/32, interface 1 ",
      assert_denied(nl:address_add({ index = 1, address = "10.9.9.9" })))
    assert_denied(nl:address_delete({ index = 1, address = "10.9.9.9" }))
    assert_denied(nl:set_ipv4_conf(1, { arp_ignore = 1 }))
    assert_denied(nl:link_set(1, { up = true }))
    assert_denied(nl:link_delete(1))
    assert_denied(nl:macvlan_add({ parent = 1, name = "m0" }))
  end)

  it("still reads and listens", function()
    assert.equal("lo", nl:link(1).name)
    assert.is_table(nl:addresses())
    assert.is_true(nl:monitor(function() end))
  end)

  teardown(function() nl:close() end)
end)
