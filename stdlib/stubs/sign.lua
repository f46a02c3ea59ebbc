---@meta bakery.sign

--- Keys and signatures as cosign uses them. Images are signed and verified by bakery.sign.image, statements
--- about them by bakery.sign.attest. Calls marked (async) yield in tasks. Errors are `nil, err`: sign.key,
--- sign.password, sign.password_needed (class usage), sign.memory, sign.crypto (infra), errno names.
---@class bakery.signlib
local M = {}

---@class bakery.sign.key closes with <close>, :close(), or when collected
local Key = {}

--- A new ECDSA P-256 key.
---@return bakery.sign.key|nil
---@return table? err
function M.generate() end

--- Reads a key (async): PEM of a public key, or of a private one: cosign's encrypted form, PKCS #8 (plain or
--- encrypted), SEC 1, RSA.
---@param pem string
---@param password? string may be empty; nil: for keys that need none
---@return bakery.sign.key|nil
---@return table? err sign.password_needed, sign.password, sign.key
function M.read_key(pem, password) end

--- Standard base64 with padding.
---@param bytes string
---@return string
function M.base64(bytes) end

--- The bytes of a base64 text (standard or URL-safe, padded or not), nil when it is none.
---@param text string
---@return string|nil
function M.unbase64(text) end

--- Asks on the terminal for a line that is not shown.
---@param prompt string
---@return string|nil
---@return table? err ENXIO and the like without a terminal
function M.ask(prompt) end

--- PEM of the public key.
---@return string|nil
---@return table? err
function Key:public_pem() end

--- PEM of the private key (async), encrypted as cosign does it ("ENCRYPTED SIGSTORE PRIVATE KEY").
---@param password string may be empty
---@return string|nil
---@return table? err
function Key:private_pem(password) end

--- SHA-256 of the public key's DER: 32 bytes.
---@return string|nil
---@return table? err
function Key:id() end

--- "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-BITS" or "ed25519".
---@return string
function Key:type() end

---@return boolean
function Key:is_private() end

--- Signs bytes: ECDSA in DER, RSA PKCS #1 v1.5, Ed25519.
---@param bytes string
---@return string|nil signature
---@return table? err
function Key:sign(bytes) end

---@param bytes string
---@param signature string
---@return boolean
function Key:verify(bytes, signature) end

function Key:close() end

return M
