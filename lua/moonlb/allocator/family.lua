--- Which address families a Service wants: `spec.ipFamilyPolicy` and `spec.ipFamilies` (design, section 4.1).
-- @module moonlb.allocator.family
local family = {}

--- What a Service wants. `order`: families, first one first. `mode`:
-- `any` one address, of the first family that the pool has;
-- `one` one address of the only family in `order`;
-- `prefer` one of each, and where a family is absent or exhausted the other alone;
-- `require` one of each or nothing.
-- All are shared constants: compare by identity, never change.
local WANTS = {
  any = { order = { 4, 6 }, mode = "any" },
  one4 = { order = { 4 }, mode = "one" },
  one6 = { order = { 6 }, mode = "one" },
  prefer4 = { order = { 4, 6 }, mode = "prefer" },
  prefer6 = { order = { 6, 4 }, mode = "prefer" },
  require4 = { order = { 4, 6 }, mode = "require" },
  require6 = { order = { 6, 4 }, mode = "require" },
}

local NUMBERS = { IPv4 = 4, IPv6 = 6 }
local NAMES = { [4] = "IPv4", [6] = "IPv6" }

--- @tparam table spec  of a Service
-- @treturn table  one of the constants above
function family.wanted(spec)
  local families = type(spec.ipFamilies) == "table" and spec.ipFamilies or {}
  local first = NUMBERS[families[1]]
  local policy = spec.ipFamilyPolicy
  if policy == "PreferDualStack" then return WANTS["prefer" .. (first or 4)] end
  if policy == "RequireDualStack" then return WANTS["require" .. (first or 4)] end
  return first and WANTS["one" .. first] or WANTS.any
end

--- "IPv4" or "IPv6".
function family.name(number)
  return NAMES[number]
end

--- The family of a canonical address: 4 or 6.
function family.of(address)
  return address:find(":", 1, true) and 6 or 4
end

--- Whether these addresses fit what a Service wants.
-- @tparam table wanted  from `family.wanted`
-- @tparam table addresses  canonical
-- @treturn boolean|nil  true, or nil and why not
function family.fits(wanted, addresses)
  if #addresses == 1 and wanted.mode ~= "require" and wanted.mode ~= "one" then return true end
  local seen = {}
  for _, address in ipairs(addresses) do
    local number = family.of(address)
    if wanted.mode == "one" and number ~= wanted.order[1] then
      return nil, ("%s is %s, but the Service is %s only"):format(address, NAMES[number], NAMES[wanted.order[1]])
    end
    seen[number] = true
  end
  if wanted.mode == "any" and seen[4] and seen[6] then
    return nil, "addresses of both families, but the Service is single stack"
  end
  if wanted.mode == "require" and not (seen[4] and seen[6]) then
    return nil, ("RequireDualStack needs both families, but %s is missing"):format(seen[4] and "IPv6" or "IPv4")
  end
  return true
end

return family
