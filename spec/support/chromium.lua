--- Chromium without a screen, the judge of the status page: what its script sees, and pictures for people. Spoken to by
-- the DevTools protocol over two pipes (--remote-debugging-pipe): JSON, each message ended by a NUL.
-- @module spec.support.chromium
local async = require("moonlb.async")
local base64 = require("moonlb.kube.base64")
local cjson = require("cjson")
local loop = require("spec.support.loop")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local chromium = {}

local Browser = {}
Browser.__index = Browser

--- The program, or nil.
function chromium.path()
  for folder in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    if uv.fs_access(folder .. "/chromium", "X") then return folder .. "/chromium" end
  end
  return nil
end

local function receive(self, chunk)
  self.received = self.received .. chunk
  while true do
    local text, rest = self.received:match("^(%Z*)%z(.*)$")
    if not text then return end
    self.received = rest
    local message = cjson.decode(text)
    if message.id then
      self.answers[math.tointeger(message.id)] = message
    elseif message.method == "Runtime.consoleAPICalled" or message.method == "Runtime.exceptionThrown"
      or message.method == "Log.entryAdded" then
      table.insert(self.complaints, text)
    end
  end
end

--- Start it; nothing is looked at yet. Inside loop.test.
-- @treturn Browser  `complaints`: what the pages logged, errors and refusals of their security policy among it
function chromium.start()
  local self = setmetatable({ received = "", answers = {}, complaints = {}, count = 0, said = "",
    home = temporary.folder("moonlb-chromium") }, Browser)
  local errors, input, output = uv.new_pipe(), uv.new_pipe(), uv.new_pipe()
  local environment = { "HOME=" .. self.home, "PATH=" .. os.getenv("PATH"), "DBUS_SESSION_BUS_ADDRESS=disabled:" }
  self.handle = assert(uv.spawn(chromium.path(), {
    args = { "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
      "--hide-scrollbars", "--no-proxy-server", "--remote-debugging-pipe", "--user-data-dir=" .. self.home },
    env = environment, stdio = { nil, nil, errors, input, output } }, function()
    self.has_ended = true
    self.handle:close()
  end))
  self.input, self.pipes = input, { errors, input, output }
  errors:read_start(function(_, chunk) self.said = (self.said .. (chunk or "")):sub(-4000) end)
  output:read_start(function(_, chunk) if chunk then receive(self, chunk) end end)
  return self
end

--- Ask for a method of the protocol and wait for its result.
function Browser:call(method, parameters)
  self.count = self.count + 1
  local id = self.count
  self.input:write(cjson.encode({ id = id, method = method, sessionId = self.session,
    params = next(parameters or {}) and parameters or nil }) .. "\0")
  loop.until_true(function()
    assert(not self.has_ended, "chromium ended: " .. self.said)
    return self.answers[id]
  end, 30, method)
  local answer = self.answers[id]
  self.answers[id] = nil
  assert(answer.result, method .. ": " .. cjson.encode(answer.error or {}))
  return answer.result
end

--- Open an address in a new tab.
-- @tparam string url
-- @tparam[opt] table options  `width` (1280), `height` (900), `is_dark`, `is_without_script`
function Browser:open(url, options)
  options, self.session = options or {}, nil
  local target = self:call("Target.createTarget", { url = "about:blank" }).targetId
  self.session = self:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
  self:call("Runtime.enable")
  self:call("Log.enable")
  self:call("Emulation.setDeviceMetricsOverride", { width = options.width or 1280, height = options.height or 900,
    deviceScaleFactor = 1, mobile = false })
  self:call("Emulation.setEmulatedMedia", { features = { { name = "prefers-color-scheme",
    value = options.is_dark and "dark" or "light" } } })
  if options.is_without_script then self:call("Emulation.setScriptExecutionDisabled", { value = true }) end
  self:call("Page.navigate", { url = url })
  loop.until_true(function() return self:value("document.readyState") == "complete" end, 20, url)
end

--- What an expression of JavaScript gives in the page: a string, a number or a boolean.
function Browser:value(expression)
  local result = self:call("Runtime.evaluate", { expression = expression, returnByValue = true })
  assert(not result.exceptionDetails, expression .. ": " .. cjson.encode(result.exceptionDetails or {}))
  return result.result.value
end

--- Wait until an expression is true.
function Browser:until_true(expression, timeout_s)
  loop.until_true(function() return self:value(expression) == true end, timeout_s or 15, expression)
end

--- A picture of what is seen, as PNG.
-- @tparam string path
function Browser:screenshot(path)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(base64.decode(self:call("Page.captureScreenshot", { format = "png" }).data)))
end

--- End it and all that it left.
function Browser:close()
  if not self.has_ended then self.handle:kill("sigkill") end
  loop.until_true(function() return self.has_ended end, 10, "end of chromium")
  for _, pipe in ipairs(self.pipes) do pipe:close() end
  async.sleep(0.2)	-- its children see the closed pipes, and write no more
  temporary.remove(self.home)
end

return chromium
