local version = require "bakery.version"

describe("version.pep440", function()
  local valid = {
    -- text, release, epoch, pre, post, dev, local
    { "1", "1" }, { "1.0", "1.0" }, { "v1.2", "1.2" }, { " 1.2 ", "1.2" }, { "V2", "2" },
    { "2026.03.0-212", "2026.3.0", 0, nil, 212 },
    { "2025.05.1+513.pro3", "2025.5.1", 0, nil, nil, nil, "513.pro3" },
    { "2026.06.0-dev+15-gSHA", "2026.6.0", 0, nil, nil, 0, "15-gSHA" },
    { "1!2.0", "2.0", 1 },
    { "1.0a1", "1.0", 0, "a1" }, { "1.0.alpha.1", "1.0", 0, "a1" }, { "1.0-BETA2", "1.0", 0, "b2" },
    { "1.0c1", "1.0", 0, "rc1" }, { "1.0pre", "1.0", 0, "rc0" }, { "1.0preview3", "1.0", 0, "rc3" },
    { "1.0RC1", "1.0", 0, "rc1" }, { "1.0_rc_1", "1.0", 0, "rc1" },
    { "1.0.post1", "1.0", 0, nil, 1 }, { "1.0-1", "1.0", 0, nil, 1 }, { "1.0rev2", "1.0", 0, nil, 2 },
    { "1.0r3", "1.0", 0, nil, 3 }, { "1.0post", "1.0", 0, nil, 0 },
    { "1.0.dev3", "1.0", 0, nil, nil, 3 }, { "1.0dev", "1.0", 0, nil, nil, 0 },
    { "1.0a1.post2.dev3+l.4", "1.0", 0, "a1", 2, 3, "l.4" },
    { "1.0a.dev1", "1.0", 0, "a0", nil, 1 }, { "1.0a-", "1.0", 0, "a0" },
    { "1.0.post1.dev2", "1.0", 0, nil, 1, 2 }, { "007.08", "7.8" },
    { "1.0+ABC", "1.0", 0, nil, nil, nil, "ABC" }, { "1.0+a_b-c.d", "1.0", 0, nil, nil, nil, "a_b-c.d" },
  }
  for _, row in ipairs(valid) do
    it("parses '" .. row[1] .. "'", function()
      local v = assert(version.pep440(row[1]))
      assert.are.equal(row[2], table.concat(v.release, "."))
      assert.are.equal(row[3] or 0, v.epoch)
      assert.are.equal(row[4], v.pre and v.pre[1] .. v.pre[2])
      assert.are.equal(row[5], v.post)
      assert.are.equal(row[6], v.dev)
      assert.are.equal(row[7], v["local"])
      assert.are.equal(row[1], tostring(v))
      assert.are.equal(row[4] ~= nil or row[6] ~= nil, v.is_prerelease)
    end)
  end

  for _, text in ipairs { "", "v", "2025.04.0-daily+404.pro4", "go1.24", "1.24-lib2.3.1", "devel",
    "a b", "1.2.3-5-6", "1..2", "1.", ".1", "1.0+", "1.0+a..b", "1.0+-a", "1!", "!1", "1.0 1", "1.0\0",
    "1.0+a\0", "vv1", "1.0x", "1.0-", "1.0+a.", "-1", "1.2.3*", ("1."):rep(600) .. "1" } do
    it("refuses '" .. text:sub(1, 30) .. "'", function()
      local v, err = version.pep440(text)
      assert.is_nil(v)
      assert.are.equal("version.syntax", err.code)
    end)
  end

  it("keeps numbers of any size", function()
    local v = assert(version.pep440 "1.99999999999999999999")
    assert.are.equal("99999999999999999999", v.minor)
    assert.is_true(v > version.pep440 "1.99999999999999999998")
    assert.is_true(v < version.pep440 "1.100000000000000000000")
  end)

  it("knows how much of the text was written", function()
    for text, want in pairs { ["4"] = { false, false }, ["4.3"] = { true, false },
      ["4.3.1"] = { true, true }, ["v4.3"] = { true, false } } do
      local v = assert(version.pep440(text))
      assert.are.same(want, { v:has_minor(), v:has_patch() })
    end
  end)

  it("orders as the specification does", function()
    local order = { "1.0.dev1", "1.0a1.dev1", "1.0a1", "1.0a1.post1.dev2", "1.0a1.post1", "1.0b1", "1.0rc1",
      "1.0", "1.0+abc", "1.0+abc.1", "1.0+1", "1.0+1.a", "1.0+1.2", "1.0+2", "1.0.post1.dev2", "1.0.post1",
      "1.1.dev1", "1.1", "1.10", "2", "1!0.1" }
    for i, a in ipairs(order) do
      for j, b in ipairs(order) do
        local x, y = version.pep440(a), version.pep440(b)
        assert.are.equal(i < j, x < y, a .. " < " .. b)
        assert.are.equal(i <= j, x <= y, a .. " <= " .. b)
        assert.are.equal(i == j, x == y, a .. " == " .. b)
        assert.are.equal(i < j and -1 or i > j and 1 or 0, version.compare(a, b))
      end
    end
    assert.are.same(order, version.sort(order))
    local reversed = version.sort(order, "pep440", true)
    assert.are.equal("1!0.1", reversed[1])
    assert.are.equal("1.0.dev1", reversed[#reversed])
  end)

  it("treats equal spellings as equal", function()
    for _, pair in ipairs { { "1.0", "1.0.0" }, { "1.0-1", "1.0.post1" }, { "1.0RC1", "1.0rc1" },
      { "1.0+a.b", "1.0+A-b" }, { "1.0c1", "1.0rc1" }, { "0!1", "1" }, { "1.01", "1.1" }, { "1.0+01", "1.0+1" } } do
      assert.are.equal(0, version.compare(pair[1], pair[2]), pair[1])
    end
  end)

  it("keeps the given order of equal texts when sorting", function()
    assert.are.same({ "1", "1.0.0", "1.0", "2" }, version.sort { "2", "1", "1.0.0", "1.0" })
    assert.are.same({ "2", "1", "1.0.0", "1.0" }, version.sort({ "1", "1.0.0", "2", "1.0" }, "pep440", true))
  end)

  it("reports the text that cannot be sorted", function()
    local list, err = version.sort { "1.0", "devel" }
    assert.is_nil(list)
    assert.is_truthy(err.message:find("devel", 1, true))
    assert.has_error(function() version.sort { "1.0", {} } end)
    assert.has_error(function() version.sort({ "1.0" }, "other") end)
  end)

  it("compares partial bounds with le", function()
    assert.is_false(version.le("4.3.2", "4.3"))
    assert.is_true(version.le("4.3", "4.3.0"))
    assert.is_false(version.le("4.3", "4"))
    assert.has_error(function() version.le("x", "1") end)
  end)
end)

describe("version.resolve", function()
  local R = { "4.1.2", "4.3.1", "4.5.1", "4.5.0", "4.4.3", "4.4.2", "4.3.3", "4.3.2", "4.2.3", "4.1.3", "4.2.0" }
  local positron = { "2026.02.0-100", "2026.03.0-212", "2026.02.1-5" }
  local rows = {
    { { latest = true }, R, "4.5.1" },
    { { latest = true, count = 3 }, R, "4.5.1 4.4.3 4.3.3" },
    { { latest = true, min = "4.3.2" }, R, "4.5.1 4.4.3 4.3.3" },
    { { max = "4.3", count = 2 }, R, "4.3.3 4.2.3" },
    { { max = "4.3.1", min = "4.1.2" }, R, "4.3.1 4.2.3 4.1.3" },
    { { max = 4.10, count = 1 }, R, "4.1.3" },
    { { max = "4", count = 1 }, R, "4.5.1" },
    { { max = 4 }, R, "4.5.1 4.4.3 4.3.3 4.2.3 4.1.3" },
    { { latest = false }, R, "4.5.1 4.4.3 4.3.3 4.2.3 4.1.3" },
    { { max = "2026.02", count = 1 }, positron, "2026.02.1-5" },
    { { max = "2026.02.1", count = 1 }, positron, "2026.02.0-100" },
    { { max = "2026.02.1-5", count = 1 }, positron, "2026.02.1-5" },
    { { latest = true, min = "4.5" }, R, "4.5.1" },
    { { max = "9" }, { "1.0", "2.0" }, "2.0 1.0" },
  }
  for i, row in ipairs(rows) do
    it("case " .. i .. " gives " .. row[3], function()
      assert.are.equal(row[3], table.concat(assert(version.resolve(row[1], row[2])), " "))
    end)
  end

  it("has no empty result", function()
    local list, err = version.resolve({ max = "1.0" }, R)
    assert.is_nil(list)
    assert.are.equal("versions list cannot be empty", err.message)
    list, err = version.resolve({ latest = true }, {})
    assert.is_nil(list)
    assert.are.equal("version.none", err.code)
  end)

  it("names the bound that is no version", function()
    local list, err = version.resolve({ max = "x" }, R)
    assert.is_nil(list)
    assert.is_truthy(err.message:find("max", 1, true))
  end)

  it("raises for misuse", function()
    assert.has_error(function() version.resolve({ lates = true }, R) end)
    assert.has_error(function() version.resolve({ max = "1", count = 0 }, R) end)
    assert.has_error(function() version.resolve({ max = {} }, R) end)
    assert.has_error(function() version.resolve({ latest = true }, { 1 }) end)
  end)
end)

describe("version.release", function()
  local rows = {
    { "1.2.3", "1.2.3" }, { "2026.05", "2026.5" }, { "1.2.3-rc.1", "1.2.3", "rc.1" },
    { "2026.03.0-212", "2026.3.0", "212" }, { "2025.05.1+513.pro3", "2025.5.1", nil, "513.pro3" },
    { "2026.05.0-dev+15-gSHA", "2026.5.0", "dev", "15-gSHA" }, { "1.2.3.4.5", "1.2.3.4.5" },
    { "1.2--", "1.2", "-" }, { "1.2+.", "1.2", nil, "." },
  }
  for _, row in ipairs(rows) do
    it("parses " .. row[1], function()
      local r = assert(version.release(row[1]))
      assert.are.equal("release", r.kind)
      assert.are.equal(row[2], table.concat(r.release, "."))
      assert.are.equal(row[3], r.prerelease)
      assert.are.equal(row[4], r.build)
      assert.are.equal(row[1], tostring(r))
      assert.is_nil(r.dependencies)
    end)
  end

  it("parses dependency forms", function()
    local r = assert(version.release "R4.4.3-python3.12.1")
    assert.are.equal("dependencies", r.kind)
    assert.are.same({ { name = "R", release = { 4, 4, 3 } }, { name = "python", release = { 3, 12, 1 } } },
      r.dependencies)
    assert.is_truthy(version.release "quarto1.4-positron2026.01.0")
    assert.is_truthy(version.release "positron2026.01")
  end)

  for _, text in ipairs { "2026", "v1.2.3", "1.2.3+", "1.2.3-", "1.2.3-a+b+c", "quarto1.2-positron2026.01.0-5",
    "", "R4", "r4.4.3-py3.12", "R4.4-", "R4.4--R4.4", "python3.12+x", "1.2_3", "1.2.", "1.2.3-a b", "Python3.12" } do
    it("refuses '" .. text .. "'", function()
      local r, err = version.release(text)
      assert.is_nil(r)
      assert.are.equal("version.syntax", err.code)
    end)
  end

  it("orders releases", function()
    local order = { "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0-rc.2",
      "1.0.0-rc.10", "1.0.0", "1.0.1", "1.2", "1.10" }
    for i, a in ipairs(order) do
      for j, b in ipairs(order) do
        assert.are.equal(i < j and -1 or i > j and 1 or 0, version.compare(a, b, "release"), a .. " " .. b)
        assert.are.equal(i < j, version.release(a) < version.release(b))
      end
    end
    for _, same in ipairs { "1.0", "1.0.0+5", "1.0.0.0" } do
      assert.are.equal(0, version.compare("1.0.0", same, "release"))
    end
  end)

  it("puts matrix versions and unparseable names below everything", function()
    for _, low in ipairs { "R4.4.3-python3.12.1", "devel", "" } do
      assert.are.equal(-1, version.compare(low, "0.0-0", "release"))
      assert.are.equal(0, version.compare(low, "x", "release"))
    end
    assert.are.same({ "z", "R4.4-python3.1", "1.0" }, version.sort({ "1.0", "z", "R4.4-python3.1" }, "release"))
  end)
end)

describe("version.matches_filter", function()
  local dev = "2026.05.0-dev+15-gSHA"
  local rows = {
    { dev, "2026.05", true }, { dev, "2026.05.0", true }, { dev, "2026", true }, { dev, "2026.05.0-dev", true },
    { dev, "2026.5", true }, { dev, "2026.05.0-rc", false }, { dev, dev, true }, { dev, "2026.06", false },
    { dev, "2026.05.0.1", false },
    { "2025.05.1+513.pro3", "2025.05.1+999", true }, { "2025.05.1+513.pro3", "2025.05.1", true },
    { "r4.4.3-py3.12", "r4.4.3", true }, { "r4.4.3-py3.12", "r4.4", true }, { "r4.4.3-py3.12", "r4", true },
    { "r4.4.3-py3.12", "r", false }, { "r4.4.3-py3.12", "r4.4.3-py3", true },
    { "R4.4.3-python3.12.1", "python3.12.1", false }, { "R4.4.3-python3.12.1", "4.4.3", false },
    { "R4.4.3-python3.12.1", "R4.4", false }, { "R4.4.3-python3.12.1", "R4.4.3", true },
    { "R4.4.3-python3.12.1", "R4.4.3-python3.12.1", true }, { "R4.4.3", "R4.4.3-python3.12.1", false },
    { "R4.4.3-python3.12.1", "R04.4.3", true },
    { "1.2.3", "1.2.3-rc1", false }, { "1.2.3-rc1", "1.2.3", true }, { "1.2.3", "x", false }, { "x", "x", true },
    { "", "", true }, { "1.2.3", "", false },
  }
  for _, row in ipairs(rows) do
    it(("%s %s %s"):format(row[1], row[3] and "matches" or "does not match", row[2]), function()
      assert.are.equal(row[3], version.matches_filter(row[1], row[2]))
    end)
  end
end)

describe("version.semver", function()
  it("parses and orders", function()
    local v = assert(version.semver "v1.2.3-rc.1+b.5")
    assert.are.same({ 1, 2, 3, "rc.1", "b.5", 3 }, { v.major, v.minor, v.patch, v.prerelease, v.build, v.parts })
    local order = { "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
      "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.1", "2" }
    for i, a in ipairs(order) do
      for j, b in ipairs(order) do
        assert.are.equal(i < j and -1 or i > j and 1 or 0, version.compare(a, b, "semver"))
      end
    end
    assert.is_true(version.semver "1.0.0+a" == version.semver "1.0.0+b")
    for _, bad in ipairs { "", "a", "1.2.3.4", "1.", "1.2.3-", "1.2.3-a..b", "1.2.3+", "1.2.3 ", "1.2.3-a_b" } do
      assert.is_nil((version.semver(bad)), bad)
    end
  end)

  local rows = {
    { "1.2.3", "1.2.3", true }, { "1.2.4", "=1.2.3", false }, { "1.2.4", "!=1.2.3", true },
    { "1.2.9", "1.2", true }, { "1.3.0", "1.2", false }, { "1.2.9", "1.2.x", true }, { "1.9.0", "1.*", true },
    { "7.0.0", "*", true }, { "1.2.3", ">1.2.2 <1.3", true }, { "1.2.3", ">1.2.2, <1.2.3", false },
    { "1.3.0", ">1.2", true }, { "1.2.9", ">1.2", false }, { "1.2.9", "<=1.2", true },
    { "1.9.9", "^1.2.3", true }, { "1.2.2", "^1.2.3", false }, { "2.0.0", "^1.2.3", false },
    { "0.2.9", "^0.2.3", true }, { "0.3.0", "^0.2.3", false }, { "0.0.3", "^0.0.3", true },
    { "0.0.4", "^0.0.3", false }, { "1.4.9", "~1.4.2", true }, { "1.5.0", "~1.4", false }, { "1.9.0", "~1", true },
    { "1.2.0", "1.2 - 1.4", true }, { "1.4.9", "1.2 - 1.4", true }, { "1.5.0", "1.2 - 1.4", false },
    { "3.1.0", "1.x || >=3", true }, { "2.1.0", "1.x || >=3", false },
    { "1.0.0-rc.1", ">=0.9", false }, { "1.0.0-rc.2", ">=1.0.0-rc.1", true }, { "latest", "*", false },
    { "1.2.3", "", true },
  }
  for _, row in ipairs(rows) do
    it(("%s in '%s': %s"):format(row[1], row[2], row[3]), function()
      assert.are.equal(row[3], version.satisfies(row[1], row[2]))
    end)
  end

  it("refuses bad ranges", function()
    for _, bad in ipairs { ">", ">=y", "1.2 -", "1.2 - ", "a", "1.2|1.3", "1.2 | 1.3", "1.2.3.4", "^^1", "1.x.3" } do
      local ok, err = version.satisfies("1.2.3", bad)
      assert.is_nil(ok, bad)
      assert.are.equal("version.range", err.code)
    end
  end)
end)

describe("version.select", function()
  local list = { "1.2.3", "latest", "1.10", "1.2.3rc1", "v1.3", "1.2.3.dev4", "1.2.3-5", "2.0+b", "", "1.2.3-alpine", "2!0.1", "1.3.0" }
  for _, row in ipairs {
    { nil, "2!0.1 2.0+b 1.10 v1.3 1.3.0 1.2.3-5 1.2.3" },
    { {}, "2!0.1 2.0+b 1.10 v1.3 1.3.0 1.2.3-5 1.2.3" },
    { { prerelease = true }, "2!0.1 2.0+b 1.10 v1.3 1.3.0 1.2.3-5 1.2.3 1.2.3rc1 1.2.3.dev4" },
    { { max = "1.3" }, "v1.3 1.3.0 1.2.3-5 1.2.3" },
    { { max = "1.2.3" }, "1.2.3" },
    { { max = "1" }, "1.10 v1.3 1.3.0 1.2.3-5 1.2.3" },
    { { min = "1.3", max = 2 }, "2.0+b 1.10 v1.3 1.3.0" },
    { { min = "3!0" }, "" },
  } do
    it("keeps " .. row[2], function()
      assert.are.equal(row[2], table.concat(assert(version.select(list, row[1])), " "))
    end)
  end
  it("refuses a bound that is no version and lists of other things", function()
    local kept, err = version.select(list, { max = "x y" })
    assert.is_nil(kept)
    assert.are.equal("version.syntax", err.code)
    assert.has_error(function() version.select({ 1 }) end)
    assert.has_error(function() version.select({}, { maxx = "1" }) end)
    assert.has_error(function() version.select("1") end)
  end)
end)

it("version.edition splits a release name", function()
  for text, want in pairs { ["2026.03.1+5"] = { "2026.03", "2026.03.1" }, ["1.2.3-rc1"] = { "1.2", "1.2.3" },
    ["2026"] = { "2026", "2026" }, ["1.2"] = { "1", "1.2" } } do
    assert.are.same(want, { version.edition(text) })
  end
end)
