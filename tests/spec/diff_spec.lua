local diff = require "bakery.diff"
local fs = require "bakery.fs"
local process = require "bakery.process"

local function unified(old, new, context)
  local text = diff.unified(old, new, { from = "a/f", to = "b/f", context = context })
  return text == "" and "" or (text:gsub("^%-%-%- a/f\n%+%+%+ b/f\n", ""))
end

describe("bakery.diff", function()
  for _, row in ipairs {
    { "nothing", "a\n", "a\n", "" },
    { "a change with its surroundings", "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
      "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n" },
    { "less of them", "1\n2\n3\n4\n5\n", "1\n2\nx\n4\n5\n", "@@ -2,3 +2,3 @@\n 2\n-3\n+x\n 4\n", 1 },
    { "none of them", "1\n2\n3\n", "1\n3\n", "@@ -2 +1,0 @@\n-2\n", 0 },
    { "two hunks", "1\n2\n3\n4\n5\n", "x\n2\n3\n4\ny\n", "@@ -1,2 +1,2 @@\n-1\n+x\n 2\n@@ -4,2 +4,2 @@\n 4\n-5\n+y\n", 1 },
    { "hunks that touch are one", "1\n2\n3\n4\n", "x\n2\n3\ny\n", "@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n-4\n+y\n", 1 },
    { "something from nothing", "", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n" },
    { "nothing from something", "a\n", "", "@@ -1 +0,0 @@\n-a\n" },
    { "a line end that comes", "a", "a\n", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n" },
    { "a line end that goes", "a\nb\n", "a\nb", "@@ -1,2 +1,2 @@\n a\n-b\n+b\n\\ No newline at end of file\n" },
    { "the shortest way", "a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n",
      "@@ -1,7 +1,6 @@\n-a\n-b\n c\n+b\n a\n b\n-b\n a\n+c\n" },
    { "carriage returns as they are", "a\r\nb\r\n", "a\r\nc\r\n", "@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n" },
  } do
    it("says " .. row[1], function() assert.equal(row[4], unified(row[2], row[3], row[5])) end)
  end

  it("makes what patch takes, of random texts", function()
    if not process.which "patch" then return pending "needs patch" end
    math.randomseed(7)
    local dir = assert(fs.tmpdir())
    local function text()
      local lines = {}
      for i = 1, math.random(0, 25) do lines[i] = ("abcd"):sub(math.random(4)):sub(1, 1) end
      local s = table.concat(lines, "\n")
      return s ~= "" and math.random() < 0.8 and s .. "\n" or s
    end
    for _ = 1, 60 do
      local old, new = text(), text()
      local patch = diff.unified(old, new, { from = "a/f", to = "b/f", context = math.random(0, 4) })
      if patch ~= "" then
        assert(fs.write(dir .. "/f", old))
        assert(fs.write(dir .. "/p", patch))
        local r = process.run { cmd = { "patch", "-s", "-o", dir .. "/new", dir .. "/f", dir .. "/p" }, merge = true }
        assert.equal(0, r.code, r.stdout .. patch)
        assert.equal(new, fs.read(dir .. "/new"))
      else
        assert.equal(old, new)
      end
    end
    fs.remove(dir, { recursive = true })
  end)

  it("takes little time for texts that have nothing in common", function()
    local old, new = {}, {}
    for i = 1, 6000 do old[i], new[i] = "a" .. i, "b" .. i end
    local started = os.clock()
    local gone, come = diff.compare(old, new)
    assert.is_true(gone[1] and gone[6000] and come[1] and come[6000])
    assert.is_true(os.clock() - started < 20)
  end)

  it("knows texts from other files", function()
    assert.same({ false, true, true, false }, { diff.is_binary "ü\n", diff.is_binary "a\0b", diff.is_binary "\255", diff.is_binary "" })
    assert.same({ { "a", "", "b" }, false }, { diff.lines "a\n\nb" })
    assert.same({ {}, true }, { diff.lines "" })
  end)
end)
