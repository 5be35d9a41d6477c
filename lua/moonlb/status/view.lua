--- The status page's moving parts as HTML: regions, each an array of `{id=, html=}`, so that what changed can be told
-- from what did not. Every value goes through `text.escape`. Pure.
-- @module moonlb.status.view
local text = require("moonlb.status.text")

local view = {}

local escape = text.escape

--- The regions, in the order of the page.
view.REGIONS = { "summary", "pools", "services", "pager", "nodes", "events" }

-- What the states are called, and what stands before them for who cannot tell the colours.
local STATE = {
  served = { "served", "●" }, waiting = { "waiting", "◐" }, trouble = { "trouble", "▲" },
  ignored = { "left alone", "○" },
}

local CELL = {
  served = "answered", given = "given, not answered yet", asked = "asked for", shared = "shared", conflict = "conflict",
  excluded = "excluded", resting = "rests before it is given again", ending = "never given (ends in .0 or .255)",
  free = "free",
}

-- Summary -----------------------------------------------------------------------------------------------------------

local function tile(list, id, value, label, kind, link)
  local body = ("<b>%s</b><span>%s</span>"):format(escape(value), escape(label))
  local class = "tile" .. (kind and " " .. kind or "")
  list[#list + 1] = { id = "t:" .. id, html = link and
    ("<a class=\"%s\" id=\"t:%s\" href=\"%s\">%s</a>"):format(class, id, link, body)
    or ("<div class=\"%s\" id=\"t:%s\">%s</div>"):format(class, id, body) }
end

