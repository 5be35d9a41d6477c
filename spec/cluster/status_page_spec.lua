-- The status page as a browser sees it. Each `it` has a moonlb that allocates, and a Chromium of its own.
local allocator = require("spec.support.allocator")
local chromium = require("spec.support.chromium")
local http = require("spec.support.http")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")

-- `body(c, namespace, url, moonlb)`
local function with_page(body, ...)
  local flags = { ... }
  return kubernetes.test(function(c)
    local ns, port = c:namespace(), http.free_port()
    allocator.configure(c, ns, { ["range-" .. ns] = "10.77.0.1-10.77.0.9", ["cidr-big"] = "10.64.0.0/16" })
    local moonlb = allocator.start(c, ns, "--listen", "127.0.0.1", "--port", tostring(port), table.unpack(flags))
    body(c, ns, ("http://127.0.0.1:%d"):format(port), moonlb)
  end, 90)
end

-- `body(browser, ...)` of with_page.
local function with_browser(body)
  local with_it = with_page(function(...)
    local browser = chromium.start()
    local ok, err = pcall(body, browser, ...)
    browser:close()
    if not ok then error(err, 0) end
  end)
  return function()
    if not chromium.path() then return pending("chromium is not installed") end
    return with_it()
  end
end

local function text_of(browser, selector)
  return browser:value(("document.querySelector(%q)?.innerText || ''"):format(selector))
end

local function get(url, ...)
  local answer = http.curl("-w", "\n%{http_code}", url, ...):wait(20).out
  local body, code = answer:match("^(.*)\n(%d+)$")
  return body, tonumber(code)
end

describe("the status page in a browser", function()
  it("shows pools, Services and events, and what changes, without being loaded again", with_browser(
    function(browser, c, ns, url)
      allocator.service(c, ns, "first")
      allocator.expect(c, ns, "first", "10.77.0.1", "namespace_pool")
      browser:open(url)
      browser:until_true("document.querySelector('#live').innerText === 'live'")
      browser:until_true(("document.getElementById('s:%s/first') !== null"):format(ns))
      assert.matches("10.77.0.1 is given; no node answers", browser:value(
        ("document.getElementById('s:%s/first').innerText"):format(ns)))
      assert.matches("AddressAssigned", text_of(browser, "[data-region=events]"))
      browser:value("document.body.dataset.stays = 'yes'")
      allocator.service(c, ns, "second")
      browser:until_true(("document.getElementById('s:%s/second')?.innerText.includes('10.77.0.2')"):format(ns))
      browser:until_true("document.querySelectorAll('.cells a.c.given').length === 2")
      local titles = browser:value("[...document.querySelectorAll('.cells a.c')].map(c => c.title).join()")
      assert.truthy(titles:find("10.77.0.2 · " .. ns .. "/second · given", 1, true), titles)
      c:run("-n", ns, "delete", "service", "first")
      browser:until_true(("document.getElementById('s:%s/first') === null"):format(ns))
      browser:until_true("document.querySelectorAll('.cells .c.resting').length === 1 || "
        .. "document.querySelectorAll('.cells a.c').length === 1")
      assert.equal("yes", browser:value("document.body.dataset.stays"))
      assert.same({}, browser.complaints)
    end))

  it("says at once what a cell is, and draws a large pool as bins", with_browser(function(browser, _, ns, url)
    browser:open(url)
    browser:until_true("document.querySelector('#live').innerText === 'live'")
    assert.equal(256, browser:value("document.getElementById('p:big').querySelectorAll('.c').length"))
    assert.equal(9, browser:value(("document.getElementById('p:%s').querySelectorAll('.c').length"):format(ns)))
    browser:value(("document.getElementById('p:%s').querySelector('.c').dispatchEvent(new PointerEvent('pointerover',"
      .. " {bubbles: true}))"):format(ns))
    assert.equal("10.77.0.1 · free", text_of(browser, ".tip"))
  end))

  it("is a plain page of tables without JavaScript", with_browser(function(browser, c, ns, url)
    allocator.service(c, ns, "plain")
    allocator.expect(c, ns, "plain", "10.77.0.1", "namespace_pool")
    browser:open(url .. "/?q=PLAIN", { is_without_script = true })
    assert.matches("10.77.0.1", browser:value(("document.getElementById('s:%s/plain').innerText"):format(ns)))
    assert.matches("^as of ", text_of(browser, "#live"))
    assert.equal("plain", browser:value("document.querySelector('input[name=q]').value"))
    assert.equal(3, browser:value("document.querySelectorAll('table caption').length"))
  end))

  it("is dark where people want it so, and no wider than a telephone", with_browser(function(browser, c, ns, url)
    allocator.service(c, ns, "with-a-name-that-is-as-long-as-names-may-be-in-kubernetes-63-a")
    local paper = "getComputedStyle(document.body).backgroundColor"
    browser:open(url)
    local light = browser:value(paper)
    browser:open(url, { is_dark = true, width = 360 })
    assert.not_equal(light, browser:value(paper))
    browser:until_true("document.querySelectorAll('[data-region=services] tr').length > 0")
    assert.is_true(browser:value("document.documentElement.scrollWidth <= 360"))
  end))
end)

