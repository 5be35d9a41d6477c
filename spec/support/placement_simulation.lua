--- A deterministic simulation of many nodes: the real placement rules (moonlb.announcer.claims) on a virtual clock,
-- over a network that loses, delays and parts, with nodes that crash, sleep and drain, and an API that goes away.
--
-- `simulation.run(seed, options)` plays one random history and returns what went wrong: nothing, or a list of
-- violations with the history that led there. The same seed plays the same history.
local balance = require("moonlb.announcer.balance")
local claims = require("moonlb.announcer.claims")
local hash = require("moonlb.announcer.hash")

local simulation = {}

local STEP = 0.010 -- seconds; the grain of the clock
local DUAL_LIMIT = 0.200 -- two announcers that hear each other, at most
local VACANT_LIMIT = 0.800 -- nobody although a node could, faults coinciding
local HEALING = 5 -- seconds without faults at the end
local STALE = 3 -- a view of the API that is older counts as stale (30 s in moonlb.announcer.peers)

local Sim = {}
Sim.__index = Sim

local function random_source(seed)
  local counter = hash.mix(seed)
  local function next_integer()
    counter = counter + 0x9e3779b97f4a7c15
    return hash.mix(counter) >> 11
  end
  return {
    number = function() return next_integer() / (1 << 53) end,
    below = function(n) return next_integer() % n + 1 end,
  }
end

