--- Who announces which group: the rules of ownership, pure (clock, sending and announcing come in as arguments).
--
-- A claim is `{term, node}`; the highest one heard wins, everywhere (term first, then rendezvous rank, then name).
-- Only a node says that it cannot serve; only silence says that it is dead; a higher claim heard is always obeyed.
-- README.md in this folder has the rules, their reasons and what simulation shows of them.
-- @module moonlb.announcer.claims
local hash = require("moonlb.announcer.hash")
local statements = require("moonlb.announcer.statements")

local claims = {
  TICK = 0.100, -- a frame at least this often
  SILENT = 0.300, -- no frame for longer: not alive
  VOUCH = 0.150, -- a peer heard within this is vouched for
  GAP = 0.250, -- no look at the clock for longer: we slept, and know nothing
  QUIET_START = 0.500, -- listen this long before claiming, after a start
  QUIET_WAKE = 0.250, -- the same after a gap
  STAGGER = 0.060, -- the n-th candidate waits n times this
  MAX_RELAYS = 24, -- other nodes' claims repeated in one frame, at most
  REPEATS = 3, -- frames that carry a change
  FORGET = 600, -- a peer silent for longer, and without a claim, is forgotten
  ONE_FRAME = 32, -- a node with so few statements says them all in each frame
}

local Claims = { __name = "moonlb.announcer.claims" }
Claims.__index = Claims

--- A node that knows nothing yet. It claims nothing until `start` was called and `QUIET_START` went by.
-- @tparam table options
--   `me` node name; `send(frame)` put a frame on the wire now; `announce(group, claim)` and `withdraw(group, why)`
--   begin and stop answering; `place(group)` names that the leader ranked first, or nil; `on_claim(group, claim)`
--   (optional) after any change of a claim; `on_rival(group)` (optional): a node with a lower claim announces what we
--   announce, and neighbours may have believed it; `node_id(name)` what a node is in `heard` of frames (its name);
--   `gap`: look for gaps in the calls of `step` (true), or somebody else does and calls `slept` (false); `one_frame`
--   and `quiet_start` in place of ONE_FRAME and QUIET_START
-- @treturn Claims
function claims.new(options)
  local group_hash, forget_hash = hash.memo()
  local node_hash = hash.memo()
  return setmetatable({
    me = options.me,
    send_frame = options.send,
    announce = options.announce,
    withdraw = options.withdraw,
    place = options.place or function() end,
    on_claim = options.on_claim or function() end,
    on_rival = options.on_rival or function() end,
    node_id = options.node_id or function(name) return name end,
    looks_for_gaps = options.gap ~= false,
    quiet_start = options.quiet_start or claims.QUIET_START,
    group_hash = group_hash,
    forget_hash = forget_hash,
    node_hash = node_hash,
    groups = {}, -- group -> true: those we know from the API
    claim = {}, -- group -> {term, node}
    owned = {}, -- node -> {group -> true}: the claims by node
    announcing = {}, -- group -> true
    unwilling = {}, -- group -> true
    mine = statements.new(group_hash),
    peers = {}, -- name -> peer
    open = {}, -- group -> since: nobody announces it as far as we know, or it is ours and idle
    changed = {}, -- own statements still to be repeated: group -> frames left
    relays = {}, -- others' claims to repeat, oldest first
    missing = {}, -- peers whose set we do not know whole -> true: to be asked for in the next frame
    asked = false, -- somebody asked for our whole set
    told_at = -math.huge, -- when that was answered last
    dirty = false,
    sequence = 0,
    one_frame = options.one_frame or claims.ONE_FRAME,
  }, Claims)
end

--- Greater of two claims on a group: by term, then rank, then name.
function Claims:beats(group, a, b)
  if not b then return true end
  if a.term ~= b.term then return a.term > b.term end
  if a.node == b.node then return false end
  local h = self.group_hash(group)
  local rank_a, rank_b = hash.rank(h, self.node_hash(a.node)), hash.rank(h, self.node_hash(b.node))
  if rank_a ~= rank_b then return rank_a > rank_b end
  return a.node > b.node
end

--- A frame from the peer came within SILENT (we ourselves are alive).
function Claims:alive(name, now)
  if name == self.me then return true end
  local peer = self.peers[name]
  return peer ~= nil and now - peer.heard_at <= claims.SILENT
end

