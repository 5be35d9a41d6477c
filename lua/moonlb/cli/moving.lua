--- What `moonlb move` and `moonlb rebalance` share: the groups of a cluster, who holds them, and one move to its end.
-- All of it by the API: it works wherever kubectl does, for whoever may change Services.
-- @module moonlb.cli.moving
local async = require("moonlb.async")
local connection = require("moonlb.daemon.connection")
local groups = require("moonlb.announcer.groups")
local moves = require("moonlb.announcer.moves")
local null = require("cjson").null
local placement = require("moonlb.announcer.placement")
local request = require("moonlb.announcer.request")
local runtime = require("moonlb.core.runtime")
local settings = require("moonlb.cli.settings")
local uv = require("luv")

local moving = {}

--- Seconds in which a node has to take what it is asked to.
moving.PATIENCE = 10
local POLL = 0.05

local KEYS = { kubeconfig = true, context = true }

--- Add the flags that find the cluster, and those named. @param parser  argparse's @tparam[opt] table more  set of keys
function moving.configure(parser, more)
  settings.configure(parser, function(setting) return KEYS[setting.key] or more and more[setting.key] end)
end

-- An error for people: one line, exit 2 for what the user got wrong, 1 for what the cluster did.
local function complain(name, message, code)
  io.stderr:write(("moonlb %s: %s\n"):format(name, (message:gsub("\n", " "))))
  return code
end

--- Run `body(client, values) -> exit code | nil, message` in a task, with a connection.
-- @treturn integer  exit code
function moving.run(name, arguments, body)
  local values, problem = settings.resolve(arguments, uv.os_environ())
  if not values then return complain(name, problem, 2) end
  local link, message = connection.new(values, uv.os_environ())
  if not link then return complain(name, message, 2) end
  local code
  local task = async.run(function()
    local ok
    ok, message = link:open()
    if ok then code, message = body(link.client, values) end
  end)
  while not task.is_done do uv.run("once") end
  link:close()
  return code or complain(name, message or "it failed", 1)
end

local function claim_of(service)
  local annotations = service.metadata.annotations
  local text = type(annotations) == "table" and annotations["moonlb.io/claim"]
  return type(text) == "string" and placement.parse_claim(text) or nil
end

--- Read the groups that nodes announce.
-- @treturn table  array of `{id=, addresses=, services= {objects}, claim= {term=, node=}|nil, node=|nil}`, by first
--   address; or nil, message
function moving.read(client)
  local index, objects = groups.new(), {}
  local ok, message = client:list("/api/v1/services", {}, function(items)
    for _, service in ipairs(items) do
      local wanted = request.of(service)
      if wanted then
        local key = service.metadata.namespace .. "/" .. service.metadata.name
        objects[key] = service
        index:set(key, { uid = service.metadata.uid, created = service.metadata.creationTimestamp or "",
          addresses = wanted.addresses })
      end
    end
  end)
  if not ok then return nil, "cannot list Services: " .. message end
  local list, seen = {}, {}
  for key in pairs(objects) do
    local group = index:of(key)
    if not seen[group.id] then
      seen[group.id] = true
      local it = { id = group.id, addresses = group.addresses, services = {} }
      for i, member in ipairs(group.services) do
        it.services[i] = objects[member]
        local claim = claim_of(objects[member])
        if claim and (not it.claim or claim.term > it.claim.term) then it.claim, it.node = claim, claim.node end
      end
      list[#list + 1] = it
    end
  end
  table.sort(list, function(a, b) return (a.addresses[1] or "") < (b.addresses[1] or "") end)
  return list
end

local function path_of(service)
  return ("/api/v1/namespaces/%s/services/%s"):format(service.metadata.namespace, service.metadata.name)
end

-- What the node said of a request that it cannot carry out.
local function reason_of(client, service, node)
  local last
  client:list(("/api/v1/namespaces/%s/events"):format(service.metadata.namespace), {}, function(items)
    for _, event in ipairs(items) do
      local about = event.involvedObject or {}
      if about.name == service.metadata.name and about.uid == service.metadata.uid and event.reason == "MoveWaits"
        and event.message:find("to node " .. node .. ":", 1, true) then
        last = event.message
      end
    end
  end)
  return last
end

local function annotate(client, service, text)
  return client:merge_patch(path_of(service), { metadata = { annotations = { [moves.ANNOTATION] = text } } })
end

--- Move a group, and wait until the node has it. In a task.
-- @tparam table group  of `read`, with a claim
-- @tparam string node
-- @treturn number  seconds that it took; or nil, message: it was not moved, and the request is taken back
function moving.move(client, group, node)
  local service, began = group.services[1], runtime.boottime()
  local asked, message = annotate(client, service, moves.format(node, group.claim.term))
  if not asked then return nil, "cannot annotate the Service: " .. message end
  local claim
  repeat
    async.sleep(POLL)
    local now = client:get(path_of(service))
    claim = now and claim_of(now)
    if claim and claim.term > group.claim.term then break end
  until runtime.boottime() - began > moving.PATIENCE
  if claim and claim.node == node and claim.term > group.claim.term then
    group.claim, group.node = claim, node
    return runtime.boottime() - began
  end
  annotate(client, service, null)
  if claim and claim.term > group.claim.term then
    return nil, ("node %s took it meanwhile"):format(claim.node)
  end
  return nil, reason_of(client, service, node)
    or ("node %s did not take it within %d s: does moonlb run there?"):format(node, moving.PATIENCE)
end

--- A group for people: its addresses and Services.
function moving.describe(group)
  local names = {}
  for i, service in ipairs(group.services) do names[i] = service.metadata.namespace .. "/" .. service.metadata.name end
  return ("%s (%s)"):format(table.concat(group.addresses, ","), table.concat(names, ", "))
end

return moving
