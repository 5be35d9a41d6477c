--- A client's face with one collection behind it, for specs that play the API server event by event.
-- @module spec.support.api
local async = require("moonlb.async")

local api = {}

local Api = {}
Api.__index = Api

--- `client` goes to moonlb.kube.informer; `watches` are the open ones, `lists` counts.
function api.new()
  local self = setmetatable({ objects = {}, version = 100, lists = 0, watches = {}, opened = {} }, Api)
  self.client = {
    list = function(_, _, options, on_page) return self:list(options, on_page) end,
    get = function(_, path)
      async.sleep(0)
      self.asked = path
      return not self.is_away and {} or nil, "away", "ECONNREFUSED"
    end,
    watch = function(_, _, options, on_event, on_end)
      local watch = { options = options, on_event = on_event, is_open = true }
      function watch.finish(err)
        watch.is_open = false
        on_end(err)
      end
      function watch.close() watch.is_open = false end
      self.opened[#self.opened + 1] = watch
      return watch
    end,
  }
  return self
end

--- The watch that is open, or nil.
function Api:watch()
  local last = self.opened[#self.opened]
  return last and last.is_open and last or nil
end

function Api:list(_, on_page)
  self.lists = self.lists + 1
  if self.list_error then return nil, self.list_error.message, self.list_error.code end
  local version, items = tostring(self.version), {}
  for _, object in pairs(self.objects) do items[#items + 1] = object end
  if self.before_page then self.before_page() end
  async.sleep(0)
  on_page(items, version)
  return version
end

--- A new version of an object, as the API would return it; nobody hears of it.
function Api:make(name, text)
  self.version = self.version + 1
  local object = { metadata = { namespace = "ns", name = name, resourceVersion = tostring(self.version) }, text = text }
  self.objects[name] = object
  return object
end

--- Create or change an object; the watch tells.
function Api:put(name, text)
  local kind = self.objects[name] and "MODIFIED" or "ADDED"
  local object = self:make(name, text)
  if self:watch() then self:watch().on_event(kind, object) end
  return object
end

--- Delete an object; the watch tells unless `is_silent`.
function Api:delete(name, is_silent)
  local old = self.objects[name]
  self.objects[name] = nil
  self.version = self.version + 1
  local last = { text = old.text,
    metadata = { namespace = "ns", name = name, resourceVersion = tostring(self.version) } }
  if self:watch() and not is_silent then self:watch().on_event("DELETED", last) end
  return last
end

--- A bookmark of the present version.
function Api:bookmark()
  self:watch().on_event("BOOKMARK", { metadata = { resourceVersion = tostring(self.version) } })
end

return api
