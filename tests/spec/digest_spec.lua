local digest = require "bakery.digest"
local fs = require "bakery.fs"

-- FIPS 180-4 examples.
local ABC256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
local ABC512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
  .. "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
local NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

describe("digest", function()
  it("of strings", function()
    assert.are.equal(NOTHING, digest.sha256 "")
    assert.are.equal(ABC256, digest.sha256 "abc")
    assert.are.equal(ABC512, digest.sha512 "abc")
    assert.are.equal("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", digest.sha256(("a"):rep(1000000)))
    assert.are_not.equal(digest.sha256 "a", digest.sha256 "a\0")
  end)

  it("of pieces", function()
    local h = digest.new()
    assert.are.equal(h, h:update "a")
    assert.are.equal(ABC256, h:update(""):update("bc"):hex())
    assert.are.equal(ABC512, digest.new("sha512"):update("abc"):hex())
    assert.are.equal(NOTHING, digest.new("sha256"):hex())
  end)

  it("cannot be used when it has ended", function()
    local h = digest.new()
    h:hex()
    assert.has_error(function() h:hex() end, "the digest has been taken")
    assert.has_error(function() h:update("x") end, "the digest has been taken")
    h:close()
    h = digest.new()
    h:close()
    h:close()
    assert.has_error(function() h:hex() end)
    assert.has_error(function() h.close() end)
    assert.has_error(function() h.close(io.stdout) end)
    assert.has_error(function() digest.new("md5") end)
  end)

  it("of files", function()
    local path = os.tmpname()
    local data = ("0123456789abcdef"):rep(20000)
    assert(fs.write(path, data))
    assert.are.same({ digest.sha256(data), #data }, { digest.file(path) })
    assert.are.same({ digest.sha512(data), #data }, { digest.file(path, "sha512") })
    assert(fs.write(path, ""))
    assert.are.same({ NOTHING, 0 }, { digest.file(path) })
    os.remove(path)
    local hex, err = digest.file(path)
    assert.is_nil(hex)
    assert.are.equal("ENOENT", err.code)
    assert.matches(path, err.message, 1, true)
    assert.are.equal("EISDIR", select(2, digest.file("/")).code)
    assert.has_error(function() digest.file("a\0b") end)
  end)

  it("of files in tasks", function()
    local loop = require "bakery.loop"
    local order = {}
    local a = loop.spawn(function()
      order[#order + 1] = "a"
      local hex = digest.file("/dev/null")
      order[#order + 1] = hex
    end)
    local b = loop.spawn(function() order[#order + 1] = "b" end)
    a:wait()
    b:wait()
    assert.are.same({ "a", "b", NOTHING }, order)
  end)

  it("hmac (RFC 4231, cases 1, 2 and 6)", function()
    assert.are.equal("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      digest.hmac_sha256(("\x0b"):rep(20), "Hi There"))
    assert.are.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      digest.hmac_sha256("Jefe", "what do ya want for nothing?"))
    assert.are.equal("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      digest.hmac_sha256(("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First"))
    assert.are.equal("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", digest.hmac_sha256("", ""))
  end)

  it("texts", function()
    assert.is_true(digest.is_valid("sha256:" .. ABC256))
    assert.is_true(digest.is_valid("sha512:" .. ABC512))
    for _, bad in ipairs { "", "sha256:", ABC256, "sha256:" .. ABC256:upper(), "sha256:" .. ABC256 .. "0", "sha512:" .. ABC256,
      "sha256:" .. ABC256:sub(2), "sha256:" .. ABC256 .. "\0", "sha1:" .. ABC256, "sha256:" .. ABC256:sub(2) .. "g" } do
      assert.is_false(digest.is_valid(bad), bad)
    end
  end)
end)
