--- Base64 (RFC 4648 section 4), for the certificates and keys in a kubeconfig.
-- @module moonlb.kube.base64
local base64 = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local values = {}
for i = 1, #ALPHABET do values[ALPHABET:byte(i)] = i - 1 end

--- Decode; white space between the characters is allowed.
-- @tparam string text
-- @treturn string  or nil, message, `"EINVAL"`
function base64.decode(text)
  text = text:gsub("%s", "")
  local body, padding = text:match("^([%w+/]*)(=?=?)$")
  if not body or (#body + #padding) % 4 ~= 0 then return nil, "not base64", "EINVAL" end
  local bytes, bits, count = {}, 0, 0
  for i = 1, #body do
    bits = (bits << 6 | values[body:byte(i)]) & 0xffffff
    count = count + 6
    if count >= 8 then
      count = count - 8
      bytes[#bytes + 1] = string.char(bits >> count & 0xff)
    end
  end
  return table.concat(bytes)
end

return base64
