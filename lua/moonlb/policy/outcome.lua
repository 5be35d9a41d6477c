--- Outcomes that came from another process: taken apart and put together anew, so that only what is expected is left,
-- of the expected type and size. Whether the addresses may be given is judged later, by the host.
-- @module moonlb.policy.outcome
local clean = require("moonlb.clean")

local outcome = {}

local MAX_REASON, MAX_NAME, MAX_TRACE, MAX_LOG, MAX_EXHAUSTED, MAX_ADDRESSES = 500, 63, 64, 8, 8, 33
local MAX_COUNT = 2.0 ^ 136

local RESULTS = { use = true, share = true, dhcp = true, refuse = true, pass = true, error = true }

local function text(value, limit)
  return type(value) == "string" and clean.line(value, limit) or nil
end

-- A rule's name is written into an annotation.
local function name(value)
  return type(value) == "string" and #value <= MAX_NAME and value:find("^[%w_.-]+$") and value or nil
end

-- How many addresses: none, or at the most all of IPv6 in some sources.
local function count(value)
  return type(value) == "number" and value >= 0 and value <= MAX_COUNT and math.floor(value) or nil
end

local function list(value, limit, read)
  local result = {}
  if type(value) ~= "table" then return result end
  for i = 1, math.min(rawlen(value), limit) do
    local item = read(rawget(value, i))
    if item ~= nil then result[#result + 1] = item end
  end
  return result
end

local function trace_entry(entry)
  if type(entry) ~= "table" or not RESULTS[entry.result] then return nil end
  return { rule = name(entry.rule) or "?", result = entry.result, reason = text(entry.reason, MAX_REASON) }
end

local function exhausted_entry(entry)
  if type(entry) ~= "table" then return nil end
  local pool, used, size = text(entry.pool, MAX_REASON), count(entry.used), count(entry.size)
  if not pool or not used or not size or (entry.family ~= 4 and entry.family ~= 6) then return nil end
  return { pool = pool, family = entry.family, used = used, size = size }
end

-- Items of any type: the host names what is wrong with them.
local function same(value)
  return value
end

--- @param value  what a back end said
-- @tparam string file  of the policy; not the back end's to say
-- @treturn table  an outcome as `trusted.decide` makes it; of kind `error` when it is none
function outcome.sanitize(value, file)
  if type(value) ~= "table" then
    return { kind = "error", reason = "the back end said nothing that is an outcome", file = file, trace = {} }
  end
  local exhausted = list(value.exhausted, MAX_EXHAUSTED, exhausted_entry)
  local log = list(value.log, MAX_LOG, function(line) return text(line, MAX_REASON) end)
  return {
    kind = text(value.kind, MAX_NAME), rule = name(value.rule), file = file,
    line = math.type(value.line) == "integer" and value.line or nil,
    reason = text(value.reason, MAX_REASON) or (value.kind == "error" and "failed without a reason" or nil),
    hostname = text(value.hostname, MAX_NAME),
    addresses = type(value.addresses) == "table" and list(value.addresses, MAX_ADDRESSES, same) or nil,
    trace = list(value.trace, MAX_TRACE, trace_entry), exhausted = exhausted[1] and exhausted or nil,
    log = log[1] and log or nil, is_from_outside = value.is_from_outside == true or nil,
  }
end

return outcome