--- Not alive, and no living peer vouches for it.
function Claims:dead(name, now)
  if self:alive(name, now) then return false end
  local id = self.node_id(name)
  for _, peer in pairs(self.peers) do
    if now - peer.heard_at <= claims.SILENT and peer.vouches[id] then return false end
  end
  return true
end

-- The same, found out once in a step: nothing is heard while it lasts, and the dead may have had 1,000 groups.
local function is_dead_now(self, name, now)
  local known = self.deaths
  if not known then return self:dead(name, now) end
  if known[name] == nil then known[name] = self:dead(name, now) end
  return known[name]
end

--- Listening: nothing is claimed yet.
function Claims:is_quiet(now)
  return not self.quiet_until or now < self.quiet_until
end

--- Do others see deletions, and we do not? Then our VIPs should go to them.
function Claims:is_behind(now)
  if not self.stale then return false end
  for _, peer in pairs(self.peers) do
    if now - peer.heard_at <= claims.SILENT and not peer.stale then return true end
  end
  return false
end

local function gives_all(self, now)
  return self.leaving or self:is_quiet(now) or self:is_behind(now)
end

-- Whether a node said that it cannot or will not serve a group.
local function gives(self, name, group, now)
  if name == self.me then return self.unwilling[group] or gives_all(self, now) end
  local peer = self.peers[name]
  return peer ~= nil and (peer.gives_all or peer.said.giving[group] or false)
end

-- What we claim of a group that we do not know (any more) is no claim: nobody is to wait for us.
local function say(self, group)
  local claim = self.claim[group]
  local term = claim and claim.node == self.me and self.groups[group] and claim.term or 0
  if self.mine:set(group, term, self.unwilling[group] or false) then
    self.changed[group] = claims.REPEATS
    self.dirty = true
  end
end

local function set_claim(self, group, claim)
  local before = self.claim[group]
  if before and self.owned[before.node] then self.owned[before.node][group] = nil end
  self.claim[group] = claim
  if claim then
    self.owned[claim.node] = self.owned[claim.node] or {}
    self.owned[claim.node][group] = true
  end
  self.on_claim(group, claim)
end

-- A node that lives and whose whole set we know does not claim what we take for its own: the group went and came, for
-- it and not for us, or it lost a claim that we did not hear of.
local function is_disowned(self, group, name)
  local peer = self.peers[name]
  return peer ~= nil and peer.is_known and not peer.said.term[group]
end

-- Nobody announces the group as far as we can tell.
local function is_vacant(self, group, now)
  local claim = self.claim[group]
  if not claim then return true end
  if claim.node == self.me then return not self.announcing[group] end
  return is_dead_now(self, claim.node, now) or gives(self, claim.node, group, now)
    or is_disowned(self, group, claim.node)
end

-- How long a vacancy lasts before we may fill it. What a living node does not claim may be under way to us.
local function patience(self, group, now)
  local claim = self.claim[group]
  if not claim or claim.node == self.me or is_dead_now(self, claim.node, now)
    or gives(self, claim.node, group, now) then
    return 0
  end
  return claims.SILENT
end

-- Put the group on, or take it off, the list of groups that `step` looks at.
local function review(self, group, now)
  if self.groups[group] and not self.announcing[group] and is_vacant(self, group, now) then
    self.open[group] = self.open[group] or now
  else
    self.open[group] = nil
  end
end

local function review_owner(self, name, now)
  for group in pairs(self.owned[name] or {}) do review(self, group, now) end
end

local function stop_announcing(self, group, why)
  self.announcing[group] = nil
  self.withdraw(group, why)
end

-- Repeat another node's claim in one of the next frames.
local function relay(self, group)
  if #self.relays < 10 * claims.MAX_RELAYS then self.relays[#self.relays + 1] = group end
end

--- A claim was heard, or read in the API.
-- @tparam string group
-- @tparam table claim  `{term=, node=}`
-- @tparam number now
-- @tparam[opt] string sender  the node whose frame said it about itself
function Claims:consider(group, claim, now, sender)
  local current = self.claim[group]
  if current and not self:beats(group, claim, current) then
    -- Its sender may announce what we announce: tell it at once, not at the next tick.
    if sender == claim.node and self.announcing[group] and sender ~= self.me then
      self:repeat_claim(group)
      self.on_rival(group)
    elseif sender == current.node and claim.node == sender and claim.term < current.term then
      relay(self, group) -- it forgot (a group that went and came): terms never sink
      self.dirty = true
    end
    return
  end
  local other = claim.node ~= self.me
  -- A record, or hearsay of a node that we do not hear, cannot silence an announcer.
  if other and self.announcing[group] and not self:alive(claim.node, now) then return end
  set_claim(self, group, { term = claim.term, node = claim.node })
  self.open[group] = nil
  if other and self.announcing[group] then
    stop_announcing(self, group, "node " .. claim.node .. " holds a higher claim")
  end
  if other then relay(self, group) end
  say(self, group)
  review(self, group, now)
