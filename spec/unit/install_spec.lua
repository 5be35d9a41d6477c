-- `make install` and what it installs.
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local uv = require("luv")

local function bash(script, ...)
  return program.run("bash", { "-euo", "pipefail", "-c", script, "spec", ... }, { timeout = 60 })
end

-- What bash offers for a command line whose last word is being completed.
local function completed(...)
  local script = [[
    source <("$0" completion bash)
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _moonlb
    printf '%s\n' "${COMPREPLY[@]}"
  ]]
  local result = program.run("bash", { "-c", script, program.moonlb(), ... })
  assert.equal("", result.stderr)
  return result.stdout
end

describe("moonlb completion", function()
  it("has bash complete commands", loop.test(function()
    assert.equal("plan\npolicy\n", completed("moonlb", "p"))
  end))

  it("has bash complete the flags of the command", loop.test(function()
    assert.equal("--lease-duration\n--lease-renew-deadline\n--lease-retry\n", completed("moonlb", "run", "--lea"))
  end))

  it("prints a script for zsh and fish, and says which shells there are", loop.test(function()
    assert.matches("^#compdef moonlb\n", program.run(program.moonlb(), { "completion", "zsh" }).stdout)
    assert.matches("complete %-c moonlb", program.run(program.moonlb(), { "completion", "fish" }).stdout)
    local wrong = program.run(program.moonlb(), { "completion", "tcsh" })
    assert.equal(2, wrong.code)
    assert.matches("must be one of 'bash', 'zsh', 'fish'", wrong.stderr)
  end))
end)

describe("make install", function()
  it("puts program and completion below DESTDIR and PREFIX, and nothing elsewhere", loop.test(function()
    local folder = assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/moonlb-install-XXXXXX"))
    local build = program.moonlb():match("^(.*)/moonlb$")
    -- The program is built: `-o` has make take it as it is.
    local made = bash([[make --no-print-directory install BUILD="$1" DESTDIR="$2" PREFIX=/usr -o "$1/moonlb"
      cd "$2"; find . -type f -printf '%P %m\n' | sort]], build, folder)
    local is_run = program.run(folder .. "/usr/bin/moonlb", { "version" }).code
    bash([[rm -rf "$1"]], folder)
    assert.equal(0, made.code, made.stderr)
    assert.equal(("installed below %s/usr\n"):format(folder) .. [[
usr/bin/moonlb 755
usr/share/bash-completion/completions/moonlb 644
usr/share/fish/vendor_completions.d/moonlb.fish 644
usr/share/zsh/site-functions/_moonlb 644
]], made.stdout)
    assert.equal(0, is_run)
  end, 60))
end)
