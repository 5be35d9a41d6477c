local engine = require("moonlb.allocator.engine")
local allocation = require("spec.support.allocation")
local loop = require("spec.support.loop")
local policy_host = require("moonlb.policy.host")
local runtime = require("moonlb.core.runtime")
local store = require("moonlb.policy.store")
local temporary = require("spec.support.temporary")
local uv = require("luv")
require("moonlb.core.log").configure({ level = "error" })

local GOOD = [[return { api = 1, name = "team",
  rules = { function(_, cluster) return use(cluster.pool("10.9.0.0/24"):free()) end },
  tests = { { name = "from the team's pool", expect = { action = "assign", addresses = { "10.9.0.1" } } } } }]]

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- A store over a folder of its own, and a live engine with `services` that policy `team` decides.
local function open(dir, options)
  options = options or {}
  local world = { events = {}, swaps = {} }
  world.host = policy_host.new({ now = runtime.boottime, fallback = options.fallback })
  world.store = store.new({ dir = dir, host = world.host, settings = {}, outside = options.outside,
    emit = function(kind, reason, message) table.insert(world.events, kind .. " " .. reason .. " " .. message) end,
    on_swap = function(name) table.insert(world.swaps, name) end })
  world.engine = engine.new({ now = runtime.boottime, utc = runtime.walltime, host = world.host })
  world.engine:set_configmap(allocation.configmap(options.data or { policy = "team", ["cidr-global"] = "10.0.0.0/24" }))
  for _, object in ipairs(options.services or {}) do world.engine:set_service(object) end
  world.store:attach(world.engine)
  return world
end

local function with_store(files, options, body)
  return loop.test(function()
    local dir = temporary.folder("moonlb-policies")
    for name, text in pairs(files) do write(dir .. "/" .. name, text) end
    local world = open(dir, options)
    world.dir = dir
    local ok, message = xpcall(function()
      world.store:start()
      body(world)
    end, debug.traceback)
    world.store:stop()
    temporary.remove(dir)
    if not ok then error(message, 0) end
  end)
end

local function decide(world, key)
  world.engine:set_service(allocation.service(key))
  return world.engine:decide(key)
end