end

--- Say our claim on a group again in the next frame, and send that frame now.
function Claims:repeat_claim(group)
  self.changed[group] = claims.REPEATS
  self.dirty = true
end

local function new_peer(self)
  return { heard_at = -math.huge, truly_heard_at = -math.huge, vouches = {}, said = statements.new(self.group_hash) }
end

-- Take over what a frame says of its sender's own groups, and ask for the whole where the digest shows a gap.
local function hear_statements(self, name, peer, frame, now)
  local part = frame.whole
  if part and (not peer.whole or peer.whole.id ~= part.id) then
    peer.whole = { id = part.id, parts = {}, left = part.total, seen = {} }
  end
  for _, statement in ipairs(frame.statements) do
    local group, term, giving = statement[1], statement[2], statement[3]
    if peer.said:set(group, term, giving) then review(self, group, now) end
    if term > 0 then
      self:consider(group, { term = term, node = name }, now, name)
    elseif not self.groups[group] and self.claim[group] and self.claim[group].node == name then
      set_claim(self, group, nil) -- a group that is gone, here and there
    end
    if part then peer.whole.seen[group] = true end
  end
  if part and not peer.whole.parts[part.index] then
    peer.whole.parts[part.index] = true
    peer.whole.left = peer.whole.left - 1
    if peer.whole.left == 0 then
      for _, statement in ipairs(peer.said:list()) do
        if not peer.whole.seen[statement[1]] then
          peer.said:set(statement[1], 0, false)
          review(self, statement[1], now)
        end
      end
    end
  end
  local equal = peer.said.digest == frame.digest
  -- The later parts of a whole set, or of the changes, are still under way.
  peer.is_known = equal
  if equal then
    self.missing[name] = nil
  elseif not frame.more and not (part and peer.whole.left > 0) and self.missing[name] == nil then
    self.dirty = true
    self.missing[name] = true
  end
end

--- A frame arrived. The transport has checked its authentication and that it is no replay.
-- @tparam table frame
--   `from`, `digest`, `statements` = list of `{group, term, giving}`, `relays` = list of `{group, term, node}`,
--   `heard` = set of node_id(name), `want` = set of names, `gives_all`, `stale`, `whole` = `{id, index, total}` or nil,
--   `more` = another frame goes on with these statements
-- @tparam number now  seconds, the clock of `step`
function Claims:hear(frame, now)
  local name = frame.from
  local peer = self.peers[name]
  if not peer then
    peer = new_peer(self)
    self.peers[name] = peer
  end
  local was_silent = now - peer.heard_at > claims.SILENT
  peer.heard_at, peer.truly_heard_at = now, now
  peer.vouches = frame.heard
  peer.stale = frame.stale or false
  local gave_all, was_known = peer.gives_all, peer.is_known
  peer.gives_all = frame.gives_all or false
  if frame.want[self.me] then
    self.asked = true
    self.dirty = self.dirty or now - self.told_at > claims.TICK / 2 -- of many that ask at once, one answer
  end
  -- Relays first: a node that yields says to whom in the same frame.
  for _, relayed in ipairs(frame.relays) do
    if relayed[3] ~= name then self:consider(relayed[1], { term = relayed[2], node = relayed[3] }, now) end
  end
  hear_statements(self, name, peer, frame, now)
  if was_silent or gave_all ~= peer.gives_all or was_known ~= peer.is_known then review_owner(self, name, now) end
end

--- A frame arrived that says what the peer's last one said.
-- @tparam string name
-- @tparam number at  when, by the clock of `step`; the past is fine
-- @tparam number now
function Claims:beat(name, at, now)
  local peer = self.peers[name]
  if not peer and now - at > claims.SILENT then return end
  if not peer then -- forgotten: what it says is to be asked for
    peer = new_peer(self)
    self.peers[name], self.missing[name] = peer, true
  end
  if at > peer.truly_heard_at then
    peer.heard_at, peer.truly_heard_at = math.max(at, peer.heard_at), at
  end
end

--- Is any peer alive?
function Claims:has_peers(now)
  for name in pairs(self.peers) do
    if self:alive(name, now) then return true end
  end
  return false
