--- arp_ignore and arp_announce of announcing interfaces: set so that only moonlb answers for held addresses
-- (Documentation/networking/ip-sysctl: `all` and the interface act as their maximum), and put back at a clean stop.
-- What they were is remembered in a small file, so that a stop after a crash still finds it. The file is named after
-- the network namespace; without a writable folder a crash leaves the settings, which harm nothing.
-- @module moonlb.announcer.arp_settings
local json = require("cjson")
local log = require("moonlb.core.log")

local arp_settings = {}

local Settings = { __name = "moonlb.announcer.arp_settings" }
Settings.__index = Settings

-- 1: answer only for addresses of the interface that hears; 2: announce with the best local address.
local IGNORE, ANNOUNCE = 1, 2

local function read(path)
  local file = path and io.open(path, "r")
  if not file then return {} end
  local ok, value = pcall(json.decode, file:read(65536) or "")
  file:close()
  return ok and type(value) == "table" and value or {}
end

--- @tparam table netlink  a core.netlink handle
-- @tparam string|nil path  where originals are remembered
function arp_settings.new(netlink, path)
  return setmetatable({ netlink = netlink, path = path, originals = {}, remembered = read(path) }, Settings)
end

-- By way of a second name, so that a crash leaves the old text or the new.
local function replace(path, text)
  local file, message = io.open(path .. ".new", "w")
  if not file then return nil, message end
  file:write(text)
  file:close()
  return os.rename(path .. ".new", path)
end

function Settings:save()
  if not self.path then return end
  local by_name = {}
  for _, original in pairs(self.originals) do by_name[original.name] = original end
  local ok, message
  if next(by_name) then
    ok, message = replace(self.path, json.encode(by_name))
  else
    ok, message = os.remove(self.path)
  end
  if not ok then log.debug("the ARP settings are not remembered", { path = self.path, error = message }) end
end

-- What a former run remembers counts if the interface is the same one and still has what that run set.
function Settings:original(link, current)
  local old = self.remembered[link.name]
  local is_ours = type(old) == "table" and old.mac == link.mac and current.arp_ignore == IGNORE
    and current.arp_announce == ANNOUNCE
  local source = is_ours and old or current
  return { name = link.name, mac = link.mac, arp_ignore = math.tointeger(source.arp_ignore) or 0,
    arp_announce = math.tointeger(source.arp_announce) or 0 }
end

--- Set both on `link`; the first time, remember what they were.
-- @treturn boolean  true; or nil, message, code
function Settings:apply(link)
  if self.originals[link.index] then return true end
  local current, message, code = self.netlink:ipv4_conf(link.index)
  if not current then return nil, message, code end
  local wanted = { arp_ignore = math.max(current.arp_ignore, IGNORE), arp_announce = ANNOUNCE }
  local original = self:original(link, current)
  if current.arp_ignore ~= wanted.arp_ignore or current.arp_announce ~= wanted.arp_announce then
    local ok
    ok, message, code = self.netlink:set_ipv4_conf(link.index, wanted)
    if not ok then return nil, message, code end
  end
  self.originals[link.index] = original
  self:save()
  return true
end

--- The interface is gone, and its settings with it.
function Settings:forget(index)
  if not self.originals[index] then return end
  self.originals[index] = nil
  self:save()
end

--- Put everything back.
function Settings:restore()
  for index, original in pairs(self.originals) do
    local ok, message = self.netlink:set_ipv4_conf(index,
      { arp_ignore = original.arp_ignore, arp_announce = original.arp_announce })
    if not ok then log.warn("cannot put ARP settings back", { interface = original.name, error = message }) end
  end
  self.originals = {}
  self:save()
end

return arp_settings
