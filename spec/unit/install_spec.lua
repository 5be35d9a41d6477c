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

local function on_path(name)
  return os.execute("command -v " .. name .. " >/dev/null 2>&1")
end

describe("moonlb manual", function()
  local text

  local function read()
    text = text or program.run(program.moonlb(), { "manual" }).stdout
    return (text:gsub("\\%-", "-"):gsub("\\&", ""):gsub("\\e", "\\"))
  end

  it("names every option of the daemon with its variables, and every command", loop.test(function()
    local page = read()
    for _, it_is in ipairs(require("moonlb.cli.settings").list) do
      assert.truthy(page:find("\n.B " .. it_is.flag .. " ", 1, true), it_is.flag)
      assert.truthy(page:find("[" .. table.concat(it_is.environment, ", ") .. "]\n", 1, true), it_is.flag)
    end
    local help = program.run(program.moonlb(), { "--help" }).stdout
    for command in help:match("Commands:(\n.*)$"):gmatch("\n   (%l+)") do
      assert.truthy(page:find("\n.SS moonlb " .. command, 1, true), command)
    end
  end))

  it("has nothing that mandoc would say of it", loop.test(function()
    if not on_path("mandoc") then return pending("mandoc is not installed") end
    read()
    local judged = program.run("mandoc", { "-T", "lint", "-W", "warning" }, { input = text })
    assert.same({ 0, "", "" }, { judged.code, judged.stdout, judged.stderr })
  end))

  it("has nothing that man would say of it", loop.test(function()
    if not on_path("man") then return pending("man is not installed") end
    read()
    local judged = program.run("bash", { "-c", [[
      file=$(mktemp); cat >"$file"; man -E ascii --warnings -P cat -l "$file" 2>&1; rm "$file"
    ]] }, { input = text })
    assert.matches("MOONLB%(1%).*NAME.*SYNOPSIS.*OPTIONS OF moonlb run.*%-%-interface.*EXIT STATUS", judged.stdout)
    assert.is_nil(judged.stdout:find("warning", 1, true))
  end))
end)

describe("make install", function()
  it("puts program, manual and completion below DESTDIR and PREFIX, and nothing elsewhere", loop.test(function()
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
usr/share/man/man1/moonlb.1 644
usr/share/zsh/site-functions/_moonlb 644
]], made.stdout)
    assert.equal(0, is_run)
  end, 60))
end)
