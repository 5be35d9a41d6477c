local loop = require("spec.support.loop")
local privileges = require("moonlb.daemon.privileges")
local program = require("spec.support.program")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local is_sanitized = uv.exepath():find("sanitize", 1, true) ~= nil

describe("privileges.needed", function()
  local function needed(files, uid)
    return table.concat(privileges.needed(files, function(path)
      return ({ ["/theirs"] = { uid = 1000, mode = 33152 }, ["/open"] = { uid = 1000, mode = 33188 },
        ["/ours"] = { uid = 0, mode = 33152 } })[path]
    end, uid), " ")
  end

  it("is what announcing takes", function()
    assert.equal("net_admin net_raw net_bind_service sys_nice", needed({ ca_file = "/open", token_file = "/ours" }, 0))
  end)

  it("is more for a root whose credentials are another user's files", function()
    assert.matches(" dac_read_search$", needed({ cert_file = "/open", key_file = "/theirs" }, 0))
    assert.is_nil(needed({ key_file = "/theirs" }, 1000):find("dac_read_search"))
    assert.is_nil(needed({ key_file = "/nowhere" }, 0):find("dac_read_search"))
  end)
end)

describe("privileges.drop", function()
  -- A process of its own, since there is no way back; what it executes tells what it may.
  local function lines_after(names)
    local folder = temporary.folder("moonlb-privileges")
    local script = folder .. "/drop.lua"
    local file = assert(io.open(script, "w"))
    file:write(("assert(require('moonlb.core.privileges').drop({%s}) ~= nil)\n"):format(names),
      "os.exit(os.execute('/usr/bin/python3 spec/support/forbidden_calls.py'))\n")
    file:close()
    local result = program.run(uv.exepath(), { "--script", script })
    temporary.remove(folder)
    assert.equal(0, result.code, result.stderr)
    local lines = {}
    for name, value in result.stdout:gmatch("(%S+) (%S+)") do lines[name] = value end
    return lines
  end

  it("leaves what is named, for what is executed too, with no way to gain more", loop.test(function()
    local lines = lines_after("'net_admin', 'net_raw'")
    assert.same({ "1", "2" }, { lines.NoNewPrivs, lines.Seccomp })
    local own = io.open("/proc/self/status"):read("a")
    local had = tonumber(own:match("CapPrm:%s*(%x+)"), 16)
    local wanted = uv.getuid() == 0 and ("%016x"):format(had & 0x3000) or ("0"):rep(16)
    assert.same({ wanted, wanted, ("0"):rep(16) }, { lines.CapPrm, lines.CapEff, lines.CapAmb })
    if had & 1 << 8 ~= 0 then assert.equal(wanted, lines.CapBnd) end
  end))

  it("forbids system calls that are others' jobs, and lets programs start", loop.test(function()
    local lines = lines_after("")
    for _, call in ipairs({ "unshare", "setns", "mount", "bpf", "keyctl" }) do
      assert.equal("EPERM", lines[call], call)
    end
    assert.equal("ENOSYS", lines.clone3)
    assert.equal("ok", lines.fork)
    if not is_sanitized then assert.equal("EPERM", lines.ptrace) end
  end))

  it("names a capability that there is not", function()
    local ok, message, code = require("moonlb.core.privileges").drop({ "net_admin", "fly" })
    assert.is_nil(ok)
    assert.equal("EINVAL", code)
    assert.matches("capabilities", message)
  end)
end)
