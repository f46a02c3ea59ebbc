--- Base64 (RFC 4648, section 4) of a string.
local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

---@param text string
---@return string
return function(text)
  return (text:gsub("..?.?", function(part)
    local a, b, c = part:byte(1, 3)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    local out = {}
    for i = 0, 3 do
      local at = (n >> (18 - 6 * i) & 63) + 1
      out[i + 1] = i <= #part and ALPHABET:sub(at, at) or "="
    end
    return table.concat(out)
  end))
end
