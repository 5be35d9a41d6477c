-- The status page's parts without a browser: what is said, what is drawn, and that no value becomes markup.
local config = { ["range-global"] = "10.0.0.250-10.0.1.5", ["cidr-big"] = "10.64.0.0/16",
  ["range-six"] = "fd00::-fd00:0:0:ffff::" }
local engine = require("moonlb.allocator.engine")
local index = require("moonlb.status.index")
local map = require("moonlb.status.map")
local page = require("moonlb.status.page")
local services = require("moonlb.status.services")
local snapshot = require("moonlb.status.snapshot")
local status = require("moonlb.status")
local text = require("moonlb.status.text")
local view = require("moonlb.status.view")

local function nothing() end

local function service(name, fields)
  fields = fields or {}
  local ingress = {}
  for i, ip in ipairs(fields.served or {}) do ingress[i] = { ip = ip } end
  return { metadata = { name = name, namespace = "shop", uid = name, resourceVersion = "1", labels = {},
    creationTimestamp = "2026-01-02T03:04:05Z", annotations = fields.annotations or {},
    deletionTimestamp = fields.deleted }, spec = { type = fields.type or "LoadBalancer", ports = {} },
    status = { loadBalancer = { ingress = ingress } } }
end

local function given(list, more)
  local annotations = { ["moonlb.io/assigned"] = list .. " default/global_pool" }
  for name, value in pairs(more or {}) do annotations[name] = value end
  return annotations
end

local function context(fields)
  local result = { vips = {}, now = 1e9, last_event = nothing, why_ignored = nothing }
  for name, value in pairs(fields or {}) do result[name] = value end
  return result
end

local function say(object, fields)
  local row = services.describe("shop/" .. object.metadata.name, object, context(fields))
  return row.state .. ": " .. row.sentence, row
end

