local async = require("moonlb.async")
local lease = require("moonlb.kube.lease")
local loop = require("spec.support.loop")

-- The API server's side of one Lease: optimistic concurrency, a watch, and a count of requests.
local function new_server()
  local server = { version = 0, requests = {}, watches = {}, time = 1000 }
  local function count(what) server.requests[what] = (server.requests[what] or 0) + 1 end
  local function copy()
    local spec = {}
    for name, value in pairs(server.spec) do spec[name] = value end
    return { metadata = { namespace = "ns", name = "l", resourceVersion = tostring(server.version) }, spec = spec }
  end
  local function change(changes)
    server.spec, server.version = server.spec or {}, server.version + 1
    for name, value in pairs(changes) do server.spec[name] = value end
    for watch in pairs(server.watches) do watch.on_event("MODIFIED", copy()) end
    return copy()
  end
  server.change = change
  -- A client over the same server; `is_cut`: nothing gets through.
  function server.client()
    local client = {}
    local function through(what)
      count(what)
      async.sleep(0)
      return not client.is_cut
    end
    function client.get()
      if not through("get") then return nil, "no answer", "ETIMEDOUT" end
      if not server.spec then return nil, "not found", "NotFound" end
      return copy()
    end
    function client.create(_, _, object)
      if not through("create") then return nil, "no answer", "ETIMEDOUT" end
      if server.spec then return nil, "exists", "AlreadyExists" end
      return change(object.spec)
    end
    function client.merge_patch(_, _, patch)
      if not through("patch") then return nil, "no answer", "ETIMEDOUT" end
      if patch.metadata.resourceVersion ~= tostring(server.version) then return nil, "conflict", "Conflict" end
      return change(patch.spec)
    end
    function client.list(_, _, _, on_page)
      if not through("list") then return nil, "no answer", "ETIMEDOUT" end
      on_page(server.spec and { copy() } or {}, tostring(server.version))
      return tostring(server.version)
    end
    function client.watch(_, _, _, on_event)
      local watch = { on_event = on_event }
      server.watches[watch] = true
      function watch.close() server.watches[watch] = nil end
      return watch
    end
    return client
  end
  return server
end

local function with(body)
  return loop.test(function()
    local server, elections = new_server(), {}
    local function join(identity)
      local client = server.client()
      local election = lease.new({ client = client, namespace = "ns", name = "l", identity = identity, duration = 15,
        renew_deadline = 10, retry = 0.02, now = function() return server.time end })
      election.terms = { 0, 0 }
      election.on_start = function() election.terms[1] = election.terms[1] + 1 end
      election.on_stop = function() election.terms[2] = election.terms[2] + 1 end
      election:start()
      elections[#elections + 1] = election
      return election, client
    end
    local ok, err = pcall(body, server, join)
    for _, election in ipairs(elections) do election:stop() end
    if not ok then error(err, 0) end
  end)
end

local function leads(election)
  loop.until_true(function() return election:leading() and election.terms[1] > election.terms[2] end, 5,
    election.identity .. " leads")
end

describe("lease", function()
  it("is created by the first, with a name, a time and a duration", with(function(server, join)
    leads(join("a"))
    assert.equal("a", server.spec.holderIdentity)
    assert.equal(15, server.spec.leaseDurationSeconds)
    assert.equal(0, server.spec.leaseTransitions)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%dZ$", server.spec.renewTime)
    assert.equal(server.spec.acquireTime:sub(1, 10), server.spec.renewTime:sub(1, 10))
  end))

  it("is renewed by its holder without a read, and keeps its acquireTime", with(function(server, join)
    leads(join("a"))
    local acquired, version = server.spec.acquireTime, server.version
    loop.until_true(function() return server.version > version + 2 end, 5, "renewals")
    assert.equal(acquired, server.spec.acquireTime)
    assert.equal(1, server.requests.get)
  end))

  it("is not polled by those who wait", with(function(server, join)
    leads(join("a"))
    local b = join("b")
    loop.until_true(function() return b.store.synced and b:holder() == "a" end)
    local gets, version = server.requests.get, server.version
    loop.until_true(function() return server.version > version + 4 end)
    assert.equal(gets, server.requests.get)
    assert.is_false(b:leading())
  end))

  it("is taken when its holder was not seen to renew for the duration, by our own clock", with(function(server, join)
    server.change({ holderIdentity = "dead", leaseDurationSeconds = 15, leaseTransitions = 4,
      renewTime = "2001-01-01T00:00:00.000000Z" })
    local b = join("b")
    loop.until_true(function() return b:holder() == "dead" and b.store.synced end)
    async.sleep(0.1)
    assert.is_false(b:leading())
    server.time = server.time + 16
    server.change({}) -- a sign of life: the full duration again
    async.sleep(0.1)
    assert.is_false(b:leading())
    server.time = server.time + 16
    b.changed:notify()
    leads(b)
    assert.equal(5, server.spec.leaseTransitions)
  end))

  it("is given back at the end: another takes it at once", with(function(server, join)
    local a = join("a")
    leads(a)
    local b = join("b")
    loop.until_true(function() return b:holder() == "a" and b.store.synced end)
    a:stop()
    assert.same({ 1, 1 }, a.terms)
    leads(b)
    assert.equal(1, server.spec.leaseTransitions)
    assert.equal(15, server.spec.leaseDurationSeconds)
  end))

  it("ends when it could not be renewed in time, while a renewal hangs too", with(function(server, join)
    local a, client = join("a")
    leads(a)
    client.is_cut = true
    server.time = server.time + 9
    assert.is_true(a:leading())
    server.time = server.time + 2
    assert.is_false(a:leading())
    loop.until_true(function() return a.terms[2] == 1 end, 5, "told to stop")
    client.is_cut = false
    leads(a)
  end))

  it("is lost to who took it over", with(function(server, join)
    local a = join("a")
    leads(a)
    server.change({ holderIdentity = "thief", leaseDurationSeconds = 15 })
    loop.until_true(function() return a.terms[2] == 1 end, 5, "told to stop")
    assert.is_false(a:leading())
    assert.equal("thief", server.spec.holderIdentity)
  end))

  it("is given back also when the last renewal was cut off after it was carried out", with(function(server, join)
    local a = join("a")
    leads(a)
    local release = async.run(function() a:stop() end)
    server.version = server.version + 1
    release:join()
    assert.equal("", server.spec.holderIdentity)
  end))
end)

describe("lease.micro_time", function()
  it("has six digits (meta/v1 MicroTime)", function()
    assert.equal("1970-01-01T00:00:01.000000Z", lease.micro_time(1))
    assert.equal("2026-01-01T00:00:00.250000Z", lease.micro_time(1767225600.25))
  end)
end)
