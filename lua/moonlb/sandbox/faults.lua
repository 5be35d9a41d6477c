--- Faults on request: what an API server, or the network before it, may do to a client. Set over HTTP while it runs.
--
-- `POST /sandbox/faults` with a JSON object (or a list of them), `GET` shows what is set, `DELETE` clears it.
--
-- A rule: `{"action": ACTION, "method": "PATCH", "verb": "patch", "path": "/api/*/services/*", "count": 3}`.
-- `method` (HTTP), `verb` (`get list watch create update patch delete deletecollection`) and `path` (`*` stands for any
-- text) say which requests; left out, they match all. A rule ends after `count` requests or after `seconds`, whichever
-- comes first; without both after one request. ACTION is
--
-- * `drop`: cut the connection without an answer; with `"late": true` after the request was carried out
-- * `status`: answer `code` (409, 410, 429, 500, ...) with a Status; `retryAfter` seconds go to the header; `late` too
-- * `html`: answer a web page, with `code` (200 if left out)
-- * `truncate`: the right answer, cut in half
-- * `slow`: the right answer after `delay` seconds
--
-- At once, once: `dropWatches` cuts every watch, `endWatches` ends them cleanly, `freezeWatches` makes the watches that
-- are open go silent for ever while their connections stay, `compact` forgets the past (older versions give 410).
-- @module moonlb.sandbox.faults
local uv = require("luv")
local json = require("moonlb.sandbox.json")
local status = require("moonlb.sandbox.status")

local faults = {}

local Faults = { __name = "moonlb.sandbox.faults" }
Faults.__index = Faults

--- No faults yet.
-- @tparam table api  the server they are for
-- @treturn Faults
function faults.new(api)
  return setmetatable({ api = api, rules = {} }, Faults)
end

local function each_watch(api, fn)
  local all = {}
  for watch in pairs(api.watches) do
    all[#all + 1] = watch
  end
  for _, watch in ipairs(all) do
    fn(watch)
  end
end

local at_once = {
  dropWatches = function(api)
    each_watch(api, function(watch) watch:close("abort") end)
  end,
  endWatches = function(api)
    each_watch(api, function(watch) watch:close("finish") end)
  end,
  freezeWatches = function(api)
    each_watch(api, function(watch) watch.is_frozen = true end)
  end,
  compact = function(api)
    api.store:compact()
  end,
}

local lasting = { drop = true, status = true, html = true, truncate = true, slow = true }

-- "/api/*/services" as an anchored Lua pattern.
local function glob(text)
  return "^" .. text:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

local fields = {
  action = "string", method = "string", verb = "string", path = "string", count = "number", seconds = "number",
  code = "number", retryAfter = "number", delay = "number", late = "boolean",
}

local function check(rule)
  if not json.is_object(rule) then
    return "a fault is a JSON object"
  end
  for name, value in pairs(rule) do
    if type(value) ~= fields[name] then
      return fields[name] and ("%s: a %s expected"):format(name, fields[name]) or "unknown field " .. name
    end
  end
  if not at_once[rule.action] and not lasting[rule.action] then
    return "unknown action " .. tostring(rule.action)
  elseif rule.action == "status" and not (rule.code and rule.code >= 400 and rule.code < 600) then
    return "status needs a code from 400 to 599"
  elseif rule.action == "slow" and not (rule.delay and rule.delay > 0) then
    return "slow needs a delay in seconds"
  end
end

--- Set a fault.
-- @tparam table rule  as described above
-- @treturn boolean  true, or nil, message, `"EINVAL"`
function Faults:set(rule)
  local wrong = check(rule)
  if wrong then
    return nil, wrong, "EINVAL"
  elseif at_once[rule.action] then
    at_once[rule.action](self.api)
    return true
  end
  local ends = rule.seconds and uv.now() + rule.seconds * 1000
  self.rules[#self.rules + 1] = {
    rule = rule, pattern = rule.path and glob(rule.path), ends = ends,
    left = rule.count or (not rule.seconds and 1) or math.huge,
  }
  return true
end

--- Remove all faults. Watches that were frozen stay so.
function Faults:clear()
  self.rules = {}
end

local function matches(entry, ctx)
  local rule = entry.rule
  return (not rule.method or rule.method == ctx.method) and (not rule.verb or rule.verb == ctx.verb)
    and (not entry.pattern or ctx.path:find(entry.pattern) ~= nil)
end

--- The fault for a request, if any; counts it.
-- @tparam table ctx  `method`, `verb|nil`, `path`
-- @treturn table|nil  rule
function Faults:take(ctx)
  local now, i = uv.now(), 1
  while i <= #self.rules do
    local entry = self.rules[i]
    if entry.left <= 0 or (entry.ends and now >= entry.ends) then
      table.remove(self.rules, i)
    elseif matches(entry, ctx) then
      entry.left = entry.left - 1
      return entry.rule
    else
      i = i + 1
    end
  end
end

local reasons = {
  [400] = "BadRequest", [401] = "Unauthorized", [403] = "Forbidden", [404] = "NotFound", [409] = "Conflict",
  [410] = "Expired", [422] = "Invalid", [429] = "TooManyRequests", [500] = "InternalError",
  [503] = "ServiceUnavailable", [504] = "Timeout",
}

--- The answer of a `status` or `html` fault.
-- @treturn table  `{code=, body=, headers=}`
function faults.answer(rule)
  if rule.action == "html" then
    return {
      code = rule.code or 200, body = "<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>\n",
      headers = { ["Content-Type"] = "text/html" },
    }
  end
  local details = rule.retryAfter and { retryAfterSeconds = math.ceil(rule.retryAfter) } or nil
  local body = status.failure(rule.code, reasons[rule.code], "a fault that was asked for", details)
  return {
    code = rule.code, body = json.encode(body) .. "\n",
    headers = {
      ["Content-Type"] = "application/json",
      ["Retry-After"] = rule.retryAfter and ("%d"):format(math.ceil(rule.retryAfter)) or nil,
    },
  }
end

-- What is set, for GET.
local function description(self)
  local list, watches = json.list(), 0
  for _, entry in ipairs(self.rules) do
    local shown = json.copy(entry.rule)
    shown.left = entry.left ~= math.huge and entry.left or nil
    list[#list + 1] = shown
  end
  for _ in pairs(self.api.watches) do
    watches = watches + 1
  end
  return { faults = list, watches = watches, revision = self.api.store.revision }
end

--- Serve `/sandbox/faults`.
-- @tparam string method
-- @tparam string body
-- @treturn integer  HTTP status
-- @treturn string  JSON
function Faults:serve(method, body)
  if method == "DELETE" then
    self:clear()
  elseif method == "POST" then
    local value, message = json.decode(body)
    if value == nil then
      return 400, json.encode({ error = message }) .. "\n"
    end
    for _, rule in ipairs(json.is_list(value) and value or { value }) do
      local ok, wrong = self:set(rule)
      if not ok then
        return 400, json.encode({ error = wrong }) .. "\n"
      end
    end
  elseif method ~= "GET" then
    return 405, json.encode({ error = "GET, POST or DELETE" }) .. "\n"
  end
  return 200, json.encode(description(self)) .. "\n"
end

return faults
