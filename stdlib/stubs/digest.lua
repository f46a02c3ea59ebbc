---@meta bakery.digest

--- SHA-256 and SHA-512 (FIPS 180-4) of strings, streams and files, in lower-case hex.
---@class bakery.digestlib
local M = {}

---@alias bakery.digest.algorithm "sha256"|"sha512"

---@class bakery.digest.state closes with <close>, or when collected
local State = {}

---@param data string
---@return string hex 64 digits
function M.sha256(data) end

---@param data string
---@return string hex 128 digits
function M.sha512(data) end

--- HMAC (RFC 2104) with SHA-256.
---@param key string
---@param data string
---@return string hex 64 digits
function M.hmac_sha256(key, data) end

--- Starts a digest that is fed piece by piece.
---@param algorithm? bakery.digest.algorithm default "sha256"
---@return bakery.digest.state
function M.new(algorithm) end

--- Digest and size of a file (async).
---@param path string
---@param algorithm? bakery.digest.algorithm default "sha256"
---@return string|nil hex
---@return integer|table size_or_err bytes, or the error (ENOENT …)
function M.file(path, algorithm) end

--- Whether the text is "sha256:" and 64, or "sha512:" and 128, lower-case hex digits.
---@param text string
---@return boolean
function M.is_valid(text) end

---@param data string
---@return bakery.digest.state self
function State:update(data) end

--- Ends the digest; using it afterwards raises.
---@return string hex
function State:hex() end

--- Gives a digest up; harmless when it has ended.
function State:close() end

return M
