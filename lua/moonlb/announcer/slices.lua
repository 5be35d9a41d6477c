--- Follows EndpointSlices, from the moment the first Service needs them: discovery.k8s.io/v1, or v1beta1 where the
-- server has no other.
-- @module moonlb.announcer.slices
local async = require("moonlb.async")
local endpoints = require("moonlb.announcer.endpoints")
local informer = require("moonlb.kube.informer")
local log = require("moonlb.core.log")

local slices = {}

local Slices = { __name = "moonlb.announcer.slices" }
Slices.__index = Slices

--- @tparam table options  `client`, `index` (moonlb.announcer.endpoints), `on_change(service_key)`
function slices.new(options)
  return setmetatable({ client = options.client, index = options.index, on_change = options.on_change,
    is_synced = false }, Slices)
end

-- The group version that the server has; asked until it answers.
function Slices:find_version()
  local delay = 1
  while not self.is_stopped do
    for _, version in ipairs({ "v1", "v1beta1" }) do
      local path = "/apis/discovery.k8s.io/" .. version
      local found, message, reason = self.client:get(path)
      if found then return path .. "/endpointslices" end
      if reason ~= "NotFound" then
        log.warn("cannot ask for EndpointSlices", { path = path, error = message })
        break
      end
    end
    async.sleep(delay)
    delay = math.min(30, delay * 2)
  end
  return nil
end

-- Until the first list is complete nothing is known: then every Service hears.
function Slices:follow(path)
  self.informer = informer.new({ client = self.client, path = path, project = endpoints.project,
    log_name = "endpointslices" })
  self.informer:on(function(key, slice)
    local concerned = self.index:set(key, slice)
    if not self.is_synced then return end
    for _, service in ipairs(concerned) do self.on_change(service) end
  end)
  self.informer:start()
  if not self.informer:wait_synced() or self.is_stopped then return end
  self.is_synced = true
  for _, service in ipairs(self.index:services()) do self.on_change(service) end
end

--- Begin to follow; asked again does nothing.
function Slices:start()
  if self.is_started then return end
  self.is_started = true
  async.run(function()
    local path = self:find_version()
    if path then self:follow(path) end
  end)
end

--- End.
function Slices:stop()
  self.is_stopped = true
  if self.informer then self.informer:stop() end
end

return slices