describe("the status page's server", function()
  it("allows nothing inline, nothing from elsewhere, and no frame", with_page(function(_, _, url)
    local headers = http.curl("-D", "-", "-o", "/dev/null", url .. "/"):wait(20).out:lower()
    local policy = assert(headers:match("content%-security%-policy: ([^\r\n]+)"))
    assert.matches("default%-src 'none'", policy)
    assert.is_nil(policy:find("unsafe", 1, true))
    assert.matches("frame%-ancestors 'none'", policy)
    assert.matches("nosniff", headers)
    local page = get(url .. "/")
    for reference in page:gmatch("%s[hs][re][ec]f?=\"([^\"]*)\"") do
      assert.truthy(reference:find("^/") or reference:find("^#") or reference:find("^data:"), reference)
    end
    assert.is_nil(page:find("style=\"", 1, true))
  end))

  it("is read only", with_page(function(_, _, url)
    for _, method in ipairs({ "POST", "PUT", "DELETE", "PATCH" }) do
      assert.equal(405, select(2, get(url .. "/", "-X", method)))
    end
    assert.equal(404, select(2, get(url .. "/status/page.lua")))
  end))

  it("answers whatever the query says", with_page(function(_, _, url)
    for _, query in ipairs({ "page=0", "page=-1", "page=99999999999999999999", "page=x", "state=%00", "q=%ff%3Cb%3E",
      "q=" .. ("a"):rep(4000), "&&==&", "state=trouble&page=3&q=%22" }) do
      local body, code = get(url .. "/?" .. query)
      assert.equal(200, code, query)
      assert.is_nil(body:find("<b><", 1, true) or body:find("value=\"\"\"", 1, true), query)
      assert.matches("</html>\n$", body)
    end
  end))

  it("bounds those who follow, and lets others come when they leave", with_page(function(_, _, url)
    local limit = require("moonlb.status").FOLLOWERS
    local streams = {}
    for i = 1, limit do streams[i] = http.curl(url .. "/status/events?page=" .. i % 3) end
    loop.until_true(function()
      for _, stream in ipairs(streams) do
        if not stream.out:find("event: change\ndata: {", 1, true) then return false end
      end
      return true
    end, 20, "all follow")
    assert.equal(503, select(2, get(url .. "/status/events")))
    for _, stream in ipairs(streams) do stream:kill() end
    loop.until_true(function()
      local last = http.curl("--max-time", "4", url .. "/status/events"):wait(20).out
      return last:find("event: change", 1, true)
    end, 20, "one more follows")
  end))

  it("ends its streams when moonlb stops", with_page(function(_, _, url, moonlb)
    local stream = http.curl(url .. "/status/events")
    loop.until_true(function() return stream.out:find("event: change", 1, true) end, 20, "follows")
    moonlb:stop()
    stream:wait(10)
  end))

  it("is left out by --status-page false", with_page(function(_, _, url)
    assert.equal(404, select(2, get(url .. "/")))
    assert.equal(200, select(2, get(url .. "/metrics")))
  end, "--status-page", "false"))
end)
