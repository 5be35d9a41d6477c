--- `moonlb record dump`: the flight recorder of the moonlb that runs here, as JSON and as a capture file.
-- @module moonlb.cli.record
local control = require("moonlb.control.client")
local flight = require("moonlb.control.flight")
local json = require("moonlb.json")
local settings = require("moonlb.cli.settings")
local uv = require("luv")

local command = { name = "record", summary = "write down what moonlb decided, sent and answered lately" }

--- @param parser  argparse's command
-- @tparam func add_help  see moonlb.cli
function command.configure(parser, add_help)
  parser:require_command(true):command_target("record_command")
  local dump = parser:command("dump", "decisions, state changes, Events and frames: JSON, and pcapng for Wireshark")
  add_help(dump)
  dump:option("--json", "file for the JSON (default: standard output)"):argname("FILE")
  dump:option("--pcap", "file for the frames"):argname("FILE")
  settings.configure(dump, function(setting) return setting.key == "state_dir" end)
end

-- All pages of an operation; nil, message.
local function entries_of(session)
  local all, after = json.array(), 0
  repeat
    local page, message = session:call({ op = "record", after = after })
    if not page then return nil, message end
    table.move(page.entries, 1, #page.entries, #all + 1, all)
    local is_last = page.next == after
    after = page.next
  until is_last
  return all
end

local function frames_of(session)
  local all = json.array()
  repeat
    local page, message = session:call({ op = "frames", skip = #all })
    if not page then return nil, message end
    table.move(page.frames, 1, #page.frames, #all + 1, all)
  until #page.frames == 0 or #all >= page.total
  return all
end

local function dump(path)
  local session, message = control.connect(path)
  if not session then return nil, message end
  local record, version = {}
  version, message = session:call({ op = "version" })
  if version then
    record.version, record.node = version.version, version.node
    record.entries, message = entries_of(session)
  end
  if record.entries then record.frames, message = frames_of(session) end
  session:close()
  if not record.frames then return nil, message end
  return record
end

local function write_file(path, text)
  local file, message = io.open(path, "wb")
  if not file then return nil, message end
  local ok
  ok, message = file:write(text)
  file:close()
  return ok, message
end

local function save(args, record, write)
  local text = json.encode(record, "  ") .. "\n"
  local ok, message = true, nil
  if args.json then ok, message = write_file(args.json, text) elseif not args.pcap then write(text) end
  if ok and args.pcap then ok, message = write_file(args.pcap, flight.capture(record.frames)) end
  return ok, message
end

--- @tparam table args  `json`, `pcap` (paths), `state_dir`
-- @tparam[opt] table io_  `write(text)`, `complain(text)`, `environment`; for specs
-- @treturn number  0; 1: nobody answers, or a file cannot be written; 2: a flag is wrong
function command.run(args, io_)
  io_ = type(io_) == "table" and io_.environment and io_ or {}
  local complain = io_.complain or function(line) io.stderr:write(line) end
  local values, message = settings.resolve(args, io_.environment or uv.os_environ())
  if not values then
    complain("moonlb record: " .. message .. "\n")
    return 2
  end
  local record, ok
  record, message = dump(values.state_dir .. "/control.sock")
  if record then ok, message = save(args, record, io_.write or function(text) io.stdout:write(text) end) end
  if ok then return 0 end
  complain("moonlb record: " .. message .. "\n")
  return 1
end

return command
