--- The frames of the flight recorder, for people and for capture files.
-- @module moonlb.control.flight
local arp = require("moonlb.core.arp")
local core = require("moonlb.core.flight")
local json = require("moonlb.json")
local ndp = require("moonlb.core.ndp")
local runtime = require("moonlb.core.runtime")

local flight = {}

local PAGE = 200 -- frames in an answer: the loop is held for a few milliseconds
-- Of each, so many are shown for an address: announcements must not hide who asked, and what was answered.
local LAST = { asked = 4, answered = 4, told = 2 }

-- What a frame is about: an address, and words for people.
local function read_arp(bytes)
  local it = arp.decode(bytes)
  if not it then return nil end
  if it.sender_ip == "0.0.0.0" then return it.target_ip, ("probe: who has %s?"):format(it.target_ip) end
  if it.sender_ip == it.target_ip then
    return it.sender_ip, ("gratuitous %s: %s is at %s"):format(it.operation, it.sender_ip, it.sender_mac)
  end
  if it.operation == "reply" then
    return it.sender_ip, ("%s is at %s, to %s"):format(it.sender_ip, it.sender_mac, it.target_ip)
  end
  return it.target_ip, ("who has %s? asks %s (%s)"):format(it.target_ip, it.sender_ip, it.sender_mac)
end

local function read_ndp(bytes)
  local it = ndp.decode(bytes)
  if not it then return nil end
  local mac = it.link_address or it.source
  if it.type == "ns" then return it.target, ("who has %s? asks %s (%s)"):format(it.target, it.source_ip, mac) end
  return it.target, ("%s is at %s, to %s"):format(it.target, mac, it.destination_ip)
end

--- @tparam string bytes  a frame
-- @treturn string|nil  the address that it is about
-- @treturn string|nil  what it says
function flight.read(bytes)
  local about, says = read_arp(bytes)
  if about then return about, says end
  return read_ndp(bytes)
end

-- Of both rings, oldest first; `at` in seconds since 1970.
local function all_frames(announcer)
  local frames, sent = announcer.pulse:frames(), core.sent()
  table.move(sent, 1, #sent, #frames + 1, frames)
  local offset = runtime.walltime() - runtime.boottime()
  for _, it in ipairs(frames) do it.at = it.at + offset end
  table.sort(frames, function(a, b) return a.at < b.at end)
  return frames
end

local function name_of(announcer, index)
  local link = announcer.host.view.links[index]
  return link and link.name or "if" .. index
end

--- The last frames about some addresses.
-- @treturn table  array of `{at=, direction=, interface=, says=}`, oldest first
function flight.last_of(announcer, addresses)
  local wanted, found, left = {}, json.array(), { asked = LAST.asked, answered = LAST.answered, told = LAST.told }
  for _, ip in ipairs(addresses or {}) do wanted[ip] = true end
  local frames = next(wanted) and all_frames(announcer) or {}
  for i = #frames, 1, -1 do
    local about, says = flight.read(frames[i].bytes)
    local direction = frames[i].direction
    local kind = direction == "in" and "asked" or says and says:find("^[gp]r") and "told" or "answered"
    if about and wanted[about] and left[kind] > 0 then
      left[kind] = left[kind] - 1
      table.insert(found, 1, { at = frames[i].at, direction = direction, says = says,
        interface = name_of(announcer, frames[i].index) })
    end
  end
  return found
end

local HEX = {}
for i = 0, 255 do HEX[string.char(i)] = ("%02x"):format(i) end

local function hex(bytes)
  return (bytes:gsub(".", HEX))
end

--- A page of all frames, as plain values: oldest first, from number `skip` + 1 on.
-- @treturn table  `{frames={{at=, index=, interface=, direction=, length=, bytes=hexadecimal, says=|nil}}, total=}`
function flight.frames(announcer, skip)
  local frames, page = all_frames(announcer), json.array()
  for i = skip + 1, math.min(#frames, skip + PAGE) do
    local it = frames[i]
    page[#page + 1] = { at = it.at, index = it.index, interface = name_of(announcer, it.index), length = it.length,
      direction = it.direction, bytes = hex(it.bytes), says = select(2, flight.read(it.bytes)) }
  end
  return { frames = page, total = #frames }
end

--- A capture file of frames as `frames` gives them.
-- @tparam table frames
-- @treturn string  pcapng
function flight.capture(frames)
  local interfaces, seen, list = {}, {}, {}
  for i, it in ipairs(frames) do
    if not seen[it.index] then
      seen[it.index] = true
      interfaces[#interfaces + 1] = { index = math.tointeger(it.index), name = it.interface }
    end
    local bytes = it.bytes:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
    list[i] = { at = it.at, index = math.tointeger(it.index), length = math.tointeger(it.length), bytes = bytes,
      direction = it.direction }
  end
  return table.concat(core.pcapng(list, interfaces))
end

return flight
