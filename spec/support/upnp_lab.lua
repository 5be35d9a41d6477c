--- What the specs about ports on the router share: a lab with a router, and words for its Services.
-- @module spec.support.upnp_lab
local gateway = require("spec.support.gateway")
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")

local upnp_lab = {}

--- Flags of a node that opens ports, alone.
upnp_lab.ALONE = { "--upnp", "--heartbeat", "false" }

--- Body of an `it` with a lab and its router (no gateway runs on it yet).
-- @tparam function body  `body(lab, router)`
-- @tparam[opt] table options  of spec.support.lab
function upnp_lab.test(body, options)
  options = options or {}
  options.timeout = options.timeout or 120
  return lab.test(function(it)
    local router = gateway.new(it)
    local ok, err = pcall(body, it, router)
    router:down()
    if not ok then error(err, 0) end
  end, options)
end

--- A Service whose ports are to be opened.
-- @tparam Lab it
-- @tparam string name
-- @tparam string|nil outside  value of moonlb.io/upnp-ports
-- @tparam table|nil ports  of the Service
function upnp_lab.service(it, name, outside, ports)
  return it:service(name, { ports = ports }, { ["kube-vip.io/forwardUPNP"] = "true",
    ["moonlb.io/upnp-ports"] = outside })
end

--- The annotation that says what is open, or nil.
function upnp_lab.said(it, name)
  local service = it:get(name)
  return service and (service.metadata.annotations or {})["moonlb.io/upnp"]
end

--- Wait until it says that; nil: nothing.
function upnp_lab.until_said(it, name, text)
  loop.until_true(function() return upnp_lab.said(it, name) == text end, 20, name .. " says " .. tostring(text))
end

--- Wait for an Event of that reason whose message holds `text`.
function upnp_lab.until_event(it, name, reason, text)
  return loop.until_true(function() return it:has_event(name, reason, text) end, 20,
    ("Event %s on %s: %s"):format(reason, name, text))
end

--- Change a Service.
function upnp_lab.patch(it, name, patch)
  assert(it.kube:merge_patch("/api/v1/namespaces/demo/services/" .. name, patch))
end

return upnp_lab
