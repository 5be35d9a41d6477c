--- The status page's document around its moving parts. Pure.
-- @module moonlb.status.page
local text = require("moonlb.status.text")

local page = {}

local escape = text.escape

--- Sent with everything of the page. Style and script are files of this server, nothing is inline, and nothing of
-- others is loaded, sent or framed (Content Security Policy Level 3).
page.HEADERS = {
  ["content-security-policy"] = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    .. "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  ["x-content-type-options"] = "nosniff", ["referrer-policy"] = "no-referrer",
  ["cross-origin-resource-policy"] = "same-origin", ["cache-control"] = "no-store",
}

local ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
  .. "%3Cpath d='M21 3a13 13 0 1 0 8 17A11 11 0 0 1 21 3z' fill='%235b6ee1'/%3E%3C/svg%3E"

local HEAD = [[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%s · moonlb</title>
<link rel="icon" href="%s">
<link rel="stylesheet" href="/status/page.css?v=%s">
<script defer src="/status/page.js?v=%s"></script>
</head>
<body>
<header>
<svg class="moon" viewBox="0 0 32 32" aria-hidden="true"><path d="M21 3a13 13 0 1 0 8 17A11 11 0 0 1 21 3z"/></svg>
<h1>moonlb</h1>
<p>%s · %s · up for %s</p>
<p id="live" role="status">as of %s</p>
</header>
<main>
]]

local LEGEND = { { "served", "answered" }, { "given", "given" }, { "shared", "shared" }, { "conflict", "conflict" },
  { "resting", "resting" }, { "excluded", "excluded" }, { "free", "free" } }

local FORM = [[
<form method="get" action="/#services" role="search">
<input type="search" name="q" value="%s" placeholder="name, address, node" aria-label="Search Services">
<select name="state" aria-label="State"><option value="">every state</option>%s</select>
<button>Show</button>
</form>
]]

local function items(list)
  local parts = {}
  for i, item in ipairs(list) do parts[i] = item.html end
  return table.concat(parts, "\n")
end

local function table_html(id, caption, columns, list)
  local heads = {}
  for i, column in ipairs(columns) do heads[i] = "<th scope=\"col\">" .. column .. "</th>" end
  return ("<div class=\"card scroll\"><table><caption>%s</caption><thead><tr>%s</tr></thead>\n"
    .. "<tbody data-region=\"%s\">\n%s\n</tbody></table></div>\n"):format(caption, table.concat(heads), id, items(list))
end

local function legend()
  local parts = {}
  for i, it in ipairs(LEGEND) do parts[i] = ("<span><i class=\"c %s\"></i>%s</span>"):format(it[1], it[2]) end
  return "<p class=\"legend\">" .. table.concat(parts) .. "</p>"
end

local function form(wanted)
  local options = {}
  for i, state in ipairs({ "served", "waiting", "trouble", "ignored" }) do
    options[i] = ("<option%s>%s</option>"):format(wanted.state == state and " selected" or "", state)
  end
  return FORM:format(escape(wanted.query or ""), table.concat(options))
end

--- The document in pieces, in order, so that it may be sent as it is made.
-- @tparam table data  of `moonlb.status.snapshot`
-- @tparam table regions  of `view.render`
-- @tparam table wanted  the view
-- @tparam function send  called with each piece of HTML
function page.write(data, regions, wanted, send)
  local version, node = escape(data.version), escape(data.node)
  send(HEAD:format(node, ICON, version, version, node, version, text.age(data.started_at, data.now),
    text.age(data.now)))
  send("<section data-region=\"summary\" class=\"tiles\" aria-label=\"Summary\">\n" .. items(regions.summary)
    .. "\n</section>\n")
  send("<section><h2>Pools</h2>" .. legend() .. "\n<div data-region=\"pools\" class=\"pools\">\n"
    .. items(regions.pools) .. "\n</div></section>\n")
  send("<section id=\"services\"><h2>Services</h2>\n" .. form(wanted) .. table_html("services",
    "Services of type LoadBalancer", { "State", "Service", "Address", "Node", "Age", "What is so" }, regions.services)
    .. "<div data-region=\"pager\" class=\"pager\">" .. items(regions.pager) .. "</div></section>\n")
  send("<div class=\"columns\"><section><h2>Nodes</h2>\n" .. table_html("nodes", "Nodes, and when they were heard",
    { "", "Node", "Interfaces", "Services", "Heartbeat" }, regions.nodes) .. "</section>\n")
  send("<section><h2>Recent events of this process</h2>\n" .. table_html("events", "Events, the newest first",
    { "Age", "Object", "Event" }, regions.events) .. "</section></div>\n")
  send("</main>\n<footer><p>Read only. Also here: <a href=\"/metrics\">/metrics</a>, "
    .. "<a href=\"/healthz\">/healthz</a>, <a href=\"/readyz\">/readyz</a>. "
    .. "<noscript>Without JavaScript this page stands still: reload it.</noscript>"
    .. "</p></footer>\n</body>\n</html>\n")
end

return page