end

--- The API's copy of a claim, for newcomers and people. It never silences an announcer: a node that can be heard says
-- itself what it claims, and says it sooner; one that was cut off a moment ago only seems to be alive.
function Claims:record(group, claim, now)
  if self.announcing[group] and claim.node ~= self.me then return end
  self:consider(group, claim, now)
end

--- Which groups there are. A group that goes is withdrawn.
-- @tparam string group
-- @tparam boolean exists
function Claims:set_group(group, exists, now)
  if exists then
    if not self.groups[group] then
      self.groups[group] = true
      say(self, group)
      review(self, group, now)
    end
    return
  end
  self.groups[group] = nil
  self.open[group] = nil
  self.unwilling[group] = nil
  if self.announcing[group] then stop_announcing(self, group, "the group is gone") end
  set_claim(self, group, nil)
  say(self, group)
  self.changed[group] = self.changed[group] or claims.REPEATS
end

--- Whether we can serve a group. While we announce it we go on until somebody's higher claim is heard.
function Claims:set_willing(group, is_willing, now)
  self.unwilling[group] = not is_willing or nil
  say(self, group)
  review(self, group, now)
end

--- Stop answering for a group though nobody took it over: we cannot serve it, and nobody else wants to.
function Claims:cease(group, why)
  if self.announcing[group] then stop_announcing(self, group, why) end
end

--- Our view of the API is older than 30 s (or is not).
function Claims:set_stale(is_stale)
  self.dirty = self.dirty or self.stale ~= is_stale
  self.stale = is_stale
end

--- Stop being willing for everything (drain, SIGTERM); `false` takes it back.
function Claims:set_leaving(is_leaving)
  self.dirty = self.dirty or self.leaving ~= is_leaving
  self.leaving = is_leaving
end

--- Synced and with a key: listen for QUIET_START, then claim.
function Claims:start(now)
  self.quiet_until = now + self.quiet_start
  self.last_look = now
end

--- Take a group, with a term above all heard. The old owner yields when it hears it.
-- @tparam string group
-- @tparam[opt] integer above  a term that is to be exceeded, too
function Claims:take(group, above)
  local claim = self.claim[group]
  set_claim(self, group, { term = math.max(claim and claim.term or 0, above or 0) + 1, node = self.me })
  self.open[group] = nil
  self.announcing[group] = true
  say(self, group)
  self.announce(group, self.claim[group])
end

--- A planned move to this node, asked for on purpose. Taken with the term after `term`, so that a request is spent by
-- being carried out, and by whatever happened to the group since it was made: it can be heard again without harm.
-- @tparam string group
-- @tparam integer term  of the claim that the request looked at
-- @tparam number now
-- @treturn boolean  true: taken; false: spent, nothing is left to do; or nil, why not yet (for people)
function Claims:move_here(group, term, now)
  local claim = self.claim[group]
  if not claim or not self.groups[group] then return nil, "no node has claimed it yet" end
  if claim.node == self.me or claim.term > term then return false end
  if self.unwilling[group] then return nil, "this node cannot serve it" end
  if gives_all(self, now) then return nil, "this node serves nothing new at present" end
  if not self:alive(claim.node, now) then
    return nil, ("node %s, which holds it, is not heard here"):format(claim.node)
  end
  self:take(group, term)
  return true
end

--- We slept, or our link was down: what we held may be somebody else's by now, and silence was our own.
function Claims:slept(now)
  if not self.quiet_until then return end
  for group in pairs(self.announcing) do stop_announcing(self, group, "the process slept") end
  self.quiet_until = math.max(self.quiet_until, now + claims.QUIET_WAKE)
  self.last_look = now
  self.open = {}
  self.dirty = true
  for _, peer in pairs(self.peers) do
    peer.heard_at = now
    peer.truly_heard_at = -math.huge
  end
  for group in pairs(self.groups) do review(self, group, now) end
end

-- Whether fewer than `limit` candidates stand before us for a group: living, willing, not the old owner. It ends at the
-- first that shows the contrary: with 100 nodes and 1,000 groups of a dead one it has two or three to look at for most.
local function is_our_turn(self, group, now, limit)
  local claim, h = self.claim[group], self.group_hash(group)
  local former, place = claim and claim.node, self.place(group)
  local preferred
  if place then
    preferred = {}
    for position, name in ipairs(place) do preferred[name] = -position end
  end
  local my_preference = preferred and preferred[self.me] or -math.huge
  local my_rank = hash.rank(h, self.node_hash(self.me))
  local before = 0
  for name, peer in pairs(self.peers) do
    if now - peer.heard_at <= claims.SILENT and name ~= former then
      local preference = preferred and preferred[name] or -math.huge
      if preference > my_preference
        or preference == my_preference and hash.rank(h, self.node_hash(name)) > my_rank then
        if not gives(self, name, group, now) then before = before + 1 end
        if before >= limit then return false end
      end
    end
  end
  return true
