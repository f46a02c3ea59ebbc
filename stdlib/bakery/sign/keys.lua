--- Key files and their passwords. Functions raise error objects.
local err = require "bakery.error"
local fs = require "bakery.fs"
local process = require "bakery.process"
local sign = require "bakery.sign"

local M = {}

local function check(value, problem)
  if value == nil then error(problem, 0) end
  return value
end

local function usage(code, message, hint) error(err.new { class = "usage", code = code, message = message, hint = hint }, 0) end

--- The password of a key: COSIGN_PASSWORD (may be empty), else a line of standard input when that is no
--- terminal, else the terminal. Never an argument: others could read it.
---@param opts table|nil { confirm=ask twice, name=of the key file }
---@return string
function M.password(opts)
  opts = opts or {}
  local env = os.getenv "COSIGN_PASSWORD"
  if env then return env end
  if not process.isatty(0) then
    local line = io.stdin:read "l"
    if not line then
      usage("sign.password_needed", "the key needs its password", "set COSIGN_PASSWORD, or give it on standard input")
    end
    return line
  end
  local prompt = "Password" .. (opts.name and " of " .. opts.name or "") .. ": "
  local first = check(sign.ask(prompt))
  if opts.confirm and check(sign.ask "Again: ") ~= first then usage("sign.password", "the passwords differ") end
  return first
end

-- The text of a key: a file, or "env://NAME".
local function text_of(name)
  local variable = name:match "^env://(.+)$"
  if not variable then return check(fs.read(name, 1 << 20)) end
  local text = os.getenv(variable)
  if not text or text == "" then usage("sign.key", "the environment has no " .. variable) end
  return text
end

local function read(name, password)
  local text = text_of(name)
  local key, problem = sign.read_key(text, password)
  if not key and problem.code == "sign.password_needed" and password == nil then
    key, problem = sign.read_key(text, M.password { name = name })
  end
  if not key then
    problem.message = name .. ": " .. problem.message
    if problem.code == "sign.password" then problem.hint = "COSIGN_PASSWORD has the password, where it is set" end
    error(problem, 0)
  end
  return key
end

--- A private key.
---@param name string file, or "env://NAME" for a variable that holds the PEM text
---@param password string|nil asked for when needed
---@return bakery.sign.key
function M.private(name, password)
  local key = read(name, password)
  if not key:is_private() then usage("sign.key", name .. ": this is a public key; signing needs the private one") end
  return key
end

--- A key to verify with: a public key, or the public half of a private one.
---@param name string
---@param password string|nil
---@return bakery.sign.key
function M.public(name, password) return read(name, password) end

--- SHA-256 of the public key's DER in hex.
---@param key bakery.sign.key
---@return string
function M.fingerprint(key) return (check(key:id()):gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

--- Writes PREFIX.key (mode 0600) and PREFIX.pub.
---@param key bakery.sign.key
---@param prefix string
---@param password string
---@param force boolean|nil replace existing files
---@return string private_file
---@return string public_file
function M.write(key, prefix, password, force)
  local private, public = prefix .. ".key", prefix .. ".pub"
  for _, file in ipairs { private, public } do
    if fs.exists(file) and not force then usage("exists", file .. " exists", "replace it with --force") end
  end
  check(fs.write(private, check(key:private_pem(password)), { mode = 384 }))
  check(fs.write(public, check(key:public_pem())))
  return private, public
end

return M