describe("text.escape", function()
  it("leaves no markup, no control character, no broken UTF-8, and is bounded", function()
    assert.equal("&lt;b a=&quot;&#39;&amp;&gt;", text.escape("<b a=\"'&>"))
    assert.equal("a b c", text.escape("a\0b\27c"))
    assert.equal("caf?", text.escape("caf\xe9"))
    assert.equal("", text.escape(nil))
    assert.equal("", text.escape({}))
    assert.equal("3", text.escape(3.0))
    assert.is_true(#text.escape(("é"):rep(1000)) < 420)
    assert.truthy(utf8.len(text.escape(("é"):rep(1000))))
  end)
end)

describe("text.age", function()
  it("is an age where now is known, and the time itself where it is not", function()
    assert.matches(">3 min</time>$", text.age(1000, 1190.5))
    assert.matches(">0 s</time>$", text.age(1000, 900))
    assert.matches(">1970%-01%-01T00:16:40Z</time>$", text.age(1000.7))
    assert.equal("", text.age(nil))
  end)
end)

describe("services.describe", function()
  it("says that a Service is answered, by whom", function()
    local annotations = given("10.0.0.1", { ["kube-vip.io/vipHost"] = "rack-2" })
    local words, row = say(service("a", { served = { "10.0.0.1" }, annotations = annotations }))
    assert.equal("served: Answered by node rack-2.", words)
    assert.same({ "10.0.0.1" }, row.addresses)
    assert.equal("rack-2", row.owner)
    assert.equal(1767323045, row.created)
    assert.equal("served: Answered by this node on eth0.", (say(service("a", { served = { "10.0.0.1" },
      annotations = annotations }), { vips = { ["10.0.0.1"] = { state = "held", interface = "eth0" } } })))
  end)

  it("says why it waits: the last Event, else who decides, else what the announcer does", function()
    assert.equal("waiting: It has no address yet.", (say(service("a"))))
    assert.equal("waiting: It has no address yet; rack-1 decides.", (say(service("a"), { leader = "rack-1" })))
    assert.equal("trouble: pool full", (say(service("a"), { last_event = function(key)
      return key == "shop/a" and { type = "Warning", message = "pool full" } end })))
    local object = service("a", { annotations = given("10.0.0.1") })
    assert.matches("^waiting: 10.0.0.1 is given; no node", (say(object)))
    assert.matches("^waiting: The LAN is asked", (say(object, { vips = { ["10.0.0.1"] = { state = "probing" } } })))
    assert.matches("^waiting: 10.0.0.1 is not announced from this node: link down", (say(object,
      { vips = { ["10.0.0.1"] = { state = "wanted", reason = "link down" } } })))
    assert.matches("^waiting: It is being deleted", (say(service("a", { deleted = "2026-01-02T03:04:05Z" }))))
  end)

  it("names a stranger, until what was seen of it is over", function()
    local object = service("a", { served = { "10.0.0.1" }, annotations = given("10.0.0.1",
      { ["moonlb.io/conflict"] = "10.0.0.1 02:00:00:00:00:01 eth0 rack-1 2026-01-02T03:05:05Z" }) })
    assert.matches("^trouble: A stranger: 02:00:00:00:00:01 on eth0 of node rack%-1", (say(object)))
    assert.matches("^served", (say(object, { now = 1.9e9 })))
  end)

  it("says of DHCP that it waits for a lease, and which it has", function()
    assert.equal("waiting: It waits for a DHCP lease.", (say(service("a", { annotations = given("0.0.0.0") }))))
    local object = service("a", { served = { "192.168.0.77" }, annotations = given("0.0.0.0",
      { ["moonlb.io/lease"] = "192.168.0.77 more" }) })
    local words, row = say(object)
    assert.matches("^served: It has a DHCP lease of 192.168.0.77", words)
    assert.same({ "192.168.0.77" }, row.addresses)
  end)

  it("is not upset by an object whose fields are of another kind", function()
    for _, value in ipairs({ "x", 3, false }) do
      local object = { metadata = { name = "odd", annotations = value, labels = value, creationTimestamp = value,
        deletionTimestamp = value ~= "x" and value or nil }, spec = value, status = { loadBalancer = { ingress =
        { value, { ip = value } } } } }
      assert.matches("^%a+: ", (say(object)))
    end
  end)
end)

describe("index.sort", function()
  it("sorts as table.sort does, in pieces", function()
    local list, pauses = {}, 0
    for i = 1, 3000 do list[i] = ("%08x"):format((i * 2654435761) % 2 ^ 32 // 1 | 0) end
    local expected = table.move(list, 1, #list, 1, {})
    table.sort(expected)
    assert.same(expected, index.sort(list, function() pauses = pauses + 1 end))
    assert.is_true(pauses >= 12)
    assert.same({}, index.sort({}, nothing))
  end)
end)

local function new_engine()
  local it = engine.new({ now = function() return 0 end, utc = function() return 1e9 end })
  it:set_configmap({ metadata = { name = "kubevip", namespace = "kube-system" }, data = config })
  return it
end

local function draw(it, name)
  for _, pool in ipairs(it:pools()) do
    if pool.name == name then
      return map.draw(pool, map.collect(it.state.ownership), { ownership = it.state.ownership, pause = nothing,
        is_served = function(record) return record.name == "served" end })
    end
  end
end

describe("map.draw", function()
  it("has a cell for each address, that says what it is and whose", function()
    local it_is = new_engine()
    it_is:set_service(service("served", { annotations = given("10.0.0.251") }))
    it_is:set_service(service("new", { annotations = given("10.0.0.252") }))
    it_is:set_service(service("asks", { annotations = { ["kube-vip.io/loadbalancerIPs"] = "10.0.0.253" } }))
    it_is:exclude("10.0.0.254", "the router")
    it_is.state.ownership:set_quarantine("10.0.1.1", 2e9, "a stranger has it")
    it_is.state.ownership:rest("10.0.1.2")
    local drawn = draw(it_is, "global")
    local states = {}
    for i, cell in ipairs(drawn.ranges[1].cells) do states[i] = cell.first .. " " .. cell.state end
    assert.same({ "10.0.0.250 free", "10.0.0.251 served", "10.0.0.252 given", "10.0.0.253 asked", "10.0.0.254 excluded",
      "10.0.0.255 ending", "10.0.1.0 ending", "10.0.1.1 conflict", "10.0.1.2 resting", "10.0.1.3 free",
      "10.0.1.4 free", "10.0.1.5 free" }, states)
    assert.equal("shop/served", drawn.ranges[1].cells[2].who)
    assert.equal("the router", drawn.ranges[1].cells[5].why)
    assert.is_false(drawn.is_binned)
  end)

  it("bins what is too large, of both families, and counts every address once", function()
    local it_is = new_engine()
    for i = 1, 300 do
      it_is:set_service(service("s" .. i, { annotations = given(("10.64.%d.%d,fd00::%x"):format(i // 250, 1 + i % 250,
        i)) }))
    end
    for name, size in pairs({ big = 65536, six = 0xffff * 2.0 ^ 64 }) do
      local drawn, used, covered = draw(it_is, name), 0, 0
      assert.is_true(drawn.is_binned)
      assert.is_true(#drawn.ranges[1].cells <= map.BINS + 1)
      for _, cell in ipairs(drawn.ranges[1].cells) do used, covered = used + cell.used, covered + cell.size end
      assert.equal(300, used)
      assert.is_true(math.abs(covered / size - 1) < 1e-3)
    end
    local cells = draw(it_is, "big").ranges[1].cells
    assert.same({ "10.64.0.0", "10.64.0.255", "fill5" }, { cells[1].first, cells[1].last, cells[1].state })
    assert.same({ "10.64.255.0", "10.64.255.255", "fill0" }, { cells[256].first, cells[256].last, cells[256].state })
  end)

  it("draws a bounded number of ranges", function()
    local it_is, items = new_engine(), {}
    for i = 1, 300 do items[i] = ("10.9.%d.1"):format(i % 250) end
    it_is:set_configmap({ metadata = { name = "kubevip", namespace = "kube-system" },
      data = { ["range-global"] = table.concat(items, ",") } })
    local drawn = draw(it_is, "global")
    assert.equal(map.RANGES, #drawn.ranges)
    assert.equal(250 - map.RANGES, drawn.left_out)
  end)
end)

describe("view.difference", function()
  local function regions(rows)
    local all = {}
    for _, name in ipairs(view.REGIONS) do all[name] = {} end
    all.services = rows
    return all
  end

  it("sends a changed row alone, the order only when it is another, nothing when nothing changed", function()
    local a, b = { id = "a", html = "1" }, { id = "b", html = "2" }
    assert.is_nil(view.difference(regions({ a, b }), regions({ a, b })))
    assert.same({ services = { html = { b = "3" } } },
      view.difference(regions({ a, b }), regions({ a, { id = "b", html = "3" } })))
    assert.same({ services = { order = { "b" }, html = {} } }, view.difference(regions({ a, b }), regions({ b })))
    local all = view.difference(nil, regions({ a }))
    assert.same({ order = { "a" }, html = { a = "1" } }, all.services)
    assert.same({ order = {}, html = {} }, all.events)
  end)
end)

-- A daemon as the page looks at it; `word` is in every place where a user's word may be.
local function daemon_of(word, count)
  local it_is, list = new_engine(), {}
  it_is:set_configmap({ metadata = { name = "kubevip", namespace = "kube-system" }, data = { ["cidr-" .. word]
    = "10.0.0.0/28", ["range-global"] = "10.1.0.0-10.1.0.9" } })
  for i = 1, count or 1 do
    local object = service(word .. i, { served = { word }, annotations = given(("10.0.%d.%d"):format(i // 250, i % 250),
      { ["kube-vip.io/vipHost"] = word, ["moonlb.io/lease"] = word }) })
    list["shop/" .. word .. i] = object
    it_is:set_service(object)
  end
  it_is:exclude("10.0.0.9", word)
  it_is:set_node({ metadata = { name = word, labels = {} }, status = {} })
  local event = { type = "Warning", reason = word, message = word, time = 0, count = 2, place = 1,
    involved = { namespace = word, name = word } }
  local peer = { name = word .. "-peer", mac = word, heard_at = 0, is_alive = false }
  return { started_at = 0, settings = { node_name = word, announce = true, allocate = true },
    services = { on = nothing, synced = true, error = word, get = function(_, key) return list[key] end,
      each = function() return pairs(list) end },
    events = { about = function() return event end, latest = function() return { event } end },
    allocator = { engine = it_is, leading = function() return false end,
      election = { holder = function() return word .. "_0" end } },
    announcer = { list = function() return { { address = "10.0.0.1", state = "wanted", reason = word } } end,
      peers = { trouble = function() return word end }, pulse = { stats = function() return { muted = false } end },
      placement = { peers = function() return { { peer } } end }, host = { view = { links = { { name = word } } } } } }
end

local function html_of(daemon, wanted, pause)
  local data = snapshot.new(daemon, pause or nothing):take(wanted)
  local options, pieces = { now = 0, page_size = snapshot.SERVICES, pause = pause or nothing }, {}
  local regions = view.render(data, wanted, options)
  page.write(data, regions, wanted, function(piece) pieces[#pieces + 1] = piece end)
  return table.concat(pieces)
end

describe("the page", function()
  for _, word in ipairs({ "<script>evil()</script>", "\"onmouseover=\"evil()", "'><img src=x onerror=evil()>",
    "</title></td></table>", "javascript:evil()//%22%3E<svg/onload=evil()>" }) do
    it("makes no markup of " .. word, function()
      local calm = html_of(daemon_of("calm"), status.parse(""))
      local html = html_of(daemon_of(word), status.parse("q=" .. text.query(word)))
      assert.truthy(html:find(text.escape(word), 1, true), "the word is shown")
      for _, bad in ipairs({ "<script>", "<img", "<svg/", "onmouseover=\"", "href=\"javascript" }) do
        assert.is_nil(html:find(bad, 1, true), bad)
      end
      -- Tags and quotes are the page's own: as many for any word.
      for _, mark in ipairs({ "<title", "</title", "</table", "<script " }) do
        local function count(of) return select(2, of:gsub(mark, "")) end
        assert.equal(count(calm), count(html), mark)
      end
    end)
  end

  it("shows a page of many Services, those in need first, in pieces of work", function()
    local daemon, pauses = daemon_of("s", 3000), 0
    local html = html_of(daemon, status.parse("page=2"), function() pauses = pauses + 1 end)
    assert.is_true(pauses > 3000)
    assert.equal(snapshot.SERVICES, select(2, html:gsub("<tr id=\"s:", "")))
    assert.truthy(html:find("101 to 200 of 3000", 1, true))
    assert.is_true(#html < 200000, #html .. " bytes")
    local first = html_of(daemon_of("s", 30), status.parse("")):match("<tr id=\"s:[^\"]*\" class=\"(%a+)\"")
    assert.equal("waiting", first)
  end)

  it("looks at a Service that is served once, and again when it changes", function()
    local daemon, handlers = daemon_of("s", 3), {}
    daemon.services.on = function(_, handler) handlers[#handlers + 1] = handler end
    for _, object in daemon.services.each() do
      object.status.loadBalancer.ingress = { { ip = object.metadata.annotations["moonlb.io/assigned"]:match("^%S+") } }
    end
    local source = snapshot.new(daemon, nothing)
    assert.equal(3, source:take(status.parse("")).services.counts.served)
    local key = next(source.settled)
    assert.equal("shop/s", key:sub(1, 6))
    local object = daemon.services.get(nil, key)
    object.status.loadBalancer.ingress = {}
    for _, handler in ipairs(handlers) do handler(key, object, object) end
    local counts = source:take(status.parse("")).services.counts
    assert.same({ 2, 1 }, { counts.served, counts.waiting })
  end)

  it("finds by name, address, node and state", function()
    local daemon = daemon_of("s", 30)
    local function rows(query) return select(2, html_of(daemon, status.parse(query)):gsub("<tr id=\"s:", "")) end
    assert.equal(1, rows("q=shop/S30"))
    assert.equal(1, rows("q=10.0.0.17"))
    assert.equal(0, rows("state=ignored"))
    assert.equal(30, rows("state=nonsense"))
    assert.equal(0, rows("page=2"))
  end)
end)
