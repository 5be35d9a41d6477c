--- Folders that specs make and remove.
-- @module spec.support.temporary
local uv = require("luv")

local temporary = {}

--- A new folder below $TMPDIR, or /tmp.
-- @tparam string name  what its name begins with
-- @treturn string  its path
function temporary.folder(name)
  return assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/" .. name .. "-XXXXXX"))
end

--- A file of so many bytes, all zero, that takes no room on the disk.
function temporary.sparse(path, size)
  local fd = assert(uv.fs_open(path, "w", 384))
  assert(uv.fs_ftruncate(fd, size))
  uv.fs_close(fd)
end

--- Remove a folder and all that is in it; links are removed, not followed.
-- @tparam string path
function temporary.remove(path)
  local entries = uv.fs_scandir(path)
  while entries do
    local name = uv.fs_scandir_next(entries)
    if not name then break end
    local entry = path .. "/" .. name
    local status = uv.fs_lstat(entry)
    if status and status.type == "directory" then temporary.remove(entry) else uv.fs_unlink(entry) end
  end
  uv.fs_rmdir(path)
end

return temporary
