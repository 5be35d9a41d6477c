local loop = require("spec.support.loop")
local upnp_lab = require("spec.support.upnp_lab")

-- Which node has the address on lo.
local function holder(it, ip)
  for _, name in ipairs({ "node1", "node2" }) do
    if it:is_on_node(ip, name) then return name end
  end
  return nil
end

local function other_than(name) return name == "node1" and "node2" or "node1" end

describe("a port on the router, of two nodes", function()
  it("stays open when its node is cut off, and when it stops: the other's request replaces it",
    upnp_lab.test(function(it, router)
      router:start()
      upnp_lab.service(it, "web", "80=32380")
      local nodes = { node1 = it:moonlb("node1", { "--upnp" }), node2 = it:moonlb("node2", { "--upnp" }) }
      local ip = it:until_address("web")
      local line = ("TCP 32380 %s:80"):format(ip)
      router:until_mapped({ line })
      upnp_lab.until_said(it, "web", "192.0.3.1:32380/TCP -> 80")
      local first = holder(it, ip)
      local second = other_than(first)
      it:on("switch", "ip", "link", "set", "p-" .. first, "down")
      loop.until_true(function() return (it.output[second] or ""):find("to=mapped", 1, true) end, 20, "the other's")
      assert.matches("hello from " .. second, router:curl(32380))
      router:until_mapped({ line })
      it:on("switch", "ip", "link", "set", "p-" .. first, "up")
      -- The first hears the other's claim and gives way; only then may the other stop.
      loop.until_true(function() return not it:is_on_node(ip, first) end, 20, "the first gave way")
      it:signal(nodes[second], "sigterm")
      assert(nodes[second]:wait(12))
      loop.until_true(function() return it:is_on_node(ip, first) end, 10, "back at the first")
      router:until_mapped({ line })
      assert.matches("hello from " .. first, router:curl(32380))
      assert.not_matches("to=removing", it.output[second])
      it:signal(nodes[first], "sigterm")
      assert(nodes[first]:wait(12))
      assert.same({}, router:mapped())
    end, { count = 2 }))
end)
