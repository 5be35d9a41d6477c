--- Ranges of IPv4 addresses as CIDR blocks.
-- @module moonlb.allocator.cidr
local address = require("moonlb.core.address")

local cidr = {}

-- The largest block that starts at `first` and does not reach beyond `last`: its end and prefix.
local function largest_block(first, last)
  for prefix = 0, 31 do
    if address.mask(first, prefix) == first then
      local block_end = address.broadcast(first, prefix)
      if address.compare(block_end, last) <= 0 then return block_end, prefix end
    end
  end
  return first, 32
end

--- The fewest CIDR blocks that make up a set's IPv4 addresses. So adjacent blocks are merged where one larger block
-- holds both.
-- @tparam userdata set  from `moonlb.core.address`
-- @treturn table  array of `{first=, last=, prefix=}`, in order
function cidr.blocks(set)
  local blocks = {}
  for _, range in ipairs(set:ranges(4)) do
    local first = range.first
    repeat
      local last, prefix = largest_block(first, range.last)
      blocks[#blocks + 1] = { first = first, last = last, prefix = prefix }
      first = last ~= range.last and address.next(last) or nil
    until not first
  end
  return blocks
end

--- Take the first and the last address out of each IPv4 block of a set, but not of a /31 or /32: key
-- `skip-end-ips-in-cidr`.
function cidr.cut_ends(set)
  for _, block in ipairs(cidr.blocks(set)) do
    if block.prefix <= 30 then
      set:remove(block.first)
      set:remove(block.last)
    end
  end
end

return cidr