function Sim:pick(list) return list[self.random.below(#list)] end

-- Frames ----------------------------------------------------------------------------------------------------------

local function edge(a, b) return a .. ">" .. b end

function Sim:deliver(from, frame)
  local cut, number, air, loss = self.cut, self.random.number, self.air, self.loss
  for _, node in ipairs(self.nodes) do
    if node ~= from and not cut[from.edges[node]] and (loss == 0 or number() >= loss) then
      local at = self.tick + self:pick(self.delays)
      local arrivals = air[at]
      if not arrivals then
        arrivals = {}
        air[at] = arrivals
      end
      arrivals[#arrivals + 1] = node
      arrivals[#arrivals + 1] = frame
    end
  end
end

function Sim:arrive()
  local arrivals = self.air[self.tick]
  if not arrivals then return end
  self.air[self.tick] = nil
  for i = 1, #arrivals, 2 do
    local node = arrivals[i]
    if node.up then node.inbox[#node.inbox + 1] = arrivals[i + 1] end
  end
end

-- Nodes -----------------------------------------------------------------------------------------------------------

function Sim:boot(node)
  node.up, node.asleep_until, node.announcing, node.inbox = true, 0, {}, {}
  node.next_tick = self.now + self.random.below(10) * STEP
  node.booted_at, node.leaving, node.unwilling = self.now, false, {}
  node.read_at, node.known = self.now, {}
  node.claims = claims.new({
    me = node.name,
    one_frame = self.one_frame,
    send = function(frame) self:deliver(node, frame) end,
    announce = function(group) node.announcing[group] = true end,
    withdraw = function(group) node.announcing[group] = nil end,
    place = function(group) return node.up and self.place[group] end,
  })
  node.claims:start(self.now)
  self:read_groups(node)
end

-- Which groups there are, as the API says now.
function Sim:read_groups(node)
  for _, group in ipairs(self.groups) do
    local exists = not self.gone[group]
    if exists ~= (node.known[group] or false) then
      node.known[group] = exists
      node.claims:set_group(group, exists, self.now)
    end
  end
end

local function api_reachable(self, node) return not self.api_down and not self.api_cut[node.name] end

function Sim:read_api(node)
  node.claims:set_stale(self.now - node.read_at > STALE)
  if not api_reachable(self, node) or self.now < (node.next_read or 0) then return end
  node.next_read = self.now + 0.04 + node.index * 0.037 % 0.2
  node.read_at = self.now
  self:read_groups(node)
  for _, group in ipairs(self.groups) do
    local record, move = self.record[group], self.move[group]
    if record then node.claims:record(group, record, self.now) end
    if move and move.node == node.name then node.claims:move_here(group, move.term, self.now) end
  end
  for _, group in ipairs(self.groups) do
    local willing = not self.unqualified[group .. node.name]
    if willing == (node.unwilling[group] or false) then
      node.unwilling[group] = not willing
      node.claims:set_willing(group, willing, self.now)
    end
  end
end

function Sim:write_api(node)
  if not api_reachable(self, node) or self.random.number() > 0.3 then return end
  for group in pairs(node.announcing) do
    local claim = node.claims.claim[group]
    if claim and claim.node == node.name and not self.gone[group]
      and node.claims:beats(group, claim, self.record[group]) then
      self.record[group] = claim
    end
  end
end

function Sim:step_node(node)
  if not node.up or self.now < node.asleep_until then return end
  local inbox = node.inbox
  -- As the daemon does: a look when a frame came, at each tick, and sooner while there is something to wait for.
  local has_frames, is_due = inbox[1] ~= nil, self.now >= node.next_tick
  if not (has_frames or is_due or node.is_stirred) and not node.claims:is_waiting(self.now) then return end
  if self.random.number() < 0.03 then return end -- the scheduler lets it wait
  if has_frames then node.inbox = {} end
  node.is_stirred = false
  -- The look at the clock comes before anything else: a node that slept must not act on what waited for it.
  node.claims:step(self.now)
  for _, frame in ipairs(inbox) do node.claims:hear(frame, self.now) end
  self:read_api(node)
  node.claims:step(self.now)
  self:write_api(node)
  if is_due then
    node.next_tick = math.max(node.next_tick + claims.TICK, self.now + claims.TICK / 2)
    node.claims:send(self.now)
  end
end

-- Faults ----------------------------------------------------------------------------------------------------------

function Sim:log(text, ...)
  self.history[#self.history + 1] = ("%6.2f %s"):format(self.now, text:format(...))
end

function Sim:later(seconds, undo) self.undo[#self.undo + 1] = { at = self.now + seconds, run = undo } end

function Sim:sever(edges, seconds, text)
  local cut = {}
  for _, e in ipairs(edges) do
    if not self.cut[e] then
      self.cut[e] = true
      cut[#cut + 1] = e
    end
  end
  self:log("%s for %.1f s", text, seconds)
  self:later(seconds, function()
    for _, e in ipairs(cut) do self.cut[e] = nil end
  end)
end

local faults = {}

function faults.crash(self, node, seconds)
  if not node.up then return end
  self:log("%s crashes, back in %.1f s", node.name, seconds)
  node.up, node.announcing = false, {}
  self:later(seconds, function() self:boot(node) end)
end

function faults.pause(self, node, seconds)
  if not node.up then return end
  self:log("%s sleeps %.1f s", node.name, seconds)
  node.asleep_until = self.now + seconds
end

function faults.partition(self, _, seconds)
  local edges, side = {}, {}
  for _, n in ipairs(self.nodes) do side[n.name] = self.random.number() < 0.5 end
  for _, a in ipairs(self.nodes) do
    for _, b in ipairs(self.nodes) do
      if side[a.name] ~= side[b.name] then edges[#edges + 1] = edge(a.name, b.name) end
    end
  end
  self:sever(edges, seconds, "partition")
end

function faults.isolate(self, node, seconds)
  local edges = {}
  for _, other in ipairs(self.nodes) do
    edges[#edges + 1] = edge(node.name, other.name)
    edges[#edges + 1] = edge(other.name, node.name)
  end
  self:sever(edges, seconds, node.name .. " is isolated")
end

function faults.one_way(self, node, seconds)
  local edges = {}
  local all = self.random.number() < 0.5
  for _, other in ipairs(self.nodes) do
    if other ~= node and (all or #edges == 0) then edges[#edges + 1] = edge(node.name, other.name) end
  end
  self:sever(edges, seconds, "one-way loss from " .. node.name)
end

function faults.link(self, node, seconds)
  local other = self:pick(self.nodes)
  if other == node then return end
  self:sever({ edge(node.name, other.name), edge(other.name, node.name) }, seconds,
    "link " .. node.name .. "-" .. other.name)
end

function faults.api(self, _, seconds)
  self:log("the API is away %.1f s", seconds)
  self.api_down = true
  self:later(seconds, function() self.api_down = false end)
end

function faults.api_of_one(self, node, seconds)
  self:log("%s cannot reach the API for %.1f s", node.name, seconds)
  self.api_cut[node.name] = true
  self:later(seconds, function() self.api_cut[node.name] = nil end)
end

function faults.qualification(self, node, seconds)
  local group = self:pick(self.groups)
  self:log("%s cannot serve %s for %.1f s", node.name, group, seconds)
  self.unqualified[group .. node.name] = true
  self:later(seconds, function() self.unqualified[group .. node.name] = nil end)
end

function faults.group(self, _, seconds)
  local group = self:pick(self.groups)
  self:log("%s is no more for %.1f s", group, seconds)
  self.gone[group], self.record[group], self.move[group] = true, nil, nil
  self.existed_at[group] = self.now + seconds
  self:later(seconds, function()
    self.gone[group] = nil
    self.existed_at[group] = self.now
  end)
end

function faults.place(self, node)
  local group = self:pick(self.groups)
  self:log("%s is to be on %s first", group, node.name)
  self.place[group] = { node.name }
end

local function ask_to_move(self, group, name)
  local record = self.record[group]
  if not record or record.node == name then return end
  self:log("%s is asked to move from %s to %s", group, record.node, name)
  self.move[group] = { node = name, term = record.term }
end

function faults.move(self, node) ask_to_move(self, self:pick(self.groups), node.name) end

-- All at once, and by what the API says alone: `moonlb rebalance` is gentler.
function faults.rebalance(self)
  local names, list = {}, {}
  for i, node in ipairs(self.nodes) do names[i] = node.name end
  for i, group in ipairs(self.groups) do
    list[i] = { id = group, node = self.record[group] and self.record[group].node }
  end
  for _, step in ipairs(balance.plan(list, names)) do ask_to_move(self, step.group.id, step.to) end
end

function faults.drain(self, node, seconds)
  if not node.up then return end
  self:log("%s drains for %.1f s", node.name, seconds)
  node.leaving, node.is_stirred = true, true
  node.claims:set_leaving(true)
  local drained = node.claims
  self:later(seconds, function()
    if node.claims == drained then
      node.leaving, node.is_stirred = false, true
      drained:set_leaving(false)
    end
  end)
end

local fault_names = {}
for name in pairs(faults) do fault_names[#fault_names + 1] = name end
table.sort(fault_names)

function Sim:play_faults()
  local due = self.undo
  self.undo = {}
  for _, entry in ipairs(due) do
    if entry.at <= self.now or self.now >= self.calm_at then
      entry.run()
    else
      self.undo[#self.undo + 1] = entry
    end
  end
  if self.now >= self.calm_at then
    for _, node in ipairs(self.nodes) do node.asleep_until = math.min(node.asleep_until, self.now) end
  elseif self.now >= self.next_fault then
    self:next()
  end
end

-- Each fault has a source of chance of its own: a history without one of them has the others as they were.
function Sim:next()
  self.fault_count = self.fault_count + 1
  local network = self.random
  self.random = random_source(self.seed * 4093 + self.fault_count)
  self.next_fault = self.now + self:pick(self.pauses)
  local name, node, seconds = self:pick(self.faults), self:pick(self.nodes), self:pick({ 0.1, 0.4, 1, 3, 8 })
  if not self.skip[self.fault_count] then faults[name](self, node, seconds) end
  self.random = network
end

-- Invariants ------------------------------------------------------------------------------------------------------

function Sim:violate(text, ...)
  self.violations[#self.violations + 1] = ("%6.2f %s"):format(self.now, text:format(...))
  self:log("VIOLATION " .. text, ...)
end

local function runs(self, node) return node.up and self.now >= node.asleep_until end

function Sim:check_dual(group, holders)
  local since = self.dual[group]
  if #holders < 2 then
    if next(since) then self.dual[group] = {} end
    return
  end
  local seen = {}
  for i, a in ipairs(holders) do
    for j = i + 1, #holders do
      local b = holders[j]
      local key = a.edges[b]
      if not self.cut[key] and not self.cut[b.edges[a]] then
        seen[key] = since[key] or self.now
        local lasts = self.now - seen[key]
        if lasts > self.worst_dual and lasts < math.huge then self.worst_dual = lasts end
        if lasts > DUAL_LIMIT + STEP / 2 then
          self:violate("%s and %s both announce %s", a.name, b.name, group)
          seen[key] = math.huge
        end
      end
    end
  end
  self.dual[group] = seen
end

function Sim:could_serve(node, group)
  return runs(self, node) and not node.unwilling[group] and not node.leaving and not node.claims.stale
    and node.known[group] and self.now - (self.existed_at[group] or -1) > 1
    and self.now - (node.unstable_at or 0) > 1 and self.now - node.booted_at > 1
end

function Sim:check_vacant(group, holders)
  if holders[1] then
    self.vacant[group] = nil
    return
  end
  local can = false
  for _, node in ipairs(self.nodes) do can = can or self:could_serve(node, group) end
  if not can then
    self.vacant[group] = nil
    return
  end
  self.vacant[group] = self.vacant[group] or self.now
  local lasts = self.now - self.vacant[group]
  self.worst_vacancy = math.max(self.worst_vacancy, lasts)
  if lasts > VACANT_LIMIT + STEP / 2 then
    self:violate("nobody announces %s", group)
    self.vacant[group] = math.huge
  end
end

function Sim:check()
  for _, node in ipairs(self.nodes) do
    node.runs = runs(self, node)
    if not node.runs then node.unstable_at = self.now end
  end
  local holders = self.holders
  for _, group in ipairs(self.groups) do
    local count = 0
    for _, node in ipairs(self.nodes) do
      if node.runs and node.announcing[group] then
        count = count + 1
        holders[count] = node
      end
    end
    for i = count + 1, #holders do holders[i] = nil end
    self:check_dual(group, holders)
    self:check_vacant(group, holders)
    if #holders == 1 and self.holder[group] ~= holders[1].name then
      self.moves = self.moves + (self.holder[group] and 1 or 0)
      self.holder[group] = holders[1].name
    end
  end
end

-- Some seconds after the last fault: one owner each, the same claim everywhere, and the record says the same.
function Sim:check_healed()
  for _, group in ipairs(self.groups) do
    local holders, views = {}, {}
    for _, node in ipairs(self.nodes) do
      if node.announcing[group] then holders[#holders + 1] = node.name end
      local claim = node.claims.claim[group]
      views[claim and claim.term .. "/" .. claim.node or "none"] = true
    end
    local view = next(views)
    if #holders ~= 1 then self:violate("%s has %d owners after healing", group, #holders) end
    if next(views, view) then self:violate("nodes differ about %s after healing", group) end
    local record = self.record[group]
    if not record or record.node ~= holders[1] then self:violate("the record of %s is not its owner", group) end
  end
end

--- Play one history.
-- @tparam integer seed
-- @tparam[opt] table options  `nodes` (2 + seed mod 5), `groups` (4), `seconds` (60), `faults` (all),
--   `pauses` between faults (seconds), `skip` (set of numbers of faults that do not happen), `loss` (random),
--   `delays` of a frame in steps (1 to 3), `one_frame`
-- @treturn table  `violations` (list of text), `history`, `moves`, `faults`, `worst_dual`, `worst_vacancy` (seconds)
function simulation.run(seed, options)
  options = options or {}
  local self = setmetatable({
    random = random_source(seed), now = 0, tick = 0, nodes = {}, groups = {}, air = {}, cut = {}, record = {},
    api_cut = {}, unqualified = {}, undo = {}, gone = {}, existed_at = {}, place = {},
    move = {}, holders = {},
    history = {}, violations = {}, dual = {}, vacant = {}, holder = {},
    next_fault = 1.5, fault_count = 0, seed = seed, skip = options.skip or {},
    pauses = options.pauses or { 0.3, 0.8, 1.5, 3, 5 }, moves = 0, worst_dual = 0, worst_vacancy = 0,
    faults = options.faults or fault_names, delays = options.delays or { 1, 1, 1, 1, 2, 3 },
    one_frame = options.one_frame,
  }, Sim)
  local seconds = options.seconds or 60
  self.calm_at = seconds - HEALING
  self.loss = options.loss or self:pick({ 0, 0, 0.005, 0.02 })
  for i = 1, options.groups or 4 do
    self.groups[i] = "group-" .. i
    self.dual[self.groups[i]] = {}
  end
  for i = 1, options.nodes or 2 + seed % 5 do self.nodes[i] = { name = "node-" .. i, index = i, edges = {} } end
  for _, a in ipairs(self.nodes) do
    for _, b in ipairs(self.nodes) do a.edges[b] = edge(a.name, b.name) end
  end
  for _, node in ipairs(self.nodes) do self:boot(node) end
  for tick = 0, math.floor(seconds / STEP) do
    self.tick, self.now = tick, tick * STEP
    self:arrive()
    self:play_faults()
    if options.each_step then options.each_step(self) end
    for _, node in ipairs(self.nodes) do self:step_node(node) end
    self:check()
  end
  self:check_healed()
  return {
    violations = self.violations, history = self.history, moves = self.moves, faults = self.fault_count,
    worst_dual = self.worst_dual, worst_vacancy = self.worst_vacancy, sim = self,
  }
end

--- Of a history that goes wrong, leave out every fault that it does not need for that.
-- @tparam integer seed
-- @tparam[opt] table options  of `run`
-- @treturn table|nil  the result of the shortest found; nil when nothing goes wrong
function simulation.minimise(seed, options)
  local skip, tried = {}, { skip = {} }
  for key, value in pairs(options or {}) do tried[key] = value end
  local best = simulation.run(seed, tried)
  if not best.violations[1] then return nil end
  local is_shorter = true
  while is_shorter do
    is_shorter = false
    for number = 1, best.faults do
      if not skip[number] then
        tried.skip = { [number] = true }
        for other in pairs(skip) do tried.skip[other] = true end
        local result = simulation.run(seed, tried)
        if result.violations[1] then
          best, skip, is_shorter = result, tried.skip, true
        end
      end
    end
  end
  return best
end

--- How many histories of which kind `make test` plays, by name. HISTORIES in the environment multiplies by hand.
simulation.kinds = {
  ["random faults"] = { count = 2500, options = { seconds = 14, pauses = { 0.2, 0.4, 0.8, 1.5, 3 } } },
  ["digests alone"] = { count = 800,
    options = { seconds = 12, pauses = { 0.2, 0.4, 0.8, 1.5, 3 }, one_frame = 0, delays = { 1 } } },
  ["long histories"] = { count = 40, options = { seconds = 60 } },
}

return simulation
