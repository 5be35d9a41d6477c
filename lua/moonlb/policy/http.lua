--- What `http.get` of a policy comes to: which addresses may be asked, and one answer within a deadline. The controller
-- makes the request, the policy sees the result. A late answer reaches nobody.
-- @module moonlb.policy.http
local async = require("moonlb.async")
local cjson = require("cjson.safe")
local core = require("moonlb.core.policy_worker")

local http = {}

local MAX_BODY, MAX_TIMEOUT, TIMEOUT = 64 * 1024, 10, 5
-- Bytes of all answers of one decision, bodies and decoded JSON: a worker gets them in one message of 256 KiB.
local MAX_ANSWERS = 240 * 1024
local PORTS = { http = "80", https = "443" }

--- Host and port of an address.
-- @treturn string|nil  `host:port` in lower case, or nil when the text is no plain http or https address
function http.authority(url)
  if url:find("[%c%s\128-\255]") then return nil end
  local scheme, rest = url:match("^(https?)://([^/?#]+)")
  if not scheme then return nil end
  local host, port = rest:match("^(%[[%x:.]+%])(.*)$")
  if not host then host, port = rest:match("^([%w.-]+)(.*)$") end
  if not host then return nil end
  if port == "" then port = ":" .. PORTS[scheme] end
  if not port:find("^:%d+$") then return nil end
  return (host .. port):lower()
end

--- Whether `--policy-http-allow` names the address's host.
-- @tparam string url
-- @tparam table allowed  array of `host` (any port) or `host:port`
-- @treturn boolean
function http.is_allowed(url, allowed)
  local authority = http.authority(url)
  if not authority then return false end
  local host = authority:match("^(.*):%d+$")
  for _, entry in ipairs(allowed) do
    local name = entry:lower()
    if name == authority or name == host then return true end
  end
  return false
end

-- `{status=, body=}` or `{error=}`.
local function answer_of(err, response)
  if err then return { error = err.message or "no answer" } end
  if #(response.body or "") > MAX_BODY then
    return { error = ("the answer has more than %d bytes"):format(MAX_BODY) }
  end
  return { status = response.status, body = response.body or "" }
end

local function ask(get, url, timeout)
  local seconds = math.max(0.05, math.min(timeout or TIMEOUT, MAX_TIMEOUT))
  local handle, timer
  local answer = async.await(function(resume)
    timer = async.timer(seconds, function()
      resume({ error = ("no answer from %s within %g s"):format(url, seconds) })
    end)
    handle = get({ url = url, timeout = seconds, max_bytes = MAX_BODY },
      function(err, response) resume(answer_of(err, response)) end)
  end)
  timer:stop()
  if handle and handle.cancel then handle:cancel() end
  return answer or { error = "given up" }
end

-- As deep as it is in a message: an array of requests, each of which has its answers by address.
local function pack(answer)
  return core.pack({ { http = { answer } } })
end

--- What a policy sees of an answer.
-- @tparam table answer  of `ask`
-- @tparam[opt] number used  bytes of the answers that the decision has so far
-- @treturn table  `{status=, body=, json=}`, where `json` is the body decoded, if that is an object or an array and is
-- not nested too deeply for a message; or `{error=}`
-- @treturn number  bytes of the answers with this one
function http.shown(answer, used)
  used = used or 0
  if answer.error then return { error = answer.error }, used end
  local json = cjson.decode(answer.body)
  local shown = { status = answer.status, body = answer.body, json = type(json) == "table" and json or nil }
  local packed, _, code = pack(shown)
  if code == "ELOOP" then
    shown.json = nil
    packed = pack(shown)
  end
  if packed and used + #packed <= MAX_ANSWERS then return shown, used + #packed end
  return { error = ("the answers of one decision have more than %d bytes"):format(MAX_ANSWERS) }, used
end

--- For the option `http` of `moonlb.policy.trusted` and `moonlb.policy.worker`.
-- @tparam table options  `allowed`: see `is_allowed`; `get(request, callback)`: makes the request `{url=, timeout=,
-- max_bytes=}`, follows no redirect, calls back with err or `{status=, body=}`; returns a handle with `cancel()`
-- @treturn table  `{ask=function(url, timeout)}`: inside a task, `{status=, body=}` or `{error=}`; timeout in seconds,
-- at most 10, 5 without one
function http.new(options)
  return { ask = function(url, timeout)
    if http.is_allowed(url, options.allowed) then return ask(options.get, url, timeout) end
    local authority = http.authority(url)
    return { error = authority and authority .. " is not named by --policy-http-allow" or "no plain http address" }
  end }
end

return http
