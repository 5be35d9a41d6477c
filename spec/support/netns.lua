--- Network namespaces for the specs of spec/lab.
-- spec/run starts each of them through spec/lab/enter: the whole spec process is in a network of its own, which holds
-- a lone `lo`. It makes what it needs there, with plain names, and need not clean up: all is gone with it. Further
-- nodes are named namespaces (`netns.add`), reached with `ip -n NAME` and `ip netns exec NAME`; programs started there
-- (`netns.spawn`) end with the spec as well. By hand: `spec/run build/moonlb-spec spec/lab/x_spec.lua`.
-- @module spec.support.netns
local cjson = require("cjson")
local uv = require("luv")
require("spec.support.inside_lab")

local netns = {}

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- Run a program to its end; the loop stands still meanwhile.
-- @treturn string  what it wrote on both outputs
-- @treturn integer  exit code
function netns.try(...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = quote(word) end
  local pipe = assert(io.popen(table.concat(words, " ") .. " 2>&1 </dev/null"))
  local output = pipe:read("a")
  local _, _, code = pipe:close()
  return output, code
end

--- Run a program that has to succeed.
-- @treturn string  its output
function netns.run(...)
  local output, code = netns.try(...)
  if code ~= 0 then error(("%s: exit %d: %s"):format(table.concat({ ... }, " "), code, output), 2) end
  return output
end

--- ip(8) with JSON output, decoded: `netns.json("-n", "node1", "addr", "show", "dev", "eth0")`.
function netns.json(...)
  local output = netns.run("ip", "-j", ...)
  return output:find("%S") and cjson.decode(output) or {}
end

--- Make a named namespace, with `lo` up.
function netns.add(name)
  netns.run("ip", "netns", "add", name)
  netns.run("ip", "-n", name, "link", "set", "lo", "up")
  return name
end

--- Make a pair of veths, both up: `name` here, `peer` in namespace `node` (nil: here too).
function netns.veth(name, peer, node)
  local link = { "ip", "link", "add", name, "type", "veth", "peer", "name", peer }
  if node then link[#link + 1], link[#link + 2] = "netns", node end
  netns.run(table.unpack(link))
  netns.run("ip", "link", "set", name, "up")
  if node then
    netns.run("ip", "-n", node, "link", "set", peer, "up")
  else
    netns.run("ip", "link", "set", peer, "up")
  end
end

--- The index of an interface of this namespace, or of `node`.
function netns.index(name, node)
  if node then return math.tointeger(netns.json("-n", node, "link", "show", "dev", name)[1].ifindex) end
  return math.tointeger(netns.json("link", "show", "dev", name)[1].ifindex)
end

--- Start a program on the loop, in namespace `node` unless nil.
-- @treturn table  `output`: both outputs so far; `code`: nil until it has ended; `stop()`: SIGTERM and close
function netns.spawn(node, ...)
  local argv = { ... }
  if node then argv = { "ip", "netns", "exec", node, ... } end
  local program = { output = "" }
  local stdout, stderr = uv.new_pipe(false), uv.new_pipe(false)
  local process
  local function close(handle)
    if not handle:is_closing() then handle:close() end
  end
  process = assert(uv.spawn(argv[1], {
    args = table.move(argv, 2, #argv, 1, {}), stdio = { nil, stdout, stderr },
  }, function(code)
    program.code = code
    close(process)
  end))
  program.pid = process:get_pid()
  for _, pipe in ipairs({ stdout, stderr }) do
    pipe:read_start(function(_, chunk)
      if chunk then program.output = program.output .. chunk else close(pipe) end
    end)
  end
  function program.stop()
    if not process:is_closing() then process:kill("sigterm") end
    close(stdout)
    close(stderr)
  end
  return program
end

return netns
