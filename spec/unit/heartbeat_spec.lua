local heartbeat = require("moonlb.core.heartbeat")

local CLUSTER = "0b7dcb61-8df9-4b6e-a4b3-5d2a4f1e9c00"
local KEY, OTHER = ("k"):rep(32), ("o"):rep(32)
local MAC = "02:00:00:00:00:01"
local GROUP = heartbeat.id("123e4567-e89b-12d3-a456-426614174000")

local next_nonce = 0

-- A node on the segment; each process has another nonce.
local function process(name, options)
  options = options or {}
  next_nonce = next_nonce + 1
  return heartbeat.segment({ node = name, cluster = options.cluster or CLUSTER, key = options.key or KEY,
    previous = options.previous, nonce = options.nonce or next_nonce })
end

local function say(node, body, now)
  return node:compose(body or { digest = 0 }, now or 0, MAC)[1]
end

-- Two nodes greet each other until both believe.
local function greet(a, b, now)
  for i = 0, 3 do
    b:hear(say(a, nil, now + i / 100), now + i / 100)
    a:hear(say(b, nil, now + i / 100), now + i / 100)
  end
end

describe("heartbeat.id", function()
  it("is a UUID's own bytes, and a hash of anything else", function()
    assert.equal("\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00", GROUP)
    assert.equal(16, #heartbeat.id("uid-web"))
    assert.not_equal(heartbeat.id("uid-web"), heartbeat.id("uid-wec"))
    assert.not_equal(GROUP, heartbeat.id("123E4567-E89B-12D3-A456-426614174000"))
  end)
end)

describe("heartbeat.decode", function()
  local BODY = {
    digest = -2, gives_all = true, stale = true, want = { me = true },
    relays = { { GROUP, 7, "node-b" } }, statements = { { GROUP, 9, true }, { heartbeat.id("x"), 0, false } },
  }

  it("reads what compose wrote", function()
    local frame = assert(heartbeat.decode(say(process("me", { nonce = 5 }), BODY)))
    assert.same({
      from = "me", digest = -2, incarnation = 1, gives_all = true, stale = true, more = false, mac = MAC, heard = {},
      want = { me = true }, relays = BODY.relays, statements = BODY.statements,
    }, frame)
  end)

  it("has these bytes on the wire", function()
    local payload = say(process("me", { nonce = 0x01020304 }), { digest = 0x1122334455667788,
      statements = { { GROUP, 258, true } } })
    local hex = payload:sub(1, -17):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    assert.equal("4d4c4842" .. "01000200", hex:sub(1, 16))
    assert.equal("0b7dcb618df94b6ea4b35d2a4f1e9c00", hex:sub(25, 56))
    assert.equal("00000001" .. "01020304" .. "0000000000000001" .. "1122334455667788", hex:sub(65, 112))
    assert.equal("020000000001" .. "00000001" .. ("00"):rep(10), hex:sub(113, 152))
    assert.equal("6d65" .. "123e4567e89b12d3a456426614174000" .. "8000000000000102", hex:sub(153))
    assert.equal(#hex / 2 + 16, #payload)
  end)

  it("refuses every truncation and every length that is not its lists'", function()
    local payload = say(process("me"), BODY)
    for length = 0, #payload - 1 do
      local frame, message, code = heartbeat.decode(payload:sub(1, length))
      assert.is_nil(frame, length)
      assert.equal("EBADMSG", code)
      assert.matches("^not a heartbeat: ", message)
    end
    assert.is_nil(heartbeat.decode(payload .. "x"))
  end)

  it("reads back any body, in as many parts as the MTU asks for", function()
    local function random_id() return heartbeat.id(tostring(math.random())) end
    for _ = 1, 50 do
      local body = { digest = math.random(0), statements = {}, relays = {}, want = {}, whole_id = 77 }
      for i = 1, math.random(0, 90) do body.statements[i] = { random_id(), math.random(0, 1 << 40), i % 3 == 0 } end
      for i = 1, math.random(0, 20) do body.relays[i] = { random_id(), i, ("n"):rep(math.random(1, 253)) } end
      local most = math.random(1100, 1472)
      local payloads = process("me"):compose(body, 0, MAC, most)
      local statements, relays = {}, {}
      for i, payload in ipairs(payloads) do
        assert.is_true(#payload <= most)
        local frame = assert(heartbeat.decode(payload))
        assert.same({ id = 77, index = i, total = #payloads }, frame.whole)
        table.move(frame.statements, 1, #frame.statements, #statements + 1, statements)
        table.move(frame.relays, 1, #frame.relays, #relays + 1, relays)
      end
      assert.same(body.statements, statements)
      assert.same(body.relays, relays)
    end
  end)

  it("says of parts that are no whole set that more follows", function()
    local body = { digest = 1, statements = {} }
    for i = 1, 60 do body.statements[i] = { heartbeat.id("g" .. i), i, false } end
    local payloads = process("me"):compose(body, 0, MAC)
    for i, payload in ipairs(payloads) do
      assert.equal(i < #payloads, heartbeat.decode(payload).more)
    end
    assert.is_true(#payloads > 1)
  end)
end)

describe("heartbeat.unwrap", function()
  it("finds the payload in a padded frame, and in no frame that lies about its lengths", function()
    local frame = heartbeat.wrap(MAC, 2113, "payload")
    assert.equal("payload", heartbeat.unwrap(frame .. ("\0"):rep(11), 2113))
    assert.is_nil(heartbeat.unwrap(frame, 2114))
    assert.is_nil(heartbeat.unwrap(frame:sub(1, -2), 2113))
    assert.is_nil(heartbeat.unwrap(frame:sub(1, 41), 2113))
    for _, at in ipairs({ 15, 18, 21, 24, 40 }) do -- version, total length, fragment, protocol, UDP length
      local byte = frame:byte(at)
      assert.is_nil(heartbeat.unwrap(frame:sub(1, at - 1) .. string.char(byte ~ 4) .. frame:sub(at + 1), 2113), at)
    end
  end)
end)

describe("segment.hear", function()
  it("believes a peer that echoed our nonce, and from then on by its sequence", function()
    local a, b = process("a"), process("b")
    local first = say(a)
    assert.equal("unproven", (b:hear(first, 0)))
    assert.equal("news", (a:hear(say(b), 0))) -- b echoes a's nonce, a has nothing against it
    local second = say(a)
    assert.equal("news", (b:hear(second, 0)))
    assert.equal("same", (b:hear(say(a), 0.1)))
    assert.equal("replayed", (b:hear(second, 0.2)))
    assert.equal("replayed", (b:hear(first, 0.2)))
  end)

  it("takes what a peer says anew for news, and the same again not", function()
    local a, b = process("a"), process("b")
    greet(a, b, 0)
    local body = { digest = 4, statements = { { GROUP, 1, false } } }
    local verdict, frame = b:hear(say(a, body, 0.1), 0.1)
    assert.equal("news", verdict)
    assert.same({ { GROUP, 1, false } }, frame.statements)
    assert.equal("same", (b:hear(say(a, body, 0.11), 0.11)))
    assert.equal("news", (b:hear(say(a, nil, 0.12), 0.12)))
  end)

  it("hears a restarted peer again once that went above its former incarnation", function()
    local b, recorded = process("b"), {}
    for incarnation = 1, 4 do
      local a = process("a")
      greet(a, b, incarnation)
      assert.equal(incarnation, a:incarnation())
      recorded[incarnation] = say(a, nil, incarnation + 0.1)
      assert.is_true(({ same = true, news = true })[(b:hear(recorded[incarnation], incarnation + 0.1))])
    end
    for incarnation = 1, 3 do
      assert.equal("unproven", (b:hear(recorded[incarnation], 9)))
    end
    assert.equal("replayed", (b:hear(recorded[4], 9)))
  end)

  it("believes no recording after a restart of its own, and the peer goes on", function()
    local a, b = process("a"), process("b")
    greet(a, b, 0)
    local recorded = say(a, { digest = 9 }, 0.5)
    b = process("b")
    assert.equal("unproven", (b:hear(recorded, 1)))
    greet(a, b, 1.1)
    assert.equal("replayed", (b:hear(recorded, 1.2)))
    assert.is_true(({ same = true, news = true })[(b:hear(say(a, nil, 1.3), 1.3))])
  end)

  it("is not made to rise by a recording of its peer's former echo", function()
    local a, b = process("a"), process("b")
    greet(a, b, 0)
    local before = a:incarnation()
    local old_a = say(a, nil, 0.2)
    a:hear(say(b, nil, 0.2), 0.2)
    b:hear(old_a, 0.3)
    b:hear(old_a, 0.3)
    for i = 4, 9 do a:hear(say(b, nil, i / 10), i / 10) end
    assert.equal(before, a:incarnation())
  end)

  it("refuses another key, another cluster, a changed byte, and its own name", function()
    local b = process("b")
    assert.equal("foreign", (b:hear(say(process("a", { key = OTHER })), 0)))
    assert.equal("foreign", (b:hear(say(process("a", { cluster = "other" })), 0)))
    assert.equal("own", (b:hear(say(process("b")), 0)))
    local payload = say(process("a"))
    for at = 33, #payload do
      local changed = payload:sub(1, at - 1) .. string.char(payload:byte(at) ~ 1) .. payload:sub(at + 1)
      local verdict = b:hear(changed, 0)
      assert.is_true(verdict == "forged" or verdict == "bad", at .. ": " .. verdict)
    end
  end)

  it("says whom it heard lately, and echoes nobody who hears it", function()
    local a, b = process("a"), process("b")
    greet(a, b, 0)
    a:hear(say(b, nil, 0.1), 0.1)
    local frame = heartbeat.decode(say(a, nil, 0.2))
    assert.same({ [heartbeat.node_id("b")] = true }, frame.heard)
    assert.same({}, heartbeat.decode(say(a, nil, 0.3)).heard)
    local bare = #say(process("a"), nil, 0)
    assert.equal(bare + 4, #say(a, nil, 0.2))
  end)

  it("stays believed while a key is changed, whoever learns of it first", function()
    local a, b, c = process("a"), process("b"), process("c")
    local nodes, now = { a, b, c }, 0
    local function round(allowed)
      now = now + 0.1
      for _, from in ipairs(nodes) do
        local payload = say(from, nil, now)
        for _, to in ipairs(nodes) do
          local verdict = to ~= from and to:hear(payload, now) or "own"
          assert.is_true(allowed == nil or allowed[verdict], verdict)
        end
      end
    end
    for _ = 1, 4 do round() end
    local steady = { same = true, news = true, own = true }
    for _, node in ipairs(nodes) do
      node:set_keys(OTHER, KEY)
      for _ = 1, 3 do round(steady) end
    end
    for _, node in ipairs(nodes) do
      node:set_keys(OTHER)
      round(steady)
    end
  end)

  it("keeps 256 peers and no more, and makes room when one is silent for a minute", function()
    local b = process("b")
    for i = 1, 256 do assert.equal("unproven", (b:hear(say(process("p" .. i)), i / 1000))) end
    assert.equal("full", (b:hear(say(process("one-more")), 30)))
    assert.equal("unproven", (b:hear(say(process("one-more")), 61)))
    assert.equal(2, b:incarnation())
  end)
end)
