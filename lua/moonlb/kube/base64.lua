--- Base64 (RFC 4648 section 4), for the certificates and keys in a kubeconfig and in Secrets.
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

--- Encode, without line breaks.
-- @tparam string bytes
-- @treturn string
function base64.encode(bytes)
  local text = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local word = a << 16 | (b or 0) << 8 | (c or 0)
    for digit = 0, 3 do
      local value = word >> (18 - 6 * digit) & 63
      local is_padding = (digit == 2 and not b) or (digit == 3 and not c)
      text[#text + 1] = is_padding and "=" or ALPHABET:sub(value + 1, value + 1)
    end
  end
  return table.concat(text)
end

return base64
