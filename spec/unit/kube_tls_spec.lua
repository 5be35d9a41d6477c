local kube = require("moonlb.core.kube")
local loop = require("spec.support.loop")
local support = require("spec.support.kube")
local tls = require("spec.support.tls")

local get = support.get

describe("TLS", function()
  local process
  local function client_of(port, options)
    options.server = options.server or ("https://127.0.0.1:%d"):format(port)
    return assert(kube.client(options))
  end

  local function tls_test(fn)
    return loop.test(function()
      local ok, err = pcall(fn)
      if process then
        process:kill()
        process:wait()
        process = nil
      end
      if not ok then error(err, 0) end
    end)
  end

  teardown(tls.clean)

  it("accepts a server of the given authority, from a file and from PEM text", tls_test(function()
    local port
    port, process = tls.server("server")
    local by_file <close> = client_of(port, { ca_file = tls.folder() .. "/ca.pem" })
    assert.equal(200, get(by_file, "/").status)
    local by_data <close> = client_of(port, { ca_data = tls.pem("ca.pem") })
    assert.equal(200, get(by_data, "/").status)
  end))

  it("refuses a server of another authority, or of none of the system's, with EAUTH", tls_test(function()
    local port
    port, process = tls.server("server")
    for _, options in ipairs({ { ca_file = tls.folder() .. "/other.pem" }, { ca_data = tls.pem("other.pem") }, {} }) do
      local client <close> = client_of(port, options)
      local _, err = get(client, "/")
      assert.equal("EAUTH", err.code)
      assert.matches("^GET https://127.0.0.1:%d+/: SSL certificate problem", err.message)
    end
  end))

  it("refuses a certificate for another name with EAUTH", tls_test(function()
    local port
    port, process = tls.server("elsewhere")
    local client <close> = client_of(port, { ca_data = tls.pem("ca.pem") })
    local _, err = get(client, "/")
    assert.equal("EAUTH", err.code)
    local named <close> = client_of(port, { ca_data = tls.pem("ca.pem"), server_name = "elsewhere.example" })
    assert.equal(200, get(named, "/").status)
  end))

  it("refuses TLS older than 1.2 with EAUTH", tls_test(function()
    local port
    port, process = tls.server("server", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    local client <close> = client_of(port, { ca_data = tls.pem("ca.pem") })
    assert.equal("EAUTH", select(2, get(client, "/")).code)
  end))

  it("presents the client certificate, from files and from PEM text", tls_test(function()
    local port
    local dir = tls.folder()
    port, process = tls.server("server", "-Verify", "1", "-verify_return_error", "-CAfile", dir .. "/ca.pem")
    local by_file <close> = client_of(port, { ca_data = tls.pem("ca.pem"), cert_file = dir .. "/client.pem",
      key_file = dir .. "/client.key" })
    assert.matches("CN ?= ?client", get(by_file, "/").body)
    local by_data <close> = client_of(port, { ca_data = tls.pem("ca.pem"), cert_data = tls.pem("client.pem"),
      key_data = tls.pem("client.key") })
    assert.matches("CN ?= ?client", get(by_data, "/").body)
    local without <close> = client_of(port, { ca_data = tls.pem("ca.pem") })
    assert.is_nil((get(without, "/")))
  end))

  it("says EAUTH for PEM text that is none, and shows nothing of a key", tls_test(function()
    local port
    port, process = tls.server("server")
    local client <close> = client_of(port, { ca_data = "nonsense" })
    assert.equal("EAUTH", select(2, get(client, "/")).code)
    local other <close> = client_of(port, { ca_data = tls.pem("ca.pem"), cert_data = tls.pem("client.pem"),
      key_data = "not-a-key" })
    local _, err = get(other, "/")
    assert.equal("EAUTH", err.code)
    assert.is_nil(err.message:find("not-a-key", 1, true))
  end))

  it("keeps the Host header of the URL when server_name is given", tls_test(function()
    local port
    port, process = tls.server("server", "-servername", "api.example", "-cert2", tls.folder() .. "/server.pem",
      "-key2", tls.folder() .. "/server.key")
    local client <close> = client_of(port, { ca_data = tls.pem("ca.pem"), server_name = "api.example" })
    assert.equal(200, get(client, "/").status)
  end))
end)
