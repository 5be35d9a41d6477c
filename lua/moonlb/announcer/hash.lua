--- 64-bit hashes for placement: rendezvous ranks and digests. Not cryptographic; the frames' HMAC is.
-- @module moonlb.announcer.hash
local hash = {}

--- Mix 64 bits so that near inputs give far outputs (the finalizer of splitmix64).
-- @tparam integer x
-- @treturn integer
function hash.mix(x)
  x = (x ~ (x >> 30)) * 0xbf58476d1ce4e5b9
  x = (x ~ (x >> 27)) * 0x94d049bb133111eb
  return x ~ (x >> 31)
end

--- Hash a text (FNV-1a, mixed).
-- @tparam string text
-- @treturn integer
function hash.text(text)
  local h = 0xcbf29ce484222325
  for i = 1, #text do h = (h ~ text:byte(i)) * 0x100000001b3 end
  return hash.mix(h)
end

--- A function that hashes texts and remembers the results; forget one with `forget(text)`.
-- @treturn function  text -> integer
-- @treturn function  text -> nothing
function hash.memo()
  local known = {}
  local function lookup(text)
    local h = known[text]
    if not h then
      h = hash.text(text)
      known[text] = h
    end
    return h
  end
  return lookup, function(text) known[text] = nil end
end

--- Rendezvous rank of a node for a group, from their hashes: greater is nearer.
-- @tparam integer group
-- @tparam integer node
-- @treturn integer  0 to 2^63-1
function hash.rank(group, node)
  return hash.mix(group ~ hash.mix(node + 0x9e3779b97f4a7c15)) >> 1
end

return hash
