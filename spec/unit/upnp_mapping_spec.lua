local igd = require("moonlb.announcer.upnp.igd")
local loop = require("spec.support.loop")
local async = require("moonlb.async")
local mapping = require("moonlb.announcer.upnp.mapping")
require("moonlb.core.log").configure({ level = "error" })

local UID, OTHER = "11111111-aaaa", "22222222-bbbb"

-- A gateway whose answers are given: `answers[action]` is an array, taken one by one; the last one stays.
local function new_gateway(answers)
  local said = {}
  local driver = {}
  local function act(name, text)
    said[#said + 1] = name .. " " .. text
    async.sleep(0)
    local list = answers[name] or {}
    local answer = #list > 1 and table.remove(list, 1) or list[1]
    if type(answer) == "function" then answer = answer() end
    if type(answer) == "number" then return nil, "error " .. answer, "EREFUSED", answer end
    if type(answer) == "string" then return nil, answer, "ETIMEDOUT" end
    return answer or true
  end
  function driver.add(_, m, port, lease) return act("add", ("%s %d %d"):format(m.protocol, port, lease)) end
  function driver.add_any(_, m, port) return act("any", ("%s %d"):format(m.protocol, port)) end
  function driver.remove(_, m, port) return act("remove", ("%s %d"):format(m.protocol, port)) end
  function driver.find(_, port, protocol) return act("find", ("%s %d"):format(protocol, port)) end
  function driver.can_choose() return true end
  local looks = 0
  return { driver = driver, failures = 0, said = said, look = function() looks = looks + 1 end,
    looked = function() return looks end }
end

local function given(port, lease) return { external_port = port, lease = lease or 3600 } end
local function entry(address, uid, port)
  return { address = address, port = port or 80, description = "moonlb " .. uid }
end

describe("upnp.mapping", function()
  local gateway, states, gone

  local function start(answers, options)
    gateway, states, gone = new_gateway(answers), {}, false
    local fields = { address = "10.0.0.9", family = 4, protocol = "TCP", port = 80, external_port = 8080,
      service = "demo/web", uid = UID, gateway = gateway, lease = 3600,
      name_of = function(uid) return uid == OTHER and "demo/other" or nil end,
      on_change = function(it) states[#states + 1] = it.state .. (it.reason and ": " .. it.reason or "") end,
      on_gone = function() gone = true end }
    for name, value in pairs(options or {}) do fields[name] = value end
    return mapping.new(fields)
  end

  local function until_said(line)
    loop.until_true(function()
      for _, text in ipairs(gateway.said) do if text == line then return true end end
    end, 10, line)
  end

  local function until_state(it, state)
    loop.until_true(function() return it.state == state end, 10, state)
  end

  local function finish(it)
    it:finish()
    loop.until_true(function() return gone end, 10, "gone")
  end

  it("is asked for, and taken back when it is not wanted any more", loop.test(function()
    local it = start({ add = { given(8080) } })
    until_state(it, "mapped")
    assert.is_true(it:is_open())
    finish(it)
    assert.same({ "add TCP 8080 3600", "remove TCP 8080" }, gateway.said)
    assert.same({ "mapped", "removing" }, states)
  end))

  it("is forgotten without a word when the address is another node's", loop.test(function()
    local it = start({ add = { given(8080) } })
    until_state(it, "mapped")
    it:abandon()
    loop.until_true(function() return gone end, 10, "gone")
    assert.same({ "add TCP 8080 3600" }, gateway.said)
  end))

  it("that ends while it is asked for is taken back all the same", loop.test(function()
    local it = start({ add = { function()
      async.sleep(0)
      return given(8080)
    end } })
    until_said("add TCP 8080 3600")
    finish(it)
    assert.same({ "add TCP 8080 3600", "remove TCP 8080" }, gateway.said)
  end))

  it("is taken back with three tries when the gateway does not answer, not again when it refuses", loop.test(function()
    local it = start({ add = { given(8080, 0) }, remove = { "no answer", true } })
    until_state(it, "mapped")
    finish(it)
    assert.same({ "add TCP 8080 3600", "remove TCP 8080", "remove TCP 8080" }, gateway.said)
    it = start({ add = { given(8080) }, remove = { 606 } })
    until_state(it, "mapped")
    finish(it)
    assert.same({ "add TCP 8080 3600", "remove TCP 8080" }, gateway.said)
  end))

  it("names who has the port: a stranger, or a Service", loop.test(function()
    local it = start({ add = { igd.CONFLICT },
      find = { { address = "10.0.0.4", port = 81, description = "a\ncamera" } } })
    until_state(it, "failed")
    assert.equal("error 718: TCP 8080 is mapped to 10.0.0.4:81 (\"a\\\ncamera\")", it.reason)
    finish(it)
    it = start({ add = { igd.CONFLICT }, find = { entry("10.0.0.4", OTHER, 81) } })
    until_state(it, "failed")
    assert.equal("error 718: TCP 8080 is mapped to 10.0.0.4:81 (Service demo/other)", it.reason)
    finish(it)
  end))

  it("is not there to be taken back when it was refused", loop.test(function()
    local it = start({ add = { 606 } })
    until_state(it, "failed")
    assert.is_false(it:is_open())
    finish(it)
    assert.same({ "add TCP 8080 3600" }, gateway.said)
  end))

  it("takes over a port that a Service before left at the same address", loop.test(function()
    local it = start({ add = { igd.CONFLICT, given(8080) }, find = { entry("10.0.0.9", OTHER, 79) } })
    until_state(it, "mapped")
    assert.same({ "add TCP 8080 3600", "find TCP 8080", "remove TCP 8080", "add TCP 8080 3600" }, gateway.said)
    finish(it)
  end))

  it("waits in silence for the port that the same Service still has at its former address", loop.test(function()
    local it = start({ add = { igd.CONFLICT, given(8080) }, find = { entry("10.0.0.4", UID) } })
    until_state(it, "mapped")
    assert.same({ "mapped" }, states)
    finish(it)
  end))

  it("takes another port where that is allowed, keeps it, and gives that one back", loop.test(function()
    local it = start({ add = { igd.CONFLICT, given(40000) }, any = { given(40000) },
      find = { entry("10.0.0.4", OTHER) } }, { any_port = true })
    until_state(it, "mapped")
    assert.equal(40000, it.external_port)
    it:look()
    until_said("add TCP 40000 3600")
    finish(it)
    assert.equal("remove TCP 40000", gateway.said[#gateway.said])
  end))

  it("stays open while the gateway does not answer, has it looked at, and is asked for again", loop.test(function()
    local it = start({ add = { given(8080), "no answer", given(8080) } })
    until_state(it, "mapped")
    it:look()
    until_state(it, "failed")
    assert.is_true(it:is_open())
    assert.equal(1, gateway.looked())
    until_state(it, "mapped")
    finish(it)
  end))

  it("says why it waits when there is no gateway", loop.test(function()
    local driver
    local it = start({ add = { given(8080) } })
    driver, gateway.driver, gateway.reason, gateway.failures = gateway.driver, nil, "no gateway", 1
    loop.until_true(function() return it.reason == "no gateway" end, 10, "the reason")
    assert.equal("waiting", it.state)
    gateway.driver = driver
    it:look()
    until_state(it, "mapped")
    finish(it)
  end))
end)
