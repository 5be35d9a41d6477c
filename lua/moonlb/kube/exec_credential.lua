--- `exec` credential plugins of a kubeconfig (client.authentication.k8s.io/v1 and v1beta1, ExecCredential): a program
-- prints a token, or a client certificate, and when it expires.
-- @module moonlb.kube.exec_credential
local async = require("moonlb.async")
local cjson = require("cjson.safe")
local timestamp = require("moonlb.kube.timestamp")
local uv = require("luv")

local exec_credential = {}

local VERSIONS = {
  ["client.authentication.k8s.io/v1"] = true,
  ["client.authentication.k8s.io/v1beta1"] = true,
}

local TIMEOUT = 60 -- seconds for the program: it may ask somebody
local PIPE_WAIT = 1 -- seconds after its end for its last words
local LARGEST = 1 << 20 -- bytes it may print

--- Check the `exec` field of a user.
-- @tparam table exec
-- @tparam string where  for messages
-- @tparam function resolve  `(path, file)`: relative commands with a slash are relative to the kubeconfig
-- @tparam string file
-- @treturn table  `{command, arguments, environment, api_version, install_hint}`; or nil, message
function exec_credential.parse(exec, where, resolve, file)
  if type(exec) ~= "table" or type(exec.command) ~= "string" then return nil, where .. ".command: text expected" end
  if not VERSIONS[exec.apiVersion] then
    return nil, ("%s.apiVersion: client.authentication.k8s.io/v1 or v1beta1 expected, got %s"):format(where,
      tostring(exec.apiVersion))
  end
  local arguments, environment = {}, {}
  for i, argument in ipairs(type(exec.args) == "table" and exec.args or {}) do arguments[i] = tostring(argument) end
  for i, entry in ipairs(type(exec.env) == "table" and exec.env or {}) do
    if type(entry) ~= "table" or type(entry.name) ~= "string" then
      return nil, ("%s.env[%d]: a name and a value expected"):format(where, i)
    end
    environment[#environment + 1] = ("%s=%s"):format(entry.name, tostring(entry.value or ""))
  end
  local has_slash = exec.command:find("/", 1, true)
  return {
    command = has_slash and resolve(exec.command, file) or exec.command, arguments = arguments,
    environment = environment, api_version = exec.apiVersion, where = where,
    install_hint = type(exec.installHint) == "string" and exec.installHint or nil,
  }
end

local function environment_for(plugin)
  local list = {}
  for name, value in pairs(uv.os_environ()) do list[#list + 1] = name .. "=" .. value end
  for _, entry in ipairs(plugin.environment) do list[#list + 1] = entry end
  list[#list + 1] = "KUBERNETES_EXEC_INFO=" .. cjson.encode({
    apiVersion = plugin.api_version, kind = "ExecCredential", spec = { interactive = false },
  })
  return list
end

-- Run the program; returns what it printed, or nil, message. What it started and left behind may keep the pipe open:
-- after its end the pipe's is waited for a moment only.
local function run(plugin, timeout)
  local output, size, exit_code = {}, 0, nil
  local pipe = uv.new_pipe(false)
  local code, problem = async.await(function(resume)
    local handle, timer
    local function finish(...)
      if timer then timer:stop() end
      if not pipe:is_closing() then pipe:close() end
      resume(...)
    end
    local spawn_error
    handle, spawn_error = uv.spawn(plugin.command, { args = plugin.arguments, env = environment_for(plugin),
      stdio = { nil, pipe, 2 } }, function(status, signal)
      handle:close()
      exit_code = signal > 0 and 128 + signal or status
      if timer then timer:stop() end
      if pipe:is_closing() then return resume(exit_code) end -- its end was read before; or it was given up
      timer = async.timer(PIPE_WAIT, function() finish(exit_code) end)
    end)
    if not handle then return finish(nil, spawn_error) end
    local function give_up(why)
      if not exit_code then handle:kill("sigkill") end
      finish(nil, why)
    end
    timer = async.timer(timeout, function() give_up(("no answer within %g s"):format(timeout)) end)
    pipe:read_start(function(_, chunk)
      size = size + #(chunk or "")
      if size > LARGEST then return give_up(("it printed more than %d bytes"):format(LARGEST)) end
      if chunk then
        output[#output + 1] = chunk
      elseif exit_code then
        finish(exit_code)
      else
        pipe:close()
      end
    end)
    return function() give_up("cancelled") end
  end)
  if not code then return nil, tostring(problem) end
  if code ~= 0 then return nil, ("exit code %d"):format(code) end
  return table.concat(output)
end

--- Ask the plugin. In a task.
-- @tparam table plugin  what `parse` returned
-- @tparam[opt=60] number timeout  seconds
-- @treturn table  `{token, cert_data, key_data, expires}` (`expires`: seconds since 1970 or nil); or nil, message, code
function exec_credential.fetch(plugin, timeout)
  local text, message = run(plugin, timeout or TIMEOUT)
  if not text then
    local hint = plugin.install_hint and "; " .. plugin.install_hint or ""
    return nil, ("%s: %s: %s%s"):format(plugin.where, plugin.command, message, hint), "EACCES"
  end
  local credential = cjson.decode(text)
  local status = type(credential) == "table" and type(credential.status) == "table" and credential.status
  if not status or (type(status.token) ~= "string" and type(status.clientCertificateData) ~= "string") then
    return nil, ("%s: %s printed no ExecCredential with a token or a certificate"):format(plugin.where,
      plugin.command), "EBADMSG"
  end
  return { token = status.token, cert_data = status.clientCertificateData, key_data = status.clientKeyData,
    expires = timestamp.seconds(status.expirationTimestamp) }
end

return exec_credential
