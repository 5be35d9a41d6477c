-- Jumps back for ever while it is loaded, out of a block that has something to close.
-- worker: load .-%.lua:%d+: took more than 4000000 steps
::top::
do
  local guard <close> = setmetatable({}, { __close = function() end })
  goto top
end