local function until_event(world, text)
  return loop.until_true(function()
    local last = world.events[#world.events]
    return last and last:find(text, 1, true) and last
  end, 10, "Event " .. text)
end

describe("policy.store", function()
  it("loads what is mounted; it decides in a worker", with_store({ ["team.lua"] = GOOD }, nil, function(world)
    local decision = decide(world, "n/a")
    assert.same({ "10.9.0.1" }, decision.addresses)
    assert.equal("team", decision.policy)
    assert.is_number(world.store.backend:describe("team").pid)
    assert.same({ "team" }, world.swaps)
    assert.same({}, world.events)
  end))

  it("does without a folder, and sees it when it comes", loop.test(function()
    local base = temporary.folder("moonlb-policies")
    local world = open(base .. "/a/policies")
    world.store:start()
    assert.equal("there is no policy of that name", decide(world, "n/a").failure.reason)
    uv.fs_mkdir(base .. "/a", 448)
    uv.fs_mkdir(base .. "/a/policies", 448)
    write(base .. "/a/policies/team.lua", GOOD)
    loop.until_true(function() return world.swaps[1] end, 10, "the policy")
    assert.same({ "10.9.0.1" }, decide(world, "n/a").addresses)
    world.store:stop()
    temporary.remove(base)
  end))

  it("swaps an edited file, and says so", with_store({ ["team.lua"] = GOOD }, nil, function(world)
    write(world.dir .. "/team.lua", (GOOD:gsub("10%.9%.", "10.8.")))
    assert.equal("Normal PolicySwapped policy team: a new version is in use", until_event(world, "PolicySwapped"))
    assert.same({ "10.8.0.1" }, decide(world, "n/a").addresses)
  end))

  it("sees the swap of ..data, by which the kubelet replaces all files at once", loop.test(function()
    local dir = temporary.folder("moonlb-policies")
    local function publish(stamp, text)
      uv.fs_mkdir(dir .. "/.." .. stamp, 448)
      write(dir .. "/.." .. stamp .. "/team.lua", text)
      uv.fs_symlink(".." .. stamp, dir .. "/..data_tmp")
      assert(uv.fs_rename(dir .. "/..data_tmp", dir .. "/..data"))
    end
    publish("1", GOOD)
    uv.fs_symlink("..data/team.lua", dir .. "/team.lua")
    local world = open(dir)
    world.store:start()
    assert.same({ "10.9.0.1" }, decide(world, "n/a").addresses)
    for i = 2, 4 do
      publish(tostring(i), (GOOD:gsub("10%.9%.", ("10.%d."):format(i))))
      loop.until_true(function() return #world.swaps == i end, 10, "swap " .. i)
      temporary.remove(dir .. "/.." .. i - 1)
      assert.same({ ("10.%d.0.1"):format(i) }, decide(world, "n/a").addresses)
    end
    world.store:stop()
    temporary.remove(dir)
  end))

  it("goes on with the policy of the binary, or the fallback, when a file is gone", with_store({ ["team.lua"] = GOOD,
    ["sticky.lua"] = GOOD }, nil, function(world)
    world.engine:set_configmap(allocation.configmap({ ["policy-n"] = "team", ["policy-m"] = "sticky",
      ["cidr-global"] = "10.0.0.0/24" }))
    assert.same({ "10.9.0.1" }, decide(world, "m/a").addresses)
    uv.fs_unlink(world.dir .. "/team.lua")
    uv.fs_unlink(world.dir .. "/sticky.lua")
    loop.until_true(function() return #world.swaps == 4 end, 10, "removal")
    local decision = decide(world, "n/a")
    assert.equal("default", decision.policy)
    assert.equal("there is no policy of that name", decision.failure.reason)
    assert.equal("policies/sticky.lua", world.host:policy("sticky").file)
    assert.equal("sticky", decide(world, "m/a").policy)
  end))

  describe("refuses", function()
    local BAD = {
      { "a syntax error", "return {\n  api = = 1 }", "team.lua:2:" },
      { "an error while it loads", "local x = nil\nreturn x.y", "team.lua:2: attempt to index a nil value" },
      { "an empty file", "", "team.lua: the file is empty; a policy returns a table" },
      { "a file of spaces", " \n\t\n", "team.lua: the file is empty; a policy returns a table" },
      { "no return value", "local x = 1", "team.lua: a policy returns a table, not nil" },
      { "a wrong type", "return 7", "team.lua: a policy returns a table, not number" },
      { "another level of the API", "return { api = 99, rules = { rule.static } }",
        "team.lua: api = 99: this moonlb has the policy API of level 1" },
      { "no level", "return { rules = { rule.static } }", "team.lua: api = nil" },
      { "a rule that is no function", "return { api = 1, rules = { rule.static, 7 } }",
        "team.lua: rules[2] is a number, not a function" },
      { "a rule that there is not", "return { api = 1, rules = { rule.statc } }",
        "team.lua: rules: a list of functions" },
      { "no rules", "return { api = 1, rules = {} }", "team.lua: rules: a list of functions expected" },
      { "place that is no function", "return { api = 1, rules = { rule.static }, place = {} }",
        "team.lua: place is no function" },
      { "bytecode", string.dump(function() return {} end), "team.lua: compiled Lua; the source is expected" },
      { "cyclic tests", "local t = {}\nt[1] = t\nreturn { api = 1, rules = { rule.static }, tests = t }",
        "team.lua: tests" },
      { "a file that is too large", "--" .. ("x"):rep(2 << 20), "bytes, at most 1048576" },
      { "a loop without end", "while true do end", "team.lua" },
      { "a test that fails", GOOD:gsub('"10.9.0.1" }', '"10.9.0.2" }'),
        'team.lua: test "from the team\'s pool" failed: addresses is {10.9.0.1}, expected {10.9.0.2}' },
      { "a test with more objects than an example has", "local many = {}\nfor i = 1, 201 do many[i] = {} end return {"
        .. "api = 1, rules = { rule.static }, tests = { { given = { services = many }, expect = { a = 1 } } } }",
        "it has 201 Services and nodes, at most 200 are taken" },
      { "a test with a ConfigMap that is none", "return { api = 1, rules = { rule.static }, tests = { { given = { "
        .. "configmap = { ['range-global'] = ('10.0.0.1,'):rep(2000) } }, expect = { a = 1 } } } }",
        "its ConfigMap has 18012 bytes, at most 16384 are taken" },
      { "a rule that raises in a test", GOOD:gsub("return use", "local x = nil + 1 return use"),
        'test "from the team\'s pool" failed: action is pending, expected assign (' },
    }
    for _, bad in ipairs(BAD) do
      it(bad[1] .. ", and says why", with_store({ ["team.lua"] = bad[2] }, nil, function(world)
        assert.equal(1, #world.events)
        assert.truthy(world.events[1]:find("Warning PolicyFailed policy team: ", 1, true), world.events[1])
        assert.truthy(world.events[1]:find(bad[3], 1, true), world.events[1])
        assert.truthy(world.events[1]:find("it is not in use", 1, true), world.events[1])
        assert.is_nil(world.host:policy("team"))
        assert.is_false(world.store:list()[1].is_loaded)
      end))
    end

    it("a file that cannot be read, a folder and a pipe of that name", with_store({}, nil, function(world)
      uv.fs_mkdir(world.dir .. "/team.lua", 448)
      until_event(world, "team.lua: is no file")
      uv.fs_rmdir(world.dir .. "/team.lua")
      loop.until_true(function() return not world.store.policies.team end, 10, "removal")
      assert(os.execute("mkfifo " .. world.dir .. "/team.lua"))
      until_event(world, "team.lua: is no file")
    end))

    it("a file called default: the stock policy is always there", with_store({ ["default.lua"] = GOOD }, nil,
      function(world)
        assert.truthy(world.events[1]:find("default is the stock policy", 1, true))
        assert.equal("policies/default.lua", world.host:policy("default").file)
      end))

    it("an edit, and keeps the version before; it is taken when it is repaired", with_store({ ["team.lua"] = GOOD },
      nil, function(world)
        write(world.dir .. "/team.lua", "return {")
        local event = until_event(world, "PolicyFailed")
        assert.truthy(event:find("the version before stays in use", 1, true), event)
        assert.same({ "10.9.0.1" }, decide(world, "n/a").addresses)
        write(world.dir .. "/team.lua", (GOOD:gsub("10%.9%.", "10.8.")))
        until_event(world, "PolicySwapped")
        assert.same({ "10.8.0.1" }, decide(world, "n/a").addresses)
        assert.is_nil(world.store:list()[1].error)
      end))
  end)

  it("takes Windows line ends and a byte order mark", with_store({
    ["team.lua"] = "\239\187\191" .. GOOD:gsub("\n", "\r\n") }, nil, function(world)
    assert.same({}, world.events)
    assert.same({ "10.9.0.1" }, decide(world, "n/a").addresses)
  end))

  describe("before a swap", function()
    local SERVICES = function()
      return { allocation.service("n/a", { assigned = "10.9.0.1 team/rule-1", created = 1 }),
        allocation.service("n/b", { assigned = "10.9.0.2 team/rule-1", created = 2 }),
        allocation.service("n/c", { assigned = "192.0.2.1 team/static", created = 3 }) }
    end

    it("says which Services would differ, and moves none", with_store({ ["team.lua"] = GOOD },
      { services = SERVICES() }, function(world)
        assert.same({}, world.events)
        write(world.dir .. "/team.lua", (GOOD:gsub("10%.9%.", "10.8.")))
        local event = until_event(world, "PolicySwapped")
        assert.truthy(event:find("2 of 2 Services would get another address if made anew, each by itself "
          .. "(n/a 10.9.0.1 -> 10.8.0.1, n/b 10.9.0.2 -> 10.8.0.1); none is moved", 1, true), event)
        for key, address in pairs({ ["n/a"] = "10.9.0.1", ["n/b"] = "10.9.0.2", ["n/c"] = "192.0.2.1" }) do
          assert.same({ "keep", { address } }, { world.engine:decide(key).action, world.engine:decide(key).addresses })
        end
      end))

    it("compares with what the version before would do, not with what history left", with_store({ ["team.lua"] = GOOD },
      { services = { allocation.service("n/b", { assigned = "10.9.0.2 team/rule-1" }) } }, function(world)
        world.events = {}
        write(world.dir .. "/team.lua", GOOD .. "\n-- a comment")
        assert.equal("Normal PolicySwapped policy team: a new version is in use", until_event(world, "PolicySwapped"))
      end))

    it("refuses a version that fails for a live Service", with_store({ ["team.lua"] = GOOD },
      { services = SERVICES() }, function(world)
        write(world.dir .. "/team.lua", (GOOD:gsub("function%(_, cluster%)",
          'function(service, cluster)\n  if service.metadata.name == "b" then error("not b") end')))
        local event = until_event(world, "PolicyFailed")
        assert.truthy(event:find("fails for Service n/b: ", 1, true), event)
        assert.truthy(event:find("team.lua:3", 1, true), event)
        assert.truthy(event:find("not b", 1, true), event)
        assert.equal(1, #world.swaps)
      end))

    it("refuses a version that fails for a Service that waits", with_store({ ["team.lua"] = GOOD },
      { services = { allocation.service("n/waits") } }, function(world)
        write(world.dir .. "/team.lua", (GOOD:gsub("function%(_, cluster%)",
          'function(service, cluster)\n  if service.metadata.name == "waits" then error("why") end')))
        assert.truthy(until_event(world, "PolicyFailed"):find("fails for Service n/waits: ", 1, true))
      end))

    local FAILING = GOOD:gsub("function%(_, cluster%)",
      'function(service, cluster)\n  if #service.spec.ports == 1 then error("ah") end', 1):gsub("tests = .*", "}")
    it("takes a version that fails where the one before fails too", with_store({ ["team.lua"] = FAILING },
      nil, function(world)
        world.engine:set_service(allocation.service("n/a"))
        world.engine:set_service(allocation.service("n/b", { assigned = "10.9.0.2 team/rule-1" }))
        write(world.dir .. "/team.lua", (GOOD:gsub("function%(_, cluster%)",
          'function(service, cluster)\n  if service.metadata.name == "a" then error("still") end')))
        until_event(world, "PolicySwapped")
        assert.same({ "10.9.0.1" }, decide(world, "n/c").addresses)
      end))

    it("refuses a version whose place fails for a live Service", with_store({ ["team.lua"] = GOOD },
      { services = SERVICES() }, function(world)
        world.engine:set_node(allocation.node("node-1", "192.0.2.9"))
        write(world.dir .. "/team.lua", (GOOD:gsub("rules =", "place = function(group, nodes)\n"
          .. "  return { nodes[1].name, nodes[2].name } end, rules =", 1)))
        local event = until_event(world, "PolicyFailed")
        assert.truthy(event:find("place fails for Service n/", 1, true), event)
        assert.truthy(event:find("team.lua:3: ", 1, true), event)
        assert.equal(1, #world.swaps)
      end))

    it("shows the policy each Service as its user made it", with_store({ ["team.lua"] = GOOD },
      { services = { allocation.service("n/a", { assigned = "10.9.0.1 team/rule-1", status = { "10.9.0.1" },
        annotations = { mine = "yes" } }) } }, function(world)
        world.engine:set_configmap(allocation.configmap({ policy = "team", ["cidr-global"] = "10.9.0.0/24" }))
        write(world.dir .. "/team.lua", [[return { api = 1, rules = { function(service, cluster)
          local seen = {}
          for name in pairs(service.metadata.annotations) do seen[#seen + 1] = name end
          for name in pairs(service.metadata.labels) do seen[#seen + 1] = name end
          seen[#seen + 1] = service.spec.loadBalancerIP
          for _, entry in ipairs(service.status and service.status.loadBalancer.ingress or {}) do
            seen[#seen + 1] = entry.ip
          end
          local pool = cluster.global_pool()
          error(("%s; counted %d, used %d, next %s"):format(table.concat(seen, " "), cluster.count{}, pool.used,
            pool:free()))
        end } }]])
        local event = until_event(world, "PolicyFailed")
        assert.truthy(event:find(": mine; counted 0, used 0, next 10.9.0.1;", 1, true), event)
      end))

    it("goes on with the process of the dry run, which knows the cluster, and what changed meanwhile",
      with_store({ ["team.lua"] = GOOD }, nil, function(world)
        for i = 1, 250 do
          world.engine:set_service(allocation.service("n/s" .. i, { assigned = "10.9.0." .. i .. " team/rule-1" }))
        end
        write(world.dir .. "/team.lua", GOOD .. "\n-- another")
        local backend = loop.until_true(function() return next(world.host.following) end, 10, "the dry run")
        loop.until_true(function()
          local seen = backend:describe("team")
          return not seen or seen.services > 0
        end, 10, "fed")
        world.engine:set_service(allocation.service("n/new"))
        world.engine:remove_service("n/s7")
        until_event(world, "a new version is in use")
        assert.equal(250, world.store.backend:describe("team").services)
        assert.is_nil(next(world.host.following))
        assert.same({ "10.9.0.251" }, world.engine:decide("n/new").addresses)
      end))

    it("leaves out Services that change meanwhile", with_store({ ["team.lua"] = GOOD }, nil, function(world)
      for i = 1, 150 do
        world.engine:set_service(allocation.service("n/s" .. i, { assigned = "10.9.0." .. i .. " team/rule-1" }))
      end
      write(world.dir .. "/team.lua", GOOD .. "\n-- another")
      local backend = loop.until_true(function() return next(world.host.following) end, 10, "the dry run")
      loop.until_true(function() return backend:describe("team").services > 0 end, 10, "fed")
      for i = 1, 150, 2 do world.engine:set_service(allocation.service("n/s" .. i)) end	-- they lose their addresses
      until_event(world, "a new version is in use")
    end))

    it("decides each by itself, also those that wait", with_store({ ["team.lua"] = GOOD }, nil, function(world)
      for i = 1, 3 do world.engine:set_service(allocation.service("n/waits" .. i)) end
      world.engine:set_service(allocation.service("n/a", { assigned = "10.9.0.9 team/rule-1" }))
      write(world.dir .. "/team.lua", (GOOD:gsub("10%.9%.", "10.8.")))
      assert.truthy(until_event(world, "PolicySwapped"):find("(n/a 10.9.0.1 -> 10.8.0.1); none is moved", 1, true))
    end))

    it("ends with the batch in which the new version fails", with_store({ ["team.lua"] = GOOD }, nil, function(world)
      for i = 1, 250 do
        world.engine:set_service(allocation.service("n/s" .. i, { assigned = "10.9.0." .. i .. " team/rule-1" }))
      end
      write(world.dir .. "/team.lua", (GOOD:gsub("function%(_, cluster%)",
        'function(service, cluster)\n  if service.metadata.name ~= "new" then error("always") end')))
      local event = until_event(world, "PolicyFailed")
      assert.truthy(event:find("and 99 others: ", 1, true), event)
      assert.truthy(event:find("; 100 of 250 Services were tried", 1, true), event)
    end))

    it("is stopped without a word of it", with_store({ ["team.lua"] = GOOD }, { services = SERVICES() },
      function(world)
        write(world.dir .. "/team.lua", GOOD .. "\n-- another")
        loop.until_true(function() return next(world.host.following) end, 10, "the dry run")
        world.events = {}
        world.store:stop()
        loop.until_true(function() return not next(world.host.following) end, 10, "its end")
        assert.same({}, world.events)
      end))

    it("asks nobody outside", with_store({ ["team.lua"] = GOOD }, { services = SERVICES(),
      outside = { ask = function() error("asked") end } }, function(world)
        write(world.dir .. "/team.lua", (GOOD:gsub("function%(_, cluster%)",
          'function(_, cluster)\n  http.get("http://ipam/")')))
        assert.equal("Normal PolicySwapped policy team: a new version is in use", until_event(world, "PolicySwapped"))
      end))
  end)

  it("answers who waits for the old version by the new one", with_store({ ["team.lua"] = GOOD }, nil, function(world)
    local async = require("moonlb.async")
    world.engine:set_service(allocation.service("n/a"))
    local decision
    write(world.dir .. "/team.lua", (GOOD:gsub("10%.9%.", "10.8.")))
    async.run(function()
      while not world.swaps[2] do decision = world.engine:decide("n/a") end
      decision = world.engine:decide("n/a")
    end)
    loop.until_true(function() return decision and decision.addresses[1] == "10.8.0.1" end, 10, "the new version")
    assert.same({}, world.host.failures)
  end))

  it("tells a new leader what is refused", with_store({ ["team.lua"] = "return 1" }, nil, function(world)
    world.events = {}
    world.store:tell()
    assert.equal(1, #world.events)
    assert.truthy(world.events[1]:find("PolicyFailed policy team: ", 1, true))
  end))
end)
