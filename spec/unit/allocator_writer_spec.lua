local json = require("moonlb.json")
local loop = require("spec.support.loop")
local writer = require("moonlb.allocator.writer")

local PATCH = { metadata = { resourceVersion = "5", annotations = { ["moonlb.io/assigned"] = "10.0.0.1 default/x" } } }
local RESULT = { reserve = true, patch = PATCH, decision = { action = "assign", addresses = { "10.0.0.1" } } }

local function service(version, assigned)
  return { metadata = { namespace = "ns", name = "a", resourceVersion = version,
    annotations = { ["moonlb.io/assigned"] = assigned } } }
end

-- A writer whose client answers what is prepared, in order; `log` tells what it did.
local function with(answers, body, may_write)
  return loop.test(function()
    local log = {}
    local function act(name) return function(_, key) log[#log + 1] = name .. (key and " " .. key or "") end end
    local function answer(what)
      log[#log + 1] = what
      local one = table.remove(answers, 1)
      if one.metadata then return one end
      return nil, "the message", one[1], one[2]
    end
    local it = writer.new({
      client = { get = function() return answer("GET") end, merge_patch = function() return answer("PATCH") end },
      engine = { reserve = act("reserve"), release = act("release") },
      services = { forget = act("forget"), absorb = function(_, object)
        log[#log + 1] = "absorb " .. object.metadata.resourceVersion
      end },
      may_write = function() return may_write ~= false end,
      on_written = function() log[#log + 1] = "written" end,
    })
    body(it, log)
  end)
end

describe("Writer.write", function()
  it("reserves, writes, and takes the answer into the store", with({ service("6", "10.0.0.1 default/x") },
    function(it, log)
      assert.is_true(it:write("ns/a", RESULT))
      assert.same({ "reserve ns/a", "PATCH", "written", "absorb 6", "release ns/a" }, log)
    end))

  it("writes nothing when it does not lead any more", with({}, function(it, log)
    assert.equal("NotLeading", select(3, it:write("ns/a", RESULT)))
    assert.same({ "reserve ns/a", "release ns/a" }, log)
  end, false))

  it("releases what was refused: 422, 403, 400, no connection", function()
    for _, refusal in ipairs({ { "Invalid", 422 }, { "Forbidden", 403 }, { "BadRequest", 400 }, { "ECONNREFUSED" } }) do
      with({ refusal }, function(it, log)
        assert.equal(refusal[1], select(3, it:write("ns/a", RESULT)))
        assert.same({ "reserve ns/a", "PATCH", "release ns/a" }, log)
        assert.is_nil(it.doubts["ns/a"])
      end)()
    end
  end)

  it("forgets a Service that is gone", with({ { "NotFound", 404 } }, function(it, log)
    assert.is_true(it:write("ns/a", RESULT))
    assert.same({ "reserve ns/a", "PATCH", "release ns/a", "forget ns/a" }, log)
  end))

  it("reads what somebody else wrote first, and asks to decide anew", with({ { "Conflict", 409 }, service("7") },
    function(it, log)
      assert.equal("Conflict", select(3, it:write("ns/a", RESULT)))
      assert.same({ "reserve ns/a", "PATCH", "GET", "absorb 7", "release ns/a" }, log)
    end))

  it("keeps the reservation while the fate of the write is unknown", function()
    for _, trouble in ipairs({ { "ETIMEDOUT" }, { "ECONNRESET" }, { "InternalError", 500 }, { "HTTP502", 502 } }) do
      with({ trouble }, function(it, log)
        assert.is_nil((it:write("ns/a", RESULT)))
        assert.same({ "reserve ns/a", "PATCH" }, log)
        assert.equal(PATCH, it.doubts["ns/a"].patch)
      end)()
    end
  end)
end)

describe("Writer.settle", function()
  local function doubting(answers, body)
    table.insert(answers, 1, { "ETIMEDOUT" })
    return with(answers, function(it, log)
      it:write("ns/a", RESULT)
      for i = #log, 1, -1 do log[i] = nil end
      body(it, log)
    end)
  end

  it("has nothing to do without a doubt", with({}, function(it) assert.is_true(it:settle("ns/a")) end))

  it("finds that the write was carried out", doubting({ service("6", "10.0.0.1 default/x") }, function(it, log)
    assert.is_true(it:settle("ns/a"))
    assert.same({ "GET", "written", "absorb 6", "release ns/a" }, log)
  end))

  it("finds that somebody else wrote", doubting({ service("6") }, function(it, log)
    assert.is_true(it:settle("ns/a"))
    assert.same({ "GET", "absorb 6", "release ns/a" }, log)
  end))

  it("sends the very same write again when nothing has changed", doubting({ service("5"),
    service("6", "10.0.0.1 default/x") }, function(it, log)
      assert.is_true(it:settle("ns/a"))
      assert.same({ "GET", "PATCH", "written", "absorb 6", "release ns/a" }, log)
      assert.is_nil(it.doubts["ns/a"])
    end))

  it("goes on doubting while the API cannot be asked", doubting({ { "ETIMEDOUT" } }, function(it, log)
    assert.is_nil((it:settle("ns/a")))
    assert.same({ "GET" }, log)
    assert.is_table(it.doubts["ns/a"])
  end))
end)

describe("Writer.clear_status", function()
  it("takes the ingress away, and does not mind a Service that is gone", with({ { "NotFound", 404 } }, function(it)
    local sent
    it.client.merge_patch = function(_, path, patch)
      sent = path .. " " .. json.encode(patch)
      return nil, "not found", "NotFound", 404
    end
    assert.is_true(it:clear_status("ns/a"))
    assert.equal('/api/v1/namespaces/ns/services/a/status {"status":{"loadBalancer":{"ingress":null}}}', sent)
  end))
end)
