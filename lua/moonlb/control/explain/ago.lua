--- A duration for people.
-- @tparam number seconds
-- @treturn string  "40 s", "5 min", "3 h", "4 days"
return function(seconds)
  seconds = math.floor(seconds)
  if seconds < 90 then return ("%d s"):format(seconds) end
  if seconds < 5400 then return ("%d min"):format(seconds // 60) end
  if seconds < 172800 then return ("%d h"):format(seconds // 3600) end
  return ("%d days"):format(seconds // 86400)
end
