-- Files that change at the very moment in which they are read.
local folder = require("moonlb.policy.folder")
local loop = require("spec.support.loop")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- As the kubelet publishes a ConfigMap volume.
local function publish(dir, stamp, files)
  uv.fs_mkdir(dir .. "/.." .. stamp, 448)
  for name, text in pairs(files) do
    write(("%s/..%s/%s"):format(dir, stamp, name), text)
    uv.fs_symlink("..data/" .. name, dir .. "/" .. name)
  end
  uv.fs_symlink(".." .. stamp, dir .. "/..data_tmp")
  assert(uv.fs_rename(dir .. "/..data_tmp", dir .. "/..data"))
end

-- body(folder, path, meddle): after `meddle(name, fn)` each call of uv[name] is followed by fn(number of the call).
local function with_folder(body)
  return loop.test(function()
    local dir = temporary.folder("moonlb-policy-folder")
    local real = {}
    local function meddle(name, fn)
      local call, count = uv[name], 0
      real[name] = call
      uv[name] = function(...)
        local results = table.pack(call(...))
        count = count + 1
        fn(count)
        return table.unpack(results, 1, results.n)
      end
    end
    local ok, message = pcall(body, folder.new(dir, function() end), dir, meddle)
    for name, call in pairs(real) do uv[name] = call end
    temporary.remove(dir)
    if not ok then error(message, 0) end
  end)
end

local function texts(files)
  local result = {}
  for name, it in pairs(files) do result[name] = it.text or it.error end
  return result
end

describe("Folder:read", function()
  it("reads a file again that grows while it is read", with_folder(function(it, dir, meddle)
    write(dir .. "/a.lua", "old")
    meddle("fs_read", function(count)
      if count == 1 then write(dir .. "/a.lua", "old, and new") end
    end)
    assert.same({ a = "old, and new" }, texts(assert(it:read())))
  end))

  it("reads a file again that was shorter than its size said", with_folder(function(it, dir, meddle)
    write(dir .. "/a.lua", "a long text")
    meddle("fs_fstat", function(count)
      if count == 1 then write(dir .. "/a.lua", "short") end
    end)
    assert.same({ a = "short" }, texts(assert(it:read())))
  end))

  it("reads a file again that changed and kept its size", with_folder(function(it, dir, meddle)
    write(dir .. "/a.lua", "old")
    meddle("fs_read", function(count)
      if count > 1 then return end
      write(dir .. "/a.lua", "new")
      uv.fs_utime(dir .. "/a.lua", 0, 1)
    end)
    assert.same({ a = "new" }, texts(assert(it:read())))
  end))

  it("reads all files again when one vanishes", with_folder(function(it, dir, meddle)
    write(dir .. "/a.lua", "a")
    write(dir .. "/b.lua", "b")
    meddle("fs_read", function(count)
      if count > 1 then return end
      uv.fs_unlink(dir .. "/b.lua")
      write(dir .. "/c.lua", "c")
    end)
    assert.same({ a = "a", c = "c" }, texts(assert(it:read())))
  end))

  it("never mixes two sets: a swap of ..data in mid-read has all files read again", with_folder(
    function(it, dir, meddle)
      publish(dir, "1", { ["a.lua"] = "a1", ["b.lua"] = "b1" })
      local reads = 0
      meddle("fs_read", function(count)
        reads = count
        if count == 1 then publish(dir, "2", { ["a.lua"] = "a2", ["b.lua"] = "b2" }) end
      end)
      assert.same({ a = "a2", b = "b2" }, texts(assert(it:read())))
      assert.equal(4, reads)
    end))

  it("gives up after five times, and says why", with_folder(function(it, dir, meddle)
    write(dir .. "/a.lua", "x")
    local reads
    meddle("fs_read", function(count)
      write(dir .. "/a.lua", ("x"):rep(count + 1))
      reads = count
    end)
    local files, message, code = it:read()
    assert.is_nil(files)
    assert.same({ dir .. "/a.lua: changed while it was read", "EAGAIN", 5 }, { message, code, reads })
  end))

  it("gives up on a set that is swapped again and again", with_folder(function(it, dir, meddle)
    publish(dir, "0", { ["a.lua"] = "a" })
    meddle("fs_read", function(count) publish(dir, tostring(count), { ["a.lua"] = "a" }) end)
    local files, message, code = it:read()
    assert.is_nil(files)
    assert.same({ dir .. ": was swapped", "EAGAIN" }, { message, code })
  end))

  it("has no set where there is no folder", with_folder(function(_, dir)
    local _, _, code = folder.new(dir .. "/none", function() end):read()
    assert.equal("ENOENT", code)
  end))
end)
