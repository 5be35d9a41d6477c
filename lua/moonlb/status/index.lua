--- Which Services the page shows, in which order: sorted by name in pieces, so that ten thousand hold up nothing.
-- @module moonlb.status.index
local index = {}

local Index = { __name = "moonlb.status.index" }
Index.__index = Index

-- Names sorted in one go: about a millisecond.
local CHUNK = 256

local function is_shown(object)
  return object ~= nil and type(object.spec) == "table" and object.spec.type == "LoadBalancer"
end

--- @tparam Informer services
function index.new(services)
  local self = setmetatable({ services = services, version = 0 }, Index)
  services:on(function(_, new, old)
    if is_shown(new) ~= is_shown(old) then self.version = self.version + 1 end
  end)
  return self
end

-- Two sorted lists as one.
local function merge(a, b, pause)
  local merged, i, j = {}, 1, 1
  while a[i] and b[j] do
    if b[j] < a[i] then
      merged[#merged + 1], j = b[j], j + 1
    else
      merged[#merged + 1], i = a[i], i + 1
    end
    if #merged % CHUNK == 0 then pause() end
  end
  table.move(a, i, #a, #merged + 1, merged)
  table.move(b, j, #b, #merged + 1, merged)
  return merged
end

--- Sort texts.
-- @tparam table list
-- @tparam function pause  called after each piece of work; may yield
-- @treturn table  a new list
function index.sort(list, pause)
  local runs = {}
  for first = 1, #list, CHUNK do
    local run = table.move(list, first, math.min(first + CHUNK - 1, #list), 1, {})
    table.sort(run)
    runs[#runs + 1] = run
    pause()
  end
  while #runs > 1 do
    local merged = {}
    for i = 1, #runs, 2 do merged[#merged + 1] = runs[i + 1] and merge(runs[i], runs[i + 1], pause) or runs[i] end
    runs = merged
  end
  return runs[1] or {}
end

--- The keys of all Services of type LoadBalancer, sorted. Sorted anew only when one came or went.
-- @tparam function pause
-- @treturn table  not to be changed
function Index:keys(pause)
  if self.sorted and self.sorted_version == self.version then return self.sorted end
  local version, list = self.version, {}
  for key, object in self.services:each() do
    if is_shown(object) then list[#list + 1] = key end
  end
  self.sorted, self.sorted_version = index.sort(list, pause), version
  return self.sorted
end

return index
