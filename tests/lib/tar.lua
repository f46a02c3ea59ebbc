--- Builds tar archives byte by byte, valid or not, for the archive and layer specs.
local M = {}

local function octal(n, width) return ("%0" .. (width - 1) .. "o\0"):format(n) end

--- One header block. `e`: name, type ("0"…), size, mode, uid, gid, mtime, link, magic, prefix, major,
--- minor; a string in place of a number is used as the raw field; sum = raw checksum field.
function M.header(e)
  local function num(v, width, def)
    if type(v) == "string" then return v .. ("\0"):rep(width - #v) end
    return octal(v or def or 0, width)
  end
  local function text(s, width) return (s .. ("\0"):rep(width)):sub(1, width) end
  local head = text(e.name, 100) .. num(e.mode, 8, 420) .. num(e.uid, 8) .. num(e.gid, 8) .. num(e.size, 12)
    .. num(e.mtime, 12)
  local tail = (e.type or "0") .. text(e.link or "", 100) .. (e.magic or "ustar\00000") .. ("\0"):rep(64)
    .. num(e.major, 8) .. num(e.minor, 8) .. text(e.prefix or "", 155) .. ("\0"):rep(12)
  local sum = 8 * 32
  for c in (head .. tail):gmatch "." do sum = sum + c:byte() end
  return head .. (e.sum or ("%06o\0 "):format(sum)) .. tail
end

local function padded(data) return data .. ("\0"):rep(-#data % 512) end

--- A pax record with its length.
function M.record(key, value)
  local body = " " .. key .. "=" .. value .. "\n"
  local n = #body
  while #tostring(n) + #body ~= n do n = #tostring(n) + #body end
  return n .. body
end

--- Header and data. `e.data` sets the size; `e.pax` = map or raw text of an extended header before it.
function M.entry(e)
  local out = ""
  if e.pax then
    local text = e.pax
    if type(text) == "table" then
      local keys = {}
      for k in pairs(e.pax) do keys[#keys + 1] = k end
      table.sort(keys)
      text = ""
      for _, k in ipairs(keys) do text = text .. M.record(k, e.pax[k]) end
    end
    out = M.header { name = "PaxHeaders.0/x", type = e.pax_type or "x", size = #text } .. padded(text)
  end
  local data = e.data or ""
  if e.size == nil then e.size = #data end
  return out .. M.header(e) .. padded(data)
end

--- Whole archive from entries (tables for M.entry, or raw strings).
function M.archive(entries, ending)
  local out = {}
  for i, e in ipairs(entries) do out[i] = type(e) == "string" and e or M.entry(e) end
  return table.concat(out) .. (ending or ("\0"):rep(1024))
end

function M.write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

function M.read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("a")
  f:close()
  return text
end

return M
