--- What a node of the sandbox's LAN needs beside moonlb: a way to the API server, and a backend to reach.
-- On a real node kube-proxy would lead a VIP's port to a Pod; here an HTTP server on every address plays that part.
-- @module moonlb.sandbox.node
local forward = require("moonlb.sandbox.forward")
local httpd = require("moonlb.core.httpd")

local node = {}

-- Everything that people may want to see of who answered.
local function answer(name)
  return function(request, response)
    response:send(200, { ["content-type"] = "text/plain" },
      ("hello from %s\npath: %s\nclient: %s\n"):format(name, request.path, request.remote or "?"))
  end
end

--- Open what the node needs; it runs with the loop.
-- @tparam table options  `name` (of the node), `api` (Unix socket that leads to the API server), `api_port` (on the
--   node's loopback), `http_port` (on every address; nil: no backend)
-- @treturn table  with `close()`; or nil, message, code
function node.start(options)
  local way, message, code = forward.start({ host = "127.0.0.1", port = options.api_port }, { path = options.api })
  if not way then return nil, message, code end
  local server
  if options.http_port then
    server, message, code = httpd.listen({ address = "::", port = options.http_port }, answer(options.name))
    if not server then
      way:close()
      return nil, message, code
    end
  end
  return { close = function()
    way:close()
    if server then server:close() end
  end }
end

return node
