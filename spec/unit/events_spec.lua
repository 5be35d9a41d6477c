local async = require("moonlb.async")
local events = require("moonlb.kube.events")
local loop = require("spec.support.loop")
local timestamp = require("moonlb.kube.timestamp")

-- A client that keeps what it is given; `answers` are what it says first, in order.
local function new_client(answers)
  local client = { created = {}, patched = {} }
  local function answer()
    async.sleep(0)
    local one = table.remove(answers or {}, 1)
    if one then return nil, one[1], one[2], one[3] end
    return {}
  end
  function client.create(_, path, object)
    client.created[#client.created + 1] = { path = path, object = object }
    return answer()
  end
  function client.merge_patch(_, path, patch)
    client.patched[#client.patched + 1] = { path = path, patch = patch }
    return answer()
  end
  return client
end

local function service(name)
  return { metadata = { namespace = "ns", name = name, uid = "uid-" .. name, resourceVersion = "7" } }
end

local function with(body, answers)
  return loop.test(function()
    local client, clock = new_client(answers), { time = 1000 }
    local recorder = events.new({ client = client, host = "node1", now = function() return clock.time end,
      walltime = function() return 1767225600 + clock.time end })
    body(recorder, client, clock)
  end)
end

local function quiet(recorder)
  loop.until_true(function() return not recorder.is_running end, 10, "all Events are written")
end

describe("events.emit", function()
  it("creates a core/v1 Event beside its object", with(function(recorder, client)
    recorder:emit(service("a"), "Warning", "PoolExhausted", "full")
    quiet(recorder)
    local event = client.created[1].object
    assert.equal("/api/v1/namespaces/ns/events", client.created[1].path)
    assert.same({ apiVersion = "v1", kind = "Service", namespace = "ns", name = "a", uid = "uid-a",
      resourceVersion = "7" }, event.involvedObject)
    assert.same({ "Warning", "PoolExhausted", "full", 1 }, { event.type, event.reason, event.message, event.count })
    assert.same({ component = "moonlb", host = "node1" }, event.source)
    assert.equal("2026-01-01T00:16:40Z", event.firstTimestamp)
  end))

  it("writes one line of at most 1,024 bytes, cut between two characters", with(function(recorder, client)
    recorder:emit(service("a"), "Warning", "PolicyFailed", "x\n" .. ("\u{e4}"):rep(600))
    quiet(recorder)
    local message = client.created[1].object.message
    assert.equal("x " .. ("\u{e4}"):rep(509) .. "...", message)
  end))

  it("counts the same words about the same object in one Event", with(function(recorder, client, clock)
    for _ = 1, 3 do
      recorder:emit(service("a"), "Warning", "PoolExhausted", "full")
      quiet(recorder)
      clock.time = clock.time + 60
    end
    recorder:emit(service("b"), "Warning", "PoolExhausted", "full")
    quiet(recorder)
    assert.equal(2, #client.created)
    assert.equal(2, #client.patched)
    assert.equal(3, client.patched[2].patch.count)
    assert.equal("2026-01-01T00:18:40Z", client.patched[2].patch.lastTimestamp)
    assert.equal("/api/v1/namespaces/ns/events/" .. client.created[1].object.metadata.name, client.patched[2].path)
  end))

  it("writes few Events of a Service that is spoken of all day", with(function(recorder, client, clock)
    for i = 1, 24 * 60 do
      recorder:emit(service("a"), "Warning", "PoolExhausted", "full: " .. i)
      clock.time = clock.time + 60
    end
    quiet(recorder)
    assert.is_true(#client.created <= 25 + 24 * 12 + 1)
    assert.equal(24 * 60, #client.created + recorder.dropped)
  end))

  it("creates anew what the API has forgotten", with(function(recorder, client)
    recorder:emit(service("a"), "Normal", "X", "y")
    quiet(recorder)
    client.merge_patch = function() return nil, "not found", "NotFound", 404 end
    recorder:emit(service("a"), "Normal", "X", "y")
    quiet(recorder)
    assert.equal(2, #client.created)
    assert.equal(2, client.created[2].object.count)
  end))

  it("says it again later when no answer came", with(function(recorder, client)
    recorder:emit(service("a"), "Warning", "X", "y")
    quiet(recorder)
    assert.equal(2, #client.created)
    assert.equal(0, recorder.dropped)
  end, { { "no answer", "ETIMEDOUT" } }))

  it("gives up on what the server refuses", with(function(recorder, client)
    recorder:emit(service("a"), "Warning", "X", "y")
    recorder:emit(service("b"), "Warning", "X", "y")
    quiet(recorder)
    assert.equal(2, #client.created)
    assert.equal(1, recorder.dropped)
  end, { { "forbidden", "Forbidden", 403 } }))

  it("takes an Event that is there already for its own (libcurl repeats a request)", with(function(recorder, client)
    recorder:emit(service("a"), "Warning", "X", "y")
    quiet(recorder)
    assert.equal(1, #client.created)
    assert.equal(0, recorder.dropped)
  end, { { "exists", "AlreadyExists", 409 } }))

  it("keeps a bounded queue, in which Warnings go last", with(function(recorder)
    for i = 1, 3000 do recorder:emit(service("n" .. i), "Normal", "X", "y") end
    local dropped = recorder.dropped
    assert.is_true(dropped >= 1999)
    for i = 1, 3000 do recorder:emit(service("w" .. i), "Warning", "X", "y") end
    assert.equal(dropped, recorder.dropped)
    recorder:stop(0)
  end))

  it("cuts a message at 1,024 bytes", with(function(recorder, client)
    recorder:emit(service("a"), "Normal", "X", ("z"):rep(5000))
    quiet(recorder)
    assert.equal(1024, #client.created[1].object.message)
  end))
end)

describe("events.stop", function()
  it("writes what waits, and nothing after it", with(function(recorder, client)
    recorder:emit(service("a"), "Normal", "X", "y")
    recorder:stop(5)
    recorder:emit(service("b"), "Normal", "X", "y")
    assert.equal(1, #client.created)
    assert.is_false(recorder.is_running)
  end))
end)

describe("events, to be shown", function()
  it("are the latest of all, newest first, each once, and the last one of each object", with(function(recorder)
    for i = 1, 100 do recorder:emit(service("a" .. i), "Normal", "Announcing", "on " .. i) end
    recorder:emit(service("a99"), "Normal", "Announcing", "on 99")
    local latest = recorder:latest(3)
    assert.same({ "on 99", "on 100", "on 98" }, { latest[1].message, latest[2].message, latest[3].message })
    assert.equal(2, latest[1].count)
    local all, seen = recorder:latest(1000), {}
    assert.is_true(#all <= 64)
    for _, entry in ipairs(all) do
      assert.is_nil(seen[entry])
      seen[entry] = true
    end
    assert.equal("on 7", recorder:about("Service", "ns/a7").message)
    assert.is_nil(recorder:about("Service", "ns/never"))
    assert.equal(101, recorder.counts["Normal Announcing"])
    quiet(recorder)
  end))
end)

describe("a clock that is wrong", function()
  local function skewed(seconds)
    return function(recorder, client)
      function client.create()
        return { metadata = { creationTimestamp = timestamp.format(recorder.walltime() - seconds) } }
      end
      recorder:emit(service("a"), "Normal", "Announcing", "on eth0")
      quiet(recorder)
      assert.is_true(math.abs(recorder.skew - seconds) <= 1)
      assert.equal(math.abs(seconds) > 5, recorder.is_skewed)
    end
  end

  it("is told from one that is right by what the server writes into a new Event", with(skewed(2)))
  it("is ahead", with(skewed(3600)))
  it("is behind", with(skewed(-86400)))

  it("is not guessed from an answer without a time", with(function(recorder)
    recorder:emit(service("a"), "Normal", "Announcing", "on eth0")
    quiet(recorder)
    assert.is_nil(recorder.skew)
  end))
end)
