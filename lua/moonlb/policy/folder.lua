--- A folder of policies: reads its `*.lua` files as one consistent set, and says when something in it changed. Made for
-- ConfigMap volumes, in which the kubelet swaps the symlink `..data` and so replaces all files at once.
-- @module moonlb.policy.folder
local async = require("moonlb.async")
local log = require("moonlb.core.log")
local uv = require("luv")

local folder = {}

local Folder = { __name = "moonlb.policy.folder" }
Folder.__index = Folder

folder.MAX_FILES, folder.MAX_BYTES = 64, 1 << 20

-- Changes come in bursts: looked at when nothing came for QUIET seconds, and at the latest after PATIENCE.
local QUIET, PATIENCE = 0.03, 0.3
-- A set that changes while it is read is read again, so often, with a pause.
local ATTEMPTS, PAUSE = 5, 0.05
local DATA = "..data"

--- @tparam string path
-- @tparam function on_change  called, outside of a task, after something in it changed
-- @treturn Folder  not watched yet
function folder.new(path, on_change)
  return setmetatable({ path = path:gsub("(.)/+$", "%1"), on_change = on_change }, Folder)
end

-- Reading. ------------------------------------------------------------------------------------------------------

local function gist(stat)
  return table.concat({ stat.ino, stat.size, stat.mtime.sec, stat.mtime.nsec }, " ")
end

local function read_open(fd, path)
  local before, message, code = uv.fs_fstat(fd)
  if not before then return nil, message, code end
  if before.type ~= "file" then return nil, path .. ": is no file", "EINVAL" end
  if before.size > folder.MAX_BYTES then
    return nil, ("%s: %d bytes, at most %d"):format(path, before.size, folder.MAX_BYTES), "EFBIG"
  end
  local text
  text, message, code = uv.fs_read(fd, before.size + 1, 0)
  if not text then return nil, message, code end
  local after = uv.fs_fstat(fd)
  if #text ~= before.size or not after or gist(after) ~= gist(before) then
    return nil, path .. ": changed while it was read", "EAGAIN"
  end
  return text
end

-- One file whole. A FIFO or device is not opened: that could wait.
local function read_file(path)
  local stat, message, code = uv.fs_stat(path)
  if not stat then return nil, message, code end
  if stat.type ~= "file" then return nil, path .. ": is no file", "EINVAL" end
  local fd
  fd, message, code = uv.fs_open(path, "r", 0)
  if not fd then return nil, message, code end
  local text
  text, message, code = read_open(fd, path)
  uv.fs_close(fd)
  return text, message, code
end

local function list_names(self)
  local handle, message, code = uv.fs_scandir(self.path)
  if not handle then return nil, message, code end
  local names = {}
  for entry in function() return uv.fs_scandir_next(handle) end do
    local name = entry:match("^([^.].*)%.lua$")
    if name then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- Once: files, or nil when the set changed meanwhile.
local function read_once(self)
  local link = uv.fs_readlink(self.path .. "/" .. DATA)
  local names, message, code = list_names(self)
  if not names then return nil, message, code end
  local files = {}
  for i, name in ipairs(names) do
    local file, text = ("%s/%s.lua"):format(self.path, name), nil
    if i > folder.MAX_FILES then
      message = ("%s: at most %d policies in a folder"):format(file, folder.MAX_FILES)
    else
      text, message, code = read_file(file)
      if code == "EAGAIN" or code == "ENOENT" then return nil, message, "EAGAIN" end
    end
    files[name] = { file = file, text = text, error = not text and message or nil }
  end
  if uv.fs_readlink(self.path .. "/" .. DATA) ~= link then return nil, self.path .. ": was swapped", "EAGAIN" end
  return files
end

--- Read all `*.lua` files, inside a task. A file that vanishes or changes meanwhile: all of them again.
-- @treturn table|nil  {name = `{file=path, text=}` or `{file=, error=}`}; nil, message, code when the folder cannot be
-- read; ENOENT: there is none
function Folder:read()
  local files, message, code
  for attempt = 1, ATTEMPTS do
    files, message, code = read_once(self)
    if files or code ~= "EAGAIN" then break end
    if attempt < ATTEMPTS then async.sleep(PAUSE) end
  end
  return files, message, code
end

-- Watching. -----------------------------------------------------------------------------------------------------

-- The folder, or the nearest one above it that there is.
local function nearest(path)
  while not uv.fs_stat(path) do
    local parent = path:match("^(.+)/[^/]+$") or (path:sub(1, 1) == "/" and "/" or ".")
    if parent == path then break end
    path = parent
  end
  return path
end

local function settle(self)
  if self.quiet then self.quiet:stop() end
  local now = uv.hrtime() / 1e9
  self.since = self.since or now
  self.quiet = async.timer(math.max(0, math.min(QUIET, self.since + PATIENCE - now)), function()
    self.quiet, self.since = nil, nil
    self:watch() -- before it is read: what comes later is seen, also when the folder itself was replaced
    self.on_change()
  end)
end

--- Watch it, or watch again: the folder may be another one than before.
function Folder:watch()
  if self.event then self.event:close() end
  self.event = uv.new_fs_event()
  local target = nearest(self.path)
  local ok, message = self.event:start(target, {}, function() settle(self) end)
  if not ok then log.warn("policies are not watched", { folder = target, error = message }) end
end

--- Watch no more.
function Folder:close()
  if self.event then self.event:close() end
  if self.quiet then self.quiet:stop() end
  self.event, self.quiet = nil, nil
end

return folder