end

local function serve(self, group, now)
  local claim = self.claim[group]
  if claim and claim.node == self.me then -- ours still: nobody outbid us
    self.announcing[group] = true
    self.open[group] = nil
    self:repeat_claim(group)
    self.announce(group, claim)
    return
  end
  local waited = now - self.open[group] - patience(self, group, now)
  if waited >= 0 and is_our_turn(self, group, now, waited // claims.STAGGER + 1) then self:take(group) end
end

-- A peer's death, and its return, open and close its groups.
local function watch_peers(self, now)
  for name, peer in pairs(self.peers) do
    local is_dead = self:dead(name, now)
    if is_dead ~= peer.was_dead then
      peer.was_dead = is_dead
      review_owner(self, name, now)
    elseif is_dead and now - peer.heard_at > claims.FORGET and not next(self.owned[name] or {}) then
      self.peers[name], self.owned[name], self.missing[name] = nil, nil, nil
    end
  end
  for name in pairs(self.owned) do -- owners that we never heard: known from a record alone
    if name ~= self.me and not self.peers[name] then review_owner(self, name, now) end
  end
end

--- Look at the clock and act. Call it each tick, after each frame and whenever something above changed.
-- @tparam number now  CLOCK_BOOTTIME in seconds
function Claims:step(now)
  if not self.quiet_until then return end
  self.deaths = nil
  if self.looks_for_gaps and now - self.last_look > claims.GAP then self:slept(now) end
  self.last_look = now
  watch_peers(self, now)
  if next(self.open) and not gives_all(self, now) then
    self.deaths = {}
    for group in pairs(self.open) do
      if not is_vacant(self, group, now) then
        self.open[group] = nil
      elseif not self.unwilling[group] then
        serve(self, group, now)
      end
    end
    self.deaths = nil
  end
  if self.dirty then self:send(now) end
end

--- May something be due before the next tick: a peer that is about to count as dead, a turn that is about to come?
function Claims:is_waiting(now)
  if next(self.open) and not gives_all(self, now) then return true end
  for _, peer in pairs(self.peers) do
    local silence = now - peer.heard_at
    if silence > 1.5 * claims.TICK and silence <= claims.SILENT then return true end
  end
  return false
end

local function take_changes(self)
  local list = {}
  for group, left in pairs(self.changed) do
    list[#list + 1] = { group, self.mine.term[group] or 0, self.mine.giving[group] or false }
    self.changed[group] = left > 1 and left - 1 or nil
  end
  return list
end

local function take_relays(self)
  local list, queue = {}, self.relays
  local count = math.min(#queue, claims.MAX_RELAYS)
  for i = 1, count do
    local claim = self.claim[queue[i]]
    if claim and claim.node ~= self.me then list[#list + 1] = { queue[i], claim.term, claim.node } end
  end
  self.relays = table.move(queue, count + 1, #queue, 1, {})
  return list
end

-- Whom to ask for its whole set: in every other frame until it came, since a frame like the one before is not heeded.
local function take_wants(self)
  local want = {}
  for name, is_due in pairs(self.missing) do
    if is_due then want[name] = true end
    self.missing[name] = not is_due
  end
  return want
end

--- Send a frame now; the transport calls it each TICK.
function Claims:send(now)
  self.dirty = false
  self.sequence = self.sequence + 1
  local heard = {}
  for name, peer in pairs(self.peers) do
    if now - peer.truly_heard_at <= claims.VOUCH then heard[name] = true end
  end
  local whole = self.asked or self.mine.count <= self.one_frame
  if self.asked then self.told_at = now end
  self.asked = false
  self.send_frame({
    from = self.me,
    digest = self.mine.digest,
    statements = whole and self.mine:list() or take_changes(self),
    relays = take_relays(self),
    heard = heard,
    want = take_wants(self),
    gives_all = gives_all(self, now),
    stale = self.stale or false,
    whole = whole and { id = self.sequence, index = 1, total = 1 } or nil,
  })
end

return claims
