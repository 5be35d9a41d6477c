--- The flight recorder: the last few thousand decisions, state changes and Events of this process, in a ring of fixed
-- size. There is one a process, as there is one log; frames are in a ring of their own (moonlb.core.pulse).
-- @module moonlb.recorder
local runtime = require("moonlb.core.runtime")

local recorder = {}

--- How many entries are kept.
recorder.SIZE = 4096
--- A text in an entry is cut there, in bytes: the ring is bounded in memory, too.
recorder.LONGEST = 1024

local ring, last = {}, 0

local function cut(value)
  if type(value) == "string" and #value > recorder.LONGEST then return value:sub(1, recorder.LONGEST) end
  return value
end

--- Enter something that happened now.
-- @tparam string kind  `decision`, `vip`, `owner`, `leader`, `event`, `error`
-- @tparam string subject  a Service's key, an address, or another name
-- @tparam table values  becomes the entry: takes `sequence` (from 1), `at` (seconds since 1970), `boottime`, `kind`,
--   `subject`. A `trace` is kept as it is, since decisions are made anew and never changed
function recorder.note(kind, subject, values)
  for name, value in pairs(values) do values[name] = cut(value) end
  last = last + 1
  values.sequence, values.kind, values.subject = last, kind, cut(subject)
  values.at, values.boottime = runtime.walltime(), runtime.boottime()
  ring[(last - 1) % recorder.SIZE + 1] = values
end

--- Entries behind a number, oldest first; those that the ring has lost are left out.
-- @tparam integer sequence  0: from the oldest on
-- @tparam[opt] integer limit
-- @treturn table  entries
-- @treturn integer  the number to go on with
function recorder.since(sequence, limit)
  local first = math.max(sequence + 1, last - recorder.SIZE + 1, 1)
  local final = math.min(last, first + (limit or recorder.SIZE) - 1)
  local entries = {}
  for i = first, final do entries[#entries + 1] = ring[(i - 1) % recorder.SIZE + 1] end
  return entries, math.max(final, sequence)
end

--- The last entries about a Service or its addresses, oldest first.
-- @tparam string key
-- @tparam table|nil addresses
-- @tparam integer count  at most
function recorder.of(key, addresses, count)
  local is_about, found = { [key] = true }, {}
  for _, ip in ipairs(addresses or {}) do is_about[ip] = true end
  for i = last, math.max(1, last - recorder.SIZE + 1), -1 do
    local entry = ring[(i - 1) % recorder.SIZE + 1]
    if is_about[entry.subject] then table.insert(found, 1, entry) end
    if #found == count then break end
  end
  return found
end

--- Forget everything.
function recorder.clear()
  ring, last = {}, 0
end

return recorder
