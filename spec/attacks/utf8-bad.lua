-- Reads as UTF-8 what is none.
-- worker: refuse 18 failures
local function attack(service, cluster)
  local failures = 0
  local function try(...) if not pcall(...) then failures = failures + 1 end end
  for _, text in ipairs({ "\255", "\xF8\x88\x80\x80\x80", "\xED\xA0\x80", "\xC0\x80", ("\x80"):rep(100000) }) do
    try(utf8.codepoint, text, 1, -1)
    try(function() assert(utf8.len(text)) end)
    try(function() for _ in utf8.codes(text) do end end)
    try(utf8.offset, text, math.maxinteger, 1)
  end
  for _, code in ipairs({ -1, 1 << 31, math.mininteger }) do try(utf8.char, code) end
  return refuse(failures .. " failures")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