local function summary(data)
  local list, counts = {}, data.services.counts
  tile(list, "served", counts.served, "Services served", "served", "/?state=served#services")
  tile(list, "waiting", counts.waiting, "waiting", counts.waiting > 0 and "waiting" or nil, "/?state=waiting#services")
  tile(list, "trouble", counts.trouble, "in trouble", counts.trouble > 0 and "trouble" or nil,
    "/?state=trouble#services")
  if data.allocates then
    tile(list, "addresses", data.total.used, ("of %d IPv4 addresses used"):format(data.total.size))
  end
  if data.announces then tile(list, "held", data.held, "answered by this node") end
  local alive = 0
  for _, node in ipairs(data.nodes) do alive = alive + (node.state == "alive" and 1 or 0) end
  tile(list, "nodes", alive, ("of %d nodes alive"):format(#data.nodes + data.nodes_left_out))
  local role = data.is_leading and "this node" or data.leader or "nobody"
  if data.allocates then tile(list, "leader", role, "gives the addresses", not data.leader and "trouble" or nil) end
  if data.error then tile(list, "api", "API", "out of reach: " .. data.error, "trouble") end
  return list
end

-- Pools -------------------------------------------------------------------------------------------------------------

local function span(cell)
  return cell.first == cell.last and cell.first or cell.first .. " – " .. cell.last
end

local function cell_html(cell)
  if cell.used then
    local title = ("%s · %d of %.0f used"):format(span(cell), cell.used, cell.size)
    return ("<i class=\"c %s\" title=\"%s\"></i>"):format(cell.state, escape(title))
  end
  local title = cell.first .. " · " .. (cell.who and cell.who .. " · " or "") .. CELL[cell.state]
  if cell.why then title = title .. " · " .. cell.why end
  if not cell.who then return ("<i class=\"c %s\" title=\"%s\"></i>"):format(cell.state, escape(title)) end
  return ("<a class=\"c %s\" title=\"%s\" href=\"/?q=%s#services\"></a>"):format(cell.state, escape(title),
    text.query(cell.first))
end

local function range_html(range)
  local cells = {}
  for i, cell in ipairs(range.cells) do cells[i] = cell_html(cell) end
  return ("<div class=\"range\"><h4>%s</h4><div class=\"cells\">%s</div></div>"):format(escape(span(range)),
    table.concat(cells))
end

local function number(value)
  return value < 1e9 and ("%d"):format(value) or ("%.2g"):format(value)
end

local function family_html(part)
  local percent = part.size > 0 and 100 * part.used / part.size or 0
  return ("<p class=\"use\"><span>%s</span><meter min=\"0\" max=\"100\" high=\"90\" low=\"75\" optimum=\"0\" "
    .. "value=\"%.1f\"></meter><span>%s of %s used</span></p>"):format(part.family, percent, number(part.used),
    number(part.size))
end

local function pool_html(pool)
  local parts = {}
  for _, part in ipairs(pool.families) do parts[#parts + 1] = family_html(part) end
  if pool.is_dhcp then parts[#parts + 1] = "<p>Addresses come from the LAN's DHCP server.</p>" end
  for _, range in ipairs(pool.map and pool.map.ranges or {}) do parts[#parts + 1] = range_html(range) end
  if pool.map and pool.map.is_binned then
    parts[#parts + 1] = "<p class=\"note\">Each cell stands for many addresses: the darker, the fuller.</p>"
  end
  if pool.map and pool.map.left_out > 0 then
    parts[#parts + 1] = ("<p class=\"note\">… and %d more ranges.</p>"):format(pool.map.left_out)
  end
  return ("<article class=\"card pool\" id=\"p:%s\"><h3>%s <small>%s%s</small></h3>%s</article>"):format(
    escape(pool.name), escape(pool.name), escape(table.concat(pool.keys, ", ")),
    pool.is_shared and " · may be shared" or "", table.concat(parts))
end

local function pools(data, pause)
  local list = {}
  for i, pool in ipairs(data.pools) do
    list[i] = { id = "p:" .. pool.name, html = pool_html(pool) }
    pause()
  end
  if #list == 0 then
    local why = data.allocates and "The ConfigMap names no pool: no Service gets an address from one."
      or "This process gives no addresses; another allocator does."
    list[1] = { id = "p-none", html = ("<p class=\"card empty\" id=\"p-none\">%s</p>"):format(why) }
  end
  if data.pools_left_out > 0 then
    list[#list + 1] = { id = "p-more", html = ("<p class=\"card empty\" id=\"p-more\">The %d fullest pools are shown; "
      .. "%d more have room.</p>"):format(#data.pools, data.pools_left_out) }
  end
  return list
end

-- Tables ------------------------------------------------------------------------------------------------------------

local function empty_row(id, columns, words)
  local html = ("<tr id=\"%s\"><td class=\"empty\" colspan=\"%d\">%s</td></tr>"):format(id, columns, words)
  return { { id = id, html = html } }
end

local function services(data, now, pause)
  local list = {}
  for i, row in ipairs(data.services.rows) do
    local addresses = {}
    for j, item in ipairs(row.addresses) do addresses[j] = "<code>" .. escape(item) .. "</code>" end
    local state = STATE[row.state]
    list[i] = { id = "s:" .. row.key, html = ("<tr id=\"s:%s\" class=\"%s\"><td class=\"state\"><span>%s</span> %s</td>"
      .. "<th scope=\"row\">%s</th><td>%s</td><td>%s</td><td class=\"age\">%s</td><td class=\"says\">%s</td></tr>")
      :format(escape(row.key), row.state, state[2], state[1], escape(row.key), table.concat(addresses, "<br>"),
      escape(row.owner or "–"), text.age(row.created, now), escape(row.sentence)) }
    pause()
  end
  if #list > 0 then return list end
  if data.services.counts.all > 0 then return empty_row("s-none", 6, "No Service is like that.") end
  if not data.is_synced then return empty_row("s-none", 6, "The Services are not read yet.") end
  return empty_row("s-none", 6, "No Service of type LoadBalancer yet: "
    .. "<code>kubectl expose deployment web --type=LoadBalancer --port=80</code>")
end

local function link(wanted, page)
  local parts = { "page=" .. page }
  if wanted.query then parts[#parts + 1] = "q=" .. text.query(wanted.query) end
  if wanted.state then parts[#parts + 1] = "state=" .. wanted.state end
  return "/?" .. table.concat(parts, "&amp;") .. "#services"
end

-- Which of how many are shown, and the way to the others.
local function pager(data, wanted, page_size)
  local shown = data.services
  local last = math.max(1, math.ceil(shown.found / page_size))
  local words = shown.found == 0 and "" or ("%d to %d of %d"):format(math.min(shown.first + 1, shown.found),
    math.min(shown.first + #shown.rows, shown.found), shown.found)
  if shown.found < shown.counts.all then words = words .. (" (of %d in all)"):format(shown.counts.all) end
  local html = "<p id=\"pager-line\">" .. words
  if wanted.page > 1 then
    html = html .. (" <a rel=\"prev\" href=\"%s\">← before</a>"):format(link(wanted, math.min(wanted.page - 1, last)))
  end
  if wanted.page < last then
    html = html .. (" <a rel=\"next\" href=\"%s\">more →</a>"):format(link(wanted, wanted.page + 1))
  end
  if wanted.query or wanted.state then html = html .. " <a href=\"/#services\">show all</a>" end
  return { { id = "pager-line", html = html .. "</p>" } }
end

local NODE = { alive = { "served", "●" }, silent = { "trouble", "▲" }, trouble = { "trouble", "▲" },
  unknown = { "ignored", "○" } }

local function nodes(data, now)
  local list = {}
  for i, node in ipairs(data.nodes) do
    local says = escape(node.says)
    if node.heard_at then says = says .. " " .. text.age(node.heard_at, now) end
    if node.is_draining then says = says .. ", cordoned" end
    list[i] = { id = "n:" .. node.name, html = ("<tr id=\"n:%s\" class=\"%s\"><td class=\"state\"><span>%s</span></td>"
      .. "<th scope=\"row\">%s</th><td>%s</td><td>%s</td><td>%s</td></tr>"):format(escape(node.name),
      NODE[node.state][1], NODE[node.state][2], escape(node.name), escape(table.concat(node.interfaces, ", ")),
      escape(node.services or node.held or "–"), says) }
  end
  if data.nodes_left_out > 0 then
    list[#list + 1] = empty_row("n-more", 5, ("… and %d more"):format(data.nodes_left_out))[1]
  end
  return list
end

local function events(data, now)
  local list = {}
  for i, event in ipairs(data.events) do
    local involved = event.involved
    local name = (involved.namespace and involved.namespace .. "/" or "") .. (involved.name or "")
    list[i] = { id = "e:" .. event.place, html = ("<tr id=\"e:%d\" class=\"%s\"><td class=\"age\">%s</td>"
      .. "<th scope=\"row\">%s</th><td class=\"says\"><em>%s</em> %s%s</td></tr>"):format(event.place,
      event.type == "Warning" and "trouble" or "served", text.age(event.time, now), escape(name), escape(event.reason),
      escape(event.message), event.count > 1 and (" <small>×%d</small>"):format(event.count) or "") }
  end
  if #list > 0 then return list end
  return empty_row("e-none", 3, "This process has said nothing yet.")
end

--- The regions of a snapshot.
-- @tparam table data  of `moonlb.status.snapshot`
-- @tparam table wanted  the view, as `Source:take` had it
-- @tparam table options  `now`: ages are written out (nil: as times, so that they do not change by themselves);
-- `page_size`; `pause()`
-- @treturn table  name of the region -> array of `{id=, html=}`
function view.render(data, wanted, options)
  return { summary = summary(data), pools = pools(data, options.pause), services = services(data, options.now,
    options.pause), pager = pager(data, wanted, options.page_size), nodes = nodes(data, options.now),
    events = events(data, options.now) }
end

local function same_order(old, new)
  if not old or #old ~= #new then return false end
  for i, item in ipairs(new) do
    if old[i].id ~= item.id then return false end
  end
  return true
end

--- What to send to who has `old` (nil: nothing) so that it has `new`.
-- @treturn table|nil  region -> `{order={ids} or nil when it is as it was, html={id=html of what is new}}`; nil: none
function view.difference(old, new)
  local changes
  for _, name in ipairs(view.REGIONS) do
    local before, known, html, is_other = old and old[name], {}, {}, false
    for _, item in ipairs(before or {}) do known[item.id] = item.html end
    for _, item in ipairs(new[name]) do
      if known[item.id] ~= item.html then html[item.id], is_other = item.html, true end
    end
    local is_moved = not same_order(before, new[name])
    if is_other or is_moved then
      local order
      if is_moved then
        order = {}
        for i, item in ipairs(new[name]) do order[i] = item.id end
      end
      changes = changes or {}
      changes[name] = { order = order, html = html }
    end
  end
  return changes
end

return view
